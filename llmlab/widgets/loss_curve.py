"""`LossCurve`: a loss that is drawn while the model trains, with earlier runs laid over it."""

import base64
import math
import time
from collections.abc import Iterable

import traitlets
from IPython import get_ipython
from IPython.display import HTML, DisplayHandle, display

from llmlab.widgets.page import INK, PAPER, Widget, Words, escape, plain, script

MAX_POINTS = 600  # of one curve that travel to the page: about one for each pixel
MIN_SECONDS = 0.2  # between two messages to the page

WIDTH, HEIGHT = 640, 320
LEFT, RIGHT, TOP, BOTTOM = 58, 24, 34, 44  # the last number of the axis needs room
# Told apart by colour-blind readers, at least 3:1 on white and on #111; the dashes tell as well.
COLOURS = ("#1f83c4", "#d55e00", "#009e73", "#c266a0", "#9a7d00")
DASHES = ("", "7 3", "2 3", "9 3 2 3", "4 2")
GRID = "var(--jp-border-color2, #ccc)"


class LossCurve(Widget):
    """A chart of curves, live in the notebook and a plain picture wherever no kernel runs.

        curve = LossCurve("Pretraining")
        display(curve)
        train(on_step=lambda r: curve.add("live", r["step"], r["loss"]))

    When a cell ends, also by an error or an interrupt, the last points are sent and the pictures
    of this chart in the notebook are brought up to date.
    title, x_label, y_label: plain text; log_x, log_y: the scales, also set by the two buttons.
    """

    _esm = script(__file__)

    title = Words().tag(sync=True)
    x_label = Words().tag(sync=True)
    y_label = Words().tag(sync=True)
    log_x = traitlets.Bool(False).tag(sync=True)
    log_y = traitlets.Bool(False).tag(sync=True)
    _curves = traitlets.List().tag(sync=True)  # {"name", "x", "y"}, thinned

    def __init__(self, title: str, x_label: str = "step", y_label: str = "nats per token", **more):
        super().__init__(title=title, x_label=x_label, y_label=y_label, **more)
        self._points: dict[str, tuple[list[float], list[float]]] = {}
        self._sent_at = 0.0
        self._handles: list[DisplayHandle] = []
        self._changed = False  # since the pictures in the notebook were drawn

    def start(self, name: str) -> None:
        """Begin the curve `name` anew: its older points are forgotten."""
        self._points[name] = ([], [])
        self._changed = True
        self.flush()

    def add(self, name: str, x: float, y: float) -> None:
        """Add one point.  Cheap: the page hears of it at most five times a second."""
        xs, ys = self._points.setdefault(name, ([], []))
        xs.append(float(x))
        ys.append(float(y))
        self._changed = True
        if time.monotonic() - self._sent_at >= MIN_SECONDS:
            self.flush()

    def overlay(self, name: str, xs: Iterable[float], ys: Iterable[float]) -> None:
        """Lay a whole curve over the others, such as the log of an earlier run.

        xs, ys: of equal length, else ValueError.
        """
        points = [(float(x), float(y)) for x, y in zip(xs, ys, strict=True)]
        self._points[name] = ([x for x, _ in points], [y for _, y in points])
        self._changed = True
        self.flush()

    def flush(self) -> None:
        """Send what was added since the last message."""
        self._curves = [{"name": plain(name)} | thin(*xy) for name, xy in self._points.items()]
        self._sent_at = time.monotonic()

    def done(self) -> None:
        """Send the last points and draw the pictures in the notebook anew.

        Called by itself at the end of each cell.
        """
        if not self._changed:
            return
        self.flush()
        data, metadata = self._repr_mimebundle_()
        for handle in self._handles:
            handle.update(data, metadata=metadata, raw=True)
        self._changed = False

    def static(self) -> HTML:
        """The chart as it stands, for the last line of a cell."""
        return HTML(self._static_html())

    def _ipython_display_(self, **kwargs) -> None:
        """Show the chart in a place that `done` can find again."""
        self.flush()
        data, metadata = self._repr_mimebundle_()
        if not self._handles and (shell := get_ipython()):
            shell.events.register("post_run_cell", lambda result: self.done())
        handle = display(data, metadata=metadata, raw=True, display_id=True)
        if handle is not None:  # None: plain Python, no notebook
            self._handles.append(handle)

    def __repr__(self) -> str:
        ends = [f"{c['name']} {last(c)}" for c in self._curves if last(c)]
        return f"LossCurve: {self.title} ({'; '.join(ends) or 'no points yet'})"

    def _static_html(self) -> str:
        """The picture as an image: code hosts and notebooks not yet trusted drop inline SVG."""
        picture = base64.b64encode(self.to_svg().encode()).decode()
        style = f"max-width:100%;width:{WIDTH}px"
        source = f"data:image/svg+xml;base64,{picture}"
        return f'<img alt="{escape(repr(self))}" style="{style}" src="{source}">'

    def to_svg(self) -> str:
        """The chart as it stands, as one SVG element that needs nothing else."""
        points = [pair for curve in self._curves for pair in usable(curve, self.log_x, self.log_y)]
        across = Axis([x for x, _ in points], self.log_x, LEFT, WIDTH - RIGHT)
        up = Axis([y for _, y in points], self.log_y, HEIGHT - BOTTOM, TOP)
        parts = [text(LEFT, 14, self.title, "font-weight:bold")]
        parts += [grid_line(across.at(v), v, upright=True) for v in across.ticks()]
        parts += [grid_line(up.at(v), v, upright=False) for v in up.ticks()]
        middle = f"translate(12 {(TOP + HEIGHT - BOTTOM) / 2:.0f}) rotate(-90)"
        parts += [
            text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 8, self.x_label, "text-anchor:middle"),
            f'<g transform="{middle}">{text(0, 0, self.y_label, "text-anchor:middle")}</g>',
        ]
        for number, curve in enumerate(self._curves):
            pairs = usable(curve, self.log_x, self.log_y)
            parts.append(line([(across.at(x), up.at(y)) for x, y in pairs], number))
        parts += legend([curve["name"] for curve in self._curves])
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
            f'width="{WIDTH}" height="{HEIGHT}" role="img" aria-label="{escape(repr(self))}" '
            f'style="width:100%;background:{PAPER};color:{INK};font:12px sans-serif">'
            f"{''.join(parts)}</svg>"
        )


