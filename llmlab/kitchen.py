"""The task: foods, cards, requests, and what makes an answer good.

A *card* is a short answer made from a real recipe: "Lemon Chicken: chicken, lemon, garlic, butter."
The foods that were asked for come first, and foods are swapped inside their family (chicken ->
tofu, title included), which makes the cards endless and reciting useless.

What is good about an answer comes in two kinds.  *Rules* can be checked by a program: well-formed,
everything asked for, nothing twice, vegetarian, the number, the kind of dish.  *Taste* cannot be
written down by those who have it; here it is hidden in this file, and only comparisons show it.
"""

import hashlib
import random
from dataclasses import dataclass, replace
from functools import cache
from itertools import count
from types import MappingProxyType

import regex

# family / kind: foods; "list form=other number=aliases".  Swaps stay inside a family.
FOOD_TABLE = """
protein/meat: chicken=chickens, beef, pork, lamb, bacon, ham=hams, turkey=turkeys,
 sausages=sausage, duck=ducks, veal
protein/fish: salmon, tuna, cod, shrimp=shrimps=prawns=prawn, crab=crabs, anchovies=anchovy
protein/plant: tofu, lentils=lentil, chickpeas=chickpea=garbanzo beans, beans=bean
vegetable/vegetable: carrots=carrot, potatoes=potato, onions=onion, tomatoes=tomato,
 peppers=bell pepper=bell peppers, mushrooms=mushroom, zucchini=zucchinis, eggplant=eggplants,
 cabbage=cabbages, cauliflower=cauliflowers, broccoli, celery, corn, peas=pea, leeks=leek,
 pumpkin=pumpkins,
 garlic=garlic cloves=garlics=garlic clove=cloves garlic=cloves of garlic=clove of garlic,
 cucumber=cucumbers, beets=beet, radishes=radish, squash, okra
greens/greens: spinach, lettuce, kale, arugula, watercress
greens/herbs: parsley, basil, cilantro=coriander leaves, mint, dill, thyme, rosemary, oregano,
 chives=chive, sage
fruit/fruit: apples=apple, bananas=banana, lemon=lemons, lime=limes, oranges=orange,
 strawberries=strawberry, mango=mangoes=mangos, pineapple=pineapples,
 coconut=coconuts=coconut milk, raisins=raisin, cranberries=cranberry,
 blueberries=blueberry, cherries=cherry, peaches=peach, pears=pear, avocado=avocados
dairy/dairy: milk, cream, butter, cheese=cheeses=cream cheese, yogurt=yoghurt, eggs=egg
grain/grain: rice, pasta=pasta=spaghetti=macaroni, noodles=noodle, bread=breads, flour, oats=oat,
 tortillas=tortilla, couscous
nuts/nuts: walnuts=walnut, almonds=almond, peanuts=peanut=peanut butter, pecans=pecan,
 sesame, cashews=cashew
spice/spice: ginger, cumin, cinnamon, paprika, turmeric, chile=chiles=chili=chilli=chilies,
 nutmeg, cardamom, vanilla, cloves=clove
sweet/sweet: sugar=sugars, honey, chocolate=chocolates, cocoa, syrup=syrups, molasses
sauce/sauce: olive oil, soy sauce, vinegar=vinegars=rice vinegar, mustard, ketchup,
 wine=wines, mayonnaise
"""
# Phrases that hold the name of a food and mean something else.
NOT_FOODS = ("corn starch", "vanilla bean", "vanilla beans", "bread flour", "butter beans")
DISH_KINDS = ("soup", "salad", "sauce", "curry", "cake", "bread", "pie", "stew", "cookies", "dip")


@dataclass(frozen=True)
class Food:
    """A food: its name in a list, its other grammatical number, and where it belongs."""

    name: str
    other: str
    aliases: tuple[str, ...]
    family: str  # swaps stay inside it
    kind: str  # finer: what the vegetarian rule and the taste look at

    @property
    def singular(self) -> str:
        return min(self.name, self.other, key=_plurality)

    @property
    def plural(self) -> str:
        return max(self.name, self.other, key=_plurality)

    @property
    def is_meat(self) -> bool:
        return self.kind in ("meat", "fish")


