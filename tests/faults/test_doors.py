"""Checkpoints that are not what they should be, at each door through which a user brings one."""

import pickle
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from llmlab import artifacts, cli, lab
from llmlab.artifacts import LabError, data_dir
from llmlab.checkpoint import load_checkpoint, pack_tokenizer, save_checkpoint
from llmlab.core.tokenizer import BPE
from llmlab.stages import pretraining, reward
from llmlab.stages.tokenization import first_merges
from llmlab.training import loop, model_copies
from tests.faults.said import clear, unharmed

TEXT = data_dir() / "house" / "recipes.json"


def its_tokenizer(made: lab.Lab) -> BPE:
    """The line's, with as many ids as the lab's model."""
    return first_merges(made.tokenizer(), made.profile.model.vocab_size)


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """A folder of runs of the class's toy: a finished base, the same half-way, a reward model."""
    made = lab.setup("class-toy", runs_dir=tmp_path_factory.mktemp("stored"))
    tokenizer = its_tokenizer(made)
    rows = pretraining.WindowDataset(tokenizer.encode(TEXT.read_text("utf-8")), made.seed)
    for name, done in (("base", 4), ("half", 2)):
        job = pretraining.new_job(made, made.build(), tokenizer, made.path(name), "house")
        pretraining.train(made, job, rows)
        job.step = done
        job.save()
    half = model_copies.truncate_layers(made.build())
    job = loop.TrainState(half, tokenizer, job.optimizer, made.path("reward"), steps=4, step=4)
    job.head, job.meta = torch.nn.Linear(32, 1), {"stage": "reward", "standardised": True}
    job.save()
    return made.runs


def anew(path: Path, change) -> None:
    """Write a whole checkpoint again with something changed in it."""
    tensors, meta = load_checkpoint(path)
    change(tensors, meta)
    save_checkpoint(path, tensors, meta)


def wrong_shape(path: Path) -> None:
    def change(tensors, meta):
        tensors["model.embed.weight"] = tensors["model.embed.weight"][:, :8].contiguous()

    anew(path, change)


def wrong_vocabulary(path: Path) -> None:
    anew(path, lambda tensors, meta: meta.update(tokenizer=pack_tokenizer(BPE(()))))


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def rewrite(change):
    return lambda path: path.write_bytes(change(path.read_bytes()))


def flipped(whole: bytes) -> bytes:
    return whole[:-9] + bytes([whole[-9] ^ 1]) + whole[-8:]


