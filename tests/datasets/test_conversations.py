"""Conversations as examples for fine-tuning: each turn in its place, the assistant's learned."""

import random
from collections import Counter
from dataclasses import replace

import pytest

from llmlab import lab
from llmlab.artifacts import LabError
from llmlab.chat import Batch, n_ids
from llmlab.datasets import conversations
from llmlab.stages import sft
from llmlab.stages.sft import Examples

SHARES = {"smoltalk": 0.5, "gsm8k": 0.2}


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("LLMLAB_CACHE", str(tmp_path_factory.getbasetemp() / "talks-cache"))


def message(role: str, content: str) -> dict:
    return {"role": role, "content": content}


def test_turns_are_taken_as_long_as_they_take_turns():
    user, said, system = (
        [message(role, text)] for role, text in
        (("user", " Hot? "), ("assistant", "Warm."), ("system", "Be brief."))
    )  # fmt: skip
    turn = ("Hot?", "Warm.")
    for messages, wanted in (
        (user + said, [turn]),
        (user + said + user + said, [turn, turn]),
        (system + user + said + user + said, [("Be brief.\n\nHot?", "Warm."), turn]),
        (user + said + user, [turn]),  # a question that nobody answered
        (user + said + user + user, [turn]),
        (user + said + system + said, [turn]),
        (said + user, []),
        (system, []),
        ([], []),
        (user + [message("assistant", "  ")], []),
    ):
        assert conversations.turns(messages) == wanted


def test_a_conversation_is_our_chat_format_with_a_mask_on_what_the_assistant_says(chat):
    taken = [("Hot?", "Warm."), ("And <|end|> now?", "Cold.")]
    ids = conversations.example(chat, taken, room=200)
    assert ids == (*(chat.prompt(taken[0][0]), chat.answer(taken[0][1])),
                   *(chat.prompt(taken[1][0]), chat.answer(taken[1][1])))  # fmt: skip
    batch = Batch.of([ids, (chat.prompt("Who?"), chat.answer("Me."))])
    flat = sum(ids, [])
    assert batch.ids[0, : len(flat)].tolist() == flat and not batch.ids[0, len(flat) :].any()
    learned = [batch.targets[row][batch.mask[row]].tolist() for row in (0, 1)]
    assert chat.tokenizer.decode(learned[0]) == "Warm.<|end|>Cold.<|end|>"
    assert chat.tokenizer.decode(learned[1]) == "Me.<|end|>"
    assert batch.lengths().tolist() == [len(flat) - 1, n_ids((chat.prompt("Who?"), learned[1])) - 1]
    text = chat.tokenizer.decode(flat)  # as the template of the exported tokenizer has it
    assert text == "<|user|>Hot?<|assistant|>Warm.<|end|><|user|>And <|end|> now?<|assistant|>" \
        "Cold.<|end|>"  # fmt: skip
    assert flat.count(chat.end) == 2


def test_what_does_not_go_into_the_context_is_cut_between_turns(chat):
    taken = [("Hot?", "Warm enough."), ("Now?", "Cold.")]
    whole = conversations.example(chat, taken, 200)
    first = n_ids(whole[:2])
    assert conversations.example(chat, taken, n_ids(whole)) == whole
    assert conversations.example(chat, taken, n_ids(whole) - 1) == whole[:2]
    short = conversations.example(chat, taken, first - 2)
    assert short == (whole[0], whole[1][:-2])  # it begins to answer, and is not taught to end
    assert conversations.example(chat, taken, len(whole[0])) is None
    assert (
        conversations.example(chat, taken, 1) is None and conversations.example(chat, [], 9) is None
    )


def test_examples_are_mixed_by_share_and_drawn_by_seed_and_step(chat, own_data):
    mixed = conversations.load_conversations(SHARES, own_data, chat, room=120)
    examples = Examples(sft.training_cards(toy()), chat, 1, talks=mixed)
    drawn = [examples.batch(step, 50) for step in range(8)]
    kinds = Counter()
    for text in (chat.tokenizer.decode(sum(ids, [])) for batch in drawn for ids in batch):
        kind = "smoltalk" if "minutes, for" in text else "gsm8k" if "####" in text else "kitchen"
        kinds[kind] += 1
        assert "<<" not in text
    assert sum(kinds.values()) == 400
    for name, share in (*SHARES.items(), ("kitchen", 0.3)):
        assert abs(kinds[name] / 400 - share) < 0.1, kinds
    again = Examples(sft.training_cards(toy()), chat, 1, talks=mixed)
    assert again.batch(5, 50) == drawn[5]
    assert max(n_ids(ids) for batch in drawn for ids in batch) <= 120
    assert any(len(ids) > 2 for batch in drawn for ids in batch)


