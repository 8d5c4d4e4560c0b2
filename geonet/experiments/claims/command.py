"""Two verdicts on every claim of the paper: as the paper tests it, and on equal terms.

The claims and the comparisons that test them are data, in `geonet.experiments.claims.statements`.
This command runs the experiments that the chosen claims depend on, or reuses existing runs, and
reports what was measured, the effect with its interval, and a verdict.
"""

import time
from contextlib import closing
from pathlib import Path

from geonet import threads
from geonet.experiments import find
from geonet.experiments.claims import report
from geonet.experiments.claims.statements import CLAIMS, EVIDENCE
from geonet.experiments.claims.verdicts import judge_claim
from geonet.experiments.harness import executors, options
from geonet.experiments.harness.results import Results, check_folder, read
from geonet.text import BadInput, duration
from geonet.train import Progress


class Claims:
    """The command, with the interface that the command line expects of an experiment."""

    name = "claims"
    summary = "two verdicts on every claim of the paper, in a report"
    default_threads = None  # for convnets; each experiment sets its own

    def add_arguments(self, parser):
        """Declare the options."""
        text = f"comma list of {', '.join(CLAIMS)} (default: all)"
        parser.add_argument("--claims", type=options.names(CLAIMS), help=text)
        text = "count or comma list, for every experiment (default: 20, or 6 for convnets)"
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
        needed = dict.fromkeys(
            test.evidence for n in names for test in CLAIMS[n].as_paper + CLAIMS[n].on_equal_terms
        )
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
            count = EVIDENCE[key].quick_seeds if quick else EVIDENCE[key].seeds
            own = {"seeds": arguments.seeds or list(range(count)), "out": str(Path(out, key))}
            own |= {"overwrite": True} if arguments.overwrite else {}
            chosen[key] = reused.get(key, own)
        return {"claims": names, "quick": quick, "out": out, "options": chosen}

    def main(self, arguments):
        """Run what is not there yet, and write the report.

        Raises
        ------
        BadInput
            If an argument is invalid or a folder cannot be used.
        """
        experiments = {key: find()[evidence.experiment] for key, evidence in EVIDENCE.items()}
        try:
            config = self.configure(arguments)
        except (ValueError, OSError) as error:
            raise BadInput(str(error)) from error
        execution = {"executor": arguments.executor, "workers": arguments.workers}
        execution = {name: value for name, value in execution.items() if value is not None}
        runs = {}
        for key, own in config["options"].items():
            runs[key] = experiments[key].arguments(*words(key, config["quick"]), **own)
            runs[key].threads = getattr(arguments, "threads", None)
            vars(runs[key]).update(execution)
        left = {key: seconds_left(key, experiments[key], own) for key, own in runs.items()}
        print(cost(left), flush=True)
        start, status, results, figures = time.perf_counter(), 0, {}, {}
        progress = Progress(len(runs), self.name, log=True, weights=list(left.values()))
        with closing(progress):
            for key, own in runs.items():
                print(f"== {key}: {' '.join(words(key, config['quick']))}", flush=True)
                results[key], figures[key], failed = experiments[key].conduct(own)
                status |= failed
                progress.update()
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
            Name of the evidence -> Results, name of a figure -> what `geonet.plots.Plot.save`
            returned (none are there if all runs that they would show diverged), and Experiment.
        """
        claims = [judge_claim(name, results, experiments) for name in config["claims"]]
        evidence = {
            key: {
                "description": experiments[key].describe(found.config),
                "command": found.command or "",
                "setting": EVIDENCE[key].setting,
                "seeds": found.config["seeds"],
                "failed": sum("failed" in r["metrics"] for r in found.runs.values()),
                "folder": str(found.folder),
                "figures": figures[key],
                "tables": [[*map(list, rows)] for rows in experiments[key].tables(found)],
                "notes": list(experiments[key].notes(found)),
                "seconds": sum(r["metrics"].get("seconds", 0) for r in found.runs.values()),
            }
            for key, found in results.items()
        }
        drawn = report.effects_plot(claims, config["quick"])
        saved = [] if drawn is None else [drawn.save(Path(config["out"], "figures"))]
        return {
            "quick": config["quick"], "claims": claims, "evidence": evidence, "figures": saved
        }  # fmt: skip


def words(key, quick):
    """The options of the experiment that some evidence comes from, as on the command line."""
    evidence = EVIDENCE[key]
    return f"{evidence.options} {'--quick' if quick else evidence.full}".split()


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


def seconds_left(key, experiment, arguments):
    """Estimated computing time of the runs that are still to be done, on one core.

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
        From the time per seed on the author's machine.

    Raises
    ------
    BadInput
        If the folder holds something that this experiment cannot reuse.
    """
    full, quick = EVIDENCE[key].minutes
    seconds = 60 * len(arguments.seeds) * (quick if arguments.quick else full)
    if arguments.overwrite or not Path(arguments.out, "results.json").exists():
        return seconds
    try:
        config = experiment.configure(arguments)
        found = Results(arguments.out, experiment.name, config).find()
    except (ValueError, OSError) as error:
        raise BadInput(f"{key}: {error}") from error
    kept = sum("failed" not in run["metrics"] for run in found)
    return max(0.0, 1 - kept / len(experiment.runs(config))) * seconds


def cost(seconds):
    """The estimated computing time, one line per experiment that has something left.

    Parameters
    ----------
    seconds : dict
        Name of the evidence -> seconds on one core.

    Returns
    -------
    str
    """
    cores, total = threads.available(), sum(seconds.values())
    if not total:
        return "All runs exist already."
    lines = [f"  {key}: {duration(value)}" for key, value in seconds.items() if value]
    lines.insert(0, "Estimated computing time on one core, without the runs that exist already:")
    lines.append(f"In all {duration(total)}; on {cores} cores {duration(total / cores)}.")
    return "\n".join(lines)


EXPERIMENT = Claims()
