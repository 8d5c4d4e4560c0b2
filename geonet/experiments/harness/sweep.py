"""The runs of an experiment as independent tasks: what there is to do, and each kept as it ends."""

import contextlib
import json
import math
import os
import sys
import time
import traceback
from concurrent.futures import BrokenExecutor
from functools import partial
from itertools import product

import numpy as np

from geonet.experiments.harness import executors
from geonet.experiments.harness.results import COMMON_FIELDS
from geonet.text import BadInput
from geonet.train import Diverged, Progress


def sweep(experiment, config, results, executor):
    """Choose rates on validation data where there is a choice, then take the test metric.

    Parameters
    ----------
    experiment : Experiment
    config : dict
        With what `Experiment.execution` says.
    results : Results
        Runs that it has are not done again, but for those that failed. Written at the end, and
        when the user interrupts.
    executor : concurrent.futures.Executor

    Raises
    ------
    BadInput
        If workers died, or a run found its data of no use.
    """
    choices = config.get("lr", {method: [None] for method in config["methods"]})
    cases = list(product(experiment.cases(config), choices.items()))

    def runs(split, lrs):
        return [
            {"method": method, "lr": lr, "split": split, "seed": seed, **case}
            for (case, (method, _)), candidates in zip(cases, lrs, strict=True)
            for lr, seed in product(candidates, config["seeds"])
        ]

    run_all = partial(_run_all, experiment, config, results, executor)
    try:
        candidates = [lrs if len(lrs) > 1 else [] for _, (_, lrs) in cases]
        run_all(runs("validation", candidates), f"{experiment.name}, to choose rates")
        best = [
            _lrs_to_test(experiment, results, method, lrs, case) for case, (method, lrs) in cases
        ]
        run_all(runs("test", best), experiment.name)
    except (KeyboardInterrupt, BrokenExecutor) as error:
        kept = f"{len(results.runs)} finished runs are kept in {results.folder}"
        words = f"{kept}, and {experiment.resume_hint} goes on from there"
        if isinstance(error, BrokenExecutor):  # such as for want of memory
            raise BadInput(f"{experiment.name}: a worker died ({error}); {words}") from error
        print(f"\n{experiment.name}: interrupted; {words}", file=sys.stderr)
        raise
    finally:
        results.write()


def _run_all(experiment, config, results, executor, runs, label):
    """Do the runs that have not been done, and keep each as it ends."""
    todo = [run for run in runs if not results.has(run)]
    ended = executors.completed(executor, partial(execute_run, experiment, config), todo)
    progress = Progress(len(runs), label, done=len(runs) - len(todo))
    with contextlib.closing(ended), contextlib.closing(progress):
        for run, future in ended:
            try:
                metrics, arrays = future.result()
            except (BadInput, BrokenExecutor):
                raise
            except Exception as error:  # of the way there or back
                metrics, arrays = {"failed": _error_summary(error), "seconds": 0.0}, {}
            results.add(run | {"metrics": metrics}, arrays)
            progress.update(f"({run['method']}, seed {run['seed']})")


def execute_run(experiment, config, run):
    """Metrics and arrays of one run; of one that diverged or failed, that it did, and why.

    Parameters
    ----------
    experiment : Experiment
    config : dict
    run : dict
        method, seed, lr, split, and fields of the case.

    Raises
    ------
    BadInput
        As `Experiment.run_one` does: what is of no use to one run is of none to the others.
    """
    start = time.perf_counter()
    case = {name: value for name, value in run.items() if name not in COMMON_FIELDS}
    which = run["method"], run["seed"], run["lr"], run["split"]
    try:
        metrics, arrays = experiment.run_one(config | case, *which)
        metrics = {name: _json_number(value) for name, value in metrics.items()}
        metrics["diverged"] = False
        json.dumps(metrics, allow_nan=False)  # what cannot be kept is a failure of this run
    except Diverged as reason:
        metrics, arrays = {"diverged": True, "reason": str(reason)}, {}
    except BadInput:
        raise
    except Exception as error:
        metrics, arrays = {"failed": _error_summary(error)}, {}
    return metrics | {"seconds": round(time.perf_counter() - start, 3)}, arrays


def _lrs_to_test(experiment, results, method, candidates, case):
    """The rates to test, one or none; tests at others, of an earlier choice, are dropped.

    None is chosen while a validation run has failed, as it might have been of the best rate.
    """
    if len(candidates) == 1:
        return candidates
    validated = results.find(method=method, split="validation", **case)
    chosen = [best_lr(experiment, results, method, candidates, case)]
    if any("failed" in run["metrics"] for run in validated):
        chosen = []
    tested = results.find(method=method, split="test", **case)
    results.drop([run for run in tested if run["lr"] not in chosen])
    return chosen


def best_lr(experiment, results, method, candidates, case):
    """The rate with the best mean on validation data; one that diverged on a seed is out."""
    if len(candidates) == 1:
        return candidates[0]
    sign, name = -1 if experiment.larger_is_better else 1, f"validation_{experiment.metric}"
    scores = [
        sign * results.metrics(method, name, "validation", lr=lr, **case).mean()
        for lr in candidates
    ]
    if np.isnan(scores).all():
        return candidates[0]
    return candidates[int(np.nanargmin(scores))]


def _error_summary(error):
    """An error in one line, with the place where it was raised."""
    words = f"{type(error).__name__}: {' '.join(str(error).split())}"
    for place in traceback.extract_tb(error.__traceback__)[-1:]:
        words += f" ({os.path.basename(place.filename)}, line {place.lineno})"
    return words


def _json_number(value):
    """A number of NumPy as one of Python, None for one that JSON has no word for."""
    value = value.item() if isinstance(value, np.floating | np.integer | np.bool_) else value
    return None if isinstance(value, float) and not math.isfinite(value) else value
