# ---
# jupyter:
#   llmlab:
#     minutes: 45
#     budget_s: 210
# ---

# %% [markdown]
# # 07 Reinforcement learning: reward, KL, and how it goes wrong
#
# **You will be able to** write the losses of PPO and GRPO by hand, watch a model improve on its
# own answers, and say how a reward is hacked and what holds it.
#
# *45 minutes; the exercises that are no must take 20 more. Needs: a laptop. Each notebook runs
# alone.*
#
# *On Colab, the set-up cell asks for a file that `python -m llmlab colab` writes.*

# %%
import sys
from importlib.util import find_spec

if "google.colab" in sys.modules:  # there, llmlab is installed; all else is left as it is
    if not find_spec("llmlab"):
        import os.path

        from google.colab import files

        if not os.path.exists("llmlab-colab.zip"):  # `python -m llmlab colab` writes it
            files.upload()
        # %pip install -q --no-deps llmlab-colab.zip
    from llmlab.colab import prepare

    prepare(keep_in_drive=False)

import llmlab

lab = llmlab.setup()

# %% [markdown]
# ## A reward has no gradient
#
# SFT knew the right answer. Now there is only a number for what the model did. We begin with the
# smallest model there is: three words, a score for each. What we want to grow is the expected
# reward.

# %%
import torch

WORDS = ["herbs", "sugar", "beef"]
reward = torch.tensor([1.0, 0.0, 0.3])
logits = torch.tensor([0.0, 1.0, 0.5], requires_grad=True)  # (V = 3)
probs = logits.softmax(0)
expected = probs @ reward
(exact,) = torch.autograd.grad(expected, logits, retain_graph=True)
print({word: round(p, 2) for word, p in zip(WORDS, probs.tolist(), strict=True)})
print(f"expected reward {expected:.3f}, its gradient {[round(g, 3) for g in exact.tolist()]}")

# %% [markdown]
# With real answers nobody can add up over all of them. **Claim: it is enough to draw some, and to
# make each as much likelier as it earned** (REINFORCE, Williams 1992): on average, reward times the
# gradient of the log-probability *is* the gradient of the expected reward.

# %%
torch.manual_seed(0)
log_probs = logits.log_softmax(0)
on_average = (probs.detach() * reward * log_probs).sum()
(average,) = torch.autograd.grad(on_average, logits, retain_graph=True)
assert torch.allclose(average, exact)
for n in (8, 100, 10_000):
    drawn = torch.multinomial(probs.detach(), n, replacement=True)  # (n,)
    earned = (reward[drawn] * log_probs[drawn]).mean()
    (estimate,) = torch.autograd.grad(earned, logits, retain_graph=True)
    print(f"{n:>6} draws: {[round(g, 3) for g in estimate.tolist()]}")

# %% [markdown]
# ### Exercise 1 · ●○○ · 6 min
# Write `reinforce(probs, drawn, rewards)`: the same estimate without autograd. For one draw the
# gradient of its log-probability with respect to the logits is: a 1 at the word that was drawn,
# less the probabilities. `probs` (V,), `drawn` and `rewards` (n,) → (V,).
#
# <details><summary>Hint</summary>
#
# `torch.eye(len(probs))[drawn]` has a row for each draw. Weigh each row by its reward
# (`rewards[:, None]`), then take the mean over the draws.
#
# </details>

# %%
from llmlab.classroom import check


def reinforce(probs, drawn, rewards):
    ### BEGIN SOLUTION
    pushes = torch.eye(len(probs))[drawn] - probs  # (n, V)
    return (rewards[:, None] * pushes).mean(0)
    ### END SOLUTION


check("07.reinforce", reinforce)

# %% [markdown]
# Sixty steps of eight draws each. No draw ever said what would have been right.

# %%
from llmlab import figures as style

scores, path = torch.tensor([0.0, 1.0, 0.5]), []
for _ in range(60):
    now = scores.softmax(0)
    path.append(now)
    drawn = torch.multinomial(now, 8, replacement=True)
    pushes = torch.eye(3)[drawn] - now  # (8, V)
    scores = scores + (reward[drawn][:, None] * pushes).mean(0)
