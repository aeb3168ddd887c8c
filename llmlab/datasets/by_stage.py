"""What the data sets of a profile add to the kitchen's own examples, stage by stage: in class, and
where they are not on this machine, nothing."""

from llmlab.chat import ChatTemplate
from llmlab.datasets import conversations, gsm8k, hub_datasets, preference_pairs
from llmlab.datasets.pretokenize import available_shares
from llmlab.lab import Lab

# A stage -> what its `run` calls them, and who makes them.
TAKES = {
    "sft": ("talks", conversations.load_conversations),
    "reward": ("others", preference_pairs.load_comparisons),
    "rl": ("problems", gsm8k.load_problems),
}


def arguments(lab: Lab, stage: str) -> dict:
    """What a stage's `run` is given besides the lab."""
    if stage not in TAKES:
        return {}
    (name, make), tokenizer = TAKES[stage], lab.tokenizer()
    shares, room = available_shares(lab, tokenizer, stage), lab.profile.model.max_seq_len
    return {name: make(shares, hub_datasets.user_data_dir(), ChatTemplate(tokenizer), room)}
