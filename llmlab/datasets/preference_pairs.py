"""Comparisons of answers at size: UltraFeedback's and HelpSteer2's, as pairs for a reward model.

Of UltraFeedback's pairs GPT-4's scores are the judge, of HelpSteer2's people's marks.
"""

import itertools
import math
import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from llmlab.artifacts import LabError
from llmlab.chat import ChatTemplate
from llmlab.datasets import hub_datasets

if TYPE_CHECKING:
    from datasets import Dataset

Compared = tuple[str, str, str]  # request, better answer, worse answer


@dataclass(frozen=True)
class Pair:
    """Two answers to one request; the chosen one first."""

    request: str
    chosen: list[int]
    rejected: list[int]
    true_order: bool | None  # whether the taste without noise agrees; None: it has no say


def ultrafeedback(rows: "Dataset", i: int) -> Compared | None:
    """A row's two answers; None where they have equal scores."""
    row = rows[i]
    margin = _margin(row["score_chosen"], row["score_rejected"])
    better, worse = (row[side][-1]["content"] for side in ("chosen", "rejected"))
    if not margin:
        return None
    return (row["prompt"], better, worse) if margin > 0 else (row["prompt"], worse, better)


def helpsteer2(rows: "Dataset", i: int) -> Compared | None:
    """Two rows that follow each other answer one prompt; None where both are as helpful, and for
    a conversation of several turns, which a `Pair` has no place for."""
    first, second = rows[2 * i], rows[2 * i + 1]
    margin = _margin(first["helpfulness"], second["helpfulness"])
    if first["prompt"] != second["prompt"]:
        raise ValueError(f"rows {2 * i} and {2 * i + 1} have different prompts")
    if not margin or "<extra_id_1>" in first["prompt"]:
        return None
    better, worse = (first, second) if margin > 0 else (second, first)
    return first["prompt"], better["response"], worse["response"]


def _margin(first: float, second: float) -> float:
    """By how much the first score is higher.  ValueError for what is no finite number."""
    if not math.isfinite(first - second):
        raise ValueError(f"a score is no number: {first}, {second}")
    return first - second


def _check_texts(compared: Compared) -> Compared:
    """TypeError where a request or an answer is no text."""
    for part in compared:
        if not isinstance(part, str):
            raise TypeError(f"{str(part)[:40]} is no text")
    return compared


# How a data set's comparisons are read, and how many rows each of them takes.
READ = {"ultrafeedback": (ultrafeedback, 1), "helpsteer2": (helpsteer2, 2)}


@dataclass(frozen=True)
class Comparisons:
    """Comparisons to be drawn, beside the kitchen's own.

    rows: name of a data set -> (its share of all pairs, its rows).  room: ids that a request and
    an answer may have together.  test: of those whose test split is here, its rows.
    """

    rows: dict[str, tuple[float, "Dataset"]]
    chat: ChatTemplate
    room: int
    test: dict[str, "Dataset"] = field(default_factory=dict)

    @property
    def share(self) -> float:
        """Of all pairs, how many are not the kitchen's."""
        return sum(share for share, _ in self.rows.values())

    def draw(self, n: int, seed: int) -> list[Pair]:
        """n pairs, each data set's by its share, fewer where there are not so many that fit.

        A pair whose request and longer answer have no room is left out: cut, it would be another
        comparison.
        """
        pairs = []
        for name, (share, rows) in self.rows.items():
            pairs += self._drawn(name, rows, round(n * share / self.share), seed)
        return pairs

    def held_out(self, n: int = 500) -> dict[str, list[Pair]]:
        """n pairs, or as many as fit, of each data set whose test split is on this machine."""
        return {name: self._drawn(name, rows, n, seed=0) for name, rows in self.test.items()}

    def _drawn(self, name: str, rows: "Dataset", n: int, seed: int) -> list[Pair]:
        read, width = READ[name]
        count = len(rows) // width
        order = random.Random(f"{name}/{seed}").sample(range(count), count)
        found = (self._pair(name, read, rows, i) for i in order)
        return list(itertools.islice(filter(None, found), n))

    def _pair(self, name: str, read, rows: "Dataset", i: int) -> Pair | None:
        try:
            compared = _check_texts(read(rows, i) or ())
        except (LookupError, TypeError, AttributeError, ValueError) as error:
            raise LabError(
                f"Comparison {i} of {name} cannot be read ({error!r}). Nothing was trained: look "
                "at its files, or leave it out of the profile's data sets."
            ) from None
        if not compared:
            return None
        request, better, worse = compared
        chosen, rejected = map(self.chat.answer, (better, worse))
        longest = len(self.chat.prompt(request)) + max(len(chosen), len(rejected))
        return Pair(request, chosen, rejected, None) if longest <= self.room else None


def load_comparisons(
    shares: dict[str, float], folder: Path | None, chat: ChatTemplate, room: int
) -> Comparisons | None:
    """The comparisons of a profile's data sets; of those that cannot be had the reason is printed.
    None where there are none."""
    found, test = {}, {}
    for source, share in hub_datasets.of_stage("reward", shares).items():
        if (rows := hub_datasets.or_none(source, folder)) is not None:
            found[source.name] = share, rows
            if (rows := hub_datasets.test_rows(source, folder)) is not None:
                test[source.name] = rows
    return Comparisons(found, chat, room, test) if found else None
