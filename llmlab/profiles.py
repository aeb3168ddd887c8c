"""The profiles side by side: class, slow, full, and toy, which shrinks one; all their numbers."""

import os
from dataclasses import dataclass, field, fields, replace

from llmlab.artifacts import LabError
from llmlab.core.model import ModelConfig
from llmlab.core.tokenizer import SPECIALS

STAGES = ("data", "tokenization", "embedding", "pretraining", "sft", "reward", "dpo", "rl")
LOOPS = ("pretraining", "sft", "reward", "dpo", "grpo", "ppo", "last")  # each has a budget
MOST_ROWS = 4000  # in one step, of whatever a stage counts
MIXTURE = {"recipes": 0.60, "cards": 0.15, "encyclopedia": 0.20, "speeches": 0.03, "python": 0.02}


@dataclass(frozen=True)
class Profile:
    """All hyperparameters, and what differs between a laptop in class and a GPU: data, sizes,
    budgets.

    *_seconds: what a loop may take live.  Batches count rows (pretraining), examples (SFT),
    pairs (reward) and answers (RL).  *_lr: learning rates at the schedule's factor 1, of Muon on
    the matrices of the blocks and of AdamW on the rest; *_kl_coef: the weight of the KL penalty.
    """

    name: str
    model: ModelConfig
    sources: tuple[str, ...] = ("recipes", "encyclopedia", "speeches", "python")
    data_sets: dict[str, float] = field(default_factory=dict)  # of each its stage's share of them
    from_scratch: bool = False  # whether every stage builds on one's own runs, and no shipped ones
    mixture: dict[str, float] = field(default_factory=lambda: dict(MIXTURE))
    seq_len: int = 256
    pretraining_batch: int = 8
    pretraining_seconds: float = 100
    muon_lr: float = 0.02
    muon_momentum: float = 0.95
    adam_lr: float = 4e-3
    adam_betas: tuple[float, float] = (0.9, 0.95)
    weight_decay: float = 0.05
    sft_batch: int = 128
    sft_seconds: float = 90
    sft_muon_lr: float = 0.02
    sft_adam_lr: float = 4e-3
    reward_requests: int = 2000
    reward_answers: int = 4  # to each request, every one compared with every other
    reward_batch: int = 64
    reward_passes: int = 2  # over the pairs, at most: more only teach them by heart
    reward_seconds: float = 55
    reward_muon_lr: float = 0.01
    reward_adam_lr: float = 1e-2
    dpo_seconds: float = 35
    dpo_lr: float = 3e-4
    dpo_beta: float = 0.1
    rl_betas: tuple[float, float] = (0.9, 0.99)  # of AdamW in DPO, GRPO and PPO
    rl_requests: int = 4000  # of which a step draws some
    grpo_requests: int = 32
    grpo_group: int = 8
    grpo_seconds: float = 110
    grpo_lr: float = 5e-4
    grpo_kl_coef: float = 0.08
    ppo_batch: int = 128
    ppo_minibatch: int = 64  # answers of an update
    ppo_seconds: float = 110
    ppo_lr: float = 3e-4
    ppo_kl_coef: float = 0.2
    ppo_value_coef: float = 0.1  # the weight of the critic's loss
    last_seconds: float = 110
    last_preference: float = 1.8  # what taste is worth; a kept rule 0.2, and all five 1 more
    val_documents: int = 144
    max_steps: int | None = None  # a toy's limit for every loop
    in_all: bool = False  # whether minutes are for all loops together, and not for each of them
    depths: tuple[int, ...] = ()  # of which `scale.planner` chooses one; none: nothing is planned
    compile: bool = False  # whether training is long enough for that to pay, on a GPU
    micro_batch: int = MOST_ROWS  # rows of pretraining that are in memory at once
    micro_tokens: int = 4096  # of SFT, reward, DPO and GRPO in memory at once, padding counted
    activation_checkpointing: bool = False  # whether activations are computed again, to save memory
    pretraining_steps: int | None = None  # as planned, else measured when training begins

    def __post_init__(self):
        """LabError for settings with which no stage can end well."""
        of_rows = [f.name for f in fields(self) if f.name.endswith(("batch", "_requests"))]
        rules = [("model.vocab_size", self.model.vocab_size, 256 + len(SPECIALS), 1 << 20)]
        rules += [("seq_len", self.seq_len, 2, self.model.max_seq_len)]
        rules += [("grpo_group", self.grpo_group, 2, MOST_ROWS)]
        rules += [(name, getattr(self, name), 1, MOST_ROWS) for name in of_rows]
        for name, value, low, high in rules:
            if not low <= value <= high:
                raise LabError(
                    f"{name} can be {low:,} to {high:,} in this profile, and not {value:,}; "
                    "nothing was changed."
                )


