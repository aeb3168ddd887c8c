"""The series' pictures: what was given is drawn, legibly, and each figure is shown once."""

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import pytest

from llmlab import figures


@pytest.fixture(autouse=True)
def nothing_stays_open():
    """A figure left open would be shown a second time at the end of its cell."""
    yield
    assert plt.get_fignums() == []


def words(figure) -> list[str]:
    figure.draw_without_rendering()
    return [t.get_text() for t in figure.findobj(matplotlib.text.Text) if t.get_text()]


def test_bars_carry_their_figures():
    figure = figures.bars({"before": [0.25, 0.5], "after": [0.75, 1.0]}, ["asked", "once"], "Rules")
    assert {"before", "after", "asked", "once", "Rules", "25%", "100%"} <= set(words(figure))
    heights = sorted(p.get_height() for p in figure.axes[0].patches)
    assert heights == [0.25, 0.5, 0.75, 1.0]
    plain = figures.bars({"tokens": [3.25]}, ["ours"], per_cent=False)
    assert "3.2" in words(plain)


def test_shares_stand_side_by_side():
    panels = {"Texts": {"a": (60, "60 %"), "b": (40, "40 %")}, "Tokens": {"a": (1, "1 %")}}
    figure = figures.shares(panels)
    assert len(figure.axes) == 2
    assert {"Texts", "Tokens", "60 %", "1 %"} <= set(words(figure))


def test_lines_differ_by_more_than_colour():
    series = {name: (range(50), [i * n for i in range(50)]) for n, name in enumerate("abcd")}
    figure = figures.lines(series, "step", "loss")
    drawn = figure.axes[0].get_lines()
    assert len({line.get_linestyle() for line in drawn}) == 4
    assert len({line.get_color() for line in drawn}) == 4
    log = figures.lines({"a": ([1, 10], [0.5, 1.0])}, "step", log_x=True, per_cent=True)
    assert log.axes[0].get_xscale() == "log" and "50 %" in words(log)


def test_groups_of_points_have_shapes_of_their_own():
    groups = [f"group {i}" for i in range(12)]
    figure = figures.scatter(range(12), range(12), "x", "y", groups)
    paths = figure.axes[0].collections
    shapes = {points.get_paths()[0].vertices.tobytes() for points in paths}
    assert len(paths) == 12 and len(shapes) == 12


def test_names_cover_no_point_and_no_other_name_while_there_is_room():
    xs, ys, names = [0, 1, 2, 0.02], [0, 1, 0, 0.02], ["salt", "pepper", "leek", "lime"]
    figure = figures.scatter(xs, ys, "x", "y", ["a"] * 4, names=names)
    figure.draw_without_rendering()
    boxes = [note.get_window_extent() for note in figure.axes[0].texts]
    assert [note.get_text() for note in figure.axes[0].texts] == names
    for i, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[:i])


def test_boxes_that_touch_do_not_overlap():
    assert figures.overlap((0, 0, 2, 2), (1, 1, 3, 3))
    assert not figures.overlap((0, 0, 1, 1), (1, 0, 2, 1))


def test_a_film_keeps_its_axes():
    figure = figures.film({"early": ([0, 1], [0, 1]), "late": ([5, -5], [2, 3])}, ["a", "b"])
    early, late = figure.axes
    assert early.get_xlim() == late.get_xlim() == (-5.05, 5.05)
    assert early.get_ylim() == late.get_ylim()


def test_strips_show_every_piece_and_what_stands_under_it():
    rows = {"tokens": ["Melt", " the", "a", "", "\n", "Melt"], "bytes": list("ab")}
    figure = figures.strips(rows, "Cut", under={"tokens": [1, 262, 64, "", 198, 1]})
    assert {"Cut", "tokens", "bytes", "·the", "↵", "262", "198"} <= set(words(figure))
    boxes = figure.axes[0].patches
    first, the, single, gap, _, again = [box.get_facecolor() for box in boxes[:6]]
    assert first == again != the and single[0] == single[1] == single[2]
    assert gap[3] == 0 < first[3]
    ends = [box.get_x() + box.get_width() for box in boxes[:5]]
    assert all(end < box.get_x() for end, box in zip(ends, boxes[1:6], strict=True))
    assert max(box.get_x() + box.get_width() for box in boxes) < figure.axes[0].get_xlim()[1]


