"""Reward models and heads of a few clicks, on models and tastes that are known exactly."""

import itertools
import math
import random
from dataclasses import replace

import pytest
import torch

from llmlab import kitchen, lab
from llmlab.chat import Batch, ChatTemplate
from llmlab.core.losses import dpo_loss
from llmlab.core.model import ModelConfig, Transformer
from llmlab.core.tokenizer import train_bpe
from llmlab.datasets import preference_pairs
from llmlab.stages import dpo, preferences, reward
from llmlab.training import model_copies

WORDS = ", ".join(kitchen.FOODS)
CARDS = ["Rice Bowl: rice, kale, mint.", "Cake: flour, sugar, honey, milk.", "Pan: beef, corn."]


@pytest.fixture(scope="module")
def small():
    """A model of random weights, 4 layers, and its chat."""
    torch.manual_seed(0)
    tokenizer = train_bpe(f"{WORDS} I have rice. Rice Bowl: {WORDS}. " * 3, 420)
    config = ModelConfig(vocab_size=tokenizer.vocab_size, dim=32, n_layers=4, n_heads=2,
                         n_kv_heads=2, head_dim=16, hidden_dim=48, max_seq_len=160)  # fmt: skip
    model = Transformer(config)
    for p in model.parameters():
        torch.nn.init.normal_(p, std=0.2)
    return model, ChatTemplate(tokenizer)


def rows(chat, answers, request="I have rice."):
    return Batch.of([(chat.prompt(request), chat.answer(a)) for a in answers])


def random_card(rng, n=4):
    foods = rng.sample(list(kitchen.FOODS), n)
    return f"Bowl: {', '.join(foods)}."


# --- The reward model -----------------------------------------------------------------------


def test_it_reads_the_list_and_not_the_title(small):
    """The states of the list are those of the list alone; a text without a colon is all list."""
    model, chat = small
    reader = reward.RewardModel(model_copies.truncate_layers(model), chat.tokenizer)
    answers = [CARDS[0], "I am a kitchen assistant."]
    batch = rows(chat, answers)
    hidden = reader.backbone.hidden(batch.ids)
    for row, answer in enumerate(answers):
        start = len(chat.prompt("I have rice."))
        ids = chat.answer(answer)
        texts = [chat.tokenizer.decode([i]) for i in ids]
        first = next((j for j, text in enumerate(texts) if ":" in text), 0)
        own = hidden[row, start + first : start + len(ids)].mean(0)
        assert torch.allclose(reader.read(batch)[row], own, atol=1e-5)


def test_padding_and_neighbours_change_nothing(small):
    model, chat = small
    reader = reward.RewardModel(model_copies.truncate_layers(model), chat.tokenizer)
    together = reader.read(rows(chat, CARDS))
    alone = torch.cat([reader.read(rows(chat, [card])) for card in CARDS])
    assert torch.allclose(together, alone, atol=1e-5)


def test_the_lower_half_is_a_copy_of_the_first_layers(small):
    model, _ = small
    half = model_copies.truncate_layers(model)
    assert len(half.blocks) == 2 and half.config.n_layers == 2
    assert torch.equal(half.blocks[1].mlp.up_proj.weight, model.blocks[1].mlp.up_proj.weight)
    with torch.no_grad():
        half.embed.weight.zero_()
    assert model.embed.weight.abs().sum() > 0


def made_pairs(chat, n, seed, liking=preferences.by_taste):
    """Pairs of random cards, in the order that the liking has without noise."""
    rng, pairs = random.Random(seed), []
    while len(pairs) < n:
        a, b = random_card(rng), random_card(rng)
        margin = liking(kitchen.parse_request("I have rice."), a) - liking(
            kitchen.parse_request("I have rice."), b
        )
        if margin:
            a, b = (a, b) if margin > 0 else (b, a)
            pairs.append(
                preference_pairs.Pair("I have rice.", chat.answer(a), chat.answer(b), True)
            )
    return pairs


