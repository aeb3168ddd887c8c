// The live view of AttentionView.  All words are set by textContent; nothing is loaded from
// elsewhere.  Weights come from the kernel, those of the chosen head alone; here they are drawn.

const [THUMB, HIGH] = [52, 26]; // pixels: a small picture's side, the bar of a whole weight
const SIDE = 400; // pixels that the matrix may fill
const NAMED = 3; // tokens that a sentence names

const HELP = "Point at a token: the bars show from which tokens it takes. By keys: Tab, arrows.";

const percent = (thousandths) =>
  thousandths >= 10 ? `${Math.round(thousandths / 10)} %` : thousandths ? "<1 %" : "0 %";

const shortly = (thousandths) => percent(thousandths).replace(/^(<1|0) %$/, "$1");

// A head in small: more ink, more weight.  One path for each of the nine levels.
function miniature(digits) {
  const paths = Array(10).fill("");
  let [at, size] = [0, 0];
  for (; at < digits.length; size++)
    for (let column = 0; column <= size; column++)
      paths[digits[at++]] += `M${column} ${size}h1v1h-1z`;
  const svg = shape("svg", { viewBox: `0 0 ${size} ${size}`, "aria-hidden": "true" });
  const look = { fill: "currentColor", "shape-rendering": "crispEdges" };
  for (let level = 1; level < 10; level++)
    if (paths[level]) svg.append(shape("path", { d: paths[level], opacity: level / 9, ...look }));
  return svg;
}

// Squares whose areas are a head's weights, row by row, and the stair around them.
function drawWeights(rows, cell) {
  let [squares, steps] = ["", "M0 0"];
  rows.forEach((weighed, i) => {
    steps += `H${(i + 1) * cell}v${cell}`;
    weighed.forEach((weight, j) => {
      const s = (cell - 1) * Math.sqrt(weight / 1000);
      const [x, y] = [j, i].map((at) => (at * cell + (cell - s) / 2).toFixed(1));
      if (s >= 0.7) squares += `M${x} ${y}h${s.toFixed(1)}v${s.toFixed(1)}h-${s.toFixed(1)}z`;
    });
  });
  return [shape("path", { class: "ll-edge", d: `${steps}H0z` }),
    shape("path", { class: "ll-weight", d: squares })];
}

function tellCopier({ copier, score, even, repeats }) {
  if (!repeats) return "No token comes here a second time, so no head can be seen copying.";
  if (!copier) return "◆: on this text no head copies more than one that looks everywhere alike.";
  const [share, lot] = [score, even].map((v) => percent(Math.round(1000 * v)));
  return `◆ copies most: layer ${copier[0]}, head ${copier[1]}. Where the next token has stood `
    + `before, ${share} of its look goes there; one that looks everywhere alike: ${lot}.`;
}

const quoted = ({ shown }) => `“${shown}”`;

function tellText({ tokens, cut, count }) {
  const there = tokens.length;
  if (count === 1) return `The text is empty: there is only ${quoted(tokens[0])}. Type something.`;
  const more = cut ? "more than " : "";
  if (there < count) return `The first ${there} of ${more}${count} tokens; the rest is left out.`;
  return `${plural(there, "token")}, with ${quoted(tokens[0])}, which stands before all text.`;
}

// Where the next token has stood before: there a head that copies looks.
function twinsOf(tokens, i) {
  const next = tokens[i + 1]?.id;
  return [...Array(i + 1).keys()].filter((j) => tokens[j].id === next);
}

// From which tokens the one at a place takes; shares: thousandths, of the first token on.
function describe(tokens, at, shares) {
  const [last, quote] = [tokens.length - 1, (i) => quoted(tokens[i])];
  if (at === 0) return `${quote(0)} comes first: with nothing before it, it can take only from `
    + `itself. ${last ? HELP : ""}`;
  const order = [...shares.keys()].sort((a, b) => shares[b] - shares[a]).slice(0, NAMED);
  const named = order.filter((j) => shares[j]).map((j) => {
    const who = j === at ? "itself" : `${quote(j)} (place ${j})`;
    return `${percent(shares[j])} from ${who}`;
  });
  const words = [`${quote(at)} (place ${at}) takes ${named.join(", ")}.`];
  const twin = twinsOf(tokens, at);
  if (twin.length) {
    const sum = twin.reduce((total, j) => total + shares[j], 0);
    words.push(`◆ Next comes ${quote(at + 1)}; ${percent(sum)} goes to where it stood before.`);
  } else if (at < last) words.push(`Next comes ${quote(at + 1)}, which has not stood before.`);
  if (at < last) words.push("Dotted tokens come later: they cannot be seen.");
  return words.join(" ");
}

// A token of the row, with room for its share above it.
function tokenChip({ shown }, i) {
  const [share, bar] = ["ll-share", "ll-bar"].map((name) => node("span", { class: name }));
  const chip = node("span", { class: "ll-token", role: "option" },
    node("span", { class: "ll-over" }, share, bar), node("span", { class: "ll-word" }, shown));
  chip.place = i;
  return { chip, share, bar };
}

