"""The Banana set: 10 units, batches of 128, Adam on the binary cross-entropy (figure 3).

`Banana.differences` says how the protocols differ. Under `paper` the test data steer training, as
in the authors' code; under `clean` they are used once, at the end.
"""

import functools
from pathlib import Path

import numpy as np

from geonet import ops, plots
from geonet.characteristic import Tracker, boundary, location
from geonet.experiments.harness import options, small_networks, tables
from geonet.experiments.harness.experiment import (
    RECIPE_DIFFERENCES,
    Experiment,
    first_runs,
    generators,
    recipe,
)
from geonet.experiments.sets.banana import generate_banana, read_banana, split_banana
from geonet.models import mlp
from geonet.text import counted
from geonet.train import predict

UNITS, EPOCHS, BATCH_SIZE, PATIENCE = 10, 5000, 128, 100
GENERATED = 5300  # points, as many as the real set has
OVERLAP = 200 / (GENERATED - 200)  # ρ/(1 − ρ): two draws share ρ = 200/5,300 of their test points
GRID = np.linspace(-3.5, 3.5, 141)


@functools.cache
def points(path):
    """All points of a file, or of the embedded generator for None: x (N, 2), y (N,)."""
    if path is None:
        return generate_banana(GENERATED, np.random.default_rng(0))
    return read_banana(path)


def load_split(config, rng):
    """The chosen points in three parts, as `split_banana` returns them."""
    return split_banana(*points(config["data"]), rng, config["protocol"])


class Banana(Experiment):
    """Classification of the Banana set by one hidden layer."""

    name = "banana"
    summary = "classification in the plane, and the paths of the boundaries (figure 3)"
    metric = "accuracy"
    metric_title = "test accuracy"
    larger_is_better = True
    differences = (
        ("points", "640 for training, 160 for validation and 200 for testing, drawn for each seed",
         "their 800 for training and 200 for testing, the same for every seed"),
        ("what steers training", "accuracy on the validation points", "accuracy on the test "
         "points; so no data are left to choose from several rates"),
        small_networks.TESTED_WEIGHTS,
        *RECIPE_DIFFERENCES,
        ("training", f"{UNITS} units, Adam with eps 1e-7, binary cross-entropy, batches of "
         f"{BATCH_SIZE}; rate divided by 10 after 50 epochs without an improvement by 1e-4, stop "
         "after 100 without any", "the same"),
        ("offsets in the figures", "those of the units", "the same; their panel of WN shows the "
         "output layer's bias as the offset of every unit, by mistake"),
    )  # fmt: skip

    def add_arguments(self, parser):
        super().add_arguments(parser)
        text = "banana.csv or its folder (default: GEONET_DATA, or points from a generator)"
        parser.add_argument("--data", help=text)

    def configure(self, arguments):
        config = super().configure(arguments)
        path = options.data_path(arguments.data, "banana.csv")
        if path is not None:
            path = str(path / "banana.csv" if path.is_dir() else path)
        points(path)
        digest = None if path is None else options.digest_of([path])
        data = {"data": path, "sha256": digest}
        return config | data | {"epochs": 200 if arguments.quick else EPOCHS}

    def has_validation(self, arguments):
        return arguments.protocol == "clean"

    def overlap(self, config, case):
        return OVERLAP if config["protocol"] == "clean" else 0.0

    def run_one(self, config, method, seed, lr):
        data_rng, model_rng, batch_rng = generators(seed, 3)
        data = load_split(config, data_rng)
        model = mlp([2, UNITS, 1], recipe(config, method), rng=model_rng, init=config["init"])
        tracker = Tracker(model[0])
        x, y = data.validation
        history = small_networks.fit_adam(
            model,
            ops.binary_cross_entropy,
            data.train,
            lr,
            epochs=config["epochs"],
            batch_size=BATCH_SIZE,
            rng=batch_rng,
            monitor=lambda model: small_networks.accuracy(predict(model, x), y),
            patience=PATIENCE,
            mode="max",
            restored=small_networks.restored_under(config["protocol"]),
            on_step=tracker.record,
        )
        metrics = small_networks.measured(model, data, self.metric, small_networks.accuracy)
        if config["protocol"] == "paper":
            del metrics["validation_accuracy"]  # it is the test part's
        metrics |= {"train_loss": min(history.loss), "steps": history.steps}
        moves, arrays = small_networks.summarize_tracker(tracker)
        plane = np.stack(np.meshgrid(GRID, GRID), axis=-1)
        arrays["grid_logits"] = predict(model, plane.reshape(-1, 2)).reshape(plane.shape[:2])
        try:
            arrays["final_weight"], arrays["final_bias"] = boundary(model[0])
        except ValueError:  # under layer norm with β ≠ 0, there is none to draw
            arrays["final_weight"], arrays["final_bias"] = np.zeros((0, 2)), np.zeros(0)
        return metrics | moves, arrays

    def describe(self, config):
        source = "embedded generator" if config["data"] is None else Path(config["data"]).name
        return (
            f"Banana ({source}), protocol {config['protocol']}: {UNITS} units, up to "
            f"{config['epochs']} epochs, {config['init']}, {counted(config['seeds'], 'seed')}"
        )

    def figures(self, results):
        runs, caption = first_runs(results)
        if not runs:
            return
        caption = f"Banana, protocol {results.config['protocol']}, standardized inputs. {caption}"
        yield trajectories_plot(runs, caption)
        yield turns_plot(runs, caption)
        yield regions_plot(results, runs, caption)


def trajectories_plot(runs, caption):
    """The paths of the boundaries' locations in each method's first run."""
    paths = {m: location(run["weight"], run["bias"]) for m, run in runs.items()}
    figure = plots.trajectories(paths, f"Paths of the locations φ during training. {caption}")
    description = (
        "One panel per method: the path in the plane of the point on each unit's boundary that "
        "is closest to the origin, from the start of training to its end."
    )
    return plots.Plot(figure, "trajectories", "Paths of the boundaries' locations", description)


def turns_plot(runs, caption):
    """How far single steps turn the boundaries in each method's first run."""
    quantiles = {m: run["turn_quantiles"] for m, run in runs.items()}
    figure = plots.step_changes(
        {m: run["steps"][1:] for m, run in runs.items()},
        quantiles,
        "turn per step (rad)",
        f"How far single steps turn the boundaries: median, 10–90 % of units. {caption}",
    )
    typical = {m: np.median(median) for m, (_, median, _) in quantiles.items()}
    description = (
        "One panel per method: how far single steps turn the boundaries, over training, on log "
        f"axes. Median over the steps drawn and units: {tables.list_values(typical, '.2g')}"
    )
    return plots.Plot(figure, "turns", "How far single steps turn the boundaries", description)


def regions_plot(results, runs, caption):
    """The decision regions and boundaries at the end of each method's first run."""
    config = results.config
    train = load_split(config, generators(config["seeds"][0], 3)[0]).train
    figure = plots.decision_regions(
        GRID,
        {m: 0.5 + 0.5 * np.tanh(run["grid_logits"] / 2) for m, run in runs.items()},
        *train,
        {m: (run["final_weight"], run["final_bias"]) for m, run in runs.items()},
        f"Decision regions and units' boundaries of the network that is tested; training points. "
        f"{caption}",
    )
    means = {m: np.nanmean(results.metrics(m, "test_accuracy")) for m in runs}
    description = (
        "One panel per method: the shaded region is where class 1 is more likely. Mean test "
        "accuracy: " + tables.list_values(means, ".3f")
    )
    return plots.Plot(figure, "regions", "Decision regions on the Banana set", description)


EXPERIMENT = Banana()