series = {w: (range(60), [p[i].item() for p in path]) for i, w in enumerate(WORDS)}
style.lines(series, "step", title="How likely each word is", per_cent=True)

# %% [markdown]
# ## Better than what?
#
# **Claim: what counts is not the reward but the advantage: how much better than expected.** Add 10
# to every reward and nothing has changed; the exact gradient stays. But each estimate now shouts.
# Take the mean of the draws away (a *baseline*), and the noise is gone.

# %%
now = torch.tensor([0.0, 1.0, 0.5]).softmax(0)


def push_on_herbs(shift, baseline):
    """One estimate from eight draws: the gradient's first number."""
    drawn = torch.multinomial(now, 8, replacement=True)
    earned = reward[drawn] + shift
    earned = earned - earned.mean() if baseline else earned
    return (earned * ((drawn == 0).float() - now[0])).mean().item()


ways = {"reward": (0, False), "reward + 10": (10, False), "+ 10, less mean": (10, True)}
drawn_often = {name: [push_on_herbs(*way) for _ in range(60)] for name, way in ways.items()}
style.trials({f"60 estimates of the push on herbs (exact: {exact[0]:.2f})": drawn_often})

# %% [markdown]
# GRPO makes this its whole method (Shao et al. 2024): it asks the same thing several times, and
# each answer is measured against its siblings, in their standard deviations. A group whose answers
# all earned the same teaches nothing.

# %%
from llmlab.core.losses import group_advantage

rewards = torch.tensor([[2.0, 0.8, 0.8, 2.0], [2.0, 2.0, 2.0, 2.0]])  # (requests, answers)
centred = rewards - rewards.mean(1, keepdim=True)
by_hand = centred / (rewards.std(1, keepdim=True) + 1e-4)
assert torch.allclose(by_hand, group_advantage(rewards))
print(by_hand)

# %% [markdown]
# ## How far has it gone?
#
# **Claim: a model that only chases a reward forgets the rest; the KL to where it started is the
# leash.** KL is the mean of log(policy / reference) over the policy's own answers. From one draw it
# can be estimated in several ways (Schulman 2020), all of d = log(policy / reference):

# %%
from llmlab.core.losses import kl_estimate

reference = torch.tensor([0.2, 0.5, 0.3])
for name, policy in (("near", [0.25, 0.45, 0.3]), ("far", [0.05, 0.9, 0.05])):
    policy = torch.tensor(policy)
    d = (policy / reference).log()  # (V,)
    kl = policy @ d
    k3 = (-d).exp() - 1 + d
    assert torch.allclose(k3, kl_estimate(policy.log(), reference.log()), atol=1e-6)
    print(f"{name}: KL {kl:.4f} nats")
    estimators = {"k1 = d": d, "k2 = d² / 2": d.square() / 2, "k3 = exp(-d) - 1 + d": k3}
    for formula, k in estimators.items():
        average = policy @ k
        spread = (policy @ (k - average).square()).sqrt()
        print(f"  {formula:<21} bias {average / kl - 1:+5.0%}   spread {spread / kl:4.1f} x KL")

# %% [markdown]
# k1 is right on average and wild; many of its values are below 0. k2 is calm, and biased once the
# policy is far away. k3 is right on average and never negative: GRPO uses it. Calm it is near the
# reference alone.

# %% [markdown]
# ## Several steps from one batch: the ratio, and the clip
#
# To sample answers is dear; PPO takes several steps on each batch. By then the policy is no longer
# the one that drew them; the *ratio* of their probabilities makes up for it. And a token's gain
# ends where its ratio has moved by a fifth: no reward for going too far on old evidence.


# %%
def gain(ratio, advantage, clip=0.2):
    """What PPO grows, of one token, case by case."""
    if advantage > 0:
        return min(ratio, 1 + clip) * advantage  # made likelier, but not much further
    return max(ratio, 1 - clip) * advantage  # made rarer, but not much further


