"""A live run beside programs that want the same cores: fewer steps, a true note, no failure."""

import os
import re
import subprocess
import sys

import pytest

from llmlab import artifacts

HOG = "import time; end = time.monotonic() + 300\nwhile time.monotonic() < end: pass"
RUN = """
import sys
from dataclasses import replace
from pathlib import Path
from llmlab import lab
from llmlab.stages import pretraining
text, out = map(Path, sys.argv[1:])
made = lab.setup("class-toy", minutes=5 / 60, runs_dir=out)
made = replace(made, profile=replace(made.profile, max_steps=None))
figures = pretraining.pretrain_text(made, text.read_text("utf-8"), "char", out)
print("did", figures["steps"])
"""


@pytest.fixture
def hogs():
    """Two programs a core that never rest."""
    command = [sys.executable, "-c", HOG]
    running = [subprocess.Popen(command) for _ in range(2 * (os.cpu_count() or 1))]
    yield
    for process in running:
        process.kill()
        process.wait()


def test_a_run_beside_others_is_short_and_says_so(hogs, tmp_path):
    text = artifacts.data_dir() / "house" / "recipes.json"
    env = {k: v for k, v in os.environ.items() if not k.startswith("OMP")}
    command = [sys.executable, "-c", RUN, text, tmp_path]
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    said = re.search(r"pretraining: (\d+) steps fit into 5 s .* other programs take", done.stdout)
    assert said and f"did {said[1]}" in done.stdout, done.stdout
