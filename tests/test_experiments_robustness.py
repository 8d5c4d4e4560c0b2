"""The robustness sweep: what is run, how it is judged, and what a small one writes."""

import json
import math
from itertools import product

import numpy as np
import pytest

from geonet import METHODS
from geonet.experiments import robustness
from geonet.experiments.harness.experiment import Experiment
from geonet.experiments.harness.results import Results
from geonet.experiments.harness.sweep import execute_run
from geonet.experiments.robustness import EDGES, EXPERIMENT, count_moves, diverged, load_grids
from geonet.experiments.small_problems import (
    PROBLEMS,
    constant_baseline,
    error_of,
    load_problem_data,
)
from geonet.train import predict


def config_of(*words):
    return EXPERIMENT.configure(EXPERIMENT.arguments(*words))


def test_blanks_in_lists_do_not_count():
    config = config_of("--sets", "levy, banana", "--init", "he_normal, sphere")
    assert config["set"] == ["levy", "banana"]
    assert config["init"] == ["he_normal", "sphere"]


def test_every_method_meets_every_initializer_and_rate_on_every_set():
    config = config_of()
    cases = EXPERIMENT.cases(config)
    runs = len(cases) * len(config["methods"]) * len(config["seeds"])
    assert runs == 4 * len(METHODS) * 4 * 8 * 2 >= 2000
    lrs = config["lrs"]
    assert (lrs[0], lrs[-1]) == (0.001, 3)
    assert np.all(np.diff(np.log10(lrs)) < 0.6)  # two a decade
    assert len({tuple(case.items()) for case in cases}) == len(cases)


def test_sets_are_run_in_turns_so_that_the_time_left_can_be_told():
    names = [case["set"] for case in EXPERIMENT.cases(config_of())]
    assert names[:4] == names[4:8] == list(PROBLEMS)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--sets", "levy,mars"), "--sets: 'mars' is not one of levy, banana"),
        (("--lr", "0.1,-1"), "--lr: must be a positive number"),
        (("--init", "magic"), "init must be one of"),
    ],
)
def test_what_is_not_known_is_refused(words, said):
    with pytest.raises(ValueError, match=said):
        config_of(*words)


@pytest.mark.parametrize("name", PROBLEMS)
def test_every_initializer_means_something_to_every_method(name):
    problem = PROBLEMS[name]
    x, _ = load_problem_data(name, 0).train
    for init in (*robustness.INITS, "he_normal", "uniform:1", "orthogonal", "sphere"):
        outputs = {
            method: predict(
                problem.network(method, rng=np.random.default_rng(0), init=init), x[:20]
            )
            for method in METHODS
        }
        assert all(np.isfinite(output).all() for output in outputs.values())
        size = np.abs(outputs["SP"]).max()
        for method in ("WN", "GmP-C", "GmP"):  # the same function, however large the rows are
            np.testing.assert_allclose(outputs[method], outputs["SP"], rtol=1e-3, atol=1e-3 * size)


@pytest.mark.parametrize("name", PROBLEMS)
def test_the_best_constant_is_the_measure(name):
    problem = PROBLEMS[name]
    (_, train_y), _, (_, test_y) = load_problem_data(name, 0)
    loss, error = constant_baseline(problem, train_y, test_y)
    if problem.classifies:
        assert 0.3 < loss < math.log(2) + 1e-9
        assert 0.3 < error < 0.7
    else:
        assert 0 < loss <= np.abs(train_y - train_y.mean()).mean()
        assert error >= test_y.std() * (1 - 1e-12)
    right = test_y if problem.classifies is False else None
    if right is not None:
        assert error_of(problem, right, test_y) == 0


def test_labels_are_told_by_the_sign_or_by_the_largest_output():
    y = np.array([[0.0], [1.0], [1.0], [0.0]])
    assert error_of(PROBLEMS["banana"], np.array([[-2.0], [3.0], [-1.0], [-1.0]]), y) == 0.25
    logits = np.array([[1.0, 0.0], [0.0, 2.0], [3.0, 1.0]])
    assert error_of(PROBLEMS["pictures"], logits, np.array([0, 1, 1])) == pytest.approx(1 / 3)


def test_changes_are_counted_by_size_and_those_of_no_boundary_left_out():
    moves = np.array([[0.0, 1e-3], [np.nan, 1.0], [1e9, np.inf]])
    counts, median, tail = count_moves(moves)
    assert counts.sum() == 4
    assert counts[0] == counts[-1] == 1  # nothing at all, and more than the largest edge
    assert counts[np.searchsorted(10**EDGES, 1.1e-3) - 1] == 1
    assert median == pytest.approx(0.5005)
    assert tail > 1e8
    assert count_moves(np.full((3, 2), np.nan))[1:] == (None, None)


