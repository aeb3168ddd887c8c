"""What `CostCalculator` answers and draws, without a page."""

import base64
import math
import re
import xml.etree.ElementTree as ElementTree

import pytest

from llmlab.stages import costs
from llmlab.widgets.cost_calculator import OWN, CostCalculator, at, power, size

LAPTOP = costs.GPU("this machine", 4e11, 16e9, 0.0)
OURS = costs.Model("our base", 1.5e6, "", tokens=3e7)


@pytest.fixture
def calculator():
    return CostCalculator(gpus=[LAPTOP], models=[OURS])


def test_it_opens_on_a_published_model(calculator):
    figures = calculator.figures()
    assert figures["flops"] == pytest.approx(6 * 6_738_415_616 * 1e12)
    assert figures["gpu_hours"] == pytest.approx(figures["flops"] / 312e12 / 0.45 / 3600)
    assert figures["dollars"] == pytest.approx(2 * figures["gpu_hours"])
    assert figures["training_bytes"] == 16 * 6_738_415_616
    assert calculator.rows()["published"] == "82,432 A100 hours"


def test_the_table_follows_each_control(calculator):
    seen = [calculator.result.value]

    def changed() -> bool:
        seen.append(calculator.result.value)
        return seen[-1] != seen[-2]

    calculator.utilisation.value = 90
    assert changed()
    calculator.price.value = 7.5
    assert changed()
    assert calculator.figures()["dollars"] == pytest.approx(7.5 * calculator.figures()["gpu_hours"])
    calculator.gpu.value = "H100"
    assert changed() and calculator.price.value == 3.0
    calculator.tokens.value = 2e12
    assert changed()
    calculator.parameters.value = 1e9
    assert changed()
    assert calculator.figures()["flops"] == 6 * 1e9 * 2e12
    calculator.model.value = "Chinchilla"
    assert changed()
    assert calculator.figures()["flops"] == 6 * 70e9 * 1.4e12


def test_a_moved_slider_makes_it_a_model_of_ones_own(calculator):
    calculator.parameters.value *= 2
    assert calculator.model.value == OWN and "published" not in calculator.rows()
    calculator.model.value = "LLaMA 7B"
    assert calculator.parameters.value == 6_738_415_616 and "published" in calculator.rows()


@pytest.mark.parametrize(
    ("typed", "number"),
    [("70e9", 70e9), ("70B", 70e9), (" 1.5 million ", 1.5e6), ("20,000", 2e4), ("40 thousand", 4e4),
     ("3 t", 3e12), ("1", 1e4), ("9e99", 1e13), ("9" * 100_000, 1e13)],
)  # fmt: skip
def test_a_number_can_be_typed(calculator, typed, number):
    field = calculator.fields[calculator.parameters]
    field.value = typed
    assert calculator.figures()["flops"] == pytest.approx(6 * number * 1e12)
    assert calculator.parameters.value == pytest.approx(number)
    assert calculator.model.value == OWN and field.value == costs.short(number)


@pytest.mark.parametrize("typed", ["", "seventy", "7 parsecs", "-3", "1e999", "<b>", "0"])
def test_words_that_are_no_number_are_put_back(calculator, typed):
    field = calculator.fields[calculator.tokens]
    before = calculator.result.value
    field.value = typed
    assert field.value == "1 trillion" and calculator.result.value == before
    assert calculator.model.value == "LLaMA 7B"


def test_a_page_that_rounds_a_slider_changes_nothing(calculator):
    before = calculator.result.value
    for slider in (calculator.parameters, calculator.tokens):
        slider.value = 10 ** (round(math.log10(slider.value) / slider.step) * slider.step)
    assert calculator.model.value == "LLaMA 7B" and calculator.result.value == before
    calculator.parameters.value *= 10**calculator.parameters.step  # one press of a key
    assert calculator.model.value == OWN and calculator.result.value != before


def test_a_chosen_model_brings_its_gpu_and_this_machine_is_free(calculator):
    calculator.model.value = "Llama 3.1 405B"
    assert calculator.gpu.value == "H100"
    calculator.model.value, calculator.gpu.value = "our base", "this machine"
    assert calculator.rows()["money"] == "$0"
    assert calculator.figures()["flops"] == pytest.approx(6 * 1.5e6 * 3e7)
    assert calculator.figures()["gpu_hours"] == pytest.approx(0.4167, rel=0.001)


@pytest.mark.parametrize("name", [m.name for m in costs.PUBLISHED if m.tokens])
def test_each_published_model_fits_the_sliders(calculator, name):
    calculator.model.value = name
    assert calculator.parameters.value == costs.published(name).parameters
    assert calculator.tokens.value == costs.published(name).tokens
    assert calculator.model.value == name


def test_the_static_picture_says_what_went_in_and_what_came_out(calculator):
    data = calculator._repr_mimebundle_()
    html = data["text/html"]
    for words in ("LLaMA 7B", "1 trillion", "4.04·10²² FLOPs", ">80,000<", "$160,000", "45 %"):
        assert words in html, words
    assert "<script" not in html and "http" not in html and 'src="data:' in html
    assert data["application/vnd.jupyter.widget-view+json"]["model_id"] == calculator.box.model_id
    assert data["text/plain"] == "CostCalculator: LLaMA 7B, 4.04·10²² FLOPs, $160,000"
    calculator.parameters.value = 1e6
    assert calculator._repr_mimebundle_()["text/html"] != html


def test_the_ruler_puts_larger_trainings_further_right(calculator):
    def place() -> float:
        svg = ElementTree.fromstring(calculator.ruler_svg())
        path = next(svg.iter("{http://www.w3.org/2000/svg}path"))
        return float(re.match(r"M([\d.]+)", path.get("d"))[1])

    places = []
    for name in ("our base", "LLaMA 7B", "GPT-3", "Llama 3.1 405B"):
        calculator.model.value = name
        places.append(place())
    assert places == sorted(places) and len(set(places)) == 4
    assert at(1) == "20.0" and at(1e30) == "620.0"  # what is off the ruler stands at its end
    picture = re.search(r"base64,([^\"]+)", calculator.result.value)[1]
    assert base64.b64decode(picture).decode() == calculator.ruler_svg()


def test_numbers_in_words():
    assert power(3.14e23) == "3.14·10²³" and power(9.999e5) == "1·10⁶" and power(0.002) == "2·10⁻³"
    assert size(13.48e9) == "13.5 GB" and size(6.5e12) == "6.5 TB" and size(1500) == "1.5 kB"