ratios = [0.5 + i / 100 for i in range(101)]
style.lines({f"advantage {a:+d}": (ratios, [gain(r, a) for r in ratios]) for a in (1, -1)},
            "ratio: probability now / when it was drawn", "gain", "PPO's gain")  # fmt: skip

# %% [markdown]
# ### Exercise 2 · must · ●●○ · 10 min
# Write `clipped(logp, old_logp, advantage, mask, clip)`, PPO's loss, without `if`: the smaller of
# the plain gain, ratio times advantage, and the gain with the ratio held within 1 ± clip; minus
# its mean over the tokens where `mask` is 1. All (B, T), from logarithms of probabilities.
#
# <details><summary>Hint</summary>
#
# The ratio is `torch.exp` of a difference. `clamp` holds it, `torch.minimum` takes the smaller.
# The mean: multiply by the mask, sum, divide by the mask's sum.
#
# </details>


# %%
def clipped(logp, old_logp, advantage, mask, clip):
    ### BEGIN SOLUTION
    ratio = torch.exp(logp - old_logp)
    held = ratio.clamp(1 - clip, 1 + clip)
    gains = torch.minimum(ratio * advantage, held * advantage)
    return -(gains * mask).sum() / mask.sum()
    ### END SOLUTION


check("07.clipped", clipped)

# %% [markdown]
# The package's loss is the same, token by token. And where the ratio is still 1, its gradient is
# the plain policy gradient:

# %%
from llmlab.core.losses import ppo_loss

moved = torch.tensor([[0.7, 1.1, 1.5], [0.7, 1.1, 1.5]])  # ratios
better = torch.tensor([[1.0], [-1.0]]).expand(2, 3)
mask = torch.ones(2, 3)
case_by_case = [gain(r, a) for r, a in zip(moved.flatten().tolist(), better.flatten().tolist(),
                                           strict=True)]  # fmt: skip
loss = ppo_loss(moved.log(), torch.zeros(2, 3), better, mask)
assert torch.isclose(loss, -torch.tensor(case_by_case).mean())
logp = torch.full((2, 3), -1.0, requires_grad=True)
ppo_loss(logp, logp.detach(), better, mask).backward()
assert torch.allclose(logp.grad, -better / mask.sum())
print(logp.grad)

# %% [markdown]
# GRPO is this, with the group as the baseline and k3 in the loss:

# %%
from llmlab.core.losses import grpo_loss

old, now, ref = -torch.rand(3, 4, 5) - 0.5  # log-probabilities: 4 answers of 5 tokens each
mask = torch.ones(4, 5)
siblings = group_advantage(torch.tensor([[2.0, 0.8, 1.0, 2.0]]))[0]  # (4,)
gains = [[gain(r, a) for r in row] for row, a in zip((now - old).exp().tolist(),
                                                     siblings.tolist(), strict=True)]  # fmt: skip
d = now - ref
by_hand = -torch.tensor(gains).mean() + 0.01 * ((-d).exp() - 1 + d).mean()
assert torch.isclose(by_hand, grpo_loss(now, old, ref, siblings, mask, kl_coef=0.01))
print(f"{by_hand:.4f}")

# %% [markdown]
# ## Which token was it?
#
# In GRPO all tokens of an answer share one advantage. PPO has a *critic*, a second head that
# guesses at each token how the answer will end. Where its guess jumps, something happened: that is
# the *surprise*, r + V(next) − V. The last token meets the reward itself.

# %%
from llmlab.core.losses import gae

tokens = ["Leek", " Soup", ":", " leek", ",", " sugar", "."]
values = torch.tensor([0.5, 0.6, 0.6, 0.7, 0.7, 0.7, 0.1])  # V: the critic before each token
r = torch.tensor([0.0, 0, 0, 0, 0, 0, 0.0])  # it comes at the end, and this answer earned none
ahead = torch.cat([values[1:], torch.zeros(1)])
surprise = r + ahead - values
for token, delta in zip(tokens, surprise.tolist(), strict=True):
    print(f"{token:>7} {delta:+.1f}")

