"""The disk door: whole files or none, checkpoints, and texts against their hashes."""

import hashlib
import importlib.util
import json
import os
import pickle
import shutil
import signal
import stat
import subprocess
import sys
import time
import zipfile
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from llmlab import artifacts
from llmlab.artifacts import LabError, Source

ROOT = Path(artifacts.__file__).parents[1]


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """An empty cache and no network; pip itself finds nothing but what a test lays out."""
    monkeypatch.setenv("LLMLAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    for name in ("LLMLAB_WHEELS", "LLMLAB_OFFLINE", "LLMLAB_RUNS"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "index").mkdir()


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 256 KiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("only root on Linux can mount the small disk that this test fills")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def start(code: str, *args: object) -> subprocess.Popen:
    """Another Python process with llmlab in reach."""
    command = [sys.executable, "-c", code, *map(str, args)]
    return subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)


def left_overs(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.name.startswith(".tmp-")]


# --- Places and messages --------------------------------------------------------------------


def test_ipython_shows_the_sentence_alone():
    code = "from llmlab.artifacts import LabError; raise LabError('The oven is cold.')"
    command = [sys.executable, "-m", "IPython", "--no-banner", "--colors=NoColor", "-c", code]
    shown = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (shown.stdout + shown.stderr).strip() == "The oven is cold."


def test_places_follow_the_environment(tmp_path, monkeypatch):
    assert artifacts.data_dir() == ROOT / "data"
    assert artifacts.cache_dir() == tmp_path / "cache"
    assert artifacts.runs_dir() == ROOT / "runs"
    monkeypatch.setenv("LLMLAB_RUNS", "~/mine")
    assert artifacts.runs_dir() == Path.home() / "mine"
    assert artifacts.runs_dir(tmp_path) == tmp_path


def installed_copy(folder: Path, toml: str):
    """artifacts.py as it lies in an installed wheel, with its own list of sources."""
    (folder / "llmlab" / "_data").mkdir(parents=True)
    (folder / "llmlab" / "_data" / "sources.toml").write_text(toml)
    file = shutil.copy(artifacts.__file__, folder / "llmlab")
    spec = importlib.util.spec_from_file_location("installed_artifacts", file)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def test_an_installed_wheel_has_its_data_inside(tmp_path):
    installed = installed_copy(tmp_path / "site", "")
    assert installed.data_dir() == tmp_path / "site" / "llmlab" / "_data"
    assert installed.runs_dir() == Path.home() / "llmlab" / "runs"


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


def test_a_killed_writer_leaves_the_old_file_or_the_new(tmp_path):
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


def test_a_full_disk_keeps_the_old_file(small_disk):
    path, checkpoint = small_disk / "report.json", small_disk / "model.safetensors"
    artifacts.write_json(path, ["old"])
    artifacts.save_checkpoint(checkpoint, {"w": torch.zeros(10)}, {"old": True})
    with pytest.raises(LabError, match="report.json.*No space.*still whole"):
        artifacts.write_atomic(path, b"x" * 1_000_000)
    with pytest.raises(LabError, match="model.safetensors.*No space.*still whole"):
        artifacts.save_checkpoint(checkpoint, {"w": torch.zeros(300_000)}, {})
    assert artifacts.read_json(path) == ["old"]
    assert artifacts.load_checkpoint(checkpoint)[1] == {"old": True}
    assert left_overs(small_disk) == []


def test_a_full_disk_leaves_nothing_half_unpacked(small_disk, tmp_path, monkeypatch):
    source = make_source({f"texts/{i}.txt": os.urandom(50_000) for i in range(10)})
    monkeypatch.setenv("LLMLAB_WHEELS", str(tmp_path / "cache" / "wheels"))
    monkeypatch.setenv("LLMLAB_CACHE", str(small_disk))
    with pytest.raises(LabError, match="No space.*LLMLAB_CACHE"):
        artifacts.fetch(source)
    assert list((small_disk / "sources").iterdir()) == []


def test_a_place_that_cannot_be_written(tmp_path, monkeypatch):
    file = tmp_path / "file"
    file.write_text("in the way")
    with pytest.raises(LabError, match="could not be written.*nothing was left"):
        artifacts.write_atomic(file / "below.json", "x")
    with pytest.raises(LabError, match="could not be written"):
        artifacts.save_checkpoint(file / "model.safetensors", {"w": torch.zeros(2)}, {})
    with pytest.raises(LabError, match="could not be written"):
        artifacts.write_atomic(tmp_path / "index", "a folder has that name")
    source = make_source({"texts/a.txt": b"a"})
    monkeypatch.setenv("LLMLAB_CACHE", str(file))
    with pytest.raises(LabError, match="LLMLAB_CACHE"):
        artifacts.fetch(source)
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
    artifacts.save_checkpoint(path, tensors, meta)
    return tensors, meta


