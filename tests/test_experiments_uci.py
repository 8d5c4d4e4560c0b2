"""The UCI experiment: the input of a run, what is refused, and the content of the table."""

import json
import shutil
from itertools import product

import numpy as np
import pytest
from test_data_uci import write

from geonet.data.tables import standardize_target
from geonet.data.uci import read_uci
from geonet.experiments import uci
from geonet.experiments.harness import figures, small_networks
from geonet.experiments.harness.experiment import Experiment, generators
from geonet.experiments.harness.results import Results
from geonet.experiments.harness.statistics import paired_interval, ratio_interval
from geonet.models import METHODS
from geonet.ops import mae
from geonet.text import BadInput
from geonet.train import History, fit, predict

UCI = uci.EXPERIMENT


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Three epochs, in this process, and only data that a test names."""
    monkeypatch.delenv("GEONET_DATA", raising=False)
    monkeypatch.setattr(Experiment, "workers", 1)
    configure = UCI.configure
    monkeypatch.setattr(UCI, "configure", lambda arguments: configure(arguments) | {"epochs": 3})


def configured(*words):
    return UCI.configure(UCI.arguments(*words))


def test_without_data_the_sets_are_friedmans_and_with_them_all_that_are_there(tmp_path):
    assert configured()["set"] == ["friedman1", "friedman2", "friedman3"]
    for name in ("two", "one"):
        write(tmp_path / name)
    (tmp_path / "notes").mkdir()
    config = configured("--data", tmp_path, "--seeds", 2)
    assert config["set"] == ["one", "two"]
    assert config["sha256"]["one"] == config["sha256"]["two"]
    mixed = configured("--data", tmp_path, "--seeds", 2, "--sets", "friedman3, two")
    assert mixed["set"] == ["friedman3", "two"]
    write(tmp_path / "one", index_test_1="17")
    assert configured("--data", tmp_path, "--seeds", 2)["sha256"] != config["sha256"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--sets", "one,three"), "--sets: .* has one, two, but not 'three'"),
        (("--sets", "one,one"), "twice"),
        (("--sets", "../one"), "but not '../one'"),
        (("--seeds", "3"), r"--seeds asks for split 2, but .*one has 2, counted from 0"),
        (("--seeds", "2", "--sets", "two", "--protocol", "paper", "--lr", "sweep"), "validation"),
    ],
)
def test_what_is_not_there_is_refused(tmp_path, words, message):
    for name in ("one", "two"):
        write(tmp_path / name)
    with pytest.raises(ValueError, match=message):
        configured("--data", tmp_path, *words)


def test_a_folder_without_sets_or_a_set_without_data_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"--data: .* has no folder with a data.txt, such as"):
        configured("--data", tmp_path)
    with pytest.raises(ValueError, match=r"without --data there are friedman1, .*, but not 'wine'"):
        configured("--sets", "wine")
    write(tmp_path / "one", index_test_0="0\n2")
    with pytest.raises(ValueError, match=r"none of those in index_test_0\.txt"):
        configured("--data", tmp_path, "--seeds", 1)


def test_all_methods_get_the_same_data_weights_and_batches(tmp_path, monkeypatch):
    """For one split: the function at the start, the rows, and their order."""
    write(tmp_path / "one")
    config = configured("--data", tmp_path, "--seeds", 2) | {"set": "one"}
    seen = {}

    def look(model, loss, data, optimizer, *, rng, **options):
        state = rng.bit_generator.state["state"]["state"]
        seen[method] = data, model(data[0]).data, state
        return fit(model, loss, data, optimizer, rng=rng, **options)

    monkeypatch.setattr(small_networks, "fit", look)
    for method in METHODS:
        UCI.run_one(config, method, 1, 0.01)
    (x, y), outputs, state = seen["SP"]
    for method, (data, start, drawn) in seen.items():
        np.testing.assert_array_equal(data[0], x)
        np.testing.assert_array_equal(data[1], y)
        assert drawn == state
        if method in ("WN", "GmP"):
            np.testing.assert_allclose(start, outputs, atol=1e-12)


def test_errors_are_in_the_units_of_the_target(tmp_path):
    """With a target in other units, errors are in those units, and nothing else changes."""
    rows = np.random.default_rng(0).normal(size=(20, 4))
    for name, unit in (("one", 1.0), ("other", 1000.0)):
        text = "\n".join(" ".join(map(str, row)) for row in rows * [1, 1, unit, 1])
        write(tmp_path / name, data=text)
    config = configured("--data", tmp_path, "--seeds", 2)
    one, other = (UCI.run_one(config | {"set": name}, "GmP", 0, 0.1)[0] for name in config["set"])
    assert other["test_rmse"] == pytest.approx(1000 * one["test_rmse"], rel=1e-6)
    assert one["steps"] == other["steps"] == 3


def test_under_clean_the_test_part_has_no_part_in_training(tmp_path):
    """A changed test row changes the test error, but no validation error."""
    text = (write(tmp_path / "one") / "data.txt").read_text()
    write(tmp_path / "spoiled", data=text.replace("1 1\t1.5 1\n", "9 1\t-9 1\n"))
    config = configured("--data", tmp_path, "--seeds", 1)
    one, spoiled = (UCI.run_one(config | {"set": s}, "SP", 0, 0.01)[0] for s in ("one", "spoiled"))
    assert one.pop("test_rmse") != spoiled.pop("test_rmse")
    assert one == spoiled


def recorded(monkeypatch, config, method="SP", seed=1, lr=0.01):
    """Metrics of a run, and what `fit` was given; the model is as it was before the first step."""
    seen = {}

    def look(model, loss, data, optimizer, **options):
        seen.update(options, model=model, loss=loss, data=data, optimizer=optimizer)
        return History(loss=[7.0])

    monkeypatch.setattr(small_networks, "fit", look)
    return UCI.run_one(config, method, seed, lr)[0], seen


def test_under_paper_a_network_learns_the_raw_target_on_four_fifths_of_the_rows(
    tmp_path, monkeypatch
):
    table = read_uci(write(tmp_path / "one"))
    config = configured("--data", tmp_path, "--protocol", "paper") | {"set": "one"}
    order = np.random.RandomState(17).permutation(20)  # the set has only 2 splits of its own
    test, train = order[:4], order[4:]
    metrics, seen = recorded(monkeypatch, config, seed=17)
    mean, std = table.x[train].mean(0), table.x[train].std(0)
    np.testing.assert_allclose(seen["data"][0], (table.x[train] - mean) / std)
    np.testing.assert_array_equal(seen["data"][1], table.y[train])
    error = predict(seen["model"], (table.x[test] - mean) / std) - table.y[test]
    assert metrics["test_rmse"] == pytest.approx(np.sqrt(np.mean(error**2)))
    assert metrics["train_mae"] == 7
    assert "validation_rmse" not in metrics


@pytest.mark.parametrize("name", ["one", "friedman3"])
def test_the_squared_error_of_the_test_part_steers_under_paper(tmp_path, monkeypatch, name):
    """And under clean, the absolute error of the validation part, over the target's std."""
    write(tmp_path / "one")
    words = "--data", tmp_path, "--seeds", 2, "--sets", f"one,{name}" if name != "one" else name
    for protocol in ("paper", "clean"):
        config = configured(*words, "--protocol", protocol) | {"set": name}
        metrics, seen = recorded(monkeypatch, config)
        monitored = seen["monitor"](seen["model"])
        if protocol == "paper":
            assert monitored == pytest.approx(metrics["test_rmse"] ** 2)
            continue
        data, _ = standardize_target(uci._load(config, 1, generators(1, 3)[0]))
        error = predict(seen["model"], data.validation[0]) - data.validation[1]
        assert monitored == pytest.approx(np.abs(error).mean())


