"""`python -m llmlab COMMAND`: set-up, data, and the whole line without a notebook.

Only the standard library is imported here; a command imports what it needs when it runs.
"""

import argparse
import contextlib
import importlib
import itertools
import os
import re
import sys
import time
from dataclasses import replace
from pathlib import Path

from llmlab import __version__, artifacts
from llmlab.artifacts import LabError

INTERRUPTED = 130  # the exit code of a command that Ctrl-C has ended, as shells have it


def setup(args: argparse.Namespace) -> int:
    from llmlab import install

    install.set_up(dev=args.dev, torch_index=args.torch_index)
    print("Ready. `make lab`, or `python3 -m llmlab lab`, opens the notebooks.")
    return 0


def lab(args: argparse.Namespace) -> int:
    from llmlab import install

    install.set_up(torch_index=args.torch_index)
    return install.open_lab(args.options)


def bundle(args: argparse.Namespace) -> int:
    """One archive for machines without a network."""
    from llmlab import bundle

    bundle.make(bundle.target(args.python, args.platform), args.out, args.torch_index)
    return 0


def colab(args: argparse.Namespace) -> int:
    """The zip that Google Colab is given, and how."""
    from llmlab import bundle, colab

    path = colab.write_zip(args.out)
    print(
        f"{path}\n{bundle.megabytes(path.stat().st_size)}. Open a notebook of the series at "
        "colab.research.google.com (File, Upload notebook) and run it: its first cell asks for "
        f"this file. A notebook of your own begins with this cell:\n\n{colab.CELL}"
    )
    return 0


def doctor(args: argparse.Namespace) -> int:
    """What this machine is, what is cached, what each stage may take."""
    from llmlab import profiles
    from llmlab.corpus.sources import fetch_all
    from llmlab.evaluation.shipping import SHIPPED

    made = _lab(args)
    print(made.card())
    os.environ["LLMLAB_OFFLINE"] = "1"  # to look, not to fetch
    for row in fetch_all():
        print(f"  {row['name']:<14} {row['status']:<8} {row['message']}")
    for name, (status, message, _) in _big_state(args):
        print(f"  {name:<14} {status:<8} {message}")
    for name in SHIPPED:
        print(f"  {name:<14} {'shipped' if made.shipped(name).exists() else 'missing'}")
    minutes = sum(made.seconds(name) for name in profiles.LOOPS) / 60
    print(f"  the whole line: about {minutes + 2:.0f} minutes")
    return 0


def data(args: argparse.Namespace) -> int:
    """`data fetch`: bring the sources and show what they are."""
    from llmlab.datasets import hub_datasets

    big = [name for name in args.names if name in hub_datasets.big()]
    class_names = [name for name in args.names if name not in big]
    if class_names or not args.names:
        _fetch(class_names)
    if big or (not args.names and _is_full(args)):
        _fetch_big(args, big or list(hub_datasets.big()))
    return 0


def _fetch(names: list[str]) -> None:
    """Bring these sources of the class, or all."""
    from llmlab.corpus.sources import fetch_all

    rows = fetch_all(names or None)
    counts = _counts()
    print(f"{'source':<14}{'status':<10}{'documents':>10}{'MB':>8}{'tokens':>10}  licence")
    for row in rows:
        documents, tokens = counts(row["name"])
        size = (row["bytes"] or 0) / 1e6
        print(f"{row['name']:<14}{row['status']:<10}{documents:>10}{size:>8.1f}{tokens:>10}"
              f"  {row['licence']}")  # fmt: skip
        if row["message"]:
            print(f"{'':<14}{row['message']}")


