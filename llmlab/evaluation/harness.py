"""What a model is worth: bits per byte, the kitchen's report card, and published benchmarks.

The tasks are run by lm-eval (Gao et al. 2021, an extra) on the model as it is exported.  One comes
with the project and needs no network: `kitchen_facts`.
"""

import math
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from llmlab import artifacts, hub, kitchen
from llmlab.artifacts import LabError
from llmlab.chat import ChatTemplate, score_model
from llmlab.core.model import Transformer
from llmlab.core.tokenizer import BPE
from llmlab.corpus.corpus import load_corpus
from llmlab.lab import Lab
from llmlab.stages.pretraining import held_out_bpb
from llmlab.stages.report import PageTemplate

FACTS = "kitchen_facts"
TASKS = ("bpb", "kitchen", FACTS)  # what needs no network


def run(
    lab: Lab, name: str = "grpo", tasks: Sequence[str] = TASKS, limit: int | None = None,
    as_chat: bool = False, batch: int = 16,
) -> dict:  # fmt: skip
    """Figures of a model on tasks, kept under "evaluation" in report.json.

    name: a model of the line, a .safetensors checkpoint, a Hugging Face folder or a .gguf file.
    tasks: "bpb" (held-out recipes), "kitchen" (the rules of the assistant), `kitchen_facts`, a
    .yaml file of one's own, or whatever else lm-eval knows, which it fetches.  limit: of each of
    lm-eval's, so many questions.  as_chat: its questions go through the chat template.
    """
    start = time.monotonic()
    model, tokenizer = load_any_model(lab, name)
    known = {"bpb": bpb_task, "kitchen": kitchen_task}
    for task in tasks:
        if task in known and not isinstance(tokenizer, BPE):
            raise LabError(f"{task} is for models of this series. Name other tasks for {name}.")
    figures = {}
    if others := [task for task in tasks if task not in known]:
        figures |= harness(lab, model, tokenizer, others, limit, as_chat, batch)
    for task in [task for task in tasks if task in known]:
        figures |= known[task](lab, model, tokenizer, name)
    short = Path(name).stem
    figures = {f"{short}_{key}": value for key, value in figures.items()}
    lab.report("evaluation", figures)
    return figures | {"seconds": time.monotonic() - start}


def load_any_model(lab: Lab, name: str) -> tuple[Transformer, BPE | hub.HubTokenizer]:
    """The model of that name or place, and its tokenizer.  LabError where it has none."""
    path = Path(name)
    if path.suffix == ".safetensors":
        return lab.load(path)[:2]
    if path.suffix == ".gguf" or path.is_dir():
        model, tokenizer, _ = hub.load_hf(path)
        if tokenizer is None:
            raise LabError(
                f"{path} has no tokenizer that llmlab can read, so nothing can be asked."
            )
        model.compute_dtype = lab.dtype
        return model.to(lab.device), tokenizer
    return lab.latest(name)[:2]


def bpb_task(lab: Lab, model: Transformer, tokenizer: BPE, name: str) -> dict[str, float]:
    """{"val_bpb": ...} on the held-out recipes."""
    corpus = load_corpus(lab.profile.sources)
    return {"val_bpb": held_out_bpb(lab, model, tokenizer, corpus)}


def kitchen_task(lab: Lab, model: Transformer, tokenizer: BPE, name: str) -> dict[str, float]:
    """{"kitchen_...": share in [0, 1]} of the held-out requests on which each rule is kept."""
    chat = (PageTemplate if name == "base" else ChatTemplate)(tokenizer)
    requests = kitchen.evaluation_set()
    scores = score_model(model, chat, requests)
    shares = {a: kitchen.ability_scores(requests, scores, a) for a in kitchen.ABILITIES}
    return {f"kitchen_{a.replace(' ', '_')}": sum(v) / len(v) for a, v in shares.items()}


# --- lm-eval --------------------------------------------------------------------------------


def harness(
    lab: Lab, model: Transformer, tokenizer: BPE | hub.HubTokenizer, tasks: Sequence[str],
    limit: int | None = None, as_chat: bool = False, batch: int = 16,
) -> dict[str, float]:  # fmt: skip
    """{"task_metric": ...} as lm-eval measures them on the exported model.

    LabError where lm-eval is not installed, a task is not known or its data cannot be had.
    """
    try:
        from lm_eval import simple_evaluate
        from lm_eval.tasks import TaskManager
    except ImportError:
        raise LabError(
            f"{tasks[0]} is run by lm-eval, which is not installed, so it was not run. Install it "
            f"with `pip install lm-eval accelerate transformers`, or leave the task out."
        ) from None
    asked = [_local(task) for task in tasks]
    with tempfile.TemporaryDirectory() as folder:
        hub.save_hf(model, tokenizer, folder)
        how = {"pretrained": folder, "dtype": str(model.compute_dtype).removeprefix("torch.")}
        try:
            made = simple_evaluate(
                model="hf", model_args=how, tasks=asked, limit=limit, batch_size=batch,
                device=lab.device, apply_chat_template=as_chat, bootstrap_iters=0,
                log_samples=False,
                task_manager=TaskManager(include_defaults=any(isinstance(t, str) for t in asked)),
            )  # fmt: skip
        except (OSError, LookupError, ValueError, TypeError, RuntimeError) as error:
            raise LabError(
                f"lm-eval could not run {', '.join(tasks)} "
                f"({type(error).__name__}: {' '.join(str(error).split())[:200]}). Its tasks are "
                f"listed by `lm-eval ls tasks`, and all but {FACTS} need a network."
            ) from None
    return _figures(made["results"])


def _local(task: str) -> str | dict:
    """A task in a .yaml file, its data files sought beside it; another task's name as it is."""
    import yaml

    path = Path(task)
    if task == FACTS:
        path = artifacts.data_dir() / "house" / "tasks" / f"{FACTS}.yaml"
    if path.suffix != ".yaml":
        return task
    if not path.is_file():
        raise LabError(f"There is no task {path}. Check the path.")
    try:
        config = yaml.safe_load(path.read_text("utf-8"))
        files = config.get("dataset_kwargs", {}).get("data_files", {})
    except (yaml.YAMLError, AttributeError):
        raise LabError(f"{path} is no plain YAML of one task. Mend it, or name another.") from None
    for split, file in files.items():
        files[split] = str(path.resolve().parent / file)
    return config


def _figures(results: dict[str, dict]) -> dict[str, float]:
    """{"task_metric": ...}; a filter's name at its end, what is no number left out."""
    figures = {}
    for task, metrics in results.items():
        for metric, value in metrics.items():
            name, _, kind = metric.partition(",")
            number = isinstance(value, int | float) and math.isfinite(value)
            if kind and number:
                other = "" if kind == "none" else f"_{kind}"
                figures[f"{task}_{name}{other}"] = float(value)
    return figures
