"""What the widgets share: scripts without a door, pictures that stay, words that are only words."""

import importlib
import re
from pathlib import Path

import pytest
import traitlets

from llmlab.widgets import base
from llmlab.widgets.base import Widget, bar, escape, isolated, plain, table

SCRIPTS = sorted(Path(base.__file__).parent.glob("*.js"))


@pytest.mark.parametrize("path", [path for path in SCRIPTS if path.stem not in ("base", "box")])
def test_script_and_style_begin_with_what_all_share(path):
    module = importlib.import_module(f"llmlab.widgets.{path.stem}")
    (made,) = (one for one in vars(module).values()
               if isinstance(one, type) and one.__module__ == module.__name__
               and issubclass(one, Widget))  # fmt: skip
    script, style = str(made._esm), str(made._css)
    (name,) = re.findall(r'rootOf\("(.*?)"\)', path.read_text("utf-8"))
    assert script.startswith("// What the widgets' scripts share") and f'rootOf("{name}")' in script
    shared, own = style.split("ll-waits { opacity: 0.5; }\n")
    assert f".{name} button {{" in shared and not re.search(r"\.ll[ [{]", style)
    assert "<style" not in script and "url(" not in style and "@import" not in style
    rules = re.sub(r"@container.*?{|/\*.*?\*/", "", own, flags=re.S)
    selectors = re.findall(r"([^{}]+){", rules)
    assert selectors and all(each.strip().startswith(f".{name}") for each in selectors)


class Plain(Widget):
    _esm = "export default { render() {} }"
    words = traitlets.Unicode("<b>")

    def __repr__(self):
        return "Plain"

    def _static_html(self):
        return isolated(self.words)


def test_the_live_view_and_the_picture_go_together():
    shown = Plain()
    data, _ = shown._repr_mimebundle_()
    assert data["text/plain"] == "Plain" and data["text/html"].endswith("&lt;b&gt;</bdi>")
    assert data["application/vnd.jupyter.widget-view+json"]["model_id"] == shown.model_id
    assert Plain._ipython_display_ is None  # else ipywidgets 7 shows no picture


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
    assert f"width:{base.BAR // 2}px" in bar(0.5)
