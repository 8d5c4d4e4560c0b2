"""The command line of the course; alone, it lists the lessons with progress.

Exit status: 0 if all is right, 1 if something is wrong in the student's work (or with the
installation, for `doctor`), 2 if the command cannot be carried out as it was given.
"""

import argparse
import difflib
import re
import sys
from pathlib import Path

from geonet import streams
from geonet.kernels.switch import check_wanted
from geonet.text import BadInput, Parser, aligned
from lessons import exercises, percent, progress, report, workspace

TRIES = 3  # after which the solution is shown


def _lesson(text):
    """The number of a lesson, as "06", of 06 or 6."""
    number = text.zfill(2)
    if number not in exercises.lessons():
        raise argparse.ArgumentTypeError(f"there are no exercises of a lesson {text!r:.20}")
    return number


def _exercise(text):
    """The exercise of a key such as 06.b."""
    key = text.lower() if re.fullmatch(r"\d\d\..*", text) else f"0{text.lower()}"
    try:
        return exercises.find(key)
    except KeyError:
        raise argparse.ArgumentTypeError(
            f"there is no exercise {text!r:.20}; keys are like 06.b"
        ) from None


def _seed(text):
    if not text.isdecimal() or len(text) > 9:
        raise argparse.ArgumentTypeError(f"must be a whole number from 0, but is {text!r:.20}")
    return int(text)


def overview(arguments):
    """List the lessons with the student's progress."""
    records = progress.load()
    rows = [("", "lesson", "minutes", "difficulty", "points")]
    for lesson in map(percent.read, percent.paths()):
        asked = exercises.of_lesson(lesson.number)
        has, of = progress.points(records, asked), sum(e.points for e in asked)
        mark = "done" if has == of else ""
        rows.append((mark, lesson.title, lesson.minutes, lesson.difficulty, f"{has} of {of}"))
    print(aligned(rows))
    print(f"\n{_total(records)}. A lesson is a script to read and run, with exercises:")
    first = percent.paths()[0]
    print(f"    python {first.relative_to(Path.cwd()) if Path.cwd() in first.parents else first}")
    print(f"    python -m lessons start {first.name[:2]}")
    return 0


def _total(records):
    every = exercises.every()
    return f"{progress.points(records, every)} of {sum(e.points for e in every)} points"


def doctor(arguments):
    """Check the installation."""
    from lessons import doctor

    return doctor.main()


def start(arguments):
    """Write the stubs of a lesson."""
    file = workspace.path(arguments.lesson)
    if workspace.start(arguments.lesson):
        asked = exercises.of_lesson(arguments.lesson)
        print(f"{file} has {len(asked)} functions to write:")
        for exercise in asked:
            print(f"    {exercise.key}  {exercise.title} ({exercise.points} points)")
    else:
        print(f"{file} already exists and stays as it is.")
    print(f"When you have written some: python -m lessons check {arguments.lesson}")
    return 0


def check(arguments):
    """Grade the student's file of a lesson."""
    from lessons import submission

    file = workspace.path(arguments.lesson)
    if not file.exists():
        raise BadInput(f"there is no {file}; python -m lessons start {arguments.lesson} makes it")
    results = submission.check(file, arguments.lesson)
    for result in results:
        words = report.text(result, report.colours())
        same = result.stage == "imports" and result is not results[0]
        print(words.partition("\n")[0] if same else words)
    has, of = sum(r.score for r in results), sum(r.points for r in results)
    print(f"\nLesson {arguments.lesson}: {has} of {of} points")
    progress.note(results)  # last: where it cannot be kept, the student has seen it
    return 0 if has == of else 1


def hint(arguments):
    """Show the next of three hints, after those already seen."""
    exercise, records = arguments.exercise, progress.load()
    record = records[exercise.key]
    record.hints = min(record.hints + 1, len(exercise.hints))
    progress.save(records)
    for number, words in enumerate(exercise.hints[: record.hints], start=1):
        print(f"Hint {number} of {len(exercise.hints)}: {words}")
    if record.hints == len(exercise.hints):
        print(f"That was the last one. After {TRIES} tries: python -m lessons solution", end=" ")
        print(exercise.key)
    return 0


