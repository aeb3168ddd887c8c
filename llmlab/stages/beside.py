"""What the data sets of a profile add to the kitchen's own examples, stage by stage: in class, and
where they are not on this machine, nothing."""

from llmlab.lab import Lab
from llmlab.stages import comparisons, doors, sums, talks
from llmlab.stages.prepare import ready
from llmlab.stages.sft import Chat

# A stage -> what its `run` calls them, and who makes them.
TAKES = {
    "sft": ("talks", talks.of),
    "reward": ("others", comparisons.of),
    "rl": ("problems", sums.of),
}


def arguments(lab: Lab, stage: str) -> dict:
    """What a stage's `run` is given besides the lab."""
    if stage not in TAKES:
        return {}
    (name, make), tokenizer = TAKES[stage], lab.tokenizer()
    shares, room = ready(lab, tokenizer, stage), lab.profile.model.max_seq_len
    return {name: make(shares, doors.data_dir(), Chat(tokenizer), room)}
