// The demo page: sends the prompt, reads the event stream, draws it, and compares what has
// arrived with what the server kept.

const DONE = "[DONE]"; // the end marker of sse_asgi.JSONFraming

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
  const reader = response.body.getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    yield* parser.feed(value);
  }
}

/** Says why a response is none that was hoped for. */
async function refusal(response) {
  const body = await response.json().catch(() => ({})); // a server's own error page is no JSON
  return body.message ?? `the server answered ${response.status}`;
}

const RETRY = 500; // milliseconds between two tries to connect again
const PATIENCE = 10_000; // milliseconds without the server, while online, that are a failure

/** One answer on its way: its text, the moments at which its chunks came, and how it ended. */
class Reception {
  text = "";
  arrivals = []; // seconds since the prompt was sent, or the page began to follow
  state = "streaming"; // then completed, stopped or failed
  failure = "";
  #begun = performance.now();
  #ended = null;
  #abort = new AbortController();
  #lastEventId = "";

  /** A new answer, or the one of an id that is under way on the server, or has ended there. */
  constructor(id = null) {
    this.id = id ?? Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) =>
      byte.toString(16).padStart(2, "0")).join("");
  }

  get elapsed() {
    return ((this.#ended ?? performance.now()) - this.#begun) / 1000;
  }

  get rate() {
    const { length } = this.arrivals;
    return length < 2 ? null : (length - 1) / (this.arrivals[length - 1] - this.arrivals[0]);
  }

  get #url() {
    return `generations/${this.id}`;
  }

  /** Ends the generation on the server, for everybody; its end comes through the stream. */
  async stop() {
    const response = await fetch(this.#url, { method: "DELETE" }).catch(() => null);
    if (response?.ok) return;
    this.end("stopped"); // the server cannot be told
    this.#abort.abort();
  }

  /** Starts the answer to a prompt, or follows it without one, over any number of connections. */
  async run(prompt, onChunk) {
    let lostAt = null;
    while (this.state === "streaming") {
      try {
        const response = await this.#connect(prompt);
        lostAt = null;
        if (response.status === 204) this.end("completed"); // everything has been seen
        else await this.#read(response, onChunk);
      } catch (error) {
        // A lost connection is a TypeError; nothing else becomes better by another try.
        if (!(error instanceof TypeError)) this.end("failed", error.message);
      }
      if (this.state !== "streaming") return;
      lostAt ??= performance.now();
      if (!navigator.onLine) lostAt = null;
      else if (performance.now() - lostAt > PATIENCE) this.end("failed", "the connection was lost");
      await new Promise((resolve) => setTimeout(resolve, RETRY));
    }
  }

  async #connect(prompt) {
    const headers = { accept: "text/event-stream" };
    let request = { headers, signal: this.#abort.signal };
    if (this.#lastEventId !== "") headers["last-event-id"] = this.#lastEventId;
    else if (prompt !== null) {
      headers["content-type"] = "application/json"; // a repeated start is harmless: the id is ours
      request = { ...request, method: "POST", body: JSON.stringify({ prompt }) };
    }
    const response = await fetch(this.#url, request);
    if (!response.ok) throw new Error(await refusal(response));
    return response;
  }

  async #read(response, onChunk) {
    const parser = new EventStreamParser(this.#lastEventId);
    try {
      for await (const event of readEvents(response, parser)) this.#take(event, onChunk);
    } finally {
      this.#lastEventId = parser.lastEventId;
    }
  }

  #take(event, onChunk) {
    if (event.type === "error") this.end("failed", JSON.parse(event.data).message);
    else if (event.type !== "message") return;
    else if (event.data === DONE) this.end("completed");
    else {
      const chunk = JSON.parse(event.data);
      this.text += chunk;
      this.arrivals.push(this.elapsed);
      onChunk(chunk);
    }
  }

  end(state, failure = "") {
    if (this.state !== "streaming") return; // the first reason counts
    this.state = state;
    this.failure = failure;
    this.#ended = performance.now();
  }
}

const $ = (id) => document.getElementById(id);
const seconds = (value) => (value == null ? "–" : `${value.toFixed(2)} s`);
const count = (value) => value.toLocaleString("en");
const amount = (number, noun) => `${count(number)} ${noun}${number === 1 ? "" : "s"}`;
const characters = (text) => amount(text.length, "character");

function badge(id, state, label = state) {
  $(id).textContent = label;
  $(id).dataset.state = state;
}

function verdict(kind, sentence) {
  $("verdict").dataset.verdict = kind;
  $("verdict").textContent = sentence;
}

/** Adds text at the end of an element, and keeps the end in view for those who look at it. */
function appendText(element, text) {
  const atEnd = element.scrollHeight - element.scrollTop - element.clientHeight < 40;
  if (!(element.lastChild instanceof Text)) element.append("");
  element.lastChild.appendData(text); // plain text: nothing in it is ever taken for markup
  element.classList.add("filled");
  if (atEnd) element.scrollTop = element.scrollHeight;
}

function showFigures(reception) {
  $("first").textContent = seconds(reception.arrivals[0]);
  $("chunks").textContent = count(reception.arrivals.length);
  $("rate").textContent = reception.rate?.toFixed(1) ?? "–";
  $("elapsed").textContent = seconds(reception.elapsed);
}

const MOST_POINTS = 800;

function plot(reception) {
  const { arrivals } = reception;
  const end = Math.max(2, reception.elapsed);
  const every = Math.ceil(arrivals.length / MOST_POINTS) || 1;
  let line = "M0 82";
  let ticks = "";
  for (let index = 0; index < arrivals.length; index += every) {
    const x = ((arrivals[index] / end) * 1000).toFixed(1);
    line += `H${x}V${(82 - (78 * (index + 1)) / arrivals.length).toFixed(1)}`;
    ticks += `M${x} 90V100`;
  }
  line += `H${((reception.elapsed / end) * 1000).toFixed(1)}`;
  $("line").setAttribute("d", line);
  $("area").setAttribute("d", `${line}V82H0Z`);
  $("ticks").setAttribute("d", ticks);
  $("plot-end").textContent = `${end.toFixed(1)} s`;
  $("plot-count").textContent = amount(arrivals.length, "chunk");
  $("plot").setAttribute("aria-label",
    `${amount(arrivals.length, "chunk")} received in ${reception.elapsed.toFixed(1)} seconds`);
}

function draw(reception) {
  showFigures(reception);
  plot(reception);
  if (reception.state === "streaming") requestAnimationFrame(() => draw(reception));
}

function clear() {
  $("answer").replaceChildren();
  $("answer").classList.remove("filled");
  showTranscript(null, "");
  badge("browser-state", "streaming");
  badge("server-state", "streaming", "generating");
  verdict("running", "Waiting for the first chunk…");
}

function setBusy(busy) {
  const [leaves, comes] = busy ? [$("generate"), $("stop")] : [$("stop"), $("generate")];
  const focused = document.activeElement === leaves; // a disabled button would lose the focus
  comes.disabled = false;
  if (focused) comes.focus();
  leaves.disabled = true;
  $("answer").setAttribute("aria-busy", String(busy));
}

function showTranscript(transcript, received) {
  const text = transcript?.text ?? "";
  const common = text.startsWith(received) ? received.length : text.length;
  $("common").textContent = text.slice(0, common);
  $("beyond").textContent = text.slice(common); // made by the server, never seen here
  $("transcript").classList.toggle("filled", text !== "");
  $("transcript").scrollTop = $("transcript").scrollHeight; // as the answer beside it
  $("server-first").textContent = seconds(transcript?.time_to_first_chunk);
  $("server-chunks").textContent = transcript ? count(transcript.chunks) : "–";
  $("server-sent").textContent = transcript ? count(transcript.sent_chunks) : "–";
  $("server-duration").textContent = seconds(transcript?.duration);
  if (transcript) badge("server-state", transcript.outcome);
}

async function fetchTranscript(id) {
  const response = await fetch(`transcripts/${id}`);
  if (!response.ok) throw new Error(await refusal(response));
  return response.json();
}

/** Says how the text here relates to the text there. */
function judge(reception, transcript) {
  const [here, there] = [reception.text, transcript.text];
  const ended = { completed: "", stopped: "Stopped half-way. ", failed: `Failed: ${reception.failure}. ` };
  const start = ended[reception.state];
  if (here === there) {
    return ["identical", `${start}Identical: both sides hold the same ${characters(here)}.`];
  }
  if (there.startsWith(here) && reception.state !== "completed") {
    return ["prefix", `${start}The ${characters(here)} here are the beginning of the `
      + `${count(there.length)} that the server kept.`];
  }
  let at = 0;
  while (at < here.length && here[at] === there[at]) at += 1;
  return ["differs", `Differs from character ${count(at + 1)} on: ${characters(here)} here, `
    + `${count(there.length)} on the server.`];
}

async function compare(reception) {
  verdict("running", "Asking the server what it kept…");
  try {
    const transcript = await fetchTranscript(reception.id);
    showTranscript(transcript, reception.text);
    if (transcript.outcome === "stopped" && reception.state === "completed") {
      reception.state = "stopped"; // by whichever page
      badge("browser-state", "stopped");
    }
    const [kind, sentence] = judge(reception, transcript);
    verdict(reception.state === "failed" ? "failed" : kind, sentence);
  } catch (error) {
    badge("server-state", "failed", "unknown");
    const failure = reception.state === "failed" ? `Failed: ${reception.failure}. ` : "";
    verdict("failed", `${failure}What the server kept is unknown: ${error.message}.`);
  }
}

let current = null;

async function receive(reception, prompt) {
  current = reception;
  history.replaceState(null, "", `#${reception.id}`); // a reload or another tab finds it there
  clear();
  setBusy(true);
  draw(reception);
  await reception.run(prompt, (chunk) => {
    if (reception.arrivals.length === 1) verdict("running", "Streaming…");
    appendText($("answer"), chunk);
  });
  setBusy(false);
  badge("browser-state", reception.state);
  draw(reception);
  await compare(reception);
  current = null;
}

function generate() {
  if (!current) receive(new Reception(), $("prompt").value);
}

/** Follows the answer that the address names: after a reload, or in another tab. */
function follow() {
  const id = location.hash.slice(1);
  if (!current && /^[0-9a-f]{32}$/.test(id)) receive(new Reception(id), null);
}

async function showSource() {
  const source = await (await fetch("source")).json();
  $("source-name").textContent = source.name;
  $("source-detail").textContent = source.detail;
  $("base-url").textContent = new URL("v1", location.href.split("#")[0]).href;
}

$("form").addEventListener("submit", (event) => {
  event.preventDefault();
  generate();
});
$("stop").addEventListener("click", () => current?.stop());
$("prompt").addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  $("form").requestSubmit();
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") current?.stop();
});
window.addEventListener("hashchange", follow);
showSource();
follow();
