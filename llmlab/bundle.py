"""One archive for a USB stick: the checkout, and a wheel of everything that it asks for.

A zip, since every system opens one without help, and wheels, zips themselves, get no smaller in
anything else.  Where it is unpacked, set-up finds the folder `wheels` beside the package and asks
no network: `install` gives it to pip, `sources` takes the texts from it.  `bundle.json` holds the
SHA-256 of every file; set-up compares them before it installs anything.

Standard library only: set-up runs this on a bare Python.
"""

import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from llmlab import artifacts
from llmlab.artifacts import LabError
from llmlab.corpus import sources

ROOT = Path(__file__).resolve().parents[1]
TOP, LIST, WHEELS = "llmlab", "bundle.json", "wheels"
LEFT_OUT = re.compile(r"\..*|runs|build|dist|wheels|__pycache__|.*\.egg-info|.*\.zip|bundle\.json")
PLATFORMS = {"windows": "win_amd64", "macos": "macosx_14_0_arm64", "linux": "manylinux_2_28_x86_64"}
SYSTEMS = {  # by platform.system(): how its wheels' tags begin; os.name and sys.platform there
    "Windows": ("win", "nt", "win32"),
    "Darwin": ("macosx_14_0", "posix", "darwin"),
    "Linux": ("manylinux_2_28", "posix", "linux"),
}
TAG = re.compile(r"(win|macosx_\d+_\d+|manylinux_2_\d+)_([a-z]\w+)")
ANEW = "Copy the archive from the stick again and unpack it anew."


@dataclass(frozen=True)
class Target:
    """The machines that a bundle is for.

    python: "3.11".  system: as platform.system() says it.  machine: the processor, as in a wheel's
    tag.  tag: the wheels' platform; "" for this very machine, whose pip knows.
    """

    python: str
    system: str
    machine: str
    tag: str = ""

    def __str__(self) -> str:
        system = self.system.replace("Darwin", "macOS")
        return f"Python {self.python} on {system} ({self.machine})"

    def fits(self, other: "Target") -> bool:
        """Whether wheels for one run on the other."""
        return asdict(self) | {"tag": ""} == asdict(other) | {"tag": ""}


def here() -> Target:
    """This machine, and the Python that runs."""
    machine = platform.machine().lower()
    if os.name == "nt":  # there Python may be built for another processor than the machine's
        machine = sysconfig.get_platform().removeprefix("win-")
    return Target("{}.{}".format(*sys.version_info), platform.system(), machine)


def target(python: str | None = None, tag: str | None = None) -> Target:
    """The target that the command's options name; what they leave open is as here.

    python: such as "3.12".  tag: "windows", "macos", "linux", or the tag of a wheel's platform.
    LabError for anything else.
    """
    this = here()
    if python and not re.fullmatch(r"3\.\d+", python):
        raise LabError(f"--python is a version such as 3.12, not {python!r}; nothing was done.")
    if not tag and python in (None, this.python):
        return this
    tag = tag or f"{SYSTEMS[this.system][0]}_{this.machine}"
    tag = PLATFORMS.get(tag, tag)
    if not (found := TAG.fullmatch(tag)):
        raise LabError(
            f"--platform {tag!r} is unknown; say {', '.join(PLATFORMS)}, or the tag of a wheel's "
            f"platform, such as {PLATFORMS['linux']}. Nothing was done."
        )
    kind = found[1].partition("_")[0]
    system = next(name for name, (start, *_) in SYSTEMS.items() if start.startswith(kind))
    return Target(python or this.python, system, found[2], tag)


# --- Making one -----------------------------------------------------------------------------


