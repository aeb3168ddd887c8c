"""Stage 4, pretraining: predict the next id, everywhere, for most of the bill."""

import math
import time
from bisect import bisect_left
from dataclasses import replace
from pathlib import Path

import torch

from llmlab import artifacts, checkpoint
from llmlab.artifacts import LabError
from llmlab.chat import check_temperature
from llmlab.core.losses import next_token_loss
from llmlab.core.model import Transformer
from llmlab.core.optim import Optimizer, learning_rate
from llmlab.core.sampling import generate
from llmlab.core.tokenizer import BPE, train_bpe
from llmlab.corpus import long_runs
from llmlab.corpus.corpus import Corpus, load_corpus
from llmlab.corpus.mixture import Mixture
from llmlab.datasets import pretokenize
from llmlab.datasets.token_shards import TokenDataset, WeightedMixture
from llmlab.lab import Lab
from llmlab.scale import distributed, fsdp, gpu, planner
from llmlab.scale.planner import with_plan
from llmlab.stages.tokenization import from_tiktoken, get_encoding
from llmlab.training import loop
from llmlab.training.sharded_job import ShardedTrainState

SNAPSHOTS = 12
BOM = "\ufeff"  # what editors on Windows put before a text
VOCAB_SIZE = 1024  # of a text of one's own, where it is long enough
EPOCHS = 4  # a run that reads its text more often than that has dropout


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
    window = min(window, model.config.max_seq_len)
    for text in texts:
        ids = [end, *long_runs.encode(encoding, text)]
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
    return bits_per_byte(model, tokenizer, texts)


def snapshot_steps(steps: int) -> list[int]:
    """Steps, evenly spaced in their logarithm, at which the token matrix is kept."""
    return sorted({round(steps ** (i / (SNAPSHOTS - 1))) for i in range(SNAPSHOTS)})


class WindowDataset:
    """Random windows of one long text; `batch` is a pure function of seed and step."""

    def __init__(self, ids: list[int], seed: int):
        self.ids, self.seed = torch.tensor(ids), seed

    def epochs(self, tokens: int) -> float:
        """How often a run of so many tokens reads the text."""
        return tokens / len(self.ids)

    def batch(self, step: int, batch: int, seq_len: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + step)
        starts = torch.randint(len(self.ids) - seq_len, (batch,), generator=generator)
        return torch.stack([self.ids[s : s + seq_len + 1] for s in starts])


def pretrain(
    lab: Lab, tokenizer: BPE, name="base", on_step=None, snapshots=False
) -> loop.TrainState:
    """Train a model of the profile's size from random weights on the profile's mixture.

    Resumes a run of the same name, seed and data.  snapshots: keep the token matrix at
    log-spaced steps beside the checkpoint.
    """
    corpus, p = load_corpus(lab.profile.sources), lab.profile
    mixture = Mixture(corpus, tokenizer.to_tiktoken(), p.mixture, lab.seed)
    rows = pretokenize.rows_of(lab, tokenizer, mixture)
    model = lab.build(replace(p.model, vocab_size=tokenizer.vocab_size))
    job = new_job(lab, model, tokenizer, lab.path(name), rows.hash())
    train(lab, job, rows, on_step, snapshots)
    return job


def new_job(lab: Lab, model: Transformer, tokenizer: BPE, path: Path, data: str) -> loop.TrainState:
    """A pretraining run that has not begun; data: a hash of what it reads."""
    p, kind, made = lab.profile, loop.TrainState, Optimizer
    if lab.device == "cuda":
        made = gpu.FusedOptimizer
    if distributed.is_initialized():
        fsdp.shard_model(model)
        kind, made = ShardedTrainState, fsdp.ShardedOptimizer
    rates = (p.muon_lr, p.adam_lr, p.adam_betas, p.weight_decay, p.muon_momentum)
    optimizer = made(model.named_parameters(), *rates)
    meta = {"stage": "pretraining", "seed": lab.seed, "data": data}
    return kind(model, tokenizer, optimizer, path, meta=meta)


