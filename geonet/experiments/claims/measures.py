"""The measures that test claims: one number per seed, from the runs of an experiment.

Every function takes results and a method and returns an array (seeds,), NaN where a run diverged
or the quantity is not defined. Shares that can be 0 are inverted (alive instead of dead), because
effects are ratios. A run that diverged is a result. A run that failed, for lack of memory or
because of an error in the program, is not: a `Measure` is NaN on its seed, whatever the function
returns.
"""

from typing import NamedTuple

import numpy as np

from geonet import hypersphere
from geonet.characteristic import location
from geonet.experiments.harness.experiment import generators
from geonet.experiments.perturbation import FAN_INS, NORMS
from geonet.experiments.robustness import Grid, load_grids
from geonet.experiments.sets.levy import HIGH, load_levy

LOSS_LEVEL = 0.75  # share of the chance loss: below it, a network has begun to learn


class Measure(NamedTuple):
    """A quantity, and whether smaller or larger values are better."""

    title: str
    better: str  # "smaller" or "larger"
    function: object  # one of those below
    arguments: tuple = ()  # its further ones

    def values(self, results, method):
        """One number per seed, NaN where a run failed; (seeds,)."""
        found = self.function(results, method, *self.arguments)
        return np.where(failed(results, method), np.nan, found)


def failed(results, method):
    """Whether a run of each seed failed or is missing; bool (seeds,)."""
    found = {seed: [] for seed in results.config["seeds"]}
    for run in results.find(method=method):
        found[run["seed"]].append("failed" in run["metrics"])
    return np.array([any(runs) or not runs for runs in found.values()])


def metric(results, method, name):
    """A metric of the test runs; the geometric mean over cases if a seed has several runs."""
    found = {seed: [] for seed in results.config["seeds"]}
    for run in results.find(method=method):
        value = run["metrics"].get(name)
        found[run["seed"]].append(np.nan if value is None else value)
    return np.array([_geometric_mean(values) for values in found.values()])


def _geometric_mean(values):
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.exp(np.mean(np.log(values))) if values else np.nan


def _per_seed(results, method, quantity):
    """quantity(arrays, seed) of each test run; NaN if it left no arrays."""
    values = []
    for seed in results.config["seeds"]:
        done = bool(results.find(method=method, seed=seed))
        arrays = results.arrays(method, seed) if done else {}
        values.append(quantity(arrays, seed) if arrays else np.nan)
    return np.array(values, dtype=float)


def moves(results, method, kind, quantile=2):
    """Mean over the stored steps of a quantile (10, 50, 90 %) of the units' moves in a step.

    The steps are evenly spaced on a log scale, so that every factor of ten counts equally.

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
    """Epochs until the training loss is `LOSS_LEVEL` times its value at chance, ln(classes).

    It is interpolated between epochs. A run that does not get there, or that diverges, counts as
    one epoch more than there are.
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
    """How far random turns of u(θ) are from √(Σ sₖ² εₖ²), divided by ‖ε‖₁², the second order.

    The curve u(θ + tε) has a second derivative in t of at most ‖ε‖₁². So the angle between its ends
    differs from its first order by ½ ‖ε‖₁² and terms of third order. The method is GmP.
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
                allowed = np.sum(np.abs(step), axis=1) ** 2 + 1e-14  # for rounding
                worst = max(worst, float(np.max(np.abs(turn - first) / allowed)))
        largest.append(worst)
    return np.array(largest)


def _over_sets(results, method, quantity):
    """Geometric mean of quantity(grid) over the sets of a sweep."""
    found = [quantity(grids[method]) for grids in load_grids(results).values()]
    with np.errstate(divide="ignore"):
        return np.exp(np.mean(np.log(found), axis=0))


def largest_lr(results, method):
    """The largest learning rate that trains in a sweep with a single initializer."""

    def largest(grid):
        trains = grid.skill[0] >= grid.min_skill  # (rates, seeds)
        lrs = np.array(results.config["lrs"])[:, None]
        return np.max(np.where(trains, lrs, 0), axis=0)

    found = _over_sets(results, method, largest)
    return np.where(found > 0, found, np.nan)  # no rate trains


def share_that_trains(results, method):
    """Share of the initializers and learning rates of a sweep that train."""
    return _over_sets(results, method, Grid.share_trained)


def error_left(results, method, lrs):
    """Error divided by that of the best constant answer, at the method's rate in `lrs`.

    It is at most 1, which is also the value of a run that diverged.
    """
    place = results.config["lrs"].index(lrs[method])

    def left(grid):
        error = 1 - grid.skill[0, place]
        return np.minimum(np.where(np.isnan(error), 1, error), 1)

    return _over_sets(results, method, left)
