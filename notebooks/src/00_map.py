# ---
# jupyter:
#   llmlab:
#     minutes: 40
#     budget_s: 60
# ---

# %% [markdown]
# # 00 The map: four stages, and what each costs
#
# **You will be able to** name the four stages of training, count a model's parameters from its
# shape, and work out what its training costs: in FLOPs, in hours, in money, in memory.
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
# ## As everyone draws it
#
# **Claim: an assistant is made in four stages, each with data and a question of its own.** A model
# first reads; then it is shown how to answer; then a judge learns what people like; then the
# model practises before that judge. Here is the usual picture.

# %%
from matplotlib.patches import FancyBboxPatch

from llmlab import figures as style

COLOURS = dict(zip(("pretraining", "SFT", "reward model", "RL"), style.COLOURS, strict=False))
WORDS = {
    "pretraining": ("reads the web", "which token\ncomes next?"),
    "SFT": ("reads answers", "which token comes\nnext in the answer?"),
    "reward model": ("reads comparisons", "which of the two\nis better?"),
    "RL": ("writes answers", "what does the\njudge like?"),
}

# %%
figure, ax = style.axes(width=7.6, height=1.9)
ax.axis("off")
ax.set(xlim=(0, 3.82), ylim=(0, 1))
for x, (stage, (data, question)) in enumerate(WORDS.items()):
    ax.add_patch(FancyBboxPatch((x + 0.06, 0.1), 0.7, 0.8, "round,pad=0.05", fc=COLOURS[stage],
                                ec="none", alpha=0.18))  # fmt: skip
    ax.text(x + 0.41, 0.78, stage, ha="center", weight="bold", color="#222")
    ax.text(x + 0.41, 0.56, data, ha="center", color="#222", fontsize=8)
    ax.text(x + 0.41, 0.2, question, ha="center", color="#222", fontsize=8, style="italic")
    if x < 3:
        ax.annotate("", (x + 1.0, 0.5), (x + 0.82, 0.5), arrowprops={"arrowstyle": "-|>"})
style.finish(figure)

# %% [markdown]
# ## To scale
#
# **Claim: the four boxes are not of one size; people say that pretraining takes 99 %.** OpenAI
# published the bill of InstructGPT, a forerunner of ChatGPT, in petaflop/s-days: what a machine of
# 10¹⁵ operations a second does in a day. Here it is; then the picture, drawn by cost.

# %%
from llmlab.evaluation.bill import line_bill, shipped_base
from llmlab.stages import costs

costs.INSTRUCT_GPT

# %% [markdown]
# The long bar is everything that was spent; what is not pretraining stands below it once more,
# under a lens.


# %%
def to_scale(bill, title):
    figure, ax = style.axes(title, width=7.6, height=2.2)
    ax.axis("off")
    ax.set(xlim=(0, 1), ylim=(-0.95, 1.3))
    share, left = costs.cost_shares(bill), 0.0
    first = share["pretraining"]
    for stage, part in share.items():
        ax.barh(1, part, left=left, height=0.5, color=COLOURS[stage])
        if stage != "pretraining":
            at, wide = (left - first) / (1 - first), part / (1 - first)
            ax.barh(-0.15, wide, left=at, height=0.5, color=COLOURS[stage], ec="white")
            ax.text(at + wide / 2, -0.5, f"{stage}\n{part:.2%}", ha="center", va="top", fontsize=8)
        left += part
    ax.fill([first, 1, 1, 0], [0.75, 0.75, 0.1, 0.1], color="#999999", alpha=0.2, lw=0)
    ax.text(first / 2, 1, f"pretraining {first:.1%}", ha="center", va="center", color="white")
    return style.finish(figure)


to_scale(costs.INSTRUCT_GPT, "InstructGPT (175 B parameters), by its published bill")

# %% [markdown]
# So "99 %" is rounded up a little, and the reward model, of 6 billion parameters, is not even on
# the authors' bill. What the bar does not show: the slivers are why people use the model at all,
# and people must write their data by hand.

# %% [markdown]
# ### Exercise 1 · ●○○ · 4 min
# Write `share(bill, stage)`: which share of the whole bill does a stage take?
#
# <details><summary>Hint</summary>
#
# `bill` is a dictionary: stage → cost. The whole is the sum of its values.
#
# </details>

# %%
from llmlab.classroom import check


def share(bill, stage):
    ### BEGIN SOLUTION
    return bill[stage] / sum(bill.values())
    ### END SOLUTION


check("00.share", share)

# %% [markdown]
# ## This project's own line
#
# The series trains a small kitchen assistant through the same four stages. Its logs say how many
# tokens each stage read. A token costs about 2·N operations to read or to write and 6·N to learn
# from, where N is the number of parameters: further down you will see why.