def same(a: dict, b: dict) -> bool:
    types = {k: t.dtype for k, t in a.items()} == {k: t.dtype for k, t in b.items()}
    return types and a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def test_checkpoint_there_and_back(tmp_path):
    path = tmp_path / "runs" / "base.safetensors"
    tensors, meta = small_checkpoint(path)
    loaded, loaded_meta = artifacts.load_checkpoint(path)
    assert same(loaded, tensors) and loaded_meta == artifacts.read_meta(path) == meta
    shared = torch.arange(6.0).reshape(2, 3)
    artifacts.save_checkpoint(path, {"in": shared, "out": shared, "turned": shared.T}, {})
    loaded, _ = artifacts.load_checkpoint(path)
    assert same(loaded, {"in": shared, "out": shared, "turned": shared.T})


def test_meta_that_is_no_json_keeps_the_old_checkpoint(tmp_path):
    path = tmp_path / "base.safetensors"
    _, meta = small_checkpoint(path)
    with pytest.raises(TypeError):
        artifacts.save_checkpoint(path, {"w": torch.zeros(2)}, {"when": object()})
    assert artifacts.read_meta(path) == meta


def test_a_checkpoint_cut_anywhere_is_refused(tmp_path):
    path = tmp_path / "base.safetensors"
    small_checkpoint(path)
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(LabError, match="base.safetensors"):
            artifacts.load_checkpoint(path)
        with pytest.raises(LabError, match="base.safetensors"):
            artifacts.read_meta(path)


def test_no_changed_byte_goes_unseen(tmp_path):
    path = tmp_path / "base.safetensors"
    tensors, meta = small_checkpoint(path)
    whole = path.read_bytes()
    refused = 0
    for place in range(len(whole)):
        for flip in (0x01, 0x20, 0x80):
            path.write_bytes(whole[:place] + bytes([whole[place] ^ flip]) + whole[place + 1 :])
            try:
                loaded, loaded_meta = artifacts.load_checkpoint(path)
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
    for read in (artifacts.load_checkpoint, artifacts.read_meta):
        with pytest.raises(LabError, match="is a pickle.*not opened"):
            read(path)
    assert not mark.exists()


@pytest.mark.parametrize("read", [artifacts.load_checkpoint, artifacts.read_meta])
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
        artifacts.save_checkpoint(path, {"w": torch.zeros(2)}, {"pad": "x" * pad})
        seen.add(path.read_bytes()[0])
        assert len(artifacts.read_meta(path)["pad"]) == pad
    assert 0x80 in seen


# --- Sources --------------------------------------------------------------------------------


def make_wheel(path: Path, members: dict[str, bytes], links: tuple[str, ...] = ()) -> str:
    """A real wheel of the package kitchen-texts 1.0; its SHA-256."""
    info = "kitchen_texts-1.0.dist-info"
    about = {
        f"{info}/METADATA": b"Metadata-Version: 2.1\nName: kitchen-texts\nVersion: 1.0\n",
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/RECORD": b"",
    }
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in (members | about).items():
            entry = zipfile.ZipInfo(name)
            entry.external_attr = (stat.S_IFLNK if name in links else stat.S_IFREG) << 16
            archive.writestr(entry, data)
    return artifacts.sha256_file(path)


def make_source(texts: dict[str, bytes], members=("texts/*.txt",), links=()) -> Source:
    """A source whose wheel lies in the cache's folder for wheels."""
    file = "kitchen_texts-1.0-py3-none-any.whl"
    wheels = artifacts.cache_dir() / "wheels"
    wheels.mkdir(parents=True, exist_ok=True)
    return Source(
        name="texts",
        title="texts of this test",
        kind="wheel",
        licence="CC0",
        credit="us",
        profiles=("class",),
        package="kitchen-texts",
        version="1.0",
        wheel=file,
        sha256=make_wheel(wheels / file, texts, links),
        members=members,
    )


def by_pip(source: Source, tmp_path: Path) -> Path:
    """Moves the source's wheel to where pip alone finds it."""
    hidden = artifacts.cache_dir() / "wheels" / source.wheel
    return Path(shutil.move(hidden, tmp_path / "index" / source.wheel))


TEXTS = {"texts/a.txt": b"one", "texts/deep/b.txt": b"two", "texts/code.py": b"raise SystemExit"}


