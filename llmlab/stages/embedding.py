"""Stage 3, embedding: ids become vectors, and training gives the vectors a meaning."""

import re
import time
from collections.abc import Iterable, Sequence
from itertools import permutations

import torch
import torch.nn.functional as F
from torch import Tensor

from llmlab import checkpoint, kitchen
from llmlab.artifacts import LabError
from llmlab.core.tokenizer import BPE
from llmlab.corpus import sources
from llmlab.hub import gguf
from llmlab.lab import Lab

# --- Words as directions --------------------------------------------------------------------


def directions(rows: Tensor, matrix: Tensor) -> Tensor:
    """Where rows of a matrix point, seen from the mean of all its rows.

    rows: (n, dim); matrix: (V, dim) -> (n, dim), each of length 1.  What all rows share says
    nothing about one of them, so it goes (Mu & Viswanath 2018, section 2).
    """
    return F.normalize(rows - matrix.mean(0), dim=1)


def word_vectors(matrix: Tensor, tokenizer: BPE, words: Sequence[str]) -> Tensor:
    """A direction for each word, by the mean of its tokens' rows: (V, dim) -> (words, dim)."""
    rows = [matrix[tokenizer.encode(f" {word}")].mean(0) for word in words]
    return directions(torch.stack(rows), matrix)


def whole_words(tokens: Iterable[str], pattern: str = "[a-z]{3,}") -> dict[str, int]:
    """Word -> id of each token that is a space and a word of that pattern.

    Some are still pieces, such as " popul": a vocabulary does not say which of its tokens are
    words.
    """
    found = ((re.fullmatch(f" ({pattern})", token), i) for i, token in enumerate(tokens))
    return {match[1]: i for match, i in found if match}


def neighbours(vectors: Tensor, i: int, n: int = 5) -> list[int]:
    """The n rows with the greatest cosine to row i, nearest first, without i itself.

    vectors: (rows, dim), each of length 1; of equals the earlier row comes first.
    """
    order = (vectors @ vectors[i]).argsort(descending=True, stable=True)  # (rows,)
    return order[order != i][:n].tolist()


def same_rate(vectors: Tensor, labels: Sequence[str]) -> float:
    """Share of rows whose nearest neighbour bears the same label, in [0, 1]."""
    hits = [labels[neighbours(vectors, i, 1)[0]] == label for i, label in enumerate(labels)]
    return sum(hits) / len(hits)


def chance_rate(labels: Sequence[str]) -> float:
    """What `same_rate` is on average when each row's neighbour is drawn by lot."""
    others = len(labels) - 1
    return sum(list(labels).count(label) - 1 for label in labels) / others / len(labels)


# --- Analogies ------------------------------------------------------------------------------


def analogy(vectors: Tensor, a: int, b: int, c: int, n: int = 5, query: bool = False) -> list[int]:
    """The n rows nearest to a - b + c, nearest first: what is to c as a is to b?

    vectors: (rows, dim), each of length 1; a, b, c: numbers of rows.  query: whether these three
    may be answers too.  Mikolov et al. 2013 leave them out; Linzen 2016 shows what that hides.
    """
    target = F.normalize(vectors[a] - vectors[b] + vectors[c], dim=0)  # (dim,)
    order = (vectors @ target).argsort(descending=True, stable=True)[: n + 3].tolist()
    return [i for i in order if query or i not in (a, b, c)][:n]


def analogy_rates(
    vectors: Tensor, words: Sequence[str], pairs: Sequence[tuple[str, str]]
) -> dict[str, float]:
    """How many analogies between pairs of one relation come out, as shares in [0, 1].

    pairs: such as ("cup", "cups"); each is asked of each other one: cups - cup + egg = eggs?
    "all words" lets every word be the answer, "query left out" all but the three given;
    "no arithmetic" is the nearest word to the third, with the three left out (Linzen 2016).
    """
    place = {word: i for i, word in enumerate(words)}
    known = [(place[a], place[b]) for a, b in pairs]
    hits = {"all words": 0, "query left out": 0, "no arithmetic": 0}
    asked = [(*one, *other) for one, other in permutations(known, 2) if not set(one) & set(other)]
    for b, a, c, wanted in asked:
        near = [i for i in neighbours(vectors, c, 3) if i not in (a, b)]
        hits["all words"] += analogy(vectors, a, b, c, 1, query=True) == [wanted]
        hits["query left out"] += analogy(vectors, a, b, c, 1) == [wanted]
        hits["no arithmetic"] += near[0] == wanted
    return {name: number / len(asked) for name, number in hits.items()}


