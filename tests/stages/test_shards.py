"""Text at size: tokenised once, whole or not at all, and read by seed and step alone."""

import contextlib
import math
import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from llmlab import artifacts, lab
from llmlab.artifacts import LabError
from llmlab.stages import doors, prepare, pretraining
from llmlab.stages.data import Mixture, is_validation, load_corpus
from llmlab.stages.shards import Blend, Kitchen, Shards, permuted

ROOT = Path(artifacts.__file__).parents[1]
WEB = doors.big()["fineweb_edu"]
SHARE = 0.1
FILES, PAGES = 3, 160


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LLMLAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("LLMLAB_OFFLINE", "1")


@pytest.fixture(scope="module")
def tokenizer():
    return lab.setup("class-toy").tokenizer()


@pytest.fixture(scope="module")
def pages(tmp_path_factory, made, lay):
    """A folder for --data-dir with pages in several files, and their texts."""
    folder, rows = tmp_path_factory.mktemp("web"), made("fineweb_edu", FILES * PAGES)
    for k in range(FILES):
        some = rows[k * PAGES : (k + 1) * PAGES]
        lay(folder / "fineweb_edu" / f"{k:03d}_00000.parquet", some)
    return folder, [row["text"] for row in rows]


@pytest.fixture(scope="module")
def folder(pages, tokenizer, tmp_path_factory):
    """The ids of these pages, by two processes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LLMLAB_CACHE", str(tmp_path_factory.mktemp("cache")))
        work = prepare.Work(workers=2)
        return prepare.prepare(WEB, tokenizer, pages[0], share=SHARE, work=work)


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


# --- Tokenised ------------------------------------------------------------------------------


def test_every_document_is_there_once_and_ends_or_is_held_out(folder, pages, tokenizer):
    _, texts = pages
    held_out = Shards(folder, 1).held_out()
    assert held_out == [t for t in texts if is_validation(t, SHARE)] and len(held_out) > 20
    assert documents(folder, tokenizer) == [t for t in texts if not is_validation(t, SHARE)]
    manifest = artifacts.read_json(folder / "shards.json")
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
        prepare.place(WEB, *how)
        for how in ((tokenizer, here), (other, here), (tokenizer, more), (tokenizer, here, 40))
    }
    assert len(places) == 4
    assert prepare.place(WEB, tokenizer, shutil.copytree(here, tmp_path / "same")) in places


def test_a_limit_of_rows(pages, tokenizer):
    short = prepare.prepare(WEB, tokenizer, pages[0], 30, SHARE, prepare.Work(workers=1))
    firsts = [t for k in range(FILES) for t in pages[1][k * PAGES : k * PAGES + 10]]
    assert documents(short, tokenizer) == [t for t in firsts if not is_validation(t, SHARE)]


def test_killed_and_run_again_it_goes_on_and_ends_alike(
    folder, pages, tokenizer, tmp_path, made, lay, left_overs
):
    """A kill in the middle of a part leaves the parts before it, and no folder of the name."""
    big = shutil.copytree(pages[0], tmp_path / "big")
    lay(big / "fineweb_edu" / "003.parquet", made("fineweb_edu", 20_000, seed=3))
    code = (
        "import sys; from pathlib import Path; from llmlab import lab\n"
        "from llmlab.stages import doors, prepare\n"
        "if __name__ == '__main__':\n"
        "    prepare.prepare(doors.big()['fineweb_edu'], lab.setup('class-toy').tokenizer(),\n"
        f"                    Path({str(big)!r}), 0, {SHARE}, prepare.Work(workers=1))\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stderr=subprocess.DEVNULL)
    target = prepare.place(WEB, tokenizer, big, 0, SHARE)
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
    work = prepare.Work(workers=1)
    assert left_overs(half)
    assert prepare.prepare(WEB, tokenizer, big, 0, SHARE, work) == target and not half.exists()
    assert left_overs(target) == []
    assert stamps == {name: (target / name).stat().st_mtime_ns for name in stamps}
    for name in stamps:
        assert (target / name).read_bytes() == (folder / name).read_bytes()
    assert len(documents(target, tokenizer)) + len(Shards(target, 1).held_out()) == 20_480
    before = os.listdir(target)
    assert prepare.prepare(WEB, tokenizer, big, 0, SHARE, work) == target
    assert os.listdir(target) == before


def test_a_part_that_fails_is_a_sentence_and_the_others_are_kept(pages, tokenizer, tmp_path):
    broken = shutil.copytree(pages[0], tmp_path / "broken")
    file = broken / "fineweb_edu" / "002_00000.parquet"
    file.write_bytes(file.read_bytes()[:-300])
    with pytest.raises(LabError, match=r"tokenised \(.*parquet.*\d of 3 parts are done and"):
        prepare.prepare(WEB, tokenizer, broken, 0, work=prepare.Work(workers=2))
    status, message, _ = prepare.state(WEB, tokenizer, broken, 0)
    assert status == "half done" and "parts are done" in message


SBATCH = """#!{python}
import os, subprocess, sys
script = open(sys.argv[-1]).read()
open({log!r}, "a").write(script)
if "merge_stats" not in script:
    for task in range({tasks}):
        environment = {{"SLURM_ARRAY_TASK_ID": str(task), "SLURM_NODELIST": "localhost"}}
        subprocess.run(["bash", sys.argv[-1]], env=os.environ | environment, check=True)
