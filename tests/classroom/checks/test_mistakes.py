"""What learners get wrong, made out of the notebook's own solution, and the sentence for it.

That each sentence of a check can be reached, and none hides another, stands in test_checks.py.
"""

import re

import pytest

from llmlab.classroom import verdict
from llmlab.classroom.exercises import WRONG

# exercise -> what is written in the solution, what is written instead, a part of the sentence
EDITS = {
    "00.share": [
        ("sum(bill", "max(bill", "the dearest one"),
        ("bill[stage] /", "bill['pretraining'] /", "Does the answer use `stage`?"),
        ("bill.values())", "bill.values()) + 0 * bill.pop(stage)", "changes `bill`"),
        ("bill[stage] / sum(bill.values())", "round(bill[stage] / sum(bill.values()), 2)", "small"),
    ],
    "00.params": [
        ("3 * c.dim", "2 * c.dim", "SwiGLU"),
        ("c.n_layers * (", "(", "Only one layer"),
        (" + c.dim\n", "\n", "The last norm"),
        ("1 if c.tie_embeddings else 2", "2", "the same table serves twice"),
        (" * c.qk_norm", "", "Where `qk_norm` is False"),
    ],
    "00.hours": [
        ("/ 3600", "", "Those are seconds"),
        ("* utilisation", "/ utilisation", "takes longer, not shorter"),
        ("* utilisation", "* (1 - utilisation)", "The number of hours, for 7"),
        ("* tokens", "", "is too small"),
    ],
    "00.chats": [
        ("2 * c.n_layers", "c.n_layers", "twice too many"),
        ("memory - 2 * n", "memory - 16 * n", "The number is too small"),
        ("c.n_kv_heads", "c.n_heads", "fewer of these than of query heads"),
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
    "01.precision": [
        ("precision, recall\n", "recall, precision\n", "the other way round"),
        (" if removed else 1.0", " if removed else 0.0", "does nothing wrong"),
        ("right = ", "removed |= dirt; removed &= {1, 4, 5}; right = ", "changes `removed`|The"),
    ],
    "01.temperature": [
        ("size**alpha", "size ** (1 / alpha)", "even larger"),
        ("power / sum(powers.values())", "power", "shares sum to 1"),
        ("powers = {", "sizes.pop('x', 0); powers = {", "changes `sizes`"),
    ],
    "02.pairs": [
        ("+= times", "+= 1", "as often as it occurs"),
        ("+= times", "= times", "wipes out"),
        ("    return", "        return", "Only the first word"),
        ("counts[pair]", "counts[tuple(sorted(pair))]", "Do not sort it"),
        ("ids[1:]", "ids[:1]", "dictionary of counts"),
    ],
    "02.encode": [
        ("item[1])", "-item[1])", "The latest merges go first"),
        ("            i += 1", "            i += 2", "For '.*'"),
        ("i = 0", "i = 1", "Do not stop too early|another order"),
        ("(ids[i], ids[i + 1]) == pair", "ids[i : i + 2] == [*pair] and pair != (97, 97)", "'aaa'"),
    ],
    "02.dollars": [
        ("/ 1e6", "/ 1e3", "not for a thousand"),
        ("for text in texts)", "for text in [''.join(texts)])", "two short texts is too small"),
        ("encoding.encode", "gpt2.encode", "two short texts is too small"),
        ("for text in texts)", "for text in texts[-1:])", "Only the last text"),
    ],
    "02.prompt": [
        ("*bpe.encode(text)", "bpe.encode(text)", "a list inside"),
        ("bpe.encode(text)", "bpe.encode(text.strip())", "blanks"),
        ('bpe.special("<|user|>")', "278", "Each has ids of its own"),
        ('bpe.special("<|user|>")', "999", "begins with 999"),
        (', bpe.special("<|assistant|>")', "", "its turn"),
    ],
    "03.gradient": [("+= row", "= row", "keeps the last alone"), ("+= row", "-= row", "sign")],
    "03.rotate": [
        ("cos * x - sin * y, ", "cos * x + sin * y, ", "leaves the length"),
        ("    return", "    x = cos * x - sin * y\n    return", "length of the pair|new x"),
        ("x, y = pair", "x, y = pair; frequency = 1", "speed of its own"),
    ],
    "03.nearest": [
        ("if j != i", "", "its own nearest"),
        ("[:n]", "[: n - 1]", "One is missing"),
        ("[:n]", "[:4]", "One too many|one too many"),
        ("[j for j in order if j != i][:n]", "order[1:6]", "5 come back"),
        ("unit = table /", "table /= table.norm(dim=1, keepdim=True); unit = table /", "`table`"),
    ],
    "03.analogy": [
        ("cosines[[a, b, c]] = -torch.inf", "pass", "one of the three words"),
        (" / table.norm(dim=1, keepdim=True)", "", "Another row is nearer"),
        ("dim=1", "dim=0", "Another row is nearer"),
        ("cosines[[a, b, c]] = -torch.inf",
         "cosines = cosines[[j for j in range(len(table)) if j not in (a, b, c)]]", "Another row"),
        ("unit[a] - unit[b]", "unit[b] - unit[a]", "have changed places"),
    ],
    "04.rms_norm": [
        (" * weight", "", "The weight is missing"),
        ("x.square()", "x.detach().square()", "not the right gradient"),
        (" * weight", " * weight + 0 * x.mul_(2)", "changes `x`|gradient fails"),
    ],
    "04.attention": [
        ("hd**0.5", "4**0.5", "right shape"),
        ("hd**0.5", "T**0.5", "a root of T"),
        ("triu(1)", "triu(0)", "holds nan|see itself"),
        ("softmax(-1)", "softmax(0)", "wrong axis|holds nan"),
        ("v\n", "v.detach()\n", "not the right gradient"),
    ],
    "04.rate": [
        ("(step + 1)", "step", "Count from 1"),
        ("(steps - step)", "(steps - 1 - step)", "one step early"),
        ("min(1.0, rise, fall)", "min(rise, fall)", "level part is too large"),
    ],
    "04.nucleus": [
        ("before < p", "ranked.cumsum(0) <= p", "carries the sum over p"),
        ("kept / kept.sum()", "kept", "does not sum to 1"),
        ("kept[order] = ranked", "kept[:] = ranked", "but sorted"),
    ],
    "05.conversation": [
        (", end]", "]", "The end is missing"),
        ("user, *", "*", "where the user begins"),
        ("encode(answer)", "map(str, encode(answer))", "texts among the ids"),
    ],
    "05.answer_mask": [
        ("in ids[:-1]", "in ids", "the last id has no next one"),
        ("(answering and i != end)", "answering", "Once the first answer"),
        ("and i != end", "and i != 3", "wrong for another|cut off"),
    ],
    "05.asked_first": [
        ("[:number]", "", "The number is not kept"),
        ("others = [food for food in foods if food not in asked]",
         "others = list(foods)\n    for f in others:\n        if f in asked: others.remove(f)",
         "neighbours"),
        ("others = [", "foods.sort(); others = [", "changes `foods`|sorted"),
    ],
    "05.lora": [
        (" / len(down)", "", "alpha alone"),
        ("(x @ down.T) @ up.T", "x @ (up @ down).T", "as large as `weight`"),
        ("up.T", "up.detach().T", "not the right gradient"),
    ],
    "06.preference_loss": [
        ("chosen - rejected", "rejected - chosen", "The sign"),
        (".mean()", ".mean().item()", "no gradient"),
        ("    return -F.logsigmoid(chosen - rejected).mean()",
         "    loss = -F.logsigmoid(chosen - rejected).mean()\n    loss.backward()\n    return loss",
         "gradient fails: Trying to backward through the graph a second time"),
        ("F.logsigmoid(chosen - rejected)", "torch.sigmoid(chosen - rejected).log()", "400 apart"),
        ("chosen - rejected", "chosen - rejected.detach()", "not the right gradient"),
    ],
    "06.calibration": [
        ("for k in range(bins)", "for k in dict.fromkeys(min(int(q * bins), 3) for q in p)",
         "another order"),
        ("if min(int(q * bins), bins - 1) == k", "if k / bins < q <= (k + 1) / bins",
         "exactly 0 is missing"),
        ("min(int(q * bins), bins - 1)", "int(q * bins)", "exactly 1"),
    ],
    "06.more_wins": [
        (" if c != r", "", "counted as lost"),
        ("return", "return 0.5 #", "too small"),
    ],
    "06.swap_food": [
        ("item == old", "old in item", "right up to place 18 .* yours has 'l'"),
        ("}.\"", "}\"", "full stop"),
    ],
    "07.reinforce": [
        (" - probs", "", "nothing is taken from the others"),
        (".mean(0)", ".sum(0)", "adds up over the draws"),
    ],
    "07.clipped": [
        ("-(gains", "(gains", "The sign"),
        ("torch.minimum", "torch.maximum", "The larger"),
        ("mask.sum()", "mask.numel()", "still count in the mean"),
        ("-(gains * mask).sum()", "-(gains * mask).sum().item()", "no gradient"),
        ("logp - old", "logp.detach() - old", "no gradient"),
        ("held = ratio.clamp", "held = ratio.detach().clamp", "not the right gradient"),
    ],
    "07.nothing_twice": [
        ("len(set(items)) /", "1 - len(set(items)) /", "share of repeats"),
        (" if items else 1.0", "", "ZeroDivisionError"),
    ],
    "07.loophole": [
        (", olive oil", ", {foods[0]}", "something comes twice"),
        ("', '.join(foods)", "foods[0]", "only a part"),
    ],
    "08.number_kept": [
        ("s.number == 1", "s.number", "share is too large|The share"),
        ("s.wellformed == 1 and ", "", "no dish counts"),
        (" is not None", " is None", "The share"),
        ("return", "return 0.5 #", "The share is too small"),
        ("max(1, len(asking))", "len(scores)", "of all requests"),
    ],
    "08.difference": [
        ("torch.tensor(after) - torch.tensor(before)", "torch.tensor(after)", "second model's own"),
        ("0.025, 0.975", "0.16, 0.84", "too narrow"),
        ("low, high\n", "high, low\n", "above the high one"),
    ],
    "08.grpo_flops": [
        (" + 6 * n * taught", " + 6 * n", "All answers are learned from"),
        ("2 * n * tokens + 2", "2", "One look is missing"),
    ],
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