def test_the_rules_of_training_are_the_authors(tmp_path, monkeypatch):
    write(tmp_path / "one")
    config = configured("--data", tmp_path, "--protocol", "paper") | {"set": "one"}
    assert config["lr"]["GmP"] == [0.1]
    assert config["lr"]["SP"] == config["lr"]["WN"] == config["lr"]["BN"] == [0.01]
    seen = recorded(monkeypatch, config, "BN")[1]
    assert (seen["loss"], seen["batch_size"], seen["optimizer"].eps) == (mae, 1024, 1e-7)
    schedule, stopping = seen["schedule"], seen["stopping"]
    assert (schedule.patience, schedule.factor, schedule.min_delta) == (50, 0.1, 1e-4)
    assert (stopping.patience, stopping.min_delta) == (100, 0)
    weight, bias = seen["model"][0].layer.rows()
    assert weight.shape == (100, 2)
    assert weight.data.dtype == np.float64
    assert bias is not None  # BN's, before the normalization


def test_overlap_is_the_number_of_test_rows_per_other_row_and_0_for_data_drawn_anew(tmp_path):
    write(tmp_path / "one")
    words = "--data", tmp_path, "--seeds", 2, "--sets", "one,friedman1", "--protocol"
    for protocol, expected in (("clean", 2 / 18), ("paper", 4 / 16)):
        config = configured(*words, protocol)
        assert UCI.overlap(config, {"set": "one"}) == pytest.approx(expected)
        assert UCI.overlap(config, {"set": "friedman1"}) == 0


