"""Checks of notebook 07: REINFORCE, PPO's clipped loss, a missing reward term, a loophole."""

import random
from collections.abc import Callable

import torch
import torch.nn.functional as F

from llmlab.classroom import Wrong, call, close, exercise, verdict
from llmlab.classroom.compare import known, number, recognise
from llmlab.classroom.exercises import RIGHT, kind
from llmlab.core.losses import ppo_loss
from llmlab.kitchen import FOODS, Request, judge, read_answer


def yours(name: str, answer: object, ours: Callable) -> Callable:
    """The learner's function where it passes its check, else ours, so that a run with it goes
    through before the exercise is done; says which."""
    right = verdict(name, answer)[0] == RIGHT
    print(f"{name}: {'yours' if right else 'ours, until yours is right'}.")
    return answer if right else ours


@exercise("07.reinforce")
def reinforce(answer) -> None:
    """reinforce(probs, drawn, rewards): the mean of reward * (one-hot - probs), (V,)."""
    probs = torch.tensor([0.5, 0.3, 0.2])
    drawn = torch.tensor([0, 2, 0, 1, 0])  # (n,)
    rewards = torch.tensor([1.0, 3.0, 0.5, -1.0, 2.0])
    hot = F.one_hot(drawn, 3).float()  # (n, V)
    pushes = hot - probs
    right = (rewards[:, None] * pushes).mean(0)
    mistakes = {
        "That adds up over the draws. The *mean* is asked for.": right * len(drawn),
        "That goes downhill: rewards are to grow.": -right,
        "The rewards have no say: each draw counts alike.": pushes.mean(0),
        "A drawn word is pushed up, but nothing is taken from the others.": (
            rewards[:, None] * hot).mean(0),
        "The mean reward times the mean push is not the mean of the products.": rewards.mean()
        * pushes.mean(0),
        "Only the one-hot row is weighed by the reward. The whole push is.": (
            rewards[:, None] * hot - probs).mean(0),
        "That is the gradient with respect to the probabilities. The logits are asked for.": (
            rewards[:, None] * hot / probs).mean(0),
        "You have taken the mean reward away. That is for later; here it is the reward itself.": (
            (rewards - rewards.mean())[:, None] * pushes).mean(0),
        "Each push is weighed by the probability of its word. That it was drawn says so already.":
        ((rewards * probs[drawn])[:, None] * pushes).mean(0),
    }  # fmt: skip
    recognise(call(answer, probs, drawn, rewards), right, mistakes)
    one = call(answer, torch.tensor([0.9, 0.1]), torch.tensor([1]), torch.tensor([2.0]))
    close(one, torch.tensor([-1.8, 1.8]), "the answer for a single draw", atol=1e-5)


@exercise("07.clipped", must=True)
def clipped(answer) -> None:
    """clipped(logp, old_logp, advantage, mask, clip): PPO's loss, a number."""
    ratios = torch.tensor([[1.1, 1.5, 0.5, 1.0], [0.6, 1.6, 0.9, 1.3]])  # each case of the clip
    old = torch.tensor([[-1.0, -2.0, -0.5, -3.0], [-1.5, -1.0, -2.5, -0.7]])
    logp = (old + ratios.log()).requires_grad_()
    advantage = torch.tensor([[1.0, 2.0, 1.0, -1.0], [-2.0, -1.0, 0.5, 4.0]])
    mask = torch.tensor([[1.0, 1.0, 1.0, 0.0], [1.0, 1.0, 0.0, 0.0]])
    clip = 0.2
    bounded = ratios.clamp(1 - clip, 1 + clip)
    right = ppo_loss(logp, old, advantage, mask, clip)

    def loss(gain):
        return -(gain * mask).sum() / mask.sum()

    gain = torch.minimum(ratios * advantage, bounded * advantage)
    difference = logp - old
    mistakes = {
        "The sign is wrong: a loss goes down as the gain goes up.": -right,
        "Nothing is clipped: a single token could drag the policy far.": loss(ratios * advantage),
        "The clipped ratio alone: where it is flat, even a bad token could not be brought back. "
        "Which of two gains counts?": loss(bounded * advantage),
        "The larger of the two gains was taken. PPO is the cautious one.": loss(
            torch.maximum(ratios * advantage, bounded * advantage)),
        "A ratio of probabilities is needed; yours is a difference of logarithms.": loss(
            torch.minimum(difference * advantage, difference.clamp(1 - clip, 1 + clip)
                          * advantage)),
        "A ratio of probabilities is needed; yours is one of their logarithms.": loss(
            torch.minimum(logp / old * advantage,
                          (logp / old).clamp(1 - clip, 1 + clip) * advantage)),
        "The ratio is upside down: the new policy stands on top.": loss(
            torch.minimum(advantage / ratios, (1 / ratios).clamp(1 - clip, 1 + clip) * advantage)),
        "The mask is not used: what stands behind an answer counts too.": -gain.mean(),
        "The masked places still count in the mean.": -(gain * mask).mean(),
        "That is a sum. The mean over the answer's tokens is asked for.": -(gain * mask).sum(),
        "Each row has a mean of its own. Here all tokens of the batch count alike.": -(
            (gain * mask).sum(1) / mask.sum(1)).mean(),
        "The ratio is held from above alone. It is held on both sides.": loss(
            torch.minimum(ratios * advantage, ratios.clamp(max=1 + clip) * advantage)),
        "The ratio is held around 0. Where does it start from?": loss(
            torch.minimum(ratios * advantage, ratios.clamp(-clip, clip) * advantage)),
        "The gain itself was clipped. It is the ratio that is held.": loss(
            torch.minimum(ratios * advantage, (ratios * advantage).clamp(1 - clip, 1 + clip))),
    }  # fmt: skip
    recognise(call(answer, logp, old, advantage, mask, clip), right, mistakes, "the loss")
    wide = call(answer, logp, old, advantage, mask, 0.9)
    close(wide, ppo_loss(logp, old, advantage, mask, 0.9), "the loss for clip = 0.9", atol=1e-5)
    other = [old[:1].clone().requires_grad_(), logp[:1].detach(), advantage[1:], mask[1:]]
    close(call(answer, *other, clip), ppo_loss(*other, clip), "the loss of others", atol=1e-5)


