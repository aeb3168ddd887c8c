"""Set-up on a bare Python: a virtual environment in the checkout, filled once, and JupyterLab.

Standard library only: this runs before anything is installed.  A stamp in the environment holds a
hash of what was asked for, so that a second set-up has nothing to do and takes no time.
"""

import hashlib
import importlib.util
import locale
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

from llmlab import artifacts, bundle
from llmlab.artifacts import LabError
from llmlab.corpus import sources

ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv"
AGAIN = "What is installed is kept: run the same command again."
QUIET = (  # Jupyter asks no other machine for news, newer versions or extensions
    "--LabApp.news_url=None",
    "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
    "--LabApp.extension_manager=readonly",
)


def set_up(dev: bool = False, torch_index: str | None = None) -> None:
    """Make `.venv`, install what the series needs, and fetch its data; what is there, stays.

    dev: also what the tests need.  torch_index: URL of an index that offers the torch you want.
    Raises LabError when the environment cannot be made or filled.
    """
    if not (ROOT / "requirements.txt").is_file():
        raise LabError("Set-up works in a clone of the repository only, and this is none.")
    if not is_current(VENV, dev):
        bundle.check_bundle(ROOT)
        make_venv(VENV)
        install(VENV, dev, torch_index)
        link(VENV, ROOT)
        artifacts.write_atomic(stamp_file(VENV), " ".join([wanted(), "dev"[: 3 * dev]]).strip())
    if not all(source.folder.is_dir() for source in sources.usual()):
        subprocess.run([python(VENV), "-m", "llmlab", "data", "fetch"])  # says itself what failed


def open_lab(options: list[str]) -> int:
    """Open JupyterLab on the notebooks, for this machine alone and with a token; its exit code.

    options: anything more for `jupyter lab`, such as `--no-browser`.
    """
    command = [python(VENV), "-m", "jupyter", "lab", "--ServerApp.ip=127.0.0.1"]
    command += [f"--ServerApp.root_dir={ROOT}", "--LabApp.default_url=/lab/tree/notebooks"]
    command += QUIET
    if getattr(os, "geteuid", lambda: 1)() == 0:
        command.append("--allow-root")  # in a container
    command = [str(part) for part in [*command, *options]]
    if os.name == "posix":
        os.execv(command[0], command)  # from here on this process is Jupyter: Ctrl-C is its own
    return wait(subprocess.Popen(command))


def wait(process: subprocess.Popen) -> int:
    """The exit code of a process that answers Ctrl-C itself, and may ask before it ends."""
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:
            pass


# --- The environment ------------------------------------------------------------------------


def python(venv: Path) -> Path:
    """The interpreter of an environment, also under Windows."""
    return venv / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def works(*command: str | Path) -> bool:
    try:
        return subprocess.run(command, capture_output=True).returncode == 0
    except OSError:
        return False


def run(problem: str, *command: str | Path) -> None:
    """Run a command that speaks for itself; LabError with `problem` when it fails."""
    if subprocess.run(command).returncode:
        raise LabError(f"{problem} (the reason stands above). {AGAIN}")


def make_venv(venv: Path) -> None:
    """An environment with pip; a broken one is made anew."""
    if not works(python(venv), "-c", ""):
        if not importlib.util.find_spec("ensurepip"):
            package = f"python3.{sys.version_info.minor}-venv"
            raise LabError(
                "This Python comes without its module for virtual environments, so nothing was "
                f"installed. On Debian or Ubuntu `sudo apt install {package}` brings it."
            )
        print(f"Making {venv.name} with Python {sys.version.split()[0]}", flush=True)
        run("The environment could not be made", sys.executable, "-m", "venv", "--clear", venv)
    if not works(python(venv), "-m", "pip", "--version"):
        run("pip could not be brought in", python(venv), "-m", "ensurepip", "--default-pip")


def install(venv: Path, dev: bool, torch_index: str | None) -> None:
    """Install the requirements at the constraints' versions; a torch that is there is kept.

    From an unpacked bundle, without a network.
    """
    pip = [python(venv), "-m", "pip", "install", "--disable-pip-version-check"]
    pip += bundle.pip_places(dev, ROOT)
    pins = ["--constraint", ROOT / "constraints.txt"]
    problem = "pip could not install all packages"
    torch = works(python(venv), "-c", "from importlib.metadata import version as v; v('torch')")
    if torch_index and not torch:
        # Without dependencies: that index is asked for torch and nothing else.
        run(problem, *pip, *pins, "--no-deps", "--index-url", torch_index, "torch")
        torch = True
    packages = requirements(dev)
    if torch:  # then neither its version nor its index is ours to choose
        free = without_torch((ROOT / "constraints.txt").read_text("utf-8").splitlines())
        pins = ["--constraint", venv / "llmlab-constraints.txt"]
        artifacts.write_atomic(pins[1], "\n".join(free))
        packages = [*without_torch(packages), "torch"]  # brings what it stands on
    run(problem, *pip, *pins, *packages)


def requirements(dev: bool) -> list[str]:
    """What the series needs; with `dev`, what its tests need too."""
    lines = (ROOT / "requirements.txt").read_text("utf-8").splitlines()
    lines = [line for line in lines if line and not line.startswith("#")]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    return lines + (project["optional-dependencies"]["dev"] if dev else [])


def without_torch(lines: list[str]) -> list[str]:
    return [line for line in lines if not re.match(r"torch\b(?!-)", line)]


def link(venv: Path, root: Path) -> None:
    """Let the environment's Python import this checkout from any folder."""
    show = "import sysconfig; print(sysconfig.get_path('purelib'))"
    site = subprocess.run([python(venv), "-c", show], capture_output=True, text=True, check=True)
    path = Path(site.stdout.strip()) / "llmlab.pth"
    artifacts.write_atomic(path, f"{root}\n".encode(locale.getencoding()))  # as `site` reads it


# --- The stamp ------------------------------------------------------------------------------


def stamp_file(venv: Path) -> Path:
    return venv / "llmlab-setup.txt"


def wanted() -> str:
    """A hash of all that decides what is installed, and of where the checkout lies."""
    files = [ROOT / name for name in ("requirements.txt", "constraints.txt", "pyproject.toml")]
    parts = [str(ROOT).encode(), *(file.read_bytes() for file in files)]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def is_current(venv: Path, dev: bool) -> bool:
    """Whether a set-up of these files ended well here, with the tests' packages if `dev`."""
    if not (python(venv).exists() and stamp_file(venv).is_file()):
        return False
    found, *groups = stamp_file(venv).read_text("utf-8").split()
    return found == wanted() and (not dev or "dev" in groups)
