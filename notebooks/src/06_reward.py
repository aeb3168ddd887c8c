# ---
# jupyter:
#   llmlab:
#     minutes: 45
#     budget_s: 210
# ---

# %% [markdown]
# # 06 Reward modelling: teach a model your taste
#
# **You will be able to** tell a taste from a rule, turn comparisons into a number for every answer,
# teach a model *your* taste with thirty clicks, say how far such a number can be trusted, and do
# without it (DPO).
#
# *45 minutes with the exercise that is a must, 70 with all. Needs: a laptop. Each notebook runs
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
# ## A rule and a taste
#
# The assistant of notebook 05 answers one request twice. Whether an answer names what was asked
# for, a program can check. Which of the two dishes is *nicer*, you know at a glance. Could you
# write it down?

# %%
from llmlab import kitchen
from llmlab.chat import Batch, ChatTemplate, generate_answers, judge_answers, summary
from llmlab.stages import reward

model, tokenizer, _ = lab.latest("sft")
chat = ChatTemplate(tokenizer)
request = "I have tomatoes and rice."
for ids in generate_answers(model, chat, [request, request], temperature=1.0, seed=5):
    score = kitchen.judge(request, chat.read(ids))
    print(chat.read(ids))
    print("   rules:", {rule: round(getattr(score, rule), 2) for rule in kitchen.RULES})

# %% [markdown]
# Rules are for programs: notebook 07 climbs them. For a taste there are only people, and people are
# bad at grades but good at comparing. So we ask which of two answers they like better.

# %% [markdown]
# ## From two answers to a probability
#
# **Claim: comparisons are enough to give each answer a number.** Bradley and Terry (1952): every
# answer has a reward, and A beats B with a probability that depends on the difference alone.

# %%
import torch

gap = torch.tensor([-4.0, -1.0, 0.0, 1.0, 4.0])  # reward of A less reward of B
p_a = 1 / (1 + torch.exp(-gap))
for d, p in zip(gap.tolist(), p_a.tolist(), strict=True):
    print(f"A is ahead by {d:+.0f}: it wins {p:.0%} of the time")

# %% [markdown]
# Add 10 to all rewards and nothing changes: a reward has no zero, only differences. The loss is the
# surprise at what was chosen, by hand and by the package:

# %%
from llmlab.core.losses import bradley_terry_loss

chosen, rejected = torch.tensor([1.2, 0.3]), torch.tensor([0.2, 0.8])  # two pairs
p_chosen = 1 / (1 + torch.exp(rejected - chosen))
by_hand = -p_chosen.log().mean()
assert torch.isclose(by_hand, bradley_terry_loss(chosen, rejected))
assert torch.isclose(by_hand, bradley_terry_loss(chosen + 10, rejected + 10))
print("probability of the choices:", [f"{p:.0%}" for p in p_chosen.tolist()])
print(f"loss: {by_hand:.3f} nats per pair; {torch.tensor(2.0).log():.3f} for a coin")

# %% [markdown]
# ### Exercise 1 · must · ●●○ · 10 min
# Write `preference_loss(chosen, rejected)` for rewards of shape (B,): the mean surprise, in nats.
# It must also work where rewards are hundreds apart: the logarithm of a probability that was
# rounded to 0 is minus infinity.
#
# <details><summary>Hint</summary>
#
# `torch.nn.functional` has a function for the logarithm of a sigmoid, which never takes the
# sigmoid by itself.
#
# </details>

# %%
import torch.nn.functional as F

from llmlab.classroom import check


def preference_loss(chosen, rejected):
    ### BEGIN SOLUTION
    return -F.logsigmoid(chosen - rejected).mean()
    ### END SOLUTION


check("06.preference_loss", preference_loss)

# %% [markdown]
# ## Some thousand comparisons
#
# The answers are the model's own, as they were for InstructGPT: what it never says need not be
# judged. Each request has four answers, and each is compared with each: twice the writing of two
# answers, six times their comparisons.
#
# The annotators are **simulated**. They share a hidden taste, and they err: the closer two answers
# are, the more often. Their noise, in units of the taste, is printed.

