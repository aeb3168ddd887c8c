# ---
# jupyter:
#   llmlab:
#     minutes: 20
#     budget_s: 120
# ---

# %% [markdown]
# # 03b Embedding, an extra: a real model's table
#
# **You will be able to** read the token matrix out of a real model's file, ask it what you asked
# ours, and say which of the famous examples survive a count.
#
# *20 minutes. Needs: notebook 03, the package gguf (`%pip install gguf==0.19.0`), and 93 MB of
# download, once.*
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
# ## The file
#
# SmolLM2-135M is a small language model of 2024 in the Llama layout, trained on two trillion tokens
# of the web. Its numbers are stored in 4 to 8 bits in a GGUF file, inside a Python package that is
# unpacked and never run. Two things in it concern us: the table, and the tokens that it is for.

# %%
from llmlab.corpus.sources import sources
from llmlab.stages import embedding

real, tokens = embedding.smollm2()  # (V, dim) in fp32, and V tokens
smollm2 = sources()["smollm2"]
print(f"{smollm2.title}; {smollm2.licence}, {smollm2.credit}")
print(f"table {list(real.shape)}: {real.numel():,} numbers, {real.nbytes / 2**20:.0f} MiB in fp32")
print("some tokens:", tokens[1000:1012])

# %% [markdown]
# Beside ours. Notebook 00's formula gives the whole of each model from its shape: both use the
# table twice, at the way in and at the way out.

# %%
from llmlab import figures as style
from llmlab.core.model import ModelConfig
from llmlab.stages import costs

model, tokenizer, _ = lab.latest("base", mine=False)
ours = model.embed.weight.detach().float().cpu()
shapes = {"SmolLM2": ModelConfig(vocab_size=49152, dim=576, n_layers=30, n_heads=9, n_kv_heads=3,
                                 head_dim=64, hidden_dim=1536, qk_norm=False),
          "ours": model.config}  # fmt: skip
of_all = {name: s.vocab_size * s.dim / costs.total(s) for name, s in shapes.items()}
style.shares({
    "rows": {name: (s.vocab_size, f"{s.vocab_size:,}") for name, s in shapes.items()},
    "numbers in a row": {name: (s.dim, f"{s.dim}") for name, s in shapes.items()},
    "share of all parameters": {name: (part, f"{part:.0%}") for name, part in of_all.items()},
})  # fmt: skip

# %% [markdown]
# ## The other door
#
# Most models come as a Hugging Face folder: a config.json and safetensors. `load_hf` reads those in
# the Llama and Qwen3 layouts, so you can put any such folder of yours in place of this model. Here
# our own goes out and comes back, number for number.

# %%
import tempfile

import torch

from llmlab.hub import load_hf, save_hf

with tempfile.TemporaryDirectory() as folder:
    save_hf(model, tokenizer, folder)
    again, its_tokenizer, _ = load_hf(folder)
assert torch.equal(again.embed.weight, ours)
assert its_tokenizer.encode("lemon soup") == tokenizer.encode("lemon soup")

# %% [markdown]
# ## Neighbours
#
# As in notebook 03: a word is its row, less the mean of all rows, at length one. Only words that
# are one token are asked, and only they may answer.

# %%
whole = embedding.whole_words(tokens, "[A-Z]?[a-z]{2,}")
names = list(whole)
every = embedding.directions(real[list(whole.values())], real)  # (words, dim)
number = {name: i for i, name in enumerate(names)}
print(f"{len(names):,} words, {list(every.shape)}")
for word in ("lemon", "Monday", "three", "king", "simmer", "France"):
    near = embedding.neighbours(every, number[word], 6)
    print(f"{word:>7}: {', '.join(names[i] for i in near)}")

# %% [markdown]
# The first neighbours of a word are often the word itself in another dress: its plural, its
# capital. A model must learn that *lemon* and *Lemon* belong together: for it they are two numbers.

# %%
import random

plain = [name for name in names if name.islower() and name.capitalize() in number]
chosen = random.Random(0).sample(plain, 300)
rank_one = [embedding.neighbours(every, number[name], 1)[0] for name in chosen]
same = [names[i] == name.capitalize() for name, i in zip(chosen, rank_one, strict=True)]
print(f"of {len(chosen)} words, {sum(same) / len(same):.0%} lie nearest to their own capital")

# %% [markdown]
# ## The same score
#
# **Claim: a real model's table sorts foods, too, though nobody swapped any in its text.** The foods
# that are one token there, and other words, by the share whose nearest neighbour is of their own
# sort.

# %%
from llmlab import kitchen

KITCHEN = {
    "measures": "cup cups teaspoon tablespoon teaspoons tablespoons pound pounds ounces grams",
    "verbs": "stir mix combine pour bake cook boil simmer heat place remove serve cover drain",
    "vessels": "pan pot bowl skillet oven dish plate sheet",
    "cuts": "chopped sliced minced peeled crushed ground",
    "times": "minute minutes hour hours days years",
    "numbers": "two three four five six seven eight ten",
    "colours": "red green white black brown golden",
}
WORLD = {
    "days": "Monday Tuesday Wednesday Thursday Friday Saturday Sunday",
    "countries": "France Italy Spain Germany Japan China India Brazil Egypt",
    "animals": "dog cat horse cow pig sheep lion tiger bear wolf",
    "family": "mother father sister brother uncle aunt son daughter",
    "tools": "hammer knife saw drill axe shovel spoon fork",
}

