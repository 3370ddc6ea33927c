// The demo page: begins an answer by itself, and lets buttons and keys disturb it.

import { $ } from "./lane.mjs";
import { Run, makeId } from "./run.mjs";
import { fetchJson } from "./stream.mjs";

const REFRESH = 80; // milliseconds between two looks at the figures

let current = null;
let source = { repeatable: true, killable: false };

/** Shows the figures of an answer and enables what can be done, for as long as it goes on. */
function refresh(run) {
  if (run !== current) return;
  run.show();
  for (const id of ["cut", "raise", "stop"]) $(id).disabled = !run.streaming;
  $("kill").disabled = !run.streaming || !source.killable;
  if (run.running) setTimeout(() => refresh(run), REFRESH);
}

async function begin(id, prompt) {
  current?.leave();
  const run = new Run(id, prompt, source);
  current = run;
  history.replaceState(null, "", `#${id}`); // a reload or another tab finds it there
  const ended = run.run();
  refresh(run);
  await ended;
  refresh(run);
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
if (!source.killable) $("kill").title = "start with: sse-asgi demo --redis redis://localhost --workers 2";
if (!follow()) ask();
