"""Files that are damaged or cut in mid-line, places that cannot be written, two who write at once,
clocks that go back.

Fetched texts (wrong hash, no network, corrupt cache, names that lead outside): tests/test_sources.
Pretraining on a disk that fills up: tests/training/test_loop.py.
"""

import contextlib
import io
import json
import os
import shutil
import stat
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import tqdm.std

from llmlab import artifacts, checkpoint, cli, lab
from llmlab.artifacts import LabError, data_dir, write_json
from llmlab.core.tokenizer import BPE
from llmlab.stages import data, preferences
from llmlab.studies import run_study, study
from llmlab.training import loop
from llmlab.widgets.labeller import Labeller
from llmlab.widgets.preference_clicker import PreferenceClicker
from tests.faults import lives
from tests.faults.said import clear, unharmed
from tests.training import test_loop as reliability
from tests.training.test_loop import kept, toy

TEXT = str(data_dir() / "house" / "recipes.json")


# --- Cut in mid-line ------------------------------------------------------------------------


@study("places", arms=("a",), seeds=(1,))
def places(made: lab.Lab, arm: str, seed: int) -> dict:
    return {"figure": 1.0}


READERS = {  # a file of JSON in the folder of runs: who reads it
    "tokenizer.json": lambda made: made.tokenizer(),
    "clicks.json": lambda made: preferences.read_clicks(made.runs / "clicks.json"),
    "labels.json": lambda made: Labeller(["Boil."], made.runs / "labels.json"),
    "studies/places.json": lambda made: run_study(made, "places"),
}


@pytest.mark.parametrize("content", ['{"merges": [[101, 32], [1', "", "\0\0\0", "[" * 100_000])
@pytest.mark.parametrize("file", READERS)
def test_a_file_that_was_cut_is_named_and_left_as_it_is(file, content, tmp_path, monkeypatch):
    monkeypatch.setattr(data, "load_corpus", reliability.house)
    made = toy(tmp_path)
    artifacts.write_atomic(made.runs / file, content)
    with unharmed(tmp_path), pytest.raises(LabError, match="not whole JSON.*Remove it") as error:
        READERS[file](made)
    assert file in clear(str(error.value))


@pytest.mark.parametrize("content", ["null", "[]", "{}", '{"merges": 3}', '{"merges": [[1, 999]]}'])
def test_a_tokenizer_that_is_none_is_named(content, tmp_path):
    made = toy(tmp_path)
    artifacts.write_atomic(made.runs / "tokenizer.json", content)
    with unharmed(tmp_path), pytest.raises(LabError, match="holds no tokenizer") as error:
        made.tokenizer()
    clear(str(error.value))


@pytest.mark.parametrize("content", ['{"data": {"documents": 12', "", "[]", "null"])
def test_a_report_that_was_cut_is_set_aside_and_the_stage_is_not_lost(content, tmp_path, capsys):
    made = toy(tmp_path)
    path = made.runs / "report.json"
    artifacts.write_atomic(path, content)
    assert made.report("sft", {"kept": 0.5}) == {"sft": {"kept": 0.5}}
    assert json.loads(path.read_text()) == {"sft": {"kept": 0.5}}
    assert (made.runs / "report.damaged.json").read_text() == content
    assert "It was kept as report.damaged.json" in clear(capsys.readouterr().out)