@pytest.fixture(scope="module")
def trained(small, tmp_path_factory):
    """A reward model of 400 pairs of random cards, and the lab that it was trained in."""
    model, chat = small
    made = lab.setup("class-toy", runs_dir=tmp_path_factory.mktemp("runs"))
    made.steps, made.dtype = 60, torch.float32
    judge, _ = reward.train_reward(made, model, chat.tokenizer, made_pairs(chat, 400, 1))
    return judge, made


def test_it_learns_a_taste_and_its_rewards_are_standardised(small, trained):
    judge, _ = trained
    _, chat = small
    test = made_pairs(chat, 200, 2)
    assert reward.accuracy(judge, chat, test) > 0.75
    assert preferences.utility_correlation(judge, chat) > 0.5
    scores = torch.cat(reward.score_pairs(judge, chat, made_pairs(chat, 400, 1)))
    assert scores.mean().abs() < 0.2 and 0.8 < scores.std() < 1.2


def test_it_is_loaded_as_it_was_saved(small, trained, monkeypatch, capsys):
    judge, made = trained
    _, chat = small
    monkeypatch.setattr(lab.Lab, "shipped", lambda self, name: made.path("reward"))
    again = reward.load_reward(made)
    batch = rows(chat, CARDS)
    assert torch.allclose(judge(batch), again(batch), atol=1e-5)
    assert "your own run" in capsys.readouterr().out


# --- Annotators and clicks ------------------------------------------------------------------


def test_annotators_err_as_bradley_and_terry_say():
    duels = [("I have rice.", CARDS[0], CARDS[1])] * 2000
    for margin, noise in ((0.3, 0.15), (0.3, 1.0)):
        clicks = preferences.decide(
            duels, lambda r, text, m=margin: m * text.startswith("Rice"), noise
        )
        share = sum(c.choice == "left" for c in clicks) / len(clicks)
        assert share == pytest.approx(1 / (1 + math.exp(-margin / noise)), abs=0.03)
    certain = preferences.decide(duels[:9], lambda r, text: -len(text))
    assert {c.choice for c in certain} == {"left"}
    assert preferences.decide(duels[:1], lambda r, text: 0)[0].choice == "neither"


def test_other_annotators_see_the_same_answers(small):
    _, chat = small
    pairs = made_pairs(chat, 60, 3)
    same = preferences.relabel(chat, pairs, preferences.by_taste, 0.0, 1)
    assert same == pairs
    other = preferences.relabel(chat, pairs, lambda r, t: -preferences.by_taste(r, t), 0.0, 1)
    assert [(p.rejected, p.chosen) for p in other] == [(p.chosen, p.rejected) for p in pairs]
    noisy = preferences.relabel(chat, pairs, preferences.by_taste, 0.3, 1)
    wrong = sum(not p.true_order for p in noisy)
    assert 0 < wrong < 30 and wrong == sum(a != b for a, b in zip(noisy, pairs, strict=True))
    assert preferences.relabel(chat, pairs, lambda r, t: 1.0, 0.0, 1) == []


def test_the_recorded_clicks_follow_the_rule_that_is_told():
    clicks = preferences.recorded_clicks()
    assert len(clicks) == 30
    again = preferences.decide(
        [c.duel for c in clicks], lambda request, text: preferences.sweet_tooth(text)
    )
    assert again == clicks


def test_a_sweet_tooth():
    likes = preferences.sweet_tooth
    assert likes(CARDS[1]) > likes(CARDS[0]) > likes("Bowl: rice, kale, mint, beef.")
    assert likes("") <= 0


# --- A head on a frozen model ---------------------------------------------------------------


