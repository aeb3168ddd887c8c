"""One style for every picture of the series: small, calm, legible on light and dark pages.

Colours are told apart by colour-blind readers (Okabe & Ito 2008) and are never the only sign:
bars stand in a fixed order, groups of points have shapes of their own, lines their own strokes.
Every figure is drawn on white paper of its own, so that a dark page does not swallow its text.
All words are drawn as they are given: a dollar sign starts no formula, and a character that no
font of this machine has is shown by its code (`drawable`).
"""

import functools
import io
import re
import unicodedata
from collections.abc import Callable, KeysView, Mapping, Sequence, ValuesView
from statistics import mean, stdev

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f7f7f")
MARKERS = "osD^vPX*<>hd8"
STROKES = ("-", "--", "-.", ":")
LONGEST = 105  # characters of a text in a picture
# Fonts with Chinese characters, of Linux, Windows and macOS, then two with emoji.
WIDER = ("Noto Sans CJK SC", "Noto Sans SC", "Source Han Sans SC", "Source Han Sans CN",
         "Microsoft YaHei", "SimHei", "PingFang SC", "Hiragino Sans GB", "WenQuanYi Zen Hei",
         "WenQuanYi Micro Hei", "Noto Emoji", "Segoe UI Emoji")  # fmt: skip


@functools.cache
def fonts() -> tuple[list[str], frozenset[int]]:
    """The families that words are drawn in, and the code points that they have between them."""
    from matplotlib.font_manager import findfont, fontManager, get_font

    there = {font.name for font in fontManager.ttflist}
    families = ["DejaVu Sans", *(name for name in WIDER if name in there)]
    return families, frozenset().union(*(get_font(findfont(f)).get_charmap() for f in families))


def drawable(words: str) -> str:
    """`words` with the code, such as \\u4e2d, of each character that none of our `fonts` has; their
    beginning alone where they are longer than a picture is wide."""
    known = fonts()[1] | {ord("\n")}
    made = "".join(c if ord(c) in known else c.encode("unicode_escape").decode() for c in words)
    return made if len(made) <= LONGEST else made[: LONGEST - 1] + "…"


def cells(words: str) -> int:
    """How many letters wide `as_text` words are: a Chinese character takes the room of two."""
    return sum(1 + (unicodedata.east_asian_width(c) in "WF") for c in words.replace(r"\$", "$"))


def as_text(value):
    """All words in `value`, however deep, made `drawable` and no formula; the rest as it is."""
    if isinstance(value, str):
        return drawable(value).replace("$", r"\$")  # matplotlib draws "$" for it
    if isinstance(value, Mapping):
        return {as_text(key): as_text(one) for key, one in value.items()}
    if isinstance(value, Sequence | KeysView | ValuesView):
        return [as_text(one) for one in value]
    return value


def picture(draw: Callable) -> Callable:
    """A function that draws a figure: it gets its words `as_text`, and the figure is closed, ready
    to be a cell's value, so that it is not shown twice."""

    @functools.wraps(draw)
    def drawn(*args, **named):
        return finish(draw(*as_text(args), **as_text(named)))

    return drawn


def finish(figure):
    """Close a figure, ready to be a cell's value, so that it is not shown twice."""
    import matplotlib.pyplot as plt

    plt.close(figure)
    return figure


def svg(figure) -> str:
    """A figure as one SVG document, the same for the same figure; its words stay words."""
    from matplotlib import rc_context

    made, notes = io.StringIO(), dict.fromkeys(("Creator", "Date", "Format", "Type"))
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "llmlab"}):
        figure.savefig(made, format="svg", metadata=notes)
    return re.sub(r"(\d\.\d)\d+(?= |$)", r"\1", made.getvalue(), flags=re.M)  # a tenth of a point


def axes(title="", width: float = 6.0, height: float = 3.4, columns: int = 1, rows: int = 1):
    """A figure with one pair of axes, a row or a grid of them, in the series' style; in inches."""
    import matplotlib.pyplot as plt

    plt.rcParams.update({"font.size": 9, "figure.dpi": 90, "savefig.facecolor": "white",
                         "font.family": fonts()[0]})  # fmt: skip
    figure, ax = plt.subplots(
        rows, columns, figsize=(width, height), facecolor="white", layout="constrained"
    )
    for one in [ax] if columns == 1 else ax.flat:
        one.spines[["top", "right"]].set_visible(False)
        one.grid(alpha=0.25, linewidth=0.6)
        one.set_axisbelow(True)
    (ax if columns == 1 else ax.flat[0]).set_title(title, loc="left", fontsize=10)
    return figure, ax


