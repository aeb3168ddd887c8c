"""How much sooner our recipe gets to the loss of a well-known one: same model size, same text.

    python bench/time_to_loss.py [--rival adamw] [--seconds 150] [--seeds 3] [--json FILE]

The rival `adamw` is our model under AdamW with the hyper-parameters that nanoGPT publishes for
small models (learning rate 1e-3 falling by a cosine to 1e-4 after 100 steps of warm-up, betas 0.9
and 0.99, weight decay 0.1, clipping at 1) and GPT-2's initialisation, written anew here.  The rival
`trainer` is GPT-2 of `transformers`, of the same width and depth, trained by the library's own
Trainer with the same hyper-parameters.  It trains for the given seconds; then the least of
FRACTIONS of its steps is sought, by halving, with which ours does not do worse on the held-out
recipes.  Each run has its whole schedule.  The seconds of both are compared.  With
LLMLAB_PROFILE=full both run as the plan of the machine has it, compiled.
"""

import argparse
import json
import math
import statistics
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import torch
from torch import nn

from llmlab.core.losses import next_token_loss
from llmlab.core.model import Transformer
from llmlab.core.optim import Optimizer, learning_rate
from llmlab.corpus.corpus import load_corpus
from llmlab.corpus.mixture import Mixture
from llmlab.lab import Lab, setup
from llmlab.scale import gpu
from llmlab.stages.pretraining import held_out_bpb, plan_for_machine

FRACTIONS = (10, 8, 6, 5, 4, 3.5, 3, 2.75, 2.5, 2.25, 2, 1.75, 1.5, 1.25, 1)


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
    if recipe == "trainer":
        return by_trainer(lab, rows, steps)
    model = lab.build(replace(lab.profile.model, qk_norm=recipe == "ours"))
    p = lab.profile
    rates = {"muon_lr": p.muon_lr, "adam_lr": p.adam_lr, "betas": p.adam_betas,
             "weight_decay": p.weight_decay, "momentum": p.muon_momentum}  # fmt: skip
    factor = learning_rate
    if recipe == "adamw":
        gpt2_init(model)
        rates = {"muon_lr": 0, "adam_lr": 1e-3, "betas": (0.9, 0.99), "weight_decay": 0.1}
        factor = cosine
    kind = gpu.FusedOptimizer if lab.device == "cuda" else Optimizer
    optimizer = kind(model.named_parameters(), **rates)
    optimizer.dtype = lab.dtype
    text, start = gpu.Prefetcher(rows, lab.device), time.perf_counter()
    with gpu.prepared_model(model, lab.device, lab.device == "cuda", False):
        for step in range(steps):
            ids = text.batch(step, p.pretraining_batch, p.seq_len)
            loss = next_token_loss(model(ids[:, :-1]), ids[:, 1:])
            loss.backward()
            optimizer.step(factor(step, steps))  # its norm is a number, so a GPU is waited for
    return time.perf_counter() - start, bpb(lab, model)


def bpb(lab: Lab, model: nn.Module) -> float:
    """Held-out bits per byte."""
    return held_out_bpb(lab, model, lab.tokenizer(), load_corpus(lab.profile.sources))


class Endless(torch.utils.data.IterableDataset):
    """The rows of all steps, as the Trainer asks for them."""

    def __init__(self, lab: Lab, rows: Mixture):
        self.rows, self.size = rows, (lab.profile.pretraining_batch, lab.profile.seq_len)

    def __iter__(self):
        step = 0
        while True:
            yield from ({"input_ids": r, "labels": r} for r in self.rows.batch(step, *self.size))
            step += 1


class Guess(nn.Module):
    """A model of `transformers`, asked as ours is: ids -> logits."""

    def __init__(self, model: nn.Module, max_seq_len: int):
        super().__init__()
        self.model, self.embed = model, model.get_input_embeddings()
        self.config = SimpleNamespace(max_seq_len=max_seq_len)

    def forward(self, ids):
        return self.model(ids).logits


