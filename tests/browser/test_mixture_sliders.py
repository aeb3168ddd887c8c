"""`MixtureSliders` as a learner meets it."""

import pytest

MAKE = """
import math
from llmlab.widgets.mixture_sliders import MixtureSliders

TEXT = "A text of {} <script>window.hacked = 1</script> <b>bold</b> " + "a" * 100_000
sliders = MixtureSliders(
    {"recipes": 1.1e6, "encyclopedia": 6.2e6, "speeches": 1.9e6, "<b>python</b>": 0.9e6,
     "cards": math.inf},
    30e6,
    {"recipes": 0.4, "encyclopedia": 0.2, "speeches": 0.05, "<b>python</b>": 0.05, "cards": 0.3},
    sample=TEXT.format,
)
sliders
"""


@pytest.fixture
def page(jupyter):
    """A notebook with the sliders, all cells run."""
    return jupyter.show("mixture.ipynb", ".widget-gridbox .widget-slider", MAKE)


def box(page):
    """The whole widget."""
    return page.locator(".jp-OutputArea-output .widget-vbox").first


def line(page, number: int):
    """What is said beside slider `number`; three heads come first."""
    return box(page).locator(".widget-gridbox .widget-html").nth(3 + number)


def handle(page, number: int):
    return box(page).locator(".widget-gridbox [role=slider]").nth(number)


def wait_for_line(page, number: int, words: str) -> None:
    page.wait_for_function(
        "([n, words]) => document.querySelectorAll('.widget-gridbox .widget-html')[n]"
        "?.textContent.includes(words)",
        arg=[3 + number, words],
    )


def test_lines_stand_beside_their_sliders(page):
    assert "40.0%" in line(page, 0).inner_text() and "12 M of 1.1 M" in line(page, 0).inner_text()
    assert "⚠ more than 4 epochs" in line(page, 0).inner_text()
    assert "⚠" not in line(page, 1).inner_text()
    assert "ever new" in line(page, 4).inner_text()
    for number in range(5):
        slider, words = handle(page, number).bounding_box(), line(page, number).bounding_box()
        assert words["y"] <= slider["y"] <= words["y"] + words["height"]


def test_a_slider_by_keyboard_moves_all_lines(page):
    before = line(page, 1).inner_text()
    handle(page, 0).focus()
    for _ in range(3):
        page.keyboard.press("PageDown")
    page.wait_for_function(
        "before => document.querySelectorAll('.widget-gridbox .widget-html')[4].innerText"
        " !== before",
        arg=before,
    )
    page.keyboard.press("Home")
    wait_for_line(page, 0, "0.0%")
    wait_for_line(page, 4, "50.0%")
    assert page.locator(".jp-Notebook .jp-Cell").count() == 1  # no shortcut of Jupyter's ran


def test_llama_as_a_preset(page):
    box(page).locator("select").select_option("LLaMA (Touvron et al. 2023)")
    wait_for_line(page, 0, "67.0%")
    page.wait_for_timeout(500)  # nor does the page move a slider by itself
    assert "read 1.10 ×" in line(page, 0).inner_text()
    assert "1.4 T tokens are read in all" in box(page).inner_text()
    assert "Touvron et al. 2023, table 1" in box(page).inner_text()
    assert box(page).locator(".widget-gridbox [role=slider]").count() == 7
    box(page).locator("select").select_option("These weights")
    wait_for_line(page, 0, "40.0%")
    assert box(page).locator(".widget-gridbox [role=slider]").count() == 5


def test_a_hostile_sample_stays_words(page):
    box(page).get_by_role("button", name="sample").first.click()
    page.wait_for_function(
        "() => document.querySelector('.widget-vbox').textContent.includes('A text of recipes')"
    )
    words = box(page).inner_text()
    assert "<script>window.hacked = 1</script> <b>bold</b>" in words
    assert "characters more" in words and len(words) < 5000
    assert page.evaluate("window.hacked") is None
    text = box(page).locator("[tabindex='0']", has_text="A text of").last
    assert text.locator("b, script").count() == 0
    inside, outside = text.bounding_box(), box(page).bounding_box()
    assert inside["x"] + inside["width"] <= outside["x"] + outside["width"]


def test_dark_and_light(jupyter, page, pictures):
    box(page).get_by_role("button", name="sample").nth(1).click()
    parts = (".widget-gridbox .widget-html-content", ".widget-gridbox .widget-label")
    jupyter.check_looks(page, ".ll-mixture", parts, pictures / "mixture-sliders")


def test_the_saved_notebook_shows_the_table_without_a_kernel(jupyter, page, pictures, build):
    reader = jupyter.reopen_saved(page, "mixture.ipynb", build)
    table = reader.locator(".jp-OutputArea-output table")
    assert "⚠ more than 4 epochs" in table.inner_text()
    assert "<b>python</b>" in table.inner_text()
    assert reader.locator(".widget-slider").count() == 0
    reader.screenshot(path=pictures / "mixture-sliders-saved.png")
