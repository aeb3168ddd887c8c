"""The time limit: by an alarm on the main thread, by a watcher on others; nothing rings later."""

import signal
import threading
import time

import pytest

from llmlab.classroom import time_limit
from llmlab.classroom.time_limit import TooLong, limited


def endless():
    while True:
        pass


def stubborn():
    """A learner's `except:` catches everything, the time limit's exception too."""
    while True:
        try:
            sum(range(100))
        except:  # noqa: E722
            pass


def caught_once():
    try:
        endless()
    except BaseException:
        pass
    endless()


@pytest.fixture(params=["alarm", "watcher"])
def kind(request, monkeypatch):
    """The tests of both, on this thread."""
    if request.param == "watcher":
        monkeypatch.setattr(time_limit, "_Alarm", time_limit._Watcher)
    elif not hasattr(signal, "setitimer"):
        pytest.skip("this system has no alarm")
    return request.param


def stops(code, seconds=0.1) -> float:
    """How long endless code runs under a limit."""
    start = time.monotonic()
    with pytest.raises(TooLong):
        limited(seconds, code)
    return time.monotonic() - start


@pytest.mark.parametrize("code", [endless, caught_once])
def test_whatever_never_ends_is_stopped(kind, code):
    assert 0.08 < stops(code) < 10


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this system has no alarm")
@pytest.mark.parametrize("code", [stubborn, lambda: time.sleep(30)])
def test_the_alarm_stops_what_catches_everything_and_what_sleeps(code):
    assert 0.08 < stops(code) < 30


def test_any_other_thread_has_a_limit_too():
    took = []
    thread = threading.Thread(target=lambda: took.append(stops(endless)), daemon=True)
    thread.start()
    thread.join(timeout=20)
    assert took


def test_who_ends_at_the_last_moment_hears_nothing_afterwards(kind):
    """Functions that end just when the time is up, by the hundred."""

    def until(end):
        while time.perf_counter() < end:
            pass

    stopped = 0
    for i in range(300):
        try:
            limited(0.002, until, time.perf_counter() + 0.0015 + i % 10 * 1e-4)
        except TooLong:
            stopped += 1
        for _ in range(100):
            pass
    assert 0 < stopped < 300
    until(time.perf_counter() + 20 * time_limit.AGAIN)


def test_errors_and_results_go_through(kind):
    assert limited(5, max, 1, 2) == 2
    with pytest.raises(ValueError):
        limited(5, int, "soup")
