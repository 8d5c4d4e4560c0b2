"""The measures that test claims: one number per seed, from the runs of an experiment.

Every function takes results, a method and the fields of its runs (a learning rate, a case), and
returns an array (seeds,), NaN where a run diverged or the quantity is not defined. Shares that can
be 0 are turned around (alive instead of dead), because effects are ratios.
"""

from typing import NamedTuple

import numpy as np

from geonet import hypersphere
from geonet.characteristic import location
from geonet.experiments.harness.experiment import generators
from geonet.experiments.perturbation import FAN_INS, NORMS
from geonet.experiments.sets.levy import HIGH, load_levy

TOP1_LEVEL = 0.4  # validation top-1 of ten classes, four times chance


class Measure(NamedTuple):
    """A quantity, and whether smaller or larger values are better."""

    title: str
    better: str  # "smaller" or "larger"
    function: object  # one of those below
    arguments: tuple = ()  # its further ones
    pictures: bool = False  # whether it is the mean of the arrays called hits

    def values(self, results, method, **fields):
        """One number per seed, (seeds,)."""
        return self.function(results, method, *self.arguments, **fields)


def failed(results, method, **fields):
    """Whether the run of each seed failed or is missing, which is no result; bool (seeds,)."""
    runs = results.find(method=method, **fields)
    done = {run["seed"] for run in runs if "failed" not in run["metrics"]}
    return np.array([seed not in done for seed in results.config["seeds"]])


def metric(results, method, name, **fields):
    """A metric of the runs."""
    return results.metrics(method, name, **fields)


def without(results, method, name, **fields):
    """What remains of 1 if a metric that is a share is taken away."""
    return 1 - results.metrics(method, name, **fields)


def _per_seed(results, method, quantity, **fields):
    """quantity(arrays, seed) of each run; NaN if it left no arrays."""
    runs = results.find_with_arrays(method=method, **fields)
    found = {run["seed"]: quantity(arrays, run["seed"]) for run, arrays in runs if arrays}
    return np.array([found.get(seed, np.nan) for seed in results.config["seeds"]], dtype=float)


def moves(results, method, kind, **fields):
    """Mean over the stored steps of how far a step moves 90 % of the units at most.

    The steps are evenly spaced on a log scale, so that every factor of ten counts equally.

    Parameters
    ----------
    kind : {"turn", "displacement"}
    """

    def mean(run, _):
        return run[f"{kind}_quantiles"][2].mean()  # of 10, 50 and 90 %

    return _per_seed(results, method, mean, **fields)


def inside(results, method, **fields):
    """Share of the boundaries of a 1-D layer that end within the range of the data, [−10, 10]."""

    def share(run, _):
        place = location(run["weight"][-1], run["bias"][-1])
        return np.nan if np.isnan(place).any() else np.mean(np.abs(place) <= HIGH)

    return _per_seed(results, method, share, **fields)


def alive(results, method, **fields):
    """Share of the units of a 1-D layer that end active on at least one training point."""

    def share(run, seed):
        x = load_levy(generators(seed, 2)[0], results.config["protocol"]).train[0]
        before = x @ run["weight"][-1].T + run["bias"][-1]  # (points, units)
        return np.nan if np.isnan(before).any() else np.mean((before > 0).any(axis=0))

    return _per_seed(results, method, share, **fields)


def epochs_to_level(results, method, **fields):
    """Epochs until the validation top-1 is `TOP1_LEVEL`, interpolated between epochs.

    A run that does not get there, or that diverges, counts as one epoch more than there are.
    """

    def reached(run, _):
        top1 = np.r_[0.0, run["test_top1"]]
        if top1.max() < TOP1_LEVEL:
            return np.nan
        epoch = int(np.argmax(top1 >= TOP1_LEVEL))  # at least 1
        missing = (top1[epoch] - TOP1_LEVEL) / (top1[epoch] - top1[epoch - 1])
        return epoch - missing

    found = _per_seed(results, method, reached, **fields)
    return np.where(np.isnan(found), results.config["epochs"] + 1, found)


def hits(results, method, seeds, **fields):
    """Whether the network of each of these seeds is right on each test picture, bool (n,)."""
    return [results.arrays(method, seed, **fields)["hits"] for seed in seeds]


def first_order_excess(results, method, **fields):
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
