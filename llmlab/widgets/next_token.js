// The live view of NextToken.  All words are set by textContent; nothing is loaded from elsewhere.
// Chances come from the kernel; what is done here goes there as a message with a number.

const SLIDERS = [
  { trait: "temperature", name: "temperature", min: 0, max: 2, step: 0.05, start: 1,
    say: (v) => (v === 0 ? "0: the likeliest" : v.toFixed(2)) },
  { trait: "top_k", name: "top-k", min: 0, max: 100, step: 1, start: 0,
    say: (v) => (v === 0 ? "off" : `the ${v} likeliest`) },
  { trait: "top_p", name: "top-p", min: 0.01, max: 1, step: 0.01, start: 1,
    say: (v) => (v === 1 ? "off" : `${Math.round(100 * v)} % of the mass`) },
];

const percent = (share) => {
  if (share > 0 && share < 0.0005) return "<0.1 %";
  return `${(100 * share).toFixed(1)} %`;
};

// One line of the list: made once, filled again and again, so that the focus stays.
function line(tag) {
  const [token, note] = ["ll-token", "ll-why"].map((name) => node("span", { class: name }));
  const [now, own] = ["now", "own"].map(() => node("span", { class: "ll-number" }));
  const bars = ["now", "own"].map((name) => node("span", { class: `ll-length ll-${name}` }));
  const cell = node("span", { class: "ll-name" }, token);
  const track = node("span", { class: "ll-track" }, ...bars);
  const row = node(tag, { class: "ll-row" }, cell, track, now, own, note);
  const fill = (shown, shares, words) => {
    token.textContent = shown;
    note.textContent = words;
    shares.forEach((share, i) => {
      [now, own][i].textContent = percent(share);
      bars[i].style.width = `${(100 * share).toFixed(2)}%`;
      bars[i].hidden = share === 0;
    });
    row.classList.toggle("ll-out", words.startsWith("✕"));
  };
  return { row, cell, fill };
}

