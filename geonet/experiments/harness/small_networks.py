"""What the experiments on small networks share: training by Adam, errors, tracked boundaries."""

import numpy as np

from geonet import plots
from geonet.experiments.harness.tables import list_values
from geonet.train import Adam, EarlyStopping, ReduceLROnPlateau, fit, predict

KEPT_PER_DECADE = 50  # steps at which the boundaries are stored
MOVES = {  # what a step does to the boundaries, and the axis that says how far
    "turn": ("turn the boundaries", "turn per step (rad)"),
    "displacement": ("move the boundaries", "movement of φ per step (units of x)"),
}


def fit_adam(model, loss, data, lr, *, patience=None, mode="min", **options):
    """Train by Adam with an eps of 1e-7, the default of Keras, which the authors use.

    Parameters
    ----------
    model, loss, data
        As for `geonet.train.fit`.
    lr : float
    patience : int, optional
        Without improvement, the rate is lowered after half as many epochs as this, and training
        ends after this many. Without it, the rate is constant and there is no early stopping.
    mode : {"min", "max"}
        Whether smaller or larger values of what is monitored are better.
    **options
        Others of `geonet.train.fit`.

    Returns
    -------
    geonet.train.History
    """
    optimizer = Adam(model.parameters(), lr, eps=1e-7)
    if patience is not None:
        options["schedule"] = ReduceLROnPlateau(optimizer, patience=patience // 2, mode=mode)
        options["stopping"] = EarlyStopping(model, patience=patience, mode=mode)
    return fit(model, loss, data, optimizer, label=None, **options)


def accuracy(logits, targets):
    """Share of points that are classified correctly, as a Python number."""
    return float(np.mean((logits > 0) == (targets > 0.5)))


def root_mean_square(error):
    """√(mean e²) as a Python number."""
    return float(np.sqrt(np.mean(np.square(error))))


def errors(model, data):
    """The RMSE of a model on the validation and the test part of a Split, as metrics by name."""
    return {
        f"{part}_rmse": root_mean_square(predict(model, x) - y)
        for part, (x, y) in (("validation", data.validation), ("test", data.test))
    }


def summarize_tracker(tracker):
    """What is stored of a tracker: typical moves, and the boundaries at some of the steps.

    The steps are evenly spaced on a log scale, and include the start, the powers of 10 and the end.
    For each of them but the start, the quantiles (10 %, 50 %, 90 %) of the units' turns and
    displacements are those of the single training step that leads to it.

    Parameters
    ----------
    tracker : geonet.characteristic.Tracker

    Returns
    -------
    metrics : dict of str to float
        median_turn and median_displacement, over all steps and units with a boundary; None if no
        unit has one.
    arrays : dict of str to numpy.ndarray
        steps (S,), weight (S, O, n), bias (S, O), turn_quantiles and displacement_quantiles
        (3, S − 1).
    """
    weights, biases = tracker.weights, tracker.biases
    last = len(biases) - 1
    decades = np.arange(int(KEPT_PER_DECADE * np.log10(last)) + 1) / KEPT_PER_DECADE
    steps = np.unique(np.r_[0, (10**decades).round().astype(int), last])
    arrays = {
        "steps": steps,
        "weight": weights[steps].astype(np.float32),
        "bias": biases[steps].astype(np.float32),
    }
    metrics = {}
    for kind, moves in (("turn", tracker.turns()), ("displacement", tracker.displacements())):
        known = moves[~np.isnan(moves)]
        metrics[f"median_{kind}"] = float(np.median(known)) if known.size else None
        arrays[f"{kind}_quantiles"] = np.quantile(moves[steps[1:] - 1], (0.1, 0.5, 0.9), axis=1)
    return metrics, arrays


def step_changes_plot(results, runs, kind, caption):
    """A plot of how far single steps move the boundaries.

    Parameters
    ----------
    results : Results
    runs, caption
        As `geonet.experiments.harness.experiment.first_runs` returns them.
    kind : {"turn", "displacement"}
    """
    what, quantity = MOVES[kind]
    figure = plots.step_changes(
        {m: run["steps"][1:] for m, run in runs.items()},
        {m: run[f"{kind}_quantiles"] for m, run in runs.items()},
        quantity,
        f"How far single steps {what}: median, 10–90 % of units. {caption}",
    )
    typical = {m: results.metrics(m, f"median_{kind}")[0] for m in runs}
    description = f"How far single steps {what}, over training, on log axes. Median over steps "
    description += f"and units: {list_values(typical, '.2g')}"
    return plots.Plot(figure, f"{kind}s", f"How far single steps {what}", description)