def test_a_shipped_log_that_was_cut_is_named(tmp_path, monkeypatch):
    whole = (data_dir() / "checkpoints" / "base.json").read_text("utf-8")
    path = tmp_path / "data" / "checkpoints" / "base.json"
    artifacts.write_atomic(path, whole[: len(whole) // 2])
    monkeypatch.setattr(artifacts, "data_dir", lambda: tmp_path / "data")
    with unharmed(tmp_path), pytest.raises(LabError, match="not whole JSON") as error:
        lab.shipped_log(toy(tmp_path), "base")
    assert str(path) in clear(str(error.value))


# --- Places that cannot be written --------------------------------------------------------------


@pytest.fixture
def locked():
    """A folder with a file in it, in which nobody but root may write."""
    folder = Path(tempfile.mkdtemp())  # not pytest's own, which others than root may not enter
    folder.chmod(0o755)
    (folder / "notes.txt").write_text("kept")
    inside = folder / "runs"
    inside.mkdir()
    inside.chmod(0o555)
    yield inside
    shutil.rmtree(folder)


def as_a_student(act) -> tuple[int, str]:
    """What `act` returns and what it says, in a child that is not root."""
    if not hasattr(os, "fork"):
        pytest.skip("this system has no fork, with which the test takes other rights")
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        torch.set_num_threads(1)
        os.dup2(writer, 1), os.dup2(writer, 2)
        import sys

        sys.stdout, sys.stderr = (open(n, "w", closefd=False) for n in (1, 2))
        try:
            if os.geteuid() == 0:
                os.setgid(65534), os.setuid(65534)
            code = act()
        except BaseException as error:
            code = 99
            print(type(error).__name__, error)
        sys.stdout.flush(), sys.stderr.flush()
        os._exit(code)
    os.close(writer)
    with open(reader) as said:
        words = said.read()
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), words


PRETRAIN = ["pretrain", "--toy", "--steps", "9", "--tokenizer", "char", "--text", TEXT]
REFUSED = {
    "a run": [*PRETRAIN, "--out", "LOCKED"],
    "a run in a folder of its own": [*PRETRAIN, "--out", "LOCKED/mine"],
    "figures": ["doctor", "--json", "LOCKED/figures.json"],
    "an export": ["export", "LOCKED/hf", "--model", "MODEL"],
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_folder_that_only_can_be_read_is_said_before_the_work(case, locked, tmp_path):
    made = toy(tmp_path)
    reliability.pretrain(made, snapshots=False)
    model = locked.parent / "model.safetensors"
    shutil.copy(made.path("base"), model)
    model.chmod(0o644)
    words = [w.replace("LOCKED", str(locked)).replace("MODEL", str(model)) for w in REFUSED[case]]
    cli.parser()
    with unharmed(locked.parent):
        code, said = as_a_student(lambda: cli.main(words))
    assert code == 2 and "pretraining:" not in said, said
    assert "could not be written (Permission denied); nothing was left behind" in said
    clear(said.splitlines()[-1])


def test_runs_that_only_can_be_read_are_read(locked, tmp_path):
    made = toy(tmp_path)
    reliability.pretrain(made, snapshots=False)
    locked.chmod(0o755)
    shutil.copytree(made.runs, locked / "class-toy")
    (locked / "class-toy" / "base.safetensors").chmod(0o444)
    locked.chmod(0o555)
    made = replace(made, runs=locked / "class-toy")
    with unharmed(locked.parent):
        code, said = as_a_student(lambda: made.latest("base")[2]["step"])
    assert code == reliability.STEPS and "your own run" in said


def test_a_checkpoint_and_a_folder_that_nobody_may_look_into(locked, tmp_path):
    made = replace(toy(tmp_path), runs=locked)
    locked.chmod(0o755)
    reliability.pretrain(made, snapshots=False)
    made.path("base").chmod(0)

    def look() -> int:
        with pytest.raises(LabError, match="base.safetensors cannot be read: Permission denied"):
            checkpoint.read_meta(made.path("base"))
        with pytest.raises(LabError, match="cannot be read: Permission denied") as error:
            made.load(made.path("base"))
        clear(str(error.value))
        return 7

    assert as_a_student(look) == (7, "")
    locked.chmod(0)

    def go_on() -> int:
        with pytest.raises(LabError, match="could not be written .Permission denied") as error:
            reliability.pretrain(made)
        clear(str(error.value))
        return 7

    assert as_a_student(go_on)[0] == 7
    locked.chmod(0o755)
    made.path("base").chmod(stat.S_IRUSR)


WRITERS = {  # what is kept beside a run: the file, and who writes it
    "report.json": lambda made, worth: made.report("sft", {"worth": worth}),
    "labels.json": lambda made, worth: Labeller(["Boil."], made.runs / "labels.json").label(worth),
    "tokenizer.json": lambda made, worth: write_json(
        made.runs / "tokenizer.json", checkpoint.pack_tokenizer(BPE((), specials=(str(worth),)))
    ),
    "clicks.json": lambda made, worth: PreferenceClicker(
        [(f"I have rice, {worth}.", "A: rice.", "B: rice.")], made.runs / "clicks.json"
    ).choose("left"),
}


@pytest.mark.parametrize("file", WRITERS)
def test_a_full_disk_keeps_what_was_there(file, small_disk, left_overs):
    made = replace(toy(small_disk), runs=small_disk / "runs")
    WRITERS[file](made, True)
    with pytest.raises(OSError), open(small_disk / "filler", "wb", buffering=0) as filler:
        while True:
            filler.write(bytes(4096))
    with unharmed(small_disk), pytest.raises(LabError, match="No space left") as error:
        WRITERS[file](made, False)
    assert f"{file} could not be written" in clear(str(error.value))
    assert "still whole" in str(error.value) and not left_overs(small_disk)


# --- Two who write at once ------------------------------------------------------------------


@contextlib.contextmanager
def without_locks():
    """As on a disk that two machines share and that knows no locks."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("filelock.FileLock.acquire", no_lock)
        yield


def no_lock(*_, **how):
    raise NotImplementedError


@pytest.mark.parametrize(("seed", "save_every"), [(2, 0), (2, reliability.NEVER), (1337, 0)])
def test_where_there_are_no_locks_what_is_newer_stays(seed, save_every, tmp_path):
    """The other notebook's run begins and ends between two steps of this one, which had saved
    itself before or not: it is of another seed, or came further."""
    made = toy(tmp_path)
    other = replace(made, seed=seed)

    def meanwhile(record):
        if record["step"] == 10:
            reliability.pretrain(other, snapshots=False)

    with without_locks(), pytest.raises(LabError, match="now holds another run") as error:
        reliability.pretrain(made, meanwhile, save_every, snapshots=False)
    stopped = "left as it is, and this one ended after step"
    assert stopped in clear(str(error.value)) and "base.safetensors" in str(error.value)
    alone = replace(toy(tmp_path / "alone"), seed=seed)
    reliability.pretrain(alone, snapshots=False)
    assert kept(made) == kept(alone)


@pytest.mark.parametrize("seed", [1337, 2])
def test_of_two_runs_in_one_place_the_second_is_refused_and_the_first_ends(seed, tmp_path, capsys):
    """From its first second, whether it is the same run or another, saved or not yet."""
    made, steps = toy(tmp_path), []
    other = replace(made, seed=seed)

    def meanwhile(record):
        with unharmed(tmp_path), pytest.raises(LabError, match="Another notebook or com") as error:
            reliability.pretrain(other, steps.append, snapshots=False)
        assert "base.safetensors just now; nothing was changed" in clear(str(error.value))

    reliability.pretrain(made, meanwhile, snapshots=False)
    alone = toy(tmp_path / "alone")
    reliability.pretrain(alone, snapshots=False)
    assert kept(made) == kept(alone) and capsys.readouterr().out == "" and not steps
    assert os.listdir(made.runs) == ["base.safetensors"]


def test_a_run_whose_file_is_damaged_meanwhile_makes_it_whole(tmp_path):
    made, alone = toy(tmp_path), toy(tmp_path / "alone")

    def meanwhile(record):
        if record["step"] == 10:
            made.path("base").write_bytes(b"no checkpoint")

    reliability.pretrain(made, meanwhile, save_every=0, snapshots=False)
    reliability.pretrain(alone, snapshots=False)
    assert kept(made) == kept(alone)


def test_clicks_and_labels_of_two_notebooks_are_all_kept(tmp_path):
    duels = [(f"I have {food}.", f"A: {food}.", f"B: {food}.") for food in ("rice", "leeks")]
    path = tmp_path / "clicks.json"
    first, second = (PreferenceClicker([duel], path) for duel in duels)
    first.choose("left")
    second.choose("right")
    assert [c.choice for c in preferences.read_clicks(path)] == ["left", "right"]
    path = tmp_path / "labels.json"
    first, second = (Labeller([text], path) for text in ("Boil.", "Stir."))
    first.label(True)
    second.label(False)
    assert sorted(artifacts.read_json(path).values()) == [False, True]


# --- A clock that goes back ---------------------------------------------------------------------


@pytest.fixture
def clock(monkeypatch):
    """The wall clock goes back by a minute each time that it is read."""
    real, reads = time.time, []

    def back() -> float:
        reads.append(0)
        return real() - 60 * len(reads)

    monkeypatch.setattr(time, "time", back)
    monkeypatch.setattr(tqdm.std, "time", back)
    return reads


def test_a_clock_that_goes_back_changes_no_run(clock, tmp_path):
    made = toy(tmp_path / "back")
    reliability.pretrain(made, save_every=0, mixed=True, dropout=True)
    assert not clock, "something in a run goes by the wall clock"
    usual = toy(tmp_path / "usual")
    reliability.pretrain(usual, mixed=True, dropout=True)
    assert kept(made) == kept(usual)


@pytest.mark.parametrize("name", lives.LOOPS[:1])
def test_a_clock_that_goes_back_changes_no_budget(name, clock, tmp_path):
    made = toy(tmp_path, steps=None)
    made.minutes = 0.01
    start = time.monotonic()
    job = lives.train(name, made)
    assert 10 <= job.step == job.steps and time.monotonic() - start < 60


def test_a_clock_that_goes_back_stops_no_progress_bar(clock):
    """Each step is drawn, and neither the time that was needed nor what is left is below zero."""
    shown = io.StringIO()
    with loop.ProgressBar(total=5, file=shown, mininterval=0, ncols=60) as bar:
        for _ in range(5):
            time.sleep(0.01)
            bar.update()
    words = shown.getvalue()
    assert all(f"{n}/5" in words for n in range(6))
    assert "[-" not in words and "<-" not in words and "-1:" not in words


def test_a_clock_that_goes_back_takes_nobodys_temporary_files(clock, tmp_path):
    with artifacts.scratch(tmp_path) as theirs:
        artifacts.write_json(tmp_path / "report.json", {})
        assert theirs.is_dir()
