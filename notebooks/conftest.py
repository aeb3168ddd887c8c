"""Under nbval: seconds and peak memory of each notebook, held to the budget in its metadata.

The series runs as in a new clone: among runs of its own, not the learner's.
"""

import os
import re
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import pytest

RUNS = tempfile.TemporaryDirectory(prefix="llmlab-runs-", ignore_cleanup_errors=True)
SLACK = 1.5  # a notebook over this many times its budget_s fails
PEAK_MB = 4000

seconds = defaultdict(float)
peak_mb = defaultdict(float)
budget_s = {}


def pytest_configure(config):
    os.environ.setdefault("LLMLAB_PROFILE", "class")
    os.environ["LLMLAB_RUNS"] = RUNS.name
    os.environ["LLMLAB_STRICT"] = "1"  # an exercise whose solution is wrong fails


def is_cell(item) -> bool:
    return type(item).__name__ == "IPyNbCell"


def peak_of(pid: int) -> float:
    """MB that a process has held at most, or nan where the system does not say."""
    status = Path(f"/proc/{pid}/status")
    if not status.exists():
        return float("nan")
    found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text())
    return int(found[1]) / 1024 if found else float("nan")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item, nextitem):
    start = time.perf_counter()
    result = yield
    if is_cell(item):
        seconds[item.path.stem] += time.perf_counter() - start
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    try:
        return (yield)
    finally:
        if is_cell(item):
            name = item.path.stem
            budget_s[name] = item.parent.nb.metadata.get("llmlab", {}).get("budget_s")
            if kernel := getattr(item.parent.kernel, "km", None):  # none: it had to be stopped
                peak_mb[name] = max(peak_mb[name], peak_of(kernel.provisioner.process.pid))


def failure(name: str) -> str:
    """Why this notebook is too slow or too large; empty if it is neither."""
    if budget_s.get(name) and seconds[name] > SLACK * budget_s[name]:
        return f"over {SLACK} × its {budget_s[name]} s"
    if peak_mb[name] > PEAK_MB:
        return f"over {PEAK_MB} MB"
    return ""


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session):
    if any(failure(name) for name in seconds):
        session.exitstatus = 1


def pytest_terminal_summary(terminalreporter):
    if not seconds:
        return
    terminalreporter.section("notebooks")
    for name in seconds:
        budget = budget_s.get(name) or "?"
        line = f"{name:24} {seconds[name]:6.1f} s of {budget!s:>4}  {peak_mb[name]:6.0f} MB peak"
        terminalreporter.line(f"{line}  {failure(name)}".rstrip(), red=bool(failure(name)))
    terminalreporter.line(f"{'together':24} {sum(seconds.values()):6.1f} s")