print("Submitted batch job 7")
"""


def test_slurm_gets_the_parts_as_an_array_and_what_it_did_is_taken_up(
    folder, pages, tokenizer, tmp_path, monkeypatch
):
    """With stand-ins for Slurm's own programs, which run the very script on this machine."""
    log, programs = tmp_path / "scripts", tmp_path / "bin"
    programs.mkdir()
    (programs / "sbatch").write_text(SBATCH.format(python=sys.executable, log=str(log), tasks=1))
    (programs / "scontrol").write_text("#!/bin/sh\necho localhost\n")
    for program in programs.iterdir():
        program.chmod(0o755)
    paths = [str(programs), str(Path(sys.executable).parent), os.environ["PATH"]]
    monkeypatch.setenv("PATH", os.pathsep.join(paths))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    options = {"time": "01:00:00", "partition": "kitchen", "with_srun": False}
    work = prepare.Work(executor="slurm", options=options)
    with pytest.raises(LabError, match="1 of 3 parts are tokenised so far, by slurm"):
        prepare.prepare(WEB, tokenizer, pages[0], share=SHARE, work=work)
    assert "--partition=kitchen" in log.read_text() and "--array=0-2" in log.read_text()
    (programs / "sbatch").write_text(SBATCH.format(python=sys.executable, log=str(log), tasks=2))
    done = prepare.prepare(WEB, tokenizer, pages[0], share=SHARE, work=work)
    assert "--array=0-1" in log.read_text()  # those that were not done
    for name in artifacts.read_json(done / "shards.json")["files"]:
        assert (done / name).read_bytes() == (folder / name).read_bytes()


def test_what_cannot_work_is_a_sentence(pages, tokenizer):
    for wrong in ({"executor": "abacus"}, {"workers": 0}):
        with pytest.raises(LabError, match="local, slurm, ray"):
            prepare.Work(**wrong)
    for executor, match in (("slurm", "missing 2 required"), ("local", "unexpected keyword")):
        work = prepare.Work(executor=executor, options={"soup": 1} if executor == "local" else {})
        with pytest.raises(LabError, match=match):
            prepare.prepare(WEB, tokenizer, pages[0], work=work)
    code = (
        "import sys; sys.modules['datatrove'] = None\n"  # as where it is not installed
        "from pathlib import Path; from llmlab import lab; from llmlab.stages import doors\n"
        "from llmlab.stages.prepare import bring\n"
        "tokenizer = lab.setup('class-toy').tokenizer()\n"
        f"print(bring(doors.big()['fineweb_edu'], tokenizer, Path({str(pages[0])!r})))\n"
    )
    said = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert "pip install datasets datatrove" in said.stdout, said.stderr
    assert "class's data serve instead" in said.stdout


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


# --- Read -----------------------------------------------------------------------------------


@pytest.mark.parametrize("n", (1, 2, 3, 10, 257, 5000))
def test_an_order_without_a_table_is_a_permutation(n):
    order = [permuted(i, n, "7/0") for i in range(n)]
    assert sorted(order) == list(range(n))
    if n >= 257:
        assert order != [permuted(i, n, "7/1") for i in range(n)]
        stays = sum(i == place for i, place in enumerate(order))
        follows = sum(b == a + 1 for a, b in zip(order, order[1:], strict=False))
        assert max(stays, follows) < 8  # each about 1, where the order is random


def places(reader: Shards, rows: torch.Tensor) -> list[int]:
    """Where in the ring each row begins; every window of these pages is another one."""
    ring = reader.ids(0, reader.tokens)
    wrapped = np.concatenate([ring, ring[: rows.shape[1]]])
    windows = np.lib.stride_tricks.sliding_window_view(wrapped, rows.shape[1])[: len(ring)]
    where = {window.tobytes(): at for at, window in enumerate(windows)}
    return [where[row.numpy().tobytes()] for row in rows]


