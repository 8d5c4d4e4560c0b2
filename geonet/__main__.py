"""The command line: one command per experiment, and some more; without a command, a tour."""

import argparse
import os
import sys

from geonet import streams, threads
from geonet.kernels.switch import PLAIN, check_wanted
from geonet.text import BadInput, Parser, aligned

TOUR = ("perturbation", "levy", "banana")


def gradcheck_command(arguments):
    """Check every registered operation and print a table; the exit status is 1 if one fails."""
    if arguments.demo:
        return planted_bugs_command(os.path.join("results", "gradcheck"))
    import numpy as np

    from geonet.check.gradcheck import GradientError, check_operation
    from geonet.ops import OPERATIONS

    rng = np.random.default_rng(0)
    rows = [("operation", "entries", "worst, central", "worst, complex step", "")]
    failures = []
    for name, operation in sorted(OPERATIONS.items()):
        try:
            report = check_operation(operation, rng)
            numbers = f"{report.entries}", f"{report.central:.1e}", f"{report.complex:.1e}"
            rows.append((name, *numbers, "ok"))
        except GradientError as error:
            failures.append(str(error))
            rows.append((name, "", "", "", "FAILED"))
    print(aligned(rows))
    right = len(rows) - 1 - len(failures)
    print(f"\n{right} of {len(rows) - 1} operations agree with central differences and the complex")
    print("step; errors are relative to the size of each column of the Jacobian")
    print(*failures, sep="\n", end="\n" if failures else "")
    return 1 if failures else 0


def planted_bugs_command(folder):
    """Show what the check says about wrong gradients; draw the error of numeric derivatives."""
    from geonet import plots
    from geonet.check import planted_bugs

    errors = planted_bugs.demonstrate()
    figure = plots.errors_by_step(planted_bugs.STEPS, errors, planted_bugs.CAPTION)
    words = "Error of numeric derivatives", planted_bugs.in_words(errors)
    png, _ = plots.save(figure, folder, "errors_by_step", *words)
    print(f"\nfigure: {png}")


def tour(experiments):
    """Run the experiments of the tour in quick form, and print where the pictures are."""
    from geonet import __version__

    print(f"geonet {__version__}: a tour of {', '.join(TOUR)}, in quick form, about a minute\n")
    for i, name in enumerate(TOUR, start=1):
        experiment = experiments[name]
        print(f"{i} of {len(TOUR)}: {experiment.summary}")
        experiment.run("--quick", "--overwrite", "--out", os.path.join("results", "tour", name))
    print("Pictures: results/tour/*/figures. Next: python -m geonet levy --help")


def build_parser(experiments):
    """The parser of the whole command line."""
    from geonet import bench
    from geonet.experiments import graph, report
    from geonet.experiments.harness.options import number

    parser = Parser(
        prog="python -m geonet",
        description="Neural characteristic activation analysis and geometric parameterization. "
        "Without a command: a tour of about a minute.",
    )
    words = "threads that kernels run on (default: 1, or all cores for bench and convnets)"
    number_of_threads = {"type": number(int, 1, 10_000), "help": words}
    parser.add_argument("--threads", **number_of_threads)
    commands = parser.add_subparsers(metavar="COMMAND")
    parser.set_defaults(run=lambda arguments: tour(experiments), default_threads=1)
    for name, experiment in experiments.items():
        command = commands.add_parser(name, help=experiment.summary, description=experiment.summary)
        experiment.add_arguments(command)
        command.set_defaults(run=experiment.main, default_threads=experiment.default_threads)
    check = commands.add_parser("gradcheck", help="check the gradients of every operation")
    words = "show what the check says about eight wrong gradients, and how it chooses its step"
    check.add_argument("--demo", action="store_true", help=words)
    check.set_defaults(run=gradcheck_command)
    for name, module in {"graph": graph, "report": report, "bench": bench}.items():
        command = commands.add_parser(name, help=module.SUMMARY, description=module.SUMMARY)
        command.set_defaults(run=module.main)
        module.add_arguments(command)
    for command in commands.choices.values():  # --threads may also come after the command
        command.add_argument("--threads", default=argparse.SUPPRESS, **number_of_threads)
    return parser


def main():
    """Run a command. The exit status is 2 after bad input, and 130 after an interruption."""
    try:
        from geonet.experiments import find

        check_wanted()
        arguments = build_parser(find()).parse_args()
        if PLAIN:
            print(f"geonet: {PLAIN}, so kernels run in plain NumPy, more slowly", file=sys.stderr)
        threads.keep_memory()
        with threads.limited(arguments.threads or arguments.default_threads or threads.count()):
            return arguments.run(arguments) or 0
    except (BadInput, OSError, MemoryError) as error:
        print(f"geonet: {str(error) or 'out of memory'}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    streams.run("geonet", main)