DAMAGES = {
    "cut": (rewrite(lambda whole: whole[: len(whole) // 2]), "cut short"),
    "flipped": (rewrite(flipped), "damaged: it changed after it was written"),
    "pickle": (rewrite(lambda whole: pickle.dumps({"model": [1]})), "is a pickle.*not opened"),
    "empty": (rewrite(lambda whole: b""), "is empty"),
    "text": (rewrite(bytes.upper), "is not a checkpoint, or it is damaged|cut short"),
    "folder": (folder, "it is a folder"),
    "shape": (wrong_shape, "whole, but not a model of this series|weights do not fit"),
    "vocabulary": (wrong_vocabulary, r"it has [\d,]+ ids, and its tokenizer 259"),
}


def commands(*words: str):
    """The door of a command: its exit code 2 and what it says on stderr, as an error."""

    def door(made: lab.Lab, path: Path, capsys) -> None:
        places = {"FILE": str(path), "TEXT": str(TEXT), "DIR": str(path.parent), "OUT": "out"}
        code = cli.main([places.get(word, word) for word in words])
        assert code == 2, f"exit code {code}"
        raise LabError(capsys.readouterr().err.strip())

    return door


def go_on(made: lab.Lab, path: Path, capsys) -> None:
    """The door of a half-done run that is gone on with."""
    pretraining.new_job(made, made.build(), its_tokenizer(made), path, "house").resume()


DOORS = {  # name: (the stored file, what opens it)
    "sample": ("base", commands("sample", "--model", "FILE")),
    "chat": ("base", commands("chat", "--model", "FILE")),
    "export": ("base", commands("export", "OUT", "--model", "FILE")),
    "latest": ("base", lambda made, path, _: made.latest("base", mine=True)),  # base="mine"
    "load": ("base", lambda made, path, _: made.load(path)),
    "go on": ("half", go_on),
    "reward": ("reward", lambda made, path, _: reward.load_reward(made)),
}
UNREADABLE = ("cut", "flipped", "pickle", "text", "empty", "folder")
# The shipped model takes the place of such a run: the last test.
ELSEWHERE = {(door, damage) for door in ("latest", "reward") for damage in UNREADABLE}
HARMLESS = {("go on", "vocabulary")}  # its loop keeps the tokenizer that it is called with
CASES = [(door, damage) for door in DOORS for damage in DAMAGES]


@pytest.mark.parametrize(("door", "damage"), sorted({*CASES} - ELSEWHERE - HARMLESS))
def test_a_bad_checkpoint_is_refused_in_a_sentence(
    door, damage, stored, tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    name, opens = DOORS[door]
    spoil, sentence = DAMAGES[damage]
    made = lab.setup("class-toy", runs_dir=tmp_path / "runs")
    shutil.copytree(stored, made.runs)
    path = made.path(name).rename(made.path("base")) if name == "half" else made.path(name)
    spoil(path)
    with unharmed(tmp_path), pytest.raises(LabError, match=sentence) as error:
        opens(made, path, capsys)
    assert str(path) in clear(str(error.value))


@pytest.mark.parametrize("door", ["sample", "chat", "export", "latest", "load", "reward"])
def test_the_same_file_passes_the_door_when_it_is_whole(
    door, stored, tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("builtins.input", lambda prompt: "")
    name, opens = DOORS[door]
    made = replace(lab.setup("class-toy"), runs=stored)
    if door in ("sample", "chat", "export"):
        with pytest.raises(AssertionError, match="exit code 0"):
            opens(made, made.path(name), capsys)
    else:
        opens(made, made.path(name), capsys)
        assert "own run" in capsys.readouterr().out or door == "load"


def test_another_notebooks_run_is_loaded_from_the_shipped_one_where_it_is_unfinished(
    stored, tmp_path, capsys
):
    """Half a base is no base to go on from: `latest` takes the shipped one, and says so."""
    made = lab.setup("class-toy", runs_dir=tmp_path)
    shutil.copytree(stored, made.runs)
    made.path("half").rename(made.path("base"))
    with unharmed(tmp_path):
        assert not made.latest("base")[2]["own"]
    assert "the slow-cooked checkpoint" in capsys.readouterr().out


def test_a_shipped_checkpoint_that_is_damaged_is_named(tmp_path, monkeypatch):
    shipped = tmp_path / "data" / "checkpoints" / "base.safetensors"
    shipped.parent.mkdir(parents=True)
    shutil.copy(data_dir() / "checkpoints" / "base.safetensors", shipped)
    shipped.write_bytes(flipped(shipped.read_bytes()))
    monkeypatch.setattr(artifacts, "data_dir", lambda: tmp_path / "data")
    made = lab.setup("class-toy", runs_dir=tmp_path / "runs")
    with unharmed(tmp_path), pytest.raises(LabError, match="damaged.*copy it again") as error:
        made.latest("base")
    assert str(shipped) in clear(str(error.value))


@pytest.mark.parametrize("name", ["base", "reward"])
@pytest.mark.parametrize("damage", UNREADABLE)
def test_a_bad_run_of_ones_own_is_said_and_the_shipped_one_taken(
    name, damage, stored, tmp_path, capsys
):
    spoil, sentence = DAMAGES[damage]
    made = lab.setup("class-toy", runs_dir=tmp_path / "runs")
    shutil.copytree(stored, made.runs)
    spoil(made.path(name))
    assert made.choose(name) == (made.shipped(name), False)
    said = capsys.readouterr().out
    assert re.search(sentence, said) and said.count("\n") == 2
    assert f"{name}: your own run was passed over." in said and "comes with llmlab" in said
