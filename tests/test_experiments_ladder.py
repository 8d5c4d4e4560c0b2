"""The ladder: what a step changes, which runs there are, and what the effects are."""

import json

import numpy as np
import pytest
from test_data_uci import write

from geonet.experiments import banana, ladder, uci
from geonet.experiments.harness import figures
from geonet.experiments.harness.experiment import Experiment
from geonet.experiments.harness.results import Results
from geonet.experiments.harness.statistics import paired_interval
from geonet.experiments.harness.sweep import execute_run
from geonet.experiments.ladder import EXPERIMENT, HIGH, LONG, LOW, RUNGS, SETS, build, climb
from geonet.nn.parameterizations import PARAMETERIZATIONS
from geonet.text import BadInput
from geonet.train import predict

INITS = "normal:0.001", "glorot_uniform", "normal:10"
SHAPES = {"levy": (1,), "banana": (2,), "energy": (8,), "friedman": (10,), "pictures": (12, 12, 3)}


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """In this process, and only with data that a test names."""
    monkeypatch.delenv("GEONET_DATA", raising=False)
    monkeypatch.setattr(Experiment, "workers", 1)


def configured(*words):
    return EXPERIMENT.configure(EXPERIMENT.arguments(*words))


def network(name, init, method, seed=0):
    config = {"set": name, "init": "glorot_uniform", "init_hidden": init}
    return build(config, method, seed, SHAPES[name.partition("-")[0]][0])


@pytest.mark.parametrize("init", INITS)
@pytest.mark.parametrize("name", SETS)
def test_all_rungs_start_from_the_same_function(name, init):
    shape = SHAPES[name.partition("-")[0]]
    x = np.random.default_rng(1).normal(size=(20, *shape))
    x = x.astype(np.float32) if len(shape) == 3 else x
    reference = predict(network(name, init, "SP"), x)
    size = np.abs(reference).max()
    for method in RUNGS:
        found = predict(network(name, init, method), x)
        np.testing.assert_allclose(found, reference, rtol=1e-4, atol=1e-4 * size)


@pytest.mark.parametrize("method", RUNGS)
@pytest.mark.parametrize("name", ["banana", "pictures"])
def test_the_output_layer_is_standard_and_does_not_have_the_scale_of_the_start(name, method):
    first, *_, last = (m for m in network(name, "normal:10", method) if hasattr(m, "parameters"))
    plain = last.parameterization
    assert isinstance(plain, PARAMETERIZATIONS["standard"])
    bound = np.sqrt(6 / sum(plain.weight.shape))  # of Glorot's uniform distribution
    assert np.abs(plain.weight.data).max() <= bound
    sized = first.layer.parameterization.sized.data
    assert np.abs(sized).max() > 10


def test_directions_start_with_length_1_or_as_long_as_the_weights():
    weight = network("banana", "normal:10", "SP")[0].layer.parameterization.weight.data
    v = network("banana", "normal:10", "GmP-C")[0].layer.parameterization.v.data
    np.testing.assert_allclose(np.linalg.norm(v, axis=1), 1)
    long = network("banana", "normal:10", LONG)[0].layer.parameterization
    np.testing.assert_allclose(long.v.data, weight)
    np.testing.assert_allclose(long.radius.data, np.linalg.norm(weight, axis=1))


@pytest.mark.parametrize("init", INITS)
@pytest.mark.parametrize("name", ["levy-paper", "levy"])
def test_with_one_input_wn_is_sp_and_gmp_c_is_gmp_bit_for_bit(name, init):
    config = configured("--quick", "--sets", name) | {"set": name, "init_hidden": init}
    found = {method: EXPERIMENT.run_one(config, method, 0, HIGH)[0] for method in RUNGS}
    assert found["WN"] == found["SP"]
    assert found["GmP-C"] == found[LONG] == found["GmP"]
    assert found["GmP"] != found["SP"]


