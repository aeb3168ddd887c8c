// The live view of ChatPanel.  All words are set by textContent; nothing is loaded from elsewhere.
// Answers come from the kernel as they grow; the newest exchange stands on top.

const ENDS = { cut: ", cut off there", stopped: ", stopped" };

const facts = ({ state, tokens, first_ms: first }) =>
  first === null ? "" : `first token after ${first} ms; ${plural(tokens, "token")}${ENDS[state] || ""}`;

// One model's answer: made once, filled again and again as it grows.
function answerBox(title) {
  const [text, marks, below] = ["text", "marks", "facts"].map((c) => node("div", { class: `ll-${c}` }));
  const box = node("section", { class: "ll-answer", "aria-label": title },
    node("h5", {}, title), text, marks, below);
  const fill = (answer) => {
    box.classList.toggle("ll-writing", answer.state === "writing");
    text.textContent = answer.text;
    below.textContent = facts(answer);
    marks.replaceChildren(...answer.marks.map(([name, kept]) =>
      node("span", { class: kept ? "ll-kept" : "ll-broken" }, `${kept ? "✓" : "✗"} ${name}`)));
  };
  return { box, fill };
}

// A request and all answers to it.
function exchangeBox(titles, exchange) {
  const boxes = titles.map(answerBox);
  const made = node("div", { class: "ll-exchange", role: "group", "aria-label": exchange.request },
    node("div", { class: "ll-asked" }, exchange.request),
    node("div", { class: "ll-answers" }, ...boxes.map(({ box }) => box)));
  const fill = ({ answers }) => answers.forEach((answer, i) => boxes[i].fill(answer));
  fill(exchange);
  return { made, fill, turn: exchange.turn };
}

function render({ model, el }) {
  const root = rootOf("ll-chat");
  const area = node("textarea", { rows: "1", spellcheck: "false", "aria-label": "your request",
    placeholder: "What do you have? Enter sends." });
  const send = node("button", { type: "submit", class: "ll-send" }, "Send");
  const form = node("form", {}, area, send);
  const why = node("span", { role: "alert" });
  const wait = node("span", { class: "ll-wait" }, "waiting for the kernel …");
  const examples = node("div", { class: "ll-examples", role: "group", "aria-label": "examples" },
    ...model.get("examples").map((words) => button(words, () => ask(words))));
  const said = node("div", { class: "ll-said", role: "status", "aria-live": "polite" });
  const log = node("div", { class: "ll-log", role: "group", "aria-label": "answers", tabindex: "0" });
  root.append(form, node("div", { class: "ll-note" }, why, wait), examples, log, said);
  el.append(root);

  let current = null; // the box of the exchange on top
  let spoken = 0; // the turn whose answers were read out

  const now = () => model.get("_now");
  const writing = () => Boolean(now().writing);
  const busy = (is) => root.setAttribute("aria-busy", String(is));

  // --- What can be done -----------------------------------------------------------------------

  function ask(words) {
    busy(true);
    why.textContent = "";
    model.send({ ask: words });
  }
  const stop = () => model.send({ stop: true });

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (writing()) stop();
    else ask(area.value);
  });
  area.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.isComposing) return;
    event.preventDefault(); // Jupyter would take it for its own
    if (event.shiftKey) area.setRangeText("\n", area.selectionStart, area.selectionEnd, "end");
    else ask(area.value); // also while they write: the kernel stops them first
  });
  root.addEventListener("keydown", ({ key }) => key === "Escape" && writing() && stop());

  // --- What the kernel says -------------------------------------------------------------------

  function draw() {
    const titles = model.get("titles");
    if (!now().turn) return;
    if (current?.turn !== now().turn) {
      if (area.value.trim() === now().request) area.value = "";
      current = exchangeBox(titles, now());
      current.made.classList.add("ll-now");
      const past = model.get("_past").map((exchange) => exchangeBox(titles, exchange).made);
      log.replaceChildren(current.made, ...past.reverse());
      log.scrollTop = 0;
      busy(false);
    } else current.fill(now());
    send.textContent = writing() ? "Stop" : "Send";
    tell(titles);
  }

  // To a screen reader the answers go whole: half words, thirty times a second, are no help.
  function tell(titles) {
    if (writing()) said.textContent = `${plural(titles.length, "model")} writing`;
    else if (spoken !== now().turn) {
      spoken = now().turn;
      said.textContent = now().answers.map(({ text }, i) => `${titles[i]}: ${text}`).join("\n");
    }
  }

  function refused() {
    why.textContent = model.get("_note").words;
    busy(false);
  }

  draw();
  return listen(model, { "change:_now": draw, "change:_note": refused });
}

export default { render };
