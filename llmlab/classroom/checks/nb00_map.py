"""Checks of notebook 00: shares, parameters, GPU-hours, conversations in memory."""

import math
from dataclasses import replace

from llmlab.classroom import Wrong, call, exercise
from llmlab.classroom.compare import number, recognise
from llmlab.core.model import ModelConfig
from llmlab.stages import costs


@exercise("00.share")
def share(answer) -> None:
    """share(bill, stage): the stage's share of the whole bill."""
    bill, stage = {"pretraining": 61.0, "SFT": 3.0, "RL": 13.0}, "pretraining"
    cost, whole = bill[stage], sum(bill.values())
    mistakes = {
        "That is a percentage. A share lies between 0 and 1.": 100 * cost / whole,
        "That compares the stage with the other stages. Compare it with all of them together, "
        "itself included.": cost / (whole - cost),
        "That is what the other stages take. Turn it round.": 1 - cost / whole,
        "That is the stage's cost itself. Put it in relation to the whole bill.": cost,
        "That is upside down: the whole is larger than its part, and a share is at most 1.": whole
        / cost,
        "That compares the stage with the dearest one. Compare it with the sum.": 1.0,
        "That treats all stages as equally dear, as the picture with four boxes does.": 1 / 3,
    }
    value = number(call(answer, bill, stage))
    recognise(value, cost / whole, mistakes, "the share, for a bill of 61, 3 and 13,")
    value = number(call(answer, bill, "SFT"))
    if not math.isclose(value, 3 / 77, rel_tol=1e-6):
        raise Wrong("Right for pretraining, wrong for SFT. Does the answer use `stage`?")
    if not math.isclose(number(call(answer, {"RL": 2.0, "SFT": 5.0}, "RL")), 2 / 7, rel_tol=1e-6):
        raise Wrong("Right for one bill, wrong for another. Does the answer use `bill`?")


SHAPE = ModelConfig(
    vocab_size=11, dim=6, n_layers=2, n_heads=3, n_kv_heads=1, hidden_dim=10, head_dim=4,
    tie_embeddings=False, qk_norm=True,
)  # fmt: skip


