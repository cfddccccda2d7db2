// The lines around the pair: who labels and how far they are, the verdicts, and the tools.

const DEGREES = ["much better", "better", "slightly better", "tie", "slightly better", "better", "much better"];
const ofScale = (place) => (place < 4 ? "left" : place > 4 ? "right" : "tie");

const drawStatus = (desk) => {
  const { progress, annotator, view, last, task } = desk.data;
  const judged = progress.done + progress.skipped;
  const share = make("progress", { max: "1", value: String(judged / Math.max(judged + progress.left, 1)) });
  const count = (number, words) => make("span", { class: "count" }, make("b", {}, String(number)), ` ${words}`);
  fill(
    desk.top,
    make("span", { class: "annotator" }, annotator),
    count(progress.done, "done"), count(progress.left, "left"), count(progress.skipped, "skipped"),
    share, desk.notice,
  );
  const other = (name) => (view === name ? "formatted" : name);
  const shown = Boolean(desk.front.pair);
  fill(
    desk.tools,
    last && button(`Undo (${last.words})`, "U", () => desk.undo(last.event_id)),
    shown && task.edit && button("Improve", "E", () => desk.improve()),
    shown && button(view === "raw" ? "Formatted view" : "Raw view", "V", () => desk.send("view", other("raw"))),
    shown && button(view === "diff" ? "Formatted view" : "Differences", "D", () => desk.send("view", other("diff"))),
    task.guidelines && button("Guidelines", "G", () => desk.toggle("guidelines")),
    button("History", "H", () => desk.toggle("history")),
    button("Keys", "?", () => desk.toggle("keys")),
  );
  desk.bar.toggleAttribute("hidden", !shown);
  desk.details.root.toggleAttribute("hidden", !shown);
  if (!shown) desk.stages.dataset.empty = desk.pending ? "Saving…" : desk.data.empty;
};

const drawVerdicts = (desk) => {
  const one = (words, key, verdict, place, look) =>
    button(words, key, () => desk.press(verdict, place), `verdict ${look}`);
  const places = [1, 2, 3, 4, 5, 6, 7].map((place) => {
    const side = ofScale(place);
    const words = side === "tie" ? "Tie" : `${side === "left" ? "Left" : "Right"} ${DEGREES[place - 1]}`;
    return one(words, String(place), side, place, `on-${side} degree-${Math.abs(place - 4)}`);
  });
  const choice = [
    one("Left is better", "←", "left", null, "on-left degree-2"),
    one("Tie", "T", "tie", null, "on-tie"),
    one("Right is better", "→", "right", null, "on-right degree-2"),
  ];
  fill(
    desk.bar,
    make("div", { class: "scale" }, ...(desk.task.mode === "scale" ? places : choice)),
    desk.task.both_bad && one("Both bad", "B", "both_bad", null, "aside"),
    button("Skip", "S", () => desk.skip(), "verdict aside"),
  );
};
