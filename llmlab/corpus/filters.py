"""Cleaning by rules, by comparison and by taste: the filters of notebook 01.

The rules are those of two papers, by name; each is a function of a text.  Copies and leaks are
found by shared runs of words, low quality by a classifier that learned from labelled examples.
"""

import random
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import islice

import regex

from llmlab.corpus.corpus import clean
from llmlab.corpus.dedup import exact_copies, leaks, near_copies
from llmlab.corpus.raw_pile import Page, Pile

# --- Rules: Rae et al. 2021 (Gopher), appendix A; Raffel et al. 2020 (C4), section 2.2 ---------

STOP_WORDS = frozenset({"the", "be", "to", "of", "and", "that", "have", "with"})
BULLETS = ("-", "*", "•", "–")
NOTICES = (
    "javascript", "terms of use", "privacy policy", "cookie policy", "uses cookies",
    "use of cookies", "use cookies",
)  # fmt: skip


@dataclass(frozen=True)
class Rule:
    """A rule by its name; breaks: whether a text is thrown out by it."""

    name: str
    about: str
    breaks: Callable[[str], bool]


def word_length(text: str) -> bool:
    words = text.split()
    return not 3 <= sum(map(len, words)) / max(1, len(words)) <= 10


def symbols(text: str) -> bool:
    found = text.count("#") + text.count("...") + text.count("…")
    return found > 0.1 * len(text.split())


def line_share(text: str, test: Callable[[str], bool]) -> float:
    """Share of the lines that are not blank for which the test holds."""
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    return sum(map(test, lines)) / max(1, len(lines))


def few_letters(text: str) -> bool:
    words = text.split()
    return sum(any(map(str.isalpha, w)) for w in words) < 0.8 * len(words)


def few_stop_words(text: str) -> bool:
    return len(STOP_WORDS & set(regex.findall(r"\w+", text.lower()))) < 2


def repeated_lines(text: str) -> float:
    """Share of the lines that repeat an earlier one."""
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    return 1 - len(set(lines)) / max(1, len(lines))


def top_ngram(text: str, n: int) -> float:
    """Share of the characters that the most frequent run of n words takes."""
    words = text.split()
    runs = Counter(zip(*(words[i:] for i in range(n)), strict=False))
    run, count = runs.most_common(1)[0] if runs else ((), 0)
    return count * sum(map(len, run)) / max(1, sum(map(len, words))) if count > 1 else 0.0


def repeated_ngrams(text: str, n: int) -> float:
    """Share of the characters inside runs of n words that stand in the text more than once."""
    words = text.split()
    runs = list(zip(*(words[i:] for i in range(n)), strict=False))
    counts, inside = Counter(runs), set()
    for i, run in enumerate(runs):
        if counts[run] > 1:
            inside.update(range(i, i + n))
    return sum(len(words[i]) for i in inside) / max(1, sum(map(len, words)))


def repetitive(text: str) -> bool:
    """Gopher's table A1, without its rows for paragraphs and for runs of 6 to 10 words."""
    top = {2: 0.20, 3: 0.18, 4: 0.16}
    return (
        repeated_lines(text) > 0.30
        or any(top_ngram(text, n) > limit for n, limit in top.items())
        or repeated_ngrams(text, 5) > 0.15
    )


def few_sentences(text: str) -> bool:
    return len(regex.findall(r"[.!?][\"'”’)]*(?=\s|$)", text)) < 3


def is_sentence(line: str) -> bool:
    """Whether C4 keeps a line: it ends like a sentence and has five words."""
    return line.rstrip().endswith((".", "!", "?", '"', "”")) and len(line.split()) >= 5


