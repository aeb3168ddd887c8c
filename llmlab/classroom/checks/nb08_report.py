"""Checks of notebook 08: what a share is of, the interval of a difference, a bill, names."""

import random
from dataclasses import replace
from functools import cache
from statistics import mean

from llmlab.classroom import Wrong, call, exercise
from llmlab.classroom.compare import as_list, number, recognise
from llmlab.classroom.exercises import kind
from llmlab.core.model import ModelConfig, Transformer
from llmlab.hub.config import hf_name as _hf_name
from llmlab.kitchen import FOODS, Request, Score
from llmlab.stages.report import bootstrap

# --- 08.number_kept -------------------------------------------------------------------------

FULL = Score(1, 1, 1, 1, 1, 1, taste=0.0)
# (the number asked for, the score): nine of thirteen ask for one; of those five get it in full.
ANSWERS = [
    (4, FULL), (5, FULL), (6, FULL), (None, FULL), (5, replace(FULL, number=0.8)), (6, FULL),
    (None, replace(FULL, wellformed=0.0)), (5, replace(FULL, wellformed=0.0)), (None, FULL),
    (7, replace(FULL, asked=0.5)), (None, FULL), (4, replace(FULL, number=0.5)),
    (6, replace(FULL, number=0.0)),
]  # fmt: skip


@exercise("08.number_kept")
def number_kept(answer) -> None:
    """number_kept(requests, scores): of those that ask for a number, the share that gets it."""
    food = next(iter(FOODS.values()))
    for rows in (ANSWERS, [*ANSWERS, (6, FULL), (None, FULL), (6, FULL)]):
        requests = [Request((food,), number=count) for count, _ in rows]
        scores = [score for _, score in rows]
        share = number(call(answer, requests, scores), "the share")
        recognise(share, *share_and_mistakes(rows), "the share")
    nobody = [Request((food,))] * 3
    value = number(call(answer, nobody, [FULL] * 3), "The share")
    if value:
        raise Wrong("Where nobody asks for a number, the share is nought.")


def share_and_mistakes(rows: list[tuple[int | None, Score]]) -> tuple[float, dict[str, float]]:
    """The right share, and what each mistake gives."""
    asking = [score for count, score in rows if count is not None]
    formed = [s for s in asking if s.wellformed == 1]
    kept = [s for s in formed if s.number == 1]
    anyone = [s for _, s in rows if s.wellformed == s.number == 1]
    right = len(kept) / len(asking)
    return right, {
        "Those who asked for no number are in it too: their answers keep the rule by themselves.":
        len(anyone) / len(rows),
        "The right answers are counted among those who asked, but the share is of all requests.":
        len(kept) / len(rows),
        "What is no dish counts here as kept. An answer has to be well-formed as well.":
        mean(s.number == 1 for s in asking),
        "A near miss counts for a part. Kept is kept in full.": mean(s.number for s in asking),
        "Near misses count for a part, and everybody is in it.": mean(s.number for _, s in rows),
        "Answers that are no dish are left out below the line as well: so they cost nothing.":
        len(kept) / len(formed),
        "That is the share of well-formed answers.": len(formed) / len(asking),
        "That is the share which does not keep it.": 1 - right,
        "That is a count. A share is asked for.": float(len(kept)),
        "That is in per cent. A share lies between 0 and 1.": 100 * right,
        "Every rule has to be kept there. Only the number is asked about.":
        mean(s.kept and s.wellformed == 1 for s in asking),
    }  # fmt: skip


# --- 08.difference --------------------------------------------------------------------------


def two_exams(n: int, seed: int, gain: float) -> tuple[list[float], list[float]]:
    """What two models earn on the same requests, of which some are much harder than others."""
    rng = random.Random(seed)
    before = [rng.gauss(0, 1) for _ in range(n)]
    return before, [b + rng.gauss(gain, 0.3) for b in before]


@exercise("08.difference", seconds=20, must=True)
def difference(answer) -> None:
    """difference(before, after): the interval of 95 % of the mean difference, by the bootstrap."""
    for n, seed, gain in ((300, 1, 0.1), (500, 2, -0.2)):
        before, after = two_exams(n, seed, gain)
        value = as_list(call(answer, before, after))
        if not isinstance(value, list) or len(value) != 2:
            raise Wrong("An interval has two ends: give back (low, high).")
        low, high = (number(end, "Each end") for end in value)
        same_interval((low, high), before, after)


