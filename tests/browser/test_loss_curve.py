"""`LossCurve` as a learner meets it."""

import pytest
from helpers.browser import THEMES

MAKE = """
from llmlab.widgets.loss_curve import LossCurve
curve = LossCurve("Losses of <script>window.hacked = 1</script>")
curve.overlay("slow-cooked", range(1, 401), [6.0 * x**-0.17 for x in range(1, 401)])
curve
"""
TRAIN = """
for step in range(1, 121):
    curve.add("live <b>run</b>", step, 7.0 * step**-0.18)
"""
ENDLESS = """
import itertools, time
try:
    for step in itertools.count(1):
        curve.add("endless", step, 1 / step)
        time.sleep(0.05)
except KeyboardInterrupt:
    curve.flush()
"""
COUNT = """n => document.querySelectorAll('.ll-curve polyline')[2]
  ?.getAttribute('points').split(' ').length >= n"""


@pytest.fixture
def page(jupyter):
    """A notebook with a chart of two curves, all cells run."""
    return jupyter.show("loss.ipynb", ".ll-curve polyline", MAKE, TRAIN)


def chart(page):
    return page.locator(".jp-OutputArea-output .ll-curve")


def heights(page, number: int) -> list[float]:
    """The y of all points of a curve, in pixels from the top."""
    points = chart(page).locator("polyline").nth(number).get_attribute("points")
    return [float(pair.split(",")[1]) for pair in points.split()]


def test_curves_are_drawn_live_and_stay_one_chart(page):
    assert chart(page).count() == 1
    assert chart(page).locator("polyline").count() == 2
    live = heights(page, 1)
    assert len(live) == 120 and live == sorted(live)  # the loss falls: pixels grow downwards
    assert "live <b>run</b> 2.957 at 120" in chart(page).locator(".ll-readout").inner_text()


def test_points_arrive_while_the_kernel_works(jupyter, page):
    jupyter.occupy(page, ENDLESS)
    page.wait_for_function(COUNT, arg=4)
    page.evaluate("jupyterapp.commands.execute('notebook:interrupt-kernel')")
    page.wait_for_function(COUNT, arg=int(jupyter.execute(page, "print(step)")))


def test_scales_by_click_and_by_keyboard(page):
    before = heights(page, 0)
    button = chart(page).get_by_role("button", name="y: linear")
    button.click()
    pressed = chart(page).get_by_role("button", name="y: log")
    assert pressed.get_attribute("aria-pressed") == "true"
    assert heights(page, 0) != before
    pressed.focus()
    page.keyboard.press("Enter")
    assert heights(page, 0) == before
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Space")
    assert chart(page).get_by_role("button", name="x: log").is_visible()


def test_read_out_by_pointer_and_by_keyboard(page):
    svg, readout = chart(page).locator("svg[tabindex]"), chart(page).locator(".ll-readout")
    box = svg.bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.3, box["y"] + box["height"] / 2)
    assert readout.inner_text().startswith("step ")
    page.mouse.move(box["x"], box["y"] - 60)
    svg.focus()
    page.keyboard.press("Home")
    assert readout.inner_text() == "step 1 · slow-cooked 6 · live <b>run</b> 7"
    page.keyboard.press("ArrowRight")
    assert readout.inner_text().startswith("step 2 · slow-cooked 5.333")
    page.keyboard.press("Escape")
    assert "at 400" in readout.inner_text()


def test_dark_and_light(jupyter, page, pictures):
    more = "for i in range(3): curve.overlay(f'run {i}', [1, 200, 400], [9 - i, 6 - i, 5 - i])"
    jupyter.execute(page, more)  # so that all five colours are there
    page.locator(".ll-curve polyline").nth(4).wait_for(state="attached")
    for theme in THEMES:
        jupyter.set_theme(page, theme)
        page.wait_for_timeout(400)
        for number in range(5):
            line = f".ll-curve polyline >> nth={number}"
            assert jupyter.contrast(page, line, "stroke") >= 3, (theme, number)
    parts = ("h4", "button", ".ll-readout", "text")
    jupyter.check_looks(page, ".ll-curve", parts, pictures / "loss-curve")
