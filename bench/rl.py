"""Sampling and one GRPO step, beside `transformers` and TRL, in one process and by turns.

    python bench/rl.py sampling [--batch 128] [--rounds 5] [--json FILE]
    python bench/rl.py grpo [--steps 6] [--rounds 3] [--json FILE]      # needs TRL: pip install trl

sampling: the shipped SFT model answers the same requests; answer tokens a second.  The others are
the same weights, exported by `llmlab.hub` and read by `transformers`, in fp32 and in bf16.
grpo: one step of `llmlab.stages.rl.grpo` and of TRL's `GRPOTrainer` from the same model, with the
same number of requests, answers to each, length limit, KL term and judge; seconds a step.
"""

import argparse
import itertools
import json
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from llmlab import hub, kitchen
from llmlab.chat import MAX_ANSWER, ChatTemplate
from llmlab.core.sampling import generate
from llmlab.lab import Lab, setup
from llmlab.stages import rl
from llmlab.stages.reward import training_requests
from llmlab.training import model_copies


def exported(lab: Lab, folder: str):
    """The shipped SFT model as a Hugging Face folder; returns (model, tokenizer)."""
    model, tokenizer, _ = lab.load(lab.shipped("sft"))
    hub.save_hf(model, tokenizer, folder)
    return model, tokenizer


# --- Sampling -------------------------------------------------------------------------------


def theirs(folder: str, dtype: torch.dtype, device: str) -> Callable[[list[list[int]]], int]:
    """`transformers.generate` at temperature 1: prompts -> tokens of the answers."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype).to(device).eval()
    end = AutoTokenizer.from_pretrained(folder).convert_tokens_to_ids("<|end|>")

    def answer(prompts: list[list[int]]) -> int:
        width = max(map(len, prompts))
        ids = torch.tensor([[end] * (width - len(p)) + p for p in prompts])
        mask = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in prompts])
        with torch.inference_mode():
            out = model.generate(
                ids.to(device), attention_mask=mask.to(device), do_sample=True, top_k=0,
                max_new_tokens=MAX_ANSWER, eos_token_id=end, pad_token_id=end,
            )[:, width:]  # fmt: skip
        after_end = (out == end).cumsum(1) > 1
        return (~after_end).sum().item()

    return answer


def ours(lab: Lab, model, chat: ChatTemplate) -> Callable[[list[list[int]]], int]:
    """Our `generate`, the weights cast once, as `chat.generate_answers` does."""
    model = model_copies.to_compute_dtype(model)

    def answer(prompts: list[list[int]]) -> int:
        out = generate(model, prompts, MAX_ANSWER, chat.end, temperature=1.0)
        return sum(map(len, out))

    return answer


def sampling(lab: Lab, batch: int, rounds: int) -> dict[str, float]:
    """Median answer tokens a second of each contestant."""
    with tempfile.TemporaryDirectory() as folder:
        model, tokenizer = exported(lab, folder)
        chat = ChatTemplate(tokenizer)
        contestants = {
            "llmlab": ours(lab, model, chat),
            "transformers, fp32": theirs(folder, torch.float32, lab.device),
            "transformers, bf16": theirs(folder, torch.bfloat16, lab.device),
        }
    rng = random.Random(0)
    prompts = [chat.prompt(r.text(rng)) for r in kitchen.held_out_requests(batch)]
    speeds: dict[str, list[float]] = {name: [] for name in contestants}
    for number in range(rounds + 1):
        for name, answer in contestants.items():
            torch.manual_seed(number)
            start = time.perf_counter()
            tokens = answer(prompts)
            if number:  # the first round warms up
                speeds[name].append(tokens / (time.perf_counter() - start))
    return {name: statistics.median(values) for name, values in speeds.items()}


# --- One step of GRPO -----------------------------------------------------------------------


def our_steps(lab: Lab, steps: int) -> list[float]:
    """Seconds of each of our steps; nothing is written."""
    model, tokenizer, _ = lab.load(lab.shipped("sft"))
    times = [time.perf_counter()]
    with tempfile.TemporaryDirectory() as runs:
        lab = replace(lab, steps=steps, runs=Path(runs))
        rl.grpo(lab, model, tokenizer, on_step=lambda _: times.append(time.perf_counter()))
    return [b - a for a, b in itertools.pairwise(times)]


def their_steps(lab: Lab, steps: int) -> list[float]:
    """Seconds of each step of TRL's trainer, the first of which also sets it up."""
    from datasets import Dataset
    from transformers import AutoTokenizer, TrainerCallback
    from trl import GRPOConfig, GRPOTrainer

    profile = lab.profile
    times: list[float] = []

    class Clock(TrainerCallback):
        def on_step_begin(self, args, state, control, **_):
            times.append(-time.perf_counter())

        def on_step_end(self, args, state, control, **_):
            times[-1] += time.perf_counter()

    def reward(prompts, completions, **_):
        requests = (p.removeprefix("<|user|>").removesuffix("<|assistant|>") for p in prompts)
        scores = map(kitchen.judge, requests, completions)
        return [rl.rules_reward(score) for score in scores]

    rng = random.Random(0)
    texts = [r.text(rng) for r in training_requests(lab, 400, lab.seed)]
    data = Dataset.from_dict({"prompt": [f"<|user|>{text}<|assistant|>" for text in texts]})
    with tempfile.TemporaryDirectory() as folder:
        exported(lab, folder)
        tokenizer = AutoTokenizer.from_pretrained(folder)
        tokenizer.pad_token = tokenizer.eos_token = "<|end|>"
        config = GRPOConfig(
            output_dir=folder, max_steps=steps, num_generations=profile.grpo_group,
            per_device_train_batch_size=profile.grpo_requests * profile.grpo_group,
            max_completion_length=MAX_ANSWER, beta=profile.grpo_kl_coef,
            learning_rate=profile.grpo_lr,
            use_cpu=lab.device == "cpu", bf16=lab.dtype == torch.bfloat16, report_to=[],
            save_strategy="no", logging_steps=steps, disable_tqdm=True, seed=lab.seed,
            gradient_checkpointing=False,
        )  # fmt: skip
        trainer = GRPOTrainer(
            folder, reward, args=config, train_dataset=data, processing_class=tokenizer,
            callbacks=[Clock()],
        )  # fmt: skip
        trainer.train()
    return times


def grpo(lab: Lab, steps: int, rounds: int) -> dict[str, float]:
    """Median steps a second over the rounds, each contestant's first step left out."""
    contestants = {"llmlab": our_steps, "TRL GRPOTrainer": their_steps}
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, take in contestants.items():
            seconds[name] += take(lab, steps)[1:]
    return {name: 1 / statistics.median(values) for name, values in seconds.items()}


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Time sampling and GRPO beside others.")
    parser.add_argument("what", choices=("sampling", "grpo"))
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    args = parser.parse_args(argv)
    lab = setup()
    print(lab.machine())
    if args.what == "sampling":
        speeds, unit = sampling(lab, args.batch, args.rounds), "tokens/s"
    else:
        speeds, unit = grpo(lab, args.steps, args.rounds), "steps/s"
    best = max(speed for name, speed in speeds.items() if name != "llmlab")
    for name, speed in speeds.items():
        print(f"{name:<22}{speed:>10,.2f} {unit}{speed / best:>8.2f} x the best other")
    if args.json:
        args.json.write_text(json.dumps({"device": lab.machine(), unit: speeds}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
