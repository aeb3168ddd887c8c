"""The scaling law: found again from its own losses, and at its optimum where it says."""

import math

import numpy as np
import pytest

from llmlab import profiles
from llmlab.core.model import Transformer
from llmlab.scale.scaling_law import (  # fmt: skip
    CHINCHILLA,
    MOST_READINGS,
    PER_TOKEN,
    THEIR_BYTES,
    Law,
    choose,
    fit,
    of_the_class,
    of_the_web,
    resampled,
    shape_of_depth,
    size_of,
    worth,
)
from llmlab.studies import find_study, load_study, scaling

LAW = Law(floor=1.2, a=40.0, alpha=0.35, b=300.0, beta=0.4)
N = np.repeat([1e5, 3e5, 8e5, 1.6e6], 3)
D = np.tile([3e5, 6e5, 1.2e6], 4)


def test_a_law_is_found_again_from_its_losses():
    found = fit(N, D, LAW.loss(N, D))
    assert found.loss(5e6, 1e7) == pytest.approx(LAW.loss(5e6, 1e7), rel=1e-3)
    assert (found.alpha, found.beta) == pytest.approx((LAW.alpha, LAW.beta), rel=1e-2)


def test_noise_moves_the_prediction_within_its_band():
    noise = np.exp(0.004 * np.random.default_rng(1).standard_normal(12))
    laws = resampled(N, D, LAW.loss(N, D) * noise, times=20)
    low, high = np.percentile([law.loss(1.2e6, 1.5e6) for law in laws], [5, 95])
    assert low - 0.01 < LAW.loss(1.2e6, 1.5e6) < high + 0.01 and high - low < 0.2


def test_the_best_shape_is_the_lowest_point_of_the_budget():
    n, d = LAW.best(1e13)
    assert 6 * n * d == pytest.approx(1e13)
    for other in (0.7 * n, 1.4 * n):
        assert LAW.loss(other, 1e13 / 6 / other) > LAW.loss(n, d)


def test_the_check_is_none_of_the_fitted_runs():
    points = find_study("scaling").points()
    assert len(points) == 13 and scaling.ARMS.count(scaling.CHECK) == 1
    config = scaling.model_shape("192x4", 2048)
    assert (config.n_heads * config.head_dim, config.n_layers) == (192, 4)


def test_the_class_s_law_tells_the_run_that_was_held_back():
    kept = load_study("scaling")
    held_back = next(p["figures"] for p in kept["points"] if p["arm"] == scaling.CHECK)
    told = of_the_class().loss(held_back["parameters"], held_back["tokens"])
    assert told == pytest.approx(held_back["val_bpb"], rel=0.05)


# --- The choice -----------------------------------------------------------------------------

DEPTHS = [shape_of_depth(profiles.FULL.model, depth) for depth in profiles.FULL.depths]


def test_a_shape_keeps_the_profile_s_proportions():
    assert shape_of_depth(profiles.FULL.model, 12) == profiles.FULL.model
    for config in DEPTHS:
        assert config.dim == config.n_heads * config.head_dim == 64 * config.n_layers
        assert config.hidden_dim % 64 == 0
    small = shape_of_depth(profiles.FULL.model, 2)
    assert size_of(small) == sum(p.numel() for p in Transformer(small).parameters())


def test_text_that_is_read_again_is_worth_less_each_time():
    assert worth(5e6, 1e7) == 5e6  # not read to its end
    gains = np.diff(worth(np.arange(1, 8) * 1e7, 1e7))
    assert (gains > 0).all() and (np.diff(gains) < 0).all() and gains[0] > 0.9e7
    assert worth(1e12, 1e7) < 17e7
    assert worth(1e12, math.inf) == 1e12


def test_more_minutes_buy_a_larger_model_and_a_lower_loss():
    chosen = [choose(CHINCHILLA, DEPTHS, flops, math.inf) for flops in (1e16, 1e18, 1e20)]
    layers = [config.n_layers for config, _, _ in chosen]
    assert layers == sorted(set(layers))
    assert chosen[0][2] > chosen[1][2] > chosen[2][2]
    for (config, tokens, _), flops in zip(chosen, (1e16, 1e18, 1e20), strict=True):
        assert 6 * size_of(config) * tokens == pytest.approx(flops, rel=1e-3)
        n, _ = CHINCHILLA.best(flops)
        assert n / 3 < size_of(config) < 3 * n


def test_chinchillas_law_in_bits_per_byte():
    n, d = 1e8, 2e9
    same = of_the_web(THEIR_BYTES).loss(n, d)
    assert same == pytest.approx(CHINCHILLA.loss(n, d) / math.log(2) / THEIR_BYTES)
    assert of_the_web(2 * THEIR_BYTES).loss(n, d / 2) == pytest.approx(same)  # as many bytes
    assert 0.6 < of_the_web(4).loss(124e6, 10e9) < 1.2  # GPT-2's size: bits per byte of the web


def test_a_small_text_holds_model_and_minutes_down():
    text = 1e6
    config, tokens, _ = choose(of_the_class(), DEPTHS, 1e20, text)
    assert size_of(config) <= PER_TOKEN * text and tokens == MOST_READINGS * text
