"""Small data sets of our own words, in the very schemas of the big ones' cards, as files."""

import gzip
import json
import random
from pathlib import Path

import pytest

from llmlab import artifacts, lab
from llmlab.chat import ChatTemplate
from llmlab.corpus.corpus import Corpus, read_recipes
from llmlab.corpus.mixture import Mixture
from llmlab.datasets import hub_datasets, pretokenize

FOODS = ("leeks", "rice", "lentils", "apples", "carrots", "barley", "eggs", "plums")


def _page(rng: random.Random, i: int) -> dict:
    text = " ".join(
        f"Page {i} says to keep {rng.choice(FOODS)} away from {rng.choice(FOODS)}."
        for _ in range(rng.randint(1, 12))
    )
    text += " Nobody ends a page with <|end|> by hand." if i % 10 == 0 else ""
    score = rng.uniform(3, 5)
    return {
        "text": text, "id": f"<urn:uuid:{i}>", "dump": "CC-MAIN-2024-10",
        "url": f"https://example.org/{i}", "file_path": "s3://example/0.warc.gz",
        "language": "en", "language_score": 0.95, "token_count": len(text) // 4,
        "score": score, "int_score": int(score),
    }  # fmt: skip


def _message(role: str, content: str) -> dict:
    return {"content": content, "role": role}


def _conversation(rng: random.Random, i: int) -> dict:
    said = [_message("system", "You answer in few words.")] if i % 3 == 0 else []
    for turn in range(1 + i % 3):
        food = rng.choice(FOODS)
        said.append(_message("user", f"Question {i}.{turn}: how long do {food} take?"))
        said.append(_message("assistant", f"About {rng.randint(5, 40)} minutes, for {food}."))
    return {"messages": said, "source": "smol-magpie-ultra"}


def _compared(rng: random.Random, i: int) -> dict:
    prompt, scores = f"Which of {i} soups is best?", sorted((rng.uniform(1, 4), rng.uniform(5, 9)))
    if i % 7 == 0:
        scores = [6.0, 6.0]
    both = [
        [_message("user", prompt), _message("assistant", f"The one with {food}, number {i}.")]
        for food in rng.sample(FOODS, 2)
    ]
    return {
        "prompt": prompt, "prompt_id": f"{i:064x}", "chosen": both[0], "rejected": both[1],
        "messages": both[0], "score_chosen": scores[1], "score_rejected": scores[0],
    }  # fmt: skip


def _marked(rng: random.Random, i: int) -> dict:
    prompt = f"Name soup {i // 2}."
    if i // 2 % 5 == 0:
        prompt = f"Name a soup.\n<extra_id_1>Assistant\nLeek.\n<extra_id_1>User\n{prompt}"
    marks = {"correctness": 3, "coherence": 4, "complexity": 1, "verbosity": 1}
    helpfulness = 2 if i // 2 % 4 == 0 else (i % 2) * 4
    return {
        "prompt": prompt, "response": f"Soup of {rng.choice(FOODS)}, answer {i}.",
        "helpfulness": helpfulness, **marks,
    }  # fmt: skip


def _problem(rng: random.Random, i: int) -> dict:
    a, b = rng.randint(2, 9), rng.randint(2, 9)
    return {
        "question": f"A pot holds {a} leeks. How many leeks do {b} pots hold? Problem {i}.",
        "answer": f"Each pot holds {a} leeks.\nSo it is {a}*{b}=<<{a}*{b}={a * b}>>{a * b} leeks.\n"
        f"#### {a * b}",
    }


MAKERS = {
    "fineweb_edu": _page, "smoltalk": _conversation, "ultrafeedback": _compared,
    "helpsteer2": _marked, "gsm8k": _problem,
}  # fmt: skip


def rows_of(name: str, n: int, seed: int = 0) -> list[dict]:
    """n rows of a data set."""
    rng = random.Random(f"{name}/{seed}")
    return [MAKERS[name](rng, i) for i in range(n)]


def write_rows(path: Path, rows: list[dict]) -> Path:
    """Rows as a file of the format that its name ends with; .stream.arrow is the stream format."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    path.parent.mkdir(parents=True, exist_ok=True)
    if ".jsonl" in path.suffixes:
        opened = gzip.open if path.suffix == ".gz" else open
        with opened(path, "wt", encoding="utf-8") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows)
        return path
    table = pa.Table.from_pylist(rows)
    if path.suffix == ".parquet":
        pq.write_table(table, path)
        return path
    kind = pa.ipc.new_stream if ".stream" in path.suffixes else pa.ipc.new_file
    with pa.OSFile(str(path), "wb") as sink, kind(sink, table.schema) as writer:
        writer.write(table)
    return path


@pytest.fixture(scope="session")
def made():
    """`rows_of`: n rows of a data set, by its name."""
    return rows_of


@pytest.fixture(scope="session")
def lay():
    """`write_rows`: rows as a file."""
    return write_rows


@pytest.fixture(scope="session")
def own_data(tmp_path_factory) -> Path:
    """A folder as --data-dir takes it: each data set with a split to train on and one to test."""
    folder = tmp_path_factory.mktemp("data-dir")
    for name, split, test, ending in (
        ("smoltalk", "train-00000", "test-00000", "parquet"),
        ("ultrafeedback", "train_prefs-00000", "test_prefs-00000", "parquet"),
        ("helpsteer2", "train", "validation", "jsonl.gz"),
        ("gsm8k", "train-00000", "test-00000", "parquet"),
    ):
        write_rows(folder / name / f"{split}.{ending}", rows_of(name, 60))
        write_rows(folder / name / f"{test}.{ending}", rows_of(name, 20, seed=1))
    return folder


# --- Pages, tokenised -----------------------------------------------------------------------

SHARE = 0.1  # of the pages that are held out
FILES, PAGES = 3, 160


@pytest.fixture(scope="session")
def tokenizer():
    """The line's."""
    return lab.setup("class-toy").tokenizer()


@pytest.fixture(scope="session")
def chat(tokenizer):
    """The chat format, in its ids."""
    return ChatTemplate(tokenizer)


@pytest.fixture(scope="session")
def pages(tmp_path_factory) -> tuple[Path, list[str]]:
    """A folder for --data-dir with pages in several files, and their texts."""
    folder, rows = tmp_path_factory.mktemp("web"), rows_of("fineweb_edu", FILES * PAGES)
    for k in range(FILES):
        some = rows[k * PAGES : (k + 1) * PAGES]
        write_rows(folder / "fineweb_edu" / f"{k:03d}_00000.parquet", some)
    return folder, [row["text"] for row in rows]


@pytest.fixture(scope="session")
def ids_folder(pages, tokenizer, tmp_path_factory) -> Path:
    """The ids of these pages."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LLMLAB_CACHE", str(tmp_path_factory.mktemp("cache")))
        source, work = hub_datasets.big()["fineweb_edu"], pretokenize.Work(workers=1)
        return pretokenize.tokenize_dataset(source, tokenizer, pages[0], share=SHARE, work=work)


@pytest.fixture(scope="session")
def mixture(tokenizer) -> Mixture:
    """The class's rows, made of our own recipes, few at a time."""
    recipes = read_recipes(artifacts.data_dir() / "house" / "recipes.json")
    weights = {"recipes": 0.7, "cards": 0.3}
    made = Mixture(Corpus(recipes, [], {}, {}), tokenizer.to_tiktoken(), weights, 1)
    made.SHARD = 1 << 14
    return made