@picture
def bars(series: Mapping[str, Sequence[float]], labels: Sequence[str], title="", per_cent=True):
    """Groups of bars: name of a series -> its value for each label.

    per_cent: the values are shares in [0, 1]; else they are shown as they are.
    """
    figure, ax = axes(title)
    form = "{:.0%}" if per_cent else "{:.1f}"
    width = 0.8 / len(series)
    for i, (name, values) in enumerate(series.items()):
        places = [j + i * width for j in range(len(values))]
        drawn = ax.bar(places, values, width * 0.92, label=name, color=COLOURS[i])
        ax.bar_label(drawn, [form.format(v) for v in values], fontsize=7, padding=1)
    ax.set_xticks([j + 0.4 - width / 2 for j in range(len(labels))], labels)
    top = 1 if per_cent else max(max(values) for values in series.values())
    ax.set_ylim(0, 1.18 * top)
    if per_cent:
        ax.set_yticks([0, 0.5, 1], ["0 %", "50 %", "100 %"])
    ax.legend(frameon=False, ncols=len(series), loc="upper right", fontsize=8)
    return figure


@picture
def shares(panels: Mapping[str, Mapping[str, tuple[float, str]]]):
    """Lying bars, a panel beside the other: title -> {label: (per cent, what to write at it)}."""
    figure, row = axes(width=7.6, height=2.6, columns=len(panels))
    for i, (ax, (title, parts)) in enumerate(zip(row, panels.items(), strict=True)):
        values = [value for value, _ in parts.values()]
        drawn = ax.barh(list(parts), values, color=COLOURS[i], height=0.7)
        ax.bar_label(drawn, [note for _, note in parts.values()], fontsize=8, padding=3)
        ax.set_title(title, loc="left", fontsize=10)
        ax.set_xlim(0, 1.6 * max(values))
        ax.invert_yaxis()
        ax.grid(False)
        ax.set_xticks([])
        ax.spines["bottom"].set_visible(False)
    return figure


@picture
def lines(series: Mapping[str, tuple[Sequence[float], Sequence[float]]], x_label, y_label="",
          title="", log_x=False, per_cent=False, log_y=False, width: float = 6.0):  # fmt: skip
    """Curves: name -> (xs, ys); per_cent: the ys are shares in [0, 1]; width in inches."""
    figure, ax = axes(title, width)
    for i, (name, (xs, ys)) in enumerate(series.items()):
        marker = MARKERS[i % len(MARKERS)] if len(xs) < 40 else ""
        ax.plot(xs, ys, label=name, color=COLOURS[i % len(COLOURS)], linestyle=STROKES[i % 4],
                marker=marker, ms=4)  # fmt: skip
    ax.set_xlabel(x_label)
    ax.set_ylabel(y_label)
    ax.set_xscale("log" if log_x else "linear")
    ax.set_yscale("log" if log_y else "linear")
    places = sorted({x for xs, _ in series.values() for x in xs})
    if log_x and 0 < len(places) <= 6:  # few enough to be named
        ax.set_xticks(places, [f"{x:,.4g}" for x in places])
        ax.minorticks_off()
    if per_cent:
        ax.set_ylim(0, 1.05)
        ax.set_yticks([0, 0.5, 1], ["0 %", "50 %", "100 %"])
    if series:
        ax.legend(frameon=False, fontsize=8)
    return figure


@picture
def scatter(
    xs, ys, x_label: str, y_label: str, groups: Sequence[str], title="", names: Sequence[str] = ()
):
    """Points, coloured and shaped by their group, with their names where there are any."""
    figure, ax = axes(title, width=8.4 if names else 7.5, height=6.4 if names else 3.8)
    dots(ax, xs, ys, groups)
    ax.set_xlabel(x_label)
    ax.set_ylabel(y_label)
    ax.legend(frameon=False, fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5))
    if names:
        ax.margins(x=0.09)  # room for the names at the sides
        name_dots(ax, xs, ys, names)
    return figure


def name_dots(ax, xs, ys, names: Sequence[str], size: float = 6) -> None:
    """Names beside points, each on the one of eight sides where it covers the least of others."""
    ax.figure.draw_without_rendering()  # now the axes have their final place
    scale = 72 / ax.figure.dpi  # pixels to points
    points = [ax.transData.transform(xy) * scale for xy in zip(xs, ys, strict=True)]
    taken = [(px - 2, py - 2, px + 2, py + 2) for px, py in points]  # left, bottom, right, top
    for xy, (px, py), name in zip(zip(xs, ys, strict=True), points, names, strict=True):
        wide, right, left = 0.56 * size * cells(name), 4, -4 - 0.56 * size * cells(name)
        sides = [(x, y) for y in (-2, 3, -8) for x in (right, left)]
        sides += [(-wide / 2, y) for y in (4, -9)]
        boxes = [(px + x, py + y, px + x + wide, py + y + size) for x, y in sides]
        covered = [sum(overlap(box, other) for other in taken) for box in boxes]
        best = covered.index(min(covered))
        taken.append(boxes[best])
        ax.annotate(name, xy, sides[best], textcoords="offset points", fontsize=size)


