"""The slow tests in parts: each test belongs to one, and time decides which parts run."""

import importlib.util
from pathlib import Path

import pytest

SLOW = Path(__file__).resolve().parent / "slow"


@pytest.fixture
def run():
    """The module tests/slow/run.py."""
    spec = importlib.util.spec_from_file_location("run", SLOW / "run.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def part(tmp_path: Path, name: str, outcome: str) -> list[str]:
    """A part of one test that passes or fails, and leaves a file."""
    path = tmp_path / f"test_{name}.py"
    ran = str(tmp_path / name)
    path.write_text(f"def test_it():\n    open({ran!r}, 'w').close()\n    assert {outcome}\n")
    return [str(path)]


def test_each_slow_file_is_in_one_part(run):
    files = [file for _, tests in run.PARTS.values() for file in tests]
    assert all((SLOW.parents[1] / file).exists() for file in files)
    slow = [file for file in files if file.startswith(run.SLOW)]
    assert sorted(slow) == [f"tests/slow/{path.name}" for path in sorted(SLOW.glob("test_*.py"))]


def test_a_part_that_fails_fails_the_run_and_the_next_one_runs(run, tmp_path, monkeypatch, capsys):
    parts = {name: (0, part(tmp_path, name, name == "good")) for name in ("bad", "good")}
    monkeypatch.setattr(run, "PARTS", parts)
    assert run.main([]) == 1
    assert "Failed: bad" in capsys.readouterr().out and (tmp_path / "good").exists()
    assert run.main(["good"]) == 0


def test_a_part_that_does_not_fit_is_left_out_and_named(run, tmp_path, monkeypatch, capsys):
    parts = {name: (m, part(tmp_path, name, "True")) for name, m in (("long", 9), ("short", 1))}
    monkeypatch.setattr(run, "PARTS", parts)
    assert run.main(["--minutes", "5"]) == 0
    assert "Left out, as no time was left: long" in capsys.readouterr().out
    assert (tmp_path / "short").exists() and not (tmp_path / "long").exists()


def test_a_part_that_is_none_is_refused(run):
    with pytest.raises(SystemExit) as ended:
        run.main(["none"])
    assert ended.value.code == 2
