# ---
# jupyter:
#   llmlab:
#     minutes: 45
#     budget_s: 120
# ---

# %% [markdown]
# # 08 Report: talk to what you made
#
# **You will be able to** say which stage brought which ability and how sure that is, read a bill of
# training, write a model's card, and hand the model on in a format that others read.
#
# *45 minutes; the exercises that are no must take 25 more. Needs: a laptop. Each notebook runs
# alone.*
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
# ## Everyone is here
#
# One line of models: the base has read, SFT has shown it how to answer, DPO and PPO have given it a
# taste, GRPO holds it to the rules, and the last one learned both. Your own runs come first, where
# there are any; the base is the one that all others began from.

# %%
from llmlab import kitchen
from llmlab.chat import score_model
from llmlab.stages import report

line = report.load_line(lab)

# %% [markdown]
# ## Talk to them
#
# Type what you have and press Enter. Each model writes a token in turn. Below an answer stand the
# rules that your request asks for: ✓ kept, ✗ broken. The base has never seen a chat; it is asked as
# its pages ask, `Q: … A:`, and its "You need" counts as a colon.

# %%
from llmlab.widgets.chat_panel import ChatPanel

side_by_side = [name for name in ("base", "sft", "last", "grpo") if name in line][:3]
panel = ChatPanel({name: line[name] for name in side_by_side})
panel.ask("What vegetarian soup of 5 ingredients can I cook with leeks?")
panel

# %% [markdown]
# Try to break them: a food that nobody knows, a vegetarian dish with ham, twenty ingredients, a
# poem, another language. Type `<|end|>`: it stays text, for only the program writes such signs.
# Note what each model is good at. The rest of this notebook finds out whether you were lucky.

# %% [markdown]
# ## One exam for all
#
# **Claim: an impression is one sample.** So all models get the same requests, which no training has
# seen: some hundred dishes, some with a kind of dish, some that ask who it is.

# %%
import random
from collections import Counter

requests = kitchen.evaluation_set()
print(len(requests), "requests, such as:")
for request in requests[:3] + requests[300:301] + requests[-1:]:
    print("  ", request.text(random.Random(1)))
asked = Counter(name for r in requests for name, (_, asks) in kitchen.ABILITIES.items() if asks(r))
print(dict(asked))

# %%
import time

scores, start = {}, time.perf_counter()
for name, member in line.items():
    scores[name] = score_model(member.model, member.chat, requests)
print(f"{len(requests) * len(line):,} answers in {time.perf_counter() - start:.0f} s")

# %% [markdown]
# ## A share of what?
#
# **Claim: who says nothing breaks no rule.** How vegetarian is the base? Three honest-looking
# shares of the same answers: of all requests; of those that asked for it; and of those, only where
# the answer is a dish at all.

# %%
from statistics import mean

for name, member in line.items():
    pairs = list(zip(requests, scores[name], strict=True))
    wanted = [s for r, s in pairs if r.vegetarian]
    everyone = mean(s.vegetarian for _, s in pairs)
    kept = mean(s.vegetarian for s in wanted)
    dishes = mean(s.vegetarian == 1 and s.wellformed == 1 for s in wanted)
    print(f"{member.title:>5}: {everyone:4.0%} of all, {kept:4.0%} of those that asked, "
          f"{dishes:4.0%} with a dish")  # fmt: skip

# %% [markdown]
# ### Exercise 1 · ●○○ · 8 min
# Write `number_kept(requests, scores)`: of the requests that ask for a number of ingredients
# (`request.number` is not `None`), the share whose answer is well-formed (`score.wellformed` is 1)
# and has just that number (`score.number` is 1). Where nobody asks, it is 0.
#
# <details><summary>Hint</summary>
#
# Two questions, one after the other: who is below the line? And who of them is above it? `zip`
# brings requests and scores together.
#
# </details>

# %%
from llmlab.classroom import check


def number_kept(requests, scores):
    ### BEGIN SOLUTION
    asking = [s for r, s in zip(requests, scores, strict=True) if r.number is not None]
    kept = [s for s in asking if s.wellformed == 1 and s.number == 1]
    return len(kept) / max(1, len(asking))
    ### END SOLUTION


check("08.number_kept", number_kept)

# %% [markdown]
# The package counts all abilities this way. Its `values` has a 1 or a 0 for each that asks:

# %%
for name, member in line.items():
    kept = kitchen.ability_scores(requests, scores[name], "number")
    print(f"{member.title:>5}: number kept in {sum(kept):.0f} of {len(kept)}, {mean(kept):.0%}")

