"""Stage 7, reinforcement learning: the model's own answers, scored, and more of the better ones.

GRPO climbs the rules, which a program checks; PPO climbs the learned reward model, which saw only
comparisons.  Where the "GRPO" here departs from Shao et al. 2024: each batch of answers is used
once (so the ratio is 1 and never clipped), tokens are averaged over the batch (as in DAPO), and
groups whose answers all earn the same are left out of the update: their advantages are zero, and
the KL penalty, which they would still carry, acts through the other groups alone.
"""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from math import ceil, comb, isfinite
from statistics import mean, pstdev
from typing import TYPE_CHECKING

import torch
from torch import nn

from llmlab import checkpoint, kitchen
from llmlab.artifacts import LabError
from llmlab.chat import MAX_ANSWER, Batch, Chat, answer_logprobs, answered, ask, evaluate, judge_all
from llmlab.core.losses import gae, group_advantage, grpo_loss, kl_estimate, masked_mean, ppo_loss
from llmlab.core.model import Transformer
from llmlab.core.optim import Optimizer, learning_rate
from llmlab.core.tokenizer import BPE
from llmlab.datasets.gsm8k import Marks, solved
from llmlab.kitchen import Request, Score
from llmlab.lab import Lab
from llmlab.scale import distributed
from llmlab.stages.reward import RewardModel, load_reward, score_answers, training_requests
from llmlab.training import loop
from llmlab.training.model_copies import freeze, unfreeze

if TYPE_CHECKING:
    from llmlab.datasets.gsm8k import Problem, Problems

TASTE_WORTH = 1.8  # of the last assistant, where a kept rule is worth 0.2 and all five 1 more
CHUNK = 64  # answers that go through the model at once


def rules_reward(score: Score | Marks) -> float:
    """What GRPO climbs: the mean of the rules, and one more for keeping all of them."""
    return score.rules + score.kept


def rule_parts(score: Score | Marks) -> dict[str, float]:
    """What the rules said, by name."""
    if isinstance(score, Marks):
        return score.parts()
    return {rule: getattr(score, rule) for rule in kitchen.RULES}


class Requests:
    """Endless training requests: the k-th step's are a pure function of seed and step.

    problems: of other kinds, which take the place of their share of a step's requests.
    """

    def __init__(self, lab: Lab, n: int = 4000, problems: "Problems | None" = None):
        self.requests, self.seed = training_requests(lab, n, lab.seed + 1), lab.seed
        self.problems = problems

    def draw(self, step: int, n: int) -> "tuple[list[Request | Problem], list[str]]":
        rng = random.Random(f"{self.seed}/rl/{step}")
        requests = rng.sample(self.requests, n)
        if self.problems:
            others = self.problems.draw(round(n * self.problems.share), rng)
            requests[: len(others)] = others
        return requests, [r.text(rng) for r in requests]


def step_seed(lab: Lab, step: int) -> int:
    """The seed of a step's answers: another one in every process."""
    return lab.seed * 1_000_003 + step + 500_009 * distributed.rank()


def by_length(rows: list[tuple[list, list]], size: int) -> list[tuple[list[int], float]]:
    """Numbers of (prompt, answer) rows in parts of alike length, so that little is padding, and
    each part's share of all the answers' ids: part means, weighted so, are the mean of the whole.
    """
    order = sorted(range(len(rows)), key=lambda i: len(rows[i][0]) + len(rows[i][1]))
    parts = [order[i : i + size] for i in range(0, len(order), size)]
    ids = [sum(len(rows[i][1]) for i in part) for part in parts]
    return [(part, n / sum(ids)) for part, n in zip(parts, ids, strict=True)]


@dataclass(frozen=True)
class Rollout:
    """An answer as a step of RL saw it: what it earned, and what each of its ids is taught.

    parts: what the judges said, by name.  advantage, kl: one for each id of the answer; kl is
    log(policy / reference), whose sum over the answer estimates its KL.
    """

    request: str
    answer: list[int]
    reward: float
    parts: dict[str, float]
    advantage: list[float]
    kl: list[float]