def make(
    wanted: Target, out: Path | None = None, torch_index: str | None = None, root: Path = ROOT
) -> Path:
    """Download the wheels, write the archive, say how large it is; returns its path.

    out: a file, or a folder (the stick's) for it; else `dist` in the checkout.  torch_index: URL of
    an index for torch alone.  LabError, with nothing left behind, when something cannot be had.
    """
    name = f"llmlab-python{wanted.python}-{wanted.system}-{wanted.machine}.zip".lower()
    out = Path(out or root / "dist").absolute()
    out = out if out.suffix == ".zip" else out / name
    # What pip brings waits here: the stick may be slow, or have room for the archive alone.
    with artifacts.replacing(out) as temp, artifacts.scratch(root / "dist") as folder:
        download(wanted, folder, torch_index, root)
        wheels = {f"{WHEELS}/{wheel.name}": wheel for wheel in sorted(folder.glob("*.whl"))}
        sizes = {wheel.name.partition("-")[0]: wheel.stat().st_size for wheel in wheels.values()}
        pack(temp, checkout(root) | wheels, wanted)
    largest = max(sizes, key=sizes.get)
    print(
        f"{out}\n{megabytes(out.stat().st_size)}, of which {largest} {megabytes(sizes[largest])}; "
        f"for {wanted}. Unpack it there; in its folder `python3 -m llmlab lab` (on Windows "
        "`py -m llmlab lab`) sets up without a network.\n"
        "It holds packages and texts of others, each under its own licence: see data/README.md."
    )
    return out


def megabytes(size: int) -> str:
    return f"{size / 1e6:,.0f} MB"


def checkout(root: Path) -> dict[str, Path]:
    """The files of a checkout by their names in it; not what is hidden, made or run there."""
    found = {}
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if not LEFT_OUT.fullmatch(name))
        for name in sorted(names):
            if not LEFT_OUT.fullmatch(name):
                path = Path(folder, name)
                found[path.relative_to(root).as_posix()] = path
    return found


def download(wanted: Target, into: Path, torch_index: str | None, root: Path) -> None:
    """Bring the wheels of the requirements, at the constraints' versions, and of the texts."""
    pins = ["--constraint", root / "constraints.txt"]
    if torch_index:  # asked for torch and nothing else, as in set-up
        pip_download(wanted, into, *pins, "--no-deps", "--index-url", torch_index, "torch")
    torch = into.glob("torch-*.whl")
    pip_download(wanted, into, *pins, "--requirement", root / "requirements.txt", *torch)
    for source in sources.usual():
        if source.kind == "wheel":
            wheel = sources.wheel(source, into, print)
            if wheel.parent != into:
                shutil.copyfile(wheel, into / wheel.name)


def pip_download(wanted: Target, into: Path, *arguments: str | Path) -> None:
    """`pip download` of wheels for the target, which may be another system than this."""
    options = ["download", "--dest", into, "--only-binary=:all:", "--disable-pip-version-check"]
    command = [sys.executable, "-m", "pip"]
    if wanted.tag:
        command = [sys.executable, "-c", AS_THERE, json.dumps(answers(wanted))]
        options += ["--python-version", wanted.python, "--implementation", "cp"]
        options += [f"--platform={tag}" for tag in tags(wanted.tag)]
    if subprocess.run([*command, *options, *arguments]).returncode:
        raise LabError(
            f"pip could not download all wheels for {wanted} (the reason stands above), so there "
            "is no bundle. With a network, and space on the disk, run the same command again."
        )


def tags(tag: str) -> list[str]:
    """A tag and all older ones whose wheels such a machine runs too; pip knows macOS's by itself.

    manylinux_2_N stands for any Linux with glibc 2.N or newer.  PEP 600.
    """
    found = re.fullmatch(r"manylinux_2_(\d+)_(\w+)", tag)
    if not found:
        return [tag]
    old = {5: "manylinux1", 12: "manylinux2010", 17: "manylinux2014"}
    minors = range(int(found[1]), 4, -1)
    names = [name for n in minors for name in (f"manylinux_2_{n}", old.get(n)) if name]
    return [f"{name}_{found[2]}" for name in names]


# pip takes the wheels' platform from its options, but asks the marker of a dependency, such as
# `sys_platform == "win32"`, of the Python that it runs on.  Here it gets the target's answers.
AS_THERE = """
import json, sys
from pip._vendor.packaging import markers
there = json.loads(sys.argv.pop(1))
markers.default_environment = lambda: dict(there)
from pip._internal.cli.main import main
sys.exit(main())
"""


