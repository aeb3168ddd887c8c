"""`MixtureSliders`: weights of the sources → share, tokens, epochs and a sample of each."""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import ipywidgets as widgets

from llmlab.widgets.base import BAR, bar, isolated, live_and_static, sample_html, table
from llmlab.widgets.box import FIT, Box

MANY_EPOCHS = 4  # up to here repeats are nearly as good as new text (Muennighoff et al. 2023)
LABEL = "8.5em"  # width of the sliders' labels


@dataclass(frozen=True)
class Mixture:
    """Sources, the tokens that each has, their weights, and the tokens to read in all.

    available: source -> tokens; math.inf where text is made without end.
    weights: source -> any number >= 0; only their ratios count.
    """

    available: Mapping[str, float]
    weights: Mapping[str, float]
    total: float
    about: str = ""

    def rows(self) -> list["Row"]:
        """What becomes of each source."""
        everything = sum(self.weights.get(name, 0) for name in self.available) or 1
        shares = {name: self.weights.get(name, 0) / everything for name in self.available}
        return [
            Row(name, shares[name], shares[name] * self.total, shares[name] * self.total / there)
            for name, there in self.available.items()
        ]


@dataclass(frozen=True)
class Row:
    """A source in a mixture: share of all tokens, tokens read, how often each token is read."""

    name: str
    share: float
    tokens: float
    epochs: float

    @property
    def too_often(self) -> bool:
        return self.epochs > MANY_EPOCHS


# Touvron et al. 2023, table 1: source -> (per cent of the tokens, epochs).
LLAMA_TABLE = MappingProxyType(
    {
        "CommonCrawl": (67.0, 1.10),
        "C4": (15.0, 1.06),
        "GitHub": (4.5, 0.64),
        "Wikipedia": (4.5, 2.45),
        "Books": (4.5, 2.23),
        "ArXiv": (2.5, 1.06),
        "StackExchange": (2.0, 1.03),
    }
)
LLAMA_TOKENS = 1.4e12
LLAMA = Mixture(
    {name: share / 100 * LLAMA_TOKENS / epochs for name, (share, epochs) in LLAMA_TABLE.items()},
    {name: share for name, (share, _) in LLAMA_TABLE.items()},
    LLAMA_TOKENS,
    "Shares, epochs and 1.4 T tokens in all: Touvron et al. 2023, table 1. How many tokens each "
    "source has is reckoned from them.",
)


class MixtureSliders(Box):
    """A slider for each source; its share, its tokens, and how often it is read follow.

        MixtureSliders({"recipes": 1.2e6, "cards": math.inf}, 5e6, {"recipes": 0.7, "cards": 0.3})

    sources: name -> tokens available.  total: tokens to read.  weights: where the sliders begin;
    without them, each source by its size.  sample: name -> a text of that source.
    `mixture` is what the sliders say now; set `preset.value` for another start.
    """

    def __init__(
        self,
        sources: Mapping[str, float],
        total: float,
        weights: Mapping[str, float] | None = None,
        sample: Callable[[str], str] | None = None,
    ):
        check(sources, total)
        self._presets = presets(sources, total, weights)
        self._sample = sample
        self.preset = widgets.Dropdown(
            options=list(self._presets), description="Mixture", layout=wide("30em")
        )
        self.preset.style.description_width = LABEL
        self._total_words, self._notes, self._text = (widgets.HTML() for _ in range(3))
        self._grid = widgets.GridBox(
            layout=widgets.Layout(
                grid_template_columns="minmax(200px, 330px) minmax(290px, 1fr) auto",
                align_items="center",
                grid_gap="0 12px",
                max_width="900px",
            )
        )
        self._head = widgets.HBox(layout=widgets.Layout(flex_flow="row wrap"))
        self._load(self.preset.value)
        self.preset.observe(lambda change: self._load(change["new"]), "value")
        parts = [self.preset, self._head, self._grid, self._notes, self._text]
        super().__init__("ll-mixture", parts)

    @property
    def mixture(self) -> Mixture:
        """The mixture that the sliders describe."""
        weights = {name: slider.value for name, slider in self.sliders.items()}
        return Mixture(self._start.available, weights, self.total.value, self._start.about)

    def _load(self, name: str) -> None:
        """Begin from a preset: its own sources, each with a slider, a line and a button."""
        self._start = start = self._presets[name]
        power = math.log10(start.total)
        self.total = widgets.FloatLogSlider(
            start.total, base=10, min=power - 2, max=power + 2, step=0.01, readout=False,
            description="Tokens in all", layout=wide("30em"),
        )  # fmt: skip
        self.total.style.description_width = LABEL
        self.total.observe(self._show, "value")
        self._head.children = [self.total, self._total_words]
        self.sliders = {row.name: self._slider(row) for row in start.rows()}
        self._lines = {source: widgets.HTML() for source in start.available}
        buttons = {source: self._button(source) for source in start.available}
        heads = [widgets.HTML(f"<b>{head}</b>") for head in ("weight", "share, tokens, epochs", "")]
        rows = zip(self.sliders.values(), self._lines.values(), buttons.values(), strict=True)
        self._grid.children = heads + [cell for row in rows for cell in row]
        self._text.value = ""
        self._show()

    def _slider(self, row: Row) -> widgets.FloatSlider:
        slider = widgets.FloatSlider(
            round(100 * row.share, 2), min=0, max=100, step=0.5, readout_format=".1f",
            description=label(row.name), layout=wide("auto"),
        )  # fmt: skip
        slider.style.description_width = LABEL
        slider.observe(self._show, "value")
        return slider

    def _button(self, source: str) -> widgets.Button:
        button = widgets.Button(description="sample", layout=wide("5.5em"))
        button.tooltip = f"Show a text of {label(source)}"
        ours = self._start is not self._presets[LLAMA_NAME]
        button.disabled = self._sample is None or not ours
        button.on_click(lambda _: self._show_sample(source))
        return button

    def _show(self, change=None) -> None:
        """Bring every line up to date."""
        mixture = self.mixture
        rows = mixture.rows()
        for row in rows:
            self._lines[row.name].value = line_html(row, mixture.available[row.name])
        self._total_words.value = f"<b>{count(mixture.total)}</b> tokens are read in all"
        self._notes.value = notes_html(mixture)

    def _show_sample(self, source: str) -> None:
        self._text.value = "<p>Fetching …</p>"
        try:
            text = self._sample(source)
        except Exception as error:  # a learner's own function: said, not raised into a log
            text = f"No sample: {type(error).__name__}: {error}"
        self._text.value = sample_html(source, text)

    def _repr_mimebundle_(self, **kwargs) -> dict:
        return live_and_static(self, static_html(self.mixture, self.preset.value))

    def __repr__(self) -> str:
        parts = [f"{row.name} {row.share:.1%}" for row in self.mixture.rows()]
        return f"MixtureSliders: {count(self.mixture.total)} tokens; {', '.join(parts)}"