GOPHER = (
    Rule("words", "fewer than 50 words, or more than 100,000",
         lambda text: not 50 <= len(text.split()) <= 100_000),
    Rule("word length", "words of fewer than 3 or more than 10 letters on average", word_length),
    Rule("symbols", "more than one # or … for ten words", symbols),
    Rule("bullets", "more than 90 % of the lines begin with a bullet",
         lambda text: line_share(text, lambda line: line.startswith(BULLETS)) > 0.9),
    Rule("ellipses", "more than 30 % of the lines end with …",
         lambda text: line_share(text, lambda line: line.endswith(("...", "…"))) > 0.3),
    Rule("letters", "a letter in fewer than 80 % of the words", few_letters),
    Rule("stop words", "fewer than two of: the, be, to, of, and, that, have, with", few_stop_words),
    Rule("repetition", "the same lines or runs of words again and again", repetitive),
)  # fmt: skip
C4 = (
    Rule("sentences", "fewer than three sentences", few_sentences),
    Rule("lines", "more than half of the lines are no sentences",
         lambda text: line_share(text, is_sentence) < 0.5),
    Rule("braces", "a { somewhere: it may be code", lambda text: "{" in text),
    Rule("lorem ipsum", "a placeholder's text", lambda text: "lorem ipsum" in text.lower()),
)  # fmt: skip


def broken(text: str, rules: Iterable[Rule]) -> list[str]:
    """The names of the rules that a text breaks, in order."""
    return [rule.name for rule in rules if rule.breaks(text)]


# --- Mending: what goes is a line or a word, not the page --------------------------------------

# Each kind of personal data and what it looks like; an address has at most 64 characters before
# its @ (RFC 5321).
PRIVATE = {
    "email": r"[\w.+-]{1,64}@[\w-]+\.[\w.-]*\w",
    "card": r"\b(?:\d{4}[ -]?){3}\d{4}\b",
    "phone": r"\(\d{3}\) \d{3}-\d{4}",
    "ip": r"\b\d{1,3}(?:\.\d{1,3}){3}\b",
}


def drop_notices(text: str) -> str:
    """The text without the lines that speak of the site itself (C4)."""
    lines = text.split("\n")
    return "\n".join(x for x in lines if not any(n in x.lower() for n in NOTICES))


def mask_private(text: str) -> str:
    """The text with <email>, <card>, <phone> and <ip> in the place of personal data."""
    for kind, pattern in PRIVATE.items():
        text = regex.sub(pattern, f"<{kind}>", text)
    return text


@lru_cache(20_000)  # a pile: several filters ask for the same text
def clean_text(text: str) -> str:
    """Every line without holes, notices and personal data; code keeps its indentation."""
    lines = mask_private(drop_notices(text)).split("\n")
    return "\n".join(line[: len(line) - len(line.lstrip())] + clean(line) for line in lines)


# --- Quality: a taste, learned from labels -----------------------------------------------------


