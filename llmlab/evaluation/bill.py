"""The bill: what each stage of a run cost, in FLOPs and seconds, from its log."""

import random
from dataclasses import dataclass
from statistics import mean
from types import MappingProxyType

from llmlab import checkpoint, kitchen
from llmlab.chat import ChatTemplate
from llmlab.checkpoint import unpack_tokenizer
from llmlab.core.model import ModelConfig
from llmlab.lab import Lab, shipped_log
from llmlab.profiles import CLASS
from llmlab.stages.costs import Model, inference_flops, total, train_flops


@dataclass(frozen=True)
class Spent:
    """What a stage of the line took: FLOPs by the formulas, processor seconds by its log."""

    stage: str
    flops: float
    cpu_seconds: float


def shipped_base(lab: Lab) -> Model:
    """The base model that comes with the project, with the tokens that it has read."""
    shape = ModelConfig(**checkpoint.read_meta(lab.shipped("base"))["config"])
    tokens = shipped_log(lab, "base")["tokens"]
    return Model("this series' base", total(shape), "data/checkpoints", shape, tokens)


# Which of the article's four stages each checkpoint belongs to.
STAGES_OF = MappingProxyType({
    "base": "pretraining", "sft": "SFT", "reward": "reward model", "dpo": "RL", "ppo": "RL",
    "grpo": "RL", "last": "RL",
})  # fmt: skip


def line_bill(lab: Lab) -> list[Spent]:
    """The bill of the shipped checkpoints, stage by stage."""
    runs = run_bill(lab).values()
    return [
        Spent(stage, *(sum(getattr(r, what) for r in runs if r.stage == stage)
                       for what in ("flops", "cpu_seconds")))
        for stage in dict.fromkeys(STAGES_OF.values())
    ]  # fmt: skip


def run_bill(lab: Lab) -> dict[str, Spent]:
    """The bill of each shipped checkpoint, by its name, from its log.  Evaluation is left out.

    Rows of prompt and answer have the mean length of the held-out requests and of SFT's answers.
    """
    there = [name for name in STAGES_OF if lab.shipped(name).exists()]
    logs = {name: shipped_log(lab, name) for name in there}
    metas = {name: checkpoint.read_meta(lab.shipped(name)) for name in there}
    sizes = {name: total(ModelConfig(**meta["config"])) for name, meta in metas.items()}
    row = prompt_tokens(lab) + logs["sft"]["tokens"] / (logs["sft"]["steps"] * CLASS.sft_batch)
    return {
        name: Spent(STAGES_OF[name], run_flops(metas[name]["stage"], logs[name], sizes, name, row),
                    logs[name]["cpu_seconds"])
        for name in there
    }  # fmt: skip


def run_flops(kind: str, log: dict, sizes: dict[str, int], name: str, row: float) -> float:
    """The FLOPs of a run: 2 N for a token that is read or sampled, 6 N for one that is learned.

    kind: the stage that made it; sizes: N of each checkpoint; row: tokens of prompt and answer.
    """
    n, steps = sizes[name], log["steps"]
    if kind == "pretraining":
        return train_flops(n, log["tokens"])
    if kind == "sft":
        return train_flops(n, steps * CLASS.sft_batch * row)
    if kind in ("reward", "dpo"):  # SFT's answers, then pairs; DPO's reference
        answers = CLASS.reward_answers * CLASS.reward_requests
        sampled = inference_flops(sizes["sft"], answers * row)
        pairs = 2 * steps * CLASS.reward_batch * row
        return sampled + train_flops(n, pairs) + (kind == "dpo") * inference_flops(n, pairs)
    if kind == "grpo":  # samples, asks the reference, learns where a group's answers differ
        answers = steps * CLASS.grpo_requests * CLASS.grpo_group * row
        taught = mean(record["taught"] for record in log["log"])
        return 2 * inference_flops(n, answers) + train_flops(n, taught * answers)
    answers = steps * CLASS.ppo_batch * row  # PPO samples, asks itself, the reference, the reward
    asked = 3 * inference_flops(n, answers) + inference_flops(sizes["reward"], answers)
    return asked + train_flops(n, answers)


def prompt_tokens(lab: Lab) -> float:
    """The mean length of a request in the shipped tokenizer's tokens, the chat's marks included."""
    packed = checkpoint.read_meta(lab.shipped("base"))["tokenizer"]
    chat, rng = ChatTemplate(unpack_tokenizer(packed)), random.Random(0)
    return mean(len(chat.prompt(r.text(rng))) for r in kitchen.held_out_requests())
