"""Experiments from the inside: options, results on disk, and what each run writes."""

import json
from argparse import ArgumentTypeError
from itertools import product

import numpy as np
import pytest

from geonet.characteristic import Tracker
from geonet.experiments import find
from geonet.experiments.harness import options
from geonet.experiments.harness.experiment import Experiment, generators
from geonet.experiments.harness.results import Results, read
from geonet.experiments.harness.small_networks import summarize_tracker
from geonet.experiments.perturbation import make_unit
from geonet.experiments.sets.levy import load_levy
from geonet.files import write_whole
from geonet.models import METHODS, mlp
from geonet.text import BadInput
from geonet.train import Diverged, EarlyStopping

EXPERIMENTS = find()
CONFIG = {"methods": ["SP", "GmP"], "seeds": [0, 1], "lr": {"SP": [0.01], "GmP": [0.1]}}
SMALL = {
    "perturbation": {"units": 3},
    "levy": {"steps": 12},
    "banana": {"epochs": 2},
    "imagenet32": {"epochs": 2, "width": 0.02},
}


def arguments_of(name, *words):
    return EXPERIMENTS[name].arguments(*words)


@pytest.fixture
def small(monkeypatch):
    """Experiments with a few steps, in this process: other processes would not see the patch."""
    monkeypatch.delenv("GEONET_DATA", raising=False)
    monkeypatch.setattr(Experiment, "workers", 1)
    for name, experiment in EXPERIMENTS.items():
        configure = experiment.configure
        monkeypatch.setattr(
            experiment, "configure", lambda a, c=configure, n=name: c(a) | SMALL[n], raising=True
        )


def results_of(folder):
    content = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    for run in content["runs"]:
        run["metrics"].pop("seconds")
    return content


def test_every_experiment_of_the_paper_so_far_is_found():
    assert {"perturbation", "levy", "banana"} <= set(EXPERIMENTS)


@pytest.mark.parametrize(
    ("text", "seeds"), [("3", [0, 1, 2]), ("7,", [7]), ("1,4,7", [1, 4, 7]), ("1", [0])]
)
def test_seeds_are_a_count_or_a_list(text, seeds):
    assert options.seed_list(text) == seeds


@pytest.mark.parametrize("text", ["", "0", "x", "1.5", "-1", "-1,2", "1,1", ","])
def test_other_seeds_are_refused(text):
    with pytest.raises(ArgumentTypeError, match="must be a count"):
        options.seed_list(text)


def test_an_unknown_method_is_refused_with_the_known_ones():
    with pytest.raises(BadInput, match="--methods: 'XY' is not one of SP, WN, BN"):
        arguments_of("levy", "--methods", "SP,XY")
    with pytest.raises(BadInput, match="--methods: 'SP,SP' names one twice"):
        arguments_of("levy", "--methods", "SP,SP")
    assert arguments_of("levy", "--methods", "WN+MBN, GmP").methods == ["WN+MBN", "GmP"]


def test_options_may_be_given_as_values_and_must_be_known():
    levy = EXPERIMENTS["levy"]
    given = levy.arguments("--quick", lr={"SP": 0.5}, seeds=[3])
    assert levy.configure(given) == levy.configure(
        levy.arguments("--quick", "--lr", "SP=0.5", "--seeds", "3,")
    )
    with pytest.raises(TypeError, match="levy has no option 'rate'"):
        levy.arguments(rate=0.1)


def test_rates_are_defaults_one_for_all_some_by_name_or_a_grid():
    def lrs(*words):
        arguments = arguments_of("levy", "--methods", "SP,GmP", *words)
        return EXPERIMENTS["levy"].configure(arguments)["lr"]

    assert lrs() == {"SP": [0.01], "GmP": [0.1]}
    assert lrs("--lr", "0.5") == {"SP": [0.5], "GmP": [0.5]}
    assert lrs("--lr", "SP=1e-3") == {"SP": [0.001], "GmP": [0.1]}
    assert lrs("--lr", "sweep")["SP"] == list(options.SWEEP_LRS)