def quality_model(texts: Sequence[str], labels: Sequence[bool]):
    """A classifier of texts: `predict_proba(texts)[:, 1]` says how likely each is worth reading.

    Logistic regression on weighted word counts, as for GPT-3 (Brown et al. 2020, appendix A).
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    count = TfidfVectorizer(sublinear_tf=True, token_pattern=r"[^\W\d_]+")
    return make_pipeline(count, LogisticRegression(C=10, class_weight="balanced")).fit(
        list(texts), list(labels)
    )


def is_worth_reading(page: Page) -> bool:
    """The ready label of a page: real text, or a copy of it, is worth reading."""
    return page.planted in ("", "exact copy", "near copy", "leak")


def to_label(pile: Pile, n: int = 300) -> list[int]:
    """Places of n pages to be labelled, drawn from those that no rule throws out."""
    rules = suitable(pile.pages)
    places = list(range(len(pile.pages)))
    random.Random(0).shuffle(places)
    pages = ((i, pile.pages[i]) for i in places)
    return list(islice((i for i, p in pages if not broken(clean_text(p.text), rules[p.source])), n))


# --- The whole way -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Filter:
    """A filter by its name; aims: the kinds of planted dirt that it is meant for."""

    name: str
    about: str
    aims: frozenset[str]


LEAK = 30  # words in a row: by what notebook 01 measures
FILTERS = (
    Filter("rules", "breaks a rule of Gopher or C4 that suits its source",
           frozenset({"menu", "stuffing", "other language"})),
    Filter("quality", "the classifier would not read it", frozenset({"advert"})),
    Filter("exact copies", "equals an earlier page", frozenset({"exact copy"})),
    Filter("near copies", "shares half of its runs of 3 words with an earlier page",
           frozenset({"near copy"})),
    Filter("leaks", f"shares a run of {LEAK} words with the exam", frozenset({"leak"})),
)  # fmt: skip


@dataclass(frozen=True)
class Outcome:
    """What became of a page.

    text: as mended.  removed_by: a filter's name, "" for none.  why: in words.
    twin: place in the pile of the page that it repeats.
    """

    page: Page
    text: str
    removed_by: str = ""
    why: str = ""
    twin: int | None = None


@cache
def suitable(pages: tuple[Page, ...], rules: tuple[Rule, ...] = GOPHER + C4, limit: float = 0.05):
    """source -> the rules that throw out at most a share `limit` of its real pages.

    Only a look at a source tells which rules suit it: none of them was made for all text.
    """
    real: dict[str, list[str]] = {}
    for page in pages:
        if not page.planted:
            real.setdefault(page.source, []).append(clean_text(page.text))
    return {
        source: [r for r in rules if sum(map(r.breaks, texts)) <= limit * len(texts)]
        for source, texts in real.items()
    }


def precision_recall(removed: set, dirt: set) -> tuple[float, float]:
    """Share of what was removed that is dirt, and share of the dirt that was removed; an empty
    set is counted as 1: nothing was done wrong, nothing was missed."""
    right = len(removed & dirt)
    return right / len(removed) if removed else 1.0, right / len(dirt) if dirt else 1.0


def scores(outcomes: Sequence[Outcome]) -> dict[str, tuple[float, float]]:
    """Precision and recall of each filter, among the pages that came as far as to it.

    Its precision counts dirt of any kind, its recall the kinds that it is meant for.
    """
    left, out = set(range(len(outcomes))), {}
    for one in FILTERS:
        removed = {i for i in left if outcomes[i].removed_by == one.name}
        dirt = {i for i in left if outcomes[i].page.planted}
        aimed = {i for i in dirt if outcomes[i].page.planted in one.aims}
        out[one.name] = precision_recall(removed, dirt)[0], precision_recall(removed, aimed)[1]
        left -= removed
    return out


def clean_pile(pile: Pile, quality) -> list[Outcome]:
    """Every page of the pile, in order, with what became of it; quality: see `quality_model`."""
    texts = [clean_text(page.text) for page in pile.pages]
    rules, out, left = suitable(pile.pages), {}, list(range(len(texts)))

    def remove(name: str, found: dict[int, tuple[str, int | None]]) -> None:
        """found: place among those that are left -> why, and the twin's place there."""
        for i, (why, twin) in found.items():
            twin = None if twin is None else left[twin]
            out[left[i]] = Outcome(pile.pages[left[i]], texts[left[i]], name, why, twin)
        left[:] = [place for i, place in enumerate(left) if i not in found]

    remove("rules", {
        i: ("; ".join(faults), None) for i, page in enumerate(pile.pages)
        if (faults := [rule.about for rule in rules[page.source] if rule.breaks(texts[i])])
    })  # fmt: skip
    likes = quality.predict_proba([texts[i] for i in left])[:, 1]
    remove(
        "quality", {i: (f"worth reading: {p:.0%}", None) for i, p in enumerate(likes) if p < 0.5}
    )
    for name, find in (("exact copies", exact_copies), ("near copies", near_copies)):
        remove(name, {i: ("", j) for i, j in find([texts[i] for i in left]).items()})
    exam = [text for texts in pile.exam.values() for text in texts] + list(pile.leaked)
    found = leaks([texts[i] for i in left], exam, LEAK)
    remove("leaks", {i: (run, None) for i, run in found.items()})
    kept = {i: Outcome(pile.pages[i], texts[i]) for i in left}
    return [(out | kept)[i] for i in range(len(texts))]
