"""Checks of notebook 03: the table's gradient, a turned pair, neighbours, analogies."""

import random
from itertools import islice

import torch
import torch.nn.functional as F
from torch import Tensor

from llmlab.classroom import Wrong, call, close, exercise
from llmlab.classroom.compare import as_list, known, number, recognise
from llmlab.classroom.exercises import kind


def table_of(seed: int, rows: int, dim: int) -> Tensor:
    """Whole numbers from -9 to 9 that are the same on every machine: (rows, dim), as floats."""
    numbers = iter(random.Random(seed).choices(range(-9, 10), k=rows * dim))
    return torch.tensor([list(islice(numbers, dim)) for _ in range(rows)]).float()


# --- The gradient of a look-up --------------------------------------------------------------

IDS = torch.tensor([3, 0, 3, 5])
ARRIVING = torch.tensor([[1.0, 2.0, 4.0], [7.0, 7.0, 7.0], [3.0, -8.0, 5.0], [9.0, 6.0, 1.0]])


def gradient_of(ids: Tensor, arriving: Tensor, vocab_size: int) -> Tensor:
    return torch.zeros(vocab_size, arriving.shape[1]).index_add_(0, ids, arriving)


@exercise("03.gradient")
def gradient(answer) -> None:
    """table_gradient(ids, arriving, vocab_size): (T,), (T, dim) -> (V, dim)."""
    got = call(answer, IDS, ARRIVING, 7)
    right = gradient_of(IDS, ARRIVING, 7)
    empty = torch.zeros(7, 3)
    times = gradient_of(IDS, torch.ones(4, 3), 7)
    mistakes = {
        "An id that comes twice should get both of what arrives for it. Yours keeps the last alone."
        : empty.index_put((IDS,), ARRIVING),
        "An id that comes twice should get both of what arrives for it. Yours keeps the first "
        "alone.": empty.index_put((IDS.flip(0),), ARRIVING.flip(0)),
        "An id that comes twice gets the average of what arrives here. Both count in full."
        : right / times.clamp(min=1),
        "That counts how often each row was picked. What arrives for it has a size, too.": times,
        "That has a row for each id of the text. The table has a row for each id that there is."
        : ARRIVING,
        "The axes are the wrong way round: a row of the table is a row of its gradient.": right.T,
        "That is divided by the number of ids. Each vector brings its own part, whole.": right / 4,
        "Each row that was picked gets all that arrives. It should get its own part alone."
        : ARRIVING.sum(0) * (times > 0),
        "That has the wrong sign: it is the way a step would go. The gradient points uphill."
        : -right,
        "That leaves the rows out that nobody picked. They have a gradient, too: which one?"
        : right[IDS.unique()],
        "The rows are one place off. Ids count from 0.": right.roll(1, 0),
        "That is zero everywhere. Did anything arrive?": empty,
    }  # fmt: skip
    recognise(got, right, mistakes, "the gradient")
    close(
        call(answer, torch.tensor([1, 1]), torch.tensor([[2.0], [0.5]]), 3),
        torch.tensor([[0.0], [2.5], [0.0]]),
        "for another text, the gradient",
    )


# --- A pair turned by its position ----------------------------------------------------------


def turned(pair: complex, angle: float) -> complex:
    """A pair, as a complex number, turned against the clock by an angle in radians."""
    return pair * complex(torch.polar(torch.tensor(1.0).double(), torch.tensor(angle).double()))


def as_pair(value: object) -> complex:
    """Two numbers as one complex one; Wrong for anything else."""
    value = as_list(value)
    if not isinstance(value, list) or len(value) != 2:
        raise Wrong("The function should give back two numbers: the new x and the new y.")
    return complex(number(value[0], "the new x"), number(value[1], "the new y"))


