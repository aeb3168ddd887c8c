"""The notebook builder and the budgets under nbval, on small notebooks that really run."""

import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).resolve().parents[1]
HEADER = """# ---
# jupyter:
#   llmlab:
#     minutes: 5
#     budget_s: {budget_s}
# ---

"""
BODY = """# %% [markdown]
# # Small

# %%
import sys
print("seen", file=sys.stdout)
print("a progress bar", file=sys.stderr)

# %% tags=["source-text"]
print("a text of others")

# %%
from llmlab.widgets.loss_curve import LossCurve
curve = LossCurve("Loss")
curve

# %%
curve.add("live", 1, 2.0)
"""


@pytest.fixture(scope="module")
def built(build, tmp_path_factory):
    """(source, notebook) of one real execution."""
    folder = tmp_path_factory.mktemp("built")
    source = folder / "10_small.py"
    source.write_text(HEADER.format(budget_s=60) + BODY)
    return source, build.build(source, folder)


def test_notebook_is_tidy(built):
    notebook = nbformat.read(built[1], as_version=4)
    assert [cell.id for cell in notebook.cells] == [f"cell-{i:02}" for i in range(5)]
    assert notebook.metadata.kernelspec.name == "python3"
    assert notebook.metadata.llmlab == {
        "minutes": 5, "budget_s": 60, "checkpoints": {}, "studies": {},
    }  # fmt: skip
    assert notebook.metadata.keys() == {"kernelspec", "language_info", "llmlab"}
    code = notebook.cells[1:]
    assert [cell.execution_count for cell in code] == [1, 2, 3, 4]
    assert code[0].outputs == [{"output_type": "stream", "name": "stdout", "text": "seen\n"}]
    assert code[1].metadata.tags == ["source-text"] and code[1].outputs == []


def test_widget_leaves_its_final_picture_and_no_live_view(built):
    (output,) = nbformat.read(built[1], as_version=4).cells[3].outputs
    assert output.data.keys() == {"text/plain", "text/html"}
    assert output.data["text/plain"] == "LossCurve: Loss (live 2 at 1)"  # of a later cell


def test_source_and_notebook_are_in_step(built, build):
    source, notebook = built
    assert build.source_cells(source) == build.source_cells(notebook)
    changed = source.with_name("changed.py")
    changed.write_text(source.read_text().replace("seen", "changed"))
    assert build.source_cells(changed) != build.source_cells(notebook)


def test_build_is_repeatable_and_html_stands_alone(built, build, tmp_path):
    source, notebook = built
    again = build.build(source, tmp_path)
    assert again.read_text() == notebook.read_text()
    page = build.to_html(build.read(notebook), "10_small")
    assert "data:image/svg+xml;base64" in page and "seen" in page


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("1 / 0", "ZeroDivisionError"),
        ("from pathlib import Path; print(Path.home() / 'secret')", "folder of this machine"),
        ("import llmlab; print(llmlab.__file__)", "folder of this machine"),
    ],
)
def test_a_notebook_that_cannot_be_saved_leaves_nothing(build, tmp_path, code, reason):
    source = tmp_path / "11_bad.py"
    source.write_text(f"# %%\n{code}\n")
    with pytest.raises(build.BuildError, match=reason):
        build.build(source, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["11_bad.py"]


def test_unknown_name_is_one_sentence(build, capsys):
    assert build.main(["99"]) == 1
    assert "there is no notebook 99" in capsys.readouterr().err


@pytest.mark.parametrize(("budget_s", "code"), [(60, 0), (0.1, 1)])
def test_nbval_reports_and_holds_the_budget(built, build, tmp_path, budget_s, code):
    notebook = build.read(built[1])
    notebook.metadata.llmlab.budget_s = budget_s
    nbformat.write(notebook, tmp_path / "10_small.ipynb")
    shutil.copy(ROOT / "notebooks" / "conftest.py", tmp_path)
    command = [sys.executable, "-m", "pytest", "--nbval-lax", "--nbval-current-env", "."]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == code, done.stdout
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("10_small ")]
    assert f"s of {budget_s:>4}" in line and "MB peak" in line
    assert ("over 1.5 ×" in line) == (code == 1)
    assert "4 passed" in done.stdout


def test_extras_are_built_when_they_are_asked_for(build):
    usual = [source.stem for source in build.find_sources([])]
    assert "01_data" in usual and "01b_pipeline" not in usual
    assert [s.stem for s in build.find_sources(["01b"])] == ["01b_pipeline"]
    assert [s.stem for s in build.find_sources(["01", "03b"])] == ["01_data", "03b_real_embedding"]
    with pytest.raises(build.BuildError, match="no notebook 09"):
        build.find_sources(["09"])
