// One lane of the page: what the server made, what travels, and what the browser has.

export const $ = (id) => document.getElementById(id);
export const count = (value) => value.toLocaleString("en");
export const amount = (number, noun) => `${count(number)} ${noun}${number === 1 ? "" : "s"}`;

const FLIGHT = 420; // milliseconds that a chunk is shown on its way
const SPACING = 12; // milliseconds between chunks that came together
const LONGEST_QUEUE = 600; // milliseconds that the last of them waits
const calm = matchMedia("(prefers-reduced-motion: reduce)");

export function badge(id, state, label = state) {
  $(id).textContent = label;
  $(id).dataset.state = state;
}

/** Puts a text into an element; one that begins with the present text is only added to. */
function grow(element, text) {
  const node = element.firstChild ?? element.appendChild(document.createTextNode(""));
  if (text.startsWith(node.data)) node.appendData(text.slice(node.data.length)); // never markup
  else node.data = text;
}

const room = (element) => element.scrollHeight - element.clientHeight;

export class Lane {
  #name;
  #server;
  #browser;
  #wire;
  #made = "";
  #pieces = [""]; // what is shown of each try; all but the first come again
  #flying = []; // [chunk, its try], in the order in which they arrive
  #last = 0; // when the last of them arrives
  #drawing = false;
  #round = 0;
  #follows = true; // the end is kept in view, unless somebody scrolls up

  constructor(name, server, browser) {
    this.#name = name;
    this.#server = $(server);
    this.#browser = $(browser);
    this.#wire = $(`${name}-wire`);
    this.#scrollTogether(this.#server, this.#browser);
    this.#scrollTogether(this.#browser, this.#server);
  }

  clear() {
    this.#round += 1;
    this.#made = "";
    this.#pieces = [""];
    this.#flying = [];
    this.#last = 0;
    this.#follows = true;
    this.#server.replaceChildren();
    this.#browser.replaceChildren();
    this.score(0, 0);
    this.link("idle");
    this.figures("", "");
  }

  /** Shows what the server has made so far. */
  made(text) {
    this.#made = text;
    this.#draw();
  }

  /** Sends a chunk over the wire, into the text of the present try. */
  send(chunk) {
    this.#flying.push([chunk, this.#pieces.length - 1]);
    if (calm.matches || document.hidden) return this.#land(Infinity);
    const now = performance.now();
    const soonest = Math.min(this.#last + SPACING, now + FLIGHT + LONGEST_QUEUE);
    if (soonest > this.#last) this.#fly(Math.max(soonest - FLIGHT - now, 0));
    this.#last = Math.max(soonest, now + FLIGHT);
    const round = this.#round;
    setTimeout(() => round === this.#round && this.#land(1), this.#last - now);
  }

  #land(number) {
    for (const [chunk, piece] of this.#flying.splice(0, number)) this.#pieces[piece] += chunk;
    this.#draw();
  }

  /** Begins anew, below what was there. */
  again() {
    this.#pieces.push("");
  }

  /** Waits until nothing is on its way. */
  async settled() {
    while (this.#flying.length) await new Promise((resolve) => setTimeout(resolve, 30));
    this.#render();
  }

  link(state, label = "") {
    this.#wire.dataset.link = state;
    this.#wire.firstElementChild.textContent = label;
  }

  score(lost, doubled) {
    for (const [what, number] of [["lost", lost], ["doubled", doubled]]) {
      const element = $(`${this.#name}-${what}`);
      element.textContent = count(number);
      element.classList.toggle("bad", number > 0);
    }
  }

  figures(made, has) {
    $(`${this.#name}-made`).textContent = made;
    $(`${this.#name}-has`).textContent = has;
  }

  #fly(delay) {
    const dot = this.#wire.appendChild(document.createElement("i"));
    const { clientWidth: width, clientHeight: height } = this.#wire;
    const down = getComputedStyle(this.#wire, "::before").borderTopWidth === "0px"; // on a phone
    const place = (part) => (down ? `translateY(${part * (height - 8)}px)` : `translateX(${part * (width - 8)}px)`);
    const frames = [0, 0.15, 0.85, 1].map((at) => ({
      offset: at, transform: place(at), opacity: at > 0 && at < 1 ? 1 : 0,
    }));
    const flight = dot.animate(frames, { duration: FLIGHT, delay, fill: "backwards" });
    flight.onfinish = flight.oncancel = () => dot.remove();
  }

  #draw() {
    if (this.#drawing) return;
    this.#drawing = true;
    if (document.hidden) this.#render();
    else requestAnimationFrame(() => this.#render());
  }

  #render() {
    this.#drawing = false;
    this.#showMade();
    this.#pieces.forEach((piece, index) => {
      if (piece === "") return;
      while (this.#browser.children.length <= index) this.#browser.append(document.createElement("span"));
      const span = this.#browser.children[index];
      span.className = index ? "again" : "";
      grow(span, piece);
    });
    if (!this.#follows) return;
    for (const panel of [this.#server, this.#browser]) panel.scrollTop = panel.scrollHeight;
  }

  /** Shows the text of the server; what the browser lacks of it is marked. */
  #showMade() {
    if (this.#made === "") return this.#server.replaceChildren();
    if (!this.#server.children.length) {
      this.#server.append(document.createElement("span"), document.createElement("mark"));
    }
    const shown = this.#pieces.at(-1);
    const common = this.#made.startsWith(shown) ? shown.length : this.#made.length;
    const [there, beyond] = this.#server.children;
    grow(there, this.#made.slice(0, common));
    beyond.textContent = this.#made.slice(common);
  }

  #scrollTogether(one, other) {
    one.addEventListener("scroll", () => {
      if (!one.matches(":hover, :focus")) return; // it was not the reader
      this.#follows = room(one) - one.scrollTop < 40;
      other.scrollTop = room(one) > 0 ? (one.scrollTop / room(one)) * room(other) : 0;
    }, { passive: true });
  }
}
