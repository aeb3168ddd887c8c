"""`CostCalculator`: size, tokens, GPU, utilisation and price in; FLOPs, hours and money out."""

import math
import re
from collections.abc import Sequence
from dataclasses import replace

import ipywidgets as widgets

from llmlab.figures import COLOURS
from llmlab.stages import costs
from llmlab.stages.costs import GPU, Model
from llmlab.widgets.base import escape, live_and_static, plain, svg_image
from llmlab.widgets.box import FIT, Box

OWN = "a model of your own"
MARKS = ("LLaMA 7B", "GPT-3", "Llama 3.1 405B")  # on the ruler, for comparison
LOWEST, HIGHEST = 13, 27  # powers of ten of FLOPs on the ruler
WIDTH, HEIGHT = 640, 92
UNITS = {"thousand": 1e3, "million": 1e6, "billion": 1e9, "trillion": 1e12}
UNITS |= {"": 1.0, "k": 1e3, "m": 1e6, "b": 1e9, "t": 1e12}
WIDE = {"style": {"description_width": "100px"}, "layout": {"width": "400px", "max_width": FIT}}
CELL = "text-align:left;padding:3px 14px 3px 0;vertical-align:top;font-size:13px;line-height:1.4"


class CostCalculator:
    """Controls and a table that answers at once; the last expression of a cell shows it.

    gpus, models: more of each to choose from, such as this machine and this project's own base.
    model, gpu: what it opens with.  A model that is chosen sets the sliders; a slider that is
    moved, or a number that is typed, makes it a model of your own.  A notebook keeps the table as
    it stood when shown.
    """

    def __init__(
        self,
        gpus: Sequence[GPU] = (),
        models: Sequence[Model] = (),
        model: str = "LLaMA 7B",
        gpu: str = "A100",
    ):
        known = [m for m in costs.PUBLISHED if m.tokens]
        self._models = by_name([*models, *known])
        self._gpus = by_name([*costs.GPUS, *gpus])
        self._marks = [*by_name(models), *MARKS]
        self.model = widgets.Dropdown(options=[*self._models, OWN], description="model", **WIDE)
        self.parameters, self.tokens = log_slider(4, 13), log_slider(4, 14)
        self.gpu = widgets.Dropdown(options=list(self._gpus), description="GPU", **WIDE)
        self.utilisation = widgets.IntSlider(
            45, 1, 100, description="utilisation, %", continuous_update=True, **WIDE
        )
        self.price = widgets.BoundedFloatText(
            min=0, max=1000, step=0.05, description="$ per hour", **WIDE
        )
        self.result = widgets.HTML()
        self._exact = {}  # slider -> its value, which the page rounds to a step of the slider
        self.fields = {
            self.parameters: widgets.Text(
                description="parameters", continuous_update=False, **WIDE
            ),
            self.tokens: widgets.Text(description="tokens", continuous_update=False, **WIDE),
        }
        wrapped = {"flex_flow": "row wrap"}
        pairs = [widgets.HBox([field, s], layout=wrapped) for s, field in self.fields.items()]
        parts = [self.model, *pairs, self.gpu, self.utilisation, self.price, self.result]
        self.box = Box("ll-costs", parts)
        self.model.value, self.gpu.value = one_line(model), one_line(gpu)
        self._follow_gpu()
        self._follow_model()
        self.model.observe(self._follow_model, "value")
        self.gpu.observe(self._follow_gpu, "value")
        for slider, field in self.fields.items():
            slider.observe(self._move, "value")
            field.observe(self._type, "value")
        for control in (self.gpu, self.utilisation, self.price):
            control.observe(self._update, "value")

    def _follow_model(self, change=None) -> None:
        """Set the sliders as the chosen model has them; a choice brings its GPU, too."""
        model = self._models.get(self.model.value)
        if model is None:
            return
        self._exact = {self.parameters: float(model.parameters), self.tokens: float(model.tokens)}
        for slider, value in self._exact.items():
            slider.value = value
        if change and model.gpu:
            self.gpu.value = model.gpu.name
        self._update()

    def _follow_gpu(self, change=None) -> None:
        self.price.value = self._gpus[self.gpu.value].dollars

    def _move(self, change) -> None:
        """Take a slider's value, unless it is but the rounded one of the chosen model."""
        slider, value = change["owner"], change["new"]
        if abs(math.log10(value / self._exact[slider])) > slider.step / 2:
            self._take(slider, value)

    def _type(self, change) -> None:
        """Take what was typed; words that are no number are put back."""
        slider = next(s for s, field in self.fields.items() if field is change["owner"])
        number = read(change["new"])
        if change["new"] == costs.short(self._exact[slider]):
            return  # our own words
        if number:
            self._take(slider, min(max(number, 10**slider.min), 10**slider.max))
        else:
            self._update()

    def _take(self, slider: widgets.FloatLogSlider, value: float) -> None:
        """Make it a model of the learner's own, with this value."""
        self._exact[slider] = slider.value = value
        self.model.value = OWN
        self._update()

    def _update(self, change=None) -> None:
        for slider, field in self.fields.items():
            field.value = costs.short(self._exact[slider])
        self.result.value = self._result_html()

    def figures(self) -> dict[str, float]:
        """What comes out, as numbers: FLOPs, GPU-hours, dollars, tokens per parameter, bytes."""
        n, tokens = self._exact[self.parameters], self._exact[self.tokens]
        flops = costs.train_flops(n, tokens)
        share = self.utilisation.value / 100
        hours = costs.gpu_hours(flops, self._gpus[self.gpu.value].peak, share)
        return {
            "flops": flops,
            "gpu_hours": hours,
            "dollars": hours * self.price.value,
            "tokens_per_parameter": tokens / n,
            "training_bytes": sum(costs.training_memory(n).values()),
            "serving_bytes": 2 * n,
        }

    def rows(self) -> dict[str, str]:
        """The table in words: what is asked for -> the answer."""
        f, gpu = self.figures(), self._gpus[self.gpu.value]
        hours, many = f["gpu_hours"], math.ceil(f["training_bytes"] / gpu.memory)
        chosen = self._models.get(self.model.value)
        rows = {
            "training, 6·N·D": f"{power(f['flops'])} FLOPs",
            "GPU-hours": three(hours),
            "that is": f"{costs.duration(hours)} on one, {costs.duration(hours / 1000)} on 1,000",
            "money": f"${three(f['dollars'])}",
            "tokens per parameter": f"{f['tokens_per_parameter']:,.3g} (Chinchilla: 20)",
            "memory to train": f"{size(f['training_bytes'])}, without activations: "
            f"at least {many:,} × {gpu.name}",
            "memory to serve": f"{size(f['serving_bytes'])} of weights in 16 bits",
        }
        if chosen and chosen.gpu_hours:
            rows["published"] = f"{chosen.gpu_hours:,.0f} {chosen.gpu.name} hours"
        return rows

    def settings(self) -> dict[str, str]:
        """What goes in, in words."""
        return {
            "model": self.model.value,
            "parameters, N": costs.short(self._exact[self.parameters]),
            "tokens, D": costs.short(self._exact[self.tokens]),
            "GPU": f"{self.gpu.value}, {power(self._gpus[self.gpu.value].peak)} FLOP/s at peak",
            "utilisation": f"{self.utilisation.value} %",
            "price": f"${self.price.value:,.2f} per hour",
        }

    def _result_html(self) -> str:
        return table(self.rows()) + self._ruler_html()

    def _static_html(self) -> str:
        return table(self.settings() | self.rows()) + self._ruler_html()

    def _ruler_html(self) -> str:
        words = f"this training: {power(self.figures()['flops'])} FLOPs, among published ones"
        return svg_image(self.ruler_svg(), words, f"max-width:100%;width:{WIDTH}px;margin-top:8px")

    def ruler_svg(self) -> str:
        """Where this training lies among others, on a logarithmic ruler of FLOPs."""
        flops = {n: costs.train_flops(m.parameters, m.tokens) for n, m in self._models.items()}
        parts = [f'<rect width="{WIDTH}" height="{HEIGHT}" rx="6" fill="#fff"/>']
        parts.append(f'<line x1="20" x2="{WIDTH - 20}" y1="58" y2="58" stroke="#888"/>')
        for p in range(LOWEST, HIGHEST + 1):
            parts.append(f'<line x1="{at(10**p)}" x2="{at(10**p)}" y1="58" y2="63" stroke="#888"/>')
            if p % 2:
                parts.append(label(at(10**p), 78, f"10{superscript(p)}", "#555"))
        x = at(self.figures()["flops"])
        parts.append(f'<line x1="{x}" x2="{x}" y1="20" y2="50" stroke="{COLOURS[1]}"/>')
        for i, name in enumerate(self._marks):
            there, y = at(flops[name]), 34 + 13 * (i % 2)
            parts.append(f'<circle cx="{there}" cy="58" r="4" fill="{COLOURS[0]}"/>')
            parts.append(label(there, y, name, "#333"))
        parts.append(f'<path d="M{x} 50 l7 8 l-7 8 l-7 -8 z" fill="{COLOURS[1]}"/>')
        parts.append(label(x, 16, "yours", COLOURS[1], "font-weight:bold"))
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
            f'width="{WIDTH}" height="{HEIGHT}" style="font:11px sans-serif">{"".join(parts)}</svg>'
        )

    def __repr__(self) -> str:
        rows = self.rows()
        return f"CostCalculator: {self.model.value}, {rows['training, 6·N·D']}, {rows['money']}"

    def _repr_mimebundle_(self, **kwargs) -> dict:
        return live_and_static(self, self._static_html(), view=self.box)


