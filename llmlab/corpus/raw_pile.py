"""A raw pile for notebook 01: real documents with their real dirt, and dirt that we plant.

What is planted is labelled, so each filter has a known truth to be measured against.  The pile
trains none of the line's models; the line's validation documents are not in it.  It has held-out
documents of its own, the exam, and half of the exam's recipes are leaked into it on purpose.
"""

import json
import random
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from types import MappingProxyType

from llmlab import artifacts
from llmlab.corpus.corpus import Recipe, lead_paragraphs, read_source
from llmlab.corpus.sources import is_validation, source_path

# What is planted, and how many pages of it (at most; small sources get fewer).
PLANTED = MappingProxyType(
    {
        "menu": 400,
        "stuffing": 300,
        "advert": 350,
        "other language": 500,
        "exact copy": 300,
        "near copy": 600,
        "leak": 150,
    }
)
INSERTED = {"notices": 300, "private": 300}  # lines put into real documents
REAL = {"recipes": 3000, "encyclopedia": 2500, "speeches": 700, "python": 500}  # at most
EXAM = 0.04  # share of the real documents that is held out


@dataclass(frozen=True)
class Page:
    """A document of the pile.

    source: where it is from.  planted: the kind of dirt that it is, "" for a real document.
    inserts: lines of ours that stand in a real document: notices, made-up personal data.
    """

    text: str
    source: str
    planted: str = ""
    inserts: tuple[str, ...] = ()
    inserted: str = ""  # "notices", "private", or "" for none


@dataclass(frozen=True)
class Pile:
    """Pages (an original always stands before its copies), and what is held out from them.

    exam: source -> clean documents.  leaked: exam recipes that the pile holds after all.
    """

    pages: tuple[Page, ...]
    exam: dict[str, list[str]]
    leaked: tuple[str, ...]

    def counts(self) -> Counter:
        """Pages of each kind: a source's real ones, or planted dirt."""
        return Counter(page.planted or page.source for page in self.pages)


@cache
def raw_pile(sources: tuple[str, ...] = tuple(REAL), seed: int = 1) -> Pile:
    """The pile of that seed; which documents are in the exam does not depend on it."""
    rng, real, exam = random.Random(seed), [], {}
    for name in sources:
        pairs = [p for p in _raw_and_clean(name) if not is_validation(p[1])]
        exam[name] = [clean for _, clean in pairs if _is_exam(clean)]
        left = [raw for raw, clean in pairs if not _is_exam(clean)]
        drawn = rng.sample(left, min(REAL[name], len(left)))
        real += [Page(raw, name) for raw in drawn]
    leaked = tuple(exam[sources[0]][::2])
    exam[sources[0]] = exam[sources[0]][1::2]
    real = _insert(real, rng)
    return Pile((*real, *_dirt(real, leaked, rng)), exam, leaked)


def _raw_and_clean(name: str) -> list[tuple[str, str]]:
    """Each document of a source as it comes, and mended."""
    documents = zip(read_source(name, str)[0], read_source(name)[0], strict=True)
    return [tuple(d.text() if isinstance(d, Recipe) else d for d in pair) for pair in documents]


def _is_exam(text: str) -> bool:
    """As `is_validation`, with another hash: the line's held-out set is not touched."""
    return is_validation(f"exam {text}", EXAM)


# --- What is planted ------------------------------------------------------------------------


@cache
def _words() -> dict:
    """Our own words for dirt, from data/house."""
    return json.loads((artifacts.data_dir() / "house" / "dirt.json").read_text("utf-8"))


