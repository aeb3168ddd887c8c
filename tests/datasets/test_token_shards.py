"""Text at size is read by seed and step alone: once an epoch, by however many processes."""

import math
import os
import shutil
import signal
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch

from llmlab import lab
from llmlab.artifacts import LabError
from llmlab.datasets.token_shards import (
    KitchenRows,
    TokenDataset,
    WeightedMixture,
    random_permutation,
)
from llmlab.scale import distributed
from llmlab.scale.gpu import Prefetcher
from llmlab.stages import pretraining


@pytest.mark.parametrize("n", (1, 2, 3, 10, 257, 5000))
def test_an_order_without_a_table_is_a_permutation(n):
    order = [random_permutation(i, n, "7/0") for i in range(n)]
    assert sorted(order) == list(range(n))
    if n >= 257:
        assert order != [random_permutation(i, n, "7/1") for i in range(n)]
        stays = sum(i == place for i, place in enumerate(order))
        follows = sum(b == a + 1 for a, b in zip(order, order[1:], strict=False))
        assert max(stays, follows) < 8  # each about 1, where the order is random


def places(reader: TokenDataset, rows: torch.Tensor) -> list[int]:
    """Where in the ring each row begins; every window of these pages is another one."""
    ring = reader.ids(0, reader.tokens)
    wrapped = np.concatenate([ring, ring[: rows.shape[1]]])
    windows = np.lib.stride_tricks.sliding_window_view(wrapped, rows.shape[1])[: len(ring)]
    where = {window.tobytes(): at for at, window in enumerate(windows)}
    return [where[row.numpy().tobytes()] for row in rows]


def test_an_epoch_reads_every_window_once_and_the_next_in_another_order(ids_folder):
    reader, seq_len = TokenDataset(ids_folder, seed=5), 63
    n = reader.windows(seq_len)
    epochs = [reader.batch(epoch, n, seq_len) for epoch in range(2)]
    for rows in epochs:
        begins = sorted(places(reader, rows))
        seen = Counter(at % reader.tokens for b in begins for at in range(b, b + seq_len + 1))
        assert max(seen.values()) == 1
        assert reader.tokens - len(seen) == reader.tokens % (seq_len + 1) < seq_len + 1
    assert not torch.equal(*epochs)
    assert reader.epochs(2 * reader.tokens) == 2
    assert torch.equal(epochs[0], TokenDataset(ids_folder, seed=5).batch(0, n, seq_len))
    assert not torch.equal(epochs[0], TokenDataset(ids_folder, seed=6).batch(0, n, seq_len))


def test_processes_together_read_what_one_reads_also_when_their_number_changes(
    ids_folder, monkeypatch
):
    alone = TokenDataset(ids_folder, 1)
    read = []
    for step in range(8):  # two processes, then three, then one
        world, parts = 2 if step < 3 else 3 if step < 6 else 1, []
        monkeypatch.setattr(distributed, "world_size", lambda world=world: world)
        for rank in range(world):
            monkeypatch.setattr(distributed, "rank", lambda rank=rank: rank)
            parts.append(Prefetcher(TokenDataset(ids_folder, 1), "cpu").batch(step, 12, 32))
        together, whole = torch.cat(parts), alone.batch(step, 12, 32)
        assert sorted(map(tuple, together.tolist())) == sorted(map(tuple, whole.tolist()))
        read += places(alone, together)
    assert len(set(read)) == len(read) == 96 < alone.windows(32)


def test_files_that_are_not_whole_are_refused(ids_folder, tmp_path):
    copy = shutil.copytree(ids_folder, tmp_path / "copy")
    with pytest.raises(LabError, match="holds .* ids, and a window has"):
        TokenDataset(copy, 1).row(0, 1_000_000)
    file = copy / "00001.ids"
    file.write_bytes(file.read_bytes()[:-2])
    with pytest.raises(LabError, match="00001.ids is not whole"):
        TokenDataset(copy, 1)
    (copy / "shards.json").unlink()
    with pytest.raises(LabError, match="no file"):
        TokenDataset(copy, 1)


@pytest.fixture(scope="module")
def blend(ids_folder, mixture):
    readers = {"fineweb_edu": TokenDataset(ids_folder, 1), "kitchen": KitchenRows(mixture)}
    return WeightedMixture(readers, {"fineweb_edu": 0.85, "kitchen": 0.15}, seed=1)


def test_a_blend_keeps_its_weights_and_each_readers_own_order(blend):
    places = [blend.place(number) for number in range(3 * WeightedMixture.CYCLE)]
    for name, share in (("fineweb_edu", 0.85), ("kitchen", 0.15)):
        own = [place for reader, place in places if reader == name]
        assert own == list(range(round(share * len(places))))
    runs = Counter(name for name, _ in places[:200])
    assert 10 < runs["kitchen"] < 60  # mixed within a cycle, too
    assert blend.place(1500) == places[1500]
    thirds = WeightedMixture(blend.readers | {"more": None}, dict.fromkeys("abc", 1), 1)
    assert sum(thirds.counts.values()) == WeightedMixture.CYCLE
    assert blend.epochs(1e6) == pytest.approx(850_000 / blend.readers["fineweb_edu"].tokens)


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
