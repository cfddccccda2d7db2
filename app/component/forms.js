// What comes with a verdict: why, tags, aspects, an improved text, and the reason of a skip.

// Why, tags and aspects; they go with the next verdict and are empty again for the next pair.
class Details {
  constructor(task) {
    this.task = task;
    this.root = make("div", { class: "details" });
    this.why = make("textarea", {
      class: "why",
      rows: "1",
      maxlength: "4000",
      "aria-label": "Why",
      placeholder: task.rationale === "required" ? "Why? (W, required)" : "Why? (W)",
    });
    this.clear();
  }

  clear() {
    this.tags = new Set();
    this.aspects = {};
    this.why.value = "";
    this.draw();
  }

  draw() {
    const aspects = this.task.aspects.map((name, row) => this.aspect(name, row));
    const tags = this.task.tags.map((name, place) =>
      this.chip(name, `⇧${place + 1}`, this.tags.has(name), () => this.toggle(place)),
    );
    fill(
      this.root,
      aspects.length && make("div", { class: "aspects" }, ...aspects),
      tags.length && make("div", { class: "tags" }, ...tags),
      this.task.rationale !== "off" && this.why,
    );
  }

  chip(words, key, chosen, press) {
    const chip = button(words, key, press, chosen ? "chip chosen" : "chip");
    chip.setAttribute("aria-pressed", String(chosen));
    return chip;
  }

  aspect(name, row) {
    const choices = [["left", "L"], ["tie", "="], ["right", "R"]].map(([side, sign]) =>
      this.chip(sign, "", this.aspects[name] === side, () => this.judge(row, side)),
    );
    choices.forEach((choice, place) => choice.setAttribute("aria-label", `${name}: ${["left", "tie", "right"][place]}`));
    return make("div", { class: row === this.row ? "aspect asked" : "aspect" }, make("span", {}, name), ...choices);
  }

  toggle(place) {
    const name = this.task.tags[place];
    if (!name) return;
    if (!this.tags.delete(name)) this.tags.add(name);
    this.draw();
  }

  judge(row, side) {
    const name = this.task.aspects[row];
    if (this.aspects[name] === side) delete this.aspects[name];
    else this.aspects[name] = side;
    this.draw();
  }

  ask(row) {
    this.row = row < this.task.aspects.length ? row : undefined;
    this.draw();
  }

  get said() {
    const rationale = this.why.value.trim();
    return { rationale: rationale || null, tags: [...this.tags], aspects: { ...this.aspects } };
  }
}

// The text that an annotator improves, in place of the response, with what it changes below.
class Editor {
  constructor(stage, side, draft, changed, close) {
    this.side = side;
    this.pairId = stage.pairId;
    this.before = stage.pair.texts[side];
    this.changed = changed;
    this.area = make("textarea", { class: "improved", "aria-label": `Improve the ${side} response` });
    this.area.value = draft;
    this.area.addEventListener("input", () => this.wait());
    this.difference = make("div", { class: "difference" });
    this.root = make(
      "div",
      { class: "editor" },
      this.area,
      make(
        "div",
        { class: "row" },
        button("Keep", "Esc", () => close(true), "primary"),
        button("Discard", "", () => close(false)),
        make("span", { class: "hint" }, "The improved text becomes the chosen one, what stands here the rejected one."),
      ),
      this.difference,
    );
  }

  get text() {
    return this.area.value;
  }

  get differs() {
    return this.text.trim() !== "" && this.text !== this.before;
  }

  wait() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.changed(), 400);
  }
}

// Reasons of a skip, or anything else of which one is chosen by its number.
const menu = (title, choices, choose) =>
  make(
    "div",
    { class: "menu", role: "menu" },
    make("b", {}, title),
    ...choices.map((words, place) => button(words, String(place + 1), () => choose(words))),
    make("span", { class: "hint" }, "Esc goes back"),
  );
