"""What each ingredient of GmP buys: from SP to GmP, one change at a time.

The rungs are SP; WN, where a row's length stands apart from its direction; GmP-C, with the offset
in the units of the data and the radius outside the ReLU; and GmP, with angles for the direction.
Only the hidden layers change. For one seed all rungs start from the same function. The authors also
give GmP ten times the rate of the others, which is a fifth ingredient. What it buys depends on when
it is added. So there are two orders: in the one the rate is raised first, for SP, and in the other
last, for GmP. A third comparison has each rung at its own rate, which validation data choose.

GmP-C starts from directions of length 1. How fast a direction turns depends on that length, so
there is another GmP-C, which starts from directions as long as SP's weights, v = w.

With one input (Levy) there is neither an angle nor a direction that could turn: WN is SP, and GmP-C
is GmP, bit for bit. There the only step besides the rate is that of offset and radius.

Every set is trained to the end, by the settings of its own experiment under the protocol `clean`,
on raw targets too. Pictures are trained as in `imagenet32`: by SGD with momentum, steered like
Banana by the share of wrong labels in the validation part.
"""

from functools import partial
from itertools import pairwise, product
from pathlib import Path
from typing import NamedTuple

import numpy as np

from geonet import ops, plots
from geonet.data.tables import standardize_target
from geonet.data.uci import split_uci
from geonet.experiments import banana, imagenet32, levy, uci
from geonet.experiments.harness import figures, options, tables
from geonet.experiments.harness.classification import MOMENTUM
from geonet.experiments.harness.experiment import Experiment, generators
from geonet.experiments.harness.small_networks import measured
from geonet.experiments.harness.statistics import paired_interval
from geonet.experiments.sets.banana import split_banana
from geonet.experiments.sets.friedman import load_friedman
from geonet.experiments.sets.levy import load_levy
from geonet.experiments.small_problems import PROBLEMS, error_of, load_problem_data
from geonet.models import METHODS, Method, mlp
from geonet.nn.parameterizations import PARAMETERIZATIONS
from geonet.text import counted, duration
from geonet.train import SGD, Adam, EarlyStopping, ReduceLROnPlateau, fit, predict

LOW, HIGH = 0.01, 0.1  # the authors' rate of SP, and that of GmP
LRS = LOW, 0.03, HIGH, 0.3
LONG = "GmP-C(v=w)"
RUNGS = {
    "SP": METHODS["SP"],
    "WN": Method("weight_norm"),  # with a standard output layer, so that one layer changes
    "GmP-C": METHODS["GmP-C"],
    LONG: METHODS["GmP-C"],
    "GmP": METHODS["GmP"],
}
RATE, WHOLE = "rate", "the whole"
INGREDIENTS = {  # what a step changes, by the rung that it leads to
    RATE: f"the rate, {LOW:g} → {HIGH:g}",
    "WN": "length apart (WN)",
    "GmP-C": "offset in data units, radius outside (GmP-C)",
    "GmP": "angles (GmP)",
}
ORDERS = {
    "first": "the rate first",
    "last": "the rate last",
    None: "each rung at its chosen rate",
}


class Training(NamedTuple):
    """How a set is learned, as in its own experiment."""

    units: int | None  # of the hidden layer; None for the convnet of the small pictures
    loss: object
    epochs: int
    batch_size: int | None
    patience: int  # epochs until training ends; after half of them, the rate falls
    steered: bool = True  # by validation data; else by the training loss
    optimizer: object = partial(Adam, eps=1e-7)


