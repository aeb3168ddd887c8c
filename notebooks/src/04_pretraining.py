# ---
# jupyter:
#   llmlab:
#     minutes: 90
#     budget_s: 210
# ---

# %% [markdown]
# # 04 Pretraining: guess the next token, again and again
#
# **You will be able to** build a Transformer piece by piece, watch it learn to write recipes in a
# hundred seconds, look into its heads, and say how its loss falls with size and text.
#
# *90 minutes, in two sittings: "build and train", "look inside and scale". Needs: a laptop. Each
# notebook runs alone.*
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
# # First sitting: build and train
#
# ## One text, many questions
#
# **Claim: all that is learned here is learned from one question: which token comes next?** A text
# of n tokens asks it n - 1 times. Inputs and targets are the same row of ids, shifted by one.

# %%
import torch

tokenizer = lab.tokenizer()
text = "Melt the butter in a large pan."
ids = torch.tensor(tokenizer.encode(text))
inputs, targets = ids[:-1], ids[1:]  # (T,), (T,)
for known, target in list(zip(inputs.tolist(), targets.tolist(), strict=True))[:5]:
    print(f"... {tokenizer.decode([known])!r:>10}  ->  {tokenizer.decode([target])!r}")

# %% [markdown]
# ## The loss, by hand
#
# The model answers each question with a score for every id. The loss is the surprise at the right
# one: minus the logarithm of its probability. Two questions, three ids:

# %%
from llmlab.core.losses import next_token_loss

logits = torch.tensor([[2.0, 0.0, 0.0], [0.0, 0.0, 0.0]])  # (2, V = 3)
right = torch.tensor([0, 2])
probabilities = logits.exp() / logits.exp().sum(-1, keepdim=True)
by_hand = -probabilities[[0, 1], right].log().mean()
assert torch.isclose(by_hand, next_token_loss(logits, right))
print(probabilities)
print(f"loss: {by_hand:.3f} nats")

# %% [markdown]
# ## Six pieces
#
# From ids to scores it takes: a table (notebook 03), a norm, attention with positions, an MLP, a
# stream that all of them add to, and a head. We build each on numbers that can be read, and set it
# beside the package's. First, a small model of the package to compare with:

# %%
from llmlab.core.model import ModelConfig, Transformer

config = ModelConfig(vocab_size=2048, dim=8, n_layers=2, n_heads=2, n_kv_heads=2, head_dim=4,
                     hidden_dim=12)  # fmt: skip
torch.manual_seed(0)
small = Transformer(config)
for p in small.parameters():
    torch.nn.init.normal_(p, std=0.3)  # so that no piece is zero
x = small.embed(inputs).detach()  # (T, dim)
print(f"ids {list(inputs.shape)} -> vectors {list(x.shape)}")

# %% [markdown]
# ## A norm
#
# **Claim: a layer should not care how long its input vectors are.** RMSNorm divides each vector by
# the root of its mean square and gives every direction a weight.

# %%
norm = small.blocks[0].attn_norm
by_hand = x / (x.square().mean(-1, keepdim=True) + config.norm_eps).sqrt() * norm.weight
assert torch.allclose(by_hand, norm(x), atol=1e-6)
print("lengths before", [round(v, 2) for v in x.norm(dim=-1).tolist()])
lengths = (by_hand / norm.weight).norm(dim=-1).tolist()
print("and after     ", [round(v, 2) for v in lengths], f"= the root of {config.dim}")

# %% [markdown]
# ### Exercise 1 · ●○○ · 5 min
# Write `rms_norm(x, weight, eps)` for `x` of shape (..., dim).
#
# <details><summary>Hint</summary>
#
# The mean goes over the last axis alone, and must stay an axis: `keepdim=True`.
#
# </details>

# %%
from llmlab.classroom import check


def rms_norm(x, weight, eps):
    ### BEGIN SOLUTION
    return x / (x.square().mean(-1, keepdim=True) + eps).sqrt() * weight
    ### END SOLUTION