def _fetch_big(args: argparse.Namespace, names: list[str]) -> None:
    """Bring these data sets of `full`: what pretraining reads is tokenised, the rest downloaded."""
    from llmlab.datasets import hub_datasets, pretokenize
    from llmlab.stages import tokenization

    options = dict(option.partition("=")[::2] for option in args.option)
    options = {key: int(v) if v.isdecimal() else v for key, v in options.items()}
    work = pretokenize.Work(args.workers, args.executor, options)
    folder = hub_datasets.user_data_dir()
    tokenizer = tokenization.choose_tokenizer(_elsewhere(args), folder)
    print(f"{'data set':<14}{'status':<10}{'MB':>8}  licence")
    for name in names:
        source = hub_datasets.big()[name]
        status, message, size = pretokenize.bring(source, tokenizer, folder, args.rows, work)
        print(f"{name:<14}{status:<10}{size / 1e6:>8.1f}  {source.licence}")
        print(f"{'':<14}{message}")


def _big_state(args: argparse.Namespace):
    """What is there of the data sets of `full`: (name, its state); in class, only of those
    that are there."""
    from llmlab.datasets import hub_datasets, pretokenize

    tokenizer, folder = _elsewhere(args).tokenizer(), hub_datasets.user_data_dir()
    for name, source in hub_datasets.big().items():
        found = pretokenize.state(source, tokenizer, folder)
        if found[0] != "missing" or _is_full(args):
            yield name, found


def _is_full(args: argparse.Namespace) -> bool:
    return _profile_name(args).startswith("full")


def _elsewhere(args: argparse.Namespace):
    """The lab of the given profile, also where there is no GPU to run it."""
    from llmlab import lab, profiles

    profile, folder = profiles.profile_called(_profile_name(args))
    made = lab.setup("class", runs_dir=args.runs_dir)
    return replace(made, profile=profile, runs=artifacts.runs_dir(args.runs_dir) / folder)


def _counts():
    """A function: source name -> (documents, tokens of the shipped tokenizer), as text."""
    from llmlab import lab
    from llmlab.corpus import corpus

    made = lab.setup("class")
    encoding = made.tokenizer().to_tiktoken() if made.shipped("base").exists() else None

    def count(name: str) -> tuple[str, str]:
        if name not in made.profile.sources:
            return "", ""
        documents, _ = corpus.read_source(name)
        texts = [d.text() if isinstance(d, corpus.Recipe) else d for d in documents]
        if encoding is None:
            return str(len(texts)), ""
        tokens = sum(map(len, encoding.encode_ordinary_batch(texts, num_threads=2)))
        return str(len(texts)), f"{tokens / 1e6:.2f} M"

    return count


def run(args: argparse.Namespace) -> int:
    """The line without a notebook; figures go to report.json and to --json."""
    from llmlab.scale import distributed

    with distributed.process_group():
        return _run(args)


def _run(args: argparse.Namespace) -> int:
    """The stages, in this process or in each of several."""
    from llmlab import profiles
    from llmlab.datasets import by_stage
    from llmlab.scale import distributed
    from llmlab.stages.pretraining import plan_for_machine

    made, start = _lab(args), time.monotonic()
    stages = args.stages or list(profiles.STAGES)
    for name in stages:
        if name not in profiles.STAGES:
            known = ", ".join(profiles.STAGES)
            raise LabError(f"There is no stage {name!r}; the stages are {known}.")
    if args.seeds < 1:
        raise LabError("--seeds counts runs, so it is 1 or more; nothing was done.")
    print(made.card())
    made, report = plan_for_machine(made), {}
    for name in stages:
        module = importlib.import_module(f"llmlab.stages.{name}")
        figures = module.run(made, **by_stage.arguments(made, name))
        if args.controls and hasattr(module, "controls"):
            figures |= module.controls(made, figures["steps"])
        if name in SEEDED and args.seeds > 1:
            figures |= _spread([figures, *_other_seeds(args, made, name)])
        report[name] = figures
        if distributed.is_main_process():
            made.report(name, figures)
        print(_table(name, figures))
        if args.ship:
            _ship(made, name)
    report["total"] = {"seconds": time.monotonic() - start, "peak_mb": peak_mb()}
    if distributed.is_main_process():
        made.report("total", report["total"])
        _write_json(args, report)
    print(_table("total", report["total"]))
    return 0


