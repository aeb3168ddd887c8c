"""What all tests share: runs of their own, and the notebook builder."""

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(autouse=True)
def own_runs(tmp_path_factory, monkeypatch):
    """Nothing is written among the learner's runs."""
    monkeypatch.setenv("LLMLAB_RUNS", str(tmp_path_factory.getbasetemp() / "runs"))


@pytest.fixture(scope="session")
def build():
    """The module notebooks/build.py."""
    spec = importlib.util.spec_from_file_location("build", ROOT / "notebooks" / "build.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
