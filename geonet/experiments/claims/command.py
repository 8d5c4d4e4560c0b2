"""Two verdicts on every claim of the paper: as the paper tests it, and on equal terms.

The claims and the comparisons that test them are data, in `geonet.experiments.claims.statements`.
This command runs the experiments that the chosen claims depend on, or reads existing results, and
reports what was measured, the effect with its interval, and a verdict.
"""

import json
import tempfile
import time
from contextlib import closing
from functools import partial
from pathlib import Path

from geonet import plots, threads
from geonet.experiments import find
from geonet.experiments.claims import report
from geonet.experiments.claims.statements import CLAIMS, EVIDENCE
from geonet.experiments.claims.verdicts import judge_claim
from geonet.experiments.harness import executors, options
from geonet.experiments.harness.results import Results, check_folder, key_of, read
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
        text = "count or comma list, for every experiment (default: 20, or 6 for convnets; fewer "
        text += "with --quick)"
        parser.add_argument("--seeds", type=options.seed_list, help=text)
        text = "existing results with their own seeds, such as levy=results/levy, which are only "
        text += "read; they may have more methods and rates than are needed. Can be repeated. "
        text += f"NAME is one of {', '.join(EVIDENCE)}"
        parser.add_argument("--reuse", action="append", default=[], metavar="NAME=DIR", help=text)
        text = "folder to write to (default: results/claims, or results/claims-quick)"
        parser.add_argument("--out", help=text)
        text = "replace what is in --out"
        parser.add_argument("--overwrite", action="store_true", help=text)
        text = "only a few seeds and steps, ten minutes on two cores; the report says so"
        parser.add_argument("--quick", action="store_true", help=text)
        executors.add_arguments(parser, None)

    def configure(self, arguments):
        """Claims, folder, and where their evidence comes from. Nothing is run.

        Returns
        -------
        dict
            claims (their names), quick, out, options: name of the evidence that is to be run ->
            arguments of the experiment, and reused: name of the evidence -> Runs.

        Raises
        ------
        ValueError, OSError
            If an argument is invalid, or results to reuse cannot be read or do not fit.
        """
        quick, names = arguments.quick, arguments.claims or list(CLAIMS)
        needed = dict.fromkeys(
            test.evidence for n in names for test in CLAIMS[n].as_paper + CLAIMS[n].on_equal_terms
        )
        folders = _folders(arguments.reuse)
        if spare := [key for key in folders if key not in needed]:
            raise ValueError(f"--reuse: {spare[0]} is not among what the chosen claims depend on, "
                             f"which is {', '.join(needed)}")  # fmt: skip
        default = f"results/claims{'-quick' if quick else ''}"
        out = default if arguments.out is None else arguments.out
        check_folder(out)
        report.check(out)
        reused = {key: fitting(key, folder, quick) for key, folder in folders.items()}
        own = {}
        for key in (key for key in needed if key not in reused):
            count = EVIDENCE[key].quick_seeds if quick else EVIDENCE[key].seeds
            given = {"seeds": arguments.seeds or list(range(count)), "out": str(Path(out, key))}
            given["overwrite"] = arguments.overwrite
            own[key] = experiment_of(key).arguments(*words(key, quick), **given)
            if hasattr(own[key], "resume"):
                own[key].resume = not arguments.overwrite
        return {"claims": names, "quick": quick, "out": out, "options": own, "reused": reused}

    def main(self, arguments):
        """Run what is not there yet, and write the report.

        Raises
        ------
        BadInput
            If an argument is invalid or a folder cannot be used.
        """
        try:
            config = self.configure(arguments)
        except (ValueError, OSError) as error:
            raise BadInput(str(error)) from error
        execution = {"executor": arguments.executor, "workers": arguments.workers}
        execution = {name: value for name, value in execution.items() if value is not None}
        for own in config["options"].values():
            own.threads = getattr(arguments, "threads", None)
            vars(own).update(execution)
        left = {key: seconds_left(key, own) for key, own in config["options"].items()}
        print(cost(left), flush=True)
        start, status, results, figures = time.perf_counter(), 0, dict(config["reused"]), {}
        for key, found in results.items():
            print(f"== {key}: {found.folder}", flush=True)
            save = partial(plots.Plot.save, folder=Path(config["out"], "figures", key))
            figures[key] = experiment_of(key).present(found, save)
        progress = Progress(len(left), self.name, log=True, weights=list(left.values()))
        with closing(progress):
            for key, own in config["options"].items():
                print(f"== {key}: {' '.join(words(key, config['quick']))}", flush=True)
                results[key], figures[key], failed = experiment_of(key).conduct(own)
                status |= failed
                progress.update()
        content = self.report(config, results, figures)
        content["seconds"] = round(time.perf_counter() - start)
        paths = report.write(content, config["out"])
        print(report.summary(content))
        print(f"report: {', '.join(map(str, paths))}")
        return status

    def report(self, config, results, figures):
        """The content of the report, as JSON values. Its own figures are drawn and saved.

        Parameters
        ----------
        config : dict
            As `configure` returns it.
        results, figures : dict
            Name of the evidence -> Runs, and name of a figure -> what `geonet.plots.Plot.save`
            returned (none are there if all runs that they would show diverged).
        """
        experiments = {key: experiment_of(key) for key in EVIDENCE}
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
                "versions": found.versions,
                "seconds": sum(r["metrics"].get("seconds", 0) for r in found.runs.values()),
            }
            for key, found in results.items()
        }
        drawn = report.effects_plot(claims, config["quick"])
        saved = [] if drawn is None else [drawn.save(Path(config["out"], "figures"))]
        return {
            "quick": config["quick"], "claims": claims, "evidence": evidence, "figures": saved
        }  # fmt: skip


