"""Stage 6, reward modelling: learn from comparisons what nobody can write down as a rule.

The SFT model answers each request several times; simulated annotators with a hidden taste (said
plainly to be simulated: it stands in `kitchen.taste`) say of two answers which they like better,
and sometimes err.  From that, the model's lower half with a linear head on top learns a number for
an answer.
"""

import itertools
import math
import random
import time
from collections import Counter
from collections.abc import Iterator
from statistics import mean
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from llmlab import checkpoint, kitchen
from llmlab.artifacts import LabError
from llmlab.chat import Batch, ChatTemplate, Example, answer_requests, micro_batches
from llmlab.core.losses import bradley_terry_loss
from llmlab.core.model import Transformer
from llmlab.core.optim import Optimizer, learning_rate
from llmlab.core.tokenizer import BPE
from llmlab.datasets.preference_pairs import Pair
from llmlab.kitchen import Request
from llmlab.lab import Lab
from llmlab.scale import distributed
from llmlab.stages.sft import training_cards
from llmlab.training import loop
from llmlab.training.model_copies import truncate_layers

if TYPE_CHECKING:
    from llmlab.datasets.preference_pairs import Comparisons

NOISE = 0.15  # of the annotators, in units of the taste; see `agreement` in the figures


class RewardModel(nn.Module):
    """A Transformer whose states, averaged over an answer's list, a linear head makes a number.

    The average, not the last state alone: a taste is spread over all that an answer names, and
    some thousand comparisons are too few to teach the last token to collect it.  Over the list,
    not the title, which only names what is in it; an answer without a colon is all list.
    """

    def __init__(self, backbone: Transformer, tokenizer: BPE):
        super().__init__()
        self.backbone = backbone
        device = backbone.embed.weight.device
        self.head = nn.Linear(backbone.config.dim, 1, device=device)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        colons = [":" in tokenizer.decode([i]) for i in range(backbone.config.vocab_size)]
        self.register_buffer("colons", torch.tensor(colons, device=device), persistent=False)

    def read(self, batch: Batch) -> Tensor:
        """The mean state over the list of each answer: (B, dim)."""
        hidden = self.backbone.hidden(batch.ids)[:, 1:].float()  # (B, T - 1, dim)
        begun = (self.colons[batch.targets] & batch.mask).cumsum(1) > 0
        places = torch.where(begun.any(1, keepdim=True), begun & batch.mask, batch.mask)
        weight = places[..., None] / places.sum(1)[:, None, None]
        return (hidden * weight).sum(1)

    def forward(self, batch: Batch) -> Tensor:
        """Rewards of a batch of answers: (B,)."""
        return self.head(self.read(batch))[:, 0]


# --- Pairs ----------------------------------------------------------------------------------


def training_requests(lab: Lab, n: int, seed: int) -> list[Request]:
    """Requests as SFT saw them, made from the training cards; never one of the held-out ones."""
    cards, rng = training_cards(lab), random.Random(f"requests/{seed}")
    out = []
    while len(out) < n:
        request, _ = kitchen.example(rng.choice(cards), rng)
        if not request.identity:
            out.append(request)
    return out


def make_pairs(
    model: Transformer,
    chat: ChatTemplate,
    requests: list[Request],
    seed: int,
    noise: float = NOISE,
    liking=lambda request, text: kitchen.judge(request, text).taste,
    answers: int = 2,
) -> list[Pair]:
    """Ask for everything `answers` times and let the annotators compare each answer with each.

    Four answers cost twice as much as two and give six comparisons for one (Ouyang et al. 2022,
    section 3.5, have four to nine).  An annotator prefers a to b with probability
    sigmoid((liking a - liking b) / noise), the Bradley-Terry model; noise 0 is their taste itself.
    Pairs of answers that are liked equally are dropped.
    """
    samples = answer_requests(model, chat, requests, seed, temperature=1.0, n=answers)
    rng, pairs = random.Random(f"pairs/{seed}"), []
    for i, request in enumerate(requests):
        given = samples[i * answers : (i + 1) * answers]
        liked = [(liking(request, sample.text), sample) for sample in given]
        for (liking_a, a), (liking_b, b) in itertools.combinations(liked, 2):
            if liking_a != liking_b:
                margin = liking_a - liking_b
                pairs.append(label_pair(a.request, a.answer, b.answer, margin, noise, rng))
    rng.shuffle(pairs)
    return pairs


def label_pair(request: str, a: list[int], b: list[int], margin: float, noise: float, rng) -> Pair:
    """A pair as an annotator leaves it who likes a better than b by this margin, not 0."""
    first = rng.random() < preference_probability(margin, noise)
    chosen, rejected = (a, b) if first else (b, a)
    return Pair(request, chosen, rejected, first == (margin > 0))


