// The live view of PreferenceClicker.  All words are set by textContent; nothing is loaded from
// elsewhere.  The kernel keeps the choices; a message says which pair it is about.

const KEYS = { ArrowLeft: "left", ArrowRight: "right", ArrowDown: "neither", Backspace: "back" };
const SIDES = ["left", "right"];

function render({ model, el }) {
  const root = rootOf("ll-prefer");
  const done = node("div", { class: "ll-done" });
  const request = node("div", { class: "ll-request", "aria-live": "polite" });
  const cards = node("div", { class: "ll-cards", role: "group", "aria-label": "two answers" });
  const over = node("div", { class: "ll-over" }, "All pairs are decided. Run the next cell.");
  const bar = node("div", { class: "ll-bar" });
  const said = node("span", { class: "ll-said", "aria-live": "polite" });
  root.append(node("div", { class: "ll-track" }, done), request, cards, over, bar);
  el.append(root);

  const view = () => model.get("_view");
  let sent = -1; // the last move that was answered from here: a pair is decided once

  function act(what) {
    const { moves, place, all } = view();
    const idle = what === "back" ? place === 0 : place === all;
    if (idle || sent === moves) return;
    sent = moves;
    model.send({ do: what, moves });
  }

  // The cards are made once and filled again and again, so that the focus stays.
  const made = SIDES.map((side, i) => {
    const [title, foods] = [node("span", { class: "ll-title" }), node("span")];
    const hint = node("span", { class: "ll-side" }, node("kbd", {}, i ? "→" : "←"),
      ` I like the ${side} one better`);
    const card = button(title, () => act(side), { class: "ll-card" }, foods, hint);
    cards.append(card);
    return { card, title, foods };
  });

  const [neither, back] = [["↓", "neither"], ["⌫", "back"]].map(([key, what]) =>
    button(node("kbd", {}, key), () => act(what), {}, ` ${what}`));
  bar.append(neither, back, said);

  root.addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return;
    if (!(event.key in KEYS) || event.repeat) return; // a key held down decides one pair
    event.preventDefault();
    act(KEYS[event.key]);
  });

  function draw() {
    const { place, all, answers = [], chosen } = view();
    const ended = place === all;
    done.style.width = `${(100 * place) / all}%`;
    request.textContent = ended ? "" : `${place + 1} of ${all}: ${view().request}`;
    answers.forEach(({ title, items }, i) => {
      made[i].title.textContent = title || "(no title)";
      made[i].foods.replaceChildren(
        ...items.map((food) => node("div", { class: "ll-food" }, food)));
      made[i].card.setAttribute("aria-pressed", String(chosen === SIDES[i]));
    });
    const lost = ended && cards.contains(document.activeElement);
    cards.style.display = ended ? "none" : "";
    over.style.display = ended ? "" : "none";
    neither.setAttribute("aria-disabled", String(ended));
    neither.style.fontWeight = chosen === "neither" ? "bold" : "";
    back.setAttribute("aria-disabled", String(place === 0));
    if (lost) back.focus(); // the cards went away with it
    said.textContent = view().said;
  }

  draw();
  return listen(model, { "change:_view": draw });
}

export default { render };
