"""The whole line in the full profile, at toy size, in two processes at once."""

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_the_whole_line_in_two_processes(tmp_path):
    figures = tmp_path / "figures.json"
    command = "-m torch.distributed.run --standalone --nproc-per-node 2 -m llmlab run"
    options = ["--profile", "full", "--toy", "--runs-dir", tmp_path, "--json", figures]
    done = subprocess.run(
        [sys.executable, *command.split(), *options], cwd=ROOT, capture_output=True, text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"}, timeout=1200,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    report = json.loads(figures.read_text("utf-8"))
    for stage in ("data", "tokenization", "embedding", "pretraining", "sft", "reward", "dpo", "rl"):
        assert report[stage], stage
        assert done.stdout.count(f"  {stage}.seconds") <= 1  # one of them speaks
    assert report["rl"]["last_steps"] == report["pretraining"]["steps"] == 4
