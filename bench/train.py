"""How fast one training step is, beside `transformers`, in one process and by turns.

    python bench/train.py [--shape small] [--rounds 5] [--peer NAME=PATH] [--json FILE]

Every contestant trains a model of the same shape on the same rows: forward, loss, backward,
clipping and update, in bf16 where the machine multiplies in it; on a GPU all are compiled.  A
round times a few steps of each in turn, so that what else runs on the machine slows all of them;
the median round counts.

A peer is a Python file elsewhere with one function,

    def make(shape: Shape) -> Callable[[Tensor], float]

which builds a model with its optimiser and returns a step: ids (batch, seq_len + 1) -> loss.
`Shape` is the dataclass below.  Nothing of a peer is needed to run the rest.
"""

import argparse
import importlib.util
import json
import math
import statistics
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from llmlab.core.losses import next_token_loss
from llmlab.core.model import ModelConfig, Transformer
from llmlab.core.optim import Optimizer
from llmlab.device import pick_device
from llmlab.lab import setup
from llmlab.profiles import CLASS
from llmlab.scale import gpu
from llmlab.stages import costs

Step = Callable[[Tensor], float]
DEVICE, DTYPE = pick_device()
ON_GPU = DEVICE == "cuda"  # where all are compiled, and ours runs as the `full` profile has it


@dataclass(frozen=True)
class Shape:
    """What all contestants build; hidden_dim: of SwiGLU, so that it has 4 · dim of GPT-2's size."""

    vocab_size: int
    dim: int
    n_layers: int
    n_heads: int
    head_dim: int
    hidden_dim: int
    seq_len: int
    batch: int

    def config(self) -> ModelConfig:
        return ModelConfig(
            vocab_size=self.vocab_size, dim=self.dim, n_layers=self.n_layers, n_heads=self.n_heads,
            n_kv_heads=self.n_heads, head_dim=self.head_dim, hidden_dim=self.hidden_dim,
            max_seq_len=self.seq_len,
        )  # fmt: skip


m = CLASS.model
SHAPES = {
    "small": Shape(4096, 256, 6, 8, 32, 683, seq_len=256, batch=16),
    "large": Shape(50_304, 768, 12, 12, 64, 2048, seq_len=1024, batch=16),  # GPT-2's: 124 M
    "class": Shape(m.vocab_size, m.dim, m.n_layers, m.n_heads, m.head_dim, m.hidden_dim,
                   CLASS.seq_len, CLASS.pretraining_batch),
}  # fmt: skip


# --- The contestants ----------------------------------------------------------------------------


def ours(shape: Shape, muon_lr: float = 0.02) -> Step:
    """llmlab's model and optimiser; muon_lr=0: AdamW for all parameters."""
    model = Transformer(shape.config()).to(DEVICE)
    model.compute_dtype = DTYPE
    if ON_GPU or DTYPE == torch.float32:  # as `gpu.prepared_model` has it
        gpu.prepare_model(model, compiled=ON_GPU)
    kind = gpu.FusedOptimizer if ON_GPU else Optimizer
    optimizer = kind(model.named_parameters(), muon_lr=muon_lr)
    optimizer.dtype = DTYPE

    def step(ids: Tensor) -> float:
        loss = next_token_loss(model(ids[:, :-1]), ids[:, 1:])
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def transformers_step(model) -> Step:
    """A model of `transformers` under autocast, with PyTorch's fused AdamW."""
    model = model.to(DEVICE).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
    if ON_GPU:
        model.compile()
    mixed = torch.autocast(DEVICE, DTYPE) if DTYPE != torch.float32 else nullcontext()

    def step(ids: Tensor) -> float:
        with mixed:
            inputs, targets = ids[:, :-1], ids[:, 1:].contiguous()
            loss = model(inputs, labels=inputs, shift_labels=targets).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        return loss.item()

    return step


def llama(shape: Shape) -> Step:
    from transformers import LlamaConfig, LlamaForCausalLM

    return transformers_step(LlamaForCausalLM(LlamaConfig(
        vocab_size=shape.vocab_size, hidden_size=shape.dim, num_hidden_layers=shape.n_layers,
        num_attention_heads=shape.n_heads, intermediate_size=shape.hidden_dim,
        max_position_embeddings=shape.seq_len, tie_word_embeddings=True, use_cache=False,
    )))  # fmt: skip