def status(arguments):
    """Show every exercise with tries and hints."""
    records = progress.load()
    rows = [("exercise", "title", "points", "state", "failed tries", "hints seen")]
    for exercise in exercises.every():
        record = records[exercise.key]
        state = "right" if record.passed else "wrong" if record.tries else "to do"
        has = f"{exercise.points if record.passed else 0} of {exercise.points}"
        numbers = str(record.tries), str(record.hints)
        rows.append((exercise.key, exercise.title, has, state, *numbers))
    print(aligned(rows))
    print(f"\n{_total(records)}")
    return 0


def reset(arguments):
    """Put new stubs in place of the student's file, which is kept."""
    backup = workspace.reset(arguments.lesson)
    if backup:
        print(f"What you had written is kept in {backup}.")
    print(f"{workspace.path(arguments.lesson)} has the stubs again.")
    return 0


def solution(arguments):
    """Show the reference and how the student's code differs from it."""
    exercise = arguments.exercise
    record = progress.load()[exercise.key]
    if not (record.passed or record.tries >= TRIES or arguments.give_up):
        left = TRIES - record.tries
        print(f"The solution of {exercise.key} is shown once yours is right, after {left} more")
        print(f"failed {'tries' if left > 1 else 'try'}, or with --give-up.")
        return 1
    yours, reference = workspace.students_code(exercise), workspace.reference_code(exercise)
    print(f"{exercise.key}  {exercise.title}\n")
    print(*reference, sep="\n")
    if yours:
        print("\nFrom yours (-) to this one (+):\n")
        print(*list(difflib.unified_diff(yours, reference, n=99, lineterm=""))[3:], sep="\n")
    if record.passed:
        print("\nYours is right: where the two differ, both ways lead there.")
    elif record.mistake:
        print(f"\nWhat was wrong with yours when it was last checked: {record.mistake}")
    return 0


def html(arguments):
    """Render the course."""
    from lessons import page

    return page.html(arguments.out, run=not arguments.no_run)


def grade(arguments):
    """Grade a class."""
    from lessons import classroom

    return classroom.grade(arguments.folder, arguments.json, arguments.csv, arguments.seed)


def build_parser():
    """The parser of the whole command line."""
    parser = Parser(
        prog="python -m lessons",
        description="The course. Without a command: its lessons, and how far you are.",
        epilog="Exit status: 0 all right, 1 something is wrong in the work, 2 bad usage.",
    )
    parser.set_defaults(run=overview)
    commands = parser.add_subparsers(metavar="COMMAND")

    def add(function, words):
        command = commands.add_parser(function.__name__, help=words, description=words)
        command.set_defaults(run=function)
        return command

    def of(command, name, kind, example):
        command.add_argument(name, metavar=name.upper(), type=kind, help=f"such as {example}")
        return command

    add(doctor, "check the installation")
    of(add(start, "write the stubs of a lesson into work/NN.py"), "lesson", _lesson, "06")
    of(add(check, "grade work/NN.py"), "lesson", _lesson, "06")
    of(add(hint, "the next of three hints"), "exercise", _exercise, "06.b")
    add(status, "every exercise, with tries and hints")
    of(add(reset, "replace work/NN.py by new stubs; the old one is kept"), "lesson", _lesson, "06")
    words = f"the solution beside yours, once it is right or after {TRIES} failed tries"
    command = of(add(solution, words), "exercise", _exercise, "06.b")
    command.add_argument("--give-up", action="store_true", help="show it at once")
    command = add(html, "render the course as pages that work offline")
    command.add_argument("out", help="folder, made if missing")
    command.add_argument("--no-run", action="store_true", help="without output and figures")
    command = add(grade, "grade a class, each file in a process of its own, which is not a sandbox")
    words = "folders STUDENT/ with files NN.py, or files STUDENT_NN.py"
    command.add_argument("folder", help=words)
    words = "folder for STUDENT/results.json, as Gradescope reads them"
    command.add_argument("--json", metavar="OUT", help=words)
    words = "table with a row for each student and exercise"
    command.add_argument("--csv", metavar="FILE", help=words)
    command.add_argument("--seed", type=_seed, help="of other inputs than students see")
    return parser


def main(words=None):
    """Carry out a command; return the exit status."""
    try:
        check_wanted()
        arguments = build_parser().parse_args(words)
        return arguments.run(arguments)
    except (BadInput, OSError) as error:
        print(f"lessons: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    streams.run("lessons", main)
