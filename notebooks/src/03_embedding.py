# ---
# jupyter:
#   llmlab:
#     minutes: 40
#     budget_s: 60
# ---

# %% [markdown]
# # 03 Embedding: a number becomes a place
#
# **You will be able to** say what an embedding is and what it costs, show which of its rows learn,
# turn a vector by its position, find a word's neighbours, and tell what a map or an analogy proves
# from what it only seems to.
#
# *40 minutes. Needs: a laptop. Each notebook runs alone.*
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
# The same by multiplication: each id becomes a row of zeros with a single one, a *one-hot* row.
# The product is a sum of the table's rows in which all but one are taken zero times.

# %%
from llmlab import figures as style

switches = one_hot(ids, num_classes=4).float()  # (T, V)
assert torch.equal(switches @ table, table[ids])
assert torch.equal(torch.nn.Embedding.from_pretrained(table)(ids), table[ids])
style.matrices({"one-hot ids (T × V)": switches, "table (V × dim)": table,
                "vectors (T × dim)": table[ids]}, signs=("@", "="))  # fmt: skip

# %% [markdown]
# ## Nobody multiplies
#
# **Claim: the product does V times the work for the same answer.** Both ways timed, for as many ids
# as the article's text has, at a growing vocabulary. The look-up does not care how long the table
# is.

# %%
import timeit


def seconds(function):
    return min(timeit.repeat(function, number=1, repeat=7))


def both_ways(size):
    rows, picked = torch.randn(size, 128), torch.randint(size, (79,))
    hot = one_hot(picked, size).float()
    assert torch.allclose(hot @ rows, rows[picked])
    return seconds(lambda: rows[picked]), seconds(lambda: hot @ rows)


sizes = [2**k for k in (10, 12, 14, 16)]
look_up, product = zip(*map(both_ways, sizes), strict=True)

# %%
figure, ax = style.axes("79 ids become vectors of 128, microseconds")
for i, (name, times) in enumerate({"look-up": look_up, "product": product}.items()):
    drawn = ax.bar([x + 0.4 * i for x in range(len(sizes))], [1e6 * t for t in times], 0.38,
                   label=name, color=style.COLOURS[i])  # fmt: skip
    ax.bar_label(drawn, [f"{1e6 * t:,.0f}" for t in times], fontsize=7, padding=1)
ax.set_xticks([x + 0.2 for x in range(len(sizes))], [f"{size:,} rows" for size in sizes])
ax.set_yscale("log")
ax.set_ylim(1, 4e6 * max(product))
ax.legend(frameon=False, fontsize=8, loc="upper left")
style.finish(figure)

# %% [markdown]
# ## The article's example: [79] → [79 × 4096]
#
# For real: the article's 79 ids of GPT-2, and a table as wide as the article's. The text takes
# little; the table it is looked up in takes hundreds of times as much.

# %%
from llmlab.stages import tokenization

article = torch.tensor(tokenization.ARTICLE)
vocab_size, dim = 50257, 4096
wide = torch.nn.Embedding(vocab_size, dim)
vectors = wide(article)  # (79, 4096)
used = article.unique()
print(f"{list(article.shape)} -> {list(vectors.shape)}, {vectors.nbytes / 2**20:.2f} MiB in fp32")
print(f"table {list(wide.weight.shape)}: {wide.weight.numel():,} numbers, "
      f"{wide.weight.nbytes / 2**20:.0f} MiB in fp32, half of that in 16 bits")  # fmt: skip
del wide, vectors

# %% [markdown]
# The whole table as a strip, with a line for each row that this text reads. Frequent words have
# small ids, so the lines crowd on the left; most of the table is never looked at.

# %%
share = len(used) / vocab_size
figure, ax = style.axes(f"{len(used)} of {vocab_size:,} rows are read: {share:.2%}", 7.6, 1.2)
ax.vlines(used.tolist(), 0, 1, color=style.COLOURS[0], lw=0.8)
ax.set(xlim=(0, vocab_size), ylim=(0, 1), yticks=[], xlabel="row of the table")
ax.set_xticks(range(0, 50_001, 10_000), [f"{n:,}" for n in range(0, 50_001, 10_000)])
ax.grid(False)
style.finish(figure)

