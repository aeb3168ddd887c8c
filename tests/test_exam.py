"""The exam is honest: what evaluations ask, no training has read, whatever stage it is.

The ids that reach a loss are decoded and read again as requests; none of them is held out.
"""

import random
import re
from dataclasses import replace

import pytest

from llmlab import kitchen, lab
from llmlab.artifacts import data_dir
from llmlab.chat import Batch, ChatTemplate
from llmlab.corpus import corpus as texts
from llmlab.corpus.mixture import Mixture
from llmlab.kitchen import Request, parse_request
from llmlab.stages import reward, rl
from llmlab.stages.sft import Examples

N = 4_000  # examples of a training; tests/slow has more
RECIPES = texts.read_recipes(data_dir() / "house" / "recipes.json")
CARDS = [card for card in (recipe.card() for recipe in RECIPES) if card]
PAGE = re.compile(
    r"(?:^|<\|end\|>)(?:Q: What goes with|In the kitchen:|Wanted: a) (.+?)[?.]$", re.M
)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    toy = lab.setup("class-toy", runs_dir=tmp_path_factory.mktemp("runs"))
    return replace(toy, steps=1)


def asked(chat: ChatTemplate, ids: list[int]) -> Request:
    """The request in a row of ids that goes into a loss."""
    text = chat.tokenizer.decode(ids)
    return parse_request(text.split("<|user|>")[1].split("<|assistant|>")[0])


def test_fine_tuning_reads_no_held_out_request(made):
    chat, steps = ChatTemplate(made.tokenizer()), 8
    examples = Examples(CARDS, chat, seed=3)
    batches = [Batch.of(examples.batch(step, N // steps)) for step in range(steps)]
    found = [asked(chat, ids) for batch in batches for ids in batch.ids.tolist()]
    assert len(found) == N and not any(request.held_out for request in found)
    assert len({request.key() for request in found}) > 600
    assert 0.02 < sum(bool(request.identity) for request in found) / N < 0.05


def test_pretraining_reads_no_held_out_request(made):
    encoding = made.tokenizer().to_tiktoken()
    mixture = Mixture(texts.Corpus(RECIPES, [], {}, {}), encoding, {"cards": 1.0}, seed=3)
    mixture.SHARD = 1 << 18
    found, k = [], 0
    while len(found) < N // 5:  # pages that ask; one in three of those that are read does not
        for line in PAGE.findall(encoding.decode(mixture.shard(k).tolist())):
            found.append(Request(kind=line) if line in kitchen.DISH_KINDS else parse_request(line))
        k += 1
    assert not any(request.held_out for request in found if request != Request())


@pytest.mark.parametrize("stage", ["pairs", "rl"])
def test_requests_of_reward_and_rl_are_not_held_out(made, stage, monkeypatch):
    """Pairs, DPO, GRPO, PPO and the last assistant draw their requests here."""
    monkeypatch.setattr(reward, "training_cards", lambda _: CARDS)
    chat, rng = ChatTemplate(made.tokenizer()), random.Random(0)
    if stage == "pairs":
        drawn = [(r, r.text(rng)) for r in reward.training_requests(made, 6000, seed=5)]
    else:
        made = replace(made, profile=replace(made.profile, rl_requests=2000))
        requests = rl.PromptSampler(made)
        drawn = [pair for step in range(40) for pair in zip(*requests.draw(step, 150), strict=True)]
    found = [asked(chat, chat.prompt(text)) for _, text in drawn]
    assert found == [request for request, _ in drawn]  # what is read is what was meant
    assert not any(request.held_out or request.identity for request in found)


def test_evaluations_ask_held_out_requests_each_once():
    """Sizes and shares: thirds, 30 % vegetarian, 30 % of a number; kinds; who it is."""
    requests = kitchen.evaluation_set()
    assert all(request.held_out for request in requests)
    assert len({request.key() for request in requests}) == len(requests)
    who = [request for request in requests if request.identity]
    assert len(who) == sum(Request(identity=q).held_out for q in kitchen.IDENTITY_QUESTIONS) > 20
    dishes = [request for request in requests if not request.identity]
    assert len(dishes) == 400 and sum(request.kind is not None for request in dishes) == 100
    assert requests[:300] == kitchen.held_out_requests() != kitchen.held_out_requests(seed=1)
    for some in (kitchen.held_out_requests(), kitchen.held_out_requests(750, seed=3)):
        assert [sum(len(r.foods) == n for r in some) for n in (1, 2, 3)] == [len(some) / 3] * 3
        assert 0.24 < sum(r.vegetarian for r in some) / len(some) < 0.36
        assert 0.27 < sum(r.number is not None for r in some) / len(some) < 0.45
        assert not any(food.is_meat for r in some if r.vegetarian for food in r.foods)
    words = {request.text(random.Random(i)) for i, request in enumerate(dishes)}
    trained = {w.split("{")[0] for words in kitchen.WORDINGS.values() for w in words}
    assert not any(text.startswith(f"{start}") for text in words for start in trained - {"What "})


def test_who_asks_in_another_order_asks_the_same():
    leeks, rice = kitchen.FOODS["leeks"], kitchen.FOODS["rice"]
    assert Request((leeks, rice)).key() == Request((rice, leeks)).key()
    assert Request((leeks,)).key() != Request((leeks,), vegetarian=True).key()
    assert Request(identity="Who are you?").key() == parse_request("who are you? ").key()
