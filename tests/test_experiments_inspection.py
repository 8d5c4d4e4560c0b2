"""The experiments on the meaning of gradients: tables, figures, and what they refuse."""

import json

import numpy as np
import pytest

from geonet import METHODS
from geonet.experiments.inspection import EXPERIMENT as INSPECT
from geonet.experiments.inspection import LAYERS, UNITS
from geonet.experiments.natural import DAMPINGS, LRS
from geonet.experiments.natural import EXPERIMENT as NATURAL
from geonet.text import BadInput


@pytest.fixture
def small(monkeypatch):
    """Only a few steps, in this process."""
    for experiment, size in ((INSPECT, {"steps": 200}), (NATURAL, {"epochs": 3})):
        configure = experiment.configure
        monkeypatch.setattr(experiment, "configure", lambda a, c=configure, s=size: c(a) | s)
        monkeypatch.setattr(experiment, "workers", 1)


def runs_in(folder):
    return json.loads((folder / "results.json").read_text(encoding="utf-8"))["runs"]


def test_inspect_counts_units_and_draws_all_methods_side_by_side(small, tmp_path, capsys):
    INSPECT.run("--seeds", 1, "--out", tmp_path)
    table = capsys.readouterr().out
    assert all(method in table for method in METHODS)
    metrics = {run["method"]: run["metrics"] for run in runs_in(tmp_path)}
    assert metrics["BN"]["radial_share"] < 1e-3 < metrics["SP"]["radial_share"] < 0.5
    assert metrics["LN"]["turn"] is None
    assert metrics["GmP"]["turn"] > 0
    for found in metrics.values():
        assert 0 <= found["dead_end"] <= found["outside_end"] <= UNITS * LAYERS
    figures = {path.stem for path in (tmp_path / "figures").glob("*.png")}
    assert figures == {"shares", "flow", "dead", "outside"}
    with np.load(tmp_path / "boundaries" / "GmP_seed0_lr0.1.npz") as arrays:
        assert arrays["radial_share"].shape == (len(arrays["steps"]), LAYERS)
        assert (np.diff(arrays["steps"]) > 0).all()


@pytest.mark.parametrize("name", ["levy", "banana"])
def test_natural_has_a_row_a_damping_and_pairs_it_with_the_plain_gradient(
    small, tmp_path, capsys, name
):
    NATURAL.run("--seeds", 2, "--set", name, "--lr", "0.03", "--out", tmp_path)
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("GmP")]
    assert [row.split()[1] for row in rows] == list(DAMPINGS)
    runs = runs_in(tmp_path)
    losses = {(run["damping"], run["seed"]): run["metrics"]["test_loss"] for run in runs}
    assert len(set(losses.values())) == len(losses) == 2 * len(DAMPINGS)
    difference = np.mean([losses["0.01", seed] - losses["none", seed] for seed in (0, 1)])
    assert f"{difference:+.3g} [" in rows[DAMPINGS.index("0.01")]
    assert (tmp_path / "figures" / "learning.svg").exists()


def test_natural_sweeps_a_grid_of_its_own_unless_told_otherwise_and_needs_angles(tmp_path):
    assert NATURAL.configure(NATURAL.arguments())["lr"] == {"GmP": list(LRS)}
    assert NATURAL.configure(NATURAL.arguments("--lr", "0.1"))["lr"] == {"GmP": [0.1]}
    with pytest.raises(BadInput, match="SP has no angles"):
        NATURAL.run("--methods", "SP", "--out", tmp_path)