@pytest.mark.parametrize("text", ["-0.1", "0", "nan", "inf", "fast", "SP=-1", "BN=0.1", "SP"])
def test_other_rates_are_refused(text):
    with pytest.raises(ValueError, match="--lr"):
        options.lrs(arguments_of("levy", "--lr", text).lr, ["SP", "GmP"])


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "results.json"
    path.write_text("old")

    def fail(temporary):
        temporary.write_text("half of")
        raise OSError("disk full")

    with pytest.raises(OSError, match=r"disk full: .*results.json"):
        write_whole(path, fail)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def a_run(method="SP", seed=0, lr=0.01, **metrics):
    return {"method": method, "seed": seed, "lr": lr, "metrics": metrics}


def test_runs_are_taken_over_by_the_same_configuration_only(tmp_path):
    first = Results(tmp_path, "levy", CONFIG)
    first.add(a_run(test_rmse=1.5), {"weight": np.ones(3)})
    again = Results(tmp_path, "levy", CONFIG)
    assert again.runs.keys() == first.runs.keys()
    np.testing.assert_array_equal(again.arrays("SP", 0)["weight"], np.ones(3))
    with pytest.raises(ValueError, match=r"another configuration \(seeds \[0, 1\], not \[0\]\)"):
        Results(tmp_path, "levy", CONFIG | {"seeds": [0]})
    with pytest.raises(ValueError, match='experiment "levy", not "banana"'):
        Results(tmp_path, "banana", CONFIG)
    assert not Results(tmp_path, "levy", CONFIG, overwrite=True).runs


def test_a_run_whose_arrays_are_missing_counts_as_not_done(tmp_path):
    Results(tmp_path, "levy", CONFIG).add(a_run(), {})
    next((tmp_path / "boundaries").iterdir()).unlink()
    assert not Results(tmp_path, "levy", CONFIG).runs


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "[]", '{"experiment": "levy"}', "null"),
        '{"experiment": "levy", "config": [], "runs": []}',
    ],
)
def test_a_foreign_results_file_is_refused(tmp_path, text):
    (tmp_path / "results.json").write_text(text)
    with pytest.raises(ValueError, match="is not a results file of geonet"):
        Results(tmp_path, "levy", CONFIG)


def test_metrics_stand_in_the_order_of_the_seeds_and_missing_ones_are_nan(tmp_path):
    results = Results(tmp_path, "levy", CONFIG)
    results.add(a_run(seed=1, test_rmse=2.0), {})
    results.add(a_run(seed=0, diverged=True), {})
    np.testing.assert_array_equal(results.metrics("SP", "test_rmse"), [np.nan, 2.0])
    assert results.lr("SP") == 0.01


def test_runs_are_stored_in_one_order_whatever_the_order_they_finished_in(tmp_path):
    runs = [a_run(m, s, CONFIG["lr"][m][0]) for m in CONFIG["methods"] for s in CONFIG["seeds"]]
    for folder, order in (("a", runs), ("b", runs[::-1])):
        results = Results(tmp_path / folder, "levy", CONFIG)
        for run in order:
            results.add(run, {})
        results.write()
    texts = [(tmp_path / f / "results.json").read_bytes() for f in "ab"]
    assert texts[0] == texts[1]


@pytest.mark.parametrize("name", ["perturbation", "levy", "banana"])
def test_a_run_leaves_numbers_boundaries_and_figures_and_is_repeatable(
    name, small, tmp_path, capsys
):
    for folder in ("a", "b"):
        EXPERIMENTS[name].main(arguments_of(name, "--quick", "--out", tmp_path / folder))
    table = capsys.readouterr().out
    found = results_of(tmp_path / "a")
    assert found == results_of(tmp_path / "b")
    methods = found["config"]["methods"]
    assert all(method in table for method in methods)
    assert len(found["runs"]) == len(methods) * len(found["config"]["seeds"])
    assert len(list((tmp_path / "a" / "boundaries").glob("*.npz"))) == len(found["runs"])
    pictures = sorted(path.suffix for path in (tmp_path / "a" / "figures").iterdir())
    assert pictures.count(".png") == pictures.count(".svg") >= 2
    with np.load(next((tmp_path / "a" / "boundaries").glob("GmP_seed0*"))) as stored:
        assert np.isfinite(stored["weight"]).all()