# %% [markdown]
# How far back does a surprise reach? λ decides: each token gets the surprises from itself on, the
# later ones λ, λ², … times (*generalised advantage estimates*, Schulman et al. 2016). λ = 0 trusts
# the critic, λ = 1 waits for the end.

# %%
T, table = len(tokens), {}
for lam in (0.0, 0.95, 1.0):
    by_hand = [sum(lam ** (s - t) * surprise[s] for s in range(t, T)) for t in range(T)]
    package = gae(r[None], values[None], torch.ones(1, T), lam=lam)[0]
    assert torch.allclose(torch.stack(by_hand), package, atol=1e-6)
    table[f"λ = {lam:g}"] = package.tolist()
assert torch.allclose(torch.tensor(table["λ = 1"]), r.sum() - values, atol=1e-6)
print(" " * 8, *(f"{name:>8}" for name in table))
for t, token in enumerate(tokens):
    print(f"{token:>8}", *(f"{row[t]:+8.2f}" for row in table.values()))

# %% [markdown]
# ## One objective, three ways
#
# **Claim: PPO, GRPO and DPO climb the same hill: the mean of r − β · KL(policy ‖ reference)**, a
# reward r on a leash of strength β. They differ in who says what is good, and in what they need:

# %% [markdown]
# | | PPO | GRPO | DPO |
# |---|---|---|---|
# | judge | a reward model | here: rules | comparisons |
# | whose answers | its own | its own, in groups | those of the pairs |
# | better than what | a critic's guess | its siblings | the rejected twin |
# | where the KL stands | in each token's reward | in the loss, k3 | inside the loss |
# | a batch is used | part by part, clipped | here: once | many times |
# | models | policy, reference, critic, reward | policy, reference | policy, reference |

# %% [markdown]
# The best policy of this objective is known: reference · exp(r / β), made to sum to 1 (Rafailov et
# al. 2023, eq. 4). On three words all ways lead there: by climbing the objective, and by DPO from
# comparisons of pairs.

# %%
from itertools import permutations

from llmlab.core.losses import dpo_loss

beta, ref = 0.5, torch.tensor([0.2, 0.5, 0.3])
best = ref * (reward / beta).exp()
best = best / best.sum()


def climb(logp):
    """Minus the objective, exact: nothing is drawn."""
    return -(logp.exp() @ (reward - beta * (logp - ref.log())))


def compare(logp):
    """DPO on all pairs: a is chosen before b as often as Bradley-Terry says."""
    chance = {(a, b): torch.sigmoid(reward[a] - reward[b]) for a, b in permutations(range(3), 2)}
    losses = [p * dpo_loss(logp[a], logp[b], ref[a].log(), ref[b].log(), beta)
              for (a, b), p in chance.items()]  # fmt: skip
    return sum(losses)


# %%
found = {}
for way in (climb, compare):
    scores = ref.log().requires_grad_()
    for _ in range(300):
        (slope,) = torch.autograd.grad(way(scores.log_softmax(0)), scores)
        scores = (scores - 4 * slope).detach().requires_grad_()
    found[way.__name__] = scores.softmax(0)
    assert torch.allclose(found[way.__name__], best, atol=1e-3)
rows = {"the reference": ref, "the formula": best, **found}
style.bars({name: p.tolist() for name, p in rows.items()}, WORDS, f"β = {beta:g}")

# %% [markdown]
# ## The kitchen: before
#
# Now the real thing. The SFT model of notebook 05 has read requests and answers; no rule was ever
# told to it. A frozen copy stays behind as the reference.

# %%
from llmlab import kitchen
from llmlab.chat import ChatTemplate, evaluate, generate_answers
from llmlab.stages import reward as stage6
from llmlab.stages import rl
from llmlab.training import model_copies

