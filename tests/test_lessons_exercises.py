"""The grader tried on every exercise: stubs, references, right and wrong solutions."""

import ast
import inspect
import re
from itertools import chain

import pytest

from lessons import exercises, submission, workspace
from lessons.grader import grade, inputs, judge, misconception

# The lesson that brings in each part of geonet.
FIRST = {"gradcheck": 2, "Tensor": 2, "ops": 3, "characteristic": 4, "hypersphere": 5, "nn": 7,
         "models": 8, "METHODS": 8, "train": 10, "data": 10, "kernels": 11}  # fmt: skip
POINTS = [6, 8, 10, 8, 10, 12, 8, 8, 8, 8, 8, 6]

EVERY = exercises.every()
every_exercise = pytest.mark.parametrize("exercise", EVERY, ids=lambda e: e.key)
every_lesson = pytest.mark.parametrize("lesson", exercises.lessons())


def outcome(exercise, function, seed):
    """Whether a function passes, and the misconception it is taken for."""
    trials = [judge(exercise, function, arguments) for arguments in inputs(exercise, seed)]
    if not any(trial.mistake for trial in trials):
        return "right"
    wrong = misconception(exercise, trials)
    return f"wrong: {wrong.name if wrong else 'unknown'}"


def check_right(exercise, seed):
    for function in (exercise.solve, *exercise.right):
        assert outcome(exercise, function, seed) == "right", function


def check_wrong(exercise, seed):
    for wrong in exercise.wrong:
        assert outcome(exercise, wrong.solve, seed) == f"wrong: {wrong.name}"


def test_the_course_has_a_hundred_points():
    assert exercises.lessons() == [f"{k:02}" for k in range(1, 13)]
    points = [sum(e.points for e in exercises.of_lesson(n)) for n in exercises.lessons()]
    assert points == POINTS


@every_lesson
def test_a_lesson_has_two_or_three_exercises_with_keys_in_order(lesson):
    asked = exercises.of_lesson(lesson)
    assert 2 <= len(asked) <= 3
    assert [e.key for e in asked] == [f"{lesson}.{letter}" for letter in "abc"[: len(asked)]]
    assert len({e.name for e in asked}) == len(asked)


@every_exercise
def test_an_exercise_is_whole(exercise):
    assert exercise.title[0].isupper() or exercise.title.startswith("im2col")  # a name in code
    assert exercise.points >= 1
    assert 1 <= exercise.difficulty <= 5
    assert exercise.kind in ("values", "gradient")
    assert len(set(exercise.hints)) == 3
    assert len({wrong.name for wrong in exercise.wrong}) == len(exercise.wrong) >= 6
    assert all(wrong.why.strip()[-1] in ".?!" for wrong in exercise.wrong)
    assert len(exercise.right) >= 2
    assert "numpy" in exercise.imports


@every_exercise
def test_references_and_right_solutions_pass_and_wrong_ones_are_named(exercise):
    check_right(exercise, seed=0)
    check_wrong(exercise, seed=0)


@pytest.mark.slow
@every_exercise
def test_references_pass_and_wrong_solutions_are_named_with_a_teachers_seeds_too(exercise):
    for seed in range(1, 20):
        check_right(exercise, seed)
    for seed in range(1, 4):
        check_wrong(exercise, seed)


@pytest.mark.slow
@every_exercise
def test_a_wrong_solution_gets_no_points_and_a_smallest_input(exercise):
    for wrong in exercise.wrong:
        result = grade(exercise, wrong.solve)
        assert (result.score, result.misconception, result.why) == (0, wrong.name, wrong.why)
        assert result.inputs
        assert result.message


@pytest.mark.slow
@every_lesson
def test_a_stub_scores_nothing_and_the_references_all(lesson, tmp_path):
    """A student who is shown a reference can run it: it needs only what the stub imports."""
    stub, solved = tmp_path / "stub.py", tmp_path / "solved.py"
    text = workspace.stub(lesson)
    stub.write_text(text, encoding="utf-8")
    results = submission.check(stub, lesson)
    assert {(result.score, result.stage) for result in results} == {(0, "unwritten")}
    bodies = ["\n".join(workspace.reference_code(e)) for e in exercises.of_lesson(lesson)]
    solved.write_text("\n\n".join([text, *bodies]), encoding="utf-8")
    assert [result.message for result in submission.check(solved, lesson)] == [""] * len(results)


@every_lesson
def test_stubs_compile_and_hold_no_line_of_a_solution(lesson):
    stub = workspace.stub(lesson)
    compile(stub, "stub", "exec")
    squeezed = re.sub(r"\s", "", stub)
    for exercise in exercises.of_lesson(lesson):
        functions = [f for f in (exercise.solve, *exercise.right) if inspect.isfunction(f)]
        for line in chain.from_iterable(map(_body, functions)):
            assert len(line) < 10 or line not in squeezed


def _body(function):
    """The lines of a function without its docstring and without spaces."""
    lines = workspace.code(inspect.getsource(function), function.__name__)
    return [re.sub(r"\s", "", line) for line in lines[1:]]


@every_lesson
def test_exercises_import_nothing_of_later_lessons(lesson):
    source = inspect.getsource(__import__(f"lessons.exercises.e{lesson}", fromlist=["EXERCISES"]))
    for node in ast.walk(ast.parse(source)):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            names = [f"geonet.{node.attr}"] if node.value.id == "geonet" else []
        for package, *rest in (name.split(".") for name in names):
            assert package in ("numpy", "hypothesis", "lessons", "geonet", "math", "functools",
                               "itertools")  # fmt: skip
            if package == "geonet" and rest:
                assert FIRST[rest[0]] <= int(lesson)
            if package == "lessons":
                earlier = rest[0] == "exercises" and rest[1] < f"e{lesson}"
                assert earlier or rest[0] in ("exercise", "inputs")
