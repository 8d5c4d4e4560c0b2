"""The UCI experiment: the input of a run, what is refused, and the content of the table."""

import json
import shutil

import numpy as np
import pytest
from test_data_uci import write

from geonet.experiments import uci
from geonet.experiments.harness import figures, small_networks
from geonet.experiments.harness.experiment import Experiment, generators
from geonet.experiments.harness.results import Results
from geonet.models import METHODS
from geonet.text import BadInput
from geonet.train import fit

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


def results_with(folder, errors):
    """Results of one set, of method -> test errors, None for a run that diverged."""
    methods, count = list(errors), len(next(iter(errors.values())))
    lrs = {method: [0.1] for method in methods}
    config = {"methods": methods, "seeds": list(range(count)), "lr": lrs, "set": ["one"]}
    config |= {"data": None, "protocol": "clean", "epochs": 3, "init": "he_normal"}
    results = Results(folder, "uci", config)
    for method, values in errors.items():
        for seed, value in enumerate(values):
            metrics = {"test_rmse": value} if value else {"reason": "it did"}
            run = {"method": method, "seed": seed, "lr": 0.1, "set": "one"}
            metrics |= {"diverged": value is None, "seconds": 0.0}
            results.add(run | {"metrics": metrics}, {})
    return results


def test_the_table_has_a_row_a_set_with_means_and_standard_errors(tmp_path):
    errors = {"SP": [3.0, 3.2, 3.4, 3.6], "GmP": [2.0, 2.2, 2.4, 2.7], "BN": [9.0, None, 9.5, 9.7]}
    header, row = UCI.rows(results_with(tmp_path, errors))
    assert header == ("set", "SP", "GmP", "BN")
    # std([3, 3.2, 3.4, 3.6])/2 = 0.129, and so on; GmP is ahead on every split, but BN has lost one
    assert row == ("one", "3.30 ± 0.13", "2.33 ± 0.15", "9.40 ± 0.21 (1 lost)")


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
    _, row = UCI.rows(results_with(tmp_path, {"SP": sp, "WN": wn, "GmP": gmp}))
    assert [cell.endswith("*") for cell in row[1:]] == [False, False, marked]


def test_five_splits_cannot_tell_and_mark_nothing(tmp_path):
    errors = {"SP": [3.0, 3.2, 3.4, 3.6, 3.1], "GmP": [1.0, 1.2, 1.4, 1.6, 1.1]}
    assert "*" not in "".join(UCI.rows(results_with(tmp_path, errors))[1])


def test_small_errors_keep_their_digits_and_one_split_claims_no_error(tmp_path):
    errors = {"SP": [3.5e-4, 3.7e-4], "GmP": [1.25e-3, 1.3e-3]}
    _, row = UCI.rows(results_with(tmp_path / "two", errors))
    assert row[1:] == ("0.000360 ± 0.000010", "0.001275 ± 0.000025")
    _, row = UCI.rows(results_with(tmp_path / "one", {"SP": [3.5e-4], "GmP": [0.00123456]}))
    assert row[1:] == ("0.00035", "0.001235")


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
    _, row = UCI.rows(results_with(tmp_path, errors))
    assert row[1:] == ("0.000360 ± 0.000010", "7100 ± 100")


def test_data_do_not_depend_on_the_process_that_reads_them(tmp_path):
    write(tmp_path / "one")
    config = configured("--data", tmp_path, "--seeds", 1) | {"set": "one"}
    first = UCI.run_one(config, "SP", 0, 0.01)[0]
    uci.read_once.cache_clear()
    assert UCI.run_one(config, "SP", 0, 0.01)[0] == first
    assert generators(0, 3)[0].random() == generators(0, 3)[0].random()