model, tokenizer, _ = lab.latest("sft")
chat, before = ChatTemplate(tokenizer), model_copies.reference_copy(model)
card_before = evaluate(before, tokenizer)
print(f"every rule kept: {card_before['kept']:.0%} of the held-out requests")

# %% [markdown]
# ## GRPO on the rules, live
#
# **Claim: where a program can check, the model learns from itself.** No labels, no annotators: it
# asks itself, a program checks, and the share of answers that keep every rule climbs. Behind your
# curve: the mean of other seeds, which ran longer (`python -m llmlab study rl`).

# %%
from statistics import mean

from llmlab.studies import rl as study
from llmlab.widgets.loss_curve import LossCurve

runs = study.shipped_runs()  # arm -> figures of each seed


def seeds(arm, name):
    """Steps, and the curve of each seed."""
    return runs[arm][0]["curves"]["step"], [run["curves"][name] for run in runs[arm]]


def average(arm, name):
    steps, each = seeds(arm, name)
    return steps, [mean(values) for values in zip(*each, strict=True)]


# %%
from dataclasses import replace

from IPython.display import display

curve, seen = LossCurve("GRPO on the rules", y_label="every rule kept"), {}
curve.overlay("mean of longer runs", *average("rules", "kept"))
display(curve)


def keep(step, rollouts):
    if rollouts and (step.bit_count() == 1 or step % 20 == 0):
        seen[step] = rollouts[:24]


model = model_copies.trainable_copy(before)  # so that the cell, stopped and run again, goes on
job = rl.grpo(
    replace(lab, minutes=0.75), model, tokenizer, on_rollouts=keep,
    on_step=lambda r: curve.add("yours", r["step"], r["kept"]),
)  # fmt: skip

# %%
card = evaluate(model, tokenizer)
lab.report("rl", {f"grpo_{k}": v for k, v in card.items()} | {"grpo_steps": job.steps})
rules = {"wellformed": "well-formed", "asked_all": "asked", "once_all": "nothing twice",
         "vegetarian_all": "vegetarian", "number_all": "number", "kept": "all kept"}  # fmt: skip
style.bars({"SFT": [card_before[k] for k in rules], "GRPO": [card[k] for k in rules]},
           list(rules.values()), "Held-out requests")  # fmt: skip

# %% [markdown]
# ## What a step sees
#
# The answers of a step, in groups: one request, eight answers. Move the slider through the run;
# switch to KL to see which tokens have become likelier or rarer than in the reference. Groups
# whose answers all earned the same are left out: they taught nothing.

# %%
from llmlab.widgets.rollout_view import RolloutView

RolloutView(seen, tokenizer, "GRPO on the rules")

# %% [markdown]
# ## Does it teach or sharpen?
#
# Let it try sixteen times. pass@k is the chance that one of k answers keeps every rule. From n
# answers of which c are right it is one less the share of draws that miss (Chen et al. 2021):

# %%
from math import comb

models = {"SFT": before, "GRPO": model}
counts = {name: rl.times_kept(one, tokenizer, n=16) for name, one in models.items()}
ks = (1, 2, 4, 8, 16)


def pass_at(k, c, n=16):
    return 1 - comb(n - c, k) / comb(n, k)


assert all(pass_at(k, c) == rl.pass_at_k(c, 16, k) for k in ks for c in range(17))
curves = {name: (ks, [mean(pass_at(k, c) for c in cs) for k in ks]) for name, cs in counts.items()}
style.lines(curves, "answers tried (k)", "one keeps all rules", "pass@k, 64 requests", log_x=True)

# %% [markdown]
# At sixteen tries the two are close: what GRPO says now, the SFT model could say before, only less
# often. Mostly it *sharpens*. In the study, with more tries:

# %%
for name, short in (("SFT", "sft"), ("GRPO", "rl")):
    passed = zip(*(run[f"{short}_pass"] for run in runs["rules"]), strict=True)
    shares = [f"@{2**i} {mean(of_k):.1%}" for i, of_k in enumerate(passed)]
    print(f"{name:>4} pass{', '.join(shares)}")