def experiment_of(key):
    """The experiment that some evidence comes from."""
    return find()[EVIDENCE[key].experiment]


def words(key, quick):
    """The options of that experiment, as on the command line."""
    evidence = EVIDENCE[key]
    return f"{evidence.options} {'--quick' if quick else evidence.full}".split()


def _folders(arguments):
    """name -> folder, from arguments NAME=DIR."""
    found = {}
    for argument in arguments:
        name, equals, folder = argument.partition("=")
        if name not in EVIDENCE or not equals:
            raise ValueError(f"--reuse must be NAME=DIR, where NAME is one of "
                             f"{', '.join(EVIDENCE)}, not {argument!r}")  # fmt: skip
        if name in found:
            raise ValueError(f"--reuse names {name} twice: {found[name]} and {folder}")
        found[name] = folder
    return found


def fitting(key, folder, quick):
    """The runs in a folder that serve as evidence, which is only read.

    Parameters
    ----------
    key : str
        Name of the evidence.
    folder : str
    quick : bool

    Returns
    -------
    Runs
        Those of the methods and rates that are needed.

    Raises
    ------
    ValueError
        If there are no results, or runs are missing or were made with other options.
    """
    found, evidence, experiment = read(folder), EVIDENCE[key], experiment_of(key)
    seeds = ",".join(map(str, found.config["seeds"])) + ","
    command = " ".join(["python -m geonet", evidence.experiment, *words(key, quick)])
    remedy = f"{command} --seeds {seeds} makes what is needed"
    if found.experiment != evidence.experiment:
        raise ValueError(f"--reuse {key}: {folder} has results of {found.experiment}; {remedy}")
    with tempfile.TemporaryDirectory() as out:  # for pictures that are drawn
        arguments = experiment.arguments(*words(key, quick), "--seeds", seeds, "--out", out)
        wanted = json.loads(json.dumps(experiment.configure(arguments)))  # as it is stored
    taken = [name for name in ("methods", "lr", "choice", "data") if name in wanted]
    for name in (name for name in wanted if name not in taken):
        if wanted[name] != found.config.get(name):
            raise ValueError(f"--reuse {key}: {folder} has {name} {found.config.get(name)}, not "
                             f"{wanted[name]}; {remedy}")  # fmt: skip
    found.config |= {name: wanted[name] for name in taken}
    needed = {key_of(run) for run in experiment.runs(found.config)}
    found.runs = {k: r for k, r in found.runs.items() if k in needed and found.is_whole(r)}
    if len(found.runs) < len(needed):
        raise ValueError(f"--reuse {key}: {folder} has {len(found.runs)} of {len(needed)} runs "
                         f"that are needed; {remedy}")  # fmt: skip
    return found


def seconds_left(key, arguments):
    """Estimated computing time of the runs that are still to be done, on one core.

    Parameters
    ----------
    key : str
        Name of the evidence.
    arguments : argparse.Namespace
        Those of its experiment.

    Returns
    -------
    float
        From the time per seed on the author's machine.

    Raises
    ------
    BadInput
        If the arguments make no sense, or the folder holds something that this experiment cannot
        continue.
    """
    experiment, (full, quick) = experiment_of(key), EVIDENCE[key].minutes
    seconds = 60 * len(arguments.seeds) * (quick if arguments.quick else full)
    try:
        config = experiment.configure(arguments)
        if arguments.overwrite or not Path(arguments.out, "results.json").exists():
            return seconds
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
