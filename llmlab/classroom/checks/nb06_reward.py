"""Checks of notebook 06: the loss of a preference, calibration, a bias, probes."""

import math

import torch

from llmlab.classroom import Wrong, call, close, exercise, same
from llmlab.classroom.compare import as_list, known, number, recognise
from llmlab.classroom.exercises import kind
from llmlab.core.losses import bradley_terry_loss
from llmlab.stages import preferences


@exercise("06.preference_loss", must=True)
def preference_loss(answer) -> None:
    """preference_loss(chosen, rejected): mean surprise at the choices, two tensors (B,)."""
    chosen = torch.tensor([1.0, 0.2, -3.0], requires_grad=True)
    rejected = torch.tensor([0.5, 1.4, -1.0], requires_grad=True)
    gap = chosen - rejected
    right = bradley_terry_loss(chosen, rejected)
    mistakes = {
        "The sign is turned round: this loss is small where the *rejected* answer has the higher "
        "reward.": bradley_terry_loss(rejected, chosen),
        "The losses are added up. Their mean is asked for.": right * len(gap),
        "That is one loss for each pair. Their mean is asked for.": torch.log1p(torch.exp(-gap)),
        "That is the mean log-probability. A loss is to be made small: which sign is missing?":
        -right,
        "Those are probabilities. The surprise at a probability is its negative logarithm.":
        torch.sigmoid(gap).mean(),
        "That takes the logarithm of the mean probability. Each pair has a surprise of its own.":
        -torch.sigmoid(gap).mean().log(),
        "That is the mean difference of the rewards. From it one has to get to a probability.":
        -gap.mean(),
        "Each reward goes through the sigmoid by itself. It is their difference that counts.":
        -(torch.sigmoid(chosen) - torch.sigmoid(rejected)).mean(),
        "The chosen answer's reward alone is looked at.": bradley_terry_loss(chosen, 0 * chosen),
        "That is the squared distance from a gap of 1. Bradley and Terry know no such gap.":
        (1 - gap).square().mean(),
        "That is the hinge: max(0, 1 - gap). Here a loss never is exactly 0.":
        (1 - gap).clamp(min=0).mean(),
        "The logarithm is to base 2. The series counts in nats.": right / math.log(2),
    }  # fmt: skip
    recognise(call(answer, chosen, rejected), right, mistakes, "the loss")
    far = call(answer, torch.tensor([-200.0, 50.0]), torch.tensor([200.0, -300.0]))
    if not math.isfinite(as_list(far)):
        raise Wrong(
            f"Where the rewards are 400 apart, the loss is {as_list(far)}: a probability has been "
            "rounded to 0 before its logarithm. PyTorch has both in one."
        )
    close(far, torch.tensor(200.0), "the loss of rewards that lie far apart")


@exercise("06.calibration")
def calibration(answer) -> None:
    """calibration(p, won, bins): (mean forecast, share that came true) of each filled range."""
    p = [0.60, 0.05, 0.15, 0.45, 0.30, 0.70, 0.55, 1.0, 0.0]
    won = [True, False, False, True, False, False, True, True, True]
    right = [pair[:2] for pair in preferences.calibration(p, won, bins=4)]
    got = rows_of(call(answer, p, won, 4))
    if got:
        tell_calibration(got, right, p, won)
    close(got, [list(row) for row in right], "the list of pairs")
    sparse = rows_of(call(answer, [0.1, 0.2, 0.9], [False, True, True], 10))
    if len(sparse) == 10:
        raise Wrong("There is a row for each range. Those without a forecast are left out.")
    close(sparse, [[0.1, 0.0], [0.2, 1.0], [0.9, 1.0]], "the answer where most ranges are empty")


def rows_of(found: object) -> list[list[float]]:
    """A learner's list of pairs as lists of two numbers; Wrong where it is something else."""
    if not isinstance(found, list | tuple):
        raise Wrong(f"A list of pairs is asked for, and this is {kind(found)}.")
    for row in found:
        if not isinstance(row, list | tuple) or len(row) != 2:
            raise Wrong("Each entry is a pair: the mean forecast, and the share that came true.")
    return [[number(value, "each part of a pair") for value in row] for row in found]


