"""Comparers for checks: each says in words what differs, and never what would be right.

`what` names the thing in the sentence: "the answer", "the merged list", "the loss".
"""

import math
from collections.abc import Callable, Mapping
from numbers import Real
from typing import TYPE_CHECKING

from llmlab.classroom.exercises import Wrong, kind, plain

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor


NOT_FINITE = "Look for a division by 0, a logarithm of 0, or an exponential that is too large."
# numpy's letter for a kind of number
KINDS = {"b": "truth values", "i": "whole numbers", "u": "whole numbers", "f": "decimal numbers"}


def close(
    answer: object, right: object, what: str = "the answer", rtol: float = 1e-4, atol: float = 1e-6
) -> None:
    """Wrong unless two numbers, tensors, or lists of numbers agree in type, shape and value.

    Floats are alike within atol + rtol · |right|, or within the number format of the answer;
    whole numbers are alike or not.  A tensor without axes counts as a number, a tuple as a list;
    its device and the format of its numbers do not count.  Where the right answer passes a
    gradient on, the answer has to pass on the same.
    """
    _close(answer, right, what, rtol, atol)
    _same_gradient(answer, right, what)


def _close(answer: object, right: object, what: str, rtol: float, atol: float) -> None:
    """Wrong unless type, shape and value agree."""
    import numpy as np

    what = what[0].upper() + what[1:]
    sorts = _sort(answer), _sort(right)
    if sorts[0] != sorts[1] and sorts != ("a number", "a truth value"):
        raise Wrong(f"{what} should be {sorts[1]}, and yours is {sorts[0]}.")
    got, wanted = _array(answer, what), _array(right, what)
    if got.shape != wanted.shape:
        raise Wrong(_shape(got, wanted, what))
    kinds = got.dtype.kind, wanted.dtype.kind
    if kinds[0] != kinds[1] and "b" in kinds:
        raise Wrong(f"{what} should hold {KINDS[kinds[1]]}, and yours holds {KINDS[kinds[0]]}.")
    if kinds[1] in "iu":
        rtol = min(rtol, 1e-9)  # an id beside the right one is wrong
    rtol = max(rtol, _resolution(answer))
    odd = ~np.isfinite(got) & np.isfinite(wanted)
    if odd.any():
        raise Wrong(f"{what} holds {got[odd][0]}{_place(odd)}. {NOT_FINITE}")
    wrong = ~np.isclose(got, wanted, rtol=rtol, atol=atol, equal_nan=True)
    if wrong.any():
        raise Wrong(_value(got, wanted, wrong, what))


def same(answer: object, right: object, what: str = "the answer") -> None:
    """Wrong unless two values are equal: texts, lists of ids, sets, dicts of counts.

    A tuple counts as a list, and a Counter as a dict.
    """
    what = what[0].upper() + what[1:]
    got, wanted = _sort(answer), _sort(right)
    if got != wanted:
        raise Wrong(f"{what} should be {wanted}, and yours is {got}.")
    if isinstance(right, tuple | list):
        answer, right = list(answer), list(right)
    if answer == right:
        return
    if isinstance(right, dict | set | frozenset):
        missing, extra = len(set(right) - set(answer)), len(set(answer) - set(right))
        if missing or extra:
            raise Wrong(f"{what} is not right: {missing} entries are missing, {extra} too many.")
        raise Wrong(f"{what} has the right keys, but not the right values.")
    if isinstance(right, str | bytes | list):
        pairs = enumerate(zip(answer, right, strict=False))
        place = next((i for i, (a, b) in pairs if a != b), None)
        if place is None:
            raise Wrong(f"{what} is too {'long' if len(answer) > len(right) else 'short'}.")
        own = plain(repr(answer[place]), 40)
        if place == 0:
            raise Wrong(f"{what} is wrong from its beginning: yours begins with {own}.")
        raise Wrong(f"{what} is right up to place {place} (counted from 0); there yours has {own}.")
    raise Wrong(f"{what} is not right.")


def recognise(
    answer: object,
    right: object,
    mistakes: Mapping[str, object],
    what: str = "the answer",
    by: Callable = close,
    **tolerance: float,
) -> None:
    """`close` or `same`, but with the sentence of the mistake where one gives this answer."""
    if by is close:
        tolerance = {"atol": 1e-5} | tolerance
    try:
        by(answer, right, what, **tolerance)
    except Wrong:
        known(answer, mistakes, by, **tolerance)
        raise


def known(
    answer: object, mistakes: Mapping[str, object], by: Callable = same, **tolerance: float
) -> None:
    """Wrong with the sentence of the mistake that gives this answer.

    mistakes: sentence -> what a learner gets who makes it, which is not right.
    """
    for sentence, wrong in mistakes.items():
        try:
            if by is close:
                tolerance = {"rtol": 1e-4, "atol": 1e-5} | tolerance
                _close(answer, wrong, "the answer", **tolerance)
            else:
                by(answer, wrong)
        except Wrong:
            continue
        raise Wrong(sentence)


# --- Gradients ------------------------------------------------------------------------------


