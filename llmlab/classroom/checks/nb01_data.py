"""Checks of notebook 01: a rule, leaks, precision and recall, temperature."""

from collections.abc import Callable

from llmlab.classroom import Wrong, call, exercise
from llmlab.classroom.compare import as_list, close, number, recognise
from llmlab.classroom.exercises import kind


def truth(function: Callable, *args) -> bool:
    """What the learner's function says, as True or False; Wrong when it is neither."""
    value = call(function, *args)
    if getattr(value, "shape", ()) != () or value not in (True, False):
        raise Wrong(f"The function should say True or False, and gives back {kind(value)}.")
    return bool(value)


def expect(function: Callable, cases: list[tuple[tuple, bool, str]]) -> None:
    """Each case: arguments, what is right, the sentence for another answer."""
    for args, right, sentence in cases:
        if truth(function, *args) != right:
            raise Wrong(sentence)


@exercise("01.stop_words")
def stop_words(answer) -> None:
    """passes(text): at least two different stop words of Gopher's eight."""
    expect(answer, [
        (("Stir the soup and serve it hot.",), True,
         "A plain English sentence is thrown out. Which of its words are among the eight?"),
        (("Die Zwiebeln in Butter anbraten.",), False,
         "A sentence without any of the eight words passes. Is the answer turned round?"),
        (("Wash the rice.",), False,
         "A single stop word is enough for your function. The rule asks for two."),
        (("Wash the rice, the peas, the corn.",), False,
         "The same word, again and again, is let through. Two *different* ones are asked for."),
        (("Tofu, then other leathery breads",), False,
         "Words that only contain a stop word are counted: look at whole words."),
        (("The pan, TO the oven",), True, "Capitals hide a stop word from your function."),
        (("Add salt (to taste), and: stir.",), True,
         "A stop word beside a bracket or a comma is missed. Take the words without such signs."),
        (("Have it with us",), True,
         "Some of the eight are missing in your function. Does it use STOP_WORDS?"),
        (("of and that have with be",), True, "A text with more than two of them is thrown out."),
    ])  # fmt: skip


EXAM = ["Boil the rice in a wide pan until all of the water is gone."]


@exercise("01.leaks")
def leaks(answer) -> None:
    """leaks(text, exam, n): does the text share a run of n words with an exam text?"""
    other = "Peel a pear and eat it slowly in the shade of an old tree."
    expect(answer, [
        ((f"Found on the web. {EXAM[0]} Enjoy!", EXAM, 8), True,
         "A page that quotes a whole exam text is let through."),
        ((other, EXAM, 8), False, "A page that has nothing in common with the exam is accused."),
        ((EXAM[0], [*EXAM, other], 8), True,
         "A page that quotes one of two exam texts is let through: one leak is enough."),
        (("Today we boil the rice in a wide pan until noon.", EXAM, 8), True,
         "A page that quotes only a part of an exam text is let through: a run of n words is "
         "enough."),
        (("Today we boil the rice in a wide pan, and eat.", EXAM, 8), False,
         "A run that is shorter than n words is enough for your function."),
        (("The water of the pan is gone until the rice in a wide boil", EXAM, 8), False,
         "The same words in another order are taken for a leak. A run has an order."),
        (("boil  the rice,\nin a wide pan until noon", EXAM, 8), True,
         "Commas, capitals or line ends hide a leak. Compare words, not characters."),
        (("Boil the rice in a wide pan until", EXAM, 8), True,
         "A page of just n words is let through, and all of them are a run of the exam."),
        (("Boil the rice in a wide", EXAM, 8), False,
         "A page of fewer than n words cannot share a run of n; yours says that it does."),
        (("Peel a pear and eat it slowly in May", [*EXAM, other], 8), True,
         "Only the first exam text is looked at."),
        (("Boil the rice now", EXAM, 3), True, "Does your function use n?"),
        ((other, [], 8), False, "Without an exam nothing can leak."),
    ])  # fmt: skip


