"""The whole line: what each checkpoint is worth, how a run becomes one that ships, and the report
card of all models on the same requests."""

from dataclasses import dataclass
from statistics import mean

import torch

from llmlab import artifacts, checkpoint, kitchen
from llmlab.chat import ChatTemplate, score_model
from llmlab.core.model import Transformer
from llmlab.core.tokenizer import BPE
from llmlab.kitchen import ABILITIES, TASTE, Request, Score
from llmlab.lab import Lab

# --- The line, to be asked ------------------------------------------------------------------

# The models that answer, in the order of the notebooks, and their titles.
TITLES = {"base": "base", "sft": "SFT", "dpo": "DPO", "ppo": "PPO", "grpo": "GRPO", "last": "last"}


class PageTemplate(ChatTemplate):
    """How one asks a model that has never seen a chat: as the pages ask that it has read (see
    `mixture.card_layout`).  Its answer is the next line, and "You need" stands for a colon."""

    def prompt(self, request: str) -> list[int]:
        """<|end|>Q: request, a line break, A:"""
        return [self.end, *self.encode(f"Q: {request}\nA:")]

    def read(self, answer: list[int]) -> str:
        line = super().read(answer).strip().partition("\n")[0]
        return line.replace(". You need ", ": ", 1)


@dataclass(frozen=True)
class LineModel:
    """A model of the line, and how it is asked."""

    title: str
    model: Transformer
    chat: ChatTemplate
    meta: dict


def load_line(lab: Lab) -> dict[str, LineModel]:
    """The models that are there, by name: the learner's own where comparable, else the shipped.

    Prints which, and which are missing.  The base is the shipped one, from which the others come.
    """
    members, missing = {}, []
    for name, title in TITLES.items():
        try:
            model, tokenizer, meta = lab.latest(name, mine=name != "base")
        except artifacts.LabError:
            missing.append(title)
            continue
        chat = (PageTemplate if name == "base" else ChatTemplate)(tokenizer)
        members[name] = LineModel(title, model, chat, meta)
    if missing:
        print(f"Not there yet, and left out: {', '.join(missing)}.")
    return members


def parents(models: dict[str, LineModel]) -> dict[str, str | None]:
    """Of each model the one among these that it was trained from; None where that one is not here.

    A checkpoint holds the hash of the weights that it began with, so that a learner's own SFT model
    is never taken for the parent of a shipped one.
    """
    by_hash = {hashed: name for name, m in models.items() for hashed in hashes(m.model, m.meta)}
    return {name: by_hash.get(m.meta.get("from")) for name, m in models.items()}


def hashes(model: Transformer, meta: dict) -> set[str]:
    """What a child of this model may name it by: the hash of its weights, and of those that a
    shipped checkpoint had before they were rounded."""
    return {checkpoint.fingerprint(model), meta.get("unrounded", "")} - {""}


# --- The report card ------------------------------------------------------------------------


def ability_shares(model: Transformer, tokenizer: BPE, n: int = 300) -> dict[str, float]:
    """Ability -> the share of those that ask for it in the evaluation set and get it."""
    requests = kitchen.evaluation_set(n)
    scores = score_model(model, ChatTemplate(tokenizer), requests)
    return {
        ability: mean(kitchen.ability_scores(requests, scores, ability)) for ability in ABILITIES
    }


@dataclass(frozen=True)
class Estimate:
    """A mean with its interval of 95 %; change: 1 or -1 where the interval of the difference to
    the model's parent, request by request, lies above or below 0."""

    value: float
    low: float
    high: float
    change: int = 0


def report_card(
    requests: list[Request], scores: dict[str, list[Score]], parents: dict[str, str | None]
) -> dict[str, dict[str, Estimate]]:
    """Ability -> model -> mark; scores: those of each model, by name; parents: see `parents`."""
    return {
        ability: {
            name: estimate(requests, scores, ability, name, parents.get(name)) for name in scores
        }
        for ability in [*ABILITIES, TASTE]
    }


def estimate(
    requests: list[Request], scores: dict[str, list[Score]], ability: str, name: str,
    parent: str | None,
) -> Estimate:  # fmt: skip
    """One mark: Wilson's interval for a share, the bootstrap's for the taste."""
    here = kitchen.ability_scores(requests, scores[name], ability)
    interval = bootstrap(here) if ability == TASTE else wilson(sum(here), len(here))
    change = 0
    if parent in scores:
        before = kitchen.ability_scores(requests, scores[parent], ability)
        low, high = difference(before, here)
        change = (low > 0) - (high < 0)
    return Estimate(mean(here), *interval, change)


def wilson(hits: float, n: int, z: float = 1.96) -> tuple[float, float]:
    """The interval of a share, `hits` of `n`: all true shares from which what was seen is at most
    z standard errors away.  Wilson 1927; z = 1.96 for 95 %."""
    share = hits / n
    middle = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z * (share * (1 - share) / n + z**2 / (4 * n**2)) ** 0.5 / (1 + z**2 / n)
    return max(0.0, middle - half), min(1.0, middle + half)


def bootstrap(numbers: list[float], times: int = 2000, seed: int = 0) -> tuple[float, float]:
    """The interval of a mean, 95 %: that of the means of samples drawn from the numbers, with
    replacement.  Efron 1979."""
    given, generator = torch.tensor(numbers), torch.Generator().manual_seed(seed)
    drawn = torch.randint(len(given), (times, len(given)), generator=generator)
    low, high = given[drawn].mean(1).quantile(torch.tensor([0.025, 0.975])).tolist()
    return low, high


def difference(before: list[float], after: list[float]) -> tuple[float, float]:
    """The interval, 95 %, of how much the mean grows from one model to another on the same
    requests: by the bootstrap of the differences, request by request."""
    return bootstrap([b - a for a, b in zip(before, after, strict=True)])
