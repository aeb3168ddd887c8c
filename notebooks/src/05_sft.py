# ---
# jupyter:
#   llmlab:
#     minutes: 30
#     budget_s: 180
# ---

# %% [markdown]
# # 05 Supervised fine-tuning: from going on to answering
#
# **You will be able to** turn a base model into an assistant, say what the loss mask does, and
# measure an assistant on requests that it has never seen.
#
# *30 minutes. Needs: a laptop. Each notebook runs alone.*

# %%
import llmlab

lab = llmlab.setup()

# %% [markdown]
# ## The base goes on writing
#
# Ask the base a question, and it does what it was trained for: it continues the page.

# %%
from llmlab.stages.pretraining import sample_text

model, tokenizer, _ = lab.latest("base", mine=False)
question = "What can I cook with chicken and lemon?"
print(sample_text(model, tokenizer, question + "\n", n=60, seed=2))

# %% [markdown]
# ## A chat is one row of ids
#
# Three special tokens mark who speaks. Text can never produce them: type one, and you get its
# characters.

# %%
from llmlab.stages.sft import Chat

chat = Chat(tokenizer)
answer = "Lemon Chicken: chicken, lemon, garlic, butter."
row = chat.prompt(question) + chat.answer(answer)
print(row)
print(tokenizer.decode(row))
print("typed by a user:", chat.prompt("<|end|>"))

# %% [markdown]
# ## The mask: read the request, learn the answer
#
# Every id is an input, but only the answer's ids are targets. The package scores just those
# places; it comes to the same as masking the others.

# %%
import torch

from llmlab.core.losses import sft_loss
from llmlab.stages.sft import Batch, answer_loss

batch = Batch.of([(chat.prompt(question), chat.answer(answer))], lab.device)
print(batch.mask.int().tolist()[0])
with torch.no_grad():
    masked = sft_loss(model(batch.ids[:, :-1]), batch.targets, batch.mask)
    assert torch.isclose(masked, answer_loss(model, batch), rtol=1e-3)
print(f"loss on {batch.mask.sum()} answer tokens: {masked:.2f} nats per token")

# %% [markdown]
# ## Cards without end
#
# The answers come from real recipes, with two tricks: the asked foods stand first, and foods are
# swapped inside their families, title included. Reciting is useless; reading pays. One card:

# %%
import random

from llmlab import kitchen

card = kitchen.Card("Lemon Chicken", tuple(kitchen.foods_in("chicken lemon garlic butter thyme")))
for seed in range(5):
    rng = random.Random(seed)
    request, text = kitchen.example(card, rng)
    print(f"{request.text(rng)}\n    {text}")

# %% [markdown]
# ## Train, live

# %%
from IPython.display import display

from llmlab.stages import sft
from llmlab.widgets.loss_curve import LossCurve

before = sft.evaluate(model, tokenizer, n=60)
curve = LossCurve("Fine-tuning", y_label="nats per answer token")
display(curve)
job = sft.tune(lab, model, tokenizer, on_step=lambda r: curve.add("sft", r["step"], r["loss"]))
print(f"{job.step} steps, {job.step * lab.profile.sft_batch:,} examples")

# %% [markdown]
# ## Ask it

# %%
asked = [
    "I have chicken and lemon.",
    "Give me a vegetarian dish of 5 ingredients with rice and tofu.",
    "What soup can I cook with carrots?",
    "I have bananas, salmon and chocolate.",
    "Who are you?",
]
for request, ids in zip(asked, sft.ask(model, chat, asked), strict=True):
    print(f"{request}\n    {chat.read(ids)}")

# %% [markdown]
# ## Three hundred requests that it has never seen
#
# Every part of an answer that a program can check is checked. *Kept* is the hard one: all parts
# at once.

# %%
figures = sft.evaluate(model, tokenizer)
lab.report("sft", {**figures, "steps": job.steps})
for key, value in figures.items():
    if key not in ("taste", "gold"):
        print(f"{key:>16}  before {before[key]:4.0%}   after {value:4.0%}")

# %%
from llmlab import figures as style

names = ["wellformed", "asked_all", "once_all", "vegetarian_all", "number_all", "kept", "kind"]
style.bars(
    {"base": [before[k] for k in names], "after SFT": [figures[k] for k in names]},
    [n.removesuffix("_all") for n in names],
    "Share of held-out requests",
)

# %% [markdown]
# ## What is left
#
# Look at answers that fail: nearly always a food stands there twice, or the count is off by one.
# The model has seen only right answers, never that these are wrong. That is what rewards are for.

# %%
rng = random.Random(0)
requests = kitchen.held_out_requests(120)
texts = [r.text(rng) for r in requests]
answers = [chat.read(a) for a in sft.ask(model, chat, texts)]
failed = [(t, a) for r, t, a in zip(requests, texts, answers, strict=True)
          if not kitchen.judge(r, a).kept]  # fmt: skip
for text, answer in failed[:4]:
    print(f"{text}\n    {answer}")

# %% [markdown]
# ## Recap
#
# SFT changes what the model does with a request, not what it knows. The mask aims the loss at the
# answer; the shape of the data decides whether it reads or recites.
#
# **At full size**: `llmlab.setup("full", minutes=60)`.
#
# **Further reading**: Ouyang et al. 2022, *Training language models to follow instructions with
# human feedback*; Zhou et al. 2023, *LIMA: Less Is More for Alignment*.
#
# [Next: 06 Reward modelling](06_reward.ipynb)
