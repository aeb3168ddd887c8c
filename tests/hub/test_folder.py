"""Hugging Face in and out: against `transformers` itself, with random weights."""

import json
from dataclasses import replace

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from llmlab import lab
from llmlab.artifacts import LabError
from llmlab.chat import ChatTemplate
from llmlab.core.model import ModelConfig, Transformer
from llmlab.core.optim import Optimizer
from llmlab.core.sampling import generate
from llmlab.core.tokenizer import BPE, SPECIALS, train_bpe
from llmlab.hub import load_hf, save_hf
from llmlab.hub.config import slowed
from llmlab.hub.tokenizer_json import CHAT_TEMPLATE
from llmlab.stages.lora import add_lora, save_adapter
from llmlab.training import loop

TEXTS = [
    "Lemon Chicken: chicken, lemon, garlic, butter, salt.\n\n  Don't it'LL 12345 67\t",
    "def f(x):\n    return x ** 2  # 好吃的面条 🍜🍜 naïve café ½ \u2028 end",
    "",
]
TOKENIZER = train_bpe(" ".join(TEXTS) * 2, 256 + 60 + len(SPECIALS))
LLAMA = ModelConfig(
    vocab_size=TOKENIZER.vocab_size, dim=32, n_layers=2, n_heads=4, n_kv_heads=4, head_dim=8,
    hidden_dim=48, max_seq_len=64, qk_norm=False, tie_embeddings=False,
)  # fmt: skip
SHAPES = {
    "Llama": LLAMA,
    "Llama, grouped and tied": replace(LLAMA, n_kv_heads=2, tie_embeddings=True),
    "Llama, other theta and eps": replace(LLAMA, rope_theta=500.0, norm_eps=1e-2),
    "Llama, slowed down": replace(LLAMA, rope_theta=slowed({
        "rope_type": "llama3", "rope_theta": 500.0, "factor": 8.0, "low_freq_factor": 1.0,
        "high_freq_factor": 4.0, "original_max_position_embeddings": 32,
    }, 8)),
    "Qwen3": replace(LLAMA, qk_norm=True),
    "Qwen3, slowed down": replace(LLAMA, qk_norm=True, rope_theta=slowed({
        "rope_type": "linear", "rope_theta": 100.0, "factor": 4.0,
    }, 8)),
    "Qwen3, grouped, tied, wide heads": replace(
        LLAMA, n_kv_heads=1, head_dim=16, qk_norm=True, tie_embeddings=True
    ),
}  # fmt: skip
IDS = torch.randint(0, LLAMA.vocab_size, (2, 30), generator=torch.Generator().manual_seed(0))


def random_model(config: ModelConfig) -> Transformer:
    """Every weight random, the norms' too, so that a name mixed up shows."""
    torch.manual_seed(0)
    model = Transformer(config)
    for p in model.parameters():
        torch.nn.init.normal_(p, mean=float(p.ndim == 1), std=0.2)
    return model


@pytest.fixture(scope="module", params=SHAPES)
def exported(request, tmp_path_factory):
    """A model, the folder that it was written to, and what `transformers` makes of it."""
    model, folder = random_model(SHAPES[request.param]), tmp_path_factory.mktemp("hf")
    save_hf(model, TOKENIZER, folder)
    opens = transformers.AutoModelForCausalLM.from_pretrained
    theirs, report = opens(folder, output_loading_info=True)
    assert not report["missing_keys"] and not report["unexpected_keys"]
    return model, folder, theirs


# --- The model ------------------------------------------------------------------------------


@torch.no_grad()
def test_transformers_computes_the_same_logits(exported):
    model, _, theirs = exported
    assert type(theirs).__name__.startswith("Qwen3" if model.config.qk_norm else "Llama")
    assert (theirs(IDS).logits - model(IDS)).abs().max() < 1e-4


def test_what_was_saved_loads_bit_for_bit(exported):
    model, folder, _ = exported
    loaded, tokenizer, meta = load_hf(folder)
    assert loaded.config == model.config == ModelConfig(**meta["config"])
    assert tokenizer == TOKENIZER
    assert torch.equal(loaded(IDS), model(IDS))
    assert (loaded.head.weight is loaded.embed.weight) == model.config.tie_embeddings


