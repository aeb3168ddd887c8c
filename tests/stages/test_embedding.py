"""What a token matrix says about foods, on matrices small enough to know the answer."""

import math
import sys
from dataclasses import replace

import pytest
import torch

import llmlab
from llmlab import artifacts, checkpoint, figures, kitchen
from llmlab.artifacts import LabError
from llmlab.core.tokenizer import BPE
from llmlab.corpus import sources
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
    assert math.isclose(embedding.chance_rate(labels), (6 * 5 + 3 * 2) / 90)
    generator = torch.Generator().manual_seed(1)
    rates = [
        embedding.same_rate(torch.nn.functional.normalize(v, dim=1), labels)
        for v in torch.randn(300, len(labels), 8, generator=generator)
    ]
    assert abs(sum(rates) / len(rates) - embedding.chance_rate(labels)) < 0.03


# --- Analogies ------------------------------------------------------------------------------

# man and woman, king and queen on a square; a crown beside the queen; a thing far from all
SQUARE = torch.nn.functional.normalize(
    torch.tensor(
        [[1.0, 0, 3], [0, 1.0, 3], [1.0, 0, -3], [0, 1.0, -3], [0.9, 0.9, -3], [-9, 0, 0]]
    ),
    dim=1,
)
WORDS = ["man", "woman", "king", "queen", "crown", "rock"]


def test_an_analogy_completes_the_square():
    assert embedding.analogy(SQUARE, 2, 0, 1, n=1) == [3]
    assert embedding.analogy(SQUARE, 0, 2, 3, n=1) == [1]
    assert embedding.analogy(SQUARE, 2, 0, 1, n=9) == [3, 4, 5]
    assert embedding.analogy(SQUARE, 2, 0, 1, n=2, query=True) == [3, 4]


def test_a_small_step_ends_at_the_word_that_it_began_at():
    near = unit(0, 4, 60, 66)  # a step of 4 degrees at 0 is one of 2 degrees at 60
    assert embedding.analogy(near, 1, 0, 2, n=1, query=True) == [2]
    assert embedding.analogy(near, 1, 0, 2, n=1) == [3]


def test_rates_tell_arithmetic_from_nearness():
    pairs = [("man", "woman"), ("king", "queen")]
    rates = embedding.analogy_rates(SQUARE, WORDS, pairs)
    assert rates == {"all words": 1, "query left out": 1, "no arithmetic": 0.5}
    twins = unit(0, 1, 60, 61, 150, 151)  # each word beside its twin, at nearly no distance
    names = ["a", "as", "b", "bs", "c", "cs"]
    rates = embedding.analogy_rates(twins, names, [("a", "as"), ("b", "bs"), ("c", "cs")])
    assert rates["no arithmetic"] == rates["query left out"] == 1


def test_pairs_that_share_a_word_are_not_asked_of_each_other():
    days = ["Monday", "Tuesday", "Wednesday", "Thursday"]
    pairs = list(zip(days, days[1:], strict=False))
    rates = embedding.analogy_rates(unit(0, 20, 40, 60), days, pairs)
    assert rates["query left out"] == 1  # Monday to Tuesday of Wednesday, and back: two questions
    assert rates["all words"] in (0, 0.5, 1)


def test_whole_words_begin_with_a_space():
    tokens = ["pan", " cup", " cups", " C", " Cup", " to", " 12", " naïve", " cup s", "cups "]
    assert embedding.whole_words(tokens) == {"cup": 1, "cups": 2}
    assert embedding.whole_words(tokens, "[A-Z]?[a-z]+") == {"cup": 1, "cups": 2, "Cup": 4, "to": 5}


# --- Maps -----------------------------------------------------------------------------------


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


def test_a_map_without_loss_keeps_everything():
    points = torch.randn(30, 2, generator=torch.Generator().manual_seed(3))
    turned, _ = torch.linalg.qr(torch.randn(5, 5, generator=torch.Generator().manual_seed(4)))
    assert embedding.neighbours_kept(points @ turned[:2], points) == 1
    assert math.isclose(
        embedding.distance_correlation(points @ turned[:2], points), 1, abs_tol=1e-3
    )


