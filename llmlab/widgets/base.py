"""What all widgets share: how one becomes a picture, and words that no page can take for code."""

import base64
import html
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import anywidget
import ipywidgets as widgets
import traitlets

INK = "var(--jp-ui-font-color1, #222)"
PAPER = "var(--jp-layout-color0, #fff)"
BAR = 120  # pixels of a full bar in a static table
SAMPLE = 1500  # characters of a sample that are shown
LIVE_VIEW = "application/vnd.jupyter.widget-view+json"


class Widget(anywidget.AnyWidget):
    """A live view that leaves a static picture for readers without a kernel: `_picture`."""

    _ipython_display_ = None  # that of ipywidgets 7 would leave out the picture

    def _picture(self) -> dict[str, str]:
        """MIME type -> the picture, complete in itself."""
        return {"text/html": self._static_html()}

    def _repr_mimebundle_(self, **kwargs) -> tuple[dict, dict]:
        data, metadata = super()._repr_mimebundle_(**kwargs)
        return data | {"text/plain": plain(repr(self))} | self._picture(), metadata


def script(module: str) -> str:
    """The script of a widget's module (its __file__), after what all scripts share."""
    return beside(__file__, ".js") + beside(module, ".js")


def style(module: str, name: str) -> str:
    """The style of a widget's module, whose root has the class `name`, after what all share."""
    return re.sub(r"\.ll(?![-\w])", f".{name}", beside(__file__, ".css")) + beside(module, ".css")


def beside(module: str, kind: str) -> str:
    """What stands in the file that is called as a module is, but for its ending."""
    return Path(module).with_suffix(kind).read_text("utf-8")


def plain(words: str) -> str:
    """`words` with U+FFFD for each half of a surrogate pair, which no message can carry."""
    return words.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


class Words(traitlets.Unicode):
    """A trait that holds `plain` words."""

    def validate(self, obj, value) -> str:
        return plain(super().validate(obj, value))


def escape(words: str) -> str:
    """Plain text inside HTML and XML, without the control characters that XML forbids."""
    return html.escape(re.sub(r"[\x00-\x08\x0b-\x1f\ud800-\udfff\ufffe\uffff]", "", words))


def isolated(words: str) -> str:
    """Plain text inside HTML, in a direction of its own and broken where the line ends."""
    return f'<bdi style="overflow-wrap:anywhere">{escape(words)}</bdi>'


def table(caption: str, heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table that needs nothing else; rows are HTML, a head that ends in > is one of numbers."""
    sides = ["right" if head.endswith(">") else "left" for head in heads]
    styles = [f'style="padding:2px 10px;text-align:{side}"' for side in sides]
    head = "".join(f"<th {s}>{h.rstrip('>')}</th>" for h, s in zip(heads, styles, strict=True))
    body = "".join(
        f"<tr>{''.join(f'<td {s}>{c}</td>' for c, s in zip(row, styles, strict=True))}</tr>"
        for row in rows
    )
    top = f'<caption style="text-align:left">{isolated(caption)}</caption>'
    return f"<table>{top}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def paper(content: str, font: str = "font:13px sans-serif") -> str:
    """HTML on a paper and in an ink that fit the page."""
    return f'<div style="background:{PAPER};color:{INK};padding:6px;{font}">{content}</div>'


def svg_image(svg: str, words: str, style: str) -> str:
    """A drawing as an image: code hosts and notebooks not yet trusted drop inline SVG."""
    source = f"data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()}"
    return f'<img alt="{escape(words)}" style="{style}" src="{source}">'


def bar(share: float) -> str:
    """A lying bar, `share` of its full length."""
    style = "display:inline-block;height:10px;border-radius:2px;background:#1f83c4"
    return f'<span style="{style};width:{BAR * share:.0f}px"></span>'


def sample_html(source: str, text: str) -> str:
    """The beginning of a text, as it is."""
    rest = f"\n… {len(text) - SAMPLE:,} characters more" if len(text) > SAMPLE else ""
    style = (
        "white-space:pre-wrap;overflow-wrap:anywhere;max-height:260px;overflow:auto;"
        "padding:8px 10px;border:1px solid currentColor;border-radius:4px;line-height:1.4;"
        "unicode-bidi:isolate;contain:content;background:transparent;color:inherit;margin:4px 0"
    )
    words = isolated(text[:SAMPLE])
    return f'<b>{isolated(source)}</b><div tabindex="0" style="{style}">{words}{rest}</div>'


def live_and_static(widget: widgets.DOMWidget, picture: str, view=None) -> dict:
    """The MIME bundle of a plain ipywidget: its live view, and a picture in HTML beside it.

    view: the widget that is shown, where it is not `widget` itself.
    """
    model_id = (view or widget).model_id
    live = {"version_major": 2, "version_minor": 0, "model_id": model_id}
    return {"text/plain": plain(repr(widget)), "text/html": picture, LIVE_VIEW: live}
