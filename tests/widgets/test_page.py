"""What the widgets share: scripts without a door, pictures that stay, words that are only words."""

from pathlib import Path

import pytest
import traitlets

from llmlab.widgets import page
from llmlab.widgets.page import Widget, bar, escape, isolated, plain, table

SCRIPTS = sorted(Path(page.__file__).parent.glob("*.js"))


@pytest.mark.parametrize("path", SCRIPTS, ids=[path.stem for path in SCRIPTS])
def test_a_script_loads_nothing_and_sets_words_as_text(path):
    words = path.read_text("utf-8").replace("http://www.w3.org/2000/svg", "")
    for door in ("innerHTML", "outerHTML", "insertAdjacentHTML", "import ", "import(", "http"):
        assert door not in words, door


def test_every_widget_begins_with_the_shared_script():
    for path in SCRIPTS:
        if path.stem != "page":
            whole = page.script(str(path.with_suffix(".py")))
            assert whole == Path(SCRIPTS[0].parent / "page.js").read_text() + path.read_text()
            assert "const node =" not in path.read_text() and "node(" in path.read_text()


class Plain(Widget):
    _esm = "export default { render() {} }"
    words = traitlets.Unicode("<b>")

    def __repr__(self):
        return "Plain"

    def _static_html(self):
        return isolated(self.words)


def test_the_live_view_and_the_picture_go_together():
    data, _ = Plain()._repr_mimebundle_()
    assert data["text/plain"] == "Plain" and data["text/html"].endswith("&lt;b&gt;</bdi>")
    assert "application/vnd.jupyter.widget-view+json" in data
    assert Plain._ipython_display_ is None


def test_words_that_no_message_can_carry():
    assert plain("a\ud83c\udf5c") == "a🍜"
    assert plain("half \ud83c soup") == "half \ufffd soup"
    assert plain("\ufeffsoup 🍜") == "\ufeffsoup 🍜"


def test_words_inside_html():
    assert escape("<a href='x'>\x00\ud800") == "&lt;a href=&#x27;x&#x27;&gt;"


def test_a_table_of_words_and_numbers():
    made = table("<i>", ("name", "count>"), [(isolated("<b>"), "3")])
    assert made.count("<tr>") == 2 and "<b>" not in made and "<i>" not in made
    assert "text-align:left" in made and "text-align:right" in made and ">count</th>" in made
    assert f"width:{page.BAR // 2}px" in bar(0.5)
