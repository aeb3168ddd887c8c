"""The filters: each rule on a text that breaks it and on one that does not; copies, leaks."""

import json
import random
import time

import pytest
import regex

from llmlab import artifacts
from llmlab.artifacts import LabError
from llmlab.corpus import dedup, filters
from llmlab.corpus.corpus import clean, read_recipes
from llmlab.corpus.dedup import near_duplicates
from llmlab.corpus.raw_pile import raw_pile

HOUSE = [r.text() for r in read_recipes(artifacts.data_dir() / "house" / "recipes.json")]
PROSE = (
    "Early on Monday the cook walked to the market, and he bought what he needed. Rain had kept "
    "most people at home, so that nobody stood in his way. He took a sack of beans, two onions "
    "with green tops, and a piece of bacon. Back in his kitchen he put everything into one pot. "
    "Three hours later a soup was ready that all of his guests have praised to this day.\n"
)
BREAKS = {
    "words": "Too short to be read, and that is it.",
    "word length": "a I o e " * 30,
    "symbols": PROSE.replace(" ", " # "),
    "bullets": "\n".join(f"- {line}" for line in PROSE.split(".") if line),
    "ellipses": PROSE.replace(".", "...\n"),
    "letters": "1 2 3 4 " + PROSE.replace(" ", " 7 "),
    "stop words": "Zwiebeln schneiden. " * 30,
    "repetition": "buy cheap pans and knives. " * 20,
    "sentences": PROSE.replace(".", ";") + ".",
    "lines": PROSE.replace(" ", "\n"),
    "braces": PROSE + " if (x) { y }",
    "lorem ipsum": PROSE + " Lorem Ipsum dolor.",
}
RULES = {rule.name: rule for rule in filters.GOPHER + filters.C4}


@pytest.mark.parametrize("name", RULES)
def test_each_rule_breaks_where_it_should(name):
    assert RULES[name].breaks(BREAKS[name])
    assert not RULES[name].breaks(PROSE)


@pytest.mark.parametrize("text", ["", "\n\n", "\ud800", "a" * 100_000, "\u202eabc\u200b", "..."])
def test_no_rule_stumbles(text):
    assert isinstance(filters.broken(text, RULES.values()), list)
    assert isinstance(filters.clean_text(text), str)
    assert dedup.exact_copies([text, text]) == {1: 0}
    assert dedup.near_copies([text, text]) in ({}, {1: 0})


def test_repetition_s_parts_by_hand():
    assert filters.repeated_lines("a\nb\na\na\n") == 0.5
    assert filters.top_ngram("aa bb aa bb cc", 2) == 8 / 10
    assert filters.top_ngram("aa bb cc dd", 2) == 0
    assert filters.repeated_ngrams("x a b c y a b c z", 3) == 6 / 9
    assert filters.repeated_ngrams("", 3) == 0


def test_rules_see_no_fault_in_most_of_our_own_recipes_but_for_c4_s_lines():
    faults = [set(filters.broken(text, RULES.values())) for text in HOUSE]
    assert sum("lines" in f for f in faults) > len(HOUSE) / 2
    assert sum("repetition" in f for f in faults) == 0


def test_personal_data_is_masked_and_recipes_are_left_alone():
    line = "Ask (555) 555-0142 or a.b+c@example.co.uk, 4000 1234 5678 9010, 192.0.2.7"
    assert filters.mask_private(line) == "Ask <phone> or <email>, <card>, <ip>"
    assert filters.mask_private("card 4000123456789010.") == "card <card>."
    for text in HOUSE:
        assert filters.mask_private(text) == text
    assert (
        filters.mask_private("350 to 400 g at 1.5 bar, 2024-11-25")
        == "350 to 400 g at 1.5 bar, 2024-11-25"
    )


def test_notices_go_by_the_line():
    text = "Soup\nThis site USES COOKIES to help.\nBoil it.\n"
    assert filters.drop_notices(text) == "Soup\nBoil it.\n"


def test_copies_point_to_an_earlier_page():
    texts = [HOUSE[0], HOUSE[5], HOUSE[0], HOUSE[5] + "Enjoy!", HOUSE[0]]
    assert dedup.exact_copies(texts) == {2: 0, 4: 0}
    assert dedup.near_copies(texts) == {2: 0, 3: 1, 4: 0}


def test_near_copies_are_what_counting_and_our_own_minhash_find():
    shingles = [dedup.ngrams(text, 3) for text in HOUSE]
    pairs = {
        i for i in range(len(HOUSE)) for j in range(i)
        if dedup.jaccard(shingles[i], shingles[j]) >= 0.5
    }  # fmt: skip
    assert pairs and set(dedup.near_copies(HOUSE)) == pairs == near_duplicates(HOUSE)


def test_near_copies_of_any_threshold():
    texts = [HOUSE[0], HOUSE[5], HOUSE[0]]
    for percent in range(1, 101):
        assert dedup.near_copies(texts, threshold=percent / 100)[2] == 0
    for threshold in (-0.1, 1.1, float("nan")):
        with pytest.raises(LabError, match="A similarity is 0 to 1"):
            dedup.near_copies(texts, threshold)


