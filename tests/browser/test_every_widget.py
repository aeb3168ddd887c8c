"""What holds for each of the thirteen widgets: keys stay in it, its picture stays, words are words.

The widgets are those that tests/faults/test_hostile_widgets.py makes, which looks at all that is
sent to a page; here is what a browser makes of it.
"""

from pathlib import Path

import pytest

from tests.faults.test_hostile_widgets import WIDGETS

ROOT = Path(__file__).resolve().parents[2]
BEGIN = f"""
import sys, tempfile
from pathlib import Path
sys.path[:0] = [{str(ROOT)!r}, {str(ROOT / "tests")!r}]
from tests.faults.test_hostile_widgets import WIDGETS, WORDS
kept = Path(tempfile.mkdtemp())

def made(name, *kinds):
    words = "".join(WORDS[kind] for kind in kinds) or "hacked leeks"
    return WIDGETS[name](words, kept / f"{{name}}.json")
"""
PICTURES = {"AttentionView": 400, "CostCalculator": 640, "EmbeddingMap": 500, "LossCurve": 600}
ROOTS = "[data-lm-suppress-shortcuts]"


def shown(jupyter, name: str, *kinds: str):
    """A window on a notebook with a cell for each widget, all run."""
    cells = [f"made({', '.join(map(repr, (widget, *kinds)))})" for widget in WIDGETS]
    page = jupyter.open_notebook(jupyter.write_notebook(name, BEGIN, *cells))
    jupyter.run_all(page)
    assert jupyter.errors(page) == []
    return page


def outputs(page):
    """Each widget's name and its output, scrolled into view: what is far away is not drawn."""
    for number, name in enumerate(WIDGETS, 1):
        scroll = "i => jupyterapp.shell.currentWidget.content.scrollToItem(i, 'start')"
        page.evaluate(scroll, number)
        cell = page.locator(f".jp-Notebook .jp-Cell[data-windowed-list-index='{number}']")
        yield name, cell.locator(".jp-OutputArea-output").last


def test_keys_on_buttons_and_sliders_reach_no_shortcut(jupyter):
    page = shown(jupyter, "keys.ipynb")
    for name, output in outputs(page):
        root = output.locator(ROOTS).first
        root.wait_for()
        controls = root.locator(
            "button:enabled, input[type=range], input[type=checkbox], [tabindex='0']"
        )
        assert controls.count() > 0, name
        for number in range(min(4, controls.count())):
            controls.nth(number).focus()
            for key in ("a", "b", "x"):  # a cell above, a cell below, cut the cell
                page.keyboard.press(key)
        page.wait_for_timeout(300)
        count = "jupyterapp.shell.currentWidget.content.widgets.length"
        assert page.evaluate(count) == 1 + len(WIDGETS), name
        assert root.is_visible()


def test_the_saved_notebook_shows_each_picture_without_a_kernel(jupyter, pictures, build):
    reader = jupyter.reopen_saved(shown(jupyter, "saved.ipynb"), "saved.ipynb", build)
    for name, output in outputs(reader):
        if name in PICTURES:
            image = output.locator("img").first
            wide = image.evaluate("image => image.complete && image.naturalWidth")
            assert wide >= PICTURES[name], name
        if name not in PICTURES or name == "CostCalculator":
            words = "".join(output.inner_text().split())  # tokens stand apart
            assert ("nolabelyet" if name == "Labeller" else "leeks") in words, name
        assert reader.locator(ROOTS).count() == 0, name
        reader.screenshot(path=pictures / f"{name}-saved.png")


KINDS = [("script", "right to left", "controls"), ("quotes", "emoji"), ("long",)]


@pytest.mark.parametrize("kinds", KINDS, ids=", ".join)
def test_hostile_words_stay_words_inside_their_widget(kinds, jupyter):
    page = shown(jupyter, "hostile.ipynb", *kinds)
    for name, output in outputs(page):
        root = output.locator(ROOTS).first
        root.wait_for()
        if name == "PreferenceClicker":  # its only pair is decided
            root.locator("button", has_text="back").click()
            root.locator(".ll-food").first.wait_for()
        assert "hacked" in root.text_content() + root.inner_html(), name
        assert page.evaluate("window.hacked") is None, name
        assert root.locator("script, img[src=x], svg[onload]").count() == 0, name
        inside, around = root.bounding_box(), page.locator(".jp-Notebook").bounding_box()
        assert inside["x"] + inside["width"] <= around["x"] + around["width"], name
