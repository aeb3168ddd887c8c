// The live view of MergeStepper.  All words are set by textContent; nothing is loaded from
// elsewhere.  Python trains and sends every step; here one of them is drawn, so that stepping
// needs no kernel.

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
  root.append(area, note, bar, says, board, below);
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
