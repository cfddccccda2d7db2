// One pair: the conversation above, the two responses side by side. There are two stages: one is on screen, the other
// holds the next pair, drawn and laid out already, so that showing it costs no more than making it visible.

class Stage {
  constructor() {
    this.prompt = make("div");
    this.left = make("div", { class: "said" });
    this.right = make("div", { class: "said" });
    this.sides = { left: this.frame("left", this.left), right: this.frame("right", this.right) };
    this.root = make(
      "div",
      { class: "stage" },
      make("div", { class: "prompt", tabindex: "-1" }, this.prompt),
      make("div", { class: "sides" }, this.sides.left, this.sides.right),
    );
    this.pair = null;
    this.drawn = "";
  }

  frame(side, said) {
    return make("div", { class: `response ${side}`, tabindex: "-1" }, make("span", { class: "role" }, side), said);
  }

  get pairId() {
    return this.pair ? this.pair.pair_id : null;
  }

  draw(pair, view) {
    const wanted = pair ? `${view} ${pair.pair_id}` : "";
    if (wanted === this.drawn) return;
    const other = !pair || pair.pair_id !== this.pairId;
    this.pair = pair;
    this.drawn = wanted;
    for (const part of ["prompt", "left", "right"]) this[part].innerHTML = pair ? pair[part] : "";
    if (other) for (const frame of Object.values(this.sides)) frame.scrollTop = 0;
  }

  show(front) {
    this.root.classList.toggle("front", front);
    this.root.classList.toggle("back", !front);
    this.root.toggleAttribute("inert", !front);
  }

  scroll(share) {
    for (const frame of Object.values(this.sides)) frame.scrollBy({ top: share * frame.clientHeight });
  }
}