def answer_rows(values: torch.Tensor, mask: torch.Tensor) -> list[list[float]]:
    """Each answer's own values: (B, T - 1) -> lists, one value for each of its ids."""
    return [row[own].tolist() for row, own in zip(values, mask, strict=True)]


# --- GRPO -----------------------------------------------------------------------------------


def grpo(
    lab: Lab,
    model: Transformer,
    tokenizer: BPE,
    reward: Callable[[Score], float] = rules_reward,
    name="grpo",
    kl_coef: float = 0.08,
    lr: float = 5e-4,
    on_step=None,
    on_rollouts: Callable[[int, list[Rollout]], None] | None = None,
    term: Callable[[str, str], float] | None = None,
    taste: RewardModel | None = None,
    problems: "Problems | None" = None,
) -> loop.Job:
    """Group-relative policy optimisation on a reward of the judge's scores.

    problems: requests of another kind, by their share; each earns what its own verifier says.

    taste: a reward model, for an assistant that is reliable and has taste as well.  An answer that
    keeps every rule earns up to TASTE_WORTH more, by sigmoid(its number); to others taste is worth
    nothing.  Groups are then not divided by their deviation: where all keep the rules, that would
    make a shade of taste as weighty as a rule.

    term: what a request and its answer, as texts, earn besides, such as a learner's own rule.
    on_rollouts(step, rollouts): called with the answers that teach something, group by group; it
    may be called for a step twice, first while the budget is measured.
    """
    profile, chat, requests = lab.profile, Chat(tokenizer), Requests(lab, problems=problems)
    reference = freeze(model)
    optimizer = Optimizer(model.named_parameters(), muon_lr=0, adam_lr=lr, betas=(0.9, 0.99))
    job = loop.Job(model, tokenizer, optimizer, lab.path(name))
    job.meta = {"stage": "grpo", "seed": lab.seed, "kl_coef": kl_coef, "lr": lr}
    job.meta |= {"problems": [problems.share, len(problems.rows)]} if problems else {}
    job.meta |= {"judge": checkpoint.fingerprint(taste.backbone)} if taste else {}
    job.meta["from"] = checkpoint.fingerprint(model)
    group, most = profile.grpo_group, problems.longest if problems else MAX_ANSWER

    def one_step(step: int) -> dict:
        asked, texts = map(distributed.mine, requests.draw(step, profile.grpo_requests))
        asked = [r for r in asked for _ in range(group)]
        texts = [t for t in texts for _ in range(group)]
        how = {"temperature": 1.0, "seed": step_seed(lab, step), "most": most}
        answers = ask(model, chat, texts, **how)
        scores = judge_all(asked, chat, answers)
        earned = [float(reward(s)) for s in scores]
        if term:
            own = (float(term(t, chat.read(a))) for t, a in zip(texts, answers, strict=True))
            earned = [e + more for e, more in zip(earned, own, strict=True)]
        if taste:
            liked = score_answers(taste, chat, texts, answers).sigmoid().tolist()
            more = [TASTE_WORTH * s.kept * like for s, like in zip(scores, liked, strict=True)]
            earned = [e + m for e, m in zip(earned, more, strict=True)]
        check_rewards(earned, [chat.read(a) for a in answers])
        rewards = torch.tensor(earned).view(-1, group)
        advantage = group_advantage(rewards, scale=taste is None)  # (requests, group)
        keep = advantage.any(1).repeat_interleave(group)  # (requests * group,)
        advantage = advantage.flatten()
        record = {
            "reward": rewards.mean().item(), "kept": mean(s.kept for s in scores),
            "once": mean(s.once == 1 for s in scores), "taught": keep.float().mean().item(),
            "length": mean(map(len, answers)),
        }  # fmt: skip
        if marks := [s for s in scores if isinstance(s, Marks)]:
            record["solved"] = mean(m.right for m in marks)
        rows = [(chat.prompt(t), a) for t, a, k in zip(texts, answers, keep, strict=True) if k]
        loss = kl = 0.0
        weight = distributed.weight(sum(len(answer) for _, answer in rows))
        gaps: dict[int, list[float]] = {}  # row -> log(policy / reference) of its ids
        for part, share in by_length(rows, CHUNK):
            batch = Batch.of([rows[i] for i in part], lab.device)
            logp = answer_logprobs(model, batch)
            with torch.no_grad():
                ref_logp = answer_logprobs(reference, batch)
            better = advantage[keep][part].to(lab.device)
            piece = grpo_loss(logp, logp.detach(), ref_logp, better, batch.mask, kl_coef) * share
            job.backward(piece, weight)
            loss += piece.item()
            if on_rollouts:
                own = answer_rows(logp.detach() - ref_logp, batch.mask)
                gaps |= dict(zip(part, own, strict=True))
            kl += masked_mean(kl_estimate(logp.detach(), ref_logp), batch.mask).item() * share
        if distributed.anywhere(bool(rows))[0]:
            job.update(learning_rate(step, job.steps or 10**9, warmup=0.1, cooldown=0.4))
        if on_rollouts:
            taught = keep.nonzero()[:, 0].tolist()
            on_rollouts(step + 1, [
                Rollout(texts[i], answers[i], earned[i], rule_parts(scores[i]),
                        [advantage[i].item()] * len(answers[i]), gaps[row])
                for row, i in enumerate(taught)
            ])  # fmt: skip
        return {"loss": loss, "kl": kl, **record}

    if not job.resume():
        job.steps = loop.calibrate(lab, "last" if taste else "grpo", one_step, job)
    loop.run(job, one_step, on_step, name)
    return job


