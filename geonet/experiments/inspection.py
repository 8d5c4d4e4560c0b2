"""What gradients mean geometrically while networks learn: three layers of 20 units on Banana.

Every step uses all of the training points. So a unit whose boundary has left the data has all of
them on one side, and a dead unit is inactive on all of them. Adam on the binary cross-entropy.
"""

import numpy as np

from geonet import ops, plots
from geonet.experiments.banana import points
from geonet.experiments.harness import figures, small_networks, tables
from geonet.experiments.harness.experiment import Experiment, first_runs, generators
from geonet.experiments.sets.banana import split_banana
from geonet.gradients import Inspector
from geonet.models import mlp
from geonet.text import counted

UNITS, LAYERS = 20, 3
RECORDS, INTERVALS = 200, 40  # steps recorded, and drawn as means over intervals of a log axis


class Inspection(Experiment):
    """Radial and angular gradients, dead units, and boundaries that leave the data."""

    name = "inspect"
    summary = "what gradients mean: radial and angular shares, dead units, boundaries out of reach"
    metric = "accuracy"
    metric_title = "test accuracy"
    larger_is_better = True
    further_metrics = (
        ("radial_share", "radial share"),
        ("turn", "turn per step"),
        ("dead_start", "dead, start"),
        ("dead_end", "end"),
        ("outside_start", "outside, start"),
        ("outside_end", "end"),
    )

    def configure(self, arguments):
        return super().configure(arguments) | {"steps": 400 if arguments.quick else 2000}

    def run_one(self, config, method, seed, lr):
        data_rng, model_rng = generators(seed, 2)
        data = split_banana(*points(None), data_rng)
        sizes = [2, *[UNITS] * LAYERS, 1]
        model = mlp(sizes, method, rng=model_rng, init=config["init"])
        inspector = Inspector(model, every=config["steps"] // RECORDS)
        loss, steps = ops.binary_cross_entropy, config["steps"]
        with inspector:
            options = {"epochs": steps, "on_gradients": inspector.record}
            small_networks.fit_adam(model, loss, data.train, lr, **options)
        metrics, arrays = summarize_inspector(inspector)
        metrics |= small_networks.measured(model, data, self.metric, small_networks.accuracy)
        return metrics | {"steps": steps}, arrays

    def describe(self, config):
        return (
            f"Banana set, {LAYERS} layers of {UNITS} units, {config['steps']} steps of all points, "
            f"{config['init']}, {counted(config['seeds'], 'seed')}. Units are counted over all "
            "layers; turn: median, radians"
        )

    def figures(self, results):
        runs, caption = first_runs(results)
        if not runs:
            return
        layers = [f"layer {i + 1}" for i in range(LAYERS)]
        steps = {m: run["steps"] for m, run in runs.items()}

        def curves(name):
            return {m: run[name] for m, run in runs.items()}

        shares = curves("radial_share")
        text = "Radial share of the squared gradient of the weights; coloured below the mean of "
        text += f"the layers, grey where it is angular. {caption}"
        figure = figures.gradient_shares(steps, shares, layers, text)
        means = tables.list_values({m: values.mean() for m, values in shares.items()}, ".2f")
        description = "One panel per method: how much of the gradient only scales the weights, "
        description += f"and how much turns boundaries. Mean radial share: {means}"
        yield plots.Plot(figure, "shares", "Radial and angular share of the gradient", description)

        text = f"Norm of the gradient of each layer's weights w, times ‖w‖. {caption}"
        figure = figures.layer_curves(steps, curves("flow"), layers, "‖w‖ ‖∂L/∂w‖", text)
        description = "One panel per method: the gradient's norm at each layer, on log axes."
        yield plots.Plot(figure, "flow", "Gradient flow by layer", description)

        kinds = {
            "dead": ("dead units", "Units that are inactive on all training points"),
            "outside": ("boundaries outside", "Units with all training points on one side"),
        }
        for kind, (label, what) in kinds.items():
            text = f"{what}, of {UNITS} in each layer. {caption}"
            figure = figures.layer_curves(steps, curves(kind), layers, label, text, UNITS)
            ends = {m: results.metrics(m, f"{kind}_end")[0] for m in runs}
            description = f"{what}, one panel per method. In all layers at the end: "
            yield plots.Plot(figure, kind, what, description + tables.list_values(ends, ".0f"))


def summarize_inspector(inspector):
    """Metrics of a training, and the arrays to draw by interval and layer, (S, layers) each."""
    layers = [inspector[name] for name in inspector.layers]
    flow = np.stack([layer.flow for layer in layers], axis=1)
    radial = np.stack(
        [np.square(layer.radial, dtype=float).sum(axis=1) for layer in layers], axis=1
    )
    with np.errstate(invalid="ignore"):  # NaN where there is no gradient
        arrays = {"radial_share": radial / flow**2, "flow": flow}
    metrics = {"radial_share": float(np.nanmean(arrays["radial_share"]))}
    turns = np.stack([layer.turn for layer in layers])
    metrics["turn"] = float(np.nanmedian(turns)) if np.isfinite(turns).any() else None
    for kind in ("dead", "outside"):
        arrays[kind] = np.stack([getattr(layer, kind).sum(axis=1) for layer in layers], axis=1)
        metrics[f"{kind}_start"], *_, metrics[f"{kind}_end"] = arrays[kind].sum(axis=1).tolist()
    count = len(flow)
    starts = np.unique((count ** (np.arange(INTERVALS) / INTERVALS)).astype(int)) - 1
    lengths = np.diff([*starts, count])[:, None]
    means = {name: np.add.reduceat(array, starts) / lengths for name, array in arrays.items()}
    return metrics, {"steps": inspector.steps[starts]} | means


EXPERIMENT = Inspection()