check("04.rms_norm", rms_norm)

# %% [markdown]
# ## Attention, by loop
#
# **Claim: attention is a weighted mean of what came before.** Each place asks with a *query*, each
# earlier place offers a *key*; the better they fit, the more of that place's *value* is taken.
# Nothing looks ahead, for there stands the answer.

# %%
T, hd = 5, 4
torch.manual_seed(1)
q, k, v = torch.randn(3, T, hd)  # each (T, hd)
by_loop = torch.zeros(T, hd)
for t in range(T):
    scores = torch.stack([q[t] @ k[s] / hd**0.5 for s in range(t + 1)])  # itself and before
    share = scores.exp() / scores.exp().sum()
    by_loop[t] = sum(share[s] * v[s] for s in range(t + 1))
print(by_loop)

# %% [markdown]
# By matrix, all places at once: the scores are one product, and what lies ahead is set to minus
# infinity. PyTorch's own function, and the package's, do the same.

# %%
import torch.nn.functional as F

from llmlab.core.model import attend

ahead = torch.ones(T, T).triu(1).bool()
scores = (q @ k.T / hd**0.5).masked_fill(ahead, -torch.inf)  # (T, T)
shares = scores.softmax(-1)
by_matrix = shares @ v
bias = torch.zeros(T, T).masked_fill(ahead, -torch.inf)
package = attend(q[None, None], k[None, None], v[None, None], bias)[0, 0]
sdpa = F.scaled_dot_product_attention(q[None], k[None], v[None], is_causal=True)[0]
for other in (by_matrix, package, sdpa):
    assert torch.allclose(by_loop, other, atol=1e-5)

# %%
from llmlab import figures as style

places = [f"place {t}" for t in range(T)]
style.heat(shares.tolist(), places, places, "What each place (row) takes from which (column)")

# %% [markdown]
# ### Exercise 2 · must · ●●○ · 12 min
# Write `attention(q, k, v)`: causal attention for one head, all of shape (T, hd) → (T, hd). Without
# a loop, and without PyTorch's own function.
#
# <details><summary>Hint</summary>
#
# Scores (T, T), divided by the root of hd; `triu(1)` marks what lies ahead; softmax over the last
# axis; then a product with v.
#
# </details>


# %%
def attention(q, k, v):
    ### BEGIN SOLUTION
    T, hd = q.shape
    ahead = torch.ones(T, T).triu(1).bool()
    scores = (q @ k.T / hd**0.5).masked_fill(ahead, -torch.inf)
    return scores.softmax(-1) @ v
    ### END SOLUTION


check("04.attention", attention)

# %% [markdown]
# ## Where am I?
#
# To a weighted mean, order is nothing. So queries and keys are *turned*, each by the angle of its
# place (RoPE, notebook 03). What remains in a score is the difference of two angles: shift both
# places, and the score stays.

# %%
from llmlab.core.model import apply_rope, rope_table

table = rope_table(64, hd, theta=10000.0)  # (2, 64, hd)
query, key = torch.randn(2, 1, hd)


def score(t, s):
    """The score of a query at place t and a key at place s."""
    turned = [apply_rope(x, table[:, at : at + 1]) for x, at in ((query, t), (key, s))]
    return (turned[0] @ turned[1].T).item()


print([round(score(t, t - 3), 4) for t in (3, 10, 40)], "three apart, anywhere")
print([round(score(10, 10 - d), 4) for d in (0, 1, 2, 3)], "by distance")
assert abs(score(3, 0) - score(40, 37)) < 1e-4

# %% [markdown]
# ## The MLP
#
# What attention has gathered, the MLP works on, each place for itself: two matrices up, one of
# them a gate, one matrix down (SwiGLU).

