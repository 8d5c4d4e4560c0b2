"""Careless initializers and rates: what trains, how fast, and how unsteadily boundaries move.

Every method is run with every initializer at every learning rate, on four sets: the Levy function,
the Banana set, Friedman's first function, and small pictures of disks and stripes. Runs are short:
a few hundred steps of Adam at a constant rate, without early stopping. So rates that are too low
show as slow, and there is time for thousands of runs, which tell more here than a few long ones.

The quality of a run is its skill: the share of the test error of the best constant answer that the
network removes, 1 − error/error₀. It is 1 for a perfect network, and 0 for one that learned
nothing. The error is the RMSE, or the share of wrong labels. A run *trains* if its skill is at
least `TRAINS_FROM` times the largest median over seeds that any method reaches on the set. It
*diverged* if it met NaN or infinity, or if its training loss rose above `EXPLOSION_FACTOR` times
that of the first step and it ended without skill: Adam's steps are of limited length, and seldom
reach infinity.

An initializer draws the rows of all layers, including the last one; biases are 0. Every initializer
makes sense for every method: WN and GmP start from the same function as SP, however large the rows
are, and where rows have one entry (Levy), `sphere` draws signs and `orthogonal` one column.
"""

from itertools import product

import numpy as np

from geonet import plots
from geonet.characteristic import Tracker
from geonet.experiments.harness import figures, options, small_networks, tables
from geonet.experiments.harness.experiment import Experiment, generators
from geonet.experiments.harness.statistics import mean_interval
from geonet.experiments.small_problems import (
    PROBLEMS,
    constant_baseline,
    error_of,
    load_problem_data,
)
from geonet.text import counted, duration
from geonet.train import predict

INITS = ["glorot_uniform", "normal:0.001", "normal:1", "normal:10"]
LRS = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0]
QUICK_LRS = LRS[::3]
TRAINS_FROM = 0.7  # share of the best skill on a set
STEPS = "160 (pictures) or 600"
EXPLOSION_FACTOR = 10
LOSS_LEVEL = 0.7  # share of the best constant's training loss: converging runs get below it
EDGES = np.linspace(-8, 6, 71)  # of the bins in which log₁₀ of the changes per step is counted


def lr_list(text):
    """Ascending learning rates from a comma-separated list, as `options.lr` takes them."""
    return sorted({options.lr(word) for word in text.split(",")})


def count_moves(moves):
    """What is stored of changes per step (T, O): counts by bin, median and 99 % quantile."""
    known = moves[np.isfinite(moves)]
    if not known.size:
        return np.zeros(len(EDGES) - 1, np.int64), None, None
    exponents = np.log10(np.maximum(known, 10 ** EDGES[0]))
    counts = np.histogram(np.minimum(exponents, EDGES[-1]), EDGES)[0]
    return counts, *(float(q) for q in np.quantile(known, (0.5, 0.99)))