# %%
bill = line_bill(lab)
for spent in bill:
    print(
        f"{spent.stage:>12}  {spent.flops:.1e} FLOPs  {spent.cpu_seconds:6,.0f} processor seconds"
    )
to_scale({s.stage: s.flops for s in bill}, "The kitchen assistant of this series, by its logs")

# %% [markdown]
# Not 99 %, but far more than a quarter: a small model's pretraining is short, while teaching it to
# answer takes the data that it takes. Do seconds tell the same story as FLOPs? Learning is a few
# large products, which processors like; writing goes token by token, which keeps them waiting.

# %%
in_time = costs.cost_shares({s.stage: s.cpu_seconds for s in bill})
in_flops = costs.cost_shares({s.stage: s.flops for s in bill})
for stage in in_flops:
    print(f"{stage:>12}  {in_flops[stage]:6.1%} of the FLOPs  {in_time[stage]:6.1%} of the seconds")

# %% [markdown]
# ## Parameters, counted by hand
#
# **Claim: a shape is enough to know the size.** A tiny model: 10 ids, vectors of 4, one layer, two
# heads of width 2, an MLP of width 6. Every matrix of it, with rows times columns:

# %%
embedding = 10 * 4
attention = 4 * (4 * 4)  # queries, keys, values, output
mlp = 3 * (4 * 6)  # gate, up, down: "SwiGLU"
norms = 4 + 4 + 4  # before attention, before the MLP, at the end
head = 0  # the embedding once more, turned round
by_hand = embedding + attention + mlp + norms + head
print(f"{embedding} + {attention} + {mlp} + {norms} + {head} = {by_hand}")

# %% [markdown]
# The package counts the same way, and the model itself must agree: the sum of the sizes of all
# its tensors.

# %%
from llmlab.core.model import ModelConfig

tiny = ModelConfig(vocab_size=10, dim=4, n_layers=1, n_heads=2, n_kv_heads=2, head_dim=2,
                   hidden_dim=6, qk_norm=False)  # fmt: skip
for shape in (tiny, lab.profile.model):
    real = sum(p.numel() for p in lab.build(shape).parameters())
    assert costs.total(shape) == real
    print(f"{real:>9,} =", costs.parameters(shape))
assert costs.total(tiny) == by_hand

# %% [markdown]
# ### Exercise 2 · must · ●●○ · 10 min
# Write `count(c)` for any shape of this layout. `c` has `vocab_size`, `dim`, `n_layers`, `n_heads`,
# `n_kv_heads`, `head_dim`, `hidden_dim`, and two switches: `tie_embeddings` (the head is the
# embedding) and `qk_norm` (two more norms a layer, `head_dim` wide).
#
# <details><summary>Hint</summary>
#
# Queries and output: `dim × (n_heads · head_dim)` each. Keys and values: the same with
# `n_kv_heads`. Then three matrices of the MLP, two norms a layer, one at the end. A switch is a
# number as well: `True * 8` is 8.
#
# </details>


# %%
def count(c):
    ### BEGIN SOLUTION
    attention = 2 * c.dim * c.head_dim * (c.n_heads + c.n_kv_heads)
    mlp = 3 * c.dim * c.hidden_dim
    norms = 2 * c.dim + 2 * c.head_dim * c.qk_norm
    tables = c.vocab_size * c.dim * (1 if c.tie_embeddings else 2)
    return tables + c.n_layers * (attention + mlp + norms) + c.dim
    ### END SOLUTION


check("00.params", count)

# %% [markdown]
# ## Where 6·N·D comes from
#
# **Claim: each weight costs two operations for each token on the way forward, and four on the way
# back.** A row of 3 numbers times a matrix of 3 × 5: each of the 15 weights is used once, in one
# multiplication and one addition.

# %%
import torch
from torch.utils.flop_counter import FlopCounterMode

row, matrix = torch.randn(1, 3), torch.randn(3, 5, requires_grad=True)
operations, out = 0, torch.zeros(1, 5)
for i in range(3):
    for j in range(5):
        out[0, j] += row[0, i].item() * matrix[i, j].item()
        operations += 2
assert torch.allclose(out, row @ matrix, atol=1e-6)
print(f"{operations} operations = 2 x {matrix.numel()} weights")

# %% [markdown]
# On the way back two products wait: one for the gradient of the weights, one for that of the input.
# Together with the way there, that makes six for each weight and token. PyTorch's own counter, on
# this series' model and 256 tokens, finds somewhat more than 2 and 4. The next section says why.

# %%
model, ids = lab.build(), torch.zeros(1, 256, dtype=torch.long, device=lab.device)
n, d = costs.total(lab.profile.model), ids.numel()
with FlopCounterMode(display=False) as forward:
    loss = model(ids).float().mean()
with FlopCounterMode(display=False) as backward:
    loss.backward()
