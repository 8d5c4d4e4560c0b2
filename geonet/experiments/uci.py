"""UCI regression: 100 units, batches of 1024, Adam on the mean absolute error (table 1).

The seed chooses the split into training and test rows: seed K takes split K of every set, and also
seeds everything else that is drawn. Features and target are standardized by the training rows, and
errors are in the target's own units.

Protocols: under `clean`, a fifth of the training rows decides when to lower the learning rate and
when to stop, and the test rows are used once, at the end. Under `paper`, the test rows decide, as
in the authors' code for Banana. As for Levy, the plateau rule counts an absolute improvement of at
least 1e-4 (of the standardized target), and the stopping rule counts any improvement.

The splits of a UCI set share rows, so a test over them is somewhat overconfident (Nadeau & Bengio
2003). Friedman's sets are redrawn for each seed.
"""

import functools
from pathlib import Path

import numpy as np

from geonet import ops, plots
from geonet.data.tables import standardize_target
from geonet.data.uci import files, read_uci, split_uci
from geonet.experiments.harness import figures, options, small_networks, tables
from geonet.experiments.harness.experiment import Experiment, generators, recipe
from geonet.experiments.harness.statistics import MIN_SEEDS, paired_interval, ratio_interval
from geonet.experiments.sets.friedman import FRIEDMAN, load_friedman
from geonet.models import mlp
from geonet.train import predict

UNITS, BATCH_SIZE, PATIENCE = 100, 1024, 100
SIGNIFICANCE = 0.05  # below this p-value, a method is marked as the best


@functools.cache
def read_once(folder, digest):
    """A set, read once for each state of its files: their digest tells whether they changed."""
    return read_uci(folder)


class Uci(Experiment):
    """Regression of tables by one hidden layer: one row per set, one column per method."""

    name = "uci"
    summary = "regression of the UCI sets, or of Friedman's functions (table 1)"
    metric = "rmse"
    metric_title = "test RMSE"
    seeds, quick_seeds = "20", "3"
    case = "set"
    differences = (("steering of training", "a fifth of the training rows", "the test rows"),)

    def add_arguments(self, parser):
        super().add_arguments(parser)
        text = "folder with one folder per set (default: uci in GEONET_DATA)"
        parser.add_argument("--data", help=text)
        known = ",".join(FRIEDMAN)
        text = f"comma list of its folders, or of {known} (default: all of them, or these three)"
        parser.add_argument("--sets", type=options.names(), help=text)

    def configure(self, arguments):
        config = super().configure(arguments)
        folder = options.data_path(arguments.data, "uci")
        sets = _set_names(arguments.sets, folder)
        read = [name for name in sets if name not in FRIEDMAN]
        digests = {name: _digest_of(folder / name, config["seeds"]) for name in read}
        data = {"data": str(folder) if read else None, "set": sets, "sha256": digests}
        epochs = 200 if arguments.quick else 5000
        return config | data | {"epochs": epochs}

    def has_validation(self, arguments):
        return arguments.protocol == "clean"

    def run_one(self, config, method, seed, lr):
        data_rng, model_rng, batch_rng = generators(seed, 3)
        data, unit = standardize_target(_load(config, seed, data_rng))
        sizes = [data.train[0].shape[1], UNITS, 1]
        model = mlp(sizes, recipe(config, method), rng=model_rng, init=config["init"])
        x, y = data.validation
        history = small_networks.fit_adam(
            model,
            ops.mae,
            data.train,
            lr,
            epochs=config["epochs"],
            batch_size=BATCH_SIZE,
            rng=batch_rng,
            monitor=lambda model: ops.mae(predict(model, x), y).item(),
            patience=PATIENCE,
        )
        errors = small_networks.errors(model, data)
        return {
            **{name: unit * error for name, error in errors.items()},
            "train_mae": unit * min(history.loss),
            "epochs": len(history.loss),
            "steps": history.steps,
        }, {}

    def describe(self, config):
        source = "embedded functions" if config["data"] is None else Path(config["data"]).name
        lrs = ", ".join(f"{m} {lr[0]:g}" for m, lr in config["lr"].items() if len(lr) == 1)
        return (
            f"Test RMSE ({source}), protocol {config['protocol']}: {UNITS} units, up to "
            f"{config['epochs']} epochs, {config['init']}, {len(config['seeds'])} splits; rates: "
            + (lrs or "the best on validation data")
        )

    def rows(self, results):
        """Table 1: mean ± standard error over splits, one row per set, one column per method."""
        methods, splits = results.config["methods"], len(results.config["seeds"])
        rows = [("set", *methods)]
        for case in self.cases(results.config):
            errors = {m: results.metrics(m, "test_rmse", **case) for m in methods}
            rows.append((case["set"], *_cells(errors, splits)))
        return rows

    def notes(self, results):
        test = f"paired test, p < {SIGNIFICANCE}"
        yield f"mean ± standard error over splits; * below every other, {test}"
        if results.config["lr"] == options.lrs(None, results.config["methods"]):
            yield "rates are the authors', for GmP ten times those of the others; --lr changes them"
        yield from super().notes(results)

    def figures(self, results):
        config = results.config
        first, *others = config["methods"]
        found = {name: _ratios(results, first, others, name) for name in config["set"]}
        figure = figures.ratios(
            found,
            f"test RMSE / {first}'s",
            f"Test RMSE over {first}'s of the same split: geometric mean and paired 95 % interval. "
            f"Left of 1 is better. Protocol {config['protocol']}, {len(config['seeds'])} splits.",
        )
        means = {name: {m: r[0] for m, r in ratios.items()} for name, ratios in found.items()}
        sentences = (f"{name}: {tables.list_values(m, '.2f')}" for name, m in means.items())
        description = f"One panel per set. {' '.join(sentences)}"
        yield plots.Plot(figure, "ratios", f"Test RMSE over {first}'s", description)