def results_with(folder, errors, losses=None, **changed):
    """Results of one set, of method -> test errors, None for a run that diverged."""
    methods, count = list(errors), len(next(iter(errors.values())))
    lrs = {method: [0.1] for method in methods}
    config = {"methods": methods, "seeds": list(range(count)), "lr": lrs, "set": ["one"]}
    config |= {"data": None, "protocol": "clean", "epochs": 3, "init": "he_normal"} | changed
    config = {"overlap": dict.fromkeys(config["set"], 0.0)} | config
    results = Results(folder, "uci", config)
    for name, (method, values) in product(config["set"], errors.items()):
        for seed, value in enumerate(values):
            loss = losses[method][seed] if losses else 1.0
            metrics = {"test_rmse": value, "train_mae": loss} if value else {"reason": "it did"}
            run = {"method": method, "seed": seed, "lr": 0.1, "set": name}
            metrics |= {"diverged": value is None, "seconds": 0.0, "epochs": 3, "steps": 3}
            results.add(run | {"metrics": metrics}, {})
    return results


def column(results):
    """The table's only column of cells."""
    return tuple(cell for _, cell in UCI.rows(results)[1:])


def test_the_table_has_a_row_per_method_with_means_and_standard_errors(tmp_path):
    errors = {"SP": [3.0, 3.2, 3.4, 3.6], "GmP": [2.0, 2.2, 2.4, 2.7], "BN": [9.0, None, 9.5, 9.7]}
    header, *rows = UCI.rows(results_with(tmp_path, errors, set=["one", "two"]))
    assert header == ("mean ± se", "one", "two")
    # std([3, 3.2, 3.4, 3.6])/2 = 0.129, and so on; GmP is ahead on every split, but BN has lost one
    cells = {"SP": "3.30 ± 0.13", "GmP": "2.33 ± 0.15", "BN": "9.40 ± 0.21 (1 lost)"}
    assert rows == [(method, cell, cell) for method, cell in cells.items()]


def test_splits_that_share_rows_have_the_standard_error_of_the_corrected_resampled_t(tmp_path):
    """For 4 splits and n_test/n_train = 1/4 the variance is 1/4 + 1/4 of that of the values."""
    results = results_with(tmp_path, {"SP": [3.0, 3.2, 3.4, 3.6]}, overlap={"one": 0.25})
    assert column(results) == ("3.30 ± 0.18",)


@pytest.mark.parametrize(
    ("gmp", "marked"),
    [
        ([2.0, 2.2, 2.4, 2.7, 2.1, 2.6], True),  # below SP on every split, surely
        ([2.9, 3.3, 3.0, 3.7, 3.0, 3.5], False),  # below in the mean alone
        ([3.0, 3.2, 3.4, 3.6, 3.1, 3.5], False),  # the same
        ([2.0, 2.2, 2.4, 2.7, 2.1, None], False),  # diverged once
    ],
)
def test_the_best_is_marked_only_where_it_is_surely_so(tmp_path, gmp, marked):
    sp, wn = [3.0, 3.2, 3.4, 3.6, 3.1, 3.5], [3.1, 3.2, 3.5, 3.6, 3.2, 3.5]
    cells = column(results_with(tmp_path, {"SP": sp, "WN": wn, "GmP": gmp}))
    assert [cell.endswith("*") for cell in cells] == [False, False, marked]


def test_the_mark_counts_comparisons_and_shared_rows(tmp_path):
    """A difference with p = 0.027 is not enough among three, or if the splits share rows."""
    sp = 3 + np.array([0.0, 0.1, -0.1, 0.2, 0.0, 0.1])
    errors = {"SP": sp.tolist(), "GmP": (sp - [0.2, 0.1, 0.4, -0.02, 0.3, 0.15]).tolist()}
    assert paired_interval(errors["SP"], errors["GmP"]).p == pytest.approx(0.0266, abs=1e-4)

    def is_marked(name, errors, overlap=0.0):
        results = results_with(tmp_path / name, errors, overlap={"one": overlap})
        return column(results)[1].endswith("*")

    assert is_marked("two", errors)
    assert not is_marked("overlapping", errors, 0.25)
    assert not is_marked("three", errors | {"WN": errors["SP"], "BN": errors["SP"]})


