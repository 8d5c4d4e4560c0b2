"""The ImageNet experiment: what it writes, what it refuses, and how it continues after a stop."""

import importlib.util
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from kernel_helpers import without_notice

from geonet.data.image_folders import ImageFolders
from geonet.experiments import imagenet
from geonet.experiments.harness import results
from geonet.experiments.harness.classification import evaluate
from geonet.experiments.imagenet import EXPERIMENT, Run, make_schedule
from geonet.experiments.sets.drawn_pictures import write_pictures
from geonet.models import resnet18
from geonet.nn.module import Parameter
from geonet.text import BadInput
from geonet.train import SGD, CheckpointNotWritten, Checkpoints

ROOT = Path(__file__).parents[1]
SMALL = ("--width", "0.03", "--size", "16", "--epochs", "2", "--workers", "0")
BATCHES = ("--batch-size", "16", "--seeds", "1")  # of which an epoch has 4
STEPS = 8
KILLS = 20


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """A few pictures of ten classes."""
    folder = tmp_path_factory.mktemp("data") / "pictures"
    write_pictures(folder, np.random.default_rng(0), training=64, validation=21, side=24)
    return folder


@pytest.fixture
def damaged(pictures, tmp_path):
    """The same, but one of the files is cut in half."""
    folder = shutil.copytree(pictures, tmp_path / "damaged")
    path = next(folder.glob("train/*/*_13.JPEG"))
    path.write_bytes(path.read_bytes()[:200])
    return folder


def arguments_of(*words):
    return EXPERIMENT.arguments(*SMALL, *BATCHES, *words)


def train(out, *words):
    """Run the experiment, and return the content of results.json without times."""
    methods = () if "--methods" in words else ("--methods", "GmP+IMN")
    EXPERIMENT.main(arguments_of(*methods, "--out", out, *words))
    return results_of(out)


def results_of(out):
    content = json.loads((out / "results.json").read_text(encoding="utf-8"))
    for entry in content["runs"]:
        entry["metrics"].pop("seconds")
    return content


def final_state(out, run="GmP+IMN-0"):
    """The content of the last checkpoint of a run, as bytes by path, and its step."""
    state, step = Checkpoints(out / "checkpoints" / run).load()
    return dict(_flat(state, "")), step


def _flat(value, path):
    if isinstance(value, dict):
        for name, entry in value.items():
            yield from _flat(entry, f"{path}/{name}")
    elif isinstance(value, list):
        for i, entry in enumerate(value):
            yield from _flat(entry, f"{path}/{i}")
    else:
        yield path, value.tobytes() if isinstance(value, np.ndarray) else value


@pytest.fixture(scope="module")
def whole(pictures, tmp_path_factory):
    """The folder of a run that was not interrupted."""
    out = tmp_path_factory.mktemp("whole")
    train(out, "--data", pictures)
    return out


class Stopped(BaseException):
    pass


def stop_after(monkeypatch, steps, save):
    """Let a run end after this many of its steps, with or without a checkpoint."""
    end_step = Run.end_step

    def stop(run):
        end_step(run)
        if run.position.history.steps == steps:
            if save:
                run.save()
            raise Stopped

    monkeypatch.setattr(Run, "end_step", stop)


def test_runs_leave_a_table_a_figure_and_the_last_weights(pictures, tmp_path, capsys):
    words = ("--methods", "BN,GmP+IMN", "--seeds", "2", "--checkpoint-every", "2")
    content = train(tmp_path, "--data", pictures, *words)
    assert [(r["method"], r["seed"]) for r in content["runs"]] == [
        ("BN", 0), ("BN", 1), ("GmP+IMN", 0), ("GmP+IMN", 1)
    ]  # fmt: skip
    for run in content["runs"]:
        assert 0 <= run["metrics"]["test_top1"] <= run["metrics"]["test_top5"] <= 1
        assert (run["metrics"]["steps"], run["metrics"]["damaged"]) == (STEPS, {})
        folder = tmp_path / "checkpoints" / f"{run['method']}-{run['seed']}"
        assert [path.name for path in folder.iterdir()] == [f"step-{STEPS:08}.npz"]
    text = capsys.readouterr().out
    assert "test top-1" in text
    assert "64 to train, 21 to test, 10 classes" in text
    assert (tmp_path / "figures" / "curves.png").exists()


