"""The full profile builds on its own runs, and asks whether each data set of its is here."""

from dataclasses import replace

import pytest

from llmlab import checkpoint, lab, profiles
from llmlab.artifacts import LabError
from llmlab.corpus.corpus import load_corpus
from llmlab.corpus.mixture import Mixture
from llmlab.datasets import by_stage, hub_datasets, pretokenize
from llmlab.datasets.token_shards import WeightedMixture
from llmlab.stages import pretraining, reward, sft


@pytest.fixture
def full(tmp_path, monkeypatch) -> lab.Lab:
    """The full profile at toy size, with its data sets; nothing is cached."""
    monkeypatch.setenv("LLMLAB_CACHE", str(tmp_path / "cache"))
    made = lab.setup("full-toy", runs_dir=tmp_path)
    return replace(made, profile=replace(made.profile, data_sets=profiles.FULL.data_sets))


def test_the_data_sets_that_it_names_are_known_and_each_stage_has_one():
    shares = profiles.FULL.data_sets
    for stage in ("pretraining", "sft", "reward", "rl"):
        assert hub_datasets.of_stage(stage, shares), stage


def test_what_is_not_here_is_said_and_the_class_s_data_serve(full, monkeypatch, capsys):
    monkeypatch.delenv("LLMLAB_DATA", raising=False)
    tokenizer, p = full.tokenizer(), full.profile
    assert by_stage.arguments(full, "sft") == {"talks": None}
    assert by_stage.arguments(full, "reward") == {"others": None}
    assert by_stage.arguments(full, "rl") == {"problems": None}
    mixture = Mixture(load_corpus(p.sources), tokenizer.to_tiktoken(), p.mixture, full.seed)
    assert pretokenize.rows_of(full, tokenizer, mixture) is mixture
    said = capsys.readouterr().out.splitlines()
    assert {line.partition(" is not here (`python -m llmlab")[0] for line in said} == set(
        profiles.FULL.data_sets
    )


def test_a_class_asks_for_none(tmp_path, capsys):
    made = lab.setup("class-toy", runs_dir=tmp_path)
    assert (
        by_stage.arguments(made, "sft") == {"talks": None} and by_stage.arguments(made, "dpo") == {}
    )
    assert capsys.readouterr().out == ""


def test_text_of_ones_own_is_read_once_it_is_tokenised(full, tmp_path, monkeypatch):
    folder = tmp_path / "data" / "fineweb_edu"
    folder.mkdir(parents=True)
    pages = [f'{{"text": "Page {i} tells how long lentils boil and why onions sting."}}'
             for i in range(400)]  # fmt: skip
    (folder / "pages.jsonl").write_text("\n".join(pages), "utf-8")
    monkeypatch.setenv("LLMLAB_DATA", str(tmp_path / "data"))
    tokenizer, p = full.tokenizer(), full.profile
    mixture = Mixture(load_corpus(p.sources), tokenizer.to_tiktoken(), p.mixture, full.seed)
    assert pretokenize.rows_of(full, tokenizer, mixture) is mixture
    pretokenize.tokenize_dataset(
        hub_datasets.big()["fineweb_edu"], tokenizer, hub_datasets.user_data_dir()
    )
    rows = pretokenize.rows_of(full, tokenizer, mixture)
    assert isinstance(rows, WeightedMixture) and rows.weights["fineweb_edu"] == pytest.approx(0.7)
    job = pretraining.pretrain(replace(full, steps=2), tokenizer)
    assert job.step == 2 and job.meta["data"] == rows.hash() != mixture.hash()


def test_its_stages_build_on_its_own_runs(full, capsys):
    """Where the class takes the slow-cooked base, this one takes the base that it made."""
    assert profiles.FULL.from_scratch and not profiles.CLASS.from_scratch
    made = replace(full, profile=replace(full.profile, data_sets={}))
    reward.run(made)  # of the shipped SFT model: a toy's own answers are all alike
    scratch = replace(made, profile=replace(made.profile, from_scratch=True))
    for started, whose in ((made, "the slow-cooked checkpoint"), (scratch, "your own run")):
        reward.load_reward(started, mine=False)
        assert f"reward: {whose}" in capsys.readouterr().out
    pretraining.pretrain(scratch, scratch.tokenizer())
    sft.run(scratch)
    assert "base: your own run" in capsys.readouterr().out
    assert checkpoint.read_meta(scratch.path("sft"))["config"]["dim"] == 32


def test_no_pairs_are_no_bare_traceback(full):
    model, tokenizer, _ = full.latest("sft")
    with pytest.raises(LabError, match="no pair of answers .* train the SFT model for longer"):
        reward.train_reward(full, model, tokenizer, [])


def test_a_data_set_that_is_none_is_refused(full):
    wrong = replace(full, profile=replace(full.profile, data_sets={"finewine": 0.5}))
    with pytest.raises(LabError, match="No data set is called 'finewine'"):
        by_stage.arguments(wrong, "sft")
