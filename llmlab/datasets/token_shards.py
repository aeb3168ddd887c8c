"""Text at size, tokenised once into files of ids: mapped into memory, never read as a whole.

Which ids a step reads depends on seed and step alone.  So a run goes on where it stopped with no
state of its own, on another number of processes too, and within an epoch nothing is read twice.
"""

import hashlib
import math
import random
from bisect import bisect_right
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from llmlab import artifacts
from llmlab.artifacts import LabError
from llmlab.corpus.mixture import Mixture

MANIFEST = "shards.json"


class Reader:
    """Rows of ids by number; what a `WeightedMixture` is made of."""

    def row(self, number: int, seq_len: int) -> Tensor:
        """The `number`-th row of all that are read: (seq_len + 1,) ids."""
        raise NotImplementedError

    def batch(self, step: int, batch: int, seq_len: int) -> Tensor:
        """Rows of a step, by their numbers in the whole run: (batch, seq_len + 1) ids."""
        numbers = range(step * batch, (step + 1) * batch)
        return torch.stack([self.row(number, seq_len) for number in numbers])

    def epochs(self, tokens: float) -> float:
        """How often a run of so many tokens reads the text."""
        raise NotImplementedError

    def hash(self) -> str:
        """Equal hashes, equal text."""
        raise NotImplementedError


def random_permutation(i: int, n: int, key: str) -> int:
    """Where i goes in a permutation of range(n) that the key chooses, without a table of it.

    A Feistel network (Luby & Rackoff 1988) over the next even number of bits, gone through again
    until the result is below n (Black & Rogaway 2002).
    """
    half = max(1, math.ceil((n - 1).bit_length() / 2))
    low = (1 << half) - 1
    while True:
        left, right = i >> half, i & low
        for turn in range(4):
            digest = hashlib.blake2b(f"{key}/{turn}/{right}".encode(), digest_size=8).digest()
            left, right = right, left ^ (int.from_bytes(digest) & low)
        i = left << half | right
        if i < n:
            return i


class TokenDataset(Reader):
    """The ids of one data set, cut into windows; each epoch has an order and a cut of its own.

    folder: what `prepare` wrote.  LabError where it is not whole.  The ids of all files are one
    ring: an epoch cuts it, at a place that the seed chooses, into as many windows as go into it,
    and what is left over is less than a window.
    """

    def __init__(self, folder: Path, seed: int):
        self.folder, self.seed = folder, seed
        self.manifest = artifacts.read_json(folder / MANIFEST)
        dtype = np.dtype(self.manifest["dtype"])
        self.maps, self.starts, self.tokens = [], [], 0
        for name, count in self.manifest["files"].items():
            self._check(folder / name, count * dtype.itemsize)
            self.maps.append(np.memmap(folder / name, dtype, mode="r", shape=(count,)))
            self.starts.append(self.tokens)
            self.tokens += count

    def _check(self, path: Path, size: int) -> None:
        there = path.stat().st_size if path.is_file() else 0
        if there != size:
            raise LabError(
                f"{path} is not whole: {there:,} bytes of {size:,}. Remove the folder {path.parent}"
                ", and the text is tokenised again."
            )

    def hash(self) -> str:
        """Equal hashes, equal ids."""
        return self.manifest["key"]

    def held_out(self) -> list[str]:
        """The documents that are not in it."""
        return artifacts.read_json(self.folder / "held_out.json")

    def ids_per_document(self) -> float:
        """Ids of a document on average."""
        return self.manifest["ids"] / self.manifest["documents"]

    def bytes_per_token(self) -> float:
        """Bytes of UTF-8 that an id stands for on average."""
        return self.manifest["bytes"] / self.manifest["ids"]

    def windows(self, seq_len: int) -> int:
        """How many windows of seq_len + 1 ids an epoch has; LabError where there is none."""
        if self.tokens <= seq_len:
            raise LabError(
                f"{self.folder} holds {self.tokens:,} ids, and a window has {seq_len + 1:,}. "
                "Tokenise more text, or choose a shorter seq_len."
            )
        return self.tokens // (seq_len + 1)

    def row(self, number: int, seq_len: int) -> Tensor:
        """The window that is read as the `number`-th of all epochs: (seq_len + 1,) ids."""
        epoch, i = divmod(number, self.windows(seq_len))
        key = f"{self.seed}/{epoch}"
        cut = random.Random(f"{key}/cut").randrange(self.tokens)
        at = cut + random_permutation(i, self.windows(seq_len), key) * (seq_len + 1)
        return torch.from_numpy(self.ids(at, seq_len + 1))

    def ids(self, at: int, n: int) -> np.ndarray:
        """n ids from a place of the ring on: (n,) int64."""
        parts = []
        while n:
            at %= self.tokens
            k = bisect_right(self.starts, at) - 1
            parts.append(self.maps[k][at - self.starts[k] :][:n].astype(np.int64))
            at, n = at + len(parts[-1]), n - len(parts[-1])
        return np.concatenate(parts)

    def epochs(self, tokens: float) -> float:
        """How often a run of so many tokens reads the text."""
        return tokens / self.tokens


