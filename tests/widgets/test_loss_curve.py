"""What `LossCurve` keeps, sends and draws, without a page."""

import base64
import math
import re
import time
import xml.etree.ElementTree as ElementTree
from html import unescape

import pytest

from llmlab.widgets import loss_curve
from llmlab.widgets.loss_curve import LossCurve, thin


@pytest.fixture
def curve():
    made = LossCurve("Pretraining")
    made.overlay("slow-cooked", [1, 10, 100], [4.0, 3.0, 2.0])
    for step in (1, 2, 3):
        made.add("live", step, 5.0 - step)
    made.flush()
    return made


def lines(curve: LossCurve) -> list[list[tuple[float, float]]]:
    """The points of each curve in the static picture."""
    return [list(map(tuple, line.get_xydata())) for line in curve._figure().axes[0].lines]


def test_the_picture_has_the_points_and_the_scales(curve):
    slow, live = lines(curve)
    assert slow == [(1, 4), (10, 3), (100, 2)] and live == [(1, 4), (2, 3), (3, 2)]
    assert curve._figure().axes[0].get_xscale() == "linear"
    curve.log_x = curve.log_y = True
    assert {curve._figure().axes[0].get_xscale(), curve._figure().axes[0].get_yscale()} == {"log"}


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
    assert "no points yet" in repr(empty) and empty._static_html()
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


def test_messages_are_few_and_the_last_point_is_sent():
    curve, sent, added = LossCurve("Fast"), [], 0
    curve.observe(lambda change: sent.append(time.monotonic()), "_curves")
    while len(sent) < 3:
        curve.add("live", added, 1.0)
        added += 1
    assert sent[2] - sent[0] >= 2 * loss_curve.MIN_SECONDS - 0.01 and added > 3
    curve.done()
    assert curve._curves[0]["x"][-1] == added - 1


def test_mime_bundle_is_stable_and_stands_alone(curve):
    data, _ = curve._repr_mimebundle_()
    assert data["text/plain"] == "LossCurve: Pretraining (slow-cooked 2 at 100; live 2 at 3)"
    alt, source = re.fullmatch(
        r'<img alt="(.*)" style=".*" src="(.*)">', data["text/html"]
    ).groups()
    assert unescape(alt) == data["text/plain"]
    image = base64.b64decode(source.removeprefix("data:image/svg+xml;base64,")).decode()
    words = [element.text for element in ElementTree.fromstring(image).iter() if element.text]
    assert {"Pretraining", "slow-cooked", "live", "step", "nats per token"} <= set(words)
    assert curve._repr_mimebundle_()[0] == data
    assert "url(http" not in image and "<image" not in image
