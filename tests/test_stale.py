"""What is stale: studies that their commands would make otherwise today, and notebooks that have
read what is different now.  `python notebooks/build.py --stale` says the same."""

import json
import shutil
from dataclasses import replace

import pytest

from llmlab import artifacts, checkpoint, lab, profiles, studies
from llmlab.corpus.corpus import load_corpus
from llmlab.studies import run_study, study

# Redesigned with their pages, and made anew then.
STALE_STUDIES = {
    "cleaning", "few_examples", "head_start", "lora", "optimizers", "scaling", "sft",
}  # fmt: skip


def test_only_what_is_known_is_stale(build):
    found = build.stale()
    new = [f"{name}: {why}" for name, why in found.items() if name not in STALE_STUDIES]
    assert not new, "\n".join(["stale:", *new])
    made_anew = STALE_STUDIES - found.keys()
    assert not made_anew, f"strike it off: {made_anew}"


# --- Studies --------------------------------------------------------------------------------


@study("decided", arms=("a", "b"), seeds=(1,), settings={"steps": 3}, starts_from=("sft",))
def decided(lab, arm, seed):
    return {"steps": 3}


@pytest.fixture
def data(tmp_path, monkeypatch):
    """A folder of what comes with the project, with that study in it, made a moment ago."""
    folder = tmp_path / "data"
    for name in ("base.json", "base.safetensors", "sft.safetensors"):
        (folder / "checkpoints").mkdir(parents=True, exist_ok=True)
        shutil.copy(artifacts.data_dir() / "checkpoints" / name, folder / "checkpoints")
    log = folder / "checkpoints" / "base.json"
    log.write_text(json.dumps({**json.loads(log.read_text("utf-8")), "data": load_corpus().hash()}))
    monkeypatch.setattr(artifacts, "data_dir", lambda: folder)
    run_study(lab.setup("class", runs_dir=tmp_path), "decided", ship=True)
    assert studies.stale("decided") == []
    return folder


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"version": 2}, "version"),
        ({"settings": {"steps": 4}}, "settings.steps"),
        ({"settings": {"steps": 3, "rate": 0.1}}, "settings.rate"),
        ({"settings": {}}, "settings.steps"),
        ({"starts_from": ("sft", "base")}, "starts_from.base"),
    ],
)
def test_another_version_or_other_settings_make_a_study_stale(data, monkeypatch, change, what):
    other = replace(studies.find_study("decided"), **change)
    monkeypatch.setitem(studies._studies, "decided", other)
    assert studies.stale("decided") == [what]


def test_another_seed_arm_or_function_does_not(data, monkeypatch):
    change = {"seeds": (1, 2), "arms": ("a", "b", "c"), "function": lambda lab, arm, seed: {}}
    other = replace(studies.find_study("decided"), **change)
    monkeypatch.setitem(studies._studies, "decided", other)
    assert studies.stale("decided") == []


@pytest.mark.parametrize(
    ("change", "stale"),
    [
        ({"seq_len": 128}, ["profile.seq_len"]),
        ({"model": replace(profiles.CLASS.model, dim=128)}, ["profile.model.dim"]),
        ({"pretraining_seconds": 7}, []),  # a live budget
    ],
)
def test_another_number_of_the_profile_makes_it_stale(data, monkeypatch, change, stale):
    monkeypatch.setitem(profiles.PROFILES, "class", replace(profiles.CLASS, **change))
    assert studies.stale("decided") == stale


@pytest.mark.parametrize(
    ("change", "stale"),
    [
        ({"profile.new_field": 5}, []),  # in the file alone: dropped or renamed since
        ({"device": "another"}, []),
        ({"data": "another"}, ["data"]),
        ({"command": "python -m llmlab study decided --steps 2"}, ["command"]),
        ({"profile": None}, ["profile"]),
        ({"starts_from": {}}, ["starts_from.sft"]),
    ],
)
def test_what_the_file_says_is_compared(data, change, stale):
    path = data / "studies" / "decided.json"
    kept = artifacts.read_json(path)
    for name, value in change.items():
        outer, _, inner = name.partition(".")
        kept[outer] = {**kept[outer], inner: value} if inner else value
    artifacts.write_json(path, kept)
    assert studies.stale("decided") == stale