def train(
    lab: Lab,
    job: loop.TrainState,
    rows: "Mixture | WindowDataset | WeightedMixture",
    on_step=None,
    snapshots=False,
    max_steps=math.inf,
) -> None:
    """The pretraining loop: read rows, score every next id, step.  max_steps: no more steps than
    this, however many fit the budget.

    Text that is read more than four times is worth less each time (Muennighoff et al. 2023), and
    a small model begins to recite it: dropout holds against that.
    """
    profile, model = lab.profile, job.model
    text, micro = gpu.Prefetcher(rows, lab.device), gpu.GradientAccumulation(profile.micro_batch)
    size = profile.pretraining_batch, profile.seq_len

    def one_step(step: int) -> dict:
        ids = text.batch(step, *size)  # (B, T + 1), in one process all rows of the step
        weight = distributed.token_weight(len(ids))

        def part_loss(part: torch.Tensor, share: float) -> float:
            loss = next_token_loss(model(part[:, :-1]), part[:, 1:])  # (B, T) in, as many to guess
            job.backward(loss, share * weight)
            return loss.item()

        loss = weight * micro.backward(ids, part_loss, model.zero_grad)
        norm = job.update(learning_rate(step, job.horizon))
        return {"loss": loss, "grad_norm": round(norm, 4), "tokens": math.prod(size)}

    def keep_snapshot(job: loop.TrainState) -> None:
        if job.step in snapshot_steps(job.steps):
            path = job.path.with_name(f"{job.path.stem}-snapshots") / f"{job.step:07d}.safetensors"
            embedding = fsdp.full_tensor(model.embed.weight.detach()).bfloat16().cpu()
            if distributed.is_main_process():
                checkpoint.save_checkpoint(path, {"embed": embedding}, {"step": job.step})

    resumed = job.resume()  # perhaps in another number format, so before the model is made ready
    with gpu.prepared_model(model, lab.device, profile.compile, profile.activation_checkpointing):
        if not resumed:
            job.steps = min(max_steps, loop.steps_for_budget(lab, "pretraining", one_step, job))
        rate = loop.DROPOUT if rows.epochs(job.steps * math.prod(size)) > EPOCHS else 0.0
        keep = keep_snapshot if snapshots else None
        loop.run(job, one_step, on_step, "pretraining", keep, dropout_rate=rate)


def evaluate_run(lab: Lab, job: loop.TrainState) -> dict[str, float]:
    """What a run is worth on text that it never read: recipes, and web text where it is here.  Of
    one that was planned, how good the forecast was, which is printed as well."""
    model, tokenizer, corpus = job.model, job.tokenizer, load_corpus(lab.profile.sources)
    figures = {"val_bpb": held_out_bpb(lab, model, tokenizer, corpus)}
    if web := pretokenize.held_out(lab, tokenizer)[: lab.profile.val_documents]:
        figures["web_val_bpb"] = bits_per_byte(model, tokenizer, web)
    forecast = planner.stored_plan(lab) if job.steps == lab.profile.pretraining_steps else None
    if forecast and (found := figures.get(forecast.measure())):
        figures |= forecast.against(found, job.seconds)
        print(forecast.verdict(figures))
    return figures


