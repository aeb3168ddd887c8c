"""A model's card holds what the logs hold, and its example runs."""

import re

import pytest
import torch

from llmlab import artifacts, checkpoint, kitchen, lab
from llmlab.artifacts import LabError
from llmlab.chat import score_model
from llmlab.core.sampling import generate
from llmlab.corpus import sources
from llmlab.evaluation import model_card
from llmlab.hub import load_hf
from llmlab.stages import report


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return lab.setup("class", runs_dir=tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def members(made):
    return report.load_line(made)


@pytest.fixture(scope="module")
def marks(members):
    requests = kitchen.evaluation_set(30)
    scores = {
        name: score_model(members[name].model, members[name].chat, requests)
        for name in ("base", "sft", "ppo")
    }
    return report.report_card(requests, scores, report.parents(members))


@pytest.fixture(scope="module")
def card(made, members, marks):
    return model_card.model_card(made, "ppo", members, marks, 30)


def test_every_run_stands_there_with_its_log_and_hash(made, card):
    for title, name in (("base", "base"), ("SFT", "sft"), ("reward model", "reward"),
                        ("PPO", "ppo")):  # fmt: skip
        log, path = lab.shipped_log(made, name), made.shipped(name)
        row = re.search(rf"^\| {title} \| `(.+?)` \| (.+) \|$", card, re.M)
        assert row[1] == log["command"]
        facts = (log["seed"], log["steps"], f"{log['cpu_seconds']:,.0f}")
        hashed = artifacts.sha256_file(path)[:16]
        assert row[2] == f"{facts[0]} | {facts[1]} | {facts[2]} | `{hashed}`"
    assert "| GRPO |" not in card and lab.shipped_log(made, "base")["data"] in card


def test_every_text_stands_there_with_licence_and_credit(made, card):
    for name in made.profile.sources:
        source = sources.sources()[name]
        row = f"| {source.title} | {source.licence} | {source.credit} |"
        assert f"{row} `{source.sha256[:16]}` |" in card or not source.sha256
        assert row in card


def test_every_ability_stands_there_with_its_interval(card, marks):
    assert "# Kitchen assistant, PPO" in card and "30 held-out requests" in card
    for ability, row in marks.items():
        assert f"| {ability} | {model_card.in_words(ability, row['ppo'])} |" in card
    assert model_card.in_words("number", report.Estimate(0.5, 0.4, 0.62)) == "50 % (40 % to 62 %)"
    assert model_card.in_words("taste", report.Estimate(0.5, -0.1, 1.1)).startswith(
        "+0.50 (-0.10 to +1"
    )


def test_it_opens_as_hubs_expect(card):
    assert card.startswith("---\nlanguage: en\n") and card.count("\n---\n") == 1
    for row in re.findall(r"^\|.*$", card, re.M):
        assert row.endswith("|")


def test_a_run_of_ones_own_says_so(made, members, marks, tmp_path):
    mine = lab.setup("class", runs_dir=tmp_path)
    meta = checkpoint.read_meta(made.shipped("sft"))
    tensors, _ = checkpoint.load_checkpoint(made.shipped("sft"))
    checkpoint.save_checkpoint(mine.path("sft"), tensors, {**meta, "cpu_seconds": 12.5, "log": []})
    own = report.load_line(mine)
    card = model_card.model_card(mine, "ppo", own, marks, 30)
    hashed = artifacts.sha256_file(mine.path("sft"))[:16]
    facts = f"{meta['seed']} | {meta['steps']} | 12 | `{hashed}`"
    assert f"| SFT | a run of one's own | {facts} |" in card
    assert "| PPO | `python -m llmlab" in card and "| reward model | `python -m llmlab" in card


def test_the_example_of_the_card_runs(members, card, tmp_path, capsys):
    pytest.importorskip("transformers")
    member = members["ppo"]
    files = model_card.export(member, card, tmp_path / "out")
    assert {"README.md", "config.json", "model.safetensors", "tokenizer.json"} <= set(files)
    assert (tmp_path / "out" / "README.md").read_text("utf-8") == card
    code = re.search(r"```python\n(.+?)```", card, re.S)[1].replace("FOLDER", f"{tmp_path}/out")
    capsys.readouterr()
    space = {}
    exec(code, space)
    said = capsys.readouterr().out.strip().splitlines()[-1]
    assert said.startswith("<|user|>I have chicken and lemon.<|assistant|>") and "<|end|>" in said
    loaded, tokenizer, _ = load_hf(tmp_path / "out")
    ids = member.chat.prompt("I have chicken and lemon.")
    assert tokenizer == member.chat.tokenizer and space["inputs"]["input_ids"][0].tolist() == ids
    with torch.no_grad():
        theirs, ours = space["model"](torch.tensor([ids])).logits, loaded(torch.tensor([ids]))
    assert (theirs - ours).abs().max() < 1e-4
    greedy = space["model"].generate(**space["inputs"], max_new_tokens=64, do_sample=False)
    [written] = generate(loaded, [ids], 64, member.chat.end, temperature=0)
    assert greedy[0, len(ids) :].tolist() == written
    answer = member.chat.read(written)
    assert kitchen.judge("I have chicken and lemon.", answer).wellformed == 1


def test_a_folder_that_cannot_be_written_gets_a_sentence(members, card, tmp_path):
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(LabError, match="could not be written"):
        model_card.export(members["ppo"], card, tmp_path / "taken")
