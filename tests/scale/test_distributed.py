"""Several processes train as one does: the same losses, and no row twice or left out."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from llmlab import artifacts, checkpoint, lab
from llmlab.datasets import hub_datasets, pretokenize
from llmlab.scale import distributed, fsdp

ROOT = Path(__file__).resolve().parents[2]
CLI = ["-m", "llmlab", "run", "pretraining", "--profile", "full", "--toy"]


def start(processes: int, *arguments: object, dtype: str = "fp32") -> subprocess.Popen:
    """Python in so many processes, as torchrun starts them; 0: without it.

    In fp32 whatever the machine is: in bf16 a sum depends on how the rows are split.
    """
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    command = [sys.executable, *(torchrun if processes else []), *map(str, arguments)]
    environment = os.environ | {
        "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "LLMLAB_DTYPE": dtype,
    }  # fmt: skip
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, text=True, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


def ended(process: subprocess.Popen) -> str:
    """What it printed, once it has ended well."""
    out, _ = process.communicate(timeout=400)
    assert process.returncode == 0, out[-3000:]
    return out


def losses(runs: Path) -> list[float]:
    log = checkpoint.read_meta(runs / "full-toy" / "base.safetensors")["log"]
    return [record["loss"] for record in log]


@pytest.fixture(scope="module")
def alone(tmp_path_factory) -> list[float]:
    """Losses of twenty steps in one process."""
    runs = tmp_path_factory.mktemp("alone")
    ended(start(0, *CLI, "--steps", 20, "--runs-dir", runs))
    return losses(runs)


def test_two_processes_have_the_losses_of_one(tmp_path, alone):
    out = ended(start(2, *CLI, "--steps", 20, "--runs-dir", tmp_path))
    assert losses(tmp_path) == pytest.approx(alone, abs=1e-4)
    assert len(alone) == 20 and alone[-1] < alone[0] - 0.5
    assert out.count("pretraining.val_bpb") == 1  # one of them speaks


def test_in_bf16_two_processes_stay_within_its_rounding(tmp_path):
    """Four seeds, two and three processes, two kinds of CPU: the losses differ by 0.006 at most."""
    for processes in (0, 2):
        how = [*CLI, "--steps", 20, "--runs-dir", tmp_path / str(processes)]
        ended(start(processes, *how, dtype="bf16"))
    assert losses(tmp_path / "2") == pytest.approx(losses(tmp_path / "0"), abs=0.02)
    meta = checkpoint.read_meta(tmp_path / "2" / "full-toy" / "base.safetensors")
    assert meta["dtype"] == "bfloat16"


@pytest.fixture(scope="module")
def killed(tmp_path_factory) -> Path:
    """Runs of two processes that were killed after eight of twenty steps."""
    runs = tmp_path_factory.mktemp("killed")
    process = start(2, Path(__file__).with_name("worker.py"), runs, 20, 9)
    process.communicate(timeout=400)
    assert process.returncode != 0
    place, meta = fsdp.latest(runs / "full-toy" / "base-parts")
    assert meta["step"] == 8 and not (runs / "full-toy" / "base.safetensors").exists()
    assert {file.suffix for file in place.iterdir()} == {".safetensors", ".json"}
    return runs


@pytest.mark.parametrize("others", [1, 3])
def test_a_run_that_was_killed_goes_on_with_other_processes(tmp_path, killed, alone, others):
    """What is left of its steps, and so of its rows, is what it would have been."""
    runs = tmp_path / "runs"
    shutil.copytree(killed, runs)
    ended(start(others, *CLI, "--steps", 20, "--runs-dir", runs))
    assert losses(runs) == pytest.approx(alone, abs=1e-4)


def test_a_part_that_is_damaged_is_said_and_the_one_before_taken(tmp_path, killed):
    runs = tmp_path / "runs"
    shutil.copytree(killed, runs)
    folder = runs / "full-toy" / "base-parts"
    place, _ = fsdp.latest(folder)
    (place / "meta.json").write_text("{")
    before, meta = fsdp.latest(folder)
    assert before != place and meta["step"] == 7
    for file in before.glob("*.safetensors"):
        file.write_bytes(file.read_bytes()[:-100])
    process = start(1, *CLI, "--steps", 20, "--runs-dir", runs)
    out, _ = process.communicate(timeout=400)
    assert process.returncode
    assert f"The checkpoint {before} cannot be read" in out
    assert str(ROOT / "llmlab") not in out  # torchrun has a traceback of its own, we have none


@pytest.fixture
def web(tmp_path, monkeypatch):
    """Web text of one's own, tokenised."""
    sources, data = artifacts.cache_dir() / "sources", tmp_path / "data" / "fineweb_edu"
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "sources").symlink_to(sources)
    monkeypatch.setenv("LLMLAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("LLMLAB_DATA", str(tmp_path / "data"))
    data.mkdir(parents=True)
    pages = [{"text": f"Page {i} tells how long {i % 7} lentils boil."} for i in range(400)]
    (data / "pages.jsonl").write_text("\n".join(map(json.dumps, pages)), "utf-8")
    tokenizer = lab.setup("full-toy").tokenizer()
    pretokenize.tokenize_dataset(
        hub_datasets.big()["fineweb_edu"], tokenizer, hub_datasets.user_data_dir()
    )


def test_big_text_is_read_alike_by_any_number_of_processes(web, tmp_path):
    worker, whole, parts = Path(__file__).with_name("worker.py"), tmp_path / "1", tmp_path / "2"
    ended(start(0, worker, whole, 10, 0, "web"))
    start(2, worker, parts, 10, 6, "web").communicate(timeout=400)
    ended(start(3, worker, parts, 10, 0, "web"))
    assert losses(parts) == pytest.approx(losses(whole), abs=1e-4) and len(losses(parts)) == 10
    log = checkpoint.read_meta(parts / "full-toy" / "base.safetensors")
    assert log["data"] == checkpoint.read_meta(whole / "full-toy" / "base.safetensors")["data"]


def test_fine_tuning_in_two_processes_is_that_of_one(tmp_path):
    """Each has the whole model and a part of each step's examples, of unequal lengths."""
    logs = []
    for processes in (0, 2):
        runs = tmp_path / str(processes)
        tune = ["-m", "llmlab", "run", "sft", "--profile", "full", "--toy", "--steps", 6]
        ended(start(processes, *tune, "--runs-dir", runs))
        log = checkpoint.read_meta(runs / "full-toy" / "sft.safetensors")["log"]
        logs.append([record["loss"] for record in log])
    assert logs[1] == pytest.approx(logs[0], abs=1e-4) and len(logs[0]) == 6


# --- A process that is alone ----------------------------------------------------------------


def test_alone_everything_is_ones_own(monkeypatch):
    for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    with distributed.process_group():
        assert (
            not distributed.is_initialized()
            and distributed.is_main_process()
            and distributed.world_size() == 1
        )
        assert (
            distributed.shard_for_rank([3, 1, 4]) == [3, 1, 4]
            and distributed.token_weight(7) == 1.0
        )
        assert distributed.mean_over_ranks({"loss": 2.5, "tokens": 3}) == {"loss": 2.5, "tokens": 3}
        assert (
            distributed.any_rank(True, False) == [True, False] and distributed.broadcast(2.5) == 2.5
        )
        p = torch.nn.Parameter(torch.ones(2))
        distributed.average_gradients([p])
        assert p.grad is None


PARTS = """
import torch
from llmlab.artifacts import LabError
from llmlab.scale import distributed as ranks
with ranks.process_group():
    rank, rows = ranks.rank(), ranks.shard_for_rank(list(range(5)))
    weight = ranks.token_weight(len(rows))
    means = ranks.mean_over_ranks({"mean": weight * sum(rows) / len(rows), "n": 5})
    p, q = torch.nn.Parameter(torch.zeros(2, 2)), torch.nn.Parameter(torch.zeros(3))
    p.grad = torch.full((2, 2), float(rank))
    if rank == 1:
        q.grad = torch.ones(3)
    ranks.average_gradients([p, q])
    told = [rows, weight, means["mean"], means["n"], ranks.any_rank(rank == 1, False),
            ranks.broadcast(rank + 7.0), p.grad.mean().item(), q.grad.mean().item()]
    try:
        ranks.shard_for_rank([1])
    except LabError as error:
        told.append(str(error))
    import sys
    sys.stderr.write(f"told {rank} {told}" + chr(10))
    print("said by the first")
"""


def test_together_they_have_parts_and_agree(tmp_path):
    (tmp_path / "parts.py").write_text(PARTS)
    out = ended(start(2, tmp_path / "parts.py"))
    told = {rank: ast.literal_eval(said) for rank, said in re.findall(r"told (\d) (\[.*\])", out)}
    refused = (
        "A step has 1 rows, too few for 2 processes. What was saved before was kept: lower "
        "--nproc-per-node."
    )
    common = [2.0, 5, [True, False], 7.0, 0.5, 0.5, refused]
    assert told == {"0": [[0, 2, 4], 1.2, *common], "1": [[1, 3], 0.8, *common]}
    assert out.count("said by the first") == 1