def once_share(request: str, answer: str) -> float:
    """The share of an answer's list that had not been named before; 1 for an empty list."""
    _, items = read_answer(answer)
    return len(set(items)) / len(items) if items else 1.0


@exercise("07.nothing_twice")
def nothing_twice(answer) -> None:
    """nothing_twice(request, answer): the share of the list that was not named before."""
    request = "I have leek and rice."
    cases = {
        "Leek Rice: leek, rice, rice, parsley.": 0.75,
        "Leek Pan: leek, olive oil, leek, soy sauce, leek.": 0.6,
        "Rice Soup: rice, leek, parsley.": 1.0,
        "Zucchini: zucchini, zucchini, zucchini, zucchini.": 0.25,
    }
    got = [number(call(answer, request, text), "the term") for text in cases]
    lists = [read_answer(text)[1] for text in cases]

    words = [read_answer(text)[1] for text in cases]
    split = [text.split(": ")[1].split(", ") for text in cases]  # the full stop stays
    mistakes = {
        "The last food keeps its full stop, so it looks new even where it is not.": [
            len(set(s)) / len(s) for s in split],
        "That counts. A share lies between 0 and 1.": [len(set(w)) for w in words],
        "That counts how often something comes again, and it would be *paid* for it.": [
            len(w) - len(set(w)) for w in words],
        "That is the share of repeats: the model would be paid for them.": [
            1 - len(set(w)) / len(w) for w in words],
        "All or nothing: five repeats cost as much as one, so a group in which all have some "
        "learns nothing. A share is asked for.": [float(len(set(w)) == len(w)) for w in words],
        "A list without repeats earns nothing, and one with them is fined. A share is asked for.": [
            len(set(w)) - len(w) for w in words],
        "That is the number of repeats over the length, with a minus. A share is asked for.": [
            len(set(w)) / len(w) - 1 for w in words],
        "Two foods of two words share one of them perhaps; whole items are to be compared.": [
            len(set(" ".join(w).split())) / len(" ".join(w).split()) for w in words],
        "The title is counted too. Only the list is read.": [
            len({*w, t.split(":")[0]}) / (len(w) + 1) for w, t in zip(words, cases, strict=True)],
        "The request's own foods were counted. It is the list alone that is looked at.": [
            len(set(w) & {"leek", "rice"}) / len(w) for w in words],
        "That compares letters. Whole items are to be compared.": [
            len(set(t)) / len(t) for t in cases],
    }  # fmt: skip
    known(got, mistakes, by=close)
    if len(set(got)) == 1:
        raise Wrong("Your term is the same for all answers, so it can teach nothing.")
    close(got, list(cases.values()), "the term, for four answers")
    for items in random.Random(0).sample(lists, 2):
        text = f"A Dish: {', '.join(items * 2)}."
        close(call(answer, request, text), len(set(items)) / (2 * len(items)),
              "the term for a list that comes twice")  # fmt: skip
    close(call(answer, request, "Nothing: ."), 1.0, "the term for an empty list")


HUNTED = ((("zucchini", "rice"), 5), (("salmon",), 6), (("potatoes", "garlic", "carrots"), 7))


@exercise("07.loophole")
def loophole(answer) -> None:
    """loophole(foods, number): an answer with full marks for asked and once that is not kept."""
    answers = []
    for foods, count in HUNTED:
        text = call(answer, list(foods), count)
        if not isinstance(text, str):
            raise Wrong(f"An answer is a text, as the model would write it; yours is {kind(text)}.")
        answers.append(text)
    if len(set(answers)) == 1:
        raise Wrong("That is the same answer for every request. It cannot use what was asked.")
    for (foods, count), text in zip(HUNTED, answers, strict=True):
        score = judge(Request(tuple(FOODS[name] for name in foods), number=count), text)
        named = f"For {' and '.join(foods)}, {count} ingredients:"
        if score.kept:
            raise Wrong(f"{named} a good answer. It keeps every rule, also those that are not paid "
                        "for. Which rule does this reward not read?")  # fmt: skip
        if score.asked == 0:
            raise Wrong(f"{named} nothing that was asked for is in the list. Foods stand there by "
                        "the names that they have in the request, with commas.")  # fmt: skip
        if score.asked < 1:
            raise Wrong(f"{named} only a part of what was asked for is in the list: no full marks.")
        if score.once < 1:
            raise Wrong(f"{named} something comes twice. That hole has been closed.")
