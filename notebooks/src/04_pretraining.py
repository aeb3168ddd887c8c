# ---
# jupyter:
#   llmlab:
#     minutes: 30
#     budget_s: 180
# ---

# %% [markdown]
# # 04 Pretraining: guess the next token, again and again
#
# **You will be able to** say what a language model is trained on, watch one learn to write
# recipes in a hundred seconds, and read its loss.
#
# *30 minutes. Needs: a laptop. Each notebook runs alone.*

# %%
import llmlab

lab = llmlab.setup()

# %% [markdown]
# ## One text, many questions
#
# A text of n tokens asks n questions: after these, which comes next? Inputs and targets are the
# same row of ids, shifted by one.

# %%
tokenizer = lab.tokenizer()
ids = tokenizer.encode("Melt the butter in a large pan.")
for known, target in list(zip(ids, ids[1:], strict=False))[:5]:
    print(f"... {tokenizer.decode([known])!r:>10}  ->  {tokenizer.decode([target])!r}")

# %% [markdown]
# ## The loss, by hand
#
# The model answers each question with a score for every id. The loss is the surprise at the right
# one: minus the logarithm of its probability. Two questions, three ids:

# %%
import torch

from llmlab.core.losses import next_token_loss

logits = torch.tensor([[2.0, 0.0, 0.0], [0.0, 0.0, 0.0]])  # (2, V = 3)
targets = torch.tensor([0, 2])
probabilities = logits.exp() / logits.exp().sum(-1, keepdim=True)
by_hand = -probabilities[[0, 1], targets].log().mean()
print(probabilities)
assert torch.isclose(by_hand, next_token_loss(logits, targets))
print(f"loss: {by_hand:.3f} nats")

# %% [markdown]
# ## Before it has learned anything
#
# A fresh model finds every id equally likely, so its loss is the logarithm of the vocabulary's
# size. If your own model starts anywhere else, look for the bug first.

# %%
import math

model = lab.build()
row = torch.tensor([ids], device=lab.device)
first = next_token_loss(model(row[:, :-1]), row[:, 1:]).item()
print(f"first loss {first:.3f}, ln {tokenizer.vocab_size} = {math.log(tokenizer.vocab_size):.3f}")
print(f"{sum(p.numel() for p in model.parameters()):,} parameters")

# %% [markdown]
# ## What it reads
#
# The mixture of notebook 01: recipes in many layouts, cards, and some of the wide world. This is
# one row of a batch, and our own cards at that: the foods stand above before they are needed.

# %%
import random

from llmlab import kitchen
from llmlab.stages.data import card_layout

card = kitchen.Card("Lemon Chicken", tuple(kitchen.foods_in("chicken lemon garlic butter")))
for seed in range(4):
    rng = random.Random(seed)
    print(card_layout(card.swapped(rng, 0.7), rng))

# %% [markdown]
# ## Train, live
#
# Muon moves the matrices, AdamW the rest; the learning rate rises, stays, and falls in a straight
# line over the second half. You may stop it (■): it saves, and the same cell goes on from there.

# %%
from IPython.display import display

from llmlab.stages import pretraining
from llmlab.widgets.loss_curve import LossCurve

curve = LossCurve("Pretraining, live")
display(curve)
job = pretraining.pretrain(
    lab, tokenizer, on_step=lambda r: curve.add("yours", r["step"], r["loss"]), snapshots=True
)

# %%
tokens = sum(record["tokens"] for record in job.log)
last = sum(record["loss"] for record in job.log[-20:]) / len(job.log[-20:])
print(f"{job.step} steps, {tokens / 1e6:.2f} M tokens, {job.cpu_seconds:.0f} CPU seconds")
print(f"loss {job.log[0]['loss']:.2f} -> {last:.2f} nats per token")

# %% [markdown]
# ## What it writes
#
# Not a recipe that one could cook from, but look at what is there already: a title, amounts, a
# numbered list, verbs in front.

# %%
print(pretraining.sample_text(job.model, tokenizer, "Tomato Soup\n\nIngredients:\n", seed=1))

# %% [markdown]
# ## Here is one we prepared earlier
#
# The same command, the same model and text, with a longer budget. Its log came with the project:
# the two curves part where the live run's cool-down begins. It read every recipe many times over;
# a run that does so more than four times leaves out a tenth of each part's work at random
# (*dropout*), lest it learn them by heart.

# %%
from llmlab.stages.report import shipped_log

slow = shipped_log(lab, "base")
print("made by:", slow["command"])
print(f"{slow['tokens'] / 1e6:.1f} M tokens, {slow['cpu_seconds'] / 60:.0f} CPU minutes")
both = LossCurve("Live and slow-cooked", log_x=True)
both.overlay("yours", *zip(*[(r["step"], r["loss"]) for r in job.log], strict=True))
both.overlay("slow-cooked", *zip(*[(r["step"], r["loss"]) for r in slow["log"]], strict=True))
both

# %% [markdown]
# ## One number for both: bits per byte
#
# The loss depends on the tokenizer; bits per byte does not. It is measured on recipes that no
# training ever saw, nor a near copy of them.

# %%
from llmlab.stages.data import load_corpus

base, tokenizer, _ = lab.latest("base", mine=False)
corpus = load_corpus(lab.profile.sources)
figures = {
    "tokens": tokens,
    "val_bpb": pretraining.held_out_bpb(lab, job.model, tokenizer, corpus),
    "base_val_bpb": pretraining.held_out_bpb(lab, base, tokenizer, corpus),
}
lab.report("pretraining", figures)
print(f"yours {figures['val_bpb']:.3f}, slow-cooked {figures['base_val_bpb']:.3f} bits per byte")

# %% [markdown]
# ## It has learned to look back
#
# The mixture made copying worth its while. Give the base a list of foods that no recipe combines,
# and it takes up yours.

# %%
for foods in ("tofu and mango", "beets and salmon", "rice and honey"):
    prompt = f"Q: What goes with {foods}?\nA:"
    print(pretraining.sample_text(base, tokenizer, prompt, n=40, seed=3).strip(), "\n")

# %% [markdown]
# ## The bill
#
# Training costs about 6 FLOPs for each parameter and token: two forward, four backward.

# %%
n = sum(p.numel() for p in base.parameters())
for name, count in (("yours", tokens), ("slow-cooked", slow["tokens"])):
    print(f"{name:>12}: 6 x {n:,} x {count:,} = {6 * n * count:.2e} FLOPs")

# %% [markdown]
# ## Recap
#
# Pretraining is next-token prediction on a mixture; loss starts at ln V and falls; the text you
# choose decides what is learned, copying included.
#
# **At full size** the same cells run with `llmlab.setup("full", minutes=60)`.
#
# **Further reading**: Radford et al. 2019, *Language Models are Unsupervised Multitask Learners*;
# Hoffmann et al. 2022, *Training Compute-Optimal Large Language Models*; Jordan et al. 2024,
# *Muon*.
#
# [Next: 05 Supervised fine-tuning](05_sft.ipynb)
