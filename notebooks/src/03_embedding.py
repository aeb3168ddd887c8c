# ---
# jupyter:
#   llmlab:
#     minutes: 25
#     budget_s: 60
# ---

# %% [markdown]
# # 03 Embedding: a number becomes a place
#
# **You will be able to** say what an embedding is and what it costs, find a word's neighbours in
# one, and show that training puts foods of a family side by side.
#
# *25 minutes. Needs: a laptop. Each notebook runs alone.*

# %%
import llmlab

lab = llmlab.setup()

# %% [markdown]
# ## A table of rows
#
# **Claim: an embedding is a table, and looking up is a matrix product.** The table has
# `vocab_size` rows of `dim` numbers. An id picks its row:

# %%
import torch
from torch.nn.functional import one_hot

table = torch.tensor([[0.0, 1, 2], [10, 11, 12], [20, 21, 22], [30, 31, 32]])  # (V = 4, dim = 3)
ids = torch.tensor([2, 0, 2])
print(table[ids])

# %% [markdown]
# The same by multiplication: each id becomes a row of zeros with a single one. The product is all
# zeros but for the row that was asked for, so nobody computes it that way.

# %%
switches = one_hot(ids, num_classes=4).float()  # (3, V)
print(switches)
assert torch.equal(switches @ table, table[ids])
embedding = torch.nn.Embedding.from_pretrained(table)
assert torch.equal(embedding(ids), table[ids])

# %% [markdown]
# ## The article's example: 79 ids become 79 vectors of 4096
#
# For real, with GPT-2's ids of one of our own recipes, a table as wide as the article's, and what
# it weighs.

# %%
from llmlab import artifacts
from llmlab.stages.data import read_recipes
from llmlab.stages.tokenization import get_encoding

gpt2 = get_encoding("gpt2")
recipe = read_recipes(artifacts.data_dir() / "house" / "recipes.json")[0]
ids = torch.tensor(gpt2.encode(recipe.text())[:79])
wide = torch.nn.Embedding(gpt2.n_vocab, 4096)
vectors = wide(ids)
print(f"{list(ids.shape)} -> {list(vectors.shape)}, {vectors.nbytes / 2**20:.2f} MiB in fp32")
weight = wide.weight
print(f"table {list(weight.shape)}: {weight.numel():,} numbers, {weight.nbytes / 2**30:.2f} GiB")
print(f"looked at for this text: {len(ids.unique())} rows, {len(ids.unique()) / len(weight):.2%}")
del wide, weight, vectors

# %% [markdown]
# ## Only what was read learns
#
# The gradient of a look-up is zero in each row that no id picked, and a row picked twice gets the
# sum. (Our own model uses its table a second time, turned round, as the output head: there every
# row is a candidate, and learns a little at each step. Press & Wolf 2017.)

# %%
small = torch.nn.Embedding(6, 3)
ids = torch.tensor([4, 1, 4])
small(ids).sum().backward()
print(small.weight.grad)
by_product = one_hot(ids, 6).float().T @ torch.ones(3, 3)  # (V, 3) @ (3, dim)
assert torch.equal(small.weight.grad, by_product)

# %% [markdown]
# ## Our own model's table
#
# The slow-cooked base of notebook 04 has done nothing but guess next tokens. Does its table know
# what a food is?

# %%
from llmlab import kitchen
from llmlab.stages import embedding

model, tokenizer, _ = lab.latest("base", mine=False)
matrix = model.embed.weight.detach().float().cpu()
foods = list(kitchen.FOODS.values())
vectors = embedding.word_vectors(matrix, tokenizer, kitchen.names(foods))
print(f"table {list(matrix.shape)}, {len(foods)} foods {list(vectors.shape)}")
print(f"{matrix.numel() / sum(p.numel() for p in model.parameters()):.0%} of all parameters")

# %% [markdown]
# ## Neighbours
#
# Vectors that point the same way have a cosine near one. By hand for one food, then the package's
# for several:

# %%
place = {food.name: i for i, food in enumerate(foods)}
cosines = {name: (vectors[place["lemon"]] @ vectors[i]).item() for name, i in place.items()}
closest = sorted(cosines, key=cosines.get, reverse=True)[1:6]
print({name: round(cosines[name], 2) for name in closest})
assert closest == [foods[i].name for i in embedding.neighbours(vectors, place["lemon"])]
for name in ("chicken", "basil", "butter", "cinnamon", "rice", "walnuts", "honey", "tofu"):
    near = embedding.neighbours(vectors, place[name])
    print(f"{name:>9}: {', '.join(foods[i].name for i in near)}")

