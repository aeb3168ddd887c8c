"""How much sooner our recipe gets to the loss of a well-known one: same model size, same text.

    python bench/time_to_loss.py [--seconds 150] [--seeds 3] [--json FILE]

The other recipe is AdamW with the hyper-parameters that nanoGPT publishes for small models
(learning rate 1e-3 falling by a cosine to 1e-4 after 100 steps of warm-up, betas 0.9 and 0.99,
weight decay 0.1, clipping at 1) and GPT-2's initialisation, written anew here.  It trains for the
given seconds; then ours has a tenth of its steps, an eighth, …, until it does not do worse on the
held-out recipes.  Each run has its whole schedule.  The seconds of both are compared.
"""

import argparse
import json
import math
import statistics
import sys
import time
from dataclasses import replace
from pathlib import Path

from torch import nn

from llmlab.core.losses import next_token_loss
from llmlab.core.model import Transformer
from llmlab.core.optim import Optimizer, learning_rate
from llmlab.lab import Lab, setup
from llmlab.stages.data import Mixture, load_corpus
from llmlab.stages.pretraining import held_out_bpb

FRACTIONS = (10, 8, 6, 5, 4, 3, 2, 1)


def gpt2_init(model: Transformer) -> None:
    """Normal weights of 0.02, those that add to the residual stream scaled down by its depth.

    Radford et al. 2019, section 2.3.
    """
    for name, p in model.named_parameters():
        if p.ndim == 2:
            adds = name.endswith(("o_proj.weight", "down_proj.weight"))
            nn.init.normal_(p, std=0.02 / math.sqrt(2 * model.config.n_layers) if adds else 0.02)


def cosine(step: int, steps: int, warmup: int = 100, least: float = 0.1) -> float:
    """Factor on the learning rate: up in a line, then down by a cosine to `least`."""
    if step < warmup:
        return (step + 1) / (warmup + 1)
    done = (step - warmup) / max(1, steps - warmup)
    return least + (1 - least) * 0.5 * (1 + math.cos(math.pi * done))


def contest(lab: Lab, rows: Mixture, recipe: str, steps: int) -> tuple[float, float]:
    """(seconds of training, held-out bits per byte) of a recipe after so many steps."""
    model = lab.build(replace(lab.profile.model, qk_norm=recipe == "ours"))
    p = lab.profile
    rates = {"muon_lr": p.muon_lr, "adam_lr": p.adam_lr, "weight_decay": p.weight_decay}
    factor = learning_rate
    if recipe == "adamw":
        gpt2_init(model)
        rates = {"muon_lr": 0, "adam_lr": 1e-3, "betas": (0.9, 0.99), "weight_decay": 0.1}
        factor = cosine
    optimizer = Optimizer(model.named_parameters(), **rates)
    optimizer.dtype = lab.dtype
    seconds = 0.0
    for step in range(steps):
        ids = rows.batch(step, lab.profile.pretraining_batch, lab.profile.seq_len).to(lab.device)
        start = time.perf_counter()
        loss = next_token_loss(model(ids[:, :-1]), ids[:, 1:])
        loss.backward()
        optimizer.step(factor(step, steps))
        seconds += time.perf_counter() - start
    bpb = held_out_bpb(lab, model, lab.tokenizer(), load_corpus(lab.profile.sources))
    return seconds, bpb


def steps_in(lab: Lab, rows: Mixture, seconds: float) -> int:
    """How many steps of the other recipe fit into so many seconds, from twenty of them."""
    took, _ = contest(lab, rows, "adamw", 20)
    return max(20, round(seconds / (took / 20)))


def compare(lab: Lab, seconds: float) -> dict:
    """The other recipe for its seconds, then ours with ever larger fractions of its steps."""
    rows = Mixture(
        load_corpus(lab.profile.sources), lab.tokenizer().to_tiktoken(), lab.profile.mixture,
        lab.seed,
    )  # fmt: skip
    steps = steps_in(lab, rows, seconds)
    took, goal = contest(lab, rows, "adamw", steps)
    print(f"seed {lab.seed}: AdamW {steps} steps, {took:.0f} s, {goal:.3f} bits per byte")
    for fraction in FRACTIONS:
        mine, bpb = contest(lab, rows, "ours", steps // fraction)
        print(f"  ours {steps // fraction} steps, {mine:.0f} s, {bpb:.3f}", flush=True)
        if bpb <= goal:
            return {"adamw_s": took, "adamw_bpb": goal, "ours_s": mine, "ours_bpb": bpb,
                    "steps": steps, "fraction": fraction, "sooner": took / mine}  # fmt: skip
    return {"adamw_s": took, "adamw_bpb": goal, "sooner": 0.0}


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Time our recipe to the loss of another.")
    parser.add_argument("--seconds", type=float, default=150)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    args = parser.parse_args(argv)
    lab = setup()
    print(lab.machine())
    runs = [compare(replace(lab, seed=lab.seed + i), args.seconds) for i in range(args.seeds)]
    print(f"sooner by {statistics.median(run['sooner'] for run in runs):.1f} x, the median")
    if args.json:
        figures = {"device": lab.machine(), "runs": runs}
        args.json.write_text(json.dumps(figures, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
