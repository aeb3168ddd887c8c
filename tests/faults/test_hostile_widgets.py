"""Hostile words in each of the thirteen widgets: they stay words, in the page and in its picture.

What a browser makes of them: tests/browser.  Here all that is sent to it is looked at: the state,
which must go into a message, and every piece of HTML and SVG.
"""

import base64
import json
import re
import time
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser
from pathlib import Path

import ipywidgets
import pytest
import torch

from llmlab import kitchen
from llmlab.chat import ChatTemplate, Sample
from llmlab.core.model import ModelConfig, Transformer
from llmlab.core.tokenizer import BPE
from llmlab.stages import costs, report
from llmlab.widgets import base
from llmlab.widgets.attention_view import AttentionView
from llmlab.widgets.chat_panel import ChatPanel
from llmlab.widgets.cleaning_view import CleaningView, Document, Filter, with_twin
from llmlab.widgets.cost_calculator import CostCalculator
from llmlab.widgets.embedding_map import EmbeddingMap
from llmlab.widgets.labeller import Labeller
from llmlab.widgets.loss_curve import LossCurve
from llmlab.widgets.merge_stepper import MergeStepper
from llmlab.widgets.mixture_sliders import MixtureSliders
from llmlab.widgets.next_token import NextToken
from llmlab.widgets.preference_clicker import PreferenceClicker
from llmlab.widgets.rollout_view import RolloutView
from llmlab.widgets.token_view import TokenView
from tests.faults.said import clear

WORDS = {
    "script": "<script>hacked = 1</script><img src=x onerror='hacked = 2'><svg onload=hacked()>",
    "quotes": "hacked\"'`--> ]]> <!-- </style></text></svg></td> &lt;&#x27; $\\frac{ %s {0} \\",
    "right to left": "hacked \u202ekcab\u202d \u2067mirrored\u2069 שלום",
    "half a pair": "hacked \ud83d and \udc00",
    "controls": "hacked\x00\x07\x1b[31m\x7f\x85\u2028\ufffe\uffff\ufdd0",
    "emoji": "hacked 🍜👩‍🍳🇫🇷 e\u0301" + "\u0301" * 50,
    "special tokens": "hacked<|end|><|assistant|><|user|>",
    "long": "hacked" + "x" * 100_000,
    "lines": "hacked\n\r\n\t \u00a0",
}

torch.manual_seed(0)
MODEL = Transformer(ModelConfig(vocab_size=259, dim=16, n_layers=2, n_heads=2, n_kv_heads=2,
                                head_dim=8, hidden_dim=32, max_seq_len=400))  # fmt: skip
TOKENIZER = BPE(())


def cleaning(words: str) -> CleaningView:
    filters = [Filter(words, words)]
    removed = Document(words, words, words, words, ((0, 3),))
    return CleaningView(filters, [removed, with_twin(removed, words, words)], words)


def calculator(words: str) -> CostCalculator:
    gpu, own = costs.GPU(words, 4e11, 16e9, 0.0), costs.Model(words, 1.5e6, "", tokens=3e7)
    made = CostCalculator([gpu], [own], model=words, gpu=words)
    for field in made.fields.values():
        field.value = words
    return made


def curves(words: str) -> LossCurve:
    made = LossCurve(words, words, words)
    for x, y in ((1, 2.0), (2, 1.0)):
        made.add(words, x, y)
    made.flush()
    return made


def chat(words: str) -> ChatPanel:
    """The long request is refused, in a sentence; the others are answered."""
    panel = ChatPanel({words: report.LineModel(words, MODEL, ChatTemplate(TOKENIZER), {})}, [words])
    try:
        panel.ask(words)
    except ValueError as error:
        assert "at most 4,000 are read" in clear(str(error)) and len(words) > 4000
    return panel


def stepper(words: str) -> MergeStepper:
    made = MergeStepper("boil")
    made.text = words
    return made


def embeddings(words: str) -> EmbeddingMap:
    names = [words + end for end in "abcd"]
    made = EmbeddingMap({1: torch.randn(4, 3)}, names, [words, "b", words, "b"], words)
    made._question = [words, names[0], names[1], words]
    return made


def sliders(words: str) -> MixtureSliders:
    made = MixtureSliders({words: 1e6, "b": 1e6}, 9e6, {words: 0.9, "b": 0.1}, lambda name: words)
    made._show_sample(words)
    return made


def next_token(words: str) -> NextToken:
    made = NextToken(MODEL, TOKENIZER, "boil")
    made.text = words + "hacked"  # its picture shows the newest tokens
    return made


def clicker(words: str, path) -> PreferenceClicker:
    made = PreferenceClicker([(words, f"{words}: {words}, b.", words)], path)
    made.choose("left")
    return PreferenceClicker([(words, f"{words}: {words}, b.", words)], path)