def training_pairs(
    lab: Lab, model: Transformer, tokenizer: BPE, others: "Comparisons | None" = None
) -> list[Pair]:
    """The profile's comparisons of `model`'s own answers, several to a request.

    others: comparisons of other answers, which take the place of their share of these.
    """
    n, answers = lab.profile.reward_requests, lab.profile.reward_answers
    share = others.share if others else 0.0
    requests = training_requests(lab, round(n * (1 - share)), lab.seed)
    pairs = make_pairs(model, ChatTemplate(tokenizer), requests, lab.seed, answers=answers)
    if others:
        pairs += others.draw(round(n * share) * math.comb(answers, 2), lab.seed)
        random.Random(f"mixed/{lab.seed}").shuffle(pairs)
    return pairs


def pairs_of_step(pairs: list[Pair], step: int, size: int, seed: str) -> list[Pair]:
    """A step's pairs, about `size`: every pass over the pairs has another order of requests, and
    all pairs of one request stay in one step; shuffled one by one they are soon known by heart
    (Ouyang et al. 2022, section 3.5)."""
    of_request: dict[str, list[Pair]] = {}
    for pair in pairs:
        of_request.setdefault(pair.request, []).append(pair)
    size = max(size, *map(len, of_request.values()))
    turn, index = divmod(step, max(1, len(pairs) // size))
    order = random.Random(f"{seed}/{turn}").sample(list(of_request), len(of_request))
    starts = itertools.accumulate((len(of_request[r]) for r in order), initial=0)
    return [
        pair
        for request, start in zip(order, starts, strict=False)
        if index * size <= start < (index + 1) * size
        for pair in of_request[request]
    ]


def preference_probability(margin: float, noise: float) -> float:
    """That an annotator prefers what they like better by this margin; noise 0: always."""
    if not noise:
        return float(margin > 0)
    return 1 / (1 + math.exp(-max(-30, min(30, margin / noise))))


def pair_batch(chat: ChatTemplate, pairs: list[Pair], device) -> Batch:
    """Chosen answers, then the rejected ones in the same order: 2 B rows."""
    rows = [(chat.prompt(p.request), p.chosen) for p in pairs]
    rows += [(chat.prompt(p.request), p.rejected) for p in pairs]
    return Batch.of(rows, device)


def pair_batches(lab: Lab, chat: ChatTemplate, pairs: list[Pair]) -> Iterator[tuple[float, Batch]]:
    """A step's pairs in micro-batches: (share of all the pairs, `pair_batch` of those)."""

    def ids(pair: Pair) -> int:
        return 2 * (len(chat.prompt(pair.request)) + max(len(pair.chosen), len(pair.rejected)))

    for part in micro_batches(pairs, lab.profile.micro_tokens, ids):
        yield len(part) / len(pairs), pair_batch(chat, part, lab.device)


# --- Training and measuring -----------------------------------------------------------------


def no_pairs() -> LabError:
    """Why nothing can be learned from an empty list of pairs."""
    return LabError(
        "There is no pair of answers of which one is liked better, so nothing can be learned. "
        "Nothing was changed: train the SFT model for longer, and ask it again."
    )


def train_reward(
    lab: Lab, model: Transformer, tokenizer: BPE, pairs: list[Pair], name="reward", on_step=None
) -> tuple[RewardModel, loop.TrainState]:
    """Fit a reward model to the pairs; it starts as the lower half of `model`, which is copied.

    The head's bias is set at the end so that the mean reward of the pairs is 0 and, by the scale,
    their standard deviation 1: PPO's settings then mean the same for every reward model.
    """
    if not pairs:
        raise no_pairs()
    reward, chat = RewardModel(truncate_layers(model), tokenizer), ChatTemplate(tokenizer)
    profile = lab.profile
    optimizer = Optimizer(reward.named_parameters(), profile.reward_muon_lr, profile.reward_adam_lr)
    job = loop.TrainState(reward.backbone, tokenizer, optimizer, lab.path(name), head=reward.head)
    job.meta = {"stage": "reward", "seed": lab.seed, "pairs": len(pairs)}
    job.meta["from"] = checkpoint.fingerprint(model)
    size = min(profile.reward_batch, len(pairs))

    def one_step(step: int) -> dict:
        drawn = distributed.shard_for_rank(pairs_of_step(pairs, step, size, f"{lab.seed}/reward"))
        weight, record = distributed.token_weight(len(drawn)), Counter()
        for share, batch in pair_batches(lab, chat, drawn):
            chosen, rejected = reward(batch).chunk(2)
            loss = bradley_terry_loss(chosen, rejected)
            job.backward(loss, share * weight)
            record["loss"] += share * loss.item()
            record["accuracy"] += share * more_than(chosen, rejected)
        job.update(learning_rate(step, job.horizon))
        return dict(record)

    if not job.resume():
        job.steps = loop.steps_for_budget(lab, "reward", one_step, job)
        if not lab.steps:
            job.steps = max(1, min(job.steps, profile.reward_passes * len(pairs) // size))
    # Without dropout, some thousand pairs are soon known by heart.
    if loop.run(job, one_step, on_step, name, dropout_rate=loop.DROPOUT):
        standardise(reward, chat, pairs[:512])
        job.meta["standardised"] = True  # a run that was killed before this is not finished
        job.save()
    return reward, job


@torch.no_grad()
def standardise(reward: RewardModel, chat: ChatTemplate, pairs: list[Pair]) -> None:
    """Shift and scale the head: mean 0, standard deviation 1 over these pairs' answers."""
    rewards = torch.cat(score_pairs(reward, chat, pairs))
    reward.head.bias.sub_(rewards.mean()).div_(rewards.std())
    reward.head.weight.div_(rewards.std())


@torch.inference_mode()
def score_pairs(
    reward: RewardModel, chat: ChatTemplate, pairs: list[Pair]
) -> tuple[Tensor, Tensor]:
    """Rewards of the chosen and of the rejected answers: (N,) each."""
    device = reward.head.weight.device
    parts = [
        reward(pair_batch(chat, pairs[i : i + 64], device)).chunk(2)
        for i in range(0, len(pairs), 64)
    ]
    return torch.cat([c for c, _ in parts]), torch.cat([r for _, r in parts])


def score_answers(reward: RewardModel, chat: ChatTemplate, texts: list[str], answers) -> Tensor:
    """Rewards of answers to requests: (N,)."""
    return score_rows(reward, [(chat.prompt(t), a) for t, a in zip(texts, answers, strict=True)])


@torch.inference_mode()
def score_rows(reward: RewardModel, rows: list[Example]) -> Tensor:
    """Rewards of (prompt, answer) ids: (N,)."""
    device = reward.head.weight.device
    return torch.cat(
        [reward(Batch.of(rows[i : i + 128], device)) for i in range(0, len(rows), 128)]
    )


def more_than(chosen: Tensor, rejected: Tensor) -> float:
    """Share of pairs of which the chosen one has more; a tie counts half, as a guess does."""
    return ((chosen > rejected).float() + (chosen == rejected) / 2).mean().item()


def accuracy(reward: RewardModel, chat: ChatTemplate, pairs: list[Pair]) -> float:
    """Share of pairs that the model orders as they stand."""
    return more_than(*score_pairs(reward, chat, pairs))


def held_out_pairs(model: Transformer, chat: ChatTemplate, n: int = 600) -> list[Pair]:
    """Pairs of answers to the held-out requests, in the order of the taste without noise."""
    requests = kitchen.held_out_requests(n + n // 4)
    return make_pairs(model, chat, requests, seed=99, noise=0.0)[:n]


def load_reward(lab: Lab, mine: bool = True) -> RewardModel:
    """The reward model that `Lab.choose` names: the learner's own, else the shipped one."""
    path, _ = lab.choose("reward", mine)
    backbone, tokenizer, _ = lab.load(path)
    tensors, _ = checkpoint.load_checkpoint(path)
    reward = RewardModel(backbone, tokenizer)
    reward.head.weight.data.copy_(tensors["extra.weight"])
    reward.head.bias.data.copy_(tensors["extra.bias"])
    return reward


def run(lab: Lab, on_step=None, others: "Comparisons | None" = None) -> dict:
    """The stage: pairs of the SFT model's answers, a reward model, its accuracy on new pairs."""
    start = time.monotonic()
    model, tokenizer, _ = lab.latest("sft")
    chat = ChatTemplate(tokenizer)
    pairs = training_pairs(lab, model, tokenizer, others)
    test = held_out_pairs(model, chat)
    sampled = time.monotonic() - start
    reward, job = train_reward(lab, model, tokenizer, pairs, on_step=on_step)
    loop.require_finished(job)
    tests = {name: found for name, found in (others.held_out() if others else {}).items() if found}
    return {
        "accuracy": accuracy(reward, chat, test),
        **{f"{name}_accuracy": accuracy(reward, chat, found) for name, found in tests.items()},
        "train_accuracy": accuracy(reward, chat, pairs[:300]),
        "agreement": mean(p.true_order for p in pairs if p.true_order is not None),
        "pairs": len(pairs),
        "steps": job.steps,
        "sample_seconds": sampled,
        "seconds": time.monotonic() - start,
    }
