"""What was saved is never lost: a run may be killed, interrupted, blow up or find the disk full.

Runs that die do so in a process of their own: this file, started as a program, forks one for each.
"""

import json
import math
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from functools import cache, partial
from pathlib import Path

import pytest
import torch

from llmlab import artifacts, checkpoint, lab
from llmlab.artifacts import LabError
from llmlab.core.tokenizer import BPE
from llmlab.corpus import corpus, mixture
from llmlab.stages import pretraining
from llmlab.training import loop

ROOT = Path(__file__).resolve().parents[2]
HOUSE = artifacts.data_dir() / "house" / "recipes.json"
STEPS = 30
NEVER = 1e9  # seconds
SAVING = [f.__name__ for f in (checkpoint.save_checkpoint, artifacts.replacing, artifacts.scratch)]

forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")


# --- A run of a toy -------------------------------------------------------------------------


@cache
def machine() -> lab.Lab:
    """This machine: once a process, for its number formats are measured."""
    return lab.setup("class-toy")


def toy(folder: Path, steps: int | None = STEPS) -> lab.Lab:
    """A lab whose runs take milliseconds a step and are 100 kB on disk."""
    made = replace(machine(), runs=folder / "class-toy")
    shape = replace(made.profile.model, dim=16, head_dim=8, hidden_dim=32, vocab_size=259)
    made.profile = replace(
        made.profile, model=shape, seq_len=16, pretraining_batch=2, max_steps=None
    )
    made.steps, made.dtype = steps, torch.float32
    return made


def house(*_) -> corpus.Corpus:
    """Our own recipes, the last two held out."""
    recipes = corpus.read_recipes(HOUSE)
    return corpus.Corpus(recipes[:-2], recipes[-2:], {}, {})


def pretrain(
    made: lab.Lab,
    on_step=None,
    save_every=NEVER,
    mixed=False,
    dropout=False,
    snapshots=True,
    begin=None,
) -> None:
    """The real loop, on windows of a text or on a mixture; begin: called with the job first."""
    tokenizer = BPE(())
    rows = pretraining.WindowDataset(tokenizer.encode(HOUSE.read_text("utf-8")), made.seed)
    if mixed:
        weights = {"recipes": 0.7, "cards": 0.3}
        rows = mixture.Mixture(house(), tokenizer.to_tiktoken(), weights, made.seed)
    job = pretraining.new_job(made, made.build(), tokenizer, made.path("base"), "house")
    if begin:
        begin(job)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mixture.Mixture, "SHARD", 512)  # several in a run
        patch.setattr(loop, "run", partial(loop.run, save_every=save_every))
        patch.setattr(pretraining, "EPOCHS", 0 if dropout else math.inf)
        pretraining.train(made, job, rows, on_step, snapshots)


def kept(made: lab.Lab, name="base") -> dict[str, tuple]:
    """All that a run left, by file: its tensors' bytes, and its meta but for the time it took."""
    out = {}
    for path in [made.path(name), *(made.runs / f"{name}-snapshots").glob("*.safetensors")]:
        tensors, meta = checkpoint.load_checkpoint(path)
        meta.pop("cpu_seconds", None)
        meta.pop("seconds", None)
        bits = {name: (t.dtype, t.shape, bits_of(t)) for name, t in tensors.items()}
        out[str(path.relative_to(made.runs))] = bits, meta
    return out


def bits_of(tensor: torch.Tensor) -> bytes:
    return tensor.view(-1).view(torch.uint8).numpy().tobytes()


def step_on_disk(made: lab.Lab, name="base") -> int:
    path = made.path(name)
    return checkpoint.read_meta(path)["step"] if path.exists() else 0


# --- Processes that die ---------------------------------------------------------------------


def say(*words: object) -> None:
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


def at_line(number: int, functions: list[str], line: int) -> None:
    """Sends this process a signal at the n-th line that it runs in functions of these names."""
    lines = iter(range(1, line + 1))

    def trace(frame, event, _):
        if frame.f_code.co_name not in functions:
            return None
        if event == "line" and next(lines, None) == line:
            os.kill(os.getpid(), number)
        return trace

    sys.settrace(trace)


def at_size(size: int, dies: bool) -> None:
    """No file may grow beyond so many bytes: its writer is killed by the kernel, or is told."""
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL if dies else signal.SIG_IGN)


