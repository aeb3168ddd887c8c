// The live view of MergeStepper.  All words are set by textContent; nothing is loaded from
// elsewhere.  Python trains and sends every step; here one of them is drawn, so that stepping
// needs no kernel.

const STYLE = `
.ll-merges { padding: 6px; font: 13px/1.5 sans-serif;
  background: var(--jp-layout-color0, #fff); color: var(--jp-ui-font-color1, #222); }
.ll-merges textarea { display: block; width: 100%; box-sizing: border-box; resize: vertical;
  padding: 6px 8px; border-radius: 3px; font: 14px/1.5 sans-serif;
  border: 1px solid var(--jp-border-color1, #999);
  background: var(--jp-layout-color1, #fff); color: inherit; }
.ll-merges .ll-bar { display: flex; flex-wrap: wrap; gap: 4px 8px; margin: 6px 0;
  align-items: center; }
.ll-merges .ll-bar input { flex: 1; min-width: 120px; margin: 0;
  accent-color: var(--jp-brand-color1, #1976d2); }
.ll-merges button { font: inherit; min-width: 34px; padding: 2px 8px; border-radius: 3px;
  cursor: pointer; border: 1px solid var(--jp-border-color1, #999);
  background: var(--jp-layout-color2, #eee); color: var(--jp-ui-font-color1, #222); }
.ll-merges .ll-play { min-width: 66px; }
.ll-merges button:focus-visible, .ll-merges textarea:focus-visible,
.ll-merges input:focus-visible {
  outline: 2px solid var(--jp-brand-color1, #1976d2); outline-offset: 1px; }
.ll-merges .ll-count { min-width: 8.5em; text-align: right; font-variant-numeric: tabular-nums; }
.ll-merges .ll-note { min-height: 1.5em; display: flex; justify-content: space-between; }
.ll-merges .ll-wait { visibility: hidden; }
.ll-merges[aria-busy="true"] .ll-wait { visibility: visible; transition: visibility 0s 0.3s; }
.ll-merges[aria-busy="true"] .ll-board { opacity: 0.5; transition: opacity 0s 0.3s; }
.ll-merges .ll-says { padding: 4px 8px; min-height: 5.6em;
  border-left: 3px solid var(--jp-brand-color1, #1976d2);
  background: var(--jp-layout-color2, #eee); color: var(--jp-ui-font-color1, #222); }
.ll-merges .ll-board { display: flex; flex-wrap: wrap; gap: 4px 24px; }
.ll-merges .ll-board > section { flex: 1 1 260px; min-width: 0; }
.ll-merges h5 { margin: 8px 0 4px; font: bold 13px sans-serif; color: inherit; }
.ll-merges ul { display: flex; flex-wrap: wrap; gap: 3px 18px; margin: 0; padding: 3px 0;
  list-style: none; }
.ll-merges .ll-words { max-height: 24em; overflow: auto; flex-direction: column; gap: 3px;
  flex-wrap: nowrap; }
.ll-merges li { margin: 0; white-space: nowrap; }
.ll-merges .ll-words li { white-space: normal; overflow-wrap: anywhere; }
.ll-merges .ll-times { display: inline-block; min-width: 3.2em; text-align: right;
  margin-right: 8px; vertical-align: middle; font-variant-numeric: tabular-nums; }
.ll-merges .ll-symbol { display: inline-block; padding: 1px 3px; margin: 1px; border-radius: 3px;
  font: 13px/18px monospace; vertical-align: middle; unicode-bidi: isolate;
  border: 1px solid #808080; }
.ll-merges .ll-raw { font-style: italic; font-size: 11px; }
.ll-merges .ll-long { background: rgba(86,180,233,.32); }
.ll-merges .ll-new { background: rgba(230,159,0,.45); font-weight: bold;
  box-shadow: 0 0 0 1px currentColor; border-color: currentColor; }
.ll-merges .ll-next { display: inline-block; border-radius: 4px; margin: 0 1px;
  outline: 2px dashed currentColor; outline-offset: -1px; }
.ll-merges .ll-key { display: flex; flex-wrap: wrap; gap: 5px; align-items: center;
  font-size: 12px; }
.ll-merges table { border-collapse: collapse; font: 13px/1.4 sans-serif; margin: 0; }
.ll-merges th, .ll-merges td { padding: 2px 8px 2px 0; text-align: left; white-space: nowrap;
  color: inherit; background: none; border: none; }
.ll-merges td:last-child { white-space: normal; }
.ll-merges th { font-size: 12px; font-weight: normal; }
.ll-merges tr.ll-best { font-weight: bold; }
.ll-merges .ll-length { display: inline-block; height: 9px; margin-right: 6px; min-width: 1px;
  background: #0072b2; border: 1px solid #808080; box-sizing: border-box; }
.ll-merges .ll-made { max-height: 12em; overflow: auto; }
`;

const BAR = 70; // pixels of the longest bar
const PACE = 900; // milliseconds between two steps of a play

const number = (value) => value.toLocaleString("en");
// What the two signs in the words mean.
function key() {
  const made = node("div", { class: "ll-key" });
  const now = node("span", { class: "ll-symbol ll-new" }, "ab");
  const next = node("span", { class: "ll-next" });
  next.append(node("span", { class: "ll-symbol" }, "a"), node("span", { class: "ll-symbol" }, "b"));
  made.append(now, node("span", {}, "merged just now"));
  made.append(next, node("span", {}, "will merge next"));
  return made;
}

