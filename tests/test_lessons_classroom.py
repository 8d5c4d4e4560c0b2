"""Grading a class: nothing is lost, whatever the files do and however they are called."""

import csv
import json
import os
from pathlib import Path

import pytest

from geonet.text import BadInput
from lessons import classroom, exercises, handed_in, submission

KEYS = [exercise.key for exercise in exercises.every()]
POINTS = {exercise.key: exercise.points for exercise in exercises.every()}
LESSONS = exercises.lessons()
FIRST = LESSONS[0]


def answers(lesson, pick):
    """A file that answers every exercise by `pick` of it, such as "solve" or "wrong[0].solve"."""
    lines = ["import importlib", f'e = importlib.import_module("lessons.exercises.e{lesson}")']
    own = exercises.of_lesson(lesson)
    return "\n".join(
        lines + [f"{exercise.name} = e.EXERCISES[{i}].{pick}" for i, exercise in enumerate(own)]
    )


def with_first(body, lesson=FIRST):
    """Right answers, but for the first exercise, whose function has this body."""
    name = exercises.of_lesson(lesson)[0].name
    return f"{answers(lesson, 'solve')}\ndef {name}(*arguments):\n    {body}\n"


def write(folder, files):
    for name, text in files.items():
        path = os.path.join(os.fsencode(folder), os.fsencode(name))
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as stream:
            stream.write(text)


