"""LoRA adapters out and in, against `peft` itself."""

import json

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from llmlab.artifacts import LabError
from llmlab.core.model import ModelConfig, Transformer
from llmlab.core.tokenizer import BPE, SPECIALS
from llmlab.hub import load_hf, save_hf
from llmlab.hub.peft_adapter import read_adapter, write_adapter
from llmlab.stages.lora import LoRALinear, add_lora, load_adapter, merge_lora, save_adapter

peft = pytest.importorskip("peft", reason="the package peft is not installed")

TOKENIZER = BPE((), specials=SPECIALS)
SHAPE = ModelConfig(
    vocab_size=TOKENIZER.vocab_size, dim=32, n_layers=2, n_heads=4, n_kv_heads=2, head_dim=8,
    hidden_dim=48, max_seq_len=64,
)  # fmt: skip
IDS = torch.randint(0, SHAPE.vocab_size, (2, 30), generator=torch.Generator().manual_seed(0))
PARTS = {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A folder with an exported model, every weight random."""
    torch.manual_seed(0)
    model, folder = Transformer(SHAPE), tmp_path_factory.mktemp("base")
    for p in model.parameters():
        torch.nn.init.normal_(p, mean=float(p.ndim == 1), std=0.2)
    save_hf(model, TOKENIZER, folder)
    return folder


def corrected(base, rank=3, scale=1.7) -> Transformer:
    """Our model of the folder, with random corrections."""
    model = add_lora(load_hf(base)[0], rank, scale)
    torch.manual_seed(1)
    for part in model.modules():
        if isinstance(part, LoRALinear):
            torch.nn.init.normal_(part.up, std=0.1)
    return model


def their_base(base):
    return transformers.AutoModelForCausalLM.from_pretrained(base)


def theirs(base, **changes):
    """The same model with a random adapter of `peft`."""
    torch.manual_seed(2)
    given = {"r": 4, "lora_alpha": 6, "target_modules": sorted(PARTS), "init_lora_weights": False}
    config = peft.LoraConfig(task_type="CAUSAL_LM", **given | changes)
    return peft.get_peft_model(their_base(base), config).eval()


# --- Out ------------------------------------------------------------------------------------


@torch.no_grad()
def test_peft_loads_our_adapter_onto_the_exported_model(base, tmp_path):
    model = corrected(base)
    save_adapter(model, tmp_path, base)
    loaded = peft.PeftModel.from_pretrained(their_base(base), tmp_path)
    assert (loaded(IDS).logits - model(IDS)).abs().max() < 1e-4
    assert (their_base(base)(IDS).logits - model(IDS)).abs().max() > 0.1
    assert loaded.peft_config["default"].base_model_name_or_path == str(base)
    merged = loaded.merge_and_unload()
    assert (merged(IDS).logits - merge_lora(model)(IDS)).abs().max() < 1e-4


@torch.no_grad()
def test_what_was_saved_loads_bit_for_bit(base, tmp_path):
    model = corrected(base)
    save_adapter(model, tmp_path)
    again = load_adapter(load_hf(base)[0], tmp_path)
    assert torch.equal(again(IDS), model(IDS))
    learned = {name for name, p in again.named_parameters() if p.requires_grad}
    assert learned == {name for name, p in model.named_parameters() if p.requires_grad}
    assert {p.name for p in tmp_path.iterdir()} == {
        "adapter_config.json", "adapter_model.safetensors",
    }  # fmt: skip


@torch.no_grad()
def test_ranks_and_scales_may_differ_from_matrix_to_matrix(base, tmp_path):
    model = corrected(base)
    model.blocks[1].mlp.up_proj = LoRALinear(load_hf(base)[0].blocks[1].mlp.up_proj, 5, 0.3)
    torch.nn.init.normal_(model.blocks[1].mlp.up_proj.up)
    save_adapter(model, tmp_path)
    loaded = peft.PeftModel.from_pretrained(their_base(base), tmp_path)
    assert (loaded(IDS).logits - model(IDS)).abs().max() < 1e-4
    assert torch.equal(load_adapter(load_hf(base)[0], tmp_path)(IDS), model(IDS))


def test_a_model_without_corrections_has_no_adapter(base, tmp_path):
    with pytest.raises(LabError, match="no LoRA corrections"):
        save_adapter(load_hf(base)[0], tmp_path / "out")
    assert not (tmp_path / "out").exists()
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(LabError, match="could not be written"):
        save_adapter(corrected(base), tmp_path / "file")


# --- In -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"target_modules": ["q_proj", "v_proj"]},
        {"use_rslora": True},
        {"rank_pattern": {"k_proj": 2}, "alpha_pattern": {"layers.1.mlp.down_proj": 11}},
        {"layers_to_transform": [1]},
        *({"init_lora_weights": name} for name in (True, "gaussian", "orthogonal", "mica")),
    ],
    ids=lambda changes: ", ".join(f"{k}={v}" for k, v in changes.items()) or "plain",
)
@torch.no_grad()
def test_an_adapter_of_peft_loads_onto_our_model(changes, base, tmp_path):
    tuned = theirs(base, **changes)
    for name, p in tuned.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(p, std=0.1)
    tuned.save_pretrained(tmp_path)
    model = load_adapter(load_hf(base)[0], tmp_path)
    assert (tuned(IDS).logits - model(IDS)).abs().max() < 1e-4
    assert (load_hf(base)[0](IDS) - model(IDS)).abs().max() > 0.1
    assert (tuned(IDS).logits - merge_lora(model)(IDS)).abs().max() < 1e-4


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"use_dora": True}, "use_dora is True"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save is"),
        ({"bias": "all"}, "bias is 'all'"),
        *(
            ({"init_lora_weights": name}, f"init_lora_weights is '{name}'")
            for name in ("pissa", "pissa_niter_4", "olora")
        ),
        ({"target_modules": ["q_proj", "embed_tokens"]}, "not every tensor of it is a lora_A"),
    ],
)
def test_more_than_plain_lora_is_refused(changes, message, base, tmp_path):
    theirs(base, **changes).save_pretrained(tmp_path)
    with pytest.raises(LabError, match=message):
        load_adapter(load_hf(base)[0], tmp_path)


@pytest.mark.parametrize(
    "changes",
    [
        {"init_lora_weights": "corda"}, {"init_lora_weights": "loftq"},
        {"layer_replication": [[0, 2], [0, 2]]}, {"peft_type": "IA3"}, {"lora_bias": True},
        {"use_something_new": True}, {"something_new_config": {"rate": 0}},
    ],
    ids=str,
)  # fmt: skip
def test_keys_that_change_the_base_or_that_nobody_knows_are_refused(changes, base, tmp_path):
    save_adapter(corrected(base), tmp_path)
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    set_to = config | {"something_new": None, "use_something": False} | changes
    (tmp_path / "adapter_config.json").write_text(json.dumps(set_to))
    with pytest.raises(LabError, match=f"its {next(iter(changes))} is"):
        load_adapter(load_hf(base)[0], tmp_path)


def test_an_adapter_of_another_model_is_refused_and_changes_nothing(base, tmp_path):
    save_adapter(corrected(base), tmp_path)
    other = Transformer(ModelConfig(vocab_size=259, dim=64, n_layers=2))
    with pytest.raises(LabError, match="made for"):
        load_adapter(other, tmp_path)
    assert all(p.requires_grad for p in other.parameters())
    assert not any(isinstance(part, LoRALinear) for part in other.modules())
    write_adapter(tmp_path, {"head": (torch.ones(1, 32), torch.ones(259, 1), 1.0)})
    with pytest.raises(LabError, match="corrects head"):
        load_adapter(load_hf(base)[0], tmp_path)


def test_a_folder_that_is_missing_or_damaged_is_refused(base, tmp_path):
    with pytest.raises(LabError, match="adapter_config.json"):
        read_adapter(tmp_path)
    save_adapter(corrected(base), tmp_path)
    weights = tmp_path / "adapter_model.safetensors"
    tensors = load_file(weights)
    save_file({k: t for k, t in tensors.items() if "layers.0.mlp.up" not in k}
              | {"a.lora_B.weight": torch.ones(2, 2), "b.lora_A.weight": torch.ones(2, 2)},
              weights)  # fmt: skip
    with pytest.raises(LabError, match="it has no 'a.lora_A"):
        read_adapter(tmp_path)
    weights.write_bytes(weights.read_bytes()[:-10])
    with pytest.raises(LabError, match="damaged"):
        read_adapter(tmp_path)
    weights.unlink()
    with pytest.raises(LabError, match="There is no adapter_model.safetensors"):
        read_adapter(tmp_path)
    for config in ({}, []):
        (tmp_path / "adapter_config.json").write_text(json.dumps(config))
        with pytest.raises(LabError):
            read_adapter(tmp_path)
