"""The study of reinforcement learning, at a toy's four steps."""

from dataclasses import replace

import pytest

from llmlab import lab as lab_module
from llmlab.studies import rl as study
from llmlab.studies import run_point


@pytest.fixture
def lab(tmp_path):
    return lab_module.setup("class-toy", runs_dir=tmp_path)


def test_a_point_of_ppo(lab):
    figures = run_point(lab, "rl", "no-kl", 1)
    assert {len(values) for values in figures["curves"].values()} == {1}  # a mean of four steps
    assert figures["curves"]["step"] == [2.5] and 0 < figures["curves"]["commonest"][0] <= 1
    assert [kept["step"] for kept in figures["answers"]] == [1, 2, 3, 4]
    assert all(len(kept["texts"]) == len(study.ASKED) for kept in figures["answers"])
    assert figures["gold_sd"] > 0 and "ppo_gold_gain_sd" in figures


def test_a_point_of_grpo_on_the_rules(lab, monkeypatch):
    monkeypatch.setattr(study, "TRIES", 4)
    figures = run_point(replace(lab, steps=2), "rl", "rules", 1)
    for name in ("sft_pass", "rl_pass"):
        assert len(figures[name]) == 3 and figures[name] == sorted(figures[name])
    assert figures["rl_variety"] > 0.3 and "proxy" not in figures["curves"]


def test_a_point_of_grpo_on_one_rule(lab):
    figures = run_point(replace(lab, steps=1), "rl", "asked", 2)
    assert figures["curves"]["reward"][0] <= 1  # no other rule is paid for
    assert len(figures["answers"]) == 1


def test_curves_are_means_of_some_steps():
    assert study.curve([1, 2, 3, 4, 6, 8]) == [2.5, 7]