def test_every_rung_is_run_everywhere_but_with_one_input_only_the_two_that_differ():
    config = configured("--seeds", "3")
    runs = EXPERIMENT.runs(config)
    for name in config["set"]:
        own = [run for run in runs if run["set"] == name]
        methods = ["SP", "GmP"] if "levy" in name else list(RUNGS)
        assert {run["method"] for run in own} == set(methods)
        assert len(own) == len(methods) * 3 * 4 * 3  # starts, rates, seeds
        assert {run["init_hidden"] for run in own} == set(INITS)
        assert {run["lr"] for run in own} == {0.01, 0.03, 0.1, 0.3}


def test_the_default_has_ten_seeds_and_energy_where_its_data_are(tmp_path):
    assert configured()["seeds"] == list(range(10))
    assert configured()["choice"] == ["smallest", "validation_error"]
    plain = ["levy-paper", "levy", "banana", "friedman-raw", "friedman", "pictures"]
    assert configured()["set"] == plain
    (tmp_path / "uci").mkdir()
    write(tmp_path / "uci" / "energy")
    config = configured("--data", tmp_path, "--seeds", 2)
    assert config["set"] == [name.replace("friedman", "energy") for name in plain]
    assert list(config["sha256"]) == ["energy"]
    words = "--data", str(tmp_path / "uci"), "--sets", "energy", "--seeds", "2"
    ratio = uci.EXPERIMENT.configure(uci.EXPERIMENT.arguments(*words))["overlap"]["energy"]
    for name, overlap in (
        ("energy", ratio),
        ("energy-raw", ratio),
        ("banana", banana.OVERLAP),
        ("levy", 0),
    ):
        assert EXPERIMENT.overlap(config, {"set": name}) == overlap


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--sets", "levy,mars"), "--sets: 'mars' is not one of levy-paper"),
        (("--sets", "energy"), "--sets energy needs --data"),
        (
            ("--data", "nowhere"),
            "--data must be a folder with banana.csv or uci/energy, not .*here",
        ),
        (("--init-hidden", "magic"), "init must be one of"),
        (("--methods", "SP"), "--methods"),
        (("--lr", "0.1"), "--lr"),
    ],
)
def test_what_is_not_known_is_refused(words, said):
    with pytest.raises((BadInput, ValueError), match=said):
        configured(*words)


def test_a_raw_target_is_the_same_data_in_other_units():
    config = configured("--sets", "friedman,friedman-raw")
    raw, one = ladder.load_data(config | {"set": "friedman-raw"}, 3)
    standardized, unit = ladder.load_data(config | {"set": "friedman"}, 3)
    assert one == 1
    mean = raw.train[1].mean()
    for (x, y), (same_x, new_y) in zip(raw, standardized, strict=True):
        np.testing.assert_array_equal(x, same_x)
        np.testing.assert_allclose(new_y * unit + mean, y)


def test_the_rate_is_the_first_step_of_one_order_and_the_last_of_the_other():
    assert ladder.stops("banana", "first") == [
        ("SP", LOW), ("SP", HIGH), ("WN", HIGH), ("GmP-C", HIGH), ("GmP", HIGH)]  # fmt: skip
    assert ladder.stops("banana", "last") == [
        ("SP", LOW), ("WN", LOW), ("GmP-C", LOW), ("GmP", LOW), ("GmP", HIGH)]  # fmt: skip
    assert ladder.stops("levy", "first") == [("SP", LOW), ("SP", HIGH), ("GmP", HIGH)]
    assert ladder.stops("levy", "last") == [("SP", LOW), ("GmP", LOW), ("GmP", HIGH)]
    assert ladder.stops("levy", None) == [("SP", None), ("GmP", None)]


ERRORS = {  # of seeds 0 to 3, at the low and at the high rate
    "SP": ([10, 11, 12, 13], [9, 9, 9, 9]),
    "WN": ([10, 10, 10, 10], [8, 9, 8, 9]),
    "GmP-C": ([9, 10, 8, 10], [7, 5, 5, 7]),
    LONG: ([9, 9, 9, 9], [8, 6, 6, 8]),
    "GmP": ([9, 9, 9, 9], [5, 4, 3, 4]),
}
CASE = {"set": "energy-raw", "init_hidden": "glorot_uniform"}