def test_a_head_is_where_the_loss_is_least():
    torch.manual_seed(0)
    diffs = torch.randn(40, 6) + torch.tensor([1.0, 0, 0, -0.5, 0, 0])
    head = preferences.fit_head(diffs)
    scale = diffs.std()

    def loss(w):
        x = diffs / scale
        fit = -torch.nn.functional.logsigmoid(x @ (w * scale)).sum()
        return fit + preferences.RIDGE / 2 * (w * scale).square().sum()

    best = loss(head)
    for step in itertools.chain(torch.eye(6), -torch.eye(6)):
        assert loss(head + 0.01 * step) > best
    assert preferences.fit_head(3 * diffs) == pytest.approx(head / 3, rel=1e-4)


def test_no_comparison_gives_no_direction():
    assert preferences.fit_head(torch.zeros(5, 3)).abs().max() == 0


def test_a_head_of_more_clicks_is_better(small):
    model, chat = small
    made = [made_pairs(chat, n, seed) for n, seed in ((300, 4), (200, 5))]
    diffs, test = (
        preferences.differences(
            model, chat, [(p.request, chat.read(p.chosen), chat.read(p.rejected)) for p in pairs]
        )
        for pairs in made
    )
    shares = preferences.head_accuracy(diffs, test, (10, 300), draws=4)
    assert shares[0] < shares[1] and shares[1] > 0.58
    crossed = preferences.cross_validated(diffs, (10, 200), draws=4)
    assert crossed[1] > crossed[0]


def test_clicks_turn_the_differences_and_the_undecided_are_left_out():
    diffs = torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    clicks = [preferences.Click("a", "b", "c", choice) for choice in ("left", "neither", "right")]
    assert preferences.chosen_first(diffs, clicks).tolist() == [[1, 2], [-5, -6]]


def test_a_head_becomes_a_reward_model(small):
    model, chat = small
    pairs = made_pairs(chat, 80, 6)
    duels = [(p.request, chat.read(p.chosen), chat.read(p.rejected)) for p in pairs]
    diffs = preferences.differences(model, chat, duels)
    head = preferences.fit_head(diffs)
    judge = preferences.with_head(model, chat, head, pairs)
    share = preferences.right_share(head, diffs)
    assert reward.accuracy(judge, chat, pairs) == pytest.approx(share, abs=0.02)
    sides = preferences.duel_rewards(judge, chat, duels)
    assert sum(left > right for left, right in sides) / len(sides) == pytest.approx(share, abs=0.02)


def test_duels_are_wellformed_and_far_apart(monkeypatch, small):
    model, chat = small
    rng = random.Random(0)

    def answers(model, chat, texts, temperature, seed):
        return [chat.answer(random_card(rng) if i % 4 else "no card") for i in range(len(texts))]

    monkeypatch.setattr(preferences, "generate_answers", answers)
    duels = preferences.find_duels(model, chat, 5, seed=1)
    assert len(duels) == 5 and all(kitchen.judge(*d[:2]).wellformed for d in duels)
    lengths = preferences.differences(model, chat, duels).norm(dim=1)
    assert lengths.tolist() == sorted(lengths.tolist(), reverse=True)


# --- What a judge is worth ------------------------------------------------------------------


def test_more_wins():
    assert preferences.more_wins([3, 2, 5], [1, 2, 6]) == 0.5
    assert preferences.more_wins([1], [1]) == 0.5
    assert preferences.more_wins([2, 2], [1, 2]) == 1


def test_calibration_of_forecasts_that_are_right():
    rng = random.Random(0)
    p = [rng.random() for _ in range(20_000)]
    for forecast, share, n in preferences.calibration(p, [rng.random() < q for q in p], bins=5):
        assert share == pytest.approx(forecast, abs=0.03) and n > 3000
    assert preferences.calibration([1.0], [True], 4) == [(1.0, 1, 1)]


def test_the_temperature_is_found_again():
    torch.manual_seed(0)
    logits = 2 * torch.randn(20_000)
    won = torch.rand(20_000) < torch.sigmoid(logits)
    assert preferences.fit_temperature(3 * logits, won) == pytest.approx(3, rel=0.1)


