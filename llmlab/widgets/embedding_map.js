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
  const bounds = [0, 1].map((axis) => {
    const values = frames.flatMap(({ xy }) => xy.map((point) => point[axis]));
    return [values.reduce((a, b) => Math.min(a, b)), values.reduce((a, b) => Math.max(a, b))];
  });
  const [[x0, x1], [y0, y1]] = bounds;
  const zoom = Math.min(
    (WIDTH - 2 * MARGIN) / (x1 - x0 || 1),
    (HEIGHT - 2 * MARGIN) / (y1 - y0 || 1),
  );
  return ([x, y]) => [
    WIDTH / 2 + zoom * (x - (x0 + x1) / 2),
    HEIGHT / 2 - zoom * (y - (y0 + y1) / 2),
  ];
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

function glyph(group) {
  const made = shape("svg", { class: "ll-glyph", viewBox: "-8 -8 16 16", "aria-hidden": "true" });
  made.append(pointOf(group));
  return made;
}

const line = ([x1, y1], [x2, y2], more) => shape("line", { x1, y1, x2, y2, ...more });

const ring = ([cx, cy], r, more = "") => shape("circle", { cx, cy, r, class: `ll-ring ${more}` });

function arrow([x1, y1], [x2, y2]) {
  const angle = Math.atan2(y2 - y1, x2 - x1);
  const barb = (turn) => `${x2 - 9 * Math.cos(angle + turn)} ${y2 - 9 * Math.sin(angle + turn)}`;
  const head = `M${barb(0.4)}L${x2} ${y2}L${barb(-0.4)}`;
  const made = shape("g");
  made.append(
    shape("path", { class: "ll-arrow", d: `M${x1} ${y1}L${x2} ${y2}` }),
    shape("path", { class: "ll-ring", d: head }),
  );
  return made;
}

// --- The parts of the page that stay ----------------------------------------------------------

function buildMap() {
  const svg = shape("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, tabindex: "0",
    role: "application", "aria-roledescription": "map" });
  const [links, dots, rings, labels] = [0, 0, 0, 0].map(() => shape("g"));
  svg.append(links, dots, rings, labels);
  return { svg, links, dots, rings, labels };
}

function buildTime(last) {
  const play = node("button", { type: "button" });
  const slider = node("input", { type: "range", min: 0, max: last, step: 1,
    "aria-label": "training step" });
  const told = node("output");
  const time = node("div", { class: "ll-row" });
  time.append(play, slider, told);
  time.hidden = last === 0;
  return { play, slider, told, time };
}

function buildQuestion(field) {
  const words = ["a", "b", "c", "hoped for"].map((label) => field(label));
  const ask = node("button", { type: "button" }, "nearest?");
  const question = node("div", { class: "ll-row", role: "group", "aria-label": "analogy" });
  question.append(
    node("span", {}, "Arithmetic:"), words[0], node("span", {}, "−"), words[1],
    node("span", {}, "+"), words[2], node("span", {}, "="), words[3], ask,
  );
  return { words, ask, question };
}