def test_an_epoch_reads_every_window_once_and_the_next_in_another_order(folder):
    reader, seq_len = Shards(folder, seed=5), 63
    n = reader.windows(seq_len)
    epochs = [reader.batch(epoch, n, seq_len) for epoch in range(2)]
    for rows in epochs:
        begins = sorted(places(reader, rows))
        seen = Counter(at % reader.tokens for b in begins for at in range(b, b + seq_len + 1))
        assert max(seen.values()) == 1
        assert reader.tokens - len(seen) == reader.tokens % (seq_len + 1) < seq_len + 1
    assert not torch.equal(*epochs)
    assert reader.epochs(2 * reader.tokens) == 2
    assert torch.equal(epochs[0], Shards(folder, seed=5).batch(0, n, seq_len))
    assert not torch.equal(epochs[0], Shards(folder, seed=6).batch(0, n, seq_len))


def test_processes_together_read_what_one_reads_also_when_their_number_changes(folder):
    alone = Shards(folder, 1)
    read = []
    for step in range(8):  # two processes, then three, then one
        world = 2 if step < 3 else 3 if step < 6 else 1
        parts = [Shards(folder, 1).batch(step, 12, 32, r, world) for r in range(world)]
        together = torch.cat(parts)
        whole = alone.batch(step, 12, 32)
        assert sorted(map(tuple, together.tolist())) == sorted(map(tuple, whole.tolist()))
        for rank, part in enumerate(parts):
            assert torch.equal(part, whole[rank::world])
        read += places(alone, together)
    assert len(set(read)) == len(read) == 96 < alone.windows(32)


def test_files_that_are_not_whole_are_refused(folder, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "copy")
    with pytest.raises(LabError, match="holds .* ids, and a window has"):
        Shards(copy, 1).row(0, 1_000_000)
    file = copy / "00001.ids"
    file.write_bytes(file.read_bytes()[:-2])
    with pytest.raises(LabError, match="00001.ids is not whole"):
        Shards(copy, 1)
    (copy / "shards.json").unlink()
    with pytest.raises(LabError, match="no file"):
        Shards(copy, 1)


@pytest.fixture(scope="module")
def blend(folder, tokenizer):
    corpus = load_corpus(("recipes",))
    weights = {"recipes": 0.7, "cards": 0.3}
    kitchen = Kitchen(Mixture(corpus, tokenizer.to_tiktoken(), weights, 1))
    readers = {"fineweb_edu": Shards(folder, 1), "kitchen": kitchen}
    return Blend(readers, {"fineweb_edu": 0.85, "kitchen": 0.15}, seed=1)


def test_a_blend_keeps_its_weights_and_each_readers_own_order(blend):
    places = [blend.place(number) for number in range(3 * Blend.CYCLE)]
    for name, share in (("fineweb_edu", 0.85), ("kitchen", 0.15)):
        own = [place for reader, place in places if reader == name]
        assert own == list(range(round(share * len(places))))
    runs = Counter(name for name, _ in places[:200])
    assert 10 < runs["kitchen"] < 60  # mixed within a cycle, too
    assert blend.place(1500) == places[1500]
    thirds = Blend(blend.readers | {"more": None}, dict.fromkeys("abc", 1), 1)
    assert sum(thirds.counts.values()) == Blend.CYCLE
    assert blend.epochs(1e6) == pytest.approx(850_000 / blend.readers["fineweb_edu"].tokens)


def test_a_blend_gives_each_process_its_part(blend):
    whole = blend.batch(3, 8, 32)
    parts = [blend.batch(3, 8, 32, rank, 3) for rank in range(3)]
    assert [len(part) for part in parts] == [3, 3, 2]
    assert all(torch.equal(part, whole[rank::3]) for rank, part in enumerate(parts))


def test_pretraining_reads_it_and_a_stopped_run_reads_on(blend, tokenizer, tmp_path):
    made = replace(lab.setup("class-toy", runs_dir=tmp_path), steps=6)
    config = replace(made.profile.model, vocab_size=tokenizer.vocab_size)
    read = []

    class Noted:
        """The blend, and a note of the rows that were asked for."""

        epochs = staticmethod(blend.epochs)

        def batch(self, step, batch, seq_len):
            read.append(step)
            return blend.batch(step, batch, seq_len)

    def job(name):
        path = tmp_path / f"{name}.safetensors"
        return pretraining.new_job(made, made.build(config), tokenizer, path, "hash")

    whole, stopped = job("whole"), job("stopped")
    pretraining.train(made, whole, Noted())
    assert read == list(range(6)) and len(whole.log) == 6
    assert all(math.isfinite(record["loss"]) for record in whole.log)

    def stop(record):
        if record["step"] == 3:
            os.kill(os.getpid(), signal.SIGINT)

    read.clear()
    pretraining.train(made, stopped, Noted(), stop)
    again = job("stopped")
    pretraining.train(made, again, Noted())
    assert read == list(range(6))
    assert [r["loss"] for r in again.log] == [r["loss"] for r in whole.log]
    bits = pretraining.bits_per_byte(
        again.model, tokenizer, blend.readers["fineweb_edu"].held_out()[:3]
    )
    assert 0 < bits < 12
