"""Every shipped checkpoint loads and is worth what its log says."""

import pytest

from llmlab import artifacts, lab, sources
from llmlab.stages import data, report

MADE = lab.setup("class")


def test_nothing_held_out_is_in_any_training_set():
    corpus = data.load_corpus(("recipes",))
    train, held_out = [r.text() for r in corpus.recipes], [r.text() for r in corpus.held_out]
    assert held_out and not set(train) & set(held_out)
    assert not {i for i in data.twins([*train, *held_out]) if i >= len(train)}


@pytest.mark.parametrize("name", report.SHIPPED)
def test_a_checkpoint_is_worth_what_its_log_says(name):
    if sources.source_path("recipes") is None:
        pytest.skip("the recipes that the figures were measured on cannot be had")
    recorded = report.shipped_log(MADE, name)["figures"]
    found = report.measure(MADE, name)
    assert found.keys() == recorded.keys()
    for key, value in recorded.items():
        # Sampled answers differ from machine to machine: about four standard errors of a share.
        band = {"val_bpb": 0.01, "gold": 0.5}.get(key, 0.12)
        assert found[key] == pytest.approx(value, abs=band), key


@pytest.mark.parametrize("name", report.SHIPPED)
def test_a_checkpoint_is_small(name):
    assert MADE.shipped(name).stat().st_size <= 3e6


def test_the_snapshots_are_twelve_and_small():
    path = MADE.shipped("base").with_name("base-snapshots.safetensors")
    assert path.stat().st_size <= 6e6
    assert len(artifacts.read_meta(path)["steps"]) == 12


def test_a_thinned_log_keeps_its_ends_and_means():
    log = [{"step": i + 1, "loss": float(i)} for i in range(1000)]
    thin = report.thin(log, points=100)
    assert len(thin) == 100 and thin[-1]["step"] == 1000
    assert thin[0]["loss"] == pytest.approx(4.5)
