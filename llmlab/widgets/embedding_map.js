// The live view of EmbeddingMap.  All words are set by textContent; nothing is loaded from
// elsewhere.  Cosines come from the kernel; points move, and labels find room, on the page.

const [WIDTH, HEIGHT, MARGIN] = [640, 560, 26];
const MOVE_MS = 700; // from one step to the next
const STAY_MS = 1100; // between the steps of a film
const NEAR = 16; // pixels within which the pointer means a point
const LABEL = 24; // characters of a name on the map

// --- Shapes, named as matplotlib names them ---------------------------------------------------

const path = (points) => `M${points.map((p) => p.map((v) => v.toFixed(2)).join(" ")).join("L")}Z`;

// Corners on circles whose radii take turns, the first one at `turn` degrees from the top.
const star = (corners, radii, turn = 0) =>
  path(
    Array.from({ length: corners }, (_, i) => {
      const [angle, r] = [((turn + (360 * i) / corners) * Math.PI) / 180, radii[i % radii.length]];
      return [r * Math.sin(angle), -r * Math.cos(angle)];
    }),
  );

const turned = (points, degrees) => {
  const [s, c] = [Math.sin((degrees * Math.PI) / 180), Math.cos((degrees * Math.PI) / 180)];
  return points.map(([x, y]) => [c * x - s * y, s * x + c * y]);
};

const PLUS = [[-2, -6], [2, -6], [2, -2], [6, -2], [6, 2], [2, 2], [2, 6], [-2, 6], [-2, 2],
  [-6, 2], [-6, -2], [-2, -2]];
const SHAPES = {
  o: "M-5 0A5 5 0 1 0 5 0A5 5 0 1 0 -5 0Z",
  s: star(4, [6.3], 45),
  D: star(4, [6.3]),
  "^": star(3, [6.5]),
  v: star(3, [6.5], 180),
  P: path(PLUS),
  X: path(turned(PLUS, 45)),
  "*": star(10, [7.5, 3]),
  "<": star(3, [6.5], -90),
  ">": star(3, [6.5], 90),
  h: star(6, [6]),
  d: star(4, [7, 4]),
  8: star(8, [5.6], 22.5),
};

const overlap = (a, b) => a[0] < b[2] && b[0] < a[2] && a[1] < b[3] && b[1] < a[3];

// From the map to pixels: one scale for both directions and all steps.
function fit(frames) {
  const [[x0, x1], [y0, y1]] = [0, 1].map((axis) =>
    rangeOf(frames.flatMap(({ xy }) => xy.map((point) => point[axis]))));
  const [wide, high] = [WIDTH - 2 * MARGIN, HEIGHT - 2 * MARGIN];
  const zoom = Math.min(wide / (x1 - x0 || 1), high / (y1 - y0 || 1));
  return ([x, y]) => [WIDTH / 2 + zoom * (x - (x0 + x1) / 2),
    HEIGHT / 2 - zoom * (y - (y0 + y1) / 2)];
}

// --- Labels -----------------------------------------------------------------------------------

// Where a label may stand beside its point: offsets, the best first.
function sidesOf(wide, speaks) {
  const [right, left] = [8, -8 - wide];
  const heights = speaks ? [4, -6, 14, -18, 26, -30, 38] : [4, -6, 14];
  const offsets = heights.flatMap((dy) => [[right, dy], [left, dy]]);
  return [...offsets, [-wide / 2, -10], [-wide / 2, 19]];
}

// Each label on the first of its sides where it covers nothing: a list of offsets, null for a label
// without room, which waits for the pointer.  visible: numbers of the points that may have one, the
// first of them choose first; those that speak have more sides, and a label in any case.
function placeLabels(places, labels, visible, speaking) {
  const taken = visible.map((i) => places[i]).map(([x, y]) => [x - 4, y - 4, x + 4, y + 4]);
  const sides = labels.map(() => null);
  for (const i of visible) {
    const [[x, y], speaks] = [places[i], speaking.has(i)];
    const wide = (speaks ? 7 : 5.7) * labels[i].length;
    const offsets = sidesOf(wide, speaks);
    const boxOf = ([dx, dy]) => [x + dx, y + dy - 10, x + dx + wide, y + dy + 2];
    const inside = ([x0, y0, x1, y1]) => x0 > 0 && y0 > 0 && x1 < WIDTH && y1 < HEIGHT;
    const free = (side) => inside(boxOf(side)) && !taken.some((box) => overlap(box, boxOf(side)));
    const spare = speaks ? offsets[x + 8 + wide < WIDTH ? 0 : 1] : null;
    sides[i] = offsets.find(free) ?? spare;
    if (sides[i]) taken.push(boxOf(sides[i]));
  }
  return sides;
}