class Robustness(Experiment):
    """Methods × initializers × rates × seeds on four small sets."""

    name = "robustness"
    summary = "initializers and learning rates, even careless ones: what trains, how steadily"
    metric = "skill"
    larger_is_better = True
    seeds, quick_seeds = "2", "1"
    takes_lr = False  # it has rates of its own
    init = ",".join(INITS)
    init_type = staticmethod(options.initializers)

    def add_arguments(self, parser):
        super().add_arguments(parser)
        known = ",".join(PROBLEMS)
        text = f"some of {known} (default: all)"
        parser.add_argument("--sets", type=options.names(PROBLEMS), default=known, help=text)
        text = f"comma list of rates (default: {', '.join(f'{lr:g}' for lr in LRS)})"
        parser.add_argument("--lr", type=lr_list, help=text)

    def configure(self, arguments):
        config = super().configure(arguments)
        lrs = arguments.lr or (QUICK_LRS if config["quick"] else LRS)
        return config | {"set": arguments.sets, "lrs": lrs}

    def cases(self, config):
        """The sets take turns, so that the remaining time can be estimated from finished runs."""
        found = product(config["init"], config["lrs"], config["set"])
        return [{"set": name, "init": init, "lr": lr} for init, lr, name in found]

    def run_one(self, config, method, seed, lr):
        problem = PROBLEMS[config["set"]]
        train, _, (test_x, test_y) = load_problem_data(config["set"], seed)
        _, model_rng, batch_rng = generators(seed, 3)
        model = problem.network(method, rng=model_rng, init=config["init"])
        tracker, losses = Tracker(model[0]), []

        def loss(prediction, target):
            value = problem.loss(prediction, target)
            losses.append(value.item())
            return value

        options = {"epochs": problem.epochs, "batch_size": problem.batch_size, "rng": batch_rng}
        options["on_step"] = tracker.record
        history = small_networks.fit_adam(model, loss, train, lr, **options)
        constant_loss, constant_error = constant_baseline(problem, train[1], test_y)
        error = error_of(problem, predict(model, test_x), test_y)
        below = np.flatnonzero(np.array(history.loss) <= LOSS_LEVEL * constant_loss)
        a_pass = history.steps // len(history.loss)
        metrics = {
            "test_skill": 1 - error / constant_error,
            f"test_{'accuracy' if problem.classifies else 'rmse'}": (
                1 - error if problem.classifies else error
            ),
            "train_loss": history.loss[-1],
            "peak_over_first_loss": max(losses) / losses[0],
            "steps_to_level": int(below[0] + 1) * a_pass if below.size else None,
            "steps": history.steps,
        }
        arrays = {}
        for kind, moves in (("turn", tracker.turns()), ("displacement", tracker.displacements())):
            counts, median, tail = count_moves(moves)
            arrays[f"{kind}_counts"] = counts
            metrics |= {f"median_{kind}": median, f"tail_{kind}": tail}
        return metrics, arrays

    def describe(self, config):
        inits, lrs = (len(config[name]) for name in ("init", "lrs"))
        return (
            f"{inits} initializers × {lrs} rates from {config['lrs'][0]:g} to "
            f"{config['lrs'][-1]:g} × {counted(config['seeds'], 'seed')}, {STEPS} steps of Adam at "
            f"a constant rate; a run trains if its skill is at least {TRAINS_FROM:g} of the best "
            "on its set"
        )

    def rows(self, results):
        """What each method achieves on each set, over all initializers and rates."""
        rows = [("method", "trains, share of runs ± sd", "best skill", "at", "diverged",
                 f"loss below {LOSS_LEVEL:g} of a constant's", "median steps to it")]  # fmt: skip
        for name, grids in load_grids(results).items():
            rows.append((f"set {name}", *[""] * 6))
            rows += [(m, *grid.row(results.config)) for m, grid in grids.items()]
        return rows

    def notes(self, results):
        yield "best skill: of the initializer and rate that are best on the test data themselves"
        runs = [run["metrics"] for run in results.find()]
        seconds = sum(metrics["seconds"] for metrics in runs)
        yield f"{len(runs)} runs, {duration(seconds)} of computing"
        for metrics in runs:
            if "failed" in metrics:
                yield f"failed: {metrics['failed']}"

    def figures(self, results):
        caption = f"{self.describe(results.config)}."
        grids = load_grids(results)
        for name in grids:
            yield map_plot(results.config, name, grids[name], caption)
        yield outcomes_plot(grids, caption)
        yield convergence_plot(grids, caption)
        quantity = "change of direction in a step (rad)"
        yield moves_plot(results, "turn", quantity, caption)
        quantity = "movement of the location φ in a step (units of x)"
        yield moves_plot(results, "displacement", quantity, caption)


def map_plot(config, name, grids, caption):
    """The skill of each method on a set, by initializer and rate."""
    min_skill = next(iter(grids.values())).min_skill
    figure = figures.lr_maps(
        config["lrs"],
        config["init"],
        {m: grid.median for m, grid in grids.items()},
        min_skill,
        "skill",
        f"Set {name}. Skill: the share of a constant's test error that a network removes, "
        f"median over seeds. A dot: trains ({min_skill:.2f} or more); a cross: it met NaN or "
        f"infinity for half of the seeds or more. {caption}",
    )
    trained = {m: grid.share_trained().mean() for m, grid in grids.items()}
    description = "One panel per method, one row per initializer, one column per rate. Share of "
    description += f"cells that train: {tables.list_values(trained, '.2f')}"
    return plots.Plot(figure, f"map_{name}", f"What trains on {name}", description)


def outcomes_plot(grids, caption):
    """How many runs of each method have each outcome on each set."""
    shares = {n: {m: g.outcomes() for m, g in methods.items()} for n, methods in grids.items()}
    figure = figures.stacked_shares(
        shares,
        "share of runs",
        "The outcomes of all runs, one panel per set. Diverged: met NaN or infinity, or its "
        f"loss rose above {EXPLOSION_FACTOR} times that of the first step and it ends no "
        f"better than a constant. {caption}",
    )
    description = "Stacked bars, one per method. Share that trains: " + "; ".join(
        f"{name}: " + tables.list_values({m: s["trains"] for m, s in methods.items()}, ".2f")
        for name, methods in shares.items()
    )
    return plots.Plot(figure, "outcomes", "How many runs train, and how many diverge", description)