LEVY = Training(levy.UNITS, ops.mae, levy.STEPS, None, levy.PATIENCE, steered=False)
TABLE = Training(uci.UNITS, ops.mae, uci.EPOCHS, uci.BATCH_SIZE, uci.PATIENCE)
SETS = {
    "levy-paper": LEVY,
    "levy": LEVY,
    "banana": Training(
        banana.UNITS, ops.binary_cross_entropy, banana.EPOCHS, banana.BATCH_SIZE, banana.PATIENCE
    ),
    "energy-raw": TABLE,
    "energy": TABLE,
    "friedman-raw": TABLE,
    "friedman": TABLE,
    "pictures": Training(
        None,
        ops.cross_entropy,
        500,
        PROBLEMS["pictures"].batch_size,
        2 * imagenet32.PATIENCE,
        optimizer=partial(SGD, momentum=MOMENTUM),
    ),
}
TITLES = {
    "levy-paper": "Levy, the authors' points",
    "levy": "Levy, redrawn",
    "banana": "Banana",
    "energy-raw": "Energy, raw target",
    "energy": "Energy, standardized target",
    "friedman-raw": "Friedman 1, raw target",
    "friedman": "Friedman 1, standardized target",
    "pictures": "Disks and stripes",
}


def quantity(name):
    """What the error of a set is."""
    return "test RMSE" if SETS[name].loss is ops.mae else "wrong on test data (%)"


def rungs(name):
    """The rungs of a set in ascending order; with one input, only two are different."""
    return ("SP", "GmP") if SETS[name] is LEVY else ("SP", "WN", "GmP-C", "GmP")


def ingredient(name, before, after):
    """What the step from one stop (method, rate) to another one changes: a key of INGREDIENTS."""
    if before[0] == after[0]:
        return RATE
    return "GmP-C" if SETS[name] is LEVY else after[0]


def stops(name, order):
    """The stops of an order, pairs (method, rate); a rate of None is the chosen one."""
    methods = rungs(name)
    if order is None:
        return [(method, None) for method in methods]
    if order == "first":
        return [("SP", LOW), *((method, HIGH) for method in methods)]
    return [*((method, LOW) for method in methods), ("GmP", HIGH)]


def load_data(config, seed):
    """The data of config["set"] for a seed.

    Returns
    -------
    data : Split
    unit : float
        Times this, an error is in the units of the target, or in per cent.
    """
    name, rng = config["set"], generators(seed, 3)[0]
    if name == "pictures":
        return load_problem_data(name, seed), 100.0
    if name == "banana":
        path = Path(config["data"], "banana.csv") if name in config["sha256"] else None
        return split_banana(*banana.points(path), rng), 100.0
    if SETS[name] is LEVY:
        return load_levy(rng, "paper" if name == "levy-paper" else "clean"), 1.0
    table, _, raw = name.partition("-")
    if table == "friedman":
        data = load_friedman("friedman1", rng)
    else:
        folder = Path(config["data"], "uci", table)
        data = split_uci(uci.read_once(folder, config["sha256"][table]), seed, rng)
    return (data, 1.0) if raw else standardize_target(data)


def build(config, method, seed, inputs):
    """The network of a rung. For one seed, all rungs start as the same function."""
    options = {"rng": generators(seed, 3)[1], "init": config["init"]}
    options["init_hidden"] = config["init_hidden"]
    units = SETS[config["set"]].units
    if units is None:
        model = PROBLEMS["pictures"].network(RUNGS[method], **options)
    else:
        model = mlp([inputs, units, 1], RUNGS[method], **options)
    for _, module in model.named_modules() if method == LONG else ():
        if isinstance(module, PARAMETERIZATIONS["cartesian"]):
            module.v.data *= module.radius.data[:, None]
    return model


