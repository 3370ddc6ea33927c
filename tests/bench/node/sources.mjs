// The same chunks at the same pace as tests/bench/sources.py.
import { appendFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";

const INTERVAL = 1000 * Number(process.env.BENCH_INTERVAL ?? "0.02");
const ENDINGS = process.env.BENCH_ENDINGS;
const TOKENS = Array.from({ length: 500 }, (_, number) => `token ${number}`);

// `viewer` has push(text), end() and the property gone.
export const SOURCES = {
  "/burst"(viewer) {
    for (const token of TOKENS) viewer.push(token);
    viewer.end();
  },
  async "/paced"(viewer) {
    await sleep(Math.random() * INTERVAL);
    while (!viewer.gone) {
      viewer.push(String(process.hrtime.bigint()));
      await sleep(INTERVAL);
    }
  },
  "/idle"(viewer) {
    viewer.push("open");
  },
  "/short"(viewer) {
    viewer.push("token");
    viewer.end();
  },
};

export function noteEnding() {
  if (ENDINGS) appendFileSync(ENDINGS, `${process.hrtime.bigint()}\n`);
}