class KitchenRows(Reader):
    """The class's mixture, row by row."""

    def __init__(self, mixture: Mixture):
        self.mixture = mixture

    def row(self, number: int, seq_len: int) -> Tensor:
        """The `number`-th row that it makes: (seq_len + 1,) ids."""
        return self.mixture.batch(number, 1, seq_len)[0]

    def epochs(self, tokens: float) -> float:
        """How often a run of so many tokens reads each recipe."""
        return self.mixture.epochs(tokens)

    def hash(self) -> str:
        """Equal hashes, equal texts."""
        return self.mixture.corpus.hash()


class WeightedMixture(Reader):
    """Rows of several readers, mixed by weight.

    Of each CYCLE rows every reader gives the same number, by its weight, in an order that the seed
    chooses: a row's number says which reader it comes from, and which of its rows it is.
    """

    CYCLE = 1000

    def __init__(self, readers: dict[str, Reader], weights: dict[str, float], seed: int):
        total = sum(weights.values())
        self.readers, self.seed = readers, seed
        self.weights = {name: weight / total for name, weight in weights.items()}
        ends = [round(self.CYCLE * sum(list(self.weights.values())[: i + 1]))
                for i in range(len(weights))]  # fmt: skip
        self.counts = {n: b - a for n, a, b in zip(weights, [0, *ends], ends, strict=False)}
        self._cycle: tuple[int, list[tuple[str, int]]] | None = None

    def place(self, number: int) -> tuple[str, int]:
        """Which reader a row comes from, and which of the reader's rows it is."""
        cycle, i = divmod(number, self.CYCLE)
        if self._cycle is None or self._cycle[0] != cycle:
            names = [name for name, count in self.counts.items() for _ in range(count)]
            random.Random(f"{self.seed}/blend/{cycle}").shuffle(names)
            at, places = {name: cycle * count for name, count in self.counts.items()}, []
            for name in names:
                places.append((name, at[name]))
                at[name] += 1
            self._cycle = cycle, places
        return self._cycle[1][i]

    def row(self, number: int, seq_len: int) -> Tensor:
        """A row by its number: (seq_len + 1,) ids."""
        name, place = self.place(number)
        return self.readers[name].row(place, seq_len)

    def main(self) -> Reader:
        """The reader of the greatest weight."""
        return self.readers[max(self.weights, key=self.weights.get)]

    def epochs(self, tokens: float) -> float:
        """How often a run of so many tokens reads the main text."""
        return self.main().epochs(tokens * max(self.weights.values()))

    def hash(self) -> str:
        """Equal hashes, equal texts in equal shares."""
        parts = [(name, w, self.readers[name].hash()) for name, w in self.weights.items()]
        return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]