def overlap(a: tuple, b: tuple) -> float:
    """The ground that two boxes (left, bottom, right, top) share; 0 for none."""
    wide, high = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    return max(wide, 0) * max(high, 0)


@picture
def film(panels: Mapping[str, tuple[Sequence[float], Sequence[float]]], groups: Sequence[str]):
    """The same points at several times, side by side on equal axes: title -> (xs, ys)."""
    figure, row = axes(width=7.6, height=2.4, columns=len(panels))
    every_x, every_y = ([v for panel in panels.values() for v in panel[i]] for i in (0, 1))
    for ax, (title, (xs, ys)) in zip(row, panels.items(), strict=True):
        dots(ax, xs, ys, groups, size=10)
        ax.set_title(title, loc="left", fontsize=9)
        ax.set_xlim(min(every_x) - 0.05, max(every_x) + 0.05)
        ax.set_ylim(min(every_y) - 0.05, max(every_y) + 0.05)
        ax.set_xticks([])
        ax.set_yticks([])
    return figure


def dots(ax, xs, ys, groups: Sequence[str], size: float = 26) -> None:
    """Points on a pair of axes, a colour and a shape for each group."""
    for i, group in enumerate(dict.fromkeys(groups)):
        chosen = [j for j, g in enumerate(groups) if g == group]
        ax.scatter(
            [xs[j] for j in chosen], [ys[j] for j in chosen], s=size, alpha=0.85, label=group,
            color=COLOURS[i % len(COLOURS)], marker=MARKERS[i % len(MARKERS)], linewidths=0,
        )  # fmt: skip


def strips(
    rows: Mapping[str, Sequence[str]], title="", under: Mapping[str, Sequence] | None = None
):
    """Texts cut into pieces, a row each: its name -> the pieces; spaces are shown as signs.

    Equal pieces have equal colours, single characters are grey, an empty piece is a gap.
    under: a row's name -> what stands under each piece, such as ids.
    """
    longer = dict.fromkeys(piece for pieces in rows.values() for piece in pieces if len(piece) > 1)
    colours = {piece: COLOURS[i % 6] for i, piece in enumerate(longer)}
    signs = str.maketrans(" \n\t", "·↵→")
    boxes = {
        name: [(piece.translate(signs), colours.get(piece, "#aaaaaa")) for piece in pieces]
        for name, pieces in rows.items()
    }
    return coloured_strips(boxes, title, under or {})


@picture
def coloured_strips(rows: Mapping[str, Sequence[tuple[str, str]]], title, under):
    """Rows of words in boxes: the row's name -> (words, colour) of each."""
    name_wide = 5.2 * max(map(cells, rows)) + 8  # points, as everything here
    heights = [31 if name in under else 21 for name in rows]
    figure, ax = axes(title, width=7.6, height=(sum(heights) + 8) / 72 + (0.28 if title else 0))
    ax.axis("off")
    ax.set(xlim=(0, 7.6 * 72), ylim=(-sum(heights) - 4, 4))
    middle = {"ha": "center", "va": "center", "color": "#222",
              "family": ["DejaVu Sans Mono", *fonts()[0]]}  # fmt: skip
    y = 0.0
    for (name, boxes), height in zip(rows.items(), heights, strict=True):
        ax.text(0, y - 9, name, va="center", fontsize=8.5, color="#222")
        x = name_wide
        for i, (shown, colour) in enumerate(boxes):
            below = str(under[name][i]) if name in under else ""
            wide = max(5.1 * cells(shown), 4.0 * cells(below)) + 5
            ax.barh(y - 8.5, wide - 1.5, left=x, height=15, alpha=0.3 if shown else 0, color=colour)
            ax.text(x + wide / 2, y - 9, shown, fontsize=8, **middle)
            ax.text(x + wide / 2, y - 22, below, fontsize=6.5, **middle)
            x += wide
        y -= height
    return figure