def run(tmp_path, files, **keywords):
    """Grade these files; the status, results by student, rows of the table, and the summary."""
    write(tmp_path / "class", files)
    out, table = tmp_path / "out", tmp_path / "grades.csv"
    status = classroom.grade(tmp_path / "class", out, table, **keywords)
    results = [json.loads(path.read_text()) for path in out.glob("*/results.json")]
    results = {each["extra_data"]["student"]: each for each in results}
    with open(table, newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == len(results) * len(KEYS)  # one per student and exercise
    for each in results.values():  # what Gradescope reads
        assert [test["name"].split()[0] for test in each["tests"]] == KEYS
        assert each["score"] == sum(test["score"] for test in each["tests"])
        for test in each["tests"]:
            assert set(test) == {"name", "score", "max_score", "status", "output"}
            assert 0 <= test["score"] <= test["max_score"] == POINTS[test["name"].split()[0]]
            assert test["status"] == ("passed" if test["score"] else "failed")
    return status, results, rows, json.loads((out / "class.json").read_text())


def said(result):
    """What is said of the first exercise, in one line."""
    return " ".join(result["tests"][0]["output"].split())


def points(result):
    """The score of each exercise."""
    return {test["name"].split()[0]: test["score"] for test in result["tests"]}


FULL = {key: POINTS[key] for key in KEYS if key.startswith(FIRST)}
BUT_FIRST = FULL | {f"{FIRST}.a": 0}


def test_right_wrong_and_missing_work_gets_its_points_and_words(tmp_path, capsys):
    files = {
        f"anna/{FIRST}.py": answers(FIRST, "right[0]"),
        f"ben_{FIRST}.py": answers(FIRST, "wrong[0].solve"),
        f"cora/work/{FIRST}.py": answers(FIRST, "wrong[0].solve"),
        "dora/notes.txt": "nothing to grade",
        "readme.txt": "nobody's",
    }
    status, results, rows, summary = run(tmp_path, files, seed=7)
    assert status == 0
    assert "not a sandbox" in capsys.readouterr().out
    assert set(results) == {"anna", "ben", "cora", "dora"}
    assert points(results["anna"]) == dict.fromkeys(KEYS, 0) | FULL
    assert {results[name]["score"] for name in ("ben", "cora", "dora")} == {0}
    assert results["dora"]["output"] == "no file NN.py"
    first = exercises.of_lesson(FIRST)[0]
    wrong = first.wrong[0]
    assert wrong.why in said(results["ben"])
    assert summary["students"] == 4
    assert summary["exercises"][0]["solved"] == 1
    assert summary["exercises"][0]["handed_in"] == 3
    assert summary["exercises"][0]["misconceptions"] == {wrong.name: 2}
    row = next(r for r in rows if (r["student"], r["exercise"]) == ("ben", first.key))
    assert row["misconception"] == wrong.name
    assert (row["score"], row["max_score"]) == ("0", str(first.points))


def test_the_seed_reaches_the_grader(tmp_path, monkeypatch):
    seen = []

    def check(path, lesson, seed, **limits):
        seen.append(seed)
        raise BadInput("of no interest here")

    monkeypatch.setattr(submission, "check", check)
    run(tmp_path / "a", {f"anna/{FIRST}.py": ""}, seed=123)
    run(tmp_path / "b", {f"anna/{FIRST}.py": ""})
    assert seen == [123, 0]


def test_a_failure_of_the_grader_is_reported_and_costs_no_other_results(tmp_path, monkeypatch):
    check = submission.check

    def failing(path, *rest, **limits):
        if "boom" in Path(path).read_text():
            raise RuntimeError("no more processes")
        return check(path, *rest, **limits)

    monkeypatch.setattr(submission, "check", failing)
    files = {
        f"anna/{FIRST}.py": answers(FIRST, "solve"),
        f"ben/{FIRST}.py": answers(FIRST, "solve") + "\n# boom\n",
    }
    status, results, _, _ = run(tmp_path, files)
    assert status == 1
    assert "the grader failed" in said(results["ben"])
    assert "no more processes" in said(results["ben"])
    assert results["anna"]["score"] == sum(FULL.values())


NAMES = [
    "..",
    "",
    "=HYPERLINK(1)",
    "@SUM(1)",
    "-1",
    "a\nb",
    "a,b;'\"",
    "\x1b[31mred",
    "$(touch pwned)",
    "`touch pwned`; rm -rf x",
    "class.json",
    "ANNA",
    "Anna",
    "anna",
    "--help",
    "\u202egnp.exe",
    "ü" * 100,
    "x" * 240,
    "caf\udce9",  # a byte that is not UTF-8
]


def test_no_name_is_lost_or_leads_out_of_the_folder(tmp_path):
    """None of them has a lesson with exercises, so that this is fast."""
    out = tmp_path / "deep" / "out"
    write(tmp_path / "class", {f"{name}_99.py": "" for name in NAMES})
    before = set(tmp_path.rglob("*"))
    classroom.grade(tmp_path / "class", out, tmp_path / "deep" / "grades.csv")
    written = {path for path in set(tmp_path.rglob("*")) - before if path.is_file()}
    assert {path.name for path in written} == {"results.json", "class.json", "grades.csv"}
    assert all(path.is_relative_to(tmp_path / "deep") for path in written)
    assert len(list(out.glob("*/results.json"))) == len(NAMES)
    folders = [path.name for path in out.iterdir()]
    assert len({name.lower() for name in folders}) == len(NAMES) + 1
    with open(tmp_path / "deep" / "grades.csv", newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == len(NAMES) * len(KEYS)
    for row in rows:  # no formula for a spreadsheet, nothing that steers a terminal
        assert not row["student"].startswith(("=", "+", "-", "@"))
        assert row["student"].isprintable()


def test_links_pipes_folders_and_huge_files_are_not_read(tmp_path):
    secret = tmp_path / "solution.py"
    secret.write_text(answers(FIRST, "solve"))
    write(tmp_path / "class", {"pipe/x": "", "folder/x": "", f"huge/{FIRST}.py": "#" * 2_000_000})
    (tmp_path / "class" / "linked").symlink_to(tmp_path)
    (tmp_path / "class" / f"link_{FIRST}.py").symlink_to(secret)
    os.mkfifo(tmp_path / "class" / "pipe" / f"{FIRST}.py")
    (tmp_path / "class" / "folder" / f"{FIRST}.py").mkdir()
    _, results, _, _ = run(tmp_path, {})
    assert set(results) == {"pipe", "folder", "huge", "linked", "link"}
    assert all(each["score"] == 0 for each in results.values())
    assert "symbolic link" in results["linked"]["output"]
    assert "Not a regular file" in said(results["pipe"])
    assert "Not a regular file" in said(results["link"])
    assert "at most" in said(results["huge"])


def test_where_a_folder_and_a_file_compete_the_folder_counts(tmp_path):
    files = {f"a/{FIRST}.py": "folder", f"a_{FIRST}.py": "file", f".hidden_{FIRST}.py": "hidden"}
    write(tmp_path, files | {".git/config": "", "notes.md": ""})
    found, left_out = handed_in.find(tmp_path, LESSONS)
    assert [each.student for each in found] == [".hidden", "a"]
    assert handed_in.source(found[1].files[FIRST]) == b"folder"
    assert "left out" in found[1].notes[0]
    assert sorted(left_out) == [".git", "notes.md"]


def test_bad_usage_is_refused_before_anything_is_graded(tmp_path):
    with pytest.raises(BadInput, match="must be a folder"):
        classroom.grade(tmp_path / "nothing")
    with pytest.raises(BadInput, match="holds neither"):
        classroom.grade(tmp_path)
    write(tmp_path, {f"class/anna/{FIRST}.py": "", "file": ""})
    with pytest.raises(BadInput, match="must not be inside"):
        classroom.grade(tmp_path / "class", tmp_path / "class" / "out")
    with pytest.raises(BadInput, match="is a folder"):
        classroom.grade(tmp_path / "class", csv_path=tmp_path)
    with pytest.raises(BadInput, match="cannot be written"):
        classroom.grade(tmp_path / "class", tmp_path / "file" / "out")


# What a file may do in its first exercise, at the cost of this exercise alone.
MISCHIEF = {
    "exits": "raise SystemExit",
    "ends": "import os; os._exit(0)",
    "kills": "import os; os.kill(os.getpid(), 9)",
    "segfaults": "import ctypes; ctypes.string_at(0)",
    "recurses": "return (lambda f: f(f))(lambda f: f(f))",
    "interrupts": "raise KeyboardInterrupt",
    "loops": "\n    while True: pass",
    "clings": "\n    while True:\n        try:\n            while True: pass\n"
    "        except BaseException: pass",
    "sleeps": "import time; time.sleep(1e6)",
    "hoards": "\n    held = []\n    while True: held.append(bytearray(2**28))",
    "wants too much": "import numpy; return numpy.ones(2**40)",
    "prints": "\n    while True: print('x' * 10**6)",
    "begets": "import subprocess, sys; "
    "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(1e6)']); return None",
}
# And while it is imported, at the cost of the file; more of these in test_lessons_submission.py.
AT_IMPORT = {"loops at once": "while True: pass", "is empty": ""}


@pytest.mark.slow
def test_a_class_of_fifty_is_graded_whole(tmp_path):
    files, expected = {}, {}

    def add(name, lessons, text, scores=None):
        files.update({f"{name}/{lesson}.py": text(lesson) for lesson in lessons})
        expected[name] = dict.fromkeys(KEYS, 0) | (scores or {})

    for i, pick in enumerate(("solve", "right[0]", "right[1]", "solve")):
        add(f"right{i}", LESSONS, lambda lesson: answers(lesson, pick), POINTS)
    for i in range(12):  # wrong in every way in turn, one lesson each
        lesson = LESSONS[i % len(LESSONS)]
        add(f"wrong{i}", [lesson], lambda lesson: answers(lesson, f"wrong[{i % 6}].solve"))
    for name, body in MISCHIEF.items():
        add(name, [FIRST], lambda lesson: with_first(body), BUT_FIRST)
    for name, text in AT_IMPORT.items():
        add(name, [FIRST], lambda lesson: text)
    for i in range(50 - len(expected)):  # strange names, right work
        files[f"{NAMES[i]}_{FIRST}.py"] = answers(FIRST, "solve")
        expected[handed_in.printable(NAMES[i])] = dict.fromkeys(KEYS, 0) | FULL
    assert len(expected) == 50

    status, results, rows, summary = run(tmp_path, files, seed=1)
    assert status == 0
    assert {name: points(result) for name, result in results.items()} == expected
    assert summary["students"] == 50
    for i in range(12):
        own = exercises.of_lesson(LESSONS[i % len(LESSONS)])
        for exercise in own:
            mine = [r for r in rows if (r["student"], r["exercise"]) == (f"wrong{i}", exercise.key)]
            assert mine[0]["misconception"] == exercise.wrong[i % 6].name
