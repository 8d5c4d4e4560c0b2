"""The submissions of a class, graded: results for Gradescope, a table, what many got wrong.

Every file runs in processes of its own, with limits of time and memory, so that nobody else loses
anything if it crashes or never ends. This is not a sandbox: a file runs with the rights of the
person who grades. Grade the work of strangers in a container or a virtual machine.
"""

import collections
import csv
import io
import json
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from geonet import threads
from geonet.files import write_whole
from geonet.text import BadInput, aligned
from lessons import exercises, handed_in, report, submission
from lessons.compare import Mistake
from lessons.grader import failed

LIMITS = {"seconds": 20.0, "seconds_a_call": 5.0, "memory": 2 * 2**30}
LONGEST = 4000  # characters of a report: a student's function may print without end
# Stages beyond those of the grader: nothing was handed in, or the grader itself failed.
MISSING, NOT_GRADED = "missing", "grader"
COLUMNS = ("student", "exercise", "title", "score", "max_score", "status", "misconception",
           "message")  # fmt: skip


@dataclass
class Graded:
    """A submission and its results, one for each exercise of the course."""

    submission: handed_in.Submission
    results: list

    @property
    def score(self):
        """All points together."""
        return sum(result.score for result in self.results)


def grade(folder, json_path=None, csv_path=None, seed=None):
    """Grade every submission in a folder.

    Parameters
    ----------
    folder : str or Path
        Folders STUDENT/ with files NN.py, or files STUDENT_NN.py.
    json_path : str or Path, optional
        A folder, made if missing. It gets STUDENT/results.json in the format that Gradescope reads,
        and class.json with how many solved each exercise and how many had which misconception.
        Names that are not safe as file names are changed; results.json has the name itself.
    csv_path : str or Path, optional
        A table with a row for each student and exercise.
    seed : int, optional
        Of the teacher's inputs. Without it, the inputs are those that students see.

    Returns
    -------
    int
        The exit status: 0 if everything handed in has been graded, whatever its score; 1 if the
        grader failed somewhere, which the results then say.

    Raises
    ------
    BadInput
        If the folder or submissions in it are missing, or the results cannot be written.
    """
    course = {lesson: exercises.of_lesson(lesson) for lesson in exercises.lessons()}
    submissions, left_out = handed_in.find(folder, course)
    _make_room(folder, json_path, csv_path)
    print("This is not a sandbox: what is graded runs with your rights. Grade the work of")
    print("strangers in a container or a virtual machine.\n")
    for name in left_out:
        print(f"left out, as it is not a submission: {handed_in.printable(name)}")

    safe = handed_in.safe_names([handed.student for handed in submissions])

    def work(handed):
        each = _graded(handed, course, seed or 0)
        if json_path is not None:  # at once, so that an interruption loses little
            _write_json(Path(json_path, safe[handed.student]), each)
        return each

    graded = []
    with ThreadPoolExecutor(threads.available()) as pool:
        for each in pool.map(work, submissions):
            graded.append(each)
            print(_line(each, len(graded), len(submissions)), flush=True)
    summary = _summary(graded)
    if json_path is not None:
        _write(Path(json_path, "class.json"), json.dumps(summary, indent=1))
    if csv_path is not None:
        _write_csv(csv_path, graded)
    _print_summary(summary)
    return int(any(r.stage == NOT_GRADED for each in graded for r in each.results))


def _make_room(folder, json_path, csv_path):
    """Make the folders for the results, and refuse bad ones before anything is graded."""
    if json_path is not None and Path(json_path).resolve().is_relative_to(Path(folder).resolve()):
        raise BadInput("the folder for JSON must not be inside the folder of submissions")
    if csv_path is not None and Path(csv_path).is_dir():
        raise BadInput(f"the table must be a file, but {csv_path} is a folder")
    try:
        for place in (json_path, csv_path and Path(csv_path).parent):
            if place is not None:
                Path(place).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadInput(f"the results cannot be written: {error}") from None


