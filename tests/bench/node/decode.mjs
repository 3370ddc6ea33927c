// Times eventsource-parser on the cases of tests/bench/decoders.py; prints events per CPU second.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const require = createRequire(`${process.env.BENCH_NODE_MODULES}/`);
const { createParser } = require("eventsource-parser");
const [cases, seconds] = process.argv.slice(2);

function readsOf({ event, count, read }) {
  const whole = Buffer.from(event.repeat(count));
  const reads = [];
  for (let start = 0; start < whole.length; start += read) {
    reads.push(whole.subarray(start, start + read));
  }
  return reads;
}

function decode(reads) {
  let events = 0;
  const text = new TextDecoder();
  const parser = createParser({ onEvent: () => { events += 1; } });
  for (const read of reads) parser.feed(text.decode(read, { stream: true }));
  return events;
}

function cpuSeconds() {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
}

function eventsPerSecond(described) {
  const reads = readsOf(described);
  const started = cpuSeconds();
  let best = Infinity;
  while (cpuSeconds() - started < Number(seconds)) {
    const before = cpuSeconds();
    const events = decode(reads);
    best = Math.min(best, cpuSeconds() - before);
    if (events !== described.count) throw new Error(`${events} events, not ${described.count}`);
  }
  return described.count / best;
}

console.log(JSON.stringify(JSON.parse(readFileSync(cases, "utf8")).map(eventsPerSecond)));
