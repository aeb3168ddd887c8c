"""What models cost: formulas against published figures, against PyTorch's counter, by hand."""

import json
import shutil
from dataclasses import replace

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

import llmlab
from llmlab import artifacts
from llmlab.core.model import KVCache, ModelConfig, Transformer
from llmlab.evaluation.bill import line_bill
from llmlab.stages import costs
from llmlab.stages.costs import GPTShape

SMALL = ModelConfig(
    vocab_size=50, dim=24, n_layers=3, n_heads=4, n_kv_heads=2, hidden_dim=40, head_dim=8,
    max_seq_len=64,
)  # fmt: skip


# --- Published figures ----------------------------------------------------------------------


@pytest.mark.parametrize("check", costs.published_checks(), ids=lambda check: check.figure)
def test_a_published_figure_is_reproduced_within_its_band(check):
    assert check.ours == pytest.approx(check.published, rel=check.band)
    assert check.holds and 0 < check.band <= 0.1
    assert any(year in check.source for year in map(str, range(2019, 2026)))


def test_a_figure_outside_its_band_is_noticed():
    check = costs.published_checks()[0]
    wrong = replace(check, ours=check.published * (1 - 1.01 * check.band))
    assert wrong.off == pytest.approx(-1.01 * check.band) and not wrong.holds


def test_the_bill_of_instruct_gpt():
    shares = costs.cost_shares(costs.INSTRUCT_GPT)
    assert shares["pretraining"] == pytest.approx(0.982, abs=0.0005)
    assert sum(shares.values()) == pytest.approx(1)


# The sizes of the published weights' tensors, as loaders count them.
@pytest.mark.parametrize(
    ("name", "n"),
    [
        ("GPT-2", 124_439_808),
        ("GPT-2 XL", 1_557_611_200),
        ("LLaMA 7B", 6_738_415_616),
        ("LLaMA 13B", 13_015_864_320),
        ("LLaMA 65B", 65_285_660_672),
        ("Llama 2 70B", 68_976_648_192),
        ("Llama 3.1 8B", 8_030_261_248),
    ],
)
def test_counts_are_exact(name, n):
    assert costs.total(costs.published(name).shape) == n


def test_names_are_unique_and_chinchilla_counts_as_printed():
    assert len({m.name for m in costs.PUBLISHED}) == len(costs.PUBLISHED)
    assert costs.published("Chinchilla").parameters == 70e9


# --- Against the real model -----------------------------------------------------------------


@pytest.mark.parametrize("qk_norm", [False, True])
@pytest.mark.parametrize("tied", [False, True])
def test_parameters_are_those_of_the_real_model(tied, qk_norm):
    config = replace(SMALL, tie_embeddings=tied, qk_norm=qk_norm)
    parts = costs.parameters(config)
    model = Transformer(config)
    assert costs.total(config) == sum(p.numel() for p in model.parameters())
    mlps = [p for name, p in model.named_parameters() if ".mlp." in name]
    assert parts["mlp"] == sum(p.numel() for p in mlps)


@pytest.mark.parametrize("seq_len", [16, 64])
def test_flops_are_those_that_pytorch_counts(seq_len):
    model = Transformer(SMALL)
    with FlopCounterMode(display=False) as counter:
        model(torch.zeros(2, seq_len, dtype=torch.long)).sum().backward()
    by_parts = 2 * seq_len * sum(costs.token_flops(SMALL, seq_len).values())
    assert counter.get_total_flops() == pytest.approx(by_parts)


def test_the_cache_has_the_size_of_the_real_one():
    cache = KVCache(SMALL, batch=3, seq_len=20, dtype=torch.bfloat16, device="cpu")
    assert costs.kv_cache_memory(SMALL, 20, batch=3) == cache.kv.nbytes


# --- FLOPs, hours, memory -------------------------------------------------------------------


def test_attention_takes_over_as_the_context_grows():
    shape = costs.published("LLaMA 7B").shape
    shares = [costs.attention_share(shape, t) for t in (512, 4096, 131_072)]
    assert shares == sorted(shares) and shares[0] < 0.03 and shares[2] > 0.8
    short = costs.token_flops(shape, 512)
    assert costs.token_flops(shape, 1024)["attention scores"] == 2 * short["attention scores"]


def test_training_costs_three_times_reading():
    assert costs.train_flops(7, 11) == 462 == 3 * costs.inference_flops(7, 11)


