"""Takes the README's pictures anew, from real runs in the class profile.

    python docs/pictures.py [NAME…]

Needs what the browser tests need (`make dev`, Chromium), and about ten minutes.
"""

import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from helpers.browser import CHROMIUM, QUIET, Jupyter, serve  # noqa: E402

PICTURES = ROOT / "docs" / "pictures"

# Runs all cells up to the one that holds a piece of code; gives its number.
RUN_TO = """async code => {
  const notebook = jupyterapp.shell.currentWidget.content;
  const sources = [...notebook.model.cells].map(cell => cell.sharedModel.getSource());
  const number = sources.findIndex(source => source.includes(code));
  notebook.activeCellIndex = number;
  await jupyterapp.commands.execute('notebook:run-all-above');
  notebook.activeCellIndex = number;
  await jupyterapp.commands.execute('notebook:run-cell');
  await notebook.scrollToItem(number, 'start');
  return number;
}"""


class Shot(NamedTuple):
    """A cell that shows a widget, and what is done with the widget before the picture."""

    notebook: str
    code: str
    root: str
    act: Callable


def choose_lemon(widget) -> None:
    search = widget.get_by_label("find a word")
    search.fill("lemon")
    search.press("Enter")
    widget.locator("ol li").first.wait_for()


def point_at_a_step(widget) -> None:
    widget.locator("svg[tabindex]").hover(position={"x": 300, "y": 120})


def ask(widget) -> None:
    widget.locator("textarea").fill("I have chicken and lemon.")
    widget.locator("textarea").press("Enter")
    widget.get_by_role("button", name="Stop").wait_for()
    widget.get_by_role("button", name="Send").wait_for(timeout=60_000)


SHOTS = {
    "map": Shot("03_embedding", "EmbeddingMap(", ".ll-map", choose_lemon),
    "train": Shot("04_pretraining", 'LossCurve("Live and slow', ".ll-curve", point_at_a_step),
    "chat": Shot("08_report", "ChatPanel(", ".ll-chat", ask),
}


def take(jupyter: Jupyter, name: str, shot: Shot) -> None:
    """Run a notebook up to the cell; save the picture of the cell."""
    page = jupyter.open_notebook(f"{shot.notebook}.ipynb")
    page.set_default_timeout(900_000)
    page.set_viewport_size({"width": 1100, "height": 1200})
    number = page.evaluate(RUN_TO, shot.code)
    if errors := jupyter.errors(page):
        raise SystemExit(f"{shot.notebook}: {errors[0]}")
    cell = page.locator(f".jp-Notebook .jp-Cell[data-windowed-list-index='{number}']")
    widget = cell.locator(f".jp-OutputArea-output {shot.root}").last
    widget.wait_for()
    shot.act(widget)
    page.wait_for_timeout(1000)  # what moves comes to rest
    cell.screenshot(path=PICTURES / f"{name}.png")
    jupyter.close()


def main(names: list[str]) -> None:
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as home, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET.split())
        series = shutil.copytree(ROOT / "notebooks", Path(home) / "series")  # JupyterLab saves
        with serve(Path(home), series, LLMLAB_PROFILE="class") as served:
            for name in names or SHOTS:
                take(Jupyter(*served, browser), name, SHOTS[name])
                print(f"{name}.png  {(PICTURES / f'{name}.png').stat().st_size / 1000:.0f} kB")
        browser.close()


if __name__ == "__main__":
    main(sys.argv[1:])