def same_interval(interval: tuple[float, float], before: list, after: list) -> None:
    """Wrong where the interval is not that of the mean difference, and why it may be so."""
    low, high = interval
    if low > high:
        raise Wrong("The low end lies above the high one.")
    differences = [b - a for a, b in zip(before, after, strict=True)]
    right = bootstrap(differences, times=4000)
    mistakes = {
        "The sign is turned round: what has grown should be above nought.":
        (-right[1], -right[0]),
        "That is the interval of the second model's own mean.": bootstrap(after),
        "That is the interval of the first model's own mean.": bootstrap(before),
        "Each model's answers are drawn by a lot of their own. But both answered the *same* "
        "requests: what is easy for one is easy for the other.": apart(before, after),
        "Nothing is drawn anew: every sample is the whole list in another order.":
        (mean(differences),) * 2,
        "Those are single differences. The *mean* of each sample is what varies little.":
        (min(differences), max(differences)),
        "Those are sums. A mean is asked for.":
        tuple(len(differences) * end for end in right),
    }  # fmt: skip
    half, middle = (right[1] - right[0]) / 2, sum(right) / 2
    mine, centre = (high - low) / 2, (low + high) / 2
    if abs(mine / half - 1) < 0.09 and abs(centre - middle) < 0.2 * half:
        return
    for sentence, wrong in mistakes.items():
        close = 0.12 * max((wrong[1] - wrong[0]) / 2, half / 4)
        if abs(low - wrong[0]) < close and abs(high - wrong[1]) < close:
            raise Wrong(sentence)
    if abs(centre - middle) > 0.4 * half:
        raise Wrong("The interval does not lie around the mean difference.")
    if mine < half:
        raise Wrong("The interval is too narrow: how much of the means should lie inside, and is "
                    "each sample as long as the list?")  # fmt: skip
    raise Wrong("The interval is too wide: how much of the means should lie outside, and is each "
                "sample as long as the list?")  # fmt: skip


def apart(before: list[float], after: list[float]) -> tuple[float, float]:
    """The interval of a difference as if the two lists had nothing to do with each other."""
    wide = [(bootstrap(one)[1] - bootstrap(one)[0]) / 2 for one in (before, after)]
    half, middle = (wide[0] ** 2 + wide[1] ** 2) ** 0.5, mean(after) - mean(before)
    return middle - half, middle + half


# --- 08.grpo_flops --------------------------------------------------------------------------


@exercise("08.grpo_flops")
def grpo_flops(answer) -> None:
    """grpo_flops(n, tokens, taught): sampled and read by the reference, and learned in part."""
    for n, tokens, taught in ((1000, 50, 0.7), (1_500_000, 400_000, 0.8), (10, 3, 0.0)):
        value = number(call(answer, n, tokens, taught), "The bill")
        each = n * tokens
        recognise(value, (4 + 6 * taught) * each, {
            "All answers are learned from there. Only a share of them teaches.": 10.0 * each,
            "The learning is there, and nothing else: the answers have to be written first.":
            6 * taught * each,
            "One look is missing: two models read each answer before one of them learns.":
            (2 + 6 * taught) * each,
            "Learning costs more than that: it goes forward and back.": (4 + 2 * taught) * each,
            "Learning goes back *and* forward.": (4 + 4 * taught) * each,
            "Only a share is learned from, but all answers are sampled and read.":
            10 * taught * each,
            "That is without the learning.": 4.0 * each,
            "What differs is which answers are left out, not which are learned from.":
            (4 + 6 * (1 - taught)) * each,
            "That is per parameter. The bill is for all of them.": (4 + 6 * taught) * tokens,
            "That is per token. The bill is for all of them.": (4 + 6 * taught) * n,
        }, "the bill")  # fmt: skip


# --- 08.hf_name -----------------------------------------------------------------------------


@exercise("08.hf_name")
def hf_name(answer) -> None:
    """hf_name(name): what transformers calls one of our parameters."""
    for name in our_names():
        value, right = call(answer, name), _hf_name(name)
        if not isinstance(value, str):
            raise Wrong(f"A name is a text, and yours is {kind(value)}.")
        if value != right:
            raise Wrong(f"{name} becomes {value!r}: {why(name, value, right)}")


@cache
def our_names() -> list[str]:
    """The names of all parameters of a model with twelve layers."""
    config = ModelConfig(vocab_size=8, dim=4, n_layers=12, n_heads=1, n_kv_heads=1, head_dim=4,
                         hidden_dim=4, max_seq_len=8)  # fmt: skip
    return list(Transformer(config).state_dict())


def why(name: str, value: str, right: str) -> str:
    """What is wrong with a name, in a sentence that does not give the right one."""
    known_parts = {
        name: "that is the name which it had.",
        right.removeprefix("model."): "all but the head lies in a part that is called model.",
        f"model.{right}": "the head is the one part that does not lie in model.",
        right.replace("self_attn.q_norm", "self_attn.q_model.norm"):
        "there is more than one norm. Only the last one is meant by that line.",
    }  # fmt: skip
    if value in known_parts:
        return known_parts[value]
    if "self_attn_" in value:
        return "a part of a word was replaced. The norm before attention has a name of its own."
    layer = right.split(".")[2:3]
    if layer != value.split(".")[2:3] and "".join(layer).isdigit():
        return "the number of the layer is not at its place."
    if value.count(".") != right.count("."):
        return "the number of points is wrong; each part of a name stands between two."
    if "blocks" in value or "layers" not in value and "layers" in right:
        return "what do they call a block?"
    return "one part of it has another name in the table."
