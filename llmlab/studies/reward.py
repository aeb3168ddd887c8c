"""What a reward model learns from how many comparisons, and from annotators of another kind.

Each point samples its own pairs of the shipped SFT model's answers.  "taste": the annotators of the
series, with their noise.  "rules": annotators who look at the rules alone, and hardly ever err.
"""

from dataclasses import replace
from statistics import mean

from llmlab import kitchen
from llmlab.chat import ChatTemplate
from llmlab.lab import Lab
from llmlab.stages import preferences, reward
from llmlab.studies import study
from llmlab.training import loop

POOLS = {"taste": (preferences.by_taste, reward.NOISE), "rules": (preferences.by_rules, 0.02)}
ARMS = ("taste 300", "taste 1000", "rules 1000")
TEST = 300  # held-out pairs, in the order that the pool likes without noise
SETTINGS = {
    "noise": {pool: noise for pool, (_, noise) in POOLS.items()},
    "test": TEST,
}


@study("reward", arms=ARMS, seeds=(1, 2, 3), starts_from=("sft",), settings=SETTINGS)
def run(lab: Lab, arm: str, seed: int) -> dict:
    """Accuracy on held-out pairs, the annotators' own, and how well foods are ranked."""
    pool, n = arm.split()
    liking, noise = POOLS[pool]
    n = min(int(n), lab.profile.reward_requests)  # a toy's are fewer
    model, tokenizer, _ = lab.latest("sft", mine=False)
    chat, pairs, test, turn = ChatTemplate(tokenizer), [], [], 0
    while len(pairs) < n:  # answers that are liked equally make no pair
        turn += 1
        requests = reward.training_requests(lab, n, 100 * seed + turn)
        pairs += reward.make_pairs(model, chat, requests, 100 * seed + turn, noise, liking)
    pairs, turn = pairs[:n], 0
    while len(test) < TEST:
        turn += 1
        requests = kitchen.held_out_requests(TEST, seed=100 + turn)
        test += reward.make_pairs(model, chat, requests, 100 + turn, 0.0, liking)
    steps = lab.profile.max_steps or lab.profile.reward_passes * n // lab.profile.reward_batch
    judge, job = reward.train_reward(replace(lab, steps=steps), model, tokenizer, pairs)
    loop.require_finished(job)
    return {
        "accuracy": reward.accuracy(judge, chat, test[:TEST]),
        "agreement": mean(p.true_order for p in pairs),
        "food_ranks": preferences.utility_correlation(judge, chat),
        "steps": job.steps,
    }
