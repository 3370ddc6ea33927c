// The demo page: the same answer by two lanes, disturbed by buttons, and what each lane lost.

import { $, Lane, amount, badge, count } from "./lane.mjs";
import { DONE, Stream, fetchFrom, fetchJson, pause, post, readPlain } from "./stream.mjs";
import { Story, compare, compareTries, sentence } from "./story.mjs";

const OUTAGE = 1200; // milliseconds that a cut connection stays away
const MOST_MOVES = 12; // tries to be served by another process than the one that makes the answer
const MOST_TRIES = 9; // of the plain lane

const lanes = {
  live: new Lane("live", "transcript", "answer"),
  plain: new Lane("plain", "plain-transcript", "plain-answer"),
};
const seconds = (value) => (value == null ? "–" : `${value.toFixed(2)} s`);
const characters = (text) => amount(text.length, "character");

/** An id whose first twelve digits are the time, so that every page knows when an answer began. */
function makeId() {
  const random = Array.from(crypto.getRandomValues(new Uint8Array(10)), (byte) => byte.toString(16).padStart(2, "0"));
  return Date.now().toString(16).padStart(12, "0") + random.join("");
}

function verdict(kind, text) {
  $("verdict").dataset.verdict = kind;
  $("verdict").textContent = text;
}

/** One answer: started here, or followed after a reload or in another tab. */
class Run {
  text = "";
  chunks = 0;
  first = null; // seconds until the first chunk, if it was seen here
  made = {}; // by the key of a lane, what the server made
  tries = [0]; // characters that the plain lane received, by connection
  plainState = "streaming";
  transcript = null;
  #waiting = []; // disturbances whose verdict is due
  #producer = ""; // the process that makes the answer
  #moves = 0;
  #plainAbort = new AbortController();

  constructor(id, prompt, source) {
    this.id = id;
    this.prompt = prompt;
    this.source = source;
    this.begun = parseInt(id.slice(0, 12), 16);
    this.story = new Story(id);
    this.live = new Stream(
      (resumed) => [`generations/${id}`, prompt === null || resumed || this.#producer ? {} : post({ prompt })],
      (event) => this.#take(event),
      (open, worker) => this.#link(open, worker),
    );
    this.watch = new Stream(
      () => [`watch?key=${id}${this.plainState === "gone" ? "" : `&key=${this.plainKey}`}`, {}],
      (event) => this.#note(event),
    );
  }

  get plainKey() {
    return `${this.id}p${this.tries.length - 1}`;
  }

  get running() {
    return this.live.state === "streaming" || this.plainState === "streaming";
  }

  get elapsed() {
    return this.transcript?.duration ?? (Date.now() - this.begun) / 1000;
  }

  async run() {
    for (const lane of Object.values(lanes)) lane.clear();
    $("viewer").hidden = true;
    const past = this.story.recall();
    if (this.prompt === null) this.#arrive(past);
    verdict("running", "Waiting for the first chunk…");
    badge("browser-state", "streaming");
    badge("server-state", "streaming", "generating");
    this.#tick();
    const watching = this.watch.run();
    await Promise.all([this.#runLive(), this.#runPlain()]);
    this.watch.end("completed");
    await watching;
    if (this === current) await this.#finish();
  }

  /** The page was reloaded, or another tab has opened this answer: the plain lane has nothing. */
  #arrive(past) {
    this.plainState = "gone";
    this.tries = [0];
    badge("plain-state", "gone");
    badge("plain-server-state", "gone");
    const reason = past ? "The reload has taken it with it." : "Another page cannot follow it.";
    $("plain-answer").dataset.empty = `${reason} A plain response has one reader, and ends with it.`;
    $("plain-transcript").dataset.empty = "The server has forgotten it.";
    if (past) this.#expect("Reloaded", past.made, (mark) => ({ lost: mark, doubled: 0, words: "all of it is gone" }));
  }

  async #runLive() {
    await this.live.run();
    lanes.live.link("idle");
    await lanes.live.settled();
    badge("browser-state", this.live.state);
    await this.#judge();
  }

  async #runPlain() {
    while (this.plainState === "streaming") {
      while (!this.live.worker && this.live.state === "streaming") await pause(20);
      if (this.live.state === "failed" && !this.text) this.plainState = "failed";
      if (this.plainState === "streaming") await this.#tryPlain();
    }
    lanes.plain.link("idle");
    if (this.plainState !== "gone") badge("plain-state", this.plainState);
  }