@exercise("01.precision", must=True)
def precision(answer) -> None:
    """quality(removed, dirt): precision and recall of a filter, from two sets."""
    removed, dirt = {1, 2, 3, 4, 5}, {4, 5, 6, 7, 8, 9, 10, 11}
    recognise(two_numbers(call(answer, removed, dirt)), [2 / 5, 2 / 8], {
        "These are the two, but the other way round: precision comes first.": [2 / 8, 2 / 5],
        "Those are percentages. A share lies between 0 and 1.": [40.0, 25.0],
        "Those are the shares of the mistakes. What is asked for is their opposite.":
        [3 / 5, 6 / 8],
        "The second one is again a share of what was removed. Recall is a share of the dirt.":
        [2 / 5, 2 / 5],
        "The first one is again a share of the dirt. Precision is a share of what was removed.":
        [2 / 8, 2 / 8],
        "That is what the sets have in common, out of both together: their Jaccard similarity.":
        [2 / 11, 2 / 11],
        "The sizes of the sets alone say nothing: what do they have in common?": [5 / 8, 8 / 5],
        "That is a count. Put it in relation, to one set and to the other.": [2.0, 2.0],
    }, "the pair of precision and recall")  # fmt: skip
    close(two_numbers(call(answer, {1}, {1, 2}))[1], 0.5, "the recall of another filter")
    if two_numbers(call(answer, set(), {1})) != [1.0, 0.0]:
        raise Wrong("A filter that removes nothing does nothing wrong: precision 1, recall 0.")
    if two_numbers(call(answer, {1}, set())) != [0.0, 1.0]:
        raise Wrong("Where there is no dirt, none can be missed: recall 1.")


def two_numbers(value: object) -> list[float]:
    """Precision and recall; Wrong for anything else."""
    value = as_list(value)
    if not isinstance(value, list) or len(value) != 2:
        raise Wrong("Two numbers are asked for: return precision, recall.")
    return [number(value[0], "the precision"), number(value[1], "the recall")]


@exercise("01.temperature")
def temperature(answer) -> None:
    """mix(sizes, alpha): source -> share of the mixture, sizes to the power of alpha."""
    sizes = {"a": 1.0, "b": 4.0, "c": 16.0}
    recognise(shares(answer, sizes, 0.5), [1 / 7, 2 / 7, 4 / 7], {
        "The ratios are right, but shares sum to 1. Divide by their sum.": [1, 2, 4],
        "That is the mixture as it lies there. Where is alpha?": [1 / 21, 4 / 21, 16 / 21],
        "Large sources became even larger. Is it 1 / alpha, where alpha is meant?":
        [1 / 273, 16 / 273, 256 / 273],
        "All sources get the same, which they should at alpha = 0 alone.": [1 / 3, 1 / 3, 1 / 3],
        "alpha multiplies the sizes in your function. It is an exponent.": [0.5, 2, 8],
        "Those are percentages. Shares sum to 1.": [100 / 7, 200 / 7, 400 / 7],
        "The smallest source got the most. Is the exponent's sign right?": [4 / 7, 2 / 7, 1 / 7],
        "Raise to the power first and divide by the sum of the powers then.":
        [21**-0.5, 2 * 21**-0.5, 4 * 21**-0.5],
    }, "the mixture of a, b and c")  # fmt: skip
    for alpha, right in ((1.0, 16 / 21), (0.0, 1 / 3)):
        close(shares(answer, sizes, alpha)[2], right, f"the share of c at alpha = {alpha:g}")
    close(
        shares(answer, {"x": 9.0, "y": 1.0}, 0.5), [0.75, 0.25], "the mixture of two other sources"
    )


def shares(answer, sizes: dict[str, float], alpha: float) -> list[float]:
    """The learner's shares in the order of `sizes`; Wrong for anything else."""
    value = call(answer, sizes, alpha)
    if not isinstance(value, dict) or set(value) != set(sizes):
        raise Wrong("A dictionary is asked for: each source of `sizes`, with its share.")
    return [number(value[name], f"the share of {name}") for name in sizes]
