// The live view of RolloutView.  All words are set by textContent; nothing is loaded from
// elsewhere.  All steps travel at once, so that the slider answers without the kernel.

const DEPTH = 0.5; // opacity of the deepest wash
const TINTS = { above: "0,114,178", below: "213,94,0" };

const COLOURS = { advantage: "advantage", kl: "KL to the reference" };
const HELP = "Point at a token, or choose one by Tab and arrows (up and down: other answers).";

const signed = (value) => `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(2)}`;
const short = (value) => String(Number(value.toPrecision(3))).replace("-", "−");

function render({ model, el }) {
  const root = rootOf("ll-rollouts");
  const title = node("h5");
  const slider = node("input", { type: "range", min: "0", step: "1", "aria-label": "step" });
  const said = node("span", { class: "ll-step" });
  const choice = node("fieldset", { "aria-label": "colour by" });
  const legend = node("div", { class: "ll-legend" });
  const list = node("div", { class: "ll-list", tabindex: "0", role: "listbox",
    "aria-label": "tokens of the answers" });
  const details = node("div", { class: "ll-details", "aria-live": "polite" });
  const group = `ll-colour-${Math.random().toString(36).slice(2)}`; // one of each view
  const radios = Object.entries(COLOURS).map(([value, words]) => {
    const radio = node("input", { type: "radio", name: group, value });
    radio.addEventListener("change", () => save(model, { colour: value }));
    choice.append(node("label", {}, radio, words));
    return radio;
  });
  const bar = node("div", { class: "ll-bar" }, node("label", {}, "step", slider, said), choice);
  root.append(title, bar, legend, list, details);
  el.append(root);

  let rows = []; // for each answer {box, chips}
  let [pointed, chosen] = [null, null]; // [answer, token] under the pointer, and by keys

  const frames = () => model.get("_frames");
  const place = () => frames().findIndex(({ step }) => step === model.get("step"));
  const answers = () => frames()[place()].answers;
  const column = () => (model.get("colour") === "kl" ? 2 : 1);

  // --- A step ---------------------------------------------------------------------------------

  function drawStep() {
    const all = frames();
    title.textContent = model.get("title");
    slider.max = String(all.length - 1);
    slider.value = String(place());
    slider.disabled = all.length === 1;
    const mean = answers().reduce((sum, { reward }) => sum + reward, 0) / answers().length;
    const words = `step ${number(model.get("step"))}`;
    said.textContent = `${words}, mean reward of these ${answers().length}: ${mean.toFixed(2)}`;
    slider.setAttribute("aria-valuetext", words);
    [pointed, chosen] = [null, null];
    rows = answers().map(drawAnswer);
    list.replaceChildren(...rows.flatMap(({ box }, i) => {
      const { request } = answers()[i];
      const known = i > 0 && answers()[i - 1].request === request;
      return known ? [box] : [node("div", { class: "ll-request" }, request), box];
    }));
    list.scrollTop = 0;
    colour();
  }

  function drawAnswer({ tokens, reward, parts }, place) {
    const chips = tokens.map(([word], i) => {
      const chip = node("span", { class: "ll-token", role: "option" }, word);
      chip.place = [place, i];
      return chip;
    });
    const named = parts.map(([name, value]) => `${name} ${short(value)}`).join(", ");
    const earned = `reward ${short(reward)}${named ? `: ${named}` : ""}`;
    const below = node("div", { class: "ll-earned" }, earned);
    return { box: node("div", { class: "ll-answer" }, ...chips, below), chips };
  }

  // Blue and a full line above 0, orange and a dotted line below: the deeper, the farther from 0.
  function colour() {
    const now = model.get("colour");
    const scale = model.get("_scales")[now];
    radios.forEach((radio) => { radio.checked = radio.value === now; });
    legend.textContent = `Coloured by ${model.get("_meanings")[now]}. `
      + `Full lines: above 0; dotted: below; deepest at ${scale}.`;
    rows.forEach(({ chips }, i) => chips.forEach((chip, j) => {
      const value = answers()[i].tokens[j][column()] / scale;
      const share = Math.min(1, Math.abs(value));
      const tint = TINTS[value < 0 ? "below" : "above"];
      chip.style.background = `rgba(${tint},${(DEPTH * share).toFixed(2)})`;
      const line = `${value < 0 ? "dotted" : "solid"} rgb(${tint})`;
      chip.style.borderBottom = `3px ${share < 0.02 ? "solid transparent" : line}`;
    }));
    light();
  }

  function light() {
    const at = pointed ?? chosen;
    rows.forEach(({ box, chips }, i) => {
      box.classList.toggle("ll-chosen", at?.[0] === i);
      chips.forEach((chip, j) => {
        const active = at?.[0] === i && at[1] === j;
        chip.classList.toggle("ll-active", active);
        chip.setAttribute("aria-selected", String(active));
        if (active) chip.id = `${group}-now`;
        else chip.removeAttribute("id");
      });
    });
    if (at) list.setAttribute("aria-activedescendant", `${group}-now`);
    else list.removeAttribute("aria-activedescendant");
    details.textContent = at ? describe(at) : HELP;
  }

  function describe([i, j]) {
    const { tokens, reward } = answers()[i];
    const [word, advantage, gap] = tokens[j];
    const sum = tokens.reduce((total, token) => total + token[2], 0);
    const taught = advantage > 0 ? "it is made likelier"
      : advantage < 0 ? "it is made rarer" : "nothing is taught here";
    return `“${word}”: advantage ${signed(advantage)}, so ${taught}; log(policy / reference) `
      + `${signed(gap)} nats. The whole answer: reward ${short(reward)}, KL ${signed(sum)} nats.`;
  }

  // --- Choosing a token -----------------------------------------------------------------------

  const placeOf = (event) => event.target.closest(".ll-token")?.place ?? null;

  function choose(at) {
    [pointed, chosen] = [null, at];
    light();
    reveal(list, rows[at[0]].chips[at[1]]);
  }

  list.addEventListener("pointerover", (event) => { pointed = placeOf(event); light(); });
  list.addEventListener("pointerleave", () => { pointed = null; light(); });
  list.addEventListener("click", (event) => placeOf(event) && choose(placeOf(event)));
  list.addEventListener("keydown", (event) => {
    const [i, j] = chosen ?? [0, -1];
    const last = (row) => rows[row].chips.length - 1;
    const down = Math.min(rows.length - 1, chosen ? i + 1 : 0);
    const moves = { ArrowLeft: [i, j - 1], ArrowRight: [i, j + 1], Home: [i, 0],
      End: [i, last(i)], ArrowUp: [Math.max(0, i - 1), j], ArrowDown: [down, j] };
    const [row, at] = moveOf(event, moves) ?? [];
    if (row !== undefined) choose([row, clamp(at, 0, last(row))]);
  });
  slider.addEventListener("input", () =>
    save(model, { step: frames()[Number(slider.value)].step }));

  // --- Joined to the kernel -------------------------------------------------------------------

  drawStep();
  return listen(model, { "change:step change:_frames change:title": drawStep,
    "change:colour": colour });
}

export default { render };
