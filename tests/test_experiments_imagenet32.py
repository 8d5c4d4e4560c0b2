"""The ImageNet32 experiment: what it counts, what controls it, and what its cases write."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from geonet.data.image_arrays import ImageSet
from geonet.experiments import imagenet32
from geonet.experiments.harness.classification import Curves, evaluate, top_hits
from geonet.experiments.harness.results import Results, Runs
from geonet.experiments.harness.statistics import bounded, mean_interval, picture_interval
from geonet.experiments.harness.tables import format_interval
from geonet.experiments.imagenet32 import EXPERIMENT, batch_sizes
from geonet.experiments.sets import drawn_pictures
from geonet.nn import Sequential
from geonet.tensor import Tensor, no_grad
from geonet.text import BadInput

WORDS = ("--width", "0.02", "--epochs", "2", "--seeds", "2", "--methods", "SP,GmP+IMN")


@pytest.fixture
def few(monkeypatch):
    """A few images of two classes, dark and bright, in place of the real ones."""
    rng = np.random.default_rng(0)

    def draw(count):
        labels = rng.integers(0, 2, count)
        pixels = rng.integers(0, 100, (count, 8, 8, 3)) + 150 * labels[:, None, None, None]
        return pixels.astype(np.uint8), labels

    train = draw(48)
    data = ImageSet([lambda: train], draw(20))
    monkeypatch.delenv("GEONET_DATA", raising=False)
    monkeypatch.setattr(imagenet32, "images", lambda path, protocol: data)
    return data


def run(tmp_path, *words):
    EXPERIMENT.main(EXPERIMENT.arguments(*WORDS, "--out", tmp_path, *words))
    content = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    for entry in content["runs"]:
        entry["metrics"].pop("seconds")
    return content


def test_hits_are_counted_among_the_largest_logits():
    logits = np.array([[3.0, 2.0, 1.0], [3.0, 2.0, 1.0], [3.0, 2.0, 1.0]])
    labels = np.array([0, 1, 2])
    found = [top_hits(logits, labels, k).tolist() for k in (1, 2, 3, 5)]
    assert found == [[True, False, False], [True, True, False], [True] * 3, [True] * 3]


def test_logits_that_are_not_numbers_are_no_hits():
    for count in (3, 5):
        assert not top_hits(np.full((2, 3), np.nan), np.array([0, 1]), count).any()
    assert not top_hits(np.array([[1, np.nan, 0]]), np.array([0]), 1)


def test_of_equal_logits_the_first_counts():
    for count in (1, 2, 4):
        found = top_hits(np.zeros((4, 4)), np.arange(4), count)
        np.testing.assert_array_equal(found, np.arange(4) < count)


def test_evaluation_is_the_mean_over_all_validation_images(few):
    rng = np.random.default_rng(1)
    weight = rng.normal(scale=0.02, size=(8 * 8 * 3, 2)).astype(np.float32)
    x, _ = next(few.validation_batches(20))
    labels = rng.integers(0, 2, 20)
    batches = [(x[i : i + 7], labels[i : i + 7]) for i in (0, 7, 14)]  # the last one is smaller
    (loss, top1, top5), hits = evaluate(Sequential(lambda x: on_pixels(x, weight)), batches)
    logits = x.reshape(20, -1).astype(np.float64) @ weight
    right = np.exp(logits - logits.max(1, keepdims=True))
    right = (right / right.sum(1, keepdims=True))[np.arange(20), labels]
    assert loss == pytest.approx(-np.log(right).mean(), rel=1e-5)
    np.testing.assert_array_equal(hits, logits.argmax(1) == labels)  # in the order of the images
    assert (top1, top5) == (hits.mean(), 1)
    assert 0 < top1 < 1


def on_pixels(x, weight):
    """A linear layer on all numbers of an image."""
    return Tensor(x.reshape(len(x), -1) @ weight)


def test_the_training_loss_steers_or_under_protocol_paper_the_validation_top5(few):
    model = Sequential(lambda x: on_pixels(x, np.ones((192, 2), np.float32)))
    for by_top5 in (False, True):
        curves = Curves(lambda: few.validation_batches(20), by_top5=by_top5)
        for x, labels in few.train_batches(16, np.random.default_rng(0)):
            curves.loss(model(x), labels)
        steering = curves.end_epoch(model)
        arrays = curves.arrays()
        assert steering == (-arrays["test_top5"][0] if by_top5 else arrays["train_loss"][0])
        assert {name: values.shape for name, values in arrays.items()} == dict.fromkeys(
            ("train_loss", "train_top1", "test_loss", "test_top1", "test_top5"), (1,)
        ) | {"hits": (20,)}


@pytest.mark.parametrize("protocol", ["clean", "paper"])
@pytest.mark.parametrize("schedule", ["plateau", "cosine"])
def test_runs_leave_a_table_by_batch_size_and_a_figure_each(
    few, tmp_path, capsys, protocol, schedule
):
    words = ("--batch-sizes", "16,24", "--protocol", protocol, "--schedule", schedule)
    content = run(tmp_path, *words)
    assert [r["batch_size"] for r in content["runs"]] == [16] * 4 + [24] * 4
    assert {(r["method"], r["seed"], r["lr"]) for r in content["runs"]} == {
        ("SP", 0, 0.01), ("SP", 1, 0.01), ("GmP+IMN", 0, 0.1), ("GmP+IMN", 1, 0.1)
    }  # fmt: skip
    assert all(0 <= r["metrics"]["test_top1"] <= 1 for r in content["runs"])
    assert [r["metrics"]["steps"] for r in content["runs"]] == [6] * 4 + [4] * 4
    text = capsys.readouterr().out
    assert "batch_size 16" in text
    assert "test top-5" in text
    for size in (16, 24):
        assert (tmp_path / "figures" / f"curves_{size}.png").exists()


def test_the_same_seed_gives_the_same_results(few, tmp_path):
    first, second = (run(tmp_path / name, "--batch-sizes", "16") for name in ("a", "b"))
    assert first == second


def test_finished_runs_are_not_run_again(few, tmp_path, monkeypatch):
    first = run(tmp_path, "--batch-sizes", "16")
    monkeypatch.setattr(EXPERIMENT, "run_one", None)
    assert run(tmp_path, "--batch-sizes", "16") == first


def test_a_run_that_diverges_is_recorded_and_does_not_stop_the_rest(few, tmp_path, capsys):
    content = run(tmp_path, "--batch-sizes", "16", "--lr", "SP=1e30")
    diverged = {r["method"]: r["metrics"]["diverged"] for r in content["runs"]}
    assert diverged == {"SP": True, "GmP+IMN": False}
    assert "diverged after" in capsys.readouterr().out


def test_weights_that_the_last_step_blew_up_count_as_diverged(few, tmp_path):
    content = run(tmp_path, "--batch-sizes", "48", "--epochs", "1", "--lr", "SP=1e20")
    diverged = {r["method"]: r["metrics"]["diverged"] for r in content["runs"]}
    assert diverged == {"SP": True, "GmP+IMN": False}


@pytest.mark.parametrize("lrs", ["1e30", "SP=1e30"])
def test_what_diverged_is_named_and_what_did_not_is_drawn(few, tmp_path, capsys, lrs):
    run(tmp_path, "--batch-sizes", "16", "--lr", lrs)
    figure = tmp_path / "figures" / "curves_16.svg"
    assert figure.exists() == (lrs != "1e30")
    if figure.exists():
        assert "Diverged: 2 of SP" in " ".join(figure.read_text(encoding="utf-8").split())
    assert "test top-1" in capsys.readouterr().out  # the table is there in any case


def test_runs_that_stopped_early_are_drawn_as_far_as_they_go(few, tmp_path, monkeypatch):
    monkeypatch.setattr(imagenet32, "PATIENCE", 1)
    words = ("--epochs", "6", "--batch-sizes", "48", "--protocol", "paper", "--lr", "1e-9")
    content = run(tmp_path, *words)
    assert {r["metrics"]["steps"] for r in content["runs"]} == {3}
    text = (tmp_path / "figures" / "curves_48.svg").read_text(encoding="utf-8")
    assert "none" not in text[text.index("<desc") : text.index("</desc>")]


def test_other_images_are_another_configuration(few):
    config = EXPERIMENT.configure(EXPERIMENT.arguments("--batch-sizes", "16"))
    few.mean = few.mean + 1e-3
    assert EXPERIMENT.configure(EXPERIMENT.arguments("--batch-sizes", "16")) != config


def test_protocol_paper_has_all_of_the_authors_settings_and_clean_none(few):
    clean, paper = (
        EXPERIMENT.configure(EXPERIMENT.arguments("--batch-sizes", "16", *words))
        for words in ((), ("--protocol", "paper"))
    )
    assert {n: (clean[n], paper[n]) for n in clean if clean[n] != paper[n]} == {
        "protocol": ("clean", "paper"), "epochs": (30, 500), "start": ("equal", "authors")
    }  # fmt: skip
    words = ("--protocol", "paper", "--start", "equal", "--batch-sizes", "16", "--epochs", "7")
    mixed = EXPERIMENT.configure(EXPERIMENT.arguments(*words))
    assert (mixed["start"], mixed["epochs"]) == ("equal", 7)


def read_anew(protocol, path=None):
    """Images that are not kept for other tests; of the drawn ones only a few."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(drawn_pictures, "TRAINING", 200)
        patch.setattr(drawn_pictures, "VALIDATION", 50)
        return imagenet32.images.__wrapped__(path, protocol)


