"""What a token matrix says about foods, on matrices small enough to know the answer."""

import math
from dataclasses import replace

import pytest
import torch

import llmlab
from llmlab import artifacts, kitchen
from llmlab.artifacts import LabError
from llmlab.core.tokenizer import BPE
from llmlab.stages import embedding

BYTES = BPE(())  # a word is as many ids as it has letters, and one for its space


def unit(*degrees: float) -> torch.Tensor:
    """Unit vectors in the plane."""
    angles = torch.tensor(degrees).deg2rad()
    return torch.stack((angles.cos(), angles.sin()), dim=1)


def test_a_word_of_several_tokens_is_their_mean_less_the_mean_of_all():
    matrix = torch.randn(BYTES.vocab_size, 4, generator=torch.Generator().manual_seed(0))
    (vector,) = embedding.word_vectors(matrix, BYTES, ["ham"])
    by_hand = sum(matrix[b] for b in b" ham") / 4 - matrix.sum(0) / len(matrix)
    assert torch.allclose(vector, by_hand / by_hand.norm(), atol=1e-6)
    assert math.isclose(vector.norm().item(), 1, rel_tol=1e-6)


def test_neighbours_are_ordered_by_angle_and_leave_out_oneself():
    vectors = unit(0, 90, 10, 180, -30)
    assert embedding.neighbours(vectors, 0, 3) == [2, 4, 1]
    assert embedding.neighbours(vectors, 3, 1) == [1]
    assert sorted(embedding.neighbours(vectors, 2, 9)) == [0, 1, 3, 4]


def test_same_rate_counts_nearest_neighbours():
    vectors = unit(0, 5, 90, 96)
    assert embedding.same_rate(vectors, ["a", "a", "b", "b"]) == 1
    assert embedding.same_rate(vectors, ["a", "b", "a", "b"]) == 0
    assert embedding.same_rate(vectors, ["a", "a", "b", "c"]) == 0.5


def test_chance_is_what_random_vectors_score():
    labels = ["a"] * 6 + ["b"] * 3 + ["c"]
    assert math.isclose(embedding.chance(labels), (6 * 5 + 3 * 2) / 90)
    generator = torch.Generator().manual_seed(1)
    rates = [
        embedding.same_rate(torch.nn.functional.normalize(v, dim=1), labels)
        for v in torch.randn(300, len(labels), 8, generator=generator)
    ]
    assert abs(sum(rates) / len(rates) - embedding.chance(labels)) < 0.03


def test_plane_finds_the_plane_in_which_points_lie():
    square = torch.tensor([[2.0, 0], [-2, 0], [0, 1], [0, -1], [1.9, 0.3]])
    turned, _ = torch.linalg.qr(torch.randn(6, 6, generator=torch.Generator().manual_seed(2)))
    points = square @ turned[:2] + 7  # (5, 6)
    directions = embedding.plane(points)
    assert directions.shape == (6, 2)
    flat = (points - points.mean(0)) @ directions
    assert torch.allclose(torch.cdist(flat, flat), torch.cdist(square, square), atol=1e-5)
    assert flat[:, 0].var() > flat[:, 1].var()
    assert (flat.amax(0) > -flat.amin(0)).all()  # the sign that is the same on every machine


@pytest.fixture
def lab(tmp_path, monkeypatch):
    """A lab whose shipped checkpoints lie in an empty folder."""
    made = llmlab.setup("class-toy")
    monkeypatch.setattr(artifacts, "data_dir", lambda: tmp_path)
    return replace(made, runs=tmp_path / "runs")


def test_snapshots_come_back_within_half_a_step_of_eight_bits(lab):
    """The file as it is shipped: made by the maker's own function."""
    from llmlab.stages import report

    matrices = {1: torch.randn(7, 5), 300: 40 * torch.randn(7, 5)}
    for step, matrix in matrices.items():
        path = lab.runs / "base-snapshots" / f"{step:07d}.safetensors"
        artifacts.save_checkpoint(path, {"embed": matrix}, {"step": step})
    report.ship_snapshots(lab)
    found = embedding.snapshots(lab)
    assert list(found) == [1, 300]
    for step, matrix in matrices.items():
        error = (found[step] - matrix).abs() / matrix.abs().amax(1, keepdim=True)
        assert error.max() <= 0.51 / 127


def test_missing_snapshots_are_said_plainly(lab):
    with pytest.raises(LabError, match=r"base-snapshots\.safetensors.*fetch the repository"):
        embedding.snapshots(lab)


def test_the_stage_measures_the_shipped_base():
    lab = llmlab.setup("class")
    figures = embedding.run(lab)
    assert figures["foods"] == len(kitchen.FOODS)
    assert figures["same_family_rate"] > 0.7 > 0.2 > figures["chance"] > 0
    assert figures["same_kind_rate"] > 0.6 > 0.2 > figures["chance_kind"] > 0
    assert 0 < figures["seconds"] < 30
