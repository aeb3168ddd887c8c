# ---
# jupyter:
#   llmlab:
#     minutes: 35
#     budget_s: 180
# ---

# %% [markdown]
# # 07 Reinforcement learning: more of what was good
#
# **You will be able to** watch a model improve on its own answers, say what GRPO and PPO do, and
# see why a reward needs a leash.
#
# *35 minutes. Needs: a laptop. Each notebook runs alone.*

# %%
import llmlab

lab = llmlab.setup()

# %% [markdown]
# ## A group is its own baseline
#
# GRPO asks the same thing several times. An answer's advantage is how much better it did than its
# siblings. If all did alike, there is nothing to learn.

# %%
import torch

from llmlab.core.losses import group_advantage

rewards = torch.tensor([[2.0, 0.8, 0.8, 2.0], [2.0, 2.0, 2.0, 2.0]])  # (requests, answers)
centred = rewards - rewards.mean(1, keepdim=True)
by_hand = centred / (rewards.std(1, keepdim=True) + 1e-4)
assert torch.allclose(by_hand, group_advantage(rewards))
print(by_hand)

# %% [markdown]
# ## From advantage to loss
#
# Make the tokens of good answers likelier, those of bad ones less likely. At the moment of
# sampling the ratio is 1, and the gradient is the plain policy gradient:

# %%
from llmlab.core.losses import ppo_loss

logp = torch.tensor([[-1.0, -2.0], [-0.5, -1.5]], requires_grad=True)  # (answers, tokens)
advantage = torch.tensor([[1.0], [-1.0]])
mask = torch.ones(2, 2)
ppo_loss(logp, logp.detach(), advantage, mask).backward()
print(logp.grad)
assert torch.allclose(logp.grad, -(advantage * mask) / mask.sum())

# %% [markdown]
# ## Before

# %%
from llmlab.stages import reward, rl, sft

model, tokenizer, _ = lab.latest("sft")
chat, before = sft.Chat(tokenizer), rl.freeze(model)
kept_before = sft.evaluate(before, tokenizer)
print({k: round(v, 2) for k, v in kept_before.items() if k.endswith("_all") or k == "kept"})

# %% [markdown]
# ## GRPO on the rules, live
#
# No labels, no annotators: the model asks itself, a program checks, and the share of answers that
# keep every rule climbs.

# %%
from dataclasses import replace

from IPython.display import display

from llmlab.widgets.loss_curve import LossCurve

curve = LossCurve("GRPO: share of answers that keep every rule", y_label="kept")
display(curve)
job = rl.grpo(
    replace(lab, minutes=0.9), model, tokenizer,
    on_step=lambda r: curve.add("kept", r["step"], r["kept"]),
)  # fmt: skip

# %%
after = sft.evaluate(model, tokenizer)
lab.report("rl", {f"grpo_{k}": v for k, v in after.items()})
for key in ("wellformed", "asked_all", "once_all", "vegetarian_all", "number_all", "kept"):
    print(f"{key:>16}  SFT {kept_before[key]:4.0%}   GRPO {after[key]:4.0%}")

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
for name, m in (("SFT", before), ("GRPO", model)):
    for request, ids in zip(asked, sft.ask(m, chat, asked, seed=4), strict=True):
        print(f"{name:>5}  {request}\n         {chat.read(ids)}")

# %% [markdown]
# ## PPO against the reward model, live
#
# Now the taste of 06. A critic guesses how an answer will end, so each token has its own
# advantage; a KL term holds the model near where it started. *Proxy* is what the reward model
# says, *gold* what the annotators and the rules would say: PPO never sees it.

# %%
model, judge = rl.unfreeze(before), reward.load_reward(lab)
curve = LossCurve("PPO: proxy and gold", y_label="reward")
display(curve)


def draw(record):
    curve.add("proxy (what PPO sees)", record["step"], record["proxy"])
    curve.add("gold (what we want)", record["step"], record["gold"])


job = rl.ppo(replace(lab, minutes=0.75), model, tokenizer, judge, on_step=draw)

# %%
gains = rl.compare(judge, tokenizer, before, model)
lab.report("rl", gains)
print("gain over the SFT model, in its standard deviations:")
print(f"  proxy {gains['ppo_proxy_gain_sd']:+.2f}   gold {gains['ppo_gold_gain_sd']:+.2f}")
print(f"  KL {job.log[-1]['kl']:.1f} nats per answer; rules kept {job.log[-1]['kept']:.0%}")

# %% [markdown]
# ## What the taste has done
#
# Greens and herbs everywhere. The reward model never learned the rules, and what is not rewarded
# is given up: this is why the last assistant is trained on both.

# %%
for request, ids in zip(asked, sft.ask(model, chat, asked, seed=4), strict=True):
    print(f"{request}\n    {chat.read(ids)}")

# %% [markdown]
# ## Recap
#
# RL needs no right answers, only a judge. A program as judge makes the model reliable; a learned
# judge gives it a taste, and must be held on a leash, for it is only a proxy.
#
# **At full size**: `llmlab.setup("full", minutes=60)`.
#
# **Further reading**: Schulman et al. 2017, *PPO*; Shao et al. 2024, *DeepSeekMath* (GRPO); Gao
# et al. 2022, *Scaling Laws for Reward Model Overoptimization*.
#
# [Next: 08 Report](08_report.ipynb)