# %% [markdown]
# ## How sure is a share?
#
# A model keeps a rule in 9 of 10 answers. Is it a 90 % model? The school's formula puts 1.96
# standard errors to each side. It fails where it matters: 10 of 10 would be certainty. Wilson
# (1927) asks the other way round: *from which true shares* is 9 of 10 no surprise?

# %%
hits, n, z = 9, 10, 1.96
share = hits / n
school = [share + sign * z * (share * (1 - share) / n) ** 0.5 for sign in (-1, 1)]
middle = (share + z**2 / (2 * n)) / (1 + z**2 / n)
half = z * (share * (1 - share) / n + z**2 / (4 * n**2)) ** 0.5 / (1 + z**2 / n)
wilson = (middle - half, middle + half)
assert all(abs(a - b) < 1e-9 for a, b in zip(wilson, report.wilson(hits, n), strict=True))
print(f"school: {school[0]:.0%} to {school[1]:.0%}; Wilson: {wilson[0]:.0%} to {wilson[1]:.0%}")

# %% [markdown]
# Which one keeps its word? Let a model be right in 95 % of its answers, ask it ten times, draw both
# intervals; do so ten thousand times. An interval of 95 % should hold the truth in 95 % of them.

# %%
import torch

truth, times = 0.95, 10_000
seen = torch.binomial(torch.full((times,), 10.0), torch.tensor(truth))
error = 1.96 * (seen / 10 * (1 - seen / 10) / 10).sqrt()
school = ((seen / 10 - error <= truth) & (truth <= seen / 10 + error)).float().mean()
held = [low <= truth <= high for low, high in (report.wilson(k, 10) for k in seen.tolist())]
print(f"school: {school:.0%}, Wilson: {mean(held):.0%} of the intervals hold the truth")

# %% [markdown]
# ## What has no formula
#
# The taste is no share. The *bootstrap* (Efron 1979) needs no formula: take the answers for the
# whole world, draw as many from them *with replacement*, take the mean; again and again. How much
# the means vary is how sure the mean is.

# %%
tastes = torch.tensor([0.4, -0.1, 0.9, 0.2, 0.6])
torch.manual_seed(0)
for _ in range(3):
    drawn = tastes[torch.randint(5, (5,))]
    print([f"{v:.1f}" for v in drawn.tolist()], f"mean {drawn.mean():.2f}")
means = tastes[torch.randint(5, (2000, 5))].mean(1)
low, high = means.quantile(torch.tensor([0.025, 0.975]))
print(f"mean {tastes.mean():.2f}, 95 % between {low:.2f} and {high:.2f}")
package = report.bootstrap(tastes.tolist())
assert abs(package[0] - low) < 0.06 and abs(package[1] - high) < 0.06

# %% [markdown]
# ## Better, or luckier?
#
# **Claim: two models that answered the same requests are compared request by request.** Their
# intervals may overlap and the difference still be certain: what is hard is hard for both. So draw
# *differences*.

# %% [markdown]
# ### Exercise 2 · must · ●●○ · 12 min
# Write `difference(before, after)`: two lists of numbers, one for each request, of two models.
# Give back (low, high), the interval of 95 % of the mean of after - before, by the bootstrap with
# 2,000 samples.
#
# <details><summary>Hint</summary>
#
# One difference for each request; then all as above. `quantile` gives both ends at once.
#
# </details>


# %%
def difference(before, after):
    ### BEGIN SOLUTION
    changes = torch.tensor(after) - torch.tensor(before)
    samples = changes[torch.randint(len(changes), (2000, len(changes)))].mean(1)
    low, high = samples.quantile(torch.tensor([0.025, 0.975])).tolist()
    return low, high
    ### END SOLUTION


check("08.difference", difference)

# %%
parents = report.parents(line)
for name in [name for name in line if parents[name] == "sft"]:
    for ability in ("every rule", kitchen.TASTE):
        pair = [kitchen.ability_scores(requests, scores[n], ability) for n in ("sft", name)]
        low, high = report.difference(*pair)
        alone = [high - low for low, high in map(report.bootstrap, pair)]
        unpaired = sum(width**2 for width in alone) ** 0.5
        print(f"SFT -> {line[name].title:>4}, {ability:>10}: {low:+.2f} to {high:+.2f}, "
              f"{high - low:.2f} wide; from two separate lots {unpaired:.2f}")  # fmt: skip

# %% [markdown]
# Where the request decides (its foods bring their taste with them), pairs make the interval
# narrower. Where the lot of sampling decides, as with the rules, they gain little and cost nothing.

# %% [markdown]
# ## The report card
#
# ▲ better than the model that it came from, ▼ worse, ○ no difference that one can be sure of; lines
# are intervals of 95 % (Wilson; the taste by the bootstrap). An answer counts only where it is a
# dish. Taste is in standard deviations of the SFT model's answers.

