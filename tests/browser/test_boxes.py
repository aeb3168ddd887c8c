"""Widgets that are put together from Jupyter's own, as a learner meets them: `CostCalculator`,
`Labeller`, `MixtureSliders`.

What a click or a number changes: tests/widgets.
"""

OUTPUT = ".jp-OutputArea-output"
COSTS = """
from llmlab.widgets.cost_calculator import CostCalculator
CostCalculator()
"""
LABELS = """
from llmlab.widgets.labeller import Labeller
Labeller(["Boil the rice in a wide pan.", "Fry it.", "The last page."])
"""
MIXTURE = """
import math
from llmlab.widgets.mixture_sliders import MixtureSliders
MixtureSliders(
    {"recipes": 1.1e6, "encyclopedia": 6.2e6, "speeches": 1.9e6, "python": 0.9e6,
     "cards": math.inf},
    30e6,
    {"recipes": 0.4, "encyclopedia": 0.2, "speeches": 0.05, "python": 0.05, "cards": 0.3},
    sample="A text of {}".format,
)
"""


def costs(jupyter):
    return jupyter.show("costs.ipynb", ".widget-html table", COSTS)


def labels(jupyter):
    return jupyter.show("labeller.ipynb", ".widget-vbox button", LABELS)


def mixture(jupyter):
    return jupyter.show("mixture.ipynb", ".widget-gridbox .widget-slider", MIXTURE)


def wait_for_words(page, words: str, part: str = ".widget-vbox", number: int = 0) -> None:
    """Until the n-th such part of the output holds these words."""
    page.wait_for_function(
        "([part, n, words]) => document.querySelectorAll(part)[n]?.textContent.includes(words)",
        arg=[f"{OUTPUT} {part}", number, words],
    )


def wait_for_line(page, number: int, words: str) -> None:
    """Until these words stand beside slider `number`; three heads come first."""
    wait_for_words(page, words, ".widget-gridbox .widget-html", 3 + number)


def test_costs_by_keyboard_alone(jupyter):
    page = costs(jupyter)
    models = page.locator(f"{OUTPUT} select").first
    models.focus()
    page.keyboard.press("Tab")  # to the field of the parameters
    page.keyboard.press("Tab")
    assert "noUi-handle" in page.evaluate("document.activeElement.className")
    wait_for_words(page, "4.04·10²² FLOPs", "table")
    for _ in range(5):
        page.keyboard.press("ArrowRight")
    page.wait_for_function(
        f"() => !document.querySelector('{OUTPUT} table').textContent.includes('4.04·10²² FLOPs')"
    )
    chosen = models.evaluate("select => select.selectedOptions[0].textContent")
    assert chosen.replace("\xa0", " ") == "a model of your own"  # ipywidgets' spaces are hard


def test_labels_by_keyboard_alone(jupyter):
    page = labels(jupyter)
    page.locator(OUTPUT).get_by_role("button", name="worth reading").focus()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    wait_for_words(page, "page 2 of 3")
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    wait_for_words(page, "page 1 of 3 (✗ not worth it)")


def test_lines_stand_beside_their_sliders_and_move_by_keyboard(jupyter):
    page = mixture(jupyter)
    handles = page.locator(f"{OUTPUT} .widget-gridbox [role=slider]")
    lines = page.locator(f"{OUTPUT} .widget-gridbox .widget-html")
    for number in range(5):
        slider, words = handles.nth(number).bounding_box(), lines.nth(3 + number).bounding_box()
        assert words["y"] <= slider["y"] <= words["y"] + words["height"]
    handles.first.focus()
    page.keyboard.press("Home")
    wait_for_line(page, 0, "0.0%")
    wait_for_line(page, 4, "50.0%")


def test_llama_as_a_preset(jupyter):
    page = mixture(jupyter)
    page.locator(f"{OUTPUT} select").select_option("LLaMA (Touvron et al. 2023)")
    wait_for_line(page, 0, "67.0%")
    page.wait_for_timeout(500)  # nor does the page move a slider by itself
    wait_for_line(page, 0, "read 1.10 ×")
    wait_for_words(page, "1.4 T tokens are read in all")
    page.locator(f"{OUTPUT} select").select_option("These weights")
    wait_for_line(page, 0, "40.0%")


def test_dark_and_light(jupyter, pictures):
    jupyter.check_looks(
        costs(jupyter), ".ll-costs", (".widget-html td", ".widget-html th"), pictures / "costs"
    )
    page = labels(jupyter)
    page.locator(OUTPUT).get_by_role("button", name="worth reading").click()
    wait_for_words(page, "page 2 of 3")
    jupyter.check_looks(page, ".ll-labels", [".widget-html-content"], pictures / "labeller")
    page = mixture(jupyter)
    page.locator(OUTPUT).get_by_role("button", name="sample").nth(1).click()
    parts = (".widget-gridbox .widget-html-content", ".widget-gridbox .widget-label")
    jupyter.check_looks(page, ".ll-mixture", parts, pictures / "mixture-sliders")
