// One answer: both lanes of it, what disturbs them, and what each has lost.

import { $, Lane, amount, badge, count } from "./lane.mjs";
import { OUTAGE, Plain } from "./plain.mjs";
import { Story, compare, compareTries, relation, sentence } from "./story.mjs";
import { DONE, Stream, fetchFrom, fetchJson, pause, post } from "./stream.mjs";
import { follow } from "./viewer.mjs";

const MOST_MOVES = 12; // tries to be served by another process than the one that makes the answer

const lane = new Lane("live", "transcript", "answer");
const seconds = (value) => (value == null ? "–" : `${value.toFixed(2)} s`);
const characters = (text) => amount(text.length, "character");
const since = (start) => ((performance.now() - start) / 1000).toFixed(1);

/** An id whose first twelve digits are the time, so that every page knows when an answer began. */
export function makeId() {
  const random = Array.from(crypto.getRandomValues(new Uint8Array(10)), (byte) =>
    byte.toString(16).padStart(2, "0"));
  return Date.now().toString(16).padStart(12, "0") + random.join("");
}

function verdict(kind, text) {
  $("verdict").dataset.verdict = kind;
  $("verdict").textContent = text;
}

/** An answer that is started here, or, without a prompt, followed: after a reload, in another tab. */
export class Run {
  text = "";
  chunks = 0;
  left = false;
  #first = null; // seconds until the first chunk, if it was seen here
  #made = ""; // what the server has made so far
  #transcript = null; // what it kept, at the end
  #waiting = []; // disturbances whose verdict is due once the stream has gone on
  #ending = null; // what ended it, if a button did
  #producer = ""; // the process that makes the answer
  #moves = 0;
  #begun;

  constructor(id, prompt, source) {
    this.id = id;
    this.prompt = prompt;
    this.source = source;
    this.#begun = parseInt(id.slice(0, 12), 16);
    this.story = new Story(id);
    this.live = new Stream(
      () => [`generations/${id}`, prompt === null || this.#producer ? {} : post({ prompt })],
      (event) => this.#take(event),
      (open, worker) => this.#link(open, worker),
    );
    this.watch = new Stream(() => [this.#watched, {}], (event) => this.#note(event));
    this.plain = new Plain(id, () => this.live.worker, () => this.watch.cut(0));
  }

  get #watched() {
    const plain = this.plain.state === "gone" ? "" : `&key=${this.plain.key}`;
    return `watch?key=${this.id}${plain}`;
  }

  get streaming() {
    return this.live.state === "streaming";
  }

  get running() {
    return this.streaming || this.plain.state === "streaming";
  }

  get elapsed() {
    return this.#transcript?.duration ?? (Date.now() - this.#begun) / 1000;
  }

  get made() {
    return this.#transcript?.text ?? this.#made;
  }

  async run() {
    lane.clear();
    $("viewer").hidden = true;
    verdict("running", "Waiting for the first chunk…");
    badge("browser-state", "streaming");
    badge("server-state", "streaming", "generating");
    const past = this.story.recall();
    if (this.prompt === null) this.#arrive(past);
    const watching = this.watch.run();
    await Promise.all([this.#runLive(), this.#runPlain()]);
    this.watch.end("completed");
    await watching;
    if (!this.left && this.#transcript) this.#tellEnd();
  }

  #arrive(past) {
    this.plain.leaveGone(past ? "The reload has taken it with it." : "Another page cannot follow it.");
    if (past) {
      this.#expect("Reloaded", past.made, (mark) => ({ lost: mark, doubled: 0, words: "all of it is gone" }));
    }
  }

  async #runLive() {
    await this.live.run();
    lane.link("idle");
    await lane.settled();
    if (this.left) return;
    badge("browser-state", this.live.state);
    await this.#judge();
  }

  async #runPlain() {
    while (!this.live.worker && this.streaming) await pause(20); // both by the same process
    if (!this.live.worker) this.plain.stop();
    await this.plain.run(this.prompt);
  }

  /** Notes a connection that is there or lost, and returns whether it is a welcome one. */
  #link(open, worker) {
    lane.link(open ? "open" : "cut", open ? "" : "cut");
    if (!open) {
      for (const each of this.#waiting) each.lost = true;
      return true;
    }
    this.#producer ||= worker;
    // Another process than the one that makes the answer: so that one of them can be killed.
    this.#moves += 1;
    return !this.source.killable || worker !== this.#producer || this.#moves > MOST_MOVES;
  }

  #take(event) {
    if (event.type === "error") this.live.end("failed", JSON.parse(event.data).message);
    else if (event.type !== "message") return;
    else if (event.data === DONE) this.live.end("completed");
    else {
      if (this.chunks === 0) verdict("running", "Streaming. Now break it.");
      if (this.chunks === 0 && this.prompt !== null) this.#first = this.elapsed;
      const chunk = JSON.parse(event.data);
      this.text += chunk;
      this.chunks += 1;
      lane.send(chunk);
      this.#resolve();
    }
  }

  /** Notes what the server made, in whichever lane: the first knows of no other's connection. */
  #note(event) {
    if (event.type === this.id) {
      this.#made += JSON.parse(event.data);
      lane.made(this.#made);
    } else if (event.type !== "message") this.plain.note(event.type, JSON.parse(event.data));
    else if (event.data === DONE && !this.running) this.watch.end("completed");
  }

  /** What each lane lacks, and what it has twice; what is on its way is not lost. */
  scores() {
    const { text, made, streaming } = this;
    const well = streaming && (made.startsWith(text) || text.startsWith(made));
    const whole = this.source.repeatable ? made.length : this.plain.made.length;
    const plain = compareTries(whole, this.plain.tries);
    if (this.plain.state === "streaming") plain.lost = 0;
    return { live: well ? { lost: 0, doubled: 0 } : compare(made, text), plain };
  }

  /**
   * Notes that a verdict is due once the first lane has more than it has now. A disturbance with
   * `words` has to be seen first: the connection must be lost.
   */
  #expect(what, mark, judgePlain, words = null) {
    this.#waiting.push({ what, mark, judgePlain, words, start: performance.now(), lost: !words });
  }

