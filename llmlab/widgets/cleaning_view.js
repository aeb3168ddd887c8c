// The live view of CleaningView.  Documents are raw text from anywhere: they are set by
// textContent, each in a direction of its own; nothing is loaded from elsewhere.
// Only the page of the list and the document in view are here; the kernel has the others.

function render({ model, el }) {
  const funnel = model.get("_funnel");
  const total = model.get("_total");
  const kept = funnel.length - 1;

  // --- The parts of the page ------------------------------------------------------------------

  const root = rootOf("ll-clean");
  const title = node("h4", {}, model.get("title"));
  const steps = node("div", { role: "group", "aria-label": "filters" });
  const about = node("p", { class: "ll-about" });
  const listId = `ll-clean-${Math.random().toString(36).slice(2)}`;
  const list = node("div", { class: "ll-list", role: "listbox", tabindex: "0",
    "aria-label": "documents" });
  const walk = (words, by, label) =>
    button(words, () => go(model.get("document") + by), { "aria-label": label });
  const [back, on] = [walk("←", -1, "document before"), walk("→", 1, "next document")];
  const place = node("span", { "aria-live": "polite" });
  const bar = node("div", { class: "ll-bar" }, back, place, on);
  const main = node("div", { class: "ll-main" });
  const body = node("div", { class: "ll-body" },
    node("div", { class: "ll-side" }, bar, list), main);
  const keys = "Keys: ← → walk through the documents, 1 to 9 choose a filter, 0 what was kept.";
  root.append(title, steps, about, body, node("p", { class: "ll-quiet" }, keys));
  el.append(root);

  const step = (tag, key, { name, left, count }, gone) => {
    const share = (n) => `${(100 * n) / Math.max(1, total)}%`;
    const bars = [node("i", { class: "ll-left", style: `width:${share(left)}` })];
    const style = `left:${share(left)};width:${share(count)}`;
    if (gone && count) bars.push(node("i", { class: "ll-gone", style }));
    return node(tag, { class: "ll-step" },
      key ? node("kbd", { "aria-hidden": "true" }, key) : node("span"),
      node("span", { class: "ll-name", dir: "auto", title: name }, name),
      node("span", { class: "ll-track", "aria-hidden": "true" }, ...bars),
      node("span", { class: "ll-number" }, gone ? `−${number(count)}` : ""),
      node("span", { class: "ll-number" }, `${number(left)}${gone ? " left" : ""}`));
  };

  const buttons = funnel.map((line, i) => {
    const made = step("button", i === kept ? "0" : i < 9 ? String(i + 1) : "", line, i < kept);
    made.type = "button";
    made.addEventListener("click", () => choose(i));
    return made;
  });
  const everything = { name: "all documents", left: total, count: 0 };
  steps.append(step("div", "", everything, false), ...buttons);

  // --- What is shown --------------------------------------------------------------------------

  const found = () => funnel[model.get("chosen")].count;

  // Whether the kernel's answer is about what is asked now.
  function current() {
    const { chosen, document } = model.get("_view");
    return chosen === model.get("chosen") && document === model.get("document");
  }

  function draw() {
    const chosen = model.get("chosen");
    buttons.forEach((b, i) => b.setAttribute("aria-pressed", String(i === chosen)));
    const { name, about: words } = funnel[chosen];
    about.replaceChildren(node("b", { dir: "auto" }, name), ` ${words}`);
    place.textContent = found()
      ? `${number(model.get("document") + 1)} of ${plural(found(), "document")}`
      : "no documents";
    back.disabled = model.get("document") <= 0;
    on.disabled = model.get("document") >= found() - 1;
    body.classList.toggle("ll-waits", !current());
    if (!current()) return;
    drawList();
    drawDocument();
  }

  function drawList() {
    const { first, rows, document } = model.get("_view");
    list.hidden = !rows.length;
    list.replaceChildren(...rows.map(({ head, source }, i) => {
      const words = [head, source].filter(Boolean);
      const lines = words.map((line) => node("div", { dir: "auto" }, line));
      const row = node("div", { class: "ll-row", role: "option", id: `${listId}-${first + i}`,
        "aria-selected": String(first + i === document) }, ...lines);
      row.addEventListener("click", () => go(first + i));
      return row;
    }));
    list.setAttribute("aria-activedescendant", `${listId}-${document}`);
  }

  function drawDocument() {
    const { shown } = model.get("_view");
    main.replaceChildren();
    if (!shown) return;
    const verdict = model.get("chosen") === kept ? "Kept." : "Removed:";
    const pair = node("div", { class: "ll-pair" },
      figure(shown, shown.twin ? "this document" : "the document"));
    if (shown.twin) pair.append(figure(shown.twin, "its twin"));
    main.append(node("p", { class: "ll-reason" }, node("b", {}, verdict),
      node("span", { dir: "auto" }, shown.reason)), pair);
    if (shown.pieces.some(([, marked]) => marked)) {
      const mark = node("mark", {}, "marked and underlined");
      const why = `: ${shown.twin ? "what both share" : "the reason"}`;
      main.append(node("p", { class: "ll-quiet" }, mark, why));
    }
    main.querySelectorAll(".ll-text").forEach(scrollToMark);
  }

  function scrollToMark(text) {
    const mark = text.querySelector("mark");
    if (!mark) return;
    const below = mark.getBoundingClientRect().top - text.getBoundingClientRect().top;
    text.scrollTop = below - text.clientHeight / 3;
  }

  function figure({ source, pieces, size }, what) {
    const text = node("div", { class: "ll-text", dir: "auto", tabindex: "0", role: "document",
      "aria-label": what },
      ...pieces.map(([piece, marked]) => node(marked ? "mark" : "span", {}, piece)));
    const left = size - pieces.reduce((sum, [piece]) => sum + [...piece].length, 0);
    const of = source ? ` · ${source}` : "";
    const rest = `The last ${number(left)} characters are not shown.`;
    return node("figure", {},
      node("figcaption", {}, `${what}${of} · ${number(size)} characters`), text,
      ...(left > 0 ? [node("p", { class: "ll-quiet" }, rest)] : []));
  }

  // --- Choosing -------------------------------------------------------------------------------

  const choose = (i) => save(model, { chosen: i, document: 0 });

  function go(to) {
    if (to >= 0 && to < found()) save(model, { document: to });
  }

  root.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const now = model.get("document");
    const inList = event.target === list;
    const moves = { ArrowLeft: now - 1, ArrowRight: now + 1 };
    if (inList) Object.assign(moves, { ArrowUp: now - 1, ArrowDown: now + 1, Home: 0,
      End: found() - 1 });
    if (event.key in moves) go(moves[event.key]);
    else if (event.key === "0") choose(kept);
    else if (/^[1-9]$/.test(event.key) && Number(event.key) <= kept) choose(Number(event.key) - 1);
    else return;
    event.preventDefault();
    event.stopPropagation();
  });

  draw();
  return listen(model, { "change:chosen change:document change:_view": draw });
}

export default { render };