function render({ model, el }) {
  const root = rootOf("ll-next");
  const area = node("textarea", { rows: "3", spellcheck: "false", "aria-label": "text" });
  const [said, wait] = [node("span"), node("span", { class: "ll-wait" }, "thinking …")];
  const tokens = node("div", { class: "ll-tokens", "aria-label": "newest tokens", role: "group" });
  const grid = node("div", { class: "ll-sliders" });
  const bar = node("div", { class: "ll-bar" });
  const summary = node("div", { class: "ll-summary", "aria-live": "polite" });
  const list = node("div", { role: "group", "aria-label": "next tokens" });
  const others = line("div");
  const board = node("div", { class: "ll-board" }, summary, key(), heads(), list, others.row);
  // What is clicked again and again stands above what grows: it does not move under the pointer.
  root.append(area, node("div", { class: "ll-note" }, said, wait), grid, bar, tokens, board);
  el.append(root);

  let lines = []; // of the list, from the likeliest token on
  let [sent, dirty] = [0, false]; // the last message's number; whether typing waits for its answer

  const answer = () => model.get("_answer");
  const waiting = () => sent > 0 && answer().act !== sent;

  // --- What can be done -----------------------------------------------------------------------

  function act(what) {
    sent = Math.floor(Math.random() * 2 ** 40) + 1; // unlike any other view's
    model.send({ act: sent, ...what });
    ask();
  }

  const draw = button("draw a token", () => act({ do: "draw" }),
    { class: "ll-draw", title: "by lot, by the chances below" });
  const undo = button("↶ undo", () => answer().added && act({ do: "undo" }),
    { title: "take back the last token" });
  const start = Object.fromEntries(SLIDERS.map((slider) => [slider.trait, slider.start]));
  const reset = button("reset the sliders", () => save(model, start),
    { title: "temperature 1, nothing left out" });
  bar.append(draw, undo, reset);

  const sliders = SLIDERS.map(({ trait, name, min, max, step, say }) => {
    const input = node("input", { type: "range", min, max, step, "aria-label": name });
    const told = node("output");
    grid.append(node("span", {}, name), input, told);
    input.addEventListener("input", () => save(model, { [trait]: Number(input.value) }));
    return () => {
      const value = model.get(trait);
      if (Number(input.value) !== value) input.value = value;
      told.textContent = say(value);
      input.setAttribute("aria-valuetext", told.textContent);
    };
  });

  list.addEventListener("keydown", (event) => {
    const now = lines.findIndex(({ row }) => row === event.target);
    const end = lines.length - 1;
    const to = moveOf(event, { ArrowUp: now - 1, ArrowDown: now + 1, Home: 0, End: end });
    if (to !== undefined) lines[clamp(to, 0, end)].row.focus();
  });
  list.addEventListener("focusin", (event) => {
    for (const { row } of lines) row.tabIndex = row === event.target ? 0 : -1;
  });

  function sendText() {
    saveText(model, area);
    dirty = false;
  }

  area.addEventListener("input", () => {
    dirty = true; // what the kernel answers to an earlier message does not overwrite it
    if (!waiting()) sendText();
  });

  // --- What is shown --------------------------------------------------------------------------

  function key() {
    const entry = (name, words) => node("span", { class: "ll-entry" },
      node("span", { class: `ll-length ll-${name}` }), node("span", {}, words));
    return node("div", { class: "ll-key" }, entry("now", "chance under the sliders"),
      entry("own", "the model's own: temperature 1, nothing left out"));
  }

  function heads() {
    const right = { class: "ll-number" };
    return node("div", { class: "ll-row ll-heads" }, node("span", {}, "click to go on"),
      node("span"), node("span", right, "chance"), node("span", right, "own"), node("span"));
  }

  function drawTokens() {
    const { tokens: shown, added, read } = answer();
    const more = read - shown.length;
    const before = more ? [node("span", {}, `… ${more} before`)] : [];
    const chips = shown.map((words, i) => {
      const own = i >= shown.length - added ? " ll-added" : "";
      return node("span", { class: `ll-token${own}` }, words);
    });
    tokens.replaceChildren(...before, ...chips, node("span", {}, "→ ?"));
  }

  function tellText() {
    const { read, left_out: out, added } = answer();
    const words = [`The model reads ${plural(read, "token")}`];
    if (out) words[0] = `The model's context holds ${read} tokens: the first ${out} are left out`;
    if (added) words.push(`${added} of them added here`);
    if (read === 1 && !out) words.push("the one that stands before all text");
    return `${words.join(", ")}.`;
  }

  function tellSummary() {
    const { kept, ids, bits, own_bits: own } = answer();
    const open = (2 ** bits).toFixed(bits < 6 ? 1 : 0);
    return `${number(kept)} of ${number(ids)} tokens kept. Entropy ${bits.toFixed(2)} bits, `
      + `as open as a choice among ${open} equal tokens; the model's own: ${own.toFixed(2)} bits.`;
  }

  function drawRows() {
    const { rows, others: rest } = answer();
    if (lines.length !== rows.length) {
      lines = rows.map(() => line("button"));
      lines.forEach(({ row }, i) => {
        row.type = "button";
        row.tabIndex = i ? -1 : 0;
        row.addEventListener("click", () => act({ do: "append", i: answer().rows[i].id }));
      });
      list.replaceChildren(...lines.map(({ row }) => row));
    }
    rows.forEach(({ shown, now, own, why }, i) =>
      lines[i].fill(shown, [now, own], why ? `✕ left out: ${why}` : ""));
    others.cell.parentNode.hidden = rest.count === 0;
    others.fill("", [rest.now, rest.own], "");
    others.cell.replaceChildren(node("span", {}, `${number(rest.count)} others`));
  }

  function drawAnswer() {
    said.textContent = tellText();
    summary.textContent = tellSummary();
    undo.setAttribute("aria-disabled", String(!answer().added));
    drawTokens();
    drawRows();
    if (dirty && !waiting()) sendText();
    ask();
  }

  // The answer on show carries its question; until they agree, the page says that it waits.
  function ask() {
    for (const show of sliders) show();
    const text = model.get("text");
    if (!dirty && area.value !== text) {
      area.value = text;
      area.scrollTop = area.scrollHeight;
    }
    const knobs = String(SLIDERS.map(({ trait }) => model.get(trait)));
    const same = answer().text === text && String(answer().sliders) === knobs;
    root.setAttribute("aria-busy", String(!same || waiting() || dirty));
  }

  const asks = ["text", ...SLIDERS.map(({ trait }) => trait)].map((name) => `change:${name}`);
  drawAnswer();
  return listen(model, { "change:_answer": drawAnswer, [asks.join(" ")]: ask });
}

export default { render };