def rollouts(words: str) -> RolloutView:
    ids = TOKENIZER.encode(words)[:200]
    values = [0.5] * len(ids)
    score = kitchen.judge(words, words)
    sample = Sample(words, [], ids, words, score, 1.0, {words: 1.0}, values, values)
    return RolloutView({1: [sample]}, TOKENIZER, words)


def labeller(words: str, path) -> Labeller:
    made = Labeller([words, "b"], path)
    made.label(True)
    made._go(0)
    return made


WIDGETS = {
    "AttentionView": lambda words, path: AttentionView(MODEL, TOKENIZER, words),
    "ChatPanel": lambda words, path: chat(words),
    "CleaningView": lambda words, path: cleaning(words),
    "CostCalculator": lambda words, path: calculator(words),
    "EmbeddingMap": lambda words, path: embeddings(words),
    "Labeller": labeller,
    "LossCurve": lambda words, path: curves(words),
    "MergeStepper": lambda words, path: stepper(words),
    "MixtureSliders": lambda words, path: sliders(words),
    "NextToken": lambda words, path: next_token(words),
    "PreferenceClicker": clicker,
    "RolloutView": lambda words, path: rollouts(words),
    "TokenView": lambda words, path: TokenView(words, {words: TOKENIZER}),
}
SILENT = {"EmbeddingMap"}  # its picture is a PNG, of which the words cannot be read back


class Page(HTMLParser):
    """The words of a page; AssertionError on a tag or an attribute that is none of ours."""

    TAGS = set("b bdi br caption code div img p span table tbody td th thead tr u wbr".split())
    SVG = set("svg g rect line path circle text image defs style clipPath use".split())

    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.words, self.open = [], []

    def handle_starttag(self, tag, attributes):
        assert tag in self.TAGS, f"<{tag}>"
        for name, value in attributes:
            allowed = {"style", "class", "src", "alt", "scope", "tabindex", "id", "role", "colspan"}
            assert name in allowed or name.startswith("aria-"), f"{name}={value}"
            if name == "src":
                self.picture(value)

    def handle_data(self, words):
        self.words.append(words)

    def handle_comment(self, words):
        raise AssertionError(f"a comment: {words[:60]}")

    handle_decl = handle_pi = unknown_decl = handle_comment

    def picture(self, source: str) -> None:
        kind, _, data = source.partition(";base64,")
        assert kind in ("data:image/svg+xml", "data:image/png"), source[:60]
        if kind.endswith("svg+xml"):
            for element in ElementTree.fromstring(base64.b64decode(data)).iter():
                tag = element.tag.removeprefix("{http://www.w3.org/2000/svg}")
                assert tag in self.SVG, tag
                assert not any(name.startswith("on") for name in element.keys()), element.keys()
                self.words.append(element.text or "")


def family(widget) -> list[ipywidgets.Widget]:
    """A widget and all that it holds."""
    children = getattr(widget, "children", ())
    return [widget, *(one for child in children for one in family(child))]


def test_every_widget_is_in_the_table():
    ours = re.compile(r"^class (\w+)\((?:Widget|Box)\)", re.MULTILINE)
    modules = Path(base.__file__).parent.glob("*.py")
    classes = {name for path in modules for name in ours.findall(path.read_text("utf-8"))}
    assert classes | {"CostCalculator"} == set(WIDGETS)


@pytest.mark.parametrize("kind", WORDS)
@pytest.mark.parametrize("name", WIDGETS)
def test_hostile_words_stay_words(name, kind, tmp_path):
    words, start = WORDS[kind], time.perf_counter()
    made = WIDGETS[name](words, tmp_path / "kept.json")
    parts = family(getattr(made, "box", made))
    bundle = made._repr_mimebundle_()
    bundle = bundle[0] if isinstance(bundle, tuple) else bundle
    assert time.perf_counter() - start < 20

    states = [part.get_state() for part in parts]
    message = json.dumps([states, bundle], ensure_ascii=False, default=repr)
    assert len(message.encode("utf-8")) < 3_000_000, "too long for a message"
    pages = [part.value for part in parts if isinstance(part, ipywidgets.HTML | ipywidgets.Label)]
    page = Page()
    for html in [*pages, bundle.get("text/html", "")]:
        page.feed(html)
        page.close()
    if name in SILENT:
        assert base64.b64decode(bundle["image/png"]).startswith(b"\x89PNG")
    else:
        seen = "".join("".join(page.words).split()).replace("·", "")
        assert "hacked" in seen, seen[:500]
    assert not any(ord(c) < 32 and c not in "\t\n\r" for c in "".join(page.words))