# %%
mlp = small.blocks[0].mlp
gate, up, down = (part.weight for part in (mlp.gate_proj, mlp.up_proj, mlp.down_proj))
h = x @ gate.T  # (T, hidden_dim)
by_hand = (h * h.sigmoid() * (x @ up.T)) @ down.T
assert torch.allclose(by_hand, mlp(x), atol=1e-5)
print(f"{list(x.shape)} -> {list(h.shape)} -> {list(by_hand.shape)}")

# %% [markdown]
# ## The whole model, in a dozen lines
#
# **Claim: a layer does not replace its input, it adds to it.** So a *stream* runs through the
# model, and each part reads a norm of it and writes on top. At the end the stream is compared with
# every row of the table: that is the head.


# %%
def forward(model, ids):
    c, T = model.config, len(ids)
    bias = torch.zeros(T, T).masked_fill(torch.ones(T, T).triu(1).bool(), -torch.inf)
    stream = model.embed.weight[ids]  # (T, dim)
    for block in model.blocks:
        a, read = block.attn, block.attn_norm(stream)
        heads = [p(read).view(1, T, c.n_heads, -1).mT for p in (a.q_proj, a.k_proj, a.v_proj)]
        q, k, v = (h.mT.transpose(1, 2) for h in heads)  # (1, heads, T, hd)
        q, k = (apply_rope(n(h), model.rope[:, :T]) for n, h in ((a.q_norm, q), (a.k_norm, k)))
        mixed = attend(q, k, v, bias)[0]  # (heads, T, hd)
        stream = stream + mixed.transpose(0, 1).reshape(T, -1) @ a.o_proj.weight.T
        stream = stream + block.mlp(block.mlp_norm(stream))
    return model.norm(stream) @ model.head.weight.T  # (T, V)


assert torch.allclose(forward(small, inputs), small(inputs[None])[0], atol=1e-4)

# %% [markdown]
# How much does each part add? Table and first look are a whisper beside what comes later: what is
# written last speaks loudest to the head.

# %%
from llmlab.evaluation import interpretability

base, _, _ = lab.latest("base", mine=False)
row = tokenizer.encode("Lemon Chicken\n\nIngredients:\n- 4 chicken breasts\n- 1 lemon, sliced\n")
parts = interpretability.contributions(base, row)
style.bars({"length that each part adds": list(parts.values())}, list(parts),
           "The stream of the slow-cooked base", per_cent=False)  # fmt: skip

# %% [markdown]
# ## Before it has learned anything
#
# A fresh model finds every id equally likely, so its loss is the logarithm of the vocabulary's
# size. If your own model starts anywhere else, look for the bug first.

# %%
import math

model = lab.build()
ids_row = ids[None].to(lab.device)
first = next_token_loss(model(ids_row[:, :-1]), ids_row[:, 1:]).item()
size = model.config.vocab_size
print(f"first loss {first:.3f}, ln {size} = {math.log(size):.3f}")
print(f"{sum(p.numel() for p in model.parameters()):,} parameters")
assert abs(first - math.log(size)) < 0.1

# %% [markdown]
# ## Overfit one batch first
#
# **Claim: what cannot learn eight rows by heart cannot learn at all.** The cheapest test of a new
# model and loop: the same few rows again and again. The loss must go to nought.

# %%
from llmlab.core.optim import Optimizer
from llmlab.corpus.corpus import load_corpus
from llmlab.corpus.mixture import Mixture
from llmlab.datasets import pretokenize

corpus = load_corpus(lab.profile.sources)
rows = Mixture(corpus, tokenizer.to_tiktoken(), lab.profile.mixture, lab.seed)
rows = pretokenize.rows_of(lab, tokenizer, rows)  # at full size with web text
batch = rows.batch(0, 8, 32).to(lab.device)  # (8, 33)
optimizer = Optimizer(model.named_parameters())
losses = []
for _ in range(100):
    loss = next_token_loss(model(batch[:, :-1]), batch[:, 1:])
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
print(f"loss {losses[0]:.2f} -> {losses[-1]:.3f}")
assert losses[-1] < 0.2