def _same_gradient(answer: object, right: object, what: str) -> None:
    """Wrong unless the answer passes the same gradient on as the right one, if that passes any."""
    if not getattr(right, "requires_grad", False):
        return
    import torch

    what = what[0].upper() + what[1:]
    cut = "`.item()`, `float()`, `.detach()` and `torch.tensor()` cut it off: leave them out."
    if not getattr(answer, "requires_grad", False):
        raise Wrong(f"{what} has the right value, but no gradient can flow back from it. {cut}")
    inputs = _leaves(right)
    weights = torch.linspace(1.0, 2.0, right.numel()).view_as(right)  # each number its own
    wanted = torch.autograd.grad(right, inputs, weights, retain_graph=True)
    try:
        got = torch.autograd.grad(
            answer, inputs, weights.to(answer), retain_graph=True, allow_unused=True
        )
    except RuntimeError as error:  # its graph is used up, say, by a backward() of its own
        reason = str(error).split(". ")[0]
        raise Wrong(f"{what} has the right value, but its gradient fails: {reason}.") from None
    near = max(1e-4, _resolution(answer))
    for one, other in zip(got, wanted, strict=True):
        size = other.abs().max().item()  # small numbers in a gradient come from large ones
        if one is None or not torch.allclose(one, other, near, near * size):
            raise Wrong(f"{what} has the right value, but not the right gradient. {cut}")


def _leaves(result: "Tensor") -> list["Tensor"]:
    """The tensors that a result's gradient arrives at."""
    leaves, seen, todo = [], set(), [result.grad_fn]
    while todo:
        node = todo.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if hasattr(node, "variable"):
            leaves.append(node.variable)
        todo += [previous for previous, _ in node.next_functions]
    return leaves


def _resolution(answer: object) -> float:
    """How far apart neighbours are, in relation, in the answer's own number format, with room for
    some steps of rounding; nothing for what holds no decimal numbers."""
    if not hasattr(answer, "is_floating_point") or not answer.is_floating_point():
        return 0.0
    import torch

    return 4 * torch.finfo(answer.dtype).eps


# --- Types and shapes -----------------------------------------------------------------------


def _is_tensor(value: object) -> bool:
    """A torch tensor or a numpy array."""
    return not isinstance(value, type) and hasattr(value, "shape") and hasattr(value, "dtype")


SORTS = {
    "a truth value": bool,
    "a number": Real,
    "a text": str,
    "a list": (list, tuple),
    "a set": (set, frozenset),
    "a dict": dict,
}


def _sort(value: object) -> str:
    """What a value is, in words for a learner; a tensor of no axes is a number."""
    if _is_tensor(value):
        return "a tensor" if len(value.shape) else "a number"
    return next((sort for sort, types in SORTS.items() if isinstance(value, types)), kind(value))


def number(value: object, what: str = "the answer") -> float:
    """A learner's single, finite number; Wrong for anything else, such as a text with digits."""
    what = what[0].upper() + what[1:]
    if _sort(value) != "a number":
        raise Wrong(f"{what} should be a single number, and yours is {_sort(value)}.")
    single = float(_array(value, what))
    if not math.isfinite(single):
        raise Wrong(f"{what} is {single}. {NOT_FINITE}")
    return single


def as_list(value: object) -> object:
    """A tensor or a tuple as a list; anything else as it is."""
    if _is_tensor(value):
        return value.tolist()
    return list(value) if isinstance(value, tuple) else value


def _array(value: object, what: str) -> "np.ndarray":
    """A number, a tensor or a list of numbers as a numpy array; Wrong for anything else."""
    import numpy as np

    try:
        if hasattr(value, "detach"):
            value = value.detach().cpu()
            value = (value.double() if value.is_floating_point() else value).numpy()
        array = np.asarray(value)
        if array.dtype == object:  # whole numbers that are too long for 64 bits, or no numbers
            array = np.array([float(item) for item in array.flat]).reshape(array.shape)
    except OverflowError:
        raise Wrong(f"{what} holds a number that is far too large.") from None
    except (ValueError, TypeError, RuntimeError):
        raise Wrong(f"{what} should hold numbers alone, in rows of equal length.") from None
    if array.dtype.kind not in "biuf":
        raise Wrong(f"{what} should hold numbers alone.")
    return array


# --- What differs, in words -----------------------------------------------------------------


def _shape(got: "np.ndarray", wanted: "np.ndarray", what: str) -> str:
    if got.ndim != wanted.ndim:
        many = "many" if got.ndim > wanted.ndim else "few"
        return f"{what} has the shape {list(got.shape)}: that is too {many} axes."
    if sorted(got.shape) == sorted(wanted.shape):
        return f"{what} has the shape {list(got.shape)}: the right axes, but not in this order."
    axes = [i for i, (a, b) in enumerate(zip(got.shape, wanted.shape, strict=True)) if a != b]
    long = "long" if got.shape[axes[0]] > wanted.shape[axes[0]] else "short"
    return f"{what} has the shape {list(got.shape)}: axis {axes[0]} is too {long}."


def _value(got: "np.ndarray", wanted: "np.ndarray", wrong: "np.ndarray", what: str) -> str:
    """How many numbers are wrong, where the first is, and what they have in common."""
    import numpy as np

    if got.dtype.kind == "b":
        return f"{what} is wrong in {wrong.sum()} of {wrong.size} truth values{_place(wrong)}."
    if np.allclose(-got.astype(float), wanted, equal_nan=True):
        return f"{what} has the wrong sign."
    larger = got[wrong][0] > wanted[wrong][0]
    size = f"too {'large' if larger else 'small'}"
    if wrong.size == 1:
        return f"{what} is {size}."
    count = f"{wrong.sum()} of {wrong.size} numbers are wrong"
    first = f"the first{_place(wrong)}, {got[wrong][0]:.6g},"
    return f"{what} has the right shape, but {count}; {first} is {size}."


def _place(mask: "np.ndarray") -> str:
    """ " at [0, 2]": the first place that a mask marks; nothing for a single number."""
    import numpy as np

    return f" at {np.argwhere(mask)[0].tolist()}" if mask.ndim else ""
