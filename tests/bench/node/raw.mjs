// Node's http with one res.write per chunk: the least that can be done there.
import { createServer } from "node:http";
import { SOURCES, noteEnding } from "./sources.mjs";

createServer((req, res) => {
  res.writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-store" });
  const viewer = {
    gone: false,
    push: (text) => res.write(`data: ${text}\n\n`),
    end: () => res.end(),
  };
  res.on("close", () => {
    viewer.gone = true;
    if (!res.writableFinished) noteEnding();
  });
  SOURCES[req.url](viewer);
}).listen(Number(process.argv[2]), "127.0.0.1", 4096);
