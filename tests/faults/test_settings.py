"""Settings that make no sense: refused at once, in a sentence that says what there is.

What is wrong with the words of a command alone: tests/test_cli.py.
"""

import math
import re
from dataclasses import replace

import pytest
import torch
import traitlets

import llmlab
from llmlab import artifacts, chat, cli, profiles
from llmlab.artifacts import LabError
from llmlab.core.model import ModelConfig, Transformer
from llmlab.core.tokenizer import BPE
from llmlab.corpus.mixture import Mixture
from llmlab.stages import pretraining, report, sft
from llmlab.stages.pretraining import sample_text
from llmlab.widgets.chat_panel import ChatPanel
from llmlab.widgets.next_token import NextToken
from tests.faults.said import clear, unharmed
from tests.training.test_loop import house, toy

TOKENIZER = BPE(())
SHAPE = ModelConfig(vocab_size=259, dim=16, n_layers=1, n_heads=2, n_kv_heads=2, head_dim=8,
                    hidden_dim=32)  # fmt: skip


def model(**shape) -> Transformer:
    torch.manual_seed(0)
    return Transformer(replace(SHAPE, **shape))


# --- llmlab.setup and what is made from it -----------------------------------------------------

PROFILE = profiles.PROFILES["class"]
SETTINGS = {
    "minutes nan": (lambda: llmlab.setup(minutes=math.nan), "minutes must be more than 0.*nan"),
    "minutes 0": (lambda: llmlab.setup(minutes=0), "minutes must be more than 0, and not 0"),
    "minutes -1": (lambda: llmlab.setup(minutes=-1), "minutes must be more than 0, and not -1"),
    "minutes inf": (lambda: llmlab.setup(minutes=math.inf), "minutes must be .* not inf"),
    "minutes in words": (lambda: llmlab.setup(minutes="ten"), "minutes must be .* not 'ten'"),
    "steps -1": (lambda: replace(llmlab.setup(), steps=-1), "steps must be more than 0"),
    "seed -1": (lambda: llmlab.setup(seed=-1), "A seed is 0 to 4,294,967,295, not -1"),
    "seed 10^30": (lambda: llmlab.setup(seed=10**30), "A seed is 0 to"),
    "seed in words": (lambda: llmlab.setup(seed="x"), "A seed is 0 to .* not 'x'"),
    "profile": (lambda: llmlab.setup("huge"), "no profile 'huge'; the profiles are class"),
    "profile of a toy": (lambda: llmlab.setup("class-tiny"), "There is no profile"),
    "vocabulary 5": (
        lambda: replace(PROFILE, model=replace(PROFILE.model, vocab_size=5)),
        "model.vocab_size can be 259 to .* not 5",
    ),
    "window 1": (lambda: replace(PROFILE, seq_len=1), "seq_len can be 2 to 512"),
    "context 1": (
        lambda: replace(PROFILE, model=replace(PROFILE.model, max_seq_len=1)),
        "seq_len can be 2 to 1",
    ),
    "window above the context": (lambda: replace(PROFILE, seq_len=513), "not 513"),
    "batch 10^9": (lambda: replace(PROFILE, pretraining_batch=10**9), "not 1,000,000,000"),
    "SFT's batch 0": (lambda: replace(PROFILE, sft_batch=0), "sft_batch can be 1 to"),
    "PPO's batch": (lambda: replace(PROFILE, ppo_batch=10**9), "ppo_batch can be"),
    "requests": (lambda: replace(PROFILE, grpo_requests=10**9), "grpo_requests can be"),
    "a group of one": (lambda: replace(PROFILE, grpo_group=1), "grpo_group can be 2 to"),
}


@pytest.mark.parametrize("case", SETTINGS)
def test_a_setting_that_makes_no_sense_is_refused(case, tmp_path, monkeypatch):
    monkeypatch.setenv("LLMLAB_RUNS", str(tmp_path / "runs"))
    make, sentence = SETTINGS[case]
    with unharmed(tmp_path), pytest.raises(LabError, match=sentence) as error:
        make()
    clear(str(error.value))


ENVIRONMENT = {
    "LLMLAB_MINUTES": ("abc", "LLMLAB_MINUTES is 'abc', which is no number"),
    "LLMLAB_PROFILE": ("huge", "no profile 'huge'"),
}


@pytest.mark.parametrize("name", ENVIRONMENT)
def test_the_environment_is_read_with_care(name, monkeypatch, capsys):
    words, sentence = ENVIRONMENT[name]
    monkeypatch.setenv(name, words)
    with pytest.raises(LabError, match=sentence) as error:
        llmlab.setup()
    clear(str(error.value))
    assert cli.main(["doctor"]) == 2
    assert clear(capsys.readouterr().err) == str(error.value)
    monkeypatch.setenv(name, "")  # set to nothing is not set
    assert llmlab.setup().profile.name == "class"


def test_runs_inside_a_file_are_refused_before_the_work(tmp_path, monkeypatch, capsys):
    """`LLMLAB_RUNS` names a file: a set-up reads only; the loop says it before its first step."""
    runs = tmp_path / "runs"
    runs.write_text("in the way")
    monkeypatch.setenv("LLMLAB_RUNS", str(runs))
    made = llmlab.setup()
    assert made.latest("base")[2]["own"] is False
    job = sft.loop.TrainState(model(), TOKENIZER, sft.Optimizer([]), made.path("sft"), steps=3)
    with unharmed(tmp_path), pytest.raises(LabError, match="sft.safetensors could not be") as error:
        sft.loop.run(job, lambda step: pytest.fail("a step was made"))
    clear(str(error.value))