# --- Maps -----------------------------------------------------------------------------------


def plane(vectors: Tensor) -> Tensor:
    """The two directions in which the rows differ most: (n, dim) -> (dim, 2); rows @ it is a map.

    Principal component analysis, Hotelling 1933.  The row that lies farthest out along a
    direction lies on its positive side, else the sign would differ from machine to machine.
    """
    centred = vectors - vectors.mean(0)
    directions = torch.linalg.svd(centred, full_matrices=False).Vh[:2].T  # (dim, 2)
    flat = centred @ directions
    return directions * flat.gather(0, flat.abs().argmax(0, keepdim=True)).sign()


def tsne(vectors: Tensor, perplexity: float = 10, seed: int = 0) -> Tensor:
    """A map that keeps neighbours together: (n, dim) -> (n, 2), the farthest point at 1.

    t-SNE, van der Maaten & Hinton 2008, begun at random places.  perplexity: about how many
    neighbours a point has.
    """
    from sklearn.manifold import TSNE

    made = TSNE(perplexity=perplexity, random_state=seed, init="random")
    flat = torch.from_numpy(made.fit_transform(vectors.numpy()))
    return flat / flat.norm(dim=1).max()


def neighbours_kept(vectors: Tensor, flat: Tensor, n: int = 5) -> float:
    """Share of each point's n nearest in the full space that are among its n nearest on a map.

    vectors: (rows, dim); flat: (rows, 2); in [0, 1], by lot n / (rows - 1).
    """
    true, drawn = (_nearest(points, n) for points in (vectors, flat))
    return (true[:, :, None] == drawn[:, None]).any(2).float().mean().item()


def _nearest(points: Tensor, n: int) -> Tensor:
    """Each point's n nearest, itself left out: (rows, dim) -> (rows, n)."""
    distances = torch.cdist(points, points).fill_diagonal_(torch.inf)
    return distances.argsort(dim=1, stable=True)[:, :n]


def distance_correlation(vectors: Tensor, flat: Tensor) -> float:
    """Whether pairs that are farther apart in the full space are so on a map, in [-1, 1].

    Spearman 1904: the correlation of the ranks of all distances.
    """
    from scipy.stats import spearmanr

    distances = [torch.pdist(points).cpu() for points in (vectors, flat)]
    return float(spearmanr(*distances).statistic)


# --- The base's own table, and a real one ---------------------------------------------------


def snapshots(lab: Lab) -> dict[int, Tensor]:
    """The shipped base's token matrix by training step: step -> (V, dim), in fp32.

    Each row was kept in 8 bits and a scale.  Raises LabError when the file is not there.
    """
    path = lab.shipped("base").with_name("base-snapshots.safetensors")
    if not path.exists():
        raise LabError(
            f"{path.name}, the token matrix by training step, is not in {path.parent}. "
            "The rest of the notebook does not need it; fetch the repository anew to have it."
        )
    tensors, meta = checkpoint.load_checkpoint(path)
    return {
        step: tensors[f"step/{step:07d}"].float() * tensors[f"scale/{step:07d}"]
        for step in meta["steps"]
    }


def smollm2() -> tuple[Tensor, list[str]]:
    """A real model's token matrix (V, dim) in fp32, and its V tokens; 93 MB to fetch, once.

    LabError where the package gguf is not installed, or the model cannot be had.
    """
    gguf.reader_class()  # before 93 MB are fetched
    (path,) = sources.fetch(sources.sources()["smollm2"]).rglob("*.gguf")
    reader = gguf.opened(path)
    stored = next(t for t in reader.tensors if t.name == "token_embd.weight")
    # GPT-2's sign for a space
    return gguf.tensor(stored), [t.replace("\u0120", " ") for t in gguf.tokens(reader)]


def run(lab: Lab, on_step=None) -> dict:
    """The stage: do foods of a family lie together in the shipped base's token matrix?

    Kinds are finer than families, and only families are what training swaps foods within.
    """
    start = time.monotonic()
    model, tokenizer, _ = lab.latest("base", mine=False)
    foods = list(kitchen.FOODS.values())
    matrix = model.embed.weight.detach().float().cpu()
    vectors = word_vectors(matrix, tokenizer, kitchen.names(foods))
    families, kinds = [f.family for f in foods], [f.kind for f in foods]
    return {
        "foods": len(foods),
        "same_family_rate": same_rate(vectors, families),
        "chance": chance_rate(families),
        "same_kind_rate": same_rate(vectors, kinds),
        "chance_kind": chance_rate(kinds),
        "seconds": time.monotonic() - start,
    }