CLASS = Profile(
    name="class",
    model=ModelConfig(
        vocab_size=2048, dim=160, n_layers=4, n_heads=5, n_kv_heads=5, head_dim=32, hidden_dim=384
    ),
    # For a run of some hundred steps: what a step learns counts more than that it is smooth.
    muon_lr=0.014,
    muon_momentum=0.9,
    adam_lr=3.2e-2,
    adam_betas=(0.7, 0.98),
)


FULL = Profile(
    name="full",
    model=ModelConfig(
        vocab_size=2048, dim=768, n_layers=12, n_heads=12, n_kv_heads=12, head_dim=64,
        hidden_dim=2048, max_seq_len=1024,
    ),
    seq_len=512,
    pretraining_batch=64,
    pretraining_seconds=600,
    sft_seconds=60,
    reward_seconds=45,
    dpo_seconds=15,
    grpo_seconds=90,
    ppo_seconds=60,
    last_seconds=90,
    data_sets={
        "fineweb_edu": 0.7, "smoltalk": 0.5, "ultrafeedback": 0.2, "helpsteer2": 0.1, "gsm8k": 0.3,
    },
    from_scratch=True,
    in_all=True,
    compile=True,
    depths=(2, 3, 4, 6, 8, 10, 12, 16, 20, 24, 32),
    reward_requests=4000,
    grpo_requests=64,
    grpo_group=16,
    ppo_batch=512,
    micro_tokens=32_768,
)  # fmt: skip


# The class's model at leisure: with it the base that comes with the project was made, at rates that
# suit a long run.
SLOW = Profile(name="slow", model=CLASS.model, seq_len=512, pretraining_batch=4)


PROFILES = {p.name: p for p in (CLASS, SLOW, FULL)}


def toy(profile: Profile) -> Profile:
    """A profile shrunk to seconds, for tests of code paths; its figures mean nothing."""
    model = replace(profile.model, dim=32, n_layers=2, n_heads=2, n_kv_heads=2, head_dim=16,
                    hidden_dim=64)  # fmt: skip
    return replace(
        profile, model=model, sources=("recipes",), mixture={"recipes": 0.7, "cards": 0.3},
        seq_len=64, pretraining_batch=4, sft_batch=8, reward_requests=12, reward_batch=16,
        rl_requests=100, grpo_requests=4, grpo_group=4, ppo_batch=16, val_documents=3, max_steps=4,
        depths=(), data_sets={}, from_scratch=False,  # nothing can be built on a toy
    )  # fmt: skip


def profile_called(name: str | None) -> tuple[Profile, str]:
    """The profile of that name, else of LLMLAB_PROFILE, and the name of its folder of runs; with
    "-toy" behind it, shrunk.  LabError where there is none."""
    name = name or os.environ.get("LLMLAB_PROFILE") or "class"
    whole, _, shrunk = name.partition("-")
    if whole not in PROFILES or shrunk not in ("", "toy"):
        raise LabError(f"There is no profile {whole!r}; the profiles are {', '.join(PROFILES)}.")
    return (toy(PROFILES[whole]), f"{whole}-toy") if shrunk else (PROFILES[whole], whole)