def test_overwriting_removes_checkpoints_of_the_earlier_configuration(pictures, whole, tmp_path):
    out = shutil.copytree(whole, tmp_path / "out")
    (kept,) = out.glob("checkpoints/*/step-*.npz")
    stray = kept.parent.parent / "BN-7" / kept.name
    stray.parent.mkdir()
    shutil.copy(kept, stray)
    train(out, "--data", pictures, "--overwrite")
    assert not stray.exists()


def test_without_data_pictures_are_drawn_once_whatever_geonet_data_says(tmp_path, monkeypatch):
    monkeypatch.setenv("GEONET_DATA", str(tmp_path / "nowhere"))
    drawn = []

    def draw_few(folder, rng):
        drawn.append(folder)
        write_pictures(folder, rng, training=32, validation=10, side=20)

    monkeypatch.setattr(imagenet, "write_pictures", draw_few)
    first = train(tmp_path / "out")
    assert first["config"]["data"] is None
    assert train(tmp_path / "out", "--overwrite") == first
    assert drawn == [tmp_path / "out" / "pictures"]


@pytest.mark.parametrize(("steps", "save"), [(2, True), (3, False), (4, True), (5, False)])
def test_a_stopped_run_goes_on_to_the_very_same_end(
    pictures, whole, tmp_path, monkeypatch, steps, save
):
    words = ("--data", pictures, "--checkpoint-every", "2")
    with monkeypatch.context() as patch:
        stop_after(patch, steps, save)
        with pytest.raises(Stopped):
            train(tmp_path, *words)
    made, end_step = [], Run.end_step
    monkeypatch.setattr(Run, "end_step", lambda run: (made.append(1), end_step(run)))
    assert train(tmp_path, *words, "--resume") == results_of(whole)
    assert final_state(tmp_path) == final_state(whole)
    saved = steps if save else steps - steps % 2
    assert len(made) == STEPS - saved


PAPER = ("--protocol", "paper", "--epochs", "6", "--checkpoint-every", "2")


@pytest.fixture
def impatient(monkeypatch):
    """Training whose rate falls after one epoch without progress, and which ends after two."""
    monkeypatch.setattr(imagenet, "PATIENCE", 1)


@pytest.mark.parametrize("steps", [3, 6, 9, 11])
def test_under_paper_a_stopped_run_goes_on_to_the_very_same_end(
    impatient, pictures, tmp_path, monkeypatch, steps
):
    words = ("--data", pictures, *PAPER, "--lr", "1e-9")  # so nothing ever improves
    whole = train(tmp_path / "whole", *words)
    assert whole["runs"][0]["metrics"]["steps"] == 12  # three epochs of six
    with monkeypatch.context() as patch:
        stop_after(patch, steps, False)
        with pytest.raises(Stopped):
            train(tmp_path / "stopped", *words)
    assert train(tmp_path / "stopped", *words, "--resume") == whole
    state, step = final_state(tmp_path / "stopped")
    assert (state, step) == final_state(tmp_path / "whole")
    assert state["/stopping/waited"] == 2
    assert state["/optimizer/lr"] == pytest.approx(1e-11)


def test_a_run_that_early_stopping_ended_is_not_trained_on(impatient, pictures, tmp_path):
    words = ("--data", pictures, *PAPER, "--lr", "1e-9")
    whole = train(tmp_path / "whole", *words)
    shutil.copytree(tmp_path / "whole" / "checkpoints", tmp_path / "copy" / "checkpoints")
    assert train(tmp_path / "copy", *words, "--resume") == whole