# %% [markdown]
# ## Only what was read learns
#
# **Claim: the gradient of a look-up is zero in each row that no id picked.** A row that was picked
# twice gets the sum of both. It is the same product again, turned round.

# %%
small, ids = torch.nn.Embedding(6, 3), torch.tensor([4, 1, 4])
arriving = torch.tensor([[1.0, 2, 3], [5, 5, 5], [10, 20, 30]])  # (T, dim): what comes back
(small(ids) * arriving).sum().backward()
turned = one_hot(ids, 6).float().T  # (V, T)
assert torch.equal(small.weight.grad, turned @ arriving)
style.matrices({"one-hot, turned": turned, "arriving at ids 4, 1, 4": arriving,
                "gradient of the table": small.weight.grad}, signs=("@", "="))  # fmt: skip

# %% [markdown]
# ### Exercise 1 · ●●○ · 5 min
# Write `table_gradient(ids, arriving, vocab_size)` without one-hot rows: the gradient of the
# table, (V, dim), from `ids` (T,) and what arrives at the vectors, (T, dim). Start with zeros and
# go through the ids.
#
# <details><summary>Hint</summary>
#
# What should happen when an id comes for the second time? For large inputs, tensors have
# `index_add_`.
#
# </details>

# %%
from llmlab.classroom import check


def table_gradient(ids, arriving, vocab_size):
    ### BEGIN SOLUTION
    gradient = torch.zeros(vocab_size, arriving.shape[1])
    for i, row in zip(ids, arriving, strict=True):
        gradient[i] += row
    return gradient
    ### END SOLUTION


check("03.gradient", table_gradient)

# %% [markdown]
# ## The table serves twice
#
# **Claim: turned round, the table is the output head.** To guess the next token a model compares
# its last state with every row: the logit is their product, a similarity. Here is our own base, the
# slow-cooked one of notebook 04.

# %%
from dataclasses import replace

model, tokenizer, _ = lab.latest("base", mine=False)
model = model.cpu()
model.compute_dtype = torch.float32
matrix = model.embed.weight.detach()  # (V, dim)
guesses = {}
for text in ("Melt the", "In a large"):
    ids = torch.tensor([tokenizer.encode(text)])
    with torch.no_grad():
        state = model.hidden(ids)[0, -1]  # (dim,)
        assert torch.allclose(state @ matrix.T, model(ids)[0, -1], atol=1e-4)
    chances, best = (state @ matrix.T).softmax(0).topk(4)
    found = zip(map(tokenizer.decode, best[:, None].tolist()), chances.tolist(), strict=True)
    guesses[f"{text} …"] = {token: (p, f"{p:.0%}") for token, p in found}
style.shares(guesses)

# %% [markdown]
# Two tables for the price of one (Press & Wolf 2017). What it saves is little in a large model,
# and much in a small one:

# %%
from llmlab.stages import costs

llama = costs.published("LLaMA 7B")
for name, shape in (("this series", model.config), ("LLaMA 7B", llama.shape)):
    saved = shape.vocab_size * shape.dim
    untied = costs.total(replace(shape, tie_embeddings=False))
    print(f"{name:>11}: {saved:>11,} numbers, {saved / untied:.1%} of the untied model")

# %% [markdown]
# It also changes who learns. As a head, every row was a candidate, so every row gets a gradient:
# the right one is pulled towards the state, all others are pushed away. Here the two uses are
# taken apart, on one of our own recipes.

# %%
from llmlab import artifacts
from llmlab.core.losses import next_token_loss
from llmlab.core.model import Transformer
from llmlab.corpus.corpus import read_recipes

recipe = read_recipes(artifacts.data_dir() / "house" / "recipes.json")[0]
ids = torch.tensor([tokenizer.encode(recipe.text())[:80]])
untied = Transformer(replace(model.config, tie_embeddings=False))
untied.load_state_dict(model.state_dict())  # equal numbers, in two tables
for each in (model, untied):
    next_token_loss(each(ids[:, :-1]), ids[:, 1:]).backward()
