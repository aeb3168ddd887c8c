"""Models for the widgets that look into one: the slow-cooked base, and a small random one."""

import pytest
import torch

import llmlab
from llmlab.core.model import ModelConfig, Transformer
from llmlab.core.tokenizer import train_bpe


@pytest.fixture(scope="session")
def base():
    model, tokenizer, _ = llmlab.setup().latest("base", mine=False)
    return model, tokenizer


@pytest.fixture(scope="session")
def small():
    """A model of random weights, 2 layers of 3 heads, with room for 40 tokens."""
    torch.manual_seed(0)
    tokenizer = train_bpe("Melt the butter, then stir. " * 9, 277)
    config = ModelConfig(vocab_size=277, dim=32, n_layers=2, n_heads=3, n_kv_heads=3, head_dim=8,
                         hidden_dim=48, max_seq_len=40)  # fmt: skip
    model = Transformer(config)
    for p in model.parameters():
        torch.nn.init.normal_(p, std=0.3)
    return model, tokenizer
