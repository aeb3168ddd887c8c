"""Single exercises: other ways that are right; the checks' own answers are the package's."""

from collections import Counter
from statistics import mean

import pytest
import torch
import torch.nn.functional as F

from llmlab.classroom import verdict
from llmlab.classroom.checks import nb03_embedding, nb07_rl
from llmlab.classroom.exercises import RIGHT, WRONG
from llmlab.core.model import apply_rope, rope_table
from llmlab.core.tokenizer import BPE, train_bpe
from llmlab.stages import costs, embedding

# --- Other ways that are right --------------------------------------------------------------


def plain_dict(words):
    counts = {}
    for ids, times in words.items():
        for i in range(len(ids) - 1):
            counts[ids[i], ids[i + 1]] = counts.get((ids[i], ids[i + 1]), 0) + times
    return counts


def one_by_one(ids, merges):
    """Again and again the earliest pair that is there, one place at a time."""
    ids = list(ids)
    while True:
        places = [i for i in range(len(ids) - 1) if (ids[i], ids[i + 1]) in merges]
        if not places:
            return ids
        i = min(places, key=lambda i: (merges[ids[i], ids[i + 1]], i))
        ids[i : i + 2] = [merges[ids[i], ids[i + 1]]]


def by_the_package(ids, merges):
    return BPE(tuple(merges), specials=()).encode(bytes(ids).decode())


def joined(text, bpe):
    return (bpe.special("<|user|>"),) + tuple(bpe.encode(text)) + (bpe.special("<|assistant|>"),)


def by_formula(before, after):
    """The interval without drawing."""
    changes = torch.tensor(after) - torch.tensor(before)
    half = 1.96 * changes.std() / len(changes) ** 0.5
    return (changes.mean() - half).item(), (changes.mean() + half).item()


HERBS = ("parsley", "thyme", "basil", "mint", "kale", "spinach")


def dish(foods, *more):
    return f"A Dish: {', '.join([*foods, *more])}."


OTHER_WAYS = [
    ("02.pairs", plain_dict),
    ("02.encode", one_by_one),
    ("02.encode", by_the_package),
    ("02.dollars", lambda texts, e, p: p * sum(map(len, e.encode_ordinary_batch(texts))) / 10**6),
    ("02.prompt", joined),
    ("04.rms_norm", lambda x, weight, eps: F.rms_norm(x, x.shape[-1:], weight, eps)),
    ("06.preference_loss", lambda c, r: F.softplus(r - c).sum() / len(c)),
    ("08.difference", by_formula),
    # any rule that is not paid for is a loophole
    ("07.loophole", lambda foods, n: dish(foods, *HERBS)),
    ("07.loophole", lambda foods, n: ", ".join(foods)),
    ("07.loophole", lambda foods, n: dish(foods)[:-1]),
]


@pytest.mark.parametrize(("exercise", "answer"), OTHER_WAYS)
def test_other_right_answers_are_right_too(exercise, answer):
    assert verdict(exercise, answer)[0] == RIGHT


@pytest.mark.parametrize("kind", [torch.tensor, tuple, lambda mask: [int(m) for m in mask]])
def test_a_mask_may_be_a_tensor_or_hold_noughts_and_ones(kind, solution):
    mask = solution("05.answer_mask")
    assert verdict("05.answer_mask", lambda *given: kind(mask(*given)))[0] == RIGHT


# --- The checks' own answers are the package's ----------------------------------------------


def test_the_solution_of_params_holds_for_published_shapes_too(solution):
    assert solution("00.params")(costs.published("Llama 3.1 8B").shape) == 8_030_261_248


def test_the_solution_encodes_like_the_package_on_real_words(solution):
    bpe = train_bpe("stir the soup, stir the stew, then stir the rice", 272, specials=())
    for word in (" stirring", "the", "soups", "rhetoric"):
        ids = list(word.encode())
        assert solution("02.encode")(ids, bpe.ranks) == bpe._encode_chunk(word.encode())


def test_neighbours_analogies_and_rotation_are_the_packages(solution):
    words, near = nb03_embedding.WORDS, nb03_embedding.NEAR
    own = embedding.analogy(F.normalize(words, dim=1), 39, 51, 32, 1)[0]
    assert solution("03.analogy")(words, 39, 51, 32) == own
    own = embedding.neighbours(F.normalize(near, dim=1), 4, 3)
    assert solution("03.nearest")(near, 4, 3) == own
    turned = apply_rope(torch.tensor([[3.0, 1.0]]).expand(5, 2), rope_table(5, 2, 10000.0))
    assert torch.allclose(turned[4], torch.tensor(solution("03.rotate")((3.0, 1.0), 4, 1.0)))


def test_tables_are_the_same_on_every_machine():
    assert nb03_embedding.table_of(15, 12, 3)[0].tolist() == [9, -9, 4]


# --- Single rules ---------------------------------------------------------------------------


def test_a_typed_special_token_is_told_without_an_error_of_the_tokenizer(solution):
    def let_in(text, bpe):
        whole = f"<|user|>{text}<|assistant|>"
        return bpe.to_tiktoken().encode(whole, allowed_special="all")

    assert "the real one" in verdict("02.prompt", let_in)[1]


def test_a_run_takes_the_learners_term_once_it_is_right(capsys, solution):
    def open_gap(request, answer):
        raise NotImplementedError()

    right, ours = solution("07.nothing_twice"), nb07_rl.once_share
    assert nb07_rl.yours("07.nothing_twice", right, ours) is right
    for other in (open_gap, lambda q, t: 1.0, None):
        assert nb07_rl.yours("07.nothing_twice", other, ours) is ours
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "07.nothing_twice: yours." and said[1].endswith("until yours is right.")


def bootstrap(numbers, ends=(0.025, 0.975), size=None):
    numbers = torch.tensor(numbers)
    size = size or len(numbers)
    means = numbers[torch.randint(len(numbers), (4000, size))].mean(1)
    return tuple(means.quantile(torch.tensor(ends)).tolist())


def minus(a, b):
    return [y - x for x, y in zip(a, b, strict=True)]


def apart(a, b):
    one, two = (torch.tensor(v)[torch.randint(len(v), (4000, len(v)))].mean(1) for v in (a, b))
    return tuple((two - one).quantile(torch.tensor([0.025, 0.975])).tolist())


INTERVALS = {
    "The sign": lambda a, b: bootstrap(minus(b, a)),
    "second model's own": lambda a, b: bootstrap(b),
    "first model's own": lambda a, b: bootstrap(a),
    "a lot of their own": apart,
    "Nothing is drawn anew": lambda a, b: (mean(b) - mean(a),) * 2,
    "single differences": lambda a, b: (min(minus(a, b)), max(minus(a, b))),
    "Those are sums": lambda a, b: tuple(len(a) * end for end in bootstrap(minus(a, b))),
    "too narrow": lambda a, b: bootstrap(minus(a, b), ends=(0.16, 0.84)),
    "too wide": lambda a, b: bootstrap(minus(a, b), size=len(a) // 2),
}


@pytest.mark.parametrize("seed", range(12))
def test_the_draws_decide_no_verdict_and_no_sentence(seed, solution):
    torch.manual_seed(seed)
    assert verdict("08.difference", solution("08.difference"))[0] == RIGHT
    told = {said: verdict("08.difference", wrong) for said, wrong in INTERVALS.items()}
    assert all(mark == WRONG for mark, _ in told.values())
    assert Counter(said in sentence for said, (_, sentence) in told.items()) == {True: 9}, told