# %% [markdown]
# ## A large batch from small ones
#
# What does not fit into memory at once goes through in parts: gradients add up. Halves with half
# the loss each give the gradient of the whole.

# %%
torch.manual_seed(0)
twin = Transformer(config)
ids_8 = torch.randint(2048, (8, 17))


def gradient(parts):
    twin.zero_grad()
    for part in parts:
        loss = next_token_loss(twin(part[:, :-1]), part[:, 1:]) / len(parts)
        loss.backward()
    return torch.cat([p.grad.flatten() for p in twin.parameters()])


whole, halves = gradient([ids_8]), gradient(ids_8.split(4))
assert torch.allclose(whole, halves, atol=1e-6)
print(f"greatest difference {(whole - halves).abs().max():.1e}")

# %% [markdown]
# ## How fast to move
#
# The learning rate rises, since the first gradients are wild; it stays; it falls in a straight
# line, for large steps cannot find the bottom of a valley. A gradient longer than 1 is shortened to
# 1: no single batch may throw the model over.

# %% [markdown]
# ### Exercise 3 · ●●○ · 8 min
# Write `rate(step, steps, warmup, cooldown)`: the factor on the learning rate at a 0-based step.
# It rises in a line and is 1 for the first time at the end of the share `warmup` of all steps; in
# the last share `cooldown` it falls in a line, to nought one step after the last.
#
# <details><summary>Hint</summary>
#
# Two lines, `(step + 1) / …` and `(steps - step) / …`; the smaller of the two counts, and never
# more than 1.
#
# </details>


# %%
def rate(step, steps, warmup, cooldown):
    ### BEGIN SOLUTION
    rise = (step + 1) / max(1, warmup * steps)
    fall = (steps - step) / max(1, cooldown * steps)
    return min(1.0, rise, fall)
    ### END SOLUTION


check("04.rate", rate)

# %%
from llmlab.core.optim import learning_rate

steps = range(200)
style.lines(
    {"ours: up, level, down": (steps, [learning_rate(s, 200) for s in steps]),
     "long warm-up, late cool-down": (steps, [learning_rate(s, 200, 0.2, 0.2) for s in steps])},
    "step of 200", title="Factor on the learning rate", per_cent=True,
)  # fmt: skip

# %% [markdown]
# ## Which way to move: AdamW and Muon
#
# AdamW divides each gradient by its own usual size. Muon, for matrices, makes all *directions* of
# an update equally strong: it pushes the singular values of the gradient to about 1, by a few
# products.

# %%
from llmlab.core.optim import orthogonalize

gradient_like = torch.randn(6, 6) @ torch.diag(torch.tensor([9.0, 4, 2, 1, 0.5, 0.1]))
before = torch.linalg.svdvals(gradient_like)
after = torch.linalg.svdvals(orthogonalize(gradient_like[None])[0].float())
print("before", [f"{v:.2f}" for v in before])
print("after ", [f"{v:.2f}" for v in after])

# %% [markdown]
# Does it pay? Both got the same seconds of one thread, three seeds each, AdamW at four learning
# rates: a study (`python -m llmlab study optimizers`).

# %%
from llmlab.studies import load_study, run_point, values

kept = load_study("optimizers")
style.trials(
    {"bits per byte on held-out recipes": values(kept, "val_bpb"),
     "steps in the same time": values(kept, "steps")},
    "Equal time",
)  # fmt: skip

# %% [markdown]
# ## Train, live
#
# Now for real, on the mixture of notebook 01. You may stop it (■): it saves, and the same cell
# goes on from there. On the way the model writes the beginning of a page, again and again.

# %%
from IPython.display import display

from llmlab.stages import pretraining
from llmlab.widgets.loss_curve import LossCurve

curve, pages = LossCurve("Pretraining, live"), {}
job = pretraining.new_job(lab, lab.build(), tokenizer, lab.path("base"), rows.hash())


