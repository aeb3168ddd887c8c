"""The shipped assistant, exported: `transformers` reads the same ids and gets answers."""

import random
import string

import pytest
import transformers

from llmlab import kitchen, lab
from llmlab.artifacts import data_dir
from llmlab.chat import ChatTemplate
from llmlab.core.sampling import generate
from llmlab.corpus.corpus import Recipe, read_source
from llmlab.hub import load_hf, save_hf


@pytest.fixture(scope="module")
def shipped():
    return lab.setup("class").latest("grpo", mine=False)


@pytest.fixture(scope="module")
def folder(shipped, tmp_path_factory):
    model, tokenizer, _ = shipped
    folder = tmp_path_factory.mktemp("grpo")
    save_hf(model, tokenizer, folder)
    return folder


@pytest.fixture(scope="module")
def theirs(folder):
    return transformers.AutoTokenizer.from_pretrained(folder)


def real_strings(number: int) -> list[str]:
    """Lines and whole texts of what the model has read, and of our own files."""
    texts = [
        d.text() if isinstance(d, Recipe) else d
        for name in ("recipes", "encyclopedia", "speeches")
        for d in read_source(name)[0]
    ]
    texts += [p.read_text("utf-8") for p in (data_dir() / "house").glob("*.json")]
    rng = random.Random(0)
    cut = [text[i : i + rng.randrange(1, 120)] for text in rng.choices(texts, k=number)
           for i in [rng.randrange(len(text))]]  # fmt: skip
    return cut


def made_up_strings(number: int) -> list[str]:
    """All of Unicode, and all that the pattern tells apart, in any order."""
    rng = random.Random(1)
    parts = ["'s", "'LL", "'ſ", " ", "  ", "\n", "\r\n", "\t", "\u3000", "\x85", "the", "2026"]
    parts += ["<|end|>", "<|user|>", "<|assistant|>", "<|", "|>", "e\u0301", "👩‍🍳"]
    parts += [*string.printable, *map(chr, range(0x80, 0x300))]
    made = ["".join(rng.choices(parts, k=rng.randrange(25))) for _ in range(number // 2)]
    anything = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]
    return made + [
        "".join(map(chr, rng.choices(anything, k=rng.randrange(12)))) for _ in range(number // 2)
    ]


@pytest.mark.parametrize("make", [real_strings, made_up_strings])
def test_equal_ids_on_ten_thousand_strings(make, shipped, theirs):
    _, tokenizer, _ = shipped
    texts = make(5000)
    assert len(texts) == 5000 and len(set(texts)) > 4500
    ours = tokenizer.to_tiktoken().encode_ordinary_batch(texts, num_threads=1)
    assert theirs(texts, split_special_tokens=True)["input_ids"] == ours
    assert theirs.batch_decode(ours, clean_up_tokenization_spaces=False) == texts
    assert [tokenizer.encode(text) for text in texts[:500]] == ours[:500]


def test_the_exported_assistant_answers_requests_over_there(folder, theirs, shipped):
    model = transformers.AutoModelForCausalLM.from_pretrained(folder)
    requests, rng = kitchen.held_out_requests(24), random.Random(0)
    talks = [[{"role": "user", "content": request.text(rng)}] for request in requests]
    inputs = theirs.apply_chat_template(
        talks, add_generation_prompt=True, padding=True, return_tensors="pt", return_dict=True
    )
    said = model.generate(**inputs, max_new_tokens=64, do_sample=False)
    answers = theirs.batch_decode(said[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
    scores = [kitchen.judge(r, answer) for r, answer in zip(requests, answers, strict=True)]
    print(talks[0][0]["content"], answers[0])
    assert sum(score.wellformed == 1 for score in scores) >= 22
    assert sum(score.asked == 1 for score in scores) >= 22
    chat = ChatTemplate(shipped[1])
    prompts = [chat.prompt(talk[0]["content"]) for talk in talks]
    ours = generate(load_hf(folder)[0], prompts, 64, chat.end, temperature=0)
    assert sum(chat.read(a) == b for a, b in zip(ours, answers, strict=True)) >= 23  # one near tie


def test_a_folder_without_a_card_of_its_own_has_a_plain_one(folder, shipped):
    card = (folder / "README.md").read_text("utf-8")
    size = sum(p.numel() for p in shipped[0].parameters())
    assert card.startswith("---\nlanguage: en\n") and f"{size:,} parameters" in card
    assert "apply_chat_template" in card
