// What a column of plain ipywidgets lacks: keys pressed in it are its own, its sliders have names.

// The nearest label with words in it.
function nameOf(part) {
  for (let around = part.parentElement; around; around = around.parentElement) {
    const labels = [...around.querySelectorAll(".widget-label")];
    const said = labels.find(({ textContent }) => textContent.trim());
    if (said) return said.textContent;
  }
  return "";
}

function nameSliders(box) {
  for (const handle of box.querySelectorAll(".widget-slider [role=slider]"))
    handle.setAttribute("aria-label", nameOf(handle));
  for (const number of box.querySelectorAll(".widget-slider .widget-readout")) {
    number.setAttribute("role", "textbox");
    number.setAttribute("aria-label", nameOf(number));
  }
}

function render({ el }) {
  let frame = 0;
  let watch = null;
  const begin = () => {
    const box = el.closest(".widget-vbox");
    if (!box) return void (frame = requestAnimationFrame(begin)); // it is put there afterwards
    keepKeys(box);
    nameSliders(box);
    watch = new MutationObserver(() => nameSliders(box)); // other sources, other sliders
    watch.observe(box, { childList: true, subtree: true });
  };
  begin();
  return () => {
    cancelAnimationFrame(frame);
    watch?.disconnect();
  };
}

export default { render };
