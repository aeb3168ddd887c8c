"""Data sets from the hub: `datasets` and `huggingface_hub` themselves, against a stand-in for it
on this machine, which speaks as much of its protocol as they ask for."""

import hashlib
import json
import os
import re
import subprocess
import sys
import threading
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from helpers.data_sets import rows_of, write_rows

from llmlab import artifacts
from llmlab.datasets import hub_datasets

ROOT = Path(artifacts.__file__).parents[1]
BIG = hub_datasets.big()
ASKED = re.compile(
    r"(/api)?/datasets/(?P<hub>[^/]+/[^/]+)/(?P<what>revision|tree|resolve)/(?P<revision>[0-9a-f]{40})"
    r"/?(?P<rest>.*)"
)
CARD = """---
configs:
- config_name: default
  data_files: data/*/*
- config_name: sample-10BT
  data_files: sample/10BT/*
---
"""


class Hub(BaseHTTPRequestHandler):
    """The hub's answers about the repositories in a folder."""

    def __init__(self, folder: Path, *arguments):
        self.folder = folder
        super().__init__(*arguments)

    def log_message(self, *_) -> None:
        """Nothing: the test says what went wrong."""

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        asked = urlsplit(self.path)
        found = ASKED.fullmatch(unquote(asked.path))
        revisions = {source.hub: source.revision for source in BIG.values()}
        if not found or revisions.get(found["hub"]) != found["revision"]:
            return self._send(404)
        repository = self.folder / found["hub"]
        path = repository / found["rest"]
        if found["what"] == "revision" and repository.is_dir():
            names = [p.relative_to(repository).as_posix() for p in sorted(repository.rglob("*.*"))]
            files = [{"rfilename": name} for name in names]
            return self._json({"id": found["hub"], "sha": found["revision"], "siblings": files})
        if found["what"] == "tree" and path.is_dir():
            deep = "recursive=true" in asked.query.lower()
            inside = path.rglob("*") if deep else path.iterdir()
            return self._json([self._entry(p, repository) for p in sorted(inside)])
        if found["what"] == "resolve" and path.is_file():
            return self._file(path.read_bytes(), found["revision"])
        return self._send(404, headers={"X-Error-Code": "EntryNotFound"})

    @staticmethod
    def _entry(path: Path, repository: Path) -> dict:
        kind = "directory" if path.is_dir() else "file"
        name = path.relative_to(repository).as_posix()
        size = path.stat().st_size if kind == "file" else 0
        return {
            "type": kind,
            "path": name,
            "size": size,
            "oid": hashlib.sha1(name.encode()).hexdigest(),
        }

    def _file(self, data: bytes, revision: str) -> None:
        headers = {"ETag": f'"{hashlib.sha1(data).hexdigest()}"', "X-Repo-Commit": revision}
        if "Range" not in self.headers or self.command == "HEAD":
            return self._send(200, data, headers)
        first, last = self.headers["Range"].removeprefix("bytes=").split("-")
        part = data[int(first) : int(last or len(data)) + 1]
        end = int(first) + len(part) - 1
        headers["Content-Range"] = f"bytes {first}-{end}/{len(data)}"
        return self._send(206, part, headers)

    def _json(self, what: object) -> None:
        self._send(200, json.dumps(what).encode(), {"Content-Type": "application/json"})

    def _send(self, code: int, data: bytes = b"", headers: dict | None = None) -> None:
        self.send_response(code)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(data)


@pytest.fixture
def hub(tmp_path):
    """The address of a stand-in with some of the files of two repositories."""
    folder = tmp_path / "hub"
    problems, web = folder / BIG["gsm8k"].hub, folder / BIG["fineweb_edu"].hub
    for config, split, n in (("main", "train", 30), ("main", "test", 10), ("socratic", "train", 5)):
        write_rows(problems / config / f"{split}-00000-of-00001.parquet", rows_of("gsm8k", n))
    for k, part in enumerate(("sample/10BT/000", "sample/10BT/001", "data/CC-MAIN-2024-10/000")):
        write_rows(web / f"{part}_00000.parquet", rows_of("fineweb_edu", 100, seed=k))
    (web / "README.md").write_text(CARD)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Hub, folder))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def test_downloaded_or_streamed_and_tokenised(hub, tmp_path):
    environment = os.environ | {
        "HF_ENDPOINT": hub, "HF_HOME": str(tmp_path / "home"), "LLMLAB_OFFLINE": "0",
        "LLMLAB_CACHE": str(tmp_path / "cache"), "LLMLAB_DATA": "",
    }  # fmt: skip

    def fetched(*names: str) -> str:
        command = [sys.executable, "-m", "llmlab", "data", "fetch", *names, "--profile", "full"]
        done = subprocess.run([*command, "--workers", "2"], cwd=ROOT, env=environment,
                              capture_output=True, text=True)  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    said = fetched("gsm8k", "fineweb_edu", "smoltalk")
    assert "gsm8k         cached" in said and "fineweb_edu   tokenised" in said
    assert "smoltalk      missing" in said and "could not be had from the hub" in said
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LLMLAB_CACHE", str(tmp_path / "cache"))
        patch.setenv("LLMLAB_OFFLINE", "1")
        assert hub_datasets.load_rows(BIG["gsm8k"])["question"] == [
            r["question"] for r in rows_of("gsm8k", 30)
        ]
        assert len(hub_datasets.load_rows(BIG["gsm8k"], test=True)) == 10
        kept = {p.parent.name for p in BIG["gsm8k"].folder.rglob("*.parquet")}
        assert kept == {"main"}
    (shards,) = (tmp_path / "cache" / "shards").iterdir()
    manifest = artifacts.read_json(shards / "shards.json")
    held_out = artifacts.read_json(shards / "held_out.json")
    assert manifest["documents"] + len(held_out) == 200 and len(manifest["files"]) == 2
    assert not list((tmp_path / "cache").rglob("*.parquet.incomplete"))
