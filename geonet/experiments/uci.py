"""UCI regression: 100 units, batches of 1024, Adam on the mean absolute error (table 1).

The seed chooses the split into training and test rows, and also seeds everything else that is
drawn; `Uci.differences` says what the protocols make of it. Features are standardized by the rows
that are trained on, and errors are in the target's own units. The plateau rule counts an
improvement of at least 1e-4 of what it watches, and the stopping rule any improvement.

The splits of a set share rows, so intervals and tests over them are those of the corrected
resampled t (`Uci.overlap`). Friedman's sets are drawn anew for each seed, under both protocols.
"""

import functools
from pathlib import Path

import numpy as np

from geonet import ops, plots
from geonet.data.tables import standardize_target
from geonet.data.uci import files, read_uci, rows_of_split, split_uci
from geonet.experiments.harness import figures, options, small_networks, tables
from geonet.experiments.harness.experiment import (
    RECIPE_DIFFERENCES,
    Experiment,
    generators,
    recipe,
)
from geonet.experiments.harness.statistics import (
    MIN_SEEDS,
    SIGNIFICANCE,
    holm,
    paired_interval,
    ratio_interval,
)
from geonet.experiments.sets.friedman import FRIEDMAN, load_friedman
from geonet.models import mlp
from geonet.text import counted
from geonet.train import predict

UNITS, EPOCHS, BATCH_SIZE, PATIENCE = 100, 5000, 1024, 100
LAGGING = "BN", "GmP+IMN"  # evaluated with running statistics that depend on the hidden weights
STUCK = 2  # times the median training loss


@functools.cache
def read_once(folder, digest):
    """A set, read once for each state of its files: their digest tells whether they changed."""
    return read_uci(folder)


