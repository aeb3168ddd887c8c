"""Checks of notebook 05: a talk in ids, the answers' mask, the order of a card, LoRA."""

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from llmlab.classroom import Wrong, call, close, exercise, same
from llmlab.classroom.compare import as_list, known, recognise

# --- 05.conversation ------------------------------------------------------------------------


def letters(text: str) -> list[int]:
    """An encoding to count on: one id a letter, a = 10."""
    return [ord(letter) - 87 for letter in text]


def odd(text: str) -> list[int]:
    """Another encoding, to find an answer that knows the first one."""
    return [2 * ord(letter) for letter in text]


@exercise("05.conversation")
def conversation(answer) -> None:
    """conversation(turns, encode, user, assistant, end): a whole talk as one list of ids."""
    turns = [("ab", "c"), ("d", "ef")]  # ids 10, 11 | 12 | 13 | 14, 15
    got = as_list(call(answer, turns, letters, 1, 2, 3))
    if isinstance(got, list) and any(isinstance(part, str) for part in got):
        raise Wrong("There are texts among the ids. What makes ids of a text?")
    if isinstance(got, list) and any(isinstance(part, list | tuple) for part in got):
        raise Wrong("There are lists inside the list. One flat row of ids is asked for.")
    known(got, {
        "The end is missing: a model would never learn to stop.": [1, 10, 11, 2, 12, 1, 13, 2, 14,
                                                                   15],
        "Only the last answer has an end. Each turn has its own.": [1, 10, 11, 2, 12, 1, 13, 2, 14,
                                                                    15, 3],
        "The last answer has no end.": [1, 10, 11, 2, 12, 3, 1, 13, 2, 14, 15],
        "The request has an end as well. Only an answer is closed by it.":
        [1, 10, 11, 3, 2, 12, 3, 1, 13, 3, 2, 14, 15, 3],
        "User and assistant are exchanged.": [2, 10, 11, 1, 12, 3, 2, 13, 1, 14, 15, 3],
        "Request and answer are exchanged.": [1, 12, 2, 10, 11, 3, 1, 14, 15, 2, 13, 3],
        "That is the first turn alone.": [1, 10, 11, 2, 12, 3],
        "That is the last turn alone.": [1, 13, 2, 14, 15, 3],
        "Nothing says where the assistant begins.": [1, 10, 11, 12, 3, 1, 13, 14, 15, 3],
        "Nothing says where the user begins.": [10, 11, 2, 12, 3, 13, 2, 14, 15, 3],
        "The user is named once. Each request begins with that mark.":
        [1, 10, 11, 2, 12, 3, 13, 2, 14, 15, 3],
        "All requests come first, then all answers. A talk goes to and fro.":
        [1, 10, 11, 1, 13, 2, 12, 3, 2, 14, 15, 3],
        "The turns stand in the wrong order: the oldest comes first.":
        [1, 13, 2, 14, 15, 3, 1, 10, 11, 2, 12, 3],
        "The marks are missing: nothing tells who speaks.": [10, 11, 12, 13, 14, 15],
    })  # fmt: skip
    same(got, [1, 10, 11, 2, 12, 3, 1, 13, 2, 14, 15, 3], "the row of ids")
    other = as_list(call(answer, [("a", ""), ("", "b")], odd, 7, 8, 9))
    if other != [7, 194, 8, 9, 7, 8, 196, 9]:
        raise Wrong("Right for one talk, wrong for another. Does it use all that it is given?")
    if as_list(call(answer, [], letters, 1, 2, 3)) != []:
        raise Wrong("A talk without a turn has no ids.")


# --- 05.answer_mask -------------------------------------------------------------------------


@exercise("05.answer_mask", must=True)
def answer_mask(answer) -> None:
    """answer_mcall(ids, assistant, end): where the next id belongs to an answer."""
    ids = [1, 10, 11, 2, 20, 21, 3, 1, 12, 2, 22, 3]  # user 1, assistant 2, end 3
    right = marks("...xxx...xx")
    got = as_list(call(answer, ids, 2, 3))
    if isinstance(got, list) and set(map(str, got)) <= {"0", "1", "0.0", "1.0"}:
        got = [bool(mark) for mark in got]
    known(got, {
        "One truth value too many: the last id has no next one.": marks("...xxx...xx."),
        "That marks the answers' own ids. The mask stands where the *next* id is one.":
        marks("....xxx...x"),
        "That marks the answers' own ids, all of them: there is one place less than ids.":
        marks("....xxx...xx"),
        "The end of an answer is not learned. Such a model never stops.": marks("...xx....x."),
        "The mark of the assistant is learned too. It belongs to the request.":
        marks("..xxxx..xxx"),
        "After an end comes the user's mark. Is that the assistant's to write?":
        marks("...xxxx..xx"),
        "Only the first answer is learned.": marks("...xxx....."),
        "Only the last answer is learned.": marks(".........xx"),
        "Once the first answer has begun, everything is learned, later requests too.":
        marks("...xxxxxxxx"),
        "That is turned round: the requests are learned and the answers are not.":
        marks("xxx...xxx.."),
        "Only the first token of each answer is learned.": marks("...x.....x."),
        "The first token of each answer is not learned.": marks("....xx....x"),
        "Everything is learned: that is no mask.": marks("x" * 11),
        "Nothing is learned: the mask is false everywhere.": marks("." * 11),
    })  # fmt: skip
    if isinstance(got, list) and any(mark in ids[3:] for mark in got if not isinstance(mark, bool)):
        raise Wrong("Those are ids, and truth values are asked for: one for each id but the last.")
    same(got, right, "the mask")
    cut_off = as_list(call(answer, [5, 10, 6, 20, 21], 6, 7))
    if cut_off != marks("..xx"):
        raise Wrong("Right for one talk, wrong for one whose last answer was cut off.")
    if as_list(call(answer, [5, 10, 6, 20, 7, 5, 11, 6, 21, 7], 6, 7)) != marks("..xx...xx"):
        raise Wrong("Right for one talk, wrong for another. Does the answer use `end`?")


