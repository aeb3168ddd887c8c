"""Set-up, up to where pip would need a network."""

import subprocess
import sys

import pytest

from llmlab import install
from llmlab.artifacts import LabError


@pytest.fixture
def venv(tmp_path):
    """A real environment, without pip to be quick."""
    made = tmp_path / "new venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", made], check=True)
    return made


def test_the_checkout_can_be_imported_from_any_folder(venv, tmp_path):
    install.link(venv, install.ROOT)
    show = "import llmlab; print(llmlab.__file__)"
    command = [install.python(venv), "-c", show]
    found = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == str(install.ROOT / "llmlab" / "__init__.py")


def test_stamp_is_current_only_for_what_was_installed(venv):
    assert not install.is_current(venv, dev=False)
    install.stamp_file(venv).write_text(install.wanted())
    assert install.is_current(venv, dev=False) and not install.is_current(venv, dev=True)
    install.stamp_file(venv).write_text(f"{install.wanted()} dev")
    assert install.is_current(venv, dev=False) and install.is_current(venv, dev=True)
    install.stamp_file(venv).write_text("0" * 64)
    assert not install.is_current(venv, dev=False)


def test_an_environment_that_lost_its_python_is_not_current(venv):
    install.stamp_file(venv).write_text(install.wanted())
    install.python(venv).unlink()
    assert not install.is_current(venv, dev=False)


def test_torch_that_is_there_is_left_out_of_what_pip_is_told():
    lines = ["torch>=2.6", "torch==2.13.0", "torch", "numpy>=1.26", "torch-geometric>=2"]
    assert install.without_torch(lines) == ["numpy>=1.26", "torch-geometric>=2"]


def test_dev_asks_for_more():
    plain, dev = install.requirements(dev=False), install.requirements(dev=True)
    assert set(plain) < set(dev) and "ruff" in dev


def test_python_without_venv_names_the_package(tmp_path):
    """As Debian ships it: no ensurepip."""
    code = f"""
import sys; sys.path.insert(0, {str(install.ROOT)!r}); sys.modules["ensurepip"] = None
from pathlib import Path
from llmlab import install
install.make_venv(Path({str(tmp_path / "none")!r}))
"""
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True)
    assert f"python3.{sys.version_info.minor}-venv" in done.stderr
    assert not (tmp_path / "none").exists()


def test_pip_that_fails_is_one_sentence():
    with pytest.raises(LabError, match="run the same command again"):
        install.run("It could not be done", sys.executable, "-c", "raise SystemExit(1)")