LLAMA_NAME = "LLaMA (Touvron et al. 2023)"


def presets(sources: Mapping, total: float, weights: Mapping | None) -> dict[str, Mixture]:
    """Ways to begin: name -> mixture; the first is where the sliders stand at first."""
    known = {name: 0.0 if math.isinf(size) else size for name, size in sources.items()}
    found = {"These weights": Mixture(sources, weights, total)} if weights else {}
    if sum(known.values()):
        about = "Each source by its size; what is made without end has none."
        found["As they lie there"] = Mixture(sources, known, total, about)
    found["Equal shares"] = Mixture(sources, dict.fromkeys(sources, 1.0), total)
    return found | {LLAMA_NAME: LLAMA}


def check(sources: Mapping[str, float], total: float) -> None:
    """ValueError where there is nothing to mix."""
    if not sources:
        raise ValueError("A mixture needs a source.")
    for name, size in sources.items():
        if not size > 0:
            raise ValueError(f"{name!r} has {size} tokens; a source needs more than none.")
    if not 0 < total < math.inf:
        raise ValueError(f"{total} tokens cannot be read.")


def count(tokens: float) -> str:
    """A number of tokens in three figures, such as "1.40 T"."""
    for size, unit in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if tokens >= 0.9995 * size:
            return f"{tokens / size:.3g} {unit}"
    return f"{tokens:.3g}"


def epochs_words(row: Row, available: float) -> str:
    """How often a source is read, with a sign and words where that is too often."""
    if math.isinf(available):
        return "ever new"
    read = f"read {row.epochs:.2f} ×"
    return f"{read} ⚠ more than {MANY_EPOCHS} epochs" if row.too_often else read


def line_html(row: Row, available: float) -> str:
    """A source's line: a bar, its share, its tokens, its epochs."""
    figure = "display:inline-block;text-align:right;font-variant-numeric:tabular-nums"
    weight = "bold" if row.too_often else "normal"
    return (
        f'<div style="line-height:1.4">'
        f'<span style="display:inline-block;width:{BAR}px">{bar(row.share)}</span>'
        f'<span style="{figure};width:3.6em">{row.share:.1%}</span> '
        f'<span style="{figure};width:5em">{count(row.tokens)}</span>'
        f'<span style="opacity:0.8"> of {there(available)}</span><br>'
        f'<span style="font-weight:{weight}">{epochs_words(row, available)}</span></div>'
    )


def notes_html(mixture: Mixture) -> str:
    """What the lines mean, how many are read too often, and where a preset comes from."""
    often = [row.name for row in mixture.rows() if row.too_often]
    words = [isolated(mixture.about)] if mixture.about else []
    words.append("Epochs = share × tokens in all ÷ tokens there.")
    if not any(mixture.weights.values()):
        words.append("⚠ All sliders stand at nought: nothing is read.")
    if often:
        names = ", ".join(map(isolated, often))
        words.append(
            f"⚠ {names}: up to {MANY_EPOCHS} epochs, repeats are nearly as good as new text; "
            "beyond, they are worth less and less (Muennighoff et al. 2023)."
        )
    return f'<div style="line-height:1.4">{" ".join(words)}</div>'


def static_html(mixture: Mixture, preset: str) -> str:
    """The mixture as a table with bars, for readers without a kernel."""
    rows = [
        (
            isolated(row.name),
            f"{row.share:.1%}",
            bar(row.share),
            count(row.tokens),
            there(mixture.available[row.name]),
            epochs_words(row, mixture.available[row.name]),
        )
        for row in mixture.rows()
    ]
    heads = ("source", "share>", "", "tokens read>", "tokens there>", "epochs")
    caption = f"{preset}: {count(mixture.total)} tokens in all"
    return table(caption, heads, rows) + notes_html(mixture)


def there(available: float) -> str:
    return "no end" if math.isinf(available) else count(available)


def label(name: str, limit: int = 18) -> str:
    """A name as a slider's label: ipywidgets 7 takes labels for HTML, so without its signs."""
    inert = re.sub(r"[\x00-\x1f\ud800-\udfff]", "\ufffd", name)
    inert = inert.translate(str.maketrans("<>&$", "‹›+S"))
    return inert if len(inert) <= limit else inert[: limit - 1] + "…"


def wide(width: str) -> widgets.Layout:
    return widgets.Layout(width=width, max_width=FIT)