# %%
from llmlab import figures as style

marks = report.report_card(requests, scores, parents)
panels = {
    ability: {line[n].title: (m.value, m.low, m.high, m.change) for n, m in row.items()}
    for ability, row in marks.items()
}
lab.report("report", {f"{name}_kept": row.value for name, row in marks["every rule"].items()})
style.card(panels, "Which stage brought which ability")

# %% [markdown]
# In words: what each stage brought, and what it took. And with so many questions, at 95 % each, how
# many of the answers may be chance?

# %%
tuned = [name for name in line if parents[name]]
for name in tuned:
    came, went = ([a for a, row in marks.items() if row[name].change == c] for c in (1, -1))
    print(f"{line[name].title:>5}: brought {', '.join(came) or 'nothing'}")
    print(f"{'':>5}  took    {', '.join(went) or 'nothing'}")
questions = len(marks) * len(tuned)
print(
    f"{questions} questions; if nothing had changed, about {0.05 * questions:.0f} would say it had"
)

# %% [markdown]
# What the base can do it has from its pages; what SFT brings is *listening*. From then on each
# stage moves what its reward looks at, and what no reward looks at is free to go.

# %% [markdown]
# ## The bill
#
# A token costs 2·N operations to read or to write and 6·N to learn from, forward and back (notebook
# 00). Before looking at the bill, write one line of it yourself.

# %% [markdown]
# ### Exercise 3 · ●●○ · 8 min
# Write `grpo_flops(n, tokens, taught)`: a model of n parameters writes answers, `tokens` in all
# with their requests; the reference, as large, reads them for the KL term; from the share `taught`
# of the tokens the model learns.
#
# <details><summary>Hint</summary>
#
# Three things happen: to all tokens, to all tokens, to a share. The first two cost the same.
#
# </details>


# %%
def grpo_flops(n, tokens, taught):
    ### BEGIN SOLUTION
    return 2 * n * tokens + 2 * n * tokens + 6 * n * taught * tokens
    ### END SOLUTION


check("08.grpo_flops", grpo_flops)

# %% [markdown]
# The whole line, from the logs that lie beside the checkpoints. (All after the base was made on a
# slower machine, so of the two bills FLOPs is the fair one.)

# %%
from llmlab.evaluation.bill import STAGES_OF, run_bill, shipped_base
from llmlab.stages import costs

bill = run_bill(lab)
for name, spent in bill.items():
    speed = spent.flops / spent.cpu_seconds
    print(f"{name:>7}  {spent.flops:.1e} FLOPs  {spent.cpu_seconds:6,.0f} processor seconds  "
          f"{speed / 1e9:4.0f} GFLOP/s")  # fmt: skip

# %% [markdown]
# Learning is a few large products. RL also writes, token by token, and a processor that waits for
# memory earns nothing. Beside ours stand published bills: do they spend the article's 99 % on
# pretraining?

# %%
stages = {stage: [s for s in bill.values() if s.stage == stage] for stage in
          dict.fromkeys(STAGES_OF.values())}  # fmt: skip
ours = {
    what: {stage: sum(getattr(s, what) for s in runs) for stage, runs in stages.items()}
    for what in ("flops", "cpu_seconds")
}
style.stacks(
    {"ours, FLOPs": ours["flops"], "ours, seconds": ours["cpu_seconds"],
     "InstructGPT, 2022": costs.INSTRUCT_GPT, "DeepSeek-V3, 2024": costs.DEEPSEEK_V3,
     "DeepSeek-R1, 2025": costs.DEEPSEEK_R1},
    "What pretraining takes of the bill", goal=0.99,
)  # fmt: skip

# %% [markdown]
# So 99 % was a good word for such lines, and reasoning models have begun to spend more on RL. Ours
# misses it for a plain reason: our base has read little. How much would it have to read?

# %%
shape = shipped_base(lab)
rest = sum(cost for stage, cost in ours["flops"].items() if stage != "pretraining")
needed = 99 * rest / (6 * shape.parameters)
print(f"read: {costs.short(shape.tokens)} tokens, {shape.tokens / shape.parameters:.0f} for each "
      f"parameter")  # fmt: skip
print(f"for 99 %: {costs.short(needed)} tokens, {needed / shape.parameters:.0f} for each parameter")

# %% [markdown]
# ## The card
#
# Whoever gets a model should know what it read, under which licences, what it cost, and what it
# can do (Mitchell et al. 2019). No figure of this card was typed: logs, `sources.toml` and the
# report card wrote it.

# %%
from IPython.display import Markdown