def test_kept_counts_neighbours_and_rank_correlation_distances():
    line = torch.tensor([[0.0], [1], [2.1], [3.3], [4.6]])
    broken = torch.tensor([[0.0, 0], [1, 0], [50, 0], [51, 0], [52.1, 0]])
    share = embedding.neighbours_kept(line, broken, n=1)  # the third point's nearest is another one
    assert math.isclose(share, 0.8, rel_tol=1e-6)
    assert 0.3 < embedding.distance_correlation(line, torch.exp(line)) < 0.95
    of_three = embedding.distance_correlation(torch.tensor([[0.0], [1], [3]]), unit(0, 170, 175))
    assert math.isclose(of_three, 0.5, rel_tol=1e-6)  # ranks 1, 3, 2 against 2, 3, 1
    far = torch.randn(400, 2, generator=torch.Generator().manual_seed(5))
    other = torch.randn(400, 2, generator=torch.Generator().manual_seed(6))
    assert abs(embedding.distance_correlation(far, other)) < 0.05
    assert abs(embedding.neighbours_kept(far, other) - 5 / 399) < 0.01


def test_tsne_keeps_groups_apart_and_is_the_same_for_the_same_seed():
    generator = torch.Generator().manual_seed(7)
    centres = torch.eye(8)[:4].repeat_interleave(12, 0)
    points = centres + 0.05 * torch.randn(48, 8, generator=generator)
    flat = embedding.tsne(points, perplexity=5)
    assert flat.shape == (48, 2) and math.isclose(flat.norm(dim=1).max().item(), 1, rel_tol=1e-5)
    groups = torch.arange(4).repeat_interleave(12)
    nearest = torch.cdist(flat, flat).fill_diagonal_(torch.inf).argmin(1)
    assert (groups[nearest] == groups).all()
    assert torch.equal(flat, embedding.tsne(points, perplexity=5))
    assert not torch.allclose(flat, embedding.tsne(points, perplexity=5, seed=1), atol=0.1)


def test_matrices_show_every_number_and_the_signs_between():
    figure = figures.matrices({"a": torch.eye(2), "b": [[0.5, -2]], "c": [[7]]}, ("@", "="))
    shown = [text.get_text() for text in figure.axes[0].texts]
    assert shown == ["1", "0", "0", "1", "a", "@", "0.5", "-2", "b", "=", "7", "c"]


# --- The base's own table, and a real one ---------------------------------------------------


@pytest.fixture
def lab(tmp_path, monkeypatch):
    """A lab whose shipped checkpoints lie in an empty folder."""
    made = llmlab.setup("class-toy")
    monkeypatch.setattr(artifacts, "data_dir", lambda: tmp_path)
    return replace(made, runs=tmp_path / "runs")


def test_snapshots_come_back_within_half_a_step_of_eight_bits(lab):
    """The file as it is shipped: made by the maker's own function."""
    from llmlab.evaluation import shipping

    matrices = {1: torch.randn(7, 5), 300: 40 * torch.randn(7, 5)}
    for step, matrix in matrices.items():
        path = lab.runs / "base-snapshots" / f"{step:07d}.safetensors"
        checkpoint.save_checkpoint(path, {"embed": matrix}, {"step": step})
    shipping.publish_snapshots(lab)
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


def test_without_gguf_a_sentence_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "gguf", None)
    with pytest.raises(LabError, match="pip install gguf"):
        embedding.smollm2()


def test_a_real_models_table(monkeypatch):
    pytest.importorskip("gguf")
    monkeypatch.setenv("LLMLAB_OFFLINE", "1")
    if not sources.sources()["smollm2"].folder.exists():
        pytest.skip("the real model is not in the cache: run notebook 03b once")
    matrix, tokens = embedding.smollm2()
    assert matrix.shape == (49152, 576) and len(tokens) == 49152
    whole = embedding.whole_words(tokens)
    words = list(whole)
    vectors = embedding.directions(matrix[list(whole.values())], matrix)
    king, man, woman = (words.index(word) for word in ("king", "man", "woman"))
    (queen,) = embedding.analogy(vectors, king, man, woman, 1)
    assert words[queen] == "queen"