def watch(record):
    curve.add("yours", record["step"], record["loss"])
    if record["step"] in (1, 25, 100, 250, 500):
        page = pretraining.sample_text(job.model, tokenizer, "Tomato Soup\n", n=40)
        pages[record["step"]] = page


display(curve)
pretraining.train(lab, job, rows, on_step=watch, snapshots=True)

# %%
for step, page in pages.items():
    print(f"--- step {step}\n{page.removeprefix('Tomato Soup').strip()[:150]}\n")
tokens = sum(record["tokens"] for record in job.log)
print(f"{job.step} steps, {tokens / 1e6:.2f} M tokens, {job.cpu_seconds:.0f} CPU seconds")

# %% [markdown]
# First noise, then frequent words, then lists; sense comes last. Not a recipe that one could cook
# from yet, but a title, amounts, verbs in front:

# %%
print(pretraining.sample_text(job.model, tokenizer, "Tomato Soup\n\nIngredients:\n", seed=1))

# %% [markdown]
# ## Stop, and go on
#
# A run that was stopped must end where one that was not would have: bit for bit. Twelve steps of a
# tiny model, once straight through, once stopped by the same signal that the ■ button sends.

# %%
import signal
import tempfile
from dataclasses import replace
from pathlib import Path


def twelve_steps(path, on_step=None):
    tiny = replace(lab, steps=12, profile=replace(lab.profile, pretraining_batch=2, seq_len=32))
    run = pretraining.new_job(tiny, tiny.build(config), tokenizer, path, "a demonstration")
    pretraining.train(tiny, run, rows, on_step)
    return run


with tempfile.TemporaryDirectory() as folder:
    straight = twelve_steps(Path(folder) / "straight.safetensors")
    path = Path(folder) / "stopped.safetensors"
    twelve_steps(path, lambda r: r["step"] == 7 and signal.raise_signal(signal.SIGINT))
    resumed = twelve_steps(path)
weights = [[*run.model.parameters()] for run in (straight, resumed)]
assert all(torch.equal(a, b) for a, b in zip(*weights, strict=True))

# %% [markdown]
# ## Here is one we prepared earlier
#
# The same command, the same model and text, with a longer budget. The two curves part where the
# live run's cool-down begins. It read every recipe many times over; a run that does so more than
# four times leaves out a tenth of each part's work at random (*dropout*), lest it learn them by
# heart.

# %%
from llmlab.lab import shipped_log

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
# training ever saw, nor a near copy of them. And the bill: 6 FLOPs for each parameter and token.

# %%
n = sum(p.numel() for p in base.parameters())
figures = {
    "tokens": tokens,
    **pretraining.evaluate_run(lab, job),
    "base_val_bpb": pretraining.held_out_bpb(lab, base, tokenizer, corpus),
}
lab.report("pretraining", figures)
for name, bpb, count in (("yours", figures["val_bpb"], tokens),
                         ("slow-cooked", figures["base_val_bpb"], slow["tokens"])):  # fmt: skip
    print(f"{name:>12}: {bpb:.3f} bits per byte for {6 * n * count:.1e} FLOPs")

# %% [markdown]
# ## Your own text
#
# Put the name of a text file here, or a long text between three quotation marks, and a model of
# its own reads it for a minute. `char` gives one id to each byte, `bpe` trains an encoding.

# %%
MY_FILE, MY_TEXT = "", ""

if MY_FILE or MY_TEXT:
    mine = pretraining.read_text(Path(MY_FILE)) if MY_FILE else MY_TEXT
    minute = replace(lab, minutes=1)
    print(pretraining.pretrain_text(minute, mine, "char", lab.runs / "my-text"))
    own, own_tokenizer, _ = lab.load(lab.runs / "my-text" / "model.safetensors")
    print(pretraining.sample_text(own, own_tokenizer, mine[:40], n=200))

