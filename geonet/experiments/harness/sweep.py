"""The runs of an experiment as independent tasks: which to do, and each stored as it ends."""

import contextlib
import json
import math
import os
import sys
import time
import traceback
from concurrent.futures import BrokenExecutor
from functools import partial

import numpy as np

from geonet import threads
from geonet.experiments.harness import executors
from geonet.experiments.harness.results import case_of
from geonet.text import BadInput
from geonet.train import Diverged, Progress


def sweep(experiment, config, results, executor):
    """Do every run that has not been done: all methods, seeds, learning rates and cases.

    Parameters
    ----------
    experiment : Experiment
    config : dict
        The configuration with what `Experiment.execution` adds.
    results : Results
        Runs that it already has are not repeated, except for those that failed. It is written at
        the end, and also when the user interrupts.
    executor : concurrent.futures.Executor

    Raises
    ------
    BadInput
        If workers died, or a run could not use its data.
    """
    runs = experiment.runs(config)
    todo = [run for run in runs if not results.has(run)]
    progress = Progress(len(runs), experiment.name, done=len(runs) - len(todo), log=True)
    execute = partial(execute_run, experiment, config, threads.count())
    ended = executors.completed(executor, execute, todo)
    try:
        with contextlib.closing(ended), contextlib.closing(progress):
            for run, result in ended:
                try:
                    metrics, arrays = result()
                except (BadInput, BrokenExecutor):
                    raise
                except Exception as error:  # on the way to the worker or back
                    metrics, arrays = {"failed": _error_summary(error), "seconds": 0.0}, {}
                results.add(run | {"metrics": metrics}, arrays)
                progress.update(f"({run['method']}, seed {run['seed']})")
    except (KeyboardInterrupt, BrokenExecutor) as error:
        kept = f"{len(results.runs)} finished runs are kept in {results.folder}"
        advice = f"{kept}, and {experiment.resume_hint} continues from there"
        if isinstance(error, BrokenExecutor):  # for lack of memory, for example
            raise BadInput(f"{experiment.name}: a worker died ({error}); {advice}") from error
        print(f"\n{experiment.name}: interrupted; {advice}", file=sys.stderr)
        raise
    finally:
        results.write()


def execute_run(experiment, config, count, run):
    """Metrics and arrays of one run. If it diverged or failed, the metrics say so, and why.

    Parameters
    ----------
    experiment : Experiment
    config : dict
    count : int
        Threads of kernels.
    run : dict
        method, seed, lr, and the fields of the case.

    Raises
    ------
    BadInput
        As `Experiment.run_one` does: no other run could use the data either.
    """
    start = time.perf_counter()
    which = run["method"], run["seed"], run["lr"]
    try:
        with threads.limited(count):
            metrics, arrays = experiment.run_one(config | case_of(run), *which)
        metrics = {name: _json_number(value) for name, value in metrics.items()}
        metrics["diverged"] = False
        json.dumps(metrics, allow_nan=False)  # a run whose metrics cannot be stored has failed
    except Diverged as reason:
        metrics, arrays = {"diverged": True, "reason": str(reason)}, {}
    except BadInput:
        raise
    except Exception as error:
        metrics, arrays = {"failed": _error_summary(error)}, {}
    return metrics | {"seconds": round(time.perf_counter() - start, 3)}, arrays


def _error_summary(error):
    """One line on an error, with the place where it was raised."""
    text = f"{type(error).__name__}: {' '.join(str(error).split())}"
    for place in traceback.extract_tb(error.__traceback__)[-1:]:
        text += f" ({os.path.basename(place.filename)}, line {place.lineno})"
    return text


def _json_number(value):
    """A Python number for one of NumPy's; None for NaN and infinity, which JSON lacks."""
    value = value.item() if isinstance(value, np.floating | np.integer | np.bool_) else value
    return None if isinstance(value, float) and not math.isfinite(value) else value
