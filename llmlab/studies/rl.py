"""Reinforcement learning at length: the rules, a taste with a leash, and a taste without.

rules: GRPO on all rules.  kl, no-kl: PPO against the reward model, with the class's KL term and
without any.  All start from the SFT model.
"""

from collections import Counter
from dataclasses import replace
from statistics import mean, pstdev

from llmlab import kitchen
from llmlab.artifacts import LabError
from llmlab.chat import ChatTemplate, Sample, answer_requests, evaluate, generate_answers
from llmlab.core.model import Transformer
from llmlab.core.tokenizer import BPE
from llmlab.kitchen import read_answer
from llmlab.lab import Lab
from llmlab.stages import rl
from llmlab.stages.reward import load_reward
from llmlab.studies import load_study, study
from llmlab.training import loop, model_copies

STEPS = {"rules": 80, "kl": 60, "no-kl": 90}
POINT = 2  # steps whose mean is a point of a curve
KEPT = 4  # times at which answers are kept, beside the first step
TRIES = 32  # answers to each of 64 requests, for pass@k
ASKED = (
    "I have chicken, lemon and rice. Suggest a dish of 6 ingredients.",
    "Give me a vegetarian dish of 7 ingredients with potatoes.",
    "What can I cook with chocolate, cod and mint?",
)
SETTINGS = {"steps": STEPS, "point": POINT, "kept": KEPT, "tries": TRIES, "asked": ASKED}


@study("rl", arms=tuple(STEPS), seeds=(1, 2, 3, 4, 5),
       starts_from=("base", "sft", "reward"), settings=SETTINGS)  # fmt: skip
def run(lab: Lab, arm: str, seed: int) -> dict:
    """Curves of a run (a point for every `POINT` steps), what it says, and its report card."""
    steps = lab.steps or lab.profile.max_steps or STEPS[arm]
    lab = replace(lab, steps=steps)
    model, tokenizer, _ = lab.latest("sft", mine=False)
    before, answers, alike = model_copies.reference_copy(model), [], {}

    def look(record: dict) -> None:
        if record["step"] % -(-steps // KEPT) == 0 or record["step"] in (1, steps):
            answers.append({"step": record["step"], "texts": say_answers(model, tokenizer)})

    def count(step: int, rollouts: list[Sample]) -> None:
        alike[step] = likeness(rollouts)

    if arm == "rules":
        job = rl.grpo(lab, model, tokenizer, on_step=look)
        names = ("step", "reward", "kept", "once", "kl", "length")
    else:
        reward = load_reward(lab, mine=False)
        leash = {"kl_coef": 0.0} if arm == "no-kl" else {}
        job = rl.ppo(lab, model, tokenizer, reward, on_step=look, on_rollouts=count, **leash)
        names = ("step", "proxy", "gold", "taste", "kept", "kl", "length")
    loop.require_finished(job)
    figures = {
        "curves": {name: curve([record[name] for record in job.log]) for name in names},
        "answers": answers,
        "cpu_seconds": round(job.cpu_seconds, 1),
        **evaluate(model, tokenizer),
    }
    if arm == "rules":
        base, _, _ = lab.latest("base", mine=False)
        for name, one in (("sft", before), ("rl", model)):
            figures |= {f"{name}_{key}": value for key, value in sharp(one, tokenizer).items()}
            figures[f"{name}_title_nats"] = rl.title_nats(base, one, tokenizer)
        return figures
    figures["curves"] |= {name: curve([one[name] for one in alike.values()])
                          for name in ("commonest", "five", "asked")}  # fmt: skip
    return {**figures, **rl.compare(reward, tokenizer, before, model),
            "gold_sd": gold_spread(before, tokenizer)}  # fmt: skip


def shipped_runs() -> dict[str, list[dict]]:
    """The study that comes with the project: arm -> the figures of each seed; no seed where it is
    not there yet."""
    try:
        points = load_study("rl")["points"]
    except LabError:
        points = []
    return {arm: [p["figures"] for p in points if p["arm"] == arm] for arm in STEPS}


def curve(values: list[float]) -> list[float]:
    """Means of `POINT` steps each; what is left at the end is a mean of its own."""
    return [round(mean(values[i : i + POINT]), 3) for i in range(0, len(values), POINT)]


def say_answers(model: Transformer, tokenizer: BPE) -> list[str]:
    """What the model answers to `ASKED`, always with the same dice."""
    chat = ChatTemplate(tokenizer)
    return [chat.read(answer) for answer in generate_answers(model, chat, list(ASKED), seed=4)]


def likeness(rollouts: list[Sample]) -> dict[str, float]:
    """How alike a step's answers are, all to requests of their own.

    commonest: the share of the answers that are the commonest one; five: the share of all foods
    listed that the five commonest have; asked: the share of the asked foods that are used.
    """
    answers = Counter(tuple(r.answer) for r in rollouts)
    items = Counter(i for r in rollouts for i in read_answer(r.text)[1])
    return {
        "commonest": answers.most_common(1)[0][1] / len(rollouts),
        "five": sum(n for _, n in items.most_common(5)) / max(1, items.total()),
        "asked": mean(r.parts["asked"] for r in rollouts),
    }


def gold_spread(model: Transformer, tokenizer: BPE) -> float:
    """One standard deviation of gold over a model's answers to the held-out requests."""
    samples = answer_requests(model, ChatTemplate(tokenizer), kitchen.held_out_requests())
    return pstdev(sample.score.gold for sample in samples)


def sharp(model: Transformer, tokenizer: BPE) -> dict:
    """pass@k for k = 1, 2, 4, … and how various the answers to one request are."""
    counts = rl.times_kept(model, tokenizer, n=TRIES)
    ks = [2**i for i in range(TRIES.bit_length()) if 2**i <= TRIES]
    passed = [round(mean(rl.pass_at_k(c, TRIES, k) for c in counts), 4) for k in ks]
    return {"pass": passed, "variety": rl.variety(model, tokenizer)}
