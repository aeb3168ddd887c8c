"""Stage 1, data: got, cleaned, labelled, checked, balanced, and cut into rows of ids.

A source is read, cleaned and freed of twins *before* the split, and the split is by the hash of a
document: nothing of the validation set, nor a near copy of it, reaches any training.
Recipes are read in many layouts with foods swapped inside their families, so that copying what
stands above is the only way to a low loss: the base learns to look back.
"""

import ast
import contextlib
import hashlib
import json
import random
import sys
import sysconfig
import textwrap
import time
import zlib
from collections import defaultdict
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

import numpy as np
import regex
import torch
from torch import Tensor

from llmlab import artifacts, kitchen
from llmlab.artifacts import LabError
from llmlab.sources import is_validation, source_path

END = "<|end|>"


@dataclass(frozen=True)
class Recipe:
    """A recipe as its source gives it, cleaned."""

    title: str
    category: str
    ingredients: tuple[str, ...]
    steps: tuple[str, ...]

    def text(self) -> str:
        """The plain layout, in which held-out recipes are scored."""
        amounts = "\n".join(f"- {line}" for line in self.ingredients)
        steps = "\n".join(f"{i}. {step}" for i, step in enumerate(self.steps, 1))
        return f"{self.title}\n\nIngredients:\n{amounts}\n\n{steps}\n"

    def card(self) -> kitchen.Card | None:
        return kitchen.card_from_recipe(self.title, list(self.ingredients))


# --- Getting and cleaning -------------------------------------------------------------------


def clean(text: str) -> str:
    """One line of source text without the holes that formulas and links left in it."""
    text = regex.sub(r"<ref.*?(</ref>|/>|$)", "", text).replace("\xa0", " ")
    text = regex.sub(r"\(\s*[/,;]*\s*\)", "", text)
    return regex.sub(r"\s+", " ", regex.sub(r"\s+([,.;:)])", r"\1", text)).strip()


def read_recipes(path: Path, mend: Callable[[str], str] = clean) -> list[Recipe]:
    """Recipes of at least two steps and two ingredients from a file in the Wikibooks schema."""
    recipes = []
    for entry in json.loads(path.read_text("utf-8")).values():
        lines = tuple(filter(None, map(mend, entry["ingredients"])))
        steps = tuple(filter(None, map(mend, entry["steps"])))
        if len(lines) >= 2 and len(steps) >= 2:
            recipes.append(Recipe(mend(entry["title"]), entry["category"] or "", lines, steps))
    return recipes


def pieces(text: str, size: int = 2000) -> list[str]:
    """A long text as paragraphs of about `size` characters together."""
    out = [""]
    for paragraph in text.split("\n"):
        if len(out[-1]) > size:
            out.append("")
        out[-1] += paragraph.strip() + "\n"
    return [p for p in out if len(p) > 40]


def read_leads(path: Path, mend: Callable[[str], str] = clean) -> list[str]:
    """Titles and first paragraphs from a file in the schema of the encyclopedia."""
    entries = json.loads(path.read_text("utf-8")).values()
    return [f"{entry['title']}\n\n{mend(entry['extract'])}\n" for entry in entries]


def _speeches(folder: Path) -> list[str]:
    files = sorted(folder.rglob("*.txt"))
    return [p for f in files for p in pieces(f.read_text("utf-8", "replace"))]


@cache
def _python() -> list[str]:
    """Documentation strings of Python's own library, each with the code it belongs to."""
    texts = []
    for path in sorted(Path(sysconfig.get_path("stdlib")).glob("*.py")):
        source = path.read_text("utf-8", "replace")
        lines = source.splitlines()
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and ast.get_docstring(node):
                code = textwrap.dedent("\n".join(lines[node.lineno - 1 : node.end_lineno]))
                texts.append(code[:2000] + "\n")
    return texts