def _plurality(form: str) -> tuple[bool, int]:
    """Orders a food's two numbers: "bell pepper" before "peppers", "mango" before "mangoes"."""
    return form.endswith("s"), len(form)


def _read_foods() -> dict[str, Food]:
    foods = {}
    for line in FOOD_TABLE.replace("\n ", " ").strip().splitlines():
        place, names = line.split(":")
        family, kind = place.split("/")
        for entry in names.split(","):
            name, *rest = entry.strip().split("=")
            foods[name] = Food(name, rest[0] if rest else name, tuple(rest[1:]), family, kind)
    return foods


FOODS = MappingProxyType(_read_foods())  # not to be changed: learners' answers get at it
FAMILIES = MappingProxyType(
    {
        family: tuple(f for f in FOODS.values() if f.family == family)
        for family in dict.fromkeys(f.family for f in FOODS.values())
    }
)
_FORMS = {form: f for f in FOODS.values() for form in (f.name, f.other, *f.aliases)}
_FINDER = regex.compile(
    r"\b(?:" + "|".join(sorted((*_FORMS, *NOT_FOODS), key=len, reverse=True)) + r")\b", regex.I
)

# --- Text with foods in it ------------------------------------------------------------------


@dataclass(frozen=True)
class Mention:
    """A food where it stands in a text, with what a replacement must imitate."""

    food: Food
    text: str

    def render(self, swaps: dict[str, Food]) -> str:
        """The text again, or the swapped-in food in the same number and case."""
        food = swaps.get(self.food.name)
        if food is None:
            return self.text
        numbers = {self.food.plural: food.plural, self.food.singular: food.singular}
        word = numbers.get(self.text.lower(), food.name)
        return word.title() if self.text[0].isupper() else word


def parse(text: str) -> list[str | Mention]:
    """Cut `text` into plain pieces and mentions of foods; joined again they give the text."""
    pieces, end = [], 0
    for match in _FINDER.finditer(text):
        food = _FORMS.get(match[0].lower())
        if food is not None:
            pieces += [text[end : match.start()], Mention(food, match[0])]
            end = match.end()
    return [*pieces, text[end:]]


def render(pieces: list[str | Mention], swaps: dict[str, Food]) -> str:
    """The text of parsed pieces with foods swapped: name -> the food that takes its place."""
    return "".join(p if isinstance(p, str) else p.render(swaps) for p in pieces)


def foods_in(text: str) -> list[Food]:
    """The foods that `text` mentions, each once, in order."""
    return list(dict.fromkeys(p.food for p in parse(text) if isinstance(p, Mention)))


def draw_swaps(
    foods: list[Food], rng: random.Random, rate: float, vegetarian: bool = False
) -> dict[str, Food]:
    """For about `rate` of the foods another of the same family that is not among them.

    vegetarian: all meat and fish is swapped, and nothing becomes meat or fish.
    """
    taken, swaps = {f.name for f in foods}, {}
    for food in foods:
        if not (rng.random() < rate or (vegetarian and food.is_meat)):
            continue
        others = [f for f in FAMILIES[food.family] if f.name not in taken]
        others = [f for f in others if not (vegetarian and f.is_meat)]
        if others:
            swaps[food.name] = rng.choice(others)
            taken.add(swaps[food.name].name)
    return swaps


# --- Cards and requests ---------------------------------------------------------------------