def test_a_finished_run_is_not_run_again(small, tmp_path, monkeypatch, capsys):
    words = ("--quick", "--methods", "SP,GmP", "--out", tmp_path)
    EXPERIMENTS["levy"].main(arguments_of("levy", *words))

    def refuse(*_):
        raise AssertionError("ran again")

    monkeypatch.setattr(EXPERIMENTS["levy"], "run_one", refuse)
    EXPERIMENTS["levy"].main(arguments_of("levy", *words))


def test_an_interruption_keeps_what_was_finished_and_the_command_goes_on(
    small, tmp_path, monkeypatch, capsys
):
    levy = EXPERIMENTS["levy"]
    words = ("--quick", "--methods", "SP,GmP", "--out", tmp_path / "cut")
    run_one, calls = levy.run_one, []

    def interrupted(*details):
        calls.append(details)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return run_one(*details)

    with monkeypatch.context() as patch:
        patch.setattr(levy, "run_one", interrupted)
        with pytest.raises(KeyboardInterrupt):
            levy.main(arguments_of("levy", *words))
    assert "2 finished runs are kept" in capsys.readouterr().err
    assert len(results_of(tmp_path / "cut")["runs"]) == 2
    levy.main(arguments_of("levy", *words))
    levy.main(arguments_of("levy", *words[:-1], tmp_path / "whole"))
    assert results_of(tmp_path / "cut") == results_of(tmp_path / "whole")


def test_a_diverged_run_is_recorded_with_its_reason_and_the_rest_goes_on(
    small, tmp_path, monkeypatch, capsys
):
    levy = EXPERIMENTS["levy"]
    run_one = levy.run_one

    def diverging(config, method, seed, lr):
        if method == "WN":
            raise Diverged(7, "steps.0.layer", "gradient of v")
        return run_one(config, method, seed, lr)

    monkeypatch.setattr(levy, "run_one", diverging)
    levy.main(arguments_of("levy", "--quick", "--methods", "SP,WN", "--out", tmp_path))
    runs = {r["method"]: r["metrics"] for r in results_of(tmp_path)["runs"]}
    assert runs["WN"]["diverged"]
    assert "after 7 steps: gradient of v of steps.0.layer" in runs["WN"]["reason"]
    assert "5 of 5" in capsys.readouterr().out


def test_figures_over_seeds_leave_diverged_runs_out_and_say_so(tmp_path):
    levy = EXPERIMENTS["levy"]
    results = Results(
        tmp_path,
        "levy",
        CONFIG | {"protocol": "clean", "steps": 1, "init": "x", "init_hidden": None},
    )
    for seed in (0, 1):
        metrics = {"test_rmse": 1.0 + seed, "steps": 5, "diverged": False, "seconds": 0.0}
        results.add(a_run(seed=seed, **metrics), {})
        lost = {"diverged": True, "reason": "the reason", "seconds": 0.0}
        results.add(a_run("GmP", seed, 0.1, **(lost if seed else metrics)), {})
    table = levy.table(results).splitlines()
    row = next(line for line in table if line.startswith("GmP "))
    assert row.split() == ["GmP", "0.1", "1", "+0", "5", "1", "of", "2"]
    assert "GmP, rate 0.1, seed 1: the reason" in table


def test_overwriting_leaves_nothing_of_the_old_configuration(small, tmp_path):
    run = EXPERIMENTS["levy"].main
    run(arguments_of("levy", "--quick", "--methods", "SP,GmP", "--out", tmp_path))
    (tmp_path / "notes.txt").write_text("not ours")
    words = ("--quick", "--seeds", "1", "--overwrite", "--out", tmp_path)
    EXPERIMENTS["perturbation"].main(arguments_of("perturbation", *words))
    assert not list(tmp_path.glob("boundaries/*seed1*"))
    assert {path.stem for path in (tmp_path / "figures").iterdir()} == {"boundaries", "angles"}
    assert (tmp_path / "notes.txt").exists()