  async #tryPlain() {
    this.#plainAbort = new AbortController();
    const options = { ...post({ prompt: this.prompt }), signal: this.#plainAbort.signal };
    try {
      await readPlain(`plain/${this.plainKey}`, options, this.#moves > MOST_MOVES ? "" : this.live.worker,
        (text) => this.#takePlain(text), () => this.#openPlain());
      this.plainState = "completed";
      badge("plain-server-state", "completed");
    } catch {
      if (this.plainState !== "streaming") return;
      lanes.plain.link("cut", "cut");
      badge("plain-state", "lost");
      badge("plain-server-state", "failed", "nothing kept");
      await pause(OUTAGE);
      if (this.plainState !== "streaming") return;
      if (this.tries.length > MOST_TRIES || this.live.state === "stopped") this.plainState = "lost";
      else this.#restartPlain();
    }
  }

  /** As a reader does that knows no better: asks again, and gets the answer from its beginning. */
  #restartPlain() {
    if (this.tries.at(-1) > 0) lanes.plain.again();
    this.tries.push(0);
    lanes.plain.made("");
    this.watch.cut(0);
  }

  #openPlain() {
    lanes.plain.link("open");
    badge("plain-state", "streaming");
    badge("plain-server-state", "streaming", "generating");
  }

  #takePlain(text) {
    this.tries[this.tries.length - 1] += text.length;
    lanes.plain.send(text);
  }

  /** Returns whether the connection is a welcome one. */
  #link(open, worker) {
    lanes.live.link(open ? "open" : "cut", open ? "" : "cut");
    if (!open) {
      for (const each of this.#waiting) each.lost = true;
      return true;
    }
    this.#producer ||= worker;
    badge("browser-state", "streaming");
    // Another process than the one that makes the answer: so that one of them can be killed.
    this.#moves += 1;
    return !this.source.killable || worker !== this.#producer || this.#moves > MOST_MOVES;
  }

  #take(event) {
    if (event.type === "error") this.live.end("failed", JSON.parse(event.data).message);
    else if (event.type !== "message") return;
    else if (event.data === DONE) this.live.end("completed");
    else {
      const chunk = JSON.parse(event.data);
      if (this.chunks === 0) {
        if (this.prompt !== null) this.first = this.elapsed;
        verdict("running", "Streaming. Now break it.");
      }
      this.text += chunk;
      this.chunks += 1;
      lanes.live.send(chunk);
      this.#resolve();
    }
  }

  #note(event) {
    if (event.type === "message") {
      if (event.data === DONE && !this.running) this.watch.end("completed");
      return; // else there is a plain try to come
    }
    this.made[event.type] = (this.made[event.type] ?? "") + JSON.parse(event.data);
    if (event.type === this.id) lanes.live.made(this.made[this.id]);
    else if (event.type === this.plainKey) lanes.plain.made(this.made[this.plainKey]);
  }

  /** What each lane lacks, and what it has twice. */
  scores() {
    const made = this.transcript?.text ?? this.made[this.id] ?? "";
    const ended = this.live.state !== "streaming";
    // What is on its way is not lost.
    const live = ended || !made.startsWith(this.text) ? compare(made.startsWith(this.text) || ended ? made : this.text, this.text) : { lost: 0, doubled: 0 };
    const whole = this.source.repeatable ? made.length : (this.made[this.plainKey] ?? "").length;
    const plain = compareTries(whole, this.tries);
    if (this.plainState === "streaming") plain.lost = 0;
    return { live, plain };
  }

  /** Notes that a verdict is due, once the first lane has caught up with what there is now. */
  #expect(what, mark, judgePlain, words = null) {
    const since = performance.now();
    this.#waiting.push({ what, mark, judgePlain, words, since, lost: words === null });
  }

  #resolve() {
    const due = this.#waiting.filter(({ mark, lost }) => lost && this.text.length > mark);
    if (!due.length) return;
    this.#waiting = this.#waiting.filter((each) => !due.includes(each));
    for (const each of due) this.#tell(each);
  }

  #tell({ what, mark, judgePlain, words, since }) {
    const { lost, doubled } = this.scores().live;
    const after = ((performance.now() - since) / 1000).toFixed(1);
    const live = { lost, doubled, words: words?.(after) ?? `all ${count(mark)} are back, after ${after} s` };
    const plain = judgePlain(mark);
    this.story.add(what, live, plain);
    verdict(lost + doubled ? "differs" : "identical", sentence(what, live, plain));
    this.keep();
  }

  cut() {
    this.#expectOutage("Cut the connection");
    if (this.live.state === "streaming") this.live.cut(OUTAGE);
    this.#plainAbort.abort();
  }

  #expectOutage(what) {
    const received = this.tries.at(-1);
    const plain = () => (this.plainState === "streaming" || this.plainState === "completed")
      ? { lost: 0, doubled: received, words: "began again from the beginning" }
      : { lost: this.scores().plain.lost, doubled: 0, words: "was gone already" };
    if (this.live.state === "streaming") {
      this.#expect(what, this.text.length, plain, (after) => `went on after ${after} s, where it was`);
    }
  }

  async second() {
    $("viewer").hidden = false;
    $("viewer-answer").textContent = "";
    let text = "";
    const mark = (this.made[this.id] ?? this.text).length;
    const since = performance.now();
    let told = false;
    const viewer = new Stream(() => [`generations/${this.id}`, {}], (event) => {
      if (this !== current) viewer.end("stopped");
      else if (event.type !== "message" || event.data === DONE) viewer.end("completed");
      else {
        text += JSON.parse(event.data);
        $("viewer-answer").textContent = text;
        $("viewer-answer").scrollTop = $("viewer-answer").scrollHeight;
        $("viewer-has").textContent = count(text.length);
      }
      if (told || (text.length < mark && viewer.state === "streaming")) return;
      told = true;
      this.#tellViewer(text, mark, since);
    });
    await viewer.run();
  }

  #tellViewer(text, mark, since) {
    const whole = [this.text, this.made[this.id] ?? ""].sort((a, b) => b.length - a.length)[0];
    const { lost, doubled } = whole.startsWith(text) ? { lost: 0, doubled: 0 } : compare(whole, text);
    const after = ((performance.now() - since) / 1000).toFixed(1);
    const live = { lost, doubled, words: `all ${count(text.length)} are there too, after ${after} s` };
    const plain = { lost: mark, doubled: 0, words: "has one reader: a second one starts a second answer" };
    this.story.add("Second viewer", live, plain);
    verdict(lost + doubled ? "differs" : "identical", sentence("Second viewer", live, plain));
    this.keep();
  }

  async raise() {
    const received = this.tries.at(-1);
    this.ending = {
      what: "Raised an error",
      words: () => `told why, "${this.live.failure}"; the server keeps ${count(this.transcript.text.length)}`,
      plain: () => ({ lost: 0, doubled: received, words: "broke off without a word, and began again" }),
    };
    if (this.plainState === "streaming") fetchFrom(`failures/${this.plainKey}`, post({}), this.live.worker);
    await fetchFrom(`failures/${this.id}`, post({}), this.#producer);
  }

  kill() {
    this.#expectOutage(`Killed worker ${this.live.worker}`);
    const { worker } = this.live;
    fetchFrom("worker/kill", post({}), worker).catch(() => {}); // it cannot answer any more
  }

  /** Ends the generation on the server, for everybody; its end comes through the stream. */
  async stop() {
    const received = this.tries.at(-1);
    const { plainState } = this;
    this.ending = {
      what: "Stopped",
      words: () => `the server keeps the ${count(this.transcript.text.length)} so far`,
      plain: () => ({ lost: received, doubled: 0, words: "the server keeps nothing" }),
    };
    if (plainState === "streaming") {
      this.plainState = "stopped";
      badge("plain-server-state", "failed", "nothing kept");
      this.#plainAbort.abort();
    }
    if (this.live.state !== "streaming") return;
    const response = await fetch(`generations/${this.id}`, { method: "DELETE" }).catch(() => null);
    if (!response?.ok) this.live.end("stopped"); // the server cannot be told
  }

  /** Leaves the answer, which goes on without this page. */
  leave() {
    this.plainState = "stopped";
    this.#plainAbort.abort();
    this.live.end("stopped");
    this.watch.end("stopped");
  }

  /** Compares the text here with what the server kept. */
  async #judge() {
    if (this !== current) return;
    try {
      this.transcript = await fetchJson(`transcripts/${this.id}`);
    } catch (error) {
      badge("server-state", "failed", "unknown");
      const failure = this.live.state === "failed" ? `Failed: ${this.live.failure}. ` : "";
      return verdict("failed", `${failure}What the server kept is unknown: ${error.message}.`);
    }
    if (this !== current) return;
    lanes.live.made(this.transcript.text);
    await lanes.live.settled();
    badge("server-state", this.transcript.outcome);
    if (this.transcript.outcome === "stopped" && this.live.state === "completed") {
      this.live.state = "stopped"; // by whichever page
      badge("browser-state", "stopped");
    }
    this.#waiting.splice(0).forEach((each) => this.#tell(each));
    if (this.ending) {
      const { what, words, plain } = this.ending;
      this.story.add(what, { ...this.scores().live, words: words() }, plain());
    }
    const [kind, text] = this.#relation();
    verdict(this.live.state === "failed" ? "failed" : kind, text);
  }

  #relation() {
    const [here, there] = [this.text, this.transcript.text];
    const ended = { completed: "", stopped: "Stopped half-way. ", failed: `Failed: ${this.live.failure}. ` };
    const start = ended[this.live.state];
    if (here === there) return ["identical", `${start}Identical: both sides hold the same ${characters(here)}.`];
    if (there.startsWith(here) && this.live.state !== "completed") {
      return ["prefix", `${start}The ${characters(here)} here are the beginning of the ${count(there.length)} that the server kept.`];
    }
    const { lost, doubled } = compare(there, here);
    return ["differs", `Differs: ${characters(here)} here, ${count(there.length)} on the server; ${count(lost)} lost, ${count(doubled)} doubled.`];
  }

  /** Both lanes have ended. */
  async #finish() {
    await lanes.plain.settled();
    this.show();
    if (!this.transcript) return;
    const { live, plain } = this.scores();
    const plainEnd = { completed: "complete, as far as it knows", gone: "gone", stopped: "stopped" };
    this.story.add("The end", { ...live, words: `${characters(this.text)} on both sides` },
      { ...plain, words: plainEnd[this.plainState] ?? "broken" });
    this.keep();
  }

  keep() {
    this.story.keep({ made: this.text.length });
  }

  /** Shows the figures, for as long as something goes on. */
  #tick() {
    if (this !== current) return;
    this.show();
    if (this.running) setTimeout(() => this.#tick(), 80);
  }

  show() {
    const { live, plain } = this.scores();
    lanes.live.score(live.lost, live.doubled);
    lanes.plain.score(plain.lost, plain.doubled);
    const made = this.transcript?.text ?? this.made[this.id] ?? "";
    const received = this.tries.reduce((sum, each) => sum + each, 0);
    lanes.live.figures(characters(made), characters(this.text));
    lanes.plain.figures(amount((this.made[this.plainKey] ?? "").length, "character"), amount(received, "character"));
    const first = this.transcript ? this.transcript.time_to_first_chunk : this.first;
    const { elapsed } = this;
    $("first").textContent = seconds(first);
    $("chunks").textContent = count(this.chunks);
    $("rate").textContent = this.chunks > 1 ? (this.chunks / Math.max(elapsed - (first ?? 0), 0.01)).toFixed(1) : "–";
    $("elapsed").textContent = seconds(elapsed);
    $("answer").setAttribute("aria-busy", String(this.live.state === "streaming"));
    enable(this);
  }
}

