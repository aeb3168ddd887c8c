"""What `full` chooses: measured on this machine, kept, and the same for everyone who asks again."""

import json
from dataclasses import replace

import pytest

from llmlab import artifacts, lab, profiles
from llmlab.artifacts import LabError
from llmlab.scale import planner, scaling_law

SMALL = replace(profiles.toy(profiles.FULL), max_steps=None, depths=(1, 2, 4))


def made(tmp_path, minutes=1.0, **changes) -> lab.Lab:
    """A lab of the full profile at toy size, on this CPU."""
    return replace(
        lab.setup("full-toy", minutes, runs_dir=tmp_path), profile=replace(SMALL, **changes)
    )


def test_a_plan_is_measured_and_fits_its_minutes(tmp_path):
    fitted, chosen = planner.with_plan(made(tmp_path), text_tokens=1e6)
    p = fitted.profile
    assert p.model in [scaling_law.shape_of_depth(SMALL.model, depth) for depth in SMALL.depths]
    assert p.pretraining_steps * p.pretraining_batch * p.seq_len == chosen.tokens
    assert 0 < chosen.expected_s <= 1.05 * made(tmp_path).seconds("pretraining")
    assert chosen.expected_s == pytest.approx(chosen.tokens / chosen.tokens_per_s, rel=0.3, abs=2)
    low, high = (
        scaling_law.of_the_class().loss(scaling_law.size_of(p.model), d) for d in (1e9, 1e5)
    )
    assert low < chosen.expected_loss < high


def test_it_says_what_and_why(tmp_path):
    _, chosen = planner.with_plan(made(tmp_path), text_tokens=1e4)
    text = chosen.text()
    for word in ("layers of width", "tokens/s", "rows at once", "of pretraining", "is read"):
        assert word in text


def test_a_plan_is_made_once(tmp_path, capsys):
    first = planner.with_plan(made(tmp_path), 1e6)
    path = first[0].runs / "plan.json"
    stored = path.read_bytes()
    assert planner.with_plan(made(tmp_path), 1e6) == first and path.read_bytes() == stored
    assert planner.with_plan(made(tmp_path, minutes=2.0), 1e6)[1].key != first[1].key


@pytest.mark.parametrize("damage", ["[]", "{}", '{"key": 1}'])
def test_a_plan_that_is_none_is_made_anew(tmp_path, damage):
    started = made(tmp_path, depths=(1,))
    artifacts.write_atomic(started.runs / "plan.json", damage)
    _, chosen = planner.with_plan(started, 1e6)
    assert json.loads((started.runs / "plan.json").read_text()) == json.loads(
        json.dumps(planner.asdict(chosen))
    )


def test_steps_are_powers_of_two_and_serve_every_gpu():
    for gpus in (1, 2, 6, 8):
        sizes = [planner.batch_for(tokens, 512, gpus) for tokens in (1e5, 1e7, 1e9, 1e12)]
        assert sizes == sorted(sizes) and all(size & (size - 1) == 0 for size in sizes)
        assert sizes[0] >= gpus and sizes[-1] * 512 == planner.MOST


def test_minutes_are_for_the_whole_line_or_for_each_loop(tmp_path):
    full = lab.setup("full-toy", 60, runs_dir=tmp_path)
    assert sum(map(full.seconds, profiles.LOOPS)) == pytest.approx(3600)
    assert full.seconds("pretraining") > 0.5 * 3600
    by_loop = lab.setup("full-toy", {"pretraining": 40, "sft": 5}, runs_dir=tmp_path)
    assert (by_loop.seconds("pretraining"), by_loop.seconds("sft")) == (2400, 300)
    assert by_loop.seconds("ppo") == profiles.FULL.ppo_seconds
    assert lab.setup("class", 2, runs_dir=tmp_path).seconds("sft") == 120
    with pytest.raises(LabError, match="'cooking' has no budget; pretraining, sft"):
        lab.setup("full-toy", {"cooking": 3}, runs_dir=tmp_path)
    with pytest.raises(LabError, match="sft must be more than 0, and not -1"):
        lab.setup("full-toy", {"sft": -1}, runs_dir=tmp_path)


def test_a_run_is_held_against_its_forecast(tmp_path):
    _, chosen = planner.with_plan(made(tmp_path, depths=(1,)), 1e6)
    figures = chosen.against(chosen.expected_loss * 1.1, chosen.expected_s * 0.5)
    assert figures["forecast_loss_off"] == pytest.approx(0.1, abs=1e-3)
    assert figures["forecast_seconds_off"] == pytest.approx(-0.5, abs=1e-3)
    assert figures["forecast_loss"] == chosen.expected_loss


def test_of_the_web_chinchillas_law_is_asked(tmp_path):
    _, chosen = planner.with_plan(made(tmp_path, depths=(1,)), 1e9, bytes_per_token=3.0)
    n = scaling_law.size_of(lab.ModelConfig(**chosen.model))
    assert chosen.measure() == "web_val_bpb" and "web_val_bpb" in chosen.text()
    again = planner.with_plan(made(tmp_path, depths=(1,)), 1e9, bytes_per_token=4.0)[1]  # made anew
    for it, size in ((chosen, 3.0), (again, 4.0)):
        assert it.expected_loss == pytest.approx(
            scaling_law.of_the_web(size).loss(n, it.tokens), 1e-3
        )
    figures = again.against(1.1 * again.expected_loss, 2 * again.expected_s)
    assert "the loss is +10.0% off, the time +100.0%" in again.verdict(figures)


def test_a_class_has_nothing_to_plan(tmp_path):
    from llmlab.stages.pretraining import plan_for_machine

    for profile in ("class", "class-toy", "full-toy"):
        started = lab.setup(profile, runs_dir=tmp_path)
        assert plan_for_machine(started) is started


def test_a_row_holds_a_usual_document():
    from llmlab.stages.pretraining import context_length

    lengths = {40: 256, 256: 256, 257: 512, 980: 1024, 5000: 1024}
    assert {n: context_length(n, 1024) for n in lengths} == lengths


def test_the_stage_plans_from_its_own_text(tmp_path, capsys):
    from llmlab.stages.pretraining import main_text, plan_for_machine

    started = made(tmp_path, depths=(1,))
    tokens, web = main_text(started)
    assert 5e5 < tokens < 5e6 and web is None
    fitted = plan_for_machine(started)
    assert fitted.profile.pretraining_steps > 0 and "plan: 1 layers" in capsys.readouterr().out
