"""Sampling: what is drawn, and that batching, padding and stopping change nothing."""

import pytest
import torch

from llmlab.core.sampling import filter_logits, generate, pick
from tests.core.test_model import SMALL, random_model

MODEL = random_model(SMALL)
PROMPTS = [[5], [1, 2, 3, 4], [9, 8, 7], [11, 12, 13, 14, 15, 16]]


def test_greedy_is_argmax_of_the_whole_forward():
    out = generate(MODEL, [PROMPTS[1]], 8, temperature=0)[0]
    ids = list(PROMPTS[1])
    for _ in range(8):
        ids.append(MODEL(torch.tensor([ids]))[0, -1].argmax().item())
    assert out == ids[4:]


def test_a_batch_of_unequal_prompts_equals_each_alone():
    together = generate(MODEL, PROMPTS, 10, temperature=0)
    assert together == [generate(MODEL, [p], 10, temperature=0)[0] for p in PROMPTS]


def test_rows_that_stop_leave_and_disturb_nobody():
    whole = generate(MODEL, PROMPTS, 12, temperature=0)
    for stop in {i for out in whole for i in out[:6]}:
        cut = generate(MODEL, PROMPTS, 12, temperature=0, stop=stop)
        assert cut == [o[: o.index(stop) + 1] if stop in o else o for o in whole]


def test_streaming_hears_every_token():
    heard = [[] for _ in PROMPTS]

    def hear(ids, rows):
        for i, row in zip(ids.tolist(), rows.tolist(), strict=True):
            heard[row].append(i)

    assert generate(MODEL, PROMPTS, 6, temperature=0, on_tokens=hear) == heard


def test_equal_seeds_equal_texts():
    def draw(seed):
        return generate(MODEL, PROMPTS, 6, generator=torch.Generator().manual_seed(seed))

    assert draw(1) == draw(1) != draw(2)


def test_filters_by_hand():
    logits = torch.tensor([[0.5, 0.3, 0.15, 0.05]]).log()
    kept = filter_logits(logits, top_k=2)
    assert kept.isfinite().tolist() == [[True, True, False, False]]
    kept = filter_logits(logits, top_p=0.7)
    assert kept.isfinite().tolist() == [[True, True, False, False]]
    for least in (0.01, 0.0):
        kept = filter_logits(logits, top_p=least)
        assert kept.isfinite().tolist() == [[True, False, False, False]]
    assert torch.allclose(filter_logits(logits, temperature=0.5), 2 * logits)
    assert torch.equal(filter_logits(logits, top_k=9), logits)
    shuffled = logits[:, [2, 0, 3, 1]]  # back in the order of ids after ranking
    assert filter_logits(shuffled, top_p=0.7).isfinite().tolist() == [[False, True, False, True]]


def test_a_filtered_draw_keeps_the_proportions_of_what_is_left():
    logits = torch.tensor([0.5, 0.3, 0.15, 0.05]).log().expand(20000, 4)
    drawn = pick(logits, 1.0, 2, generator=torch.Generator().manual_seed(0))
    assert drawn.max() == 1
    assert (drawn == 0).float().mean().item() == pytest.approx(0.5 / 0.8, abs=0.015)


def test_a_context_filled_to_its_end():
    prompt = [7] * 8
    out = generate(MODEL, [prompt], 41, temperature=0)[0]
    assert len(out) == 41  # 48 positions are read, and the last answer needs none
    assert out[:40] == generate(MODEL, [prompt], 40, temperature=0)[0]


def test_pick_draws_by_the_probabilities():
    probs = torch.tensor([0.5, 0.3, 0.15, 0.05])
    logits = probs.log().expand(20000, 4)
    drawn = pick(logits, generator=torch.Generator().manual_seed(0))
    counts = torch.bincount(drawn, minlength=4).float()
    chi_square = ((counts - 20000 * probs).square() / (20000 * probs)).sum()
    assert chi_square < 16.3  # 99.9 % of draws, three degrees of freedom


def test_errors():
    with pytest.raises(ValueError, match="at least one id"):
        generate(MODEL, [[1], []], 3)
    for temperature in (-1, float("nan")):
        with pytest.raises(ValueError, match="temperature"):
            generate(MODEL, [[1]], 3, temperature=temperature)
    with pytest.raises(ValueError, match="positions"):
        generate(MODEL, [[1] * 60], 3)


@pytest.mark.parametrize("temperature", [1e-3, 1e-38, 5e-324])
def test_a_temperature_near_zero_is_greedy(temperature):
    logits = 50 * torch.randn(20, 9)
    assert torch.equal(pick(logits, temperature), logits.argmax(-1))


@pytest.mark.parametrize("temperature", [0, 1])
def test_a_model_whose_states_are_no_numbers_is_an_error(temperature):
    broken = random_model(SMALL)
    broken.norm.weight.data[0] = torch.nan
    with pytest.raises(ValueError, match="NaN"):
        generate(broken, PROMPTS, 2, temperature=temperature)
