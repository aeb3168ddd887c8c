"""The server that `make lab` starts answers this machine alone, and only with its token; it asks no
other machine for anything."""

import contextlib
import ipaddress
import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).resolve().parents[1]

# Python reads this at its start, also in Jupyter and in its kernels: whom is it about to ask?
WITNESS = """
import os, sys
HERE = ("127.0.0.1", "::1", "localhost", "", "0", None)
def note(event, given):
    if event == "socket.getaddrinfo":
        host = given[0]
    elif event in ("socket.connect", "socket.sendto") and isinstance(given[1], tuple):
        host = given[1][0]
    else:
        return
    host = host.decode() if isinstance(host, bytes) else host
    if host not in HERE:
        with open(os.environ["LLMLAB_WITNESS"], "a") as file:
            file.write(f"{event} {host}\\n")
sys.addaudithook(note)
"""
LAB = """
import pathlib, sys
from llmlab import install
install.VENV = pathlib.Path(sys.prefix)  # with the Python of this test; nothing is set up
sys.exit(install.open_lab(sys.argv[1:]))
"""


class Server:
    """JupyterLab, started by the very function that `make lab` ends in."""

    def __init__(self, home: Path):
        names = ("CONFIG_DIR", "DATA_DIR", "RUNTIME_DIR")
        own = {f"JUPYTER_{name}": str(home / name) for name in names}
        own |= {
            f"JUPYTERLAB_{name}": str(home / name) for name in ("SETTINGS_DIR", "WORKSPACES_DIR")
        }
        (home / "sitecustomize.py").write_text(WITNESS, "utf-8")
        self.witness = home / "witness"
        own |= {"IPYTHONDIR": str(home), "LLMLAB_WITNESS": str(self.witness)}
        own |= {"PYTHONPATH": os.pathsep.join([str(home), str(ROOT)])}
        self.environment = os.environ | own
        self.environment.pop("JUPYTER_TOKEN", None)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        options = ["--no-browser", f"--ServerApp.port={self.port}", "--ServerApp.port_retries=0"]
        command = [sys.executable, "-c", LAB, *options]
        self.log = home / "log"
        with open(self.log, "wb") as log:
            into = {"stdout": log, "stderr": log}
            self.process = subprocess.Popen(command, cwd=ROOT, env=self.environment, **into)
        self.token = self.read_token(home / "RUNTIME_DIR")

    def read_token(self, folder: Path, seconds: float = 60) -> str:
        """The token that Jupyter made for itself, once it answers."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and self.process.poll() is None:
            for file in folder.glob("jpserver-*.json"):
                token = json.loads(file.read_text("utf-8"))["token"]
                if self.ask("/api", token)[0] == 200:
                    return token
            time.sleep(0.1)
        raise RuntimeError(f"JupyterLab did not start:\n{self.log.read_text(errors='replace')}")

    def ask(self, path: str, token: str | None = None, host: str | None = None,
            method: str = "GET") -> tuple[int, str]:  # fmt: skip
        """Status and body of an answer; 0 where nobody answers."""
        heads = {"Authorization": f"token {token}"} if token else {}
        heads |= {"Host": host} if host else {}
        url = f"http://127.0.0.1:{self.port}{path}"
        data = b"{}" if method == "POST" else None
        request = urllib.request.Request(url, data, heads, method=method)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def close(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    running = Server(tmp_path_factory.mktemp("home"))
    yield running
    running.close()


def test_the_server_and_its_kernels_listen_to_this_machine_alone(server):
    assert server.ask("/api/kernels", server.token, method="POST")[0] == 201
    end, listening = time.monotonic() + 60, set()
    while len(listening) < 6 and time.monotonic() < end:  # the kernel has five doors of its own
        time.sleep(0.1)
        listening = doors(psutil.Process(server.process.pid))
    assert len(listening) >= 6 and server.port in {address.port for address in listening}
    assert all(ipaddress.ip_address(address.ip).is_loopback for address in listening)


def doors(process: psutil.Process) -> set:
    """The addresses at which a process and its children listen."""
    found = set()
    for one in [process, *process.children(recursive=True)]:
        with contextlib.suppress(psutil.NoSuchProcess):
            found |= {
                c.laddr for c in one.net_connections("inet") if c.status == psutil.CONN_LISTEN
            }
    return found


API = ("/api/contents", "/api/kernels", "/api/sessions", "/api/terminals", "/lab/api/settings")


@pytest.mark.parametrize("path", API)
def test_who_has_not_the_token_is_turned_away(server, path):
    assert len(server.token) >= 32
    assert server.ask(path)[0] == server.ask(path, "0" * len(server.token))[0] == 403
    assert server.ask(path, server.token)[0] == 200


def test_no_kernel_starts_without_the_token_nor_for_the_page_of_another_site(server):
    assert server.ask("/api/kernels", method="POST")[0] == 403
    assert server.ask("/api/kernels", server.token, host="example.org")[0] == 403


def test_jupyter_asks_no_other_machine(server):
    """News, newer versions, extensions: as the page would ask the server for them."""
    page = server.ask("/lab", server.token)[1]
    settings = json.loads(re.search(r'id="jupyter-config-data".*?>(.*?)</script>', page, re.S)[1])
    assert settings["news"] == {"disabled": True}
    assert settings["extensionManager"]["can_install"] is False
    assert json.loads(server.ask("/lab/api/news", server.token)[1]) == {"news": []}
    assert json.loads(server.ask("/lab/api/update", server.token)[1]) == {"notification": None}
    assert server.ask("/lab/api/extensions?refresh=1&query=llm", server.token)[0] == 200
    assert not server.witness.exists(), server.witness.read_text()


def test_the_witness_would_have_seen_it(server, tmp_path):
    seen = tmp_path / "witness"
    code = "import socket; s = socket.socket(); s.settimeout(0.01); s.connect_ex(('192.0.2.1', 9))"
    environment = server.environment | {"LLMLAB_WITNESS": str(seen)}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)
    assert seen.read_text() == "socket.connect 192.0.2.1\n"