def test_under_paper_pixels_are_less_their_mean_and_not_standardized():
    clean, paper = (read_anew(protocol) for protocol in ("clean", "paper"))
    (x, labels), (y, same) = (next(data.validation_batches(50)) for data in (clean, paper))
    np.testing.assert_array_equal(labels, same)
    np.testing.assert_allclose(y, x * 64 / 255, rtol=1e-5, atol=1e-7)
    assert 0.15 < y.std() < 0.35 < 0.7 < x.std()


@pytest.fixture(scope="module")
def inputs_of_paper():
    """Some images as the authors' networks see them, and whether they are photographs."""
    folder = os.environ.get("GEONET_DATA")
    data = read_anew("paper", folder and Path(folder, "imagenet32"))
    return next(data.validation_batches(8))[0], bool(folder)


def last_activations(method, start, x, width):
    """The activations after the sixth convolution of a network at its start."""
    config = {"protocol": "paper", "start": start, "width": width, "init": "glorot_uniform"}
    model = imagenet32.build(config, method, 1000, np.random.default_rng(0))
    *hidden, _, _, _ = model  # pooling, the mean over the image, output layer
    with no_grad():
        return Sequential(*hidden).eval()(x).data


def test_under_the_authors_start_gmp_begins_with_larger_activations_than_sp(inputs_of_paper):
    x, photographs = inputs_of_paper
    slack = 1.25 if photographs else 3
    for method, deviation in (("SP", 0.005), ("GmP", 0.08), ("WN", 0.08)):
        found = last_activations(method, "authors", x, 1.0).std()
        assert deviation / slack < found < deviation * slack, method