def stored_runs(out):
    """The content of results.json, with the arrays of its runs."""
    runs = results.read(out)
    return runs.config, list(runs.find_with_arrays())


@pytest.mark.parametrize("protocol", ["clean", "paper"])
def test_the_last_weights_are_reported_and_kept_with_their_hits(
    impatient, pictures, tmp_path, monkeypatch, protocol
):
    states, end_epoch = [], Run.end_epoch

    def note(run, model):
        states.append(model.state_dict())
        return end_epoch(run, model)

    monkeypatch.setattr(Run, "end_epoch", note)
    words = ("--data", pictures, "--protocol", protocol, "--epochs", "8", "--lr", "0.3")
    train(tmp_path, *words)
    config, ((run, arrays),) = stored_runs(tmp_path)
    epochs = len(arrays["test_top1"])
    if protocol == "paper":  # the stop came after better epochs
        assert arrays["test_top5"].argmax() == epochs - 3
    assert arrays["hits"].shape == (21,)
    assert run["metrics"]["test_top1"] == arrays["test_top1"][-1] == arrays["hits"].mean()
    state, _ = Checkpoints(tmp_path / "checkpoints" / "GmP+IMN-0").load()
    for name, values in state["model"].items():
        np.testing.assert_array_equal(values, states[-1][name])
    with ImageFolders(pictures, 16, recipe=imagenet.RECIPES[protocol]) as data:
        execution = {"execution": {"resume": True, "out": tmp_path, "keep": 1}}
        again = Run(config | execution, "GmP+IMN", 0, 0.3, data)
        again.model.load_state_dict(state["model"])
        _, hits = evaluate(again.model, data.validation_batches(16))
    np.testing.assert_array_equal(hits, arrays["hits"])


def test_protocol_paper_has_all_of_the_authors_settings(pictures, tmp_path, monkeypatch):
    words = ("--data", pictures, "--size", "64", "--out", tmp_path)
    clean, paper = (
        EXPERIMENT.configure(arguments_of(*words, *more)) for more in ((), ("--protocol", "paper"))
    )
    assert {n: (clean[n], paper[n]) for n in clean if clean[n] != paper[n]} == {
        "protocol": ("clean", "paper"),
        "weight_decay": (1e-4, 0.0),
        "stem": ("imagenet", "unpadded"),
        "schedule": ("cosine", "plateau"),
    }
    more = ("--protocol", "paper", "--weight-decay", "0.1", "--schedule", "cosine")
    mixed = EXPERIMENT.configure(arguments_of(*words, *more, "--stem", "small"))
    assert (mixed["weight_decay"], mixed["schedule"], mixed["stem"]) == (0.1, "cosine", "small")
    seen, make = [], imagenet.ImageFolders
    monkeypatch.setattr(imagenet, "ImageFolders", lambda *a, **o: seen.append(o) or make(*a, **o))
    for protocol in ("clean", "paper"):
        out = tmp_path / protocol
        train(out, "--data", pictures, "--epochs", "1", "--protocol", protocol)
    assert [o["recipe"] for o in seen if "recipe" in o] == ["inception", "resnet"]


def test_the_authors_stem_makes_55_pixels_of_224():
    for stem, side in (("unpadded", 55), ("imagenet", 56)):
        model = resnet18("SP", stem=stem, width=0.02, rng=np.random.default_rng(0))
        first, pooling, *_ = model
        assert pooling(first(np.zeros((1, 224, 224, 3), np.float32))).shape[1:3] == (side, side)