// The parts of the page that stay; what is drawn goes into them.
function buildParts() {
  const root = rootOf("ll-attention");
  const area = node("textarea", { rows: "2", spellcheck: "false", "aria-label": "text" });
  const [said, wait] = [node("span"), node("span", { class: "ll-wait" }, "reading …")];
  const note = node("div", { class: "ll-note", "aria-live": "polite" }, said, wait);
  const heads = node("div", { class: "ll-heads", role: "group", "aria-label": "heads" });
  const [copies, title] = [node("p"), node("h5")];
  const matrix = shape("svg", { class: "ll-matrix", role: "img" });
  const row = node("div", { class: "ll-tokens", tabindex: "0", role: "listbox",
    "aria-label": "tokens", "aria-orientation": "horizontal" });
  const details = node("div", { class: "ll-details", "aria-live": "polite" });
  const board = node("div", { class: "ll-board" },
    node("section", { class: "ll-small" },
      node("h5", {}, "all heads: more ink, more weight"), heads, copies),
    node("section", { class: "ll-large" }, title, matrix));
  root.append(area, note, board, row, details);
  return { root, area, said, heads, copies, title, matrix, row, details };
}

function render({ model, el }) {
  const { root, area, said, heads, copies, title, matrix, row, details } = buildParts();
  el.append(root);

  let buttons = []; // one for each head, layer by layer
  let chips = []; // {chip, share, bar}, one for each token
  let pointed = -1; // the token under the pointer, or -1
  let [band, names, cell] = [null, [], 0]; // of the matrix

  const tokens = () => model.get("_answer").tokens;
  const weights = () => model.get("_head").rows;
  const last = () => tokens().length - 1;
  const place = () => {
    const at = model.get("place");
    return clamp(at < 0 ? last() + 1 + at : at, 0, last());
  };
  // Where a message brings several things, the first of them is told of before all are drawn.
  const whole = () => [tokens(), chips].every(({ length }) => length === weights().length);

  // --- All heads ------------------------------------------------------------------------------

  function drawHeads() {
    const { pictures, copier } = model.get("_answer");
    const across = pictures[0].length;
    const focused = buttons.indexOf(root.ownerDocument.activeElement);
    heads.style.gridTemplateColumns = `auto repeat(${across}, ${THUMB + 4}px)`;
    buttons = pictures.flatMap((layer, l) => layer.map((digits, h) => drawHead(digits, l, h)));
    const rows = pictures.flatMap((_, l) => [
      node("span", {}, `layer ${l}`),
      ...buttons.slice(l * across, (l + 1) * across),
    ]);
    const tops = pictures[0].map((_, h) => node("span", { class: "ll-top" }, `head ${h}`));
    heads.replaceChildren(node("span"), ...tops, ...rows);
    copies.textContent = tellCopier(model.get("_answer"));
    if (copier) buttons[copier[0] * across + copier[1]].append(
      node("span", { class: "ll-copies" }, "◆ copies"));
    mark();
    if (focused >= 0) buttons[focused].focus();
  }

  function drawHead(digits, l, h) {
    const copier = String(model.get("_answer").copier) === String([l, h]) ? ", copies most" : "";
    return button(miniature(digits), () => save(model, { chosen: [l, h] }), { class: "ll-head",
      "aria-label": `layer ${l}, head ${h}${copier}` });
  }

  // The chosen head has a frame, and is the one that Tab comes to.
  function mark() {
    const [layer, head] = model.get("chosen");
    const chosen = layer * model.get("_answer").pictures[0].length + head;
    buttons.forEach((made, i) => {
      made.setAttribute("aria-pressed", String(i === chosen));
      made.tabIndex = i === chosen ? 0 : -1;
    });
  }

  heads.addEventListener("keydown", (event) => {
    const { pictures } = model.get("_answer");
    const [down, across] = [pictures.length - 1, pictures[0].length - 1];
    const [l, h] = model.get("chosen");
    const moves = { ArrowUp: [l - 1, h], ArrowDown: [l + 1, h], ArrowLeft: [l, h - 1],
      ArrowRight: [l, h + 1], Home: [l, 0], End: [l, across] };
    const [to, side] = moveOf(event, moves) ?? [];
    if (to === undefined) return;
    save(model, { chosen: [clamp(to, 0, down), clamp(side, 0, across)] });
    buttons.find((made) => made.tabIndex === 0).focus();
  });

  // --- The chosen head ------------------------------------------------------------------------

  // The weights; the empty half above the diagonal holds the words.
  function drawMatrix() {
    const rows = weights();
    cell = clamp(Math.floor(SIDE / rows.length), 6, 20);
    const side = cell * rows.length;
    const font = Math.min(12, cell + 1);
    const longest = Math.max(...tokens().map(({ shown }) => shown.length));
    const width = side + Math.min(150, 16 + 7 * longest);
    band = shape("path", { class: "ll-band" });
    names = tokens().map(({ shown }, i) => {
      const at = { x: (i + 1) * cell + 4, y: (i + 0.5) * cell + 4, "font-size": font };
      return shape("text", at, shown);
    });
    const [layer, head] = model.get("_head").chosen;
    title.textContent = `layer ${layer}, head ${head}: a row takes from its columns, area = share`;
    const size = `${plural(rows.length, "row")}, as many columns`;
    setAll(matrix, { width, height: side + 2, viewBox: `-1 -1 ${width} ${side + 2}`,
      "aria-label": `layer ${layer}, head ${head}: ${size}` });
    matrix.replaceChildren(band, ...drawWeights(rows, cell), ...names);
  }

  function drawTokens() {
    chips = tokens().map(tokenChip);
    // The text's own lines: a token that ends one is the last of its row.
    const ends = ({ shown }) => shown.endsWith("↵");
    row.replaceChildren(...chips.flatMap(({ chip }, i) =>
      ends(tokens()[i]) ? [chip, node("span", { class: "ll-break" })] : [chip]));
  }

  function light() {
    if (!whole()) return;
    const at = pointed >= 0 ? pointed : place();
    const shares = weights()[at];
    const most = Math.max(...shares);
    const twin = twinsOf(tokens(), at);
    chips.forEach(({ chip, share, bar }, i) => {
      const later = i > at;
      const kind = `${i ? "" : " ll-start"}${later ? " ll-later" : ""}`
        + `${i === at ? " ll-active" : ""}${twin.includes(i) ? " ll-twin" : ""}`;
      chip.className = `ll-token${kind}`;
      chip.setAttribute("aria-selected", String(i === at));
      share.textContent = later ? "" : shortly(shares[i]);
      share.classList.toggle("ll-loud", !later && shares[i] === most);
      bar.style.height = later ? "0" : `${Math.round((HIGH * shares[i]) / 1000)}px`;
      if (i === at) chip.id = "ll-now";
      else chip.removeAttribute("id");
    });
    row.setAttribute("aria-activedescendant", "ll-now");
    band.setAttribute("d", `M0 ${at * cell}h${(at + 1) * cell}v${cell}H0z`);
    names.forEach((name, i) => {
      const room = cell >= 9; // else the words would stand on one another
      name.setAttribute("visibility", room || i === at ? "visible" : "hidden");
      name.setAttribute("class", i === at ? "ll-loud" : "");
    });
    details.textContent = describe(tokens(), at, shares);
  }

  // --- Choosing a token -----------------------------------------------------------------------

  function point(i) {
    if (i === pointed) return;
    pointed = i;
    light();
  }

  function settle(i) {
    pointed = -1;
    save(model, { place: i });
    light();
    reveal(row, chips[place()].chip);
  }

  const placeOf = (event) => event.target.closest(".ll-token")?.place ?? -1;
  row.addEventListener("pointerover", (event) => point(placeOf(event)));
  row.addEventListener("pointerleave", () => point(-1));
  row.addEventListener("click", (event) => placeOf(event) >= 0 && settle(placeOf(event)));
  row.addEventListener("keydown", (event) => {
    const to = moveOf(event, { ArrowLeft: place() - 1, ArrowRight: place() + 1, Home: 0,
      End: last() });
    if (to !== undefined) settle(clamp(to, 0, last()));
  });
  const rowOf = (event) => {
    const box = matrix.getBoundingClientRect();
    const y = ((event.clientY - box.top) * matrix.viewBox.baseVal.height) / box.height - 1;
    return clamp(Math.floor(y / cell), 0, last());
  };
  matrix.addEventListener("pointermove", (event) => point(rowOf(event)));
  matrix.addEventListener("pointerleave", () => point(-1));
  matrix.addEventListener("click", (event) => settle(rowOf(event)));

  // --- Joined to the kernel -------------------------------------------------------------------

  function drawChosen() {
    if (!whole()) return;
    drawMatrix();
    light();
    mark();
    ask();
  }

  function drawAnswer() {
    pointed = -1;
    said.textContent = tellText(model.get("_answer"));
    drawTokens();
    drawHeads();
    drawChosen();
  }

  // What is on show carries its question; until they agree, the page says that it waits.
  function ask() {
    const [{ text: read, cut }, text] = [model.get("_answer"), model.get("text")];
    if (area.value !== text) area.value = text;
    const head = String(model.get("_head").chosen) === String(model.get("chosen"));
    root.setAttribute("aria-busy", String(!hasRead(read, cut, text) || !head));
    mark();
  }

  area.addEventListener("input", () => saveText(model, area));

  drawAnswer();
  return listen(model, {
    "change:_answer": drawAnswer,
    "change:_head": drawChosen,
    "change:text change:chosen": ask,
    "change:place": light,
  });
}

export default { render };
