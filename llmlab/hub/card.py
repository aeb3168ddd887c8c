"""The card of a model that is handed on: its head for machines, and how it is used."""

from llmlab.core.model import ModelConfig

HEADER = """---
language: en
library_name: transformers
pipeline_tag: text-generation
tags: [llmlab, teaching]
---
"""
USE = """## Use

```python
from transformers import AutoModelForCausalLM, AutoTokenizer

model = AutoModelForCausalLM.from_pretrained("FOLDER")
tokenizer = AutoTokenizer.from_pretrained("FOLDER")
talk = [{"role": "user", "content": "I have chicken and lemon."}]
inputs = tokenizer.apply_chat_template(
    talk, add_generation_prompt=True, return_tensors="pt", return_dict=True
)
print(tokenizer.decode(model.generate(**inputs, max_new_tokens=64)[0]))
```
"""


def shape_sentence(config: ModelConfig, size: int) -> str:
    """A model in a sentence; size: how many parameters it has."""
    return (
        f"A language model of {size:,} parameters: {config.n_layers} layers of {config.n_heads} "
        f"heads, vectors of {config.dim}, {config.vocab_size:,} tokens, room for "
        f"{config.max_seq_len}."
    )


def plain_card(config: ModelConfig, size: int) -> str:
    """A card, in Markdown, of a model about which no more is known than its shape."""
    note = "Written by llmlab, without a word on what the model has read or what it can do: whoever"
    note += " hands it on should add both.\n"
    return "\n".join(
        [HEADER, "# A model from llmlab\n", shape_sentence(config, size) + "\n", USE, note]
    )