def test_a_wheel_laid_by_hand(tmp_path, monkeypatch):
    source = make_source(TEXTS)
    monkeypatch.setenv("LLMLAB_OFFLINE", "1")
    folder = artifacts.fetch(source)
    assert folder == tmp_path / "cache" / "sources" / "texts-1.0"
    unpacked = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    assert unpacked == {"texts/a.txt", "texts/deep/b.txt", "source.json"}
    record = artifacts.read_json(folder / "source.json")
    assert record["licence"] == "CC0" and record["sha256"] == source.sha256
    assert record["files"]["texts/a.txt"]["sha256"] == hashlib.sha256(b"one").hexdigest()
    moved = shutil.move(tmp_path / "cache" / "wheels", tmp_path / "stick")
    shutil.rmtree(folder)
    with pytest.raises(LabError, match="LLMLAB_OFFLINE"):
        artifacts.fetch(source)
    monkeypatch.setenv("LLMLAB_WHEELS", str(moved))
    assert (artifacts.fetch(source) / "texts/a.txt").read_bytes() == b"one"


def test_pip_brings_it_and_a_second_call_does_nothing(tmp_path, capfd):
    source = make_source(TEXTS)
    wheel = by_pip(source, tmp_path)
    folder = artifacts.fetch(source)
    assert (folder / "texts/deep/b.txt").read_bytes() == b"two"
    assert [p.name for p in folder.parent.iterdir()] == ["texts-1.0"]
    assert "Fetching texts (kitchen-texts 1.0)" in capfd.readouterr().err
    shutil.rmtree(folder)
    said = []
    artifacts.fetch(source, progress=said.append)
    assert said == ["Fetching texts (kitchen-texts 1.0)"] and capfd.readouterr().err == ""
    wheel.unlink()
    before = folder.stat()
    assert artifacts.fetch(source) == folder and folder.stat() == before
    assert capfd.readouterr().err == ""


def test_pip_that_finds_nothing_says_what_to_do(tmp_path):
    source = make_source(TEXTS)
    by_pip(source, tmp_path).unlink()
    with pytest.raises(LabError, match="kitchen-texts 1.0.*data fetch.*or lay kitchen_texts"):
        artifacts.fetch(source)
    assert list((tmp_path / "cache" / "sources").iterdir()) == []


@pytest.mark.parametrize("way", ["hand", "pip"])
def test_a_wrong_hash_is_refused_and_both_are_named(tmp_path, way):
    source = make_source(TEXTS)
    asked = replace(source, sha256="0" * 64)
    if way == "pip":
        by_pip(source, tmp_path)
    with pytest.raises(LabError, match="refused") as refusal:
        artifacts.fetch(asked)
    assert source.sha256 in str(refusal.value) and asked.sha256 in str(refusal.value)
    assert not asked.folder.exists()


@pytest.mark.parametrize(
    "name",
    ["../evil.txt", "texts/../../evil.txt", "/evil.txt", "texts\\..\\evil.txt", "C:evil.txt"],
)
def test_a_member_outside_its_folder_is_refused(tmp_path, name):
    source = make_source({"texts/a.txt": b"a", name: b"evil"}, members=("*.txt",))
    with pytest.raises(LabError, match="outside its own folder"):
        artifacts.fetch(source)
    assert list(tmp_path.rglob("evil*")) == [] and not source.folder.exists()


def test_a_link_in_a_wheel_is_refused(tmp_path):
    source = make_source({"texts/a.txt": b"/etc/passwd"}, links=("texts/a.txt",))
    with pytest.raises(LabError, match="refused"):
        artifacts.fetch(source)
    assert not source.folder.exists()


def test_a_wheel_that_is_no_archive_or_lacks_the_text(tmp_path):
    source = make_source({"other.txt": b"a"})
    with pytest.raises(LabError, match="has none of"):
        artifacts.fetch(source)
    wheel = artifacts.cache_dir() / "wheels" / source.wheel
    wheel.write_bytes(b"no archive")
    with pytest.raises(LabError, match="not a whole wheel"):
        artifacts.fetch(replace(source, sha256=artifacts.sha256_file(wheel)))


FETCH_IN_A_PROCESS = """if True:
    import json, sys
    from llmlab.artifacts import Source, fetch
    source = json.loads(sys.argv[1])
    fetch(Source(**{k: tuple(v) if isinstance(v, list) else v for k, v in source.items()}))"""


def test_a_killed_fetch_is_never_taken_for_a_whole_one(tmp_path):
    source = make_source({f"texts/{i}.txt": b"soup" * 99 for i in range(4000)})
    process = start(FETCH_IN_A_PROCESS, json.dumps(asdict(source)))
    sources = tmp_path / "cache" / "sources"
    while len(list(sources.glob(".tmp-*/new/texts/*"))) < 20:
        assert process.poll() is None, process.stderr.read()
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL and not source.folder.exists()
    (left,) = sources.iterdir()
    os.utime(left, (0, 0))  # as on another day
    assert len(list((artifacts.fetch(source) / "texts").iterdir())) == 4000
    assert list(sources.iterdir()) == [source.folder]