@pytest.mark.parametrize(
    ("skill", "peak", "answer"),
    [
        (0.8, 1e9, False),
        (0.0, 11.0, True),
        (-5.0, 1.0, False),
        (None, 20.0, True),
        (0.0, None, True),
    ],
)
def test_a_run_diverged_if_it_exploded_and_did_not_come_back(skill, peak, answer):
    assert diverged({"test_skill": skill, "peak_over_first_loss": peak}) is answer
    assert diverged({"diverged": True})
    assert not diverged({"failed": "reason"})


def test_a_grid_has_medians_over_seeds_and_shares_of_all_runs(tmp_path):
    config = {"methods": ["SP"], "seeds": [0, 1, 2], "init": ["he_normal", "sphere"],
              "lrs": [0.1, 1.0], "set": ["levy"]}  # fmt: skip
    results = Results(tmp_path, "robustness", config)
    skills = {("he_normal", 0.1): (0.8, 0.9, 0.7), ("he_normal", 1.0): (0.1, 0.2, None),
              ("sphere", 0.1): (-1.0, -2.0, 0.6), ("sphere", 1.0): (None, None, 0.9)}  # fmt: skip
    for ((init, lr), values), seed in product(skills.items(), range(3)):
        metrics = {"diverged": True}
        if values[seed] is not None:
            metrics = {"test_skill": values[seed], "steps_to_level": 10 * (seed + 1),
                       "peak_over_first_loss": 1.0, "diverged": False}  # fmt: skip
        run = {"method": "SP", "lr": lr, "seed": seed, "set": "levy",
               "init": init, "metrics": metrics}  # fmt: skip
        results.add(run, {})
    grid = load_grids(results)["levy"]["SP"]
    np.testing.assert_allclose(grid.median, [[0.8, 0.1], [-1.0, np.nan]])
    assert grid.min_skill == pytest.approx(0.7 * 0.8)
    np.testing.assert_allclose(grid.share_trained(), [0.25, 0.25, 0.75])
    assert grid.outcomes() == pytest.approx(
        {
            "trains": 5 / 12,
            "learns something": 2 / 12,
            "no better than a constant": 2 / 12,
            "diverged": 3 / 12,
        }
    )
    assert grid.row(config)[1:4] == ("0.800", "he_normal, 0.1", "3 of 12")


@pytest.mark.parametrize("name", PROBLEMS)
def test_runs_are_short_and_a_good_rate_trains(name):
    lr = 0.01 if name == "pictures" else 0.1
    config = config_of("--lr", str(lr), "--init", "he_normal")
    run = {"method": "WN+MBN", "lr": lr, "seed": 0, "set": name,
           "init": "he_normal"}  # fmt: skip
    metrics, arrays = execute_run(EXPERIMENT, config, 1, run)
    assert metrics["test_skill"] > 0.4
    assert metrics["steps"] == (160 if name == "pictures" else 600)
    assert 0 < metrics["steps_to_level"] <= metrics["steps"]
    assert arrays["displacement_counts"].sum() > 0


def test_a_small_sweep_leaves_numbers_and_figures(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(Experiment, "workers", 1)
    for name, problem in PROBLEMS.items():
        monkeypatch.setitem(PROBLEMS, name, problem._replace(epochs=3))
    words = ("--sets", "levy,banana", "--methods", "SP,LN,GmP", "--seeds", "1", "--init",
             "he_normal,normal:10", "--lr", "0.01,10", "--out")  # fmt: skip
    assert EXPERIMENT.run(*words, tmp_path / "a") == 0
    assert "set banana" in capsys.readouterr().out
    content = json.loads((tmp_path / "a" / "results.json").read_text(encoding="utf-8"))
    assert len(content["runs"]) == 2 * 3 * 2 * 2
    assert {tuple(run) for run in content["runs"]} == {
        ("method", "lr", "seed", "set", "init", "metrics")
    }
    figures = {path.stem for path in (tmp_path / "a" / "figures").glob("*.png")}
    maps = {"map_levy", "map_banana"}
    assert figures == maps | {"outcomes", "convergence", "turns", "displacements"}
    assert len(list(tmp_path.glob("a/boundaries/SP_*normal10*.npz"))) == 4


def test_pictures_for_validation_are_drawn_after_the_others():
    train, validation, test = load_problem_data("pictures", 0)
    assert [len(x) for x, _ in (train, validation, test)] == [640, 160, 400]
    assert not any(np.array_equal(validation[0][0], x) for x in (train[0][0], test[0][0]))
