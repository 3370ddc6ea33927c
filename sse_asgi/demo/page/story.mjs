// What was done to the stream and what came of it, and what a reload must know of it.

import { $, amount, count } from "./lane.mjs";

/** How many characters of a whole text are lacking, and how many are there twice. */
export function compare(whole, text) {
  let same = 0;
  while (same < text.length && text[same] === whole[same]) same += 1;
  return { lost: Math.max(whole.length - same, 0), doubled: text.length - same };
}

/** The same for the tries of a plain response, each of which begins at the beginning. */
export function compareTries(length, tries) {
  const longest = Math.max(0, ...tries);
  const all = tries.reduce((sum, each) => sum + each, 0);
  return { lost: Math.max(length - longest, 0), doubled: all - longest };
}

function chip(number, noun) {
  const element = document.createElement("span");
  element.className = number > 0 ? "chip bad" : "chip";
  element.textContent = `${count(number)} ${noun}`;
  return element;
}

function cell({ lost, doubled, words }) {
  const element = document.createElement("td");
  element.append(chip(lost, "lost"), chip(doubled, "doubled"), words);
  return element;
}

export class Story {
  #id;
  rows = [];

  constructor(id) {
    this.#id = id;
    $("story").replaceChildren();
  }

  /** What was known before a reload; null in another tab. */
  recall() {
    const past = JSON.parse(sessionStorage.getItem(this.#id) ?? "null");
    for (const row of past?.rows ?? []) this.add(...row);
    return past;
  }

  keep(facts) {
    sessionStorage.clear(); // one answer is enough
    sessionStorage.setItem(this.#id, JSON.stringify({ ...facts, rows: this.rows }));
  }

  /** Adds a row: what was done, and for each lane what it cost. */
  add(what, live, plain) {
    this.rows.push([what, live, plain]);
    const row = document.createElement("tr");
    const head = document.createElement("td");
    head.textContent = what;
    row.append(head, cell(live), cell(plain));
    $("story").prepend(row); // the latest is seen first
  }
}

/** One sentence about a verdict, for the status line. */
export function sentence(what, live, plain) {
  const said = ({ lost, doubled }) => `${amount(lost, "character")} lost, ${count(doubled)} doubled`;
  return `${what}: ${said(live)}. Plain: ${said(plain)}.`;
}
