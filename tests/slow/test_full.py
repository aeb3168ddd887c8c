"""The whole line in the full profile, at toy size, in two processes at once."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from llmlab import checkpoint

ROOT = Path(__file__).resolve().parents[2]


def test_in_fp16_two_processes_scale_their_losses_alike(tmp_path):
    """A step that overflows in one process is left out in both, or their weights would part."""
    found, torchrun = [], "-m torch.distributed.run --standalone --nproc-per-node 2".split()
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    for name, how in (("one", []), ("two", torchrun)):
        command = [sys.executable, *how, ROOT / "tests/scale/worker.py", tmp_path / name]
        command += ["12", "0", "fp16"]
        subprocess.run(command, cwd=ROOT, check=True, timeout=400, env=environment)
        log = checkpoint.read_meta(tmp_path / name / "full-toy" / "base.safetensors")["log"]
        found.append([record["loss"] for record in log])
    assert found[1] == pytest.approx(found[0], abs=0.02)
    assert found[1][-1] < found[1][0] - 0.2


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