class Uci(Experiment):
    """Regression of tables by one hidden layer: one row per method, one column per set."""

    name = "uci"
    summary = "regression of the UCI sets, or of Friedman's functions (table 1)"
    metric = "rmse"
    metric_title = "test RMSE"
    seeds, quick_seeds = "20", "3"
    case = "set"
    differences = (
        (
            "test part of seed K",
            "that of the set's own split K",
            "the first N/5 rows, rounded up, of RandomState(K).permutation(N)",
        ),
        ("target", "standardized by the training part", "raw"),
        (
            "plateau (50 epochs) and stop (100) watch",
            "the mean absolute error of a fifth of the training rows",
            "the mean squared error of the test part, and all other rows are trained on",
        ),
        small_networks.TESTED_WEIGHTS,
        *RECIPE_DIFFERENCES,
    )

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
        config |= {"data": None, "set": sets, "sha256": {}, "overlap": dict.fromkeys(sets, 0.0)}
        for name in sets:
            if name not in FRIEDMAN:
                digest, overlap = digest_and_overlap(folder / name, config)
                config["data"], config["sha256"][name] = str(folder), digest
                config["overlap"][name] = overlap
        return config | {"epochs": 200 if arguments.quick else EPOCHS}

    def has_validation(self, arguments):
        return arguments.protocol == "clean"

    def overlap(self, config, case):
        return config["overlap"][case["set"]]

    def run_one(self, config, method, seed, lr):
        data_rng, model_rng, batch_rng = generators(seed, 3)
        data, unit, steering = _load(config, seed, data_rng), 1.0, ops.mse
        if config["protocol"] == "clean":
            (data, unit), steering = standardize_target(data), ops.mae
        sizes = [data.train[0].shape[1], UNITS, 1]
        model = mlp(sizes, recipe(config, method), rng=model_rng, init=config["init"])
        x, y = data.validation  # under the paper's protocol, the test part
        history = small_networks.fit_adam(
            model,
            ops.mae,
            data.train,
            lr,
            epochs=config["epochs"],
            batch_size=BATCH_SIZE,
            rng=batch_rng,
            monitor=lambda model: steering(predict(model, x), y).item(),
            patience=PATIENCE,
            restored=small_networks.restored_under(config["protocol"]),
        )
        errors = small_networks.measured(model, data, "rmse", small_networks.rmse)
        if config["protocol"] == "paper":
            del errors["validation_rmse"]  # it is the test part's
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
            f"{config['epochs']} epochs, {config['init']}, {counted(config['seeds'], 'split')}; "
            "rates: " + (lrs or "the best on validation data")
        )

    def tables(self, results):
        means, *by_lr = super().tables(results)
        return [means, self._by_set(results, "median", _median_cells), *by_lr]

    def rows(self, results):
        """Table 1: mean ± standard error over splits, one row per method, one column per set."""
        return self._by_set(results, "mean ± se", _mean_cells)

    def _by_set(self, results, title, cells):
        columns = [cells(self, results, case) for case in self.cases(results.config)]
        return [(title, *results.config["set"]), *zip(results.config["methods"], *columns)]

    def notes(self, results):
        config = results.config
        shared = ", corrected for shared rows" if any(config["overlap"].values()) else ""
        yield (
            f"mean ± standard error over splits{shared}; * below every other method "
            f"(p < {SIGNIFICANCE} by paired t and Holm)"
        )
        yield (
            "median over splits; then how many runs are stuck, if any: smallest training loss over "
            f"{STUCK} × the median of all runs"
        )
        if config["protocol"] == "paper" and "naval" in config["set"]:
            yield (
                "naval measures the schedule: squared errors are far below the plateau's 1e-4, so "
                "the rate falls every 50 epochs"
            )
        lagging = [m for m in LAGGING if m in config["methods"]]
        single = [name for name in config["set"] if _has_one_batch(results, name)]
        if lagging and single:
            yield (
                f"{' and '.join(lagging)} on {', '.join(single)}: with one batch per epoch, "
                "running statistics (momentum 0.99) lag behind"
            )
        if config["lr"] == options.lrs(None, config["methods"]):
            yield "rates are the authors', 0.1 for geometric methods and 0.01 for the others"
        yield from super().notes(results)

    def figures(self, results):
        config = results.config
        first, *others = config["methods"]
        found = {
            case["set"]: _ratios(results, first, others, case, self.overlap(config, case))
            for case in self.cases(config)
        }
        figure = figures.ratios(
            found,
            f"test RMSE / {first}'s",
            f"Test RMSE over {first}'s of the same split: geometric mean and paired 95 % interval. "
            f"Left of 1 is better. Protocol {config['protocol']}, "
            f"{counted(config['seeds'], 'split')}.",
        )
        means = {name: {m: r[0] for m, r in ratios.items()} for name, ratios in found.items()}
        sentences = (f"{name}: {tables.list_values(m, '.2f')}" for name, m in means.items())
        description = f"One panel per set. {' '.join(sentences)}"
        yield plots.Plot(figure, "ratios", f"Test RMSE over {first}'s", description)


def stuck_runs(results, **fields):
    """Which runs of a set are stuck on a plateau, where a stopping rule has ended them.

    A run is stuck if its training loss, the smallest over its epochs, is more than twice the median
    over the runs of all methods and splits of the same set and configuration.

    Parameters
    ----------
    results : Runs
        Of the experiment `uci`.
    **fields
        The set, as ``set="energy"``, and further fields of `Runs.metrics`, such as lr.

    Returns
    -------
    dict of str to numpy.ndarray
        method -> bool (finished runs,) in the order of the seeds, without those that diverged or
        failed. Its mean is the share of stuck runs.
    """
    losses = {m: _finished(results, m, "train_mae", **fields) for m in results.config["methods"]}
    known = np.concatenate([*losses.values()])
    limit = STUCK * np.median(known) if known.size else np.nan
    return {method: values > limit for method, values in losses.items()}


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


def digest_and_overlap(folder, config):
    """Digest of a set's files, and its test rows per other row, after checking both.

    Parameters
    ----------
    folder : Path
    config : dict
        With seeds and protocol.

    Raises
    ------
    ValueError
        If the files are not a set's, or it has no split for a seed.
    """
    digest, seeds = options.digest_of(files(folder)), config["seeds"]
    table = read_once(folder, digest)
    if config["protocol"] == "clean" and max(seeds) >= len(table.splits):
        raise ValueError(
            f"--seeds asks for split {max(seeds)}, but {folder} has {len(table.splits)}, counted "
            "from 0"
        )
    rows, test = rows_of_split(table, seeds[0], config["protocol"])
    return digest, len(test) / len(rows)


