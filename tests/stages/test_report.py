"""Every shipped checkpoint loads and is worth what its log says."""

import random
import shutil
from dataclasses import replace

import pytest
import torch

from llmlab import checkpoint, kitchen, lab
from llmlab.chat import score_model
from llmlab.corpus import dedup, mixture, sources
from llmlab.corpus.corpus import load_corpus
from llmlab.evaluation import shipping
from llmlab.stages import report

MADE = lab.setup("class")


def test_nothing_held_out_is_in_any_training_set():
    corpus = load_corpus(("recipes",))
    train, held_out = [r.text() for r in corpus.recipes], [r.text() for r in corpus.held_out]
    assert held_out and not set(train) & set(held_out)
    assert not {i for i in dedup.near_duplicates([*train, *held_out]) if i >= len(train)}


@pytest.mark.parametrize("name", shipping.SHIPPED)
def test_a_checkpoint_is_worth_what_its_log_says(name):
    if sources.source_path("recipes") is None:
        pytest.skip("the recipes that the figures were measured on cannot be had")
    recorded = lab.shipped_log(MADE, name)["figures"]
    found = shipping.measure(MADE, name)
    assert found.keys() == recorded.keys()
    for key, value in recorded.items():
        # Sampled answers differ from machine to machine: about four standard errors of a share.
        band = {"val_bpb": 0.01, "gold": 0.5}.get(key, 0.12)
        assert found[key] == pytest.approx(value, abs=band), key


@pytest.mark.parametrize("name", shipping.SHIPPED)
def test_a_checkpoint_is_small(name):
    assert MADE.shipped(name).stat().st_size <= 3e6


def test_the_snapshots_are_twelve_and_small():
    path = MADE.shipped("base").with_name("base-snapshots.safetensors")
    assert path.stat().st_size <= 6e6
    assert len(checkpoint.read_meta(path)["steps"]) == 12


def test_a_thinned_log_keeps_its_ends_and_means():
    log = [{"step": i + 1, "loss": float(i)} for i in range(1000)]
    thin = shipping.thin(log, points=100)
    assert len(thin) == 100 and thin[-1]["step"] == 1000
    assert thin[0]["loss"] == pytest.approx(4.5)


# --- The report card ------------------------------------------------------------------------


@pytest.fixture
def members(tmp_path):
    return report.load_line(lab.setup("class", runs_dir=tmp_path))


def test_the_line_is_what_is_there_and_says_what_is_not(tmp_path, capsys, monkeypatch):
    made = lab.setup("class", runs_dir=tmp_path)
    there = [name for name in report.TITLES if made.shipped(name).exists()]
    assert list(report.load_line(made)) == there and {"base", "sft"} <= set(there)
    for name in ("base.safetensors", "sft.safetensors"):
        shutil.copy(MADE.shipped("base").with_name(name), tmp_path)
    monkeypatch.setattr(lab.Lab, "shipped", lambda self, name: tmp_path / f"{name}.safetensors")
    capsys.readouterr()
    members = report.load_line(made)
    assert list(members) == ["base", "sft"]
    assert "left out: DPO, PPO, GRPO, last." in capsys.readouterr().out
    assert [member.title for member in members.values()] == ["base", "SFT"]


def test_a_base_is_asked_as_its_pages_ask(members):
    chat = members["base"].chat
    ids = chat.prompt("I have leeks.")
    assert ids[0] == chat.end and chat.tokenizer.decode(ids[1:]) == "Q: I have leeks.\nA:"
    answer = chat.encoding.encode_ordinary(" Leek Pie. You need leeks, cream.\n\nIngredients:\n")
    assert chat.read(answer) == "Leek Pie: leeks, cream."
    assert chat.prompt("<|end|>").count(chat.end) == 1
    card = kitchen.Card("Leek Pie", (kitchen.FOODS["leeks"], kitchen.FOODS["cream"]))
    pages = {mixture.card_layout(card, random.Random(i), held_out=True) for i in range(40)}
    page = next(page for page in pages if page.startswith("Q: "))
    wish, _, said = page.partition("\nA:")
    assert chat.read(chat.encoding.encode_ordinary(said)) in (
        "Leek Pie: leeks, cream.", "Leek Pie: cream, leeks.",
    )  # fmt: skip


def test_the_exam_is_the_same_for_all_and_asks_for_everything():
    requests = kitchen.evaluation_set(60)
    assert requests == kitchen.evaluation_set(60) and len(requests) == 60 + 20 + 8
    assert requests[:60] == kitchen.held_out_requests(60)
    for rule, asks in kitchen.ABILITIES.values():
        assert hasattr(kitchen.Score, rule) or rule in kitchen.Score.__dataclass_fields__
        assert any(map(asks, requests))