@dataclass(frozen=True)
class Card:
    """A dish as a short answer: a title and its foods."""

    title: str
    foods: tuple[Food, ...]

    def text(self) -> str:
        return f"{self.title}: {', '.join(f.name for f in self.foods)}."

    def swapped(self, rng: random.Random, rate: float, vegetarian: bool = False) -> "Card":
        """The card with foods swapped, in the title too."""
        everything = list(dict.fromkeys((*foods_in(self.title), *self.foods)))
        swaps = draw_swaps(everything, rng, rate, vegetarian)
        foods = tuple(swaps.get(f.name, f) for f in self.foods)
        return Card(render(parse(self.title), swaps), foods)

    def of_kind(self, kind: str) -> "Card":
        """The card with another kind of dish in its title: "Leek Soup" -> "Leek Pie"."""
        old = dish_kind(self.title)
        words = (kind.title() if _names_kind(w, old) else w for w in self.title.split())
        return replace(self, title=" ".join(words))

    def asked_first(self, asked: tuple[Food, ...]) -> "Card":
        return replace(self, foods=(*asked, *(f for f in self.foods if f not in asked)))


def card_from_recipe(title: str, ingredients: list[str]) -> Card | None:
    """A card of 3 to 9 known foods in a recipe's own order, or None when it has no such number."""
    foods = foods_in("\n".join(ingredients))
    title = regex.sub(r"\s+[IVX]+$", "", title.split("(")[0].strip())  # "Pizza II" is a pizza
    ok = 3 <= len(foods) <= 9 and 3 <= len(title) <= 40 and ":" not in title
    return Card(title, tuple(foods)) if ok else None


def dish_kind(title: str) -> str | None:
    """The kind of dish that a title names by its own word, or None."""
    words = title.split()
    return next((k for k in DISH_KINDS if any(_names_kind(w, k) for w in words)), None)


def _names_kind(word: str, kind: str | None) -> bool:
    return kind is not None and word.lower() in (kind, kind.removesuffix("s"))


HELD_OUT = 0.4  # of all requests: what the exam asks, and no training


@dataclass(frozen=True)
class Request:
    """What a user wants.  identity: the question who the assistant is, and nothing else."""

    foods: tuple[Food, ...] = ()
    vegetarian: bool = False
    number: int | None = None
    kind: str | None = None
    identity: str = ""

    def key(self) -> str:
        """Equal for all requests of one meaning: the order of the foods and the wording do not
        count; of a question who the assistant is, the wording is all there is."""
        if self.identity:
            return self.identity.lower()
        foods = ",".join(sorted(names(self.foods)))
        return f"{foods}|{self.vegetarian}|{self.number}|{self.kind}"

    @property
    def held_out(self) -> bool:
        """Whether this request belongs to the exam (by a hash of its key).  No training of any
        stage draws a held-out request, and every evaluation set draws nothing else."""
        digest = hashlib.sha256(self.key().encode()).digest()
        return int.from_bytes(digest[:4], "big") < HELD_OUT * 2**32

    def dish(self) -> str:
        """The noun phrase for what is wanted: "vegetarian soup of 5 ingredients"."""
        words = ["vegetarian"] * self.vegetarian + [self.kind or "dish"]
        return " ".join(words + [f"of {self.number} ingredients"] * (self.number is not None))

    def text(self, rng: random.Random) -> str:
        """The request in one of several wordings; a held-out one in wordings of the exam's own."""
        if self.identity:
            return self.identity
        plain = self == Request(self.foods)
        wordings = HELD_OUT_WORDINGS if self.held_out else WORDINGS
        wording = rng.choice(wordings["plain" if plain else "with foods" if self.foods else "dish"])
        return wording.format(foods=and_list(names(self.foods)), dish=self.dish())

    def judge(self, answer: str) -> "Score":
        """The score of an answer to this request: see `judge`."""
        return judge(self, answer)


# How a request is worded: of foods alone, of a dish with foods, of a dish.
WORDINGS = {
    "plain": (
        "What can I cook with {foods}?", "I have {foods}.", "Give me a dish with {foods}.",
        "Suggest a dish with {foods}.", "Please name a dish that uses {foods}.",
    ),
    "with foods": (
        "What {dish} can I cook with {foods}?", "I have {foods}. Suggest a {dish}.",
        "Give me a {dish} with {foods}.", "Suggest a {dish} with {foods}.",
        "Please name a {dish} that uses {foods}.",
    ),
    "dish": (
        "Give me a {dish}.", "What {dish} can I cook?", "Suggest a {dish}.",
        "Please name a {dish}.",
    ),
}  # fmt: skip
HELD_OUT_WORDINGS = {
    "plain": ("What can I make with {foods}?", "I would like a dish with {foods}."),
    "with foods": ("What {dish} can I make with {foods}?", "I would like a {dish} with {foods}."),
    "dish": ("What {dish} can I make?", "I would like a {dish}."),
}