there, back = forward.get_total_flops(), backward.get_total_flops()
print(f"there {there / (n * d):.2f}, back {back / (n * d):.2f} operations per weight and token")
by_parts = sum(costs.token_flops(lab.profile.model, d).values()) * d
print(f"counted {there + back:.4g}, by the package's parts {by_parts:.4g}")
assert abs((there + back) / by_parts - 1) < 0.05

# %% [markdown]
# ## Where it breaks down
#
# **Claim: 6·N·D forgets attention.** Each token also looks at all others. That part grows with the
# context T: 12·L·T·d for each token, in L layers of width d. At a short context it is nothing; at a
# long one it is most of the work, and sooner so in a small model.

# %%
lengths = [2**k for k in range(8, 18)]
shown = {"this series": lab.profile.model}
shown |= {m: costs.published(m).shape for m in ("GPT-2", "LLaMA 7B", "Llama 3.1 405B")}
style.lines(
    {name: (lengths, [costs.attention_share(shape, t) for t in lengths])
     for name, shape in shown.items()},
    "tokens of context", title="Attention's share of the work, which 6·N·D leaves out",
    log_x=True, per_cent=True,
)  # fmt: skip

# %% [markdown]
# A smaller leak runs the other way. A table that is only looked up multiplies nothing, and N counts
# it all the same. Where the head shares the table (here, in GPT-2), it is a matrix after all.

# %%
for name, shape in shown.items():
    multiplied = sum(costs.token_flops(shape, seq_len=0).values())
    print(f"{name:>14}: {1 - multiplied / costs.train_flops(costs.total(shape), 1):.1%} of 6·N·D")

# %% [markdown]
# ### Exercise 3 · ●●○ · 6 min
# Write `hours(n, tokens, peak, utilisation)`: the GPU-hours of a training. `peak` is in FLOP/s;
# `utilisation` is the share of it that does the model's arithmetic: 0.3 to 0.5 in good runs.
#
# <details><summary>Hint</summary>
#
# What there is to do, divided by how much is done in a second, gives seconds.
#
# </details>


# %%
def hours(n, tokens, peak, utilisation):
    ### BEGIN SOLUTION
    return 6 * n * tokens / (peak * utilisation) / 3600
    ### END SOLUTION


check("00.hours", hours)

# %% [markdown]
# ## Memory
#
# **Claim: to train a model takes eight times the memory of its weights, before it has read a
# word.** In mixed precision AdamW keeps 16 bytes for each parameter. What the forward pass leaves
# behind comes on top; it can be thrown away and computed again.

# %%
llama = costs.published("LLaMA 7B")
parts = costs.training_memory(llama.parameters)
parts["activations"] = costs.activation_memory(llama.shape, 2048, batch=4, recompute="selective")
figure, ax = style.axes("LLaMA 7B in training, 4 rows of 2,048 tokens, GB", 7.6, 1.9)
left = 0
for i, (name, size) in enumerate(parts.items()):
    ax.barh(0, size / 1e9, left=left, color=style.COLOURS[i], ec="white")
    words = f"{name}\n{size / 1e9:.0f}"
    ax.text(left + size / 2e9, 0.5, words, ha="center", va="bottom", fontsize=8)
    left += size / 1e9
ax.axvline(80, color="#222", linestyle="--")
ax.text(81, -0.62, "one A100: 80 GB", fontsize=8, va="center")
ax.set(ylim=(-0.8, 1.1), yticks=[])
style.finish(figure)

# %% [markdown]
# Recomputation trades time for memory. Muon, which trains this series' matrices, keeps one number
# less. And to *serve* a model, the weights in 16 bits and a cache of keys and values are enough.

# %%
for way in ("none", "selective", "full"):
    size = costs.activation_memory(llama.shape, 2048, batch=4, recompute=way)
    print(f"activations, recomputation {way:>9}: {size / 1e9:6.1f} GB")
weights = costs.parameters(llama.shape)
moved = (weights["attention"] + weights["mlp"]) / llama.parameters
for name, share_of_muon in (("AdamW", 0), ("Muon", moved)):
    state = sum(costs.training_memory(llama.parameters, share_of_muon).values())
    print(f"state with {name:>5}: {state / llama.parameters:.1f} bytes a parameter")
cache = costs.kv_cache_memory(llama.shape, 2048)
print(f"serving: weights {2 * llama.parameters / 1e9:.1f} GB, cache {cache / 1e9:.2f} GB a row")

# %% [markdown]
# ### Exercise 4 · ●●● · 10 min
# A GPU with `memory` bytes serves a model of shape `c` and `n` parameters, all in 16 bits. Write
# `chats(c, n, memory, length)`: how many conversations of `length` tokens fit beside the weights?
#
# <details><summary>Hint</summary>
#
# A token leaves a key and a value in each layer: `n_kv_heads × head_dim` numbers each. Only whole
# conversations count, and never fewer than none.
#
# </details>