def test_strips_keep_words_inside_their_boxes():
    figure = figures.strips({"x": ["zucchini", "i"]}, under={"x": [45045, 123456]})
    figure.draw_without_rendering()
    ax = figure.axes[0]
    boxes = [p.get_window_extent() for p in ax.patches]
    written = [t.get_window_extent() for t in ax.texts[1:]]  # a piece, what is under it, and so on
    for box, piece, below in zip(boxes, written[::2], written[1::2], strict=True):
        assert box.x0 <= piece.x0 and piece.x1 <= box.x1
        assert box.x0 <= below.x0 and below.x1 <= box.x1


def test_spots_have_a_row_for_each_label():
    figure = figures.spots({"gpt2": [3, 9], "ours": [4, 1]}, ["English", "Thai"], "tokens", "Same")
    assert {"gpt2", "ours", "English", "Thai", "tokens", "Same"} <= set(words(figure))
    assert figure.axes[0].get_xlim()[0] == 0
    points = [tuple(xy) for c in figure.axes[0].collections[1:] for xy in c.get_offsets()]
    assert points == [(3, 0), (9, 1), (4, 0), (1, 1)]
    below = figures.spots({"change": [-3, 1]}, ["a", "b"], "more or less")
    assert below.axes[0].get_xlim()[0] < -3


def test_a_table_of_shares_writes_each_and_leaves_nought_blank():
    figure = figures.heat([[0.0, 0.251], [1.0, 0.004]], ["a", "b"], ["x", "y"], "Shares")
    (ax,) = figure.axes
    assert [text.get_text() for text in ax.texts] == ["", "25%", "100%", ""]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["a", "b"]


def test_trials_show_every_seed_and_the_mean():
    figure = figures.trials({"loss": {"one": [1.0, 3.0], "two": [5.0]}, "speed": {"one": [2.0]}})
    ax, other = figure.axes
    means = ax.lines[0].get_ydata()
    assert list(means) == [2.0, 5.0]
    dots = [list(line.get_ydata()) for line in ax.lines if line.get_linestyle() == "None"]
    assert [1.0, 3.0] in dots and [5.0] in dots
    assert other.get_title(loc="left") == "speed"


def test_a_report_card_tells_up_from_down_by_shape():
    models = {"base": (0.1, 0.05, 0.2, 0), "SFT": (0.7, 0.6, 0.8, 1), "PPO": (0.5, 0.4, 0.6, -1)}
    taste = {name: (3 * v, 3 * low, 3 * high, up) for name, (v, low, high, up) in models.items()}
    figure = figures.card(
        {"asked": models, "once": models, "twice": models, "taste": taste}, "Card"
    )
    drawn = [ax for ax in figure.axes if ax.get_title(loc="left")]
    assert [ax.get_title(loc="left") for ax in drawn] == ["asked", "once", "twice", "taste"]
    for ax in drawn:
        signs = [line for line in ax.lines if line.get_marker() not in ("None", None)]
        assert [line.get_marker() for line in signs] == ["o", "^", "v"]
        ends = [list(line.get_xdata()) for line in ax.lines if len(line.get_xdata()) == 2]
        scale = 3 if ax is drawn[-1] else 1
        assert ends == [[scale * low, scale * high] for _, low, high, _ in models.values()]
    assert "100 %" in words(figure) and drawn[-1].get_xlim()[1] > 1.5


def test_stacks_are_shares_of_their_own_row():
    rows = {"ours": {"pretraining": 3.0, "SFT": 1.0}, "theirs": {"pretraining": 98.0, "RL": 2.0}}
    figure = figures.stacks(rows, "Bills", goal=0.99)
    assert {"75.0%", "98.0%", "99%", "pretraining", "SFT", "RL", "ours"} <= set(words(figure))
    bars = figure.axes[0].patches
    assert [bar.get_width() for bar in bars] == pytest.approx([0.75, 0.98, 0.25, 0, 0, 0.02])
    ends = [bar.get_x() + bar.get_width() for bar in bars[4:]]
    assert ends == pytest.approx([1, 1])


