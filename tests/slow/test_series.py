"""The nine notebooks as students see them: opened in JupyterLab's list of files, run, used.

All in the toy profile.  Each widget is used by mouse and by keyboard; pictures of each, light and
dark, wide and narrow, go to the folder that LLMLAB_PICTURES names.
"""

import shutil
from pathlib import Path
from typing import NamedTuple

import pytest
from helpers import browser

fixtures = browser.chromium, browser.window, browser.jupyter, browser.pictures
chromium, window, jupyter, pictures = fixtures
ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))


class Use(NamedTuple):
    """How a widget is used; each use changes words that can be seen in it."""

    click: str  # what the mouse clicks
    stop: str  # where Tab comes to
    keys: tuple[str, ...]  # what is pressed there


# A widget's class on the page -> how it is used.
USES = {
    "ll-costs": Use(".slider-container >> nth=-1", "[role=slider]", ("ArrowRight",)),
    "ll-labels": Use("button >> nth=0", "button", ("Tab", "Enter")),
    "ll-clean": Use("button.ll-step >> nth=1", "button.ll-step", ("0",)),
    "ll-mixture": Use("button >> nth=0", "[role=slider]", ("PageDown",)),
    "ll-tokens": Use(".ll-token >> nth=3", ".ll-row", ("ArrowRight",)),
    "ll-merges": Use("[aria-label='step forward']", "input[type=range]", ("End",)),
    "ll-map": Use(".ll-legend button:has-text('−')", "svg", ("ArrowRight", "Enter")),
    "ll-curve": Use("svg[tabindex]", "button", ("Enter",)),
    "ll-attention": Use(".ll-head[aria-pressed=false] >> nth=0", ".ll-tokens", ("ArrowLeft",)),
    "ll-next": Use(".ll-draw", "button.ll-row", ("Enter",)),
    "ll-prefer": Use(".ll-card >> nth=0", ".ll-card", ("ArrowRight",)),
    "ll-rollouts": Use(".ll-token >> nth=3", ".ll-list", ("ArrowRight",)),
    "ll-chat": Use(".ll-examples button >> nth=0", "textarea", ("l", "e", "e", "k", "Enter")),
}
SHOWN = {
    "00_map": ["ll-costs"],
    "01_data": ["ll-labels", "ll-clean", "ll-mixture"],
    "02_tokenization": ["ll-tokens", "ll-merges", "ll-tokens", "ll-tokens"],
    "03_embedding": ["ll-map"],
    "04_pretraining": ["ll-curve", "ll-curve", "ll-attention", "ll-next"],
    "05_sft": ["ll-curve", "ll-curve"],
    "06_reward": ["ll-prefer", "ll-curve", "ll-curve"],
    "07_rl": ["ll-curve", "ll-rollouts", "ll-curve", "ll-rollouts", "ll-curve"],
    "08_report": ["ll-chat"],
}
WIDTHS, HEIGHT = (1280, 800), 1100
LIMIT = 900  # seconds for a notebook, on a machine that is busy with other things too
TABS = 30  # at most, until the part of a widget that is meant has the focus

# Numbers of the cells that show a live widget.
LIVE_CELLS = """() => [...jupyterapp.shell.currentWidget.content.model.cells]
  .map((cell, i) => [i, JSON.stringify(cell.toJSON().outputs ?? [])])
  .filter(([_, outputs]) => outputs.includes('application/vnd.jupyter.widget-view+json'))
  .map(([i]) => i)"""
UNRUN = """() => [...jupyterapp.shell.currentWidget.content.model.cells]
  .filter(cell => cell.type === 'code' && !cell.executionCount).length"""
# JupyterLab draws only the cells that are near.
SCROLL = """async i => {
  const notebook = jupyterapp.shell.currentWidget.content;
  await notebook.scrollToItem(i, 'start');
}"""
# How many pixels stick out on the right: of the output, or of a part that has to be scrolled.
OVERFLOW = """widget => {
  const scrolled = node => /auto|scroll/.test(getComputedStyle(node).overflowX);
  const parts = [...widget.querySelectorAll('*')].filter(scrolled);
  return Math.max(...[widget.closest('.jp-OutputArea-output'), widget, ...parts]
    .map(node => node.scrollWidth - node.clientWidth));
}"""
# Tab goes on from here.
START = """widget => {
  widget.parentElement.tabIndex = -1;
  widget.parentElement.focus({preventScroll: true});
}"""
SHUT_DOWN = """() => jupyterapp.shell.currentWidget.context.sessionContext.shutdown()"""
RESTART = """() => {
  window.__run = 'running';
  jupyterapp.commands.execute('notebook:restart-run-all').then(() => { window.__run = 'done'; });
}"""
MEMORY = "import gc, psutil; gc.collect(); print(psutil.Process().memory_info().rss)"
COUNT = "() => jupyterapp.shell.currentWidget.content.widgets.length"
FOCUSED = "([widget, stop]) => widget.contains(document.activeElement) && "
FOCUSED += "document.activeElement.matches(stop)"


@pytest.fixture(scope="module")
def server(chromium, tmp_path_factory):
    """A JupyterLab on a copy of the series, in the toy profile."""
    home, folder = tmp_path_factory.mktemp("jupyter"), tmp_path_factory.mktemp("series")
    for path in NOTEBOOKS:
        shutil.copy(path, folder)
    with browser.serve(home, folder, LLMLAB_PROFILE="class-toy") as served:
        yield served


