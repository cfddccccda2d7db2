// What opens beside the pair: guidelines, the annotator's own history, and the keys.

const KEYS = [
  ["Space, ↓ ↑", "scroll both responses"],
  ["[ ]", "scroll the conversation"],
  ["W", "write why; Esc goes back to the keys"],
  ["A", "compare by aspect: ← left, ↓ equal, → right"],
  ["⇧1 to ⇧9", "tags"],
  ["E", "improve a response: ← or →"],
  ["V", "text character by character"],
  ["D", "words that only one side has"],
  ["U", "take the last verdict back"],
  ["G", "guidelines"],
  ["H", "own history"],
];

const guidelinesPanel = (guidelines) => {
  const text = make("div");
  text.innerHTML = guidelines.html;
  return [make("h3", {}, "Guidelines"), make("div", { class: "hint" }, guidelines.version), text];
};

const keysPanel = () => [
  make("h3", {}, "Keys"),
  ...KEYS.map(([key, words]) => make("div", { class: "past" }, make("kbd", {}, key), make("span", {}, words))),
];

const historyPanel = (history, takeBack) => [
  make("h3", {}, "Your verdicts"),
  make("div", { class: "hint" }, history.length ? "Newest first, times in UTC." : "None yet."),
  ...history.map((past) =>
    make(
      "div",
      { class: past.stands ? "past" : "past gone" },
      make("div", { class: "hint" }, `${past.time} · ${past.words}${past.stands ? "" : " · taken back"}`),
      make("div", {}, past.question),
      past.more ? make("div", { class: "hint" }, past.more) : null,
      past.stands ? button("Take back", "", () => takeBack(past.event_id)) : null,
    ),
  ),
];
