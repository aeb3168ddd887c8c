"""What `ChatPanel` asks, sends and draws, without a page."""

import json
import os
import re
import signal
import threading
import time
from dataclasses import replace
from html import unescape

import pytest

import llmlab
from llmlab.chat import MAX_ANSWER, ChatTemplate
from llmlab.core.model import Transformer
from llmlab.core.sampling import generate
from llmlab.stages import report
from llmlab.widgets.chat_panel import KEPT, LONGEST, ChatPanel, judged, stream

REQUEST = "What vegetarian soup of 5 ingredients can I cook with leeks?"


@pytest.fixture(scope="module")
def members(tmp_path_factory):
    lab = llmlab.setup(runs_dir=tmp_path_factory.mktemp("runs"))
    found = report.load_line(lab)
    return {name: found[name] for name in ("base", "sft", "grpo")}


@pytest.fixture
def panel(members):
    made = ChatPanel(members)
    yield made
    made.stop()


@pytest.fixture
def roomy(small):
    """A member of random weights, with room for an answer, that does not end by itself."""
    model, tokenizer = small
    wide = Transformer(replace(model.config, max_seq_len=200))
    wide.load_state_dict(model.state_dict())
    wide.head.weight.data[tokenizer.special("<|end|>")] = 0
    return report.LineModel("random", wide, ChatTemplate(tokenizer), {})


def test_it_answers_as_generate_does(members):
    member = members["sft"]
    ids = member.chat.prompt(REQUEST)
    exact = member.model.float()
    written = list(stream(exact, ids, member.chat.end, 0.0, 0))
    assert generate(exact, [ids], MAX_ANSWER, member.chat.end, temperature=0) == [written]


def test_all_models_answer(panel):
    answers = panel.ask(REQUEST)
    assert list(answers) == ["base", "SFT", "GRPO"]
    for answer in (answers["SFT"], answers["GRPO"]):
        assert re.fullmatch(r"[^:\n]+: [^:\n]+\.", answer)
    now = panel._now
    assert now["request"] == REQUEST and not now["writing"] and now["turn"] == 1
    for title, answer in zip(panel.titles, now["answers"], strict=True):
        assert answer["text"] == answers[title] and answer["state"] in ("ended", "cut")
        assert 0 < answer["tokens"] <= MAX_ANSWER and answer["first_ms"] is not None


def test_marks_are_the_rules_that_are_asked_for(panel):
    panel.ask(REQUEST)
    names = [[name for name, _ in answer["marks"]] for answer in panel._now["answers"]]
    asked = ["well-formed", "asked foods", "nothing twice", "vegetarian", "number", "kind of dish"]
    assert names == [asked] * 3
    assert dict(panel._now["answers"][2]["marks"])["well-formed"] is True
    panel.ask("Who are you?")
    assert [a["marks"] for a in panel._now["answers"][1:]] == [[("who it is", True)]] * 2
    panel.ask("Hello")
    assert [a["marks"] for a in panel._now["answers"]] == [[]] * 3
    wish = report.kitchen.parse_request("Give me a dish of 4 ingredients with leeks.")
    told = judged(wish, "Leek Pie: leeks, cream, cream.")
    assert told == [("well-formed", True), ("asked foods", True), ("nothing twice", False),
                    ("number", False)]  # fmt: skip


def test_the_same_seed_gives_the_same_answers(members):
    a, b = ChatPanel(members, seed=5), ChatPanel(members, seed=5)
    assert a.ask(REQUEST) == b.ask(REQUEST)
    assert a.ask(REQUEST) != b._now  # and the next time others
    assert a._past[0]["answers"][1]["text"] == b._now["answers"][1]["text"]


def test_the_models_are_left_as_they_were(members):
    before = members["sft"].model.embed.weight.clone()
    ChatPanel(members).ask("Who are you?")
    after = members["sft"].model.embed.weight
    assert after.dtype == before.dtype and bool((after == before).all())


def test_no_model_starves(roomy):
    """A token each in turn: at any look, the answers differ by one token at the most."""
    members = {name: roomy for name in ("a", "b", "c")}
    panel, looks = ChatPanel(members), []
    panel.observe(lambda change: looks.append(change["new"]), "_now")
    panel.ask("leeks")
    counts = [[answer["tokens"] for answer in look["answers"]] for look in looks]
    assert counts[0] == [0, 0, 0] and counts[1] == [1, 1, 1]  # the first tokens, at once
    assert all(max(c) - min(c) <= 1 for c in counts)
    assert [a["state"] for a in looks[-1]["answers"]] == ["cut"] * 3
    assert [look["writing"] for look in looks] == [True] * (len(looks) - 1) + [False]


