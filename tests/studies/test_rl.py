"""The study of reinforcement learning, at a toy's four steps."""

from dataclasses import replace

import pytest

from llmlab import kitchen
from llmlab import lab as lab_module
from llmlab.chat import ChatTemplate, Sample
from llmlab.studies import rl as study
from llmlab.studies import run_point


@pytest.fixture
def lab(tmp_path):
    return lab_module.setup("class-toy", runs_dir=tmp_path)


def test_a_point_of_ppo(lab):
    figures = run_point(lab, "rl", "no-kl", 1)
    assert {len(values) for values in figures["curves"].values()} == {2}  # means of two steps
    assert figures["curves"]["step"] == [1.5, 3.5] and 0 < figures["curves"]["commonest"][0] <= 1
    assert [kept["step"] for kept in figures["answers"]] == [1, 2, 3, 4]
    assert all(len(kept["texts"]) == len(study.ASKED) for kept in figures["answers"])
    assert figures["gold_sd"] > 0 and "ppo_gold_gain_sd" in figures


def test_a_point_of_grpo_on_the_rules(lab, monkeypatch):
    monkeypatch.setattr(study, "TRIES", 4)
    figures = run_point(replace(lab, steps=2), "rl", "rules", 1)
    for name in ("sft_pass", "rl_pass"):
        assert len(figures[name]) == 3 and figures[name] == sorted(figures[name])
    assert figures["rl_variety"] > 0.3 and "proxy" not in figures["curves"]


def test_how_alike_answers_are():
    lab = lab_module.setup("class-toy")
    chat = ChatTemplate(lab.tokenizer())
    texts = ("A: kale, mint.", "A: kale, mint.", "B: rice, leeks, peas, okra, mint.", "C: dill.")
    request, score = "I have kale.", kitchen.judge("I have kale.", texts[0])
    rollouts = [Sample(request, [], chat.answer(text), text, score, parts={"asked": i / 4})
                for i, text in enumerate(texts)]  # fmt: skip
    alike = study.likeness(rollouts)
    assert alike["commonest"] == 0.5 and alike["asked"] == pytest.approx(1.5 / 4)
    assert alike["five"] == pytest.approx(8 / 10)  # mint 3, kale 2, three of the others


def test_curves_are_means_of_some_steps():
    assert study.curve([1, 2, 3, 4, 6]) == [1.5, 3.5, 6]
