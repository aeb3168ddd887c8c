"""Conversations for supervised fine-tuning at size: SmolTalk's, and GSM8K's worked answers.

A conversation becomes the ids of our chat format, turn after turn, of which the assistant's alone
are learned.
"""

import random
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from llmlab.artifacts import LabError
from llmlab.chat import ChatTemplate, Example
from llmlab.datasets import gsm8k, hub_datasets

if TYPE_CHECKING:
    from datasets import Dataset

TRIES = 50  # conversations that may be of no use before the kitchen's example is taken
MESSAGES = {"smoltalk": lambda row: row["messages"], "gsm8k": gsm8k.messages}


ROLES = {  # what others call those who speak
    "human": "user", "gpt": "assistant", "bot": "assistant", "chatbot": "assistant",
    "model": "assistant", "developer": "system",
}  # fmt: skip
LOOKED_AT = 200  # conversations, before any is learned


def _role(name: str) -> str:
    """Who speaks: user, assistant, system, or another, such as a tool."""
    return ROLES.get(name.lower(), name.lower())


def turns(messages: list[dict]) -> list[tuple[str, str]]:
    """(request, answer) of each turn, up to where user and assistant no longer take turns.

    Our chat format has no place for a system's words, so they stand before the first request.
    """
    said = [(_role(message["role"]), message["content"].strip()) for message in messages]
    before = ""
    if said and said[0][0] == "system":
        before = said.pop(0)[1] + "\n\n"
    out = []
    for (asks, request), (answers, answer) in zip(said[::2], said[1::2], strict=False):
        if (asks, answers) != ("user", "assistant") or not request or not answer:
            break
        out.append((request if out else before + request, answer))
    return out


def example(chat: ChatTemplate, taken: list[tuple[str, str]], room: int) -> Example | None:
    """The ids of as many whole turns as go into `room`: request, answer, request, answer, ...

    Of a first answer that is too long its beginning is learned, without an end; None where there
    is no room for one.
    """
    parts, left = [], room
    for request, answer in taken:
        prompt, said = chat.prompt(request), chat.answer(answer)
        if not parts:
            said = said[: max(0, left - len(prompt))]
        left -= len(prompt) + len(said)
        if left < 0 or not said:
            break
        parts += [prompt, said]
    return tuple(parts) or None


@dataclass(frozen=True)
class Conversations:
    """Conversations to be drawn, beside the kitchen's own examples.

    rows: name of a data set -> (its share of all examples, its rows).  room: ids that a
    conversation may have, at most the model's context.
    """

    rows: dict[str, tuple[float, "Dataset"]]
    chat: ChatTemplate
    room: int

    def draw(self, rng: random.Random) -> Example | None:
        """A conversation; None where it is the kitchen's turn.  LabError for a row that is none."""
        place = rng.random()
        for name, (share, rows) in self.rows.items():
            place -= share
            if place < 0:
                found = (self._read(name, rows, rng.randrange(len(rows))) for _ in range(TRIES))
                return next(filter(None, found), None)
        return None

    def _read(self, name: str, rows: "Dataset", number: int) -> Example | None:
        try:
            return example(self.chat, turns(MESSAGES[name](rows[number])), self.room)
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise LabError(
                f"Row {number} of {name} is no conversation ({error!r}). Nothing of it was "
                "learned: look at its files, or leave it out of the profile's data sets."
            ) from None

    def check(self) -> None:
        """Say which share of a data set's conversations is of no use, by a look at some of them.
        LabError where none is of use."""
        for name, (_, rows) in self.rows.items():
            some = random.Random(name).sample(range(len(rows)), min(LOOKED_AT, len(rows)))
            unread = sum(self._read(name, rows, number) is None for number in some)
            if unread == len(some):
                raise LabError(
                    f"None of {len(some)} conversations of {name} begins with a user and an "
                    f"assistant and has room for both in {self.room} ids. Nothing of it was "
                    "learned: look at its files, or leave it out of the profile's data sets."
                )
            if unread:
                share = unread / len(some)
                print(f"{name}: {share:.0%} of the conversations are of no use and left out.")

    def about(self) -> dict:
        """What a checkpoint says of them: two runs with equal values can go on from each other."""
        return {name: [share, len(rows)] for name, (share, rows) in self.rows.items()}


def load_conversations(
    shares: dict[str, float], folder: Path | None, chat: ChatTemplate, room: int
) -> Conversations | None:
    """The conversations of a profile's data sets; of those that cannot be had the reason is
    printed.  None where there are none.  LabError where one has none that is of use."""
    found = {
        source.name: (share, rows)
        for source, share in hub_datasets.of_stage("sft", shares).items()
        if (rows := hub_datasets.or_none(source, folder)) is not None
    }
    if not found:
        return None
    made = Conversations(found, chat, room)
    made.check()
    return made
