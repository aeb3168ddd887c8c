"""Stage 7, reinforcement learning: the model's own answers, scored, and more of the better ones.

GRPO climbs the rules, which a program checks; PPO climbs the learned reward model, which saw only
comparisons.  Where the "GRPO" here departs from Shao et al. 2024: each batch of answers is used
once (so the ratio is 1 and never clipped), tokens are averaged over the batch (as in DAPO), and
groups whose answers all earn the same are left out of the update: their advantages are zero, and
the KL penalty, which they would still carry, acts through the other groups alone.
"""

import math
import random
import time
from collections.abc import Callable
from statistics import mean, pstdev
from typing import TYPE_CHECKING

import torch
from torch import nn

from llmlab import checkpoint, kitchen
from llmlab.artifacts import LabError
from llmlab.chat import (
    MAX_ANSWER,
    Batch,
    ChatTemplate,
    Sample,
    answer_logprobs,
    answer_requests,
    evaluate,
    micro_batches,
    sample_answers,
)
from llmlab.core.losses import gae, group_advantage, grpo_loss, kl_estimate, masked_mean, ppo_loss
from llmlab.core.model import Transformer
from llmlab.core.optim import Optimizer, learning_rate
from llmlab.core.tokenizer import BPE
from llmlab.datasets.gsm8k import VerifierScore, solve_rate
from llmlab.kitchen import Request, Score
from llmlab.lab import Lab
from llmlab.scale import distributed
from llmlab.stages.reward import RewardModel, load_reward, score_rows, training_requests
from llmlab.training import loop
from llmlab.training.model_copies import reference_copy, to_compute_dtype, trainable_copy

if TYPE_CHECKING:
    from llmlab.datasets.gsm8k import Problem, Problems


def rules_reward(score: Score | VerifierScore) -> float:
    """What GRPO climbs: the mean of the rules, and one more for keeping all of them."""
    return score.rules + score.kept


class PromptSampler:
    """A step's requests, drawn from a pool of training requests: a function of seed and step.

    problems: word problems that replace their share of a step's requests.
    """

    def __init__(self, lab: Lab, problems: "Problems | None" = None):
        self.requests = training_requests(lab, lab.profile.rl_requests, lab.seed + 1)
        self.seed, self.problems = lab.seed, problems

    def draw(self, step: int, n: int) -> "tuple[list[Request | Problem], list[str]]":
        """n requests, and how they are worded."""
        rng = random.Random(f"{self.seed}/rl/{step}")
        requests = rng.sample(self.requests, n)
        if self.problems:
            others = self.problems.draw(round(n * self.problems.share), rng)
            requests[: len(others)] = others
        return requests, [r.text(rng) for r in requests]


class RolloutSampler:
    """Draws the requests of each step, and answers them with the model that learns."""

    def __init__(self, lab: Lab, model: Transformer, chat: ChatTemplate, prompts: PromptSampler):
        self.lab, self.model, self.chat, self.prompts = lab, model, chat, prompts
        self.sampling_model: Transformer | None = None  # one copy for the whole run
        self.max_new_tokens = prompts.problems.longest if prompts.problems else MAX_ANSWER

    def sample(self, step: int, n_requests: int, n: int = 1) -> list[Sample]:
        """n answers to each of a step's requests, or to this process's share of these.

        Every process draws with another seed.
        """
        requests, texts = map(distributed.shard_for_rank, self.prompts.draw(step, n_requests))
        self.sampling_model = to_compute_dtype(self.model, self.sampling_model)
        seed = self.lab.seed * 1_000_003 + step + 500_009 * distributed.rank()
        how = {"temperature": 1.0, "seed": seed, "max_new_tokens": self.max_new_tokens}
        return sample_answers(self.sampling_model, self.chat, requests, texts, n, **how)


def check_rewards(samples: list[Sample]) -> None:
    """LabError where an answer earned what is no finite number: nothing could be learned."""
    for sample in samples:
        if not math.isfinite(sample.reward):
            raise LabError(
                f"The answer {sample.text[:80]!r} earned {sample.reward}, which is no number to "
                "learn from. The last saved step was kept: mend the reward, then run it again."
            )


