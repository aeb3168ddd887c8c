# ---
# jupyter:
#   llmlab:
#     minutes: 40
#     budget_s: 180
# ---

# %% [markdown]
# # 01 Data: what a model will become
#
# **You will be able to** turn a raw pile of text into a training mixture: get it, clean it, label
# it, check every filter, balance it, and say from a measurement whether that was worth it.
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
# ## What LLaMA has read
#
# **Claim: a model becomes what it reads, and somebody chose that.** The first LLaMA read 1.4
# trillion tokens from seven sources (Touvron et al. 2023, table 1). Left, each source's share;
# right, how often it was read. Which sources are good and scarce, which plentiful?

# %%
from llmlab import figures as style
from llmlab.widgets.mixture_sliders import LLAMA_TABLE

style.shares({
    "Share of the tokens, %": {name: (s, f"{s:g} %") for name, (s, _) in LLAMA_TABLE.items()},
    "Times each was read": {name: (e, f"{e:.2f} ×") for name, (_, e) in LLAMA_TABLE.items()},
})  # fmt: skip

# %% [markdown]
# ## Getting
#
# **Claim: a source is a file with a name, a hash and a licence.** What the series reads came with
# the set-up, each file checked against its hash.

# %%
from llmlab.corpus.sources import sources

for name in lab.profile.sources:
    print(f"{name:>12}  {sources()[name].title}\n{'':>12}  {sources()[name].licence}")

# %% [markdown]
# The beginning of one document from each. *(Saved without its output, since the words are others'.
# Run the cell to see it.)*

# %% tags=["source-text"]
from llmlab.corpus import dedup
from llmlab.corpus.corpus import Recipe, clean, load_corpus, read_recipes, read_source
from llmlab.corpus.mixture import Mixture, Template, card_layout, recipe_layout
from llmlab.stages import data

