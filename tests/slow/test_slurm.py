"""Tokenising on a Slurm cluster, as far as a machine without one can show it."""

# ruff: noqa: F811

import os
import sys
from pathlib import Path

import pytest

from llmlab import artifacts
from llmlab.artifacts import LabError
from llmlab.datasets import hub_datasets, pretokenize

ROOT = Path(artifacts.__file__).parents[1]
WEB = hub_datasets.big()["fineweb_edu"]
SHARE = 0.1  # as in the fixture ids_folder

SBATCH = """#!{python}
import os, subprocess, sys
script = open(sys.argv[-1]).read()
open({log!r}, "a").write(script)
if "merge_stats" not in script:
    for task in range({tasks}):
        environment = {{"SLURM_ARRAY_TASK_ID": str(task), "SLURM_NODELIST": "localhost"}}
        subprocess.run(["bash", sys.argv[-1]], env=os.environ | environment, check=True)
print("Submitted batch job 7")
"""


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """An empty cache and no network."""
    monkeypatch.setenv("LLMLAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("LLMLAB_OFFLINE", "1")


def test_slurm_gets_the_parts_as_an_array_and_what_it_did_is_taken_up(
    ids_folder,
    pages,
    tokenizer,
    tmp_path,
    monkeypatch,
):
    """With stand-ins for Slurm's own programs, which run the very script on this machine."""
    log, programs = tmp_path / "scripts", tmp_path / "bin"
    programs.mkdir()
    (programs / "sbatch").write_text(SBATCH.format(python=sys.executable, log=str(log), tasks=1))
    (programs / "scontrol").write_text("#!/bin/sh\necho localhost\n")
    for program in programs.iterdir():
        program.chmod(0o755)
    paths = [str(programs), str(Path(sys.executable).parent), os.environ["PATH"]]
    monkeypatch.setenv("PATH", os.pathsep.join(paths))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    options = {"time": "01:00:00", "partition": "kitchen", "with_srun": False}
    work = pretokenize.Work(executor="slurm", options=options)
    with pytest.raises(LabError, match="1 of 3 parts are tokenised so far, by slurm"):
        pretokenize.tokenize_dataset(WEB, tokenizer, pages[0], share=SHARE, work=work)
    assert "--partition=kitchen" in log.read_text() and "--array=0-2" in log.read_text()
    (programs / "sbatch").write_text(SBATCH.format(python=sys.executable, log=str(log), tasks=2))
    done = pretokenize.tokenize_dataset(WEB, tokenizer, pages[0], share=SHARE, work=work)
    assert "--array=0-1" in log.read_text()  # those that were not done
    for name in artifacts.read_json(done / "shards.json")["files"]:
        assert (done / name).read_bytes() == (ids_folder / name).read_bytes()