# %%
pairs = reward.training_pairs(lab, model, tokenizer)
test = reward.held_out_pairs(model, chat)
agree = sum(p.true_order for p in pairs) / len(pairs)
print(f"{len(pairs)} pairs, noise {reward.NOISE}: "
      f"the annotators follow their own taste in {agree:.0%} of them")  # fmt: skip
for pair in pairs[:3]:
    print(f"\n{pair.request}\n  + {chat.read(pair.chosen)}\n  - {chat.read(pair.rejected)}")

# %% [markdown]
# ## Now you
#
# Thirty pairs for you. Click the dish that *you* would rather eat, or press ← and →, with ↓ for
# neither. Each click is kept in your run folder as you make it; come back when you like. Of many
# pairs you get those that differ most: two dishes that are nearly alike say little about a taste.
# The reward model that you are compared with has learned the *annotators'* taste.

# %%
from llmlab.stages import preferences
from llmlab.widgets.preference_clicker import PreferenceClicker

duels = preferences.find_duels(model, chat, 30, seed=1)
known = reward.load_reward(lab, mine=False)
rewards = preferences.duel_rewards(known, chat, duels)
clicker = PreferenceClicker(duels, lab.runs / "clicks.json", rewards)
clicker

# %% [markdown]
# Where there are fewer than ten clicks of yours, as when this page was made, **recorded ones** take
# their place. Nobody clicked them: they follow a rule, `preferences.sweet_tooth` (the larger share
# of fruit and sweet things; of equals the shorter list). It is not the annotators' taste.

# %%
own, recorded = (
    [click for click in found if click.choice != "neither"]
    for found in (clicker.clicks, preferences.recorded_clicks())
)
clicks = own if len(own) >= 10 else recorded
print(f"{len(clicks)} clicks, {'yours' if clicks is own else 'recorded'}")
for c in clicks[:3]:
    better, worse = (c.left, c.right) if c.choice == "left" else (c.right, c.left)
    print(f"\n{c.request}\n  + {better}\n  - {worse}")

# %% [markdown]
# ## A head on a frozen model
#
# **Claim: thirty clicks cannot train a model, but they can train a direction.** The model stays
# as it is. An answer becomes the mean of its states over the list of foods, half-way up the layers:
# a row of numbers. Learned is one weight for each, and they are held near zero.

# %%
diffs = preferences.differences(model, chat, [c.duel for c in clicks])  # left less right
diffs = preferences.chosen_first(diffs, clicks)  # (clicks, dim), chosen less rejected
x = diffs / diffs.std()
w = torch.zeros(x.shape[1], requires_grad=True)
optimizer = torch.optim.LBFGS([w], max_iter=100)


def closure():
    optimizer.zero_grad()
    loss = -F.logsigmoid(x @ w).sum() + preferences.RIDGE / 2 * w.square().sum()
    loss.backward()
    return loss


optimizer.step(closure)
head = preferences.fit_head(diffs)
assert torch.allclose(w.detach() / diffs.std(), head, atol=1e-2 * head.abs().max().item())
print(f"a head of {len(head)} weights orders {preferences.right_share(head, diffs):.0%} "
      "of the clicks that it has seen")  # fmt: skip

# %% [markdown]
# What counts are clicks that it has *not* seen. For yours: learn from some, test on the rest, many
# times over. For the annotators, whose taste we can ask as often as we like: learn from some of
# those pairs that differ most, as yours do, test on all held-out ones in their true order.

# %%
seen = [(p.request, chat.read(p.chosen), chat.read(p.rejected)) for p in pairs[:600]]
new = [(p.request, chat.read(p.chosen), chat.read(p.rejected)) for p in test]
theirs, held_out = (preferences.differences(model, chat, rows) for rows in (seen, new))
theirs = theirs[theirs.norm(dim=1).argsort(descending=True)[:300]]

