"""Machines that a class may have: without a network, with little memory.  Linux makes both."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

# A new network namespace has one interface, the machine itself, and that is down: an ioctl
# (SIOCSIFFLAGS) puts it up, as `ip link set lo up` would; a notebook talks to its kernel there.
LOOPBACK_UP = """
import fcntl, os, socket, struct, sys
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
    fcntl.ioctl(any_socket, 0x8914, struct.pack("16sh22x", b"lo", 0x49))
os.execvp(sys.argv[1], sys.argv[1:])
"""
REACHED = """
import socket
server = socket.create_server(("127.0.0.1", 0))
socket.create_connection(server.getsockname())
try:
    socket.create_connection(("192.0.2.1", 9), 3)  # an address for documentation: RFC 5737
except OSError as error:
    assert error.strerror == "Network is unreachable", error
"""
LIMITS = (  # version 1 and 2 of control groups: a folder, the limit's file, the file of the peak
    ("/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.max_usage_in_bytes"),
    ("/sys/fs/cgroup", "memory.max", "memory.peak"),
)
notes = pytest.StashKey[list]()


def pytest_configure(config):
    config.stash[notes] = []


def pytest_terminal_summary(terminalreporter, config):
    for line in dict.fromkeys(config.stash[notes]):
        terminalreporter.line(line)


@pytest.fixture
def note(request):
    """A function that prints a line at the end of the tests."""
    return request.config.stash[notes].append


@pytest.fixture(scope="session")
def no_network():
    """What goes before a command, so that it has no network but the machine itself; None where
    that is not to be had."""
    before = ["unshare", "-rn", sys.executable, "-c", LOOPBACK_UP]
    try:
        made = subprocess.run([*before, sys.executable, "-c", REACHED], capture_output=True)
    except OSError:
        return None
    return None if made.returncode else before


@pytest.fixture
def little_memory():
    """A control group of 4 GB, as (folder, file of its peak); None where none can be made."""
    for place, limit, peak in LIMITS:
        folder = Path(place, f"llmlab-{os.getpid()}")
        if not Path(place, "cgroup.procs").exists():
            continue
        try:
            folder.mkdir()
            (folder / limit).write_text(str(4_000_000_000))
        except OSError:
            continue
        yield folder, folder / peak
        for _ in range(100):  # until the last process is gone
            try:
                return folder.rmdir()
            except OSError:
                time.sleep(0.1)
    yield None