def test_bands_reach_from_the_lowest_seed_to_the_highest():
    curves = [[0, 2, 4], [0, 4, 2], [0, 3, 6]]
    figure = figures.bands({"on": {"gold": ([1, 2, 3], curves)}, "off": {"gold": ([1], [[9]])}},
                           "step", "reward")  # fmt: skip
    ax = figure.axes[0]
    assert ax.get_lines()[0].get_ydata().tolist() == [0, 3, 4]
    corners = ax.collections[0].get_paths()[0].vertices.tolist()
    assert {(2, 2), (2, 4), (3, 2), (3, 6)} <= {tuple(corner) for corner in corners}
    assert {"on", "off", "gold", "step", "reward"} <= set(words(figure))
    assert ax.get_ylim() == figure.axes[1].get_ylim()  # one scale
    own = figures.bands({"on": {"gold": ([1, 2, 3], curves)}, "off": {"gold": ([1], [[9]])}},
                        "step", one_scale=False)  # fmt: skip
    assert own.axes[0].get_ylim() != own.axes[1].get_ylim()


HOSTILE = ("pay $5 and $6", "$$", r"\$1 \frac{", "\u4e2d\u6587 \U0001f35c\ufe0f", "\x07\x00\ud800",
           "x" * 999)  # fmt: skip
NUMBERS = ([1, 10], [2, 3])
DRAWN = {
    "bars": lambda a: figures.bars({a: [0.1, 0.2]}, [a, "b"], a),
    "shares": lambda a: figures.shares({a: {a: (60, a), "b": (1, a)}, "b": {a: (1, a)}}),
    "lines": lambda a: figures.lines({a: NUMBERS}, a, a, a, log_x=True, log_y=True),
    "scatter": lambda a: figures.scatter(*NUMBERS, a, a, [a, "b"], a, [a, "b"]),
    "film": lambda a: figures.film({a: NUMBERS, "b": NUMBERS}, [a, "b"]),
    "strips": lambda a: figures.strips({a: [a, "b"]}, a, {a: [a, 1]}),
    "spots": lambda a: figures.spots({a: [1, 2]}, [a, "b"], a, a),
    "matrices": lambda a: figures.matrices({a: [[1, 2]], "b": [[1]]}, [a]),
    "heat": lambda a: figures.heat([[0.5, 1]], [a], [a, "b"], a),
    "trials": lambda a: figures.trials({a: {a: [1, 2]}, "b": {a: [1]}}, a),
    "card": lambda a: figures.card({n: {a: (1, 0, 2, 0)} for n in (a, *"bcd")}, a),
    "stacks": lambda a: figures.stacks({a: {a: 1, "b": 2}}, a, goal=0.5),
    "bands": lambda a: figures.bands({a: {a: ([1, 2], [[1, 2]])}}, a, a),
}  # fmt: skip


def test_every_picture_is_tried_with_the_words_of_others():
    pictures = {name for name, made in vars(figures).items() if hasattr(made, "__wrapped__")}
    assert pictures - {"fonts", "coloured_strips"} == DRAWN.keys() - {"strips"}


@pytest.mark.filterwarnings("ignore:constrained_layout not applied")  # for the longest words
@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", DRAWN)
def test_text_is_text_in_every_picture(name):
    """No formula is read out of it, no warning comes, nothing in it has no shape."""
    for given in HOSTILE:
        figure = DRAWN[name](given)
        figure.draw_without_rendering()
        shown = [text for text in figure.findobj(matplotlib.text.Text) if text.get_text()]
        plain = [text._preprocess_math(text.get_text())[0] for text in shown]
        assert set("".join(plain)) <= {*map(chr, figures.fonts()[1]), "\n"}
        assert not any(text._preprocess_math(text.get_text())[1] for text in shown
                       if "mathdefault" not in text.get_text())  # fmt: skip
        wanted = figures.drawable(given.replace(" ", "·") if name == "strips" else given)
        assert wanted in plain


def test_chinese_is_drawn_where_a_font_has_it(monkeypatch):
    monkeypatch.setattr(figures, "fonts", lambda: (["DejaVu Sans"], frozenset({0x4E2D, 0x61})))
    assert figures.drawable("\u4e2da\u6587\u2060") == "\u4e2da\\u6587\\u2060"
    assert figures.cells("\u4e2da") == 3 and figures.cells(r"\$") == 1
