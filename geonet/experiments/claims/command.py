"""A verdict on every claim of the paper, from many seeds on equal terms.

The claims and the comparisons that test them are data, in `geonet.experiments.claims.statements`.
This command runs the experiments that the chosen claims depend on, or reuses existing runs, and
reports what was measured, the effect with its interval, and a verdict.
"""

import argparse
import contextlib
import json
import os
import time
from pathlib import Path

import numpy as np

from geonet.experiments import find
from geonet.experiments.claims import report
from geonet.experiments.claims.statements import CLAIMS, EVIDENCE
from geonet.experiments.claims.verdicts import RULE, RULE_OF_ALL, RULE_OF_PAIRS, judge_claim
from geonet.experiments.harness import executors, options
from geonet.experiments.harness.results import Results, first_difference
from geonet.text import BadInput, duration


class Claims:
    """The command, with the interface that the command line expects of an experiment."""

    name = "claims"
    summary = "a verdict on every claim of the paper, in a report"
    default_threads = 1

    def add_arguments(self, parser):
        """Declare the options."""
        text = f"comma list of {', '.join(CLAIMS)} (default: all)"
        parser.add_argument("--claims", help=text)
        text = "count or comma list, for every experiment (default: 10, or 3 for convnets)"
        parser.add_argument("--seeds", help=text)
        text = "existing results, such as levy=results/levy; can be repeated. "
        text += f"NAME is one of {', '.join(EVIDENCE)}"
        parser.add_argument("--reuse", action="append", default=[], metavar="NAME=DIR", help=text)
        text = "folder to write to (default: results/claims, or results/claims-quick)"
        parser.add_argument("--out", help=text)
        text = "replace what is in --out, but not what --reuse names"
        parser.add_argument("--overwrite", action="store_true", help=text)
        text = "only a few seeds and steps, ten minutes in all; the report says so"
        parser.add_argument("--quick", action="store_true", help=text)
        executors.add_arguments(parser, None)

    def configure(self, arguments):
        """Claims, folders and the options of every experiment, as JSON values.

        Raises
        ------
        ValueError
            If an argument is invalid.
        """
        names = [n.strip() for n in (arguments.claims or ",".join(CLAIMS)).split(",")]
        if unknown := [n for n in names if n not in CLAIMS]:
            raise ValueError(f"--claims: {unknown[0]!r} is not one of {', '.join(CLAIMS)}")
        if arguments.seeds is not None:
            options.seed_list(arguments.seeds)  # raises an error if it is invalid
        needed = dict.fromkeys(test.evidence for n in names for test in CLAIMS[n].tests)
        reused = _reused(arguments.reuse)
        if spare := [key for key in reused if key not in needed]:
            raise ValueError(f"--reuse: {spare[0]} is not among what the chosen claims depend on, "
                             f"which is {', '.join(needed)}")  # fmt: skip
        out = arguments.out or f"results/claims{'-quick' if arguments.quick else ''}"
        path = Path(out)
        there = next((p for p in (path, *path.parents) if p.exists()), path)
        if there.exists() and not there.is_dir():
            raise ValueError(f"--out must be a folder, and {there} is a file")
        commands = {}
        for key in needed:
            evidence = EVIDENCE[key]
            default = str(evidence.quick_seeds if arguments.quick else evidence.seeds)
            command = evidence.options.split()
            if arguments.quick:
                command += ["--quick", *evidence.quick.split()]
            if key in reused:
                command += ["--seeds", reused[key][1], "--out", reused[key][0]]
            else:
                command += ["--seeds", arguments.seeds or default, "--out", str(Path(out, key))]
                command += ["--overwrite"] if arguments.overwrite else []
            commands[key] = command
        return {"claims": names, "quick": arguments.quick, "out": out, "commands": commands}

    def main(self, arguments):
        """Run what is not there yet, and write the report.

        Raises
        ------
        BadInput
            If an argument is invalid or a folder cannot be used.
        """
        experiments = find()
        try:
            config = self.configure(arguments)
        except (ValueError, OSError) as error:
            raise BadInput(str(error)) from error
        parsed = {
            key: _parsed(experiments[EVIDENCE[key].experiment], command, arguments)
            for key, command in config["commands"].items()
        }
        left = {
            key: seeds_left(key, experiments[EVIDENCE[key].experiment], own)
            for key, own in parsed.items()
        }
        print(cost(left, config["quick"]), flush=True)
        start, status, results = time.perf_counter(), 0, {}
        for key, own in parsed.items():
            experiment = experiments[EVIDENCE[key].experiment]
            print(f"== {key}: {experiment.name} {' '.join(config['commands'][key])}", flush=True)
            with _threads(own.threads):
                status |= experiment.main(own) or 0
            own.overwrite = False
            results[key] = Results(own.out, experiment.name, experiment.configure(own))
        content = self.report(config, results, experiments)
        content["seconds"] = round(time.perf_counter() - start)
        paths = report.write(content, config["out"])
        print(report.summary(content))
        print(f"report: {', '.join(map(str, paths))}")
        return status

    def report(self, config, results, experiments):
        """The content of the report, as JSON values. Its figures are written.

        Parameters
        ----------
        config : dict
            As `configure` returns it.
        results : dict
            Name of the evidence -> Results.
        experiments : dict
            As `find` returns it.
        """
        rng = np.random.default_rng(0)
        claims = [judge_claim(name, results, rng) for name in config["claims"]]
        evidence = {
            key: {
                "description": experiments[EVIDENCE[key].experiment].describe(found.config),
                "command": " ".join([EVIDENCE[key].experiment, *config["commands"][key]]),
                "setting": EVIDENCE[key].setting,
                "seeds": found.config["seeds"],
                "failed": sum("failed" in r["metrics"] for r in found.runs.values()),
                "folder": str(found.folder),
                "figure": report.figure_in(found.folder, EVIDENCE[key].figure),
                "seconds": sum(r["metrics"].get("seconds", 0) for r in found.runs.values()),
            }
            for key, found in results.items()
        }
        outcomes = report.boundary_outcomes(results)
        return {
            "quick": config["quick"],
            "rule": [*map(list, RULE)],
            "rule_of_all": f"{RULE_OF_PAIRS} {RULE_OF_ALL}",
            "claims": claims,
            "evidence": evidence,
            "boundaries": outcomes,
            "figures": report.draw_figures(claims, outcomes, Path(config["out"]), config["quick"]),
        }


