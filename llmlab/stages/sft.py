"""Stage 5, supervised fine-tuning: from a model that goes on writing to one that answers.

An example is one line of ids: <|user|> request <|assistant|> answer <|end|>, and only the
answer's ids are learned.  Cards are made new for every batch, with foods swapped inside their
families, so that reading the request is the only way to be right.
"""

import copy
import random
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from torch import Tensor

from llmlab import checkpoint, kitchen
from llmlab.chat import Batch, ChatTemplate, Example, evaluate, micro_batches, n_ids
from llmlab.core.losses import next_token_loss
from llmlab.core.model import Transformer
from llmlab.core.optim import Optimizer, learning_rate
from llmlab.core.tokenizer import BPE
from llmlab.corpus.corpus import load_corpus
from llmlab.kitchen import Card
from llmlab.lab import Lab
from llmlab.scale import distributed
from llmlab.training import loop

if TYPE_CHECKING:
    from llmlab.datasets.conversations import Conversations

SHORT = 100  # steps of a run that needs the full rate


def answer_loss(model: Transformer, batch: Batch) -> Tensor:
    """`sft_loss`, with the head applied at the answer's places alone, where it is needed."""
    hidden = model.hidden(batch.ids[:, :-1])  # (B, T - 1, dim)
    return next_token_loss(model.head(hidden[batch.mask]), batch.targets[batch.mask])


def n_learned(example: Example) -> int:
    """How many ids of an example are learned: those of its answers."""
    return sum(map(len, example[1::2]))


# --- Examples -------------------------------------------------------------------------------


def training_cards(lab: Lab) -> list[Card]:
    """Cards of the training recipes; no held-out recipe is among them."""
    corpus = load_corpus(lab.profile.sources)
    return [card for card in (r.card() for r in corpus.recipes) if card]


class Examples:
    """Endless training batches; `batch(step)` is a pure function of seed and step.

    Eight batches are made at a time and sorted by length, so that little of a batch is padding.
    What a lesson may take away: swap_rate=0 leaves the recipes' own foods, asked_first=False their
    own order; mask=False lets the request be learned too; limit: so many examples, again and again.
    talks: conversations on other things, mixed in by their share.
    """

    CHUNK = 8

    def __init__(
        self, cards: list[Card], chat: ChatTemplate, seed: int, swap_rate: float = 0.7,
        asked_first: bool = True, mask: bool = True, limit: int | None = None,
        talks: "Conversations | None" = None,
    ):  # fmt: skip
        self.talks = talks
        self.cards, self.chat, self.seed, self.swap_rate = cards, chat, seed, swap_rate
        self.asked_first, self.mask, self.limit = asked_first, mask, limit
        self._chunk: tuple[int, list] | None = None

    def pair(self, rng: random.Random) -> tuple[list[int], list[int]]:
        """The ids of one example: (what is read, what is learned)."""
        if self.limit:
            rng = random.Random(f"{self.seed}/example/{rng.randrange(self.limit)}")
        card = rng.choice(self.cards)
        request, text = kitchen.example(card, rng, self.swap_rate, self.asked_first)
        prompt, answer = self.chat.prompt(request.text(rng)), self.chat.answer(text)
        return (prompt, answer) if self.mask else (prompt[:1], prompt[1:] + answer)

    def example(self, rng: random.Random) -> Example:
        """A card's, or a conversation's."""
        return (self.talks and self.talks.draw(rng)) or self.pair(rng)

    def batch(self, step: int, size: int) -> list[Example]:
        k, i = divmod(step, self.CHUNK)
        if self._chunk is None or self._chunk[0] != k:
            rng = random.Random(f"{self.seed}/{k}")
            made = [self.example(rng) for _ in range(size * self.CHUNK)]
            made.sort(key=n_ids)
            batches = [made[j * size : (j + 1) * size] for j in range(self.CHUNK)]
            rng.shuffle(batches)
            self._chunk = (k, batches)
        return self._chunk[1][i]


def rate(step: int, steps: int) -> float:
    """Factor on the learning rate: `learning_rate`'s, and lower in a long run, whose answers are
    better for it; a short one has to learn as much in fewer steps."""
    return min(1.0, (SHORT / steps) ** 0.5) * learning_rate(step, steps)


def tune(
    lab: Lab, model: Transformer, tokenizer: BPE, name="sft", on_step=None,
    talks: "Conversations | None" = None, **how,
) -> loop.TrainState:  # fmt: skip
    """Fine-tune `model` on cards; resumes a run of the same name, seed and `how`.

    talks: conversations on other things besides.  how: what `Examples` takes besides: swap_rate,
    asked_first, mask, limit.
    """
    examples = Examples(training_cards(lab), ChatTemplate(tokenizer), lab.seed, talks=talks, **how)
    profile = lab.profile
    optimizer = Optimizer(model.named_parameters(), profile.sft_muon_lr, profile.sft_adam_lr)
    job = loop.TrainState(model, tokenizer, optimizer, lab.path(name))
    job.meta = {"stage": "sft", "seed": lab.seed, "how": how, "from": checkpoint.fingerprint(model)}
    job.meta |= {"talks": talks.about()} if talks else {}

    def one_step(step: int) -> dict:
        drawn, loss = distributed.shard_for_rank(examples.batch(step, profile.sft_batch)), 0.0
        tokens = sum(map(n_learned, drawn))
        weight = distributed.token_weight(tokens)
        for part in micro_batches(drawn, profile.micro_tokens):
            share = sum(map(n_learned, part)) / tokens
            part_loss = answer_loss(model, Batch.of(part, lab.device))
            job.backward(part_loss, share * weight)
            loss += share * part_loss.item()
        job.update(rate(step, job.horizon))
        return {"loss": weight * loss, "tokens": tokens}

    if not job.resume():
        job.steps = loop.steps_for_budget(lab, "sft", one_step, job)
    loop.run(job, one_step, on_step, name)
    return job


# --- The stage ------------------------------------------------------------------------------


def run(lab: Lab, on_step=None, talks: "Conversations | None" = None) -> dict:
    """The stage: tune the base, judge the assistant.  Returns figures for the report."""
    start = time.monotonic()
    model, tokenizer, _ = lab.latest("base", mine=False)
    job = loop.require_finished(tune(lab, model, tokenizer, on_step=on_step, talks=talks))
    trained = time.monotonic() - start
    figures = evaluate(model, tokenizer)
    return {**figures, "steps": job.steps, "train_seconds": trained,
            "seconds": time.monotonic() - start}  # fmt: skip


def controls(lab: Lab, steps: int) -> dict:
    """What the swaps and the base are good for: the same steps without each, and half of them."""
    base, tokenizer, _ = lab.latest("base", mine=False)
    scratch = lab.build(base.config)
    half = copy.deepcopy(base)
    same, fewer = replace(lab, steps=steps), replace(lab, steps=max(1, steps // 2))
    loop.require_finished(tune(same, base, tokenizer, "sft-without-swaps", swap_rate=0.0))
    loop.require_finished(tune(same, scratch, tokenizer, "sft-from-scratch"))
    loop.require_finished(tune(fewer, half, tokenizer, "sft-half"))
    names = {"without_swaps": base, "from_scratch": scratch, "in_half_the_steps": half}
    return {f"kept_{name}": evaluate(m, tokenizer)["kept"] for name, m in names.items()}