def test_another_checkpoint_makes_it_stale_and_other_meta_do_not(data):
    path = data / "checkpoints" / "sft.safetensors"
    tensors, meta = checkpoint.load_checkpoint(path)
    checkpoint.save_checkpoint(path, tensors, {**meta, "renamed": True})
    assert studies.stale("decided") == []
    name = next(iter(tensors))
    checkpoint.save_checkpoint(path, {**tensors, name: tensors[name] + 1}, meta)
    assert studies.stale("decided") == ["starts_from.sft"]


def test_a_budget_of_this_machine_does_not_count(data, monkeypatch):
    monkeypatch.setenv("LLMLAB_MINUTES", "3")
    assert studies.stale("decided") == []


# --- Notebooks ------------------------------------------------------------------------------

READS = """# %%
import llmlab
from llmlab.lab import shipped_log
from llmlab.studies import load_study

lab = llmlab.setup("class")
model, _, _ = lab.latest("base", mine=False)
steps = shipped_log(lab, "sft")["steps"]
arms = load_study("scaling")["arms"]
"""


@pytest.fixture(scope="module")
def reader(build, tmp_path_factory):
    """A notebook that reads a checkpoint, another one's log and a study; really executed."""
    source = tmp_path_factory.mktemp("reader") / "10_reader.py"
    source.write_text(READS)
    return build.build(source, source.parent)


@pytest.fixture
def copied(build, reader, tmp_path, monkeypatch):
    """The three files, to be changed."""
    for kind, files in build.read(reader).metadata.llmlab.items():
        for name in files:
            (tmp_path / kind).mkdir(exist_ok=True)
            shutil.copy(build.DATA / kind / name, tmp_path / kind)
    monkeypatch.setattr(build, "DATA", tmp_path)
    return tmp_path


def test_a_notebook_records_what_it_has_read(build, reader):
    kept = build.read(reader).metadata.llmlab
    assert {kind: list(files) for kind, files in kept.items()} == {
        "checkpoints": ["base.safetensors", "sft.json"],
        "studies": ["scaling.json"],
    }
    assert all(len(h) == 16 for files in kept.values() for h in files.values())
    assert build.changed(reader) == []


def test_a_notebook_is_stale_when_one_of_them_is_another(build, reader, copied):
    path = copied / "studies" / "scaling.json"
    kept = artifacts.read_json(path)
    path.write_text(json.dumps(kept))  # in one line
    assert build.changed(reader) == []
    path.write_text(json.dumps({**kept, "seeds": []}))
    assert build.changed(reader) == ["scaling.json"]
    (copied / "checkpoints" / "sft.json").unlink()
    base = copied / "checkpoints" / "base.safetensors"
    tensors, meta = checkpoint.load_checkpoint(base)
    checkpoint.save_checkpoint(base, {k: -v for k, v in tensors.items()}, meta)
    assert build.changed(reader) == ["base.safetensors", "sft.json", "scaling.json"]


def test_what_is_stale_is_printed_with_its_command(build, reader, copied, capsys, monkeypatch):
    monkeypatch.setattr(build, "NOTEBOOKS", reader.parent)
    (copied / "checkpoints" / "sft.json").unlink()
    assert build.main(["--stale"]) == 0
    scaling, notebook = capsys.readouterr().out.splitlines()
    assert scaling.startswith("scaling: ")
    assert scaling.endswith("again with `python -m llmlab study scaling --ship`")
    assert notebook == "10_reader: sft.json; again with `python notebooks/build.py 10_reader`"
