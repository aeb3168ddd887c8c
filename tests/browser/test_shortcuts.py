"""A key pressed in a widget is the widget's: no shortcut of Jupyter's runs."""

MADE = {
    "cleaning_view": """
from llmlab.widgets.cleaning_view import CleaningView, Document, Filter
CleaningView([Filter("short")], [Document("a", removed_by="short"), Document("b")])
""",
    "cost_calculator": """
from llmlab.widgets.cost_calculator import CostCalculator
CostCalculator()
""",
    "embedding_map": """
import torch
from llmlab.widgets.embedding_map import EmbeddingMap
EmbeddingMap({1: torch.eye(4), 2: torch.eye(4).flip(0)}, list("abcd"), list("xxyy"))
""",
    "labeller": """
from llmlab.widgets.labeller import Labeller
Labeller(["Boil the rice.", "Fry the leek."])
""",
    "loss_curve": """
from llmlab.widgets.loss_curve import LossCurve
curve = LossCurve("Loss")
curve.overlay("one", [1, 2, 3], [3, 2, 1])
curve
""",
    "merge_stepper": """
from llmlab.widgets.merge_stepper import MergeStepper
MergeStepper("bake baking boil boiling", 5)
""",
    "mixture_sliders": """
from llmlab.widgets.mixture_sliders import MixtureSliders
MixtureSliders({"recipes": 1e6, "speeches": 2e6}, 5e6, sample=str)
""",
    "attention_view": """
import llmlab
from llmlab.widgets.attention_view import AttentionView
base, tokenizer, _ = llmlab.setup().latest("base", mine=False)
AttentionView(base, tokenizer, "tofu, leek, tofu")
""",
    "next_token": """
import llmlab
from llmlab.widgets.next_token import NextToken
base, tokenizer, _ = llmlab.setup().latest("base", mine=False)
NextToken(base, tokenizer, "Melt the")
""",
    "token_view": """
from llmlab.stages.tokenization import get_encoding
from llmlab.widgets.token_view import TokenView
TokenView("Melt the butter.", {"gpt2": get_encoding("gpt2")})
""",
}


def test_keys_on_buttons_and_sliders_reach_no_shortcut(jupyter):
    page = jupyter.open_notebook(jupyter.write_notebook("keys.ipynb", *MADE.values()))
    jupyter.run_all(page)
    assert jupyter.errors(page) == []
    for cell, name in enumerate(MADE):
        page.evaluate("i => jupyterapp.shell.currentWidget.content.scrollToItem(i, 'start')", cell)
        shown = page.locator(f".jp-Notebook .jp-Cell[data-windowed-list-index='{cell}']")
        root = shown.locator(".jp-OutputArea-output [data-lm-suppress-shortcuts]").first
        root.wait_for()
        controls = root.locator(
            "button:enabled, input[type=range], input[type=checkbox], [tabindex='0']"
        )
        assert controls.count() > 0, name
        for number in range(min(4, controls.count())):
            controls.nth(number).focus()
            for key in ("a", "b", "x"):  # a cell above, a cell below, cut the cell
                page.keyboard.press(key)
        page.wait_for_timeout(300)
        count = "jupyterapp.shell.currentWidget.content.widgets.length"
        assert page.evaluate(count) == len(MADE), name
        assert root.is_visible()
