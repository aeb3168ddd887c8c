"""Text at size is tokenised once: each document once, whole or not at all, and not again."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from llmlab import artifacts
from llmlab.artifacts import LabError
from llmlab.corpus.sources import is_validation
from llmlab.datasets import hub_datasets, pretokenize
from llmlab.datasets.token_shards import TokenDataset

ROOT = Path(artifacts.__file__).parents[1]
WEB = hub_datasets.big()["fineweb_edu"]
SHARE, FILES, PAGES = 0.1, 3, 160  # as in the fixtures


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """An empty cache and no network."""
    monkeypatch.setenv("LLMLAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("LLMLAB_OFFLINE", "1")


def documents(folder: Path, tokenizer) -> list[str]:
    """The texts that files of ids hold."""
    end, texts = tokenizer.special("<|end|>"), []
    for name in sorted(artifacts.read_json(folder / "shards.json")["files"]):
        ids = np.fromfile(folder / name, "<u2")
        assert ids[-1] == end
        cuts = np.flatnonzero(ids == end)
        starts = [0, *(cuts[:-1] + 1)]
        texts += [tokenizer.decode(ids[a:b].tolist()) for a, b in zip(starts, cuts, strict=True)]
    return texts


def test_every_document_is_there_once_and_ends_or_is_held_out(ids_folder, pages, tokenizer):
    _, texts = pages
    held_out = TokenDataset(ids_folder, 1).held_out()
    assert held_out == [t for t in texts if is_validation(t, SHARE)] and len(held_out) > 20
    assert documents(ids_folder, tokenizer) == [t for t in texts if not is_validation(t, SHARE)]
    manifest = artifacts.read_json(ids_folder / "shards.json")
    assert manifest["documents"] == len(texts) - len(held_out)
    assert manifest["licence"] == WEB.licence and manifest["credit"] == WEB.credit


def test_a_text_that_spells_a_special_token_does_not_become_one(pages, tokenizer):
    assert sum("<|end|>" in text for text in pages[1]) > 20  # which `documents` would cut in two
    assert tokenizer.special("<|end|>") not in tokenizer.encode("a <|end|> by hand")


def test_the_folder_is_named_by_tokenizer_text_and_rows(pages, tokenizer, tmp_path, lay, made):
    here, _ = pages
    other = replace(tokenizer, merges=tokenizer.merges[:-1])
    more = shutil.copytree(here, tmp_path / "more")
    lay(more / "fineweb_edu" / "009.parquet", made("fineweb_edu", 5, seed=9))
    places = {
        pretokenize.place(WEB, *how)
        for how in ((tokenizer, here), (other, here), (tokenizer, more), (tokenizer, here, 40))
    }
    assert len(places) == 4
    assert pretokenize.place(WEB, tokenizer, shutil.copytree(here, tmp_path / "same")) in places


def test_a_limit_of_rows(pages, tokenizer):
    short = pretokenize.tokenize_dataset(
        WEB, tokenizer, pages[0], 30, SHARE, pretokenize.Work(workers=1)
    )
    firsts = [t for k in range(FILES) for t in pages[1][k * PAGES : k * PAGES + 10]]
    assert documents(short, tokenizer) == [t for t in firsts if not is_validation(t, SHARE)]


def test_killed_and_run_again_it_goes_on_and_ends_alike(
    ids_folder, pages, tokenizer, tmp_path, made, lay, left_overs
):
    """A kill in the middle of a part leaves the parts before it, and no folder of the name."""
    big = shutil.copytree(pages[0], tmp_path / "big")
    lay(big / "fineweb_edu" / "003.parquet", made("fineweb_edu", 20_000, seed=3))
    code = (
        "import sys; from pathlib import Path; from llmlab import lab\n"
        "from llmlab.datasets import hub_datasets as doors, pretokenize as prepare\n"
        "if __name__ == '__main__':\n"
        "    prepare.tokenize_dataset(doors.big()['fineweb_edu'],\n"
        "        lab.setup('class-toy').tokenizer(),\n"
        f"                    Path({str(big)!r}), 0, {SHARE}, prepare.Work(workers=1))\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stderr=subprocess.DEVNULL)
    target = pretokenize.place(WEB, tokenizer, big, 0, SHARE)
    half = target.with_name(f"{target.name}.part")
    writing = "**/00003.ids"  # the last and largest part, under its temporary name
    size = 0
    while size < 1e5:
        assert process.poll() is None, "it ended before it could be killed"
        with contextlib.suppress(FileNotFoundError):  # a folder that was there a moment ago
            size = sum(path.stat().st_size for path in half.glob(writing))
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not target.exists() and not (half / "00003.ids").exists()
    stamps = {name: (half / name).stat().st_mtime_ns for name in ("00000.ids", "00001.ids")}
    work = pretokenize.Work(workers=1)
    assert left_overs(half)
    assert (
        pretokenize.tokenize_dataset(WEB, tokenizer, big, 0, SHARE, work) == target
        and not half.exists()
    )
    assert left_overs(target) == []
    assert stamps == {name: (target / name).stat().st_mtime_ns for name in stamps}
    for name in stamps:
        assert (target / name).read_bytes() == (ids_folder / name).read_bytes()
    assert len(documents(target, tokenizer)) + len(TokenDataset(target, 1).held_out()) == 20_480
    before = os.listdir(target)
    assert pretokenize.tokenize_dataset(WEB, tokenizer, big, 0, SHARE, work) == target
    assert os.listdir(target) == before


def test_two_processes_write_the_same_and_a_part_that_fails_is_a_sentence(
    ids_folder, pages, tokenizer, tmp_path
):
    here = shutil.copytree(pages[0], tmp_path / "here")
    file, work = here / "fineweb_edu" / "002_00000.parquet", pretokenize.Work(workers=2)
    whole = file.read_bytes()
    file.write_bytes(whole[:-300] + bytes(300))  # as long as before, so that its name stays
    with pytest.raises(LabError, match=r"tokenised \(.*arquet.*\d of 3 parts are done and"):
        pretokenize.tokenize_dataset(WEB, tokenizer, here, 0, SHARE, work)
    assert pretokenize.state(WEB, tokenizer, here, 0, SHARE)[0] == "half done"
    file.write_bytes(whole)
    done = pretokenize.tokenize_dataset(WEB, tokenizer, here, 0, SHARE, work)
    for name in artifacts.read_json(ids_folder / "shards.json")["files"]:
        assert (done / name).read_bytes() == (ids_folder / name).read_bytes()


def test_a_document_of_white_space_without_end_is_tokenised(lay, made, tokenizer, tmp_path):
    """A million spaces, at which tiktoken panics: two processes take it, and lose no character."""
    rows = made("fineweb_edu", 4)
    rows[1]["text"] = f"Boil{' ' * 1_000_000}it."
    rows[2]["text"] = "\t" * 1_500_000 + "stir"
    for k in (0, 1):
        lay(tmp_path / "fineweb_edu" / f"{k}.parquet", rows[2 * k : 2 * k + 2])
    work = pretokenize.Work(workers=2)
    done = pretokenize.tokenize_dataset(WEB, tokenizer, tmp_path, 0, 0.0, work)
    assert documents(done, tokenizer) == [row["text"] for row in rows]


DIES = """if True:
    import os, signal, sys, time
    from llmlab.datasets import datatrove_steps

    def dies(data, rank, world_size):
        if rank == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(600)  # the others are at work

    job = datatrove_steps.Local(
        [dies], tasks=4, workers=2, logging_dir=sys.argv[1], start_method="fork"
    )
    try:
        job.run()
    except RuntimeError as error:
        print(error)"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_worker_that_is_killed_ends_the_work_with_the_reason(tmp_path):
    done = subprocess.run([sys.executable, "-c", DIES, str(tmp_path)], cwd=ROOT, timeout=120,
                          capture_output=True, text=True)  # fmt: skip
    assert "a worker died with exit code -9" in done.stdout, done.stderr


