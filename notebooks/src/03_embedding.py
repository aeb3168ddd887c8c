# ---
# jupyter:
#   llmlab:
#     minutes: 25
#     budget_s: 90
# ---

# %% [markdown]
# # 03 Embedding: a number becomes a place
#
# **You will be able to** say what an embedding is, compute what it costs, and see that training
# puts foods of a kind side by side.
#
# *25 minutes. Needs: a laptop. Each notebook runs alone.*

# %%
import llmlab

lab = llmlab.setup()

# %% [markdown]
# ## A table of rows
#
# `vocab_size` rows of `dim` numbers. An id picks its row, and that is all. It is the same as
# multiplying a row of zeros with a single one by the table, only without the work.

# %%
import torch

table = torch.arange(12.0).view(4, 3)  # vocab_size 4, dim 3
ids = torch.tensor([2, 0, 2])
one_hot = torch.nn.functional.one_hot(ids, 4).float()  # (3, 4)
print(table[ids])
assert torch.equal(table[ids], one_hot @ table)

# %% [markdown]
# ## The article's example: [79] to [79 × 4096]
#
# Seventy-nine ids, GPT-2's vocabulary, vectors of 4096. For real, with what it weighs.

# %%
big = torch.nn.Embedding(50257, 4096)
vectors = big(torch.arange(79))
print(f"[79] -> {list(vectors.shape)}")
print(
    f"the table: {big.weight.numel():,} numbers, {big.weight.numel() * 4 / 2**30:.2f} GiB in fp32"
)
del big, vectors

# %% [markdown]
# ## Only what was read learns
#
# The gradient of the table is zero in every row that no id picked.

# %%
small = torch.nn.Embedding(8, 3)
small(torch.tensor([5, 1, 5])).sum().backward()
print(small.weight.grad.abs().sum(1))
assert small.weight.grad.abs().sum(1).nonzero()[:, 0].tolist() == [1, 5]

# %% [markdown]
# ## The line's own table
#
# The slow-cooked base of notebook 04 has read millions of tokens. Nobody told it what a food is.

# %%
from llmlab import kitchen
from llmlab.stages import embedding

model, tokenizer, _ = lab.latest("base", mine=False)
matrix = model.embed.weight.detach().cpu()
foods = list(kitchen.FOODS.values())
vectors = embedding.food_vectors(matrix, tokenizer, foods)
print(f"table {list(matrix.shape)}, {len(foods)} foods {list(vectors.shape)}")

# %% [markdown]
# ## Neighbours

# %%
by_name = {food.name: i for i, food in enumerate(foods)}
for name in ("chicken", "lemon", "basil", "butter", "cinnamon", "rice", "walnuts", "honey"):
    near = embedding.neighbours(vectors, by_name[name])
    print(f"{name:>9}: {', '.join(foods[i].name for i in near)}")

# %% [markdown]
# ## A map
#
# 160 dimensions, pressed flat along the two in which foods differ most (PCA). Near on the map is
# not always near in the table, but kinds gather all the same.

# %%
from llmlab import figures as style

flat = embedding.flatten(vectors)
style.scatter(
    flat[:, 0].tolist(), flat[:, 1].tolist(), "", "", [f.family for f in foods],
    "Foods in the base's token table", names=[f.name for f in foods],
)  # fmt: skip

# %% [markdown]
# ## Measured, not only admired
#
# For how many foods is the nearest neighbour of their own family (protein, greens, nuts ...)?

# %%
families = [food.family for food in foods]
figures = embedding.run(lab)
lab.report("embedding", figures)
print(f"of their own family: {figures['same_family_rate']:.0%}; by lot {figures['chance']:.0%}")

# %% [markdown]
# ## Watch it happen
#
# While the base was cooked, its table was kept at twelve steps. At first neighbours are chance;
# then the foods gather.

# %%
steps = embedding.snapshots(lab)
rates = [
    embedding.same_rate(embedding.food_vectors(m, tokenizer, foods), families)
    for m in steps.values()
]
for step, rate in zip(steps, rates, strict=True):
    print(f"step {step:>5}  {'#' * round(60 * rate)} {rate:.0%}")

# %%
from llmlab.widgets.loss_curve import LossCurve

curve = LossCurve("Foods beside their own family", y_label="share", log_x=True)
curve.overlay("nearest neighbour", steps, rates)
curve.overlay("by lot", [min(steps), max(steps)], [figures["chance"]] * 2)
curve

# %% [markdown]
# ## Recap
#
# An embedding is a table; looking up is a product with a one-hot row; what the rows mean is
# learned from nothing but which tokens keep which company.
#
# **At full size** the table is the same, with more rows and columns.
#
# **Further reading**: Bengio et al. 2003, *A Neural Probabilistic Language Model*; Mikolov et al.
# 2013, *Efficient Estimation of Word Representations*; Press & Wolf 2017, *Using the Output
# Embedding*.
#
# [Next: 04 Pretraining](04_pretraining.ipynb)