def test_drawn_pictures_of_another_folder_count_as_drawn(pictures, tmp_path):
    words = ("--data", pictures, "--out", tmp_path)
    config = EXPERIMENT.configure(EXPERIMENT.arguments(*words))
    numbers = {"width": 0.25, "size": 64, "epochs": 20, "batch_size": 32}
    assert {name: config[name] for name in numbers} == numbers
    folder = shutil.copytree(pictures, tmp_path / "others")
    for part in ("train", "val"):
        next((folder / part).iterdir()).rename(folder / part / "cat")
    arguments = EXPERIMENT.arguments("--data", folder, "--out", tmp_path)
    config = EXPERIMENT.configure(arguments)
    numbers = {"width": 1.0, "size": 224, "epochs": 90, "batch_size": 64}
    assert {name: config[name] for name in numbers} == numbers


def test_without_resume_a_stopped_run_begins_anew(pictures, whole, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        stop_after(patch, 3, True)
        with pytest.raises(Stopped):
            train(tmp_path, "--data", pictures)
    made, end_step = [], Run.end_step
    monkeypatch.setattr(Run, "end_step", lambda run: (made.append(1), end_step(run)))
    assert train(tmp_path, "--data", pictures) == results_of(whole)
    assert len(made) == STEPS


def test_a_run_that_was_saved_at_its_end_is_recorded_without_a_step(pictures, whole, tmp_path):
    shutil.copytree(whole / "checkpoints", tmp_path / "checkpoints")
    assert train(tmp_path, "--data", pictures, "--resume") == results_of(whole)
    assert final_state(tmp_path) == final_state(whole)


def test_a_checkpoint_cut_short_is_named_and_the_one_before_is_used(
    pictures, whole, tmp_path, monkeypatch, capsys
):
    words = ("--data", pictures, "--checkpoint-every", "1")
    with monkeypatch.context() as patch:
        stop_after(patch, 3, False)
        with pytest.raises(Stopped):
            train(tmp_path, *words)
    path = tmp_path / "checkpoints" / "GmP+IMN-0" / "step-00000003.npz"
    path.write_bytes(path.read_bytes()[:-1000])
    assert train(tmp_path, *words, "--resume") == results_of(whole)
    (line,) = capsys.readouterr().err.splitlines()
    assert str(path) in line


def test_a_checkpoint_of_another_run_is_refused(pictures, whole, tmp_path):
    shutil.copytree(whole / "checkpoints", tmp_path / "checkpoints")
    with pytest.raises(BadInput, match=r"GmP\+IMN-0 holds checkpoints of another run"):
        train(tmp_path, "--data", pictures, "--resume", "--weight-decay", "0.5")


@pytest.mark.parametrize("lasts", [False, True])
def test_a_full_disk_is_reported_and_fails_a_run_whose_end_is_not_saved(
    pictures, whole, tmp_path, monkeypatch, capsys, lasts
):
    save, calls = Checkpoints.save, []

    def fill(self, *content):
        calls.append(content)
        if len(calls) == 3 or (lasts and len(calls) > 3):
            raise CheckpointNotWritten("step-00000006.npz: No space left on device")
        save(self, *content)

    monkeypatch.setattr(Checkpoints, "save", fill)
    words = ("--data", pictures, "--checkpoint-every", "3")
    arguments = arguments_of("--methods", "GmP+IMN", "--out", tmp_path, *words)
    assert EXPERIMENT.main(arguments) == lasts
    said = capsys.readouterr().err
    assert said.count("not saved, but training continues") == 1 + lasts  # after step 6 and at 8
    assert said.count("step-00000006.npz: No space left on device") == 1 + 2 * lasts
    if lasts:
        assert "1 of 1 runs failed, the first of them with CheckpointNotWritten: step-0" in said
        assert final_state(tmp_path)[1] == 4  # the last good one
        monkeypatch.setattr(Checkpoints, "save", save)
    assert train(tmp_path, *words, "--resume") == results_of(whole)
    assert final_state(tmp_path) == final_state(whole)


def test_moved_pictures_are_the_same_pictures(pictures, whole, tmp_path, monkeypatch):
    first, second = (shutil.copytree(pictures, tmp_path / n / "pictures") for n in "ab")
    with monkeypatch.context() as patch:
        stop_after(patch, 3, True)
        with pytest.raises(Stopped):
            train(tmp_path / "out", "--data", first)
    shutil.rmtree(first)
    made, end_step = [], Run.end_step
    monkeypatch.setattr(Run, "end_step", lambda run: (made.append(1), end_step(run)))
    assert train(tmp_path / "out", "--data", second, "--resume") == results_of(whole)
    assert len(made) == STEPS - 3
    next(second.glob("train/*/*")).rename(next(second.glob("train/*")) / "other.jpeg")
    with pytest.raises(BadInput, match="holds results of another configuration"):
        train(tmp_path / "out", "--data", second, "--resume")


def edit_checkpoint(out, change):
    """Save the last checkpoint again after a change of its state."""
    folder = out / "checkpoints" / "GmP+IMN-0"
    state, step = Checkpoints(folder).load()
    Checkpoints(folder).save(change(state), step)


def test_a_checkpoint_with_the_path_of_its_pictures_is_still_continued(pictures, whole, tmp_path):
    def with_path(state):
        shared, *run = json.loads(state["identity"])
        return state | {"identity": json.dumps([shared | {"data": "/home/one/pictures"}, *run])}

    shutil.copytree(whole / "checkpoints", tmp_path / "checkpoints")
    edit_checkpoint(tmp_path, with_path)
    assert train(tmp_path, "--data", pictures, "--resume") == results_of(whole)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda state: {"weights": np.ones(3)}, "KeyError: 'identity'"),
        (lambda state: state | {"identity": "GmP"}, "JSONDecodeError"),
        (lambda state: state | {"identity": "[[], 1]"}, "TypeError|AttributeError"),
        (lambda state: state | {"optimizer": {}}, "Error"),
        (lambda state: state | {"model": {"weight": np.ones(3)}}, "ValueError"),
    ],
)
def test_the_advice_on_a_checkpoint_of_another_layout_works(
    pictures, whole, tmp_path, change, said
):
    shutil.copytree(whole / "checkpoints", tmp_path / "checkpoints")
    edit_checkpoint(tmp_path, change)
    words = ("--data", pictures)
    with pytest.raises(BadInput, match=rf"of another run or layout \(.*{said}.*\): choose another"):
        train(tmp_path, *words, "--resume")
    assert train(tmp_path, *words) == results_of(whole)  # without --resume, as it says
    assert final_state(tmp_path) == final_state(whole)
    assert train(tmp_path / "other", *words, "--resume") == results_of(whole)  # another --out


