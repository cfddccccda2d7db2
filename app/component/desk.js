// The labelling page in the browser: keys, the swap to the next pair, and the vote on its way to the store.
//
// A vote names the pair that was on screen and has a UUID of its own. Until the store has answered, no other vote leaves
// this page, and a pair that came on screen less than `look_ms` ago takes none: a second press never meets a pair that
// nobody has seen. A vote that gets no answer is sent again, with the same UUID, so that it counts once.

const AGAIN_MS = 4000;

const uuid = () => {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
};

class Desk {
  constructor(root, data) {
    this.root = root;
    this.task = data.task;
    this.front = new Stage();
    this.back = new Stage();
    this.details = new Details(this.task);
    this.top = make("div", { class: "top" });
    this.notice = make("span", { class: "notice", role: "status" });
    this.stages = make("div", { class: "stages" }, this.front.root, this.back.root);
    this.bar = make("div", { class: "verdicts" });
    this.tools = make("div", { class: "tools" });
    this.drawer = make("aside", { class: "drawer" });
    drawVerdicts(this);
    const middle = make("div", { class: "middle" }, this.stages, this.drawer);
    fill(root, this.top, middle, this.details.root, this.bar, this.tools);
    this.store = `winnow vote of ${data.annotator}`;
    this.pending = JSON.parse(sessionStorage.getItem(this.store) ?? "null");
    this.seen = data.answer ? `${data.sitting} ${data.answer.number}` : "";
    const keyboard = new Keyboard(this);
    this.onKey = (event) => keyboard.press(event);
  }

  // --- what the server says ---

  receive(data, send) {
    this.send = send;
    this.data = data;
    this.join();
    this.heard(data);
    this.arrange();
    drawStatus(this);
    this.open();
    this.showDifference();
  }

  join() {
    if (this.timer) return;
    document.addEventListener("keydown", this.onKey);
    this.timer = setInterval(() => this.sendAgain(), 500);
    this.send("ready", true);
    if (this.pending) this.deliver();
  }

  leave() {
    if (!this.root.isConnected) this.stop();
  }

  stop() {
    document.removeEventListener("keydown", this.onKey);
    clearInterval(this.timer);
    this.timer = null;
  }

  heard(data) {
    const answer = data.answer;
    const number = answer ? `${data.sitting} ${answer.number}` : "";
    if (this.pending && answer && answer.event_id === this.pending.event_id) {
      this.pending = null;
      sessionStorage.removeItem(this.store);
    } else if (this.pending && this.sentTo !== data.sitting) {
      this.deliver();
    }
    if (answer && number !== this.seen) this.tell(answer.kind, answer.text);
    this.seen = number;
  }

  arrange() {
    const { current, following, view } = this.data;
    if (this.pending) {
      const next = current && current.pair_id === this.pending.pair_id ? following : current;
      if (!this.front.pair && next) this.put(next);
      return;
    }
    if (!current) this.put(null);
    else if (this.front.pairId === current.pair_id) this.front.draw(current, view);
    else if (this.back.pairId === current.pair_id) this.swap();
    else this.put(current);
    this.front.draw(current, view);
    this.back.draw(following, view);
  }

  // --- what is on screen ---

  put(pair) {
    this.newPair();
    this.front.draw(pair, this.data.view);
    this.show();
  }

  swap() {
    [this.front, this.back] = [this.back, this.front];
    this.newPair();
    this.show();
  }

  show() {
    this.front.show(true);
    this.back.show(false);
    this.stages.classList.toggle("empty", !this.front.pair);
    this.shownAt = performance.now();
  }

  newPair() {
    this.closeMenu();
    this.closeEditor(false);
    this.improved = null;
    this.details.clear();
    this.details.ask(Infinity);
  }

  tell(kind, words) {
    this.notice.className = `notice ${kind}`;
    this.notice.textContent = words;
  }

  // --- panels ---

  toggle(name) {
    this.panel = this.panel === name ? null : name;
    if (name === "history" || this.data.history) this.send("history", this.panel === "history");
    this.open();
  }

  open() {
    const { task, history } = this.data;
    this.drawer.toggleAttribute("hidden", !this.panel);
    if (this.panel === "guidelines") fill(this.drawer, ...guidelinesPanel(task.guidelines));
    if (this.panel === "keys") fill(this.drawer, ...keysPanel());
    if (this.panel === "history") fill(this.drawer, ...historyPanel(history ?? [], (id) => this.undo(id)));
  }

  openMenu(title, choices, choose) {
    this.closeMenu();
    this.choices = choices;
    this.choose = (words) => {
      this.closeMenu();
      choose(words);
    };
    this.menu = menu(title, choices, this.choose);
    this.bar.append(this.menu);
  }

  closeMenu() {
    this.menu?.remove();
    this.menu = null;
  }