def per_token(values: torch.Tensor, mask: torch.Tensor) -> list[list[float]]:
    """Each answer's own values: (B, T - 1) -> lists, one value for each of its ids."""
    return [row[own].tolist() for row, own in zip(values, mask, strict=True)]


# --- GRPO -----------------------------------------------------------------------------------


def grpo(
    lab: Lab,
    model: Transformer,
    tokenizer: BPE,
    reward: Callable[[Score], float] = rules_reward,
    name="grpo",
    kl_coef: float | None = None,
    on_step=None,
    on_rollouts: Callable[[int, list[Sample]], None] | None = None,
    extra_reward: Callable[[str, str], float] | None = None,
    preference_model: RewardModel | None = None,
    problems: "Problems | None" = None,
) -> loop.TrainState:
    """Group-relative policy optimisation on a reward of the judge's scores.

    kl_coef: the weight of the KL penalty, else the profile's.
    problems: requests of another kind, by their share; each earns what its own verifier says.

    preference_model: a reward model, for an assistant that is reliable and has taste as well.  An
    answer that keeps every rule earns up to the profile's `last_preference` more, by sigmoid(its
    number); to others taste is worth nothing.  Groups are then not divided by their deviation:
    where all keep the rules, that would make a shade of taste as weighty as a rule.

    extra_reward: what a request and its answer, as texts, earn besides, such as a learner's own
    rule.
    on_rollouts(step, samples): called once a step, with the answers of groups that teach, in the
    order of the groups; while the budget is measured, it is called for the first steps as well.
    """
    profile, reference = lab.profile, reference_copy(model)
    rollouts = RolloutSampler(lab, model, ChatTemplate(tokenizer), PromptSampler(lab, problems))
    kl_coef = profile.grpo_kl_coef if kl_coef is None else kl_coef
    optimizer = Optimizer(model.named_parameters(), 0, profile.grpo_lr, profile.rl_betas)
    job = loop.TrainState(model, tokenizer, optimizer, lab.path(name))
    job.meta = {"stage": "grpo", "seed": lab.seed, "kl_coef": kl_coef, "lr": profile.grpo_lr}
    if problems:
        job.meta["problems"] = [problems.share, len(problems.rows)]
    if preference_model:
        job.meta["judge"] = checkpoint.fingerprint(preference_model.backbone)
    job.meta["from"] = checkpoint.fingerprint(model)

    def one_step(step: int) -> dict:
        samples = rollouts.sample(step, profile.grpo_requests, profile.grpo_group)
        for sample in samples:
            sample.parts = sample.score.parts
            sample.reward = float(reward(sample.score))
            if extra_reward:
                sample.reward += float(extra_reward(sample.request, sample.text))
        if preference_model:
            add_taste(preference_model, samples, profile.last_preference)
        check_rewards(samples)
        informative = set_advantages(samples, profile.grpo_group, scale=preference_model is None)
        record = accumulate_gradients(informative)
        if distributed.any_rank(bool(informative))[0]:
            job.update(learning_rate(step, job.horizon, warmup=0.1, cooldown=0.4))
        if on_rollouts:
            on_rollouts(step + 1, informative)
        return record | grpo_record(samples, informative)

    def accumulate_gradients(samples: list[Sample]) -> dict[str, float]:
        """Takes the gradients of the samples' loss, and notes each sample's log-ratio."""
        loss = kl = 0.0
        n = sum(len(sample.answer) for sample in samples)
        weight = distributed.token_weight(n)
        for part in micro_batches(samples, profile.micro_tokens, len):
            batch = Batch.of([sample.row for sample in part], lab.device)
            advantage = torch.tensor([sample.advantage[0] for sample in part], device=lab.device)
            logp = answer_logprobs(model, batch)
            with torch.no_grad():
                ref_logp = answer_logprobs(reference, batch)
            share = batch.mask.sum().item() / n  # of all the ids, which count alike
            part_loss = grpo_loss(logp, logp.detach(), ref_logp, advantage, batch.mask, kl_coef)
            job.backward(part_loss, share * weight)
            loss += share * part_loss.item()
            kl += share * masked_mean(kl_estimate(logp.detach(), ref_logp), batch.mask).item()
            log_ratios = per_token(logp.detach() - ref_logp, batch.mask)
            for sample, log_ratio in zip(part, log_ratios, strict=True):
                sample.log_ratio = log_ratio
        return {"loss": loss, "kl": kl}

    if not job.resume():
        job.steps = loop.steps_for_budget(
            lab, "last" if preference_model else "grpo", one_step, job
        )
    loop.run(job, one_step, on_step, name)
    return job