def check_rewards(rewards: list[float], answers: list[str]) -> None:
    """LabError where an answer earned what is no finite number: nothing could be learned."""
    for reward, answer in zip(rewards, answers, strict=True):
        if not isfinite(reward):
            raise LabError(
                f"The answer {answer[:80]!r} earned {reward}, which is no number to learn from. "
                "The last saved step was kept: mend the reward, then run it again."
            )


# --- PPO ------------------------------------------------------------------------------------


def ppo(
    lab: Lab,
    model: Transformer,
    tokenizer: BPE,
    reward: RewardModel,
    name="ppo",
    kl_coef: float = 0.2,
    lr: float = 3e-4,
    on_step=None,
    on_rollouts: Callable[[int, list[Rollout]], None] | None = None,
) -> loop.Job:
    """Proximal policy optimisation against the reward model, with the gold judge drawn beside it.

    The reward comes at an answer's last token; at each token stands -kl_coef * log(policy /
    reference), Ouyang et al. 2022, eq. 2.  The gold judge is only watched.
    on_rollouts: as for `grpo`, with all answers.
    """
    profile, chat, requests = lab.profile, Chat(tokenizer), Requests(lab)
    parts = ceil(profile.ppo_batch / distributed.size() / CHUNK)  # as many in every process
    reference = freeze(model)
    critic = nn.Linear(model.config.dim, 1, device=lab.device)
    nn.init.zeros_(critic.weight)
    nn.init.zeros_(critic.bias)
    both = [*model.named_parameters(), *((f"critic.{k}", p) for k, p in critic.named_parameters())]
    optimizer = Optimizer(both, muon_lr=0, adam_lr=lr, betas=(0.9, 0.99))
    job = loop.Job(model, tokenizer, optimizer, lab.path(name), extra=critic)
    job.meta = {"stage": "ppo", "seed": lab.seed, "kl_coef": kl_coef, "lr": lr}
    job.meta["judge"] = checkpoint.fingerprint(reward.backbone)
    job.meta["from"] = checkpoint.fingerprint(model)

    def one_step(step: int) -> dict:
        asked, texts = map(distributed.mine, requests.draw(step, profile.ppo_batch))
        answers = ask(model, chat, texts, temperature=1.0, seed=step_seed(lab, step))
        scores = judge_all(asked, chat, answers)
        proxy = score_answers(reward, chat, texts, answers)
        check_rewards(proxy.tolist(), [chat.read(a) for a in answers])
        batch = Batch.of(
            [(chat.prompt(t), a) for t, a in zip(texts, answers, strict=True)], lab.device
        )
        with torch.no_grad():
            hidden = model.hidden(batch.ids[:, :-1])
            old_logp = answer_logprobs(model, batch, hidden)
            values = critic(hidden.float())[..., 0] * batch.mask  # (B, T - 1)
            gap = old_logp - answer_logprobs(reference, batch)
            rewards = -kl_coef * gap
            rows = torch.arange(len(answers), device=lab.device)
            rewards[rows, batch.lengths() - 1] += proxy
            advantage = answer_gae(rewards, values, batch.mask)
            returns = advantage + values
            spread = advantage[batch.mask]
            advantage = (advantage - spread.mean()) / (spread.std(correction=0) + 1e-6)
        if on_rollouts:
            rows_of = [answer_rows(x, batch.mask) for x in (advantage, gap)]
            said = [{"reward model": p, "gold": s.gold, **rule_parts(s)}
                    for p, s in zip(proxy.tolist(), scores, strict=True)]  # fmt: skip
            seen = zip(texts, answers, proxy.tolist(), said, *rows_of, strict=True)
            on_rollouts(step + 1, [Rollout(*one) for one in seen])
        losses = []
        order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(step))
        for part in order.to(lab.device).tensor_split(parts):
            piece = Batch(batch.ids[part], batch.mask[part])
            hidden = model.hidden(piece.ids[:, :-1])
            logp = answer_logprobs(model, piece, hidden)
            policy = ppo_loss(logp, old_logp[part], advantage[part], piece.mask)
            error = (critic(hidden.float())[..., 0] - returns[part]).square()
            loss = policy + 0.1 * masked_mean(error, piece.mask)
            job.backward(loss, distributed.weight(piece.mask.sum().item()))
            job.update(learning_rate(step, job.steps or 10**9, warmup=0.1, cooldown=0.4))
            losses.append(loss.item())
        return {
            "loss": mean(losses), "proxy": proxy.mean().item(),
            "gold": mean(s.gold for s in scores), "taste": mean(s.taste for s in scores),
            "kept": mean(s.kept for s in scores), "kl": gap.sum(1).mean().item(),
            "length": mean(map(len, answers)),
        }  # fmt: skip

    if not job.resume():
        job.steps = loop.calibrate(lab, "ppo", one_step, job)
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
    chat, rng = Chat(tokenizer), random.Random(0)
    texts = [r.text(rng) for r in kitchen.held_out_requests(n_requests)]
    answers = ask(model, chat, [t for t in texts for _ in range(n)], temperature=1.0)
    groups = [answers[i : i + n] for i in range(0, len(answers), n)]
    return mean(len(set(map(tuple, group))) / n for group in groups)


