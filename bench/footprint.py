"""What llmlab takes besides time: seconds to import, megabytes to train.

    python bench/footprint.py [--rounds 5] [--peer NAME=PATH] [--json FILE]

Each figure is of a process of its own.  Imports take turns: `torch` alone, `llmlab`, which needs no
torch until it is set up, and a whole stage, which does.  Memory is the peak of a process that
trains the class's shape for eight steps (`bench/train.py` names the contestants and says what a
peer is), less what it held before.
"""

import argparse
import json
import multiprocessing
import statistics
import subprocess
import sys
from pathlib import Path

import torch
import train

from llmlab.cli import peak_mb
from llmlab.lab import setup

TIMED = "import time; t = time.perf_counter(); import {}; print(time.perf_counter() - t)"


def import_seconds(module: str) -> float:
    """How long a fresh Python needs to import `module`."""
    out = subprocess.run(
        [sys.executable, "-c", TIMED.format(module)], capture_output=True, text=True, check=True
    )
    return float(out.stdout)


def import_cost(rounds: int) -> dict[str, float]:
    """Median seconds of each import, and of a stage over torch alone."""
    modules = ("torch", "llmlab", "llmlab.stages.pretraining")
    took = [[import_seconds(m) for m in modules] for _ in range(rounds + 1)][1:]  # one warms up
    seconds = dict(zip(modules, map(statistics.median, zip(*took, strict=True)), strict=True))
    return seconds | {"that stage over torch": statistics.median(s - t for t, _, s in took)}


def training_mb(contestant: str, peer: str | None, steps: int = 8) -> float:
    """Peak megabytes of training the class's shape, over those before a model was made."""
    shape = train.SHAPES["class"]
    make = train.peer(peer) if peer else train.CONTESTANTS[contestant]
    torch.randn(64, 64, dtype=train.DTYPE).square().mean()
    before = peak_mb()
    step = make(shape)
    ids = torch.randint(shape.vocab_size, (shape.batch, shape.seq_len + 1))
    for _ in range(steps):
        step(ids)
    return peak_mb() - before


def in_a_process(*arguments) -> float:
    """`training_mb` in a process that nothing else has used."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(training_mb, arguments)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Import time and training memory beside others.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--peer", action="append", default=[], metavar="NAME=PATH")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    args = parser.parse_args(argv)
    print(setup().machine())
    peers = dict(item.split("=", 1) for item in args.peer)
    seconds = import_cost(args.rounds)
    for what, took in seconds.items():
        print(f"import {what:<27}{took:>8.2f} s")
    megabytes = {n: in_a_process(n, peers.get(n)) for n in [*train.CONTESTANTS, *peers]}
    for name, mb in megabytes.items():
        print(f"train  {name:<27}{mb:>8,.0f} MB")
    if args.json:
        figures = {"device": setup().machine(), "import_s": seconds, "training_mb": megabytes}
        args.json.write_text(json.dumps(figures, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