@exercise("03.rotate")
def rotate(answer) -> None:
    """rotate(pair, position, frequency): the pair turned by position × frequency."""
    x, y, position, frequency = 3.0, 1.0, 2, 0.35
    angle = position * frequency
    right, one = turned(complex(x, y), angle), turned(1, angle)
    cos, sin = one.real, one.imag
    mistakes = {
        "That turns with the clock. A quarter of a turn should bring (1, 0) to (0, 1)."
        : turned(complex(x, y), -angle),
        "The angle was taken for degrees. It is in radians already."
        : turned(complex(x, y), angle * torch.pi / 180),
        "The position makes no difference here. The farther on, the larger the angle."
        : turned(complex(x, y), frequency),
        "The frequency makes no difference here. Each pair turns at a speed of its own."
        : turned(complex(x, y), position),
        "Position and frequency are added. How far does a hand go in `position` steps?"
        : turned(complex(x, y), position + frequency),
        "The position is divided by the frequency. A higher frequency should turn faster."
        : turned(complex(x, y), position / frequency),
        "The new y was made with the new x. Keep the old one until both are done."
        : complex(cos * x - sin * y, sin * (cos * x - sin * y) + cos * y),
        "Each number is only scaled here. In a turn each new one is made of both old ones."
        : complex(cos * x, cos * y),
        "x goes with the cosine and y with the sine alone: then nothing passes from one to the "
        "other.": complex(cos * x, sin * y),
        "The two numbers are swapped: x comes first.": complex(right.imag, right.real),
        "Cosine and sine are added to the pair. RoPE turns it and leaves its length alone."
        : complex(x + cos, y + sin),
        "The pair comes back as it was. At position 0 it should, here not.": complex(x, y),
        "Cosine and sine have changed places. At position 0, what are they?"
        : complex(sin * x - cos * y, cos * x + sin * y),
        "That turns (1, 0) at this position. Turn the pair that is given.": one,
    }  # fmt: skip
    got = as_pair(call(answer, (x, y), position, frequency))
    mistakes = {sentence: [wrong.real, wrong.imag] for sentence, wrong in mistakes.items()}
    known([got.real, got.imag], mistakes, by=close)
    if abs(got - right) > 1e-5:
        if abs(abs(got) - abs(right)) < 1e-5:
            raise Wrong("The length is right and the angle is not. What turns the hand, how far?")
        raise Wrong("A turn leaves the length of the pair alone, and yours changes it.")
    if abs(as_pair(call(answer, (0.0, 2.0), 5, -0.1)) - turned(2j, -0.5)) > 1e-5:
        raise Wrong("Right for one pair, wrong for another. Does the answer use all it is given?")


# --- Neighbours -----------------------------------------------------------------------------

NEAR = table_of(seed=15, rows=12, dim=3)


def cosines(table: Tensor, i: int) -> Tensor:
    unit = F.normalize(table, dim=1)
    return unit @ unit[i]


def order(scores: Tensor, i: int | None, n: int) -> list[int]:
    """Numbers of the n rows with the highest scores, without i."""
    ranked = scores.argsort(descending=True, stable=True).tolist()
    return [j for j in ranked if j != i][:n]


@exercise("03.nearest", must=True)
def nearest(answer) -> None:
    """nearest(table, i, n): the n rows of the greatest cosine to row i, without it."""
    i, n = 4, 3
    angle, product = cosines(NEAR, i), NEAR @ NEAR[i]
    away = (NEAR - NEAR[i]).norm(dim=1)
    right = order(angle, i, n)
    mistakes = {
        "Row i is its own nearest row, and no answer here.": order(angle, None, n),
        "That goes by the product: long rows come first, wherever they point. A cosine leaves the "
        "lengths out.": order(product, i, n),
        "That goes by distance. Two rows can point the same way and lie far apart."
        : order(-away, i, n),
        "Those are the rows that point away the most. Turn the order round."
        : order(-angle, i, n),
        "The right rows, but the nearest comes first.": right[::-1],
        "The sign of the cosine is lost: opposite rows are not near.": order(angle.abs(), i, n),
        "The mean of all rows was taken off first. Nobody asked for that here."
        : order(cosines(NEAR - NEAR.mean(0), i), i, n),
        "Those are row 0's neighbours. Which row is asked for?": order(cosines(NEAR, 0), 0, n),
        "That is one too many: row i is left out, and n others stay.": order(angle, i, n + 1),
        "One is missing. Is row i left out before the list is cut?": right[:-1],
        "All rows come back. How many are asked for?": order(angle, i, 99),
        "All rows come back, row i among them. How many are asked for?": order(angle, None, 99),
    }  # fmt: skip
    got = numbers(call(answer, NEAR, i, n))
    known(got, mistakes)
    if got != right:
        if len(got) != n:
            raise Wrong(f"{n} rows are asked for here, and {len(got)} come back.")
        if sorted(got) != sorted(set(got)) or not set(got) <= set(range(len(NEAR))):
            raise Wrong("Those are not numbers of rows, each once: rows count from 0.")
        raise Wrong(
            f"{len(set(got) & set(right))} of {n} rows are right. Check the cosine by hand."
        )
    got = numbers(call(answer, NEAR[:8], 1, 5))
    if 1 in got:
        raise Wrong("Right for one row; for another, the row itself is among its neighbours.")
    if got != order(cosines(NEAR[:8], 1), 1, 5):
        raise Wrong("Right for one row, wrong for another. Does the answer use `i` and `n`?")