@pytest.mark.parametrize("name", ["holiday/beach.jpeg", "train/cat/1.jpeg", ""])
def test_a_folder_of_other_pictures_is_neither_used_nor_drawn_into(tmp_path, name):
    (tmp_path / "pictures" / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / "pictures").mkdir(exist_ok=True)
    if name:
        (tmp_path / "pictures" / name).write_bytes(b"mine")
    before = sorted(tmp_path.rglob("*"))
    for words in ((), ("--overwrite",), ("--resume",)):
        with pytest.raises(BadInput, match="pictures is there, without the drawn pictures: choose"):
            train(tmp_path, *words)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("overwrite", [False, True])
def test_nothing_is_drawn_beside_results_of_others(tmp_path, overwrite):
    (tmp_path / "results.json").write_text('{"runs": []}')
    with pytest.raises(BadInput, match="not a results file of geonet"):
        train(tmp_path, *(["--overwrite"] if overwrite else []))
    assert os.listdir(tmp_path) == ["results.json"]


def test_a_damaged_picture_is_counted_and_named(damaged, tmp_path, capsys):
    content = train(tmp_path / "out", "--data", damaged)
    (path,) = content["runs"][0]["metrics"]["damaged"]
    assert path.startswith("train")
    assert path.endswith("_13.JPEG")
    (line,) = [s for s in capsys.readouterr().out.splitlines() if "damaged" in s and "left" in s]
    assert f"damaged: 1, {path} (" in line


