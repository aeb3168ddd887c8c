"""Stage 6, a taste of one's own: clicks, a head for a few dozen of them, and what a judge shows.

A few dozen comparisons are too few to train a model.  So the SFT model stays as it is (frozen): an
answer becomes the mean of its states, and only one row of weights is learned, the head.
"""

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean

import torch
from torch import Tensor

from llmlab import artifacts, kitchen
from llmlab.artifacts import LabError
from llmlab.chat import Batch, ChatTemplate, generate_answers
from llmlab.core.model import Transformer
from llmlab.datasets.preference_pairs import Pair
from llmlab.kitchen import Food, Request
from llmlab.stages.reward import (
    RewardModel,
    label_pair,
    preference_probability,
    score_answers,
    standardise,
)
from llmlab.training.model_copies import truncate_layers

CHOICES = ("left", "right", "neither")
RIDGE = 30.0  # what holds a head at zero weighs as much as about that many comparisons
Liking = Callable[[Request, str], float]


# --- Clicks ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Click:
    """Two answers to a request, and which one was liked better: "left", "right" or "neither"."""

    request: str
    left: str
    right: str
    choice: str

    @property
    def duel(self) -> tuple[str, str, str]:
        """What was compared: request, left answer, right answer."""
        return self.request, self.left, self.right


def read_clicks(path: Path) -> list[Click]:
    """The clicks that a file holds, none where there is no file; LabError where it is another."""
    if not path.exists():
        return []
    found = artifacts.read_json(path)
    if isinstance(found, list) and all(map(_is_click, found)):
        return [Click(**entry) for entry in found]
    raise LabError(f"{path} does not hold clicks. It was left as it is; move it away to begin.")


def _is_click(entry: object) -> bool:
    names = {"request", "left", "right", "choice"}
    whole = isinstance(entry, dict) and entry.keys() == names
    return whole and all(isinstance(e, str) for e in entry.values()) and entry["choice"] in CHOICES


def write_clicks(path: Path, clicks: Sequence[Click]) -> None:
    """Keep clicks, the whole file or none of it."""
    artifacts.write_json(path, [asdict(click) for click in clicks])


def recorded_clicks() -> list[Click]:
    """The clicks that come with the project: what `record` has kept, and nobody's own."""
    return read_clicks(artifacts.data_dir() / "clicks.json")


def record(model: Transformer, chat: ChatTemplate, n: int = 30) -> None:
    """Make the clicks that come with the project: `sweet_tooth` decides n pairs of the model's own
    answers."""
    clicks = decide(find_duels(model, chat, n, seed=1), lambda request, text: sweet_tooth(text))
    write_clicks(artifacts.data_dir() / "clicks.json", clicks)


def sweet_tooth(text: str) -> float:
    """A taste that differs from the hidden one: the share of fruit and sweet things in an answer's
    list, and the shorter list where two are alike."""
    foods = listed_foods(text)
    sweet = sum(f.kind in ("fruit", "sweet") for f in foods)
    return sweet / max(1, len(foods)) - 0.001 * len(foods)


def listed_foods(text: str) -> list[Food]:
    """The known foods of an answer's list, in order, doubles included."""
    _, items = kitchen.read_answer(text)
    return [food for item in items for food in kitchen.foods_in(item)[:1]]


def find_duels(model: Transformer, chat: ChatTemplate, n: int, seed: int, pool: int = 8):
    """Pairs of the model's own answers that are worth a click: n of `pool` times as many.

    Of all well-formed pairs, those that differ most in what the frozen model sees in them: two
    dishes that are nearly alike say little about a taste.  Returns (request, left, right)s.
    """
    requests = kitchen.held_out_requests(n * pool, seed=seed + 1)
    texts = [r.text(random.Random(f"duels/{seed}/{i}")) for i, r in enumerate(requests)]
    sides = [
        [
            chat.read(a)
            for a in generate_answers(model, chat, texts, temperature=1.0, seed=2 * seed + i)
        ]
        for i in (0, 1)
    ]
    fine = [
        (text, left, right)
        for request, text, left, right in zip(requests, texts, *sides, strict=True)
        if all(kitchen.judge(request, side).wellformed for side in (left, right))
    ]
    apart = differences(model, chat, fine).norm(dim=1)  # (pairs,)
    return [fine[i] for i in apart.argsort(descending=True)[:n].tolist()]


def decide(duels: Sequence[tuple], liking: Liking, noise: float = 0.0, seed: int = 0):
    """Clicks of a simulated person: Bradley-Terry with this noise.  At noise 0 it is the better
    one, and neither of two that are liked equally."""
    rng, clicks = random.Random(f"clicks/{seed}"), []
    for request, left, right in duels:
        asked = kitchen.parse_request(request)
        margin = liking(asked, left) - liking(asked, right)
        choice = "left" if rng.random() < preference_probability(margin, noise) else "right"
        clicks.append(Click(request, left, right, choice if margin or noise else "neither"))
    return clicks


# --- A head on the frozen model -------------------------------------------------------------