# %%
from llmlab import figures as style

counts = [n for n in (5, 10, 30, 120, 300) if n <= len(theirs)]
shares = preferences.head_accuracy(theirs, held_out, counts)
few = [n for n in (5, 10, 20) if n <= 0.8 * len(diffs)]
mine = preferences.cross_validated(diffs, few)
style.lines({"the annotators' taste": (counts, shares), "these clicks": (few, mine)},
            "clicks learned from", "new pairs in the right order",
            "One direction in a frozen model", log_x=True, per_cent=True)  # fmt: skip

# %% [markdown]
# And what is it that these clicks like? Two ways to ask: one food after the other in a small dish,
# and the best and the worst of sixteen answers.

# %%
taste = preferences.with_head(model, chat, head, pairs[:200])
liked = sorted(preferences.food_rewards(taste, chat).items(), key=lambda item: -item[1])
print("likes best: ", ", ".join(name for name, _ in liked[:8]))
print("likes least:", ", ".join(name for name, _ in liked[-8:]))
many = generate_answers(model, chat, [request] * 16, temperature=1.0, seed=1)
scores = reward.score_answers(taste, chat, [request] * 16, many)
for i in (scores.argmax(), scores.argmin()):
    print(f"{scores[i]:+.2f}  {chat.read(many[i])}")

# %% [markdown]
# Notebook 07 can train the assistant on *this* head: your taste, in a model that you made.

# %% [markdown]
# ## With thousands of pairs, the model learns too
#
# Now for the annotators' taste, live: the same head, and the lower half of the layers learns with
# it. A tenth of each part's work is left out at random (*dropout*), since some thousand pairs are
# soon known by heart. A coin's loss is ln 2.

# %%
from IPython.display import display

from llmlab.widgets.loss_curve import LossCurve

curve = LossCurve("Reward model", y_label="nats per pair")
display(curve)
judge, job = reward.train_reward(
    lab, model, tokenizer, pairs, on_step=lambda r: curve.add("loss", r["step"], r["loss"])
)

# %% [markdown]
# ## Can it be trusted?
#
# On new pairs, answers to requests that no training used: how often does it order them as the
# annotators' taste would, without their noise? It learned from annotators who err, and errs less.

# %%
figures = {"accuracy": reward.accuracy(judge, chat, test), "agreement": agree}
lab.report("reward", {**figures, "pairs": len(pairs), "steps": job.steps})
print(f"reward model {figures['accuracy']:.1%}, one annotator {agree:.1%}, "
      f"30 clicks {shares[counts.index(30)]:.1%}, a coin 50 %")  # fmt: skip

# %% [markdown]
# ## Is it as sure as it should be?
#
# A model that says "70 %" should be right in 70 % of such cases. We ask for its forecasts on new
# pairs with new annotators' noise.

# %%
import random

fresh = preferences.relabel(chat, test, preferences.by_taste, reward.NOISE, seed=7)
flip = torch.tensor([random.Random(f"side/{i}").random() < 0.5 for i in range(len(fresh))])
better, worse = reward.score_pairs(judge, chat, fresh)
margins = torch.where(flip, worse - better, better - worse).cpu()  # left less right
won = ~flip  # whether the left one was chosen
forecast = torch.sigmoid(margins).tolist()
for p, w in list(zip(forecast, won.tolist(), strict=True))[:4]:
    print(f"forecast that the left one wins: {p:.0%}; it {'won' if w else 'lost'}")

# %% [markdown]
# ### Exercise 2 · ●●○ · 10 min
# Write `calibration(p, won, bins)`: cut [0, 1] into `bins` equal ranges. For each that holds a
# forecast, in order: the pair (mean of its forecasts, share of them that came true). A forecast of
# exactly 1 belongs to the last range.
#
# <details><summary>Hint</summary>
#
# The range of a forecast is `int(q * bins)`, and at most `bins - 1`. A truth value counts as 0 or 1
# in a sum.
#
# </details>