def fateful(steps=STEPS, at=STEPS + 1, line=(), size=(), waits=False):
    """What a run does after each step: it says the step and its memory, and meets its fate after
    step `at`, if there is one; waits: it does not end before it is sent a signal."""
    import resource

    met = []

    def pressed():  # the loop's own handler is gone again
        return signal.getsignal(signal.SIGINT) is signal.default_int_handler

    def on_step(record):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        say("step", record["step"], peak // (1024 if sys.platform == "darwin" else 1))
        if record["step"] >= at and not met:
            met.append(at_line(*line) if line else at_size(*size))
        while waits and record["step"] >= steps - 1 and not pressed():
            time.sleep(0.01)

    return on_step


def live(folder, steps=STEPS, at=STEPS + 1, line=(), size=(), waits=False, stage=False, **how):
    """A run of pretraining, with its fate."""
    made, on_step = toy(Path(folder), steps), fateful(steps, at, line, size, waits)
    if stage:
        artifacts.write_json(made.runs / "tokenizer.json", checkpoint.pack_tokenizer(BPE(())))
        pretraining.load_corpus, mixture.Mixture.SHARD = house, 1 << 12
        pretraining.run(made, on_step)
    else:
        pretrain(made, on_step, **how)


def serve(live) -> None:
    """For each line of JSON on stdin a child that lives it; says its id and how it ended."""
    torch.set_num_threads(1)
    machine()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored, where pytest runs behind
    for line in sys.stdin:
        child = os.fork()
        if child:
            say("pid", child)
            say("end", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
            continue
        try:
            live(**json.loads(line))
        except BaseException as error:
            print(type(error).__name__, error)
        sys.stdout.flush()
        os._exit(0)


class Runner:
    """Lets runs live, one after the other, in processes that may die.

    program: a file that, when it is started, serves what its runs do.
    """

    def __init__(self, program=__file__):
        env = {**os.environ, "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""}
        command = [sys.executable, program]
        pipe = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        self.server = subprocess.Popen(command, env=env, text=True, bufsize=1, **pipe)

    def __call__(self, made: lab.Lab, send=None, at=0, delay=0.0, **how) -> tuple:
        """How a run ended, the steps it did, its memory after each (kB), what else it said.

        send: a signal, sent from here `delay` seconds after step `at`.
        """
        how |= {"folder": str(made.runs.parent), "waits": bool(send)} | ({} if send else {"at": at})
        self.server.stdin.write(json.dumps(how) + "\n")
        steps, memory, said = [], [], []
        child = int(self.server.stdout.readline().split()[1])
        for line in self.server.stdout:
            word, *rest = line.split()
            if word == "end":
                return int(rest[0]), steps, memory, said
            if word != "step":
                said.append(line)
                continue
            steps.append(int(rest[0]))
            memory.append(int(rest[1]))
            if send and steps[-1] >= at:
                time.sleep(delay)
                os.kill(child, send)
                send = None
        raise AssertionError("the server has ended")


@pytest.fixture(scope="module")
def runner():
    made = Runner()
    yield made
    made.server.stdin.close()
    made.server.wait()


@pytest.fixture(scope="module")
def unbroken(runner, tmp_path_factory):
    """A function: what a run leaves that nothing befell."""
    known = {}

    def unbroken(**how):
        key = tuple(how.values())
        if key not in known:
            made = toy(tmp_path_factory.mktemp("whole"))
            assert runner(made, at=STEPS + 1, **how)[::3] == (0, [])
            known[key] = kept(made)
        return known[key]

    return unbroken


# --- Killed, interrupted --------------------------------------------------------------------


def fates(rng: random.Random, n: int = 5, steps: int = STEPS) -> list[dict]:
    """At random steps in ascending order, in turns: a kill from outside at a random moment, one
    at a random line of a save, one while a file is being written."""
    out = []
    for i, at in enumerate(sorted(rng.sample(range(1, steps - 1), n))):
        inside = [signal.SIGKILL, SAVING, rng.randint(1, 24)]
        fate = (
            {"send": signal.SIGKILL, "delay": rng.uniform(0, 0.05)},
            {"line": inside},
            {"size": [rng.randrange(60_000), True]},
        )
        out.append({"at": at, **fate[i % 3]})
    return out


@forks
@pytest.mark.parametrize("dropout", [False, True])
@pytest.mark.parametrize("mixed", [False, True])
def test_a_run_killed_again_and_again_ends_as_an_unbroken_one(
    mixed, dropout, runner, unbroken, tmp_path, left_overs
):
    """Twenty kills in all.  It goes on from what was on disk, so it does not just begin anew."""
    made, rng = toy(tmp_path), random.Random(f"{mixed} {dropout}")
    how = {"mixed": mixed, "dropout": dropout, "save_every": 0.02 if mixed == dropout else 0}
    ends = Counter()
    for fate in [*fates(rng), {"at": STEPS + 1}]:
        done = step_on_disk(made)
        end, steps, _, said = runner(made, **fate, **how)
        assert steps[0] == done + 1 and not said
        ends[end] += 1
    assert ends == {-signal.SIGKILL: 4, -signal.SIGXFSZ: 1, 0: 1}
    assert left_overs(tmp_path), "no kill fell into a save"
    assert kept(made) == unbroken(mixed=mixed, dropout=dropout)


@forks
@pytest.mark.parametrize("seed, save_every", [(1, NEVER), (2, NEVER), (3, 0), (4, 0)])
def test_an_interrupted_run_saves_and_goes_on(seed, save_every, runner, unbroken, tmp_path):
    made, rng = toy(tmp_path), random.Random(seed)
    at, how = rng.randrange(1, STEPS - 1), {"mixed": True, "dropout": True}
    end, steps, _, said = runner(
        made, send=signal.SIGINT, at=at, delay=rng.uniform(0, 0.05), save_every=save_every, **how
    )
    assert end == 0 and step_on_disk(made) == steps[-1] < STEPS
    assert said == [f"Stopped after step {steps[-1]} of 30; run it again to go on from there.\n"]
    end, more, *_ = runner(made, at=STEPS + 1, **how)
    assert end == 0 and steps + more == list(range(1, STEPS + 1))
    assert kept(made) == unbroken(**how)


@forks
@pytest.mark.parametrize("line", [1, 9, 17])
def test_an_interrupt_does_not_harm_the_last_save(line, runner, unbroken, tmp_path):
    made, how = toy(tmp_path), {"mixed": True, "dropout": True, "snapshots": False}
    inside = [signal.SIGINT, SAVING, line]
    assert runner(made, at=STEPS, line=inside, **how)[::3] == (0, [])
    assert kept(made) == unbroken(**how)


def test_a_run_goes_on_in_the_number_format_it_began_with(tmp_path):
    """Which one is the faster is measured anew each time, so it may come out differently."""
    whole, broken = toy(tmp_path / "whole"), toy(tmp_path / "broken")
    whole.dtype = broken.dtype = torch.bfloat16
    pretrain(whole)

    def interrupt(record):
        if record["step"] == 7:
            signal.raise_signal(signal.SIGINT)

    pretrain(broken, interrupt)
    broken.dtype = torch.float32
    pretrain(broken)
    assert kept(broken) == kept(whole)


def test_timing_the_steps_leaves_no_trace(tmp_path):
    timed = toy(tmp_path / "timed", steps=None)
    timed.minutes = 0.005
    pretrain(timed, dropout=True)
    steps = checkpoint.read_meta(timed.path("base"))["steps"]
    told = toy(tmp_path / "told", steps)
    pretrain(told, dropout=True)
    assert steps > 7 and kept(timed) == kept(told)


# --- Losses that blow up --------------------------------------------------------------------

WILD = {
    "far above": (1e3, NEVER, r"The loss was [\d.e+]+ at step 1\d of 30, 5.5\d at the first\."),
    "no number": (1e30, NEVER, r"The loss was nan at step 1\d of 30, 5.5\d at the first\."),
    "weights": (math.inf, 0, r"After step 11 of 30 not all weights are finite\."),
}


@pytest.mark.parametrize("case", WILD)
def test_a_run_that_blows_up_keeps_its_last_good_checkpoint(case, tmp_path):
    """At step 10 the rate becomes far too large; what is kept goes on with the old rate."""
    rate, save_every, sentence = WILD[case]
    made, whole, job = toy(tmp_path / "wild"), toy(tmp_path / "whole"), None

    def remember(its):
        nonlocal job
        job = its

    def go_wild(record):
        if record["step"] == 10:
            job.save()
            for group in job.optimizer.param_groups:
                group["lr"] = 0.02 * rate

    with pytest.raises(LabError, match=sentence) as error:
        pretrain(made, go_wild, save_every, begin=remember)
    advice = f"The checkpoint of step 10 was kept, {made.path('base')}. Go on from there with a sm"
    assert advice in str(error.value)
    assert step_on_disk(made) == 10
    pretrain(made)
    pretrain(whole)
    assert kept(made) == kept(whole)


def test_a_checkpoint_of_before_goes_on(tmp_path):
    """It kept Muon's momenta of one shape as one tensor."""
    made, whole = toy(tmp_path / "made"), toy(tmp_path / "whole")

    def stop(record):
        if record["step"] == 10:
            signal.raise_signal(signal.SIGINT)

    pretrain(made, stop, snapshots=False)
    tensors, meta = checkpoint.load_checkpoint(made.path("base"))
    momenta = {name: tensors.pop(name) for name in list(tensors) if ".muon." in name}
    shapes = {name.rpartition(".")[0] for name in momenta}
    for shape in shapes:
        n = sum(name.startswith(f"{shape}.") for name in momenta)
        tensors[shape] = torch.stack([momenta[f"{shape}.{i}"] for i in range(n)])
    assert "optimizer.muon.16x16" in tensors and len(tensors["optimizer.muon.16x16"]) > 1
    checkpoint.save_checkpoint(made.path("base"), tensors, meta)
    pretrain(made, snapshots=False)
    pretrain(whole, snapshots=False)
    assert kept(made) == kept(whole)


def test_a_run_learns_at_the_rates_of_its_profile(tmp_path):
    made = toy(tmp_path)
    optimizer = pretraining.new_job(made, made.build(), BPE(()), None, "none").optimizer
    p, (muon, adam) = made.profile, optimizer.param_groups
    assert (muon["lr"], muon["momentum"]) == (p.muon_lr, p.muon_momentum)
    assert (adam["lr"], adam["betas"]) == (p.adam_lr, p.adam_betas)
    assert muon["weight_decay"] == adam["weight_decay"] == p.weight_decay


def test_a_rate_that_is_too_large_from_the_first_step(tmp_path):
    made = toy(tmp_path)
    made.profile = replace(made.profile, muon_lr=20, adam_lr=4)
    with pytest.raises(LabError, match="Nothing of this run was saved yet. Begin again with a sm"):
        pretrain(made)
    assert not made.path("base").exists()


@pytest.mark.parametrize("losses", [[0.02, -0.3, 0.4], [5.6, 11.0, 2.0], [-2.0, 3.5]])
def test_losses_of_healthy_runs_go_on(losses, tmp_path):
    """Those of reinforcement learning lie around zero; others have spikes."""
    made = toy(tmp_path)
    job = pretraining.new_job(made, made.build(), BPE(()), None, "none")
    job.steps = len(losses)
    assert loop.run(job, lambda step: {"loss": losses[step]})


# --- A full disk ----------------------------------------------------------------------------


@forks
def test_a_file_that_may_not_grow_costs_only_what_was_not_saved(
    runner, unbroken, tmp_path, left_overs
):
    made, how = toy(tmp_path), {"mixed": True, "dropout": True}
    end, _, _, said = runner(made, at=10, size=[50_000, False], save_every=0, **how)
    assert end == 0 and step_on_disk(made) == 9 and not left_overs(tmp_path)
    assert len(said) == 1 and said[0].startswith(f"LabError {made.path('base')} could not be ")
    assert "File too large" in said[0] and "still whole. Free some space" in said[0]
    runner(made, at=STEPS + 1, **how)
    assert kept(made) == unbroken(**how)


@forks
def test_what_a_killed_writer_left_is_cleared_away_another_day(runner, tmp_path, left_overs):
    made = toy(tmp_path)
    assert runner(made, at=3, line=[signal.SIGKILL, SAVING, 20], save_every=0)[0] < 0
    (left,) = left_overs(tmp_path)
    artifacts.write_json(left.parent / "report.json", {})
    assert left.exists()  # it might be the other's who is still writing
    os.utime(left, (0, 0))
    artifacts.write_json(left.parent / "report.json", {})
    assert not left_overs(tmp_path)


# --- After saving, and for long -------------------------------------------------------------


def test_a_measurement_that_fails_comes_after_saving(tmp_path, monkeypatch):
    made = toy(tmp_path, 3)
    made.profile = replace(made.profile, val_documents=0)  # bits for each of no bytes
    artifacts.write_json(made.runs / "tokenizer.json", checkpoint.pack_tokenizer(BPE(())))
    monkeypatch.setattr(pretraining, "load_corpus", house)
    monkeypatch.setattr(mixture.Mixture, "SHARD", 1 << 12)
    with pytest.raises(ZeroDivisionError):
        pretraining.run(made)
    assert made.latest("base")[2]["own"]


@forks
@pytest.mark.parametrize("line", [1, 20])
def test_a_kill_while_measuring_comes_after_saving(line, runner, tmp_path):
    made = toy(tmp_path, 3)
    kill = [signal.SIGKILL, [pretraining.bits_per_byte.__name__], line]
    assert runner(made, at=1, line=kill, steps=3, stage=True)[0] == -signal.SIGKILL
    assert made.latest("base")[2]["own"]


@forks
def test_memory_does_not_grow(runner, tmp_path):
    made = toy(tmp_path, 500)
    end, steps, memory, _ = runner(made, at=501, steps=500, save_every=0.5, dropout=True)
    assert end == 0 and len(steps) == 500
    assert memory[-1] - memory[99] < 10_000


if __name__ == "__main__":
    serve(live)