@pytest.mark.parametrize("name", ["levy", "banana"])
def test_layer_norm_alone_has_figures_though_no_boundaries(name, small, tmp_path):
    words = ("--quick", "--methods", "LN", "--seeds", "1", "--out", tmp_path)
    EXPERIMENTS[name].main(arguments_of(name, *words))
    assert len(list((tmp_path / "figures").glob("*.png"))) == 3


def test_layer_norm_is_refused_where_noise_leaves_no_boundary():
    with pytest.raises(ValueError, match="leave LN out"):
        EXPERIMENTS["perturbation"].configure(arguments_of("perturbation", "--methods", "SP,LN"))


def test_a_single_seed_has_a_mean_and_claims_no_interval(small, tmp_path, capsys):
    words = ("--quick", "--methods", "SP,GmP", "--seeds", "3,", "--out", tmp_path)
    EXPERIMENTS["levy"].main(arguments_of("levy", *words))
    assert "nan" not in capsys.readouterr().out


def test_a_rate_is_chosen_on_validation_data_whatever_the_test_data_say(
    small, tmp_path, monkeypatch, capsys
):
    levy = EXPERIMENTS["levy"]

    def measured(config, method, seed, lr):
        return {"validation_rmse": abs(lr - 0.03) + seed, "test_rmse": 1 / lr, "steps": 1}, {}

    monkeypatch.setattr(levy, "run_one", measured)
    monkeypatch.setattr(levy, "figures", lambda *_: [])
    words = ("--quick", "--methods", "SP", "--lr", "sweep", "--out", tmp_path)
    levy.main(arguments_of("levy", *words))
    found = read(tmp_path)
    assert found.lr("SP") == 0.03
    np.testing.assert_array_equal(found.metrics("SP", "test_rmse"), np.full(5, 1 / 0.03))
    np.testing.assert_array_equal(found.metrics("SP", "test_rmse", lr=0.1), np.full(5, 10.0))
    assert found.arrays("SP", 0) == {}
    assert {run["lr"] for run in found.runs.values()} == set(options.SWEEP_LRS)
    head, row = levy.rows_by_lr(found)
    assert head[1:] == tuple(f"{lr:g}" for lr in options.SWEEP_LRS)
    assert [cell.endswith(" *") for cell in row[1:]] == [lr == 0.03 for lr in options.SWEEP_LRS]
    assert " 0.03  33.33 " in capsys.readouterr().out


def test_the_largest_value_is_chosen_where_larger_is_better(tmp_path):
    config = CONFIG | {"lr": {"SP": [0.1, 1.0]}, "choice": ["largest", "validation_accuracy"]}
    results = Results(tmp_path, "banana", config)
    for seed, lr in product(config["seeds"], config["lr"]["SP"]):
        assert np.isnan(results.lr("SP"))
        results.add(a_run(seed=seed, lr=lr, validation_accuracy=lr / 2), {})
    assert results.lr("SP") == 1.0


def test_a_rate_that_diverged_on_a_seed_is_not_chosen(tmp_path):
    config = CONFIG | {"lr": {"SP": [0.1, 1.0]}, "choice": ["smallest", "validation_rmse"]}
    results = Results(tmp_path, "levy", config)
    for seed in (0, 1):
        results.add(a_run(seed=seed, lr=0.1, validation_rmse=5.0), {})
        results.add(
            a_run(seed=seed, lr=1.0, **({"diverged": True} if seed else {"validation_rmse": 0.1})),
            {},
        )
    assert results.lr("SP") == 0.1


