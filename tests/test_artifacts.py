"""The disk door: whole files or none, and checkpoints."""

import pickle
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from llmlab import artifacts
from llmlab.artifacts import LabError
from llmlab.checkpoint import load_checkpoint, read_meta, save_checkpoint

ROOT = Path(artifacts.__file__).parents[1]


# --- Places and messages --------------------------------------------------------------------


def test_ipython_shows_the_sentence_alone():
    code = "from llmlab.artifacts import LabError; raise LabError('The oven is cold.')"
    command = [sys.executable, "-m", "IPython", "--no-banner", "--colors=NoColor", "-c", code]
    shown = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (shown.stdout + shown.stderr).strip() == "The oven is cold."


def test_places_follow_the_environment(tmp_path, monkeypatch):
    monkeypatch.delenv("LLMLAB_RUNS")
    monkeypatch.setenv("LLMLAB_CACHE", str(tmp_path / "cache"))
    assert artifacts.data_dir() == ROOT / "data"
    assert artifacts.cache_dir() == tmp_path / "cache"
    assert artifacts.runs_dir() == ROOT / "runs"
    monkeypatch.setenv("LLMLAB_RUNS", "~/mine")
    assert artifacts.runs_dir() == Path.home() / "mine"
    assert artifacts.runs_dir(tmp_path) == tmp_path


def test_an_installed_wheel_has_its_data_inside(tmp_path, monkeypatch):
    monkeypatch.delenv("LLMLAB_RUNS")
    monkeypatch.setattr(artifacts, "PACKAGE", tmp_path / "site" / "llmlab")
    assert artifacts.data_dir() == tmp_path / "site" / "llmlab" / "_data"
    assert artifacts.runs_dir() == Path.home() / "llmlab" / "runs"


# --- Files ----------------------------------------------------------------------------------


def test_json_there_and_back(tmp_path):
    path = tmp_path / "new" / "folder" / "report.json"
    artifacts.write_json(path, {"dish": "Grünkohl", "loss": [2.5, 1.25]})
    artifacts.write_json(path, {"dish": "crème", "loss": []})
    assert artifacts.read_json(path) == {"dish": "crème", "loss": []}
    assert [p.name for p in path.parent.iterdir()] == ["report.json"]


@pytest.mark.parametrize("content", [None, b"", b'{"a": 1', b"\xff\xfe\x00"])
def test_json_that_is_missing_or_damaged(tmp_path, content):
    path = tmp_path / "report.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(LabError, match="report.json"):
        artifacts.read_json(path)


def test_a_killed_writer_leaves_the_old_file_or_the_new(tmp_path, start):
    path = tmp_path / "weights"
    code = """if True:
        import sys
        from llmlab.artifacts import write_atomic
        for i in range(10**9):
            write_atomic(sys.argv[1], bytes([i % 256]) * 4_000_000)"""
    for delay in (0.0, 0.02, 0.05):
        path.unlink(missing_ok=True)
        writer = start(code, path)
        while not path.exists():
            assert writer.poll() is None, writer.stderr.read()
            time.sleep(0.005)
        time.sleep(delay)
        writer.kill()
        writer.communicate()
        data = path.read_bytes()
        assert len(data) == 4_000_000 and data.count(data[0]) == len(data)


def test_a_full_disk_keeps_the_old_file(small_disk, left_overs):
    path, checkpoint = small_disk / "report.json", small_disk / "model.safetensors"
    artifacts.write_json(path, ["old"])
    save_checkpoint(checkpoint, {"w": torch.zeros(10)}, {"old": True})
    with pytest.raises(LabError, match="report.json.*No space.*still whole"):
        artifacts.write_atomic(path, b"x" * 1_000_000)
    with pytest.raises(LabError, match="model.safetensors.*No space.*still whole"):
        save_checkpoint(checkpoint, {"w": torch.zeros(300_000)}, {})
    assert artifacts.read_json(path) == ["old"]
    assert load_checkpoint(checkpoint)[1] == {"old": True}
    assert left_overs(small_disk) == []


def test_a_place_that_cannot_be_written(tmp_path, left_overs):
    file = tmp_path / "file"
    file.write_text("in the way")
    (tmp_path / "folder").mkdir()
    with pytest.raises(LabError, match="could not be written.*nothing was left"):
        artifacts.write_atomic(file / "below.json", "x")
    with pytest.raises(LabError, match="could not be written"):
        save_checkpoint(file / "model.safetensors", {"w": torch.zeros(2)}, {})
    with pytest.raises(LabError, match="could not be written"):
        artifacts.write_atomic(tmp_path / "folder", "a folder has that name")
    assert left_overs(tmp_path) == [] and file.read_text() == "in the way"


# --- Checkpoints ----------------------------------------------------------------------------