def test_the_config_says_what_transformers_would_else_guess(exported):
    model, folder, _ = exported
    config = json.loads((folder / "config.json").read_text())
    rope, ours = config["rope_parameters"], model.config.rope_theta
    if isinstance(ours, dict):
        assert slowed(rope, model.config.head_dim) == ours and "slower" not in rope
    else:
        assert rope == {"rope_type": "default", "rope_theta": ours}
    assert config["rope_theta"] == rope["rope_theta"]  # where transformers before 5 looks
    assert config["eos_token_id"] == TOKENIZER.special("<|end|>") and config["bos_token_id"] is None


def their_model(kind: str, **changes):
    """A random model made by `transformers`."""
    torch.manual_seed(1)
    shape = {
        "vocab_size": 97, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8,
        "max_position_embeddings": 64, "rms_norm_eps": 1e-5, "initializer_range": 0.3,
    }  # fmt: skip
    config = getattr(transformers, f"{kind}Config")(**shape | changes)
    model = getattr(transformers, f"{kind}ForCausalLM")(config).eval()
    for name, p in model.named_parameters():
        if "norm" in name:
            torch.nn.init.normal_(p, 1.0, 0.2)
    return model


SLOWED = {
    "linear": {"rope_type": "linear", "rope_theta": 100.0, "factor": 4.0},
    "llama3": {
        "rope_type": "llama3", "rope_theta": 500.0, "factor": 8.0, "low_freq_factor": 1.0,
        "high_freq_factor": 4.0, "original_max_position_embeddings": 32,
    },
}  # fmt: skip
SMOLLM2 = {  # a Llama of 9 heads in 3 groups, tied
    "hidden_size": 72, "num_attention_heads": 9, "num_key_value_heads": 3, "head_dim": 8,
    "tie_word_embeddings": True, "rope_parameters": {"rope_type": "default", "rope_theta": 1e5},
}  # fmt: skip
LAYOUTS = {
    "Llama": ("Llama", {}),
    "Llama, tied": ("Llama", {"tie_word_embeddings": True}),
    "Llama, linear": ("Llama", {"rope_parameters": SLOWED["linear"]}),
    "Llama 3.1": ("Llama", {"rope_parameters": SLOWED["llama3"]}),
    "SmolLM2": ("Llama", SMOLLM2),
    "Qwen3": ("Qwen3", {"head_dim": 16}),
    "Qwen3, tied": ("Qwen3", {"tie_word_embeddings": True}),
    "Qwen3, linear": ("Qwen3", {"rope_parameters": SLOWED["linear"]}),
}


def equal(theirs, model: Transformer) -> bool:
    """Whether both give the same logits within 1e-4, over the whole context."""
    ids = torch.randint(0, 97, (2, 64), generator=torch.Generator().manual_seed(2))
    return (theirs(ids).logits - model(ids)).abs().max() < 1e-4


@pytest.mark.parametrize("layout", LAYOUTS)
@torch.no_grad()
def test_every_layout_loads_whole_and_sharded(layout, tmp_path):
    kind, changes = LAYOUTS[layout]
    theirs = their_model(kind, **changes)
    for size, files in (("1GB", 1), ("20kB", 2)):
        theirs.save_pretrained(tmp_path / size, max_shard_size=size)
        assert len(list((tmp_path / size).glob("*.safetensors"))) >= files
        model, tokenizer, meta = load_hf(tmp_path / size)
        assert tokenizer is None and meta["hf"]["model_type"] == kind.lower()
        assert equal(theirs, model)


