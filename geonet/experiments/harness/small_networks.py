"""What the experiments on small networks share: training by Adam, errors, tracked boundaries."""

import numpy as np

from geonet.train import Adam, EarlyStopping, ReduceLROnPlateau, fit, predict

KEPT_PER_DECADE = 50  # steps at which the boundaries are stored
TESTED_WEIGHTS = (  # a row of `Experiment.differences`
    "weights that are tested",
    "the best by what steers training",
    "the best only if the stopping rule ended the run, as in Keras 2.8; otherwise the last",
)
JUMP = 1.0  # a location φ that moves farther than this in one step has jumped, in units of x


def fit_adam(model, loss, data, lr, *, patience=None, mode="min", restored="always", **options):
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
    restored : {"always", "stopped", "never"}
        When the best weights are restored, as for `geonet.train.EarlyStopping`.
    **options
        Others of `geonet.train.fit`.

    Returns
    -------
    geonet.train.History
    """
    optimizer = Adam(model.parameters(), lr, eps=1e-7)
    if patience is not None:
        options["schedule"] = ReduceLROnPlateau(optimizer, patience=patience // 2, mode=mode)
        options["stopping"] = EarlyStopping(model, patience, mode, restored=restored)
    return fit(model, loss, data, optimizer, label=None, **options)


def restored_under(protocol):
    """When the best weights are restored: a row of `TESTED_WEIGHTS`, for `fit_adam`."""
    return "stopped" if protocol == "paper" else "always"


def accuracy(logits, targets):
    """Share of points that are classified correctly, as a Python number."""
    return float(np.mean((logits > 0) == (targets > 0.5)))


def rmse(prediction, target):
    """√(mean (prediction − target)²) as a Python number."""
    return float(np.sqrt(np.mean(np.square(prediction - target))))


def measured(model, data, metric, measure):
    """A measure of (prediction, target) on the validation and the test part, as metrics by name."""
    return {
        f"{part}_{metric}": measure(predict(model, x), y)
        for part, (x, y) in (("validation", data.validation), ("test", data.test))
    }


def summarize_tracker(tracker):
    """What is stored of a tracker: jumps, and the boundaries at some of the steps.

    The steps are evenly spaced on a log scale, and include the start, the powers of 10 and the end.
    For each of them but the start, the quantiles (10 %, 50 %, 90 %) of the units' turns and
    displacements are those of the single training step that leads to it. The jump is the largest
    displacement of any unit in any step since the stored one before, so that none is lost.

    Parameters
    ----------
    tracker : geonet.characteristic.Tracker

    Returns
    -------
    metrics : dict of str to float
        largest_jump, the largest displacement of any unit in any step, and share_of_jumps, the
        share of steps in which some unit moves by more than `JUMP`; None if no unit has a boundary.
    arrays : dict of str to numpy.ndarray
        steps (S,), weight (S, O, n), bias (S, O), turn_quantiles and displacement_quantiles
        (3, S − 1), jumps (S − 1,).
    """
    weights, biases, displacements = tracker.weights, tracker.biases, tracker.displacements()
    last = len(biases) - 1
    decades = np.arange(int(KEPT_PER_DECADE * np.log10(last)) + 1) / KEPT_PER_DECADE
    steps = np.unique(np.r_[0, (10**decades).round().astype(int), last])
    jumps = np.fmax.reduce(displacements, axis=1)  # (T,), NaN where no unit has a boundary
    known = jumps[~np.isnan(jumps)]
    metrics = {
        "largest_jump": known.max() if known.size else None,
        "share_of_jumps": np.mean(known > JUMP) if known.size else None,
    }
    arrays = {
        "steps": steps,
        "weight": weights[steps].astype(np.float32),
        "bias": biases[steps].astype(np.float32),
        "jumps": np.fmax.reduceat(jumps, steps[:-1]),  # the step from t to t + 1 is row t
    }
    for kind, moves in (("turn", tracker.turns()), ("displacement", displacements)):
        arrays[f"{kind}_quantiles"] = np.quantile(moves[steps[1:] - 1], (0.1, 0.5, 0.9), axis=1)
    return metrics, arrays
