// The live view of LossCurve.  All words are set by textContent; nothing is loaded from elsewhere.

const [WIDTH, HEIGHT] = [640, 320];
const [LEFT, RIGHT, TOP, BOTTOM] = [58, 24, 12, 44];
// Told apart by colour-blind readers, at least 3:1 on white and on #111; the dashes tell as well.
const COLOURS = ["#1f83c4", "#d55e00", "#009e73", "#c266a0", "#9a7d00"];
const DASHES = ["", "7 3", "2 3", "9 3 2 3", "4 2"];

const strokeOf = (number) => ({
  stroke: COLOURS[number % COLOURS.length],
  "stroke-dasharray":
    DASHES[(number + Math.floor(number / COLOURS.length)) % DASHES.length] || "none",
});

// What can be drawn: finite, and positive where the scale is logarithmic.
const usable = (curve, logX, logY) =>
  curve.x
    .map((x, i) => [x, curve.y[i]])
    .filter(([x, y]) => y !== null && (x > 0 || !logX) && (y > 0 || !logY));

const round = (value, digits) => String(Number(value.toPrecision(digits)));

class Axis {
  constructor(values, log, start, end) {
    this.scale = log ? Math.log10 : Number;
    Object.assign(this, { log, start, end });
    const [a, b] = (values.length ? rangeOf(values) : [1, 10]).map(this.scale);
    const pad = (b - a) * 0.03 || 0.5;
    this.low = a - pad;
    this.high = b + pad;
  }

  at(value) {
    const share = (this.scale(value) - this.low) / (this.high - this.low);
    return this.start + share * (this.end - this.start);
  }

  // About five round values inside the range.
  ticks() {
    const [low, high] = this.log ? [10 ** this.low, 10 ** this.high] : [this.low, this.high];
    const decades = this.high - this.low;
    const made = [];
    if (this.log && decades > 1) {
      for (let p = Math.floor(this.low); p < Math.ceil(this.high); p++)
        for (const step of decades > 3 ? [1] : [1, 3])
          if (low <= step * 10 ** p && step * 10 ** p <= high) made.push(step * 10 ** p);
      return made;
    }
    let size = 10 ** Math.floor(Math.log10((high - low) / 4));
    size *= [10, 5, 2, 1].find((m) => m * size <= (high - low) / 4);
    for (let i = Math.ceil(low / size); i <= Math.floor(high / size); i++) made.push(i * size);
    return made;
  }
}