let current = null;
let source = { repeatable: true, killable: false };

/** Enables what can be done now. */
function enable(run) {
  const live = run.live.state === "streaming";
  for (const id of ["cut", "raise", "stop"]) $(id).disabled = !live;
  $("kill").disabled = !live || !source.killable;
}

async function begin(id, prompt) {
  current?.leave();
  current = new Run(id, prompt, source);
  history.replaceState(null, "", `#${id}`); // a reload or another tab finds it there
  for (const each of ["plain-answer", "plain-transcript"]) delete $(each).dataset.empty;
  enable(current);
  await current.run();
  enable(current);
}

const ask = () => begin(makeId(), $("prompt").value);

/** Follows the answer that the address names: after a reload, or in another tab. */
function follow() {
  const id = location.hash.slice(1);
  if (!/^[0-9a-f]{32}$/.test(id)) return false;
  if (id !== current?.id) begin(id, null);
  return true;
}

const actions = {
  cut: () => current.cut(),
  reload: () => location.reload(),
  second: () => current.second(),
  raise: () => current.raise(),
  kill: () => current.kill(),
  stop: () => current.stop(),
};
const keys = { c: "cut", r: "reload", v: "second", e: "raise", k: "kill", s: "stop", escape: "stop" };

for (const [id, action] of Object.entries(actions)) $(id).addEventListener("click", action);
$("form").addEventListener("submit", (event) => {
  event.preventDefault();
  ask();
});
$("prompt").addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  $("form").requestSubmit();
});
document.addEventListener("keydown", (event) => {
  const typing = event.target === $("prompt") && event.key !== "Escape";
  const id = keys[event.key.toLowerCase()];
  if (id && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) $(id).click();
});
window.addEventListener("hashchange", follow);
window.addEventListener("pagehide", () => current?.keep());

source = await fetchJson("source");
$("source-name").textContent = source.name;
$("source-detail").textContent = source.detail;
$("base-url").textContent = new URL("v1", location.href.split("#")[0]).href;
$("kill").title = source.killable ? "" : "start with: sse-asgi demo --redis redis://localhost --workers 2";
if (!follow()) ask();