function buildParts(names, last, about) {
  const root = rootOf("ll-map");
  const listId = `ll-map-${Math.random().toString(36).slice(2)}`;
  const known = node("datalist", { id: listId });
  known.append(...names.map((name) => node("option", { value: name })));
  const field = (label, width = 7) =>
    node("input", { type: "text", list: listId, "aria-label": label, placeholder: label,
      autocomplete: "off", spellcheck: "false", style: `width:${width}em` });
  const [header, title, search] = [node("header"), node("h4"), field("find a word", 9)];
  header.append(title, search);
  const legend = node("div", { class: "ll-row ll-legend", role: "group", "aria-label": "groups" });
  const status = node("div", { class: "ll-status", "aria-live": "polite" });
  const [near, answer] = ["neighbours", "answer"].map((name) =>
    node("section", { "aria-label": name }));
  const [map, time, question] = [buildMap(), buildTime(last), buildQuestion(field)];
  const [body, aside] = [node("div", { class: "ll-body" }), node("aside")];
  aside.append(near, answer);
  body.append(map.svg, aside);
  const ready = node("div", { class: "ll-row ll-legend" });
  root.append(known, header, legend, body, status, time.time, question.question, ready,
    node("p", { class: "ll-about" }, about));
  return { root, title, search, legend, status, near, answer, ready, ...map, ...time, ...question };
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
  let playing = 0; // the timer of the film

  const { root, title, search, legend, status, near, answer, ready, svg, links, dots, rings, labels,
    play, slider, told, words, ask } = buildParts(names, frames.length - 1, model.get("_about"));
  el.append(root);

  const points = names.map((_, i) => pointOf(groups[groupOf[i]]));
  dots.append(...points);
  const texts = names.map((_, i) => shape("text", {}, shortNames[i]));
  labels.append(...texts);

  const chips = groups.map(({ name }, g) => {
    const chip = node("button", { type: "button" });
    chip.append(glyph(groups[g]), node("span", {}, name.slice(0, 40)));
    chip.addEventListener("click", () => {
      if (!filter.delete(g)) filter.add(g);
      settle();
    });
    return chip;
  });
  const all = node("button", { type: "button" }, "all");
  all.addEventListener("click", () => {
    filter.clear();
    settle();
  });
  legend.append(...chips, all);

  for (const four of model.get("_analogies")) {
    const [a, b, c] = four;
    const chip = node("button", { type: "button" }, `${a} − ${b} + ${c}`);
    chip.addEventListener("click", () => askFor(four));
    ready.append(chip);
  }

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
    const visible = names.map((_, i) => i).filter((i) => shown(i) || speaking.has(i));
    sides = placeLabels(places, shortNames, visible.sort((a, b) => rank(b) - rank(a)), speaking);
  }

  function paint() {
    const speaking = loud();
    const busy = chosen() >= 0 || model.get("_answer").rows?.length > 0 || found.size > 0;
    names.forEach((_, i) => {
      const [x, y] = places[i].map((v) => v.toFixed(1));
      const faded = !shown(i) ? 0.12 : busy && !speaking.has(i) ? 0.45 : 1;
      points[i].setAttribute("transform", `translate(${x} ${y})`);
      points[i].setAttribute("opacity", speaking.has(i) ? 1 : faded);
      const side = sides[i];
      texts[i].setAttribute("visibility", side ? "visible" : "hidden");
      if (!side) return;
      texts[i].setAttribute("x", places[i][0] + side[0]);
      texts[i].setAttribute("y", places[i][1] + side[1]);
      texts[i].setAttribute("opacity", speaking.has(i) ? 1 : busy ? 0.55 : 0.9);
      texts[i].setAttribute("class", speaking.has(i) ? "ll-loud" : "");
    });
    paintLinks();
  }

  function paintLinks() {
    links.replaceChildren();
    rings.replaceChildren();
    if (chosen() >= 0) {
      const centre = places[chosen()];
      const rows = current("_near") ? model.get("_near").rows : [];
      links.append(
        ...rows.map(([i, cosine]) =>
          line(centre, places[i], { class: "ll-link", "stroke-width": 3 * Math.max(0.2, cosine) }),
        ),
      );
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
    const item = node("li", note ? { class: "ll-given" } : {});
    const share = `--share:${(100 * Math.max(0, cosine)).toFixed(0)}%`;
    const button = node("button", { type: "button", style: share });
    const name = node("span", { class: "ll-name", dir: "auto" }, names[i] + note);
    const number = node("span", { class: "ll-number" }, cosine.toFixed(2));
    button.append(glyph(groups[groupOf[i]]), name, number);
    button.addEventListener("click", () => select(i));
    button.addEventListener("pointerenter", () => point(i));
    button.addEventListener("pointerleave", () => point(-1));
    item.append(button);
    return item;
  }

  function drawNear() {
    const i = chosen();
    near.classList.toggle("ll-waits", i >= 0 && !current("_near"));
    if (i < 0) {
      const hint = "Click a point. By keys: Tab to the map, arrows to walk, Enter to choose.";
      near.replaceChildren(node("p", { class: "ll-quiet" }, hint));
    } else if (current("_near")) {
      const list = node("ol");
      list.append(...model.get("_near").rows.map((row) => entry(row)));
      near.replaceChildren(node("h5", { dir: "auto" }, `Nearest to ${names[i]}`), list);
    } else if (!near.querySelector("ol")) {
      near.replaceChildren(node("p", { class: "ll-quiet" }, "Asking the kernel …"));
    }
    settle();
  }

  function drawAnswer() {
    const { error = "", given = [], rows = [], hoped = [] } = model.get("_answer");
    words.forEach((input, i) => (input.value = model.get("_question")[i]));
    answer.classList.toggle("ll-waits", !current("_answer"));
    answer.replaceChildren();
    if (error) answer.append(node("p", { class: "ll-quiet", role: "alert" }, error));
    if (given.length) {
      const [a, b, c] = given.map((i) => names[i]);
      const list = node("ol");
      list.append(...rows.map((row) => entry(row, given.includes(row[0]) ? " (given)" : "")));
      answer.append(node("h5", { dir: "auto" }, `${a} − ${b} + ${c} is nearest to`), list);
      if (given.includes(rows[0][0]))
        answer.append(node("p", { class: "ll-quiet" }, "The nearest is a word that was given."));
      if (hoped.length) {
        const rank = `${names[hoped[0]]}, hoped for, is number ${hoped[1]} of ${names.length}.`;
        answer.append(node("p", { class: "ll-quiet" }, rank));
      }
    }
    settle();
  }

  // --- Time -----------------------------------------------------------------------------------

  const frameNumber = () => frames.findIndex(({ step }) => step === model.get("step"));
  const calm = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

  function goTo(number) {
    model.set("step", frames[number].step);
    model.save_changes();
  }

  function move() {
    const [from, to, start] = [places, frames[frameNumber()].xy.map(scale), performance.now()];
    cancelAnimationFrame(moving);
    const tick = (now) => {
      const share = calm() ? 1 : Math.max(0, Math.min(1, (now - start) / MOVE_MS));
      const eased = share * share * (3 - 2 * share);
      places = to.map(([x, y], i) => [
        from[i][0] + eased * (x - from[i][0]),
        from[i][1] + eased * (y - from[i][1]),
      ]);
      if (share === 1) return settle();
      paint();
      moving = requestAnimationFrame(tick);
    };
    tick(start);
    tellTime();
    drawNear();
  }

  function tellTime() {
    const { step, rate } = frames[frameNumber()];
    slider.value = frameNumber();
    const score = `${Math.round(100 * rate)} % beside their own group`;
    told.textContent = `step ${step.toLocaleString("en")} · ${score}`;
    slider.setAttribute("aria-valuetext", told.textContent);
    play.textContent = playing ? "❚❚ pause" : "▶ play";
  }

  function film() {
    const next = frameNumber() + 1;
    if (next >= frames.length) return stop();
    goTo(next);
    playing = setTimeout(film, STAY_MS);
  }

  function stop() {
    clearTimeout(playing);
    playing = 0;
    tellTime();
  }

  play.addEventListener("click", () => {
    if (playing) return stop();
    if (frameNumber() === frames.length - 1) goTo(0);
    playing = setTimeout(film, STAY_MS);
    tellTime();
  });
  slider.addEventListener("input", () => {
    const number = Number(slider.value);
    stop();
    goTo(number);
  });

  // --- Choosing -------------------------------------------------------------------------------

  function select(i) {
    model.set("selected", i < 0 ? "" : names[i]);
    model.save_changes();
    cursor = -1;
    settle();
  }

  function askFor(four) {
    model.set("_question", [...four]);
    model.save_changes();
  }

  // Point at i, by pointer; -1: at none.
  function point(i) {
    if (i === hover) return;
    hover = i;
    status.textContent = i < 0 ? "" : nameOf(i);
    settle();
  }

  // The shown point that is best by `distance`, where Infinity rules a point out.
  function best(distance) {
    const distances = names.map((_, i) => (shown(i) ? distance(places[i], i) : Infinity));
    const least = distances.reduce((a, b) => Math.min(a, b), Infinity);
    return least === Infinity ? -1 : distances.indexOf(least);
  }

  function underPointer(event) {
    const box = svg.getBoundingClientRect();
    const [px, py] = [event.clientX - box.left, event.clientY - box.top];
    const zoom = WIDTH / box.width;
    return best(([x, y]) => {
      const d = Math.hypot(x - px * zoom, y - py * zoom);
      return d < NEAR * zoom ? d : Infinity;
    });
  }

  // The next point to one side: near, and not far off the direction.
  function walk([dx, dy]) {
    const start = cursor >= 0 ? cursor : chosen();
    if (start < 0) return best(([x, y]) => Math.hypot(x - WIDTH / 2, y - HEIGHT / 2));
    const [x0, y0] = places[start];
    const next = best(([x, y], i) => {
      const along = (x - x0) * dx + (y - y0) * dy;
      const across = Math.abs((x - x0) * dy) + Math.abs((y - y0) * dx);
      return i !== start && along > 0 && across <= 2 * along ? along + 2 * across : Infinity;
    });
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
    const hits = typed ? names.map((_, i) => i).filter((i) => lower[i].includes(typed)) : [];
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
  const askTyped = () => askFor(words.map((input) => input.value));
  ask.addEventListener("click", askTyped);
  for (const input of words)
    input.addEventListener("keydown", (event) => event.key === "Enter" && askTyped());

  // --- Joined to the kernel -------------------------------------------------------------------

  const drawTitle = () => {
    title.textContent = model.get("title");
    svg.setAttribute("aria-label", `${model.get("title")}: arrows walk, Enter chooses`);
  };
  const listeners = {
    "change:title": drawTitle,
    "change:step": () => {
      move();
      drawAnswer();
    },
    "change:selected": drawNear,
    "change:_near": drawNear,
    "change:_question": drawAnswer,
    "change:_answer": drawAnswer,
  };
  for (const [event, act] of Object.entries(listeners)) model.on(event, act);
  places = frames[frameNumber()].xy.map(scale);
  drawTitle();
  tellTime();
  drawNear();
  drawAnswer();
  return () => {
    for (const [event, act] of Object.entries(listeners)) model.off(event, act);
    clearTimeout(playing);
    cancelAnimationFrame(moving);
  };
}

export default { render };
