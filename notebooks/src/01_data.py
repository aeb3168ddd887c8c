# ---
# jupyter:
#   llmlab:
#     minutes: 30
#     budget_s: 90
# ---

# %% [markdown]
# # 01 Data: what a model will become
#
# **You will be able to** turn a raw pile of text into a training mixture: get it, clean it, find
# its twins, split it and balance it, and say what each step is good for.
#
# *30 minutes. Needs: a laptop. Each notebook runs alone.*

# %%
import llmlab

lab = llmlab.setup()

# %% [markdown]
# ## Getting
#
# **Claim: a source is a file with a name, a hash and a licence.** What the series reads came with
# the set-up, each file checked against its hash. What our own model will read:

# %%
from llmlab.artifacts import data_dir
from llmlab.sources import source_path, sources

known = sources()
for name in lab.profile.sources:
    print(f"{name:>12}  {known[name].title}\n{'':>12}  {known[name].licence}")

# %% [markdown]
# One look at the pile before anything else: the beginning of one document from each source.
# *(Saved without its output, since the words are others'. Run the cell to see it.)*

# %% tags=["source-text"]
from llmlab.stages import data

for name in lab.profile.sources:
    documents, _ = data.read_source(name)
    document = documents[len(documents) // 3]
    text = document.text() if isinstance(document, data.Recipe) else document
    print(f"--- {name}: {len(documents):,} documents\n{text[:300]}\n")

# %% [markdown]
# ## Cleaning
#
# Real text has holes where formulas and links stood. Here is an ingredient list of our own,
# dirtied the way the source is. Three patterns mend it; the package has the same ones.

# %%
import re

from llmlab.stages.data import clean

dirty = (
    "3 cups sweet corn ( ), drained",
    "1 onion , chopped<ref name=cook/>",
    "2 tablespoons  olive oil\xa0(; )",
)
for line in dirty:
    mended = re.sub(r"<ref.*?(</ref>|/>|$)", "", line).replace("\xa0", " ")
    mended = re.sub(r"\(\s*[/,;]*\s*\)", "", mended)
    mended = re.sub(r"\s+", " ", re.sub(r"\s+([,.;:)])", r"\1", mended)).strip()
    assert mended == clean(line)
    print(f"{line!r:>38}  ->  {mended!r}")

# %% [markdown]
# How much of the real source is like that? The count is saved; the lines themselves are not,
# since the words are others'.

# %%
import json

folder = source_path("recipes")
house_file = data_dir() / "house" / "recipes.json"
path = next(folder.rglob("recipes_en-us.json")) if folder else house_file
raw = [line for entry in json.loads(path.read_text("utf-8")).values()
       for line in (*entry["ingredients"], *entry["steps"])]  # fmt: skip
changed = [line for line in raw if clean(line) != line]
print(f"{len(changed):,} of {len(raw):,} lines change: {len(changed) / len(raw):.1%}")

# %% tags=["source-text"]
for line in sorted(changed, key=lambda line: len(clean(line)) - len(line))[:40:8]:
    print(f"{line[:200]}\n  -> {clean(line)[:200]}\n")

# %% [markdown]
# ## Twins
#
# **Claim: near-copies can be found by counting.** They waste training, and they leak the test into
# it. Cut each text into runs of three words; two texts are twins when they share most of them. Two
# of our own recipes are twins on purpose:

# %%
house = data.read_recipes(house_file)
texts = [recipe.text() for recipe in house]


def runs(text):
    words = re.findall(r"\w+", text.lower())
    return {tuple(words[i : i + 3]) for i in range(len(words) - 2)}


def jaccard(a, b):
    """The share of all their runs that two texts have in common."""
    return len(runs(a) & runs(b)) / len(runs(a) | runs(b))


print(sorted(runs(texts[0]))[:3], "...")
for other in (1, 23, 2):
    print(f"{house[0].title} / {house[other].title}: {jaccard(texts[0], texts[other]):.2f}")

# %% [markdown]
# ## MinHash: a text in 64 numbers
#
# Comparing all with all is too slow. Hash every run in 64 ways and keep the smallest value of
# each: two texts agree in a place exactly as often as their runs overlap.

# %%
import random
import zlib


def signature(text, n=64):
    draw = random.Random(0)
    hashes = [(draw.getrandbits(64) | 1, draw.getrandbits(64)) for _ in range(n)]
    numbers = [zlib.crc32(" ".join(run).encode()) for run in runs(text)]
    return [min((a * x + b) % 2**64 for x in numbers) for a, b in hashes]


def agreement(a, b):
    return sum(x == y for x, y in zip(a, b, strict=True)) / len(a)


by_hand = agreement(signature(texts[0]), signature(texts[1]))
package = agreement(data.minhash(texts[0]), data.minhash(texts[1]))
print(f"counted {jaccard(texts[0], texts[1]):.2f}, by hand {by_hand:.2f}, package {package:.2f}")
for estimate in (by_hand, package):
    assert abs(estimate - jaccard(texts[0], texts[1])) < 0.25

# %% [markdown]
# The package compares only texts that agree in a whole band of their numbers. On our own recipes
# it finds what counting finds:

# %%
pairs = {i for i in range(len(texts)) for j in range(i) if jaccard(texts[i], texts[j]) >= 0.5}
assert data.twins(texts) == pairs
print("goes:", [house[i].title for i in pairs])

# %% [markdown]
# ## The whole pile
#
# Read, cleaned, freed of twins, split. Python's own library leads in twins: code repeats itself.

# %%
figures = data.run(lab)
lab.report("data", figures)
corpus = data.load_corpus(lab.profile.sources)
print(f"{'source':>12}{'documents':>11}{'twins':>7}{'MB':>7}{'training':>10}{'held out':>10}")
for name, row in [*corpus.figures.items(), ("together", figures)]:
    print(f"{name:>12}{row['documents']:>11,}{row['twins']:>7}{row['bytes'] / 1e6:>7.1f}"
          f"{row['training_documents']:>10,}{row['held_out_documents']:>10,}")  # fmt: skip

# %% [markdown]
# Titles of twins that went, with the recipe each is a twin of. *(Saved without its output: the
# words are others'.)*

# %% tags=["source-text"]
recipes, _ = data.read_source("recipes")
marks = [data.minhash(recipe.text()) for recipe in recipes]
for i in sorted(data.twins([recipe.text() for recipe in recipes]))[:8]:
    j = max(range(i), key=lambda j: agreement(marks[i], marks[j]))
    print(f"{recipes[i].title:>40}  =  {recipes[j].title}  ({agreement(marks[i], marks[j]):.0%})")

# %% [markdown]
# ## The split cannot leak
#
# Twins go *before* the split, and a document's own hash decides on which side it falls: it stays
# there for ever, whatever is added later. The check: how near does any held-out recipe come to a
# training recipe?

# %%
import numpy as np

training = np.stack([data.minhash(recipe.text()) for recipe in corpus.recipes])  # (recipes, 64)
nearest = [(training == data.minhash(r.text())).mean(1).max() for r in corpus.held_out]
print(f"{len(corpus.held_out)} held out of {len(corpus.held_out) + len(corpus.recipes):,} recipes")
print(f"overlap with the nearest training recipe: mean {np.mean(nearest):.2f}, "
      f"greatest {max(nearest):.2f}")  # fmt: skip
assert max(nearest) < 0.5

# %% [markdown]
# ## Balancing
#
# **Claim: a mixture is a choice.** Sources are not read as they lie there. What the slow-cooked
# model has read, by the weights of our mixture, makes *epochs*: how often each source was read.
# Cards are made from the recipes, without end.

# %%
from llmlab.stages.report import shipped_log

encoding = lab.tokenizer().to_tiktoken()
read = shipped_log(lab, "base")["tokens"]
mixture, epochs, table = lab.profile.mixture, {}, ""
for name, documents in {"recipes": [r.text() for r in corpus.recipes], **corpus.texts}.items():
    size = sum(map(len, encoding.encode_ordinary_batch(documents, num_threads=2)))
    epochs[name] = mixture[name] * read / size
    table += f"{name:>12}{size / 1e6:7.2f} M tokens there{mixture[name] * read / 1e6:7.2f} M read\n"
print(table)

# %% [markdown]
# LLaMA's mixture for 1.4 T tokens (Touvron et al. 2023, table 1) beside ours. The good and scarce
# is read more than once, the plentiful not even once.

# %%
from llmlab import figures as style

LLAMA = {"CommonCrawl": (67.0, 1.10), "C4": (15.0, 1.06), "GitHub": (4.5, 0.64),
         "Wikipedia": (4.5, 2.45), "books": (4.5, 2.23), "ArXiv": (2.5, 1.06),
         "StackExchange": (2.0, 1.03)}  # fmt: skip
OURS = {name: (100 * w, epochs.get(name)) for name, w in mixture.items()}
style.shares({
    title: {name: (share, f"{share:g} %" + (f", read {times:.1f} ×" if times else ", ever new"))
            for name, (share, times) in parts.items()}
    for title, parts in (("LLaMA: share of tokens", LLAMA), ("Ours", OURS))
})  # fmt: skip

# %% [markdown]
# ## The same recipe, told in many ways
#
# What is read so often must not be learned by heart. So recipes come in many layouts, and half of
# the time foods are swapped inside their families, in title, list and steps alike. One of our own,
# with many swaps (some are silly; that is the price):

# %%
rows = data.Mixture(corpus, encoding, mixture, lab.seed)
template = data.Template.of(house[4])
for seed in (3, 18, 7):
    rng = random.Random(seed)
    page = data.recipe_layout(template.swapped(rng, 0.7), rng)
    print(page[:260].rstrip(), "...\n" + "-" * 60)

# %% [markdown]
# ## Why: so that looking back pays
#
# No memory of this recipe tells which foods come next; only the lines above do. And so it is with
# *cards*, the short pages that an assistant's answers will grow from: what must be written at the
# end stands above it.

# %%
rng = random.Random(0)
rates = (0, rows.swap_rate)  # half of the time no swaps at all
pages = [data.recipe_layout(template.swapped(rng, rng.choice(rates)), rng) for _ in range(1000)]
print(f"{len(pages)} times one recipe: {len(set(pages))} different pages\n")
card = house[4].card()
for seed in (2, 10, 8, 9):
    rng = random.Random(seed)
    print(data.card_layout(card.swapped(rng, 0.7), rng))

# %% [markdown]
# ## A batch
#
# Documents, shuffled, each closed by `<|end|>`, then cut into rows. This is all that pretraining
# ever sees. *(The row's text is saved without its output: the words are others'.)*

# %%
batch = rows.batch(0, lab.profile.pretraining_batch, lab.profile.seq_len)
print(f"{list(batch.shape)}: rows, and one id more than the model reads, to have a next one")

# %% tags=["source-text"]
print(encoding.decode(batch[0].tolist()))

# %% [markdown]
# ## Recap
#
# Clean, free of twins, split by hash, balanced by weight, and shaped so that the right habit is
# the easy one. Nothing later can give a model what its data did not.
#
# **At full size** a profile names larger sources; every step stays the same.

# %% [markdown]
# **Further reading**: Broder 1997, *On the resemblance and containment of documents*; Lee et al.
# 2022, *Deduplicating Training Data Makes Language Models Better*; Touvron et al. 2023, *LLaMA:
# Open and Efficient Foundation Language Models*; Muennighoff et al. 2023, *Scaling
# Data-Constrained Language Models*.
#
# [Next: 02 Tokenization](02_tokenization.ipynb)