def add_taste(taste: RewardModel, samples: list[Sample], most: float) -> None:
    """Raise the reward of each answer that keeps every rule, by up to `most`."""
    if kept := [sample for sample in samples if sample.score.kept]:
        liked = score_rows(taste, [sample.row for sample in kept]).sigmoid().tolist()
        for sample, like in zip(kept, liked, strict=True):
            sample.reward += most * like


def set_advantages(samples: list[Sample], group: int, scale: bool) -> list[Sample]:
    """Give each sample its advantage within its group; returns those of groups that teach."""
    rewards = torch.tensor([sample.reward for sample in samples]).view(-1, group)
    informative = []
    for i, row in enumerate(group_advantage(rewards, scale).tolist()):
        siblings = samples[i * group : (i + 1) * group]
        for sample, advantage in zip(siblings, row, strict=True):
            sample.advantage = [advantage] * len(sample.answer)
        informative += siblings if any(row) else []
    return informative


def grpo_record(samples: list[Sample], informative: list[Sample]) -> dict[str, float]:
    """What a step of GRPO reports.  taught: the share of answers in groups that teach something."""
    record = {
        "reward": mean(s.reward for s in samples), "kept": mean(s.score.kept for s in samples),
        "once": mean(s.score.once == 1 for s in samples),
        "taught": len(informative) / len(samples), "length": mean(len(s.answer) for s in samples),
    }  # fmt: skip
    if marks := [s.score for s in samples if isinstance(s.score, VerifierScore)]:
        record["solved"] = mean(m.right for m in marks)
    return record


# --- PPO ------------------------------------------------------------------------------------