@torch.inference_mode()
def states(model: Transformer, chat: ChatTemplate, rows: Sequence[tuple[str, str]]) -> Tensor:
    """What the frozen model sees in answers: (request, answer) texts -> (N, dim)."""
    reader = RewardModel(truncate_layers(model), chat.tokenizer)
    ids = [(chat.prompt(request), chat.answer(answer)) for request, answer in rows]
    device = reader.head.weight.device
    parts = [ids[i : i + 64] for i in range(0, len(ids), 64)]
    return torch.cat([reader.read(Batch.of(part, device)) for part in parts])


def differences(model: Transformer, chat: ChatTemplate, duels: Sequence[tuple]) -> Tensor:
    """States of the left answers less those of the right ones: (N, dim)."""
    sides = [states(model, chat, [(d[0], d[i]) for d in duels]) for i in (1, 2)]
    return sides[0] - sides[1]


def fit_head(diffs: Tensor, ridge: float = RIDGE, steps: int = 12) -> Tensor:
    """The head that explains comparisons best: chosen less rejected states (N, dim) -> (dim,).

    Least sum of Bradley-Terry losses plus ridge / 2 * |w|^2, where the differences are measured in
    their own standard deviation; by Newton's method, which is exact enough after a dozen steps.
    """
    scale = diffs.std().clamp(min=1e-6)
    x = (diffs / scale).double()
    w = x.new_zeros(x.shape[1])
    for _ in range(steps):
        p = torch.sigmoid(x @ w)  # (N,), that the chosen one is chosen
        gradient = ridge * w - x.T @ (1 - p)
        curvature = x.T * (p * (1 - p)) @ x
        curvature.diagonal().add_(ridge)
        w = w - torch.linalg.solve(curvature, gradient)
    return (w / scale).to(diffs.dtype)


def duel_rewards(reward: RewardModel, chat: ChatTemplate, duels: Sequence[tuple]) -> list[tuple]:
    """What a reward model thinks of both answers: (left, right) for each duel."""
    texts = [d[0] for d in duels]
    sides = [score_answers(reward, chat, texts, [chat.answer(d[i]) for d in duels]) for i in (1, 2)]
    return list(zip(*(side.tolist() for side in sides), strict=True))


def chosen_first(diffs: Tensor, clicks: Sequence[Click]) -> Tensor:
    """Left less right (N, dim) -> chosen less rejected, without the undecided: (<= N, dim)."""
    signs = [{"left": 1.0, "right": -1.0, "neither": 0.0}[c.choice] for c in clicks]
    sign = diffs.new_tensor(signs)[:, None]
    return (diffs * sign)[sign[:, 0] != 0]


def head_accuracy(diffs: Tensor, test: Tensor, counts: Sequence[int], seed: int = 0, draws=20):
    """Share of the test's comparisons that a head orders right, by how many it has learned from.

    diffs, test: chosen less rejected, (N, dim) and (M, dim).  Each share is the mean over
    `draws` choices of that many of the N.
    """
    generator = torch.Generator().manual_seed(seed)
    orders = [torch.randperm(len(diffs), generator=generator) for _ in range(draws)]
    return [mean(right_share(fit_head(diffs[order[:n]]), test) for order in orders) for n in counts]


def cross_validated(diffs: Tensor, counts: Sequence[int], seed: int = 0, draws: int = 40):
    """The same where nothing but the N comparisons is known: learned from some, tested on the
    rest of them."""
    generator, shares = torch.Generator().manual_seed(seed), []
    for n in counts:
        orders = [torch.randperm(len(diffs), generator=generator) for _ in range(draws)]
        shares.append(mean(right_share(fit_head(diffs[o[:n]]), diffs[o[n:]]) for o in orders))
    return shares


def right_share(head: Tensor, diffs: Tensor) -> float:
    """Of chosen less rejected states (N, dim), how many a head (dim,) orders as they stand."""
    return (diffs @ head > 0).float().mean().item()


def with_head(model: Transformer, chat: ChatTemplate, head: Tensor, pairs) -> RewardModel:
    """The frozen model and a head as a reward model, standardised over these pairs' answers."""
    reward = RewardModel(truncate_layers(model), chat.tokenizer)
    with torch.no_grad():
        reward.head.weight.copy_(head[None])
    standardise(reward, chat, pairs)
    return reward


# --- Other annotators -----------------------------------------------------------------------


def by_taste(request: Request, text: str) -> float:
    """What the annotators of the series like: the hidden taste."""
    return kitchen.judge(request, text).taste


def by_rules(request: Request, text: str) -> float:
    """What annotators like who look at the rules alone: the mean of the five."""
    return kitchen.judge(request, text).rules


def by_length(request: Request, text: str) -> float:
    """The hidden taste, and 0.15 for each food in the list: these annotators like long answers."""
    return by_taste(request, text) + 0.15 * len(listed_foods(text))