@pytest.mark.parametrize("layout", ["Llama, linear", "Llama 3.1"])
@torch.no_grad()
def test_rope_scaling_makes_the_difference_and_is_read_in_the_older_spelling(layout, tmp_path):
    theirs = their_model("Llama", **LAYOUTS[layout][1])
    theirs.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    rope = config.pop("rope_parameters")
    theta = rope.pop("rope_theta")
    (tmp_path / "config.json").write_text(
        json.dumps(config | {"rope_theta": theta, "rope_scaling": rope})
    )
    model, _, _ = load_hf(tmp_path)
    assert equal(theirs, model)
    plain = Transformer(replace(model.config, rope_theta=theta))
    plain.load_state_dict(model.state_dict())
    assert not equal(theirs, plain)


def test_rope_scaling_survives_a_checkpoint(tmp_path):
    their_model("Llama", rope_parameters=SLOWED["llama3"]).save_pretrained(tmp_path)
    model, _, _ = load_hf(tmp_path)
    tokenizer = BPE((), specials=())
    model.config = replace(model.config, vocab_size=256)
    model.embed.weight.data = torch.randn(256, 32)
    model.head.weight.data = torch.randn(256, 32)
    made = lab.setup("class", runs_dir=tmp_path)
    job = loop.TrainState(model, tokenizer, Optimizer(model.named_parameters()), made.path("base"))
    job.save()
    again, _, _ = made.load(made.path("base"))
    assert again.config == model.config and torch.equal(again.rope, model.rope)
    job.steps = 1
    job.save()
    assert loop.TrainState(model, tokenizer, Optimizer(model.named_parameters()), job.path).resume()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@torch.no_grad()
def test_weights_of_any_dtype_load(dtype, tmp_path):
    their_model("Llama").to(dtype).save_pretrained(tmp_path)
    theirs = transformers.LlamaForCausalLM.from_pretrained(tmp_path, dtype=torch.float32)
    model, _, _ = load_hf(tmp_path)
    assert model.embed.weight.dtype == torch.float32 and equal(theirs, model)


@torch.no_grad()
def test_the_older_config_loads(tmp_path):
    rope = {"rope_type": "default", "rope_theta": 300.0}
    theirs = their_model("Llama", rope_parameters=rope)
    theirs.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    del config["rope_parameters"], config["head_dim"]
    (tmp_path / "config.json").write_text(json.dumps(config | {"rope_theta": 300.0}))
    model, _, _ = load_hf(tmp_path)
    assert model.config.rope_theta == 300 and equal(theirs, model)


@pytest.mark.parametrize("gone", ["head_dim", "num_key_value_heads", "tie_word_embeddings"])
@pytest.mark.parametrize("kind", ["Llama", "Qwen3"])
@torch.no_grad()
def test_a_key_that_is_left_out_is_what_transformers_takes_it_to_be(kind, gone, tmp_path):
    heads = 32 if gone == "num_key_value_heads" else 4
    shape = {"num_attention_heads": heads, "num_key_value_heads": heads}
    width = 128 if (kind, gone) == ("Qwen3", "head_dim") else 8
    their_model(kind, head_dim=width, **shape).save_pretrained(tmp_path)
    set_config(tmp_path, **{gone: "gone"})
    theirs = getattr(transformers, f"{kind}ForCausalLM").from_pretrained(tmp_path)
    assert equal(theirs, load_hf(tmp_path)[0])


@pytest.mark.parametrize("kind", ["Llama", "Qwen3"])
@pytest.mark.parametrize("stored", ["both", "equal", "embed alone", "head alone"])
@torch.no_grad()
def test_a_tied_head_is_what_transformers_makes_of_what_is_stored(kind, stored, tmp_path):
    their_model(kind).save_pretrained(tmp_path)
    set_config(tmp_path, tie_word_embeddings=True)
    weights = load_file(tmp_path / "model.safetensors")
    embed, head = "model.embed_tokens.weight", "lm_head.weight"
    if stored == "equal":
        weights[head] = weights[embed].clone()
    elif stored != "both":
        del weights[head if stored == "embed alone" else embed]
    save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
    theirs = getattr(transformers, f"{kind}ForCausalLM").from_pretrained(tmp_path)
    model, _, _ = load_hf(tmp_path)
    assert equal(theirs, model)
    assert (
        model.config.tie_embeddings
        == (model.head.weight is model.embed.weight)
        == (stored != "both")
    )
    save_hf(model, TOKENIZER, tmp_path / "out")
    assert equal(theirs, load_hf(tmp_path / "out")[0])


