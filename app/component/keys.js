// What each key does. While somebody writes only Escape is a key; one that is held down counts once.

class Keyboard {
  constructor(desk) {
    this.desk = desk;
  }

  press(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    const writing = event.target.closest?.("textarea, input, select, [contenteditable]");
    if (event.key === "Escape") this.backOut(writing);
    else if (writing || event.repeat) return;
    else if (!this.act(event)) return;
    event.preventDefault();
  }

  backOut(writing) {
    const { desk } = this;
    if (desk.editor) desk.closeEditor(true);
    else if (desk.menu) desk.closeMenu();
    else if (writing) writing.blur();
    else if (desk.panel) desk.toggle(desk.panel);
    else desk.details.ask(Infinity);
  }

  act(event) {
    const { details, menu } = this.desk;
    const name = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    const digit = /^Digit[1-9]$/.test(event.code) ? Number(event.code.slice(5)) : Number(event.key);
    if (menu) return this.inMenu(name, digit);
    if (details.row !== undefined && this.inAspects(name)) return true;
    if (event.shiftKey && digit >= 1) return details.toggle(digit - 1), true;
    if (event.shiftKey && name !== " " && name !== "?") return false;
    const action = this.actions(digit)[digit >= 1 && !event.shiftKey ? String(digit) : name];
    action?.();
    return Boolean(action);
  }

  inMenu(name, digit) {
    const place = { ArrowLeft: 0, ArrowRight: this.desk.choices.length - 1 }[name] ?? digit - 1;
    const chosen = this.desk.choices[place];
    if (chosen !== undefined) this.desk.choose(chosen);
    return true;
  }

  inAspects(name) {
    const side = { ArrowLeft: "left", ArrowRight: "right", ArrowDown: "tie" }[name];
    if (!side) return false;
    const { details } = this.desk;
    const row = details.row;
    details.judge(row, side);
    details.ask(row + 1);
    return true;
  }

  actions(digit) {
    const { desk } = this;
    const { task, last, view } = desk.data;
    const scale = task.mode === "scale";
    const other = (name) => desk.send("view", view === name ? "formatted" : name);
    return {
      ...(scale && digit >= 1 && digit <= 7 ? { [String(digit)]: () => desk.press(ofScale(digit), digit) } : {}),
      ...(scale ? {} : {
        ArrowLeft: () => desk.press("left"), ArrowRight: () => desk.press("right"), t: () => desk.press("tie"),
      }),
      ...(task.both_bad ? { b: () => desk.press("both_bad") } : {}),
      ...(task.edit ? { e: () => desk.improve() } : {}),
      ...(task.guidelines ? { g: () => desk.toggle("guidelines") } : {}),
      ...(task.rationale === "off" ? {} : { w: () => desk.details.why.focus() }),
      ...(task.aspects.length ? { a: () => desk.details.ask(0) } : {}),
      ...(last ? { u: () => desk.undo(last.event_id) } : {}),
      s: () => desk.skip(), v: () => other("raw"), d: () => other("diff"),
      h: () => desk.toggle("history"), "?": () => desk.toggle("keys"),
      " ": () => desk.front.scroll(0.8), ArrowDown: () => desk.front.scroll(0.2), ArrowUp: () => desk.front.scroll(-0.2),
      "[": () => desk.front.prompt.parentElement.scrollBy({ top: -120 }),
      "]": () => desk.front.prompt.parentElement.scrollBy({ top: 120 }),
    };
  }
}