looked_up, as_head = untied.embed.weight.grad, untied.head.weight.grad
assert torch.allclose(model.embed.weight.grad, looked_up + as_head, atol=1e-6)
model.zero_grad()

# %%
figure, ax = style.axes(width=7.6, height=3)
shown = {"as head": as_head, "as look-up": looked_up}
for i, (name, gradient) in enumerate(shown.items()):
    norms = gradient.norm(dim=1)
    rows = norms.nonzero().flatten()
    ax.scatter(rows, norms[rows], s=(4, 16)[i], marker="os"[i], color=style.COLOURS[1 - i], lw=0,
               alpha=0.7, label=f"{name}: {len(rows):,} of {len(norms):,} rows")  # fmt: skip
ax.set(yscale="log", xlabel="row of our table", ylabel="length of the gradient")
ax.legend(frameon=False, fontsize=8, ncols=2, loc="lower center", bbox_to_anchor=(0.5, 1))
ax.set_title("How strongly one text moves each row", loc="left", fontsize=10, pad=22)
style.finish(figure)

# %% [markdown]
# ## A table knows no order
#
# **Claim: a look-up gives each word the same vector wherever it stands.** Two requests that nobody
# should confuse, and what the table makes of them:

# %%
orders = ["pour the milk into the flour", "pour the flour into the milk"]
first, second = (matrix[tokenizer.encode(" " + text)] for text in orders)
print(f"the same vectors, in another order: {torch.equal(first.sort(0)[0], second.sort(0)[0])}")

# %% [markdown]
# ## Position is an angle
#
# RoPE (Su et al. 2021) leaves the table alone. It takes the numbers of a query or key in pairs, and
# turns each pair, like a clock's hand, by an angle that grows with the position. By hand, for the
# pair (1, 0) at positions 0 to 3:

# %%
import math

frequency, x, y = 0.5, 1.0, 0.0  # radians for each position; the pair
for position in range(4):
    cos, sin = math.cos(position * frequency), math.sin(position * frequency)
    print(f"{position}: ({cos * x - sin * y:6.3f}, {sin * x + cos * y:6.3f})")

# %% [markdown]
# Each pair has a clock of its own: the first goes round in six steps, the last hardly moves. So the
# fast hands tell neighbours apart, and the slow ones tell far from near, as seconds and hours do.

# %%
from matplotlib.patches import Circle