# %% [markdown]
# # Second sitting: look inside and scale
#
# ## Where it looks
#
# Type a text of your own, choose a head, point at a token: from which tokens before it does it take
# what it needs? Many heads look at the neighbour or at the first token; some do something that one
# can name.

# %%
from llmlab.widgets.attention_view import AttentionView

PAGE = "Shopping list: tofu, mango, leek, rice\nMango Tofu needs tofu, mango, leek, rice.\n"
AttentionView(base, tokenizer, PAGE)

# %% [markdown]
# ## The guess, layer by layer
#
# The stream can be asked at any height: what would the model say if it stopped here? (The *logit
# lens*.) On this page the last foods are to be copied from the first line; see where they come in.

# %%
page = [tokenizer.special("<|end|>"), *tokenizer.encode(PAGE)]
lens = interpretability.logit_lens(base, page)[:, :-1].log_softmax(-1)  # (layers + 1, T - 1, V)
coming = torch.tensor(page[1:])
sure = lens.gather(2, coming.expand(len(lens), -1)[..., None])[..., 0].exp()
shown = slice(-11, -1)
names = ["the table", *(f"after layer {i}" for i in range(len(lens) - 1))]
style.heat(sure[:, shown].tolist(), names, [tokenizer.decode([i]) for i in coming[shown].tolist()],
           "How likely each layer finds what comes")  # fmt: skip

# %% [markdown]
# ## The head that copies
#
# **Claim: this model has a part that copies, and one can put a finger on it.** For each head: how
# much of its attention goes to where the *next* token has stood before?

# %%
scores = interpretability.copying(interpretability.attention(base, page), page)  # (layers, heads)
heads = [f"head {h}" for h in range(scores.shape[1])]
style.heat(scores.tolist(), [f"layer {i}" for i in range(len(scores))], heads,
           "Attention to where the next token stood before")  # fmt: skip

# %% [markdown]
# Is it really this head? Knock it out and ask for dishes again; then knock out another one. If the
# head only *looked* as if it copied, nothing would happen.

# %%
order = scores.flatten().argsort(descending=True).tolist()
ranked = [divmod(i, scores.shape[1]) for i in order]
used = {"whole model": interpretability.foods_used(base, tokenizer)}
for title, head in (("without the first", ranked[0]), ("without the second", ranked[1]),
                    ("without the last", ranked[-1])):  # fmt: skip
    with interpretability.without(base, [head]):
        used[title] = interpretability.foods_used(base, tokenizer)
style.bars({"asked foods used": list(used.values())}, list(used), "What one head is good for")

# %% [markdown]
# One head, and without it the model answers what it likes. That the mixture *demanded* copying
# (notebook 01) has built it.

# %%
question = "Q: What goes with beets and salmon?\nA:"
for name, off in (("whole", []), ("without it", ranked[:1])):
    with interpretability.without(base, off):
        answer = pretraining.sample_text(base, tokenizer, question, n=30, seed=3)
    print(f"{name:>10}: {answer.removeprefix(question).strip()}")

# %% [markdown]
# ## The next token, by hand
#
# The model gives a distribution; which token is *taken* is up to us. Move temperature, top-k and
# top-p, and click a token to go on.

# %%
from llmlab.widgets.next_token import NextToken

NextToken(base, tokenizer, "Lemon Chicken\n\nIngredients:\n- 4 chicken")

# %% [markdown]
# Temperature divides the scores: below 1 the likely becomes likelier. Top-k keeps the k likeliest,
# top-p the likeliest that together have the share p. On four ids, by hand and by the package:

# %%
from llmlab.core.sampling import filter_logits

logits = torch.tensor([[2.0, 1.0, 0.0, -1.0]])
two = logits.masked_fill(logits < logits.topk(2).values[:, -1:], -torch.inf)
assert torch.equal(two, filter_logits(logits, top_k=2))
assert torch.equal(logits / 0.5, filter_logits(logits, temperature=0.5))
ways = {"as it is": logits, "temperature 0.5": logits / 0.5, "top-k 2": two,
        "top-p 0.9": filter_logits(logits, top_p=0.9)}  # fmt: skip