def test_the_command_is_stored_without_the_folders_of_this_machine(small, tmp_path, monkeypatch):
    words = ("--quick", "--seeds", "1", "--methods", "SP", "--lr", "0.1,0.2", "--out", tmp_path)
    EXPERIMENTS["levy"].run(*words, "--overwrite", "--workers", "1")
    assert read(tmp_path).command == "levy --methods SP --seeds 1 --lr 0.1,0.2 --quick"
    given = {"seeds": [3], "lr": {"GmP": 0.5}, "data": "/home/me", "out": "a"}
    defaults = {"seeds": None, "lr": None, "data": None, "out": "b", "init": "x"}
    line = options.command_line("uci", given | {"init": "x"}, defaults)
    assert line == "uci --seeds 3, --lr GmP=0.5 --data DIR"


@pytest.mark.parametrize("rates", ["GmP=0.12345678", "GmP+IMN=1e-07,SP=3", "0.12345678,1e-07"])
def test_the_stored_command_gives_the_same_rates_again(rates):
    levy = EXPERIMENTS["levy"]
    given, defaults = levy.arguments("--lr", rates), levy.arguments()
    _, *words = options.command_line("levy", vars(given), vars(defaults)).split()
    assert levy.arguments(*words).lr == given.lr


def test_the_order_of_rates_makes_no_difference():
    assert arguments_of("levy", "--lr", "0.1,0.01,0.1").lr == [0.01, 0.1]


def test_every_difference_of_the_paper_protocol_is_printed_by_help(capsys):
    for name in ("levy", "banana", "uci", "imagenet32"):
        differences = EXPERIMENTS[name].differences
        assert differences
        with pytest.raises(SystemExit):
            arguments_of(name, "--help")
        text = " ".join(capsys.readouterr().out.split())
        for what, clean, paper in differences:
            assert f"{what}: {paper} (clean: {clean})" in text


def test_a_sweep_without_validation_data_is_refused(monkeypatch):
    monkeypatch.delenv("GEONET_DATA", raising=False)
    with pytest.raises(ValueError, match="there are no validation data"):
        EXPERIMENTS["banana"].configure(
            arguments_of("banana", "--lr", "sweep", "--protocol", "paper")
        )


@pytest.mark.parametrize("method", [m for m in METHODS if m != "LN"])
def test_perturbed_units_start_from_the_same_boundary_under_every_method(method):
    rng = np.random.default_rng(0)
    weight, bias = rng.normal(size=(4, 3)), rng.normal(size=4)
    batch = rng.normal(size=(50, 3))
    unit = make_unit(method, weight, bias, batch)
    z = batch @ weight.T + bias
    np.testing.assert_allclose(unit(batch).data, np.maximum(z, 0), atol=1e-12)


def perturbed(*words, method="SP", seed=0):
    """The metrics and arrays of one run of the perturbation experiment."""
    experiment = EXPERIMENTS["perturbation"]
    config = experiment.configure(arguments_of("perturbation", *words)) | {"units": 2}
    return experiment.run_one(config, method, seed, None)


@pytest.mark.parametrize("method", ["SP", "WN", "BN", "GmP"])
def test_a_unit_drawn_on_the_sphere_has_a_weight_of_length_1_whatever_its_bias(method):
    for seed in range(3):
        _, arrays = perturbed("--init", "sphere", method=method, seed=seed)
        assert np.linalg.norm(arrays["weight"][0]) == pytest.approx(1, rel=1e-12)
        assert abs(arrays["bias"][0]) == pytest.approx(1, rel=1e-12)


def test_the_paper_unit_is_that_of_random_state_1_with_the_sign_of_its_weights():
    drawn = 1e-3 * np.array([1.6243453636632417, -0.6117564136500754, -0.5281717522634557])
    for seed in (0, 5):
        for method in ("SP", "GmP"):
            _, arrays = perturbed("--protocol", "paper", method=method, seed=seed)
            unit = np.append(arrays["weight"][0], arrays["bias"][0])
            unit *= np.linalg.norm(drawn[:2]) / np.linalg.norm(unit[:2])  # u and λ under GmP
            np.testing.assert_allclose(unit, drawn, rtol=1e-9)
    configure = EXPERIMENTS["perturbation"].configure
    assert configure(arguments_of("perturbation", "--protocol", "paper"))["seeds"] == [0]
    assert len(configure(arguments_of("perturbation"))["seeds"]) == 20


