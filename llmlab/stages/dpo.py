"""Stage 6, direct preference optimisation: from comparisons to a policy, without a reward model.

The policy's own log-probabilities, less those of the model it began as, are a reward; Bradley-Terry
on that reward is the loss.  Rafailov et al. 2023.
"""

import time
from collections import Counter

import torch
from torch import Tensor

from llmlab import checkpoint
from llmlab.chat import Batch, ChatTemplate, answer_logprobs, evaluate
from llmlab.core.losses import dpo_loss
from llmlab.core.model import Transformer
from llmlab.core.optim import Optimizer, learning_rate
from llmlab.core.tokenizer import BPE
from llmlab.datasets.preference_pairs import Pair
from llmlab.lab import Lab
from llmlab.scale import distributed
from llmlab.stages.reward import more_than, no_pairs, pair_batches, pairs_of_step, training_pairs
from llmlab.training import loop
from llmlab.training.model_copies import reference_copy


def summed(model: Transformer, batch: Batch) -> Tensor:
    """Log-probability of each whole answer: (B,)."""
    return answer_logprobs(model, batch).sum(1)


def dpo(
    lab: Lab,
    model: Transformer,
    tokenizer: BPE,
    pairs: list[Pair],
    name: str = "dpo",
    on_step=None,
) -> loop.TrainState:
    """Train `model` on pairs of answers; the reference is the model as it comes in.

    Records: the loss, the share of pairs that the implied reward orders right, and by how much
    log(policy / reference) of the chosen answers has grown (`chosen`, in nats).
    """
    if not pairs:
        raise no_pairs()
    chat, reference, profile = ChatTemplate(tokenizer), reference_copy(model), lab.profile
    beta, lr = profile.dpo_beta, profile.dpo_lr
    optimizer = Optimizer(model.named_parameters(), 0, lr, profile.rl_betas)
    job = loop.TrainState(model, tokenizer, optimizer, lab.path(name))
    job.meta = {"stage": "dpo", "seed": lab.seed, "beta": beta, "lr": lr, "pairs": len(pairs)}
    job.meta["from"] = checkpoint.fingerprint(model)
    size = min(profile.reward_batch, len(pairs))

    def one_step(step: int) -> dict:
        drawn = distributed.shard_for_rank(pairs_of_step(pairs, step, size, f"{lab.seed}/dpo"))
        weight, record = distributed.token_weight(len(drawn)), Counter()
        for share, batch in pair_batches(lab, chat, drawn):
            chosen, rejected = summed(model, batch).chunk(2)
            with torch.no_grad():
                ref_chosen, ref_rejected = summed(reference, batch).chunk(2)
            loss = dpo_loss(chosen, rejected, ref_chosen, ref_rejected, beta)
            job.backward(loss, share * weight)
            gained, lost = (chosen - ref_chosen).detach(), (rejected - ref_rejected).detach()
            record["loss"] += share * loss.item()
            record["accuracy"] += share * more_than(gained, lost)
            record["chosen"] += share * gained.mean().item()
        job.update(learning_rate(step, job.horizon))
        return dict(record)

    if not job.resume():
        job.steps = loop.steps_for_budget(lab, "dpo", one_step, job)
    loop.run(job, one_step, on_step, name)
    return job


def run(lab: Lab, on_step=None) -> dict:
    """The stage: the SFT model tuned on pairs of its own answers, and judged."""
    start = time.monotonic()
    model, tokenizer, _ = lab.latest("sft")
    pairs = training_pairs(lab, model, tokenizer)
    job = loop.require_finished(dpo(lab, model, tokenizer, pairs, on_step=on_step))
    figures = {"steps": job.steps, "pairs": len(pairs), **evaluate(model, tokenizer)}
    return {**figures, "seconds": time.monotonic() - start}