function render({ model, el }) {
  const root = rootOf("ll-curve");
  const title = node("h4");
  const key = node("header");
  const svg = shape("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, tabindex: "0", role: "img" });
  const readout = node("div", { class: "ll-readout" });
  const buttons = ["log_x", "log_y"].map((name) =>
    button("", () => save(model, { [name]: !model.get(name) }), { "data-scale": name }));
  root.append(key, svg, node("footer", {}, readout, ...buttons));
  el.append(root);

  let curves = []; // {name, number, points}, as drawn
  let places = []; // every x that has a point, in order: where the read-out can stand
  let across = null;
  let up = null;
  let cursor = null; // an x, or null: the read-out tells where the curves end
  const marks = shape("g");

  function draw() {
    const [logX, logY] = [model.get("log_x"), model.get("log_y")];
    curves = model
      .get("_curves")
      .map((curve, number) => ({ name: curve.name, number, points: usable(curve, logX, logY) }));
    const points = curves.flatMap((curve) => curve.points);
    places = [...new Set(points.map(([x]) => x))].sort((a, b) => a - b);
    across = new Axis(places, logX, LEFT, WIDTH - RIGHT);
    up = new Axis(points.map(([, y]) => y), logY, HEIGHT - BOTTOM, TOP);
    svg.replaceChildren(...grid(), ...labels(), ...curves.map(drawLine), marks);
    drawKey();
    buttons[0].textContent = `x: ${logX ? "log" : "linear"}`;
    buttons[1].textContent = `y: ${logY ? "log" : "linear"}`;
    buttons.forEach((b, i) => b.setAttribute("aria-pressed", String([logX, logY][i])));
    read();
  }

  function grid() {
    const made = [];
    const rule = (x1, x2, y1, y2) => made.push(shape("line", { class: "ll-grid", x1, x2, y1, y2 }));
    const say = (value, x, y, side) =>
      made.push(shape("text", { x, y, "text-anchor": side }, round(value, 6)));
    for (const value of across.ticks()) {
      const x = across.at(value);
      rule(x, x, TOP, HEIGHT - BOTTOM);
      say(value, x, HEIGHT - BOTTOM + 15, "middle");
    }
    for (const value of up.ticks()) {
      const y = up.at(value);
      rule(LEFT, WIDTH - RIGHT, y, y);
      say(value, LEFT - 6, y + 4, "end");
    }
    return made;
  }

  function labels() {
    const middle = (LEFT + WIDTH - RIGHT) / 2;
    const turned = `translate(12 ${(TOP + HEIGHT - BOTTOM) / 2}) rotate(-90)`;
    return [
      shape("text", { x: middle, y: HEIGHT - 8, "text-anchor": "middle" }, model.get("x_label")),
      shape("text", { transform: turned, "text-anchor": "middle" }, model.get("y_label")),
    ];
  }

  function drawLine({ number, points }) {
    const pixels = points.map(([x, y]) => `${across.at(x).toFixed(1)},${up.at(y).toFixed(1)}`);
    return shape("polyline", { class: "ll-line", points: pixels.join(" "), ...strokeOf(number) });
  }

  function drawKey() {
    title.textContent = model.get("title");
    key.replaceChildren(title, ...curves.map(({ name, number }) => {
      const sample = { class: "ll-line", x1: 0, x2: 24, y1: 4, y2: 4, ...strokeOf(number) };
      return node("span", { class: "ll-key" },
        shape("svg", { width: 24, height: 8, style: "width:24px" }, shape("line", sample)),
        node("span", {}, name));
    }));
  }

  // The point of a curve that is nearest to x on the screen, if one is near.
  function pointAt(points, x) {
    if (!points.length) return null;
    const far = (p) => Math.abs(across.at(p[0]) - across.at(x));
    const nearest = points.reduce((best, p) => (far(p) < far(best) ? p : best));
    return far(nearest) < 12 ? nearest : null;
  }

  function read() {
    marks.replaceChildren();
    const words = [];
    if (cursor !== null && places.length) {
      const x = across.at(cursor);
      const ends = { x1: x, x2: x, y1: TOP, y2: HEIGHT - BOTTOM };
      marks.append(shape("line", { class: "ll-cursor", ...ends }));
      words.push(`${model.get("x_label")} ${round(cursor, 7)}`);
    }
    for (const { name, number, points } of curves) {
      const point = cursor === null ? points.at(-1) : pointAt(points, cursor);
      if (!point) continue;
      const [cx, cy, fill] = [across.at(point[0]), up.at(point[1]), strokeOf(number).stroke];
      if (cursor !== null) marks.append(shape("circle", { cx, cy, r: 3.5, fill }));
      const where = cursor === null ? ` at ${round(point[0], 7)}` : "";
      words.push(`${name} ${round(point[1], 4)}${where}`);
    }
    // Spoken when the learner moves it, silent while a training moves it.
    readout.setAttribute("aria-live", cursor === null ? "off" : "polite");
    readout.textContent = words.join(" · ") || "no points yet";
    svg.setAttribute("aria-label", `${model.get("title")}: ${readout.textContent}`);
  }

  const nearestPlace = (pixel) =>
    places.reduce((best, x) =>
      Math.abs(across.at(x) - pixel) < Math.abs(across.at(best) - pixel) ? x : best,
    );

  svg.addEventListener("pointermove", (event) => {
    if (!places.length) return;
    const box = svg.getBoundingClientRect();
    cursor = nearestPlace(((event.clientX - box.left) / box.width) * WIDTH);
    read();
  });
  svg.addEventListener("pointerleave", () => {
    cursor = null;
    read();
  });
  svg.addEventListener("keydown", (event) => {
    if (!places.length) return;
    const end = places.length - 1;
    const now = cursor === null ? end : places.indexOf(nearestPlace(across.at(cursor)));
    const step = event.shiftKey ? Math.ceil(places.length / 20) : 1;
    const to = moveOf(event, { ArrowLeft: now - step, ArrowRight: now + step, Home: 0, End: end,
      Escape: null });
    if (to === undefined) return;
    cursor = to === null ? null : places[clamp(to, 0, end)];
    read();
  });

  draw();
  return listen(model, { "change:_curves change:log_x change:log_y change:title": draw });
}

export default { render };