head_dim, theta = model.config.head_dim, model.config.rope_theta
pairs = torch.arange(head_dim // 2)
frequencies = theta ** (-2 * pairs / head_dim)  # (pairs,)
positions = torch.arange(24)
angles = positions[:, None] * frequencies  # (T, pairs)
figure, ax = style.axes("The angle by position and pair", width=7.6, height=3.1)
for y, pair in enumerate(range(0, 16, 2)):
    for x, angle in enumerate(angles[:, pair].tolist()):
        ax.add_patch(Circle((x, y), 0.42, fc="white", ec="#bbbbbb"))
        ax.plot([x, x + 0.38 * math.sin(angle)], [y, y - 0.38 * math.cos(angle)], lw=2,
                color=style.COLOURS[0])  # fmt: skip
ax.set(aspect="equal", xlim=(-0.6, 23.6), ylim=(7.6, -0.6), xlabel="position")
ax.set_yticks(range(8), [f"pair {p}: {2 * math.pi / frequencies[p]:,.0f}" for p in range(0, 16, 2)])
ax.set_ylabel("steps to go round")
ax.grid(False)
style.finish(figure)

# %% [markdown]
# All pairs of a vector at once: as complex numbers, turning is one multiplication. The package
# keeps to plain numbers, pairs number i with number i + head_dim/2, and agrees.

# %%
from llmlab.core.model import apply_rope, rope_table

x = torch.randn(24, head_dim)  # a query for each position
left, right = x.chunk(2, dim=-1)
turned = torch.complex(left, right) * torch.polar(torch.ones_like(angles), angles)
by_hand = torch.cat((turned.real, turned.imag), dim=-1)
assert torch.allclose(by_hand, apply_rope(x, rope_table(24, head_dim, theta)), atol=1e-5)
assert torch.equal(model.rope[:, :24], rope_table(24, head_dim, theta))
print(f"lengths stay: {torch.allclose(by_hand.norm(dim=1), x.norm(dim=1))}")

# %% [markdown]
# ### Exercise 2 · ●●○ · 5 min
# Write `rotate(pair, position, frequency)`: the pair (x, y), turned by position × frequency, in
# radians, against the clock. Give back two numbers.
#
# <details><summary>Hint</summary>
#
# One quarter of a turn makes (1, 0) into (0, 1), and (0, 1) into (-1, 0). Each new number is made
# of both old ones. `math.cos` and `math.sin` take radians.
#
# </details>


# %%
def rotate(pair, position, frequency):
    ### BEGIN SOLUTION
    x, y = pair
    cos, sin = math.cos(position * frequency), math.sin(position * frequency)
    return cos * x - sin * y, sin * x + cos * y
    ### END SOLUTION


check("03.rotate", rotate)

# %% [markdown]
# ## Only the distance counts
#
# **Claim: after the turn, the score of a query and a key depends on how far apart they are, and on
# nothing else.** Turn both hands of a clock, and the angle between them stays. One query and one
# key, put at each of 24 positions: along a diagonal all scores are equal.

# %%
query, key = torch.randn(2, head_dim, generator=torch.Generator().manual_seed(3)).unbind()
table_24 = rope_table(24, head_dim, theta)
queries, keys = (apply_rope(v.expand(24, -1), table_24) for v in (query, key))
scores = queries @ keys.T  # (query's position, key's position)
assert torch.allclose(scores[1:, 1:], scores[:-1, :-1], atol=1e-4)
figure, (grid, curve) = style.axes("Scores by position", width=7.6, height=3, columns=2)
shown = grid.imshow(scores, cmap="cividis")
grid.grid(False)
grid.set(xlabel="the key's position", ylabel="the query's position")
figure.colorbar(shown, ax=grid, shrink=0.8)
away = range(-23, 24)
curve.plot(away, [scores.diagonal(d).mean() for d in away], "o-", ms=3, color=style.COLOURS[0])
curve.set_title("The same, by distance alone", loc="left", fontsize=10)
curve.set(xlabel="the key's position minus the query's", ylabel="score")
style.finish(figure)

# %% [markdown]
# ## What training does to the table
#
# Our base has done nothing but guess next tokens. Does its table know what a food is? Each food
# becomes a direction: its row, less the mean of all rows, at length one. For all rows lean the
# same way (as a head, each text pushes nearly all of them away: Gao et al. 2019), and what all
# share says nothing about any of them.

# %%
from llmlab import kitchen
from llmlab.stages import embedding

foods = list(kitchen.FOODS.values())
vectors = embedding.word_vectors(matrix, tokenizer, kitchen.names(foods))  # (foods, dim)
place = {food.name: i for i, food in enumerate(foods)}
row = matrix[tokenizer.encode(" lemon")].mean(0) - matrix.mean(0)
assert torch.allclose(row / row.norm(), vectors[place["lemon"]], atol=1e-5)
raw = torch.nn.functional.normalize(matrix, dim=1)
centred = embedding.directions(matrix, matrix)
print(f"{len(foods)} foods, {list(vectors.shape)}")
for name, rows in (("rows as they are", raw), ("less their mean", centred)):
    print(f"{name:>16}: the cosine of two rows is {(rows @ rows.T).mean():.2f} on average")

# %% [markdown]
# ## Neighbours
#
# Vectors that point the same way have a cosine near one. At length one, the cosine is the product.
# By hand for one food, then the package's for several:

# %%
cosines = {name: (vectors[place["lemon"]] @ vectors[i]).item() for name, i in place.items()}
closest = sorted(cosines, key=cosines.get, reverse=True)[1:6]
print({name: round(cosines[name], 2) for name in closest})
assert closest == [foods[i].name for i in embedding.neighbours(vectors, place["lemon"])]
for name in ("chicken", "basil", "butter", "cinnamon", "rice", "walnuts", "honey", "tofu"):
    near = embedding.neighbours(vectors, place[name])
    print(f"{name:>9}: {', '.join(foods[i].name for i in near)}")

# %% [markdown]
# ### Exercise 3 · must · ●●○ · 6 min
# Write `nearest(table, i, n)`: the numbers of the n rows with the greatest cosine to row i, nearest
# first, as a list. Rows are of any length, and row i itself is no answer.
#
# <details><summary>Hint</summary>
#
# The cosine of two vectors is their product, divided by both lengths. `argsort(descending=True)`
# gives the order.
#
# </details>


# %%
def nearest(table, i, n):
    ### BEGIN SOLUTION
    unit = table / table.norm(dim=1, keepdim=True)
    order = (unit @ unit[i]).argsort(descending=True).tolist()
    return [j for j in order if j != i][:n]
    ### END SOLUTION


check("03.nearest", nearest)

# %% [markdown]
# ## Measured, not only admired
#
# **Claim: training has put foods of a family together.** For how many foods is the nearest
# neighbour one of their own family, and for how many would it be by lot?

# %%
figures = embedding.run(lab)
lab.report("embedding", figures)
print(f"of their own family {figures['same_family_rate']:.0%}, by lot {figures['chance']:.0%}")
print(f"of their own kind   {figures['same_kind_rate']:.0%}, by lot {figures['chance_kind']:.0%}")

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
rate, lot = embedding.same_rate(others, sorts), embedding.chance_rate(sorts)
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
steps, families = list(by_step), [food.family for food in foods]


def history(words):
    return {step: embedding.word_vectors(m, tokenizer, words) for step, m in by_step.items()}


of_foods, of_words = history(kitchen.names(foods)), history(words)
style.lines(
    {"foods": (steps, [embedding.same_rate(v, families) for v in of_foods.values()]),
     "words never swapped": (steps, [embedding.same_rate(v, sorts) for v in of_words.values()]),
     "foods by lot": (steps, [figures["chance"]] * len(steps)),
     "words by lot": (steps, [lot] * len(steps))},
    "training step", title="Whose nearest neighbour is of their own sort", log_x=True,
    per_cent=True,
)  # fmt: skip

# %% [markdown]
# ## A map
#
# All those dimensions, pressed flat along the two in which foods differ most: principal component
# analysis. Ours agrees with scikit-learn's, up to the sign of each direction. As a film, from the
# first kept step to the last:

# %%
from sklearn.decomposition import PCA

plane = embedding.plane(vectors)  # (dim, 2)
theirs = torch.from_numpy(PCA(2).fit_transform(vectors.numpy()))  # (foods, 2)
ours = (vectors - vectors.mean(0)) @ plane
assert torch.allclose(theirs.abs(), ours.abs(), atol=1e-4)
shown = (steps[0], *steps[-5:-3], steps[-1])
frames = {f"step {step:,}": (of_foods[step] @ plane).T.tolist() for step in shown}
style.film(frames, families)

# %% [markdown]
# The same map to play with: click a food for its neighbours, move the slider to go back in time,
# ask for an analogy. Cosines are reckoned in all dimensions, whatever the map shows.

# %%
from llmlab.widgets.embedding_map import EmbeddingMap

EmbeddingMap(
    of_foods, kitchen.names(foods), families, "Foods in the base's table",
    analogies=[("bread", "flour", "milk", "cheese"), ("lime", "lemon", "onions", "garlic"),
               ("chocolate", "cocoa", "sugar", "honey")],
)  # fmt: skip

# %% [markdown]
# ## What a map distorts
#
# **Claim: no flat map is true to a hundred dimensions.** Two questions for a map: are a point's
# five nearest on it the true five? And are pairs that lie far apart on it truly far apart? By hand
# for one food, then the package's for all.

# %%
true = embedding.neighbours(vectors, place["lemon"])
across = (ours - ours[place["lemon"]]).norm(dim=1)
drawn = across.argsort()[1:6].tolist()
print("in the table:", [foods[i].name for i in true])
print("on the map:  ", [foods[i].name for i in drawn])
print(
    f"kept {len({*true} & {*drawn})} of 5; "
    f"over all foods {embedding.neighbours_kept(vectors, ours):.0%}"
)

# %% [markdown]
# t-SNE (van der Maaten & Hinton 2008) is made for the first question: it moves points about until
# near ones are near, and lets all other distances go. It starts at random places, and *perplexity*
# says how many neighbours a point should mind.

# %%
maps = {"PCA": ours / ours.norm(dim=1).max()}
for perplexity, seed in ((15, 0), (15, 1), (30, 0)):
    maps[f"t-SNE {perplexity}, seed {seed}"] = embedding.tsne(vectors, perplexity, seed)
style.film({name: flat.T.tolist() for name, flat in maps.items()}, families)

# %%
random = torch.randn(len(foods), 2, generator=torch.Generator().manual_seed(0))
measured = maps | {"by lot": random}
near = [embedding.neighbours_kept(vectors, flat) for flat in measured.values()]
far = [embedding.distance_correlation(vectors, flat) for flat in measured.values()]
style.bars({"the five nearest": near, "the order of distances": far},
           [name.replace(", ", "\n") for name in measured], "What a map keeps")  # fmt: skip

# %% [markdown]
# So the choice depends on the question. PCA loses most neighbours and t-SNE keeps most; about far
# and near neither is to be trusted much, and another seed of t-SNE is another picture. Neither is
# the table: what counts is measured there. The foods by t-SNE, with names:

# %%
style.scatter(*maps["t-SNE 15, seed 0"].T.tolist(), "", "", families,
              "Foods by t-SNE: read who is near, not how far", kitchen.names(foods))  # fmt: skip

# %% [markdown]
# ## An island that is our own doing
#
# **Claim: foods that are spelled in pieces lie beside each other, whatever they are.** One island
# mixes families. Its foods have no token of their own: their directions are means of pieces such as
# *c* or *ies*, and many words share those.

# %%
pieces = [len(tokenizer.encode(f" {food.name}")) > 1 for food in foods]
nearest_one = [embedding.neighbours(vectors, i, 1)[0] for i in range(len(foods))]
beside = [pieces[j] for j, own in zip(nearest_one, pieces, strict=True) if own]
print(f"{sum(pieces)} of {len(foods)} foods are spelled in pieces, "
      f"and {sum(beside) / len(beside):.0%} of them lie beside another such")  # fmt: skip
for own, name in ((False, "one token"), (True, "in pieces")):
    hits = [families[i] == families[j] for i, j in enumerate(nearest_one) if pieces[i] == own]
    print(f"{name}: {sum(hits) / len(hits):.0%} beside their own family")

# %% [markdown]
# And t-SNE can make islands of nothing (Wattenberg et al. 2016). Here is pure noise, as many points
# in as many dimensions, with the families' colours on it:

# %%
noise = torch.randn(vectors.shape, generator=torch.Generator().manual_seed(1))
noise = torch.nn.functional.normalize(noise, dim=1)
of_noise = {f"noise, t-SNE {p}": embedding.tsne(noise, p).T.tolist() for p in (2, 5, 10, 30)}
style.film(of_noise, families)

# %% [markdown]
# ## Analogies
#
# The famous claim: king − man + woman ≈ queen (Mikolov et al. 2013). If adding a step in the table
# adds a meaning, then cups − cup + onion should land on *onions*. Every whole word of our
# vocabulary may be the answer.

# %%
tokens = [tokenizer.decode([i]) for i in range(tokenizer.vocab_size - len(tokenizer.specials))]
whole = embedding.whole_words(tokens)
names = list(whole)
every = embedding.directions(matrix[list(whole.values())], matrix)  # (words, dim)
number = {name: i for i, name in enumerate(names)}
cups, cup, onion = (number[word] for word in ("cups", "cup", "onion"))
target = every[cups] - every[cup] + every[onion]
by_hand = (every @ (target / target.norm())).argsort(descending=True)[:5].tolist()
print([names[i] for i in by_hand])
assert by_hand == embedding.analogy(every, cups, cup, onion, query=True)

# %% [markdown]
# The nearest word to the answer is the question: *onion* itself. So it is usual to leave the three
# given words out, and few papers say so loudly (Linzen 2016). Then *onions* comes first; other
# questions fare better or worse:

# %%
for a, b, c in (("cups", "cup", "onion"), ("stirring", "stir", "bake"), ("fish", "salmon", "beef"),
                ("bread", "flour", "milk")):  # fmt: skip
    found = embedding.analogy(every, number[a], number[b], number[c], 4)
    print(f"{a} - {b} + {c}: {', '.join(names[i] for i in found)}")

# %% [markdown]
# ## Counted
#
# **Claim: much of what looks like arithmetic is nearness.** Three relations, each pair asked of
# each other pair. The last bar is the control: forget the arithmetic, and take the word nearest to
# the third one.

# %%
RELATIONS = {
    "one, many": "cup cups, teaspoon teaspoons, tablespoon tablespoons, pound pounds, slice slices,"
    " minute minutes, hour hours, piece pieces, part parts, seed seeds, onion onions, egg eggs,"
    " pepper peppers, almond almonds, vegetable vegetables",
    "do, doing": "mix mixing, cook cooking, add adding, stir stirring, boil boiling, fry frying,"
    " serve serving, use using, make making, bake baking",
    "food, kind": "beef meat, pork meat, salmon fish, shrimp fish, onion vegetable,"
    " carrots vegetables, ginger spices, cumin spices",
}
rates = {
    name: embedding.analogy_rates(every, names, [tuple(p.split()) for p in line.split(", ")])
    for name, line in RELATIONS.items()
}
print(f"by lot {1 / (len(names) - 3):.2%}")
style.bars({way: [rates[name][way] for name in RELATIONS] for way in rates["one, many"]},
           list(RELATIONS), "Analogies that come out in our table")  # fmt: skip

# %% [markdown]
# With all words allowed, next to none comes out. With the query left out many do, but most plurals
# are nearest to their word anyway, without any arithmetic. What the arithmetic adds is the rest:
# a step from *stir* to *stirring* that other verbs share, now and then.

# %% [markdown]
# ### Exercise 4 · ●●● · 7 min
# Write `analogy(table, a, b, c)`: the number of the row nearest, by cosine, to a − b + c, where
# each row first goes to length one. The rows a, b and c are no answers.
#
# <details><summary>Hint</summary>
#
# Set the cosines of the three to minus infinity before you take the greatest. The sum itself need
# not be of length one: why?
#
# </details>


# %%
def analogy(table, a, b, c):
    ### BEGIN SOLUTION
    unit = table / table.norm(dim=1, keepdim=True)
    cosines = unit @ (unit[a] - unit[b] + unit[c])
    cosines[[a, b, c]] = -torch.inf
    return int(cosines.argmax())
    ### END SOLUTION


check("03.analogy", analogy)

# %% [markdown]
# ## Recap
#
# An embedding is a table; looking up is a product with one-hot rows that nobody computes. Only rows
# that were read learn; tied to the head, all of them do. Order comes later, as an angle. Training
# gathers words by the company they keep: measure that in the table, since maps and analogies show
# more than is there.
#
# **At full size** the table has more rows and columns, and is a smaller part of the whole.

# %%
from llmlab.classroom import show_progress

show_progress("03")

# %% [markdown]
# **Further reading**: Mikolov et al. 2013, *Efficient Estimation of Word Representations in Vector
# Space*; Linzen 2016, *Issues in Evaluating Semantic Spaces Using Word Analogies*; Press & Wolf
# 2017, *Using the Output Embedding to Improve Language Models*; Mu & Viswanath 2018,
# *All-but-the-Top*; Gao et al. 2019, *Representation Degeneration Problem in Training Natural
# Language Generation Models*; Su et al. 2021, *RoFormer*; van der Maaten & Hinton 2008,
# *Visualizing Data using t-SNE*; Wattenberg et al. 2016, *How to Use t-SNE Effectively*.
#
# A real model's table beside ours: [03b](extra/03b_real_embedding.ipynb).
#
# [Next: 04 Pretraining](04_pretraining.ipynb)