def stored(folder, overlap=0.0, lost=(), case=CASE, validation=None):
    """Results with ERRORS; the runs (method, rate, seed) in `lost` diverged."""
    lrs = [LOW, HIGH]
    config = {
        "methods": list(RUNGS), "seeds": [0, 1, 2, 3], "init": "glorot_uniform", "quick": False,
        "lr": {method: lrs for method in RUNGS}, "choice": ["smallest", "validation_error"],
        "set": [case["set"]], "init_hidden": [case["init_hidden"]],
        "overlap": {"energy": overlap},
    }  # fmt: skip
    results = Results(folder, "ladder", config)
    for method, of_rates in ERRORS.items():
        for lr, errors in zip(lrs, of_rates, strict=True):
            for seed, error in enumerate(errors):
                metrics = {"test_error": error, "train_loss": error, "diverged": False}
                metrics["validation_error"] = (validation or {}).get((method, lr), error)
                if (method, lr, seed) in lost:
                    metrics = {"diverged": True, "reason": "a loss is not finite"}
                run = {"method": method, "lr": lr, "seed": seed, **case, "metrics": metrics}
                results.add(run, {})
    return results


def test_steps_are_paired_differences_that_sum_to_the_whole(tmp_path):
    results = stored(tmp_path, overlap=0.25)
    first = climb(results, CASE, "first").effects()
    last = climb(results, CASE, "last").effects()
    assert list(first) == ["rate", "WN", "GmP-C", "GmP", ladder.WHOLE]
    assert list(last) == ["WN", "GmP-C", "GmP", "rate", ladder.WHOLE]
    for effects in (first, last):
        *steps, (whole, _) = effects.values()
        assert sum(step.mean for step, _ in steps) == pytest.approx(whole.mean)
    assert first[ladder.WHOLE] == last[ladder.WHOLE]
    assert [effects["rate"][0].mean for effects in (first, last)] == [-2.5, -5]
    expected = paired_interval(ERRORS["GmP"][1], ERRORS["GmP-C"][1], 0.25)
    assert first["GmP"] == (expected, -2)
    assert expected.low < paired_interval(ERRORS["GmP"][1], ERRORS["GmP-C"][1]).low


def test_rates_are_chosen_by_validation_errors_alone(tmp_path):
    results = stored(tmp_path, validation={("SP", HIGH): 100, ("GmP", LOW): 0})
    way = climb(results, CASE, None)
    assert [results.lr(method, **CASE) for method, _ in way.stops] == [LOW, HIGH, HIGH, LOW]
    cells = ladder.cells(results, CASE, None)
    assert cells["start"].startswith("SP at 0.01: 11.5")
    assert cells["WN"].endswith("(0.01 → 0.1)")
    assert "rate" not in cells


def test_a_seed_that_lost_a_run_counts_in_no_step_of_that_order(tmp_path):
    results = stored(tmp_path, lost={("WN", HIGH, 1), ("GmP", LOW, 0), ("GmP", LOW, 2)})
    first, last = (climb(results, CASE, order) for order in ("first", "last"))
    assert (first.lost, last.lost) == (1, 2)
    assert first.errors.tolist()[0] == [10, 12, 13]
    assert last.errors.tolist()[0] == [11, 13]
    assert "(2 seeds lost)" in ladder.cells(results, CASE, "last")[ladder.WHOLE]
    notes = list(EXPERIMENT.notes(results))
    assert any("energy-raw, glorot_uniform: 2 of 8 runs of GmP diverged" in note for note in notes)
    lost = {("SP", LOW, seed) for seed in range(4)}
    results = stored(tmp_path / "all", lost=lost)
    assert climb(results, CASE, "first") is None
    cells = ladder.cells(results, CASE, "first")
    assert cells == {ladder.WHOLE: "no seed has all runs"}


