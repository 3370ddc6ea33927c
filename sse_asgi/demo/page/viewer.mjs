// A second viewer of the same answer, beside the first.

import { $, count } from "./lane.mjs";
import { compare } from "./story.mjs";
import { DONE, Stream } from "./stream.mjs";

/** Reads a run's answer from its beginning, and says once what it lacks of what there was by then. */
export function follow(run, say) {
  $("viewer").hidden = false;
  let [text, told] = ["", false];
  const [mark, start] = [Math.max(run.made.length, run.text.length), performance.now()];

  function tell() {
    const whole = run.text.length > run.made.length ? run.text : run.made;
    const after = ((performance.now() - start) / 1000).toFixed(1);
    const live = whole.startsWith(text)
      ? { lost: Math.max(mark - text.length, 0), doubled: 0 }
      : compare(whole, text);
    say({ ...live, words: `all ${count(text.length)} are there, after ${after} s` },
      { lost: mark, doubled: 0, words: "has one reader: a second one starts a second answer" });
  }

  const viewer = new Stream(() => [`generations/${run.id}`, {}], (event) => {
    if (run.left || event.type !== "message" || event.data === DONE) viewer.end("completed");
    else text += JSON.parse(event.data);
    if (run.left) return;
    $("viewer-answer").textContent = text;
    $("viewer-answer").scrollTop = $("viewer-answer").scrollHeight;
    $("viewer-has").textContent = count(text.length);
    if (told || (text.length < mark && viewer.state === "streaming")) return;
    told = true;
    tell();
  });
  viewer.run();
}
