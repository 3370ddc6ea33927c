// The second lane: the same generator behind a plain StreamingResponse.

import { $, Lane, amount, badge } from "./lane.mjs";
import { pause, post, readPlain } from "./stream.mjs";

export const OUTAGE = 1200; // milliseconds that a cut connection stays away
const MOST_TRIES = 10;

const lane = new Lane("plain", "plain-transcript", "plain-answer");

export class Plain {
  tries = [0]; // characters received, by connection
  state = "streaming"; // then completed, stopped, lost, or gone with the page that had it
  #made = {}; // by the key of a try, what the server made
  #abort = new AbortController();

  /** `worker` tells which process of the server is to answer, `restarted` that another try begins. */
  constructor(id, worker, restarted) {
    this.id = id;
    this.worker = worker;
    this.restarted = restarted;
    lane.clear();
    for (const each of ["plain-answer", "plain-transcript"]) delete $(each).dataset.empty;
  }

  get key() {
    return `${this.id}p${this.tries.length - 1}`;
  }

  get made() {
    return this.#made[this.key] ?? "";
  }

  get received() {
    return this.tries.at(-1);
  }

  /** There is nothing to go on with: a plain response ends with the page that reads it. */
  leaveGone(reason) {
    this.state = "gone";
    badge("plain-state", "gone");
    badge("plain-server-state", "gone");
    $("plain-answer").dataset.empty = `${reason} A plain response has one reader, and ends with it.`;
    $("plain-transcript").dataset.empty = "The server has forgotten it.";
  }

  async run(prompt) {
    while (this.state === "streaming") await this.#try(prompt);
    if (this.state !== "gone") badge("plain-state", this.state);
    lane.link("idle");
    await lane.settled();
  }

  async #try(prompt) {
    this.#abort = new AbortController();
    const options = { ...post({ prompt }), signal: this.#abort.signal };
    const take = (text) => {
      this.tries[this.tries.length - 1] += text.length;
      lane.send(text);
    };
    try {
      await readPlain(`plain/${this.key}`, options, this.worker(), take, () => this.#opened());
      this.state = "completed";
      badge("plain-server-state", "completed");
    } catch {
      if (this.state === "streaming") await this.#begunAgain();
    }
  }

  /** As a reader does that knows no better: asks again, and gets the answer from its beginning. */
  async #begunAgain() {
    lane.link("cut", "cut");
    badge("plain-state", "lost");
    badge("plain-server-state", "failed", "nothing kept");
    await pause(OUTAGE);
    if (this.state !== "streaming") return;
    if (this.tries.length === MOST_TRIES) {
      this.state = "lost";
      return;
    }
    if (this.received > 0) lane.again();
    this.tries.push(0);
    lane.made("");
    this.restarted();
  }

  #opened() {
    lane.link("open");
    badge("plain-state", "streaming");
    badge("plain-server-state", "streaming", "generating");
  }

  /** Notes what the server made for a try. */
  note(key, text) {
    this.#made[key] = (this.#made[key] ?? "") + text;
    if (key === this.key) lane.made(this.made);
  }

  cut() {
    this.#abort.abort();
  }

  stop() {
    if (this.state !== "streaming") return;
    this.state = "stopped";
    badge("plain-server-state", "failed", "nothing kept");
    this.#abort.abort();
  }

  show({ lost, doubled }) {
    lane.score(lost, doubled);
    const received = this.tries.reduce((sum, each) => sum + each, 0);
    lane.figures(amount(this.made.length, "character"), amount(received, "character"));
  }
}