def test_the_kernel_is_free_while_they_write(roomy):
    panel = ChatPanel({"a": roomy})
    panel._obey({"ask": "leeks"})
    assert panel._now["writing"] and not panel._ended.is_set()
    panel.stop()
    answer = panel._now["answers"][0]
    assert answer["state"] == "stopped" and not panel._now["writing"]
    assert answer["tokens"] < MAX_ANSWER
    seen = panel._now
    time.sleep(0.1)
    assert panel._now == seen  # it stays as it was


def test_a_new_request_stops_the_one_before(roomy):
    panel = ChatPanel({"a": roomy})
    panel._obey({"ask": "leeks"})
    panel._obey({"ask": "tofu"})
    panel._ended.wait()
    assert [e["request"] for e in panel._past] == ["leeks"] and panel._now["request"] == "tofu"
    assert panel._past[0]["answers"][0]["state"] == "stopped"
    assert panel._now["answers"][0]["state"] == "cut"


def test_the_notebooks_stop_button_ends_the_answers(roomy):
    panel = ChatPanel({"a": roomy})
    panel._members[0].model.head.register_forward_pre_hook(lambda *_: time.sleep(0.05))
    threading.Timer(0.4, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
    assert panel.ask("leeks") == {"random": panel._now["answers"][0]["text"]}
    assert panel._now["answers"][0]["state"] == "stopped" and panel._ended.is_set()


def test_a_model_that_fails_does_not_keep_the_page_waiting(roomy, monkeypatch):
    panel = ChatPanel({"a": roomy})
    monkeypatch.setattr(threading, "excepthook", lambda told: None)
    panel._members[0].model.blocks[0].mlp.register_forward_hook(lambda *_: 1 / 0)
    panel.ask("leeks")
    assert not panel._now["writing"] and panel._now["answers"][0]["state"] == "stopped"


def test_only_the_last_exchanges_stay(members):
    panel = ChatPanel({"grpo": members["grpo"]})
    for i in range(KEPT + 3):
        panel.ask(f"I have leeks, {i}.")
    assert len(panel._past) == KEPT and panel._past[0]["request"] == "I have leeks, 2."
    assert len(json.dumps(panel.get_state(("_past", "_now")))) < 10_000


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        ("", "type a request first"),
        (" \n ", "type a request first"),
        ("leeks " * 600, r"tokens; these models have room for 448. Say it in fewer words."),
        ("x" * 1_000_000, f"1,000,000 characters; at most {LONGEST:,} are read"),
    ],
)
def test_what_cannot_be_asked_gets_a_sentence(panel, request_, said):
    panel.ask(REQUEST)
    before = panel._now
    with pytest.raises(ValueError, match=said):
        panel.ask(request_)
    panel._obey({"ask": request_})
    assert re.search(said, panel._note["words"]) and panel._note["count"] == 2
    assert panel._now == before and panel._past == []


def test_the_request_that_fills_the_room_is_answered(panel):
    request = ("leek " * 440).strip()
    longest = max(len(m.chat.prompt(request)) for m in panel._members)
    while longest > 448:
        request = request.rpartition(" ")[0]
        longest = max(len(m.chat.prompt(request)) for m in panel._members)
    assert panel.ask(request)["SFT"]


def test_the_static_picture_is_the_last_exchange(panel):
    assert repr(panel) == "ChatPanel: base, SFT, GRPO; nothing asked yet"
    assert "nothing asked yet" in panel._repr_mimebundle_()[0]["text/html"]
    panel.ask("Who are you?")
    answers = panel.ask("I have <b>leeks</b>.")
    data, _ = panel._repr_mimebundle_()
    html = data["text/html"]
    assert data["text/plain"] == "ChatPanel: base, SFT, GRPO; “I have <b>leeks</b>.”"
    words = unescape(re.sub(r"<[^>]+>", "\n", html))
    assert "I have <b>leeks</b>." in words and "Who are you" not in words
    assert all(answer in words for answer in answers.values())
    assert re.search("[✓✗] asked foods", words)
    assert "script" not in html and "class=" not in html and "http" not in html


def test_a_panel_without_models_is_refused():
    with pytest.raises(ValueError, match="no model to talk to"):
        ChatPanel({})