chances = {name: way.softmax(-1)[0].tolist() for name, way in ways.items()}
style.bars(chances, ["first", "second", "third", "fourth"], "What is drawn, and how often")

# %% [markdown]
# ### Exercise 4 · ●●● · 12 min
# Write `nucleus(probs, p)`: top-p. From probabilities (V,), keep the likeliest until their sum is
# at least p, set the others to 0, and make the rest sum to 1 again. The likeliest always stays.
#
# <details><summary>Hint</summary>
#
# Sort downwards; a token stays if the sum of those *before* it is still less than p. Sorting also
# gives the indices, by which to put things back.
#
# </details>


# %%
def nucleus(probs, p):
    ### BEGIN SOLUTION
    ranked, order = probs.sort(descending=True)
    before = ranked.cumsum(0) - ranked
    kept = torch.zeros_like(probs)
    kept[order] = ranked * (before < p)
    return kept / kept.sum()
    ### END SOLUTION


check("04.nucleus", nucleus)

# %% [markdown]
# ## Why it does not read everything again
#
# To write the next token, only the newest place needs work: keys and values of all places before it
# do not change. Keep them (the *KV cache*), and the text is the same, token by token.

# %%
import time

from llmlab.core.sampling import generate


@torch.no_grad()
def slowly(model, ids, n):
    """Greedy, without a cache: the whole text goes through the model for every token."""
    for _ in range(n):
        logits = model(torch.tensor([ids], device=lab.device))[0, -1]
        ids = [*ids, logits.argmax().item()]
    return ids[-n:]


# %%
exact = replace(lab, dtype=torch.float32).load(lab.shipped("base"))[0]  # no rounding to 16 bits
lengths, took = (32, 64, 128, 256), {"without a cache": [], "with it": []}
for n_new in lengths:
    start = time.perf_counter()
    written = slowly(exact, page[:20], n_new)
    took["without a cache"].append(time.perf_counter() - start)
    start = time.perf_counter()
    assert generate(exact, [page[:20]], n_new, temperature=0) == [written]
    took["with it"].append(time.perf_counter() - start)

# %%
style.lines({name: (lengths, times) for name, times in took.items()},
            "tokens written", "seconds", "Writing with and without a cache")  # fmt: skip

# %% [markdown]
# ## How far will it go?
#
# **Claim: loss falls with size and with text by a law that can be measured on a laptop.** Four
# sizes read three budgets of text each: a study (`python -m llmlab study scaling`). One small point
# of it, now:

# %%
kept = load_study("scaling")
point = run_point(lab, "scaling", "64x2:300", 1)
before = values(kept, "val_bpb")["64x2:300"][0]
print(f"here {point['val_bpb']:.3f}, kept {before:.3f} bits per byte")

# %%
from llmlab.studies import scaling

curves = {}
for size in scaling.SIZES:
    runs = [p["figures"] for p in kept["points"] if p["arm"].startswith(f"{size}:")]
    name = f"{runs[0]['parameters'] / 1e6:.2f} M parameters"
    curves[name] = [round(r["tokens"] / 1e6, 1) for r in runs], [r["val_bpb"] for r in runs]
style.lines(curves, "million tokens", "bits per byte", "Four sizes, three budgets", log_x=True)

# %% [markdown]
# The law of Hoffmann et al. (2022) has a floor, a term that falls with the parameters N, and one
# that falls with the tokens D. A held-back run tests it: a size and a budget that the fit has not
# seen. How sure is the fit? Draw the runs anew, with replacement, forty times.

# %%
import numpy as np