function render({ model, el }) {
  const root = rootOf("ll-merges");
  const area = node("textarea", { rows: "3", spellcheck: "false", "aria-label": "text" });
  const wait = node("span", { class: "ll-wait" }, "waiting for the kernel …");
  const size = node("span");
  const note = node("div", { class: "ll-note" });
  const bar = node("div", { class: "ll-bar" });
  const slider = node("input", { type: "range", min: "0", step: "1", "aria-label": "merges done" });
  const count = node("span", { class: "ll-count" });
  const says = node("div", { class: "ll-says", "aria-live": "polite" });
  const words = node("ul", { class: "ll-words", tabindex: "0", "aria-label": "words" });
  const others = node("div");
  const table = node("table");
  const total = node("h5");
  const vocabulary = node("ul", { class: "ll-made", tabindex: "0", "aria-label": "vocabulary" });
  const button = (label, sign, act) => {
    const one = node("button", { type: "button", "aria-label": label, title: label }, sign);
    one.addEventListener("click", act);
    return one;
  };
  const play = button("play", "▶︎ play", () => (timer ? stop() : start()));
  play.classList.add("ll-play");
  const buttons = [
    button("first step", "|◀︎", () => go(0)),
    button("step back", "◀︎", () => go(step() - 1)),
    play,
    button("step forward", "▶︎", () => go(step() + 1)),
    button("last step", "▶︎|", () => go(last())),
  ];
  note.append(wait, size);
  bar.append(...buttons, slider, count);
  const board = node("div", { class: "ll-board" });
  const [left, right, below] = Array.from({ length: 3 }, () => node("section"));
  left.append(node("h5", {}, "words, as symbols"), key(), words, others);
  right.append(node("h5", {}, "neighbours, counted"), table);
  below.append(total, vocabulary);
  board.append(left, right);
  root.append(node("style", {}, STYLE), area, note, bar, says, board, below);
  el.append(root);

  let timer = null; // of a play

  const steps = () => model.get("_answer").steps;
  const last = () => steps().length - 1;
  const step = () => Math.min(model.get("step"), last());

  function go(to, byPlay = false) {
    if (!byPlay) stop();
    model.set("step", Math.max(0, Math.min(last(), to)));
    model.save_changes();
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
    const line = node("li");
    line.append(node("span", { class: "ll-times" }, `${number(times)} ×`));
    for (let i = 0; i < ids.length; i++) {
      if (pair && ids[i] === pair[0] && ids[i + 1] === pair[1]) {
        const both = node("span", { class: "ll-next" });
        both.append(...[ids[i], ids[i + 1]].map((id) => symbol(id, id === now ? "ll-new" : "")));
        line.append(both);
        i++;
      } else line.append(symbol(ids[i], ids[i] === now ? "ll-new" : ""));
    }
    if (cut) line.append(" …");
    return line;
  }

  function drawWords(state, now) {
    const { counts, more_words: more } = model.get("_answer");
    words.replaceChildren(
      ...state.words.map((ids, i) =>
        drawWord(ids, state.cut[i], counts[i], now, state.pairs[0]),
      ),
    );
    others.textContent = more ? `and ${plural(more, "more word")}, counted too` : "";
  }

  function drawPairs(state) {
    const top = state.pairs[0]?.[2];
    const titles = ["", "pair", "ids", "count", ""].map((title) =>
      node("th", { scope: "col" }, title),
    );
    const rows = state.pairs.map(([left, right, times], i) => {
      const [place, pair, ids, height, why] = Array.from({ length: 5 }, () => node("td"));
      place.textContent = i + 1;
      pair.append(symbol(left), " + ", symbol(right));
      ids.textContent = `${left}, ${right}`;
      const length = node("span", { class: "ll-length" });
      length.style.width = `${Math.round((BAR * times) / top)}px`;
      height.append(length, number(times));
      if (i === 0) why.textContent = "◀︎ merges next";
      else if (times === top) why.textContent = "= as often, larger ids";
      const row = node("tr", i === 0 ? { class: "ll-best" } : {});
      row.append(place, pair, ids, height, why);
      return row;
    });
    table.replaceChildren(node("tr"), ...rows);
    table.firstChild.append(...titles);
  }

  function drawVocabulary(now) {
    const tokens = [];
    for (let id = 256; id <= now; id++) {
      const token = node("li", {}, `${id} `);
      token.append(symbol(id, id === now ? "ll-new" : ""));
      tokens.push(token);
    }
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
    const lines = [made(now), next(state), [size]].map((parts) => {
      const line = node("div");
      line.append(...parts);
      return line;
    });
    says.replaceChildren(...lines);
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
    const cut = answer.bytes < answer.all_bytes;
    const same = cut ? text.startsWith(answer.text) : text === answer.text;
    root.setAttribute("aria-busy", String(!same));
  }

  area.addEventListener("input", () => {
    stop();
    // JSON between page and kernel cannot carry half a surrogate pair.
    model.set("text", area.value.replace(/\p{Surrogate}/gu, "\ufffd"));
    model.save_changes();
  });
  slider.addEventListener("input", () => go(Number(slider.value)));
  root.addEventListener("keydown", (event) => {
    const moves = { ArrowLeft: step() - 1, ArrowRight: step() + 1, Home: 0, End: last() };
    const other = event.altKey || event.ctrlKey || event.metaKey; // the browser's own keys
    if (event.target === area || other || !(event.key in moves)) return;
    event.preventDefault();
    go(moves[event.key]);
  });

  model.on("change:_answer", drawAnswer);
  model.on("change:text", ask);
  model.on("change:step", draw);
  drawAnswer();
  return () => {
    stop();
    model.off("change:_answer", drawAnswer);
    model.off("change:text", ask);
    model.off("change:step", draw);
  };
}

export default { render };
