"""Killed at random points, SFT, the reward model, DPO and reinforcement learning lose nothing.

Pretraining's twenty kills are in tests/training/test_loop.py.
"""

import random
import signal
from collections import Counter

import pytest

from llmlab.profiles import LOOPS
from tests.faults import lives
from tests.training.test_loop import Runner, fates, forks, kept, step_on_disk, toy


@pytest.fixture(scope="module")
def runner():
    made = Runner(lives.__file__)
    yield made
    made.server.stdin.close()
    made.server.wait()


KILLS = {"sft": 2, "reward": 2, "dpo": 2, "grpo": 4, "ppo": 4, "last": 3}


def test_every_loop_is_in_the_table():
    assert set(LOOPS) == {"pretraining", *lives.LOOPS}


@forks
@pytest.mark.parametrize("name", lives.LOOPS)
def test_a_loop_killed_again_and_again_ends_as_an_unbroken_one(name, runner, tmp_path):
    """17 kills: weights, optimiser, data order and dice are those of a run that nothing befell;
    the log tells of each step's data and dice."""
    whole, made = toy(tmp_path / "whole", lives.STEPS), toy(tmp_path / "broken", lives.STEPS)
    assert runner(whole, at=lives.STEPS + 1, name=name)[::3] == (0, [])
    rng, ends = random.Random(name), Counter()
    for fate in [*fates(rng, KILLS[name], lives.STEPS), {"at": lives.STEPS + 1}]:
        done = step_on_disk(made, name)
        end, steps, _, said = runner(made, **fate, name=name, save_every=0)
        assert steps[0] == done + 1 and not said
        ends[end] += 1
    assert ends[0] == 1 and ends[-signal.SIGKILL] + ends[-signal.SIGXFSZ] == KILLS[name]
    assert kept(made, name) == kept(whole, name)
    log = kept(made, name)[f"{name}.safetensors"][1]["log"]
    assert len({tuple(record.items()) for record in log}) == lives.STEPS, "the steps are all alike"