def gpt2(shape: Shape) -> Step:
    from transformers import GPT2Config, GPT2LMHeadModel

    return transformers_step(GPT2LMHeadModel(GPT2Config(
        vocab_size=shape.vocab_size, n_embd=shape.dim, n_layer=shape.n_layers,
        n_head=shape.n_heads, n_positions=shape.seq_len, use_cache=False,
        resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0,
    )))  # fmt: skip


def peer(path: str) -> Callable[[Shape], Step]:
    """The `make` of a peer's file; SystemExit where it has none."""
    spec = importlib.util.spec_from_file_location(Path(path).stem, path)
    if spec is None or not Path(path).is_file():
        sys.exit(f"{path} is no Python file; a peer is one with a function make(shape).")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if not hasattr(module, "make"):
        sys.exit(f"{path} has no function make(shape).")
    return module.make


CONTESTANTS = {
    "llmlab": ours,
    "llmlab, AdamW alone": lambda shape: ours(shape, muon_lr=0),
    "transformers Llama": llama,
    "transformers GPT-2": gpt2,
}


# --- Timed by turns -----------------------------------------------------------------------------


def tokens_per_s(steps: dict[str, Step], shape: Shape, rounds: int, each: int = 4) -> dict:
    """Median tokens a second of each contestant over the rounds."""
    generator = torch.Generator().manual_seed(0)
    size = (shape.batch, shape.seq_len + 1)
    ids = torch.randint(shape.vocab_size, size, generator=generator).to(DEVICE)
    speeds: dict[str, list[float]] = {name: [] for name in steps}
    for number in range(rounds + 1):
        for name, step in steps.items():
            start = time.perf_counter()
            losses = [step(ids) for _ in range(each)]
            took = time.perf_counter() - start
            assert all(map(math.isfinite, losses)), f"{name}: the loss is {losses[-1]}"
            if number:  # the first round warms up
                speeds[name].append(each * shape.batch * shape.seq_len / took)
    return {name: statistics.median(values) for name, values in speeds.items()}


def bench(name: str, shape: Shape, rounds: int, contestants: dict) -> dict:
    """Print the table of a shape; give its figures back."""
    peak = costs.matmul_peak(DEVICE, DTYPE)
    config = shape.config()
    steps = {contestant: make(shape) for contestant, make in contestants.items()}
    speeds = tokens_per_s(steps, shape, rounds)
    flops = sum(costs.token_flops(config, shape.seq_len).values())
    best = max(speed for peer, speed in speeds.items() if not peer.startswith("llmlab"))
    print(f"\n{name}: {shape}\n{costs.total(config):,} parameters; "
          f"peak of matrix products {peak / 1e9:,.0f} GFLOP/s in {str(DTYPE)[6:]}")  # fmt: skip
    print(f"{'':<22}{'tokens/s':>10}{'x best peer':>13}{'of the peak':>13}")
    for contestant, rate in speeds.items():
        share = rate * flops / peak
        print(f"{contestant:<22}{rate:>10,.0f}{rate / best:>13.2f}{share:>13.0%}")
    return {"shape": asdict(shape), "peak": peak, "tokens_per_s": speeds}


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Time a training step beside others.")
    parser.add_argument(
        "--shape", choices=SHAPES, help="one of them (default: all, 'large' on a GPU)"
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--peer", action="append", default=[], metavar="NAME=PATH")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    args = parser.parse_args(argv)
    print(setup().machine())
    named = dict(item.split("=", 1) for item in args.peer)
    contestants = CONTESTANTS | {name: peer(path) for name, path in named.items()}
    usual = [name for name in SHAPES if ON_GPU or name != "large"]
    shapes = [args.shape] if args.shape else usual
    figures = {name: bench(name, SHAPES[name], args.rounds, contestants) for name in shapes}
    if args.json:
        args.json.write_text(json.dumps({"device": setup().machine(), **figures}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