def test_a_picture_found_damaged_before_a_stop_is_not_forgotten(damaged, tmp_path, monkeypatch):
    first = train(tmp_path / "first", "--data", damaged)
    with monkeypatch.context() as patch:
        stop_after(patch, 4, True)
        with pytest.raises(Stopped):
            train(tmp_path / "second", "--data", damaged)
    next(damaged.glob("train/*/*_13.JPEG")).write_bytes(b"no picture either")
    second = train(tmp_path / "second", "--data", damaged, "--resume")
    paths = [list(content["runs"][0]["metrics"]["damaged"]) for content in (first, second)]
    assert paths[0] == paths[1]


def test_a_damaged_picture_ends_a_strict_run_with_one_line(damaged, tmp_path):
    words = ("--data", damaged, "--strict", "--methods", "GmP", "--out", tmp_path / "out")
    result = geonet(*words)
    assert result.returncode == 2
    (line,) = without_notice(result.stderr).splitlines()
    assert "_13.JPEG" in line


def test_a_run_whose_validation_pictures_are_all_damaged_has_not_diverged(pictures, tmp_path):
    folder = shutil.copytree(pictures, tmp_path / "damaged")
    for path in folder.glob("val/*/*"):
        path.write_bytes(b"no picture")
    with pytest.raises(BadInput, match="no validation picture is left"):
        train(tmp_path / "out", "--data", folder)
    assert results_of(tmp_path / "out")["runs"] == []


def test_a_class_without_validation_pictures_is_named(pictures, tmp_path, capsys):
    folder = shutil.copytree(pictures, tmp_path / "lacking")
    lacking = sorted((folder / "val").iterdir())[3]
    shutil.rmtree(lacking)
    train(tmp_path / "out", "--data", folder)
    assert lacking.name in capsys.readouterr().err
    with pytest.raises(BadInput, match=lacking.name):
        train(tmp_path / "strict", "--data", folder, "--strict")


def test_the_number_of_workers_changes_nothing(pictures, whole, tmp_path):
    assert train(tmp_path, "--data", pictures, "--workers", "2") == results_of(whole)
    assert final_state(tmp_path) == final_state(whole)


@pytest.mark.parametrize(
    "words",
    [
        ("--label-smoothing", "0.3"),
        ("--weight-decay", "1"),
        ("--warmup", "1"),
        ("--schedule", "step", "--epochs", "3"),
        ("--schedule", "cosine", "--epochs", "3"),
        ("--arch", "resnet34"),
        ("--stem", "imagenet"),
        ("--size", "12"),
    ],
)
def test_every_option_of_training_makes_a_difference(pictures, whole, tmp_path, words):
    train(tmp_path, "--data", pictures, *words)
    weights = [
        {name: value for name, value in final_state(out)[0].items() if name.startswith("/model")}
        for out in (tmp_path, whole)
    ]
    assert weights[0] != weights[1]


def test_the_stem_keeps_small_pictures_as_large_as_they_are(pictures, tmp_path):
    for size, stem in ((63, "small"), (64, "imagenet")):
        words = ("--data", pictures, "--size", size, "--out", tmp_path)
        assert EXPERIMENT.configure(arguments_of(*words))["stem"] == stem