def read_source(name: str, mend: Callable[[str], str] = clean) -> tuple[list, bool]:
    """All documents of a class source, and whether they are the source's own.

    Recipes come as `Recipe`, the others as text; mend: what is done to each line, `str` for
    nothing.  Where a source cannot be had, our own house texts stand in for it (False); the reason
    has been printed.
    """
    house = artifacts.data_dir() / "house"
    if name == "python":
        return _python(), True
    folder = source_path(name)
    if name == "recipes":
        found = sorted(folder.rglob("recipes_en-us.json")) if folder else []
        return read_recipes(found[0] if found else house / "recipes.json", mend), bool(found)
    if folder is None:
        return read_leads(house / "encyclopedia.json", mend), False
    if name == "encyclopedia":
        return read_leads(next(folder.rglob("summaries_en-us.json")), mend), True
    return _speeches(folder), True


# --- Checking: twins and the split ----------------------------------------------------------


def shingles(text: str) -> np.ndarray:
    """Hashes of all runs of three words, lower case: (runs,) of uint64."""
    words = regex.findall(r"\w+", text.lower())
    h = np.array([zlib.crc32(w.encode()) for w in words] + [0, 0], dtype=np.uint64)
    return h[:-2] * np.uint64(0x9E3779B97F4A7C15) + h[1:-1] * np.uint64(0xC2B2AE3D27D4EB4F) + h[2:]


def minhash(text: str, n_hashes: int = 64) -> np.ndarray:
    """The smallest value of `n_hashes` random hashes over a text's shingles: (n_hashes,).

    Two texts agree in a place with the probability of their Jaccard similarity.  Broder 1997.
    """
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 2**64, (2, n_hashes, 1), dtype=np.uint64)
    return ((a | np.uint64(1)) * shingles(text) + b).min(axis=1, initial=2**64 - 1)


def twins(texts: list[str], threshold: float = 0.5, band: int = 4) -> set[int]:
    """Indices of the texts that nearly repeat an earlier one (estimated Jaccard >= threshold).

    Locality-sensitive hashing: only texts that agree in a whole band are compared.
    Leskovec et al. 2020, section 3.4.
    """
    signatures = np.stack([minhash(t) for t in texts])  # (documents, hashes)
    buckets, out = defaultdict(list), set()
    for i, signature in enumerate(signatures):
        keys = [(j, signature[j : j + band].tobytes()) for j in range(0, len(signature), band)]
        rivals = {r for key in keys for r in buckets[key]}
        if any((signatures[r] == signature).mean() >= threshold for r in rivals):
            out.add(i)
            continue
        for key in keys:
            buckets[key].append(i)
    return out


@dataclass(frozen=True)
class Corpus:
    """What the line reads.  `sources` counts what was read, kept as twins, held out."""

    recipes: list[Recipe]
    held_out: list[Recipe]
    texts: dict[str, list[str]]  # the other sources' training documents
    figures: dict[str, dict]

    @classmethod
    def from_dict(cls, fields: dict) -> "Corpus":
        """The inverse of `asdict`, also after JSON has made lists of all tuples."""
        recipes, held_out = (
            [Recipe(**{**r, "ingredients": tuple(r["ingredients"]), "steps": tuple(r["steps"])})
             for r in fields[name]]
            for name in ("recipes", "held_out")
        )  # fmt: skip
        return cls(recipes, held_out, fields["texts"], fields["figures"])

    def hash(self) -> str:
        """A hash over all training text: equal hashes, equal data."""
        parts = [r.text() for r in self.recipes] + [t for ts in self.texts.values() for t in ts]
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


@cache
def load_corpus(
    sources: tuple[str, ...] = ("recipes", "encyclopedia", "speeches", "python"),
) -> Corpus:
    """What `read_corpus` gives, from the cache where nothing has changed: read once a machine."""
    path = artifacts.cache_dir() / f"corpus-{'-'.join(sources)}.json"
    made_of = _fingerprint(sources)
    with contextlib.suppress(LabError, LookupError, TypeError, ValueError):  # else: read again
        kept = artifacts.read_json(path)
        if kept["made_of"] == made_of:
            return Corpus.from_dict(kept["corpus"])
    corpus = read_corpus(sources)
    with contextlib.suppress(LabError):  # a full disk costs the next process these seconds
        kept = {"made_of": made_of, "corpus": asdict(corpus)}
        artifacts.write_atomic(path, json.dumps(kept, ensure_ascii=False))
    return corpus


