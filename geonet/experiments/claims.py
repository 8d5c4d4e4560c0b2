"""A verdict on every claim of the paper, from many seeds on equal terms.

What each claim says and what tests it is data, in `geonet.experiments.claim_list`. This command
runs the experiments that the chosen claims stand on, or takes over the runs that are there, and
reports what was measured, the effect with its interval, and a verdict.
"""

import argparse
import contextlib
import json
import os
import time
from pathlib import Path

import numpy as np

from geonet.experiments import claim_figures, claim_report, executors, find, options
from geonet.experiments.claim_list import CLAIMS, EVIDENCE
from geonet.experiments.claim_verdicts import RULE, RULE_OF_ALL, judged
from geonet.experiments.results import Results
from geonet.text import BadInput, duration


class Claims:
    """The command, with what the command line asks of an experiment."""

    name = "claims"
    summary = "a verdict on every claim of the paper, in a report"
    default_threads = 1

    def add_arguments(self, parser):
        """Declare the options."""
        words = f"comma list of {', '.join(CLAIMS)} (default: all)"
        parser.add_argument("--claims", help=words)
        words = "count or comma list, for every experiment (default: 10, or 3 of convnets)"
        parser.add_argument("--seeds", help=words)
        words = "results that are there already, such as levy=results/levy; may be given again. "
        words += f"NAME is one of {', '.join(EVIDENCE)}"
        parser.add_argument("--reuse", action="append", default=[], metavar="NAME=DIR", help=words)
        words = "folder to write to (default: results/claims, or results/claims-quick)"
        parser.add_argument("--out", help=words)
        words = "replace what is in --out, but nothing that --reuse names"
        parser.add_argument("--overwrite", action="store_true", help=words)
        words = "few seeds and steps, in ten minutes; the report says so"
        parser.add_argument("--quick", action="store_true", help=words)
        executors.add_arguments(parser, None)

    def configure(self, arguments):
        """Claims, folders and the options of every experiment, as JSON values.

        Raises
        ------
        ValueError
            If an argument makes no sense.
        """
        names = [n.strip() for n in (arguments.claims or ",".join(CLAIMS)).split(",")]
        if unknown := [n for n in names if n not in CLAIMS]:
            raise ValueError(f"--claims: {unknown[0]!r} is not one of {', '.join(CLAIMS)}")
        if arguments.seeds is not None:
            options.seed_list(arguments.seeds)  # which refuses what is none
        needed = dict.fromkeys(test.evidence for n in names for test in CLAIMS[n].tests)
        reused = _reused(arguments.reuse)
        out = arguments.out or f"results/claims{'-quick' if arguments.quick else ''}"
        commands = {}
        for key in needed:
            evidence = EVIDENCE[key]
            default = str(evidence.quick_seeds if arguments.quick else evidence.seeds)
            words = evidence.options.split()
            if arguments.quick:
                words += ["--quick", *evidence.quick.split()]
            if key in reused:
                words += ["--seeds", reused[key][1], "--out", reused[key][0]]
            else:
                words += ["--seeds", arguments.seeds or default, "--out", str(Path(out, key))]
                words += ["--overwrite"] if arguments.overwrite else []
            commands[key] = words
        return {"claims": names, "quick": arguments.quick, "out": out, "commands": commands}

    def main(self, arguments):
        """Run what there is to run, and report.

        Raises
        ------
        BadInput
            If an argument or a folder is of no use.
        """
        experiments = find()
        try:
            config = self.configure(arguments)
        except (ValueError, OSError) as error:
            raise BadInput(str(error)) from error
        parsed = {
            key: _parsed(experiments[EVIDENCE[key].experiment], words, arguments)
            for key, words in config["commands"].items()
        }
        print(cost(parsed, config["quick"]), flush=True)
        start, status, results = time.perf_counter(), 0, {}
        for key, words in parsed.items():
            experiment = experiments[EVIDENCE[key].experiment]
            print(f"== {key}: {experiment.name} {' '.join(config['commands'][key])}", flush=True)
            with _threads(words.threads):
                status |= experiment.main(words) or 0
            words.overwrite = False
            results[key] = Results(words.out, experiment.name, experiment.configure(words))
        report = self.report(config, results, experiments)
        report["seconds"] = round(time.perf_counter() - start)
        paths = claim_report.write(report, config["out"])
        print(claim_report.summary(report))
        print(f"report: {', '.join(map(str, paths))}")
        return status

    def report(self, config, results, experiments):
        """All that the report says, as JSON values; its figures are written.

        Parameters
        ----------
        config : dict
            As `configure` gives it.
        results : dict
            Name of the evidence -> Results.
        experiments : dict
            As `find` gives it.
        """
        rng = np.random.default_rng(0)
        claims = [judged(name, results, rng) for name in config["claims"]]
        evidence = {
            key: {
                "description": experiments[EVIDENCE[key].experiment].describe(found.config),
                "command": " ".join([EVIDENCE[key].experiment, *config["commands"][key]]),
                "setting": EVIDENCE[key].setting,
                "seeds": found.config["seeds"],
                "folder": str(found.folder),
                "figure": claim_figures.found(found.folder, EVIDENCE[key].figure),
                "seconds": sum(r["metrics"].get("seconds", 0) for r in found.runs.values()),
            }
            for key, found in results.items()
        }
        outcomes = claim_figures.boundary_outcomes(results)
        report = {"quick": config["quick"], "rule": [*map(list, RULE)], "rule_of_all": RULE_OF_ALL}
        return report | {
            "claims": claims,
            "evidence": evidence,
            "boundaries": outcomes,
            "figures": claim_figures.draw(claims, outcomes, Path(config["out"]), config["quick"]),
        }