@pytest.fixture
def chosen(jupyter):
    """A function: a window on the notebook that was chosen from the list of files.

    Its kernel ends with the test.
    """
    pages = []

    def choose(name: str):
        pages.append(page := jupyter.choose_notebook(f"{name}.ipynb"))
        page.set_viewport_size({"width": WIDTHS[0], "height": HEIGHT})
        return page

    yield choose
    for page in pages:
        page.evaluate(SHUT_DOWN)


def live_widgets(page):
    """(class, widget) of each live widget, one after the other, scrolled into view."""
    known = f":is({', '.join(f'.{name}' for name in USES)})"
    outermost = f"{known}:not({known} *)"  # parts of some are called as others are
    for number in page.evaluate(LIVE_CELLS):
        page.evaluate(SCROLL, number)
        cell = page.locator(f".jp-Notebook .jp-Cell[data-windowed-list-index='{number}']")
        widgets = cell.locator(".jp-OutputArea-output").locator(outermost)
        widgets.first.wait_for()
        for widget in widgets.all():
            names = set(widget.get_attribute("class").split())
            yield next(name for name in USES if name in names), widget


def changes(widget, act) -> None:
    """Act; within some seconds, words in the widget must be others."""
    before = widget.inner_text()
    act()
    for _ in range(100):
        if widget.inner_text() != before:
            return
        widget.page.wait_for_timeout(100)
    raise AssertionError(f"nothing changed: {before}")


def tab_to(widget, stop: str) -> None:
    """From what stands before a widget, by Tab alone."""
    widget.evaluate(START)
    for _ in range(TABS):
        widget.page.keyboard.press("Tab")
        if widget.page.evaluate(FOCUSED, [widget.element_handle(), stop]):
            return
    raise AssertionError(f"Tab does not come to {stop}")


def use(name: str, widget) -> None:
    """Once by mouse and once by keyboard."""
    changes(widget, widget.locator(USES[name].click).first.click)
    tab_to(widget, USES[name].stop)

    def press():
        for key in USES[name].keys:
            widget.page.keyboard.press(key)

    changes(widget, press)


@pytest.mark.parametrize("name", SHOWN)
def test_a_notebook_as_a_student_sees_it(jupyter, chosen, pictures, name):
    page = chosen(name)
    cells = page.evaluate(COUNT)
    run_all(jupyter, page)
    shown = []
    for kind, widget in live_widgets(page):
        use(kind, widget)
        shown.append(kind)
    assert shown == SHOWN[name]
    assert page.evaluate(COUNT) == cells  # no shortcut of Jupyter's ran
    faults = []
    for theme in browser.THEMES:
        jupyter.set_theme(page, theme)
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": HEIGHT})
            page.wait_for_timeout(600)  # the new theme's colours fade in
            look = f"{name}-{theme.split()[-1].lower()}-{width}"
            faults += look_at(jupyter, page, pictures / look)
    assert faults == []


def run_all(jupyter, page) -> None:
    """Run all cells."""
    jupyter.run_all(page, timeout_s=LIMIT)
    went_well(jupyter, page)


def went_well(jupyter, page) -> None:
    """Each cell was run, and none failed."""
    assert jupyter.errors(page) == []
    assert page.evaluate(UNRUN) == 0


def look_at(jupyter, page, picture: Path) -> list[str]:
    """Take pictures; say what sticks out on the right, and what axe finds in a widget."""
    faults = []
    for number, (kind, widget) in enumerate(live_widgets(page)):
        widget.screenshot(path=f"{picture}-{number}-{kind}.png")
        if (over := widget.evaluate(OVERFLOW)) > 1:
            faults.append(f"{picture.name}: {kind} sticks out by {over} pixels")
        faults += jupyter.faults(page, f".jp-OutputArea-output .{kind}")
    page.evaluate(SCROLL, 0)
    page.screenshot(path=f"{picture}.png")
    return faults


# --- Memory ---------------------------------------------------------------------------------


def restart_and_run_all(jupyter, page) -> None:
    """As Kernel > Restart Kernel and Run All Cells does it."""
    page.evaluate(RESTART)
    page.locator(".jp-Dialog .jp-mod-accept").click()
    jupyter.wait(page, timeout_s=LIMIT)
    went_well(jupyter, page)


def memory_mb(jupyter, page) -> dict[str, float]:
    """What the kernel holds, and what the page's scripts hold."""
    tools = page.context.new_cdp_session(page)
    tools.send("Performance.enable")
    tools.send("HeapProfiler.collectGarbage")
    metrics = tools.send("Performance.getMetrics")["metrics"]
    heap = next(m["value"] for m in metrics if m["name"] == "JSHeapUsedSize")
    return {"kernel": int(jupyter.execute(page, MEMORY)) / 1e6, "page": heap / 1e6}


@pytest.mark.parametrize("name", ["03_embedding", "05_sft"])
def test_memory_stays_from_run_to_run(jupyter, chosen, name):
    page = chosen(name)
    runs = [restart_and_run_all, restart_and_run_all, run_all]
    held = []
    for run in runs:
        run(jupyter, page)
        held.append(memory_mb(jupyter, page))
        print(f"{name}, {run.__name__}: {held[-1]}")
    for later in held[1:]:
        assert all(later[part] <= 1.5 * held[0][part] for part in later), held
    # JupyterLab itself asks a kernel's debugger while that kernel is being restarted.
    asked = "Could not restore the debugger state"
    jupyter.complaints[:] = [said for said in jupyter.complaints if not said.startswith(asked)]