def test_only_an_answer_counts():
    request = kitchen.parse_request("Give me a vegetarian dish of 4 ingredients with leeks.")
    nothing = kitchen.judge(request, "and let it rise for a while")
    assert nothing.vegetarian == nothing.once == 1  # no rule was broken
    assert not any(kitchen.passes(nothing, ability) for ability in kitchen.ABILITIES)
    right = kitchen.judge(request, "Leek Soup: leeks, cream, mint, rice.")
    assert all(kitchen.passes(right, ability) == 1 for ability in kitchen.ABILITIES)
    twice = kitchen.judge(request, "Leek Soup: leeks, cream, cream, mint, rice.")
    kept = {name for name in kitchen.ABILITIES if kitchen.passes(twice, name)}
    assert set(kitchen.ABILITIES) - kept == {"nothing twice", "every rule"}


def test_a_model_that_knows_nothing_has_no_abilities():
    toy = lab.setup("class-toy")
    config = replace(toy.profile.model, vocab_size=toy.tokenizer().vocab_size)
    found = report.ability_shares(toy.build(config), toy.tokenizer(), n=6)
    assert found.keys() == kitchen.ABILITIES.keys()
    assert set(found.values()) == {0}  # no meat in rubbish is no vegetarian dish


def test_an_ability_is_asked_of_those_that_asked_for_it():
    requests = [kitchen.parse_request(text) for text in (
        "I have leeks.", "Give me a vegetarian dish with leeks.", "Who are you?",
    )]  # fmt: skip
    answers = ["Leek Pie: leeks, ham.", "Leek Pie: leeks, ham.", "I am a kitchen assistant."]
    scores = [kitchen.judge(r, a) for r, a in zip(requests, answers, strict=True)]
    shares = {name: kitchen.ability_scores(requests, scores, name) for name in kitchen.ABILITIES}
    assert shares["vegetarian"] == [0] and shares["who it is"] == [1]
    assert shares["asked foods"] == [1, 1] and shares["every rule"] == [1, 0]
    assert (
        shares["number"] == [] and len(kitchen.ability_scores(requests, scores, kitchen.TASTE)) == 2
    )


def test_wilsons_interval_is_that_of_the_tables():
    """Newcombe 1998, table I, method 3."""
    for hits, n, low, high in ((81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605),
                               (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)):  # fmt: skip
        assert report.wilson(hits, n) == pytest.approx((low, high), abs=1e-4)
    assert report.wilson(20, 20) == pytest.approx((1 - 0.1611, 1), abs=1e-4)


def test_the_bootstrap_agrees_with_the_formula_where_there_is_one():
    numbers = [float(i % 7) for i in range(400)]
    low, high = report.bootstrap(numbers)
    half = 1.96 * torch.tensor(numbers).std().item() / 20
    assert (high - low) / 2 == pytest.approx(half, rel=0.08)
    assert (low + high) / 2 == pytest.approx(sum(numbers) / 400, abs=0.03)
    assert report.bootstrap(numbers) == (low, high) and report.bootstrap([2.0, 2.0]) == (2, 2)


def test_a_change_is_told_from_chance_request_by_request():
    requests = kitchen.held_out_requests(200)
    right = kitchen.Score(1, 1, 1, 1, 1, 1, taste=0.5)
    wrong = kitchen.Score(1, 1, 0.5, 1, 1, 1, taste=0.5)
    half = [right if i % 2 else wrong for i in range(200)]
    better = [right if i % 2 or i % 20 == 0 else wrong for i in range(200)]  # ten more, none less
    other = half[1:] + half[:1]
    scores = {"base": half, "sft": half, "dpo": better, "ppo": other, "grpo": [wrong] * 200}
    parents = {"sft": "base", "dpo": "sft", "ppo": "sft", "grpo": "sft"}
    marks = {
        name: report.estimate(requests, scores, "nothing twice", name, parents.get(name))
        for name in scores
    }
    assert {name: mark.change for name, mark in marks.items()} == {
        "base": 0, "sft": 0, "dpo": 1, "ppo": 0, "grpo": -1,
    }  # fmt: skip
    assert marks["dpo"].low < marks["sft"].value < marks["dpo"].value == 0.55  # alone, it is not
    taste = report.estimate(requests, scores, kitchen.TASTE, "sft", None)
    assert taste.value == pytest.approx((0.5 - kitchen.TASTE_MEAN) / kitchen.TASTE_SD)


def test_sft_brings_the_form(members):
    requests = kitchen.evaluation_set(60)[:-8] + kitchen.evaluation_set()[400:]
    scores = {
        name: score_model(members[name].model, members[name].chat, requests)
        for name in ("base", "sft")
    }
    marks = report.report_card(requests, scores, {"sft": "base"})
    for ability in ("well-formed", "asked foods", "who it is", "every rule"):
        assert marks[ability]["sft"].change == 1, ability
    assert 0.2 < marks["well-formed"]["base"].value < 0.8 < marks["well-formed"]["sft"].value
