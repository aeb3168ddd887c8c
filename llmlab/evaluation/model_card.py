"""A model's card, written by its run: what it is, what it read, what it cost, what it can do.

After Mitchell et al. 2019.  Every figure comes from the logs, from `data/sources.toml` or from a
report card that was just measured.
"""

import contextlib
from pathlib import Path

from llmlab import artifacts, checkpoint, hub
from llmlab.artifacts import LabError
from llmlab.corpus.sources import sources
from llmlab.hub.card import HEADER, USE, shape_sentence
from llmlab.kitchen import TASTE
from llmlab.lab import Lab, shipped_log
from llmlab.stages.report import TITLES, Estimate, LineModel, hashes

LIMITS = """## Limits

Made to teach how such models are made. It knows no allergies and no amounts, what it names need
not be good to eat, and it speaks of nothing but dishes. The taste of this series is made up. Other
programs may take a `<|end|>` that a user types for the end itself; llmlab does not.
"""


def model_card(lab: Lab, name: str, members: dict[str, LineModel],
               marks: dict[str, dict[str, Estimate]], requests: int) -> str:  # fmt: skip
    """The card of a model of the line, in Markdown.

    members: what `report.load_line` gave; marks: their `report_card`, on so many requests.
    """
    config = members[name].model.config
    size = sum(p.numel() for p in members[name].model.parameters())
    return "\n".join([
        HEADER,
        f"# Kitchen assistant, {TITLES[name]}\n",
        f"{shape_sentence(config, size)} It names a dish for the foods that one has.\n",
        USE,
        "## How it was made\n",
        table(("run", "made by", "seed", "steps", "processor seconds", "SHA-256"),
              [run_row(lab, *run) for run in lineage(lab, name, members[name].meta)]),
        "## What it read\n",
        table(("text", "licence", "credit", "SHA-256"),
              [source_row(s) for s in lab.profile.sources]),
        f"All of it together, cleaned, has the hash `{shipped_log(lab, 'base')['data']}`. The "
        "licences are as the packages state them.\n",
        "## What it can do\n",
        f"{requests} held-out requests, temperature 0.8. An answer counts where it keeps its rule "
        "in full; in brackets 95 %, by Wilson's interval, of the taste by the bootstrap.\n",
        table(("ability", "of those that ask for it"),
              [(ability, in_words(ability, row[name])) for ability, row in marks.items()]),
        LIMITS,
    ])  # fmt: skip


def lineage(lab: Lab, name: str, meta: dict) -> list[tuple[str, Path]]:
    """The runs that a model comes from, the first one first, and its own: (name, checkpoint).

    Each is found by the hash that its child holds, so one that is no more here is left out.
    """
    here = {}  # hash -> name and checkpoint of every model on this machine
    for run in (*TITLES, "reward"):
        for path in (lab.shipped(run), lab.path(run)):
            with contextlib.suppress(LabError):  # none, or damaged
                model, _, its = lab.load(path)
                here |= {hashed: (run, path, its) for hashed in hashes(model, its)}
    rows = [(name, lab.path(name) if meta["own"] else lab.shipped(name))]
    while found := here.get(meta.get("from")):
        if judge := here.get(meta.get("judge")):
            rows.insert(0, judge[:2])
        rows.insert(0, found[:2])
        meta = found[2]
    return rows


def run_row(lab: Lab, name: str, path: Path) -> tuple:
    """A run's row: from the log beside a shipped checkpoint, or from the learner's own."""
    own = path == lab.path(name)
    log = checkpoint.read_meta(path) if own else shipped_log(lab, name)
    by = "a run of one's own" if own else f"`{log['command']}`"
    facts = (log["seed"], log["steps"], f"{log['cpu_seconds']:,.0f}")
    return (TITLES.get(name, "reward model"), by, *facts, f"`{artifacts.sha256_file(path)[:16]}`")


def source_row(name: str) -> tuple[str, ...]:
    """A text's row, from `data/sources.toml`."""
    source = sources()[name]
    hashed = f"`{source.sha256[:16]}`" if source.sha256 else "comes with Python"
    return source.title, source.licence, source.credit, hashed


def in_words(ability: str, mark: Estimate) -> str:
    """A mark: "95 % (92 to 97)", the taste in standard deviations of the SFT model's answers."""
    if ability == TASTE:
        unit = "of SFT's standard deviations"
        return f"{mark.value:+.2f} ({mark.low:+.2f} to {mark.high:+.2f}) {unit}"
    return f"{mark.value:.0%} ({mark.low:.0%} to {mark.high:.0%})".replace("%", " %")


def table(heads: tuple, rows: list[tuple]) -> str:
    """A table in Markdown."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines) + "\n"


def export(member: LineModel, card: str, folder: Path) -> list[str]:
    """Write model, tokenizer and card in the Hugging Face format; the names of the files.

    LabError where the folder cannot be written.
    """
    hub.save_hf(member.model, member.chat.tokenizer, folder, card)
    return sorted(path.name for path in folder.iterdir())