def _set_names(names, folder):
    """The names of the sets: those requested, or all that are available for None."""
    there = list(FRIEDMAN)
    if folder is not None:
        there = sorted(path.parent.name for path in folder.glob("*/data.txt"))
    if names is None:
        if not there:
            raise ValueError(f"--data: {folder} has no folder with a data.txt, such as boston")
        return there
    for name in names:
        if name not in there and name not in FRIEDMAN:
            place = "without --data there are" if folder is None else f"{folder} has"
            raise ValueError(f"--sets: {place} {', '.join(there) or 'no sets'}, but not {name!r}")
    return names


def _digest_of(folder, seeds):
    """Digest of a set's files, after checking that they are valid and have all the splits."""
    digest = options.digest_of(files(folder))
    splits = len(read_once(folder, digest).splits)
    if max(seeds) >= splits:
        raise ValueError(
            f"--seeds asks for split {max(seeds)}, but {folder} has {splits}, counted from 0"
        )
    return digest


def _load(config, seed, rng):
    name, protocol = config["set"], config["protocol"]
    if name in FRIEDMAN:
        return load_friedman(name, rng, protocol)
    table = read_once(Path(config["data"], name), config["sha256"][name])
    return split_uci(table, seed, rng, protocol)


def _cells(errors, splits):
    """One row of the table, from method -> test errors (splits,), NaN where a run diverged."""
    finished = {m: e[np.isfinite(e)] for m, e in errors.items()}
    standard_error = {m: e.std(ddof=1) / len(e) ** 0.5 for m, e in finished.items() if len(e) > 1}
    smallest = min((s for s in standard_error.values() if s > 0), default=None)
    best, cells = _significantly_best(errors), []
    for method, values in finished.items():
        own = standard_error.get(method, 0)
        style = _format_of(own if smallest is not None and own >= 100 * smallest else smallest)
        cell = f"{values.mean():{style}}" if len(values) else ""
        cell += f" ± {standard_error[method]:{style}}" if method in standard_error else ""
        cell += " *" if method == best else ""
        lost = splits - len(values)
        cells.append(f"{cell} ({lost} lost)".strip() if lost else cell)
    return cells


def _format_of(error):
    """Format of a cell: two digits of the given standard error, or four of the mean without one.

    It is the smallest of the row, or the cell's own if that is of another order of magnitude.
    """
    return ".4g" if error is None else f".{max(0, 1 - int(np.floor(np.log10(error))))}f"


def _significantly_best(errors):
    """The method whose error is significantly below that of every other one, or None.

    If any run diverged, or there are too few splits, there is none.
    """
    for method, values in errors.items():
        others = [e for m, e in errors.items() if m != method]
        enough = len(values) >= MIN_SEEDS
        if enough and others and all(values.mean() < e.mean() for e in others):
            return (
                method if all(paired_interval(values, e).p < SIGNIFICANCE for e in others) else None
            )
    return None


def _ratios(results, first, others, name):
    """method -> geometric mean of its error divided by the first method's, and its interval."""
    reference = results.metrics(first, "test_rmse", set=name)
    ratios = {}
    for method in others:
        errors = results.metrics(method, "test_rmse", set=name)
        both = np.isfinite(errors) & np.isfinite(reference)
        if both.any():
            ratio = ratio_interval(errors[both], reference[both])
            ratios[method] = ratio.mean, ratio.low, ratio.high
    return ratios


EXPERIMENT = Uci()