ENDLESS = {
    "spaces": "a" + " " * 32_000 + "b",
    "spaces in brackets": "(" + " " * 32_000,
    "empty brackets": "() " * 32_000 + "x",
    "marks that nothing closes": "<ref" * 32_000 + "\nx",
    "an address": "a" * 32_000 + "@ b",
}


@pytest.mark.parametrize("case", ENDLESS)
def test_cleaning_takes_time_in_proportion_to_the_text(case):
    """By the processor's own time, which no other program takes: what is quadratic needs 5 s
    to 300 s, what is linear some hundredths."""
    start = time.process_time()
    assert clean(ENDLESS[case]) and filters.mask_private(ENDLESS[case])
    assert time.process_time() - start < 1


PARTS = ("a", " ", "\n", "\xa0", "\u2003", "(", ")", "/", ",", ".", "<ref", "</ref>", "/>")


def test_cleaning_is_what_its_plain_patterns_say():
    """The slow way to say it: holes, then space before a comma, then white space."""
    rng = random.Random(1)
    for _ in range(20_000):
        text = "".join(rng.choices(PARTS, k=rng.randint(0, 12)))
        plain = regex.sub(r"<ref.*?(</ref>|/>|$)", "", text).replace("\xa0", " ")
        plain = regex.sub(r"\(\s*[/,;]*\s*\)", "", plain)
        plain = regex.sub(r"\s+", " ", regex.sub(r"\s+([,.;:)])", r"\1", plain)).strip()
        assert clean(text) == plain, repr(text)


def test_leaks_are_runs_of_words_in_order():
    exam = ["Boil the rice in a wide pan until all of the water is gone."]
    texts = ["We boil, the RICE in a wide\npan.", "a wide pan in the rice boil", "rice", ""]
    assert dedup.leaks(texts, exam, 7) == {0: "boil the rice in a wide pan"}
    assert dedup.leaks(texts, [], 7) == {}


def test_precision_and_recall():
    assert filters.precision_recall({1, 2, 3}, {3, 4}) == (1 / 3, 1 / 2)
    assert filters.precision_recall(set(), {1}) == (1, 0)
    assert filters.precision_recall({1}, set()) == (0, 1)


# --- The whole way -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cleaned():
    pile = raw_pile(("recipes", "encyclopedia"))
    pages = [pile.pages[i] for i in filters.to_label(pile)]
    texts = [filters.clean_text(page.text) for page in pages]
    quality = filters.quality_model(texts, map(filters.is_worth_reading, pages))
    return pile, quality, filters.clean_pile(pile, quality)


def test_rules_are_chosen_by_what_they_cost_a_source(cleaned):
    chosen = filters.suitable(cleaned[0].pages)
    names = {source: {rule.name for rule in rules} for source, rules in chosen.items()}
    assert "lines" not in names["recipes"] and "lines" in names["encyclopedia"]
    assert "stop words" in names["recipes"] & names["encyclopedia"]
    for source, rules in chosen.items():
        real = [p for p in cleaned[0].pages if p.source == source and not p.planted]
        for rule in rules:
            assert sum(rule.breaks(filters.clean_text(p.text)) for p in real) <= 0.05 * len(real)


def test_each_filter_finds_most_of_what_it_is_meant_for(cleaned):
    """Bands on real text: the recipes and leads of the class, or our own where there are none."""
    scores = filters.scores(cleaned[2])
    assert list(scores) == [f.name for f in filters.FILTERS]
    least = {"rules": (0.8, 0.9), "quality": (0.7, 0.9), "exact copies": (0.9, 1.0),
             "near copies": (0.9, 0.85), "leaks": (0.6, 0.9)}  # fmt: skip
    for name, (precision, recall) in scores.items():
        print(f"{name}: precision {precision:.3f}, recall {recall:.3f}")
        assert precision >= least[name][0] and recall >= least[name][1], name


def test_every_page_comes_out_once_with_a_reason(cleaned):
    pile, _, outcomes = cleaned
    assert [o.page for o in outcomes] == list(pile.pages)
    for i, outcome in enumerate(outcomes):
        copy = outcome.removed_by.endswith("copies")
        assert (outcome.twin is not None) == copy
        if copy:
            assert outcome.twin < i
        elif outcome.removed_by:
            assert outcome.why
    kept = [o for o in outcomes if not o.removed_by]
    assert 0.5 * len(pile.pages) < len(kept) < len(pile.pages)


def test_what_was_kept_holds_no_copy_and_no_leak(cleaned):
    pile, _, outcomes = cleaned
    texts = [o.text for o in outcomes if not o.removed_by]
    exam = [text for texts in pile.exam.values() for text in texts] + list(pile.leaked)
    assert dedup.exact_copies(texts) == {}
    assert dedup.leaks(texts, exam, filters.LEAK) == {}


def test_labels_by_hand_change_what_the_classifier_likes():
    rng = random.Random(0)
    dirt = json.loads((artifacts.data_dir() / "house" / "dirt.json").read_text("utf-8"))
    adverts = [" ".join(rng.sample(dirt["advert"]["middles"], 3)) for _ in range(20)]
    texts, labels = [*HOUSE[:20], *adverts], [True] * 20 + [False] * 20
    usual = filters.quality_model(texts, labels)
    turned = filters.quality_model(texts, [not label for label in labels])
    assert usual.predict(HOUSE[20:]).all() and not turned.predict(HOUSE[20:]).any()