for name in lab.profile.sources:
    documents, _ = read_source(name)
    document = documents[len(documents) // 3]
    text = document.text() if isinstance(document, Recipe) else document
    print(f"--- {name}: {len(documents):,} documents\n{text[:300]}\n")

# %% [markdown]
# ## A raw pile
#
# The web does not come so tidy. So we make a pile as a crawler would bring it: these documents as
# they are, and among them dirt that *we* planted: menus, search-word stuffing, adverts, other
# languages, copies, invented people, and pages of the exam. Since we know what is dirt, every
# filter can be marked.

# %%
from llmlab.corpus.raw_pile import PLANTED, raw_pile

pile = raw_pile(lab.profile.sources)
counts = pile.counts()
groups = [group for group in (*lab.profile.sources, *PLANTED) if counts[group]]
figure, ax = style.axes(f"A pile of {len(pile.pages):,} pages", width=7.6, height=3)
colours = [style.COLOURS[0 if g in lab.profile.sources else 1] for g in groups]
drawn = ax.barh(groups, [counts[g] for g in groups], color=colours)
ax.bar_label(drawn, [f"{counts[g]:,}" for g in groups], padding=3, fontsize=8)
ax.invert_yaxis()
ax.set_xlabel("pages: real ones above (blue), planted ones below (orange)")
style.finish(figure)

# %% [markdown]
# What we planted in our own words, so that it can be shown here:

# %%
for kind in ("menu", "stuffing", "advert"):
    page = next(page for page in pile.pages if page.planted == kind)
    print(f"{kind:>10}: {' / '.join(page.text.split(chr(10)))[:150]} ...")
for kind in ("notices", "private"):
    page = next(page for page in pile.pages if page.inserted == kind)
    print(f"{kind:>10}: {page.inserts[0]}")

# %% [markdown]
# ## Cleaning, line by line
#
# Real text has dirt of its own: holes where formulas and links stood. Here are lines of our own,
# dirtied as the source is. Three patterns mend them; the package has the same ones.

# %%
import re

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
# Two more things go line by line: what a website says about itself (C4's list: cookies,
# JavaScript, privacy policy, …), and personal data, which is masked. How much of what we planted is
# really gone, and how much is masked where we planted nothing?

# %%
from llmlab.corpus import filters

print(filters.mask_private("Ask Ada on (555) 555-0142 or ada@example.org, from 192.0.2.7"))
texts = [filters.clean_text(page.text) for page in pile.pages]
for kind in ("notices", "private"):
    lines = [(line, text) for page, text in zip(pile.pages, texts, strict=True)
             for line in page.inserts if page.inserted == kind]  # fmt: skip
    gone = sum(line not in text for line, text in lines)
    print(f"{kind:>10}: {gone} of {len(lines)} planted lines are gone or masked")
untouched = [text for page, text in zip(pile.pages, texts, strict=True) if not page.inserts]
masked = sum(any(f"<{kind}>" in text for kind in filters.PRIVATE) for text in untouched)
print(f"masked in {masked} of {len(untouched):,} pages that hold none of ours")

# %% [markdown]
# A list of words catches the notices it was made for, and no other. So it is with all rules.

# %% [markdown]
# ## Rules: Gopher and C4
#
# **Claim: simple rules about form find most of the dirt.** DeepMind's Gopher (Rae et al. 2021)
# keeps pages of 50 words or more, with few bullets, real words, and at least two *stop words*. C4
# (Raffel et al. 2020) wants lines that end like sentences. The first idea, by hand:

# %%
lines = ("Stir the soup, and serve it with bread.", "Die Suppe umrühren und servieren.",
         "buy now buy now cheap pans buy now")  # fmt: skip
for line in lines:
    words = re.findall(r"\w+", line.lower())
    found = sorted(filters.STOP_WORDS & set(words))
    assert (len(found) < 2) == filters.few_stop_words(line)
    print(f"{line:<42} {found}")

# %% [markdown]
# ### Exercise 1 · ●○○ · 5 min
# Write `passes(text)`: Gopher's rule. True where a text has at least two *different* words of
# `STOP_WORDS`, whatever their case.
#
# <details><summary>Hint</summary>
#
# `re.findall(r"\w+", text)` gives the words without commas. What two sets share is `a & b`.
#
# </details>

# %%
from llmlab.classroom import check
from llmlab.corpus.filters import STOP_WORDS


def passes(text):
    ### BEGIN SOLUTION
    return len(STOP_WORDS & set(re.findall(r"\w+", text.lower()))) >= 2
    ### END SOLUTION


check("01.stop_words", passes)

# %% [markdown]
# ## Every rule against every kind of page
#
# Twelve rules of the two papers, each over the whole pile. A number is the share of a kind of
# pages that a rule throws out: to the right of the line it should be high, to the left of it every
# page is a loss. Look at the left half first. What do the rules think of recipes?

# %%
by_kind = {}
for page, text in zip(pile.pages, texts, strict=True):
    by_kind.setdefault(page.planted or page.source, []).append(text)
rules = filters.GOPHER + filters.C4
shares = [[sum(map(r.breaks, by_kind[g])) / len(by_kind[g]) for g in groups] for r in rules]
names = [f"{'Gopher' if r in filters.GOPHER else 'C4'}: {r.name}" for r in rules]
figure = style.heat(shares, names, groups, "Share of pages that each rule throws out")
figure.axes[0].axvline(len(lab.profile.sources) - 0.5, color="black", linewidth=2)
figure

# %% [markdown]
# **No rule is for all text.** C4's lines would throw out nearly every recipe, since an ingredient
# is no sentence; Python hardly passes at all. Both were made for prose. Gopher's authors knew: they
# ran their rules over web pages alone. So we take for each source those that cost it 5 % at the
# most.

# %%
suitable = filters.suitable(pile.pages)
for source, chosen in suitable.items():
    left_out = [rule.name for rule in rules if rule not in chosen]
    print(f"{source:>12}: {len(chosen):>2} rules, without: {', '.join(left_out) or 'none'}")

# %% [markdown]
# ## Copies
#
# **Claim: near-copies are found by counting.** They waste training, and they carry the exam into
# it. Equal texts have equal hashes. For the others, cut each text into runs of three words: copies
# share most of them. Two of our own recipes are copies on purpose.

# %%
from llmlab.artifacts import data_dir

house = read_recipes(data_dir() / "house" / "recipes.json")
own = [recipe.text() for recipe in house]


def runs(text, n=3):
    words = re.findall(r"\w+", text.lower())
    return {" ".join(words[i : i + n]) for i in range(len(words) - n + 1)}


def jaccard(a, b):
    """The share of all their runs that two texts have in common."""
    return len(runs(a) & runs(b)) / len(runs(a) | runs(b))


for other in (1, 23, 2):
    print(f"{house[0].title} / {house[other].title}: {jaccard(own[0], own[other]):.2f}")

# %% [markdown]
# ## MinHash: a text in 64 numbers
#
# To compare all pages with all is too slow. Hash every run in 64 ways and keep the smallest value
# of each: two texts agree in a place exactly as often as their runs overlap.

# %%
import random
import zlib


def signature(text, n=64):
    draw = random.Random(0)
    hashes = [(draw.getrandbits(64) | 1, draw.getrandbits(64)) for _ in range(n)]
    numbers = [zlib.crc32(run.encode()) for run in runs(text)]
    return [min((a * x + b) % 2**64 for x in numbers) for a, b in hashes]


def agreement(a, b):
    return sum(x == y for x, y in zip(a, b, strict=True)) / len(a)


by_hand = agreement(signature(own[0]), signature(own[1]))
package = agreement(dedup.minhash(own[0]), dedup.minhash(own[1]))
print(f"counted {jaccard(own[0], own[1]):.2f}, by hand {by_hand:.2f}, package {package:.2f}")
for estimate in (by_hand, package):
    assert abs(estimate - jaccard(own[0], own[1])) < 0.25

# %% [markdown]
# Cut the 64 numbers into bands of r: only texts that agree in a *whole* band are ever compared.
# That is locality-sensitive hashing (LSH). How likely is a pair to be looked at? A steep S, and r
# says where it climbs.

# %%
similar = [i / 50 for i in range(51)]
style.lines(
    {f"{64 // r} bands of {r}": (similar, [1 - (1 - s**r) ** (64 // r) for s in similar])
     for r in (2, 4, 8)},
    "Jaccard similarity of a pair", title="How likely a pair is compared", per_cent=True,
)  # fmt: skip

# %% [markdown]
# The library `datasketch` does the same for the whole pile. On our own recipes it must find what
# counting finds; on the pile, what we planted.

# %%
pairs = {i for i in range(len(own)) for j in range(i) if jaccard(own[i], own[j]) >= 0.5}
assert set(dedup.near_copies(own)) == pairs == dedup.near_duplicates(own)
exact, near = dedup.exact_copies(texts), dedup.near_copies(texts)
for kind, found in (("exact copy", exact), ("near copy", near)):
    planted = {i for i, page in enumerate(pile.pages) if page.planted == kind}
    print(f"{kind}: {len(planted & set(found))} of {len(planted)} planted ones found")
real = [i for i in near if not pile.pages[i].planted]
print(f"and {len(real)} real pages that nearly repeat another real page")

# %% [markdown]
# ## Leaks
#
# **Claim: a model that has read the exam gets marks that mean nothing.** The usual search: does a
# page share a run of n words with any exam text? GPT-3's authors took 13 (Brown et al. 2020,
# appendix C).

# %% [markdown]
# ### Exercise 2 · ●●○ · 8 min
# Write `leaks(text, exam, n)`: True where the text shares a run of n words with any text of the
# list `exam`. Case and commas do not count.
#
# <details><summary>Hint</summary>
#
# The function `runs(text, n)` above gives the set of all runs of n words.
#
# </details>


# %%
def leaks(text, exam, n):
    ### BEGIN SOLUTION
    return any(runs(text, n) & runs(asked, n) for asked in exam)
    ### END SOLUTION


check("01.leaks", leaks)

# %% [markdown]
# Which n is right for a cookbook? Short runs accuse the innocent, since "preheat the oven to" is
# nobody's property; long ones let leaks go. Precision and recall, by n:

# %%
exam = [*pile.leaked, *(text for asked in pile.exam.values() for text in asked)]
leaked = {i for i, page in enumerate(pile.pages) if page.planted == "leak"}
lengths = (6, 8, 10, 13, 16, 20, 25, 30, 40)
found = [set(dedup.leaks(texts, exam, n)) for n in lengths]
marks = [filters.precision_recall(f, leaked) for f in found]
style.lines(
    {"precision": (lengths, [p for p, _ in marks]), "recall": (lengths, [r for _, r in marks])},
    "n, words in a row", title="A page shares n words in a row with the exam", per_cent=True,
)  # fmt: skip

# %% [markdown]
# Some of the innocent are not: a real page that repeats half of an exam recipe is a leak that
# nobody planted. From here on n is what the package uses:

# %%
shown = [(n, p, r) for n, (p, r) in zip(lengths, marks, strict=True) if n in (13, filters.LEAK)]
for n, p, r in shown:
    print(f"n = {n}: of the pages found {p:.0%} were planted; of the planted ones {r:.0%} found")

# %% [markdown]
# ## Labelling
#
# No rule of form sees an advert: its sentences are perfect. What is worth reading is a judgement,
# so somebody must judge. Here are pages that no rule threw out. Label a few: *would you want an
# assistant to learn from this?* (Your labels are kept; the pages' words are others', so the saved
# notebook only counts.)

# %%
from llmlab.widgets.labeller import Labeller

places = filters.to_label(pile)
sample = [texts[i] for i in places]
labeller = Labeller(sample, lab.runs / "labels.json")
labeller

# %% [markdown]
# So that nobody must click 300 times, ready labels come with the pile; yours overrule them. From
# them a classifier learns which words tell: logistic regression on word counts, as GPT-3's filter
# was. First by hand, on four pages of three words:

# %%
import torch

vocabulary = "salt", "oven", "order"
pages = torch.tensor([[2.0, 1, 0], [1, 2, 0], [0, 1, 2], [0, 0, 1]])  # (pages, words): counts
worth = torch.tensor([1.0, 1, 0, 0])
weights = torch.zeros(3, requires_grad=True)
for _ in range(100):
    loss = torch.nn.functional.binary_cross_entropy_with_logits(pages @ weights, worth)
    (gradient,) = torch.autograd.grad(loss, weights)
    weights = (weights - gradient).detach().requires_grad_()
print({word: round(w.item(), 1) for word, w in zip(vocabulary, weights, strict=True)})

# %% [markdown]
# Then by scikit-learn, on the 300: half teach it, half examine it. These words tell most.

# %%
ready = {k: filters.is_worth_reading(pile.pages[i]) for k, i in enumerate(places)}
labels = list((ready | labeller.labels).values())
quality = filters.quality_model(sample[::2], labels[::2])
guesses = quality.predict(sample[1::2])
right = sum(g == label for g, label in zip(guesses, labels[1::2], strict=True))
print(f"{len(labeller.labels)} labels by hand; right on {right} of {len(guesses)} others")
weight = quality[-1].coef_[0]
order = weight.argsort()
words = quality[0].get_feature_names_out()
print("worth reading:", ", ".join(words[order[:-13:-1]]))
print("not worth it: ", ", ".join(words[order[:12]]))

# %% [markdown]
# ## Checking
#
# **Claim: a filter that nobody has checked is a rumour.** Two questions: of what it removed, how
# much was dirt (*precision*)? Of the dirt, how much did it remove (*recall*)? Each alone is easy:
# remove nothing, or everything.

# %% [markdown]
# ### Exercise 3 · must · ●●○ · 8 min
# Write `quality_of(removed, dirt)`: precision and recall of a filter, from two sets of pages. A
# filter that removed nothing has precision 1; where there is no dirt, recall is 1.
#
# <details><summary>Hint</summary>
#
# Both shares have the same numerator, `removed & dirt`. They differ in what it is divided by.
#
# </details>


# %%
def quality_of(removed, dirt):
    ### BEGIN SOLUTION
    right = len(removed & dirt)
    precision = right / len(removed) if removed else 1.0
    recall = right / len(dirt) if dirt else 1.0
    return precision, recall
    ### END SOLUTION


check("01.precision", quality_of)

# %% [markdown]
# Now the whole way: mended lines, then five filters, one after the other. Each is marked on the
# pages that came as far as to it.

# %%
quality = filters.quality_model(sample, labels)
outcomes = filters.clean_pile(pile, quality)
scores = filters.scores(outcomes)
lab.report("data", {"filters": scores})
style.bars(
    {"precision": [p for p, _ in scores.values()], "recall": [r for _, r in scores.values()]},
    list(scores), "Each filter against what we planted",
)  # fmt: skip

# %% [markdown]
# The full marks of the classifier flatter it: our adverts are all from one pen. And the rules cost
# real pages, stubs above all. Numbers are no excuse for not looking: walk through what each filter
# removed and why. Are the "mistakes" of the copies' filter really mistakes? *(The saved notebook
# has the counts alone.)*

# %%
from llmlab.widgets.cleaning_view import CleaningView, Document, Filter, with_twin

documents = []
for outcome in outcomes:
    about = f"{outcome.page.source}, {outcome.page.planted or 'real'}"
    document = Document(outcome.text, about, outcome.removed_by or None, outcome.why)
    if outcome.twin is not None:
        document = with_twin(document, outcomes[outcome.twin].text)
    documents.append(document)
CleaningView([Filter(f.name, f.about) for f in filters.FILTERS], documents)

# %% [markdown]
# ## Balancing
#
# **Claim: a mixture is a choice.** By size, the plentiful drowns the good. *Temperature* softens
# that: a source of n tokens gets a share in proportion to nᵅ. At α = 1 all is as it lies there, at
# α = 0 every source counts the same.

# %% [markdown]
# ### Exercise 4 · ●●○ · 6 min
# Write `mix(sizes, alpha)`: a dictionary, source → share. `sizes` is source → tokens.
#
# <details><summary>Hint</summary>
#
# First all powers, then their sum, then divide. Shares sum to 1.
#
# </details>


# %%
def mix(sizes, alpha):
    ### BEGIN SOLUTION
    powers = {name: size**alpha for name, size in sizes.items()}
    return {name: power / sum(powers.values()) for name, power in powers.items()}
    ### END SOLUTION


check("01.temperature", mix)

# %% [markdown]
# Our own line's sources, cleaned, freed of twins and split, and how many tokens each has. The
# slow-cooked model read them by weights chosen by hand, and *cards* besides, which are made from
# the recipes without end. Move the sliders: what must be read too often to fill half of the
# mixture?

# %%
import math

from llmlab.lab import shipped_log
from llmlab.widgets.mixture_sliders import MixtureSliders

figures = data.run(lab)
lab.report("data", figures)
corpus = load_corpus(lab.profile.sources)
encoding = lab.tokenizer().to_tiktoken()
own_texts = {"recipes": [r.text() for r in corpus.recipes], **corpus.texts}
sizes = {name: sum(map(len, encoding.encode_ordinary_batch(documents, num_threads=2)))
         for name, documents in own_texts.items()}  # fmt: skip
read = shipped_log(lab, "base")["tokens"]
MixtureSliders({**sizes, "cards": math.inf}, read, lab.profile.mixture,
               sample=lambda name: own_texts[name][0] if name in own_texts else "")  # fmt: skip

# %%
mixture = lab.profile.mixture
whole = sum(sizes.values())
columns = {alpha: {n: s**alpha for n, s in sizes.items()} for alpha in (1, 0.5, 0)}
for name, size in sizes.items():
    by_alpha = [f"{c[name] / sum(c.values()):6.1%} at α = {a:g}" for a, c in columns.items()]
    print(f"{name:>12} {size / 1e6:5.2f} M  {'  '.join(by_alpha)}  ours {mixture[name]:.0%}, "
          f"read {mixture[name] * read / size:.1f} ×")  # fmt: skip

# %% [markdown]
# ## Does it pay?
#
# The only question that counts. The same small model reads the same number of tokens from the pile:
# as it is; without what rules and classifier removed; without copies and leaks; and balanced. Three
# seeds each, made beforehand by `python -m llmlab study cleaning`. All take the same exam of clean,
# unseen documents, in bits per byte: lower is better. Guess first: which step helps most?

# %%
from llmlab.studies import load_study, run_point, values

kept = load_study("cleaning")
panels = [*(f"{name}_bpb" for name in ("recipes", "encyclopedia", "leaked"))]
style.trials(
    {name.removesuffix("_bpb"): values(kept, name) for name in panels},
    "Bits per byte on held-out text, three seeds each",
)

# %%
for name in panels:
    means = {arm: sum(v) / len(v) for arm, v in values(kept, name).items()}
    print(f"{name:>17}", "  ".join(f"{arm} {mean:.3f}" for arm, mean in means.items()))

# %% [markdown]
# So cleaning pays for everything, balance pays for what you want and costs the rest, and to remove
# copies pays nothing *here*: no edition is read even once in whole. It pays when text is read again
# and again (Lee et al. 2022). But look at the leaked recipes. They happen to be harder than the
# others; for the two editions that hold them, less so. That is the exam, read in advance:

# %%
clean, leaked = (values(kept, f"{name}_bpb") for name in ("recipes", "leaked"))
for arm in kept["arms"]:
    gaps = [b - a for a, b in zip(clean[arm], leaked[arm], strict=True)]
    print(f"{arm:>13}: leaked recipes are harder by {sum(gaps) / len(gaps):.3f} "
          f"({min(gaps):.3f} to {max(gaps):.3f})")  # fmt: skip

# %% [markdown]
# One of these points, now, on your machine: the balanced edition, in a minute at most. Where its
# tokens are as many as those of the study, it falls near the seeds of its column; a slow machine
# reads fewer, and is not there yet.

# %%
from dataclasses import replace

point = run_point(replace(lab, minutes=1), "cleaning", "balanced", 1)
before, read = clean["balanced"], values(kept, "tokens")["balanced"][0]
print(f"recipes: here {point['recipes_bpb']:.3f} after {point['tokens'] / 1e6:.2f} M tokens, "
      f"kept {min(before):.3f} to {max(before):.3f} after {read / 1e6:.2f} M")  # fmt: skip

# %% [markdown]
# ## What our own model reads
#
# The line's corpus had its twins removed *before* the split, and a document's own hash decides on
# which side it falls, for ever. The check: how near does any held-out recipe come to a training
# recipe?

# %%
import numpy as np

training = np.stack([dedup.minhash(recipe.text()) for recipe in corpus.recipes])  # (recipes, 64)
nearest = [(training == dedup.minhash(r.text())).mean(1).max() for r in corpus.held_out]
print(f"{figures['documents']:,} documents, {figures['twins']} twins removed")
print(f"{len(corpus.held_out)} held out of {len(corpus.held_out) + len(corpus.recipes):,} recipes")
print(f"overlap with the nearest training recipe: mean {np.mean(nearest):.2f}, "
      f"greatest {max(nearest):.2f}")  # fmt: skip
assert max(nearest) < 0.5

# %% [markdown]
# What is read so often must not be learned by heart. So recipes come in many layouts, with foods
# swapped inside their families in title, list and steps alike (some swaps are silly; that is the
# price), and as short cards. One of our own:

# %%
rows = Mixture(corpus, encoding, mixture, lab.seed)
template, card = Template.of(house[4]), house[4].card()
for seed in (3, 18):
    rng = random.Random(seed)
    print(recipe_layout(template.swapped(rng, 0.7), rng)[:200].rstrip(), "...\n" + "-" * 60)
for seed in (2, 10, 8, 9):
    rng = random.Random(seed)
    print(card_layout(card.swapped(rng, 0.7), rng), end="")

# %% [markdown]
# No memory tells which foods come next in such a text; only the lines above do. The model will
# have to *look back*, and that is the habit an assistant lives on. Last step: documents, shuffled,
# each closed by `<|end|>`, then cut into rows. This is all that pretraining ever sees.

# %%
batch = rows.batch(0, lab.profile.pretraining_batch, lab.profile.seq_len)
print(f"{list(batch.shape)}: rows, and one id more than the model reads, to have a next one")

# %% [markdown]
# ## Recap
#
# Get with hash and licence; mend lines; rules that suit the source; copies by shared runs; leaks
# by longer ones; labels where no rule can judge; precision and recall for each; a mixture by
# choice; and a small training that says whether it paid. Nothing later can give a model what its
# data did not.
#
# **At full size** a profile names larger sources; every step stays the same. The pipeline as a
# `datatrove` job, with HTML, languages and personal data: [01b](extra/01b_pipeline.ipynb).

# %%
from llmlab.classroom import show_progress

show_progress("01")

# %% [markdown]
# **Further reading**: Rae et al. 2021, *Scaling Language Models: Methods, Analysis & Insights from
# Training Gopher*; Raffel et al. 2020, *Exploring the Limits of Transfer Learning* (C4); Lee et al.
# 2022, *Deduplicating Training Data Makes Language Models Better*; Broder 1997, *On the resemblance
# and containment of documents*; Muennighoff et al. 2023, *Scaling Data-Constrained Language
# Models*; Penedo et al. 2024, *The FineWeb Datasets*.
#
# [Next: 02 Tokenization](02_tokenization.ipynb)