# --- Shards ---------------------------------------------------------------------------------


@torch.no_grad()
def test_a_large_model_goes_out_in_shards_that_both_read(tmp_path):
    model = random_model(LLAMA)
    save_hf(model, TOKENIZER, tmp_path, max_shard_bytes=30_000)
    shards = sorted(tmp_path.glob("*.safetensors"))
    index = json.loads((tmp_path / "model.safetensors.index.json").read_text())
    assert len(shards) > 3 and {p.name for p in shards} == set(index["weight_map"].values())
    largest = max(t.nbytes for t in model.state_dict().values())
    assert all(p.stat().st_size < max(30_000, largest) + 4_000 for p in shards)
    assert index["metadata"]["total_size"] == sum(t.nbytes for t in model.state_dict().values())
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path)
    assert (theirs(IDS).logits - model(IDS)).abs().max() < 1e-4
    assert torch.equal(load_hf(tmp_path)[0](IDS), model(IDS))


@pytest.mark.parametrize("first, second", [(10**9, 30_000), (30_000, 10**9), (20_000, 50_000)])
def test_a_second_export_leaves_nothing_of_the_first(first, second, tmp_path):
    save_hf(random_model(replace(LLAMA, n_layers=3)), TOKENIZER, tmp_path, max_shard_bytes=first)
    model = random_model(LLAMA)
    save_hf(model, TOKENIZER, tmp_path / "alone", max_shard_bytes=second)
    save_hf(model, TOKENIZER, tmp_path, max_shard_bytes=second)
    names = {p.name for p in tmp_path.iterdir()} - {"alone"}
    assert names == {p.name for p in (tmp_path / "alone").iterdir()}
    assert torch.equal(load_hf(tmp_path)[0](IDS), model(IDS))


@pytest.mark.parametrize("shard", ["20kB", "1GB"])
def test_what_transformers_has_left_in_the_folder_is_not_read(shard, tmp_path):
    old = their_model("Qwen3")
    old.generation_config.update(do_sample=True, temperature=9.0, eos_token_id=5, pad_token_id=5)
    old.save_pretrained(tmp_path, max_shard_size=shard)
    save_hf(random_model(LLAMA), TOKENIZER, tmp_path / "alone")
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "alone")
    tokenizer.chat_template = {"default": "OLD", "tool_use": "OLD"}
    tokenizer.add_tokens("<old>")
    tokenizer.save_pretrained(tmp_path)
    for name in ("chat_template.jinja", "chat_template.json", "pytorch_model.bin", "vocab.json",
                 "merges.txt", "special_tokens_map.json", "added_tokens.json"):  # fmt: skip
        (tmp_path / name).write_text("{}")
    (tmp_path / "notes.txt").write_text("mine")
    model = random_model(LLAMA)
    save_hf(model, TOKENIZER, tmp_path)
    files = {p.name for p in tmp_path.rglob("*") if p.is_file() and p.parent.name != "alone"}
    assert files == {p.name for p in (tmp_path / "alone").iterdir()} | {"notes.txt"}
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path)
    assert (theirs(IDS).logits - model(IDS)).abs().max() < 1e-4
    assert theirs.generation_config.temperature != 9 and theirs.generation_config.eos_token_id != 5
    again = transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert again.chat_template == CHAT_TEMPLATE and len(again) == TOKENIZER.vocab_size


def lora(model):
    add_lora(model, 2)


def value_head(model):
    model.value = torch.nn.Linear(32, 1)


def shared_head(model):
    model.head.weight = model.embed.weight


def shared_matrix(model):
    model.blocks[0].attn.k_proj.weight = model.blocks[1].attn.k_proj.weight


def fewer_blocks(model):
    del model.blocks[1]


def unshared_head(model):
    model.config = replace(model.config, tie_embeddings=True)


