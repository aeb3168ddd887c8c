"""Stage 3, embedding: ids become vectors, and training gives the vectors a meaning."""

import time
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from llmlab import artifacts, kitchen
from llmlab.artifacts import LabError
from llmlab.core.tokenizer import BPE
from llmlab.lab import Lab


def word_vectors(matrix: Tensor, tokenizer: BPE, words: Sequence[str]) -> Tensor:
    """A direction for each word: the mean of its tokens' rows, less the mean of all rows.

    matrix: (V, dim) -> (words, dim), each of length 1.  What all rows share says nothing about
    one of them, so it goes (Mu & Viswanath 2018, section 2).
    """
    rows = [matrix[tokenizer.encode(f" {word}")].mean(0) for word in words]
    return F.normalize(torch.stack(rows) - matrix.mean(0), dim=1)


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


def chance(labels: Sequence[str]) -> float:
    """What `same_rate` is on average when each row's neighbour is drawn by lot."""
    others = len(labels) - 1
    return sum(list(labels).count(label) - 1 for label in labels) / others / len(labels)


def plane(vectors: Tensor) -> Tensor:
    """The two directions in which the rows differ most: (n, dim) -> (dim, 2); rows @ it is a map.

    Principal component analysis, Hotelling 1933.  The row that lies farthest out along a
    direction lies on its positive side, else the sign would differ from machine to machine.
    """
    centred = vectors - vectors.mean(0)
    directions = torch.linalg.svd(centred, full_matrices=False).Vh[:2].T  # (dim, 2)
    flat = centred @ directions
    return directions * flat.gather(0, flat.abs().argmax(0, keepdim=True)).sign()


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
    tensors, meta = artifacts.load_checkpoint(path)
    return {
        step: tensors[f"step/{step:07d}"].float() * tensors[f"scale/{step:07d}"]
        for step in meta["steps"]
    }


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
        "chance": chance(families),
        "same_kind_rate": same_rate(vectors, kinds),
        "chance_kind": chance(kinds),
        "seconds": time.monotonic() - start,
    }
