"""Hugging Face in and out: folders of config.json, safetensors and tokenizer.json; GGUF files;
LoRA adapters.

Our Transformer is a Llama with other names for its parts; with norms on queries and keys it is a
Qwen3.  https://huggingface.co/docs/transformers (Llama, Qwen3), /docs/tokenizers, /docs/peft
"""

from llmlab.hub.folder import load_hf, save_hf
from llmlab.hub.hub_tokenizer import HubTokenizer

__all__ = ["HubTokenizer", "load_hf", "save_hf"]