@picture
def spots(series: Mapping[str, Sequence[float]], labels: Sequence[str], x_label: str, title=""):
    """A row for each label, on it a spot for each series: name of a series -> its value there."""
    figure, ax = axes(title, width=7.6, height=0.8 + 0.26 * len(labels))
    rows = range(len(labels))
    ax.hlines(rows, *([f(v) for v in zip(*series.values(), strict=True)] for f in (min, max)),
              color="#cccccc", lw=3, zorder=1)  # fmt: skip
    for i, (name, values) in enumerate(series.items()):
        ax.scatter(values, rows, s=34, label=name, color=COLOURS[i], marker=MARKERS[i], zorder=2)
    ax.set_yticks(rows, labels)
    ax.invert_yaxis()
    if min(map(min, series.values())) < 0:
        ax.axvline(0, color="#222222", lw=1, zorder=0)
    else:
        ax.set_xlim(left=0)
    ax.set_xlabel(x_label)
    ax.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


@picture
def matrices(panels: Mapping[str, Sequence[Sequence[float]]], signs: Sequence[str] = (), form="g"):
    """Small matrices in a row, each number in a cell, darker the farther it is from 0.

    panels: title -> rows of numbers, tensors too; signs: what stands between two, such as "=";
    form: how numbers are written.
    """
    from matplotlib.patches import Rectangle

    tallest = max(len(rows) for rows in panels.values())
    figure, ax = axes(width=7.6, height=0.3 * tallest + 0.6)
    ax.axis("off")
    ax.set_aspect("equal")
    left = 0.0
    for i, (title, rows) in enumerate(panels.items()):
        top, wide = (tallest - len(rows)) / 2, len(rows[0])
        largest = max(abs(float(v)) for row in rows for v in row) or 1
        for y, row in enumerate(rows):
            for x, value in enumerate(map(float, row)):
                depth = abs(value) / largest
                ax.add_patch(Rectangle((left + x, top + y), 1, 1, fc=COLOURS[0], ec="none",
                                       alpha=0.05 + 0.8 * depth))  # fmt: skip
                ax.add_patch(Rectangle((left + x, top + y), 1, 1, fc="none", ec="#bbbbbb", lw=0.5))
                ax.text(left + x + 0.5, top + y + 0.5, format(value, form), fontsize=7, ha="center",
                        va="center", color="white" if depth > 0.55 else "#222222")  # fmt: skip
        ax.text(left + wide / 2, top - 0.3, title, ha="center", va="bottom", fontsize=8)
        left += wide + 1.6
        if i < len(signs):
            ax.text(left - 0.8, tallest / 2, signs[i], ha="center", va="center", fontsize=12)
    ax.set(xlim=(-0.5, left - 1.1), ylim=(tallest + 0.1, -1.2))
    return figure


