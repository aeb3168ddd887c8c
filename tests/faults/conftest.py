"""What the fault tests share: one look at the machine, Ctrl-C as a terminal has it."""

import signal
from functools import cache

import pytest

from llmlab import device, lab

pick_device = cache(device.pick_device)


@pytest.fixture(autouse=True)
def measured_once(monkeypatch):
    """The machine's number formats are measured once, and not in each test."""
    monkeypatch.setattr(lab, "pick_device", pick_device)


@pytest.fixture
def ctrl_c():
    """As in a terminal, also where the tests run behind and Ctrl-C is ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
