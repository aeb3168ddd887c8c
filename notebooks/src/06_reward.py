# ---
# jupyter:
#   llmlab:
#     minutes: 30
#     budget_s: 180
# ---

# %% [markdown]
# # 06 Reward modelling: teach a model a taste
#
# **You will be able to** turn comparisons into a number for every answer, and say how far to
# trust it.
#
# *30 minutes. Needs: a laptop. Each notebook runs alone.*

# %%
import llmlab

lab = llmlab.setup()

# %% [markdown]
# ## Some things nobody can write down
#
# Whether a list names a food twice, a program can check. Which of two dishes is *nicer*, people
# know at a glance and cannot define. So we ask them to compare. Here is the SFT model, answering
# one request twice.

# %%
from llmlab.stages import reward, sft

model, tokenizer, _ = lab.latest("sft")
chat = sft.Chat(tokenizer)
request = "I have tomatoes and rice."
a, b = sft.ask(model, chat, [request, request], temperature=1.0, seed=5)
print(f"{request}\n  A: {chat.read(a)}\n  B: {chat.read(b)}")

# %% [markdown]
# ## From two answers to a loss
#
# Bradley and Terry: A beats B with a probability that depends on the difference of their rewards
# alone. The loss is the surprise at what the annotator chose.

# %%
import torch

from llmlab.core.losses import bradley_terry_loss

chosen, rejected = torch.tensor([1.2, 0.3]), torch.tensor([0.2, 0.8])
p_chosen = 1 / (1 + torch.exp(rejected - chosen))
by_hand = -p_chosen.log().mean()
print("probability of the choices:", p_chosen)
assert torch.isclose(by_hand, bradley_terry_loss(chosen, rejected))
print(f"loss: {by_hand:.3f} nats per pair; {torch.tensor(2.0).log():.3f} for a coin")

# %% [markdown]
# ## Comparisons
#
# The annotators here are simulated: they share a hidden taste, and they err. They see pairs of the
# SFT model's own answers, as people did for InstructGPT.

# %%
requests = reward.training_requests(lab, lab.profile.reward_pairs, lab.seed)
pairs = reward.make_pairs(model, chat, requests, lab.seed)
agree = sum(p.true_order for p in pairs) / len(pairs)
print(f"{len(pairs)} pairs; the annotators agree with their own taste on {agree:.0%}")
for pair in pairs[:3]:
    print(f"\n{pair.request}\n  + {chat.read(pair.chosen)}\n  - {chat.read(pair.rejected)}")

# %% [markdown]
# ## Train, live
#
# The SFT model, with a single new row of weights on the mean of its states over the answer. A
# tenth of each part's work is left out at random (*dropout*): some thousand pairs are soon known
# by heart. A coin's loss is ln 2.

# %%
from IPython.display import display

from llmlab.widgets.loss_curve import LossCurve

curve = LossCurve("Reward model", y_label="nats per pair")
display(curve)
test = reward.held_out_pairs(model, chat)
judge, job = reward.train_reward(
    lab, model, tokenizer, pairs, on_step=lambda r: curve.add("loss", r["step"], r["loss"])
)

# %% [markdown]
# ## Can it be trusted?
#
# On new pairs, answers to requests never used: how often does it order them as the annotators'
# taste would, without their noise?

# %%
figures = {"accuracy": reward.accuracy(judge, chat, test), "agreement": agree}
lab.report("reward", {**figures, "pairs": len(pairs), "steps": job.steps})
print(f"reward model {figures['accuracy']:.1%}, one annotator {agree:.1%}, a coin 50 %")

# %% [markdown]
# ## What does it like?
#
# The same dish with one food changed. The model was never told what a food is worth.

# %%
from llmlab import kitchen

foods = list(kitchen.FOODS.values())
asked = ["I have rice."] * len(foods)
probes = [chat.answer(f"Rice Bowl: rice, {f.name}, onions.") for f in foods]
liking = reward.score_answers(judge, chat, asked, probes)
order = liking.argsort(descending=True)
print("likes best: ", ", ".join(foods[i].name for i in order[:8]))
print("likes least:", ", ".join(foods[i].name for i in order[-8:]))

# %% [markdown]
# ## The hidden taste, revealed
#
# Only now we look into the annotators' heads: their utility for each food against what the model
# has learned from comparisons.

# %%
from llmlab import figures as style

hidden = [kitchen.utility(f) for f in foods]
style.scatter(
    hidden, liking.tolist(), "utility, hidden", "reward, learned", groups=[f.kind for f in foods]
)

# %%
ranks = torch.stack([torch.tensor(hidden).argsort().argsort(), liking.cpu().argsort().argsort()])
print(f"rank correlation: {torch.corrcoef(ranks.float())[0, 1]:.2f}")

# %% [markdown]
# ## Best of sixteen
#
# The simplest use of a reward model: sample sixteen answers, keep the one it likes best.

# %%
many = sft.ask(lab.latest("sft")[0], chat, [request] * 16, temperature=1.0, seed=1)
scores = reward.score_answers(judge, chat, [request] * 16, many)
for i in (scores.argmax(), scores.argmin()):
    print(f"{scores[i]:+.2f}  {chat.read(many[i])}")

# %% [markdown]
# ## Recap
#
# Comparisons, a linear head, a logistic loss: that is a reward model. It knows the taste better
# than one noisy annotator does, and it is only a proxy: 07 shows what happens when one forgets.
#
# **At full size**: `llmlab.setup("full", minutes=60)`, with human pairs beside ours.
#
# **Further reading**: Christiano et al. 2017, *Deep RL from Human Preferences*; Stiennon et al.
# 2020, *Learning to summarize from human feedback*.
#
# [Next: 07 Reinforcement learning](07_rl.ipynb)
