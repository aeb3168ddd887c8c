"""GGUF files, written here by the package `gguf` from random models of `transformers`."""

import sys

import numpy as np
import pytest
import torch
import transformers

from llmlab.artifacts import LabError
from llmlab.hub import load_hf
from llmlab.hub.hub_tokenizer import byte_characters

gguf = pytest.importorskip("gguf", reason="the package gguf is not installed")

NAMES = {  # of `transformers` -> of GGUF
    "model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output",
    "model.layers": "blk", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm",
    "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
}  # fmt: skip
LLAMA31 = {
    "rope_type": "llama3", "rope_theta": 500000.0, "factor": 8.0, "low_freq_factor": 1.0,
    "high_freq_factor": 4.0, "original_max_position_embeddings": 8192,
}  # fmt: skip
SHAPE = {
    "vocab_size": 320, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16, "rms_norm_eps": 1e-5,
    "max_position_embeddings": 64, "initializer_range": 0.1,
}  # fmt: skip
IDS = torch.randint(0, 320, (2, 64), generator=torch.Generator().manual_seed(0))


def random_model(kind: str = "Llama", **changes):
    torch.manual_seed(0)
    config = getattr(transformers, f"{kind}Config")(**SHAPE | changes)
    model = getattr(transformers, f"{kind}ForCausalLM")(config).eval()
    for name, p in model.named_parameters():
        if "norm" in name:
            torch.nn.init.normal_(p, 1.0, 0.2)
    return model


def side_by_side(weight: np.ndarray, heads: int) -> np.ndarray:
    """Rows of queries or keys as llama.cpp orders them: the two of a rotary pair together."""
    left, right = np.split(weight.reshape(heads, -1, weight.shape[1]), 2, axis=1)
    return np.stack((left, right), axis=2).reshape(weight.shape)


def write(path, model, quantised=None, tokenizer=True, **fields) -> None:
    """A model as a GGUF file, its matrices quantised where a type is given."""
    config = model.config
    kind = config.model_type
    writer = gguf.GGUFWriter(path, kind)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(config.head_dim)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    if config.rope_parameters["rope_type"] == "linear":
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(config.rope_parameters["factor"])
    if config.rope_parameters["rope_type"] == "llama3":
        plain = config.rope_parameters["rope_theta"] ** (-torch.arange(0, 16, 2) / 16)
        writer.add_tensor("rope_freqs.weight", (plain / model.model.rotary_emb.inv_freq).numpy())
    for name, value in fields.items():
        writer.add_key_value(f"{kind}.{name}", value, gguf.GGUFValueType.UINT32)
    if tokenizer:
        write_tokenizer(writer)
    weights = {n: p.detach().numpy() for n, p in model.named_parameters()}
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
    for name, weight in weights.items():
        part = name.split(".")[-2]
        if part in heads and kind == "llama":
            weight = side_by_side(weight, heads[part])
        for theirs, short in NAMES.items():
            name = name.replace(f"{theirs}.", f"{short}.")
        if quantised and weight.ndim == 2:
            data = gguf.quants.quantize(weight, quantised)
            writer.add_tensor(name, data, raw_dtype=quantised)
        else:
            writer.add_tensor(name, weight)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def write_tokenizer(writer) -> None:
    """All bytes, two merges and an end: "the" and "th" are tokens, digits stand alone."""
    tokens = ["<|end|>", *byte_characters(), "th", "the", *[f"[PAD{i}]" for i in range(259, 320)]]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(tokens)
    writer.add_token_types([3, *[1] * 258, *[5] * 61])
    writer.add_token_merges(["t h", "th e"])
    writer.add_eos_token_id(0)
    writer.add_chat_template("{{ messages[0]['content'] }}")


MODELS = {
    "Llama": ("Llama", {}),
    "tied": ("Llama", {"tie_word_embeddings": True}),
    "linear": ("Llama", {"rope_parameters": {
        "rope_type": "linear", "rope_theta": 100.0, "factor": 4.0}}),
    "Llama 3.1": ("Llama", {"rope_parameters": LLAMA31}),
    "Qwen3": ("Qwen3", {"head_dim": 32}),
}  # fmt: skip


