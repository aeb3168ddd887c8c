"""Every notebook of the student edition, with nothing solved, on a poor machine without a network.

Linux alone makes such a machine, and not for everyone: what could not be had is said at the end.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest

from llmlab import artifacts
from llmlab.classroom.student_edition import write_student_edition

ROOT = Path(__file__).resolve().parents[2]
SERIES = sorted(path.stem for path in (ROOT / "notebooks" / "src").glob("*.py"))
LIMIT = 300  # seconds for a cell


@pytest.fixture(scope="module")
def edition(tmp_path_factory):
    folder = tmp_path_factory.mktemp("edition")
    write_student_edition(ROOT / "notebooks" / "src", folder)
    return folder


def outputs(cell) -> str:
    """All text that a cell shows."""
    texts = [o.get("text", "") or o.get("data", {}).get("text/plain", "") for o in cell.outputs]
    return "".join(texts)


@pytest.mark.parametrize("name", SERIES)
def test_a_notebook_with_nothing_solved(name, edition, tmp_path, no_network, little_memory, note):
    env = {k: v for k, v in os.environ.items() if not k.startswith(("LLMLAB", "PYTEST", "OMP"))}
    env |= {"HOME": str(tmp_path), "LLMLAB_CACHE": str(artifacts.cache_dir())}
    env |= {"LLMLAB_RUNS": str(tmp_path / "runs"), "LLMLAB_PROFILE": "class-toy"}
    if not no_network:
        env["LLMLAB_OFFLINE"] = "1"
        note("Offline notebooks: no right to a network namespace, so LLMLAB_OFFLINE=1 stood in.")
    if not little_memory:
        note("Offline notebooks: no right to a memory control group, so memory had no limit.")
    command = [sys.executable, "-m", "nbconvert", "--to", "notebook", "--execute"]
    command += ["--allow-errors", f"--ExecutePreprocessor.timeout={LIMIT}"]
    command += ["--output-dir", tmp_path, edition / f"{name}.ipynb"]

    def enter():
        if little_memory:
            (little_memory[0] / "cgroup.procs").write_text(str(os.getpid()))

    start = time.monotonic()
    done = subprocess.run(
        [*(no_network or []), *command], env=env, preexec_fn=enter, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    peak = int(little_memory[1].read_text()) / 1e6 if little_memory else float("nan")
    note(f"offline {name:16} {time.monotonic() - start:6.0f} s {peak:6.0f} MB with all its files")

    cells = [c for c in nbformat.read(tmp_path / f"{name}.ipynb", 4).cells if c.cell_type == "code"]
    errors = {i: o.evalue for i, c in enumerate(cells) for o in c.outputs if "evalue" in o}
    assert errors == {} and all(cell.execution_count for cell in cells)
    exercises = [cell for cell in cells if 'check("' in cell.source]
    assert len(exercises) >= 3
    assert [outputs(cell).count("○") for cell in exercises] == [1] * len(exercises)
    assert not [i for i, cell in enumerate(cells) if "✗" in outputs(cell)]
