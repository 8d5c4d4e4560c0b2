"""How far noise on the parameters moves a boundary (figure 1b-e, and the bounds of section 2).

First, one unit in the plane: w and b are drawn with scale 1e-3, and the same ε is added to every
component of every parameter. The batch for batch normalization is 256 standard normal points. All
methods start from the same boundary; BN starts from γ = σ and β = b + μ, which give it that of SP.

Then whole layers: the parameters that set the direction (w, v or θ) are changed at random by a
given norm, and the turns are compared with the largest that such a change can cause.
"""

import numpy as np

from geonet import plots
from geonet.characteristic import perturb
from geonet.experiments.harness import figures, tables
from geonet.experiments.harness.experiment import Experiment, first_runs, generators
from geonet.models import METHODS, NORMALIZATIONS
from geonet.nn import Linear, Unit
from geonet.nn.initializers import initial_weight

EPSILONS = (1e-4, 1e-3, 1e-2, 1e-1)
FAN_INS = (2, 10, 100, 1000)
NORMS = tuple(float(x) for x in np.geomspace(1e-6, 10, 15))
BATCH_SIZE = 256
DIRECTION_PARAMETER = {"standard": "weight", "weight_norm": "v", "geometric": "theta"}


def make_unit(method, weight, bias, batch):
    """A layer under a method (not LN) whose boundaries on a batch are those of (weight, bias).

    Parameters
    ----------
    method : str
    weight, bias : numpy.ndarray
        (O, n) and (O,).
    batch : numpy.ndarray
        (N, n).

    Returns
    -------
    geonet.nn.Unit
    """
    recipe = METHODS[method]
    units, fan_in = weight.shape
    layer = Linear(
        fan_in,
        units,
        recipe.parameterization,
        "relu",
        rng=np.random.default_rng(0),
        bias=recipe.bias,
    )
    layer.parameterization = type(layer.parameterization)(weight, bias if recipe.bias else None)
    normalization = NORMALIZATIONS[recipe.normalization](units, dtype=np.float64)
    z = batch @ weight.T
    if recipe.normalization == "batch":
        normalization.gamma.data[:] = np.sqrt(z.var(axis=0) + normalization.eps)
        normalization.beta.data[:] = bias + z.mean(axis=0)
    elif recipe.normalization == "mean":
        normalization.shift.data[:] = bias + z.mean(axis=0)
    return Unit(layer, normalization)