def test_the_best_use_of_a_budget_spends_it_all():
    n, tokens = costs.compute_optimal(1e18)
    assert costs.train_flops(n, tokens) == pytest.approx(1e18)
    assert tokens / n == pytest.approx(20)


def test_gpu_hours_by_hand():
    assert costs.gpu_hours(3600e12, peak=1e12, utilisation=0.5) == pytest.approx(2)


def test_muon_saves_the_variance_of_what_it_moves():
    assert sum(costs.training_memory(10).values()) == 160
    assert sum(costs.training_memory(10, muon_share=1).values()) == 120
    assert sum(costs.training_memory(10, muon_share=0.5).values()) == 140


def test_activations_by_hand():
    shape = GPTShape(dim=8, n_layers=2, n_heads=4)
    layer = 16 * 3 * 8  # T, batch, dim
    for recompute, per_number in (("none", 34 + 5 * 4 * 16 / 8), ("selective", 34), ("full", 2)):
        got = costs.activation_memory(shape, 16, batch=3, recompute=recompute)
        assert got == 2 * layer * per_number
    with pytest.raises(KeyError):
        costs.activation_memory(shape, 16, recompute="some")


# --- The line's own bill --------------------------------------------------------------------


@pytest.fixture
def lab():
    return llmlab.setup()


def test_pretraining_is_most_of_the_lines_bill(lab):
    bill = {spent.stage: spent for spent in line_bill(lab)}
    assert list(bill) == ["pretraining", "SFT", "reward model", "RL"]
    log = artifacts.read_json(lab.shipped("base").with_suffix(".json"))
    n = sum(p.numel() for p in lab.load(lab.shipped("base"))[0].parameters())
    assert bill["pretraining"].flops == 6 * n * log["tokens"]
    assert bill["pretraining"].cpu_seconds == log["cpu_seconds"]
    shares = costs.cost_shares({stage: spent.flops for stage, spent in bill.items()})
    assert 0.7 < shares["pretraining"] < 0.999
    assert all(0.001 < share < 0.2 for stage, share in shares.items() if stage != "pretraining")


def test_the_bill_follows_the_logs(lab, tmp_path, monkeypatch):
    before = {s.stage: s.flops for s in line_bill(lab)}
    for path in lab.shipped("base").parent.iterdir():
        shutil.copy(path, tmp_path)
    log = json.loads((tmp_path / "ppo.json").read_text())
    log["steps"] *= 2
    (tmp_path / "ppo.json").write_text(json.dumps(log))
    monkeypatch.setattr(lab, "shipped", lambda name: tmp_path / f"{name}.safetensors")
    after = {s.stage: s.flops for s in line_bill(lab)}
    assert 1.1 * before["RL"] < after.pop("RL") < 2 * before.pop("RL")
    assert after == before


# --- This machine, words and lines ----------------------------------------------------------


def test_the_peak_is_one_that_a_product_of_ones_own_cannot_pass():
    peak = costs.matmul_peak("cpu", torch.float32, seconds=0.1)
    assert 1e9 < peak < 1e14
    assert costs.matmul_peak("cpu", torch.float32, seconds=0) > 0  # one product at the least


def test_a_night_spends_its_hours():
    n, tokens = costs.night(peak=1e12, utilisation=0.5, hours=2)
    assert costs.gpu_hours(costs.train_flops(n, tokens), 1e12, 0.5) == pytest.approx(2)


def test_this_machine_is_a_gpu_without_a_price(lab):
    machine = costs.this_machine(lab)
    assert machine.dollars == 0 and machine.memory > 5e8 and machine.peak > 1e9


@pytest.mark.parametrize(
    ("number", "words"),
    [(950, "950"), (1_476_256, "1.48 million"), (6.74e9, "6.74 billion"), (1.4e12, "1.4 trillion")],
)
def test_counts_in_words(number, words):
    assert costs.short(number) == words


@pytest.mark.parametrize(
    ("hours", "words"),
    [(0.001, "3.6 seconds"), (0.5, "30 minutes"), (36, "1.5 days"), (8766e4, "10,000 years")],
)
def test_hours_in_words(hours, words):
    assert costs.duration(hours) == words


def test_code_lines_leave_out_blanks_comments_and_docstrings():
    source = (
        '"""Two\nlines."""\n\nx = 1  # one\n# none\ndef f():\n    "None."\n    return """a\nb"""\n'
    )
    assert costs.code_lines(source) == 4