def test_five_splits_cannot_tell_and_mark_nothing(tmp_path):
    errors = {"SP": [3.0, 3.2, 3.4, 3.6, 3.1], "GmP": [1.0, 1.2, 1.4, 1.6, 1.1]}
    assert "*" not in "".join(column(results_with(tmp_path, errors)))


def test_small_errors_keep_their_digits_and_one_split_claims_no_error(tmp_path):
    errors = {"SP": [3.5e-4, 3.7e-4], "GmP": [1.25e-3, 1.3e-3]}
    assert column(results_with(tmp_path / "two", errors)) == (
        "0.000360 ± 0.000010",
        "0.001275 ± 0.000025",
    )
    single = results_with(tmp_path / "one", {"SP": [3.5e-4], "GmP": [0.00123456]})
    assert column(single) == ("0.00035", "0.001235")


LOSSES = {"SP": [1.0, 2.1, 1.2], "WN": [5.0, 0.9, 4.0], "GmP": [1.0, 1.0, 0.1]}  # median 1


def test_a_run_is_stuck_above_twice_the_median_loss_of_all_methods_and_splits(tmp_path):
    errors = {"SP": [0.4, 2.5, 0.5], "WN": [2.5, 0.4, 2.3], "GmP": [0.4, 0.4, 0.5]}
    results = results_with(tmp_path / "all", errors, LOSSES)
    found = {method: stuck.tolist() for method, stuck in uci.stuck_runs(results, set="one").items()}
    assert found == {"SP": [False, True, False], "WN": [True, False, True], "GmP": [False] * 3}
    means, medians = UCI.tables(results)
    assert means[0][0] == "mean ± se"
    assert medians == [("median", "one"), ("SP", "0.500, 1 of 3"), ("WN", "2.30, 2 of 3"),
                       ("GmP", "0.400")]  # fmt: skip
    exactly = results_with(tmp_path / "twice", errors, LOSSES | {"SP": [1.0, 2.0, 1.2]})
    assert not uci.stuck_runs(exactly, set="one")["SP"].any()


def test_a_run_that_diverged_is_lost_and_not_stuck(tmp_path):
    errors = {"SP": [0.4, 2.5, 0.5], "WN": [2.5, 0.4, None], "BN": [None] * 3}
    results = results_with(tmp_path / "some", errors, LOSSES | {"BN": [1.0] * 3})
    stuck = uci.stuck_runs(results, set="one")
    assert [len(found) for found in stuck.values()] == [3, 2, 0]
    assert UCI.tables(results)[1][1:] == [("SP", "0.500"), ("WN", "1.45, 1 of 2"), ("BN", "")]
    lost = results_with(tmp_path / "none", {"SP": [None] * 3})
    assert UCI.tables(lost)[1][1:] == [("SP", "")]


def test_what_is_stuck_is_stated_below_the_table(tmp_path):
    notes = " ".join(UCI.notes(results_with(tmp_path, {"SP": [1.0]})))
    assert "stuck, if any: smallest training loss over 2 × the median of all runs" in notes


@pytest.mark.parametrize(
    ("sets", "protocol", "said"),
    [(["naval", "one"], "paper", True), (["naval"], "clean", False), (["one"], "paper", False)],
)
def test_that_naval_measures_the_schedule_is_said_under_paper(tmp_path, sets, protocol, said):
    results = results_with(tmp_path, {"SP": [1.0]}, set=sets, protocol=protocol)
    found = [note for note in UCI.notes(results) if note.startswith("naval measures the schedule")]
    assert len(found) == said


def test_where_running_statistics_lag_is_said_of_sets_with_one_batch_per_epoch(tmp_path):
    def notes(name, methods):
        results = results_with(
            tmp_path / name, {method: [1.0] for method in methods}, set=["wine", "yacht"]
        )
        for run in results.find(set="wine"):
            run["metrics"]["steps"] = 6
        return [note for note in UCI.notes(results) if "running statistics" in note]

    (note,) = notes("both", ["SP", "BN", "GmP+IMN"])
    assert note.startswith("BN and GmP+IMN on yacht: with one batch per epoch, running statistics")
    assert notes("one", ["SP", "BN"])[0].startswith("BN on yacht: ")
    assert not notes("neither", ["SP", "GmP"])


