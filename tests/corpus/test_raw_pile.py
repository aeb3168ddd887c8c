"""The raw pile: real documents, planted dirt whose truth is known, an exam of its own."""

import random
import re

import pytest

from llmlab.corpus import dedup, filters
from llmlab.corpus.corpus import load_corpus
from llmlab.corpus.raw_pile import INSERTED, PLANTED, near_copy, page_around, raw_pile
from llmlab.corpus.sources import is_validation

SOURCES = ("recipes", "encyclopedia")


@pytest.fixture
def rng():
    return random.Random(5)


@pytest.fixture(scope="module")
def pile():
    return raw_pile(SOURCES, seed=3)


def test_every_kind_of_dirt_is_planted_and_labelled(pile):
    counts = pile.counts()
    assert set(counts) == {*SOURCES, *PLANTED}
    for kind, most in PLANTED.items():
        assert 0 < counts[kind] <= most
    for kind, most in INSERTED.items():
        pages = [page for page in pile.pages if page.inserted == kind]
        assert 0 < len(pages) <= most
        assert all(line in page.text for page in pages for line in page.inserts)
    assert {page.source for page in pile.pages} == set(SOURCES)


def test_the_same_seed_the_same_pile_and_another_exam_never(pile):
    raw_pile.cache_clear()
    assert raw_pile(SOURCES, seed=3) == pile
    other = raw_pile(SOURCES, seed=4)
    assert other.pages != pile.pages and other.exam == pile.exam and other.leaked == pile.leaked


def test_originals_stand_before_their_copies(pile):
    first = {}
    for i, page in enumerate(pile.pages):
        first.setdefault(page.text, i)
    copies = [i for i, page in enumerate(pile.pages) if page.planted == "exact copy"]
    assert all(first[pile.pages[i].text] < i for i in copies)
    assert not any(pile.pages[first[pile.pages[i].text]].planted for i in copies)


def test_no_page_is_of_the_exam_but_for_the_leaks(pile):
    asked = {text for texts in pile.exam.values() for text in texts} | set(pile.leaked)
    real = [filters.clean_text(page.text) for page in pile.pages if not page.planted]
    assert not asked & set(real)
    assert not set(pile.exam["recipes"]) & set(pile.leaked)
    leaks = [page for page in pile.pages if page.planted == "leak"]
    found = dedup.leaks([page.text for page in leaks], pile.leaked, 13)
    assert len(found) > 0.95 * len(leaks)


def test_the_line_s_validation_set_is_in_no_pile(pile):
    held_out = {recipe.text() for recipe in load_corpus(SOURCES).held_out}
    texts = {filters.clean_text(page.text) for page in pile.pages} | set(pile.leaked)
    texts |= {text for texts in pile.exam.values() for text in texts}
    assert held_out and not held_out & texts
    assert not any(is_validation(text) for texts in pile.exam.values() for text in texts)


def test_made_up_people_have_addresses_and_numbers_of_nobody(pile):
    lines = [line for page in pile.pages if page.inserted == "private" for line in page.inserts]
    for pattern, reserved in (
        (r"\S+@\S+\w", r"@example\.(com|org)"),
        (r"\(\d{3}\) \d{3}-\d{4}", r"\) 555-01\d\d"),
        (r"\d+\.\d+\.\d+\.\d+", r"192\.0\.2\.\d+"),
    ):
        found = [f for line in lines for f in re.findall(pattern, line)]
        assert found and all(re.search(reserved, f) for f in found)


def test_a_near_copy_is_near(rng):
    words = " ".join(f"word{i}" for i in range(400))
    for _ in range(20):
        copy = near_copy(words, rng)
        assert copy != words
        assert 0.4 < dedup.jaccard(dedup.ngrams(words, 3), dedup.ngrams(copy, 3)) < 1


def test_a_page_around_a_text_keeps_most_of_it(rng):
    text = "".join(f"{i}. Do this.\n" for i in range(20))
    page = page_around(text, rng)
    kept = page.count("Do this.")
    assert 15 <= kept <= 20 and not page.startswith("0.")