def convergence_plot(grids, caption):
    """How many runs of each method come to a training loss within each number of steps."""
    figure = plots.shares_reached(
        {n: {m: g.reached.ravel() for m, g in methods.items()} for n, methods in grids.items()},
        "training steps",
        "share of runs there",
        f"Share of all runs whose training loss has come below {LOSS_LEVEL:g} of the best "
        f"constant's. {caption}",
    )
    description = "One panel per set, one line per method: the share of runs that got there "
    description += "within each number of steps."
    return plots.Plot(figure, "convergence", "Steps to a given loss", description)


def moves_plot(results, kind, quantity, caption):
    """How many steps of each method's runs change the boundaries by more than each size."""
    counts = {
        name: {
            m: sum(
                arrays[f"{kind}_counts"]
                for _, arrays in results.find_with_arrays(method=m, set=name)
                if arrays
            )
            for m in results.config["methods"]
        }
        for name in results.config["set"]
    }
    figure = plots.exceedance(
        10**EDGES,
        counts,
        quantity,
        "share of changes that are larger",
        "Changes of all units of the first layer in all steps of all runs that met no NaN or "
        f"infinity; units without a boundary (LN) have none. {caption}",
    )
    description = "One panel per set, one line per method: the share of steps that change more "
    description += "than each size."
    return plots.Plot(figure, f"{kind}s", f"How far steps move boundaries: {kind}s", description)


def load_grids(results):
    """All runs of a sweep: name of the set -> method -> Grid."""
    config, found = results.config, {}
    for name in config["set"]:
        grids = {m: Grid(results, name, m) for m in config["methods"]}
        best = max(
            np.max(g.median, initial=0.0, where=np.isfinite(g.median)) for g in grids.values()
        )
        for grid in grids.values():
            grid.min_skill = TRAINS_FROM * float(best) or np.inf
        found[name] = grids
    return found


class Grid:
    """The runs of one method on one set, as arrays (initializers, rates, seeds).

    Attributes
    ----------
    skill : ndarray
        NaN where a run met NaN or infinity, or failed; −∞ where its error is not finite.
    reached : ndarray
        Steps to the loss level, ∞ where it was not reached.
    diverged : ndarray of bool
    min_skill : float
        What counts as trained; from the best of all methods, which `load_grids` knows.
    """

    def __init__(self, results, name, method):
        axes = [results.config[key] for key in ("init", "lrs", "seeds")]
        shape = tuple(map(len, axes))
        self.skill, self.reached = np.full(shape, np.nan), np.full(shape, np.inf)
        self.diverged = np.zeros(shape, bool)
        for run in results.find(set=name, method=method):
            fields = run["init"], run["lr"], run["seed"]
            place = tuple(axis.index(value) for axis, value in zip(axes, fields))
            metrics = run["metrics"]
            self.diverged[place] = diverged(metrics)
            if "test_skill" in metrics:
                skill, steps = metrics["test_skill"], metrics["steps_to_level"]
                self.skill[place] = -np.inf if skill is None else skill
                self.reached[place] = np.inf if steps is None else steps

    @property
    def median(self):
        """Median skill over seeds, (initializers, rates); NaN where half or more diverged."""
        lost = np.isnan(self.skill)
        middle = np.median(np.where(lost, -np.inf, self.skill), axis=-1)
        return np.where(lost.mean(axis=-1) >= 0.5, np.nan, middle)

    def share_trained(self):
        """Share of the initializers and rates that train, (seeds,)."""
        return (self.skill >= self.min_skill).mean(axis=(0, 1))

    def outcomes(self):
        """The share of runs with each outcome."""
        trains, learns = self.skill >= self.min_skill, self.skill > 0
        return {
            "trains": float(np.mean(trains)),
            "learns something": float(np.mean(learns & ~trains)),
            "no better than a constant": float(np.mean((self.skill <= 0) & ~self.diverged)),
            "diverged": float(np.mean(self.diverged)),
        }

    def row(self, config):
        """The cells of the table."""
        best, at, median = "", "", self.median
        if np.isfinite(median).any():
            i, j = np.unravel_index(np.nanargmax(median), median.shape)
            best, at = f"{median[i, j]:.3f}", f"{config['init'][i]}, {config['lrs'][j]:g}"
        reached = np.isfinite(self.reached)
        steps = f"{np.median(self.reached[reached]):.0f}" if reached.any() else ""
        lost = f"{np.count_nonzero(self.diverged)} of {self.diverged.size}"
        area = tables.format_mean(mean_interval(self.share_trained()))
        return area, best, at, lost, f"{reached.mean():.3f}", steps


def diverged(metrics):
    """Whether a run met NaN or infinity, or its loss exploded and it ended without skill."""
    if "test_skill" not in metrics:
        return metrics.get("diverged", False)
    peak, skill = metrics["peak_over_first_loss"], metrics["test_skill"]
    return (peak is None or peak > EXPLOSION_FACTOR) and (skill is None or skill <= 0)


EXPERIMENT = Robustness()
