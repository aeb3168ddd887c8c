"""The studies of SFT: each kind of arm makes its point, on a toy."""

from types import SimpleNamespace

import pytest

from llmlab import lab as lab_module
from llmlab.stages import sft
from llmlab.studies import find_study, run_point
from llmlab.studies.sft import last_loss

POINTS = [
    ("sft", "cards"),
    ("sft", "no mask"),
    ("head_start", "random:40"),
    ("few_examples", 16),
    ("lora", 4),
]


@pytest.fixture
def lab(tmp_path, monkeypatch):
    real = sft.evaluate  # of six requests: two hundred take too long
    monkeypatch.setattr(sft, "evaluate", lambda model, tokenizer, n: real(model, tokenizer, n=6))
    made = lab_module.setup("class-toy", runs_dir=tmp_path)
    made.steps = 2
    return made


@pytest.mark.parametrize(("name", "arm"), POINTS)
def test_a_point_has_its_figures(name, arm, lab):
    assert arm in find_study(name).arms
    figures = run_point(lab, name, arm, 1)
    assert {"kept", "asked_all", "kind", "val_bpb", "loss", "cpu_seconds"} <= figures.keys()
    assert figures["steps"] == 2 and 0 <= figures["kept"] <= 1 and figures["loss"] > 0
    assert figures.get("parameters", 46592) == 46592  # rank 4, 28 matrices


def test_the_last_loss_is_the_mean_of_the_last_tenth():
    log = [{"loss": float(i)} for i in range(40)]
    assert last_loss(SimpleNamespace(log=log, steps=40)) == pytest.approx(37.5)
    assert last_loss(SimpleNamespace(log=log[:3], steps=3)) == 2.0
