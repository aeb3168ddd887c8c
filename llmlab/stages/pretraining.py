"""Stage 4, pretraining: predict the next id, everywhere, for most of the bill."""

import math

import torch

from llmlab import artifacts
from llmlab.core.losses import next_token_loss
from llmlab.core.model import Transformer
from llmlab.core.optim import Optimizer, learning_rate
from llmlab.core.sampling import generate
from llmlab.core.tokenizer import BPE
from llmlab.lab import Lab
from llmlab.stages import loop
from llmlab.stages.data import Corpus, Mixture, load_corpus

SNAPSHOTS = 12


@torch.inference_mode()
def bits_per_byte(
    model: Transformer, tokenizer: BPE, texts: list[str], window: int = 256, rows: int = 16
) -> float:
    """Bits that the model needs for each byte of `texts`, which it reads from their beginnings.

    Each text is cut into windows that overlap by half, and only what is new in a window is
    scored, so that every token but a text's first ones has at least window / 2 before it.
    """
    encoding, end = tokenizer.to_tiktoken(), tokenizer.special("<|end|>")
    device, cuts = model.embed.weight.device, []
    for ids in encoding.encode_ordinary_batch(texts):
        ids = [end, *ids]
        for start in range(0, max(1, len(ids) - 1 - window // 2), window // 2):
            cuts.append((ids[start : start + window + 1], 0 if start == 0 else window // 2))
    cuts.sort(key=lambda cut: len(cut[0]))
    nats = 0.0
    for i in range(0, len(cuts), rows):
        batch = cuts[i : i + rows]
        longest = max(len(ids) for ids, _ in batch)
        inputs = torch.zeros(len(batch), longest - 1, dtype=torch.long)
        targets = torch.full_like(inputs, -100)
        for row, (ids, new_from) in enumerate(batch):
            inputs[row, : len(ids) - 1] = torch.tensor(ids[:-1])
            targets[row, new_from : len(ids) - 1] = torch.tensor(ids[1 + new_from :])
        loss = next_token_loss(model(inputs.to(device)), targets.to(device))
        nats += loss.item() * (targets >= 0).sum().item()
    return nats / math.log(2) / sum(len(t.encode()) for t in texts)


def held_out_bpb(lab: Lab, model: Transformer, tokenizer: BPE, corpus: Corpus) -> float:
    """Bits per byte on the held-out recipes: the series' measure of a base model."""
    texts = [r.text() for r in corpus.held_out[: lab.profile.val_documents]]
    return bits_per_byte(model, tokenizer, texts, window=lab.profile.seq_len)


def snapshot_steps(steps: int) -> list[int]:
    """Steps, evenly spaced in their logarithm, at which the token matrix is kept."""
    return sorted({round(steps ** (i / (SNAPSHOTS - 1))) for i in range(SNAPSHOTS)})


def pretrain(lab: Lab, tokenizer: BPE, name="base", on_step=None, snapshots=False) -> loop.Job:
    """Train a model of the profile's size from random weights on the profile's mixture.

    Resumes a run of the same name, seed and data.  snapshots: keep the token matrix at
    log-spaced steps beside the checkpoint.
    """
    profile, corpus = lab.profile, load_corpus(lab.profile.sources)
    mixture = Mixture(corpus, tokenizer.to_tiktoken(), profile.mixture, lab.seed)
    model = lab.build()
    optimizer = Optimizer(model.named_parameters(), profile.muon_lr, profile.adam_lr)
    job = loop.Job(model, tokenizer, optimizer, lab.path(name))
    job.meta = {"stage": "pretraining", "seed": lab.seed, "data": corpus.hash()}

    def one_step(step: int) -> dict:
        ids = mixture.batch(step, profile.pretraining_batch, profile.seq_len).to(lab.device)
        loss = next_token_loss(model(ids[:, :-1]), ids[:, 1:])
        loss.backward()
        norm = optimizer.step(learning_rate(step, job.steps or 10**9))
        return {"loss": loss.item(), "grad_norm": round(norm, 4), "tokens": ids[:, 1:].numel()}

    def keep_snapshot(job: loop.Job) -> None:
        if job.step in wanted:
            path = lab.runs / f"{name}-snapshots" / f"{job.step:07d}.safetensors"
            embedding = model.embed.weight.detach().bfloat16().cpu()
            artifacts.save_checkpoint(path, {"embed": embedding}, {"step": job.step})

    if not job.resume():
        job.steps = loop.calibrate(lab, "pretraining", one_step, job)
    wanted = set(snapshot_steps(job.steps))
    loop.run(job, one_step, on_step, "pretraining", keep_snapshot if snapshots else None)
    return job


def sample_text(model: Transformer, tokenizer: BPE, prompt="", n=120, temperature=0.7, seed=0):
    """Let a base model go on writing after `prompt`."""
    ids = [tokenizer.special("<|end|>"), *tokenizer.encode(prompt)]
    generator = torch.Generator(model.embed.weight.device).manual_seed(seed)
    out = generate(model, [ids], n, temperature, top_p=0.95, stop=ids[0], generator=generator)
    return prompt + tokenizer.decode(out[0]).removesuffix("<|end|>")
