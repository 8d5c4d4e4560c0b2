"""The 1-D Levy function: 100 units, full batches, Adam on the mean absolute error (figure 2).

`Levy.differences` says how the protocols differ. What explains the test error stands in a table of
its own: the error near the training points, where the data say what the function is, and the jumps
of the boundaries. Straight lines through the training points show what the task asks of a network.
"""

import numpy as np

from geonet import ops, plots
from geonet.characteristic import Tracker, location
from geonet.experiments.harness import options, small_networks, tables
from geonet.experiments.harness.experiment import (
    RECIPE_DIFFERENCES,
    Experiment,
    first_runs,
    generators,
    recipe,
)
from geonet.experiments.sets.levy import NEAR, interpolate, is_near, load_levy
from geonet.models import mlp
from geonet.text import counted
from geonet.train import predict

UNITS, STEPS, PATIENCE = 100, 10_000, 1000
JUMPS_LR = 0.1  # of all methods in figure 2c
STAGES = (0, 10, 100, 1000)  # steps at which the boundaries are drawn, besides the last


class Levy(Experiment):
    """Regression of the 1-D Levy function by one hidden layer."""

    name = "levy"
    summary = "regression of the 1-D Levy function, and where the boundaries go (figure 2)"
    metric = "rmse"
    metric_title = "test RMSE"
    differences = (
        ("training points", "50, drawn for each seed", "their 50, the same for every seed"),
        small_networks.TESTED_WEIGHTS,
        *RECIPE_DIFFERENCES,
        ("training", f"{UNITS} units, Adam with eps 1e-7, mean absolute error of all points, up to "
         f"{STEPS:,} steps; the training loss steers: rate divided by 10 after 500 steps without "
         "an improvement by 1e-4, stop after 1,000 without any", "the same"),
        ("learning rates", "0.1 for the geometric methods and 0.01 for the others", "the same, as "
         "in their code; the caption of figure 2 says that cross-validation chose them. Figure 2c "
         "has --lr 0.1 for all"),
    )  # fmt: skip

    def add_arguments(self, parser):
        super().add_arguments(parser)
        text = "another initializer for the hidden layer alone"
        parser.add_argument("--init-hidden", type=options.initializer, help=text)

    def configure(self, arguments):
        steps = 1500 if arguments.quick else STEPS
        config = super().configure(arguments) | {"init_hidden": arguments.init_hidden}
        return config | {"steps": steps}

    def run_one(self, config, method, seed, lr):
        data_rng, model_rng = generators(seed, 2)
        data = load_levy(data_rng, config["protocol"])
        inits = {name: config[name] for name in ("init", "init_hidden")}
        model = mlp([1, UNITS, 1], recipe(config, method), rng=model_rng, **inits)
        tracker = Tracker(model[0])
        history = small_networks.fit_adam(
            model,
            ops.mae,
            data.train,
            lr,
            epochs=config["steps"],
            patience=PATIENCE,
            restored=small_networks.restored_under(config["protocol"]),
            on_step=tracker.record,
        )
        (train_x, train_y), _, (test_x, test_y) = data
        prediction = predict(model, test_x)
        near = is_near(test_x, train_x)
        metrics = {
            **small_networks.measured(model, data, "rmse", small_networks.rmse),
            "near_rmse": small_networks.rmse(prediction[near], test_y[near]),
            "train_mae": np.mean(np.abs(predict(model, train_x) - train_y)),
            "steps": history.steps,
        }
        moves, arrays = small_networks.summarize_tracker(tracker)
        return metrics | moves, arrays | {"prediction": prediction[:, 0]}

    def describe(self, config):
        hidden = f" (hidden layer {config['init_hidden']})" if config["init_hidden"] else ""
        return (
            f"Levy function, protocol {config['protocol']}: {UNITS} units, up to {config['steps']} "
            f"steps, {config['init']}{hidden}, {counted(config['seeds'], 'seed')}"
        )

    def tables(self, results):
        yield from super().tables(results)
        yield self.explaining_rows(results)

    def explaining_rows(self, results):
        """What explains the test error, at the chosen rate; jumps are at `jumps_lr`."""
        lr = jumps_lr(results.config)
        where = "" if lr is None else f" at {lr:g}"
        rows = [("method", f"RMSE within {NEAR:g}", "train MAE",
                 f"largest jump of φ{where}, median",
                 f"steps with a jump above 1{where}, mean")]  # fmt: skip
        for method in results.config["methods"]:
            errors = (results.metrics(method, name) for name in ("near_rmse", "train_mae"))
            cells = [tables.statistics_cells(values)[0] for values in errors]
            jump, share = _jumps(results, method, lr)
            moves = ("", "") if np.isnan(jump) else (f"{jump:.3g}", f"{share:.2%}")
            rows.append((method, *cells, *moves))
        return rows

    def notes(self, results):
        yield self.interpolant_note(results.config)
        yield from super().notes(results)

    def interpolant_note(self, config):
        """The errors of straight lines through the training points, which need no network."""
        found = []
        for seed in config["seeds"]:
            train, _, (x, y) = load_levy(generators(seed, 2)[0], config["protocol"])
            line, near = interpolate(x, *train), is_near(x, train[0])
            rmse = small_networks.rmse
            found.append((rmse(line, y), rmse(line[near], y[near]), np.mean(~near)))
        everywhere, near, far = np.mean(found, axis=0)
        return (
            f"Straight lines through the training points have a test RMSE of {everywhere:.3g}, and "
            f"{near:.3g} within {NEAR:g} of a training point.\nThis distance, beyond which "
            f"{far:.0%} of the test points lie, was chosen after seeing the fits:\nit explains "
            "and decides nothing."
        )

    def figures(self, results):
        runs, caption = first_runs(results)
        if not runs:
            return
        caption = f"Levy function, protocol {results.config['protocol']}. {caption}"
        yield fits_plot(results, runs, caption)
        yield evolution_plot(results, runs, caption)
        yield from jumps_plots(results)


