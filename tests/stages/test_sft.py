"""SFT's examples: what a lesson may take away is gone, and nothing else."""

import os
import random
import signal
from dataclasses import replace

from llmlab import artifacts, kitchen, lab
from llmlab.chat import Batch
from llmlab.core.optim import learning_rate
from llmlab.corpus.corpus import read_recipes
from llmlab.stages.sft import Examples, rate, tune

HOUSE = read_recipes(artifacts.data_dir() / "house" / "recipes.json")
CARDS = [r.card() for r in HOUSE if r.card()]


def drawn(chat, n=200, **how):
    """(request, answer) texts of n examples, identity questions left out."""
    rng, examples = random.Random(0), Examples(CARDS, chat, 1, **how)
    pairs = [examples.pair(rng) for _ in range(n)]
    texts = [(chat.tokenizer.decode(p[1:-1]), chat.read(a)) for p, a in pairs]
    return [(r, a) for r, a in texts if "assistant" not in a]


def test_asked_foods_come_first_unless_the_order_is_the_recipes(chat):
    def first(request, answer) -> bool:
        asked = kitchen.names(kitchen.parse_request(request).foods)
        return kitchen.read_answer(answer)[1][: len(asked)] == asked

    assert all(first(*pair) for pair in drawn(chat))
    plain = drawn(chat, asked_first=False)
    assert sum(first(*pair) for pair in plain) < 0.5 * len(plain)
    assert all(kitchen.judge(*pair).kept for pair in plain)


def test_without_swaps_the_order_is_the_cards_own(chat):
    order = {card.title: kitchen.names(card.foods) for card in CARDS}
    known = []
    for request, answer in drawn(chat, swap_rate=0.0, asked_first=False):
        title, items = kitchen.read_answer(answer)
        if title in order and "vegetarian" not in request:
            known.append(items == [f for f in order[title] if f in items])
    assert len(known) > 50 and all(known)


def test_without_the_mask_all_but_the_first_id_is_learned(chat):
    masked, whole = (Examples(CARDS, chat, 1, mask=mask) for mask in (True, False))
    for seed in range(20):
        prompt, answer = masked.pair(random.Random(seed))
        assert whole.pair(random.Random(seed)) == ([chat.user], [*prompt[1:], *answer])
    batch = Batch.of([whole.pair(random.Random(0))])
    assert batch.mask.sum() == len(sum(whole.pair(random.Random(0)), [])) - 1


def test_a_limit_is_how_many_examples_there_are(chat):
    few = Examples(CARDS, chat, 1, limit=7)
    seen = {str(few.pair(random.Random(i))) for i in range(200)}
    assert len(seen) == 7
    assert seen != {
        str(Examples(CARDS, chat, 2, limit=7).pair(random.Random(i))) for i in range(200)
    }


def test_a_long_run_has_the_lower_rate_and_a_short_one_all_of_it():
    assert rate(50, 100) == rate(20, 40) == learning_rate(50, 100) == 1
    assert rate(200, 400) == 0.5 and rate(399, 400) == learning_rate(399, 400) / 2


def test_batches_are_a_pure_function_of_seed_and_step(chat):
    a, b = (Examples(CARDS, chat, 3) for _ in range(2))
    assert [a.batch(step, 4) for step in (9, 0)] == [b.batch(step, 4) for step in (9, 0)]
    assert a.batch(0, 4) != Examples(CARDS, chat, 4).batch(0, 4)


def test_a_half_done_run_goes_on_from_the_same_start_alone(tmp_path, capsys):
    made = replace(lab.setup("class-toy", runs_dir=tmp_path), steps=4)
    config = replace(made.profile.model, vocab_size=made.tokenizer().vocab_size)

    def tuned(seed, on_step=None):
        return tune(made, replace(made, seed=seed).build(config), made.tokenizer(), on_step=on_step)

    def stop(record):
        if record["step"] == 2:
            os.kill(os.getpid(), signal.SIGINT)

    assert tuned(1, stop).step == 2
    seen = []
    assert tuned(1, lambda record: seen.append(record["step"])).step == 4
    assert seen == [3, 4]
    assert tuned(1, stop).step == 2 and "another run" not in capsys.readouterr().out
    seen.clear()
    tuned(2, lambda record: seen.append(record["step"]))  # the parent was made anew
    assert seen == [1, 2, 3, 4] and "another run" in capsys.readouterr().out
