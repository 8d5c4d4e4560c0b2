"""How far noise on the parameters moves a boundary (figure 1b-e, and the bounds of section 2).

First, one unit in the plane: w is drawn as a row of two weights and b as a row of one, with scale
1e-3 unless --init says otherwise, and the same ε is added to every component of every parameter.
The batch for batch normalization is 256 standard normal points. All methods start from the same
boundary; BN starts from γ = σ and β = b + μ, which give it that of SP.

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
from geonet.text import counted

EPSILONS = (1e-4, 1e-3, 1e-2, 1e-1)
FAN_INS = (2, 10, 100, 1000)
NORMS = tuple(float(x) for x in np.geomspace(1e-6, 10, 15))
BATCH_SIZE = 256


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
    differences = (
        ("the unit in the plane", "drawn for each seed", "drawn from RandomState(1), first w and "
         "then b, so it is the same for every seed: one seed by default, which draws the batch of "
         "BN and the layers of the second figure"),
        ("the angle of its direction", "by arctan2, which keeps the sign of w₂", "the same: their "
         "arccos(w₁/‖w‖), which drops that sign, is not repeated. Their unit has w₂ < 0, so with "
         "it the boundary of GmP would start as the mirror image of the others', and turn by as "
         "much"),
        ("the noise ε", "1e-4, 1e-3, 1e-2 and 1e-1, added to every parameter", "the same"),
    )  # fmt: skip

    def configure(self, arguments):
        units = 20 if arguments.quick else 100
        config = super().configure(arguments)
        if "LN" in config["methods"]:
            raise ValueError("--methods: leave LN out, because noise on its β leaves no boundary")
        if arguments.protocol == "paper" and arguments.seeds is None:
            config["seeds"] = [0]
        return config | {"epsilons": EPSILONS, "norms": NORMS, "units": units}

    def run_one(self, config, method, seed, lr):
        plane_rng, layer_rng = generators(seed, 2)
        batch = plane_rng.normal(size=(BATCH_SIZE, 2))
        unit_rng = np.random.RandomState(1) if config["protocol"] == "paper" else plane_rng
        weight, bias = (initial_weight(config["init"], 1, n, 1, unit_rng) for n in (2, 1))
        unit = make_unit(method, weight, bias[:, 0], batch)
        results = [perturb(unit, epsilon, batch) for epsilon in EPSILONS]
        metrics = {}
        for epsilon, result in zip(EPSILONS, results):
            metrics[f"turn_{epsilon:g}"] = result.turn[0]
            metrics[f"turn_over_bound_{epsilon:g}"] = result.turn[0] / result.bound[0]
            metrics[f"shift_{epsilon:g}"] = result.shift[0]
        arrays = {
            "weight": np.concatenate([results[0].before[0], *(r.after[0] for r in results)]),
            "bias": np.concatenate([results[0].before[1], *(r.after[1] for r in results)]),
        }
        largest = []
        for fan_in in FAN_INS:
            turns, bounds = self._turns(config, method, fan_in, layer_rng)
            arrays |= {f"turns_{fan_in}": turns, f"bounds_{fan_in}": bounds}
            largest.append((turns / bounds).max())
        return metrics | {"largest_turn_over_bound": np.max(largest)}, arrays

    @staticmethod
    def _turns(config, method, fan_in, rng):
        """Measured turns and bounds for random changes of each norm, each (norms, units)."""
        units = config["units"]
        weight = initial_weight(config["init"], units, fan_in, units, rng)
        batch = rng.normal(size=(BATCH_SIZE, fan_in))
        unit = make_unit(method, weight, np.zeros(units), batch)
        turned = unit.layer.parameterization.turned
        (name,) = (name for name, array in unit.named_parameters() if array is turned)
        noise = rng.normal(size=turned.shape)
        noise /= np.linalg.norm(noise, axis=1, keepdims=True)
        results = [perturb(unit, {name: norm * noise}) for norm in NORMS]
        return np.array([r.turn for r in results]), np.array([r.bound for r in results])

    def describe(self, config):
        return (
            f"One unit in the plane ({config['init']}), ε added to every parameter, "
            f"{counted(config['seeds'], 'seed')}"
        )

    def rows(self, results):
        """One row per method and size of the noise, over seeds."""
        rows = [("method", "ε", "turn (rad), mean ± sd", "95 % interval in [0, π]", "largest turn",
                 "largest turn / bound", "change of λ, median")]  # fmt: skip
        for method in results.config["methods"]:
            for epsilon in EPSILONS:
                turns, ratios, shifts = (
                    results.metrics(method, f"{name}_{epsilon:g}")
                    for name in ("turn", "turn_over_bound", "shift")
                )
                cells = *tables.statistics_cells(turns, high=np.pi)[:2], f"{turns.max():.3g}"
                ends = f"{ratios.max():.4f}", f"{np.median(shifts):.3g}"
                rows.append((method, f"{epsilon:g}", *cells, *ends))
        return rows

    def notes(self, results):
        ratios = {
            m: results.metrics(m, "largest_turn_over_bound").max()
            for m in results.config["methods"]
        }
        yield "Whole layers, largest turn / bound: " + tables.list_values(ratios, ".4f")
        yield from super().notes(results)

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
        f"of {config['units']} units × {counted(config['seeds'], 'seed')}; the bound is that of "
        "the unit with the largest. For rows of length 1 all bounds would agree for small ‖ε‖.",
    )
    description = (
        "One panel per fan-in, log-log axes: the median and the largest measured angle of each "
        "method, and the bound, which no measured angle exceeds by more than rounding."
    )
    title = "Turning angle against the size of the noise"
    return plots.Plot(figure, "angles", title, description)


EXPERIMENT = Perturbation()