# %%
def calibration(p, won, bins):
    ### BEGIN SOLUTION
    out = []
    for k in range(bins):
        inside = [(q, w) for q, w in zip(p, won, strict=True) if min(int(q * bins), bins - 1) == k]
        if inside:
            out.append((sum(q for q, _ in inside) / len(inside),
                        sum(w for _, w in inside) / len(inside)))  # fmt: skip
    return out
    ### END SOLUTION


check("06.calibration", calibration)

# %% [markdown]
# Our rewards were rescaled to a standard deviation of 1, for PPO, so the forecasts are of another
# scale than those that were trained. One number puts it right, the *temperature* by which all
# margins are divided. It changes no order, and so no accuracy.

# %%
t = preferences.fit_temperature(margins, won)
drawn = {"as sure as it should be": ([0, 1], [0, 1])}
for name, p in (("margins as they are", margins), (f"divided by {t:.2f}", margins / t)):
    table = preferences.calibration(torch.sigmoid(p).tolist(), won.tolist(), bins=6)
    drawn[name] = [row[0] for row in table], [row[1] for row in table]
style.lines(drawn, "forecast that the left one wins", "it won", "Calibration", per_cent=True)

# %% [markdown]
# ## Why not learn the rules this way?
#
# **Claim: what a program can check, a program should check.** The same number of pairs, the same
# model; only the annotators differ: these look at the rules alone, and err less often. Three seeds
# each (`python -m llmlab study reward`), the smallest point now:

# %%
from llmlab.studies import load_study, run_point, values

kept = load_study("reward")
point = run_point(lab, "reward", "taste 300", 1)
print(f"here {point['accuracy']:.1%}, kept {values(kept, 'accuracy')['taste 300'][0]:.1%}")
arms = ("rules 1000", "taste 300", "taste 1000")
panels = {"new pairs in the right order": "accuracy",
          "annotators follow their own liking": "agreement"}  # fmt: skip
style.trials({title: {arm: values(kept, figure)[arm] for arm in arms}
              for title, figure in panels.items()},
             "What is learned from how many comparisons")  # fmt: skip

# %% [markdown]
# Rules ask for counting and comparing with the request, one slip in a whole answer. A mean over
# foods does not see it. Taste is in the foods themselves.

# %% [markdown]
# ## What does it like?
#
# The reward model was never told what a food is worth. One food after the other, in the same small
# dishes:

# %%
learned = preferences.food_rewards(judge, chat)
order = sorted(learned, key=learned.get, reverse=True)
print("likes best: ", ", ".join(order[:10]))
print("likes least:", ", ".join(order[-10:]))

# %% [markdown]
# ## The hidden taste, revealed
#
# Only now we look into the annotators' heads: their utility for each food, beside what the model
# has made of thousands of "this one, rather".

# %%
hidden = {name: kitchen.utility(kitchen.FOODS[name]) for name in learned}
found = list(learned.values())
print(f"rank correlation {preferences.rank_correlation(list(hidden.values()), found):.2f}")
right = sorted(hidden, key=hidden.get, reverse=True)
misplaced = sorted(learned, key=lambda name: abs(order.index(name) - right.index(name)))
named = {*order[:10], *order[-12:], *misplaced[-12:]}  # the ends, and the greatest errors
style.scatter(list(hidden.values()), found, "utility, hidden", "reward, learned",
              groups=[kitchen.FOODS[name].kind for name in learned],
              names=[name if name in named else "" for name in learned])  # fmt: skip

# %% [markdown]
# ## A second pool
#
# The same pairs of answers, other annotators: **they are biased**, and nobody has told us how. It
# happens: annotators tire, or take what looks like more work for better work.

