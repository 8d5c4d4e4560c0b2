"""What claims are measured by: numbers, one a seed, from the runs of an experiment.

Every function takes results and a method and returns an array (seeds,), NaN where a run diverged
or the quantity is not defined. Shares that can be 0 are turned round (alive instead of dead), as
effects are ratios. A run that diverged is a result; one that failed (for want of memory, or by an
error of the program) is none, and a `Measure` is NaN on its seed, whatever the function says.
"""

from functools import partial
from typing import NamedTuple

import numpy as np

from geonet import hypersphere
from geonet.characteristic import location
from geonet.experiments.harness.experiment import generators
from geonet.experiments.perturbation import FAN_INS, NORMS
from geonet.experiments.robustness import Grid, threshold
from geonet.experiments.sets.levy import HIGH, load_levy

LOSS_LEVEL = 0.75  # of the loss of chance: what counts as having begun to learn


class Measure(NamedTuple):
    """A quantity, and which of two values of it is the better one."""

    title: str
    better: str  # "smaller" or "larger"
    values: object  # (results, method) -> (seeds,)


def failed(results, method):
    """Whether a run of a seed failed, or is not there; bool (seeds,)."""
    found = {seed: [] for seed in results.config["seeds"]}
    for run in results.find(method=method, split="test"):
        found[run["seed"]].append("failed" in run["metrics"])
    return np.array([any(runs) or not runs for runs in found.values()])


def metric(results, method, name):
    """A metric of the tested runs; of several runs a seed (cases) the geometric mean."""
    found = {seed: [] for seed in results.config["seeds"]}
    for run in results.find(method=method, split="test"):
        value = run["metrics"].get(name)
        found[run["seed"]].append(np.nan if value is None else value)
    return np.array([_geometric_mean(values) for values in found.values()])


def _geometric_mean(values):
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.exp(np.mean(np.log(values))) if values else np.nan


def _per_seed(results, method, quantity):
    """quantity(arrays, seed) of each tested run; NaN of one that left no arrays."""
    values = []
    for seed in results.config["seeds"]:
        done = bool(results.find(method=method, seed=seed, split="test"))
        arrays = results.arrays(method, seed) if done else {}
        values.append(quantity(arrays, seed) if arrays else np.nan)
    return np.array(values, dtype=float)


def moves(results, method, kind, quantile=2):
    """Mean over the stored steps of a quantile (10, 50, 90 %) of the units' moves at a step.

    The steps are evenly spaced on a log scale, so that every tenfold of training counts alike.

    Parameters
    ----------
    kind : {"turn", "displacement"}
    quantile : {0, 1, 2}
    """
    return _per_seed(results, method, lambda run, _: run[f"{kind}_quantiles"][quantile].mean())


def inside(results, method, step=-1):
    """Share of the boundaries of a 1-D layer that lie within the range of the data, [−10, 10]."""

    def share(run, _):
        place = location(run["weight"][step], run["bias"][step])
        return np.nan if np.isnan(place).any() else np.mean(np.abs(place) <= HIGH)

    return _per_seed(results, method, share)


def alive(results, method, step=-1):
    """Share of the units of a 1-D layer that are active on at least one training point."""

    def share(run, seed):
        x = load_levy(generators(seed, 2)[0], results.config["protocol"]).train[0]
        before = x @ run["weight"][step].T + run["bias"][step]  # (points, units)
        return np.nan if np.isnan(before).any() else np.mean((before > 0).any(axis=0))

    return _per_seed(results, method, share)


def epochs_to_level(results, method):
    """Epochs until the training loss is `LOSS_LEVEL` of what it is before training, ln(classes).

    Interpolated between epochs; one more than there are for a run that does not get there, or that
    diverges.
    """
    chance = np.log(results.config.get("classes", 10))

    def reached(run, _):
        losses = np.r_[1, run["train_loss"] / chance]
        below = np.flatnonzero(losses <= LOSS_LEVEL)
        if not below.size:
            return len(losses)
        before, after = losses[below[0] - 1], losses[below[0]]
        return below[0] - (LOSS_LEVEL - after) / (before - after)

    found = _per_seed(results, method, reached)
    return np.where(np.isnan(found), results.config["epochs"] + 1, found)


def first_order_excess(results, method):
    """How far random turns of u(θ) are from √(Σ sₖ² εₖ²), over what second order allows, ‖ε‖₁².

    Along θ + tε the curve u has a second derivative of at most ‖ε‖₁², so the angle between its
    ends differs from first order by ½ ‖ε‖₁² and terms of third order. The method is GmP.
    """
    largest = []
    for seed in results.config["seeds"]:
        (rng,) = generators(seed, 1)
        worst = 0.0
        for fan_in in FAN_INS:
            drawn = hypersphere.random_directions(results.config["units"], fan_in, rng)
            theta, _ = hypersphere.to_hyperspherical(drawn)
            noise = rng.normal(size=theta.shape)
            noise /= np.linalg.norm(noise, axis=1, keepdims=True)
            for norm in (n for n in NORMS if n < 0.1 / np.sqrt(fan_in)):
                moved = theta + norm * noise
                step = moved - theta  # what the addition really changed
                ends = map(hypersphere.to_cartesian, (theta, moved))
                turn = hypersphere.angle_between(*ends)
                first = np.sqrt(np.sum(hypersphere.metric(theta) * step**2, axis=1))
                allowed = np.sum(np.abs(step), axis=1) ** 2 + 1e-14  # and rounding
                worst = max(worst, float(np.max(np.abs(turn - first) / allowed)))
        largest.append(worst)
    return np.array(largest)


def _over_sets(results, method, quantity):
    """Geometric mean over the sets of a sweep of quantity(grid, least skill that trains)."""
    config, found = results.config, []
    for name in config["set"]:
        grids = {m: Grid(results, name, m) for m in config["methods"]}
        found.append(quantity(grids[method], threshold(grids.values())))
    with np.errstate(divide="ignore"):
        return np.exp(np.mean(np.log(found), axis=0))


def largest_lr(results, method):
    """The largest rate of a sweep that trains, from the sweep's one initializer."""

    def largest(grid, least):
        trains = grid.skill[0] >= least  # (rates, seeds)
        lrs = np.array(results.config["lrs"])[:, None]
        return np.max(np.where(trains, lrs, 0), axis=0)

    found = _over_sets(results, method, largest)
    return np.where(found > 0, found, np.nan)  # no rate trains


def share_that_trains(results, method):
    """Share of the initializers and rates of a sweep that train."""
    return _over_sets(results, method, lambda grid, least: grid.share_trained(least))


def error_left(results, method, lrs):
    """Error over that of the best constant answer, at the rate that `lrs` has for the method.

    At most 1, which is also that of a run that diverged.
    """
    place = results.config["lrs"].index(lrs[method])

    def left(grid, _):
        error = 1 - grid.skill[0, place]
        return np.minimum(np.where(np.isnan(error), 1, error), 1)

    return _over_sets(results, method, left)


def make_measure(title, better, function, *words, **options):
    """A `Measure` by one of the functions above with its further arguments."""
    return Measure(title, better, partial(_called, function, words, options))


def _called(function, words, options, results, method):
    values = function(results, method, *words, **options)
    return np.where(failed(results, method), np.nan, values)