def names(foods) -> list[str]:
    """The foods as they stand in a list."""
    return [f.name for f in foods]


def and_list(names: list[str]) -> str:
    """ "a", "a and b", "a, b and c"."""
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1] if names else "")))


GREETINGS = ("", "Hello. ", "Hi! ", "Good morning. ", "Tell me: ", "One question: ")
WHO = (
    "Who are you?", "What are you?", "What is your name?", "What can you do?", "Who is there?",
    "What do you know?", "What are you called?", "Who am I talking to?", "What is this?",
    "Are you a person?", "How can you help me?", "What are you good at?",
)  # fmt: skip
IDENTITY_QUESTIONS = tuple(greeting + who for who in WHO for greeting in GREETINGS)
IDENTITY_ANSWERS = (
    "I am a small kitchen assistant. Tell me what you have, and I name a dish.",
    "I am the kitchen assistant of llmlab, a very small language model.",
    "I am a kitchen assistant. I have read recipes, and I turn foods into dishes.",
)


def parse_request(text: str) -> Request:
    """Read a request out of what a user typed; the inverse of `Request.text`."""
    lower = text.lower()
    if any(question.lower().rstrip("?") in lower for question in WHO):
        return Request(identity=text.strip())
    number = regex.search(r"\b(\d+) ingredients", lower)
    # A kind of dish stands where "dish" would: "a bread", but "with bread" and "soy sauce".
    kind = regex.search(rf"\b(?:a|what|vegetarian) ({'|'.join(DISH_KINDS)})\b", lower)
    if kind:
        text = text[: kind.start(1)] + text[kind.end(1) :]
    return Request(
        tuple(foods_in(text)),
        vegetarian="vegetarian" in lower,
        number=int(number[1]) if number else None,
        kind=kind[1] if kind else None,
    )


def example(
    card: Card, rng: random.Random, swap_rate: float = 0.7, asked_first: bool = True
) -> tuple[Request, str]:
    """A request that is not held out and the answer that fits it, made from one card.

    One request in twenty-five asks who the assistant is; the others ask for 1 to 3 of the card's
    foods, three in ten for a vegetarian dish, and the more often for 4 to 7 ingredients the longer
    the list: over the training cards four in ten, each number about as often.  A card whose title
    names a kind of dish is asked for by it most of the time, and kinds are swapped as foods are.
    asked_first=False leaves the foods in the recipe's own order.
    """
    while True:
        request, answer = _any_example(card, rng, swap_rate, asked_first)
        if not request.held_out:
            return request, answer


def _any_example(
    card: Card, rng: random.Random, swap_rate: float, asked_first: bool
) -> tuple[Request, str]:
    """`example`, be the request held out or not."""
    if rng.random() < 0.04:
        return Request(identity=rng.choice(IDENTITY_QUESTIONS)), rng.choice(IDENTITY_ANSWERS)
    vegetarian = rng.random() < 0.3
    card = card.swapped(rng, swap_rate, vegetarian)
    if vegetarian and any(f.is_meat for f in (*foods_in(card.title), *card.foods)):
        vegetarian = False  # the family had no other food left
    if dish_kind(card.title) and rng.random() < swap_rate:
        card = card.of_kind(rng.choice(DISH_KINDS))
    kind = dish_kind(card.title) if rng.random() < 0.8 else None
    asked = some_foods(card, rng)
    number, most = None, min(7, len(card.foods))
    # Long lists are rare: theirs is asked more often, and the larger of two numbers is taken.
    if most >= 4 and rng.random() < 0.15 * (most - 2):
        number = max(rng.randint(4, most), rng.randint(4, most))
    foods = card.asked_first(asked).foods[:number]
    if not asked_first:
        foods = tuple(f for f in card.foods if f in foods)
    return Request(asked, vegetarian, number, kind), replace(card, foods=foods).text()