  #resolve() {
    const due = this.#waiting.filter(({ mark, lost }) => lost && this.text.length > mark);
    this.#waiting = this.#waiting.filter((each) => !due.includes(each));
    for (const each of due) this.#tell(each);
  }

  #tell({ what, mark, judgePlain, words, start }) {
    const said = words?.(since(start)) ?? `all ${count(mark)} are back, after ${since(start)} s`;
    this.#say(what, { ...this.scores().live, words: said }, judgePlain(mark));
  }

  #say(what, live, plain) {
    this.story.add(what, live, plain);
    verdict(live.lost + live.doubled ? "differs" : "identical", sentence(what, live, plain));
    this.keep();
  }

  #expectOutage(what) {
    const { received } = this.plain;
    const again = { lost: 0, doubled: received, words: "began again from the beginning" };
    const judge = () => (["streaming", "completed"].includes(this.plain.state) ? again : this.#gone());
    this.#expect(what, this.text.length, judge, (after) => `went on after ${after} s, where it was`);
  }

  #gone() {
    return { ...this.scores().plain, words: "was gone already" };
  }

  cut() {
    this.#expectOutage("Cut the connection");
    this.live.cut(OUTAGE);
    this.plain.cut();
  }

  kill() {
    const { worker } = this.live;
    this.#expectOutage(`Killed worker ${worker}`);
    fetchFrom("worker/kill", post({}), worker).catch(() => {}); // it cannot answer any more
  }

  second() {
    follow(this, (live, plain) => this.#say("Second viewer", live, plain));
  }

  /** Has the generators of both lanes raise an error. */
  async raise() {
    const { received, state } = this.plain;
    const broken = { lost: 0, doubled: received, words: "broke off without a word, and began again" };
    const ending = {
      what: "Raised an error",
      words: () => `told why, "${this.live.failure}"; the server keeps ${count(this.made.length)}`,
      plain: () => (state === "streaming" ? broken : this.#gone()),
    };
    if (state === "streaming") fetchFrom(`failures/${this.plain.key}`, post({}));
    const response = await fetchFrom(`failures/${this.id}`, post({}));
    if (response.ok) this.#ending = ending; // else it has just ended
  }

  /** Ends the generation on the server, for everybody; its end comes through the stream. */
  async stop() {
    const { received, state } = this.plain;
    const nothing = { lost: received, doubled: 0, words: "the server keeps nothing" };
    this.#ending = {
      what: "Stopped",
      words: () => `the server keeps the ${count(this.made.length)} so far`,
      plain: () => (state === "gone" ? this.#gone() : nothing),
    };
    this.plain.stop();
    const response = await fetch(`generations/${this.id}`, { method: "DELETE" }).catch(() => null);
    if (!response?.ok) this.live.end("stopped"); // the server cannot be told
  }

  /** Leaves the answer, which goes on without this page. */
  leave() {
    this.left = true;
    this.plain.stop();
    this.live.end("stopped");
    this.watch.end("stopped");
  }

  /** Compares the text here with what the server kept. */
  async #judge() {
    try {
      this.#transcript = await fetchJson(`transcripts/${this.id}`);
    } catch (error) {
      badge("server-state", "failed", "unknown");
      const failure = this.live.state === "failed" ? `Failed: ${this.live.failure}. ` : "";
      return verdict("failed", `${failure}What the server kept is unknown: ${error.message}.`);
    }
    if (this.left) return;
    lane.made(this.made);
    badge("server-state", this.#transcript.outcome);
    if (this.#transcript.outcome === "stopped" && this.live.state === "completed") {
      this.live.state = "stopped"; // by whichever page
      badge("browser-state", "stopped");
    }
    for (const each of this.#waiting.splice(0)) this.#tell(each);
    if (this.#ending) {
      const { what, words, plain } = this.#ending;
      this.#say(what, { ...this.scores().live, words: words() }, plain());
    }
    verdict(...relation(this.text, this.made, this.live));
  }

  #tellEnd() {
    const { live, plain } = this.scores();
    const words = { completed: "complete, as far as it knows", gone: "gone", stopped: "stopped" };
    this.story.add("The end", { ...live, words: `${characters(this.text)} on both sides` },
      { ...plain, words: words[this.plain.state] ?? "broken" });
    this.keep();
  }

  keep() {
    this.story.keep({ made: this.text.length });
  }

  /** Shows the figures. */
  show() {
    const { live, plain } = this.scores();
    lane.score(live.lost, live.doubled);
    lane.figures(characters(this.made), characters(this.text));
    this.plain.show(plain);
    const first = this.#transcript ? this.#transcript.time_to_first_chunk : this.#first;
    const time = Math.max(this.elapsed - (first ?? 0), 0.01);
    $("first").textContent = seconds(first);
    $("chunks").textContent = count(this.chunks);
    $("rate").textContent = this.chunks > 1 ? (this.chunks / time).toFixed(1) : "–";
    $("elapsed").textContent = seconds(this.elapsed);
    $("answer").setAttribute("aria-busy", String(this.streaming));
  }
}
