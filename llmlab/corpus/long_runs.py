"""Runs of white space or letters without an end, as broken files hold them.

tiktoken's pattern gives up on some hundred thousand characters of white space, with a panic that
is no `Exception`; training a vocabulary is slow on a word of a million letters.
"""

from itertools import pairwise

import regex
import tiktoken

SPACES = 50_000  # characters of white space that are encoded at a time
WORD = 32  # characters of one kind: what is longer is no word
TAUGHT = 5_000  # characters of all longer ones together that a vocabulary learns from


def parts(text: str) -> list[str]:
    """A text in parts that together are the text; it is cut only inside long white space."""
    cuts = [0]
    for run in regex.finditer(rf"(?<!\s)\s{{{SPACES},}}+", text):
        cuts += range(run.start() + SPACES, run.end(), SPACES)
    return [text[start:end] for start, end in pairwise([*cuts, len(text)])]


def encode(encoding: tiktoken.Encoding, text: str) -> list[int]:
    """Ids of any text; special tokens in it stay text, and all its characters are kept."""
    return [i for part in parts(text) for i in encoding.encode_ordinary(part)]


def to_learn_from(text: str) -> str:
    """The text that a vocabulary is trained on: of words longer than `WORD`, and of signs and
    white space that long, the first `TAUGHT` characters alone.  Other text is left as it is."""
    left = TAUGHT

    def taught(run: regex.Match) -> str:
        nonlocal left
        part = run[0][:left]
        left -= len(part)
        return part

    long = rf"\p{{L}}{{{WORD},}}+|[^\s\p{{L}}\p{{N}}]{{{WORD},}}+|\s{{{WORD},}}+"
    return regex.sub(long, taught, text)
