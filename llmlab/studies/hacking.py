"""GRPO on a reward that reads well and has a hole: it counts how often an answer names what was
asked for, and does not say that once is enough."""

from dataclasses import replace

from llmlab.chat import evaluate
from llmlab.kitchen import parse_request, read_answer
from llmlab.lab import Lab
from llmlab.stages import rl
from llmlab.studies import study
from llmlab.studies.rl import curve, say_answers
from llmlab.training import loop

STEPS = 40
KL_COEF = 0.01  # looser than GRPO's own: with that, one seed of three had hardly found the hole
MOST = 5  # entries that are paid for


def counted(request: str, answer: str) -> float:
    """How many entries of an answer's list were asked for, as a share of `MOST`; 1 at the most."""
    asked = {food.name for food in parse_request(request).foods}
    _, items = read_answer(answer)
    return min(1.0, sum(item in asked for item in items) / MOST)


def nothing(score) -> float:
    """What the rules pay: nothing."""
    return 0.0


@study("hacking", arms=("counted",), seeds=(1, 2, 3), starts_from=("sft",),
       settings={"steps": STEPS, "kl_coef": KL_COEF, "most": MOST})  # fmt: skip
def run(lab: Lab, arm: str, seed: int) -> dict:
    """Curves of a run, what it says at the end, and its report card."""
    lab = replace(lab, steps=lab.steps or lab.profile.max_steps or STEPS)
    model, tokenizer, _ = lab.latest("sft", mine=False)
    job = loop.require_finished(
        rl.grpo(lab, model, tokenizer, nothing, kl_coef=KL_COEF, extra_reward=counted)
    )
    names = ("step", "reward", "once", "kept", "kl", "length")
    return {
        "curves": {name: curve([record[name] for record in job.log]) for name in names},
        "answers": say_answers(model, tokenizer),
        "cpu_seconds": round(job.cpu_seconds, 1),
        **evaluate(model, tokenizer),
    }
