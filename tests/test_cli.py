"""`python -m llmlab …`, as it is called."""

import subprocess
import sys

import pytest

from llmlab import __version__


def llmlab(*arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "llmlab", *arguments]
    return subprocess.run(command, capture_output=True, text=True)


def test_version():
    assert llmlab("--version").stdout.strip() == __version__


@pytest.mark.parametrize("arguments", [[], ["cook"], ["setup", "--sweet"]])
def test_wrong_arguments_exit_with_2_and_a_usage_line(arguments):
    done = llmlab(*arguments)
    assert done.returncode == 2
    assert done.stderr.startswith("usage: ") and "Traceback" not in done.stderr
