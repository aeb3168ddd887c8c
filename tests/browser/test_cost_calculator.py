"""`CostCalculator` as a learner meets it."""

import pytest

MAKE = """
from llmlab.stages import costs
from llmlab.widgets.cost_calculator import CostCalculator
machine = costs.GPU("this machine", 4e11, 16e9, 0.0)
ours = costs.Model("<script>window.hacked = 1</script>", 1.5e6, "", tokens=3e7)
calculator = CostCalculator([machine], [ours])
calculator
"""


@pytest.fixture
def page(jupyter):
    """A notebook with a calculator, run."""
    return jupyter.show("costs.ipynb", ".widget-html table", MAKE)


def answer(page, row: str) -> str:
    """What the table says in one of its rows."""
    return page.locator(f".jp-OutputArea-output tr:has(th:text-is('{row}')) td").inner_text()


def wait_for_answer(page, row: str, words: str) -> None:
    page.wait_for_selector(
        f".jp-OutputArea-output tr:has(th:text-is('{row}')) td:has-text('{words}')"
    )


def options(page) -> list[str]:
    """The models to choose from; ipywidgets writes their spaces as hard ones."""
    texts = page.locator(".jp-OutputArea-output select").first.locator("option").all_inner_texts()
    return [text.replace("\xa0", " ") for text in texts]


def chosen(page) -> int:
    return page.locator(".jp-OutputArea-output select").first.evaluate("e => e.selectedIndex")


def test_it_opens_with_an_answer(page):
    assert answer(page, "training, 6·N·D") == "4.04·10²² FLOPs"
    assert answer(page, "published") == "82,432 A100 hours"
    image = page.locator(".jp-OutputArea-output .widget-html img")
    assert image.evaluate("image => image.complete && image.naturalWidth") == 640


def test_choices_change_the_answer(page):
    model, gpu = page.locator(".jp-OutputArea-output select").all()
    model.select_option("GPT-3")
    wait_for_answer(page, "training, 6·N·D", "3.14·10²³")
    gpu.select_option("this machine")
    wait_for_answer(page, "money", "$0")
    price = page.get_by_label("$ per hour")
    price.fill("1.5")
    price.press("Enter")
    wait_for_answer(page, "money", ",")  # hours of this machine by the million, at 1.5 dollars
    assert answer(page, "tokens per parameter").startswith("1.72")


def test_a_number_is_typed(page):
    page.get_by_role("textbox", name="parameters").fill("70B")
    page.keyboard.press("Enter")
    wait_for_answer(page, "training, 6·N·D", "4.2·10²³")
    assert page.get_by_role("textbox", name="parameters").input_value() == "70 billion"
    assert options(page)[chosen(page)] == "a model of your own"


def test_by_keyboard_alone(page):
    page.locator(".jp-OutputArea-output select").first.focus()
    page.keyboard.press("Tab")  # to the field of the parameters
    page.keyboard.press("Tab")
    focused = page.evaluate("document.activeElement.className")
    assert "noUi-handle" in focused
    before = answer(page, "training, 6·N·D")
    for _ in range(5):
        page.keyboard.press("ArrowRight")
    page.wait_for_function(
        "before => !document.querySelector('.jp-OutputArea-output td').innerText.includes(before)",
        arg=before,
    )
    assert options(page)[chosen(page)] == "a model of your own"
    assert page.locator(".jp-Notebook .jp-Cell").count() == 1  # no shortcut of Jupyter's ran


def test_hostile_words_stay_words(page):
    assert options(page)[0] == "<script>window.hacked = 1</script>"
    page.locator(".jp-OutputArea-output select").first.select_option(index=0)
    wait_for_answer(page, "training, 6·N·D", "2.7·10¹⁴")
    assert page.evaluate("window.hacked") is None


def test_dark_and_light(jupyter, page, pictures):
    jupyter.check_looks(
        page, ".ll-costs", (".widget-html td", ".widget-html th"), pictures / "cost-calculator"
    )


def test_the_saved_notebook_shows_the_table_without_a_kernel(jupyter, page, pictures, build):
    reader = jupyter.reopen_saved(page, "costs.ipynb", build)
    output = reader.locator(".jp-OutputArea-output")
    assert "82,432 A100 hours" in output.inner_text()
    assert "312" not in output.inner_text() and "3.12·10¹⁴" in output.inner_text()
    image = output.locator("img")
    assert image.evaluate("image => image.complete && image.naturalWidth") == 640
    reader.screenshot(path=pictures / "cost-calculator-saved.png")