# %% [markdown]
# ## A map
#
# All those dimensions, pressed flat along the two in which foods differ most (PCA). Near on the map
# is not always near in the table, but families gather all the same.

# %%
from llmlab import figures as style

families = [food.family for food in foods]
plane = embedding.plane(vectors)  # (dim, 2)
flat = vectors @ plane  # (foods, 2)
style.scatter(
    *flat.T.tolist(), "first direction", "second direction", families,
    "Foods in the base's table", names=[food.name for food in foods],
)  # fmt: skip

# %% [markdown]
# ## Measured, not only admired
#
# **Claim: training has put foods of a family together.** For how many foods is the nearest
# neighbour one of their own family, and for how many would it be by lot?

# %%
figures = embedding.run(lab)
lab.report("embedding", figures)
print(f"of their own family {figures['same_family_rate']:.0%}, by lot {figures['chance']:.0%}")

# %% [markdown]
# ## Did we put it there ourselves?
#
# A fair doubt: our mixture *swaps* foods inside a family, so they share their company by our doing.
# The control: words of the kitchen that nobody ever swapped.

# %%
KITCHEN = {
    "measures": "cup cups teaspoon tablespoon teaspoons tablespoons pound pounds ounces grams",
    "verbs": "stir mix combine pour bake cook boil simmer heat place remove serve cover drain",
    "vessels": "pan pot bowl saucepan skillet oven dish plate sheet",
    "cuts": "chopped sliced minced diced grated peeled crushed ground",
    "times": "minute minutes hour hours days years",
    "numbers": "two three four five six seven eight ten",
    "colours": "red green white black brown golden",
}
groups = {word: group for group, line in KITCHEN.items() for word in line.split()}
words, sorts = list(groups), list(groups.values())
others = embedding.word_vectors(matrix, tokenizer, words)
rate, lot = embedding.same_rate(others, sorts), embedding.chance(sorts)
print(f"never swapped: {rate:.0%} beside their own sort, by lot {lot:.0%}")
for word in ("teaspoon", "simmer", "skillet", "diced"):
    near = embedding.neighbours(others, words.index(word), 4)
    print(f"{word:>9}: {', '.join(words[i] for i in near)}")

# %% [markdown]
# ## Watch it happen
#
# While the base was cooked, its table was kept at several steps. At first neighbours are chance.
# Then words gather by the company they keep: those of the kitchen first, the foods after them.

# %%
by_step = embedding.snapshots(lab)  # step -> (V, dim)
steps = list(by_step)


def rates(words, labels):
    tables = (embedding.word_vectors(m, tokenizer, words) for m in by_step.values())
    return [embedding.same_rate(vectors, labels) for vectors in tables]


style.lines(
    {"foods": (steps, rates(kitchen.names(foods), families)),
     "words never swapped": (steps, rates(words, sorts)),
     "foods by lot": (steps, [figures["chance"]] * len(steps))},
    "training step", title="Whose nearest neighbour is of their own sort", log_x=True,
    per_cent=True,
)  # fmt: skip

# %% [markdown]
# The same as a film: the foods on the map above, from the first kept step to the last.

# %%
frames = {}
for step in (steps[0], steps[-6], steps[-4], steps[-1]):
    then = embedding.word_vectors(by_step[step], tokenizer, kitchen.names(foods))
    frames[f"step {step:,}"] = (then @ plane).T.tolist()
style.film(frames, families)

# %% [markdown]
# ## Recap
#
# An embedding is a table; looking up is a product with a one-hot row; only rows that were read
# learn; and what they learn comes from the company that a token keeps.
#
# **At full size** the table has more rows and columns, and is a smaller part of the whole.

# %% [markdown]
# **Further reading**: Bengio et al. 2003, *A Neural Probabilistic Language Model*; Mikolov et al.
# 2013, *Efficient Estimation of Word Representations in Vector Space*; Press & Wolf 2017, *Using
# the Output Embedding to Improve Language Models*; Mu & Viswanath 2018, *All-but-the-Top*.
#
# [Next: 04 Pretraining](04_pretraining.ipynb)