def by_trainer(lab: Lab, rows: Mixture, steps: int) -> tuple[float, float]:
    """`contest` of GPT-2 by its own library's Trainer."""
    from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainingArguments

    p, m = lab.profile, lab.profile.model
    torch.manual_seed(lab.seed)
    shape = GPT2Config(
        vocab_size=m.vocab_size, n_positions=m.max_seq_len + 1, n_embd=m.dim, n_layer=m.n_layers,
        n_head=m.n_heads, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, bos_token_id=0,
        eos_token_id=0, use_cache=False,
    )  # fmt: skip
    model = GPT2LMHeadModel(shape)
    with tempfile.TemporaryDirectory() as folder:
        how = TrainingArguments(
            folder, max_steps=steps, per_device_train_batch_size=p.pretraining_batch,
            learning_rate=1e-3, lr_scheduler_type="cosine_with_min_lr", warmup_steps=100,
            lr_scheduler_kwargs={"min_lr_rate": 0.1}, adam_beta2=0.99, weight_decay=0.1,
            bf16=lab.dtype == torch.bfloat16, fp16=lab.dtype == torch.float16,
            torch_compile=lab.device == "cuda", use_cpu=lab.device == "cpu", seed=lab.seed,
            report_to="none", save_strategy="no", logging_strategy="no", disable_tqdm=True,
        )  # fmt: skip
        trainer, start = Trainer(model, how, train_dataset=Endless(lab, rows)), time.perf_counter()
        trainer.train()
        seconds = time.perf_counter() - start
    return seconds, bpb(lab, Guess(model.eval(), m.max_seq_len))


def steps_in(lab: Lab, rows: Mixture, rival: str, seconds: float) -> int:
    """How many steps of the other recipe fit into so many seconds, from twenty of them; the
    machine is warm then."""
    for _ in range(2):
        took, _ = contest(lab, rows, rival, 20)
    return max(20, round(seconds / (took / 20)))


def compare(lab: Lab, rival: str, seconds: float) -> dict:
    """The other recipe for its seconds, then ours with ever larger fractions of its steps."""
    rows = Mixture(
        load_corpus(lab.profile.sources), lab.tokenizer().to_tiktoken(), lab.profile.mixture,
        lab.seed,
    )  # fmt: skip
    steps = steps_in(lab, rows, rival, seconds)
    took, goal = contest(lab, rows, rival, steps)
    print(f"seed {lab.seed}: {rival} {steps} steps, {took:.0f} s, {goal:.3f} bits per byte")
    figures = {"rival_s": took, "rival_bpb": goal, "steps": steps, "sooner": 0.0}
    low, high = 0, len(FRACTIONS)  # those before `low` are too few steps, those from `high` enough
    while low < high:
        middle = (low + high) // 2
        fraction = FRACTIONS[middle]
        mine, found = contest(lab, rows, "ours", round(steps / fraction))
        print(f"  ours {steps / fraction:.0f} steps, {mine:.0f} s, {found:.3f}", flush=True)
        if found <= goal:
            high, sooner = middle, took / mine
            figures |= {"ours_s": mine, "ours_bpb": found, "fraction": fraction, "sooner": sooner}
        else:
            low = middle + 1
    return figures


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Time our recipe to the loss of another.")
    parser.add_argument("--rival", choices=("adamw", "trainer"), default="adamw")
    parser.add_argument("--seconds", type=float, default=150)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    args = parser.parse_args(argv)
    lab = plan_for_machine(setup())
    print(lab.machine())
    labs = [replace(lab, seed=lab.seed + i) for i in range(args.seeds)]
    runs = [compare(each, args.rival, args.seconds) for each in labs]
    print(f"sooner by {statistics.median(run['sooner'] for run in runs):.1f} x, the median")
    if args.json:
        figures = {"device": lab.machine(), "runs": runs}
        args.json.write_text(json.dumps(figures, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