def _load(config, seed, rng):
    name, protocol = config["set"], config["protocol"]
    if name in FRIEDMAN:
        return load_friedman(name, rng, protocol)
    table = read_once(Path(config["data"], name), config["sha256"][name])
    return split_uci(table, seed, rng, protocol)


def _has_one_batch(results, name):
    """Whether an epoch of a set was a single step in all runs."""
    counts = [run["metrics"] for run in results.find(set=name) if "steps" in run["metrics"]]
    return bool(counts) and all(found["steps"] == found["epochs"] for found in counts)


def _finished(results, method, name, **fields):
    """A metric of a method's runs that neither diverged nor failed."""
    values = results.metrics(method, name, **fields)
    return values[np.isfinite(values)]


def _mean_cells(experiment, results, case):
    """One column of the table of means, with how many runs of a method diverged or failed."""
    methods, overlap = results.config["methods"], experiment.overlap(results.config, case)
    errors = {m: results.metrics(m, "test_rmse", **case) for m in methods}
    finished = {m: e[np.isfinite(e)] for m, e in errors.items()}
    standard_error = {m: _standard_error(e, overlap) for m, e in finished.items() if len(e) > 1}
    smallest = min((s for s in standard_error.values() if s > 0), default=None)
    best, cells = _significantly_best(errors, overlap), []
    for method, values in finished.items():
        own = standard_error.get(method, 0)
        style = _format_of(own if smallest is not None and own >= 100 * smallest else smallest)
        cell = f"{values.mean():{style}}" if len(values) else ""
        cell += f" ± {standard_error[method]:{style}}" if method in standard_error else ""
        cell += " *" if method == best else ""
        lost = len(errors[method]) - len(values)
        cells.append(f"{cell} ({lost} lost)".strip() if lost else cell)
    return cells


def _standard_error(values, overlap):
    """Of the mean over splits, by the corrected resampled t, as for `mean_interval`."""
    return values.std(ddof=1) * (1 / len(values) + overlap) ** 0.5


def _format_of(error):
    """Format of a cell: two digits of the given standard error, or four of the mean without one.

    It is the smallest of the column, or the cell's own if that is of another order of magnitude.
    """
    return ".4g" if error is None else f".{max(0, 1 - int(np.floor(np.log10(error))))}f"


def _median_cells(experiment, results, case):
    """One column of the table of medians and stuck runs."""
    cells = []
    for method, stuck in stuck_runs(results, **case).items():
        errors = _finished(results, method, "test_rmse", **case)
        cell = f"{np.median(errors):#.3g}".rstrip(".") if len(errors) else ""
        cells.append(f"{cell}, {stuck.sum()} of {len(stuck)}" if stuck.any() else cell)
    return cells


def _significantly_best(errors, overlap):
    """The method whose error is significantly below that of every other one, or None.

    If any run diverged, or there are too few splits, there is none.
    """
    known = all(len(e) >= MIN_SEEDS and np.isfinite(e).all() for e in errors.values())
    if len(errors) < 2 or not known:
        return None
    best = min(errors, key=lambda method: errors[method].mean())
    others = [e for method, e in errors.items() if method != best]
    p_values = holm([paired_interval(errors[best], e, overlap).p for e in others])
    return best if p_values.max() < SIGNIFICANCE else None


def _ratios(results, first, others, case, overlap):
    """method -> geometric mean of its error divided by the first method's, and its interval."""
    reference = results.metrics(first, "test_rmse", **case)
    ratios = {}
    for method in others:
        errors = results.metrics(method, "test_rmse", **case)
        both = np.isfinite(errors) & np.isfinite(reference)
        if both.any():
            ratio = ratio_interval(errors[both], reference[both], overlap)
            ratios[method] = ratio.mean, ratio.low, ratio.high
    return ratios


EXPERIMENT = Uci()
