"""The doors to the big data sets: files in three formats, each card's schema, or a sentence."""

import os
import subprocess
import sys
from itertools import islice
from pathlib import Path

import pyarrow
import pytest
from pyarrow import parquet

from llmlab.artifacts import LabError
from llmlab.corpus import sources
from llmlab.datasets import hub_datasets

ROOT = Path(sources.__file__).parents[2]
BIG = hub_datasets.big()
FORMATS = ("parquet", "jsonl", "jsonl.gz", "arrow", "stream.arrow")


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """An empty cache, no folder of one's own, no network."""
    monkeypatch.setenv("LLMLAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("LLMLAB_OFFLINE", "1")
    monkeypatch.delenv("LLMLAB_DATA", raising=False)


@pytest.mark.parametrize("ending", FORMATS)
@pytest.mark.parametrize("name", BIG)
def test_each_data_set_is_read_from_files_in_the_schema_of_its_card(
    name, ending, tmp_path, made, lay
):
    source, rows = BIG[name], made(name, 12)
    lay(tmp_path / name / f"a.{ending}", rows[:7])
    lay(tmp_path / name / f"b.{ending}", rows[7:])
    wanted = [{column: row[column] for column in source.columns} for row in rows]

    def kept(found):
        return [{column: row[column] for column in source.columns} for row in found]

    assert kept(hub_datasets.load_rows(source, tmp_path)) == wanted
    assert kept(islice(hub_datasets.stream(source, tmp_path), 12)) == wanted


def test_files_named_after_a_split_belong_to_it(tmp_path, made, lay):
    source, folder = BIG["ultrafeedback"], tmp_path / "ultrafeedback"
    for k, split in enumerate(("train_prefs", "test_prefs", "train_sft", "test_sft", "train_gen")):
        lay(folder / "data" / f"{split}-00000-of-00001.parquet", made("ultrafeedback", 3, seed=k))
    names = [[p.name for p in hub_datasets.files(source, tmp_path, test)] for test in (False, True)]
    assert names == [[f"{split}_prefs-00000-of-00001.parquet"] for split in ("train", "test")]
    for name in ("smoltalk", "gsm8k"):  # named after no split: all for training
        lay(tmp_path / name / "mine.jsonl", made(name, 3))
        assert len(hub_datasets.load_rows(BIG[name], tmp_path)) == 3
        with pytest.raises(LabError, match=rf"{name} \(its split test\) is not on this machine"):
            hub_datasets.load_rows(BIG[name], tmp_path, test=True)


def test_of_a_copied_repository_only_the_part_that_the_series_reads(tmp_path, made, lay):
    folder = tmp_path / "smoltalk"
    for config in ("all", "apigen-80k", "smol-rewrite"):
        lay(folder / "data" / config / "train-00000-of-00001.parquet", made("smoltalk", 2))
    lay(folder / ".cache" / "data" / "all" / "train-00000-of-00001.parquet", made("smoltalk", 2))
    assert [p.parent.name for p in hub_datasets.files(BIG["smoltalk"], tmp_path)] == ["all"]


def test_wrong_columns_are_named_and_the_files_left_alone(tmp_path, made, lay):
    for ending in ("parquet", "jsonl", "arrow"):
        folder = tmp_path / ending
        file = lay(folder / "gsm8k" / f"train.{ending}", made("fineweb_edu", 3))
        for opened in (hub_datasets.load_rows, hub_datasets.stream):
            with pytest.raises(LabError, match=r"no column 'question' \(there are dump, .*text"):
                opened(BIG["gsm8k"], folder)
        assert file.is_file()


def test_damaged_mixed_and_empty_files_are_a_sentence(tmp_path, made, lay):
    lay(tmp_path / "gsm8k" / "a.parquet", made("gsm8k", 3))
    lay(tmp_path / "gsm8k" / "b.jsonl", made("gsm8k", 3))
    with pytest.raises(LabError, match="several formats"):
        hub_datasets.load_rows(BIG["gsm8k"], tmp_path)
    whole = lay(tmp_path / "one" / "gsm8k" / "a.parquet", made("gsm8k", 300)).read_bytes()
    (tmp_path / "one" / "gsm8k" / "a.parquet").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(LabError, match="gsm8k cannot be read"):
        hub_datasets.load_rows(BIG["gsm8k"], tmp_path / "one")


@pytest.mark.parametrize("name", ["a.jsonl", "blank.jsonl", "a.jsonl.gz", "a.parquet"])
def test_files_without_rows_are_said_and_left_out_beside_others(name, tmp_path, made, lay):
    rows = made("gsm8k", 3)
    path = lay(tmp_path / "gsm8k" / name, [])
    if name == "blank.jsonl":
        path.write_text("\n \n")
    if name == "a.parquet":
        parquet.write_table(pyarrow.Table.from_pylist(rows).slice(0, 0), path)
    for opened in (hub_datasets.load_rows, hub_datasets.stream):
        with pytest.raises(LabError, match="gsm8k holds no rows: its files in .*are empty"):
            opened(BIG["gsm8k"], tmp_path)
    lay(path.with_name(f"b{name.removeprefix('a').removeprefix('blank')}"), rows)
    assert list(hub_datasets.load_rows(BIG["gsm8k"], tmp_path)) == rows
    assert list(hub_datasets.stream(BIG["gsm8k"], tmp_path)) == rows


def test_what_is_not_here_is_said_and_the_class_data_offered(tmp_path, capsys):
    for opened in (hub_datasets.load_rows, hub_datasets.stream):
        with pytest.raises(LabError, match="smoltalk is not on this machine.*--data-dir|into"):
            opened(BIG["smoltalk"])
    assert hub_datasets.or_none(BIG["smoltalk"]) is None
    said = capsys.readouterr().out
    assert "data fetch --profile full" in said and "kitchen's own data serve instead" in said
    with pytest.raises(LabError, match="no folder .*nowhere"):
        hub_datasets.user_data_dir(tmp_path / "nowhere")


def run_python(code: str, **environment) -> str:
    """What a Python of its own prints."""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, text=True, capture_output=True,
        env=os.environ | environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_hub_that_does_not_answer_is_a_sentence():
    code = (
        "from llmlab.datasets import hub_datasets as doors\n"
        "from llmlab.artifacts import LabError\n"
        "for act in (doors.fetch, doors.stream):\n"
        "    try: act(doors.big()['gsm8k'])\n"
        "    except LabError as error: print(error)\n"
    )
    said = run_python(code, HF_ENDPOINT="http://127.0.0.1:9", LLMLAB_OFFLINE="0")
    assert said.count("gsm8k could not be had from the hub") == 2
    assert run_python(code).count("LLMLAB_OFFLINE keeps the network off") == 2


def test_without_the_package_it_is_a_sentence(own_data, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "datasets", None)  # as where it is not installed
    assert hub_datasets.or_none(BIG["gsm8k"], own_data) is None
    assert "pip install datasets datatrove" in capsys.readouterr().out


def test_shares_must_leave_the_kitchen_something():
    shares = {"smoltalk": 0.5, "gsm8k": 0.25, "fineweb_edu": 0.9, "helpsteer2": 0.0}
    of_sft = hub_datasets.of_stage("sft", shares)
    assert {source.name: share for source, share in of_sft.items()} == {
        "smoltalk": 0.5, "gsm8k": 0.25,
    }  # fmt: skip
    assert hub_datasets.of_stage("reward", shares) == {}
    for wrong in ({"smoltalk": 0.8, "gsm8k": 0.2}, {"smoltalk": -0.1}):
        with pytest.raises(LabError, match="less than 1 together"):
            hub_datasets.of_stage("sft", wrong)
    with pytest.raises(LabError, match="'pile'; there are fineweb_edu"):
        hub_datasets.of_stage("sft", {"pile": 0.5})


def test_every_data_set_says_where_it_is_from():
    for source in BIG.values():
        assert source.hub.count("/") == 1 and len(source.revision) == 40
        assert source.columns and source.members and source.stages and source.split
        assert source.profiles == ("full",)
        assert source not in sources.usual()
    with pytest.raises(LabError, match="data fetch --profile full"):
        sources.fetch(BIG["gsm8k"])
