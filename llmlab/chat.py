"""The chat template, batches of (prompt, answer), sampling answers, scoring them."""

import math
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from statistics import mean
from typing import TypeVar

import torch
from torch import Tensor

from llmlab import kitchen
from llmlab.artifacts import LabError
from llmlab.core.losses import token_logprobs
from llmlab.core.model import Transformer
from llmlab.core.sampling import generate
from llmlab.core.tokenizer import BPE
from llmlab.corpus import long_runs
from llmlab.kitchen import Request, Score
from llmlab.scale import cuda_graphs
from llmlab.training.model_copies import to_compute_dtype

MAX_ANSWER = 64  # ids
Row = TypeVar("Row")
Example = tuple[list[int], ...]  # what is read, what is learned, in turns: (prompt, answer), mostly


class ChatTemplate:
    """Requests and answers as ids.  What a user types can never become a special token."""

    def __init__(self, tokenizer: BPE):
        self.tokenizer, self.encoding = tokenizer, tokenizer.to_tiktoken()
        self.user, self.assistant, self.end = map(
            tokenizer.special, ("<|user|>", "<|assistant|>", "<|end|>")
        )

    def prompt(self, request: str) -> list[int]:
        """<|user|> request <|assistant|>"""
        return [self.user, *self.encode(request), self.assistant]

    def answer(self, text: str) -> list[int]:
        """answer <|end|>"""
        return [*self.encode(text), self.end]

    def encode(self, text: str) -> list[int]:
        """Ids of a text without special tokens."""
        return long_runs.encode(self.encoding, text)

    def read(self, answer: list[int]) -> str:
        """The text of an answer's ids, without the end."""
        return self.tokenizer.decode(answer).removesuffix("<|end|>")