def numbers(value: object) -> list[int]:
    """A list of rows' numbers; Wrong for what is no such list."""
    value = as_list(value)
    if not isinstance(value, list):
        raise Wrong(f"The answer should be a list of rows' numbers, and yours is {kind(value)}.")
    rows = [number(row, "each entry") for row in value]
    if not all(row.is_integer() for row in rows):
        raise Wrong("Those are cosines. The numbers of the rows are asked for.")
    return [int(row) for row in rows]


# --- Analogies ------------------------------------------------------------------------------

WORDS = table_of(seed=16, rows=60, dim=4)


def best(scores: Tensor, *out: int) -> int:
    """The row with the highest score, some left out."""
    left = scores.clone()
    left[list(out)] = -torch.inf
    return int(left.argmax())


@exercise("03.analogy")
def analogy(answer) -> None:
    """analogy(table, a, b, c): the row nearest to a - b + c, none of the three."""
    a, b, c = 39, 51, 32  # here each mistake leads to another row
    unit = F.normalize(WORDS, dim=1)
    ua, ub, uc = unit[[a, b, c]]
    raw = WORDS[a] - WORDS[b] + WORDS[c]
    three = (a, b, c)
    mistakes = {
        "That is one of the three words of the question, and those are no answers."
        : best(unit @ (ua - ub + uc)),
        "a and b have changed places: b is what is taken away."
        : best(unit @ (ub - ua + uc), *three),
        "c is taken away here, and b should be.": best(unit @ (ua + ub - uc), *three),
        "All three are added. One of them is taken away.": best(unit @ (ua + ub + uc), *three),
        "Long rows outweigh short ones in your sum. Bring each to length one first."
        : best(unit @ raw, *three),
        "The sum is compared with rows that differ in length: that is no cosine."
        : best(WORDS @ (ua - ub + uc), *three),
        "That is the word nearest to c. Where does the step from b to a come in?"
        : best(unit @ uc, *three),
        "That is the word nearest to the step alone. Where does it start?"
        : best(unit @ (ua - ub), *three),
        "That is the row that points away the most.": best(-(unit @ (ua - ub + uc)), *three),
        "That goes by distance between rows of any length. A cosine leaves the lengths out."
        : best(-(WORDS - raw).norm(dim=1), *three),
    }  # fmt: skip
    right = best(unit @ (ua - ub + uc), *three)
    got = row_number(call(answer, WORDS, a, b, c))
    known(got, mistakes)
    if got != right:
        raise Wrong("Another row is nearer. Check the sum, the lengths and what is left out.")
    a, b, c = three = 41, 27, 40  # here the nearest rows are c, then a
    got = row_number(call(answer, WORDS, *three))
    if got in three:
        raise Wrong("Right for one question; for another, one of its own words comes back.")
    if got != best(unit @ (unit[a] - unit[b] + unit[c]), *three):
        raise Wrong("Right for one question, wrong for another. Does the answer use a, b and c?")
    unit = F.normalize(NEAR, dim=1)
    right = best(unit @ (unit[1] - unit[2] + unit[3]), 1, 2, 3)
    if row_number(call(answer, NEAR, 1, 2, 3)) != right:
        raise Wrong("Right for one table, wrong for another. Does the answer use `table`?")


def row_number(value: object) -> int:
    """The number of one row; Wrong for what is none."""
    row = number(value, "the row")
    if not row.is_integer():
        raise Wrong("That is a cosine. The number of the row is asked for.")
    return int(row)