def _reused(words):
    """name -> (folder, its seeds as --seeds has them) of NAME=DIR each."""
    found = {}
    for word in words:
        name, equals, folder = word.partition("=")
        if name not in EVIDENCE or not equals:
            raise ValueError(
                f"--reuse must be NAME=DIR with one of {', '.join(EVIDENCE)}, not {word!r}"
            )
        path = Path(folder, "results.json")
        try:
            seeds = json.loads(path.read_text(encoding="utf-8"))["config"]["seeds"]
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"--reuse: {path} is no results file of geonet") from error
        found[name] = folder, ",".join(map(str, seeds)) + ","
    return found


@contextlib.contextmanager
def _threads(count):
    """Let kernels have as many threads as an experiment has in a command of its own."""
    before = os.environ.get("GEONET_THREADS", "1")
    os.environ["GEONET_THREADS"] = str(count)
    try:
        yield
    finally:
        os.environ["GEONET_THREADS"] = before


def _parsed(experiment, words, ours):
    """Parsed arguments of an experiment, with what ours say of where its runs are done."""
    parser = argparse.ArgumentParser(experiment.name)
    experiment.add_arguments(parser)
    arguments = parser.parse_args(words)
    arguments.threads = getattr(ours, "threads", None) or experiment.default_threads
    arguments.executor = ours.executor
    if ours.workers is not None:
        arguments.workers = ours.workers
    return arguments


def cost(parsed, quick):
    """What all runs will take, a line an experiment, by what they took where this was written.

    Parameters
    ----------
    parsed : dict
        Name of the evidence -> parsed arguments of its experiment.
    quick : bool
    """
    if quick:
        return "Quick: few seeds and steps, about ten minutes on two cores; no verdict is final."
    cores = os.cpu_count()
    lines, total = [], 0.0
    for key, arguments in parsed.items():
        minutes = len(options.seed_list(arguments.seeds)) * EVIDENCE[key].minutes
        total += minutes
        lines.append(f"  {key}: {duration(60 * minutes)}")
    words = ["Computing on one core, about (less what has been done already):", *lines]
    words.append(f"In all {duration(60 * total)}; on {cores} cores {duration(60 * total / cores)}.")
    return "\n".join(words)


EXPERIMENT = Claims()