@dataclass(frozen=True)
class Batch:
    """Prompts with their answers, padded on the right: attention is causal, so padding after an
    answer changes nothing before it.

    ids: (B, T).  mask: (B, T - 1), true where the *next* id belongs to the answer.
    """

    ids: Tensor
    mask: Tensor

    @classmethod
    def of(cls, examples: list[Example], device="cpu") -> "Batch":
        """From (prompt, answer) ids, or (prompt, answer, prompt, answer, ...); rounded up to
        eights, so that few shapes come up."""
        longest = -(-max(map(n_ids, examples)) // 8) * 8
        ids = torch.zeros(len(examples), longest, dtype=torch.long)
        mask = torch.zeros(len(examples), longest - 1, dtype=torch.bool)
        for row, example in enumerate(examples):
            end = 0
            for turn, part in enumerate(example):
                start, end = end, end + len(part)
                ids[row, start:end] = torch.tensor(part)
                if turn % 2:
                    mask[row, start - 1 : end - 1] = True
        return cls(ids.to(device), mask.to(device))

    @property
    def targets(self) -> Tensor:
        return self.ids[:, 1:]

    def lengths(self) -> Tensor:
        """Column of the last id of each last answer: (B,)."""
        return self.mask.shape[1] - self.mask.flip(1).int().argmax(1)


def answer_logprobs(model: Transformer, batch: Batch, hidden: Tensor | None = None) -> Tensor:
    """Log-probability of each answer id, 0 elsewhere: (B, T - 1)."""
    hidden = model.hidden(batch.ids[:, :-1]) if hidden is None else hidden
    logp = token_logprobs(model.head(hidden[batch.mask]), batch.targets[batch.mask])
    return torch.zeros(batch.mask.shape, device=logp.device).masked_scatter(batch.mask, logp)


def n_ids(example: Example) -> int:
    """How long an example is."""
    return sum(map(len, example))


def micro_batches(rows: list[Row], most: int, length: Callable[[Row], int] = n_ids):
    """Lists of rows for gradient accumulation: at most `most` ids in each, padding counted; a row
    that is longer stands alone.  Rows are sorted by length, so that little of a list is padding.

    length: ids of a row, which is an `Example` unless this says otherwise.
    """
    parts: list[list[Row]] = []
    for row in sorted(rows, key=length):
        if parts and (len(parts[-1]) + 1) * length(row) <= most:
            parts[-1].append(row)
        else:
            parts.append([row])
    return parts


@dataclass
class Sample:
    """An answer of a model's own, and what RL makes of it.

    request: the text that was answered.  prompt, answer: ids.  text: the answer, read.  score: what
    the request's judge says of it.  Then, from the step that learns from it: reward; parts, what
    its judges said by name; advantage and log_ratio, a number for each id of the answer.  log_ratio
    is log(policy / reference), whose sum estimates the answer's KL.
    """

    request: str
    prompt: list[int]
    answer: list[int]
    text: str
    score: Score
    reward: float = 0.0
    parts: dict[str, float] = field(default_factory=dict)
    advantage: list[float] = field(default_factory=list)
    log_ratio: list[float] = field(default_factory=list)

    @property
    def row(self) -> Example:
        return self.prompt, self.answer

    def __len__(self) -> int:
        return n_ids(self.row)


def generate_answers(
    model: Transformer,
    chat: ChatTemplate,
    requests: list[str],
    temperature: float = 0.8,
    seed: int = 0,
    batch: int = 256,
    max_new_tokens: int = MAX_ANSWER,
    n: int = 1,
) -> list[list[int]]:
    """n answers to each request as ids, one request's after the other; `max_new_tokens` ids at the
    most, `<|end|>` included where the model came to an end.

    LabError where a request is too long for the model's context, or the temperature is none.
    """
    prompts = [chat.prompt(request) for request in requests]
    return answer_prompts(model, chat, prompts, temperature, seed, batch, max_new_tokens, n)


def answer_prompts(
    model: Transformer, chat: ChatTemplate, prompts: list[list[int]], temperature: float = 0.8,
    seed: int = 0, batch: int = 256, max_new_tokens: int = MAX_ANSWER, n: int = 1,
) -> list[list[int]]:  # fmt: skip
    """As `generate_answers`, of requests that are ids already.  batch: answers that are written at
    once."""
    check_temperature(temperature)
    check_context(model, prompts, max_new_tokens)
    generator = torch.Generator(model.embed.weight.device).manual_seed(seed)
    write = cuda_graphs.generate if model.embed.weight.is_cuda else generate
    model = to_compute_dtype(model)
    how = {"temperature": temperature, "generator": generator, "num_return_sequences": n}
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    answers: list[list[list[int]]] = [[]] * len(prompts)
    size = max(1, batch // n)
    for i in range(0, len(order), size):
        rows = order[i : i + size]
        outs = write(model, [prompts[j] for j in rows], max_new_tokens, chat.end, **how)
        for k, j in enumerate(rows):
            answers[j] = outs[k * n : (k + 1) * n]
    return [answer for group in answers for answer in group]


def sample_answers(
    model: Transformer, chat: ChatTemplate, requests: list, texts: list[str], n: int = 1, **how
) -> list[Sample]:
    """n answers to each request, each judged by its request: one request's after the other.

    requests: what judges (`Request`, `gsm8k.Problem`); texts: how they are worded.  how: as for
    `answer_prompts`.
    """
    prompts = [chat.prompt(text) for text in texts]
    answers = answer_prompts(model, chat, prompts, n=n, **how)
    asked = [one for one in zip(requests, texts, prompts, strict=True) for _ in range(n)]
    samples = []
    for (request, text, prompt), answer in zip(asked, answers, strict=True):
        said = chat.read(answer)
        samples.append(Sample(text, prompt, answer, said, request.judge(said)))
    return samples


def check_context(
    model: Transformer, prompts: Iterable[list[int]], max_new_tokens: int = MAX_ANSWER
) -> None:
    """LabError where a prompt and an answer do not go into the model's context together."""
    longest, room = max(map(len, prompts), default=0), model.config.max_seq_len - max_new_tokens
    if longest > room:
        raise LabError(
            f"A request of {longest:,} tokens cannot be answered, this model has room for "
            f"{max(0, room):,} beside an answer. Say it in fewer words."
        )


def answer_requests(
    model: Transformer, chat: ChatTemplate, requests: list[Request], seed: int = 0, **how
) -> list[Sample]:
    """A model's answers to requests, which the seed words alike for all models; temperature 0.8
    unless `how` says otherwise."""
    rng = random.Random(seed)
    return sample_answers(model, chat, requests, [r.text(rng) for r in requests], seed=seed, **how)


def judge_answers(requests: list, chat: ChatTemplate, answers: list[list[int]]) -> list[Score]:
    """Scores of answers, each by its request's own judge; one that never ended is judged as the
    text that it is."""
    return [r.judge(chat.read(a)) for r, a in zip(requests, answers, strict=True)]


def score_model(
    model: Transformer, chat: ChatTemplate, requests: list[Request], seed: int = 0
) -> list[Score]:
    """A model's scores on requests, as `answer_requests` asks them."""
    return [sample.score for sample in answer_requests(model, chat, requests, seed)]


FIGURES = {  # name of a figure -> the ability that it measures
    "wellformed": "well-formed", "asked_all": "asked foods", "once_all": "nothing twice",
    "vegetarian_all": "vegetarian", "number_all": "number", "kind": "kind of dish",
    "identity": "who it is", "kept": "every rule",
}  # fmt: skip


def summary(requests: list[Request], scores: list[Score]) -> dict[str, float]:
    """The share of answers that pass, for each ability that a request asks for; means of taste
    and of the gold judge."""
    passed = {
        name: kitchen.ability_scores(requests, scores, what) for name, what in FIGURES.items()
    }
    dishes = [s for r, s in zip(requests, scores, strict=True) if not r.identity]
    return {
        **{name: mean(found) for name, found in passed.items() if found},
        "taste": mean(s.taste for s in dishes),
        "gold": mean(s.gold for s in dishes),
    }


def evaluate(model: Transformer, tokenizer: BPE, n: int = 300, seed: int = 0) -> dict[str, float]:
    """The figures of an assistant on the evaluation set: the one score that a model has."""
    requests = kitchen.evaluation_set(n)
    return summary(requests, score_model(model, ChatTemplate(tokenizer), requests, seed))


def check_temperature(temperature: float) -> None:
    """LabError for what is no temperature to sample at."""
    if not 0 <= temperature < math.inf:
        raise LabError(f"A temperature is 0 or more, and not {temperature}; nothing was done.")
