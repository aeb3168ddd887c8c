// What the widgets' scripts share; base.py sets it before each of them.  Words go in as text only.

const filled = (made, attributes, words) => {
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.textContent = words;
  return made;
};

const node = (tag, attributes = {}, words = "") =>
  filled(document.createElement(tag), attributes, words);

const shape = (tag, attributes = {}, words = "") =>
  filled(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, words);

const plural = (value, word) => `${value.toLocaleString("en")} ${word}${value === 1 ? "" : "s"}`;

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
