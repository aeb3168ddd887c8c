"""Toy runs of every loop, with all that they start from made anew: milliseconds a step.

The loops are the real ones; the model has some ten thousand random weights and writes letters at
random, so what GRPO is paid for is a letter.  Started as a program this file lets runs live that
may die, as `tests/training/test_loop.py` has it.
"""

import random
from functools import cache, partial
from pathlib import Path

import pytest
import torch

from llmlab import chat as chat_module
from llmlab import lab
from llmlab.chat import ChatTemplate
from llmlab.core.tokenizer import BPE
from llmlab.datasets import preference_pairs
from llmlab.stages import dpo, reward, rl, sft
from llmlab.training import loop, model_copies
from tests.training import test_loop as reliability
from tests.training.test_loop import NEVER

STEPS = 8
TOKENIZER = BPE(())
LOOPS = ("sft", "reward", "dpo", "grpo", "ppo", "last")  # and pretraining, which is there already


@cache
def requests(n: int, seed: int) -> list:
    """Requests from our own recipes, the same for each run of this process."""
    return reward.training_requests(reliability.toy(Path("unused")), n, seed)


@cache
def pairs() -> list[preference_pairs.Pair]:
    """Cards of our own recipes, compared by the toss of a coin."""
    chat, rng = ChatTemplate(TOKENIZER), random.Random(0)
    cards = [chat.answer(r.card().text()) for r in reliability.house().recipes if r.card()]
    return [preference_pairs.Pair("I have rice.", *rng.sample(cards, 2), True) for _ in range(40)]


def judge(model) -> reward.RewardModel:
    """A reward model of random taste."""
    made = reward.RewardModel(model_copies.truncate_layers(model), TOKENIZER)
    torch.nn.init.normal_(made.head.weight, generator=torch.Generator().manual_seed(1))
    return made


def letters(request: str, answer: str) -> float:
    return answer.count("e") + answer.count(" ")


def start(name: str, made: lab.Lab, on_step=None) -> loop.TrainState:
    """Begin, or go on with, the loop of that name, from the weights that it always starts from."""
    model, how = made.build(), {"on_step": on_step}
    if name == "sft":
        return sft.tune(made, model, TOKENIZER, **how)
    if name == "reward":
        return reward.train_reward(made, model, TOKENIZER, pairs(), **how)[1]
    if name == "dpo":
        return dpo.dpo(made, model, TOKENIZER, pairs(), **how)
    if name == "grpo":
        return rl.grpo(made, model, TOKENIZER, extra_reward=letters, **how)
    if name == "ppo":
        return rl.ppo(made, model, TOKENIZER, judge(model), **how)
    return rl.grpo(
        made,
        model,
        TOKENIZER,
        name="last",
        extra_reward=letters,
        preference_model=judge(model),
        **how,
    )


def train(name: str, made: lab.Lab, on_step=None, save_every=NEVER) -> loop.TrainState:
    """`start`, on our own recipes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sft, "load_corpus", reliability.house)
        patch.setattr(chat_module, "MAX_ANSWER", 12)
        patch.setattr(rl, "training_requests", lambda lab, n, seed: requests(n, seed))
        patch.setattr(loop, "run", partial(loop.run, save_every=save_every))
        return start(name, made, on_step)


def live(folder: str, name: str, save_every=NEVER, **fate) -> None:
    """A run with its fate."""
    train(
        name, reliability.toy(Path(folder), STEPS), reliability.fateful(STEPS, **fate), save_every
    )


if __name__ == "__main__":
    sft.load_corpus = reliability.house
    requests(4000, reliability.toy(Path("unused")).seed + 1)  # once, and not in each child
    reliability.serve(live)
