"""Comparing answers: what passes, what does not, and what is said of it."""

from types import SimpleNamespace

import numpy as np
import pytest

from lessons.compare import difference

VALUES = SimpleNamespace(tolerance=1e-9, kind="values")
GRADIENT = SimpleNamespace(tolerance=1e-9, kind="gradient")


def stage(expected, got, exercise=VALUES, arguments=()):
    mistake = difference(expected, got, exercise, arguments)
    return mistake and mistake.stage


def test_equal_answers_do_not_differ():
    x = np.array([[1.0, np.nan], [np.inf, -2.0]])
    assert stage((x, 3.0), (x.copy(), 3.0)) is None
    assert stage((x, 3.0), [x.copy(), np.array(3)]) is None
    assert stage(2.0, 2) is None
    assert stage(np.array([1, 2]), np.array([1, 2], dtype=np.int32)) is None


@pytest.mark.parametrize(
    ("expected", "got", "where"),
    [
        (np.ones(2), None, "shape"),
        (np.ones(2), np.ones((2, 1)), "shape"),
        (np.ones(2), [[1.0], [1.0, 2.0]], "shape"),
        (1.0, np.ones(1), "shape"),
        ((1.0, 2.0), 1.0, "shape"),
        ((1.0, 2.0), (1.0, 2.0, 3.0), "shape"),
        (np.ones(2), [1.0, 1.0], "dtype"),
        (np.ones(2), np.ones(2, dtype=np.float32), "dtype"),
        (np.ones(2), np.ones(2, dtype=int), "dtype"),
        (np.ones(2), np.ones(2, dtype=complex), "dtype"),
        (1.0, "1", "dtype"),
        (1.0, {}, "dtype"),
        (1.0, True, "dtype"),
        (np.ones(2), np.array([1.0, np.nan]), "finite"),
        (np.array([np.nan, 1.0]), np.ones(2), "values"),
        (np.array([np.inf, 1.0]), np.array([-np.inf, 1.0]), "values"),
        (np.ones(2), np.array([1.0, 1.00001]), "values"),
        (np.array([True, False]), np.array([True, True]), "values"),
        (np.array([1, 2]), np.array([1, 3]), "values"),
    ],
)
def test_the_first_check_that_fails_is_named(expected, got, where):
    assert stage(expected, got) == where


def test_shape_comes_before_the_values_of_an_earlier_part():
    assert stage((1.0, np.ones(2)), (2.0, np.ones(3))) == "shape"


def test_a_zero_gradient_for_a_column_of_tiny_entries_is_wrong():
    right = np.array([[1.0, 1e-8], [2.0, -1e-8]])
    zero = right * [1.0, 0.0]
    assert stage(right, zero, SimpleNamespace(tolerance=1e-6, kind="values")) is None
    mistake = difference(right, zero, SimpleNamespace(tolerance=1e-6, kind="gradient"))
    assert mistake.stage == "gradient"
    assert "column 1" in mistake.message


def test_rounding_passes_and_scales_with_the_inputs():
    assert stage(6e-17, 0.0) is None
    assert stage(1e-12, 0.0) == "values"
    assert stage(1e-12, 0.0, arguments=(np.array([1000.0]),)) is None


def test_the_worst_entry_is_named_with_both_numbers():
    right = np.array([[1.0, 2.0], [3.0, 4.0]])
    wrong = np.array([[1.0, 2.0], [3.5, 4.1]])
    mistake = difference(right, wrong, VALUES)
    assert (mistake.entry, mistake.got, mistake.expected) == ("[1, 0]", "3.5", "3")


def test_parts_of_tuples_are_named():
    assert difference((1.0, 2.0), (1.0, 3.0), VALUES).message == "the second result is wrong"
    nested = difference(((1.0, 2.0), 3.0), ((1.0, 5.0), 3.0), VALUES)
    assert nested.message == "the second of the first result is wrong"


def test_numbers_that_print_alike_are_printed_in_full():
    mistake = difference(1.0, 1.0 + 1e-8, VALUES)
    assert mistake.got != mistake.expected


def test_a_common_factor_is_named():
    x = np.array([1.0, -2.0])
    assert "-1 times" in difference(x, -x, GRADIENT).message
    assert "times" not in difference(x, x + np.array([0, 1e-7]), GRADIENT).message
