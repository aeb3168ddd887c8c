"""`python -m llmlab …`."""

import sys

if sys.version_info < (3, 11):  # noqa: UP036  (what an older Python reads)
    sys.exit("llmlab needs Python 3.11 or newer; run it with a newer one, such as python3.12.")

from llmlab.cli import main  # noqa: E402  (only a Python that is new enough can read it)

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
