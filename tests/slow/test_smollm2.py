"""A real model of another house, SmolLM2-135M-Instruct, from its GGUF file."""

import pytest
import torch
import transformers

from llmlab.core.sampling import generate
from llmlab.corpus import sources
from llmlab.hub import load_hf, save_hf

pytest.importorskip("gguf", reason="the package gguf is not installed")
TALK = [{"role": "user", "content": "Name the capital of France."}]


@pytest.fixture(scope="module")
def path():
    source = sources.sources()["smollm2"]
    if not source.folder.exists():
        pytest.skip("SmolLM2 is not in the cache: `python -m llmlab data fetch smollm2`, 93 MB")
    (found,) = source.folder.rglob("*.gguf")
    return found


@torch.no_grad()
def test_it_computes_what_transformers_computes_and_goes_out_again(path, tmp_path):
    model, tokenizer, _ = load_hf(path)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(
        path.parent, gguf_file=path.name, dtype=torch.float32
    )
    asked = "<|im_start|>user\nName the capital of France.<|im_end|>\n<|im_start|>assistant\n"
    ids = tokenizer.encode(asked, allowed_special="all")
    far = (theirs(torch.tensor([ids])).logits - model(torch.tensor([ids]))).abs().max().item()
    said = generate(model, [ids], 12, tokenizer.special("<|im_end|>"), temperature=0)[0]
    print(f"{far:.1e}", tokenizer.decode(said))
    assert far < 1e-4 and "Paris" in tokenizer.decode(said)
    save_hf(model, tokenizer, tmp_path, max_shard_bytes=200_000_000)
    assert len(list(tmp_path.glob("model-*.safetensors"))) == 3
    exported = transformers.AutoTokenizer.from_pretrained(tmp_path)
    inputs = exported.apply_chat_template(
        TALK, add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    assert inputs["input_ids"][0].tolist()[-len(ids) :] == ids
    again = transformers.AutoModelForCausalLM.from_pretrained(tmp_path)
    written = again.generate(**inputs, max_new_tokens=12, do_sample=False)[0]
    assert "Paris" in exported.decode(written) and written[-1] == exported.eos_token_id
