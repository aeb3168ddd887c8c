"""The whole line: what each checkpoint is worth, how a run becomes one that ships, and the report
card of all models on the same requests."""

from dataclasses import dataclass
from pathlib import Path
from statistics import mean

import torch

from llmlab import artifacts, kitchen
from llmlab.core.model import Transformer
from llmlab.core.tokenizer import BPE
from llmlab.kitchen import Request, Score
from llmlab.lab import Lab
from llmlab.stages import reward, sft
from llmlab.stages.data import load_corpus
from llmlab.stages.pretraining import held_out_bpb

SHIPPED = ("base", "sft", "reward", "dpo", "ppo", "grpo", "last")
LOG_POINTS = 400


def measure(lab: Lab, name: str) -> dict[str, float]:
    """The figures of a shipped checkpoint, measured anew: what its log has recorded."""
    model, tokenizer, _ = lab.load(lab.shipped(name))
    if name == "base":
        return {"val_bpb": held_out_bpb(lab, model, tokenizer, load_corpus(lab.profile.sources))}
    if name != "reward":
        return sft.evaluate(model, tokenizer)
    answering, _, _ = lab.load(lab.shipped("sft"))
    chat = sft.Chat(tokenizer)
    pairs = reward.held_out_pairs(answering, chat)
    return {"accuracy": reward.accuracy(reward.load_reward(lab, mine=False), chat, pairs)}


def taste_and_rules(lab: Lab) -> dict[str, float]:
    """Mean and deviation of taste and rules over the shipped SFT model's answers to the held-out
    requests: the constants of the gold judge."""
    model, tokenizer, _ = lab.load(lab.shipped("sft"))
    chat, asked = sft.Chat(tokenizer), kitchen.held_out_requests()
    scores = sft.judge_all(asked, chat, sft.answered(model, chat, asked)[1])
    taste = torch.tensor([s.taste for s in scores])
    rules = torch.tensor([s.rules for s in scores])
    return {
        "TASTE_MEAN": taste.mean().item(), "TASTE_SD": taste.std().item(),
        "RULES_MEAN": rules.mean().item(), "RULES_SD": rules.std().item(),
    }  # fmt: skip


def ship(lab: Lab, name: str, command: str) -> Path:
    """Keep a finished run as the project's checkpoint: weights in bf16 without the optimiser's
    state, and a log beside it with what made it and what it is worth."""
    tensors, meta = artifacts.load_checkpoint(lab.path(name))
    wanted = ("model.", "extra.") if name == "reward" else ("model.",)
    weights = {
        k: v.bfloat16() if k.startswith("model.") else v
        for k, v in tensors.items() if k.startswith(wanted)
    }  # fmt: skip
    log = meta.pop("log")
    path = lab.shipped(name)
    artifacts.save_checkpoint(path, weights, {k: v for k, v in meta.items() if "seconds" not in k})
    artifacts.write_json(
        path.with_suffix(".json"),
        {
            "command": command,
            "seed": meta["seed"],
            "steps": meta["steps"],
            "tokens": sum(r.get("tokens", 0) for r in log),
            "cpu_seconds": meta["cpu_seconds"],
            "device": lab.machine(),
            "data": load_corpus(lab.profile.sources).hash(),
            "figures": measure(lab, name),
            "log": thin(log),
        },
    )
    if name == "base":
        ship_snapshots(lab)
    return path


def ship_snapshots(lab: Lab) -> None:
    """The base's token matrix at log-spaced steps, in one file: each row in 8 bits and a scale."""
    files = sorted((lab.runs / "base-snapshots").glob("*.safetensors"))
    tensors = {}
    for file in files:
        matrix = artifacts.load_checkpoint(file)[0]["embed"].float()  # (V, dim)
        scale = matrix.abs().amax(1, keepdim=True) / 127  # (V, 1)
        tensors[f"step/{file.stem}"] = (matrix / scale).round().to(torch.int8)
        tensors[f"scale/{file.stem}"] = scale
    path = lab.shipped("base").with_name("base-snapshots.safetensors")
    artifacts.save_checkpoint(path, tensors, {"steps": [int(f.stem) for f in files]})


def thin(log: list[dict], points: int = LOG_POINTS) -> list[dict]:
    """A log of at most `points` records: each the mean of its neighbours, at their last step."""
    width = max(1, len(log) // points)
    groups = [log[i : i + width] for i in range(0, len(log), width)]
    return [
        {k: g[-1]["step"] if k == "step" else round(mean(r[k] for r in g), 4) for k in g[0]}
        for g in groups
    ]


def shipped_log(lab: Lab, name: str) -> dict:
    """The log of a slow-cooked checkpoint: command, device, figures, and the curve."""
    return artifacts.read_json(lab.shipped(name).with_suffix(".json"))


# --- The line, to be asked ------------------------------------------------------------------

# The models that answer, in the order of the notebooks: what each is tuned from, and its title.
PARENTS = {"base": None, "sft": "base", "dpo": "sft", "ppo": "sft", "grpo": "sft", "last": "grpo"}
TITLES = {"base": "base", "sft": "SFT", "dpo": "DPO", "ppo": "PPO", "grpo": "GRPO", "last": "last"}


class Page(sft.Chat):
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
    chat: sft.Chat
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
        chat = (Page if name == "base" else sft.Chat)(tokenizer)
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
    _, answers = sft.answered(member.model, member.chat, requests, seed)
    return sft.judge_all(requests, member.chat, answers)


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
    scores = sit(Member("", model, sft.Chat(tokenizer), {}), requests)
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
