// The live view of PreferenceClicker.  All words are set by textContent; nothing is loaded from
// elsewhere.  The kernel keeps the choices; a message says which pair it is about.

const STYLE = `
.ll-prefer { padding: 8px; font: 13px/1.5 sans-serif; max-width: 760px;
  background: var(--jp-layout-color0, #fff); color: var(--jp-ui-font-color1, #222); }
.ll-prefer .ll-track { height: 4px; border-radius: 2px; overflow: hidden;
  background: var(--jp-layout-color2, #eee); }
.ll-prefer .ll-done { height: 4px; background: #1f83c4; transition: width 0.15s; }
.ll-prefer .ll-request { margin: 10px 2px 8px; font-size: 15px; overflow-wrap: anywhere;
  unicode-bidi: isolate; }
.ll-prefer .ll-cards { display: grid; grid-template-columns: 1fr 1fr; gap: 12px; }
.ll-prefer .ll-card { display: flex; flex-direction: column; align-items: stretch; gap: 2px;
  min-height: 218px; padding: 10px 12px; text-align: left; cursor: pointer; font: inherit;
  border: 1px solid var(--jp-border-color1, #999); border-radius: 6px; min-width: 0;
  background: var(--jp-layout-color1, #fff); color: inherit; }
.ll-prefer .ll-card:hover { border-color: currentColor; }
.ll-prefer .ll-card[aria-pressed="true"] { border: 3px solid currentColor; padding: 8px 10px; }
.ll-prefer .ll-title { font-weight: bold; font-size: 15px; margin-bottom: 4px;
  overflow-wrap: anywhere; unicode-bidi: isolate; }
.ll-prefer .ll-card[aria-pressed="true"] .ll-title::after { content: " ✓"; }
.ll-prefer .ll-food { overflow-wrap: anywhere; unicode-bidi: isolate; }
.ll-prefer .ll-food::before { content: "· "; }
.ll-prefer .ll-side { margin-top: auto; padding-top: 8px; font-size: 12px;
  color: var(--jp-ui-font-color1, #222); }
.ll-prefer kbd { padding: 0 6px; border: 1px solid currentColor; border-radius: 3px;
  font: 12px/1.5 sans-serif; background: none; color: inherit; }
.ll-prefer .ll-over { padding: 24px 12px; border: 1px dashed currentColor; border-radius: 6px;
  text-align: center; font-size: 15px; }
.ll-prefer .ll-bar { display: flex; flex-wrap: wrap; gap: 8px; align-items: center;
  margin-top: 10px; }
.ll-prefer .ll-bar button { font: inherit; padding: 2px 12px; border-radius: 3px; cursor: pointer;
  border: 1px solid var(--jp-border-color1, #999);
  background: var(--jp-layout-color2, #eee); color: var(--jp-ui-font-color1, #222); }
.ll-prefer .ll-bar button[aria-disabled="true"] { border-style: dotted; cursor: default; }
.ll-prefer .ll-said { margin-left: auto; font-variant-numeric: tabular-nums; }
.ll-prefer button:focus-visible { outline: 2px solid var(--jp-brand-color1, #1976d2);
  outline-offset: 2px; }
`;

const KEYS = { ArrowLeft: "left", ArrowRight: "right", ArrowDown: "neither", Backspace: "back" };
const SIDES = ["left", "right"];

function render({ model, el }) {
  const root = rootOf("ll-prefer");
  const [track, done] = [node("div", { class: "ll-track" }), node("div", { class: "ll-done" })];
  const request = node("div", { class: "ll-request", "aria-live": "polite" });
  const cards = node("div", { class: "ll-cards", role: "group", "aria-label": "two answers" });
  const over = node("div", { class: "ll-over" }, "All pairs are decided. Run the next cell.");
  const bar = node("div", { class: "ll-bar" });
  const said = node("span", { class: "ll-said", "aria-live": "polite" });
  track.append(done);
  root.append(node("style", {}, STYLE), track, request, cards, over, bar);
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
    const button = node("button", { type: "button", class: "ll-card" });
    const title = node("span", { class: "ll-title" });
    const foods = node("span");
    const hint = node("span", { class: "ll-side" });
    hint.append(node("kbd", {}, i ? "→" : "←"), ` I like the ${side} one better`);
    button.append(title, foods, hint);
    button.addEventListener("click", () => act(side));
    cards.append(button);
    return { button, title, foods };
  });

  const button = (key, words, what) => {
    const one = node("button", { type: "button" });
    one.append(node("kbd", {}, key), ` ${words}`);
    one.addEventListener("click", () => act(what));
    bar.append(one);
    return one;
  };
  const neither = button("↓", "neither", "neither");
  const back = button("⌫", "back", "back");
  bar.append(said);

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
      made[i].button.setAttribute("aria-pressed", String(chosen === SIDES[i]));
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

  model.on("change:_view", draw);
  draw();
  return () => model.off("change:_view", draw);
}

export default { render };