def _fingerprint(sources: tuple[str, ...]) -> str:
    """A hash of all that makes a corpus: the code that cleans and splits, this Python, the files
    that are read."""
    code = (Path(__file__), artifacts.PACKAGE / "sources.py")
    sums = [sys.version, *map(artifacts.sha256_file, code)]
    for name in sources:
        folder = source_path(name) or artifacts.data_dir() / "house"
        files = sorted(folder.rglob("*.json")) if name != "python" else []
        sums += [name, *map(artifacts.sha256_file, files)]
    return artifacts.text_hash("\n".join(sums))


def read_corpus(sources: tuple[str, ...]) -> Corpus:
    """Read, clean, free of twins and split the sources."""
    recipes, held_out, texts, figures = [], [], {}, {}
    for name in sources:
        documents, own = read_source(name)
        as_text = [d.text() if isinstance(d, Recipe) else d for d in documents]
        drop = twins(as_text)
        kept = [(d, t) for i, (d, t) in enumerate(zip(documents, as_text, strict=True))
                if i not in drop and len(t) > 80]  # fmt: skip
        train = [d for d, t in kept if not is_validation(t)]
        figures[name] = {
            "documents": len(documents),
            "twins": len(drop),
            "bytes": sum(len(t.encode()) for _, t in kept),
            "training_documents": len(train),
            "held_out_documents": len(kept) - len(train),
            "own_text_instead": not own,
        }
        if name == "recipes":
            recipes, held_out = train, [d for d, t in kept if is_validation(t)]
        else:
            texts[name] = train
    return Corpus(recipes, held_out, texts, figures)


# --- Layouts: the same recipe, told in many ways --------------------------------------------


def recipe_layout(recipe: Recipe, rng: random.Random) -> str:
    """A whole recipe as a page: plain half of the time, else with the foods told elsewhere."""
    names = kitchen.names(kitchen.foods_in("\n".join(recipe.ingredients)))
    if not names or rng.random() < 0.5:
        return recipe.text()
    lines = "\n".join(f"- {line}" for line in recipe.ingredients)
    steps = "\n".join(f"{i}. {step}" for i, step in enumerate(recipe.steps, 1))
    return rng.choice(
        (
            f"{recipe.title}\nUses: {', '.join(names)}\n\nIngredients:\n{lines}\n\n{steps}\n",
            f"Ingredients:\n{lines}\n\n{recipe.title}\n\n{steps}\n",
            f"Uses: {', '.join(names)}\n\n{recipe.title}\n\n{steps}\n",
        )
    )


def card_layout(card: kitchen.Card, rng: random.Random) -> str:
    """A card as a line of a page on which the foods stand before they are needed again."""
    asked = tuple(rng.sample(card.foods, rng.randint(1, min(3, len(card.foods)))))
    card, few = card.asked_first(asked), kitchen.and_list(kitchen.names(asked))
    foods, kind = ", ".join(f.name for f in card.foods), kitchen.dish_kind(card.title) or "dish"
    return rng.choice(
        (
            f"Shopping list: {foods}\n{card.title} needs {foods}.\n",
            f"Q: What goes with {few}?\nA: {card.title}. You need {foods}.\n",
            f"Foods ({len(card.foods)}): {foods}\nIn the bowl: {foods}.\n",
            f"In the kitchen: {few}.\n{card.title}: {foods}.\n",
            f"Wanted: a {kind}.\n{card.title}: {foods}.\n",
        )
    )


@dataclass(frozen=True)
class Template:
    """A recipe parsed once, so that swapping its foods costs a join."""

    title: list
    ingredients: list[list]
    steps: list[list]
    recipe: Recipe
    foods: list[kitchen.Food]

    @classmethod
    def of(cls, recipe: Recipe) -> "Template":
        lines, steps = ([kitchen.parse(x) for x in xs] for xs in (recipe.ingredients, recipe.steps))
        foods = kitchen.foods_in(recipe.text())
        return cls(kitchen.parse(recipe.title), lines, steps, recipe, foods)

    def swapped(self, rng: random.Random, rate: float) -> Recipe:
        swaps = kitchen.draw_swaps(self.foods, rng, rate)
        title, *rest = (
            kitchen.render(p, swaps) for p in (self.title, *self.ingredients, *self.steps)
        )
        n = len(self.ingredients)
        return Recipe(title, self.recipe.category, tuple(rest[:n]), tuple(rest[n:]))