  // --- improving a response ---

  improve() {
    if (!this.front.pair || this.editor) return;
    this.openMenu("Improve which response?", ["Left", "Right"], (words) => this.edit(words.toLowerCase()));
  }

  edit(side) {
    const draft = this.improved?.side === side ? this.improved.text : this.front.pair.texts[side];
    const changed = () => {
      const { pairId: pair_id, text } = this.editor;
      this.send("draft", { pair_id, side, text });
    };
    this.editor = new Editor(this.front, side, draft, changed, (keep) => this.closeEditor(keep));
    this.front.sides[side].classList.add("editing");
    this.front.sides[side].append(this.editor.root);
    this.editor.area.focus();
    this.editor.area.setSelectionRange(0, 0);
    this.editor.area.scrollTop = 0;
  }

  closeEditor(keep) {
    if (!this.editor) return;
    const { side, text, differs, root, pairId: pair_id, timer } = this.editor;
    clearTimeout(timer);
    this.editor = null;
    this.improved = keep && differs ? { side, text } : null;
    for (const stage of [this.front, this.back]) {
      stage.sides[side].classList.remove("editing");
      stage.sides[side].querySelector(".improvement")?.remove();
    }
    root.remove();
    if (this.improved) {
      this.front.sides[side].append(make("div", { class: "improvement" }));
      this.showDifference(); // what was written last may be drawn already, and then nothing new arrives
      this.send("draft", { pair_id, side, text });
    }
  }

  showDifference() {
    const draft = this.data.draft;
    if (!draft || draft.pair_id !== this.front.pairId) return;
    const place = this.editor?.difference ?? this.front.sides[draft.side].querySelector(".improvement");
    if (!place) return;
    const difference = make("div");
    difference.innerHTML = draft.html;
    fill(place, make("b", {}, this.editor ? "What changes" : "Improved (E goes on)"), difference);
  }

  // --- verdicts ---

  get elapsed() {
    return Math.floor(performance.now() - this.shownAt);
  }

  press(verdict, scale = null, skip_reason = null) {
    if (this.pending || !this.front.pair) return;
    if (this.elapsed < this.task.look_ms) {
      this.tell("refused", "Not counted: that press came before this pair could be read.");
      return;
    }
    if (this.editor) this.closeEditor(true);
    const said = this.details.said;
    if (this.task.rationale === "required" && verdict !== "skip" && !said.rationale) {
      this.tell("refused", "Say why first (W).");
      this.details.why.focus();
      return;
    }
    const edit = verdict === "skip" ? null : this.improved;
    this.vote({
      pair_id: this.front.pairId, event_id: uuid(), sitting: this.data.sitting, elapsed_ms: this.elapsed,
      verdict, scale, skip_reason, ...said,
      edited_side: edit?.side ?? null, edited_text: edit?.text ?? null, layout: this.layout(),
    });
  }

  vote(ballot) {
    this.pending = ballot;
    sessionStorage.setItem(this.store, JSON.stringify(ballot));
    const following = this.data.following;
    if (following && this.back.pairId === following.pair_id) this.swap();
    else this.put(null);
    this.tell("saving", "Saving…");
    this.deliver();
  }

  deliver() {
    this.sentTo = this.data.sitting;
    this.sentAt = performance.now();
    this.send("vote", this.pending);
  }

  sendAgain() {
    this.leave();
    if (!this.pending || performance.now() - this.sentAt < AGAIN_MS) return;
    this.tell("saving", "Not saved yet: the server does not answer. Trying again…");
    this.deliver();
  }

  skip() {
    if (!this.task.skip_reasons.length) this.press("skip");
    else if (this.front.pair) this.openMenu("Why skip?", this.task.skip_reasons, (why) => this.press("skip", null, why));
  }

  undo(event_id) {
    if (this.pending) return;
    this.send("undo", { event_id, elapsed_ms: this.front.pair ? this.elapsed : 0 });
  }

  layout() {
    const [red, green, blue] = (getComputedStyle(document.querySelector(".stApp")).backgroundColor.match(/\d+/g) ?? [255, 255, 255]).map(Number);
    const theme = red + green + blue < 384 ? "dark" : "light";
    return { view: this.data.view, width: innerWidth, height: innerHeight, theme };
  }
}

const desks = new WeakMap();

export default function (component) {
  const root = component.parentElement.querySelector(".desk");
  const annotator = `${component.data.annotator} ${JSON.stringify(component.data.task)}`;
  let desk = desks.get(root);
  if (!desk || desk.of !== annotator) {
    desk?.stop();
    desk = new Desk(root, component.data);
    desk.of = annotator;
    desks.set(root, desk);
  }
  desk.receive(component.data, component.setTriggerValue);
  return () => setTimeout(() => desk.leave());
}