def sample_text(model: Transformer, tokenizer: BPE, prompt="", n=120, temperature=0.7, seed=0):
    """Let a base model go on writing after `prompt`, by n ids or as many as its context holds."""
    check_temperature(temperature)
    end, room = tokenizer.special("<|end|>"), model.config.max_seq_len
    ids = long_runs.encode(tokenizer.to_tiktoken(), prompt)
    ids = [end, *ids[max(0, len(ids) - room // 2) :]]
    n = max(0, min(n, room - len(ids)))
    generator = torch.Generator(model.embed.weight.device).manual_seed(seed)
    how = {"temperature": temperature, "top_p": 0.95, "generator": generator}
    out = generate(model, [ids], n, stop=end, **how)
    return prompt + tokenizer.decode(out[0]).removesuffix("<|end|>")


def run(lab: Lab, on_step=None) -> dict:
    """The stage: train live from random weights, then measure the slow-cooked base as well."""
    start, tokenizer = time.monotonic(), lab.tokenizer()
    job = loop.require_finished(pretrain(lab, tokenizer, on_step=on_step, snapshots=True))
    trained = time.monotonic() - start
    n_parameters = sum(p.numel() for p in job.model.parameters())
    tokens = sum(r["tokens"] for r in job.log)
    figures = {
        **evaluate_run(lab, job),
        "parameters": n_parameters,
        "tokens": tokens,
        "steps": job.steps,
        "train_flops": 6 * n_parameters * tokens,
        "tokens_per_s": tokens / trained,
        "train_seconds": trained,
    }
    if lab.shipped("base").exists():
        base, tokenizer, _ = lab.load(lab.shipped("base"))
        corpus = load_corpus(lab.profile.sources)
        figures["base_val_bpb"] = held_out_bpb(lab, base, tokenizer, corpus)
    return {**figures, "seconds": time.monotonic() - start}


# --- A text of one's own --------------------------------------------------------------------


def read_text(path: Path) -> str:
    """A user's UTF-8 text, without a byte order mark.  Raises LabError when it is not there, empty,
    or not text."""
    try:
        text = path.read_bytes().decode("utf-8").lstrip(BOM)
    except OSError as error:
        raise LabError(f"{path} cannot be read ({error.strerror}); nothing was done.") from None
    except UnicodeDecodeError as error:
        raise LabError(
            f"{path} is not UTF-8 text: byte {error.start} fits no character. Save it as UTF-8 "
            "and try again; nothing was done."
        ) from None
    if "\0" in text:
        raise LabError(f"{path} holds NUL bytes, so it is no text; nothing was done.")
    if not text.replace(BOM, "").strip():
        raise LabError(f"{path} is empty; give a text of some thousand characters.")
    return text


def text_tokenizer(kind: str, text: str, vocab_size: int | None = None) -> BPE:
    """char: one id a byte; bpe: trained on the text; gpt2: GPT-2's merges.

    vocab_size: of bpe; None for `VOCAB_SIZE`, or as many ids as the text supports, which is said.
    LabError where the text supports fewer than were asked for.
    """
    if kind == "char":
        return BPE(())
    if kind == "gpt2":
        return from_tiktoken(get_encoding("gpt2"))
    taught = long_runs.to_learn_from(text)
    try:
        return fitting_bpe(taught) if vocab_size is None else train_bpe(taught, vocab_size)
    except ValueError as error:
        raise LabError(
            f"No tokenizer could be trained, and nothing was done: {error}. "
            "Give another --vocab-size, a longer text, or --tokenizer char."
        ) from None


def fitting_bpe(text: str) -> BPE:
    """A BPE of `VOCAB_SIZE` ids, or of as many as the text supports, which is said."""

    def learned(size: int) -> BPE | None:
        try:
            return train_bpe(text, size)
        except ValueError:  # there are no more pairs to merge
            return None

    if bpe := learned(VOCAB_SIZE):
        return bpe
    sizes = range(BPE(()).vocab_size, VOCAB_SIZE)  # the first one is of no merge: it always goes
    largest = sizes[bisect_left(sizes, True, key=lambda size: not learned(size)) - 1]
    print(
        f"The text is short, so its tokenizer has {largest} ids, as many as the text supports, "
        f"instead of {VOCAB_SIZE:,}."
    )
    return learned(largest)


def pretrain_text(
    lab: Lab, text: str, kind: str, out: Path, vocab_size: int | None = None, on_step=None
) -> dict[str, float]:
    """Pretrain on a text of one's own; the last twentieth is held out.  Returns figures.

    vocab_size: see `text_tokenizer`.  Run again on the same `out` it resumes, and ends as if it
    had never stopped.  LabError where the text is too short, or another process writes to `out`.
    """
    cut, path = int(0.95 * len(text)), out / "model.safetensors"
    loop.check_free(path)
    tokenizer = text_tokenizer(kind, text[:cut], vocab_size)
    ids, profile = long_runs.encode(tokenizer.to_tiktoken(), text[:cut]), lab.profile
    if len(ids) <= profile.seq_len + 1:
        raise LabError(
            f"The text has {len(ids)} tokens, and the model reads {profile.seq_len + 1} at a time. "
            "Give a longer text, or --tokenizer char; nothing was done."
        )
    rows = WindowDataset(ids, lab.seed)
    model = lab.build(replace(profile.model, vocab_size=tokenizer.vocab_size))
    job = new_job(lab, model, tokenizer, path, artifacts.text_hash(text))
    train(lab, job, rows, on_step)
    val = bits_per_byte(model, tokenizer, [text[cut:]], window=profile.seq_len)
    return {"val_bpb": val, "steps": job.steps, "tokens": sum(r["tokens"] for r in job.log)}


def plan_for_machine(lab: Lab) -> Lab:
    """The lab with sizes that suit this machine and its minutes, which are printed; as it is where
    its profile leaves nothing to choose."""
    if not lab.profile.depths:
        return lab
    p, (tokens, web) = lab.profile, main_text(lab)
    model = replace(p.model, vocab_size=lab.tokenizer().vocab_size)
    seq_len = context_length(web.ids_per_document(), model.max_seq_len) if web else p.seq_len
    lab = replace(lab, profile=replace(p, model=model, seq_len=seq_len))
    lab, plan = with_plan(lab, tokens, web.bytes_per_token() if web else None)
    print(plan.text())
    return lab


def context_length(document: float, longest: int) -> int:
    """The context length, in ids: the least power of two that holds a document of so many, but 256
    at least, and no more than the model can read."""
    return min(longest, max(256, 1 << math.ceil(math.log2(document))))


def main_text(lab: Lab) -> tuple[int, TokenDataset | None]:
    """How many ids a run reads before it has read its main text once, and that text where it is of
    the web; None where it is the class's recipes."""
    tokenizer, p = lab.tokenizer(), lab.profile
    mixture = Mixture(load_corpus(p.sources), tokenizer.to_tiktoken(), p.mixture, lab.seed)
    rows = pretokenize.rows_of(lab, tokenizer, mixture)
    main = rows.main() if isinstance(rows, WeightedMixture) else rows
    return math.ceil(1 / rows.epochs(1)), main if isinstance(main, TokenDataset) else None