@pytest.mark.parametrize("name", MODELS)
@torch.no_grad()
def test_the_same_logits_as_transformers(name, tmp_path):
    kind, changes = MODELS[name]
    theirs = random_model(kind, **changes)
    write(tmp_path / "model.gguf", theirs)
    model, _, meta = load_hf(tmp_path / "model.gguf")
    assert (theirs(IDS).logits - model(IDS)).abs().max() < 1e-4
    assert meta["hf"]["model_type"] == kind.lower()
    assert model.config.tie_embeddings == (name == "tied")


@torch.no_grad()
def test_fewer_bits_are_nearly_the_same(tmp_path):
    theirs = random_model()
    logits = theirs(IDS).logits
    far = {}
    for name, kind in (("f16", "F16"), ("q8", "Q8_0"), ("q4", "Q4_0")):
        write(tmp_path / f"{name}.gguf", theirs, gguf.GGMLQuantizationType[kind])
        model, _, _ = load_hf(tmp_path / f"{name}.gguf")
        far[name] = ((logits - model(IDS)).norm() / logits.norm()).item()
    print({name: f"{share:.2%}" for name, share in far.items()})
    assert far["f16"] < 5e-3 < far["q8"] < 0.05 < far["q4"] < 0.6


def test_its_tokenizer_comes_with_it(tmp_path):
    write(tmp_path / "model.gguf", random_model())
    _, tokenizer, _ = load_hf(tmp_path / "model.gguf")
    ids = tokenizer.encode("the 12<|end|>")
    assert tokenizer.decode(ids) == "the 12<|end|>" and tokenizer.special("<|end|>") == 0 not in ids
    assert len(ids) == 1 + 1 + 2 + 7 and ids[0] == 258
    assert tokenizer.vocab_size == 320
    write(tmp_path / "none.gguf", random_model(), tokenizer=False)
    assert load_hf(tmp_path / "none.gguf")[1] is None


# --- Wrong files ----------------------------------------------------------------------------


def test_another_kind_is_refused(tmp_path):
    model = random_model()
    write(tmp_path / "experts.gguf", model, expert_count=4)
    with pytest.raises(LabError, match="mixture of experts"):
        load_hf(tmp_path / "experts.gguf")
    write(tmp_path / "half.gguf", model, **{"rope.dimension_count": 8})
    with pytest.raises(LabError, match="part of each head"):
        load_hf(tmp_path / "half.gguf")
    model.config.model_type = "gemma"
    write(tmp_path / "gemma.gguf", model)
    with pytest.raises(LabError, match="architecture is 'gemma'"):
        load_hf(tmp_path / "gemma.gguf")
    strange = {**LLAMA31, "high_freq_factor": 64.0}
    write(tmp_path / "strange.gguf", random_model(rope_parameters=strange))
    with pytest.raises(LabError, match="not those of Llama 3"):
        load_hf(tmp_path / "strange.gguf")


@pytest.mark.parametrize("kind", ["one more", "one less"])
def test_other_tensors_than_those_of_a_plain_model_are_refused(kind, tmp_path):
    """`transformers` drops the one and makes up the other, with no more than a warning."""
    model = random_model()
    if kind == "one more":
        model.model.layers[0].self_attn.o_proj.bias = torch.nn.Parameter(torch.ones(64))
    else:
        del model.model.layers[1].mlp.up_proj
    write(tmp_path / "model.gguf", model)
    with pytest.raises(LabError, match="not just the tensors of a plain one"):
        load_hf(tmp_path / "model.gguf")


def test_without_the_packages_a_sentence_says_what_to_install(tmp_path, monkeypatch):
    write(tmp_path / "model.gguf", random_model())
    for name in ("accelerate", "gguf"):
        monkeypatch.setitem(sys.modules, name, None)
        with pytest.raises(LabError, match=f"pip install.*{name}"):
            load_hf(tmp_path / "model.gguf")


def test_a_file_that_is_missing_or_damaged_is_refused(tmp_path):
    with pytest.raises(LabError, match="There is no file"):
        load_hf(tmp_path / "nothing.gguf")
    write(tmp_path / "model.gguf", random_model())
    whole = (tmp_path / "model.gguf").read_bytes()
    for name, data in {"cut": whole[:-5000], "text": b"no model at all, but words", "empty": b"",
                       "head": whole[:100]}.items():  # fmt: skip
        (tmp_path / f"{name}.gguf").write_bytes(data)
        with pytest.raises(LabError, match="does not hold a model"):
            load_hf(tmp_path / f"{name}.gguf")