def test_many_fetch_at_once(tmp_path):
    source = make_source({f"texts/{i}.txt": b"soup" * i for i in range(300)})
    processes = [start(FETCH_IN_A_PROCESS, json.dumps(asdict(source))) for _ in range(4)]
    errors = [process.communicate()[1] for process in processes]
    assert [process.returncode for process in processes] == [0] * 4, errors
    assert list(source.folder.parent.iterdir()) == [source.folder]
    assert (artifacts.fetch(source) / "texts/299.txt").read_bytes() == b"soup" * 299


@pytest.mark.parametrize("damage", ["changed", "removed", "record"])
def test_a_damaged_cache_is_made_whole(tmp_path, damage):
    source = make_source(TEXTS)
    file = artifacts.fetch(source) / "texts/a.txt"
    if damage == "removed":
        file.unlink()
    else:
        (file if damage == "changed" else source.folder / "source.json").write_bytes(b"0ne")
    assert artifacts.fetch(source) == source.folder and file.read_bytes() == b"one"
    assert list(source.folder.parent.iterdir()) == [source.folder]


TABLE = """
title = "texts"
kind = "wheel"
licence = "CC0"
credit = "us"
profiles = ["class"]
package = "kitchen-texts"
version = "1.0"
wheel = "kitchen_texts-1.0-py3-none-any.whl"
members = ["texts/*.txt"]
"""


def test_fetch_all_keeps_the_rest(tmp_path, monkeypatch):
    source = make_source(TEXTS)
    tables = {
        "good": f'sha256 = "{source.sha256}"',
        "bad": f'sha256 = "{"0" * 64}"\nhouse = "recipes.json"',
        "worse": f'sha256 = "{"0" * 64}"',
    }
    toml = "".join(f"[{name}]{TABLE}{more}\n" for name, more in tables.items())
    installed = installed_copy(tmp_path / "site", toml)
    table = {row["name"]: row for row in installed.fetch_all()}
    assert {name: row["status"] for name, row in table.items()} == {
        "good": "fetched",
        "bad": "house",
        "worse": "missing",
    }
    assert table["good"]["bytes"] == 6 and table["good"]["message"] == ""
    assert "0" * 64 in table["bad"]["message"] and source.sha256 in table["bad"]["message"]
    assert [row["status"] for row in installed.fetch_all(["good"])] == ["cached"]
    with pytest.raises(installed.LabError, match="'ugly'; there are good, bad, worse"):
        installed.fetch_all(["good", "ugly"])


def test_without_a_network_the_house_texts_serve(monkeypatch, capsys):
    monkeypatch.setenv("LLMLAB_OFFLINE", "1")
    assert artifacts.source_path("recipes") is None
    said = capsys.readouterr().out
    assert "recipes is not in the cache" in said and "house texts" in said and "data fetch" in said
    assert artifacts.source_path("recipes") is None and capsys.readouterr().out == ""
    assert artifacts.source_path("idioms") is None
    assert "house" not in capsys.readouterr().out
    assert (artifacts.source_path("python") / "ast.py").is_file()
    with pytest.raises(LabError, match="'soup'; there are recipes"):
        artifacts.source_path("soup")


def test_the_list_of_sources_is_complete():
    known = artifacts.sources()
    readme = (ROOT / "data" / "README.md").read_text("utf-8")
    for source in known.values():
        assert source.title and source.licence and source.credit
        assert set(source.profiles) <= {"class", "full"}
        assert f"`{source.name}`" in readme and f"{source.package} {source.version}" in readme
        assert not source.house or (ROOT / "data" / "house" / source.house).is_file()
        if source.kind == "wheel":
            file_name = f"{source.package.replace('-', '_')}-{source.version}-"
            assert source.wheel.startswith(file_name) and source.members
            assert int(source.sha256, 16) and len(source.sha256) == 64
    assert known["python"].kind == "stdlib"


def test_the_real_sources_in_the_cache(monkeypatch):
    """Each real source that this machine has holds what the series reads."""
    monkeypatch.delenv("LLMLAB_CACHE")
    monkeypatch.setenv("LLMLAB_OFFLINE", "1")
    table = {row["name"]: row for row in artifacts.fetch_all()}
    have = {name: artifacts.sources()[name].folder for name in table if table[name]["bytes"]}
    have = {name: have[name] for name in have if table[name]["status"] == "cached"}
    if not have:
        pytest.skip("no source is in the cache: python -m llmlab data fetch")
    found = {name: len(list(folder.rglob("*.*"))) - 1 for name, folder in have.items()}
    files = {"recipes": 1, "encyclopedia": 1, "speeches": 249, "idioms": 1}
    files |= {"gpt2": 2, "cl100k_o200k": 2}
    assert found == {name: files[name] for name in have}
