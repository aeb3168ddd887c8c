"""The series on Google Colab: install what is missing there, and leave all else as it is.

`write_zip` makes the file that a user uploads.  The set-up cell of each notebook asks for it,
installs llmlab from it without dependencies, and calls `prepare`.  `notebooks/build.py --links`
lets the cell install from a repository instead.  Colab's torch, numpy and ipywidgets are made for
Colab: no version there is changed.  No more is imported here than Colab and every Python have.
"""

import contextlib
import importlib
import os
import re
import subprocess
import sys
import zipfile
from importlib import metadata
from pathlib import Path

from llmlab import artifacts, bundle, install
from llmlab.artifacts import LabError

JUPYTER = {"jupyterlab", "jupytext", "nbclient", "nbconvert", "nbval"}  # Colab itself stands in
DRIVE = Path("/content/drive")
RUNS = DRIVE / "MyDrive" / "llmlab" / "runs"

ZIP = "llmlab-colab.zip"
IN_ZIP = {"llmlab", "data", "notebooks", "README.md", "LICENSE", "pyproject.toml",
          "requirements.txt"}  # fmt: skip
CELL = f"""\
import sys
from importlib.util import find_spec

if "google.colab" in sys.modules:  # there, llmlab is installed; all else is left as it is
    if not find_spec("llmlab"):
        import os.path

        from google.colab import files

        if not os.path.exists("{ZIP}"):  # `python -m llmlab colab` writes it
            files.upload()
        %pip install -q --no-deps {ZIP}
    from llmlab.colab import prepare

    prepare(keep_in_drive=False)"""


# --- The zip that is uploaded ---------------------------------------------------------------


def write_zip(out: str | Path | None = None, root: Path = install.ROOT) -> Path:
    """Write the package, its data and the notebooks into one zip, which pip installs; its path.

    out: a file or a folder, else `dist` in the checkout.  LabError where this is no checkout.
    """
    if not (root / "pyproject.toml").is_file():
        raise LabError("The zip is made in a clone of the repository only, and this is none.")
    out = Path(out or root / "dist").absolute()
    out = out if out.suffix == ".zip" else out / ZIP
    with artifacts.replacing(out) as temp, zipfile.ZipFile(temp, "w") as archive:
        for name, path in bundle.checkout(root).items():
            if name.partition("/")[0] in IN_ZIP:
                bundle.add(archive, f"{bundle.TOP}/{name}", path)
    return out


# --- On Colab -------------------------------------------------------------------------------


def prepare(keep_in_drive: bool = False) -> None:
    """Make this Colab machine ready for a notebook of the series, and say what was done.

    keep_in_drive: runs go to `llmlab/runs` in the user's own Google Drive, which asks for leave;
    else they go when Colab takes the machine back.  Called again, it has nothing to install.
    Raises LabError when a package or the Drive cannot be had.
    """
    new = bring(required())
    installed = f"installed {', '.join(new)}" if new else "nothing was missing"
    print(f"llmlab: {installed}; what was here before is as it was.")
    if keep_in_drive:
        mount()
        os.environ["LLMLAB_RUNS"] = str(RUNS)
        print(f"Runs are kept in your Drive, in {RUNS.relative_to(DRIVE)}.")
    else:
        if os.environ.get("LLMLAB_RUNS") == str(RUNS):
            del os.environ["LLMLAB_RUNS"]
        print("Runs go with this machine; keep_in_drive=True keeps them in your Drive.")


def required() -> list[str]:
    """What llmlab needs, without extras and without a Jupyter of its own."""
    try:
        lines = metadata.requires("llmlab") or []
    except metadata.PackageNotFoundError:  # a clone
        lines = install.requirements(dev=False)
    return [line for line in lines if "extra ==" not in line and name_of(line) not in JUPYTER]


def name_of(requirement: str) -> str:
    """The package that a requirement asks for, as an index spells it."""
    return re.sub(r"[-_.]+", "-", re.match(r"[\w.-]+", requirement)[0]).lower()


def installed() -> dict[str, str]:
    """Name and version of each package that is installed, the first one found of each name."""
    found = {}
    for package in metadata.distributions():
        name, version = package.metadata["Name"], package.version
        if name and version:  # else half removed
            found.setdefault(name_of(name), version)
    return found


def bring(requirements: list[str]) -> list[str]:
    """Install those requirements of which no version is here; returns their names.

    pip is held to the version of everything that is here, so that what the new ones need is taken
    from it or added, never exchanged.  Raises LabError, with nothing changed, where that fails.
    """
    here = installed()
    missing = {name_of(line): line for line in requirements if name_of(line) not in here}
    if not missing:
        return []
    with artifacts.scratch(artifacts.cache_dir()) as folder:
        pins = folder / "constraints.txt"
        pins.write_text("\n".join(pinned(here)), "utf-8")
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-input"]
        command += ["--disable-pip-version-check", "--constraint", pins, *missing.values()]
        done = subprocess.run(command, capture_output=True, text=True, errors="replace")
    if done.returncode:
        reason = (done.stderr.strip() or "no reason given").splitlines()[-1]
        raise LabError(
            f"pip could not install {', '.join(missing)} beside what is here "
            f"({reason.removeprefix('ERROR: ')}); nothing was changed. Run this cell again, or "
            "choose Runtime, Disconnect and delete runtime, and begin anew."
        )
    importlib.invalidate_caches()
    return list(missing)


def pinned(here: dict[str, str]) -> list[str]:
    """A constraint for each package; pip would stumble over a version that is none, as Debian's."""
    from packaging.version import Version

    lines = []
    for name, version in here.items():
        with contextlib.suppress(ValueError):
            Version(version)
            lines.append(f"{name}=={version}")
    return lines


def mount() -> None:
    """The user's Google Drive as a folder; LabError where it was not granted."""
    from google.colab import drive

    try:
        drive.mount(str(DRIVE))
    except Exception as error:  # Colab raises several kinds, some of them its own
        raise LabError(
            f"Your Drive was not opened ({error}). Nothing was lost: run this cell again to be "
            "asked again, or set keep_in_drive=False."
        ) from None