varied = mean(run["rl_variety"] for run in runs["rules"])
print(f"and still {varied:.0%} of 16 answers to one request are different")

# %% [markdown]
# ## Answers, before and after
#
# The same requests, the same dice.

# %%
asked = [
    "I have chicken, lemon and rice. Suggest a dish of 6 ingredients.",
    "Give me a vegetarian dish of 7 ingredients with potatoes.",
    "What can I cook with chocolate, cod and mint?",
]


def answers(*models):
    """Each model's answers to the three requests, request by request."""
    said = [generate_answers(m, chat, asked, seed=4) for m in models]
    for request, *ids in zip(asked, *said, strict=True):
        print(request, *(f"    {chat.read(one)}" for one in ids), sep="\n")


answers(before, model)

# %% [markdown]
# ## PPO against the reward model, live
#
# Now the taste of notebook 06: no program knows it, only the model that learned it from
# comparisons. *Proxy* is what that model says, and all that PPO sees. *Gold* is what we want: the
# annotators' taste without their noise, and the rules. At each token stands the KL term.

# %%
policy, judge, seen = model_copies.trainable_copy(before), stage6.load_reward(lab), {}
curve = LossCurve("PPO: proxy and gold", y_label="mean of a step's answers")
display(curve)


def draw(record):
    curve.add("proxy (what PPO sees)", record["step"], record["proxy"])
    curve.add("gold (what we want)", record["step"], record["gold"])


job = rl.ppo(replace(lab, minutes=0.6), policy, tokenizer, judge, on_step=draw, on_rollouts=keep)

# %%
gains = rl.compare(judge, tokenizer, before, policy)
lab.report("rl", gains | {"ppo_steps": job.steps})
print("gain over the SFT model, in its standard deviations:")
print(f"  proxy {gains['ppo_proxy_gain_sd']:+.2f}   gold {gains['ppo_gold_gain_sd']:+.2f}")
print(f"  KL {job.log[-1]['kl']:.1f} nats per answer; rules kept {job.log[-1]['kept']:.0%}")
answers(before, policy)

# %% [markdown]
# Here each token has an advantage of its own, from the critic's surprises. Which foods make it
# jump?

# %%
RolloutView(seen, tokenizer, "PPO against the reward model")

# %% [markdown]
# ## Without the leash
#
# **Claim: a proxy that is optimised hard enough stops being one** (Goodhart's law; Gao et al.
# 2022). The same PPO with the KL term and without, longer, in a study of several seeds: the proxy
# climbs on; the gold turns and falls.


# %%
def gained(arm, name):
    """Gain over the first steps, in the SFT model's standard deviations (the proxy's is 1)."""
    steps, each = seeds(arm, name)
    spread = [run["gold_sd"] if name == "gold" else 1 for run in runs[arm]]
    return steps, [[(y - ys[0]) / sd for y in ys] for ys, sd in zip(each, spread, strict=True)]


arms = {"with KL": "kl", "without KL": "no-kl"}
panels = {title: {name: gained(arm, name) for name in ("proxy", "gold")}
          for title, arm in arms.items()}  # fmt: skip
panels["without KL, its beginning"] = {
    name: (steps[:12], [ys[:12] for ys in each])
    for name, (steps, each) in panels["without KL"].items()
}
style.bands(panels, "step", "gain, standard deviations", one_scale=False)

# %%
for title, arm in arms.items():
    for run, gold, proxy in zip(runs[arm], gained(arm, "gold")[1], gained(arm, "proxy")[1],
                                strict=True):  # fmt: skip
        ends = {key: values[-1] for key, values in run["curves"].items()}
        print(f"{title}: proxy {proxy[-1]:+.2f}; gold {gold[-1]:+.2f}, at best {max(gold):+.2f}; "
              f"KL {ends['kl']:.0f} nats; rules kept {ends['kept']:.0%}")  # fmt: skip

# %% [markdown]
# ## Why: look at the answers
#
# Always read what a model says when its reward goes up. Without the leash it has found what the
# reward model likes, and gives it to everybody. Who asked for what no longer matters: the
# comparisons never said that it should.

