"""What the data sets of a profile add to the kitchen's own texts, stage by stage.

In class there are none.  Those that are not on this machine are said, with the command that brings
them, and the class's data serve alone: nothing is fetched by the gigabyte while a stage waits.
"""

from llmlab.core.tokenizer import BPE
from llmlab.lab import Lab
from llmlab.stages import comparisons, doors, prepare, sums, talks
from llmlab.stages.data import Mixture
from llmlab.stages.sft import Chat
from llmlab.stages.shards import Blend

HERE = {"pretraining": ("tokenised",)}  # what else `prepare.state` may say is enough elsewhere


def ready(lab: Lab, tokenizer: BPE, stage: str) -> dict[str, float]:
    """The shares of those data sets of a stage that lie on this machine."""
    shares = {}
    for source, share in doors.of_stage(stage, lab.profile.data_sets).items():
        status, _, _ = prepare.state(source, tokenizer, doors.data_dir())
        if status in HERE.get(stage, ("local", "cached")):
            shares[source.name] = share
        else:
            print(f"{source.name} is not here ({doors.FETCH} brings it): the class's data serve.")
    return shares


def rows_of(lab: Lab, tokenizer: BPE, mixture: Mixture) -> Mixture | Blend:
    """What pretraining reads: the class's mixture, in a blend with big texts where they are."""
    shares = ready(lab, tokenizer, "pretraining")
    folder = doors.data_dir()
    blended = shares and prepare.blend(shares, tokenizer, mixture, lab.seed, folder)
    return blended or mixture


def talks_of(lab: Lab, tokenizer: BPE) -> talks.Talks | None:
    """Conversations for SFT."""
    shares, room = ready(lab, tokenizer, "sft"), lab.profile.model.max_seq_len
    return talks.of(shares, doors.data_dir(), Chat(tokenizer), room)


def comparisons_of(lab: Lab, tokenizer: BPE) -> comparisons.Comparisons | None:
    """Comparisons that people or models have made, for the reward model."""
    shares, room = ready(lab, tokenizer, "reward"), lab.profile.model.max_seq_len
    return comparisons.of(shares, doors.data_dir(), Chat(tokenizer), room)


def problems_of(lab: Lab, tokenizer: BPE) -> sums.Problems | None:
    """Word problems with a verifier, for GRPO."""
    shares, context = ready(lab, tokenizer, "rl"), lab.profile.model.max_seq_len
    return sums.of(shares, doors.data_dir(), Chat(tokenizer), context)