def small_checkpoint(path: Path) -> tuple[dict, dict]:
    tensors = {
        "embed": torch.randn(3, 2).bfloat16(),
        "step": torch.tensor(7),
        "mask": torch.tensor([True, False]),
        "empty": torch.zeros(0, 4),
    }
    meta = {"tokenizer": {"merges": [["a", "b"]]}, "note": "crème"}
    save_checkpoint(path, tensors, meta)
    return tensors, meta


def same(a: dict, b: dict) -> bool:
    types = {k: t.dtype for k, t in a.items()} == {k: t.dtype for k, t in b.items()}
    return types and a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def test_checkpoint_there_and_back(tmp_path):
    path = tmp_path / "runs" / "base.safetensors"
    tensors, meta = small_checkpoint(path)
    loaded, loaded_meta = load_checkpoint(path)
    assert same(loaded, tensors) and loaded_meta == read_meta(path) == meta
    shared = torch.arange(6.0).reshape(2, 3)
    save_checkpoint(path, {"in": shared, "out": shared, "turned": shared.T}, {})
    loaded, _ = load_checkpoint(path)
    assert same(loaded, {"in": shared, "out": shared, "turned": shared.T})


def test_meta_that_is_no_json_keeps_the_old_checkpoint(tmp_path):
    path = tmp_path / "base.safetensors"
    _, meta = small_checkpoint(path)
    with pytest.raises(TypeError):
        save_checkpoint(path, {"w": torch.zeros(2)}, {"when": object()})
    assert read_meta(path) == meta


def test_a_checkpoint_cut_anywhere_is_refused(tmp_path):
    path = tmp_path / "base.safetensors"
    small_checkpoint(path)
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(LabError, match="base.safetensors"):
            load_checkpoint(path)
        with pytest.raises(LabError, match="base.safetensors"):
            read_meta(path)


def test_no_changed_byte_goes_unseen(tmp_path):
    path = tmp_path / "base.safetensors"
    tensors, meta = small_checkpoint(path)
    whole = path.read_bytes()
    refused = 0
    for place in range(len(whole)):
        for flip in (0x01, 0x20, 0x80):
            path.write_bytes(whole[:place] + bytes([whole[place] ^ flip]) + whole[place + 1 :])
            try:
                loaded, loaded_meta = load_checkpoint(path)
            except LabError:
                refused += 1
            else:  # a blank that became another blank says the same
                assert same(loaded, tensors) and loaded_meta == meta
    assert refused > 2.9 * len(whole)


class Bomb:
    """A pickle that leaves a mark when it is opened."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return Path.touch, (self.mark,)


@pytest.mark.parametrize("dump", [pickle.dump, torch.save])
def test_a_renamed_pickle_is_not_opened(tmp_path, dump):
    path, mark = tmp_path / "base.safetensors", tmp_path / "opened"
    with open(path, "wb") as file:
        dump({"w": Bomb(mark)}, file)
    for read in (load_checkpoint, read_meta):
        with pytest.raises(LabError, match="is a pickle.*not opened"):
            read(path)
    assert not mark.exists()


@pytest.mark.parametrize("read", [load_checkpoint, read_meta])
def test_what_is_no_checkpoint(tmp_path, read):
    path = tmp_path / "base.safetensors"
    with pytest.raises(LabError, match="There is no checkpoint"):
        read(path)
    with pytest.raises(LabError, match="is a folder"):
        read(tmp_path)
    path.touch()
    with pytest.raises(LabError, match="is empty"):
        read(path)
    path.write_text("Once upon a time there was a pot of soup.")
    with pytest.raises(LabError, match="not a checkpoint"):
        read(path)
    save_file({"w": torch.zeros(2)}, path)
    with pytest.raises(LabError, match="not written by llmlab"):
        read(path)


def test_a_header_of_a_pickles_first_byte_is_no_pickle(tmp_path):
    """The length of a header, 640 bytes for one, may begin as a pickle does."""
    path = tmp_path / "base.safetensors"
    seen = set()
    for pad in range(256):
        save_checkpoint(path, {"w": torch.zeros(2)}, {"pad": "x" * pad})
        seen.add(path.read_bytes()[0])
        assert len(read_meta(path)["pad"]) == pad
    assert 0x80 in seen


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("模型".encode().decode("ascii", "surrogateescape"), "模型"),
        ("half \ud83d", "half \ufffd"),
        ("no UTF-8 \udcff", "no UTF-8 \ufffd"),
        ("egg 🍜", "egg 🍜"),
    ],
)
def test_any_text_can_be_written(text, written, tmp_path):
    artifacts.write_json(tmp_path / "file.json", {"path": text})
    assert artifacts.read_json(tmp_path / "file.json") == {"path": written}
