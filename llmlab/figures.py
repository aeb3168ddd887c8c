"""One style for every picture of the series: small, calm, legible on light and dark pages.

Colours are told apart by colour-blind readers (Okabe & Ito 2008) and are never the only sign:
bars stand in a fixed order, groups of points have shapes of their own.
"""

from collections.abc import Sequence

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f7f7f")
MARKERS = "osD^vPX*<>hd8"


def axes(title: str = "", width: float = 6.0, height: float = 3.4):
    """A figure with one pair of axes in the series' style, on paper of its own."""
    import matplotlib.pyplot as plt

    plt.rcParams.update({"font.size": 9, "figure.dpi": 90, "savefig.facecolor": "white"})
    figure, ax = plt.subplots(figsize=(width, height), facecolor="white", layout="constrained")
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(alpha=0.25, linewidth=0.6)
    ax.set_axisbelow(True)
    ax.set_title(title, loc="left", fontsize=10)
    return figure, ax


def bars(series: dict[str, Sequence[float]], labels: Sequence[str], title: str = ""):
    """Groups of bars: name of a series -> its value for each label, in [0, 1] shown as per cent."""
    figure, ax = axes(title)
    width = 0.8 / len(series)
    for i, (name, values) in enumerate(series.items()):
        places = [j + i * width for j in range(len(values))]
        drawn = ax.bar(places, values, width * 0.92, label=name, color=COLOURS[i])
        ax.bar_label(drawn, [f"{v:.0%}" for v in values], fontsize=7, padding=1)
    ax.set_xticks([j + 0.4 - width / 2 for j in range(len(labels))], labels)
    ax.set_ylim(0, 1.15)
    ax.set_yticks([0, 0.5, 1], ["0 %", "50 %", "100 %"])
    ax.legend(frameon=False, ncols=len(series), loc="upper right", fontsize=8)
    return finish(figure)


def scatter(xs, ys, x_label: str, y_label: str, groups: Sequence[str], title: str = ""):
    """Points, coloured and shaped by their group."""
    figure, ax = axes(title, height=3.8)
    for i, group in enumerate(dict.fromkeys(groups)):
        chosen = [j for j, g in enumerate(groups) if g == group]
        ax.scatter(
            [xs[j] for j in chosen], [ys[j] for j in chosen], s=26, alpha=0.85, label=group,
            color=COLOURS[i % len(COLOURS)], marker=MARKERS[i % len(MARKERS)],
        )  # fmt: skip
    ax.set_xlabel(x_label)
    ax.set_ylabel(y_label)
    ax.legend(frameon=False, fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5))
    return finish(figure)


def finish(figure):
    """The figure, ready to be a cell's value: closed, so that it is not shown twice."""
    import matplotlib.pyplot as plt

    plt.close(figure)
    return figure