def times_kept(model: Transformer, tokenizer: BPE, n_requests: int = 64, n: int = 32) -> list[int]:
    """For each of the first held-out requests: how many of n answers, drawn at temperature 1,
    keep every rule."""
    chat, rng = Chat(tokenizer), random.Random(0)
    asked = [r for r in kitchen.held_out_requests(n_requests) for _ in range(n)]
    answers = ask(model, chat, [r.text(rng) for r in asked], temperature=1.0)
    kept = [score.kept for score in judge_all(asked, chat, answers)]
    return [sum(kept[i : i + n]) for i in range(0, len(kept), n)]


def pass_at_k(right: int, n: int, k: int) -> float:
    """Chance that of k answers one at least is right, from n of which `right` were: all ways to
    draw k of the n, less those that miss.  Chen et al. 2021, eq. 1."""
    return 1 - comb(n - right, k) / comb(n, k)


@torch.inference_mode()
def title_nats(base: Transformer, model: Transformer, tokenizer: BPE, n: int = 300) -> float:
    """Nats that the base needs for a token of the titles that `model` gives its dishes, read as
    the beginning of a text: how much they are still titles from a kitchen."""
    chat = Chat(tokenizer)
    _, answers = answered(model, chat, kitchen.held_out_requests(n))
    titles = [chat.read(a).partition(":")[0] + ":" for a in answers]
    rows = [([chat.end], chat.encoding.encode_ordinary(title)) for title in titles]
    batch = Batch.of(rows, base.embed.weight.device)
    return -masked_mean(answer_logprobs(base, batch), batch.mask).item()