# %%
sorts = {w: sort for sort, line in KITCHEN.items() for w in line.split()}
world = {w: sort for sort, line in WORLD.items() for w in line.split() if w in number}
foods = [food for food in kitchen.FOODS.values() if food.name in number]
asked = {
    "foods by family": {food.name: food.family for food in foods},
    "foods by kind": {food.name: food.kind for food in foods},
    "other kitchen words": sorts,
    "the wider world": world,
}
scores = {"SmolLM2": [], "ours": [], "by lot": []}
for labels in asked.values():
    theirs, here = list(labels), list(labels.values())
    mine = embedding.word_vectors(ours, tokenizer, theirs)
    scores["SmolLM2"].append(embedding.same_rate(every[[number[w] for w in theirs]], here))
    scores["ours"].append(embedding.same_rate(mine, here))
    scores["by lot"].append(embedding.chance_rate(here))
style.bars(scores, [f"{name}\n({len(labels)} words)" for name, labels in asked.items()],
           "Whose nearest neighbour is of their own sort")  # fmt: skip

# %% [markdown]
# Ours is the better cook: it has read of little else, and its foods were swapped within their
# families. Of the wider world it knows less. The real model was never told what a family of foods
# is, and most of its foods know all the same. Its map, by t-SNE:

# %%
vectors = every[[number[food.name] for food in foods]]
flat = embedding.tsne(vectors, perplexity=30)
style.scatter(*flat.T.tolist(), "", "", [food.family for food in foods],
              "Foods in SmolLM2's table, by t-SNE", kitchen.names(foods))  # fmt: skip

# %%
flat = embedding.tsne(every[[number[word] for word in world]], perplexity=8)
style.scatter(*flat.T.tolist(), "", "", list(world.values()),
              "Words of the wider world in SmolLM2's table", list(world))  # fmt: skip

# %% [markdown]
# ## The famous examples
#
# Seven questions with a hoped-for answer, asked twice: any word may answer, then all but the three
# of the question. Without that rule most answers are a word of the question itself.

# %%
FAMOUS = ("king man woman queen", "Tuesday Monday Wednesday Thursday", "three two five six",
          "Paris France Italy Rome", "dogs dog cat cats", "better good bad worse",
          "German Germany Spain Spanish")  # fmt: skip
for question in FAMOUS:
    *given, hoped = question.split()
    a, b, c = (number[word] for word in given)
    first = names[embedding.analogy(every, a, b, c, 1, query=True)[0]]
    left = [names[i] for i in embedding.analogy(every, a, b, c, 4)]
    mark = "✓" if left[0] == hoped else "✗"
    asked_as = f"{given[0]} - {given[1]} + {given[2]}"
    print(f"{asked_as:>26}  any: {first:<10} left out: {mark} {', '.join(left)}")

# %% [markdown]
# ## Counted
#
# **Claim: the famous examples are the ones that work.** Six relations, each pair asked of each
# other one; and the control without any arithmetic, as in notebook 03.

# %%
RELATIONS = {
    "man,\nwoman": "man woman, king queen, father mother, son daughter, brother sister, he she,"
    " uncle aunt, boy girl, actor actress, prince princess",
    "capital": "France Paris, Italy Rome, Germany Berlin, Spain Madrid, England London,"
    " Japan Tokyo, Egypt Cairo, Russia Moscow",
    "next day": "Monday Tuesday, Wednesday Thursday, Friday Saturday, Tuesday Wednesday,"
    " Thursday Friday",
    "one,\nmany": "cup cups, hour hours, onion onions, egg eggs, dog dogs, cat cats, king kings",
    "do,\ndoing": "mix mixing, cook cooking, add adding, stir stirring, boil boiling, bake baking",
    "more": "big bigger, small smaller, good better, bad worse, fast faster, high higher",
}
rates = {
    name: embedding.analogy_rates(every, names, [tuple(p.split()) for p in line.split(", ")])
    for name, line in RELATIONS.items()
}
style.bars({way: [rates[name][way] for name in RELATIONS] for way in rates["more"]},
           list(RELATIONS), "Analogies that come out in SmolLM2's table")  # fmt: skip

# %% [markdown]
# Some steps are real directions here: from man to woman, from a country to its capital, from *big*
# to *bigger*, arithmetic finds far more than nearness does. Plurals need none. And for days it
# does harm: Tuesday lies so near to Monday that it is found without.

# %% [markdown]
# ## A rule that makes scandals
#
# doctor − man + woman: the answer *nurse* made headlines. But the rule forbids *doctor* to answer,
# so a table could not even say that a woman may be one (Nissim et al. 2020). What this one says,
# with the rule and without:

# %%
for question in ("doctor man woman", "doctor woman man"):
    a, b, c = (number[word] for word in question.split())
    ranked = [names[i] for i in embedding.analogy(every, a, b, c, 200, query=True)]
    place = ranked.index("nurse") + 1 if "nurse" in ranked else "beyond 200"
    away, to = question.split()[1:]
    print(f"doctor - {away} + {to}: {', '.join(ranked[:6])}; nurse at place {place}")

# %% [markdown]
# ## Recap
#
# A real table answers to the same questions as ours: neighbours, sorts, analogies. It knows the
# world, ours the kitchen. Its arithmetic is partly real, and every count of it depends on a rule
# that is easily left unsaid.
#
# **At full size** a table has a hundred thousand rows and more, and `load_hf` reads them alike.

# %% [markdown]
# **Further reading**: Allal et al. 2025, *SmolLM2: When Smol Goes Big*; Mikolov et al. 2013,
# *Linguistic Regularities in Continuous Space Word Representations*; Linzen 2016, *Issues in
# Evaluating Semantic Spaces Using Word Analogies*; Nissim et al. 2020, *Fair Is Better than
# Sensational: Man Is to Doctor as Woman Is to Doctor*; Ethayarajh et al. 2019, *Towards
# Understanding Linear Word Analogies*.
#
# [Back to 03 Embedding](../03_embedding.ipynb)
