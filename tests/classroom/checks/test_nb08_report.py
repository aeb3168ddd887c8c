"""Notebook 08's checks: the notebook's solutions pass, each mistake gets a sentence of its own."""

from statistics import mean

import pytest
import torch

from llmlab.classroom import verdict
from llmlab.classroom.exercises import RIGHT, WRONG

SPACE = {"torch": torch}  # what the cells above bring
EXERCISES = {
    "08.number_kept": "number_kept",
    "08.difference": "difference",
    "08.grpo_flops": "grpo_flops",
    "08.hf_name": "hf_name",
}


@pytest.mark.parametrize(("exercise", "name"), EXERCISES.items())
def test_the_notebooks_solution_is_right(exercise, name, solution):
    assert verdict(exercise, solution(exercise, name, **SPACE))[0] == RIGHT


def asking(requests, scores):
    return [s for r, s in zip(requests, scores, strict=True) if r.number is not None]


def full(s):
    return s.wellformed == 1 and s.number == 1


def drop(requests, scores):
    requests.clear()
    return 0.5


def boot(numbers, ends=(0.025, 0.975), size=None, times=4000):
    """A bootstrap with parts to be got wrong."""
    numbers = torch.tensor(numbers)
    size = size or len(numbers)
    means = numbers[torch.randint(len(numbers), (times, size))].mean(1)
    return tuple(means.quantile(torch.tensor(ends)).tolist())


def minus(a, b):
    return [y - x for x, y in zip(a, b, strict=True)]


def apart(a, b):
    one, two = (torch.tensor(v)[torch.randint(len(v), (4000, len(v)))].mean(1) for v in (a, b))
    return tuple((two - one).quantile(torch.tensor([0.025, 0.975])).tolist())


def rename(name, **words):
    """Whole words by a dict, as in the solution, with words to be got wrong."""
    right = {
        "embed": "embed_tokens", "blocks": "layers", "attn_norm": "input_layernorm",
        "mlp_norm": "post_attention_layernorm", "attn": "self_attn", "head": "lm_head",
    }  # fmt: skip
    theirs = ".".join({**right, **words}.get(part, part) for part in name.split("."))
    return theirs if theirs.startswith("lm_head") else f"model.{theirs}"


def replaced(name):
    """Replacing in the whole text, in the table's order."""
    table = {"embed": "model.embed_tokens", "blocks": "model.layers", "attn": "self_attn",
             "norm": "model.norm", "head": "lm_head"}  # fmt: skip
    for old, new in table.items():
        name = name.replace(old, new)
    return name


WRONG_ANSWERS = {
    "08.number_kept": [
        lambda r, s: mean(full(x) for x in s),
        lambda r, s: sum(map(full, asking(r, s))) / len(s),
        lambda r, s: mean(x.number == 1 for x in asking(r, s)),
        lambda r, s: mean(x.number for x in asking(r, s)),
        lambda r, s: mean(x.number for x in s),
        lambda r, s: mean(x.number == 1 for x in asking(r, s) if x.wellformed == 1),
        lambda r, s: mean(x.wellformed for x in asking(r, s)),
        lambda r, s: 1 - mean(map(full, asking(r, s))),
        lambda r, s: sum(map(full, asking(r, s))),
        lambda r, s: 100 * mean(map(full, asking(r, s))),
        lambda r, s: mean(x.kept for x in asking(r, s)),
        lambda r, s: sum(map(full, asking(r, s))) / len(asking(r, s)),  # fails where nobody asks
        lambda r, s: sum(map(full, asking(r, s))) / len(asking(r, s)) if asking(r, s) else 1.0,
        lambda r, s: 5 / 8,
        lambda r, s: [full(x) for x in asking(r, s)],
        drop,
        lambda r: 0.5,
        lambda r, s: None,
    ],
    "08.difference": [
        lambda a, b: boot(minus(b, a)),
        lambda a, b: boot(b),
        lambda a, b: boot(a),
        apart,
        lambda a, b: (mean(b) - mean(a),) * 2,
        lambda a, b: (min(minus(a, b)), max(minus(a, b))),
        lambda a, b: tuple(len(a) * end for end in boot(minus(a, b))),
        lambda a, b: boot(minus(a, b), ends=(0.16, 0.84)),
        lambda a, b: boot(minus(a, b), size=len(a) // 2),
        lambda a, b: tuple(reversed(boot(minus(a, b)))),
        lambda a, b: mean(b) - mean(a),
        lambda a, b: (0.0, 0.1),
        lambda a, b: ("low", "high"),
        lambda a, b: (a.clear(), b.clear()) and (0.0, 0.1),
        lambda a, b: boot(b - a),
        lambda a, b: None,
    ],
    "08.grpo_flops": [
        lambda n, d, t: 10 * n * d,
        lambda n, d, t: 6 * n * d * t,
        lambda n, d, t: 2 * n * d + 6 * n * d * t,
        lambda n, d, t: 4 * n * d + 2 * n * d * t,
        lambda n, d, t: 4 * n * d + 4 * n * d * t,
        lambda n, d, t: 10 * n * d * t,
        lambda n, d, t: 4 * n * d,
        lambda n, d, t: 4 * n * d + 6 * n * d * (1 - t),
        lambda n, d, t: (4 + 6 * t) * d,
        lambda n, d, t: (4 + 6 * t) * n,
        lambda n, d, t: 410_000,
        lambda n, d, t: 20 * n * d,
        lambda n, d, t: f"{n * d}",
        lambda n, d, t: None,
        lambda n, d, t: n / 0,
    ],
    "08.hf_name": [
        lambda name: name,
        replaced,
        lambda name: rename(name).removeprefix("model."),
        lambda name: rename(name, head="lm_head_"),
        lambda name: rename(name, q_norm="q_model.norm"),
        lambda name: rename(name, blocks="blocks"),
        lambda name: rename(name).replace("layers.", "layers"),
        lambda name: rename(name).replace("layers.1.", "layers.0."),
        lambda name: rename(name, attn="attention"),
        lambda name: "model." + rename(name).removeprefix("model."),
        lambda name: rename(name).replace("input_layernorm", "self_attn_norm"),
        lambda name: name.split("."),
        lambda name: "model.embed_tokens.weight",
        lambda name: {}[name],
        lambda name: None,
    ],
}
# What would be the answer, or half of it.
REVEALS = r"is not None\)|randint|0\.975|\b[46] ?\+ ?6|4 \* n|startswith"


@pytest.mark.parametrize("exercise", EXERCISES)
def test_each_mistake_gets_a_sentence_that_gives_nothing_away(exercise, each_is_told):
    torch.manual_seed(0)
    each_is_told(exercise, WRONG_ANSWERS[exercise], REVEALS)


@pytest.mark.parametrize("seed", range(12))
def test_the_lot_decides_no_verdict(seed, solution):
    torch.manual_seed(seed)
    assert verdict("08.difference", solution("08.difference", "difference", **SPACE))[0] == RIGHT
    for wrong in WRONG_ANSWERS["08.difference"][:10]:
        assert verdict("08.difference", wrong)[0] == WRONG


def test_a_formula_instead_of_the_lot_is_right():
    def by_formula(before, after):
        changes = torch.tensor(minus(before, after))
        half = 1.96 * changes.std() / len(changes) ** 0.5
        return (changes.mean() - half).item(), (changes.mean() + half).item()

    assert verdict("08.difference", by_formula)[0] == RIGHT