def test_a_row_has_the_bound_of_its_own_noise(small, tmp_path, capsys):
    words = ("--methods", "SP,GmP", "--seeds", "4", "--init", "sphere", "--out", tmp_path)
    experiment = EXPERIMENTS["perturbation"]
    results = experiment.conduct(arguments_of("perturbation", *words)).results
    _, *rows = experiment.rows(results)
    for method, epsilon, *_, printed, _ in rows:
        eps = float(epsilon)  # added to both weights of a row of length 1
        bound = np.arcsin(np.sqrt(2) * eps) if method == "SP" else eps
        largest = results.metrics(method, f"turn_{epsilon}").max()
        assert float(printed) == pytest.approx(largest / bound, abs=1e-4)
    assert len({row[-2] for row in rows if row[0] == "SP"}) > 1
    assert "largest turn / bound: SP 1.0000, GmP 1.0000" in capsys.readouterr().out


@pytest.mark.parametrize("seeds", ["2", "3"])
def test_no_interval_of_an_angle_leaves_0_to_pi(seeds, small, tmp_path):
    experiment = EXPERIMENTS["perturbation"]
    words = ("--methods", "SP,BN,GmP", "--seeds", seeds, "--out", tmp_path)
    results = experiment.conduct(arguments_of("perturbation", *words)).results
    head, *rows = experiment.rows(results)
    assert head[3] == "95 % interval in [0, π]"
    for row in rows:
        low, high = json.loads(row[3])
        assert 0 < low <= high <= np.pi


def test_draws_from_one_pool_of_banana_points_widen_the_intervals_of_the_table(tmp_path):
    banana, values, found = EXPERIMENTS["banana"], [0.84, 0.88, 0.85, 0.9], {}
    for protocol in ("clean", "paper"):
        config = CONFIG | {"protocol": protocol, "seeds": [0, 1, 2, 3]}
        results = Results(tmp_path / protocol, "banana", config)
        for seed, value in enumerate(values):
            metrics = {"test_accuracy": value, "steps": 1, "diverged": False}
            results.add(a_run(seed=seed, **metrics), {})
        low, high = json.loads(banana.rows(results)[1][3])
        found[protocol] = high - low
    assert found["clean"] / found["paper"] == pytest.approx((1 + 4 * 200 / 5100) ** 0.5, rel=0.01)


@pytest.mark.parametrize(
    ("name", "values", "most"),
    [("levy", (0.2, 1.9), np.inf), ("banana", (0.8, 0.99), 1.0)],
)
def test_no_interval_of_an_error_or_a_share_leaves_its_range(name, values, most, tmp_path):
    experiment = EXPERIMENTS[name]
    results = Results(tmp_path, name, CONFIG | {"protocol": "clean"})
    for seed, value in enumerate(values):
        metrics = {f"test_{experiment.metric}": value, "steps": 1, "diverged": False}
        results.add(a_run(seed=seed, **metrics), {})
    low, high = json.loads(experiment.rows(results)[1][3])
    assert 0 < low < min(values) < max(values) < high <= most


def tracked(steps, change):
    """A tracker of three units in the plane; `change` sets their biases, given the step."""
    model = mlp([2, 3, 1], "SP", rng=np.random.default_rng(0))
    parameters = model[0].layer.parameterization
    parameters.weight.data[:] = [[3.0, 4.0], [0.0, 5.0], [-5.0, 0.0]]  # all of length 5
    tracker = Tracker(model[0])
    for step in range(1, steps + 1):
        change(parameters.bias.data, step)
        tracker.record()
    return tracker


