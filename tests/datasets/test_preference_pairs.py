"""Comparisons from UltraFeedback and HelpSteer2, as pairs, and a reward model that learns them."""

from collections import Counter
from dataclasses import replace

import pytest

from llmlab import lab
from llmlab.artifacts import LabError
from llmlab.chat import ChatTemplate
from llmlab.datasets import preference_pairs
from llmlab.datasets.preference_pairs import Pair
from llmlab.stages import reward

SHARES = {"ultrafeedback": 0.4, "helpsteer2": 0.2}


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("LLMLAB_CACHE", str(tmp_path_factory.getbasetemp() / "pairs-cache"))


def told(chat: ChatTemplate, pairs: list[Pair]) -> set[tuple[str, str, str]]:
    return {(p.request, chat.read(p.chosen), chat.read(p.rejected)) for p in pairs}


def test_ultrafeedback_prefers_the_higher_score_and_leaves_out_what_is_equal(chat, own_data, made):
    found = preference_pairs.load_comparisons({"ultrafeedback": 0.5}, own_data, chat, 200).draw(
        1000, seed=1
    )
    rows = [row for row in made("ultrafeedback", 60) if row["score_chosen"] > row["score_rejected"]]
    assert told(chat, found) == {
        (row["prompt"], row["chosen"][1]["content"], row["rejected"][1]["content"]) for row in rows
    }
    assert len(found) == len(rows) < 60
    assert all(pair.chosen[-1] == pair.rejected[-1] == chat.end for pair in found)
    turned = dict(rows[0], score_chosen=1.0)
    request, better, _ = preference_pairs.ultrafeedback([turned], 0)
    assert better == turned["rejected"][1]["content"] and request == turned["prompt"]


def test_helpsteer2_compares_two_rows_of_one_prompt(chat, own_data, made):
    found = preference_pairs.load_comparisons({"helpsteer2": 0.5}, own_data, chat, 200).draw(
        1000, seed=1
    )
    rows = made("helpsteer2", 60)
    twos = [(a, b) for a, b in zip(rows[::2], rows[1::2], strict=True)
            if a["helpfulness"] != b["helpfulness"] and "extra_id" not in a["prompt"]]  # fmt: skip
    assert told(chat, found) == {(b["prompt"], b["response"], a["response"]) for a, b in twos}
    assert 10 < len(found) < 30
    with pytest.raises(ValueError, match="different prompts"):
        preference_pairs.helpsteer2(rows[1:], 0)


def test_pairs_are_drawn_by_share_and_none_is_cut(chat, own_data):
    mixed = preference_pairs.load_comparisons(SHARES, own_data, chat, 200)
    assert mixed.share == pytest.approx(0.6)
    drawn = mixed.draw(30, seed=1)
    assert Counter("soups" in p.request for p in drawn) == {True: 20, False: 10}
    assert drawn == mixed.draw(30, seed=1) != mixed.draw(30, seed=2)
    longest = max(len(chat.prompt(p.request)) + max(len(p.chosen), len(p.rejected)) for p in drawn)
    tight = preference_pairs.load_comparisons(SHARES, own_data, chat, longest - 4).draw(1000, 1)
    wide = mixed.draw(1000, 1)
    assert 0 < len(tight) < len(wide) and told(chat, tight) < told(chat, wide)


def test_rows_of_another_make_are_a_sentence(chat, made, lay, tmp_path):
    rows = [dict(row, chosen="The first.") for row in made("ultrafeedback", 4)]
    lay(tmp_path / "ultrafeedback" / "a.parquet", rows)
    found = preference_pairs.load_comparisons({"ultrafeedback": 0.5}, tmp_path, chat, 99)
    with pytest.raises(LabError, match="Comparison . of ultrafeedback cannot be read"):
        found.draw(2, 1)
    lay(tmp_path / "helpsteer2" / "a.jsonl", made("helpsteer2", 9)[1:])
    found = preference_pairs.load_comparisons({"helpsteer2": 0.5}, tmp_path, chat, 99)
    with pytest.raises(LabError, match="of helpsteer2 .*different prompts"):
        found.draw(2, 1)


WRONG = {  # a data set, what is wrong in each of its rows, and what is said
    "no score": ("ultrafeedback", {"score_rejected": float("nan")}, "a score is no number"),
    "an endless score": ("ultrafeedback", {"score_chosen": float("inf")}, "a score is no number"),
    "no mark": ("helpsteer2", {"helpfulness": float("nan")}, "a score is no number"),
    "no answer": ("ultrafeedback", {"chosen": [{"content": None}]}, "None is no text"),
    "parts of one": ("ultrafeedback", {"chosen": [{"content": [{"text": "a"}]}]}, "is no text"),
    "no request": ("ultrafeedback", {"prompt": None}, "None is no text"),
    "no response": ("helpsteer2", {"response": None}, "None is no text"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_row_with_what_is_no_score_or_no_text_is_refused(case, chat, made):
    name, wrong, sentence = WRONG[case]
    rows = [row | wrong for row in made(name, 20)]
    found = preference_pairs.Comparisons({name: (0.5, rows)}, chat, 200)
    with pytest.raises(LabError, match=f"Comparison .* of {name} cannot be read.*{sentence}"):
        found.draw(20, 1)


def test_a_reward_model_trains_on_both_and_is_measured_on_the_test_split(
    chat, tokenizer, own_data, tmp_path, capsys
):
    made = replace(lab.setup("class-toy", runs_dir=tmp_path), steps=8)
    model, _, _ = made.latest("sft", mine=False)
    context = model.config.max_seq_len
    others = preference_pairs.load_comparisons(SHARES, own_data, chat, context)
    pairs = reward.training_pairs(made, model, tokenizer, others)
    theirs = [pair for pair in pairs if pair.true_order is None]
    assert 20 < len(theirs) <= round(0.6 * 12) * 6
    assert 0 < len(pairs) - len(theirs) <= round(0.4 * 12) * 6
    assert pairs[: len(theirs)] != theirs  # shuffled
    judge, job = reward.train_reward(made, model, tokenizer, pairs)
    assert len(job.log) == 8
    for name, test in others.held_out().items():
        assert 0 <= reward.accuracy(judge, chat, test) <= 1 and 5 < len(test) < 20, name
        assert told(chat, test).isdisjoint(told(chat, theirs))


def test_the_report_has_the_accuracy_on_each_test_split(chat, own_data, tmp_path):
    made = replace(lab.setup("class-toy", runs_dir=tmp_path), steps=2)
    others = preference_pairs.load_comparisons(
        SHARES, own_data, chat, made.profile.model.max_seq_len
    )
    figures = reward.run(made, others=others)
    assert {name for name in figures if name.endswith("_accuracy")} == {
        "train_accuracy", "ultrafeedback_accuracy", "helpsteer2_accuracy"
    }  # fmt: skip


def test_without_a_test_split_nothing_is_held_out(chat, tmp_path, made, lay):
    lay(tmp_path / "helpsteer2" / "train.jsonl.gz", made("helpsteer2", 20))
    assert (
        preference_pairs.load_comparisons({"helpsteer2": 0.5}, tmp_path, chat, 200).held_out() == {}
    )