MAKES = {
    "pretraining": ["base"], "sft": ["sft"], "reward": ["reward"], "dpo": ["dpo"],
    "rl": ["grpo", "ppo", "last"],
}  # fmt: skip


def _ship(made, stage: str) -> None:
    """Keep what a stage made as the project's checkpoints, for maintainers."""
    from llmlab.evaluation import shipping

    where = re.compile(r" --runs-dir[ =]\S+")  # a place on one machine only
    command = where.sub("", " ".join(["python -m llmlab", *sys.argv[1:]]))
    for name in MAKES.get(stage, []):
        print(f"  shipped: {shipping.publish(made, name, command).name}")


SEEDED = ("sft", "reward", "rl")  # the stages that --seeds repeats


def _other_seeds(args: argparse.Namespace, made, name: str) -> list[dict]:
    """The figures of a stage with the next seeds, each with runs of its own."""
    from llmlab.datasets import by_stage

    module = importlib.import_module(f"llmlab.stages.{name}")
    others = [
        replace(made, seed=made.seed + i, runs=made.runs / f"seed-{made.seed + i}")
        for i in range(1, args.seeds)
    ]
    return [module.run(other, **by_stage.arguments(other, name)) for other in others]


def _spread(runs: list[dict]) -> dict:
    """Mean and worst over the seeds of every figure that is a share or a gain."""
    out = {"seeds": len(runs)}
    for key, value in runs[0].items():
        if isinstance(value, float) and "seconds" not in key:
            values = [r[key] for r in runs]
            out |= {f"{key}_mean": sum(values) / len(values), f"{key}_worst": min(values)}
    return out


def pretrain(args: argparse.Namespace) -> int:
    """Pretrain on a text of one's own."""
    from llmlab.stages import pretraining

    if args.seconds is not None:
        args.budget_minutes = args.seconds / 60
    made = _lab(args)
    text = pretraining.read_text(Path(args.text))
    figures = pretraining.pretrain_text(
        made, text, args.tokenizer, Path(args.out), vocab_size=args.vocab_size
    )
    print(_table("pretraining", figures))
    model, tokenizer, meta = made.load(Path(args.out) / "model.safetensors")
    print(shown(pretraining.sample_text(model, tokenizer, prompt=text[:20])))
    _write_json(args, figures)
    return 0 if meta["step"] == meta["steps"] else INTERRUPTED


def sample(args: argparse.Namespace) -> int:
    """Let a base model go on writing."""
    from llmlab.stages.pretraining import sample_text

    model, tokenizer, _ = _model(args, "base")
    _check_sampling(args)
    how = args.tokens, args.temperature, args.seed
    print(shown(sample_text(model, tokenizer, args.prompt, *how)))
    return 0


def chat(args: argparse.Namespace) -> int:
    """Talk to an assistant, a line at a time, until an empty line."""
    from llmlab.chat import ChatTemplate, generate_answers

    model, tokenizer, _ = _model(args, "grpo")
    _check_sampling(args)
    talk = ChatTemplate(tokenizer)
    print('Ask me, for example "I have chicken and lemon."; an empty line ends.')
    for turn in itertools.count(1):
        try:
            line = input("> ").strip()
        except EOFError:
            return 0
        if not line:
            return 0
        try:
            seed = args.seed + turn
            [answer] = generate_answers(model, talk, [line], args.temperature, seed)
            print(shown(talk.read(answer)))
        except LabError as error:  # too long a request: the talk goes on
            print(shown(str(error)))


def evaluate(args: argparse.Namespace) -> int:
    """Figures of a model on tasks, ours and published ones."""
    from llmlab.evaluation import harness

    tasks = args.tasks or harness.TASKS
    made = _lab(args)
    figures = harness.run(made, args.model, tasks, args.limit, args.as_chat)
    print(_table("evaluation", figures))
    _write_json(args, figures)
    return 0


