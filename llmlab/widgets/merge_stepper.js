// The live view of MergeStepper.  All words are set by textContent; nothing is loaded from
// elsewhere.  Python trains and sends every step; here one of them is drawn, so that stepping
// needs no kernel.

const BAR = 70; // pixels of the longest bar
const PACE = 900; // milliseconds between two steps of a play

// What the two signs in the words mean.
function key() {
  const [a, b] = ["a", "b"].map((letter) => node("span", { class: "ll-symbol" }, letter));
  return node("div", { class: "ll-key" }, node("span", { class: "ll-symbol ll-new" }, "ab"),
    node("span", {}, "merged just now"), node("span", { class: "ll-next" }, a, b),
    node("span", {}, "will merge next"));
}

function render({ model, el }) {
  const root = rootOf("ll-merges");
  const area = node("textarea", { rows: "3", spellcheck: "false", "aria-label": "text" });
  const wait = node("span", { class: "ll-wait" }, "waiting for the kernel …");
  const size = node("span");
  const slider = node("input", { type: "range", min: "0", step: "1", "aria-label": "merges done" });
  const count = node("span", { class: "ll-count" });
  const says = node("div", { class: "ll-says", "aria-live": "polite" });
  const words = node("ul", { class: "ll-words", tabindex: "0", "aria-label": "words" });
  const others = node("div");
  const table = node("table");
  const total = node("h5");
  const vocabulary = node("ul", { class: "ll-made", tabindex: "0", "aria-label": "vocabulary" });
  const named = (label, sign, act) => button(sign, act, { "aria-label": label, title: label });
  const play = button("", () => (timer ? stop() : start()), { class: "ll-play" });
  const buttons = [
    named("first step", "|◀︎", () => go(0)),
    named("step back", "◀︎", () => go(step() - 1)),
    play,
    named("step forward", "▶︎", () => go(step() + 1)),
    named("last step", "▶︎|", () => go(last())),
  ];
  const board = node("div", { class: "ll-board" },
    node("section", {}, node("h5", {}, "words, as symbols"), key(), words, others),
    node("section", {}, node("h5", {}, "neighbours, counted"), table));
  root.append(area, node("div", { class: "ll-note" }, wait, size),
    node("div", { class: "ll-bar" }, ...buttons, slider, count), says, board,
    node("section", {}, total, vocabulary));
  el.append(root);

  let timer = null; // of a play

  const steps = () => model.get("_answer").steps;
  const last = () => steps().length - 1;
  const step = () => Math.min(model.get("step"), last());

  function go(to, byPlay = false) {
    if (!byPlay) stop();
    save(model, { step: clamp(to, 0, last()) });
  }

  function start() {
    if (step() === last()) go(0);
    timer = setInterval(() => {
      go(step() + 1, true);
      if (step() === last()) stop();
    }, PACE);
    drawPlay();
  }

  function stop() {
    clearInterval(timer);
    timer = null;
    drawPlay();
  }

  function drawPlay() {
    play.textContent = timer ? "❚❚ stop" : "▶︎ play";
    play.setAttribute("aria-label", timer ? "stop" : "play");
    play.title = timer ? "stop" : "play";
    says.setAttribute("aria-live", timer ? "off" : "polite");
  }

  function symbol(id, extra = "") {
    const { text, hex } = model.get("_answer").names[id];
    const kind = `${text ? "" : "ll-raw"} ${id > 255 ? "ll-long" : ""} ${extra}`;
    return node("span", { class: `ll-symbol ${kind}`, title: `id ${id}` }, text || hex);
  }

  // A word's symbols: what the last merge made, and what the next will join.
  function drawWord(ids, cut, times, now, pair) {
    const line = node("li", {}, node("span", { class: "ll-times" }, `${number(times)} ×`));
    const drawn = (id) => symbol(id, id === now ? "ll-new" : "");
    for (let i = 0; i < ids.length; i++) {
      if (pair && ids[i] === pair[0] && ids[i + 1] === pair[1])
        line.append(node("span", { class: "ll-next" }, drawn(ids[i]), drawn(ids[++i])));
      else line.append(drawn(ids[i]));
    }
    if (cut) line.append(" …");
    return line;
  }

  function drawWords(state, now) {
    const { counts, more_words: more } = model.get("_answer");
    words.replaceChildren(...state.words.map((ids, i) =>
      drawWord(ids, state.cut[i], counts[i], now, state.pairs[0])));
    others.textContent = more ? `and ${plural(more, "more word")}, counted too` : "";
  }

  function drawPairs(state) {
    const top = state.pairs[0]?.[2];
    const titles = ["", "pair", "ids", "count", ""];
    const rows = state.pairs.map(([left, right, times], i) => {
      const style = `width:${Math.round((BAR * times) / top)}px`;
      const length = node("span", { class: "ll-length", style });
      const tie = times === top ? "= as often, larger ids" : "";
      const cells = [[i + 1], [symbol(left), " + ", symbol(right)], [`${left}, ${right}`],
        [length, number(times)], [i ? tie : "◀︎ merges next"]];
      const row = i === 0 ? { class: "ll-best" } : {};
      return node("tr", row, ...cells.map((parts) => node("td", {}, ...parts)));
    });
    const head = node("tr", {}, ...titles.map((title) => node("th", { scope: "col" }, title)));
    table.replaceChildren(head, ...rows);
  }

  function drawVocabulary(now) {
    const tokens = [];
    for (let id = 256; id <= now; id++)
      tokens.push(node("li", {}, `${id} `, symbol(id, id === now ? "ll-new" : "")));
    total.textContent = `vocabulary: 256 bytes + ${now - 255} merges = ${now + 1} ids`;
    vocabulary.replaceChildren(...tokens);
    vocabulary.scrollTop = vocabulary.scrollHeight;
  }

  // The last merge, in words and symbols.
  function made(now) {
    if (now < 256) return ["No merge yet: every byte is a symbol of its own."];
    const [left, right, times] = steps()[now - 256].pairs[0];
    const joined = [symbol(left), " + ", symbol(right), " → ", symbol(now, "ll-new")];
    return ["Made: ", ...joined, `, id ${now}, ${plural(times, "time")}.`];
  }

  // The next merge, and what decided.
  function next({ pairs, equals }) {
    if (!pairs.length) return ["No neighbours are left: every word is one token."];
    const [left, right, times] = pairs[0];
    const tie = `as ${equals === 2 ? "is" : "are"} ${plural(equals - 1, "more pair")}`;
    const why = equals > 1 ? `${tie}; of equals, the one with the smaller ids.`
      : "more often than any other pair.";
    const joined = [symbol(left), " + ", symbol(right)];
    return ["Next: ", ...joined, `, counted ${plural(times, "time")}, ${why}`];
  }

  function explain(state, now) {
    const rate = state.tokens ? (model.get("_answer").bytes / state.tokens).toFixed(2) : "–";
    const size = `The text is ${plural(state.tokens, "token")} now, ${rate} bytes per token.`;
    const lines = [made(now), next(state), [size]];
    says.replaceChildren(...lines.map((parts) => node("div", {}, ...parts)));
  }

  function draw() {
    const state = steps()[step()];
    const now = 255 + step(); // the newest id
    slider.max = last();
    slider.value = step();
    slider.setAttribute("aria-valuetext", `${step()} of ${last()} merges`);
    count.textContent = `${step()} of ${last()} merges`;
    explain(state, now);
    drawWords(state, now);
    drawPairs(state);
    drawVocabulary(now);
  }

  function drawAnswer() {
    const { bytes, all_bytes: all } = model.get("_answer");
    const part = bytes < all ? `the first ${number(bytes)} of ` : "";
    size.textContent = `${part}${plural(all, "byte")}`;
    draw();
    ask();
  }

  // The answer on show carries its question; until they agree, the page says that it waits.
  function ask() {
    const [answer, text] = [model.get("_answer"), model.get("text")];
    if (area.value !== text) area.value = text;
    const same = hasRead(answer.text, answer.bytes < answer.all_bytes, text);
    root.setAttribute("aria-busy", String(!same));
  }

  area.addEventListener("input", () => {
    stop();
    saveText(model, area);
  });
  slider.addEventListener("input", () => go(Number(slider.value)));
  root.addEventListener("keydown", (event) => {
    if (event.target === area) return;
    const to = moveOf(event, { ArrowLeft: step() - 1, ArrowRight: step() + 1, Home: 0,
      End: last() });
    if (to !== undefined) go(to);
  });

  const end = listen(model, { "change:_answer": drawAnswer, "change:text": ask,
    "change:step": draw });
  drawPlay();
  drawAnswer();
  return () => {
    stop();
    end();
  };
}

export default { render };