// --- Signs on the map -------------------------------------------------------------------------

const pointOf = ({ colour, marker }) =>
  shape("path", { class: "ll-point", d: SHAPES[marker], fill: colour });

const glyph = (group) => shape("svg",
  { class: "ll-glyph", viewBox: "-8 -8 16 16", "aria-hidden": "true" }, pointOf(group));

const line = ([x1, y1], [x2, y2], more) => shape("line", { x1, y1, x2, y2, ...more });

const ring = ([cx, cy], r, more = "") => shape("circle", { cx, cy, r, class: `ll-ring ${more}` });

function arrow([x1, y1], [x2, y2]) {
  const angle = Math.atan2(y2 - y1, x2 - x1);
  const barb = (turn) => `${x2 - 9 * Math.cos(angle + turn)} ${y2 - 9 * Math.sin(angle + turn)}`;
  return shape("g", {}, shape("path", { class: "ll-arrow", d: `M${x1} ${y1}L${x2} ${y2}` }),
    shape("path", { class: "ll-ring", d: `M${barb(0.4)}L${x2} ${y2}L${barb(-0.4)}` }));
}

// --- The parts of the page that stay ----------------------------------------------------------

function buildMap() {
  const [links, dots, rings, labels] = [0, 0, 0, 0].map(() => shape("g"));
  const svg = shape("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, tabindex: "0",
    role: "application", "aria-roledescription": "map" }, links, dots, rings, labels);
  return { svg, links, dots, rings, labels };
}

// askFor: what is done with the four words of a question.
function buildQuestion(field, askFor) {
  const words = ["a", "b", "c", "hoped for"].map((label) => field(label));
  const askTyped = () => askFor(words.map((input) => input.value));
  for (const input of words)
    input.addEventListener("keydown", (event) => event.key === "Enter" && askTyped());
  const signs = ["Arithmetic:", "−", "+", "="].map((sign) => node("span", {}, sign));
  const question = node("div", { class: "ll-row", role: "group", "aria-label": "analogy" },
    ...words.flatMap((input, i) => [signs[i], input]), button("nearest?", askTyped));
  return { words, question };
}

// The slider and the film.  now: the number of the frame on show; goTo: shows another.
function buildTime(frames, now, goTo) {
  let playing = 0; // the timer of the film
  const last = frames.length - 1;
  const told = node("output");
  const slider = node("input", { type: "range", min: 0, max: last, step: 1,
    "aria-label": "training step" });

  function tell() {
    const { step, rate } = frames[now()];
    slider.value = now();
    told.textContent = `step ${number(step)} · ${Math.round(100 * rate)} % beside their own group`;
    slider.setAttribute("aria-valuetext", told.textContent);
    play.textContent = playing ? "❚❚ pause" : "▶ play";
  }

  function stop() {
    clearTimeout(playing);
    playing = 0;
    tell();
  }

  function film() {
    if (now() === last) return stop();
    goTo(now() + 1);
    playing = setTimeout(film, STAY_MS);
  }

  const play = button("", () => {
    if (playing) return stop();
    if (now() === last) goTo(0);
    playing = setTimeout(film, STAY_MS);
    tell();
  });
  slider.addEventListener("input", () => {
    const to = Number(slider.value);
    stop();
    goTo(to);
  });
  const time = node("div", { class: "ll-row" }, play, slider, told);
  time.hidden = last === 0;
  return { time, tell, end: () => clearTimeout(playing) };
}

function buildParts(names, about, time, askFor) {
  const root = rootOf("ll-map");
  const listId = `ll-map-${Math.random().toString(36).slice(2)}`;
  const known = node("datalist", { id: listId },
    ...names.map((name) => node("option", { value: name })));
  const field = (label, width = 7) =>
    node("input", { type: "text", list: listId, "aria-label": label, placeholder: label,
      autocomplete: "off", spellcheck: "false", style: `width:${width}em` });
  const [title, search] = [node("h4"), field("find a word", 9)];
  const legend = node("div", { class: "ll-row ll-legend", role: "group", "aria-label": "groups" });
  const status = node("div", { class: "ll-status", "aria-live": "polite" });
  const [near, answer] = ["neighbours", "answer"].map((name) =>
    node("section", { "aria-label": name }));
  const [map, { words, question }] = [buildMap(), buildQuestion(field, askFor)];
  const body = node("div", { class: "ll-body" }, map.svg, node("aside", {}, near, answer));
  const ready = node("div", { class: "ll-row ll-legend" });
  root.append(known, node("header", {}, title, search), legend, body, status, time, question,
    ready, node("p", { class: "ll-about" }, about));
  return { root, title, search, legend, status, near, answer, ready, words, ...map };
}

