"""Word problems: what counts as the answer, and training on it beside the kitchen's requests."""

import random
from dataclasses import replace
from decimal import Decimal

import pytest

from llmlab import kitchen, lab
from llmlab.artifacts import LabError
from llmlab.chat import ChatTemplate, generate_answers, judge_answers
from llmlab.datasets import gsm8k
from llmlab.stages import rl

RIGHT, WRONG = True, False
ANSWERS = [
    ("#### 72", "72", RIGHT),
    ("48 + 24 = 72 clips.", "72", RIGHT),
    ("It is 72, not 73", "72", WRONG),  # the last one counts
    ("73\n#### 72", "72", RIGHT),
    ("#### 72\nThat is less than 100.", "72", RIGHT),
    ("#### 71\n#### 72", "72", RIGHT),
    ("The answer is 72\n####", "72", WRONG),  # it was to follow, and did not
    ("####72", "72", RIGHT),
    ("#### 72 leeks", "72", RIGHT),
    ("#### 72.0", "72", RIGHT),
    ("#### 72.5", "72", WRONG),
    ("#### 1,080", "1080", RIGHT),
    ("#### $1,234,567.50", "1234567.5", RIGHT),
    ("#### 1,23", "123", WRONG),  # no group of three
    ("1, 2 and 3", "3", RIGHT),
    ("1,2,3", "3", RIGHT),
    ("#### -5", "-5", RIGHT),
    ("#### \u22125", "-5", RIGHT),  # a minus sign that is no hyphen
    ("#### - 5", "-5", RIGHT),
    ("#### -5", "5", WRONG),
    ("8-3=5", "5", RIGHT),
    ("It takes 8-3", "3", RIGHT),  # a difference, not a negative number
    ("from 5-10", "10", RIGHT),
    ("(8)-3", "3", RIGHT),
    ("we owe -3", "-3", RIGHT),
    ("$-3", "-3", RIGHT),
    ("-$3.50", "-3.5", RIGHT),
    ("#### .5", "0.5", RIGHT),
    ("#### -0", "0", RIGHT),
    ("#### 50%", "50", RIGHT),
    ("#### 1/2", "0.5", WRONG),  # fractions are not read
    ("#### 1e3", "1000", WRONG),
    ("#### 007", "7", RIGHT),
    ("**72**", "72", RIGHT),
    ("\\boxed{72}", "72", RIGHT),
    ("x2 = 72", "72", RIGHT),
    ("seventy-two", "72", WRONG),
    ("no number", "72", WRONG),
    ("#### \u0667\u0662", "72", WRONG),  # other digits
    ("#### " + "9" * 300, "9" * 300, RIGHT),
]


@pytest.mark.parametrize(("text", "right", "counts"), ANSWERS)
def test_a_verifier_reads_the_number_that_an_answer_comes_to(text, right, counts):
    problem = gsm8k.Problem("How many?", Decimal(right))
    assert problem.judge(text).right is counts
    row = {"question": "How many?", "answer": f"Many.\n#### {right}"}
    assert gsm8k.Problem.of(row).judge(text).right is counts


def test_marks_ask_for_the_number_and_for_its_form():
    problem = gsm8k.Problem("How many?", Decimal(72))
    marks = [problem.judge(text) for text in ("#### 72", "72", "#### 7", "soup")]
    assert [m.rules for m in marks] == [1, 0.5, 0.5, 0]
    assert [m.kept for m in marks] == [True, True, False, False]
    assert [rl.rules_reward(m) for m in marks] == [2, 1.5, 0.5, 0]
    assert marks[2].parts == {"right": 0, "stated": 1}


def test_rows_without_a_number_are_a_sentence():
    for row in ({"question": "?", "answer": "many"}, {"question": "?", "answer": "#### many"},
                {"question": None, "answer": "#### 1"}, {"question": "?"}):  # fmt: skip
        with pytest.raises(LabError, match="no answer that ends with ####"):
            gsm8k.Problem.of(row)


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("LLMLAB_CACHE", str(tmp_path_factory.getbasetemp() / "sums-cache"))


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    return replace(lab.setup("class-toy", runs_dir=tmp_path_factory.mktemp("runs")), steps=2)


