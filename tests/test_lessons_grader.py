"""The grader on a small exercise: every check, the smallest input, the misconception."""

import numpy as np
import pytest
from hypothesis import strategies as st

from lessons.exercise import Exercise, Wrong
from lessons.grader import call, grade, show


def double(x, k):
    """Twice x, whatever k is."""
    return 2.0 * x


def _inputs():
    numbers = st.lists(st.integers(-9, 9).map(float), min_size=1, max_size=3)
    return st.tuples(numbers.map(np.array), st.integers(0, 5))


EXERCISE = Exercise(
    key="01.a",
    title="Double",
    points=3,
    difficulty=1,
    solve=double,
    inputs=_inputs,
    hints=("one", "two", "three"),
    wrong=(
        Wrong("halves", lambda x, k: x / 2, "It must grow."),
        Wrong("adds k", lambda x, k: x + k, "The number k is of no use."),
        Wrong("stumbles", lambda x, k: x[99], "There is no entry 99."),
    ),
    right=(),
)


def _changes(x, k):
    x *= 2
    return x


def _exits(x, k):
    raise SystemExit


def _exists_from_three(x, k):
    if k >= 3:
        raise ValueError("k is large")
    return 0.0


def _unwritten(x, k):
    raise NotImplementedError


def test_right_functions_get_all_points():
    for function in (double, lambda y, other: y + y):
        result = grade(EXERCISE, function)
        assert (result.passed, result.score, result.stage) == (True, 3, "")


@pytest.mark.parametrize(
    ("function", "stage"),
    [
        (None, "signature"),
        (3, "signature"),
        (max, "signature"),
        (lambda x: x, "signature"),
        (lambda x, k, more: x, "signature"),
        (_exits, "error"),
        (lambda x, k: 1 / 0, "error"),
        (_changes, "inputs"),
        (lambda x, k: 0.0, "shape"),
        (lambda x, k: None, "shape"),
        (lambda x, k: [2.0 * y for y in x], "dtype"),
        (lambda x, k: 2.0 * x / (x > -9), "finite"),
        (lambda x, k: 2.0 * np.abs(x), "values"),
        (_exists_from_three, "error"),
        (_unwritten, "unwritten"),
    ],
)
def test_the_check_that_fails_is_named(function, stage):
    result = grade(EXERCISE, function)
    assert (result.stage, result.score) == (stage, 0)
    assert result.message


def test_the_smallest_failing_input_is_shown():
    result = grade(EXERCISE, lambda x, k: 2.0 * x + (k > 2))
    assert result.inputs == "x = np.array([0.0])\nk = 3"
    assert (result.entry, result.got, result.expected) == ("[0]", "1", "0")


@pytest.mark.parametrize("wrong", EXERCISE.wrong, ids=lambda wrong: wrong.name)
def test_misconceptions_are_named(wrong):
    result = grade(EXERCISE, wrong.solve)
    assert (result.misconception, result.why) == (wrong.name, wrong.why)


def test_a_mistake_that_nobody_foresaw_has_no_name():
    result = grade(EXERCISE, lambda x, k: x / 3)
    assert (result.stage, result.misconception) == ("values", "")


def test_results_repeat_and_depend_on_the_seed():
    seen = {seed: [] for seed in (0, 1)}

    def run(seed):
        def function(x, k):
            seen[seed].append(x.tolist())
            return double(x, k)

        grade(EXERCISE, function, seed)
        return seen[seed]

    first = list(run(0))
    assert run(0) == first * 2
    assert run(1) != first


def test_a_function_that_changes_its_mind_is_wrong():
    calls = []

    def function(x, k):
        calls.append(k)
        return 2.0 * x + (len(calls) % 7 == 0)

    assert grade(EXERCISE, function).stage == "values"


def test_what_the_function_prints_for_the_smallest_input_is_kept():
    def function(x, k):
        print("k is", k)
        return x

    assert grade(EXERCISE, function).printed.startswith("k is")


def test_arguments_are_copied_before_a_call():
    x = np.ones(2)
    assert call(_changes, (x, 0)).changed == 1
    assert x.tolist() == [1.0, 1.0]


def test_arguments_are_shown_as_python():
    x, k = np.array([[0.5, np.nan, -np.inf]], dtype=np.float32), np.int64(2)
    text = show(EXERCISE, (x, k))
    assert text == "x = np.array([[0.5, np.nan, -np.inf]], dtype=np.float32)\nk = 2"
    names = {"np": np}
    exec(text, names)
    assert names["x"].tobytes() == x.tobytes()