def test_under_the_equal_start_all_methods_begin_as_sp(inputs_of_paper):
    x, _ = inputs_of_paper
    expected = last_activations("SP", "equal", x, 0.1)
    np.testing.assert_array_equal(expected, last_activations("SP", "authors", x, 0.1))
    for method in ("GmP", "WN"):
        found = last_activations(method, "equal", x, 0.1)
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-5 * expected.max())


def stored(tmp_path):
    """The metrics and arrays of each run, as they are stored."""
    lines = (tmp_path / "runs.jsonl").read_text(encoding="utf-8").splitlines()
    runs = Runs(tmp_path, map(json.loads, lines))
    return [(run["metrics"], arrays) for run, arrays in runs.find_with_arrays()]


@pytest.mark.parametrize("protocol", ["clean", "paper"])
def test_hits_are_those_of_the_weights_that_are_reported(few, tmp_path, monkeypatch, protocol):
    monkeypatch.setattr(imagenet32, "PATIENCE", 1)
    words = ("--epochs", "6", "--batch-sizes", "16", "--protocol", protocol, "--lr", "SP=0.1")
    run(tmp_path, *words)
    for metrics, arrays in stored(tmp_path):
        assert arrays["hits"].dtype == bool
        assert arrays["hits"].shape == (20,)
        assert arrays["hits"].mean() == metrics["test_top1"]
        epochs = len(arrays["test_top1"])
        stopped = protocol == "paper" and epochs < 6
        assert epochs == 6 or stopped
        best = np.argmax(arrays["test_top5"]) if stopped else -1
        assert metrics["test_top1"] == arrays["test_top1"][best]


def test_without_a_stop_the_validation_images_are_seen_once_an_epoch(few, tmp_path, monkeypatch):
    calls, batches = [], few.validation_batches
    monkeypatch.setattr(few, "validation_batches", lambda size: calls.append(1) or batches(size))
    for protocol in ("clean", "paper"):
        run(tmp_path / protocol, "--batch-sizes", "16", "--protocol", protocol, "--methods", "SP")
    assert len(calls) == 2 * 2 * 2  # protocols, seeds, epochs