@exercise("00.params", must=True)
def params(answer) -> None:
    """count(c): the parameters of a Transformer in the Llama layout."""
    c, n = SHAPE, costs.total(SHAPE)
    blocks = n - 2 * c.vocab_size * c.dim - c.dim
    matrix = c.n_heads * c.head_dim * c.dim  # of the queries, and of the output
    mistakes = {
        "The head is missing. Here `tie_embeddings` is False: the way out has a table of its own."
        : n - c.vocab_size * c.dim,
        "That gives every query head keys and values of its own. Some share: see `n_kv_heads`."
        : costs.total(replace(c, n_kv_heads=c.n_heads)),
        "An MLP of two matrices was counted. SwiGLU has a gate as well."
        : n - c.n_layers * c.dim * c.hidden_dim,
        "Only one layer was counted.": n - blocks / 2,
        "The norms are missing: each has a weight for every number that it scales."
        : n - costs.parameters(c)["norms"],
        "The last norm, between the blocks and the head, is missing.": n - c.dim,
        "`qk_norm` is True here: queries and keys have a norm each in every layer, as wide as a "
        "head.": n - 2 * c.n_layers * c.head_dim,
        "Attention lacks a matrix. Queries, keys, values: and what brings the heads together?"
        : n - c.n_layers * matrix,
        "Heads are `head_dim` wide here, which need not be `dim // n_heads`."
        : costs.total(replace(c, head_dim=c.dim // c.n_heads)),
        "Four square matrices make attention only where no head shares its keys, and the heads "
        "together are as wide as the model.": n
        - costs.parameters(c)["attention"] + c.n_layers * 4 * c.dim * c.dim,
        "Only the matrices of the blocks were counted. What turns ids into vectors?": blocks,
    }  # fmt: skip
    what = "the sum (write down one part after the other and add), for a shape"
    recognise(number(call(answer, c)), n, mistakes, f"{what} with a head of its own,")
    tied = replace(c, tie_embeddings=True, qk_norm=False)
    n = costs.total(tied)
    mistakes = {
        "Right for an untied head. Where `tie_embeddings` is True, the same table serves twice "
        "and is learned once.": n + c.vocab_size * c.dim,
        "Right so far. Where `qk_norm` is False, queries and keys have no norm."
        : n + 2 * c.n_layers * c.head_dim,
        "Right for one shape. Look at `tie_embeddings` and at `qk_norm`: both can be False, and "
        "both can be True.": costs.total(c),
    }  # fmt: skip
    recognise(number(call(answer, tied)), n, mistakes, f"{what} whose head is tied,")


@exercise("00.hours")
def hours(answer) -> None:
    """hours(n, tokens, peak, utilisation): GPU-hours of a training."""
    n, tokens, peak, used = 7e9, 2e12, 3e14, 0.35
    right = costs.gpu_hours(costs.train_flops(n, tokens), peak, used)
    mistakes = {
        "Those are seconds, and hours are asked for.": right * 3600,
        "Those are minutes, and hours are asked for.": right * 60,
        "Those are days, and hours are asked for.": right / 24,
        "That is the cost of reading the tokens. Learning from them has a way back, too."
        : right / 3,
        "That is the cost of the way back alone. The way there comes before it.": right * 2 / 3,
        "That is what a GPU at its peak would take. None reaches it: use the utilisation."
        : right * used,
        "A GPU that reaches less of its peak takes longer, not shorter. Where does the "
        "utilisation belong?": right * used**2,
        "The utilisation is a share between 0 and 1 already, not a percentage.": right * 100,
        "That is only what there is to do, in FLOPs. How fast is it done?": 6 * n * tokens,
    }  # fmt: skip
    value = number(call(answer, n, tokens, peak, used))
    recognise(value, right, mistakes, "the number of hours, for 7 billion parameters,")
    other = number(call(answer, 1e9, 3e10, 5e13, 0.25))
    if not math.isclose(other, 4000, rel_tol=1e-6):
        raise Wrong("Right for one training, wrong for another. Does it use all that it is given?")


@exercise("00.chats")
def chats(answer) -> None:
    """chats(c, n, memory, length): conversations that fit beside the weights, all in 16 bits."""
    c = ModelConfig(dim=96, n_layers=10, n_heads=8, n_kv_heads=2, head_dim=16)
    n, memory, length = 1e6, 31e6, 90
    cache = costs.kv_cache_memory(c, length)
    room = memory - 2 * n
    mistakes = {
        "That is about twice too many. The cache keeps keys and values, two bytes for each number."
        : 2 * room // cache,
        "The weights take room, too. Take it away first.": memory // cache,
        "The weights have two bytes a parameter, not one.": (memory - n) // cache,
        "The weights have two bytes a parameter here, not four.": (memory - 4 * n) // cache,
        "That is room for so many tokens. A conversation has `length` of them."
        : room // (cache / length),
        "Every layer keeps keys and values of its own.": room // (cache / c.n_layers),
        "The cache holds key-value heads, and there are fewer of these than of query heads."
        : room // (cache * c.n_heads / c.n_kv_heads),
        "The cache holds `n_kv_heads` times `head_dim` numbers for a key, not `dim`."
        : room // (cache * c.dim / c.n_kv_heads / c.head_dim),
        "That counts four bytes a number in the cache.": room // (2 * cache),
        "Half a conversation does not fit: only whole ones count.": room / cache,
        "That rounds up: the last conversation would not fit.": room // cache + 1,
    }  # fmt: skip
    recognise(number(call(answer, c, n, memory, length)), room // cache, mistakes, "the number")
    if number(call(answer, c, n, 1e6, length)) != 0:
        raise Wrong("When not even the weights fit, no conversation does. What comes out then?")
    c, n, memory, length = replace(c, n_layers=3, n_kv_heads=4), 2e6, 25e6, 40
    right = (memory - 2 * n) // costs.kv_cache_memory(c, length)
    if number(call(answer, c, n, memory, length)) != right:
        raise Wrong("Right for one model, wrong for another. Does it use all that it is given?")