@pytest.mark.parametrize("epochs", [1, 2, 4, 5, 8, 20, 90])
def test_the_step_schedule_lowers_the_rate_twice_at_most(epochs):
    optimizer = SGD([Parameter(np.ones(1))], 1.0)
    schedule = make_schedule(optimizer, {"schedule": "step", "epochs": epochs, "warmup": 0})
    lrs = []
    for _ in range(epochs):
        lrs.append(optimizer.lr)
        schedule.step(None)
    third = math.ceil(epochs / 3)
    np.testing.assert_allclose(lrs, [0.1 ** (epoch // third) for epoch in range(epochs)])
    assert min(lrs) > 0.009


def test_an_empty_name_of_a_folder_is_the_present_one(pictures, tmp_path, monkeypatch):
    monkeypatch.chdir(pictures)
    config = EXPERIMENT.configure(arguments_of("--data", "", "--out", tmp_path))
    assert config["data"] == str(pictures.resolve())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--resume", "--overwrite"), "--resume continues what --overwrite removes"),
        (("--warmup", "2"), r"--warmup must be in \[0, 2\), but is 2"),
        (("--batch-size", "65"), r"--batch-size must be in \[1, 65\), but is 65"),
        (("--label-smoothing", "1"), r"--label-smoothing: must be a number in \[0, 1\)"),
        (("--weight-decay", "nan"), "--weight-decay: must be a number"),
        (("--width", "0"), "--width: must be a number"),
        (("--width", "wide"), "--width: must be a number"),
        (("--size", "7"), r"--size: must be a whole number in \[8, 4096\)"),
        (("--epochs", "0"), "--epochs: must be a whole number"),
        (("--workers=-1",), "--workers: must be a whole number"),
        (("--checkpoint-every", "0"), "--checkpoint-every: must be a whole number"),
        (("--keep", "1.5"), "--keep: must be a whole number"),
        (("--lr", "sweep"), "no validation data"),
        (("--data", "nowhere"), "nowhere"),
    ],
)
def test_arguments_that_make_no_sense_are_refused_and_nothing_is_written(
    pictures, tmp_path, words, said
):
    with pytest.raises(BadInput, match=said):
        train(tmp_path / "out", "--data", pictures, *words)
    assert list(tmp_path.iterdir()) == []


def geonet(*words, launcher=(), wait=True):
    """Start the command in a process of its own, and return its result, or the process."""
    command = [*launcher, sys.executable, "-m", "geonet", "imagenet", *SMALL, *BATCHES, *words]
    options = {"env": os.environ | {"PYTHONPATH": str(ROOT)}, "text": True}
    if wait:
        return subprocess.run(list(map(str, command)), capture_output=True, timeout=300, **options)
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return subprocess.Popen(list(map(str, command)), **options, **quiet)


def assert_readable(out):
    """Check that every file with the name of a checkpoint is complete."""
    for folder in out.glob("checkpoints/*"):
        found = Checkpoints(folder)
        found.load()
        assert not found.refused
        for path in folder.glob("step-*.npz"):
            assert zipfile.ZipFile(path).testzip() is None


@pytest.mark.slow
def test_runs_killed_at_random_moments_end_as_one_that_was_not(pictures, tmp_path):
    words = ("--data", pictures, "--methods", "BN", "--epochs", "12", "--checkpoint-every", "1")
    words += ("--threads", "1")
    start = time.monotonic()
    assert geonet(*words, "--out", tmp_path / "whole").returncode == 0
    length, rng = time.monotonic() - start, np.random.default_rng(0)
    out, kills = tmp_path / "killed", 0

    def check_end():
        assert results_of(out) == results_of(tmp_path / "whole")
        assert final_state(out, "BN-0") == final_state(tmp_path / "whole", "BN-0")

    while kills < KILLS:
        process = geonet(*words, "--out", out, "--resume", wait=False)
        try:
            process.wait(rng.uniform(0.3, 0.7) * length)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            kills += 1
            assert_readable(out)
        else:
            assert process.returncode == 0
            check_end()
            shutil.rmtree(out)
    assert geonet(*words, "--out", out, "--resume").returncode == 0
    check_end()


def mpiexec():
    """The launcher of two processes."""
    if importlib.util.find_spec("mpi4py") is None:
        pytest.skip("mpi4py is not installed")
    beside = Path(sys.executable).with_name("mpiexec")
    return (beside if beside.exists() else "mpiexec", "-n", "2")


@pytest.mark.slow
def test_two_processes_step_as_one_with_batches_twice_as_large(pictures, tmp_path):
    words = ("--data", pictures, "--methods", "GmP,WN", "--weight-decay", "0.01", "--threads", "1")
    together = geonet(*words, "--batch-size", "8", "--out", tmp_path / "two", launcher=mpiexec())
    assert together.returncode == 0, together.stderr
    assert together.stdout.count("computing") == 1  # one process prints
    assert geonet(*words, "--batch-size", "16", "--out", tmp_path / "one").returncode == 0
    for method in ("GmP", "WN"):
        (two, steps), (one, _) = (
            Checkpoints(tmp_path / name / "checkpoints" / f"{method}-0").load()
            for name in ("two", "one")
        )
        assert steps == STEPS
        for name, values in one["model"].items():
            scale = np.abs(values).max()
            assert np.abs(two["model"][name] - values).max() <= 1e-5 * scale + 1e-7, name
        np.testing.assert_allclose(two["curves"]["epochs"], one["curves"]["epochs"], rtol=1e-5)
        hits = one["curves"]["hits"]  # of two processes, those of the first come first
        np.testing.assert_array_equal(two["curves"]["hits"], np.r_[hits[::2], hits[1::2]])


@pytest.mark.slow
def test_two_processes_go_on_to_the_very_same_end(pictures, tmp_path):
    launcher = mpiexec()
    words = ("--data", pictures, "--methods", "BN", "--epochs", "10", "--checkpoint-every", "3")
    words += ("--batch-size", "8", "--threads", "1")
    assert geonet(*words, "--out", tmp_path / "whole", launcher=launcher).returncode == 0
    out = tmp_path / "stopped"
    process = geonet(*words, "--out", out, launcher=launcher, wait=False)
    while not list(out.glob("checkpoints/BN-0/step-*")) and process.poll() is None:
        time.sleep(0.02)
    process.terminate()
    assert process.wait(60) != 0
    assert geonet(*words, "--out", out, "--resume", launcher=launcher).returncode == 0
    assert final_state(out, "BN-0") == final_state(tmp_path / "whole", "BN-0")


@pytest.mark.slow
def test_two_processes_end_together(pictures, damaged, tmp_path):
    launcher = mpiexec()
    words = ("--batch-size", "8", "--threads", "1", "--methods", "SP,GmP")
    strict = geonet(
        "--data", damaged, "--strict", "--out", tmp_path / "a", *words, launcher=launcher
    )
    assert strict.returncode != 0
    assert "_13.JPEG" in strict.stderr
    diverging = ("--data", pictures, "--lr", "SP=1e30", "--out", tmp_path / "b")
    assert geonet(*diverging, *words, launcher=launcher).returncode == 0
    found = {r["method"]: r["metrics"]["diverged"] for r in results_of(tmp_path / "b")["runs"]}
    assert found == {"SP": True, "GmP": False}
    refused = geonet("--data", "nowhere", *words, launcher=launcher)
    assert refused.returncode == 2
    assert refused.stderr.splitlines() == [refused.stderr.strip()]


@pytest.mark.slow
def test_photographs_are_trained_on(tmp_path):
    folder = Path(os.environ.get("GEONET_DATA", ""), "imagenet")
    if "GEONET_DATA" not in os.environ or not folder.is_dir():
        pytest.skip("there is no folder imagenet in GEONET_DATA")
    words = ("--data", folder, "--width", "0.25", "--size", "64", "--epochs", "1")
    result = geonet(*words, "--methods", "GmP+IMN", "--workers", "1", "--out", tmp_path)
    assert result.returncode == 0, result.stderr
    (run,) = results_of(tmp_path)["runs"]
    assert not run["metrics"]["diverged"]
    assert run["metrics"]["damaged"] == {}