@picture
def heat(rows: Sequence[Sequence[float]], names: Sequence[str], columns: Sequence[str], title=""):
    """A table of shares, the darker the larger: a row for each name, 0 % left blank."""
    figure, ax = axes(title, width=7.6, height=0.9 + 0.26 * len(names))
    ax.imshow(rows, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for y, row in enumerate(rows):
        for x, share in enumerate(row):
            words = f"{share:.0%}" if share >= 0.005 else ""
            ink = "white" if share > 0.55 else "#222222"
            ax.text(x, y, words, ha="center", va="center", fontsize=7.5, color=ink)
    ax.set_xticks(range(len(columns)), columns, fontsize=8, rotation=30, ha="right")
    ax.set_yticks(range(len(names)), names, fontsize=8)
    ax.grid(False)
    ax.spines[:].set_visible(False)
    return figure


@picture
def trials(panels: Mapping[str, Mapping[str, Sequence[float]]], title=""):
    """Repeated measurements, a panel beside the other: title -> {arm: a value for each seed}; the
    line goes through the means, the bar is one standard deviation of the seeds to each side."""
    figure, row = axes(width=7.6, height=2.8, columns=len(panels))
    figure.suptitle(title, fontsize=10)
    row = row if len(panels) > 1 else [row]
    for i, (ax, (name, arms)) in enumerate(zip(row, panels.items(), strict=True)):
        means = [mean(values) for values in arms.values()]
        spread = [stdev(values) if len(values) > 1 else 0 for values in arms.values()]
        ax.errorbar(range(len(arms)), means, spread, color=COLOURS[i], capsize=4, lw=1)
        for x, values in enumerate(arms.values()):
            ax.plot([x] * len(values), values, MARKERS[i], color=COLOURS[i], ms=4, alpha=0.5)
        ax.set_xticks(range(len(arms)), arms, fontsize=8, rotation=30, ha="right")
        ax.set_title(name, loc="left", fontsize=9)
        ax.set_xlim(-0.4, len(arms) - 0.6)
    return figure


@picture
def card(panels: Mapping[str, Mapping[str, tuple[float, float, float, int]]], title=""):
    """A report card, a panel for each ability: title -> {model: (value, low, high, change)}.

    The line goes from low to high; the sign is a triangle up or down where change is 1 or -1, else
    a ring.  Panels whose highest values are at most 1 and whose lowest are not below 0 show shares.
    """
    figure, grid = axes(width=7.6, height=0.3 + 1.45 * -(-len(panels) // 3), columns=3,
                        rows=-(-len(panels) // 3))  # fmt: skip
    figure.suptitle(title, fontsize=10)
    kinds = {1: ("^", COLOURS[0]), -1: ("v", COLOURS[1]), 0: ("o", "#555555")}
    for ax, (name, models) in zip(grid.flat, panels.items(), strict=False):
        for y, (value, low, high, change) in enumerate(models.values()):
            sign, colour = kinds[change]
            ax.plot([low, high], [y, y], color=colour, lw=1.6)
            ax.plot(value, y, sign, color=colour, ms=6, mfc=colour if change else "white")
        ax.set_title(name, loc="left", fontsize=9)
        ax.set_yticks(range(len(models)), models, fontsize=8)
        ax.set_ylim(len(models) - 0.5, -0.5)
        ends = [v for mark in models.values() for v in mark[1:3]]
        if min(ends) >= 0 and max(ends) <= 1:
            ax.set_xlim(-0.03, 1.03)
            ax.set_xticks([0, 0.5, 1], ["0 %", "50 %", "100 %"], fontsize=8)
        ax.tick_params(labelsize=8)
    for ax in grid.flat[len(panels) :]:
        ax.axis("off")
    for ax in grid[:, 1:].flat:
        ax.set_yticklabels([])
    return figure


@picture
def stacks(rows: Mapping[str, Mapping[str, float]], title="", goal: float | None = None):
    """Lying bars, each cut into the shares of its parts: name -> {part: cost}.  The share of the
    first part is written at the right; goal: a share to mark by a line."""
    figure, ax = axes(title, width=7.6, height=1.0 + 0.3 * len(rows))
    parts = list(dict.fromkeys(part for row in rows.values() for part in row))
    left = [0.0] * len(rows)
    for colour, part in zip(COLOURS, parts, strict=False):
        wide = [row.get(part, 0) / sum(row.values()) for row in rows.values()]
        ax.barh(list(rows), wide, left=left, height=0.62, color=colour, label=part)
        left = [a + b for a, b in zip(left, wide, strict=True)]
    for y, row in enumerate(rows.values()):
        ax.text(1.012, y, f"{row[parts[0]] / sum(row.values()):.1%}", va="center", fontsize=8)
    if goal is not None:
        ax.axvline(goal, color="#222222", lw=1, ls="--")
        ax.annotate(f"{goal:.0%}", (goal, -0.5), (0, 2), textcoords="offset points", ha="center",
                    fontsize=8)  # fmt: skip
    ax.invert_yaxis()
    ax.grid(False)
    ax.set_xlim(0, 1.08)
    ax.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0 %", "25 %", "50 %", "75 %", "100 %"])
    figure.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncols=len(parts),
                  frameon=False, fontsize=8)  # fmt: skip
    return figure


@picture
def bands(panels: Mapping[str, Mapping[str, tuple[Sequence, Sequence[Sequence[float]]]]],
          x_label: str, y_label="", per_cent=False, one_scale=True):  # fmt: skip
    """Curves of several seeds, a panel beside the other: title -> {name: (xs, a curve for each
    seed)}.  The line is their mean; the shade reaches from the lowest to the highest.

    one_scale: all panels have the same heights.
    """
    figure, row = axes(width=7.6, height=3.0, columns=len(panels))
    row = row if len(panels) > 1 else [row]
    for ax, (title, series) in zip(row, panels.items(), strict=True):
        for i, (name, (xs, curves)) in enumerate(series.items()):
            each = list(zip(*curves, strict=True))  # for each x, a value of each seed
            ax.plot(xs, list(map(mean, each)), label=name, color=COLOURS[i], ls=STROKES[i % 4])
            ax.fill_between(xs, list(map(min, each)), list(map(max, each)), color=COLOURS[i],
                            alpha=0.18, lw=0)  # fmt: skip
        ax.set_title(title, loc="left", fontsize=9)
        ax.set_xlabel(x_label)
        if one_scale:
            ax.sharey(row[0])
        if per_cent:
            ax.set_ylim(0, 1.05)
            ax.set_yticks([0, 0.5, 1], ["0 %", "50 %", "100 %"])
        ax.legend(frameon=False, fontsize=8)
    row[0].set_ylabel(y_label)
    return figure