# --- The stage ------------------------------------------------------------------------------


def compare(reward: RewardModel, tokenizer: BPE, before: Transformer, after: Transformer) -> dict:
    """Gain of gold and proxy on the held-out requests, in standard deviations of `before`."""
    chat, asked = Chat(tokenizer), kitchen.held_out_requests()
    gold, proxy = [], []
    for model in (before, after):
        texts, answers = answered(model, chat, asked)
        gold.append([s.gold for s in judge_all(asked, chat, answers)])
        proxy.append(score_answers(reward, chat, texts, answers).tolist())
    return {
        "ppo_gold_gain_sd": (mean(gold[1]) - mean(gold[0])) / pstdev(gold[0]),
        "ppo_proxy_gain_sd": (mean(proxy[1]) - mean(proxy[0])) / pstdev(proxy[0]),
    }


def run(lab: Lab, on_step=None, problems: "Problems | None" = None) -> dict:
    """The stage: GRPO on the rules and PPO on the reward model, both from the SFT model; then the
    last assistant, which goes on from GRPO's."""
    start = time.monotonic()
    model, tokenizer, _ = lab.latest("sft")
    before = freeze(model)
    job = loop.whole(grpo(lab, model, tokenizer, on_step=on_step, problems=problems))
    figures = {"sft_kept": evaluate(before, tokenizer)["kept"], "grpo_steps": job.steps}
    after = evaluate(model, tokenizer)
    figures |= {f"grpo_{k}": v for k, v in after.items()}
    if problems and (test := problems.held_out()):
        for name, solver in (("sft", before), ("grpo", model)):
            if (share := solved(solver, tokenizer, test)) is not None:
                figures[f"{name}_solved"] = share
    figures["grpo_seconds"] = time.monotonic() - start
    start, reliable = time.monotonic(), model
    model, reward = unfreeze(before), load_reward(lab)
    job = loop.whole(ppo(lab, model, tokenizer, reward, on_step=on_step))
    figures |= compare(reward, tokenizer, before, model)
    figures |= {"ppo_kept": evaluate(model, tokenizer)["kept"], "ppo_steps": job.steps}
    figures |= {"ppo_kl": mean(r["kl"] for r in job.log[-5:])}
    figures["ppo_seconds"] = time.monotonic() - start
    return {**figures, **run_last(lab, before, reliable, tokenizer, reward, on_step)}


def run_last(lab: Lab, before, model, tokenizer: BPE, reward: RewardModel, on_step) -> dict:
    """The last assistant: rules and taste together, from a model that keeps the rules already.

    Its gain in gold is over the SFT model, `before`.
    """
    start = time.monotonic()
    job = loop.whole(grpo(lab, model, tokenizer, name="last", on_step=on_step, taste=reward))
    after = evaluate(model, tokenizer)
    gain = compare(reward, tokenizer, before, model)["ppo_gold_gain_sd"]
    return {
        "last_steps": job.steps, "last_kept": after["kept"], "last_taste": after["taste"],
        "last_gold_gain_sd": gain, "last_seconds": time.monotonic() - start,
    }  # fmt: skip
