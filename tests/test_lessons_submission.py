"""Files graded in a process of their own: whatever they do, every exercise has a result."""

import sys

import pytest

from lessons import exercises, submission, workspace

LESSON = "01"
ASKED = exercises.of_lesson(LESSON)


@pytest.fixture
def graded(tmp_path):
    """Grade a program, with functions of the stub for what it does not define."""

    def grade(program, first=True, **limits):
        file = tmp_path / "01.py"
        stub = workspace.stub(LESSON)
        file.write_text(f"{program}\n{stub}" if first else f"{stub}\n{program}", encoding="utf-8")
        return submission.check(file, LESSON, **limits)

    return grade


def defined(body):
    """The first function of the lesson with another body."""
    return f"def {ASKED[0].name}(*arguments):\n    {body}\n"


def solved(exercise):
    return "\n".join(workspace.reference_code(exercise))


def test_a_right_function_passes_and_costs_the_others_nothing(graded):
    results = graded(solved(ASKED[1]), first=False)
    assert [result.key for result in results] == [exercise.key for exercise in ASKED]
    assert [result.passed for result in results] == [False, True, False]
    assert [result.stage for result in results] == ["unwritten", "", "unwritten"]


def test_an_endless_loop_costs_its_exercise_only(graded):
    program = defined("while True: pass") + solved(ASKED[1])
    results = graded(program, first=False, seconds_a_call=1.0)
    assert [result.stage for result in results] == ["time", "", "unwritten"]
    assert "line" in results[0].message
    assert " = " in results[0].inputs


def test_an_end_of_the_process_costs_its_exercise_only(graded):
    results = graded(defined("import os; os._exit(3)") + solved(ASKED[2]), first=False)
    assert [result.stage for result in results] == ["crash", "unwritten", ""]
    assert "3" in results[0].message


@pytest.mark.skipif(sys.platform != "linux", reason="memory is limited on Linux only")
def test_hunger_for_memory_costs_its_exercise_only(graded):
    body = "return np.zeros(4 * 10**8)"
    results = graded(defined(body) + solved(ASKED[1]), first=False, memory=2**31)
    assert [result.passed for result in results] == [False, True, False]
    assert "MemoryError" in results[0].message


def test_an_error_names_the_line(graded):
    result = graded(defined("\n    return 1 / 0"), first=False)[0]
    line = workspace.stub(LESSON).count("\n") + 4
    assert result.message == f"line {line}: ZeroDivisionError: division by zero"


@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("def f(:", "line 1: SyntaxError"),
        ("x = 1 / 0", "line 1: ZeroDivisionError"),
        ("import lessons.exercises", "imports lessons.exercises"),
        ("from torch import nn", "imports torch.nn"),
        ("raise SystemExit", "SystemExit"),
        ("import os; os._exit(0)", "ended the process"),
        ("while True: pass", "line 1 was still running"),
        ("\0", "null bytes"),
    ],
)
def test_a_file_that_cannot_be_imported_fails_every_exercise_and_says_why(graded, program, words):
    results = graded(program, seconds_a_call=2.0)
    assert {result.stage for result in results} == {"imports"}
    assert all(words in result.message for result in results)
    assert len(results) == len(ASKED)


def test_a_missing_file_and_one_that_is_not_text_fail_at_import(tmp_path):
    assert submission.check(tmp_path / "01.py", LESSON)[0].stage == "imports"
    (tmp_path / "01.py").write_bytes(b"\xff\xfe\x00")
    assert submission.check(tmp_path / "01.py", LESSON)[0].stage == "imports"


@pytest.mark.parametrize(
    "program",
    [
        "import sys\nprint(1)\nsys.stdout.write('2')\nsys.stdout.flush()\n",
        "import math\nfrom itertools import chain\nimport numpy.linalg\n",
    ],
)
def test_a_file_may_print_and_import_the_standard_library(graded, program):
    assert {result.stage for result in graded(program)} == {"unwritten"}