def test_what_cannot_work_is_a_sentence(pages, tokenizer, monkeypatch):
    for wrong in ({"executor": "abacus"}, {"workers": 0}):
        with pytest.raises(LabError, match="local, slurm, ray"):
            pretokenize.Work(**wrong)
    for executor, match in (("slurm", "missing 2 required"), ("local", "unexpected keyword")):
        work = pretokenize.Work(
            executor=executor, options={"soup": 1} if executor == "local" else {}
        )
        with pytest.raises(LabError, match=match):
            pretokenize.tokenize_dataset(WEB, tokenizer, pages[0], work=work)
    monkeypatch.setitem(sys.modules, "datatrove", None)  # as where it is not installed
    status, message, _ = pretokenize.bring(WEB, tokenizer, pages[0])
    assert status == "missing" and "pip install datasets datatrove" in message
    assert "class's data serve instead" in message
    assert pretokenize.state(WEB, tokenizer, pages[0])[:2] == ("local", "3 files for training")


def test_the_class_text_is_blended_with_what_can_be_had(pages, tokenizer, mixture, capsys):
    blended = pretokenize.weighted_mixture(
        {"fineweb_edu": 0.9, "gsm8k": 0.5}, tokenizer, mixture, 1, pages[0]
    )
    assert blended.weights == pytest.approx({"kitchen": 0.1, "fineweb_edu": 0.9})
    assert blended.batch(0, 3, 32).shape == (3, 33)
    other = pretokenize.weighted_mixture({"fineweb_edu": 0.8}, tokenizer, mixture, 1, pages[0])
    again = pretokenize.weighted_mixture({"fineweb_edu": 0.8}, tokenizer, mixture, 1, pages[0])
    assert blended.hash() != other.hash() == again.hash()
    assert capsys.readouterr().out == ""
    assert pretokenize.weighted_mixture({"fineweb_edu": 0.9}, tokenizer, mixture, 1) is None
    said = capsys.readouterr().out
    assert "LLMLAB_OFFLINE" in said and "class's text serves alone" in said


def test_the_command_line_brings_and_shows_it(pages):
    command = [sys.executable, "-m", "llmlab"]
    where = ["--profile", "full", "--data-dir", str(pages[0])]

    def said(*arguments: str) -> str:
        done = subprocess.run([*command, *arguments, *where], cwd=ROOT, capture_output=True,
                              text=True)  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    fetched = said("data", "fetch", "fineweb_edu", "gsm8k", "--workers", "1")
    assert "fineweb_edu   tokenised" in fetched and "ODC-By 1.0" in fetched
    assert "gsm8k         missing" in fetched and "LLMLAB_OFFLINE" in fetched
    shown = said("doctor", "--toy")
    assert "fineweb_edu    tokenised" in shown and "gsm8k          missing" in shown
