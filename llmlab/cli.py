"""`python -m llmlab COMMAND`: set-up, data, and the whole line without a notebook.

Only the standard library is imported here; a command imports what it needs when it runs.
"""

import argparse
import os
import sys

from llmlab import __version__
from llmlab.artifacts import LabError


def setup(args: argparse.Namespace) -> int:
    from llmlab import install

    install.setup(dev=args.dev, torch_index=args.torch_index)
    print("Ready. `make lab`, or `python3 -m llmlab lab`, opens the notebooks.")
    return 0


def lab(args: argparse.Namespace) -> int:
    from llmlab import install

    install.setup(torch_index=args.torch_index)
    return install.lab(args.options)


def parser() -> argparse.ArgumentParser:
    """All commands; each sets `run`, a function of its arguments that returns the exit code."""
    top = argparse.ArgumentParser(prog="python -m llmlab", description="A language model, whole.")
    top.add_argument("--version", action="version", version=__version__)
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    help_torch = "URL of a package index for torch alone, else TORCH_INDEX"

    command = commands.add_parser("setup", help="make .venv, install, fetch the data")
    command.add_argument("--dev", action="store_true", help="install what the tests need, too")
    command.add_argument("--torch-index", default=os.environ.get("TORCH_INDEX"), help=help_torch)
    command.set_defaults(run=setup)

    command = commands.add_parser("lab", help="set up, then open JupyterLab on the notebooks")
    command.add_argument("--torch-index", default=os.environ.get("TORCH_INDEX"), help=help_torch)
    command.set_defaults(run=lab, takes_options=True)
    return top


def main(argv: list[str]) -> int:
    """Run one command; 2 and a sentence for what a user can put right, 130 for Ctrl-C."""
    top = parser()
    args, args.options = top.parse_known_args(argv)
    if args.options and not getattr(args, "takes_options", False):
        top.error(f"unrecognized arguments: {' '.join(args.options)}")
    try:
        return args.run(args)
    except LabError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("Stopped.", file=sys.stderr)
        return 130