# %%
first_pool = pairs[:2000]
pool = preferences.relabel(chat, first_pool, preferences.by_length, reward.NOISE, seed=3)
decided = {(p.request, tuple(p.chosen), tuple(p.rejected)) for p in first_pool}
alike = [(p.request, tuple(p.chosen), tuple(p.rejected)) in decided for p in pool]
print(f"the two pools choose alike in {sum(alike) / len(alike):.0%} of {len(alike)} pairs")

# %% [markdown]
# ### Exercise 3 · ●●○ · 8 min
# An instrument to find a bias. `more_wins(chosen, rejected)` gets a measure of each chosen and of
# each rejected answer, such as its number of herbs. Of the pairs in which the two differ: in what
# share has the chosen one more of it?
#
# <details><summary>Hint</summary>
#
# Leave out the pairs in which both are equal first; then it is a plain share.
#
# </details>


# %%
def more_wins(chosen, rejected):
    ### BEGIN SOLUTION
    wins = [c > r for c, r in zip(chosen, rejected, strict=True) if c != r]
    return sum(wins) / len(wins)
    ### END SOLUTION


check("06.more_wins", more_wins)

# %% [markdown]
# Some measures, both pools. Where do they part? Add a measure of your own.

# %%
MEASURES = {
    "herbs": lambda text: sum(f.kind == "herbs" for f in preferences.listed_foods(text)),
    "meat": lambda text: sum(f.kind == "meat" for f in preferences.listed_foods(text)),
    "sweets": lambda text: sum(f.kind == "sweet" for f in preferences.listed_foods(text)),
    "foods": lambda text: len(preferences.listed_foods(text)),
    "words in title": lambda text: len(text.split(":")[0].split()),
}


def wins(of):
    """For each measure, how often the chosen answer has more of it."""
    good, bad = ([chat.read(getattr(p, side)) for p in of] for side in ("chosen", "rejected"))
    measured = [(map(m, good), map(m, bad)) for m in MEASURES.values()]
    return [preferences.more_wins(list(a), list(b)) for a, b in measured]


style.bars({"first pool": wins(first_pool), "second pool": wins(pool)}, list(MEASURES),
           "The chosen answer has more of it")  # fmt: skip

# %% [markdown]
# A reward model of the second pool would learn the bias with the taste, and PPO would climb both.
# This is how language models came to answer at length (Singhal et al. 2023).

# %% [markdown]
# ## Probes
#
# **Claim: to know what a judge looks at, change one thing.** A thousand answers differ in a
# thousand ways. An edited answer differs in one.

# %% [markdown]
# ### Exercise 4 · ●●○ · 8 min
# Write `swap_food(answer, old, new)`: in "Title: a, b, c." each item of the list that *is* `old`
# becomes `new`. All else stays: the title, other items that only hold those letters ("sweet corn"
# for "corn"), the full stop.
#
# <details><summary>Hint</summary>
#
# Cut at the first ": ", take the full stop off, split at ", ", replace whole items, and put it
# together again.
#
# </details>


# %%
def swap_food(answer, old, new):
    ### BEGIN SOLUTION
    title, _, rest = answer.partition(": ")
    items = [new if item == old else item for item in rest.removesuffix(".").split(", ")]
    return f"{title}: {', '.join(items)}."
    ### END SOLUTION


check("06.swap_food", swap_food)

# %% [markdown]
# Edits of two hundred answers, before the reward model and before the hidden taste; each in
# standard deviations over unedited answers. Where the two spots lie apart, the judge can be fooled.

# %%
asked = [p.request for p in test[:200]]
plain = [chat.read(p.chosen) for p in test[:200]]
versions = {"": plain} | {name: [preferences.edits(text)[name] for text in plain]
                          for name in preferences.edits(plain[0])}  # fmt: skip
by_model, by_taste = {}, {}
for name, texts in versions.items():
    by_model[name] = reward.score_answers(judge, chat, asked, [chat.answer(x) for x in texts]).cpu()
    by_taste[name] = torch.tensor(list(map(preferences.by_taste, asked, texts)))