// The next of some points to one side of another: near, and not far off the direction; -1: none.
function nextTo(places, numbers, start, [dx, dy]) {
  const [x0, y0] = places[start];
  return least(numbers.filter((i) => i !== start), (i) => {
    const [x, y] = [places[i][0] - x0, places[i][1] - y0];
    const [along, across] = [x * dx + y * dy, Math.abs(x * dy) + Math.abs(y * dx)];
    return along > 0 && across <= 2 * along ? along + 2 * across : Infinity;
  });
}

// The one of some numbers with the least cost; -1 where all cost Infinity.
function least(numbers, cost) {
  let [best, lowest] = [-1, Infinity];
  for (const i of numbers) if (cost(i) < lowest) [best, lowest] = [i, cost(i)];
  return best;
}

function render({ model, el }) {
  const [names, groups, groupOf] = ["_names", "_groups", "_group_of"].map((k) => model.get(k));
  const frames = model.get("_frames");
  const shortNames = names.map((n) => (n.length > LABEL ? `${n.slice(0, LABEL - 1)}…` : n));
  const scale = fit(frames);
  const filter = new Set(); // groups looked at; none: all
  let places = frames.at(-1).xy.map(scale); // where the points stand now, in pixels
  let sides = []; // for each label its offset, or null where it found no room
  let cursor = -1; // the point that the arrow keys reached
  let hover = -1;
  let found = new Set(); // points that what is typed in the search box could mean
  let moving = 0; // the animation frame that is under way

  const frameNumber = () => frames.findIndex(({ step }) => step === model.get("step"));
  const film = buildTime(frames, frameNumber, (i) => save(model, { step: frames[i].step }));
  const askFor = (four) => save(model, { _question: [...four] });
  const { root, title, search, legend, status, near, answer, ready, svg, links, dots, rings, labels,
    words } = buildParts(names, model.get("_about"), film.time, askFor);
  el.append(root);

  const points = groupOf.map((g) => pointOf(groups[g]));
  dots.append(...points);
  const texts = shortNames.map((name) => shape("text", {}, name));
  labels.append(...texts);

  const chips = groups.map((group, g) => button(glyph(group), () => {
    if (!filter.delete(g)) filter.add(g);
    settle();
  }, {}, node("span", {}, group.name.slice(0, 40))));
  const all = button("all", () => {
    filter.clear();
    settle();
  });
  legend.append(...chips, all);
  ready.append(...model.get("_analogies").map((four) =>
    button(`${four[0]} − ${four[1]} + ${four[2]}`, () => askFor(four))));

  // --- What is shown --------------------------------------------------------------------------

  const shown = (i) => !filter.size || filter.has(groupOf[i]);
  const chosen = () => names.indexOf(model.get("selected"));
  const nameOf = (i) => `${names[i]} · ${groups[groupOf[i]].name}`;

  // Points that speak: the chosen one, its neighbours, the words of an analogy, the pointed one.
  function loud() {
    const { given = [], rows = [] } = model.get("_answer");
    const answers = rows.slice(0, 3).map(([i]) => i);
    const neighbours = current("_near") ? model.get("_near").rows.map(([i]) => i) : [];
    const speaking = [cursor, hover, chosen(), ...given, ...answers, ...neighbours, ...found];
    return new Set(speaking.filter((i) => i >= 0));
  }

  // Whether the kernel's answer is about what is asked now.
  function current(trait) {
    const { step, of } = model.get(trait);
    return step === model.get("step") && (trait !== "_near" || of === model.get("selected"));
  }

  // Speaking points choose first, then from the rim to the crowd.
  function layLabels() {
    const speaking = loud();
    const rim = (i) => Math.hypot(places[i][0] - WIDTH / 2, places[i][1] - HEIGHT / 2);
    const rank = (i) => (i === chosen() ? 3e6 : speaking.has(i) ? 2e6 : 0) + rim(i);
    const visible = [...names.keys()].filter((i) => shown(i) || speaking.has(i));
    sides = placeLabels(places, shortNames, visible.sort((a, b) => rank(b) - rank(a)), speaking);
  }

  function paint() {
    const speaking = loud();
    const busy = chosen() >= 0 || model.get("_answer").rows?.length > 0 || found.size > 0;
    names.forEach((_, i) => {
      const [x, y] = places[i].map((v) => v.toFixed(1));
      const loudly = speaking.has(i);
      const faded = !shown(i) ? 0.12 : busy ? 0.45 : 1;
      setAll(points[i], { transform: `translate(${x} ${y})`, opacity: loudly ? 1 : faded });
      const side = sides[i];
      setAll(texts[i], { visibility: side ? "visible" : "hidden" });
      if (side) setAll(texts[i], { x: places[i][0] + side[0], y: places[i][1] + side[1],
        opacity: loudly ? 1 : busy ? 0.55 : 0.9, class: loudly ? "ll-loud" : "" });
    });
    paintLinks();
  }

  function paintLinks() {
    links.replaceChildren();
    rings.replaceChildren();
    if (chosen() >= 0) {
      const centre = places[chosen()];
      const rows = current("_near") ? model.get("_near").rows : [];
      links.append(...rows.map(([i, cosine]) =>
        line(centre, places[i], { class: "ll-link", "stroke-width": 3 * Math.max(0.2, cosine) })));
      rings.append(ring(centre, 11));
    }
    const { given = [], rows = [] } = model.get("_answer");
    if (given.length) {
      const [a, b, c] = given.map((i) => places[i]);
      const target = [c[0] + a[0] - b[0], c[1] + a[1] - b[1]];
      links.append(arrow(b, a), arrow(c, target));
      rings.append(ring(places[rows[0][0]], 11));
    }
    if (cursor >= 0) rings.append(ring(places[cursor], 14, "ll-cursor"));
  }

  // After a move, a choice or a filter: labels look for room anew.
  function settle() {
    if (!shown(cursor)) cursor = -1;
    layLabels();
    paint();
    chips.forEach((chip, g) => chip.setAttribute("aria-pressed", String(filter.has(g))));
    all.hidden = !filter.size;
  }

  // --- Lists ----------------------------------------------------------------------------------

  // One word of a list; its bar is as long as the cosine.
  function entry([i, cosine], note = "") {
    const share = `--share:${(100 * Math.max(0, cosine)).toFixed(0)}%`;
    const made = button(glyph(groups[groupOf[i]]), () => select(i), { style: share },
      node("span", { class: "ll-name", dir: "auto" }, names[i] + note),
      node("span", { class: "ll-number" }, cosine.toFixed(2)));
    made.addEventListener("pointerenter", () => point(i));
    made.addEventListener("pointerleave", () => point(-1));
    return node("li", note ? { class: "ll-given" } : {}, made);
  }

  const quiet = (words, more = {}) => node("p", { class: "ll-quiet", ...more }, words);
  const list = (title, rows) => [node("h5", { dir: "auto" }, title), node("ol", {}, ...rows)];

  function drawNear() {
    const i = chosen();
    near.classList.toggle("ll-waits", i >= 0 && !current("_near"));
    if (i < 0) {
      const hint = "Click a point. By keys: Tab to the map, arrows to walk, Enter to choose.";
      near.replaceChildren(quiet(hint));
    } else if (current("_near")) {
      const rows = model.get("_near").rows.map((row) => entry(row));
      near.replaceChildren(...list(`Nearest to ${names[i]}`, rows));
    } else if (!near.querySelector("ol")) near.replaceChildren(quiet("Asking the kernel …"));
    settle();
  }

  function drawAnswer() {
    const { error = "", given = [], rows = [], hoped = [] } = model.get("_answer");
    words.forEach((input, i) => (input.value = model.get("_question")[i]));
    answer.classList.toggle("ll-waits", !current("_answer"));
    answer.replaceChildren();
    if (error) answer.append(quiet(error, { role: "alert" }));
    if (given.length) {
      const [a, b, c] = given.map((i) => names[i]);
      const lines = rows.map((row) => entry(row, given.includes(row[0]) ? " (given)" : ""));
      answer.append(...list(`${a} − ${b} + ${c} is nearest to`, lines));
      if (given.includes(rows[0][0])) answer.append(quiet("The nearest is a word that was given."));
    }
    const [hope, rank] = hoped;
    const said = `${names[hope]}, hoped for, is number ${rank} of ${names.length}.`;
    if (rank) answer.append(quiet(said));
    settle();
  }

  // --- Time -----------------------------------------------------------------------------------

  const calm = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

  function move() {
    const [from, to, start] = [places, frames[frameNumber()].xy.map(scale), performance.now()];
    cancelAnimationFrame(moving);
    const tick = (now) => {
      const share = calm() ? 1 : clamp((now - start) / MOVE_MS, 0, 1);
      const eased = share * share * (3 - 2 * share);
      const between = (a, b) => a + eased * (b - a);
      places = to.map(([x, y], i) => [between(from[i][0], x), between(from[i][1], y)]);
      if (share === 1) return settle();
      paint();
      moving = requestAnimationFrame(tick);
    };
    tick(start);
    film.tell();
    drawNear();
    drawAnswer();
  }

  // --- Choosing -------------------------------------------------------------------------------

  function select(i) {
    save(model, { selected: i < 0 ? "" : names[i] });
    cursor = -1;
    settle();
  }

  // Point at i, by pointer; -1: at none.
  function point(i) {
    if (i === hover) return;
    hover = i;
    status.textContent = i < 0 ? "" : nameOf(i);
    settle();
  }

  const numbers = () => [...names.keys()].filter(shown);
  const distance = (i, x, y) => Math.hypot(places[i][0] - x, places[i][1] - y);

  function underPointer(event) {
    const box = svg.getBoundingClientRect();
    const zoom = WIDTH / box.width;
    const at = [zoom * (event.clientX - box.left), zoom * (event.clientY - box.top)];
    const i = least(numbers(), (j) => distance(j, ...at));
    return i >= 0 && distance(i, ...at) < NEAR * zoom ? i : -1;
  }

  function walk(direction) {
    const start = cursor >= 0 ? cursor : chosen();
    if (start < 0) return least(numbers(), (i) => distance(i, WIDTH / 2, HEIGHT / 2));
    const next = nextTo(places, numbers(), start, direction);
    return next < 0 ? start : next;
  }

  const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  svg.addEventListener("keydown", (event) => {
    if (event.key in ARROWS) {
      cursor = walk(ARROWS[event.key]);
      if (cursor >= 0) status.textContent = nameOf(cursor);
      settle();
    } else if (event.key === "Enter" && cursor >= 0) select(cursor);
    else if (event.key === "Escape") {
      status.textContent = "";
      askFor(["", "", "", ""]);
      select(-1);
    } else return;
    event.preventDefault();
    event.stopPropagation();
  });
  svg.addEventListener("pointermove", (event) => point(underPointer(event)));
  svg.addEventListener("pointerleave", () => point(-1));
  svg.addEventListener("click", (event) => select(underPointer(event)));
  svg.addEventListener("blur", () => {
    cursor = -1;
    settle();
  });

  // What is typed lights up all points that it could mean; Enter, or a suggestion, chooses.
  function seek() {
    const typed = search.value.trim().toLowerCase();
    const lower = names.map((name) => name.toLowerCase());
    const hits = [...names.keys()].filter((i) => typed && lower[i].includes(typed));
    found = new Set(hits);
    const exact = hits.find((i) => lower[i] === typed);
    status.textContent = typed ? `${hits.length} of ${names.length} contain what you typed` : "";
    settle();
    return exact ?? hits[0] ?? -1;
  }

  function endSearch(i) {
    search.value = "";
    found = new Set();
    status.textContent = i < 0 ? "" : nameOf(i);
    if (i >= 0) filter.clear();
    if (i >= 0) select(i);
    else settle();
  }

  search.addEventListener("input", (event) => {
    const i = seek();
    // A suggestion that was picked comes without an inputType, or as a replacement.
    const picked = !event.inputType || event.inputType === "insertReplacementText";
    if (picked && names[i] === search.value) endSearch(i);
  });
  search.addEventListener("keydown", (event) => {
    const i = event.key === "Enter" ? seek() : -1;
    if (event.key === "Escape" || i >= 0) endSearch(i);
    if (event.key === "Enter") event.preventDefault();
  });

  // --- Joined to the kernel -------------------------------------------------------------------

  const drawTitle = () => {
    title.textContent = model.get("title");
    svg.setAttribute("aria-label", `${model.get("title")}: arrows walk, Enter chooses`);
  };
  const end = listen(model, {
    "change:title": drawTitle,
    "change:step": move,
    "change:selected change:_near": drawNear,
    "change:_question change:_answer": drawAnswer,
  });
  places = frames[frameNumber()].xy.map(scale);
  drawTitle();
  film.tell();
  drawNear();
  drawAnswer();
  return () => {
    end();
    film.end();
    cancelAnimationFrame(moving);
  };
}

export default { render };