def marks(text: str) -> list[bool]:
    """ "..x" as [False, False, True]."""
    return [letter == "x" for letter in text]


# --- 05.asked_first -------------------------------------------------------------------------


@exercise("05.asked_first")
def asked_first(answer) -> None:
    """asked_first(foods, asked, number): the asked foods, then the card's others."""
    foods = ["beef", "rice", "onions", "peas", "garlic", "milk", "corn"]
    got = as_list(call(answer, foods, ["garlic", "beef"], 4))
    known(got, {
        "The number is not kept: that is the whole list.":
        ["garlic", "beef", "rice", "onions", "peas", "milk", "corn"],
        "The asked foods stand in the recipe's order. They keep their own.":
        ["beef", "garlic", "rice", "onions"],
        "That is the card as it was, cut off: an asked food is lost.":
        ["beef", "rice", "onions", "peas"],
        "One food too many. Was the card cut before the asked foods were put first?":
        ["garlic", "beef", "rice", "onions", "peas"],
        "The number is that of the whole list, and not of the other foods alone.":
        ["garlic", "beef", "rice", "onions", "peas", "milk"],
        "Those are the asked foods alone.": ["garlic", "beef"],
        "The asked foods came last, and were cut off.": ["rice", "onions", "peas", "milk"],
        "The asked foods come last.": ["rice", "onions", "garlic", "beef"],
        "The other foods are turned round: they keep the recipe's order.":
        ["garlic", "beef", "corn", "milk"],
        "One food is missing: look at where the list is cut.": ["garlic", "beef", "rice"],
        "Something is sorted. Both parts keep the order in which they were given.":
        ["beef", "corn", "garlic", "milk"],
    })  # fmt: skip
    if isinstance(got, list) and any(got.count(food) > 1 for food in got):
        raise Wrong("A food stands there twice. Which of the card's foods were asked for already?")
    same(got, ["garlic", "beef", "rice", "onions"], "the list")
    whole = as_list(call(answer, foods[:5], ["peas"], None))
    same(whole, ["peas", "beef", "rice", "onions", "garlic"], "the list without a number")
    beside = as_list(call(answer, ["beef", "rice", "onions", "peas"], ["beef", "rice"], None))
    same(beside, ["beef", "rice", "onions", "peas"], "the list where asked foods are neighbours")
    short = as_list(call(answer, ["corn", "dill"], ["dill"], 9))
    same(short, ["dill", "corn"], "the list of a short card")


# --- 05.lora --------------------------------------------------------------------------------


@exercise("05.lora")
def lora(answer) -> None:
    """lora(x, weight, down, up, alpha): a matrix with its thin correction beside it."""
    generator = torch.Generator().manual_seed(5)
    x, weight, down, up = (
        torch.randn(*shape, generator=generator, requires_grad=True)
        for shape in ((4, 6), (5, 6), (3, 6), (5, 3))
    )
    plain, thin = x @ weight.T, (x @ down.T) @ up.T  # (4, 5) each
    recognise(call(answer, x, weight, down, up, 4.0), plain + 4 / 3 * thin, {
        "The correction is missing.": plain,
        "That is the correction alone. The matrix itself counts as well.": 4 / 3 * thin,
        "The correction is not weighed. Both alpha and the rank have a say.": plain + thin,
        "The correction is weighed by alpha alone. What of the rank?": plain + 4 * thin,
        "The correction's weight is upside down.": plain + 3 / 4 * thin,
        "The rank is the *small* size of `down`, and not the size of what it reads.":
        plain + 4 / 6 * thin,
        "The rank is the small size of `up`, and not the size of what comes out.":
        plain + 4 / 5 * thin,
        "alpha is divided by a root of the rank. Divide by the rank itself.":
        plain + 4 / 3**0.5 * thin,
        "The whole is weighed, the matrix as well. Only the correction is.": 4 / 3 * (plain + thin),
        "The correction is taken away, where it should be added.": plain - 4 / 3 * thin,
        "The correction is multiplied by what the matrix gives. It is added to it.":
        plain * 4 / 3 * thin,
    })  # fmt: skip
    one = call(answer, x[:1], 2 * weight, down[:1], up[:, :1], 1.0)
    close(one, x[:1] @ (2 * weight + up[:, :1] @ down[:1]).T, "the answer for rank 1", atol=1e-5)
    noting = Noting()

    def noted(*given):
        with noting:
            return answer(*given)

    call(noted, x, weight, down, up, 4.0)
    if noting.shapes & {(5, 6), (6, 5)}:
        raise Wrong(
            "The numbers are right, but a matrix as large as `weight` was made on the way. Let x "
            "go through the two thin matrices, one after the other."
        )


class Noting(TorchFunctionMode):
    """While it lasts, the shapes of all tensors that are made; to turn one round makes none."""

    def __init__(self):
        super().__init__()
        self.shapes: set[tuple[int, ...]] = set()

    def __torch_function__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        given = {a.data_ptr() for a in args if isinstance(a, Tensor)}
        if isinstance(out, Tensor) and out.data_ptr() not in given:
            self.shapes.add(tuple(out.shape))
        return out