changes = [
    [((by[name] - by[""]).mean() / by[""].std()).item() for name in list(versions)[1:]]
    for by in (by_taste, by_model)
]
style.spots({"hidden taste": changes[0], "reward model": changes[1]}, list(versions)[1:],
            "change, in standard deviations", "What an edit changes")  # fmt: skip

# %% [markdown]
# ## Best of n
#
# The simplest use of a judge: sample n answers, keep the one that it likes best. The *gold judge*
# (taste without noise, and the rules) stands beside it. Two judges choose: the reward model, and
# a head that learned from thirty of the annotators' pairs.

# %%
N = 64
asked = kitchen.held_out_requests(30, seed=11)
texts = [r.text(random.Random(i)) for i, r in enumerate(asked) for _ in range(N)]
answers = generate_answers(model, chat, texts, temperature=1.0, seed=3)
scores = judge_answers([r for r in asked for _ in range(N)], chat, answers)
gold, hidden_taste = (
    torch.tensor([getattr(s, name) for s in scores]).view(-1, N) for name in ("gold", "taste")
)
weak = preferences.with_head(model, chat, preferences.fit_head(theirs[:30]), pairs[:200])
judges = {
    name: reward.score_answers(by, chat, texts, answers).cpu().view(-1, N)
    for name, by in (("reward model", judge), ("head of 30 pairs", weak))
}

# %%
ns = (1, 2, 4, 8, 16, 64)


def climb(proxy, value):
    """What the proxy's choice among n is worth by `value`, in its standard deviations."""
    scaled = (value - value.mean()) / value.std()
    return ns, [preferences.best_of(proxy, scaled, n) for n in ns]


strong, weak = judges.values()
style.lines({"what the reward model says of its choice": climb(strong, strong),
             "its choice, by the hidden taste": climb(strong, hidden_taste),
             "its choice, by the gold judge": climb(strong, gold),
             "the head's choice, by the gold judge": climb(weak, gold)},
            "n", "standard deviations", "Best of n", log_x=True)  # fmt: skip

# %% [markdown]
# What a judge says of its own choice always rises. What the choice is worth rises less: the more
# one searches, the more one finds the judge's errors (*Goodhart*), and a weak judge has more of
# them. And the rules, which no judge here was asked to look at?

# %%
kept_rules = torch.tensor([float(s.kept) for s in scores]).view(-1, N)
for n in ns:
    print(f"best of {n:>2}: every rule kept in {preferences.best_of(strong, kept_rules, n):.0%}")

# %% [markdown]
# ## The short cut: DPO, in four steps
#
# Best of n costs n answers each time. PPO (notebook 07) puts the taste into the policy, by a reward
# model. Can one do without that model? **Step 1**: what PPO is after. For a policy p and the
# reference q it started as: *maximise the mean reward less β times KL(p ‖ q)*. Three answers,
# tried by gradient:

# %%
q, r, beta = torch.tensor([0.5, 0.3, 0.2]), torch.tensor([0.0, 1.0, 2.0]), 0.5
logits = torch.zeros(3, requires_grad=True)
for _ in range(2000):
    p = logits.softmax(0)
    objective = (p * r).sum() - beta * (p * (p / q).log()).sum()
    (gradient,) = torch.autograd.grad(objective, logits)
    logits.data += 0.5 * gradient
print("best policy:", p.detach())

# %% [markdown]
# **Step 2**: that optimum has a formula, p = q · exp(r / β) / Z, with Z to make it sum to 1.
# **Step 3**: solve it for the reward: r = β · log(p / q) + β · log Z. So *every policy has a reward
# in it*, up to a number that is the same for all answers to a request.

# %%
Z = (q * torch.exp(r / beta)).sum()
formula = q * torch.exp(r / beta) / Z
assert torch.allclose(p, formula, atol=1e-3)
implied = beta * (formula / q).log()
print("reward      ", r)
print("implied     ", implied)
print("implied less reward:", implied - r, "the same number for all")