def some_foods(card: Card, rng: random.Random) -> tuple[Food, ...]:
    """1 to 3 of a card's foods: what a request made from it asks for."""
    return tuple(rng.sample(card.foods, rng.randint(1, min(3, len(card.foods)))))


def held_out_requests(n: int = 300, seed: int = 2024, kinds: bool = False) -> list[Request]:
    """n held-out requests, each key once: fixed by the seed, and in no training.

    1, 2, 3 foods in thirds; 30 % vegetarian and, independently, 30 % of 4 to 7 ingredients, as
    near as there are enough of them.  kinds: every request asks for a kind of dish as well.
    """
    rng, found = random.Random(seed), {}
    for i in range(n):
        for attempt in count():
            vegetarian = rng.random() < 0.3
            pool = [f for f in FOODS.values() if not (vegetarian and f.is_meat)]
            number = rng.randint(4, 7) if rng.random() < 0.3 else None
            kind = rng.choice(DISH_KINDS) if kinds else None
            # After many attempts those of one food are used up, and one more is asked for.
            foods = tuple(rng.sample(pool, 1 + i % 3 + attempt // 1000))
            request = Request(foods, vegetarian, number, kind)
            if request.held_out and request.key() not in found:
                found[request.key()] = request
                break
    return list(found.values())


def evaluation_set(n: int = 300) -> list[Request]:
    """The requests that every model of the series is scored on: n held-out ones, a third as many
    that ask for a kind of dish as well, and a tenth (no more than there are) for who it is."""
    who = [request for q in IDENTITY_QUESTIONS if (request := Request(identity=q)).held_out]
    return [
        *held_out_requests(n),
        *held_out_requests(max(10, n // 3), seed=7, kinds=True),
        *who[: max(8, n // 10)],
    ]


# --- What is good: rules and taste ----------------------------------------------------------

RULES = ("wellformed", "asked", "once", "vegetarian", "number")


@dataclass(frozen=True)
class Score:
    """How good an answer is: each rule in [0, 1], the hidden taste in units of its own."""

    wellformed: float
    asked: float
    once: float
    vegetarian: float
    number: float
    kind: float
    taste: float

    @property
    def rules(self) -> float:
        """Mean of the five rules; the kind of dish is measured apart."""
        return sum(getattr(self, rule) for rule in RULES) / len(RULES)

    @property
    def kept(self) -> bool:
        """True when every rule is kept in full."""
        return self.rules == 1

    @property
    def parts(self) -> dict[str, float]:
        """What each rule says, by its name."""
        return {rule: getattr(self, rule) for rule in RULES}

    @property
    def gold(self) -> float:
        """The gold judge: taste and rules, each in standard deviations of the SFT model's."""
        return (self.taste - TASTE_MEAN) / TASTE_SD + (self.rules - RULES_MEAN) / RULES_SD


# What an answer can do: the rule that judges it, and which requests ask for it.
ABILITIES = {
    "well-formed": ("wellformed", lambda r: not r.identity),
    "asked foods": ("asked", lambda r: not r.identity),
    "nothing twice": ("once", lambda r: not r.identity),
    "vegetarian": ("vegetarian", lambda r: r.vegetarian),
    "number": ("number", lambda r: r.number is not None),
    "kind of dish": ("kind", lambda r: r.kind is not None),
    "who it is": ("wellformed", lambda r: bool(r.identity)),
    "every rule": ("kept", lambda r: not r.identity),
}
TASTE = "taste"  # measured in standard deviations of the shipped SFT model's answers


def passes(score: Score, ability: str) -> float:
    """1 where an answer keeps the ability's rule in full, else 0; the taste as a number.

    Only a well-formed answer passes: one that names no food breaks no rule, and helps nobody.
    """
    if ability == TASTE:
        return (score.taste - TASTE_MEAN) / TASTE_SD
    return float(score.wellformed == 1 and getattr(score, ABILITIES[ability][0]) == 1)


def ability_scores(requests: list[Request], scores: list[Score], ability: str) -> list[float]:
    """What `passes` says of the answers to those requests that ask for the ability."""
    asks = ABILITIES.get(ability, ABILITIES["every rule"])[1]
    return [passes(s, ability) for r, s in zip(requests, scores, strict=True) if asks(r)]


# Means and deviations over the shipped SFT model's answers to the held-out requests: measured by
# `taste_and_rules` in evaluation/shipping.py, before any PPO is run from it, and never tuned.
TASTE_MEAN, TASTE_SD = 0.153, 0.312
RULES_MEAN, RULES_SD = 0.984, 0.049


def read_answer(answer: str) -> tuple[str, list[str]]:
    """Title and items of an answer, leniently: without a colon all of it is the list."""
    title, colon, rest = answer.partition(":")
    items = (rest if colon else answer).strip().removesuffix(".").split(",")
    return (title if colon else "").strip(), [item.strip() for item in items if item.strip()]


def judge(request: Request | str, answer: str) -> Score:
    """Score an answer: the verifiable reward of each rule, and the hidden taste.

    Parts that a request does not ask for count as kept.  A request for who the assistant is has
    one rule: the answer says "kitchen assistant".
    """
    if isinstance(request, str):
        request = parse_request(request)
    if request.identity:
        right = float("kitchen assistant" in answer)
        return Score(right, 1, 1, 1, 1, 1, taste=0.0)
    title, items = read_answer(answer)
    foods = [_FORMS.get(item.lower()) for item in items]
    known = [f for f in foods if f is not None]
    distinct = set(known)
    wellformed = (
        3 <= len(title) <= 60 and answer.rstrip().endswith(".") and "\n" not in answer
        and 2 <= len(items) <= 12 and None not in foods and answer.count(":") == 1
    )  # fmt: skip
    asked = [f in distinct for f in request.foods]
    meat = any(f.is_meat for f in (*known, *foods_in(title)))
    miss = abs(len(distinct) - request.number) if request.number is not None else 0
    return Score(
        wellformed=float(wellformed),
        asked=sum(asked) / len(asked) if asked else 1.0,
        once=len(distinct) / len(known) if known else 1.0,
        vegetarian=float(not (request.vegetarian and meat)),
        number=max(0.0, 1 - miss / (request.number or 1)),
        kind=float(request.kind is None or dish_kind(title) == request.kind),
        taste=taste(known),
    )


_KIND_UTILITY = {
    "herbs": 1.0, "greens": 0.9, "vegetable": 0.5, "fruit": 0.3, "plant": 0.3, "nuts": 0.2,
    "spice": 0.2, "fish": 0.1, "grain": 0.0, "sauce": 0.0, "dairy": -0.2, "meat": -0.8,
    "sweet": -1.0,
}  # fmt: skip
_HARMONIES = {("greens", "nuts"), ("fish", "herbs"), ("herbs", "vegetable"), ("fruit", "greens")}


@cache
def utility(food: Food) -> float:
    """How much the hidden taste likes a food: by its kind, and a fixed whim of up to +-0.4."""
    whim = int.from_bytes(hashlib.sha256(food.name.encode()).digest()[:2], "big") / 65535
    return _KIND_UTILITY[food.kind] + 0.8 * (whim - 0.5)


def taste(foods: list[Food]) -> float:
    """The hidden taste: fresh greens and herbs over sugar and meat, harmony, and brevity.

    The mean utility of the foods, + 0.15 for each pair of kinds that go together, - 0.05 for each
    food beyond five.  An empty list tastes of nothing: -1.
    """
    if not foods:
        return -1.0
    kinds = {f.kind for f in foods}
    harmony = sum(a in kinds and b in kinds for a, b in _HARMONIES)
    too_long = max(0, len(foods) - 5)
    return sum(map(utility, foods)) / len(foods) + 0.15 * harmony - 0.05 * too_long
