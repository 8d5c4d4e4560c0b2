"""The 1-D Levy function: 100 units, full batches, Adam on the mean absolute error (figure 2).

Protocols: `clean` redraws the data for each seed. `paper` uses the authors' single data set, and
their choices where their methods differ from ours. As in their code, the plateau rule counts an
absolute improvement of at least 1e-4, the stopping rule counts any improvement, and Adam's eps is
1e-7, the default of Keras.
"""

import numpy as np

from geonet import ops, plots
from geonet.characteristic import Tracker, location
from geonet.experiments.harness import small_networks, tables
from geonet.experiments.harness.experiment import Experiment, first_runs, generators, recipe
from geonet.experiments.sets.levy import load_levy
from geonet.models import mlp
from geonet.train import predict

UNITS, STEPS, PATIENCE = 100, 10_000, 1000
STAGES = (0, 10, 100, 1000)  # steps at which the boundaries are drawn, besides the last


class Levy(Experiment):
    """Regression of the 1-D Levy function by one hidden layer."""

    name = "levy"
    summary = "regression of the 1-D Levy function, and where the boundaries go (figure 2)"
    metric = "rmse"
    metric_title = "test RMSE"
    differences = (
        ("training points", "drawn for each seed", "the authors' 50, the same for every seed"),
    )

    def configure(self, arguments):
        steps = 1500 if arguments.quick else STEPS
        return super().configure(arguments) | {"steps": steps}

    def run_one(self, config, method, seed, lr):
        data_rng, model_rng = generators(seed, 2)
        data = load_levy(data_rng, config["protocol"])
        model = mlp([1, UNITS, 1], recipe(config, method), rng=model_rng, init=config["init"])
        tracker = Tracker(model[0])
        options = {"epochs": config["steps"], "patience": PATIENCE, "on_step": tracker.record}
        history = small_networks.fit_adam(model, ops.mae, data.train, lr, **options)
        prediction = predict(model, data.test[0])
        metrics = {
            **small_networks.errors(model, data),
            "train_mae": min(history.loss),
            "steps": history.steps,
        }
        moves, arrays = small_networks.summarize_tracker(tracker)
        return metrics | moves, arrays | {"prediction": prediction[:, 0]}

    def describe(self, config):
        return (
            f"Levy function, protocol {config['protocol']}: {UNITS} units, up to {config['steps']} "
            f"steps, {config['init']}, {len(config['seeds'])} seeds"
        )

    def figures(self, results):
        runs, caption = first_runs(results)
        if not runs:
            return
        caption = f"Levy function, protocol {results.config['protocol']}. {caption}"
        yield fits_plot(results, runs, caption)
        yield evolution_plot(results, runs, caption)
        yield small_networks.step_changes_plot(results, runs, "displacement", caption)


def fits_plot(results, runs, caption):
    """The function, its training points, and the fit of each method's first run."""
    config = results.config
    train, _, test = load_levy(generators(config["seeds"][0], 2)[0], config["protocol"])
    predictions = {m: run["prediction"] for m, run in runs.items()}
    text = f"Fits by the best weights of each run. {caption}"
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


def _at_stages(run, stages):
    """Locations of all units at each stage (or the last step before it) and at the end, (S, O)."""
    index = [*(np.searchsorted(run["steps"], stages, side="right") - 1), -1]
    return location(run["weight"], run["bias"])[index, :, 0]


EXPERIMENT = Levy()