# --- Balancing: a mixture, cut into rows ----------------------------------------------------


class Mixture:
    """Endless training rows, mixed by weight; any row can be made again from its number.

    weights: source -> share of tokens; "cards" are made from the recipes.  encoding: tiktoken's.
    `batch(step)` is a pure function of seed and step, so a resumed run needs no state of ours.
    """

    SHARD = 1 << 19  # tokens made at a time

    def __init__(self, corpus: Corpus, encoding, weights: dict, seed: int, swap_rate: float = 0.5):
        self.corpus, self.encoding, self.weights = corpus, encoding, weights
        self.seed, self.swap_rate = seed, swap_rate
        self.templates = [Template.of(r) for r in corpus.recipes]
        self.cards = [c for c in (r.card() for r in corpus.recipes) if c]
        self._shard: tuple[tuple, Tensor] | None = None  # what it was made for, and its rows

    def epochs(self, tokens: int) -> float:
        """How often a run of so many tokens reads each recipe, in one layout or another."""
        ids = self.encoding.encode_ordinary_batch([r.text() for r in self.corpus.recipes])
        share = self.weights["recipes"] / sum(self.weights.values())
        return share * tokens / sum(map(len, ids))

    def hash(self) -> str:
        """Equal hashes, equal texts."""
        return self.corpus.hash()

    def document(self, source: str, rng: random.Random) -> str:
        """One document of a source, in a random layout where it is a recipe or a card."""
        rate = self.swap_rate if rng.random() < 0.5 else 0.0
        if source == "recipes":
            return recipe_layout(rng.choice(self.templates).swapped(rng, rate), rng)
        if source == "cards":
            return card_layout(rng.choice(self.cards).swapped(rng, 0.7), rng)
        return rng.choice(self.corpus.texts[source])

    def shard(self, k: int) -> Tensor:
        """The k-th run of about SHARD ids: documents in random order, each ended by <|end|>."""
        rng = random.Random(f"{self.seed}/{k}")
        end = self.encoding.encode_single_token(END)
        documents = []
        for source, weight in self.weights.items():
            room = weight / sum(self.weights.values()) * self.SHARD
            while room > 0:
                texts = [self.document(source, rng) for _ in range(64)]
                for ids in self.encoding.encode_ordinary_batch(texts, num_threads=2):
                    room -= len(ids) + 1
                    documents.append([*ids, end])
                    if room <= 0:
                        break
        rng.shuffle(documents)
        flat = [i for ids in documents for i in ids]
        return torch.tensor(flat, dtype=torch.int32)

    def batch(self, step: int, batch: int, seq_len: int) -> Tensor:
        """Rows for a step: (batch, seq_len + 1) ids, each shard's rows in random order.

        LabError where a step asks for more than a shard holds.
        """
        if batch * (seq_len + 1) > self.SHARD:
            raise LabError(
                f"A step of {batch:,} rows of {seq_len + 1:,} ids is more than the {self.SHARD:,} "
                "that are made at a time. Nothing was trained: choose a smaller pretraining_batch."
            )
        per_shard = self.SHARD // (seq_len + 1) // batch  # batches in a shard
        k, i = divmod(step, per_shard)
        if self._shard is None or self._shard[0] != (k, batch, seq_len):
            ids = self.shard(k)
            rows = ids[: per_shard * batch * (seq_len + 1)].view(-1, seq_len + 1)
            order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(k))
            self._shard = ((k, batch, seq_len), rows[order])
        return self._shard[1][i * batch : (i + 1) * batch].long()


def run(lab, on_step=None) -> dict:
    """The stage: read, clean, free of twins, split.  Returns figures for the report."""
    start = time.monotonic()
    corpus = load_corpus(lab.profile.sources)
    totals = {
        key: sum(f[key] for f in corpus.figures.values())
        for key in ("documents", "twins", "bytes", "training_documents", "held_out_documents")
    }
    return {**totals, "hash": corpus.hash(), "sources": corpus.figures,
            "seconds": time.monotonic() - start}  # fmt: skip
