"""The Hugging Face door, against `transformers` itself."""

from dataclasses import replace

import pytest
import torch

from llmlab import hub
from llmlab.artifacts import LabError
from llmlab.core.tokenizer import SPECIALS, train_bpe
from tests.core.test_model import IDS, random_model
from tests.core.test_model import SHAPES as SMALL_SHAPES
from tests.core.test_tokenizer import TEXTS

BPE = train_bpe(TEXTS["recipes"], 400)
SHAPES = {name: replace(shape, vocab_size=400) for name, shape in SMALL_SHAPES.items()}


@pytest.mark.parametrize("name", SHAPES)
def test_transformers_gives_the_same_logits(tmp_path, name):
    from transformers import AutoModelForCausalLM

    model = random_model(SHAPES[name])
    hub.save_hf(model, BPE, tmp_path)
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    with torch.no_grad():
        assert (theirs(IDS).logits - model(IDS)).abs().max() < 1e-4


@pytest.mark.parametrize("name", SHAPES)
def test_a_folder_of_transformers_loads(tmp_path, name):
    from transformers import AutoModelForCausalLM

    hub.save_hf(random_model(SHAPES[name]), BPE, tmp_path / "a")
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path / "a").eval()
    theirs.save_pretrained(tmp_path / "b")
    with torch.no_grad():
        assert (hub.load_hf(tmp_path / "b")(IDS) - theirs(IDS).logits).abs().max() < 1e-4


def test_the_tokenizer_gives_equal_ids(tmp_path):
    from transformers import AutoTokenizer

    hub.save_hf(random_model(SHAPES["plain"]), BPE, tmp_path)
    theirs = AutoTokenizer.from_pretrained(tmp_path)
    for text in [*TEXTS.values(), "  two  spaces\n\n\tand tabs 1234567", ""]:
        assert theirs.encode(text) == BPE.encode(text)
    chat = theirs.apply_chat_template([{"role": "user", "content": "hi"}], tokenize=False)
    assert chat == f"{SPECIALS[1]}hi{SPECIALS[2]}"


def test_what_is_no_model_folder_is_said_to_be_none(tmp_path):
    with pytest.raises(LabError, match="no config.json"):
        hub.load_hf(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(LabError, match="bert"):
        hub.load_hf(tmp_path)
