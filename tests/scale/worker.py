"""A process of a pretraining run that saves after every step; it kills itself at a given one.

torchrun ... worker.py RUNS STEPS KILL_AT [fp16] [web]
"""

import os
import signal
import sys
from dataclasses import replace
from functools import partial

import torch

from llmlab import lab
from llmlab.scale import distributed
from llmlab.stages import pretraining
from llmlab.training import loop

runs, steps, kill_at = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
loop.run = partial(loop.run, save_every=0)


def on_step(record: dict) -> None:
    if record["step"] == kill_at:
        os.kill(os.getpid(), signal.SIGKILL)


with distributed.process_group():
    made = lab.setup("full-toy", runs_dir=runs)
    made.steps = steps
    if "fp16" in sys.argv:
        made.dtype = torch.float16
    if "web" in sys.argv:
        made.profile = replace(made.profile, data_sets={"fineweb_edu": 0.7})
    pretraining.pretrain(made, made.tokenizer(), on_step=on_step)
