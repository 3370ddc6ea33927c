// better-sse with its defaults.
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { SOURCES, noteEnding } from "./sources.mjs";

const require = createRequire(`${process.env.BENCH_NODE_MODULES}/`);
const { createSession } = require("better-sse");

createServer(async (req, res) => {
  const session = await createSession(req, res);
  const viewer = {
    gone: false,
    push: (text) => session.push(text),
    end: () => res.end(),
  };
  session.once("disconnected", () => {
    viewer.gone = true;
    if (!res.writableFinished) noteEnding();
  });
  SOURCES[req.url](viewer);
}).listen(Number(process.argv[2]), "127.0.0.1", 4096);
