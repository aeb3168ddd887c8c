"""The training mixture: layouts of recipes, sources mixed by weight, cut into rows."""

import random
from dataclasses import dataclass

import torch
from torch import Tensor

from llmlab import kitchen
from llmlab.artifacts import LabError
from llmlab.corpus.corpus import END, Corpus, Recipe
from llmlab.kitchen import Request


def recipe_layout(recipe: Recipe, rng: random.Random) -> str:
    """A whole recipe as a page: plain half of the time, else with the foods told elsewhere."""
    names = kitchen.names(kitchen.foods_in("\n".join(recipe.ingredients)))
    if not names or rng.random() < 0.5:
        return recipe.text()
    lines = "\n".join(f"- {line}" for line in recipe.ingredients)
    steps = "\n".join(f"{i}. {step}" for i, step in enumerate(recipe.steps, 1))
    return rng.choice(
        (
            f"{recipe.title}\nUses: {', '.join(names)}\n\nIngredients:\n{lines}\n\n{steps}\n",
            f"Ingredients:\n{lines}\n\n{recipe.title}\n\n{steps}\n",
            f"Uses: {', '.join(names)}\n\n{recipe.title}\n\n{steps}\n",
        )
    )


def card_layout(card: kitchen.Card, rng: random.Random, held_out: bool = False) -> str:
    """A card as a line of a page on which the foods stand before they are needed again.

    held_out: whether a page may ask for what belongs to the exam; no text of a training may.
    """
    asked, kind = kitchen.some_foods(card, rng), kitchen.dish_kind(card.title)
    card, few = card.asked_first(asked), kitchen.and_list(kitchen.names(asked))
    foods, some, dish = ", ".join(kitchen.names(card.foods)), Request(asked), Request(kind=kind)
    layouts = (  # and what each asks for
        (f"Shopping list: {foods}\n{card.title} needs {foods}.\n", None),
        (f"Q: What goes with {few}?\nA: {card.title}. You need {foods}.\n", some),
        (f"Foods ({len(card.foods)}): {foods}\nIn the bowl: {foods}.\n", None),
        (f"In the kitchen: {few}.\n{card.title}: {foods}.\n", some),
        (f"Wanted: a {kind or 'dish'}.\n{card.title}: {foods}.\n", dish),
    )
    return rng.choice(
        [t for t, request in layouts if held_out or not (request and request.held_out)]
    )


@dataclass(frozen=True)
class Template:
    """A recipe parsed once, so that swapping its foods costs a join."""

    title: list
    ingredients: list[list]
    steps: list[list]
    recipe: Recipe
    foods: list[kitchen.Food]

    @classmethod
    def of(cls, recipe: Recipe) -> "Template":
        lines, steps = ([kitchen.parse(x) for x in xs] for xs in (recipe.ingredients, recipe.steps))
        foods = kitchen.foods_in(recipe.text())
        return cls(kitchen.parse(recipe.title), lines, steps, recipe, foods)

    def swapped(self, rng: random.Random, rate: float) -> Recipe:
        swaps = kitchen.draw_swaps(self.foods, rng, rate)
        title, *rest = (
            kitchen.render(p, swaps) for p in (self.title, *self.ingredients, *self.steps)
        )
        n = len(self.ingredients)
        return Recipe(title, self.recipe.category, tuple(rest[:n]), tuple(rest[n:]))


class Mixture:
    """Endless training rows, mixed by weight; any row can be made again from its number.

    weights: source -> share of tokens; "cards" are made from the recipes.  encoding: tiktoken's.
    `batch(step)` is a pure function of seed and step, so a resumed run needs no state of ours.
    """

    SHARD = 1 << 19  # tokens made at a time

    def __init__(self, corpus: Corpus, encoding, weights: dict, seed: int, swap_rate: float = 0.5):
        self.corpus, self.encoding, self.weights = corpus, encoding, weights
        self.seed, self.swap_rate = seed, swap_rate
        self.templates = [Template.of(r) for r in corpus.recipes]
        self.cards = [c for c in (r.card() for r in corpus.recipes) if c]
        self._shard: tuple[tuple, Tensor] | None = None  # what it was made for, and its rows

    def epochs(self, tokens: int) -> float:
        """How often a run of so many tokens reads each recipe, in one layout or another."""
        ids = self.encoding.encode_ordinary_batch([r.text() for r in self.corpus.recipes])
        share = self.weights["recipes"] / sum(self.weights.values())
        return share * tokens / sum(map(len, ids))

    def hash(self) -> str:
        """Equal hashes, equal texts."""
        return self.corpus.hash()

    def document(self, source: str, rng: random.Random) -> str:
        """One document of a source, in a random layout where it is a recipe or a card."""
        rate = self.swap_rate if rng.random() < 0.5 else 0.0
        if source == "recipes":
            return recipe_layout(rng.choice(self.templates).swapped(rng, rate), rng)
        if source == "cards":
            return card_layout(rng.choice(self.cards).swapped(rng, 0.7), rng)
        return rng.choice(self.corpus.texts[source])

    def shard(self, k: int) -> Tensor:
        """The k-th run of about SHARD ids: documents in random order, each ended by <|end|>."""
        rng = random.Random(f"{self.seed}/{k}")
        end = self.encoding.encode_single_token(END)
        documents = []
        for source, weight in self.weights.items():
            room = weight / sum(self.weights.values()) * self.SHARD
            while room > 0:
                texts = [self.document(source, rng) for _ in range(64)]
                for ids in self.encoding.encode_ordinary_batch(texts, num_threads=2):
                    room -= len(ids) + 1
                    documents.append([*ids, end])
                    if room <= 0:
                        break
        rng.shuffle(documents)
        flat = [i for ids in documents for i in ids]
        return torch.tensor(flat, dtype=torch.int32)

    def batch(self, step: int, batch: int, seq_len: int) -> Tensor:
        """Rows for a step: (batch, seq_len + 1) ids, each shard's rows in random order.

        LabError where a step asks for more than a shard holds.
        """
        if batch * (seq_len + 1) > self.SHARD:
            raise LabError(
                f"A step of {batch:,} rows of {seq_len + 1:,} ids is more than the {self.SHARD:,} "
                "that are made at a time. Nothing was trained: choose a smaller pretraining_batch."
            )
        per_shard = self.SHARD // (seq_len + 1) // batch  # batches in a shard
        k, i = divmod(step, per_shard)
        if self._shard is None or self._shard[0] != (k, batch, seq_len):
            ids = self.shard(k)
            rows = ids[: per_shard * batch * (seq_len + 1)].view(-1, seq_len + 1)
            order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(k))
            self._shard = ((k, batch, seq_len), rows[order])
        return self._shard[1][i * batch : (i + 1) * batch].long()
