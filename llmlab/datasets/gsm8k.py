"""Word problems for reinforcement learning at size: GSM8K's, with a verifier of their own.

A program reads the number that an answer ends with and compares it with the one that is right.
Cobbe et al. 2021.
"""

import random
import re
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING

from llmlab.artifacts import LabError
from llmlab.chat import ChatTemplate, generate_answers
from llmlab.core.model import Transformer
from llmlab.core.tokenizer import BPE
from llmlab.datasets import hub_datasets

if TYPE_CHECKING:
    from datasets import Dataset

LONGEST = 256  # ids of an answer, and no more than half of the model's context
# A sign counts where nothing stands before it that it could be taken from: 8-3 ends with 3.
NUMBER = re.compile(
    r"(?:(?<![\w).%])[-\u2212]\s?)?\$?(?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]+)(?:\.[0-9]+)?"
    r"|(?:(?<![\w).%])[-\u2212])?(?<![\w.])\.[0-9]+"
)
CALCULATOR = re.compile(r"<<[^<>]*>>")  # its annotations: <<48/2=24>>


def numbers(text: str) -> list[Decimal]:
    """All numbers of a text, in their order."""
    return [
        Decimal(re.sub(r"[,$\s]", "", found).replace("\u2212", "-"))
        for found in NUMBER.findall(text)
    ]


def stated(text: str) -> Decimal | None:
    """The number after the last "####"; None where there is none."""
    _, mark, rest = text.rpartition("####")
    return next(iter(numbers(rest)), None) if mark else None


def last_number(text: str) -> Decimal | None:
    """What an answer comes to: the number after "####", else the last one in it."""
    return stated(text) if "####" in text else next(reversed(numbers(text)), None)


def messages(row: dict) -> list[dict]:
    """A row of GSM8K as a conversation, without the calculator's annotations."""
    answer = CALCULATOR.sub("", row["answer"])
    return [{"role": "user", "content": row["question"]}, {"role": "assistant", "content": answer}]


@dataclass(frozen=True)
class VerifierScore:
    """The verifiable reward of an answer to a problem; it is read as a `kitchen.Score` is."""

    right: bool
    stated: bool  # whether it says "#### number", as it should
    once: float = 1.0

    @property
    def rules(self) -> float:
        return (self.right + self.stated) / 2

    @property
    def kept(self) -> bool:
        return self.right

    @property
    def parts(self) -> dict[str, float]:
        """What the verifier said, by name."""
        return {"right": float(self.right), "stated": float(self.stated)}


@dataclass(frozen=True)
class Problem:
    """A request that has one right number."""

    question: str
    answer: Decimal

    @classmethod
    def of(cls, row: dict) -> "Problem":
        """From a row of GSM8K; LabError where its answer states no number."""
        try:
            answer = stated(row["answer"])
            question = row["question"].strip()
        except (KeyError, TypeError, AttributeError):
            answer = None
        if answer is None:
            raise LabError(
                f"A row of gsm8k has no answer that ends with #### and a number: {str(row)[:120]}. "
                "Look at its files, or leave it out of the profile's data sets."
            )
        return cls(question, answer)

    def text(self, rng: random.Random) -> str:
        return self.question

    def judge(self, answer: str) -> VerifierScore:
        """The verifier."""
        return VerifierScore(last_number(answer) == self.answer, stated(answer) is not None)


@dataclass(frozen=True)
class Problems:
    """Problems to be drawn, beside the kitchen's own requests.

    share: of a step's requests.  test: problems that nothing is trained on, where they are here.
    longest: ids that an answer may have.
    """

    rows: "Dataset"
    share: float
    chat: ChatTemplate
    context: int
    test: "Dataset | None" = None

    def held_out(self) -> "Problems | None":
        """Those that nothing is trained on; None where they are not on this machine."""
        return None if self.test is None else replace(self, rows=self.test, test=None)

    @property
    def longest(self) -> int:
        return min(LONGEST, self.context // 2)

    def draw(self, n: int, rng: random.Random) -> list[Problem]:
        """n problems that leave room for an answer, fewer where there are not so many."""
        found = []
        for number in rng.sample(range(len(self.rows)), len(self.rows)):
            if len(found) == n:
                break
            problem = Problem.of(self.rows[number])
            if len(self.chat.prompt(problem.question)) <= self.context - self.longest:
                found.append(problem)
        return found


def load_problems(shares: dict[str, float], folder: Path | None, chat: ChatTemplate, context: int):
    """The problems of a profile's data sets; None where there are none, and why is printed."""
    for source, share in hub_datasets.of_stage("rl", shares).items():
        if (rows := hub_datasets.or_none(source, folder)) is not None:
            return Problems(rows, share, chat, context, hub_datasets.test_rows(source, folder))
    return None


def solve_rate(
    model: Transformer, tokenizer: BPE, problems: Problems, n: int = 200
) -> float | None:
    """The share of n problems that a model solves, at temperature 0; None where none has room."""
    asked, chat = problems.draw(n, random.Random(0)), ChatTemplate(tokenizer)
    if not asked:
        return None
    texts = [problem.question for problem in asked]
    answers = generate_answers(model, chat, texts, temperature=0.0, max_new_tokens=problems.longest)
    return mean(p.judge(chat.read(a)).right for p, a in zip(asked, answers, strict=True))