class Ladder(Experiment):
    """Rungs × rates × starts on six small sets."""

    name = "ladder"
    summary = "what each ingredient of GmP buys: from SP to GmP, one change at a time"
    metric = "error"
    seeds, quick_seeds = "10", "2"
    takes_lr = False  # the rates are part of the question
    init_hidden = "normal:0.001,glorot_uniform,normal:10"

    def add_arguments(self, parser):
        super().add_arguments(parser)
        text = f"some of {','.join(SETS)} (default: all, with energy if its data are given, else "
        text += "with friedman)"
        parser.add_argument("--sets", type=options.names(SETS), help=text)
        text = "comma list of initializers of the hidden layers (default: %(default)s)"
        kind, default = options.initializers, self.init_hidden
        parser.add_argument("--init-hidden", type=kind, default=default, help=text)
        text = "folder with banana.csv and uci/energy (default: GEONET_DATA)"
        parser.add_argument("--data", help=text)

    def add_methods(self, parser):
        """Every rung is needed."""
        parser.set_defaults(methods=list(RUNGS))

    def configure(self, arguments):
        config = super().configure(arguments)
        folder = options.data_path(arguments.data, ".")
        energy = folder and Path(folder, "uci", "energy")
        if arguments.data and not (energy.exists() or Path(folder, "banana.csv").exists()):
            raise ValueError(f"--data must be a folder with banana.csv or uci/energy, not {folder}")
        without = "friedman" if energy and energy.exists() else "energy"
        sets = arguments.sets or [name for name in SETS if not name.startswith(without)]
        digests, overlap = {}, {}
        if "banana" in sets and folder and Path(folder, "banana.csv").exists():
            digests["banana"] = options.digest_of([folder / "banana.csv"])
        if any(name.startswith("energy") for name in sets):
            if not energy:
                raise ValueError("--sets energy needs --data, a folder with uci/energy")
            asked = config | {"protocol": "clean"}
            digests["energy"], overlap["energy"] = uci.digest_and_overlap(energy, asked)
        lrs = [LOW, HIGH] if arguments.quick else list(LRS)
        return config | {
            "lr": {method: lrs for method in config["methods"]},
            "choice": ["smallest", f"validation_{self.metric}"],
            "data": str(folder) if digests else None,
            "sha256": digests,
            "set": sets,
            "init_hidden": arguments.init_hidden,
            "epochs": {n: SETS[n].epochs // (50 if arguments.quick else 1) for n in sets},
            "overlap": overlap,
        }

    def overlap(self, config, case):
        known = config["overlap"] | {"banana": banana.OVERLAP}
        return known.get(case["set"].partition("-")[0], 0.0)

    def cases(self, config):
        found = product(config["init_hidden"], config["set"])
        return [{"set": name, "init_hidden": init} for init, name in found]

    def runs(self, config):
        found = super().runs(config)
        return [
            run for run in found if SETS[run["set"]] is not LEVY or run["method"] in rungs("levy")
        ]

    def run_one(self, config, method, seed, lr):
        training, (data, unit) = SETS[config["set"]], load_data(config, seed)
        model = build(config, method, seed, data.train[0].shape[1])
        optimizer = training.optimizer(model.parameters(), lr)
        x, y = data.validation

        def validation(model):
            if training.loss is ops.mae:
                return ops.mae(predict(model, x), y).item()
            return error_of(training, predict(model, x), y)

        history = fit(
            model,
            training.loss,
            data.train,
            optimizer,
            epochs=config["epochs"][config["set"]],
            batch_size=training.batch_size,
            rng=generators(seed, 3)[2],
            monitor=validation if training.steered else None,
            schedule=ReduceLROnPlateau(optimizer, training.patience // 2),
            stopping=EarlyStopping(model, training.patience),
            label=None,
        )
        metrics = measured(model, data, "error", lambda *pair: unit * error_of(training, *pair))
        lengths = {"epochs": len(history.loss), "steps": history.steps}
        return metrics | {"train_loss": min(history.loss)} | lengths, {}

    def describe(self, config):
        lrs = ", ".join(f"{lr:g}" for lr in config["lr"]["SP"])
        length = "cut short" if config["quick"] else "trained to the end"
        return (
            f"From SP to GmP, one change at a time: {counted(config['seeds'], 'seed')}, {length}; "
            f"output layer {config['init']}; rates chosen among {lrs}. Effects are paired "
            "differences of test errors with 95 % intervals; negative is better."
        )

    def tables(self, results):
        """One table per start, and in it one block per set."""
        for init in results.config["init_hidden"]:
            rows = [(f"hidden layers {init}", *ORDERS.values())]
            for name in results.config["set"]:
                rows.append((f"{TITLES[name]}: {quantity(name)}", "", "", ""))
                rows += block(results, {"set": name, "init_hidden": init})
            yield rows

    def notes(self, results):
        runs = list(results.runs.values())
        seconds = sum(run["metrics"].get("seconds", 0) for run in runs)
        yield f"{len(runs)} runs, {duration(seconds)} of computing"
        kinds = [SETS[name] for name in results.config["set"]]
        if LEVY in kinds:
            yield "0 by construction: with one input, WN is SP and GmP-C is GmP, bit for bit"
        if TABLE in kinds:
            yield (
                f"a run is stuck if its smallest training loss is over {uci.STUCK} times the "
                "median of all runs on the set from these hidden weights; a row counts the runs "
                "that its change leads to"
            )
        for case, method in product(self.cases(results.config), RUNGS):
            found = results.find(method=method, **case)
            if lost := sum(run["metrics"].get("test_error") is None for run in found):
                yield (
                    f"{case['set']}, {case['init_hidden']}: {lost} of {len(found)} runs of "
                    f"{method} diverged or failed"
                )

    def figures(self, results):
        for init in results.config["init_hidden"]:
            yield ladder_plot(results, init)


class Climb(NamedTuple):
    """The way from SP to GmP in one order, over the seeds whose runs all ended well."""

    stops: list  # (method, rate)
    ingredients: list  # what each step changes
    errors: np.ndarray  # on test data, (stops, seeds)
    lost: int  # seeds of which a run diverged or failed
    overlap: float

    def effect(self, before, after):
        """What is gained between two stops: a paired `Interval`."""
        return paired_interval(self.errors[after], self.errors[before], self.overlap)

    def effects(self):
        """ingredient -> its step's effect and the median of it; WHOLE -> what they sum to."""
        places = [*pairwise(range(len(self.stops))), (0, -1)]
        found = {}
        for name, (before, after) in zip([*self.ingredients, WHOLE], places, strict=True):
            median = np.median(self.errors[after] - self.errors[before])
            found[name] = self.effect(before, after), float(median)
        return found


def climb(results, case, order):
    """The `Climb` of a case in one of ORDERS; None if no seed is left."""
    path = stops(case["set"], order)
    errors = np.array([errors_at(results, method, lr, case) for method, lr in path])
    kept = np.isfinite(errors).all(axis=0)
    if not kept.any():
        return None
    ingredients = [ingredient(case["set"], *pair) for pair in pairwise(path)]
    lost, overlap = np.count_nonzero(~kept), EXPERIMENT.overlap(results.config, case)
    return Climb(path, ingredients, errors[:, kept], lost, overlap)


def errors_at(results, method, lr, case):
    """Test errors by seed, at a rate or, for None, at the chosen one."""
    return results.metrics(method, "test_error", **at(lr, case))


def block(results, case):
    """The rows of the table on one set and start."""
    labels = {"start": "start", **INGREDIENTS, WHOLE: WHOLE, "end": "end"}
    labels[LONG] = "for comparison: GmP-C with v = w instead of v = u"
    columns = [cells(results, case, order) for order in ORDERS]
    return [(label, *(cell.get(key, "") for cell in columns)) for key, label in labels.items()]


def cells(results, case, order):
    """One column of `block`: row -> cell."""
    way = climb(results, case, order)
    if way is None:
        return {WHOLE: "no seed has all runs"}
    found, skewed = {}, SETS[case["set"]] is TABLE  # where runs get stuck, means say little
    for key, place in (("start", 0), ("end", -1)):
        (method, lr), errors = way.stops[place], way.errors[place]
        found[key] = f"{method} at {rate(results, method, lr, case):g}: {errors.mean():.4g}"
        found[key] += f"; median {np.median(errors):.4g}" * skewed
    for key, (interval, median) in way.effects().items():
        found[key] = effect_cell(interval) + f"; median {median:+.3g}" * skewed
    if skewed:
        counts = [np.count_nonzero(stuck(results, *stop, case)) for stop in way.stops]
        for key, count in zip(["start", *way.ingredients], counts, strict=True):
            found[key] += f"; {count} stuck" * bool(count)
    if order is None:  # which rates a step is between
        lrs = [rate(results, method, None, case) for method, _ in way.stops]
        for key, (before, after) in zip(way.ingredients, pairwise(lrs), strict=True):
            found[key] += f" ({before:g} → {after:g})" * (before != after)
    found[WHOLE] += f" ({way.lost} seeds lost)" * bool(way.lost)
    if SETS[case["set"]] is LEVY:
        return found | dict.fromkeys(("WN", "GmP", LONG), "0 by construction")
    lr = {"first": HIGH, "last": LOW}.get(order)
    short, long = (errors_at(results, method, lr, case) for method in ("GmP-C", LONG))
    both = np.isfinite(short) & np.isfinite(long)
    if both.any():
        found[LONG] = effect_cell(paired_interval(long[both], short[both], way.overlap))
    return found


def rate(results, method, lr, case):
    """A learning rate, or for None the chosen one."""
    return results.lr(method, **case) if lr is None else lr


def stuck(results, method, lr, case):
    """Which runs a stopping rule has ended on a plateau, as for `uci`: (seeds,)."""
    losses = [run["metrics"].get("train_loss") for run in results.find(**case)]
    limit = uci.STUCK * np.median([loss for loss in losses if loss is not None])
    return results.metrics(method, "train_loss", **at(lr, case)) > limit


def at(lr, case):
    """The fields of runs at a rate or, for None, at the chosen one."""
    return case if lr is None else case | {"lr": lr}


def effect_cell(interval):
    """A mean difference with its interval."""
    return f"{interval.mean:+.3g} {tables.format_interval(interval, '+.3g')}".strip()


def ladder_plot(results, init):
    """The ladders of all sets from one start."""
    rows, sentences = [], []
    for name in results.config["set"]:
        case = {"set": name, "init_hidden": init}
        ways = [climb(results, case, order) for order in ORDERS]
        panels = [waterfall(results, case, way) for way in ways]
        title = TITLES[name].replace(", ", "\n")
        rows.append((f"{title}\n{quantity(name)}", panels))
        if ways[0]:
            whole = effect_cell(ways[0].effects()[WHOLE][0])
            sentences.append(f"{TITLES[name]}: {whole}.")
    seeds = len(results.config["seeds"])
    caption = (
        f"{'A QUICK RUN. ' if results.config['quick'] else ''}"
        f"{seeds} seeds, hidden layers from {init}. From SP to GmP, one change at a time, from top "
        "to bottom. A bar is what a change does to the test error: to the left is better. Line: "
        "paired 95 % interval of the change, cut off at the edge; a hollow bar: it contains 0."
    )
    if any(SETS[name] is LEVY for name in results.config["set"]):
        caption += " On Levy, with one input, WN is SP and GmP-C is GmP."
    figure = figures.waterfalls(rows, list(ORDERS.values()), INGREDIENTS | {WHOLE: WHOLE}, caption)
    description = (
        "One row per set, one column per order: bars from the error of SP to that of GmP, one "
        f"per change. The whole, with the authors' rates: {' '.join(sentences)}"
    )
    name = "ladder" if init == "glorot_uniform" else f"ladder_{init}".replace(":", "")
    return plots.Plot(figure, name, f"What each ingredient of GmP buys, from {init}", description)


def waterfall(results, case, way):
    """A panel of `figures.waterfalls`: labels of start and end, and the bars between them."""
    if way is None:
        return "diverged", "", []
    means = way.errors.mean(axis=1)
    labels = [
        f"{method} at {rate(results, method, lr, case):g}: {mean:.3g}"
        for (method, lr), mean in zip(way.stops, means)
    ]
    bars = []
    for place, (name, (interval, _)) in enumerate(way.effects().items()):
        before = means[0 if name == WHOLE else place]
        numbers = before, *(before + x for x in (interval.mean, interval.low, interval.high))
        bars.append((name, *numbers))
    return labels[0], labels[-1], bars


EXPERIMENT = Ladder()
