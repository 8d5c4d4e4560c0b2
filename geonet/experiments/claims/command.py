"""A verdict on every claim of the paper, from many seeds on equal terms.

The claims and the comparisons that test them are data, in `geonet.experiments.claims.statements`.
This command runs the experiments that the chosen claims depend on, or reuses existing runs, and
reports what was measured, the effect with its interval, and a verdict.
"""

import time
from pathlib import Path

import numpy as np

from geonet import threads
from geonet.experiments import find
from geonet.experiments.claims import report
from geonet.experiments.claims.statements import CLAIMS, EVIDENCE
from geonet.experiments.claims.verdicts import RULE, RULE_OF_ALL, RULE_OF_PAIRS, judge_claim
from geonet.experiments.harness import executors, options
from geonet.experiments.harness.results import Results, check_folder, read
from geonet.text import BadInput, duration


class Claims:
    """The command, with the interface that the command line expects of an experiment."""

    name = "claims"
    summary = "a verdict on every claim of the paper, in a report"
    default_threads = None  # for convnets; each experiment sets its own

    def add_arguments(self, parser):
        """Declare the options."""
        text = f"comma list of {', '.join(CLAIMS)} (default: all)"
        parser.add_argument("--claims", type=options.names(CLAIMS), help=text)
        text = "count or comma list, for every experiment (default: 10, or 3 for convnets)"
        parser.add_argument("--seeds", type=options.seed_list, help=text)
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
        """Claims, folder, and the options of every experiment that the claims depend on.

        Returns
        -------
        dict
            claims (their names), quick, out, and options: name of the evidence -> dict.

        Raises
        ------
        ValueError, OSError
            If an argument is invalid, or results to reuse cannot be read.
        """
        quick, names = arguments.quick, arguments.claims or list(CLAIMS)
        needed = dict.fromkeys(test.evidence for n in names for test in CLAIMS[n].tests)
        reused = _reused(arguments.reuse)
        if spare := [key for key in reused if key not in needed]:
            raise ValueError(f"--reuse: {spare[0]} is not among what the chosen claims depend on, "
                             f"which is {', '.join(needed)}")  # fmt: skip
        default = f"results/claims{'-quick' if quick else ''}"
        out = default if arguments.out is None else arguments.out
        check_folder(out)
        report.check(out)
        chosen = {}
        for key in needed:
            evidence = EVIDENCE[key]
            own = evidence.options | ({"quick": True, **evidence.quick} if quick else {})
            if key in reused:
                own |= reused[key]
            else:
                count = evidence.quick_seeds if quick else evidence.seeds
                own |= {"seeds": arguments.seeds or list(range(count)), "out": str(Path(out, key))}
                own |= {"overwrite": True} if arguments.overwrite else {}
            chosen[key] = own
        return {"claims": names, "quick": quick, "out": out, "options": chosen}

    def main(self, arguments):
        """Run what is not there yet, and write the report.

        Raises
        ------
        BadInput
            If an argument is invalid or a folder cannot be used.
        """
        known = find()
        experiments = {key: known[evidence.experiment] for key, evidence in EVIDENCE.items()}
        try:
            config = self.configure(arguments)
        except (ValueError, OSError) as error:
            raise BadInput(str(error)) from error
        execution = {"executor": arguments.executor, "workers": arguments.workers}
        runs = {}
        for key, own in config["options"].items():
            runs[key] = runs_of = experiments[key].arguments(**own)
            runs_of.threads = getattr(arguments, "threads", None)
            vars(runs_of).update((name, v) for name, v in execution.items() if v is not None)
        left = {key: seeds_left(key, experiments[key], own) for key, own in runs.items()}
        print(cost(left, config["quick"]), flush=True)
        start, status, results, figures = time.perf_counter(), 0, {}, {}
        for key, own in runs.items():
            print(f"== {key}: {command(key, config['options'][key])}", flush=True)
            results[key], drawn, failed = experiments[key].conduct(own)
            figures[key], status = drawn.get(EVIDENCE[key].figure), status | failed
        content = self.report(config, results, figures, experiments)
        content["seconds"] = round(time.perf_counter() - start)
        paths = report.write(content, config["out"])
        print(report.summary(content))
        print(f"report: {', '.join(map(str, paths))}")
        return status

    def report(self, config, results, figures, experiments):
        """The content of the report, as JSON values. Its own figures are drawn and saved.

        Parameters
        ----------
        config : dict
            As `configure` returns it.
        results, figures, experiments : dict
            Name of the evidence -> Results, what `geonet.plots.Plot.save` returned for the figure
            to show (None if there is none, because all runs that it would show diverged), and
            Experiment.
        """
        rng = np.random.default_rng(0)
        claims = [judge_claim(name, results, rng) for name in config["claims"]]
        evidence = {
            key: {
                "description": experiments[key].describe(found.config),
                "command": command(key, config["options"][key]),
                "setting": EVIDENCE[key].setting,
                "seeds": found.config["seeds"],
                "failed": sum("failed" in r["metrics"] for r in found.runs.values()),
                "folder": str(found.folder),
                "figure": figures[key],
                "seconds": sum(r["metrics"].get("seconds", 0) for r in found.runs.values()),
            }
            for key, found in results.items()
        }
        outcomes = report.boundary_outcomes(results)
        drawn = report.plots_of(claims, outcomes, config["quick"])
        return {
            "quick": config["quick"],
            "rule": [*map(list, RULE)],
            "rule_of_all": f"{RULE_OF_PAIRS} {RULE_OF_ALL}",
            "claims": claims,
            "evidence": evidence,
            "boundaries": outcomes,
            "figures": [plot.save(Path(config["out"], "figures")) for plot in drawn],
        }


