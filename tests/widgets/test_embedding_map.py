"""What `EmbeddingMap` reckons, answers and draws, without a page."""

import base64

import pytest
import torch
import traitlets

from llmlab import figures
from llmlab.widgets.embedding_map import EmbeddingMap

NAMES = ["king", "queen", "man", "woman", "tea", "milk"]
GROUPS = ["crown", "crown", "people", "people", "drinks", "drinks"]
# Royalty, manhood, drink: king − man + woman is queen's very direction.
LATE = torch.tensor([[3.0, 1, 0], [3, -1, 0], [0, 1, 0], [0, -1, 0], [0, 0, 2], [0, 0.2, 1]])
EARLY = torch.tensor([[1.0, 0, 0], [0, 1, 0], [1, 0.1, 0], [0, 1, 0.1], [0, 0.1, 1], [1, 0, 0.1]])


@pytest.fixture
def emap() -> EmbeddingMap:
    return EmbeddingMap({500: LATE, 1: EARLY}, NAMES, GROUPS, "Words")


def test_the_map_opens_on_the_last_step_and_keeps_steps_in_order(emap):
    assert emap.step == 500
    assert [frame["step"] for frame in emap._frames] == [1, 500]
    assert [frame["rate"] for frame in emap._frames] == [0, pytest.approx(4 / 6)]


def test_neighbours_are_cosines_whatever_the_lengths(emap):
    near = emap.neighbours("tea", 2)
    assert [name for name, _ in near] == ["milk", "king"]  # of equals the earlier
    assert near[0][1] == pytest.approx(1 / (1 + 0.04) ** 0.5, abs=1e-6)
    longer = EmbeddingMap({1: LATE * torch.arange(1, 7)[:, None]}, NAMES, GROUPS)
    assert dict(longer.neighbours("tea", 2)) == pytest.approx(dict(near), abs=1e-6)


def test_a_choice_is_answered_at_the_step_shown(emap):
    emap.selected = "king"
    assert emap._near["of"] == "king" and emap._near["step"] == 500
    assert emap._near["rows"][0] == [1, pytest.approx(0.8, abs=1e-6)]
    emap.step = 1
    assert emap._near["step"] == 1 and NAMES[emap._near["rows"][0][0]] in ("man", "milk")
    emap.selected = ""
    assert emap._near["rows"] == []


def test_a_step_that_was_not_kept_becomes_the_nearest_one(emap):
    emap.step = 240
    assert emap.step == 1
    emap.step = 9999
    assert emap.step == 500


def test_an_unknown_name_is_refused(emap):
    with pytest.raises(traitlets.TraitError, match="'prince'"):
        emap.selected = "prince"
    assert emap.selected == ""


def test_all_steps_are_seen_along_the_same_two_directions(emap):
    late = torch.nn.functional.normalize(LATE, dim=1)
    directions = torch.linalg.svd(late - late.mean(0)).Vh[:2].T
    for frame, vectors in zip(emap._frames, (EARLY, LATE), strict=True):
        flat = torch.nn.functional.normalize(vectors, dim=1) @ directions
        assert torch.allclose(torch.tensor(frame["xy"]).abs(), flat.abs(), atol=1e-3)
    assert "2 directions of 3" in emap._about and "step 500" in emap._about


def test_analogies_keep_the_given_words_and_tell_the_rank(emap):
    ranked = [name for name, _ in emap.analogy("king", "man", "woman")]
    assert sorted(ranked) == sorted(NAMES)
    emap._question = ["King ", "man", "woman", "queen"]  # as typed
    answer = emap._answer
    assert answer["given"] == [0, 2, 3]
    assert answer["hoped"] == [1, ranked.index("queen") + 1]
    assert [NAMES[i] for i, _ in answer["rows"]] == ranked
    a, b, c = torch.nn.functional.normalize(LATE, dim=1)[[0, 2, 3]]
    unit = torch.nn.functional.normalize(LATE, dim=1)[answer["rows"][0][0]]
    cosine = torch.nn.functional.cosine_similarity(a - b + c, unit, dim=0).item()
    assert answer["rows"][0][1] == pytest.approx(cosine)


@pytest.mark.parametrize(
    ("typed", "error"),
    [
        (["king", "<b>", "woman", ""], "Not on the map: <b>."),
        (["king", "man", "", ""], "A question needs three words."),
        (["", "", "", ""], ""),
        (["king", "man", "woman", "prince"], "Not on the map: prince."),
    ],
)
def test_a_question_that_cannot_be_answered_gets_a_sentence(emap, typed, error):
    emap._question = typed
    assert emap._answer["error"] == error and emap._answer["rows"] == []


@pytest.mark.parametrize(
    ("snapshots", "names", "groups", "reason"),
    [
        ({1: LATE}, [*NAMES[:5], "king"], GROUPS, "called 'king'"),
        ({1: LATE[:4]}, NAMES, GROUPS, "do not fit 6 names"),
        ({1: LATE, 2: LATE[:, :2]}, NAMES, GROUPS, "do not fit"),
        ({1: LATE}, NAMES, GROUPS[:5], "5 groups"),
        ({}, NAMES, GROUPS, "needs a snapshot"),
    ],
)
def test_what_does_not_fit_is_refused(snapshots, names, groups, reason):
    with pytest.raises(ValueError, match=reason):
        EmbeddingMap(snapshots, names, groups)


def test_arrays_serve_as_well_as_tensors(emap):
    arrays = EmbeddingMap({500: LATE.numpy(), 1: EARLY.numpy()}, NAMES, GROUPS)
    assert arrays._frames == emap._frames


def test_groups_differ_in_shape_and_colour_and_every_shape_is_on_the_page():
    many = [f"group {i}" for i in range(30)]
    looks = EmbeddingMap({1: torch.eye(30)}, [f"word {i}" for i in range(30)], many)._groups
    assert len({(g["colour"], g["marker"]) for g in looks}) == 30
    assert len({g["marker"] for g in looks[: len(figures.MARKERS)]}) == len(figures.MARKERS)
    script = EmbeddingMap._esm
    table = script[script.index("const SHAPES = {") : script.index("const overlap")]
    for marker in figures.MARKERS:
        assert any(f"\n  {key}: " in table for key in (marker, f'"{marker}"')), marker


def test_mime_bundle_holds_a_picture_and_no_address(emap):
    data, _ = emap._repr_mimebundle_()
    assert data["text/plain"] == (
        "EmbeddingMap: Words (6 words in 3 groups; step 500: 67% beside their own)"
    )
    assert base64.b64decode(data["image/png"]).startswith(b"\x89PNG")


def test_a_dollar_in_a_name_is_drawn_as_it_stands():
    emap = EmbeddingMap({1: LATE}, ["$5", *NAMES[1:]], GROUPS)
    drawn = emap._figure().axes[0].texts[0].get_text()
    assert drawn == r"\$5"  # so matplotlib takes it for a dollar, and for no formula
