"""A time limit for code that may never end: `limited(10, answer, 3)` is `answer(3)`, or TooLong.

On the main thread of Linux and macOS, where a notebook's cells run, an alarm signal rings; on
Windows and in other threads a watcher asks CPython to raise the exception there.  Either comes
again and again until the code is left, since a bare `except:` in it may catch the exception: the
alarm gets out of such a loop sooner or later, the watcher may not.  The alarm also wakes a sleeper.
Neither can cut short a single call into C, such as `sum(range(10**12))`.
"""

import ctypes
import signal
import threading
from collections.abc import Callable
from types import FrameType

AGAIN = 0.01  # seconds until it is raised once more


class TooLong(BaseException):
    """The time is up.  Not an Exception, so that `except Exception` does not catch it."""


def limited(seconds: float, function: Callable, *args: object) -> object:
    """What the function gives back, or TooLong after so many seconds."""
    main = threading.current_thread() is threading.main_thread()
    guard = (_Alarm if main and hasattr(signal, "setitimer") else _Watcher)(seconds)
    try:
        guard.start()
        try:
            return function(*args)
        finally:
            guard.stop()
    except TooLong:
        guard.stop()  # it may have come just when it was about to be stopped
        raise


class _Alarm:
    """By a signal, for the main thread where there are timers."""

    def __init__(self, seconds: float):
        self.seconds = seconds

    def start(self) -> None:
        self.handler = signal.signal(signal.SIGALRM, self.ring)
        self.timer = signal.setitimer(signal.ITIMER_REAL, self.seconds, AGAIN)

    def stop(self) -> None:
        signal.setitimer(signal.ITIMER_REAL, *self.timer)
        signal.signal(signal.SIGALRM, self.handler)

    @staticmethod
    def ring(number: int, frame: FrameType | None) -> None:
        if frame is None or frame.f_globals is not globals():  # else: it is being stopped
            raise TooLong


class _Watcher:
    """By another thread, for Windows and for all threads but the main one."""

    def __init__(self, seconds: float):
        self.seconds, self.left = seconds, threading.Event()

    def start(self) -> None:
        self.thread = threading.Thread(target=self.watch, args=[threading.get_ident()], daemon=True)
        self.thread.start()

    def stop(self) -> None:
        self.left.set()
        self.thread.join()
        _raise_in(threading.get_ident(), None)  # takes back one that is on its way

    def watch(self, watched: int) -> None:
        seconds = self.seconds
        while not self.left.wait(seconds):
            _raise_in(watched, TooLong)
            seconds = AGAIN


def _raise_in(thread: int, error: type[BaseException] | None) -> None:
    """An exception for another thread, at its next line of Python."""
    raised = ctypes.py_object(error) if error else None
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), raised)
