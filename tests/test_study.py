"""Studies: points made once, kept as made, gone on with after a kill, never mixed with others."""

import json
import math
import os
import signal
import sys
import time
from dataclasses import replace

import pytest
import torch

from llmlab import lab as lab_module
from llmlab import studies
from llmlab.artifacts import LabError
from llmlab.core.model import ModelConfig, Transformer
from llmlab.studies import load_study, run_point, run_study, study, values

made = []  # the points that were really made, in order


@study("width", arms=(4, 8), seeds=(1, 2))
def width(lab, arm, seed):
    """Does a wider model learn a row of eight ids by heart sooner?  Ten steps of plain descent."""
    made.append((arm, seed))
    assert lab.seed == seed and lab.runs.name == f"{arm}-{seed}"
    if os.environ.get("SLEEP_AT") == f"{arm}:{seed}":
        print("asleep", file=sys.stderr, flush=True)
        time.sleep(60)
    config = ModelConfig(vocab_size=8, dim=arm, n_layers=1, n_heads=1, n_kv_heads=1, head_dim=4,
                         hidden_dim=8)  # fmt: skip
    model, ids = Transformer(config), torch.arange(8)[None]
    losses = []
    for _ in range(10):
        loss = torch.nn.functional.cross_entropy(model(ids[:, :-1])[0], ids[0, 1:])
        grads = torch.autograd.grad(loss, list(model.parameters()))
        with torch.no_grad():
            for weight, grad in zip(model.parameters(), grads, strict=True):
                weight -= 0.5 * grad
        losses.append(loss.item())
    return {"first": losses[0], "last": losses[-1], "losses": losses}


@pytest.fixture
def lab(tmp_path):
    made.clear()
    return lab_module.setup("class-toy", runs_dir=tmp_path)


def kept_file(lab):
    return lab.runs / "studies" / "width.json"


def test_all_points_are_made_once_and_kept(lab, capsys):
    kept = run_study(lab, "width")
    assert made == [(4, 1), (8, 1), (4, 2), (8, 2)]
    assert json.loads(kept_file(lab).read_text()) == kept
    assert kept["command"] == "python -m llmlab study width --toy"
    assert kept["arms"] == [4, 8] and kept["seeds"] == [1, 2]
    assert len(kept["data"]) == 16 and "torch" in kept["device"]
    assert str(lab.runs) not in kept_file(lab).read_text()
    printed = capsys.readouterr().out
    assert "0 of 4 points are there already" in printed and "8, seed 2: first 2." in printed
    assert "0 left" in printed.splitlines()[-1]

    assert run_study(lab, "width") == kept and len(made) == 4
    assert "4 of 4 points" in capsys.readouterr().out


def test_values_are_by_arm_and_seed(lab):
    kept = run_study(lab, "width")
    by_arm = values(kept, "last")
    assert list(by_arm) == [4, 8]
    point = next(p for p in kept["points"] if (p["arm"], p["seed"]) == (8, 2))
    assert by_arm[8][1] == point["figures"]["last"] < point["figures"]["first"]


def test_a_point_does_not_depend_on_those_before_it(lab):
    kept = run_study(lab, "width")
    torch.rand(5)
    assert run_point(lab, "width", 8, 1) == kept["points"][1]["figures"]


def test_named_points_alone(lab):
    kept = run_study(lab, "width", points=["8:2"])
    assert made == [(8, 2)] and len(kept["points"]) == 1
    run_study(lab, "width")
    assert made == [(8, 2), (4, 1), (8, 1), (4, 2)]
    with pytest.raises(LabError, match="no point '8:3'; there are 4:1, 8:1, 4:2, 8:2"):
        run_study(lab, "width", points=["8:3"])


def test_a_killed_study_goes_on(tmp_path, start):
    """SIGKILL in the middle of the third point: the two before it are kept."""
    code = """
import os, sys
os.environ["SLEEP_AT"] = "4:2"
sys.path.insert(0, "tests")
import test_study as t
t.run_study(t.lab_module.setup("class-toy", runs_dir=sys.argv[1]), "width")
"""
    process = start(code, tmp_path)
    assert any("asleep" in line for line in process.stderr), "it ended before its third point"
    process.send_signal(signal.SIGKILL)
    process.wait()
    lab = lab_module.setup("class-toy", runs_dir=tmp_path)
    before = json.loads(kept_file(lab).read_text())["points"]
    assert [(p["arm"], p["seed"]) for p in before] == [(4, 1), (8, 1)]
    made.clear()
    assert run_study(lab, "width")["points"][:2] == before
    assert made == [(4, 2), (8, 2)]