def export(args: argparse.Namespace) -> int:
    """Write a model in the Hugging Face format."""
    from llmlab import hub

    model, tokenizer, _ = _model(args, "grpo")
    hub.save_hf(model, tokenizer, Path(args.folder))
    print(f"Written to {args.folder}.")
    return 0


def student(args: argparse.Namespace) -> int:
    """Write the series without its answers, for a class."""
    from llmlab.classroom.student_edition import write_student_edition

    sources = artifacts.PACKAGE.parent / "notebooks" / "src"
    written = write_student_edition(sources, Path(args.folder))
    print(f"{len(written)} notebooks without answers are in {args.folder}.")
    return 0


def progress(args: argparse.Namespace) -> int:
    """What is solved and what is next; of the files of a class, a table."""
    from llmlab.classroom import progress
    from llmlab.classroom.exercises import plain, registered
    from llmlab.classroom.progress_report import class_rows, learners_view

    if args.files:
        return _class_progress(args)
    file = progress.progress_file(args.runs_dir)
    if args.name is not None:
        with progress.changing(file) as kept:
            kept.name = plain(args.name)
    kept = progress.read_progress(file)
    print(learners_view(kept, registered()))
    _write_json(args, class_rows([kept], registered())[0])
    return 0


def _class_progress(args: argparse.Namespace) -> int:
    """A row for each student whose progress.json was handed in."""
    from llmlab.classroom.exercises import registered
    from llmlab.classroom.progress_report import class_csv, class_rows, class_table, collect

    students, left_out = collect([Path(name) for name in args.files])
    for sentence in left_out:
        print(sentence, file=sys.stderr)
    if not students:
        raise LabError("There is no table: no progress file could be read.")
    rows = class_rows(students, registered())
    print(class_csv(rows) if args.csv else class_table(rows, registered()))
    _write_json(args, {"students": rows})
    return 0


def study(args: argparse.Namespace) -> int:
    """Make the points of a comparison that are missing."""
    from llmlab.studies import run_study

    _write_json(args, run_study(_lab(args), args.name, args.points, args.ship))
    return 0


# --- What the commands share ----------------------------------------------------------------


def _lab(args: argparse.Namespace):
    """The Lab that the common options describe."""
    from llmlab import lab

    if args.json:
        artifacts.check_place(args.json)
    name = _profile_name(args)
    made = lab.setup(name, args.budget_minutes, args.seed, args.runs_dir)
    return replace(made, steps=args.steps)


def _profile_name(args: argparse.Namespace) -> str:
    """The profile that the options name, or the environment does."""
    name = args.profile or os.environ.get("LLMLAB_PROFILE") or "class"
    return f"{name}-toy" if args.toy and not name.endswith("-toy") else name


def _model(args: argparse.Namespace, default: str):
    """The model of --model: a stage's name, or a file."""
    made, name = _lab(args), args.model or default
    if Path(name).suffix:
        return made.load(Path(name))
    return made.latest(name)


def _check_sampling(args: argparse.Namespace) -> None:
    from llmlab.chat import check_temperature

    if getattr(args, "tokens", 1) < 1:
        raise LabError("--tokens must be 1 or more; nothing was done.")
    check_temperature(args.temperature)


def _write_json(args: argparse.Namespace, report: dict) -> None:
    if args.json:
        artifacts.write_json(args.json, report)


def _table(name: str, figures: dict) -> str:
    rows = [
        f"  {name}.{key:<28} {value:.4g}" if isinstance(value, float)
        else f"  {name}.{key:<28} {value}"
        for key, value in figures.items()
        if isinstance(value, int | float | str)
    ]  # fmt: skip
    return "\n".join(rows)


def shown(text: str) -> str:
    """Text for a terminal, which it cannot steer: control characters and those that turn the
    direction of writing as the widgets show them, such as ⟨U+001B⟩; lines and tabs stay."""
    steers = r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]"
    return re.sub(steers, lambda m: f"⟨U+{ord(m[0]):04X}⟩", text.replace("\r\n", "\n"))


