"""How a finished run becomes a checkpoint that comes with the project."""

from pathlib import Path
from statistics import mean

import torch

from llmlab import artifacts, checkpoint, kitchen
from llmlab.chat import ChatTemplate, evaluate, score_model
from llmlab.corpus.corpus import load_corpus
from llmlab.lab import Lab
from llmlab.stages import reward
from llmlab.stages.pretraining import held_out_bpb

SHIPPED = ("base", "sft", "reward", "dpo", "ppo", "grpo", "last")
LOG_POINTS = 400


def measure(lab: Lab, name: str) -> dict[str, float]:
    """The figures of a shipped checkpoint, measured anew: what its log has recorded."""
    model, tokenizer, _ = lab.load(lab.shipped(name))
    if name == "base":
        return {"val_bpb": held_out_bpb(lab, model, tokenizer, load_corpus(lab.profile.sources))}
    if name != "reward":
        return evaluate(model, tokenizer)
    answering, _, _ = lab.load(lab.shipped("sft"))
    chat = ChatTemplate(tokenizer)
    pairs = reward.held_out_pairs(answering, chat)
    return {"accuracy": reward.accuracy(reward.load_reward(lab, mine=False), chat, pairs)}


def taste_and_rules(lab: Lab) -> dict[str, float]:
    """Mean and deviation of taste and rules over the shipped SFT model's answers to the held-out
    requests: the constants of the gold judge."""
    model, tokenizer, _ = lab.load(lab.shipped("sft"))
    chat, asked = ChatTemplate(tokenizer), kitchen.held_out_requests()
    scores = score_model(model, chat, asked)
    taste = torch.tensor([s.taste for s in scores])
    rules = torch.tensor([s.rules for s in scores])
    return {
        "TASTE_MEAN": taste.mean().item(), "TASTE_SD": taste.std().item(),
        "RULES_MEAN": rules.mean().item(), "RULES_SD": rules.std().item(),
    }  # fmt: skip


def publish(lab: Lab, name: str, command: str) -> Path:
    """Keep a finished run as the project's checkpoint: weights in bf16 without the optimiser's
    state, and a log beside it with what made it and what it is worth."""
    tensors, meta = checkpoint.load_checkpoint(lab.path(name))
    wanted = ("model.", "extra.") if name == "reward" else ("model.",)
    weights = {
        k: v.bfloat16() if k.startswith("model.") else v
        for k, v in tensors.items() if k.startswith(wanted)
    }  # fmt: skip
    log = meta.pop("log")
    # By this, what was trained from it, or judged by it, before it was rounded may name it.
    meta["unrounded"] = checkpoint.fingerprint(lab.load(lab.path(name))[0])
    path = lab.shipped(name)
    checkpoint.save_checkpoint(path, weights, {k: v for k, v in meta.items() if "seconds" not in k})
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
        publish_snapshots(lab)
    return path


def publish_snapshots(lab: Lab) -> None:
    """The base's token matrix at log-spaced steps, in one file: each row in 8 bits and a scale."""
    files = sorted((lab.runs / "base-snapshots").glob("*.safetensors"))
    tensors = {}
    for file in files:
        matrix = checkpoint.load_checkpoint(file)[0]["embed"].float()  # (V, dim)
        scale = matrix.abs().amax(1, keepdim=True) / 127  # (V, 1)
        tensors[f"step/{file.stem}"] = (matrix / scale).round().to(torch.int8)
        tensors[f"scale/{file.stem}"] = scale
    path = lab.shipped("base").with_name("base-snapshots.safetensors")
    checkpoint.save_checkpoint(path, tensors, {"steps": [int(f.stem) for f in files]})


def thin(log: list[dict], points: int = LOG_POINTS) -> list[dict]:
    """A log of at most `points` records: each the mean of its neighbours, at their last step."""
    width = max(1, len(log) // points)
    groups = [log[i : i + width] for i in range(0, len(log), width)]
    return [
        {k: g[-1]["step"] if k == "step" else round(mean(r[k] for r in g), 4) for k in g[0]}
        for g in groups
    ]