def test_a_step_of_more_ids_than_are_made_at_a_time_is_refused(tmp_path):
    made = replace(toy(tmp_path), steps=2)
    made.profile = replace(made.profile, pretraining_batch=4000, seq_len=256)
    rows = Mixture(house(), TOKENIZER.to_tiktoken(), {"recipes": 1}, seed=1)
    job = pretraining.new_job(made, made.build(), TOKENIZER, made.path("base"), "house")
    with pytest.raises(LabError, match="A step of 4,000 rows of 257 ids is more than") as error:
        pretraining.train(made, job, rows)
    clear(str(error.value))
    assert not made.path("base").exists()


# --- Commands -------------------------------------------------------------------------------

TEXT = str(artifacts.data_dir() / "house" / "recipes.json")
PRETRAIN = ["pretrain", "--toy", "--text", TEXT, "--out", "OUT"]
COMMANDS = {
    "seconds 0": ([*PRETRAIN, "--seconds", "0"], "must be more than 0"),
    "seconds -1": ([*PRETRAIN, "--seconds", "-1"], "must be more than 0"),
    "seconds nan": ([*PRETRAIN, "--seconds", "nan"], "must be more than 0, and not nan"),
    "seconds inf": ([*PRETRAIN, "--seconds", "inf"], "must be more than 0, and not inf"),
    "vocabulary 5": ([*PRETRAIN, "--vocab-size", "5"], "at least 259, not 5"),
    "vocabulary 10^9": ([*PRETRAIN, "--vocab-size", str(10**9)], "supports a vocabulary of"),
    "budget inf": (["run", "data", "--budget-minutes", "inf"], "minutes must be more than 0"),
    "steps 0": (["run", "data", "--steps", "0"], "steps must be more than 0"),
    "seeds 0": (["run", "data", "--seeds", "0"], "1 or more"),
    "seed -1": (["run", "data", "--seed", "-1"], "A seed is 0 to"),
    "stage": (["run", "data", "cook"], "no stage 'cook'; the stages are data"),
    "chat below zero": (["chat", "--temperature", "-1"], "0 or more, and not -1"),
    "sample nan": (["sample", "--temperature", "nan"], "0 or more, and not nan"),
    "sample inf": (["sample", "--temperature", "inf"], "0 or more, and not inf"),
    "tokens 0": (["sample", "--tokens", "0"], "1 or more"),
    "no profile": (["run", "--profile", "huge"], "no profile 'huge'"),
    "no text": (["pretrain", "--text", "nowhere.txt", "--out", "OUT"], "cannot be read"),
    "no checkpoint": (["sample", "--model", "nowhere.safetensors"], "nowhere.safetensors"),
    "model": (["chat", "--model", "gpt5"], "There is no gpt5 model yet"),
    "study": (["study", "gpt5"], "There is no study 'gpt5'"),
}


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_full_size_needs_a_gpu(capsys):
    assert cli.main(["run", "--profile", "full"]) == 2
    assert "needs a GPU" in clear(capsys.readouterr().err)


@pytest.mark.parametrize("case", COMMANDS)
def test_a_command_says_it_and_exits_with_2(case, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("LLMLAB_RUNS", str(tmp_path / "runs"))
    arguments, sentence = COMMANDS[case]
    with unharmed(tmp_path):
        assert cli.main([str(tmp_path / "out") if a == "OUT" else a for a in arguments]) == 2
    assert re.search(sentence, clear(capsys.readouterr().err.splitlines()[-1]))


# --- Sampling -------------------------------------------------------------------------------

CHAT = chat.ChatTemplate(TOKENIZER)


@pytest.mark.parametrize("temperature", [-1, -1e-9, math.nan, math.inf])
def test_a_temperature_that_is_none_is_refused_where_a_user_meets_it(temperature):
    member = {"a": report.LineModel("a", model(), CHAT, {})}
    for sample in (
        lambda: sample_text(model(), TOKENIZER, temperature=temperature),
        lambda: chat.generate_answers(model(), CHAT, ["Hello"], temperature),
        lambda: ChatPanel(member, temperature=temperature),
    ):
        with pytest.raises(LabError, match="A temperature is 0 or more, and not") as error:
            sample()
        clear(str(error.value))


def test_temperature_zero_takes_the_likeliest():
    first, again = (sample_text(model(), TOKENIZER, "a", 9, 0, seed=s) for s in (1, 2))
    assert first == again


@pytest.mark.parametrize(
    ("slider", "value"),
    [("top_k", -1), ("top_k", 260), ("top_p", 0), ("top_p", 2), ("top_p", math.nan)]
    + [("temperature", t) for t in (-1, 2.1, math.nan, math.inf)],
)
def test_a_slider_keeps_its_place(slider, value):
    view = NextToken(model(), TOKENIZER, "Melt")
    before = view.get_state()
    with pytest.raises(traitlets.TraitError, match=f"{slider} is 0.* to .*, not") as error:
        setattr(view, slider, value)
    clear(str(error.value))
    assert view.get_state() == before
    view.top_k, view.top_p, view.temperature = 0, 1, 0


def test_a_context_of_one_has_no_room_and_says_so():
    tiny = model(max_seq_len=1)
    assert sample_text(tiny, TOKENIZER, "Melt") == "Melt"
    with pytest.raises(LabError, match="cannot be answered.*room for 0 beside") as error:
        chat.generate_answers(tiny, CHAT, ["Hello"])
    clear(str(error.value))