# %%
def chats(c, n, memory, length):
    ### BEGIN SOLUTION
    cache = 2 * c.n_layers * c.n_kv_heads * c.head_dim * 2 * length
    return max(0, int((memory - 2 * n) // cache))
    ### END SOLUTION


check("00.chats", chats)

# %% [markdown]
# ## The card of this machine
#
# What a product of two large matrices reaches here, in 32 and in 16 bits, measured in less than a
# second. No training gets all of it: at three tenths of what this lab computes in, and with
# Chinchilla's 20 tokens for each parameter, a night of eight hours is enough for this.

# %%
mine = costs.this_machine(lab)
other = torch.bfloat16 if lab.dtype == torch.float32 else torch.float32
peaks = {lab.dtype: mine.peak, other: costs.matmul_peak(lab.device, other)}
for dtype, peak in peaks.items():
    print(f"{str(dtype)[6:]:>8}: {peak / 1e9:,.0f} GFLOP/s")
n, d = costs.night(mine.peak)
print(f"a night: {costs.short(n)} parameters on {costs.short(d)} tokens")
flops = costs.train_flops(llama.parameters, llama.tokens)
print(f"LLaMA 7B: {costs.duration(costs.gpu_hours(flops, mine.peak, 0.3))}")

# %% [markdown]
# ## The calculator
#
# Choose a published model, or move the sliders and make one of your own. What would GPT-3 cost on
# today's GPUs? What could you train for a hundred dollars? Prices differ from shop to shop: put in
# the one that you pay.

# %%
from llmlab.widgets.cost_calculator import CostCalculator

calculator = CostCalculator(gpus=[mine], models=[shipped_base(lab)])
calculator

# %% [markdown]
# ## Do the formulas hold?
#
# **Claim: this page reproduces what others have published.** Each row is a printed figure; the dot
# is our result, the bar is the band that a test of this project holds. GPU-hours are the coarsest:
# one utilisation, LLaMA 65B's own, serves for all four sizes.

# %%
checks = costs.published_checks()
figure, ax = style.axes("Ours against the published figure", width=7.6, height=6.2)
for y, one in enumerate(checks):
    ax.barh(y, 2 * one.band, left=-one.band, height=0.7, color=style.COLOURS[5], alpha=0.35)
    ax.plot(one.off, y, "o", color=style.COLOURS[0], ms=4)
ax.set_yticks(range(len(checks)), [one.figure for one in checks], fontsize=8)
ax.set_xticks([-0.1, -0.05, 0, 0.05, 0.1], ["-10 %", "-5 %", "equal", "+5 %", "+10 %"])
ax.set(xlim=(-0.11, 0.11), ylim=(len(checks) - 0.4, -0.6))
assert all(one.holds for one in checks)
style.finish(figure)

# %%
for one in checks:
    print(f"{one.figure:<36}{one.published:>10.4g}{one.ours:>10.4g}{one.off:>8.1%}  {one.source}")

# %% [markdown]
# ## Three to four hundred lines
#
# **Claim: the core algorithm of all this is 300 to 400 lines of code.** Here are the model, the
# tokenizer, every loss, the optimiser and the sampler of this series: lines that hold code, with
# blank lines, comments and docstrings left out.

# %%
import inspect
from pathlib import Path

from llmlab import core

sources = sorted(Path(inspect.getfile(core)).parent.glob("*.py"))
lines = {path.stem: costs.code_lines(path.read_text("utf-8")) for path in sources}
for name, number in lines.items():
    print(f"{name:>10}  {number:>4}")
print(f"{'in all':>10}  {sum(lines.values()):>4}")
assert sum(lines.values()) <= 400

# %% [markdown]
# ## Recap
#
# Four stages; the first takes nearly all of the work. A shape gives N; N and D give 6·N·D; a peak
# and a utilisation give hours, hours give money. Attention breaks the rule at long contexts. Memory
# is 16 bytes a parameter to train, and weights and cache to serve.
#
# **At full size** nothing here changes but the numbers: `llmlab.setup("full", minutes=60)` chooses
# a larger shape, and the card measures your GPU.

# %%
from llmlab.classroom import show_progress

show_progress("00")

# %% [markdown]
# **Further reading**: Kaplan et al. 2020, *Scaling Laws for Neural Language Models* (6·N·D);
# Hoffmann et al. 2022, *Training Compute-Optimal Large Language Models* (20 tokens a parameter);
# Ouyang et al. 2022, *Training Language Models to Follow Instructions with Human Feedback* (the
# bill); Korthikanti et al. 2022, *Reducing Activation Recomputation in Large Transformer Models*;
# Rajbhandari et al. 2020, *ZeRO*; Chowdhery et al. 2022, *PaLM*, appendix B (utilisation).
#
# [Next: 01 Data](01_data.ipynb)
