"""The scaling law: found again from its own losses, and at its optimum where it says."""

import numpy as np
import pytest

from llmlab.studies import find_study
from llmlab.studies.scaling import ARMS, CHECK, Law, fit, resampled, shape

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
    assert len(points) == 13 and ARMS.count(CHECK) == 1
    config = shape("192x4", 2048)
    assert (config.n_heads * config.head_dim, config.n_layers) == (192, 4)