def _dirt(real: Sequence[Page], leaked: Sequence[str], rng: random.Random) -> list[Page]:
    """Pages of every kind of dirt, as many as PLANTED says and a third of the real ones allow.

    New pages are said to be from the sources that come from open websites.
    """
    makers = {"menu": _menu, "stuffing": _stuffing, "advert": _advert}
    open_ones = [s for s in ("recipes", "encyclopedia") if any(p.source == s for p in real)]
    pages, whole = [], [page for page in real if not page.inserts]
    for kind, most in PLANTED.items():
        n = min(most, len(real) // 3)
        if kind.endswith("copy"):
            edit = near_copy if kind == "near copy" else lambda text, rng: text
            copied = rng.choices(whole, k=n)
            pages += [replace(p, text=edit(p.text, rng), planted=kind) for p in copied]
            continue
        if kind == "other language":
            texts = _foreign(n, rng)
        elif kind == "leak":
            texts = [page_around(text, rng) for text in leaked for _ in range(2)][:n]
        else:
            texts = [makers[kind](rng) for _ in range(n)]
        pages += [Page(text, rng.choice(open_ones), kind) for text in texts]
    rng.shuffle(pages)
    return pages


def _insert(real: list[Page], rng: random.Random) -> list[Page]:
    """The same pages; some got lines of ours between their own."""
    n = {kind: min(most, len(real) // 6) for kind, most in INSERTED.items()}
    chosen = iter(rng.sample(range(len(real)), sum(n.values())))
    pages = list(real)
    for kind, count in n.items():
        for i in (next(chosen) for _ in range(count)):
            lines = rng.sample(_words()["notices"], 2) if kind == "notices" else [_private(rng)]
            text = pages[i].text.rstrip("\n").split("\n")
            for line in lines:
                text.insert(rng.randint(1, len(text)), line)
            joined = "\n".join(text) + "\n"
            pages[i] = replace(pages[i], text=joined, inserts=tuple(lines), inserted=kind)
    return pages


def _menu(rng: random.Random) -> str:
    """A page that is nothing but what stands around pages."""
    lines = rng.choices(_words()["menu"], k=rng.randint(15, 60)) + rng.sample(
        _words()["notices"], 2
    )
    rng.shuffle(lines)
    return "\n".join(lines) + "\n"


def _stuffing(rng: random.Random) -> str:
    """Search words, again and again, to be found by machines."""
    few = rng.sample(_words()["stuffing"], 6)
    return " ".join(rng.choices(few, k=rng.randint(40, 120))) + ".\n"


def _advert(rng: random.Random) -> str:
    """Fluent salesmanship, which no rule about form can see."""
    parts = _words()["advert"]
    goods = rng.choice(parts["goods"])
    middle = rng.sample(parts["middles"], 4)
    sentences = [rng.choice(parts["openings"]), *middle, rng.choice(parts["endings"])]
    return " ".join(sentences).format(goods=goods) + "\n"


def _private(rng: random.Random) -> str:
    """A line with personal data of nobody: reserved domains, numbers and addresses."""
    name = rng.choice(_words()["names"])
    digits = [rng.randint(0, 9) for _ in range(20)]
    return rng.choice(_words()["private"]).format(
        name=name,
        email=f"{name.lower().replace(' ', '.')}{digits[0]}@example.{rng.choice(['com', 'org'])}",
        phone=f"({digits[1] % 8 + 2}{digits[2]}{digits[3]}) 555-01{digits[4]}{digits[5]}",
        card="4000 " + " ".join("".join(map(str, digits[i : i + 4])) for i in (6, 10, 14)),
        ip=f"192.0.2.{rng.randint(1, 254)}",
    )


def _foreign(n: int, rng: random.Random) -> list[str]:
    """Pages in four other languages: real ones in French and Spanish where they are to be had."""
    folder, pages = source_path("encyclopedia"), []
    for language in ("fr-fr", "es-es"):
        found = list(folder.rglob(f"summaries_{language}.json")) if folder else []
        texts = lead_paragraphs(found[0]) if found else []
        pages += rng.sample(texts, min(n // 3, len(texts)))
    while len(pages) < n:
        sentences = rng.choice(list(_words()["other languages"].values()))
        pages.append(" ".join(rng.choices(sentences, k=8)) + "\n")
    return pages


def near_copy(text: str, rng: random.Random) -> str:
    """The text with up to an eighth of its words dropped or doubled: a careless copy."""
    rate, out = rng.uniform(0.01, 0.125), []
    for part in re.split(r"(\s+)", text):
        edited = part.strip() and rng.random() < rate
        out += rng.choice(([], [part, " ", part])) if edited else [part]
    return "".join(out)


def page_around(text: str, rng: random.Random) -> str:
    """The text as other sites take it over: under a heading of their own, cut short."""
    lines = text.rstrip("\n").split("\n")
    kept = lines[: max(6, round(len(lines) * rng.uniform(0.75, 1)))]
    return "\n".join([rng.choice(("My favourites", "Found on the web", "Dinner ideas")), *kept, ""])
