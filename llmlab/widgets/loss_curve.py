"""`LossCurve`: a loss that is drawn while the model trains, with earlier runs laid over it."""

import math
import time
from collections.abc import Iterable

import traitlets
from IPython import get_ipython
from IPython.display import HTML, DisplayHandle, display

from llmlab import figures
from llmlab.widgets.base import Widget, Words, plain, script, style, svg_image

MAX_POINTS = 600  # of one curve that travel to the page: about one for each pixel
MIN_SECONDS = 0.2  # between two messages to the page


class LossCurve(Widget):
    """A chart of curves, live in the notebook and a plain picture wherever no kernel runs.

        curve = LossCurve("Pretraining")
        display(curve)
        train(on_step=lambda r: curve.add("live", r["step"], r["loss"]))

    When a cell ends, also by an error or an interrupt, the last points are sent and the pictures
    of this chart in the notebook are brought up to date.
    title, x_label, y_label: plain text; log_x, log_y: the scales, also set by the two buttons.
    """

    _esm, _css = script(__file__), style(__file__, "ll-curve")

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
        return svg_image(figures.svg(self._figure()), repr(self), "max-width:100%;width:640px")

    def _figure(self):
        """The chart as it stands, as a figure of matplotlib."""
        drawn = [(c["name"], usable(c, self.log_x, self.log_y)) for c in self._curves]
        series = {name: ([x for x, _ in xy], [y for _, y in xy]) for name, xy in drawn}
        return figures.lines(series, self.x_label, self.y_label, self.title, width=6.8,
                             log_x=self.log_x, log_y=self.log_y)  # fmt: skip


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
