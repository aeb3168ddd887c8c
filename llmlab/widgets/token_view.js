// The live view of TokenView.  All words are set by textContent; nothing is loaded from elsewhere.
// Python makes the tokens; here they are drawn, and what belongs together is lit up together.

const ROWS = { text: "text", id: "ids", bytes: "bytes, in hexadecimal" };
const IDLE = "Point at a token, or go to a row with Tab and through it with the arrow keys.";

let labels = 0; // for ids that are unlike any other's on the page

function toggle(model, name, words) {
  const box = node("input", { type: "checkbox" });
  box.addEventListener("change", () => save(model, { [name]: box.checked }));
  const show = () => (box.checked = model.get(name));
  show();
  return { label: node("label", {}, box, node("span", {}, words)), show };
}

function render({ model, el }) {
  const root = rootOf("ll-tokens");
  const area = node("textarea", { rows: "3", spellcheck: "false", "aria-label": "text" });
  const spaces = toggle(model, "white_space", "show spaces (· ↵ →)");
  const specials = toggle(model, "specials", "special tokens");
  const size = node("span", { class: "ll-size" });
  const details = node("div", { class: "ll-details", "aria-live": "polite" }, IDLE);
  const grid = node("div", { class: "ll-columns" });
  const wait = node("span", { class: "ll-wait" }, "waiting for the kernel …");
  const bar = node("div", { class: "ll-bar" }, spaces.label, specials.label, wait, size);
  root.append(area, bar, details, grid);
  el.append(root);

  let columns = []; // {name, tokens, rows: {text, id, bytes}}: a row's children are its tokens
  let active = null; // [column, number of a token], or null

  function drawColumn(encoding, column) {
    const { count, tokens } = encoding;
    const rate = count ? (model.get("_answer").bytes / count).toFixed(2) : "–";
    const counts = `${plural(count, "token")}, ${rate} bytes per token`;
    const head = node("div", { class: "ll-head" }, node("b", {}, encoding.name),
      node("span", { class: "ll-counts" }, counts),
      node("span", {}, `of ${number(encoding.ids)} ids`));
    const box = node("section", { class: "ll-column", "aria-label": encoding.name }, head);
    const special = `special: ${encoding.specials.join(" ") || "none"}`;
    if (model.get("specials")) box.append(node("div", { class: "ll-label" }, special));
    const some = tokens.length < count ? `: the first ${tokens.length} tokens` : "";
    const rows = {};
    for (const [name, title] of Object.entries(ROWS)) {
      const label = `ll-row-${labels++}`;
      const more = { "data-row": name, tabindex: "0", role: "listbox", "aria-labelledby": label };
      rows[name] = node("div", { class: "ll-row", "aria-orientation": "horizontal", ...more },
        ...tokens.map((token, i) => drawToken(token, name, [column, i])));
      box.append(node("div", { class: "ll-label", id: label }, title + some), rows[name]);
    }
    return { name: encoding.name, tokens, rows, box };
  }

  function drawToken(token, row, place) {
    const seen = model.get("white_space") ? token.shown : token.text;
    const words = row === "text" ? seen || token.bytes : token[row];
    const raw = row === "text" && !token.text ? " ll-raw" : "";
    const special = token.special ? " ll-special" : "";
    const made = node("span", { class: `ll-token${raw}${special}`, role: "option" }, words);
    made.place = place;
    return made;
  }

  function draw() {
    const answer = model.get("_answer");
    columns = answer.encodings.map(drawColumn);
    grid.replaceChildren(...columns.map((column) => column.box));
    const { bytes, all_bytes: all } = answer;
    const part = bytes < all ? `the first ${number(bytes)} of ` : "";
    size.textContent = part + plural(all, "byte");
    light(null);
    ask();
  }

  // The answer on show carries its question; until they agree, the page says that it waits.
  function ask() {
    const [answer, text] = [model.get("_answer"), model.get("text")];
    if (area.value !== text) area.value = text;
    specials.show();
    const same = hasRead(answer.text, answer.bytes < answer.all_bytes, text)
      && answer.specials === model.get("specials");
    root.setAttribute("aria-busy", String(!same));
  }

  // The tokens of another encoding that share bytes with a token.
  const kin = ({ tokens }, { at, size }) =>
    [...tokens.keys()].filter((i) => {
      const other = tokens[i];
      return other.at < at + size && at < other.at + other.size;
    });

  function light(place) {
    for (const lit of grid.querySelectorAll(".ll-active, .ll-kin"))
      lit.classList.remove("ll-active", "ll-kin");
    for (const row of grid.querySelectorAll("[aria-activedescendant]"))
      row.removeAttribute("aria-activedescendant");
    grid.querySelector("#ll-now")?.removeAttribute("id");
    active = place;
    if (!place) return void (details.textContent = IDLE);
    const [chosen, at] = place;
    columns.forEach((column, i) => {
      const numbers = i === chosen ? [at] : kin(column, columns[chosen].tokens[at]);
      for (const row of Object.values(column.rows)) {
        const lit = numbers.map((n) => row.children[n]);
        lit.forEach((one) => one.classList.add(i === chosen ? "ll-active" : "ll-kin"));
        if (lit.length && !row.matches(":hover")) reveal(row, lit[0]);
      }
    });
    details.textContent = describe(chosen, at);
  }

  const quoted = (token) => (token.text ? `“${token.shown.trimEnd()}”` : `[${token.bytes}]`);

  function describe(chosen, at) {
    const { name, tokens } = columns[chosen];
    const token = tokens[at];
    const words = [
      `${name}: ${quoted(token)}${token.part ? `, a part of “${token.part}”` : ""}`,
      `id ${token.id}`,
      token.special
        ? "a special token: one id for the whole name"
        : `${plural(token.size, "byte")}: ${token.bytes}`,
      `${plural(token.times, "time")} here`,
    ];
    columns.forEach((column, i) => {
      if (i === chosen) return;
      const others = kin(column, token).map((n) => column.tokens[n]);
      const named = others.map((other) => `${quoted(other)} ${other.id}`);
      words.push(`in ${column.name}: ${named.join(", ") || "–"}`);
    });
    return words.join("; ");
  }

  area.addEventListener("input", () => saveText(model, area));
  grid.addEventListener("pointerover", (event) => light(event.target.place ?? active));
  grid.addEventListener("pointerleave", () => light(null));
  grid.addEventListener("focusin", (event) => {
    const column = columns.findIndex(({ box }) => box.contains(event.target));
    if (columns[column].tokens.length)
      go(column, active?.[0] === column ? active[1] : 0, event.target);
  });
  grid.addEventListener("focusout", (event) => {
    if (!grid.contains(event.relatedTarget)) light(null);
  });
  grid.addEventListener("keydown", (event) => {
    const column = columns.findIndex(({ box }) => box.contains(event.target));
    const end = columns[column].tokens.length - 1;
    const now = active?.[0] === column ? active[1] : 0;
    const moves = { ArrowLeft: now - 1, ArrowRight: now + 1, Home: 0, End: end };
    const to = moveOf(event, { Escape: null, ...(end >= 0 && moves) });
    if (to === null) light(null);
    else if (to !== undefined) go(column, clamp(to, 0, end), event.target);
  });

  function go(column, at, row) {
    light([column, at]);
    const token = row.children[at];
    token.id = "ll-now";
    row.setAttribute("aria-activedescendant", "ll-now");
    reveal(row, token);
  }

  draw();
  return listen(model, {
    "change:_answer change:white_space": draw,
    "change:text change:specials": ask,
    "change:white_space": spaces.show,
  });
}

export default { render };