def test_stored_steps_hold_the_start_the_end_and_the_change_of_each():
    def count(bias, step):
        bias[:] = step

    _, kept = summarize_tracker(tracked(1000, count))
    assert kept["steps"][0] == 0
    assert kept["steps"][-1] == 1000
    assert {1, 10, 100} <= set(kept["steps"])
    assert len(kept["steps"]) <= 152  # 50 per decade, the start and the end
    np.testing.assert_array_equal(kept["bias"], kept["steps"][:, None] * np.ones(3))
    np.testing.assert_allclose(kept["displacement_quantiles"], 1 / 5, rtol=1e-9)
    np.testing.assert_array_equal(kept["turn_quantiles"], 0)


@pytest.mark.parametrize("when", [1, 2, 437, 999, 1000])
def test_a_single_jump_of_a_single_unit_is_never_lost(when):
    def jump_once(bias, step):
        bias[1] += 35.0 if step == when else 1e-3

    metrics, kept = summarize_tracker(tracked(1000, jump_once))
    assert metrics["largest_jump"] == pytest.approx(7)
    assert metrics["share_of_jumps"] == 1 / 1000
    (found,) = np.flatnonzero(kept["jumps"] > 1)
    assert kept["steps"][found] < when <= kept["steps"][found + 1]
    np.testing.assert_allclose(kept["jumps"][found], 7)
    np.testing.assert_allclose(np.delete(kept["jumps"], found), 1e-3 / 5, rtol=1e-6)


def test_a_move_of_less_than_1_is_no_jump_and_units_without_a_boundary_have_none():
    def alternate(bias, step):
        bias[0] = 4.9 * (step % 2)  # φ moves by 0.98

    metrics, _ = summarize_tracker(tracked(20, alternate))
    assert metrics == {"largest_jump": pytest.approx(0.98), "share_of_jumps": 0}

    def lose(bias, step):
        bias[:] = np.nan

    metrics, _ = summarize_tracker(tracked(20, lose))
    assert metrics == {"largest_jump": None, "share_of_jumps": None}


def levy_run(*words, method="GmP", **config):
    levy = EXPERIMENTS["levy"]
    config = levy.configure(arguments_of("levy", *words)) | {"steps": 3} | config
    return config, *levy.run_one(config, method, 0, 0.1)


def test_levy_measures_the_error_near_the_training_points_of_the_same_network():
    config, metrics, arrays = levy_run()
    train, _, (x, y) = load_levy(generators(0, 2)[0], config["protocol"])
    error = arrays["prediction"] - y[:, 0]
    near = np.abs(x - train[0].T).min(axis=1) <= 0.25
    assert metrics["test_rmse"] == pytest.approx(np.sqrt(np.mean(error**2)))
    assert metrics["near_rmse"] == pytest.approx(np.sqrt(np.mean(error[near] ** 2)))
    lines = np.interp(train[0][:, 0], x[:, 0], arrays["prediction"])  # nearly the prediction there
    assert metrics["train_mae"] == pytest.approx(np.abs(lines - train[1][:, 0]).mean(), rel=0.02)
    assert {"validation_rmse", "largest_jump", "share_of_jumps", "steps"} <= metrics.keys()


def test_jumps_are_those_at_the_rate_of_figure_2c_where_all_methods_have_it(small, tmp_path):
    levy, words = EXPERIMENTS["levy"], ("--quick", "--methods", "SP,GmP", "--lr", "0.1,1")
    results = levy.conduct(arguments_of("levy", *words, "--out", tmp_path)).results
    *_, (head, *rows) = levy.tables(results)
    assert all("at 0.1" in title for title in head[-2:])
    for method, *_, jump, share in rows:
        largest, shares = (
            results.metrics(method, name, lr=0.1) for name in ("largest_jump", "share_of_jumps")
        )
        assert (jump, share) == (f"{np.median(largest):.3g}", f"{shares.mean():.2%}")
    (figure,) = (plot for plot in levy.figures(results) if plot.name == "jumps")
    assert "rates: SP 0.1, GmP 0.1" in "".join(text.get_text() for text in figure.figure.texts)


