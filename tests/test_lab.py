"""What a process may use of its machine, and how its threads wait."""

import os
import subprocess
import sys

import pytest

from llmlab.artifacts import LabError
from llmlab.device import NUMBER_FORMATS, cores
from llmlab.lab import setup

BOUND = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
GROUPS = {  # what the system writes -> how many cores a container has time for
    "no limit": ({"cpu.max": "max 100000\n"}, BOUND),
    "version 2": ({"cpu.max": "100000 100000\n"}, 1),
    "half a core": ({"cpu.max": "50000 100000\n"}, 1),
    "more than there are": ({"cpu.max": "99900000 100000\n"}, BOUND),
    "version 1": ({"cpu/cpu.cfs_quota_us": "100000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 1),
    "version 1, no limit": (
        {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "9\n"},
        BOUND,
    ),
    "none of it": ({}, BOUND),
}


@pytest.mark.parametrize("case", GROUPS)
def test_no_more_threads_than_a_container_has_time_for(case, tmp_path):
    files, expected = GROUPS[case]
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert cores(tmp_path) == expected


def test_the_threads_are_no_more_than_the_cores(tmp_path):
    code = f"""if True:
        from llmlab import lab
        lab.cores = lambda: 1
        print(lab.setup(runs_dir={str(tmp_path)!r}).card())"""
    env = os.environ | {"OMP_NUM_THREADS": "3"}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
    assert ", 1 threads, " in done.stdout, done.stderr


def test_threads_that_wait_leave_their_core_to_others():
    """As the library that runs torch's threads says itself, when asked."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("OMP", "GOMP"))}
    code = "import llmlab, torch; torch.ones(2)"
    how = {"env": env | {"OMP_DISPLAY_ENV": "TRUE"}, "capture_output": True, "text": True}
    said = subprocess.run([sys.executable, "-c", code], **how).stderr
    if "OMP_WAIT_POLICY" not in said:
        pytest.skip("this torch has threads of another library than OpenMP")
    assert "OMP_WAIT_POLICY = 'PASSIVE'" in said


@pytest.mark.parametrize("profile", ["class", "class-toy"])
def test_a_profile_that_begins_anywhere_has_ids_for_the_tokenizer(profile, tmp_path):
    """So that each notebook runs alone, in toy too."""
    made = setup(profile, runs_dir=tmp_path)
    assert made.tokenizer().vocab_size == made.profile.model.vocab_size


@pytest.mark.parametrize("name", NUMBER_FORMATS)
def test_the_number_format_can_be_set(name, tmp_path, monkeypatch):
    monkeypatch.setenv("LLMLAB_DTYPE", name)
    made = setup("class-toy", runs_dir=tmp_path)
    assert made.build().compute_dtype == NUMBER_FORMATS[name] and f"threads, {name}" in made.card()


def test_a_wrong_number_format_is_a_sentence(monkeypatch):
    monkeypatch.setenv("LLMLAB_DTYPE", "bfloat16")
    with pytest.raises(LabError, match="'bfloat16'.*fp32, bf16, fp16"):
        setup("class-toy")
