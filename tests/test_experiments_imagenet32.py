"""The ImageNet32 experiment: what it counts, what controls it, and what its cases write."""

import json
import shutil

import numpy as np
import pytest

from geonet.data.image_arrays import ImageSet
from geonet.experiments import imagenet32
from geonet.experiments.harness.classification import Curves, evaluate, top_hits
from geonet.experiments.imagenet32 import EXPERIMENT, PaperCurves, batch_sizes
from geonet.nn import Sequential
from geonet.tensor import Tensor
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
    monkeypatch.setattr(imagenet32, "images", lambda path: data)
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
    assert [top_hits(logits, labels, k) for k in (1, 2, 3, 5)] == [1, 2, 3, 3]


def test_logits_that_are_not_numbers_are_no_hits():
    for count in (3, 5):
        assert top_hits(np.full((2, 3), np.nan), np.array([0, 1]), count) == 0
    assert top_hits(np.array([[1, np.nan, 0]]), np.array([0]), 1) == 0


def test_of_equal_logits_the_first_counts():
    assert [top_hits(np.zeros((4, 4)), np.arange(4), k) for k in (1, 2, 4)] == [1, 2, 4]


def test_evaluation_is_the_mean_over_all_validation_images(few):
    rng = np.random.default_rng(1)
    weight = rng.normal(scale=0.02, size=(8 * 8 * 3, 2)).astype(np.float32)
    batches = few.validation_batches(7)  # the last one is smaller
    loss, top1, top5 = evaluate(Sequential(lambda x: on_pixels(x, weight)), batches)
    x, labels = next(few.validation_batches(20))
    logits = x.reshape(20, -1).astype(np.float64) @ weight
    right = np.exp(logits - logits.max(1, keepdims=True))
    right = (right / right.sum(1, keepdims=True))[np.arange(20), labels]
    assert loss == pytest.approx(-np.log(right).mean(), rel=1e-5)
    assert (top1, top5) == ((logits.argmax(1) == labels).mean(), 1)


def on_pixels(x, weight):
    """A linear layer on all numbers of an image."""
    return Tensor(x.reshape(len(x), -1) @ weight)


def test_the_training_loss_steers_or_under_protocol_paper_the_validation_top5(few):
    model = Sequential(lambda x: on_pixels(x, np.ones((192, 2), np.float32)))
    for kind in (Curves, PaperCurves):
        curves = kind(lambda: few.validation_batches(20))
        for x, labels in few.train_batches(16, np.random.default_rng(0)):
            curves.loss(model(x), labels)
        steering = curves.end_epoch(model)
        arrays = curves.arrays()
        expected = arrays["train_loss"][0] if kind is Curves else -arrays["test_top5"][0]
        assert steering == expected
        assert {name: values.shape for name, values in arrays.items()} == dict.fromkeys(
            ("train_loss", "train_top1", "test_loss", "test_top1", "test_top5"), (1,)
        )


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
