// Connections of the demo page: an event stream that is followed over many of them, and a plain
// response, which ends with its one.

export const DONE = "[DONE]"; // the end marker of sse_asgi.JSONFraming

/**
 * Decodes an event stream from bytes, by the rules of the HTML standard (section 9.2.6).
 * `lastEventId` is where the next connection goes on; `retry` is read over.
 */
export class EventStreamParser {
  #utf8 = new TextDecoder(); // drops one BOM, replaces invalid bytes
  #rest = "";
  #afterCR = false;
  #type = "";
  #data = "";
  #id = "";
  lastEventId = "";

  constructor(lastEventId = "") {
    this.#id = this.lastEventId = lastEventId;
  }

  /** Takes the next bytes, cut anywhere, and returns the events that they complete. */
  feed(bytes) {
    let text = this.#utf8.decode(bytes, { stream: true });
    if (text === "") return [];
    const cutPair = this.#afterCR && text.startsWith("\n");
    this.#afterCR = text.endsWith("\r");
    if (cutPair) text = text.slice(1);
    const lines = text.split(/\r\n|\n|\r/);
    lines[0] = this.#rest + lines[0];
    this.#rest = lines.pop();
    return lines.map((line) => this.#take(line)).filter(Boolean);
  }

  #take(line) {
    if (line === "") return this.#dispatch();
    const colon = line.indexOf(":");
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (field === "event") this.#type = value;
    if (field === "data") this.#data += `${value}\n`;
    if (field === "id" && !value.includes("\0")) this.#id = value;
    return null;
  }

  #dispatch() {
    this.lastEventId = this.#id;
    const event = {
      type: this.#type || "message",
      data: this.#data.slice(0, -1),
      lastEventId: this.lastEventId,
    };
    const empty = this.#data === "";
    this.#type = this.#data = "";
    return empty ? null : event;
  }
}

/** Yields the events of a response, as they arrive; all that came are taken before more is read. */
async function* readEvents(response, parser) {
  for await (const bytes of readBytes(response)) yield* parser.feed(bytes);
}

async function* readBytes(response) {
  const reader = response.body.getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    yield value;
  }
}

/** Says why a response is none that was hoped for. */
async function refusal(response) {
  const body = await response.json().catch(() => ({})); // a server's own error page is no JSON
  return body.message ?? `the server answered ${response.status}`;
}

export const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

const ELSEWHERE = 421; // another process of the server is meant; the next connection may lead there
const MOST_TRIES = 50;

/** Fetches, from one process of the server if its number is given. */
export async function fetchFrom(url, options = {}, worker = "") {
  const full = worker ? `${url}?worker=${worker}` : url;
  for (let tries = 1; ; tries += 1) {
    const response = await fetch(full, options);
    if (response.status !== ELSEWHERE || tries === MOST_TRIES) return response;
    await response.text();
  }
}

/** The options of a POST with a JSON body. */
export const post = (body) => ({
  method: "POST",
  headers: { "content-type": "application/json" },
  body: JSON.stringify(body),
});

export async function fetchJson(url) {
  const response = await fetch(url);
  if (!response.ok) throw new Error(await refusal(response));
  return response.json();
}

const RETRY = 500; // milliseconds between two tries to connect again
const PATIENCE = 10_000; // milliseconds without the server, while online, that are a failure

/** An event stream, followed over any number of connections. */
export class Stream {
  state = "streaming"; // then completed, stopped or failed
  failure = "";
  worker = ""; // the process of the server that this connection leads to
  #lastEventId = "";
  #abort = new AbortController();
  #wait = RETRY;

  /**
   * `request` returns the URL and the options of a connection, given whether it is a resumption;
   * `take` is given each event; `link` is told whether there is a connection, and from which process.
   */
  constructor(request, take, link = () => true) {
    this.request = request;
    this.take = take;
    this.link = link;
  }

  async run() {
    let lostAt = null;
    while (this.state === "streaming") {
      try {
        const response = await this.#connect();
        lostAt = null;
        if (response.status === 204) this.end("completed"); // everything has been seen
        else if (this.link(true, this.worker)) await this.#read(response);
        else this.cut(0);
      } catch (error) {
        // A lost connection is a TypeError, one that was cut here an AbortError; nothing else
        // becomes better by another try.
        if (!(error instanceof TypeError) && error.name !== "AbortError") this.end("failed", error.message);
      }
      if (this.state !== "streaming") return;
      if (this.#wait) this.link(false, this.worker);
      lostAt ??= performance.now();
      if (!navigator.onLine) lostAt = null;
      else if (performance.now() - lostAt > PATIENCE) this.end("failed", "the connection was lost");
      await pause(this.#wait);
      this.#wait = RETRY;
    }
  }

  /** Cuts the connection; another one goes on after a while. */
  cut(wait) {
    this.#wait = wait;
    this.#abort.abort();
  }

  end(state, failure = "") {
    if (this.state !== "streaming") return; // the first reason counts
    this.state = state;
    this.failure = failure;
    this.#abort.abort();
  }

  async #connect() {
    this.#abort = new AbortController();
    const [url, options] = this.request(this.#lastEventId !== "");
    const headers = { ...options.headers, accept: "text/event-stream" };
    if (this.#lastEventId !== "") headers["last-event-id"] = this.#lastEventId;
    const response = await fetch(url, { ...options, headers, signal: this.#abort.signal });
    if (!response.ok) throw new Error(await refusal(response));
    this.worker = response.headers.get("x-worker");
    return response;
  }

  async #read(response) {
    const parser = new EventStreamParser(this.#lastEventId);
    try {
      for await (const event of readEvents(response, parser)) this.take(event);
    } finally {
      this.#lastEventId = parser.lastEventId;
    }
  }
}

/** Reads a plain response to its end; the error says that it had none. */
export async function readPlain(url, options, worker, onText, onOpen) {
  const response = await fetchFrom(url, options, worker);
  if (!response.ok) throw new Error(await refusal(response));
  onOpen();
  const utf8 = new TextDecoder();
  for await (const bytes of readBytes(response)) onText(utf8.decode(bytes, { stream: true }));
}
