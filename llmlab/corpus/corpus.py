"""The text that a class reads: read, cleaned, split into training and validation."""

import ast
import contextlib
import hashlib
import json
import sys
import sysconfig
import textwrap
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

import regex

from llmlab import artifacts, kitchen
from llmlab.artifacts import LabError
from llmlab.corpus.dedup import near_duplicates
from llmlab.corpus.sources import is_validation, source_path

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


def clean(text: str) -> str:
    """One line of source text without the holes that formulas and links left in it.

    It takes time in proportion to the text: white space is made single before patterns with white
    space in them are tried, and a line with a <ref that nothing closes is read once.
    """
    text = regex.sub(r"<ref.*?(?:</ref>|/>|$)|(<ref.*)", r"\1", text)
    text = regex.sub(r"\( ?[/,;]* ?\)", "", regex.sub(r"\s+", " ", text))
    return regex.sub(r" ([,.;:)])", r"\1", regex.sub(r" +", " ", text)).strip()


def read_recipes(path: Path, clean_line: Callable[[str], str] = clean) -> list[Recipe]:
    """Recipes of at least two steps and two ingredients from a file in the Wikibooks schema."""
    recipes = []
    for entry in json.loads(path.read_text("utf-8")).values():
        lines = tuple(filter(None, map(clean_line, entry["ingredients"])))
        steps = tuple(filter(None, map(clean_line, entry["steps"])))
        if len(lines) >= 2 and len(steps) >= 2:
            recipes.append(
                Recipe(clean_line(entry["title"]), entry["category"] or "", lines, steps)
            )
    return recipes


def chunks(text: str, size: int = 2000) -> list[str]:
    """A long text as paragraphs of about `size` characters together."""
    out = [""]
    for paragraph in text.split("\n"):
        if len(out[-1]) > size:
            out.append("")
        out[-1] += paragraph.strip() + "\n"
    return [p for p in out if len(p) > 40]


def lead_paragraphs(path: Path, clean_line: Callable[[str], str] = clean) -> list[str]:
    """Titles and first paragraphs from a file in the schema of the encyclopedia."""
    entries = json.loads(path.read_text("utf-8")).values()
    return [f"{entry['title']}\n\n{clean_line(entry['extract'])}\n" for entry in entries]


def _speeches(folder: Path) -> list[str]:
    files = sorted(folder.rglob("*.txt"))
    return [p for f in files for p in chunks(f.read_text("utf-8", "replace"))]


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


def read_source(name: str, clean_line: Callable[[str], str] = clean) -> tuple[list, bool]:
    """All documents of a class source, and whether they are the source's own.

    Recipes come as `Recipe`, the others as text; clean_line: what is done to each line, `str` for
    nothing.  Where a source cannot be had, our own house texts stand in for it (False); the reason
    has been printed.
    """
    house = artifacts.data_dir() / "house"
    if name == "python":
        return _python(), True
    folder = source_path(name)
    if name == "recipes":
        found = sorted(folder.rglob("recipes_en-us.json")) if folder else []
        return read_recipes(found[0] if found else house / "recipes.json", clean_line), bool(found)
    if folder is None:
        return lead_paragraphs(house / "encyclopedia.json", clean_line), False
    if name == "encyclopedia":
        return lead_paragraphs(next(folder.rglob("summaries_en-us.json")), clean_line), True
    return _speeches(folder), True


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
    code = sorted(Path(__file__).parent.glob("*.py"))
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
        drop = near_duplicates(as_text)
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