def test_help_tells_what_differs_under_paper(capsys):
    with pytest.raises(SystemExit):
        UCI.arguments("--help")
    text = " ".join(capsys.readouterr().out.split())
    for what, clean, paper in UCI.differences:
        assert f"{what}: {paper} (clean: {clean})" in text


def test_intervals_of_ratios_are_wider_where_splits_share_rows(tmp_path, monkeypatch):
    errors = {"SP": [1.0, 2.0, 4.0], "GmP": [2.0, 8.0, 9.0]}
    seen = []
    monkeypatch.setattr(figures, "ratios", lambda found, *_: seen.append(found["one"]["GmP"]))
    for overlap in (0.0, 0.25):
        list(UCI.figures(results_with(tmp_path / str(overlap), errors, overlap={"one": overlap})))
        interval = ratio_interval(errors["GmP"], errors["SP"], overlap)
        assert seen[-1] == (interval.mean, interval.low, interval.high)
    assert seen[0] != seen[1]


def test_ratios_are_geometric_means_over_the_splits_that_both_finished(tmp_path, monkeypatch):
    errors = {"SP": [1.0, 2.0, 4.0], "GmP": [2.0, 8.0, None], "BN": [None] * 3}
    seen = {}
    monkeypatch.setattr(figures, "ratios", lambda found, *_: seen.update(found))
    list(UCI.figures(results_with(tmp_path, errors)))
    assert list(seen["one"]) == ["GmP"]
    assert seen["one"]["GmP"][0] == pytest.approx(8**0.5)


def test_a_sweep_leaves_a_table_numbers_and_figures(tmp_path, capsys):
    write(tmp_path / "data")
    words = ["--data", tmp_path, "--seeds", "2", "--methods", "SP,GmP", "--out"]
    UCI.run(*words, tmp_path / "out")
    text = capsys.readouterr().out
    assert "protocol clean: 100 units, up to 3 epochs, glorot_uniform, 2 splits" in text
    content = json.loads((tmp_path / "out/results.json").read_text(encoding="utf-8"))
    runs = [(r["set"], r["method"], r["seed"]) for r in content["runs"]]
    assert runs == [("data", m, s) for m in ("SP", "GmP") for s in (0, 1)]
    assert (tmp_path / "out/figures/ratios.svg").exists()


def test_moved_sets_are_continued_and_other_sets_of_that_name_refused(tmp_path, monkeypatch):
    (tmp_path / "a" / "sets").mkdir(parents=True)
    write(tmp_path / "a" / "sets" / "one")
    words = ["--seeds", "2", "--methods", "SP,GmP", "--out", tmp_path / "out", "--data"]
    UCI.run(*words, tmp_path / "a" / "sets")
    shutil.move(tmp_path / "a", tmp_path / "b")
    run_one = UCI.run_one
    monkeypatch.setattr(UCI, "run_one", None)
    assert UCI.run(*words, tmp_path / "b" / "sets") == 0
    monkeypatch.setattr(UCI, "run_one", run_one)
    path = tmp_path / "b" / "sets" / "one" / "data.txt"
    path.write_text(path.read_text().replace("1.5 1\n", "2.5 1\n"))
    with pytest.raises(BadInput, match=r"another configuration \(sha256"):
        UCI.run(*words, tmp_path / "b" / "sets")


def test_files_that_change_between_two_sweeps_are_read_again(tmp_path):
    text = (write(tmp_path / "one") / "data.txt").read_text()
    found = []
    for changed in (text, text.replace("1 1\t1.5 1\n", "9 1\t-9 1\n")):
        write(tmp_path / "one", data=changed)
        config = configured("--data", tmp_path, "--seeds", 1) | {"set": "one"}
        found.append(UCI.run_one(config, "SP", 0, 0.01)[0]["test_rmse"])
    assert found[0] != found[1]


def test_an_error_of_another_magnitude_has_digits_of_its_own(tmp_path):
    errors = {"SP": [3.5e-4, 3.7e-4], "GmP": [7000.0, 7200.0]}
    assert column(results_with(tmp_path, errors)) == ("0.000360 ± 0.000010", "7100 ± 100")


def test_data_do_not_depend_on_the_process_that_reads_them(tmp_path):
    write(tmp_path / "one")
    config = configured("--data", tmp_path, "--seeds", 1) | {"set": "one"}
    first = UCI.run_one(config, "SP", 0, 0.01)[0]
    uci.read_once.cache_clear()
    assert UCI.run_one(config, "SP", 0, 0.01)[0] == first
    assert generators(0, 3)[0].random() == generators(0, 3)[0].random()