def toy(**how) -> lab.Lab:
    return replace(lab.setup("class-toy", **how), steps=3)


def test_some_steps_of_training_with_and_without(tokenizer, chat, own_data, tmp_path):
    made = toy(runs_dir=tmp_path)
    config = replace(made.profile.model, vocab_size=tokenizer.vocab_size)
    mixed = conversations.load_conversations(SHARES, own_data, chat, config.max_seq_len)
    with_them = sft.tune(made, made.build(config), tokenizer, talks=mixed)
    assert [record["step"] for record in with_them.log] == [1, 2, 3]
    assert with_them.meta["talks"] == {"smoltalk": [0.5, 60], "gsm8k": [0.2, 60]}
    without = sft.tune(made, made.build(config), tokenizer)
    assert "talks" not in without.meta
    assert with_them.log[0]["loss"] != without.log[0]["loss"]


def test_of_what_is_missing_the_rest_is_used(own_data, chat, tmp_path, capsys, lay, made):
    lay(tmp_path / "gsm8k" / "train.jsonl", made("gsm8k", 5))
    found = conversations.load_conversations(SHARES, tmp_path, chat, 99)
    assert list(found.rows) == ["gsm8k"]
    assert "smoltalk is not on this machine" in capsys.readouterr().out
    assert conversations.load_conversations({"helpsteer2": 0.5}, own_data, chat, 99) is None


def test_rows_of_another_make_are_a_sentence(chat, lay, tmp_path):
    for k, wrong in enumerate(([{"from": "human", "value": "Hot?"}], "Hot?", [1, 2])):
        folder = tmp_path / str(k)
        lay(folder / "smoltalk" / "a.parquet", [{"messages": wrong}])
        with pytest.raises(LabError, match="Row 0 of smoltalk is no conversation"):
            conversations.load_conversations({"smoltalk": 0.9}, folder, chat, 99)


@pytest.mark.parametrize(
    "roles", [("human", "gpt"), ("User", "Assistant"), ("user", "model"), ("USER", "bot")]
)
def test_those_who_speak_are_known_by_other_names(roles):
    said = [message(role, "Hot?") for role in roles]
    assert conversations.turns(said) == [("Hot?", "Hot?")]
    assert conversations.turns([message("developer", "Be brief."), *said])[0][0].startswith("Be")


def test_conversations_of_no_use_are_counted_and_none_of_use_is_an_error(
    chat, lay, made, tmp_path, capsys
):
    """Roles that nobody knows, and what has no room."""
    tool = {"messages": [message("tool", "21 °C"), message("assistant", "Warm.")]}
    rows = [tool if i % 4 == 0 else row for i, row in enumerate(made("smoltalk", 80))]
    lay(tmp_path / "some" / "smoltalk" / "a.jsonl", rows)
    found = conversations.load_conversations({"smoltalk": 0.9}, tmp_path / "some", chat, 200)
    assert capsys.readouterr().out == (
        "smoltalk: 25% of the conversations are of no use and left out.\n"
    )
    assert any(found.draw(random.Random(seed)) for seed in range(9))
    conversations.load_conversations({"gsm8k": 0.5}, lay_gsm8k(lay, made, tmp_path), chat, 200)
    assert capsys.readouterr().out == ""
    lay(tmp_path / "none" / "smoltalk" / "a.jsonl", [tool] * 60)
    for folder, room in ((tmp_path / "none", 200), (tmp_path / "some", 5)):
        with pytest.raises(LabError, match="None of .. conversations of smoltalk begins with"):
            conversations.load_conversations({"smoltalk": 0.9}, folder, chat, room)


def lay_gsm8k(lay, made, folder):
    lay(folder / "gsm8k" / "a.jsonl", made("gsm8k", 9))
    return folder
