"""What all experiments share: options, runs of methods and seeds, the table, the files."""

import contextlib
import sys
from abc import ABC, abstractmethod
from itertools import product
from typing import NamedTuple

import numpy as np

from geonet import threads
from geonet.experiments.harness import executors, options, tables
from geonet.experiments.harness.results import Results, check_folder, locked
from geonet.experiments.harness.sweep import sweep
from geonet.models import METHODS, PAPER_METHODS
from geonet.text import BadInput, Parser, aligned, duration


class Outcome(NamedTuple):
    """What an experiment leaves: its results, its figures by name as saved, and the exit status."""

    results: Results
    figures: dict  # name -> what `geonet.plots.Plot.save` returns
    status: int  # 1 if a run failed


class Experiment(ABC):
    """One experiment of the paper. Its file in `geonet.experiments` makes one, called EXPERIMENT.

    Subclasses set the attributes, and define how to do one run and which figures to draw.
    """

    name = ""
    summary = ""
    metric = ""  # the one in the table
    metric_title = ""
    larger_is_better = False
    further_metrics = ()  # (name, title) of each further column of the table
    seeds = quick_seeds = "5"
    methods = ",".join(METHODS)
    init = "glorot_uniform"
    init_type = staticmethod(options.initializer)  # what --init takes
    takes_lr = True  # whether each method has a learning rate, which --lr sets
    differences = ()  # (what, clean, paper) of each setting that --protocol paper changes
    default_threads = 1  # small networks do not gain from more; None for all
    workers = None  # processes that share the runs; None for as many as cores and threads allow
    resume_hint = "the same command (without --overwrite)"  # continues after an interruption
    case = None  # config field that lists the cases, such as "batch_size": each is run separately

    def add_arguments(self, parser):
        """Declare the options that all experiments have. Subclasses add their own."""
        self.add_methods(parser)
        text = f"count or comma list (default: {self.seeds})"
        parser.add_argument("--seeds", type=options.seed_list, help=text)
        if self.takes_lr:
            parser.add_argument(
                "--lr",
                type=options.lr_choice,
                help="rate for all methods; or GmP=0.1,SP=0.01 for some; or 0.01,0.1, from which "
                "validation data choose each method's; or sweep, for a grid (default: 0.1 for "
                "the geometric methods, 0.01 for the others)",
            )
        if self.differences:
            options.add_protocol(parser, self.differences)
        text = "initializer (default: %(default)s)"
        parser.add_argument("--init", type=self.init_type, default=self.init, help=text)
        parser.add_argument("--out", default=f"results/{self.name}", help="folder to write to")
        parser.add_argument("--overwrite", action="store_true", help="replace what is in --out")
        parser.add_argument("--quick", action="store_true", help="only a few seeds and steps")
        self.add_execution_arguments(parser)

    def add_methods(self, parser):
        """Declare the option that says which methods are compared."""
        text = f"comma list of {', '.join(METHODS)} (default: %(default)s)"
        parser.add_argument(
            "--methods", type=options.names(METHODS), default=self.methods, help=text
        )

    def add_execution_arguments(self, parser):
        """Declare the options that say where runs are executed."""
        executors.add_arguments(parser, self.workers)

    def arguments(self, *words, **values):
        """The options of `add_arguments`: defaults, those in words, and those given as values.

        Parameters
        ----------
        *words : str
            Options and their values, as on the command line.
        **values
            Options by name, as the command line would parse them, such as ``seeds=[0, 1]``.

        Returns
        -------
        argparse.Namespace

        Raises
        ------
        BadInput
            If the words make no sense.
        TypeError
            If there is no such option.
        """
        parser = Parser(f"python -m geonet {self.name}")
        self.add_arguments(parser)
        arguments = parser.parse_args([*map(str, words)])
        if unknown := sorted(values.keys() - vars(arguments).keys()):
            raise TypeError(f"{self.name} has no option {unknown[0]!r}")
        vars(arguments).update(values)
        return arguments

    def configure(self, arguments):
        """Turn parsed arguments into the configuration, a dict of JSON values.

        Raises
        ------
        ValueError, OSError
            If an argument is invalid, or a file that it names cannot be used.
        """
        seeds = self.quick_seeds if arguments.quick else self.seeds
        config = {
            "methods": arguments.methods,
            "seeds": arguments.seeds or options.seed_list(seeds),
        }
        if self.differences:
            config["protocol"] = arguments.protocol
        if self.takes_lr:
            config["lr"] = self.lrs(arguments)
            if any(len(lrs) > 1 for lrs in config["lr"].values()):
                if not self.has_validation(arguments):
                    raise ValueError(
                        "--lr must be one rate for each method here: there are no validation data "
                        "to choose from several"
                    )
                which = "largest" if self.larger_is_better else "smallest"
                config["choice"] = [which, f"validation_{self.metric}"]
        return config | {"init": arguments.init, "quick": arguments.quick}

    def lrs(self, arguments):
        """The learning rates of each method that are run: dict of str to list of float."""
        return options.lrs(arguments.lr, arguments.methods)

    def has_validation(self, arguments):
        """Whether runs have a validation metric, from which learning rates can be chosen."""
        return True

    def overlap(self, config, case):
        """How far the data of the seeds depend on each other: 0 if they are drawn independently.

        For splits of a single set it is n_test/n_train. Differences over such splits are
        correlated, which widens their intervals: see
        `geonet.experiments.harness.statistics`.
        """
        return 0.0

    def execution(self, arguments):
        """What `run_one` is told besides the configuration. It must not affect the results."""
        return {}

    def executor(self, arguments):
        """The executor that does the runs, for use in a `with`."""
        workers = arguments.workers
        if workers is None and arguments.executor is None:
            workers = self.workers or max(1, threads.available() // threads.count())
        return executors.open_executor(arguments.executor, workers)

    @abstractmethod
    def run_one(self, config, method, seed, lr):
        """Do one run. This may be called in any process, and in several at once.

        Parameters
        ----------
        config : dict
            The configuration with what `execution` adds. Where there are cases, config[self.case]
            is the value of this case.
        method : str
        seed : int
        lr : float or None

        Returns
        -------
        metrics : dict
            JSON numbers: ``test_{metric}``, and where there are validation data
            ``validation_{metric}``. Only the choice of a learning rate reads the latter.
        arrays : dict of numpy.ndarray
            What was tracked during the run.
        """

    @abstractmethod
    def describe(self, config):
        """The line above the table."""

    @abstractmethod
    def figures(self, results):
        """Draw the figures of an experiment.

        Parameters
        ----------
        results : Results

        Yields
        ------
        geonet.plots.Plot
        """

    def run(self, *words, executor=None):
        """Do from Python what `python -m geonet NAME WORDS` does.

        Parameters
        ----------
        *words : str
            Options and their values.
        executor : concurrent.futures.Executor, optional
            Does the runs, and is not shut down. By default, the options choose one.

        Returns
        -------
        int
            As for `main`.
        """
        return self.main(self.arguments(*words), executor)

    def main(self, arguments, executor=None):
        """Run the whole experiment: what `python -m geonet NAME` does.

        Returns
        -------
        int
            The exit status: 1 if a run failed.

        Raises
        ------
        BadInput
            As `conduct` does.
        """
        return self.conduct(arguments, executor).status

    def conduct(self, arguments, executor=None):
        """Do all runs, print the table and the failures, and draw the figures.

        Parameters
        ----------
        arguments : argparse.Namespace
            As `arguments` returns them.
        executor : concurrent.futures.Executor, optional
            As for `run`.

        Returns
        -------
        Outcome

        Raises
        ------
        BadInput
            If an argument is invalid or a file cannot be used (then nothing has been run), or if
            workers died.
        """
        count = getattr(arguments, "threads", None) or self.default_threads or threads.count()
        with threads.limited(count), contextlib.ExitStack() as stack:
            try:
                check_folder(arguments.out)
                config = self.configure(arguments)
                stack.enter_context(locked(arguments.out))
                command = options.command_line(self.name, vars(arguments), vars(self.arguments()))
                results = Results(arguments.out, self.name, config, arguments.overwrite, command)
                if executor is None:
                    executor = stack.enter_context(self.executor(arguments))
            except (ValueError, OSError) as error:
                raise BadInput(str(error)) from error
            sweep(self, config | self.execution(arguments), results, executor)
            figures = self.present(results, results.save_figure)
            return Outcome(results, figures, self._count_failures(results))

    def present(self, results, save):
        """Print the table and draw the figures, if any run did not fail.

        Parameters
        ----------
        results : Runs
        save : function
            Saves a `geonet.plots.Plot`.

        Returns
        -------
        dict
            Name of a figure -> what `save` returned.
        """
        figures = {}
        if any("failed" not in run["metrics"] for run in results.runs.values()):
            print(self.table(results))
            figures = {plot.name: save(plot) for plot in self.figures(results)}
            pictures = ", ".join(saved["path"] for saved in figures.values())
            print(f"figures: {pictures or 'none, because the runs to draw diverged'}")
        print(f"numbers: {results.folder / 'results.json'}\n")
        return figures

    def _count_failures(self, results):
        """Print how many runs failed, if any, and return the exit status."""
        failed = [run for run in results.find() if "failed" in run["metrics"]]
        if not failed:
            return 0
        waiting = [m for m in results.config["methods"] if self._open_choice(results, m)]
        undecided = f"; no rate can be chosen yet for {', '.join(waiting)}" if waiting else ""
        print(
            f"{self.name}: {len(failed)} of {len(results.runs)} runs failed, the first of them "
            f"with {failed[0]['metrics']['failed']}; {self.resume_hint} retries them{undecided}",
            file=sys.stderr,
        )
        return 1

    def _open_choice(self, results, method):
        """Whether a method has no rate yet, as runs have failed that may be those of the best."""
        cases = self.cases(results.config) if self.takes_lr else ()
        return any(np.isnan(results.lr(method, **case)) for case in cases)

    def cases(self, config):
        """The fields that distinguish the cases, one dict per case."""
        return [{}] if self.case is None else [{self.case: value} for value in config[self.case]]

    def runs(self, config):
        """What identifies each run: a list of dicts with method, lr, seed and the case's fields."""
        lrs = config.get("lr", {method: [None] for method in config["methods"]})
        return [
            {"method": method, "lr": lr, "seed": seed, **case}
            for case, method in product(self.cases(config), config["methods"])
            for lr, seed in product(lrs[method], config["seeds"])
        ]

    def table(self, results):
        """The results as text: description, tables and notes."""
        found = map(aligned, self.tables(results))
        notes = "\n".join(self.notes(results))
        return "\n\n".join(["", self.describe(results.config), *found, notes])

    def tables(self, results):
        """The rows of each table, with a header: the first is `rows`."""
        yield self.rows(results)
        if any(len(lrs) > 1 for lrs in results.config.get("lr", {}).values()):
            yield self.rows_by_lr(results)

    def rows_by_lr(self, results):
        """The metric at every learning rate, mean ± standard deviation; * is the chosen one."""
        lrs = sorted({lr for own in results.config["lr"].values() for lr in own})
        rows = [(f"{self.metric_title} by rate (* chosen)", *(f"{lr:g}" for lr in lrs))]
        for case in self.cases(results.config):
            label = "".join(f", {value}" for value in case.values())
            for method in results.config["methods"]:
                chosen, cells = results.lr(method, **case), []
                for lr in lrs:
                    values = results.metrics(method, f"test_{self.metric}", lr=lr, **case)
                    mean = tables.statistics_cells(values)[0]
                    lost = np.count_nonzero(~np.isfinite(values))
                    lost = f" ({lost} lost)" if lost and lr in results.config["lr"][method] else ""
                    cells.append(f"{mean}{' *' * (lr == chosen)}{lost}".strip())
                rows.append((f"{method}{label}", *cells))
        return rows

    def rows(self, results):
        """Mean ± standard deviation and 95 % interval over seeds, and the paired difference."""
        first = results.config["methods"][0]
        rows = [("method", "rate", f"{self.metric_title}, mean ± sd", "95 % interval",
                 f"minus {first}'s, paired 95 %", "steps",
                 *(title for _, title in self.further_metrics), "diverged")]  # fmt: skip
        for case in self.cases(results.config):
            if case:
                rows.append(
                    (", ".join(f"{k} {v}" for k, v in case.items()), *[""] * (len(rows[0]) - 1))
                )
            values = self.table_values(results, case)
            rows += [self._row(results, m, values, case) for m in values]
        return rows

    def table_values(self, results, case):
        """The values of each method for `tables.statistics_cells`: the metric of each seed."""
        name = f"test_{self.metric}"
        return {m: results.metrics(m, name, **case) for m in results.config["methods"]}

    def notes(self, results):
        """Lines below the table: how long the runs took, and what went wrong."""
        seconds = sum(run["metrics"].get("seconds", 0) for run in results.runs.values())
        yield f"{len(results.runs)} runs, {duration(seconds)} of computing"
        for run in results.find():
            metrics = run["metrics"]
            if reason := metrics.get("reason", metrics.get("failed")):
                lr = "" if run["lr"] is None else f"rate {run['lr']:g}, "
                yield f"{run['method']}, {lr}seed {run['seed']}: {reason}"

    def _row(self, results, method, values, case):
        """Statistics over the runs that did not diverge; the last column counts those that did."""
        finished = np.isfinite(results.metrics(method, f"test_{self.metric}", **case))
        lr = results.lr(method, **case)
        found = results.find(method=method, lr=lr, **case)
        means = [
            f"{results.metrics(method, further, **case)[finished].mean():{style}}"
            if finished.any()
            else ""
            for further, style in [("steps", ".0f"), *((n, ".4g") for n, _ in self.further_metrics)]
        ]
        failed = sum("failed" in run["metrics"] for run in found)
        lost = np.count_nonzero(~finished) - failed
        lost = f"{lost} of {len(finished)}" if found else "not tested"
        first, *_ = values
        reference = None if method == first else values[first]
        high = 1.0 if self.larger_is_better else np.inf  # accuracies and errors
        overlap = self.overlap(results.config, case)
        cells = tables.statistics_cells(values[method], reference, high, overlap)
        lr = f"{lr:g}" if found else "not chosen"
        return (method, lr, *cells, *means, f"{lost}, {failed} failed" if failed else lost)


def first_runs(results, lr=None):
    """The runs of the first seed, for figures that show one run of each method.

    Parameters
    ----------
    results : Results
        Of an experiment without cases.
    lr : float, optional
        By default, each method's chosen rate.

    Returns
    -------
    runs : dict
        method -> arrays of its run, if that did not diverge or fail.
    caption : str
        Which seed and learning rates these are, and whose run is missing.
    """
    config, fields = results.config, {} if lr is None else {"lr": lr}
    methods, seed = config["methods"], config["seeds"][0]
    lost = [m for m in methods if results.metrics(m, "diverged", **fields)[0] != 0]
    runs = {m: results.arrays(m, seed, **fields) for m in methods if m not in lost}
    caption = f"Seed {seed} (1 of {len(config['seeds'])} seeds)"
    if "lr" in config and runs:
        caption += "; rates: " + ", ".join(f"{m} {lr or results.lr(m):g}" for m in runs)
    if lost:
        caption += f"; diverged or failed: {', '.join(lost)}"
    return runs, f"{caption}."


RECIPE_DIFFERENCES = (  # of `recipe`, for Experiment.differences
    ("bias under BN", "none", "before BN, where it cancels"),
    ("bias under WN+MBN", "after the mean", "before the mean, where it cancels"),
)


def recipe(config, method):
    """The method's recipe under the configuration's protocol."""
    return (PAPER_METHODS if config["protocol"] == "paper" else METHODS)[method]


def generators(seed, count):
    """Independent generators from one seed, so that draws from one do not affect another."""
    return [np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(count)]