def peak_mb() -> float | None:
    """The most memory that this process has held, in MB; None where it cannot be told."""
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1e6 if sys.platform == "darwin" else 1e3)


def parser() -> argparse.ArgumentParser:
    """All commands; each sets `run`, a function of its arguments that returns the exit code."""
    top = argparse.ArgumentParser(prog="python -m llmlab", description="A language model, whole.")
    top.add_argument("--version", action="version", version=__version__)
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    common = _common()

    def add(function, text: str, name: str | None = None, parents=(common,), **defaults):
        command = commands.add_parser(name or function.__name__, help=text, parents=parents)
        command.set_defaults(run=function, **defaults)
        return command

    torch_index = argparse.ArgumentParser(add_help=False)
    torch_index.add_argument(
        "--torch-index",
        default=os.environ.get("TORCH_INDEX"),
        help="URL of a package index for torch alone, else TORCH_INDEX",
    )
    command = add(setup, "make .venv, install, fetch the data", parents=[torch_index])
    command.add_argument("--dev", action="store_true", help="install what the tests need, too")
    add(lab, "set up, then open JupyterLab on the notebooks", parents=[torch_index],
        takes_options=True)  # fmt: skip
    command = add(bundle, "one archive that sets up without a network", parents=[torch_index])
    command.add_argument("--python", metavar="VERSION", help="such as 3.12, else this one")
    command.add_argument("--platform", metavar="TAG", help="windows, macos, linux, or a wheel's")
    command.add_argument("--out", metavar="FILE", help="or a folder, such as the stick's")
    command = add(colab, "one zip to upload to Google Colab, and its cell", parents=[])
    command.add_argument("--out", metavar="FILE", help="or a folder")
    add(doctor, "this machine, what is cached, expected minutes")

    command = add(data, "data fetch: bring the sources, print a table")
    command.add_argument("what", choices=["fetch"])
    command.add_argument("names", nargs="*", metavar="SOURCE")
    command.add_argument("--rows", type=int, help="of a text to tokenise, about; 0: all of it")
    command.add_argument("--workers", type=int, help="processes that tokenise, else one a core")
    command.add_argument("--executor", default="local", choices=["local", "slurm", "ray"])
    command.add_argument("--option", action="append", default=[], metavar="KEY=VALUE",
                         help="of that executor, such as partition=cpu")  # fmt: skip

    command = add(run, "run the whole line, or the named stages")
    command.add_argument("stages", nargs="*", metavar="STAGE")
    command.add_argument("--controls", action="store_true", help="also what SFT is compared with")
    command.add_argument("--ship", action="store_true", help="keep the runs in data/checkpoints")
    command.add_argument("--seeds", type=int, default=1, help="repeat sft, reward and rl")

    command = add(study, "make a comparison that takes longer than a class has")
    command.add_argument("name", metavar="NAME")
    command.add_argument("--points", nargs="*", metavar="ARM:SEED", help="these alone")
    command.add_argument("--ship", action="store_true", help="keep the study in data/studies")

    command = add(student, "write the notebooks without their answers")
    command.add_argument("folder", metavar="DIR")
    command = add(progress, "what is solved, what is next; of files, a table of the class")
    command.add_argument("files", nargs="*", metavar="FILE", help="progress.json, or folders of it")
    command.add_argument("--csv", action="store_true", help="the table for a spreadsheet")
    command.add_argument("--name", help="note your name, for the table")

    command = add(pretrain, "train on a text of your own")
    command.add_argument("--text", required=True, metavar="FILE")
    command.add_argument("--tokenizer", choices=["char", "bpe", "gpt2"], default="bpe")
    command.add_argument("--vocab-size", type=int, help="else 1024, or what it supports")
    command.add_argument("--seconds", type=float, default=None)
    command.add_argument("--out", required=True, metavar="DIR")

    for function, text in ((sample, "let a base model write"), (chat, "talk to an assistant")):
        command = add(function, text)
        command.add_argument("--model", help="base, sft, grpo, ppo, or a .safetensors file")
        command.add_argument("--temperature", type=float, default=0.7)
        if function is sample:
            command.add_argument("--prompt", default="")
            command.add_argument("--tokens", type=int, default=150)

    command = add(evaluate, "bits per byte, the kitchen's rules, and lm-eval's tasks")
    where = "grpo, base, ..., a .safetensors or .gguf file, or a Hugging Face folder"
    command.add_argument("model", nargs="?", default="grpo", metavar="MODEL", help=where)
    which = "bpb, kitchen, kitchen_facts, a .yaml file, or one of lm-eval's"
    command.add_argument("--tasks", nargs="+", metavar="TASK", help=which)
    command.add_argument("--limit", type=int, help="questions of each of lm-eval's tasks")
    command.add_argument("--as-chat", action="store_true", help="ask them by the chat template")

    command = add(export, "export --to hf DIR: write the Hugging Face format")
    command.add_argument("--to", choices=["hf"], default="hf")
    command.add_argument("--model", help="base, sft, grpo, ppo, or a .safetensors file")
    command.add_argument("folder", metavar="DIR")
    return top