# %% [markdown]
# **Step 4**: put it into Bradley and Terry. They look at differences alone, so Z cancels. What is
# left is a loss of the policy's own log-probabilities: no reward model, no sampling.

# %%
from llmlab.core.losses import dpo_loss

logp, ref = formula.log(), q.log()
won, lost = torch.tensor([2, 1]), torch.tensor([0, 2])  # two pairs of the three answers
margin = beta * (logp[won] - ref[won]) - beta * (logp[lost] - ref[lost])
assert torch.allclose(margin, r[won] - r[lost], atol=1e-5)  # Z is gone
by_hand = -F.logsigmoid(margin).mean()
assert torch.isclose(by_hand, dpo_loss(logp[won], logp[lost], ref[won], ref[lost], beta))
print(f"loss {by_hand:.3f}")

# %% [markdown]
# ## One run
#
# From the SFT model, on the very pairs from above. Watched is how often the implied reward orders
# a pair as the annotators did.

# %%
from llmlab.stages import dpo
from llmlab.training import model_copies

tuned = model_copies.trainable_copy(model)  # a copy that learns
curve = LossCurve("DPO", y_label="pairs in the annotators' order")
display(curve)
run = dpo.dpo(lab, tuned, tokenizer, pairs,
              on_step=lambda r: curve.add("accuracy", r["step"], r["accuracy"]))  # fmt: skip

# %%
asked = kitchen.held_out_requests(200)
texts = [r.text(random.Random(i)) for i, r in enumerate(asked)]
before, after = (generate_answers(m, chat, texts, temperature=1.0, seed=2) for m in (model, tuned))
for name, found in (("SFT", before), ("DPO", after)):
    card = summary(asked, judge_answers(asked, chat, found))
    gain = (card["taste"] - kitchen.TASTE_MEAN) / kitchen.TASTE_SD
    print(f"{name}: taste {gain:+.2f} standard deviations, every rule kept {card['kept']:.0%}")
rows = Batch.of([(chat.prompt(t), a) for t, a in zip(texts, after, strict=True)], lab.device)
with torch.no_grad():
    kl = (dpo.summed(tuned, rows) - dpo.summed(model, rows)).mean()
print(f"KL to the SFT model: {kl:.1f} nats per answer")

# %%
for i in range(3):
    print(f"{texts[i]}\n  SFT  {chat.read(before[i])}\n  DPO  {chat.read(after[i])}\n")

# %% [markdown]
# It has moved to the taste, without a reward model. But it learned from pairs of the *old* model's
# answers alone; it never sees what it says now. PPO does, and that is notebook 07.

# %% [markdown]
# ## Recap
#
# Rules are checked, tastes are compared. A comparison becomes a probability, a probability a loss,
# and the loss a number for every answer: with thirty clicks a direction in a frozen model, with
# thousands of pairs a judge that errs less than those who taught it. It is a proxy all the same:
# it has blind spots, it takes over the bias of its teachers, and whoever searches long enough
# finds them.
#
# **At full size** the same cells run with `llmlab.setup("full", minutes=60)`.

# %%
from llmlab.classroom import show_progress

show_progress("06")

# %% [markdown]
# **Further reading**: Bradley & Terry 1952, *Rank Analysis of Incomplete Block Designs*; Christiano
# et al. 2017, *Deep Reinforcement Learning from Human Preferences*; Stiennon et al. 2020, *Learning
# to Summarize from Human Feedback*; Ouyang et al. 2022, *InstructGPT*; Guo et al. 2017, *On
# Calibration of Modern Neural Networks*; Gao et al. 2022, *Scaling Laws for Reward Model
# Overoptimization*; Singhal et al. 2023, *A Long Way to Go: Investigating Length Correlations in
# RLHF*; Rafailov et al. 2023, *Direct Preference Optimization*.
#
# [Next: 07 Reinforcement learning](07_rl.ipynb)
