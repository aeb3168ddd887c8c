// What the widgets' scripts share; base.py sets it before each of them.  Words go in as text only.

const setAll = (made, attributes) => {
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
};

const filled = (made, attributes, children) => {
  setAll(made, attributes);
  made.append(...children); // elements, and words, which become text
  return made;
};

const node = (tag, attributes = {}, ...children) =>
  filled(document.createElement(tag), attributes, children);

const shape = (tag, attributes = {}, ...children) =>
  filled(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);

const button = (words, act, attributes = {}, ...more) => {
  const made = node("button", { type: "button", ...attributes }, words, ...more);
  made.addEventListener("click", act);
  return made;
};

const number = (value) => value.toLocaleString("en");
const plural = (value, word) => `${number(value)} ${word}${value === 1 ? "" : "s"}`;
const clamp = (value, low, high) => Math.max(low, Math.min(high, value));
// The lowest and the highest of some values, of which there may be more than a call can take.
const rangeOf = (values) =>
  [Math.min, Math.max].map((better) => values.reduce((a, b) => better(a, b)));

// Keys pressed in an element are its own: whether its shortcuts are off, Jupyter asks the focused
// element before those around it.
const keepKeys = (root) => {
  const quiet = (made) => made.setAttribute("data-lm-suppress-shortcuts", "true");
  quiet(root);
  root.addEventListener("focusin", ({ target }) => quiet(target));
  return root;
};

// A widget's outermost element.
const rootOf = (name) => keepKeys(node("div", { class: name }));

// Where a key leads, by `moves` (key -> place); undefined for keys that are not ours.
const moveOf = (event, moves) => {
  if (event.altKey || event.ctrlKey || event.metaKey) return undefined; // the browser's own keys
  if (!(event.key in moves)) return undefined;
  event.preventDefault();
  return moves[event.key];
};

// Scrolls a box, and never the page, until a part of it can be seen.
const reveal = (box, part) => {
  const [top, bottom] = [part.offsetTop, part.offsetTop + part.offsetHeight];
  if (top < box.scrollTop || bottom > box.scrollTop + box.clientHeight)
    box.scrollTop = top - box.clientHeight / 2;
};

// --- Joined to the kernel ---------------------------------------------------------------------

const save = (model, traits) => {
  model.set(traits);
  model.save_changes();
};

// JSON between page and kernel cannot carry half a surrogate pair.
const saveText = (model, area) =>
  save(model, { text: area.value.replace(/\p{Surrogate}/gu, "\ufffd") });

// Whether what the kernel has read is the text; cut: it has read the beginning alone.
const hasRead = (read, cut, text) => (cut ? text.startsWith(read) : text === read);

// Listens to the model, event -> act; returns what ends that.
const listen = (model, events) => {
  for (const [event, act] of Object.entries(events)) model.on(event, act);
  return () => {
    for (const [event, act] of Object.entries(events)) model.off(event, act);
  };
};
