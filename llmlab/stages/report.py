"""The whole line: what each checkpoint is worth, how a run becomes one that ships, and the report
card of all models on the same requests."""

from dataclasses import dataclass
from statistics import mean

import torch

from llmlab import artifacts, kitchen
from llmlab.chat import Chat, answered, judge_all
from llmlab.core.model import Transformer
from llmlab.core.tokenizer import BPE
from llmlab.kitchen import Request, Score
from llmlab.lab import Lab

# --- The line, to be asked ------------------------------------------------------------------

# The models that answer, in the order of the notebooks: what each is tuned from, and its title.
PARENTS = {"base": None, "sft": "base", "dpo": "sft", "ppo": "sft", "grpo": "sft", "last": "grpo"}
TITLES = {"base": "base", "sft": "SFT", "dpo": "DPO", "ppo": "PPO", "grpo": "GRPO", "last": "last"}


class Page(Chat):
    """How one asks a model that has never seen a chat: as the pages ask that it has read (see
    `data.card_layout`).  Its answer is the next line, and "You need" stands for a colon."""

    def prompt(self, request: str) -> list[int]:
        """<|end|>Q: request, a line break, A:"""
        return [self.end, *self.encoding.encode_ordinary(f"Q: {request}\nA:")]

    def read(self, answer: list[int]) -> str:
        line = super().read(answer).strip().partition("\n")[0]
        return line.replace(". You need ", ": ", 1)


@dataclass(frozen=True)
class Member:
    """A model of the line, and how it is asked."""

    title: str
    model: Transformer
    chat: Chat
    meta: dict


def line(lab: Lab) -> dict[str, Member]:
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
        chat = (Page if name == "base" else Chat)(tokenizer)
        members[name] = Member(title, model, chat, meta)
    if missing:
        print(f"Not there yet, and left out: {', '.join(missing)}.")
    return members


# --- The report card ------------------------------------------------------------------------

# What an answer can do: the rule that judges it, and which requests ask for it.
ABILITIES = {
    "well-formed": ("wellformed", lambda r: not r.identity),
    "asked foods": ("asked", lambda r: not r.identity),
    "nothing twice": ("once", lambda r: not r.identity),
    "vegetarian": ("vegetarian", lambda r: r.vegetarian),
    "number": ("number", lambda r: r.number is not None),
    "kind of dish": ("kind", lambda r: r.kind is not None),
    "who it is": ("wellformed", lambda r: r.identity),
    "every rule": ("kept", lambda r: not r.identity),
}
TASTE = "taste"  # measured in standard deviations of the shipped SFT model's answers


def exam(n: int = 300) -> list[Request]:
    """The held-out requests that all models get: n, a third as many that ask for a kind of dish as
    well, a tenth for who it is."""
    return [
        *kitchen.held_out_requests(n),
        *kitchen.held_out_requests(max(10, n // 3), seed=7, kinds=True),
        *[Request(identity=True)] * max(8, n // 10),
    ]


def sit(member: Member, requests: list[Request], seed: int = 0) -> list[Score]:
    """A model's scores on requests, each worded alike for all models, at temperature 0.8."""
    _, answers = answered(member.model, member.chat, requests, seed)
    return judge_all(requests, member.chat, answers)


def can(score: Score, ability: str) -> float:
    """1 where an answer keeps the ability's rule in full, else 0; the taste as a number.

    Only a well-formed answer counts: who names no food has named none twice, and no meat.
    """
    if ability == TASTE:
        return (score.taste - kitchen.TASTE_MEAN) / kitchen.TASTE_SD
    return float(score.wellformed == 1 and getattr(score, ABILITIES[ability][0]) == 1)


def values(requests: list[Request], scores: list[Score], ability: str) -> list[float]:
    """What `can` says of the answers to those requests that ask for the ability."""
    asks = ABILITIES.get(ability, ABILITIES["every rule"])[1]
    return [can(s, ability) for r, s in zip(requests, scores, strict=True) if asks(r)]


def shares(model: Transformer, tokenizer: BPE, n: int = 200) -> dict[str, float]:
    """Ability -> the share of those that ask for it in `exam(n)` and get it from an assistant."""
    requests = exam(n)
    scores = sit(Member("", model, Chat(tokenizer), {}), requests)
    return {ability: mean(values(requests, scores, ability)) for ability in ABILITIES}


@dataclass(frozen=True)
class Mark:
    """A mean with its interval of 95 %; change: 1 or -1 where the interval of the difference to
    the model's parent, request by request, lies above or below 0."""

    value: float
    low: float
    high: float
    change: int = 0


def report_card(
    requests: list[Request], scores: dict[str, list[Score]]
) -> dict[str, dict[str, Mark]]:
    """Ability -> model -> mark; scores: those of each model of the line, by name."""
    return {
        ability: {name: mark(requests, scores, ability, name) for name in scores}
        for ability in [*ABILITIES, TASTE]
    }


def mark(requests: list[Request], scores: dict[str, list[Score]], ability: str, name: str) -> Mark:
    """One mark: Wilson's interval for a share, the bootstrap's for the taste."""
    here = values(requests, scores[name], ability)
    interval = bootstrap(here) if ability == TASTE else wilson(sum(here), len(here))
    parent, change = scores.get(PARENTS[name]), 0
    if parent:
        before = values(requests, parent, ability)
        low, high = difference(before, here)
        change = (low > 0) - (high < 0)
    return Mark(mean(here), *interval, change)


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
