"""What the data sets of a profile add to the kitchen's own examples, stage by stage: in class, and
where they are not on this machine, nothing."""

from llmlab.chat import Chat
from llmlab.datasets import conversations, gsm8k, hub_datasets, preference_pairs
from llmlab.datasets.pretokenize import ready
from llmlab.lab import Lab

# A stage -> what its `run` calls them, and who makes them.
TAKES = {
    "sft": ("talks", conversations.of),
    "reward": ("others", preference_pairs.of),
    "rl": ("problems", gsm8k.of),
}


def arguments(lab: Lab, stage: str) -> dict:
    """What a stage's `run` is given besides the lab."""
    if stage not in TAKES:
        return {}
    (name, make), tokenizer = TAKES[stage], lab.tokenizer()
    shares, room = ready(lab, tokenizer, stage), lab.profile.model.max_seq_len
    return {name: make(shares, hub_datasets.data_dir(), Chat(tokenizer), room)}