def log_slider(low: int, high: int) -> widgets.FloatLogSlider:
    """From 10**low to 10**high; its value is read and typed in the field beside it."""
    return widgets.FloatLogSlider(1e6, min=low, max=high, step=0.02, readout=False)


def read(words: str) -> float | None:
    """A count as people write it: 70e9, 70B, 1.4 trillion; None where there is none."""
    found = re.fullmatch(r"([\d,]*\.?\d+(?:e\d{1,2})?) *([a-z]*)", words.strip().lower())
    if not found or found[2] not in UNITS:
        return None
    return float(found[1].replace(",", "")) * UNITS[found[2]]


def by_name(things: Sequence[GPU] | Sequence[Model]) -> dict:
    """Plain name -> the thing of that name."""
    return {one_line(thing.name): replace(thing, name=one_line(thing.name)) for thing in things}


def one_line(name: str) -> str:
    """A name that any page and any message can carry, no longer than a line."""
    return plain(name)[:60]


def power(number: float) -> str:
    """Such as 4.04·10²²."""
    digits, exponent = f"{number:.2e}".split("e")
    return f"{float(digits):g}·10{superscript(int(exponent))}"


def superscript(number: int) -> str:
    return str(number).translate(str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻"))


def three(number: float) -> str:
    """Three figures without an exponent: 159,981 is 160,000."""
    return f"{float(f'{number:.3g}'):,.0f}" if number >= 100 else f"{number:.3g}"


def size(number: float) -> str:
    """Bytes in the decimal unit that fits."""
    for step, unit in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB")):
        if number >= step:
            return f"{number / step:,.3g} {unit}"
    return f"{number / 1e3:.3g} kB"


def table(rows: dict[str, str]) -> str:
    """Two columns that also read well where a page drops all style."""
    lines = (
        f'<tr><th scope="row" style="{CELL};font-weight:normal;opacity:0.75">{escape(name)}</th>'
        f'<td style="{CELL};font-weight:600">{escape(value)}</td></tr>'
        for name, value in rows.items()
    )
    return f'<table style="border-collapse:collapse;margin-top:8px">{"".join(lines)}</table>'


def at(flops: float) -> str:
    """The place on the ruler, in pixels from the left."""
    share = (math.log10(flops) - LOWEST) / (HIGHEST - LOWEST)
    return f"{20 + min(1.0, max(0.0, share)) * (WIDTH - 40):.1f}"


def label(x: str, y: int, words: str, colour: str, style: str = "") -> str:
    """Words centred at x, but never over the edge; a white halo keeps lines off them."""
    half = 3.2 * len(words) + 6
    middle = min(max(float(x), half), WIDTH - half)
    halo = "paint-order:stroke;stroke:#fff;stroke-width:4px"
    return (
        f'<text x="{middle:.1f}" y="{y}" fill="{colour}" text-anchor="middle" '
        f'style="{halo};{style}">{escape(words)}</text>'
    )