@pytest.mark.parametrize(
    "key", ["data", "device", "version", "settings", "profile", "starts_from", "command"]
)
def test_points_of_another_making_are_not_mixed_in(lab, capsys, key):
    run_study(lab, "width", points=["4:1"])
    old = json.loads(kept_file(lab).read_text())
    kept_file(lab).write_text(json.dumps({**old, key: "another"}))
    assert len(run_study(lab, "width")["points"]) == 4 and made.count((4, 1)) == 2
    assert f"another {key}" in capsys.readouterr().out
    assert json.loads(kept_file(lab).with_name("width.old.json").read_text())[key] == "another"


def test_other_steps_are_another_making(lab):
    run_study(lab, "width", points=["4:1"])
    kept = run_study(replace(lab, steps=7), "width", points=["8:1"])
    assert len(kept["points"]) == 1 and kept["command"].endswith(" --steps 7 --toy")


def test_more_seeds_keep_what_was_made(lab, monkeypatch):
    run_study(lab, "width")
    more = replace(studies._studies["width"], seeds=(2, 3), arms=(4,))
    monkeypatch.setitem(studies._studies, "width", more)
    kept = run_study(lab, "width")
    assert made[4:] == [(4, 3)]
    assert kept["seeds"] == [2, 3] and len(kept["points"]) == 2


def test_another_function_keeps_what_was_made(lab, monkeypatch):
    run_study(lab, "width")
    renamed = replace(studies._studies["width"], function=lambda lab, arm, seed: {"last": 0})
    monkeypatch.setitem(studies._studies, "width", renamed)
    assert 0 not in [p["figures"]["last"] for p in run_study(lab, "width")["points"]]


@pytest.mark.parametrize(
    ("change", "what"),
    [({"version": 2}, "version"), ({"settings": {"rate": 0.1}}, "settings.rate")],
)
def test_another_version_is_another_making(lab, monkeypatch, capsys, change, what):
    run_study(lab, "width")
    monkeypatch.setitem(studies._studies, "width", replace(studies._studies["width"], **change))
    run_study(lab, "width")
    assert len(made) == 8 and f"another {what};" in capsys.readouterr().out


@pytest.mark.parametrize("figure", [math.nan, torch.ones(1), object()])
def test_what_is_no_number_is_refused_and_not_kept(lab, monkeypatch, figure):
    broken = replace(studies._studies["width"], function=lambda lab, arm, seed: {"x": figure})
    monkeypatch.setitem(studies._studies, "width", broken)
    with pytest.raises(LabError, match="Study width, arm 4, seed 1"):
        run_study(lab, "width")
    assert not kept_file(lab).exists()


def test_shipping_asks_for_a_whole_study_that_is_no_toy(lab, monkeypatch, tmp_path):
    monkeypatch.setattr(studies.artifacts, "data_dir", lambda: tmp_path / "data")
    with pytest.raises(LabError, match="toy"):
        run_study(lab, "width", ship=True)
    real = replace(lab, profile=replace(lab.profile, max_steps=None))
    with pytest.raises(LabError, match="points are missing"):
        run_study(real, "width", points=["8:2"], ship=True)
    with pytest.raises(LabError, match="python -m llmlab study width"):
        load_study("width")
    run_study(real, "width", ship=True)
    shipped = load_study("width")
    assert [(p["arm"], p["seed"]) for p in shipped["points"]] == [(4, 1), (8, 1), (4, 2), (8, 2)]
    assert shipped["command"] == "python -m llmlab study width"


@pytest.mark.parametrize("name", ["none", "__init__", "../x", ""])
def test_unknown_study_names_those_that_there_are(name):
    with pytest.raises(LabError, match="There is no study .*; there are: .*width"):
        studies.find_study(name)


def test_studies_of_the_project_are_whole():
    for path in (studies.artifacts.data_dir() / "studies").glob("*.json"):
        kept = load_study(path.stem)
        points = {(p["arm"], p["seed"]) for p in kept["points"]}
        assert points == {(a, s) for a in kept["arms"] for s in kept["seeds"]}, path.name
        assert kept["command"].startswith(f"python -m llmlab study {path.stem}")
        assert studies.find_study(path.stem)