fitted = [p["figures"] for p in kept["points"] if p["arm"] != scaling.CHECK]
columns = [[f[key] for f in fitted] for key in ("parameters", "tokens", "val_bpb")]
law, laws = scaling.fit(*columns), scaling.resampled(*columns, times=40)
print(f"loss = {law.floor:.2f} + {law.a:.3g} / N^{law.alpha:.2f} + {law.b:.3g} / D^{law.beta:.2f}")
held_back = next(p["figures"] for p in kept["points"] if p["arm"] == scaling.CHECK)
size, read = held_back["parameters"], held_back["tokens"]
low, high = np.percentile([one.loss(size, read) for one in laws], [5, 95])
print(f"predicted for {size / 1e6:.2f} M and {read / 1e6:.2f} M tokens: {law.loss(size, read):.3f} "
      f"({low:.3f} to {high:.3f}), measured {held_back['val_bpb']:.3f}")  # fmt: skip

# %% [markdown]
# ## What to buy with a budget
#
# From the law follows the best size for any number of FLOPs. Chinchilla found about 20 tokens for
# each parameter, on models a thousand times as large. This machine, in 10, 60 and 600 minutes, at
# three tenths of its peak: what would *you* train? (The law knows only text that is read once; ours
# is not endless.)

# %%
from llmlab.stages import costs

peak = costs.this_machine(lab).peak
for minutes in (10, 60, 600):
    flops = 0.3 * peak * 60 * minutes
    n, d = law.best(flops)
    rule_n, rule_d = costs.compute_optimal(flops)
    ratios = [one.best(flops)[1] / one.best(flops)[0] for one in laws]
    low, high = np.percentile(ratios, [5, 95])
    print(f"{minutes:>4} min: {n / 1e6:5.2f} M parameters, {d / 1e6:6.1f} M tokens, "
          f"loss {law.loss(n, d):.2f}; {d / n:.0f} tokens each ({low:.0f} to {high:.0f}); "
          f"Chinchilla's rule: {rule_n / 1e6:.2f} M, {rule_d / 1e6:.0f} M")  # fmt: skip

# %% [markdown]
# `llmlab.setup("full", minutes=60)` chooses so, with two cautions: text that is read again counts
# for less each time (Muennighoff et al. 2023), and no model may be so large that it learns all of
# the text by heart. And it does not guess a share of the peak: it trains for some seconds and
# measures. Among its sizes, with our text:

# %%
from llmlab.profiles import FULL
from llmlab.scale.scaling_law import choose, shape_of_depth, size_of

once = round(1 / rows.epochs(1))  # tokens until each recipe was read
sizes = [shape_of_depth(FULL.model, depth) for depth in FULL.depths]
for minutes in (10, 60, 600):
    config, tokens, expected = choose(law, sizes, 0.3 * peak * 60 * minutes, once)
    print(f"{minutes:>4} min: {config.n_layers} layers of width {config.dim}, "
          f"{size_of(config) / 1e6:.2f} M parameters; {tokens / 1e6:.1f} M tokens, each text read "
          f"{tokens / once:.1f} times; loss {expected:.2f}")  # fmt: skip

# %% [markdown]
# ## Recap
#
# One question, asked everywhere; a norm, attention with angles, an MLP, a stream; loss from ln V
# downwards. Inside there are parts that one can name, and losing one of them costs an ability. And
# the loss of the next run can be told from small ones.
#
# **At full size** the same cells run with `llmlab.setup("full", minutes=60)`.

# %%
from llmlab.classroom import show_progress

show_progress("04")

# %% [markdown]
# **Further reading**: Vaswani et al. 2017, *Attention Is All You Need*; Touvron et al. 2023,
# *LLaMA*; Su et al. 2021, *RoFormer* (RoPE); Shazeer 2020, *GLU Variants Improve Transformer*;
# Jordan et al. 2024, *Muon*; Olsson et al. 2022, *In-context Learning and Induction Heads*;
# Holtzman et al. 2020, *The Curious Case of Neural Text Degeneration* (top-p); Hoffmann et al.
# 2022, *Training Compute-Optimal Large Language Models*.
#
# [Next: 05 Supervised fine-tuning](05_sft.ipynb)