def ppo(
    lab: Lab,
    model: Transformer,
    tokenizer: BPE,
    reward: RewardModel,
    name="ppo",
    kl_coef: float | None = None,
    on_step=None,
    on_rollouts: Callable[[int, list[Sample]], None] | None = None,
) -> loop.TrainState:
    """Proximal policy optimisation against the reward model; the gold judge is recorded, and never
    trained on.

    The reward comes at an answer's last token; at each token stands the KL penalty, -kl_coef *
    log(policy / reference), Ouyang et al. 2022, eq. 2.  The critic is a linear head on the policy's
    own states, and its loss trains these as well.  Each batch is used once, in minibatches, each
    of which is a step of the optimiser.
    kl_coef: as for `grpo`.  on_rollouts: as for `grpo`, with every answer.
    """
    profile, reference = lab.profile, reference_copy(model)
    rollouts = RolloutSampler(lab, model, ChatTemplate(tokenizer), PromptSampler(lab))
    kl_coef = profile.ppo_kl_coef if kl_coef is None else kl_coef
    critic = nn.Linear(model.config.dim, 1, device=lab.device)
    nn.init.zeros_(critic.weight)
    nn.init.zeros_(critic.bias)
    both = [*model.named_parameters(), *((f"critic.{k}", p) for k, p in critic.named_parameters())]
    optimizer = Optimizer(both, 0, profile.ppo_lr, profile.rl_betas)
    job = loop.TrainState(model, tokenizer, optimizer, lab.path(name), head=critic)
    job.meta = {"stage": "ppo", "seed": lab.seed, "kl_coef": kl_coef, "lr": profile.ppo_lr}
    job.meta["judge"] = checkpoint.fingerprint(reward.backbone)
    job.meta["from"] = checkpoint.fingerprint(model)
    n_minibatches = math.ceil(profile.ppo_batch / profile.ppo_minibatch)
    n_minibatches = min(n_minibatches, profile.ppo_batch // distributed.world_size())

    def one_step(step: int) -> dict:
        samples = rollouts.sample(step, profile.ppo_batch)
        proxy = score_rows(reward, [sample.row for sample in samples])
        for sample, value in zip(samples, proxy.tolist(), strict=True):
            sample.reward = value
            sample.parts = {"reward model": value, "gold": sample.score.gold, **sample.score.parts}
        check_rewards(samples)
        batch = Batch.of([sample.row for sample in samples], lab.device)
        old_logp, gap, advantage, returns = advantages_and_returns(batch, proxy)
        whole, losses = (batch.ids, batch.mask, old_logp, advantage, returns), []
        order = torch.randperm(len(samples), generator=torch.Generator().manual_seed(step))
        for part in order.to(lab.device).tensor_split(n_minibatches):
            losses.append(accumulate_gradients(*(x[part] for x in whole)))
            job.update(learning_rate(step, job.horizon, warmup=0.1, cooldown=0.4))
        if on_rollouts:
            advantages, log_ratios = per_token(advantage, batch.mask), per_token(gap, batch.mask)
            for sample, *numbers in zip(samples, advantages, log_ratios, strict=True):
                sample.advantage, sample.log_ratio = numbers
            on_rollouts(step + 1, samples)
        return {
            "loss": mean(losses), "proxy": proxy.mean().item(),
            **{name: mean(getattr(s.score, name) for s in samples)
               for name in ("gold", "taste", "kept")},
            "kl": gap.sum(1).mean().item(),
            "length": mean(len(s.answer) for s in samples),
        }  # fmt: skip

    @torch.no_grad()
    def advantages_and_returns(batch: Batch, proxy: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Of the policy that has sampled, (B, T - 1) each: its log-probabilities, how far these are
        above the reference's, the advantages, normalised over the batch, and the critic's targets.
        """
        hidden = model.hidden(batch.ids[:, :-1])
        old_logp = answer_logprobs(model, batch, hidden)
        gap = old_logp - answer_logprobs(reference, batch)
        values = critic(hidden.float())[..., 0] * batch.mask
        rewards = -kl_coef * gap
        rewards[torch.arange(len(proxy), device=lab.device), batch.lengths() - 1] += proxy
        advantage = answer_gae(rewards, values, batch.mask)
        returns, of_answers = advantage + values, advantage[batch.mask]
        spread = of_answers.std(correction=0) + 1e-6
        return old_logp, gap, (advantage - of_answers.mean()) / spread, returns

    def accumulate_gradients(ids, mask, old_logp, advantage, returns) -> float:
        """Takes the gradients of a minibatch's loss, the policy's and the critic's, and returns
        it; each (B, T - 1), and ids (B, T)."""
        batch = Batch(ids, mask)
        hidden = model.hidden(ids[:, :-1])
        logp = answer_logprobs(model, batch, hidden)
        error = (critic(hidden.float())[..., 0] - returns).square()
        policy_loss = ppo_loss(logp, old_logp, advantage, mask)
        loss = policy_loss + profile.ppo_value_coef * masked_mean(error, mask)
        job.backward(loss, distributed.token_weight(mask.sum().item()))
        return loss.item()

    if not job.resume():
        job.steps = loop.steps_for_budget(lab, "ppo", one_step, job)
    loop.run(job, one_step, on_step, name)
    return job


def answer_gae(rewards, values, mask):
    """`gae` over the answers of right-padded rows: prompts are skipped, then put back."""
    start = mask.int().argmax(1, keepdim=True)  # first column of each answer
    columns = torch.arange(mask.shape[1], device=mask.device)
    order = (columns + start) % mask.shape[1]  # answers moved to the front
    moved = gae(rewards.gather(1, order), values.gather(1, order), mask.gather(1, order))
    return torch.zeros_like(values).scatter(1, order, moved)


# --- What else changed ----------------------------------------------------------------------


def variety(model: Transformer, tokenizer: BPE, n_requests: int = 40, n: int = 16) -> float:
    """Distinct answers among n to the same held-out request, as a share, at temperature 1."""
    asked = kitchen.held_out_requests(n_requests)
    samples = answer_requests(model, ChatTemplate(tokenizer), asked, temperature=1.0, n=n)
    answers = [tuple(sample.answer) for sample in samples]
    return mean(len(set(answers[i : i + n])) / n for i in range(0, len(answers), n))


def times_kept(model: Transformer, tokenizer: BPE, n_requests: int = 64, n: int = 32) -> list[int]:
    """For each of the first held-out requests: how many of n answers, drawn at temperature 1,
    keep every rule."""
    asked = kitchen.held_out_requests(n_requests)
    samples = answer_requests(model, ChatTemplate(tokenizer), asked, temperature=1.0, n=n)
    kept = [sample.score.kept for sample in samples]
    return [sum(kept[i : i + n]) for i in range(0, len(kept), n)]


def pass_at_k(right: int, n: int, k: int) -> float:
    """Chance that of k answers one at least is right, from n of which `right` were: all ways to
    draw k of the n, less those that miss.  Chen et al. 2021, eq. 1."""
    return 1 - math.comb(n - right, k) / math.comb(n, k)


@torch.inference_mode()
def title_nats(base: Transformer, model: Transformer, tokenizer: BPE, n: int = 300) -> float:
    """Nats that the base needs for a token of the titles that `model` gives its dishes, read as
    the beginning of a text: how much they are still titles from a kitchen."""
    chat = ChatTemplate(tokenizer)
    samples = answer_requests(model, chat, kitchen.held_out_requests(n))
    titles = [sample.text.partition(":")[0] + ":" for sample in samples]
    rows = [([chat.end], chat.encode(title)) for title in titles]
    batch = Batch.of(rows, base.embed.weight.device)
    return -masked_mean(answer_logprobs(base, batch), batch.mask).item()


# --- The stage ------------------------------------------------------------------------------


def compare(reward: RewardModel, tokenizer: BPE, before: Transformer, after: Transformer) -> dict:
    """Gain of gold and proxy on the held-out requests, in standard deviations of `before`."""
    gold, proxy = [], []
    for model in (before, after):
        samples = answer_requests(model, ChatTemplate(tokenizer), kitchen.held_out_requests())
        gold.append([sample.score.gold for sample in samples])
        proxy.append(score_rows(reward, [sample.row for sample in samples]).tolist())
    return {
        "ppo_gold_gain_sd": (mean(gold[1]) - mean(gold[0])) / pstdev(gold[0]),
        "ppo_proxy_gain_sd": (mean(proxy[1]) - mean(proxy[0])) / pstdev(proxy[0]),
    }


def run(lab: Lab, on_step=None, problems: "Problems | None" = None) -> dict:
    """The stage: GRPO on the rules and PPO on the reward model, both from the SFT model; then the
    last assistant, which goes on from GRPO's."""
    start = time.monotonic()
    model, tokenizer, _ = lab.latest("sft")
    before = reference_copy(model)
    job = loop.require_finished(grpo(lab, model, tokenizer, on_step=on_step, problems=problems))
    figures = {"sft_kept": evaluate(before, tokenizer)["kept"], "grpo_steps": job.steps}
    after = evaluate(model, tokenizer)
    figures |= {f"grpo_{k}": v for k, v in after.items()}
    if problems and (test := problems.held_out()):
        for name, solver in (("sft", before), ("grpo", model)):
            if (share := solve_rate(solver, tokenizer, test)) is not None:
                figures[f"{name}_solved"] = share
    figures["grpo_seconds"] = time.monotonic() - start
    start, grpo_model = time.monotonic(), model
    model, reward = trainable_copy(before), load_reward(lab)
    job = loop.require_finished(ppo(lab, model, tokenizer, reward, on_step=on_step))
    figures |= compare(reward, tokenizer, before, model)
    figures |= {"ppo_kept": evaluate(model, tokenizer)["kept"], "ppo_steps": job.steps}
    figures |= {"ppo_kl": mean(r["kl"] for r in job.log[-5:])}
    figures["ppo_seconds"] = time.monotonic() - start
    return {**figures, **run_last(lab, before, grpo_model, tokenizer, reward, on_step)}


def run_last(lab: Lab, before, model, tokenizer: BPE, reward: RewardModel, on_step) -> dict:
    """The last assistant: rules and taste together, from a model that keeps the rules already.

    Its gain in gold is over the SFT model, `before`.
    """
    start = time.monotonic()
    job = loop.require_finished(
        grpo(lab, model, tokenizer, name="last", on_step=on_step, preference_model=reward)
    )
    after = evaluate(model, tokenizer)
    gain = compare(reward, tokenizer, before, model)["ppo_gold_gain_sd"]
    return {
        "last_steps": job.steps, "last_kept": after["kept"], "last_taste": after["taste"],
        "last_gold_gain_sd": gain, "last_seconds": time.monotonic() - start,
    }  # fmt: skip
