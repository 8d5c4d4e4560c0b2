"""The natural gradient on the sphere: gradients of angles divided by s_k² + δ, or plain.

Two hidden layers of 50 units, trained by SGD with momentum. With two layers, units have angles
whatever the data. These are the 1-D Levy function (all 50 points in each step, squared error,
standardized) or the Banana set (batches of 128, cross-entropy). Dividing by the metric changes what
a learning rate means. So each damping has its own best rate from the same grid, chosen on
validation data, unless --lr says otherwise.
"""

from collections import Counter
from itertools import product

import numpy as np

from geonet import ops, plots
from geonet.data.tables import standardize_features, standardize_target
from geonet.experiments.banana import points
from geonet.experiments.harness import tables
from geonet.experiments.harness.experiment import Experiment, generators
from geonet.experiments.harness.small_networks import measured
from geonet.experiments.sets.banana import split_banana
from geonet.experiments.sets.levy import load_levy
from geonet.models import METHODS, mlp
from geonet.text import counted
from geonet.train import SGD, damping_of, fit

UNITS, BATCH_SIZE = 50, 128
PLAIN = "none"
DAMPINGS = (PLAIN, "1", "0.1", "0.01", "0.0001")
LRS = (0.01, 0.03, 0.1, 0.3, 1.0)


def _levy(rng):
    return standardize_target(standardize_features(load_levy(rng)))[0]


SETS = {  # inputs, loss, epochs, those of --quick, and the data
    "levy": (1, ops.mse, 2000, 300, _levy),
    "banana": (2, ops.binary_cross_entropy, 150, 20, lambda rng: split_banana(*points(None), rng)),
}


class Natural(Experiment):
    """Geometric parameterization trained by plain gradients and by natural ones."""

    name = "natural"
    summary = "the metric of the sphere in use: angles trained by the natural or the plain gradient"
    metric = "loss"
    metric_title = "test loss"
    seeds = "10"
    quick_seeds = "3"
    methods = "GmP"
    case = "damping"

    def add_arguments(self, parser):
        super().add_arguments(parser)
        text = "data to learn (default: levy)"
        parser.add_argument("--set", choices=tuple(SETS), default="levy", help=text)

    def configure(self, arguments):
        config = super().configure(arguments)
        for method in config["methods"]:
            if METHODS[method].parameterization != "geometric":
                raise ValueError(f"--methods: {method} has no angles; GmP and GmP+IMN have")
        _, _, epochs, quick_epochs, _ = SETS[arguments.set]
        epochs = quick_epochs if arguments.quick else epochs
        return config | {"set": arguments.set, "damping": list(DAMPINGS), "epochs": epochs}

    def lrs(self, arguments):
        if arguments.lr is None:
            return {method: list(LRS) for method in arguments.methods}
        return super().lrs(arguments)

    def run_one(self, config, method, seed, lr):
        inputs, loss, *_, load = SETS[config["set"]]
        data_rng, model_rng, batch_rng = generators(seed, 3)
        data = load(data_rng)
        model = mlp([inputs, UNITS, UNITS, 1], method, rng=model_rng, init=config["init"])
        metric = {}
        if config["damping"] != PLAIN:
            metric["metric_damping"] = damping_of(model, float(config["damping"]))
        optimizer = SGD(model.parameters(), lr, momentum=0.9, **metric)
        options = {"epochs": config["epochs"], "batch_size": BATCH_SIZE, "rng": batch_rng}
        history = fit(model, loss, data.train, optimizer, label=None, **options)
        metrics = measured(model, data, "loss", lambda *pair: loss(*pair).item())
        metrics |= {"train_loss": history.loss[-1], "steps": history.steps}
        return metrics, {"loss": np.array(history.loss)}

    def describe(self, config):
        loss = SETS[config["set"]][1].__name__.replace("_", " ")
        return (
            f"{config['set']}, two layers of {UNITS} units, {config['epochs']} epochs of SGD with "
            f"momentum 0.9, {loss}, {config['init']}, {counted(config['seeds'], 'seed')}"
        )

    def rows(self, results):
        """One row per method and damping, with differences from the plain gradient."""
        rows = [("method", "damping δ", "rate", "test loss, mean ± sd", "95 % interval",
                 "minus plain, paired 95 %", "training loss", "diverged")]  # fmt: skip
        for method in results.config["methods"]:
            plain = results.metrics(method, "test_loss", damping=PLAIN)
            for case in self.cases(results.config):
                values = results.metrics(method, "test_loss", **case)
                finished = np.isfinite(values)
                training = results.metrics(method, "train_loss", **case)[finished]
                cells = tables.statistics_cells(values, None if case["damping"] == PLAIN else plain)
                rows.append((
                    method, case["damping"], f"{results.lr(method, **case):g}", *cells,
                    f"{training.mean():.3g}" if training.size else "",
                    f"{np.count_nonzero(~finished)} of {len(values)}",
                ))  # fmt: skip
        return rows

    def notes(self, results):
        """As for any experiment, but diverged runs are only counted: some rates are too large."""
        yield from (line for line in super().notes(results) if "training diverged" not in line)
        lost = Counter(run["lr"] for run in results.runs.values() if run["metrics"].get("diverged"))
        for lr, count in sorted(lost.items()):
            yield f"rate {lr:g}: {count} of {len(results.find(lr=lr))} runs diverged"

    def figures(self, results):
        config, steps, curves = results.config, {}, {}
        for method, case in product(config["methods"], self.cases(config)):
            diverged = results.metrics(method, "diverged", **case) != 0
            seeds = [seed for seed, lost in zip(config["seeds"], diverged, strict=True) if not lost]
            losses = [results.arrays(method, seed, **case)["loss"] for seed in seeds]
            if losses:
                gradient = "plain" if case["damping"] == PLAIN else f"δ = {case['damping']}"
                label = f"{method}, {gradient}, rate {results.lr(method, **case):g}"
                curves[label] = np.quantile(losses, (0.1, 0.5, 0.9), axis=0)
                last = np.nanmax(results.metrics(method, "steps", **case))
                steps[label] = last * np.arange(1, config["epochs"] + 1) / config["epochs"]
        if not curves:
            return
        seeds = len(config["seeds"])
        text = f"{config['set']}: mean of each epoch, median and 10–90 % of {seeds} seeds."
        figure = plots.step_changes(steps, curves, "training loss", text)
        ends = tables.list_values({label: loss[1, -1] for label, loss in curves.items()}, ".2g")
        description = "Training loss by step, one panel per damping, on log axes. At the end: "
        yield plots.Plot(figure, "learning", "Plain and natural gradients", description + ends)


EXPERIMENT = Natural()
