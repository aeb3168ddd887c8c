"""What is slow, in parts, the most valuable first.

    python tests/slow/run.py [PART…] [--minutes M]

Without a name all parts run.  With --minutes, a part begins only if the minutes it is expected to
take are left, and those left out are named.  The exit code is 1 where a part failed.
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SLOW = "tests/slow/test_"
PARTS = {  # name -> minutes on two cores, what is tested
    "format": (8, ["tests/core", "tests/scale", "tests/training", "tests/stages"]),
    "exam": (1, [f"{SLOW}exam.py"]),
    "faults": (5, [f"{SLOW}faults.py"]),
    "series": (20, [f"{SLOW}series.py"]),
    "hub": (2, [f"{SLOW}hub_doors.py", f"{SLOW}smollm2.py"]),
    "colab": (5, [f"{SLOW}colab.py"]),
    "bundle": (7, [f"{SLOW}bundle.py"]),
    "offline": (5, [f"{SLOW}offline.py"]),
    "processes": (5, [f"{SLOW}full.py", f"{SLOW}busy.py", f"{SLOW}slurm.py"]),
}


def other_format() -> str:
    """The number format that this machine does not take by itself: bf16, or fp32 where it does."""
    code = "from llmlab import device; print(device.format_name(device.pick_device()[1]))"
    own = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT, env=os.environ | {"LLMLAB_DTYPE": ""}, capture_output=True, text=True, check=True,
    ).stdout.strip()  # fmt: skip
    return "bf16" if own == "fp32" else "fp32"


def passes(name: str) -> bool:
    """Whether the tests of a part pass; what they print is shown."""
    command, environment = [sys.executable, "-m", "pytest", *PARTS[name][1]], dict(os.environ)
    if name == "format":  # but what sets its own: test_distributed compares in fp32 and in bf16
        environment["LLMLAB_DTYPE"] = other_format()
        command += ["--ignore=tests/scale/test_distributed.py", "-n", "auto", "--dist", "loadfile"]
    start = time.monotonic()
    print(f"--- {name}", flush=True)
    passed = subprocess.run(command, cwd=ROOT, env=environment).returncode == 0
    said = "passed" if passed else "FAILED"
    print(f"--- {name} {said} after {(time.monotonic() - start) / 60:.1f} minutes", flush=True)
    return passed


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="The slow tests, part by part.")
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--minutes", type=float, default=float("inf"), help="in all")
    args = parser.parse_args(argv)
    if unknown := set(args.parts) - PARTS.keys():
        parser.error(f"there is no part {', '.join(unknown)}; there are: {', '.join(PARTS)}")
    end, failed, left_out = time.monotonic() + 60 * args.minutes, [], []
    for name in args.parts or PARTS:
        if time.monotonic() + 60 * PARTS[name][0] > end:
            left_out.append(name)
        elif not passes(name):
            failed.append(name)
    if left_out:
        print(f"Left out, as no time was left: {', '.join(left_out)}")
    if failed:
        print(f"Failed: {', '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