def command(key, chosen):
    """The command line that runs an experiment with options given as values, for readers."""
    words = [EVIDENCE[key].experiment]
    for name, value in chosen.items():
        if name == "seeds":  # a count if they are 0, 1, …; a comma makes a list of a single one
            counted = value == list(range(len(value)))
            value = len(value) if counted else f"{','.join(map(str, value))},"
        elif isinstance(value, list):
            value = ",".join(map(str, value))
        words += [f"--{name.replace('_', '-')}", *([] if value is True else [str(value)])]
    return " ".join(words)


def _reused(arguments):
    """name -> the options out and seeds, from arguments NAME=DIR."""
    found = {}
    for argument in arguments:
        name, equals, folder = argument.partition("=")
        if name not in EVIDENCE or not equals:
            raise ValueError(
                f"--reuse must be NAME=DIR with one of {', '.join(EVIDENCE)}, not {argument!r}"
            )
        found[name] = {"seeds": read(folder).config["seeds"], "out": folder}
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
    count = len(arguments.seeds)
    if arguments.overwrite or not Path(arguments.out, "results.json").exists():
        return count
    try:
        config = experiment.configure(arguments)
        found = Results(arguments.out, experiment.name, config).find()
    except (ValueError, OSError) as error:
        raise BadInput(f"{key}: {error}") from error
    kept = sum("failed" not in run["metrics"] for run in found)
    whole = len(config["methods"]) * count * len(experiment.cases(config))
    return max(0.0, 1 - kept / whole) * count


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
    cores = threads.available()
    seconds = {key: 60 * count * EVIDENCE[key].minutes for key, count in seeds.items() if count}
    if not seconds:
        return "All runs exist already."
    total = sum(seconds.values())
    lines = [f"  {key}: {duration(value)}" for key, value in seconds.items()]
    lines.insert(0, "Estimated computing time on one core, without the runs that exist already:")
    lines.append(f"In all {duration(total)}; on {cores} cores {duration(total / cores)}.")
    return "\n".join(lines)


EXPERIMENT = Claims()
