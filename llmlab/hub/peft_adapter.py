"""PEFT LoRA adapters, in and out: adapter_config.json and adapter_model.safetensors.

https://huggingface.co/docs/peft/developer_guides/checkpoint.  There W + alpha / r * B @ A; here
W + scale * up @ down (Hu et al. 2022, equation 3).
"""

import re
from collections.abc import Iterator
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from llmlab.artifacts import LabError, read_json, write_atomic, write_json
from llmlab.hub.config import PART_NAMES, hf_name

PREFIX = "base_model.model."
CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
Pairs = dict[str, tuple[Tensor, Tensor, float]]
# What a LoRALinear computes, by key; and keys that say nothing on what is computed, or that the
# tensors say themselves.  Any other key has to be empty: it changes the adapter or the base model.
PLAIN = {
    "peft_type": ("LORA",), "bias": ("none",),
    "init_lora_weights": (True, False, None, "gaussian", "eva", "orthogonal", "mica"),
}  # fmt: skip
HARMLESS = {
    "task_type", "auto_mapping", "peft_version", "base_model_name_or_path", "revision",
    "inference_mode", "r", "lora_alpha", "rank_pattern", "alpha_pattern", "use_rslora",
    "lora_dropout", "target_modules", "exclude_modules", "layers_to_transform", "layers_pattern",
    "eva_config", "loftq_config", "megatron_core", "qalora_group_size", "ensure_weight_tying",
}  # fmt: skip


def write_adapter(path: str | Path, pairs: Pairs, base: str | Path | None = None) -> None:
    """Write corrections as a folder that `PeftModel.from_pretrained` loads onto the exported model.

    pairs: our name of a matrix -> (down (rank, in), up (out, rank), scale).  base: the folder or
    name of the model that they are for.  LabError where the folder cannot be written.
    """
    path = Path(path)
    tensors, ranks, alphas = {}, {}, {}
    for name, (down, up, scale) in pairs.items():
        theirs = hf_name(f"{name}.")[:-1]
        tensors[f"{PREFIX}{theirs}.lora_A.weight"] = down.detach().cpu().float().contiguous()
        tensors[f"{PREFIX}{theirs}.lora_B.weight"] = up.detach().cpu().float().contiguous()
        ranks[theirs], alphas[theirs] = len(down), scale * len(down)
    first = next(iter(ranks))
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": None if base is None else str(base),
        "inference_mode": True,
        "r": ranks[first],
        "lora_alpha": alphas[first],
        "rank_pattern": {k: r for k, r in ranks.items() if r != ranks[first]},
        "alpha_pattern": {k: a for k, a in alphas.items() if a != alphas[first]},
        "lora_dropout": 0.0,
        "target_modules": sorted(ranks),
    }
    write_atomic(path / WEIGHTS, save(tensors, {"format": "pt"}))
    write_json(path / CONFIG, config)


def read_adapter(path: str | Path) -> Pairs:
    """The corrections of an adapter that `peft` or `write_adapter` has written.

    LabError where there is none, it is damaged, or it does more than plain LoRA on matrices.
    """
    path = Path(path)
    config = read_json(path / CONFIG)
    try:
        _check_plain(config)
        tensors = {k: t.float() for k, t in load_file(path / WEIGHTS).items()}
        return dict(_pairs(config, tensors))
    except FileNotFoundError:
        raise LabError(f"There is no {WEIGHTS} in {path}. Copy the folder again.") from None
    except SafetensorError as error:
        raise LabError(f"The weights in {path} are damaged ({error}). Copy them again.") from None
    except (LookupError, TypeError, ValueError, ArithmeticError, AttributeError) as error:
        reason = "it has no " * isinstance(error, KeyError) + str(error)[:200]
        raise LabError(
            f"{path} does not hold an adapter that llmlab can load ({reason}). "
            "Give a plain LoRA of attention and MLP matrices."
        ) from None


def _check_plain(config: dict) -> None:
    """ValueError for an adapter that is not plain LoRA, such as DoRA, or such as PiSSA and OLoRA,
    which change the base model, too."""
    for name, known in PLAIN.items():
        if config.get(name, known[0]) not in known:
            raise ValueError(f"its {name} is {config[name]!r}")
    for name in config.keys() - PLAIN.keys() - HARMLESS:
        if config[name]:
            raise ValueError(f"its {name} is {config[name]!r}")


def _pairs(config: dict, tensors: dict[str, Tensor]) -> Iterator[tuple]:
    """Our name and (down, up, scale) of each matrix that is corrected."""
    ups = {key: tensor for key, tensor in tensors.items() if key.endswith(".lora_B.weight")}
    if len(tensors) != 2 * len(ups) or not ups:
        raise ValueError("not every tensor of it is a lora_A or lora_B")
    for key, up in ups.items():
        down = tensors[key.replace("lora_B", "lora_A")]
        theirs = key.removeprefix(PREFIX).removesuffix(".lora_B.weight")
        alpha = _alpha(config, theirs)
        scale = alpha / (len(down) ** 0.5 if config.get("use_rslora") else len(down))
        yield _our_name(theirs), (down, up, scale)


def _alpha(config: dict, name: str) -> float:
    """The alpha of a matrix: its own where a pattern fits the end of its name."""
    for pattern, alpha in (config.get("alpha_pattern") or {}).items():
        if re.fullmatch(rf"(.*\.)?({pattern})", name):
            return alpha
    return config["lora_alpha"]


def _our_name(theirs: str) -> str:
    """Our name of one of their matrices, such as model.layers.0.mlp.up_proj."""
    name = f"{theirs}."
    for ours, other in PART_NAMES.items():
        name = name.replace(other, ours)
    return name[:-1]
