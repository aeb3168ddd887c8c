"""`python -m llmlab …`, as it is called."""

import json
import os
import re
import subprocess
import sys

import pytest

from llmlab import __version__, cli
from llmlab.artifacts import data_dir
from llmlab.checkpoint import read_meta
from llmlab.training import loop
from tests.faults.said import clear, unharmed


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


def test_a_place_where_another_process_trains_is_refused_at_once(checkpoint, capsys):
    text = str(checkpoint.with_name("text.txt"))
    arguments = ["pretrain", "--toy", "--steps", "2", "--tokenizer", "char", "--text", text]
    with loop.alone(checkpoint), unharmed(checkpoint.parent):
        assert cli.main([*arguments, "--out", str(checkpoint.parent)]) == 2
    assert "model.safetensors just now; nothing was changed" in clear(capsys.readouterr().err)
    assert cli.main([*arguments, "--out", str(checkpoint.parent)]) == 0


def test_a_path_in_another_script_works_where_the_locale_is_plain_ascii(checkpoint, tmp_path):
    """As on a bare server or in a container: what is written names the path as it is."""
    folder = tmp_path / "模型"
    folder.mkdir()
    text, out = folder / "文.txt", folder / "出"
    text.write_bytes(checkpoint.with_name("text.txt").read_bytes())
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    pretrain = ["pretrain", "--steps", "2", "--tokenizer", "char", "--text", text, "--out", out]
    named = folder / "模型.safetensors"
    named.write_bytes(checkpoint.read_bytes())
    evaluate = ["evaluate", named, "--tasks", "bpb"]
    for command in (pretrain, evaluate):
        command = [sys.executable, "-m", "llmlab", *command, "--toy", "--json", folder / "j.json"]
        done = subprocess.run(command, env={**os.environ, **plain}, capture_output=True)
        assert done.returncode == 0, done.stderr
    assert json.loads((folder / "j.json").read_bytes())["模型_val_bpb"] > 0


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


# --- What a terminal shows, and a reader that goes away -----------------------------------------

STEERS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e\u2067]")


def test_no_text_steers_the_terminal(checkpoint, tmp_path, capsys, monkeypatch):
    """Escapes, bells and turned writing, from a text, a prompt, a file's name or a model."""
    model = ["--model", str(checkpoint)]
    odd = "\x1b[31m\x07\u202eegg\x9b"
    assert cli.main(["sample", *model, "--prompt", odd, "--tokens", "1"]) == 0
    text = tmp_path / "text.txt"
    text.write_text(odd + "Boil it.\r\nStir it.\t" * 99, "utf-8", newline="")
    command = ["pretrain", "--toy", "--steps", "2", "--tokenizer", "char", "--text", str(text)]
    assert cli.main([*command, "--out", str(tmp_path / "out")]) == 0
    typed = iter(["Hi", "Ho", ""])
    monkeypatch.setattr("builtins.input", lambda prompt: next(typed))
    assert cli.main(["chat", *model, "--temperature", "9"]) == 0  # an untrained model: any bytes
    said = capsys.readouterr()
    assert said.out.count("⟨U+001B⟩[31m⟨U+0007⟩⟨U+202E⟩egg⟨U+009B⟩") == 2
    assert cli.main(["sample", "--model", f"{odd}.safetensors"]) == 2
    assert not STEERS.search(said.out + capsys.readouterr().err)


def piped(*arguments: str, **where) -> subprocess.Popen:
    env = {**os.environ, "PYTHONUNBUFFERED": "1"}
    return subprocess.Popen([sys.executable, "-m", "llmlab", *arguments], env=env, **where)


def test_a_reader_that_goes_away_costs_nothing_but_what_it_would_have_read(checkpoint, tmp_path):
    """As `| head -1` does, of what is printed and of the progress bar: the work is done whole."""
    text, figures = str(checkpoint.with_name("text.txt")), tmp_path / "figures.json"
    command = ["pretrain", "--toy", "--steps", "9", "--tokenizer", "char", "--text", text]
    ends = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = piped(*command, "--out", str(tmp_path), "--json", str(figures), **ends)
    process.stdout.close()
    process.stderr.close()
    assert process.wait() == 0
    assert json.loads(figures.read_text())["steps"] == 9
    assert read_meta(tmp_path / "model.safetensors")["step"] == 9


def test_a_reader_that_goes_away_leaves_no_trace(checkpoint):
    command = ["sample", "--model", str(checkpoint), "--tokens", "9"]
    process = piped(*command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.close()
    assert process.stderr.read() == b"" and process.wait() == 0


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no full device")
def test_an_output_that_is_full_is_said(checkpoint):
    with open("/dev/full", "wb") as full:
        process = piped("sample", "--model", str(checkpoint), stdout=full, stderr=subprocess.PIPE)
    said = process.stderr.read().decode()
    assert said == "Not all could be printed (No space left on device).\n" and process.wait() == 2