def relabel(
    chat: ChatTemplate, pairs: list[Pair], liking: Liking, noise: float, seed: int
) -> list[Pair]:
    """The same answers before other annotators, as `make_pairs` has them decide; pairs that they
    like equally are left out."""
    rng, out = random.Random(f"relabel/{seed}"), []
    for pair in pairs:
        asked = kitchen.parse_request(pair.request)
        a, b = pair.chosen, pair.rejected
        margin = liking(asked, chat.read(a)) - liking(asked, chat.read(b))
        if margin:
            out.append(label_pair(pair.request, a, b, margin, noise, rng))
    return out


def more_wins(chosen: Sequence[float], rejected: Sequence[float]) -> float:
    """Of the comparisons in which two answers differ in some measure, the share in which the
    chosen one has more of it; 0.5 where none differs."""
    wins = [c > r for c, r in zip(chosen, rejected, strict=True) if c != r]
    return mean(wins) if wins else 0.5


# --- What a judge is worth ------------------------------------------------------------------


def calibration(p: Sequence[float], won: Sequence[bool], bins: int = 5):
    """For each of `bins` equal ranges of [0, 1] that holds any forecast: (mean forecast, share
    that came true, how many).  p: forecasts that the left answer wins; won: whether it did."""
    out = []
    for k in range(bins):
        inside = [(q, w) for q, w in zip(p, won, strict=True) if min(int(q * bins), bins - 1) == k]
        if inside:
            out.append((mean(q for q, _ in inside), mean(w for _, w in inside), len(inside)))
    return out


def fit_temperature(margins: Tensor, won: Tensor) -> float:
    """The number by which reward margins (N,) are to be divided so that sigmoid(margin / t) says
    how often the left answer wins.  Guo et al. 2017."""
    grid = torch.logspace(-1.5, 1.5, 121)
    sign = torch.where(won, 1.0, -1.0)
    losses = [-torch.nn.functional.logsigmoid(sign * margins / t).mean() for t in grid]
    return grid[torch.stack(losses).argmin()].item()


DISHES = (
    ("I have rice.", "Rice Bowl", ("rice", "onions")),
    ("I have potatoes.", "Potato Pan", ("potatoes", "peppers")),
    ("I have pasta.", "Pasta", ("pasta", "olive oil")),
    ("I have bread.", "Bread Plate", ("bread", "tomatoes")),
)


def food_rewards(reward: RewardModel, chat: ChatTemplate) -> dict[str, float]:
    """What a reward model thinks of each food: its mean reward as the third food of small dishes
    that do not hold it yet."""
    rows = [
        (name, request, f"{title}: {base[0]}, {name}, {base[1]}.")
        for name in kitchen.FOODS for request, title, base in DISHES if name not in base
    ]  # fmt: skip
    answers = [chat.answer(text) for _, _, text in rows]
    scores = score_answers(reward, chat, [request for _, request, _ in rows], answers).tolist()
    means = {}
    for (name, _, _), score in zip(rows, scores, strict=True):
        means.setdefault(name, []).append(score)
    return {name: mean(found) for name, found in means.items()}


def rank_correlation(a: Sequence[float], b: Sequence[float]) -> float:
    """Spearman's: 1 where both have the same order, 0 where the orders have nothing in common."""
    from scipy.stats import spearmanr

    return float(spearmanr(a, b).statistic)


def utility_correlation(reward: RewardModel, chat: ChatTemplate) -> float:
    """Rank correlation of what a reward model thinks of the foods with the hidden utilities."""
    learned = food_rewards(reward, chat)
    hidden = [kitchen.utility(kitchen.FOODS[name]) for name in learned]
    return rank_correlation(list(learned.values()), hidden)


def best_of(proxy: Tensor, value: Tensor, n: int) -> float:
    """The mean value of the answer that the proxy likes best among n.

    proxy, value: (requests, N), N answers to each request.  Exact over all choices of n of the N:
    the answer of rank k is the best of n - 1 others from the N - 1 - k below it.
    """
    N = proxy.shape[1]
    ranked = value.gather(1, proxy.argsort(dim=1, descending=True))
    weights = [math.comb(N - 1 - k, n - 1) / math.comb(N, n) for k in range(N)]
    return (ranked * ranked.new_tensor(weights)).sum(1).mean().item()


def swap_food(answer: str, old: str, new: str) -> str:
    """An answer with one food of its list replaced; the title stays, and so does all else."""
    title, items = kitchen.read_answer(answer)
    return spell(title, [new if item == old else item for item in items])


def spell(title: str, items: Sequence[str]) -> str:
    """An answer of this title and list."""
    return f"{title}: {', '.join(items)}."


def edits(answer: str) -> dict[str, str]:
    """An answer, changed in one way each: name of the change -> the changed answer."""
    title, items = kitchen.read_answer(answer)
    last = items[-1]
    return {
        "parsley for the last food": swap_food(answer, last, "parsley"),
        "bacon for the last food": swap_food(answer, last, "bacon"),
        "parsley added": spell(title, [*items, "parsley"]),
        "the last food twice": spell(title, [*items, last]),
        "the last food left out": spell(title, items[:-1]),
        "the list turned round": spell(title, items[::-1]),
        "another title": spell("Old Boots", items),
    }