def tell_calibration(got: list, right: list, p: list, won: list) -> None:
    """Wrong with the sentence of a mistake that gives these rows."""
    if len(got) > len(right):
        raise Wrong(f"There are {len(got)} rows, more than ranges with a forecast in them.")
    if len(got) < len(right):
        raise Wrong(
            f"There are {len(got)} rows, fewer than ranges with a forecast in them. A forecast of "
            "exactly 1 belongs to the last range."
        )
    if alike([g[0] for g in got[:1]], [0.1]):
        raise Wrong("A forecast of exactly 0 is missing. It belongs to the first range.")
    if alike([g[0] for g in got], [r[1] for r in right]):
        raise Wrong("Forecast and outcome are exchanged in each pair.")
    if alike([g[0] for g in got], [(2 * k + 1) / 8 for k in range(4)]):
        raise Wrong("The first number is the middle of the range. Take the mean of its forecasts.")
    filled = [[q for q in p if min(int(q * 4), 3) == k] for k in range(4)]
    if alike([g[1] for g in got], [len(f) / len(p) for f in filled]):
        raise Wrong("The second number is the share of all forecasts that lie in the range.")
    wins = [sum(w for q, w in zip(p, won, strict=True) if q in f) for f in filled]
    if alike([g[1] for g in got], wins):
        raise Wrong("The second number counts what came true. Its share of the range is asked for.")
    if alike([g[1] for g in got], [w / len(p) for w, f in zip(wins, filled, strict=True)]):
        raise Wrong("The share is taken of all forecasts, not of those in the range.")
    misses = [1 - r[1] for r in right]
    if alike([g[1] for g in got], misses):
        raise Wrong("That is the share that did *not* come true.")
    if alike(sorted(g[0] for g in got), [r[0] for r in right]) and got != sorted(got):
        raise Wrong("The ranges stand in another order. Go from 0 up to 1.")


def alike(a: list[float], b: list[float]) -> bool:
    return len(a) == len(b) and all(abs(x - y) < 1e-6 for x, y in zip(a, b, strict=True))


@exercise("06.more_wins")
def more_wins(answer) -> None:
    """more_wins(chosen, rejected): the share of wins of the one that has more."""
    chosen = [5, 7, 3, 4, 6, 9, 2, 2, 8]  # 5 of 6 unequal ones
    rejected = [5, 4, 6, 4, 2, 3, 2, 1, 7]
    mistakes = {
        "Ties are counted as lost. Where both have the same, the pair says nothing.": 5 / 9,
        "Ties are counted as won. Where both have the same, the pair says nothing.": 8 / 9,
        "A tie counts as half a win. Such a pair says nothing: leave it out.": 6.5 / 9,
        "That is how often the chosen one has *less*.": 1 / 6,
        "That counts wins. A share is asked for.": 5.0,
        "That is the mean difference. A single pair that lies far apart would decide it.":
        sum(c - r for c, r in zip(chosen, rejected, strict=True)) / 9,
        "That is the share of pairs that differ.": 6 / 9,
        "That compares the totals. Each comparison is one of its own.": sum(chosen)
        / sum((*chosen, *rejected)),
    }  # fmt: skip
    recognise(call(answer, chosen, rejected), 5 / 6, mistakes, "the share")
    reverse = call(answer, rejected, chosen)
    close(reverse, 1 / 6, "the share where chosen and rejected are exchanged")
    close(call(answer, [1.5, 2.5], [1.25, 2.0]), 1.0, "the share of a measure with decimals")


@exercise("06.swap_food")
def swap_food(answer) -> None:
    """swap_food(answer, old, new): one food of the list replaced, and nothing else."""
    card = "Corn and Peas Pan: corn, peas, peanuts, sweet corn, peas."
    right = preferences.swap_food(card, "peas", "kale")
    mistakes = {
        "The title was changed too. A probe changes one thing.": right.replace("Peas", "Kale"),
        "The title was changed, and the list was not.": card.replace("Peas", "Kale"),
        "A food that only *holds* the old one's letters was changed as well. Compare whole items.":
        card.replace("pea", "kale"),
        "The old food stands twice in this list, and one of the two was left.":
        "Corn and Peas Pan: corn, kale, peanuts, sweet corn, peas.",
        "The other of the two was left: the old food stands twice in this list.":
        "Corn and Peas Pan: corn, peas, peanuts, sweet corn, kale.",
        "The full stop at the end is gone.": right.removesuffix("."),
        "The title is gone. Put it back in front of the list.": right.partition(": ")[2],
        "The old food is gone, and the new one is not there.":
        "Corn and Peas Pan: corn, peanuts, sweet corn.",
        "The new food was added, and the old one is still there.":
        card.removesuffix(".") + ", kale.",
        "Nothing was changed: the answer comes back as it was.": card,
    }  # fmt: skip
    got = call(answer, card, "peas", "kale")
    known(got, mistakes)
    if isinstance(got, str):
        if got != right and got.replace(" ", "") == right.replace(" ", ""):
            raise Wrong("The foods are right, but the spaces are not: “a, b, c.”")
    same(got, right, "the edited answer")
    part = call(answer, "Corn Soup: corn, sweet corn, corn.", "corn", "leeks")
    if part == "Corn Soup: leeks, sweet leeks, leeks.":
        raise Wrong("“sweet corn” is another item than “corn”. Compare whole items.")
    same(part, "Corn Soup: leeks, sweet corn, leeks.", "the edited answer")
    last = call(answer, "Rice Bowl: rice, tofu.", "tofu", "eggs")
    if last == "Rice Bowl: rice, tofu.":
        raise Wrong("The last food was not found: behind it stands the full stop.")
    same(last, "Rice Bowl: rice, eggs.", "the edited answer")
    same(call(answer, "Rice Bowl: rice, tofu.", "ham", "eggs"), "Rice Bowl: rice, tofu.",
         "the answer where the old food is not in the list")  # fmt: skip