CHANGES = (lora, value_head, shared_head, shared_matrix, fewer_blocks, unshared_head)


@pytest.mark.parametrize("change", CHANGES)
def test_a_model_that_a_folder_cannot_hold_is_refused(change, tmp_path):
    model = random_model(LLAMA)
    change(model)
    with pytest.raises(LabError, match="nothing was written"):
        save_hf(model, TOKENIZER, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_folder_with_an_adapter_is_refused(tmp_path):
    """`transformers` would load the adapter, and the base model that it names."""
    save_adapter(add_lora(random_model(LLAMA), 2), tmp_path)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(LabError, match="holds a PEFT adapter"):
        save_hf(random_model(LLAMA), TOKENIZER, tmp_path)
    assert sorted(tmp_path.iterdir()) == before


# --- The tokenizer and the chat -------------------------------------------------------------


@pytest.fixture(scope="module")
def theirs(tmp_path_factory):
    """The exported tokenizer as `transformers` opens it, and its folder."""
    folder = tmp_path_factory.mktemp("tokenizer")
    save_hf(random_model(LLAMA), TOKENIZER, folder)
    return transformers.AutoTokenizer.from_pretrained(folder), folder


def test_special_tokens_have_their_ids(theirs):
    tokenizer, _ = theirs
    assert len(tokenizer) == TOKENIZER.vocab_size
    for name in SPECIALS:
        assert tokenizer(name)["input_ids"] == [TOKENIZER.special(name)]
        typed = tokenizer(name, split_special_tokens=True)["input_ids"]
        assert typed == TOKENIZER.encode(name)
    assert tokenizer.eos_token == "<|end|>"
    assert tokenizer.decode([65, TOKENIZER.special("<|end|>")], skip_special_tokens=True) == "A"


def test_the_chat_template_writes_what_the_model_was_tuned_on(theirs):
    tokenizer, _ = theirs
    chat = ChatTemplate(TOKENIZER)
    asked = [{"role": "user", "content": "I have lemon."}]
    ids = tokenizer.apply_chat_template(asked, add_generation_prompt=True)["input_ids"]
    assert ids == chat.prompt("I have lemon.")
    both = [*asked, {"role": "assistant", "content": "Lemon: lemon."}]
    ids = tokenizer.apply_chat_template(both)["input_ids"]
    assert ids == chat.prompt("I have lemon.") + chat.answer("Lemon: lemon.")
    with pytest.raises(Exception, match="by the user or the assistant"):
        tokenizer.apply_chat_template([{"role": "system", "content": "x"}])


def test_a_tokenizer_that_transformers_saved_again_loads(theirs, tmp_path):
    tokenizer, folder = theirs
    save_hf(random_model(LLAMA), TOKENIZER, tmp_path)
    tokenizer.save_pretrained(tmp_path)
    assert load_hf(tmp_path)[1] == TOKENIZER


@pytest.mark.parametrize(
    "change",
    [
        lambda t: t["model"].update(type="WordLevel"),
        lambda t: t["model"]["merges"].append(["?", "nothing"]),
        lambda t: t["pre_tokenizer"]["pretokenizers"][0]["pattern"].update(Regex="("),
        lambda t: t["pre_tokenizer"]["pretokenizers"].reverse(),
        lambda t: t.update(pre_tokenizer=None),
        lambda t: t["added_tokens"][0].update(id=5000),  # the model has no such row
    ],
)
def test_another_tokenizer_is_none(theirs, tmp_path, change):
    save_hf(random_model(LLAMA), TOKENIZER, tmp_path)
    stored = json.loads((tmp_path / "tokenizer.json").read_text("utf-8"))
    change(stored)
    (tmp_path / "tokenizer.json").write_text(json.dumps(stored), "utf-8")
    assert load_hf(tmp_path)[1] is None


def test_generation_over_there_says_the_same(exported):
    model, _, theirs = exported
    prompt = ChatTemplate(TOKENIZER).prompt("lemon")
    end = TOKENIZER.special("<|end|>")
    assert theirs.generation_config.eos_token_id == end
    said = theirs.generate(torch.tensor([prompt]), max_new_tokens=12, do_sample=False)[0].tolist()
    assert said[len(prompt) :] == generate(model, [prompt], 12, stop=end, temperature=0)[0]


# --- Wrong folders --------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path):
    """A good folder, to be spoiled."""
    save_hf(random_model(LLAMA), TOKENIZER, tmp_path)
    return tmp_path


def set_config(folder, **changes):
    config = json.loads((folder / "config.json").read_text()) | changes
    config = {name: value for name, value in config.items() if value != "gone"}
    (folder / "config.json").write_text(json.dumps(config))


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"model_type": "gpt2"}, "model_type is 'gpt2'"),
        ({"model_type": "gone"}, "it has no 'model_type'"),
        ({"hidden_size": "gone"}, "it has no 'hidden_size'"),
        ({"hidden_size": 40}, "size mismatch"),
        ({"hidden_size": "wide"}, "does not hold a model"),
        ({"num_attention_heads": 0}, "does not hold a model"),
        ({"num_hidden_layers": 3}, "it has no 'model.layers.2."),
        ({"num_hidden_layers": 1}, "it has a tensor model.layers.1."),
        ({"model_type": "qwen3"}, "it has no .*q_norm"),
        ({"attention_bias": True}, "attention_bias is True"),
        ({"hidden_act": "gelu"}, "hidden_act is 'gelu'"),
        (
            {"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e4}},
            "rope type is 'yarn'.* knows",
        ),
        ({"rope_parameters": None, "rope_scaling": {"type": "linear"}}, "it has no 'factor'"),
        ({"partial_rotary_factor": 0.5}, "partial_rotary_factor is 0.5"),
    ],
)
def test_a_wrong_config_is_refused(folder, changes, message):
    set_config(folder, **changes)
    with pytest.raises(LabError, match=message):
        load_hf(folder)