def test_where_runs_get_stuck_medians_and_their_number_stand_beside_means(tmp_path, monkeypatch):
    monkeypatch.setitem(ERRORS, "SP", ([10, 11, 12, 90], ERRORS["SP"][1]))
    monkeypatch.setitem(ERRORS, "WN", ([10, 10, 50, 50], ERRORS["WN"][1]))
    cells = ladder.cells(stored(tmp_path / "raw"), CASE, "last")
    assert cells["start"] == "SP at 0.01: 30.75; median 11.5; 1 stuck"
    assert cells["WN"].endswith("; median -0.5; 2 stuck")
    assert cells["GmP"].endswith("; median -0.5")
    banana = CASE | {"set": "banana"}
    cells = ladder.cells(stored(tmp_path / "banana", case=banana), banana, "last")
    assert not any(word in "".join(cells.values()) for word in ("median", "stuck"))


def test_longer_directions_are_compared_at_the_rate_of_the_column(tmp_path):
    results = stored(tmp_path)
    first, last, _ = (ladder.cells(results, CASE, order) for order in ladder.ORDERS)
    assert first[LONG].startswith("+1 ")
    assert last[LONG].startswith("-0.25 ")


def test_with_one_input_the_table_says_that_steps_are_zero_by_construction(tmp_path):
    case = CASE | {"set": "levy"}
    cells = ladder.cells(stored(tmp_path, case=case), case, "first")
    assert {cells[row] for row in ("WN", "GmP", LONG)} == {"0 by construction"}
    assert cells["GmP-C"].startswith("-5 ")
    assert cells[ladder.WHOLE].startswith("-7.5 ")


def test_bars_whose_interval_contains_0_are_hollow(tmp_path):
    bars = [("a", 5.0, 4.0, 3.5, 4.5), ("b", 4.0, 3.0, 1.0, 5.0), ("all", 5.0, 3.0, 2.0, 4.0)]
    panels = [("SP: 5", "GmP: 3", bars), ("diverged", "", [])]
    steps = dict(zip(("a", "b", "c", "d", "all"), "ABCDE"))
    figure = figures.waterfalls([("Set", panels)], ["one", "two"], steps, "A caption.")
    first, second = figure.axes
    hollow = [patch.get_facecolor() == (1, 1, 1, 1) for patch in first.patches]
    assert hollow == [False, True, False]
    assert [patch.get_x() + patch.get_width() for patch in first.patches] == [4, 3, 3]
    low, high = first.get_xlim()
    assert low < 1 < 5 < high
    assert not second.patches
    assert second.texts[0].get_text() == "diverged"


def test_a_wide_interval_does_not_squeeze_the_bars():
    bars = [("a", 5.0, 4.0, -1e9, 1e9), ("all", 5.0, 4.0, -1e9, 1e9)]
    steps = dict.fromkeys(("a", "b", "c", "d", "all"), "x")
    figure = figures.waterfalls([("Set", [("", "", bars)])], ["one"], steps, "A caption.")
    low, high = figure.axes[0].get_xlim()
    assert 2 < low < 4 < 5 < high < 7


def test_a_diverged_network_is_a_result(tmp_path):
    config = configured("--quick", "--sets", "pictures") | {"init_hidden": "normal:10"}
    run = {"method": "SP", "lr": HIGH, "seed": 0, "set": "pictures", "init_hidden": "normal:10"}
    metrics, _ = execute_run(EXPERIMENT, config, 1, run)
    assert metrics["diverged"] is True


def test_a_quick_ladder_leaves_numbers_tables_and_figures(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(SETS, "banana", SETS["banana"]._replace(epochs=150))
    words = ("--quick", "--sets", "levy,banana", "--init-hidden", "normal:10")
    assert EXPERIMENT.run(*words, "--out", tmp_path) == 0
    printed = capsys.readouterr().out
    assert "Levy, redrawn: test RMSE" in printed
    assert "Banana: wrong on test data (%)" in printed
    content = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    assert len(content["runs"]) == 2 * 2 * (2 + 5)
    assert {path.stem for path in tmp_path.glob("figures/*.png")} == {"ladder_normal10"}
