// Shows an answer as it comes, by a GET that the browser repeats if the connection is lost.
export function listen(url, show) {
  return new Promise((resolve, reject) => {
    const source = new EventSource(url);
    source.onmessage = (event) => {
      if (event.data === "[DONE]") {
        source.close(); // or the browser would ask again, and again
        resolve();
      } else {
        show(event.data);
      }
    };
    source.onerror = (event) => {
      if (event.data) { // the server's own event of type error
        source.close();
        reject(new Error(JSON.parse(event.data).message));
      } else if (source.readyState === EventSource.CLOSED) { // no event stream, or no 200
        reject(new Error("the server refused"));
      } // else the connection was lost, and the browser asks again by itself
    };
  });
}

// Shows an answer as it comes, by a POST.
export async function ask(url, body, show, signal) {
  const response = await fetch(url, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
    signal,
  });
  if (!response.ok) throw new Error(`the server refused: ${response.status}`);
  let rest = "";
  for await (const piece of pieces(response.body.pipeThrough(new TextDecoderStream()))) {
    const blocks = (rest + piece).split("\n\n");
    rest = blocks.pop();
    for (const { type, data } of blocks.map(parse)) {
      if (type === "error") throw new Error(JSON.parse(data).message);
      if (data === "[DONE]") return;
      if (data !== undefined) show(data);
    }
  }
  throw new Error("the answer was cut off");
}

async function* pieces(stream) {
  const reader = stream.getReader();
  for (let next = await reader.read(); !next.done; next = await reader.read()) yield next.value;
}

function parse(block) {
  const fields = { data: undefined, type: "message" };
  for (const line of block.split("\n")) {
    const [, name, value] = /^(\w*): ?(.*)$/.exec(line) ?? [];
    if (name === "data") fields.data = fields.data === undefined ? value : `${fields.data}\n${value}`;
    if (name === "event") fields.type = value;
  }
  return fields;
}