class Perturbation(Experiment):
    """Noise on the parameters, and how far it moves the boundaries."""

    name = "perturbation"
    summary = "noise on the parameters of one unit, and what it does to the boundary (figure 1)"
    init = "normal:0.001"
    seeds = "20"
    methods = "SP,WN,BN,GmP"
    takes_lr = False
    workers = 1  # other processes would take longer to start than the runs take

    def configure(self, arguments):
        units = 20 if arguments.quick else 100
        config = super().configure(arguments)
        if "LN" in config["methods"]:
            raise ValueError("--methods: leave LN out, because noise on its β leaves no boundary")
        return config | {"epsilons": EPSILONS, "norms": NORMS, "units": units}

    def run_one(self, config, method, seed, lr):
        plane_rng, layer_rng = generators(seed, 2)
        batch = plane_rng.normal(size=(BATCH_SIZE, 2))
        drawn = initial_weight(config["init"], 1, 3, 1, plane_rng)  # w and b
        unit = make_unit(method, drawn[:, :2], drawn[:, 2], batch)
        results = [perturb(unit, epsilon, batch) for epsilon in EPSILONS]
        metrics = {}
        for epsilon, result in zip(EPSILONS, results):
            metrics[f"turn_{epsilon:g}"] = _number(result.turn[0])
            metrics[f"shift_{epsilon:g}"] = _number(result.shift[0])
        arrays = {
            "weight": np.concatenate([results[0].before[0], *(r.after[0] for r in results)]),
            "bias": np.concatenate([results[0].before[1], *(r.after[1] for r in results)]),
        }
        excess = []
        for fan_in in FAN_INS:
            turns, bounds = self._turns(config, method, fan_in, layer_rng)
            arrays |= {f"turns_{fan_in}": turns, f"bounds_{fan_in}": bounds}
            excess.append((turns / bounds).max())
        return metrics | {"largest_turn_over_bound": _number(np.max(excess))}, arrays

    @staticmethod
    def _turns(config, method, fan_in, rng):
        """Measured turns and bounds for random changes of each norm, each (norms, units)."""
        units = config["units"]
        weight = initial_weight(config["init"], units, fan_in, units, rng)
        batch = rng.normal(size=(BATCH_SIZE, fan_in))
        unit = make_unit(method, weight, np.zeros(units), batch)
        name = DIRECTION_PARAMETER[METHODS[method].parameterization]
        raw = f"layer.parameterization.{name}"
        noise = rng.normal(size=dict(unit.named_parameters())[raw].shape)
        noise /= np.linalg.norm(noise, axis=1, keepdims=True)
        results = [perturb(unit, {raw: norm * noise}) for norm in NORMS]
        return np.array([r.turn for r in results]), np.array([r.bound for r in results])

    def describe(self, config):
        return (
            f"One unit in the plane ({config['init']}), ε added to every parameter, "
            f"{len(config['seeds'])} seeds"
        )

    def rows(self, results):
        """One row per method and size of the noise, over seeds."""
        rows = [("method", "ε", "turn (rad), mean ± sd", "95 % interval", "largest",
                 "change of offset λ, median", "largest turn / bound")]  # fmt: skip
        for method in results.config["methods"]:
            ratio = results.metrics(method, "largest_turn_over_bound").max()
            for epsilon in EPSILONS:
                turns = results.metrics(method, f"turn_{epsilon:g}")
                shift = np.median(results.metrics(method, f"shift_{epsilon:g}"))
                row = method, f"{epsilon:g}", *tables.statistics_cells(turns)[:2]
                rows.append((*row, f"{turns.max():.3g}", f"{shift:.3g}", f"{ratio:.4f}"))
        return rows

    def figures(self, results):
        runs, caption = first_runs(results)
        if runs:
            yield boundaries_plot(results, runs, caption)
            yield angles_plot(results)


def boundaries_plot(results, runs, caption):
    """The boundary of one unit before and after noise of each size."""
    figure = figures.perturbation_boundaries(
        EPSILONS,
        {m: (run["weight"], run["bias"]) for m, run in runs.items()},
        f"One unit, w and b drawn with {results.config['init']}. The same ε is added to every "
        f"parameter; BN on {BATCH_SIZE} standard normal points. {caption}",
    )
    turns = {m: results.metrics(m, f"turn_{EPSILONS[1]:g}").mean() for m in runs}
    description = (
        "One panel per size of noise: the boundary before in black, and after for each method. "
        f"Mean turn in radians at ε = {EPSILONS[1]:g}: " + tables.list_values(turns, ".2g")
    )
    title = "One boundary in the plane before and after noise"
    return plots.Plot(figure, "boundaries", title, description)


def angles_plot(results):
    """Measured turns of whole layers, and their bounds."""
    config = results.config
    runs = [{m: results.arrays(m, s) for m in config["methods"]} for s in config["seeds"]]

    def joined(key):  # over the seeds, method -> (norms, units · seeds)
        return {m: np.concatenate([run[m][key] for run in runs], 1) for m in config["methods"]}

    turns = {n: joined(f"turns_{n}") for n in FAN_INS}
    bounds = {n: joined(f"bounds_{n}") for n in FAN_INS}
    figure = figures.turning_angles(
        NORMS,
        turns,
        {n: {m: b.max(axis=1) for m, b in methods.items()} for n, methods in bounds.items()},
        f"Random changes of w, v or θ in rows drawn with {config['init']}: median and maximum "
        f"of {config['units']} units × {len(config['seeds'])} seeds; the bound is that of the "
        "unit with the largest. For rows of length 1 all bounds would agree for small ‖ε‖.",
    )
    description = (
        "One panel per fan-in, log-log axes: the median and the largest measured angle of each "
        "method, and the bound, which no measured angle exceeds by more than rounding."
    )
    title = "Turning angle against the size of the noise"
    return plots.Plot(figure, "angles", title, description)


def _number(value):
    """A Python number for JSON; None if it is not finite."""
    return float(value) if np.isfinite(value) else None


EXPERIMENT = Perturbation()