def thin(x: list[float], y: list[float], limit: int = MAX_POINTS) -> dict[str, list]:
    """At most `limit` points: both ends, and the lowest and the highest of each stretch between.

    Where y is not finite (a run that diverged) it becomes None, which JSON can carry.
    """
    keep = range(len(x))
    if len(x) > limit:
        parts = limit // 2 - 1
        ends = [len(x) * i // parts for i in range(parts + 1)]
        spans = [range(a, b) for a, b in zip(ends, ends[1:], strict=False)]
        peaks = {f(span, key=y.__getitem__) for span in spans for f in (min, max)}
        keep = sorted(peaks | {0, len(x) - 1})
    return {
        "x": [float(f"{x[i]:.7g}") for i in keep],
        "y": [float(f"{y[i]:.5g}") if math.isfinite(y[i]) else None for i in keep],
    }


def usable(curve: dict, log_x: bool, log_y: bool) -> list[tuple[float, float]]:
    """The points that can be drawn: finite, and positive where the scale is logarithmic."""
    return [
        (x, y)
        for x, y in zip(curve["x"], curve["y"], strict=True)
        if y is not None and (x > 0 or not log_x) and (y > 0 or not log_y)
    ]


def last(curve: dict) -> str:
    """Where a curve ends, such as "2.803 at 480"; empty without points."""
    points = usable(curve, False, False)
    return f"{points[-1][1]:.4g} at {points[-1][0]:g}" if points else ""


class Axis:
    """From values to pixels: `values` fill the way from `start` to `end`."""

    def __init__(self, values: list[float], log: bool, start: float, end: float):
        self.scale = math.log10 if log else float
        self.log, self.start, self.end = log, start, end
        low, high = (min(values), max(values)) if values else (1.0, 10.0)
        a, b = self.scale(low), self.scale(high)
        pad = (b - a) * 0.03 or 0.5
        self.low, self.high = a - pad, b + pad

    def at(self, value: float) -> float:
        share = (self.scale(value) - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)

    def ticks(self) -> list[float]:
        """About five round values inside the range."""
        low, high = (10**self.low, 10**self.high) if self.log else (self.low, self.high)
        if self.log and self.high - self.low > 1:
            steps = (1,) if self.high - self.low > 3 else (1, 3)
            powers = range(math.floor(self.low), math.ceil(self.high))
            return [s * 10.0**p for p in powers for s in steps if low <= s * 10.0**p <= high]
        size = 10 ** math.floor(math.log10((high - low) / 4))
        size *= next(m for m in (10, 5, 2, 1) if m * size <= (high - low) / 4)
        return [i * size for i in range(math.ceil(low / size), math.floor(high / size) + 1)]


def text(x: float, y: float, words: str, style: str = "") -> str:
    style = f"fill:currentColor;{style}"
    return f'<text x="{x:.1f}" y="{y:.1f}" style="{style}">{escape(words)}</text>'


def grid_line(at: float, value: float, upright: bool) -> str:
    if upright:
        ends = f'x1="{at:.1f}" x2="{at:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"'
        label = text(at, HEIGHT - BOTTOM + 15, f"{value:.6g}", "text-anchor:middle")
    else:
        ends = f'x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at:.1f}" y2="{at:.1f}"'
        label = text(LEFT - 6, at + 4, f"{value:.6g}", "text-anchor:end")
    return f'<line {ends} style="stroke:{GRID}"/>{label}'


def stroke(number: int) -> str:
    """The look of curve `number`: from the sixth on, the same colours with other dashes."""
    dash = DASHES[(number + number // len(COLOURS)) % len(DASHES)]
    dashes = f";stroke-dasharray:{dash}" if dash else ""
    return f"fill:none;stroke-width:1.8;stroke:{COLOURS[number % len(COLOURS)]}{dashes}"


def line(pixels: list[tuple[float, float]], number: int) -> str:
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in pixels)
    return f'<polyline points="{points}" style="{stroke(number)}"/>'


def legend(names: list[str]) -> list[str]:
    """Names beside a piece of their line, in a row from the right above the chart."""
    parts, x = [], WIDTH - RIGHT
    for number, name in reversed(list(enumerate(names))):
        x -= 7 * len(name)
        parts.append(text(x, 14, name))
        parts.append(line([(x - 28, 10), (x - 5, 10)], number))
        x -= 42
    return parts