def test_intervals_include_the_sample_of_images(tmp_path):
    rng = np.random.default_rng(0)
    config = {"methods": ["SP", "BN", "GmP"], "seeds": [0, 1, 2], "batch_size": [16], "epochs": 1}
    config |= {"lr": {m: [0.1] for m in config["methods"]}}
    results = Results(tmp_path, "imagenet32", config)
    drawn = {m: rng.random((3, 400)) < p for m, p in (("SP", 0.5), ("BN", 0.7), ("GmP", 0.6))}
    for m, all_hits in drawn.items():
        for seed, hits in enumerate(all_hits):
            entry = {"method": m, "seed": seed, "lr": 0.1, "batch_size": 16}
            lost = (m, seed) == ("GmP", 1)
            metrics = {"diverged": True} if lost else {"test_top1": hits.mean(), "diverged": False}
            results.add(entry | {"metrics": metrics}, {} if lost else {"hits": hits})
    by_seed = mean_interval(drawn["BN"].mean(axis=1))
    by_picture = picture_interval(drawn["BN"])
    assert by_picture.high - by_picture.low > 1.2 * (by_seed.high - by_seed.low)
    _, _, sp, bn, gmp = EXPERIMENT.rows(results)
    assert bn[3] == format_interval(bounded(by_picture, 1.0))
    paired = picture_interval(drawn["BN"].astype(float) - drawn["SP"])
    assert bn[4] == f"{paired.mean:+.3g} {format_interval(paired, '+.3g')}"
    kept = drawn["GmP"][[0, 2]].astype(float)  # the seeds that did not diverge
    assert gmp[3] == format_interval(bounded(picture_interval(kept), 1.0))
    paired = picture_interval(kept - drawn["SP"][[0, 2]])
    assert gmp[4] == f"{paired.mean:+.3g} {format_interval(paired, '+.3g')}"
    assert (sp[4], gmp[-1]) == ("", "1 of 3")


def test_pictures_that_differ_between_runs_leave_intervals_over_seeds(tmp_path):
    config = {"methods": ["SP"], "seeds": [0, 1], "batch_size": [16], "lr": {"SP": [0.1]}}
    results = Results(tmp_path, "imagenet32", config)
    for seed, hits in enumerate(([True, False], [True, True, False])):
        run = {"method": "SP", "seed": seed, "lr": 0.1, "batch_size": 16}
        results.add(run | {"metrics": {"test_top1": np.mean(hits)}}, {"hits": np.array(hits)})
    interval = format_interval(bounded(mean_interval([1 / 2, 2 / 3]), 1.0))
    assert EXPERIMENT.rows(results)[-1][3] == interval


def test_batch_sizes_are_whole_numbers_up_to_the_number_of_images():
    assert batch_sizes("256, 64,256", 1000) == [256, 64]
    for text in ("", "0", "x", "1001", "8,-1", "2.5"):
        with pytest.raises(ValueError, match="--batch-sizes must be numbers from 1 to the 1000"):
            batch_sizes(text, 1000)


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("--lr=sweep", "no validation data"),
        ("--width=-1", "--width: must be a number"),
        ("--width=nan", "--width: must be a number"),
        ("--epochs=0", "--epochs: must be a whole number"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(few, word, said):
    with pytest.raises(ValueError, match=said):
        EXPERIMENT.configure(EXPERIMENT.arguments(word))


def test_moved_images_are_continued_and_others_of_that_name_refused(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)

    def write(folder, labels):
        folder.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 255, (len(labels), 3072), dtype=np.uint8)
        for name in ("train_data_batch_1.npz", "val_data.npz"):
            np.savez(folder / name, data=pixels, labels=labels)

    imagenet32.images.cache_clear()
    words = ("--width", "0.02", "--epochs", "1", "--seeds", "1", "--methods", "SP", "--batch-sizes")
    words += ("4", "--out", tmp_path / "out", "--data")
    write(tmp_path / "a" / "images", np.array([1, 2, 1, 2]))
    EXPERIMENT.run(*words, tmp_path / "a" / "images")
    config = json.loads((tmp_path / "out" / "results.json").read_text())["config"]
    assert config["data"] == "images"
    shutil.move(tmp_path / "a", tmp_path / "b")
    monkeypatch.setattr(EXPERIMENT, "run_one", None)
    assert EXPERIMENT.run(*words, tmp_path / "b" / "images") == 0
    rng = np.random.default_rng(0)  # the same pixels
    write(tmp_path / "c" / "images", np.array([2, 1, 2, 1]))
    with pytest.raises(BadInput, match=r"another configuration \(sha256"):
        EXPERIMENT.run(*words, tmp_path / "c" / "images")