def fits_plot(results, runs, caption):
    """The function, its training points, and the fit of each method's first run."""
    config = results.config
    train, _, test = load_levy(generators(config["seeds"][0], 2)[0], config["protocol"])
    predictions = {m: run["prediction"] for m, run in runs.items()}
    text = f"Fits by the network that is tested. {caption}"
    figure = plots.function_fits(*test, *train, predictions, text)
    means = {m: np.nanmean(results.metrics(m, "test_rmse")) for m in runs}
    description = (
        "One panel per method: the function, 50 noisy training points, and the network's fit. "
        "Mean test RMSE: " + tables.list_values(means, ".3g")
    )
    return plots.Plot(figure, "fits", "Fits of the Levy function", description)


def evolution_plot(results, runs, caption):
    """The boundaries of each method's first run at several stages of its training."""
    stages = [step for step in STAGES if step < results.config["steps"]]
    places = {m: _at_stages(run, stages) for m, run in runs.items()}
    stages = [*(f"step {stage}" for stage in stages), "last step"]
    figure = plots.boundary_evolution(stages, places, f"Boundaries of {UNITS} units. {caption}")
    description = (
        f"Stacked bars, one panel per method: how many of the {UNITS} boundaries lie in each "
        "part of [-10, 10], with early stages of training below and late stages on top."
    )
    return plots.Plot(figure, "evolution", "Where the boundaries go", description)


def jumps_lr(config):
    """The rate of figure 2c if every method has runs at it; else None, for the chosen rates."""
    return JUMPS_LR if all(JUMPS_LR in lrs for lrs in config["lr"].values()) else None


def jumps_plots(results):
    """The largest jump of a boundary over training, in each method's first run (figure 2c)."""
    lr = jumps_lr(results.config)
    runs, caption = first_runs(results, lr)
    if not runs:
        return
    over_seeds = {m: _jumps(results, m, lr) for m in runs}
    largest, shares = (
        tables.list_values({m: found[i] for m, found in over_seeds.items()}, style)
        for i, style in enumerate((".2g", ".2%"))
    )
    figure = plots.step_changes(
        {m: run["steps"][1:] for m, run in runs.items()},
        {m: run["jumps"] for m, run in runs.items()},
        "largest jump of φ per step",
        "How far a boundary moves in a single step, in units of x: the maximum over all units, and "
        "over the steps since the point before. Levy function, protocol "
        f"{results.config['protocol']}. {caption} Share of steps with a jump above 1, "
        f"mean over seeds: {shares}",
    )
    description = (
        "One panel per method: the largest jump of any boundary in a single step, over training, "
        f"on log axes. Largest of a run, median over seeds: {largest} Share of steps with a jump "
        f"above 1: {shares}"
    )
    yield plots.Plot(figure, "jumps", "The largest jump of a boundary per step", description)


def _jumps(results, method, lr):
    """The largest jump, median over seeds, and the mean share of jumps; NaN without boundaries."""
    fields = {} if lr is None else {"lr": lr}
    names = "largest_jump", "share_of_jumps"
    largest, shares = (results.metrics(method, name, **fields) for name in names)
    known = ~np.isnan(largest)
    return (np.median(largest[known]), shares[known].mean()) if known.any() else (np.nan, np.nan)


def _at_stages(run, stages):
    """Locations of all units at each stage (or the last step before it) and at the end, (S, O)."""
    index = [*(np.searchsorted(run["steps"], stages, side="right") - 1), -1]
    return location(run["weight"], run["bias"])[index, :, 0]


EXPERIMENT = Levy()