@pytest.fixture
def problems(own_data, tokenizer, toy):
    context = toy.profile.model.max_seq_len
    return gsm8k.load_problems(
        {"gsm8k": 0.5, "smoltalk": 0.4}, own_data, ChatTemplate(tokenizer), context
    )


def test_a_step_draws_its_share_of_problems_by_seed_and_step(toy, problems):
    requests = rl.PromptSampler(toy, problems)
    asked, texts = requests.draw(3, 8)
    found = [r for r in asked if isinstance(r, gsm8k.Problem)]
    assert len(found) == 4 and len(set(found)) == 4
    assert texts == rl.PromptSampler(toy, problems).draw(3, 8)[1]
    assert texts != requests.draw(4, 8)[1]
    assert [t for t in texts if "Problem" in t] == [p.question for p in found]
    assert rl.PromptSampler(toy).draw(3, 8)[0][4:] == asked[4:]


def test_problems_leave_room_for_an_answer(problems, own_data, tokenizer):
    tight = replace(problems, context=2 * 30)
    assert tight.longest == 30
    questions = [p.question for p in tight.draw(60, random.Random(0))]
    assert 0 < len(questions) < 60
    chat = ChatTemplate(tokenizer)
    assert all(len(chat.prompt(q)) <= 30 for q in questions)


def test_each_request_is_judged_by_its_own_verifier(tokenizer):
    chat, request = ChatTemplate(tokenizer), kitchen.Request(identity="Who are you?")
    answers = ["I am a kitchen assistant. 72", "I am a kitchen assistant. 72"]
    problem = gsm8k.Problem("How many?", Decimal(72))
    scores = judge_answers([request, problem], chat, [chat.answer(a) for a in answers])
    assert isinstance(scores[0], kitchen.Score) and isinstance(scores[1], gsm8k.VerifierScore)
    assert scores[0].wellformed and scores[1].right


def test_some_steps_of_grpo_on_both(toy, problems, tokenizer):
    model, _, _ = toy.latest("sft", mine=False)
    before = [p.clone() for p in model.parameters()]
    seen = {}
    job = rl.grpo(toy, model, tokenizer, problems=problems, on_rollouts=seen.__setitem__,
                  extra_reward=lambda request, answer: 0.01 * len(answer))  # fmt: skip
    assert [record["step"] for record in job.log] == [1, 2]
    assert all(0 <= record["solved"] <= 1 for record in job.log)
    assert job.meta["problems"] == [0.5, 60]
    parts = [set(rollout.parts) for rollouts in seen.values() for rollout in rollouts]
    assert {"right", "stated"} in parts and set(kitchen.RULES) in parts
    moved = [not b.equal(p) for b, p in zip(before, model.parameters(), strict=True)]
    assert any(moved)


def test_an_answer_may_be_longer_than_the_kitchens(toy, problems, tokenizer):
    model = toy.build(replace(toy.profile.model, vocab_size=tokenizer.vocab_size))  # says anything
    answers = generate_answers(
        model, ChatTemplate(tokenizer), ["How many?"] * 4, max_new_tokens=problems.longest
    )
    assert 64 < max(map(len, answers)) <= problems.longest == 256


def test_solved_is_measured_on_the_test_split(toy, own_data, tokenizer):
    model, _, _ = toy.latest("sft", mine=False)
    chat, context = ChatTemplate(tokenizer), toy.profile.model.max_seq_len
    test = gsm8k.load_problems({"gsm8k": 0.5}, own_data, chat, context).held_out()
    assert len(test.rows) == 20 and test.held_out() is None
    assert 0 <= gsm8k.solve_rate(model, tokenizer, test, n=4) <= 1
    assert gsm8k.solve_rate(model, tokenizer, replace(test, context=20)) is None  # none has room