def test_a_folder_that_is_missing_or_incomplete_is_refused(folder, tmp_path):
    with pytest.raises(LabError, match="There is no folder"):
        load_hf(tmp_path / "nowhere")
    weights = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(weights[:-100])
    with pytest.raises(LabError, match="damaged"):
        load_hf(folder)
    (folder / "model.safetensors").unlink()
    with pytest.raises(LabError, match="There is no model.safetensors"):
        load_hf(folder)
    (folder / "config.json").write_text("[1, 2]")
    with pytest.raises(LabError, match="does not hold a model"):
        load_hf(folder)
    (folder / "config.json").write_text("{")
    with pytest.raises(LabError, match="not whole JSON"):
        load_hf(folder)
    (folder / "config.json").unlink()
    with pytest.raises(LabError, match="config.json"):
        load_hf(folder)


def test_a_shard_outside_of_the_folder_is_not_read(tmp_path):
    save_hf(random_model(LLAMA), TOKENIZER, tmp_path / "in")
    (tmp_path / "in" / "model.safetensors").rename(tmp_path / "outside.safetensors")
    index = {"weight_map": {"lm_head.weight": "../outside.safetensors"}}
    (tmp_path / "in" / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(LabError, match="There is no outside.safetensors in"):
        load_hf(tmp_path / "in")


def test_a_tensor_that_nobody_asked_for_is_refused(folder):
    weights = load_file(folder / "model.safetensors")
    weights["model.layers.0.self_attn.q_proj.bias"] = torch.ones(32)
    save_file(weights, folder / "model.safetensors")
    with pytest.raises(LabError, match="q_proj.bias"):
        load_hf(folder)


def test_a_folder_that_cannot_be_written_is_an_error_and_leaves_nothing(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(LabError, match="could not be written"):
        save_hf(random_model(LLAMA), TOKENIZER, tmp_path / "file")
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_every_file_is_whole_and_no_other_is_left(folder):
    names = {path.name for path in folder.iterdir()}
    assert names == {
        "README.md", "config.json", "generation_config.json", "model.safetensors",
        "tokenizer.json", "tokenizer_config.json",
    }  # fmt: skip
