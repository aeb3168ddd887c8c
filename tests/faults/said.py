"""What every fault must show: one clear sentence or two, and that all is still there."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from llmlab.artifacts import sha256_file


def tree(folder: Path) -> dict[str, str]:
    """All that lies under a folder: a file's SHA-256, and "folder" for what is one."""
    return {
        str(path.relative_to(folder)): sha256_file(path) if path.is_file() else "folder"
        for path in sorted(folder.rglob("*"))
    }


@contextmanager
def unharmed(*folders: Path) -> Iterator[None]:
    """Whatever happens meanwhile, these folders hold after it what they held before."""
    before = [tree(folder) for folder in folders]
    yield
    assert [tree(folder) for folder in folders] == before


def clear(words: str) -> str:
    """The words, if they are one sentence or two on one line, and no traceback."""
    words = words.strip()
    assert words and "\n" not in words and "Traceback" not in words, words
    assert words[-1] in ".?!" and 1 <= len(re.split(r"[.?!] +(?=[A-Z`(])", words)) <= 2, words
    return words