def answers(wanted: Target) -> dict[str, str]:
    """What the target's Python says to the markers of dependencies.  PEP 508."""
    _, os_name, sys_platform = SYSTEMS[wanted.system]
    return {
        "implementation_name": "cpython",
        "implementation_version": f"{wanted.python}.0",
        "os_name": os_name,
        "platform_machine": wanted.machine.upper() if os_name == "nt" else wanted.machine,
        "platform_python_implementation": "CPython",
        "platform_release": "",
        "platform_system": wanted.system,
        "platform_version": "",
        "python_full_version": f"{wanted.python}.0",
        "python_version": wanted.python,
        "sys_platform": sys_platform,
    }


def pack(archive: Path, files: dict[str, Path], wanted: Target) -> None:
    """Write the archive: all files in one folder, and at last the list of their hashes."""
    hashes, done, total = {}, 0, sum(path.stat().st_size for path in files.values())

    def tell(size: int) -> None:
        nonlocal done
        done += size
        shown = f"\rPacking {done / total:4.0%} of {megabytes(total)}"
        print(shown, end="", file=sys.stderr, flush=True)

    with zipfile.ZipFile(archive, "w") as opened:
        for name, path in files.items():
            hashes[name] = add(opened, f"{TOP}/{name}", path, tell)
        about = {"for": asdict(wanted), "files": hashes}
        opened.writestr(f"{TOP}/{LIST}", json.dumps(about, indent=1))
    print(file=sys.stderr)


def add(
    archive: zipfile.ZipFile, name: str, path: Path, tell: Callable[[int], None] = lambda size: None
) -> str:
    """Put a file into the archive; the SHA-256 of what went in.  tell: called with bytes done."""
    digest = hashlib.sha256()
    entry = zipfile.ZipInfo.from_file(path, name, strict_timestamps=False)
    if path.suffix not in (".whl", ".safetensors"):  # which would get no smaller
        entry.compress_type = zipfile.ZIP_DEFLATED
    with open(path, "rb") as file, archive.open(entry, "w") as into:
        while block := file.read(1 << 20):
            digest.update(block)
            into.write(block)
            tell(len(block))
    return digest.hexdigest()


# --- Setting up from one --------------------------------------------------------------------


def check_bundle(root: Path = ROOT) -> None:
    """Whether an unpacked bundle is for this machine, and whole; a clone has nothing to check.

    LabError where it is not.  A notebook that differs is only said: it may hold answers.
    """
    if not (root / LIST).is_file():
        return
    try:
        about = artifacts.read_json(root / LIST)
        wanted, files = Target(**about["for"]), dict(about["files"])
    except (LabError, LookupError, TypeError, ValueError, AttributeError):
        raise LabError(f"{LIST} of this bundle is damaged: nothing was installed. {ANEW}") from None
    if not wanted.fits(here()):
        raise LabError(
            f"This bundle is for {wanted}, and this is {here()}: nothing was installed. Start it "
            "with such a Python, or have a bundle made for this one (`--python`, `--platform`)."
        )
    print(f"Checking the {len(files)} files of this bundle", flush=True)
    changed = [name for name, sha256 in files.items() if not is_whole(root / name, sha256)]
    if own := [name for name in changed if name.startswith("notebooks/")]:
        print(f"Not as the bundle has them (yours, if you changed them): {', '.join(own)}")
    if damaged := [name for name in changed if name not in own]:
        raise LabError(
            f"{len(damaged)} of the bundle's files are missing or damaged, {damaged[0]} among "
            f"them: nothing was installed. {ANEW} If you changed them yourself, remove {LIST}."
        )


def is_whole(path: Path, sha256: str) -> bool:
    try:
        return artifacts.sha256_file(path) == sha256
    except OSError:
        return False


def pip_places(dev: bool, root: Path = ROOT) -> list[str | Path]:
    """pip's options where wheels lie beside the package: these and no others.

    dev: others as well, for no bundle holds what the tests need.
    """
    if not any((root / WHEELS).glob("*.whl")):
        return []
    return ["--find-links", root / WHEELS, *([] if dev else ["--no-index"])]
