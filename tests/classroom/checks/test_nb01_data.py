"""Notebook 01's checks: the notebook's solutions pass, each mistake gets a sentence of its own."""

import re

import pytest

from llmlab.classroom import verdict
from llmlab.classroom.exercises import RIGHT
from llmlab.corpus.dedup import runs
from llmlab.corpus.filters import STOP_WORDS


def words(text):
    return re.findall(r"\w+", text.lower())


SPACE = {"re": re, "STOP_WORDS": STOP_WORDS, "runs": runs}  # what the cells above bring
EXERCISES = {
    "01.stop_words": "passes",
    "01.leaks": "leaks",
    "01.precision": "quality_of",
    "01.temperature": "mix",
}


@pytest.mark.parametrize(("exercise", "name"), EXERCISES.items())
def test_the_notebooks_solution_is_right(exercise, name, solution):
    assert verdict(exercise, solution(exercise, name, **SPACE))[0] == RIGHT


def shared(text, exam, n):
    return any(runs(text, n) & runs(asked, n) for asked in exam)


def characters(text, n):
    return {text[i : i + n] for i in range(len(text) - n + 1)}


def power(sizes, alpha):
    return {name: size**alpha for name, size in sizes.items()}


def normed(parts):
    return {name: part / sum(parts.values()) for name, part in parts.items()}


def spoils(removed, dirt):
    """Right but for the sets, which it edits before it looks."""
    removed &= dirt
    return 1.0, len(removed) / len(dirt)


WRONG_ANSWERS = {
    "01.stop_words": [
        lambda text: len(STOP_WORDS & set(words(text))) < 2,
        lambda text: len(STOP_WORDS & set(words(text))) >= 1,
        lambda text: sum(w in STOP_WORDS for w in words(text)) >= 2,
        lambda text: sum(s in text.lower() for s in STOP_WORDS) >= 2,
        lambda text: len(STOP_WORDS & set(re.findall(r"\w+", text))) >= 2,
        lambda text: len(STOP_WORDS & set(text.lower().split())) >= 2,
        lambda text: len({"the", "be", "to", "of", "and"} & set(words(text))) >= 2,
        lambda text: len(STOP_WORDS & set(words(text))) == 2,
        lambda text: STOP_WORDS & set(words(text)),
        lambda text: len(STOP_WORDS & set(words(text))) / 0,
        True,
    ],
    "01.leaks": [
        lambda text, exam, n: any(asked.lower() in text.lower() for asked in exam),
        lambda text, exam, n: any(runs(text, n - 1) & runs(asked, n - 1) for asked in exam),
        lambda text, exam, n: any(len(set(words(text)) & set(words(asked))) >= n for asked in exam),
        lambda text, exam, n: any(characters(text, 30) & characters(a, 30) for a in exam),
        lambda text, exam, n: any(
            runs(text, min(n, len(words(text)))) & runs(asked, min(n, len(words(text))))
            for asked in exam
        ),
        lambda text, exam, n: bool(runs(text, n) & runs(exam[0], n)) if exam else False,
        lambda text, exam, n: shared(text, exam, 8),
        lambda text, exam, n: not shared(text, exam, n),
        lambda text, exam, n: True,
        lambda text, exam, n: sum(len(runs(text, n) & runs(asked, n)) for asked in exam) + 2,
        lambda text, exam, n: shared(text, exam, n) if exam else exam[0],
    ],
    "01.precision": [
        lambda r, d: (len(r & d) / len(d), len(r & d) / len(r)),
        lambda r, d: (100 * len(r & d) / len(r), 100 * len(r & d) / len(d)),
        lambda r, d: (1 - len(r & d) / len(r), 1 - len(r & d) / len(d)),
        lambda r, d: (len(r & d) / len(r),) * 2,
        lambda r, d: (len(r & d) / len(d),) * 2,
        lambda r, d: (len(r & d) / len(r | d),) * 2,
        lambda r, d: (len(r) / len(d), len(d) / len(r)),
        lambda r, d: (len(r & d),) * 2,
        lambda r, d: len(r & d) / len(r),
        lambda r, d: (len(r & d) / len(r), len(r & d) / len(d)),
        lambda r, d: (len(r & d) / max(1, len(r)), len(r & d) / max(1, len(d))),
        lambda r, d: (len(r & d) / len(r) if r else 1.0, len(r & d) / max(1, len(d))),
        spoils,
        lambda r, d: (0.4, 0.25),
        lambda r, d: (0.4, 0.9),
    ],
    "01.temperature": [
        lambda sizes, alpha: power(sizes, alpha),
        lambda sizes, alpha: normed(sizes),
        lambda sizes, alpha: normed(power(sizes, 1 / alpha)),
        lambda sizes, alpha: normed(dict.fromkeys(sizes, 1)),
        lambda sizes, alpha: {name: alpha * size for name, size in sizes.items()},
        lambda sizes, alpha: {k: 100 * v for k, v in normed(power(sizes, alpha)).items()},
        lambda sizes, alpha: normed(power(sizes, -alpha)),
        lambda sizes, alpha: power(normed(sizes), alpha),
        lambda sizes, alpha: list(normed(power(sizes, alpha)).values()),
        lambda sizes, alpha: {"a": 1 / 7, "b": 2 / 7, "c": 4 / 7},
        lambda sizes, alpha: normed({k: 2.718 ** (s * alpha) for k, s in sizes.items()}),
    ],
}


REVEALS = r"\*\*|lower\(|findall|len\(|0\.4\b|0\.25|1 / 7"  # the answer


@pytest.mark.parametrize("exercise", EXERCISES)
def test_each_mistake_gets_a_sentence_that_gives_nothing_away(exercise, each_is_told):
    each_is_told(exercise, WRONG_ANSWERS[exercise], REVEALS)