def _graded(handed, course, seed):
    """Grade what one student has handed in; `course` has the exercises of each lesson."""
    results = []
    for lesson, own in course.items():
        if lesson not in handed.files:
            results += [failed(each, Mistake(MISSING, "not handed in")) for each in own]
            continue
        try:
            with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
                # A copy: Python would also use compiled files beside the student's own.
                path = Path(scratch, f"{lesson}.py")
                path.write_bytes(handed_in.source(handed.files[lesson]))
                checked = submission.check(path, lesson, seed, **LIMITS)
            results += checked
        except BadInput as error:
            results += [failed(each, Mistake("imports", str(error))) for each in own]
        except Exception as error:  # the results of all others must not be lost
            message = f"the grader failed, the score is not final: {error!r}"
            results += [failed(each, Mistake(NOT_GRADED, message)) for each in own]
    return Graded(handed, results)


def _line(graded, done, count):
    """What the terminal shows of one student."""
    name = handed_in.printable(graded.submission.student) or "(no name)"
    possible = sum(result.points for result in graded.results)
    notes = "".join(f"; {handed_in.printable(note)}" for note in graded.submission.notes)
    return f"{done:4} of {count}  {name}: {graded.score} of {possible} points{notes}"


def _words(result):
    """What a student is told of a result."""
    own_words = result.stage in (MISSING, NOT_GRADED)
    text = result.message if own_words else report.text(result)
    return text if len(text) <= LONGEST else text[:LONGEST] + " …"


def _write_json(folder, graded):
    folder.mkdir(exist_ok=True)
    tests = [
        {
            "name": f"{result.key} {result.title}",
            "score": result.score,
            "max_score": result.points,
            "status": "passed" if result.passed else "failed",
            "output": _words(result),
        }
        for result in graded.results
    ]
    student = handed_in.printable(graded.submission.student)
    notes = [handed_in.printable(note) for note in graded.submission.notes]
    content = {"score": graded.score, "tests": tests, "extra_data": {"student": student}}
    if notes:
        content["output"] = "\n".join(notes)
    _write(folder / "results.json", json.dumps(content, indent=1))


def _write(path, text):
    options = {"encoding": "utf-8", "errors": "backslashreplace", "newline": ""}
    write_whole(path, lambda temporary: temporary.write_text(text, **options))


def _write_csv(path, graded):
    table = io.StringIO(newline="")
    writer = csv.writer(table)
    writer.writerow(COLUMNS)
    for each in graded:
        for r in each.results:
            first = map(_cell, (each.submission.student, r.key, r.title))
            message = " ".join(r.message.split())[:LONGEST]
            last = map(_cell, (r.stage or "passed", r.misconception, message))
            writer.writerow([*first, r.score, r.points, *last])
    _write(Path(path), table.getvalue())


def _cell(text):
    """Text that a spreadsheet does not take for a formula."""
    text = handed_in.printable(text)
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text


def _summary(graded):
    """How the class did, exercise by exercise."""
    summary = {"students": len(graded), "exercises": []}
    for results in zip(*(each.results for each in graded)):
        misconceptions = collections.Counter(r.misconception for r in results if r.misconception)
        first = results[0]
        summary["exercises"].append(
            {
                "exercise": first.key,
                "title": first.title,
                "handed_in": sum(r.stage not in (MISSING, "unwritten") for r in results),
                "solved": sum(r.passed for r in results),
                "misconceptions": dict(misconceptions.most_common()),
            }
        )
    return summary


def _print_summary(summary):
    rows = [("exercise", "handed in", "solved", "misconceptions")]
    for each in summary["exercises"]:
        counts = [f"{count} × {name}" for name, count in each["misconceptions"].items()]
        start = (each["exercise"], str(each["handed_in"]), str(each["solved"]))
        rows.append((*start, counts[0] if counts else ""))
        rows += [("", "", "", count) for count in counts[1:]]
    print(f"\n{summary['students']} submissions\n\n{aligned(rows)}")