from llmlab.evaluation import model_card

newest = list(line)[-1]
card = model_card.model_card(lab, newest, line, marks, len(requests))
Markdown(card.split("---\n")[2])  # without its head, which is for machines

# %% [markdown]
# ## A format that others read
#
# **Claim: a format is a list of names.** The numbers of a model stay as they are; `transformers`
# only calls them something else. Ours is, part by part, their Qwen3: a Llama with a norm on queries
# and keys.

# %% [markdown]
# ### Exercise 4 · ●●○ · 10 min
# Write `hf_name(name)`: from our name of a parameter to theirs.
#
# | ours | theirs |
# |---|---|
# | `embed` | `model.embed_tokens` |
# | `blocks.3.` … | `model.layers.3.` … |
# | `attn_norm`, `mlp_norm` | `input_layernorm`, `post_attention_layernorm` |
# | `attn` | `self_attn` |
# | `norm` (the last one) | `model.norm` |
# | `head` | `lm_head` |
#
# All else (`q_norm`, `mlp.up_proj`, `weight`) stays.
#
# <details><summary>Hint</summary>
#
# Split the name at its points: whole words can be looked up in a dict, and then `attn` is not found
# in `attn_norm`. Which of the names begin with `model`?
#
# </details>


# %%
def hf_name(name):
    ### BEGIN SOLUTION
    words = {"embed": "embed_tokens", "blocks": "layers", "attn_norm": "input_layernorm",
             "mlp_norm": "post_attention_layernorm", "attn": "self_attn",
             "head": "lm_head"}  # fmt: skip
    theirs = ".".join(words.get(part, part) for part in name.split("."))
    return theirs if theirs.startswith("lm_head") else f"model.{theirs}"
    ### END SOLUTION


check("08.hf_name", hf_name)

# %% [markdown]
# Now the package: model, tokenizer, chat template and card, in one folder among your runs. Read
# again, every weight is the same, bit for bit.

# %%
from safetensors.torch import load_file

from llmlab import hub

folder, member = lab.runs / "export", line[newest]
print(model_card.export(member, card, folder))
stored = load_file(folder / "model.safetensors")
assert len(stored) == len(member.model.state_dict()) - 1 and "lm_head.weight" not in stored
again, tokenizer, _ = hub.load_hf(folder)
for name, weight in member.model.state_dict().items():
    assert torch.equal(again.state_dict()[name], weight.cpu())
print(f"{len(stored)} tensors; the head is the table itself, so it is stored once")

# %% [markdown]
# And with their code instead of ours? The same ids for the same talk, the same logits, the same
# answer. This needs the package `transformers`, which the series does without.

# %%
import importlib.util

theirs, talk = None, "I have chicken and lemon."
if importlib.util.find_spec("transformers"):
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    theirs, words = (kind.from_pretrained(folder) for kind in (AutoModelForCausalLM, AutoTokenizer))
    print("read by", type(theirs).__name__)
else:
    print("transformers is not installed here: `pip install transformers`, then run this again.")

# %%
if theirs:
    ids = words.apply_chat_template([{"role": "user", "content": talk}], add_generation_prompt=True,
                                    return_tensors="pt", return_dict=True)["input_ids"]  # fmt: skip
    assert ids[0].tolist() == member.chat.prompt(talk)
    with torch.no_grad():
        apart = (theirs(ids).logits - again(ids)).abs().max()
    assert apart < 1e-4
    written = theirs.generate(ids, max_new_tokens=64, do_sample=False)[0, ids.shape[1] :]
    print(f"logits differ by {apart:.0e} at most\n{words.decode(written)}")

# %% [markdown]
# ## Recap
#
# Pretraining gave the language, SFT the listening, comparisons the taste, rules the reliability; a
# card says how sure that is, and a bill what it cost. You have made every part of it, on a laptop,
# and can hand it on.
#
# **At full size** the same cells run with `llmlab.setup("full", minutes=60)`: another model and
# other judges, the same intervals.

# %%
from llmlab.classroom import show_progress

show_progress("08")

# %% [markdown]
# **Further reading**: Mitchell et al. 2019, *Model Cards for Model Reporting*; Wilson 1927,
# *Probable Inference, the Law of Succession, and Statistical Inference*; Efron 1979, *Bootstrap
# Methods: Another Look at the Jackknife*; Miller 2024, *Adding Error Bars to Evals*; Ouyang et al.
# 2022, *Training language models to follow instructions* (the bill of InstructGPT); DeepSeek-AI
# 2024, *DeepSeek-V3*; DeepSeek-AI 2025, *DeepSeek-R1*.
#
# [Back to the beginning: 00 The map](00_map.ipynb)
