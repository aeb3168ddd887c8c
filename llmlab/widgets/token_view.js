// The live view of TokenView.  All words are set by textContent; nothing is loaded from elsewhere.
// Python makes the tokens; here they are drawn, and what belongs together is lit up together.

const ROWS = { text: "text", id: "ids", bytes: "bytes, in hexadecimal" };
const IDLE = "Point at a token, or go to a row with Tab and through it with the arrow keys.";

let labels = 0; // for ids that are unlike any other's on the page

function toggle(model, name, words) {
  const label = node("label");
  const box = node("input", { type: "checkbox" });
  box.addEventListener("change", () => {
    model.set(name, box.checked);
    model.save_changes();
  });
  const show = () => (box.checked = model.get(name));
  show();
  label.append(box, node("span", {}, words));
  return { label, show };
}

function render({ model, el }) {
  const root = rootOf("ll-tokens");
  const area = node("textarea", { rows: "3", spellcheck: "false", "aria-label": "text" });
  const spaces = toggle(model, "white_space", "show spaces (· ↵ →)");
  const specials = toggle(model, "specials", "special tokens");
  const size = node("span", { class: "ll-size" });
  const details = node("div", { class: "ll-details", "aria-live": "polite" }, IDLE);
  const grid = node("div", { class: "ll-columns" });
  const bar = node("div", { class: "ll-bar" });
  const wait = node("span", { class: "ll-wait" }, "waiting for the kernel …");
  bar.append(spaces.label, specials.label, wait, size);
  root.append(area, bar, details, grid);
  el.append(root);

  let columns = []; // {name, tokens, rows: {text, id, bytes}}: a row's children are its tokens
  let active = null; // [column, number of a token], or null

  function drawColumn(encoding, column) {
    const box = node("section", { class: "ll-column", "aria-label": encoding.name });
    const head = node("div", { class: "ll-head" });
    const { count, tokens } = encoding;
    const rate = count ? (model.get("_answer").bytes / count).toFixed(2) : "–";
    const counts = `${plural(count, "token")}, ${rate} bytes per token`;
    head.append(
      node("b", {}, encoding.name),
      node("span", { class: "ll-counts" }, counts),
      node("span", {}, `of ${encoding.ids.toLocaleString("en")} ids`),
    );
    box.append(head);
    const special = `special: ${encoding.specials.join(" ") || "none"}`;
    if (model.get("specials")) box.append(node("div", { class: "ll-label" }, special));
    const some = tokens.length < count ? `: the first ${tokens.length} tokens` : "";
    const rows = {};
    for (const [name, title] of Object.entries(ROWS)) {
      const label = `ll-row-${labels++}`;
      const more = { "data-row": name, tabindex: "0", role: "listbox", "aria-labelledby": label };
      rows[name] = node("div", { class: "ll-row", "aria-orientation": "horizontal", ...more });
      rows[name].append(...tokens.map((token, i) => drawToken(token, name, [column, i])));
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
    const part = bytes < all ? `the first ${bytes.toLocaleString("en")} of ` : "";
    size.textContent = part + plural(all, "byte");
    light(null);
    ask();
  }

  // The answer on show carries its question; until they agree, the page says that it waits.
  function ask() {
    const [answer, text] = [model.get("_answer"), model.get("text")];
    if (area.value !== text) area.value = text;
    specials.show();
    const cut = answer.bytes < answer.all_bytes;
    const same = cut ? text.startsWith(answer.text) : text === answer.text;
    const waits = !same || answer.specials !== model.get("specials");
    root.setAttribute("aria-busy", String(waits));
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
    const [chosen, number] = place;
    columns.forEach((column, i) => {
      const numbers = i === chosen ? [number] : kin(column, columns[chosen].tokens[number]);
      for (const row of Object.values(column.rows)) {
        const lit = numbers.map((n) => row.children[n]);
        lit.forEach((one) => one.classList.add(i === chosen ? "ll-active" : "ll-kin"));
        if (lit.length && !row.matches(":hover")) reveal(row, lit[0]);
      }
    });
    details.textContent = describe(chosen, number);
  }

  // Scrolls a row, and never the page, until a token of it can be seen.
  function reveal(row, token) {
    const [top, bottom] = [token.offsetTop, token.offsetTop + token.offsetHeight];
    if (top < row.scrollTop || bottom > row.scrollTop + row.clientHeight)
      row.scrollTop = top - row.clientHeight / 2;
  }

  const quoted = (token) => (token.text ? `“${token.shown.trimEnd()}”` : `[${token.bytes}]`);

  function describe(chosen, number) {
    const { name, tokens } = columns[chosen];
    const token = tokens[number];
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

  area.addEventListener("input", () => {
    // JSON between page and kernel cannot carry half a surrogate pair.
    model.set("text", area.value.replace(/\p{Surrogate}/gu, "\ufffd"));
    model.save_changes();
  });
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
    if (event.altKey || event.ctrlKey || event.metaKey) return; // the browser's own keys
    const column = columns.findIndex(({ box }) => box.contains(event.target));
    const end = columns[column].tokens.length - 1;
    const now = active?.[0] === column ? active[1] : 0;
    const moves = { ArrowLeft: now - 1, ArrowRight: now + 1, Home: 0, End: end };
    if (event.key === "Escape") light(null);
    else if (event.key in moves && end >= 0)
      go(column, Math.max(0, Math.min(end, moves[event.key])), event.target);
    else return;
    event.preventDefault();
  });

  function go(column, number, row) {
    light([column, number]);
    const token = row.children[number];
    token.id = "ll-now";
    row.setAttribute("aria-activedescendant", "ll-now");
    reveal(row, token);
  }

  model.on("change:_answer change:white_space", draw);
  model.on("change:text change:specials", ask);
  model.on("change:white_space", spaces.show);
  draw();
  return () => {
    model.off("change:_answer change:white_space", draw);
    model.off("change:text change:specials", ask);
    model.off("change:white_space", spaces.show);
  };
}

export default { render };