def test_levy_tells_of_jumps_and_of_straight_lines_below_the_table(small, tmp_path, capsys):
    levy, words = EXPERIMENTS["levy"], ("--quick", "--methods", "LN,GmP", "--out", tmp_path)
    results = levy.conduct(arguments_of("levy", *words)).results
    printed = capsys.readouterr().out
    assert max(map(len, levy.table(results).splitlines())) <= 120
    *_, (head, ln, gmp) = levy.tables(results)
    assert "jump above 1" in head[-1]
    assert ln[-2:] == ("", "")  # under layer norm there are no boundaries
    largest = np.median(results.metrics("GmP", "largest_jump"))
    assert gmp[-2:] == (f"{largest:.3g}", "0.00%")
    errors = []
    for seed in results.config["seeds"]:
        (train_x, train_y), _, (x, y) = load_levy(generators(seed, 2)[0])
        order = np.argsort(train_x[:, 0])
        lines = np.interp(x, train_x[order, 0], train_y[order, 0])
        errors.append(np.sqrt(np.mean((lines - y) ** 2)))
    assert f"have a test RMSE of {np.mean(errors):.3g}, and" in printed
    assert "chosen after seeing the fits" in printed


def test_init_hidden_draws_only_the_hidden_layer_of_levy_anew(monkeypatch):
    def start(*words):
        drawn = []

        def spy(*sizes, **options):
            model = mlp(*sizes, **options)
            drawn.extend(array.data.copy() for _, array in model.named_parameters())
            return model

        monkeypatch.setattr("geonet.experiments.levy.mlp", spy)
        config, *_ = levy_run(*words, method="SP")
        return EXPERIMENTS["levy"].describe(config), drawn

    text, (weight, _, output, _) = start("--init-hidden", "normal:1e-3")
    plain_text, (plain_weight, _, plain_output, _) = start()
    assert np.abs(weight).max() < 0.01 < np.abs(plain_weight).max()
    assert output.std() == pytest.approx(plain_output.std(), rel=0.3)
    assert ("(hidden layer normal:1e-3)" in text) > ("hidden layer" in plain_text)


@pytest.mark.parametrize("protocol", ["clean", "paper"])
def test_banana_reports_validation_data_only_where_they_are_not_the_test_data(
    protocol, monkeypatch
):
    monkeypatch.delenv("GEONET_DATA", raising=False)
    banana = EXPERIMENTS["banana"]
    config = banana.configure(arguments_of("banana", "--protocol", protocol)) | {"epochs": 2}
    metrics, _ = banana.run_one(config, "GmP", 0, 0.1)
    assert ("validation_accuracy" in metrics) == (protocol == "clean")
    assert 0 <= metrics["test_accuracy"] <= 1


@pytest.mark.parametrize("name", ["levy", "banana"])
@pytest.mark.parametrize(("protocol", "expected"), [("clean", "always"), ("paper", "stopped")])
def test_the_protocol_says_when_the_best_weights_are_tested(name, protocol, expected, monkeypatch):
    monkeypatch.delenv("GEONET_DATA", raising=False)
    experiment, chosen = EXPERIMENTS[name], []

    def rule(*_, restored, **options):
        chosen.append(restored)
        return EarlyStopping(*_, restored=restored, **options)

    monkeypatch.setattr("geonet.experiments.harness.small_networks.EarlyStopping", rule)
    config = experiment.configure(arguments_of(name, "--protocol", protocol)) | SMALL[name]
    experiment.run_one(config, "GmP", 0, 0.1)
    assert chosen == [expected]


def test_the_train_error_of_levy_under_paper_is_that_of_the_last_weights():
    found = {}
    for protocol in ("clean", "paper"):  # a rate at which the loss rises from step to step
        config = EXPERIMENTS["levy"].configure(arguments_of("levy", "--protocol", protocol))
        run = EXPERIMENTS["levy"].run_one(config | {"steps": 2}, "SP", 0, 30.0)[0]
        found[protocol] = run["train_mae"]
    assert found["paper"] > 10 * found["clean"]
