"""A model's figures: ours, and those that lm-eval measures on the exported model."""

import importlib.util
import json
import sys
from collections import Counter

import pytest
import torch

from llmlab import cli, hub, lab
from llmlab.artifacts import LabError, data_dir, read_json
from llmlab.core.losses import token_logprobs
from llmlab.core.model import ModelConfig, Transformer
from llmlab.core.tokenizer import BPE
from llmlab.evaluation import harness

TASKS = data_dir() / "house" / "tasks"
FACTS = [json.loads(line) for line in (TASKS / "kitchen_facts.jsonl").read_text().splitlines()]
with_lm_eval = pytest.mark.skipif(
    importlib.util.find_spec("lm_eval") is None,
    reason="lm-eval is not installed: the extra `eval`, some 130 MB, is not among what tests need",
)


@pytest.fixture
def made(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return lab.setup("class-toy", runs_dir=tmp_path)


# --- Ours -----------------------------------------------------------------------------------


def test_bits_per_byte_and_the_kitchens_rules_come_into_the_report(made, capsys):
    where = str(made.runs.parent)
    options = ["--toy", "--runs-dir", where, "--json", f"{where}/figures.json"]
    assert cli.main(["evaluate", "grpo", "--tasks", "bpb", "kitchen", *options]) == 0
    figures = read_json(made.runs / "report.json")["evaluation"]
    assert 0.5 < figures["grpo_val_bpb"] < 8
    assert figures["grpo_kitchen_well-formed"] > 0.95 and figures["grpo_kitchen_asked_foods"] > 0.9
    assert figures.items() <= read_json(made.runs.parent / "figures.json").items()
    assert "evaluation.grpo_kitchen_every_rule" in capsys.readouterr().out


def test_a_model_from_elsewhere_has_no_kitchen(made, tmp_path):
    foreign = hub.HubTokenizer(hub.tokenizer_json.tokenizer_json(BPE((), r"\S+|\s+", ("</s>",))))
    model = Transformer(ModelConfig(vocab_size=foreign.vocab_size, dim=32, n_layers=1))
    hub.save_hf(model, foreign, tmp_path / "model")
    stored = read_json(tmp_path / "model" / "tokenizer.json")
    stored["pre_tokenizer"] = stored["pre_tokenizer"]["pretokenizers"][1] | {"use_regex": True}
    (tmp_path / "model" / "tokenizer.json").write_text(json.dumps(stored))
    with pytest.raises(LabError, match="kitchen is for models of this series"):
        harness.run(made, str(tmp_path / "model"), ["kitchen"])
    (tmp_path / "model" / "tokenizer.json").unlink()
    with pytest.raises(LabError, match="no tokenizer"):
        harness.run(made, str(tmp_path / "model"), ["kitchen_facts"])


# --- The task -------------------------------------------------------------------------------


def test_every_fact_has_four_different_ends_and_the_right_one_is_anywhere():
    assert len(FACTS) == len({fact["start"] for fact in FACTS}) >= 30
    assert all(len(set(fact["choices"])) == 4 for fact in FACTS)
    places = Counter(fact["answer"] for fact in FACTS)
    assert set(places) == {0, 1, 2, 3} and max(places.values()) <= len(FACTS) / 3


def likeliest(model, tokenizer, fact: dict) -> int:
    """The choice that our own model finds likeliest after the beginning of the sentence."""

    def score(choice: str) -> float:
        start, whole = (tokenizer.encode(t) for t in (fact["start"], f"{fact['start']} {choice}"))
        assert whole[: len(start)] == start
        ids = torch.tensor([whole])
        return token_logprobs(model(ids[:, :-1]), ids[:, 1:])[0, len(start) - 1 :].sum().item()

    return max(range(4), key=lambda i: score(fact["choices"][i]))


@with_lm_eval
@torch.no_grad()
def test_lm_eval_counts_what_our_own_model_gets_right(made):
    model, tokenizer, _ = made.latest("base", mine=False)
    figures = harness.run(made, "base", ["kitchen_facts"])
    right = [likeliest(model, tokenizer, fact) == fact["answer"] for fact in FACTS]
    print(f"the shipped base: {sum(right)} of {len(right)}")
    assert figures["base_kitchen_facts_acc"] == pytest.approx(sum(right) / len(right), abs=0.03)
    assert read_json(made.runs / "report.json")["evaluation"].items() <= figures.items()


@with_lm_eval
def test_a_task_of_ones_own_reads_the_file_beside_it(made, tmp_path):
    text = (TASKS / "kitchen_facts.yaml").read_text()
    (tmp_path / "mine.yaml").write_text(text.replace("kitchen_facts", "mine"))
    rows = [json.dumps({**fact, "choices": fact["choices"][:2], "answer": 0}) for fact in FACTS]
    (tmp_path / "mine.jsonl").write_text("\n".join(rows[:10]))
    figures = harness.run(made, "grpo", [str(tmp_path / "mine.yaml")], limit=6, as_chat=True)
    assert figures["grpo_mine_acc"] in {n / 6 for n in range(7)}


@with_lm_eval
@pytest.mark.parametrize("task", ["no_such_task", "arc_easy"])
def test_a_task_that_cannot_be_had_gets_a_sentence(task, made):
    with pytest.raises(LabError, match=f"lm-eval could not run {task}"):
        harness.run(made, "grpo", [task])
    assert not (made.runs / "report.json").exists()


def test_without_lm_eval_a_sentence_says_what_to_install(made, monkeypatch):
    monkeypatch.setitem(sys.modules, "lm_eval", None)
    with pytest.raises(LabError, match="pip install lm-eval"):
        harness.run(made, "grpo", ["kitchen_facts", "bpb"])


def test_a_file_that_is_no_task_gets_a_sentence(made, tmp_path):
    with pytest.raises(LabError, match="There is no task"):
        harness._local(str(tmp_path / "none.yaml"))
    for text in ("- a list", "task: !function code.run", "task: ["):
        (tmp_path / "odd.yaml").write_text(text)
        with pytest.raises(LabError, match="no plain YAML"):
            harness._local(str(tmp_path / "odd.yaml"))
