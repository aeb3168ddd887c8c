"""`python -m llmlab …`, as it is called."""

import subprocess
import sys

import pytest

from llmlab import __version__, cli
from llmlab.artifacts import data_dir
from llmlab.checkpoint import read_meta


def llmlab(*arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "llmlab", *arguments]
    return subprocess.run(command, capture_output=True, text=True)


def test_version():
    assert llmlab("--version").stdout.strip() == __version__


@pytest.mark.parametrize("arguments", [[], ["cook"], ["setup", "--sweet"]])
def test_wrong_arguments_exit_with_2_and_a_usage_line(arguments):
    done = llmlab(*arguments)
    assert done.returncode == 2
    assert done.stderr.startswith("usage: ") and "Traceback" not in done.stderr


# --- Files that are not what they should be ---------------------------------------------------


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A small model of the series, as `pretrain` leaves it."""
    folder = tmp_path_factory.mktemp("small")
    text = folder / "text.txt"
    text.write_text((data_dir() / "house" / "recipes.json").read_text("utf-8"), "utf-8")
    arguments = ["--toy", "--steps", "2", "--tokenizer", "char", "--out", str(folder)]
    assert cli.main(["pretrain", "--text", str(text), *arguments]) == 0
    return folder / "model.safetensors"


def test_a_run_of_another_shape_is_begun_anew_and_says_so(checkpoint, tmp_path, capsys):
    """The same folder, another vocabulary: what is there cannot be gone on with."""
    text = checkpoint.with_name("text.txt")
    out = tmp_path / "model.safetensors"
    out.write_bytes(checkpoint.read_bytes())
    arguments = ["pretrain", "--toy", "--steps", "2", "--text", str(text), "--out", str(tmp_path)]
    assert cli.main([*arguments, "--vocab-size", "300"]) == 0
    assert read_meta(out)["config"]["vocab_size"] == 300
    assert "this one takes its place" in capsys.readouterr().out


def test_a_full_disk_is_said_in_a_sentence(checkpoint, small_disk, capsys):
    text = str(checkpoint.with_name("text.txt"))
    arguments = ["pretrain", "--toy", "--steps", "2", "--tokenizer", "char", "--text", text]
    assert cli.main([*arguments, "--out", str(small_disk / "run")]) == 2
    shown = capsys.readouterr().err.splitlines()[-1]
    assert "could not be written" in shown and "run it again" in shown
    assert [f for f in small_disk.rglob("*") if f.is_file()] == []


BAD = {
    "a source that is none": (["data", "fetch", "soup"], "No source is called 'soup'"),
    "figures into a folder": (["run", "data", "--toy", "--json", "."], "folder"),
    "an export onto a file": (["export", "TEXT", "--model", "base"], "could not be written"),
    "runs inside a file": (["run", "tokenization", "--toy", "--runs-dir", "TEXT"], "could not be"),
}


@pytest.mark.parametrize("case", BAD)
def test_mistakes_get_a_sentence(case, checkpoint, tmp_path, capsys):
    arguments, sentence = BAD[case]
    places = {"TEXT": str(checkpoint.with_name("text.txt")), "OUT": str(tmp_path)}
    assert cli.main([places.get(a, a) for a in arguments]) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert sentence in last