# %%
style.bands({title: {"asked foods used": seeds(arm, "asked"),
                     "five foods' share of all lists": seeds(arm, "five")}
             for title, arm in arms.items()}, "step", per_cent=True)  # fmt: skip

# %%
for run in runs["no-kl"][:1]:
    for then in (run["answers"][0], run["answers"][1], run["answers"][-1]):
        print(f"step {then['step']}")
        for request, answer in zip(asked, then["texts"], strict=True):
            print(f"  {request}\n      {answer[:90]}")

# %% [markdown]
# ## Your own taste
#
# The head that learned your thirty clicks in notebook 06 can be followed too. Set `MINE = True`
# (another half minute). With fewer than ten clicks of yours it takes the recorded ones that come
# with llmlab: those of somebody with a sweet tooth.

# %%
MINE = False

if MINE:
    from llmlab.stages import preferences

    clicks = preferences.read_clicks(lab.runs / "clicks.json")
    clicks = clicks if len(clicks) >= 10 else preferences.recorded_clicks()
    states = preferences.differences(before, chat, [click.duel for click in clicks])
    head = preferences.fit_head(preferences.chosen_first(states, clicks))
    pairs = stage6.held_out_pairs(before, chat, 200)
    my_judge, my_policy = (
        preferences.with_head(before, chat, head, pairs),
        model_copies.trainable_copy(before),
    )
    rl.ppo(replace(lab, minutes=0.5), my_policy, tokenizer, my_judge, name="ppo-mine")
    answers(before, my_policy)

# %% [markdown]
# ## Hacking by itself
#
# One need not look for holes; the model finds them. Here is a reward that reads well: an answer
# should use what was asked for, so each entry of its list that was asked for is paid, five at the
# most.

# %%
from llmlab.kitchen import parse_request, read_answer
from llmlab.studies import hacking


def counted(request, answer):
    wanted = {food.name for food in parse_request(request).foods}
    _, items = read_answer(answer)
    return min(1.0, sum(item in wanted for item in items) / 5)


request = "I have rice and kale."
for answer in ("Rice Bowl: rice, kale, mint.", "Mint Soup: mint, kale.", "Tofu Pan: tofu, mint."):
    assert counted(request, answer) == hacking.counted(request, answer)
    print(f"{counted(request, answer):.1f}  {answer}")

# %% [markdown]
# GRPO on this reward alone, on a longer leash (`python -m llmlab study hacking`):

# %%
from llmlab.studies import load_study

hacked = [point["figures"] for point in load_study("hacking")["points"]]
steps = hacked[0]["curves"]["step"]
names = {"what is paid for": "reward", "nothing twice": "once", "every rule kept": "kept"}
style.bands({"paid: entries that were asked for": {
    name: (steps, [run["curves"][key] for run in hacked]) for name, key in names.items()
}}, "step", "share", per_cent=True)  # fmt: skip

# %%
for run in hacked:
    print(*(f"    {text[:90]}" for text in run["answers"]), sep="\n")

# %% [markdown]
# Nobody said that once is enough. The reward grows, the dish is lost, and the program that paid
# for it is only doing what it was told.

# %% [markdown]
# ### Exercise 3 · ●●○ · 8 min
# Write the missing term: `nothing_twice(request, answer)`, two texts → the share of the list's
# items that had not been named before: 1 without repeats, 0.75 where one of four is a repeat, and
# 1 for an empty list. `read_answer(answer)` gives title and items.
#
# <details><summary>Hint</summary>
#
# How many different items has the list, and how many in all? Mind the division by 0.
#
# </details>


# %%
def nothing_twice(request, answer):
    ### BEGIN SOLUTION
    _, items = read_answer(answer)
    return len(set(items)) / len(items) if items else 1.0
    ### END SOLUTION


check("07.nothing_twice", nothing_twice)

# %% [markdown]
# Now a real run: the same model, the same reward, plus your term, twice as heavy. (Until yours is
# right, ours.)