def _reused(arguments):
    """name -> (folder, its seeds in the form of --seeds), from arguments NAME=DIR."""
    found = {}
    for argument in arguments:
        name, equals, folder = argument.partition("=")
        if name not in EVIDENCE or not equals:
            raise ValueError(
                f"--reuse must be NAME=DIR with one of {', '.join(EVIDENCE)}, not {argument!r}"
            )
        path = Path(folder, "results.json")
        try:
            seeds = json.loads(path.read_text(encoding="utf-8"))["config"]["seeds"]
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"--reuse: {path} is not a results file of geonet") from error
        found[name] = folder, ",".join(map(str, seeds)) + ","
    return found


def seeds_left(key, experiment, arguments):
    """How many seeds are still to be run; fractional if an interrupted sweep left some of the runs.

    Parameters
    ----------
    key : str
        Name of the evidence.
    experiment : Experiment
    arguments : argparse.Namespace
        The experiment's own.

    Returns
    -------
    float

    Raises
    ------
    BadInput
        If the folder holds something that this experiment cannot reuse.
    """
    seeds, path = options.seed_list(arguments.seeds), Path(arguments.out, "results.json")
    if arguments.overwrite or not path.exists():
        return len(seeds)
    try:
        config = json.loads(json.dumps(experiment.configure(arguments)))
        found = json.loads(path.read_text(encoding="utf-8"))
        same = (found["experiment"], found["config"]) == (experiment.name, config)
        difference = "" if same else first_difference(found, experiment.name, config)
        kept = sum("failed" not in run["metrics"] for run in found["runs"])
    except (ValueError, OSError) as error:
        raise BadInput(f"{key}: {error}") from error
    except (KeyError, TypeError, AttributeError) as error:
        raise BadInput(f"{path} is not a results file of geonet") from error
    if difference:
        raise BadInput(
            f"{arguments.out} holds results of another configuration than {key} has "
            f"({difference}): reuse another folder, or choose another --out"
        )
    whole = len(config["methods"]) * len(seeds) * len(experiment.cases(config))
    return max(0.0, 1 - kept / whole) * len(seeds)


@contextlib.contextmanager
def _threads(count):
    """Give kernels as many threads as if the experiment ran as a command of its own."""
    before = os.environ.get("GEONET_THREADS", "1")
    os.environ["GEONET_THREADS"] = str(count)
    try:
        yield
    finally:
        os.environ["GEONET_THREADS"] = before


def _parsed(experiment, command, ours):
    """Parsed arguments of an experiment. Our own arguments say where its runs are executed."""
    parser = argparse.ArgumentParser(experiment.name)
    experiment.add_arguments(parser)
    arguments = parser.parse_args(command)
    arguments.threads = getattr(ours, "threads", None) or experiment.default_threads
    arguments.executor = ours.executor
    if ours.workers is not None:
        arguments.workers = ours.workers
    return arguments


def cost(seeds, quick):
    """The estimated computing time, one line per experiment, measured on the author's machine.

    Parameters
    ----------
    seeds : dict
        Name of the evidence -> number of seeds still to be run.
    quick : bool

    Returns
    -------
    str
    """
    if quick:
        return "Quick: few seeds and steps, about ten minutes on two cores; no verdict is final."
    cores = os.cpu_count()
    seconds = {key: 60 * count * EVIDENCE[key].minutes for key, count in seeds.items() if count}
    if not seconds:
        return "All runs exist already."
    total = sum(seconds.values())
    lines = [f"  {key}: {duration(value)}" for key, value in seconds.items()]
    lines.insert(0, "Estimated computing time on one core, without the runs that exist already:")
    lines.append(f"In all {duration(total)}; on {cores} cores {duration(total / cores)}.")
    return "\n".join(lines)


EXPERIMENT = Claims()