def _common() -> argparse.ArgumentParser:
    """Options that every command on models and data takes."""
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--profile", help="class (the default) or full, else LLMLAB_PROFILE")
    common.add_argument("--toy", action="store_true", help="shrink the profile to seconds")
    common.add_argument("--seed", type=int, default=1337)
    common.add_argument("--runs-dir", help="where runs are kept, else LLMLAB_RUNS")
    common.add_argument("--data-dir", help="your own files of big data sets, else LLMLAB_DATA")
    common.add_argument("--budget-minutes", type=float, help="for each loop, instead of its own")
    common.add_argument("--steps", type=int, help="for each loop, instead of any budget")
    common.add_argument("--json", metavar="FILE", help="write the figures there, too")
    return common


class Output:
    """A stream to whoever listens: what cannot be written, since a reader such as `head` has gone
    or a disk is full, is lost, and the work goes on.

    lost: why, by the first error; None where all was written.
    """

    def __init__(self, stream):
        self.stream, self.lost = stream, None

    def __getattr__(self, name: str):
        return getattr(self.stream, name)

    def write(self, text: str) -> int:
        self._try(self.stream.write, text)
        return len(text)

    def flush(self) -> None:
        self._try(self.stream.flush)

    def _try(self, call, *arguments) -> None:
        try:
            call(*arguments)
        except OSError as error:
            self.lost = error
            with open(os.devnull, "wb") as nowhere:  # takes what is left, also when Python ends
                os.dup2(nowhere.fileno(), self.stream.fileno())


def main(argv: list[str]) -> int:
    """Run one command; 2 and a sentence for what a user can put right, 130 for Ctrl-C."""
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # what cannot be read or shown becomes a "?"
            stream.reconfigure(errors="replace")
    output = Output(sys.stdout)
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(Output(sys.stderr)):
        try:
            code = _main(argv)
        finally:
            output.flush()
        if output.lost and not isinstance(output.lost, BrokenPipeError):
            print(f"Not all could be printed ({output.lost.strerror}).", file=sys.stderr)
            code = code or 2
    return code


def _main(argv: list[str]) -> int:
    """`main`, with an output that bears everything."""
    top = parser()
    args, args.options = top.parse_known_args(argv)
    if args.options and not getattr(args, "takes_options", False):
        top.error(f"unrecognized arguments: {' '.join(args.options)}")
    if getattr(args, "data_dir", None):
        os.environ["LLMLAB_DATA"] = args.data_dir
    try:
        return args.run(args)
    except LabError as error:
        print(shown(str(error)), file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("Stopped.", file=sys.stderr)
        return INTERRUPTED
