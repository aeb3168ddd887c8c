"""What `LossCurve` keeps, sends and draws, without a page."""

import base64
import math
import re
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from html import unescape

import pytest

from llmlab.widgets import loss_curve
from llmlab.widgets.loss_curve import Axis, LossCurve, thin

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def curve():
    made = LossCurve("Pretraining")
    made.overlay("slow-cooked", [1, 10, 100], [4.0, 3.0, 2.0])
    for step in (1, 2, 3):
        made.add("live", step, 5.0 - step)
    made.flush()
    return made


def picture(curve: LossCurve) -> ElementTree.Element:
    """The static picture, parsed: an image of broken XML would show nothing."""
    return ElementTree.fromstring(curve.to_svg())


def words(curve: LossCurve) -> list[str]:
    return [element.text for element in picture(curve).iter(f"{SVG}text")]


def lines(curve: LossCurve) -> list[list[tuple[float, float]]]:
    """The pixels of each curve; the short lines of the legend left out."""
    points = [e.get("points").split() for e in picture(curve).iter(f"{SVG}polyline")]
    found = [[tuple(map(float, pair.split(","))) for pair in pairs] for pairs in points]
    return found[: len(curve._curves)]


def test_lines_of_the_picture_follow_the_points(curve):
    slow, live = lines(curve)
    assert len(slow) == 3 and len(live) == 3
    assert slow[0] == live[0]  # both begin at step 1 with 4.0
    across = [x for x, _ in slow]
    assert (across[2] - across[1]) / (across[1] - across[0]) == pytest.approx(10, rel=0.05)
    curve.log_x = True
    across = [x for x, _ in lines(curve)[0]]
    assert across[2] - across[1] == pytest.approx(across[1] - across[0], abs=0.2)


def test_start_forgets_only_its_own_curve(curve):
    curve.start("live")
    assert [len(c["x"]) for c in curve._curves] == [3, 0]


def test_overlay_refuses_unequal_lengths(curve):
    with pytest.raises(ValueError):
        curve.overlay("wrong", [1, 2], [1.0])
    assert len(curve._curves) == 2


def test_what_cannot_be_drawn_is_left_out(curve):
    curve.overlay("live", [0, 1, 2, 3], [math.nan, math.inf, -1.0, 2.0])
    assert curve._curves[1]["y"] == [None, None, -1.0, 2.0]
    assert len(lines(curve)[1]) == 2
    curve.log_x = curve.log_y = True
    assert len(lines(curve)[1]) == 1


@pytest.mark.parametrize("log", [False, True])
def test_a_chart_of_nothing_or_of_one_point_can_be_drawn(log):
    empty = LossCurve("Nothing", log_x=log, log_y=log)
    assert "no points yet" in repr(empty) and words(empty)
    empty.add("one", 5, 2.5)
    empty.flush()
    assert len(lines(empty)[0]) == 1


def test_thin_keeps_peaks_and_the_size_of_a_message():
    y = [1.0] * 50_000
    y[31_337] = 9.0
    thinned = thin(list(range(50_000)), y)
    assert len(thinned["x"]) <= loss_curve.MAX_POINTS
    assert thinned["x"] == sorted(thinned["x"])
    assert thinned["x"][thinned["y"].index(9.0)] == 31_337
    assert thin([1, 2], [3.0, 4.0]) == {"x": [1, 2], "y": [3.0, 4.0]}


def test_adding_is_cheap_and_messages_are_few():
    curve, sent, added, start = LossCurve("Fast"), [], 0, time.monotonic()
    curve.observe(lambda change: sent.append(change["new"]), "_curves")
    while (seconds := time.monotonic() - start) < 0.5:
        curve.add("live", added, 1.0)
        added += 1
    assert 2 <= len(sent) <= seconds / loss_curve.MIN_SECONDS + 1
    assert added > 1000
    curve.done()
    assert curve._curves[0]["x"][-1] == added - 1


def test_hostile_words_are_escaped():
    curve = LossCurve("<script>alert(1)</script>\x00", x_label='"&<', y_label="]]>")
    curve.add("<b>'", 1, 2.0)
    curve.flush()
    assert {"<script>alert(1)</script>", '"&<', "]]>", "<b>'"} <= set(words(curve))
    assert "<script" not in curve.to_svg() + curve.static().data


def test_mime_bundle_is_stable_and_stands_alone(curve):
    data, _ = curve._repr_mimebundle_()
    assert data["text/plain"] == "LossCurve: Pretraining (slow-cooked 2 at 100; live 2 at 3)"
    alt, source = re.fullmatch(
        r'<img alt="(.*)" style=".*" src="(.*)">', data["text/html"]
    ).groups()
    assert unescape(alt) == data["text/plain"]
    image = base64.b64decode(source.removeprefix("data:image/svg+xml;base64,"))
    assert image.decode() == curve.to_svg()
    assert "http" not in curve.to_svg().replace('xmlns="http://www.w3.org/2000/svg"', "")
    assert data["application/vnd.jupyter.widget-view+json"]["model_id"] == curve.model_id


@pytest.mark.parametrize(
    ("low", "high", "log", "ticks"),
    [
        (0, 100, False, [0, 20, 40, 60, 80, 100]),
        (2.0, 3.0, False, [2.0, 2.2, 2.4, 2.6, 2.8, 3.0]),
        (1, 10_000, True, [1, 10, 100, 1000, 10_000]),
        (1, 100, True, [1, 3, 10, 30, 100]),
        (2, 5, True, [2, 2.5, 3, 3.5, 4, 4.5, 5]),
    ],
)
def test_ticks_are_round(low, high, log, ticks):
    assert Axis([low, high], log, 0, 1).ticks() == pytest.approx(ticks)


def test_colours_can_be_seen_on_white_and_on_black():
    def brightness(colour: str) -> float:
        """Relative luminance, WCAG 2."""
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        r, g, b = [p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * r + 0.7152 * g + 0.0722 * b

    for colour in loss_curve.COLOURS:
        ratios = [
            (max(a, b) + 0.05) / (min(a, b) + 0.05)
            for a, b in [
                (brightness(colour), brightness(paper)) for paper in ("#ffffff", "#111111")
            ]
        ]
        assert min(ratios) >= 3, colour


def test_the_page_draws_as_the_picture_does():
    """Both files hold the same colours, dashes and most of the geometry."""
    script = LossCurve._esm
    for values in (loss_curve.COLOURS, loss_curve.DASHES):
        assert "[" + ", ".join(f'"{value}"' for value in values) + "]" in script
    assert f"[WIDTH, HEIGHT] = [{loss_curve.WIDTH}, {loss_curve.HEIGHT}]" in script


def test_llmlab_comes_without_widgets():
    code = "import sys, llmlab; assert not {'ipywidgets', 'anywidget'} & sys.modules.keys()"
    subprocess.run([sys.executable, "-c", code], check=True)
