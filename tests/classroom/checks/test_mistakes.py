"""What learners get wrong, made out of the notebook's own solution, and the sentence for it.

Here are the mistakes that no table of a check names: what is told of them must not mislead.  Those
of the tables, edited inputs and lost gradients are tried for all exercises in test_checks.py, the
intervals of 08 in test_cases.py.
"""

import re

import pytest

from llmlab.classroom import verdict
from llmlab.classroom.exercises import WRONG

# exercise -> what is written in the solution, what is written instead, a part of the sentence
EDITS = {
    "00.share": [
        ("bill[stage] /", "bill['pretraining'] /", "Does the answer use `stage`?"),
        ("bill[stage] / sum(bill.values())", "round(bill[stage] / sum(bill.values()), 2)", "small"),
    ],
    "00.hours": [
        ("* utilisation", "* (1 - utilisation)", "The number of hours, for 7"),
        ("* tokens", "", "is too small"),
    ],
    "00.chats": [
        ("memory - 2 * n", "memory - 16 * n", "The number is too small"),
        ("max(0, int(", "(int(", "not even the weights"),
    ],
    "01.stop_words": [
        (".lower()", "", "Capitals"),
        (r're.findall(r"\w+", text.lower())', "text.lower().split()", "bracket or a comma"),
        (">= 2", ">= 1", "A single stop word"),
    ],
    "01.leaks": [
        ("any(", "all(", "one leak is enough"),
        ("for asked in exam)", "for asked in exam[:1])", "Only the first exam text"),
        ("runs(text, n)", "runs(text[: text.rfind(' ')], n)", "A page of just n words"),
        ("n) & runs(asked, n)", "n - 1) & runs(asked, n - 1)", "shorter than n words"),
        ("runs(text, n) & runs(asked, n)", "runs(text, 8) & runs(asked, 8)", "use n"),
    ],
    "01.precision": [(" if removed else 1.0", " if removed else 0.0", "does nothing wrong")],
    "02.pairs": [
        ("counts[pair]", "counts[tuple(sorted(pair))]", "Do not sort it"),
        ("ids[1:]", "ids[:1]", "dictionary of counts"),
    ],
    "02.encode": [
        ("            i += 1", "            i += 2", "For '.*'"),
        ("i = 0", "i = 1", "Do not stop too early|another order"),
        ("(ids[i], ids[i + 1]) == pair", "ids[i : i + 2] == [*pair] and pair != (97, 97)", "'aaa'"),
    ],
    "02.dollars": [
        ("for text in texts)", "for text in [''.join(texts)])", "two short texts is too small"),
        ("encoding.encode", "gpt2.encode", "two short texts is too small"),
    ],
    "02.prompt": [
        ("*bpe.encode(text)", "bpe.encode(text)", "a list inside"),
        ("bpe.encode(text)", "bpe.encode(text.strip())", "blanks"),
        ('bpe.special("<|user|>")', "278", "Each has ids of its own"),
        ('bpe.special("<|user|>")', "999", "begins with 999"),
    ],
    "03.rotate": [
        ("cos * x - sin * y, ", "cos * x + sin * y, ", "leaves the length"),
        ("    return", "    x = cos * x - sin * y\n    return", "length of the pair|new x"),
    ],
    "03.nearest": [("[j for j in order if j != i][:n]", "order[1:6]", "5 come back")],
    "03.analogy": [
        (" / table.norm(dim=1, keepdim=True)", "", "Another row is nearer"),
        ("dim=1", "dim=0", "Another row is nearer"),
        ("cosines[[a, b, c]] = -torch.inf",
         "cosines = cosines[[j for j in range(len(table)) if j not in (a, b, c)]]", "Another row"),
    ],
    "04.rms_norm": [("x.square()", "x.detach().square()", "not the right gradient")],
    "04.attention": [
        ("hd**0.5", "4**0.5", "right shape"),
        ("triu(1)", "triu(0)", "holds nan|see itself"),
    ],
    "04.rate": [("min(1.0, rise, fall)", "min(rise, fall)", "level part is too large")],
    "05.conversation": [("encode(answer)", "map(str, encode(answer))", "texts among the ids")],
    "05.answer_mask": [("and i != end", "and i != 3", "wrong for another|cut off")],
    "05.asked_first": [
        ("others = [food for food in foods if food not in asked]",
         "others = list(foods)\n    for f in others:\n        if f in asked: others.remove(f)",
         "neighbours"),
    ],
    "05.lora": [("(x @ down.T) @ up.T", "x @ (up @ down).T", "as large as `weight`")],
    "06.preference_loss": [
        ("    return -F.logsigmoid(chosen - rejected).mean()",
         "    loss = -F.logsigmoid(chosen - rejected).mean()\n    loss.backward()\n    return loss",
         "gradient fails: Trying to backward through the graph a second time"),
        ("F.logsigmoid(chosen - rejected)", "torch.sigmoid(chosen - rejected).log()", "400 apart"),
    ],
    "06.calibration": [
        ("for k in range(bins)", "for k in dict.fromkeys(min(int(q * bins), 3) for q in p)",
         "another order"),
        ("if min(int(q * bins), bins - 1) == k", "if k / bins < q <= (k + 1) / bins",
         "exactly 0 is missing"),
        ("min(int(q * bins), bins - 1)", "int(q * bins)", "exactly 1"),
    ],
    "06.swap_food": [("item == old", "old in item", "right up to place 18 .* yours has 'l'")],
    "07.clipped": [("held = ratio.clamp", "held = ratio.detach().clamp", "not the right gradient")],
    "07.nothing_twice": [(" if items else 1.0", "", "ZeroDivisionError")],
    "07.loophole": [
        (", olive oil", ", {foods[0]}", "something comes twice"),
        ("', '.join(foods)", "foods[0]", "only a part"),
    ],
    "08.number_kept": [
        ("s.number == 1", "s.number", "share is too large|The share"),
        (" is not None", " is None", "The share"),
    ],
    "08.difference": [("low, high\n", "high, low\n", "above the high one")],
    "08.hf_name": [
        ('"mlp_norm": "post_attention_layernorm", ', "", "another name"),
        ('"head": "lm_head"', "", "head|name"),
    ],
}  # fmt: skip
CASES = [(exercise, *edit) for exercise, edits in EDITS.items() for edit in edits]


@pytest.mark.parametrize(("exercise", "old", "new", "said"), CASES)
def test_a_mistake_is_told(exercise, old, new, said, solution):
    mark, sentence = verdict(exercise, solution(exercise, (old, new)))
    assert mark == WRONG and re.search(said, sentence), sentence