def test_best_of_n_is_the_mean_over_all_choices():
    torch.manual_seed(0)
    proxy, value = torch.randn(2, 3, 6)
    for n in (1, 2, 4, 6):
        shares = [
            value[row, max(chosen, key=lambda i: proxy[row, i].item())].item()
            for row in range(3) for chosen in itertools.combinations(range(6), n)
        ]  # fmt: skip
        assert preferences.best_of(proxy, value, n) == pytest.approx(sum(shares) / len(shares))


def test_rank_correlation():
    assert preferences.rank_correlation([1, 2, 3], [10, 20, 300]) == pytest.approx(1)
    assert preferences.rank_correlation([1, 2, 3], [3, 2, 1]) == pytest.approx(-1)


def test_foods_are_ranked_by_their_own_reward(small):
    """A judge that likes nothing but the share of kale puts kale first."""
    _, chat = small

    class Kale(torch.nn.Module):
        head = torch.nn.Linear(1, 1)

        def forward(self, batch):
            return torch.tensor(
                [float("kale" in chat.tokenizer.decode(row.tolist())) for row in batch.ids]
            )

    found = preferences.food_rewards(Kale(), chat)
    assert max(found, key=found.get) == "kale" and found.keys() == kitchen.FOODS.keys()


@pytest.mark.parametrize(
    ("name", "edited"),
    [
        ("parsley for the last food", "Corn Pan: corn, peas, parsley."),
        ("bacon for the last food", "Corn Pan: corn, peas, bacon."),
        ("parsley added", "Corn Pan: corn, peas, rice, parsley."),
        ("the last food twice", "Corn Pan: corn, peas, rice, rice."),
        ("the last food left out", "Corn Pan: corn, peas."),
        ("the list turned round", "Corn Pan: rice, peas, corn."),
        ("another title", "Old Boots: corn, peas, rice."),
    ],
)
def test_an_edit_changes_one_thing(name, edited):
    assert preferences.edits("Corn Pan: corn, peas, rice.")[name] == edited


# --- DPO ------------------------------------------------------------------------------------


def test_dpo_begins_at_ln_2_and_learns_the_order(small, tmp_path):
    model, chat = small
    made = lab.setup("class-toy", runs_dir=tmp_path)
    made.steps, made.dtype = 12, torch.float32
    pairs = made_pairs(chat, 16, 8)  # one batch again and again
    tuned = model_copies.trainable_copy(model)
    made = replace(made, profile=replace(made.profile, dpo_lr=3e-3))
    job = dpo.dpo(made, tuned, chat.tokenizer, pairs)
    assert job.log[0]["loss"] == pytest.approx(math.log(2), abs=1e-4)
    assert job.log[-1]["loss"] < 0.6 and job.log[-1]["accuracy"] > 0.9
    batch = reward.pair_batch(chat, pairs, "cpu")
    with torch.no_grad():
        mine, theirs = (dpo.summed(m, batch).chunk(2) for m in (tuned, model))
    assert dpo_loss(*mine, *theirs) < 0.6


def test_dpo_resumes_bit_for_bit(small, tmp_path):
    import signal

    model, chat = small
    made = lab.setup("class-toy", runs_dir=tmp_path)
    made.steps, made.dtype = 6, torch.float32
    pairs = made_pairs(chat, 40, 9)
    whole, broken = model_copies.trainable_copy(model), model_copies.trainable_copy(model)
    dpo.dpo(made, whole, chat.tokenizer, pairs, name="whole")
    dpo.dpo(made, broken, chat.tokenizer, pairs, name="broken",
            on_step=lambda r: r["step"] == 3 and signal.raise_signal(signal.SIGINT))  # fmt: skip
    again = model_copies.trainable_copy(model)
    dpo.dpo(made, again, chat.tokenizer, pairs, name="broken")
    assert all(map(torch.equal, whole.parameters(), again.parameters()))
    assert not all(map(torch.equal, whole.parameters(), broken.parameters()))
