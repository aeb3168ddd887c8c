"""The vocabulary at full size: how many ids, learned from which text.

Chosen once, before big text is tokenised: files of ids are of use to one tokenizer only.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from llmlab import artifacts
from llmlab.artifacts import LabError
from llmlab.core.model import ModelConfig
from llmlab.core.tokenizer import BPE, train_bpe
from llmlab.lab import Lab, pack_tokenizer
from llmlab.scale import law
from llmlab.sources import is_validation
from llmlab.stages import doors
from llmlab.stages.prepare import HELD_OUT
from llmlab.stages.tokenization import bytes_per_token, corpus, first_merges, training_text

SIZES = tuple(2**k for k in range(11, 16))  # of which one is chosen
SAMPLE = 8_000_000  # characters of big text, of which a twentieth is only measured on


def ready(lab: Lab, folder: Path | None = None) -> BPE:
    """The tokenizer of a lab's runs.  Where it is the class's, and the profile's big text can be
    read, a new one is learned from both texts and kept, and what speaks for it is printed; of texts
    that are too short, that the class's serves.

    folder: of one's own files, else the text comes from the hub.
    """
    if lab.chosen_tokenizer() is None and (texts := sample(lab, folder)):
        learned = [training_text(corpus(lab)), *(t for i, t in enumerate(texts) if i % 20)]
        try:
            largest = train_bpe("\n".join(learned), SIZES[-1])
        except ValueError as error:
            print(f"No vocabulary was chosen: {error}. The class's serves.")
            return lab.tokenizer()
        bpe, why = fitting(largest, texts[::20], lab.profile.model)
        artifacts.write_json(lab.runs / "tokenizer.json", pack_tokenizer(bpe))
        print(why)
    return lab.tokenizer()


def fitting(bpe: BPE, held_out: Sequence[str], model: ModelConfig) -> tuple[BPE, str]:
    """The first merges of `bpe` with which a model of that shape learns a byte of `held_out` for
    the least work, and why: the rule of notebook 02."""
    work, lines = {}, []
    for size in SIZES:
        length = bytes_per_token(first_merges(bpe, size).to_tiktoken(), held_out)
        work[size] = 6 * law.size_of(replace(model, vocab_size=size)) / length
        lines.append(
            f"  {size:>8,} ids: {length:.2f} bytes a token, {work[size] / 1e6:,.1f} MFLOP a byte"
        )
    best = min(work, key=work.get)
    chosen = f"vocabulary: {best:,} ids, with which this text takes the least work to learn"
    return first_merges(bpe, best), "\n".join([chosen, *lines])


def sample(lab: Lab, folder: Path | None) -> list[str]:
    """The first documents of the profile's big text that are not held out; none where it cannot be
    had, which `prepare.bring` will say."""
    texts, length = [], 0
    for source in doors.of_stage("pretraining", lab.profile.data_sets):
        try:
            for row in doors.stream(source, folder):
                if length > SAMPLE:
                    break
                if not is_validation(row["text"], HELD_OUT):
                    texts.append(row["text"])
                    length += len(row["text"])
        except LabError:
            continue
    return texts
