"""What `MixtureSliders` reckons and says, without a page."""

import math
import re

import pytest

from llmlab.widgets.mixture_sliders import LLAMA, LLAMA_NAME, Mixture, MixtureSliders, count

SOURCES = {"recipes": 1e6, "encyclopedia": 8e6, "cards": math.inf}
WEIGHTS = {"recipes": 0.5, "encyclopedia": 0.3, "cards": 0.2}


@pytest.fixture
def sliders() -> MixtureSliders:
    return MixtureSliders(SOURCES, 10e6, WEIGHTS, sample=lambda name: f"A text of <{name}>.")


def line(sliders: MixtureSliders, source: str) -> str:
    """A source's line as it is read."""
    return re.sub("<.*?>", "", sliders._lines[source].value)


def test_shares_tokens_and_epochs():
    recipes, encyclopedia, cards = Mixture(SOURCES, WEIGHTS, 10e6).rows()
    assert (recipes.share, recipes.tokens, recipes.epochs) == (0.5, 5e6, 5)
    assert encyclopedia.epochs == pytest.approx(3 / 8)
    assert cards.tokens == pytest.approx(2e6) and cards.epochs == 0
    assert [row.too_often for row in (recipes, encyclopedia, cards)] == [True, False, False]


def test_only_the_ratios_of_weights_count():
    tenfold = {name: 10 * weight for name, weight in WEIGHTS.items()}
    for a, b in zip(
        Mixture(SOURCES, WEIGHTS, 1e6).rows(), Mixture(SOURCES, tenfold, 1e6).rows(), strict=True
    ):
        assert a.share == pytest.approx(b.share)
    assert [row.share for row in Mixture(SOURCES, {}, 1e6).rows()] == [0, 0, 0]


def test_exactly_four_epochs_are_not_too_many():
    assert not Mixture({"a": 1e6}, {"a": 1}, 4e6).rows()[0].too_often
    assert Mixture({"a": 1e6}, {"a": 1}, 4.01e6).rows()[0].too_often


def test_llama_s_table():
    """Touvron et al. 2023, table 1: shares sum to one, epochs come out as printed."""
    rows = {row.name: row for row in LLAMA.rows()}
    assert sum(row.share for row in rows.values()) == pytest.approx(1)
    printed = {"CommonCrawl": 1.10, "C4": 1.06, "GitHub": 0.64, "Wikipedia": 2.45, "Books": 2.23}
    for name, epochs in (printed | {"ArXiv": 1.06, "StackExchange": 1.03}).items():
        assert rows[name].epochs == pytest.approx(epochs)
    assert rows["CommonCrawl"].tokens == pytest.approx(938e9)


def test_a_slider_moves_every_line(sliders):
    before = line(sliders, "encyclopedia")
    assert "50.0%" in line(sliders, "recipes") and "5 M of 1 M" in line(sliders, "recipes")
    sliders.sliders["recipes"].value = 0
    assert "0.0%" in line(sliders, "recipes") and "read 0.00 ×" in line(sliders, "recipes")
    assert "60.0%" in line(sliders, "encyclopedia") and line(sliders, "encyclopedia") != before
    assert "ever new" in line(sliders, "cards")


def test_reading_too_often_is_said_by_sign_and_words(sliders):
    assert "⚠ more than 4 epochs" in line(sliders, "recipes")
    assert "Muennighoff" in sliders._notes.value
    sliders.total.value = 1e6
    assert "⚠" not in line(sliders, "recipes") + sliders._notes.value


def test_all_at_nought_is_said(sliders):
    for slider in sliders.sliders.values():
        slider.value = 0
    assert "nothing is read" in sliders._notes.value


def test_presets_there_and_back(sliders):
    assert sliders.preset.options[0] == "These weights"
    sliders.preset.value = LLAMA_NAME
    assert sliders.mixture.rows() == LLAMA.rows() and sliders.total.value == 1.4e12
    assert "table 1" in sliders._notes.value
    assert len(sliders._grid.children) == 3 + 3 * 7
    sliders.preset.value = "As they lie there"
    shares = {row.name: row.share for row in sliders.mixture.rows()}
    assert shares == pytest.approx({"recipes": 1 / 9, "encyclopedia": 8 / 9, "cards": 0}, abs=1e-4)
    sliders.preset.value = "Equal shares"
    assert {row.share for row in sliders.mixture.rows()} == {1 / 3}
    assert sliders.total.value == 10e6


def test_a_sample_on_demand(sliders):
    button = sliders._grid.children[5]
    button.click()
    assert "A text of &lt;recipes&gt;." in sliders._text.value
    sliders.preset.value = LLAMA_NAME
    assert sliders._text.value == "" and sliders._grid.children[5].disabled
    assert MixtureSliders(SOURCES, 1e6)._grid.children[5].disabled


def test_a_sample_that_fails_is_said():
    sliders = MixtureSliders({"a": 1e6}, 1e6, sample=lambda name: 1 / 0)
    sliders._grid.children[5].click()
    assert "ZeroDivisionError: division by zero" in sliders._text.value


def test_hostile_words_are_inert():
    hostile = "<script>alert(1)</script>\x00\ud800\u202e"
    sliders = MixtureSliders(
        {hostile: 1.0, "a" * 100_000: 1.0}, 99.0, sample=lambda name: hostile + "<b>" * 50_000
    )
    sliders._grid.children[5].click()
    assert "<b><b>" not in sliders._text.value and len(sliders._text.value) < 10_000
    for slider in sliders.sliders.values():  # ipywidgets 7 takes descriptions for HTML
        assert "<" not in slider.description and len(slider.description) <= 18


@pytest.mark.parametrize(
    ("sources", "total"), [({}, 1e6), ({"a": 0}, 1e6), ({"a": 1}, 0), ({"a": math.nan}, 1)]
)
def test_what_cannot_be_mixed_is_refused(sources, total):
    with pytest.raises(ValueError):
        MixtureSliders(sources, total)


@pytest.mark.parametrize(
    ("tokens", "words"),
    [(1.4e12, "1.4 T"), (938e9, "938 B"), (999.9e3, "1 M"), (1234, "1.23 k"), (0, "0")],
)
def test_counts_are_short(tokens, words):
    assert count(tokens) == words


def test_mime_bundle_holds_a_table(sliders):
    data = sliders._repr_mimebundle_()
    assert data["text/plain"].startswith("MixtureSliders: 10 M tokens; recipes 50.0%")
    table = data["text/html"]
    assert table.count("<tr>") == 4 and "script" not in table and "http" not in table
    assert "width:60px" in table  # the bar of one half