# %%
from llmlab.classroom.checks import nb07_rl

term = nb07_rl.yours("07.nothing_twice", globals().get("nothing_twice"), nb07_rl.once_share)
cured = model_copies.trainable_copy(before)
curve = LossCurve("The missing term", y_label="nothing twice")
once = zip(*(run["curves"]["once"] for run in hacked), strict=True)
curve.overlay("without it", steps, [mean(values) for values in once])
display(curve)


def repaired(request, answer):
    return counted(request, answer) + 2 * term(request, answer)


job = rl.grpo(
    replace(lab, minutes=0.67), cured, tokenizer, hacking.nothing, name="cure",
    extra_reward=repaired,
    kl_coef=hacking.KL_COEF, on_step=lambda r: curve.add("with the term", r["step"], r["once"]),
)  # fmt: skip

# %% [markdown]
# Cured, by one line. The other rules are still not paid for. Did they hold?

# %%
card_cured = evaluate(cured, tokenizer)
style.bars({"SFT": [card_before[k] for k in rules], "repaired reward": [
    card_cured[k] for k in rules]}, list(rules.values()), "Held-out requests")  # fmt: skip

# %% [markdown]
# ### Exercise 4 · ●●○ · 8 min
# Hunt the next hole, before the model does. Write `loophole(foods, number)`: for names of foods
# and a number of ingredients the text of an answer with which this reward is content (all that was
# asked is named, nothing twice) and which still breaks a rule.
#
# <details><summary>Hint</summary>
#
# The request says two things. Which of them does the reward read? `", ".join(foods)` makes a list;
# an answer looks like `A Title: leek, rice.`
#
# </details>


# %%
def loophole(foods, number):
    ### BEGIN SOLUTION
    return f"A Dish: {', '.join(foods)}, olive oil."
    ### END SOLUTION


check("07.loophole", loophole)

# %% [markdown]
# ## Both: the last assistant
#
# Rules for what can be checked, a reward model for what cannot. The last assistant goes on from
# GRPO's, with one term more: an answer that keeps every rule earns the more, the better it tastes.
# No taste pays for a broken rule. It comes with the project; notebook 08 talks to it.

# %%
from llmlab.lab import shipped_log
from llmlab.stages import report

line = report.load_line(lab)
for name in ("sft", "ppo", "grpo", "last"):
    if name in line:
        card = evaluate(line[name].model, tokenizer)
        taste = (card["taste"] - card_before["taste"]) / kitchen.TASTE_SD
        print(f"{name:>6}: rules kept {card['kept']:.0%}, taste {taste:+.2f} standard deviations")

# %%
if "last" in line:
    print("made by:", shipped_log(lab, "last")["command"])
    answers(line["last"].model)

# %% [markdown]
# ## Recap
#
# RL needs no right answers, only a judge: draw, compare, push. A baseline calms it, a ratio and a
# clip let it use a batch again, a KL term holds it. A program as judge makes the model reliable,
# mostly by sharpening; a learned judge gives it a taste and is only a proxy. What is not paid for
# is given up: read the answers, not the reward alone.
#
# **At full size** the same cells run with `llmlab.setup("full", minutes=60)`.

# %%
from llmlab.classroom import show_progress

show_progress("07")

# %% [markdown]
# **Further reading**: Williams 1992, *Simple Statistical Gradient-Following Algorithms*
# (REINFORCE); Schulman et al. 2016, *Generalized Advantage Estimation*, and 2017, *Proximal Policy
# Optimization*; Schulman 2020, *Approximating KL Divergence*; Ouyang et al. 2022, *InstructGPT*;
# Gao et al. 2022, *Scaling Laws for Reward Model Overoptimization*; Rafailov et al. 2023, *DPO*;
# Shao et al. 2024, *DeepSeekMath* (GRPO); Yue et al. 2025, *Does Reinforcement Learning Really
# Incentivize Reasoning Capacity?*
#
# [Next: 08 Report](08_report.ipynb)
