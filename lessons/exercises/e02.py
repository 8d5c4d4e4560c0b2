"""Exercises of lesson 02: numeric gradients, and the judgement of an analytic one."""

import numpy as np
from hypothesis import strategies as st

from lessons.exercise import Exercise, Wrong


class Function:
    """A smooth function of an array, which is shown as it would be typed."""

    def __init__(self, formula):
        self.formula = formula

    def __call__(self, x):
        return eval(self.formula, {"np": np, "x": x})

    def __repr__(self):
        return f"lambda x: {self.formula}"


_FUNCTIONS = [
    Function(formula)
    for formula in (
        "np.sum(x**3)",
        "np.sum(np.exp(x))",
        "np.sum(np.sin(x)) ** 2",
        "np.sum(x**2 * np.roll(x, 1))",
        "np.prod(1 + np.exp(2 * x))",
    )
]


def _points():
    """Arrays of one to four multiples of a quarter, from −1 to 1."""
    entries = st.lists(st.integers(-4, 4), min_size=1, max_size=4)
    return entries.map(lambda k: np.array(k) / 4)


def central_gradient(f, x, h):
    """The gradient of a function, by central differences.

    Entry k is (f(x + h eₖ) − f(x − h eₖ)) / 2h, where eₖ has a 1 in place k and zeros elsewhere.

    Parameters
    ----------
    f : function
        Takes an array like x and returns one number.
    x : array (n,)
        Where to differentiate. It must be the same afterwards as before.
    h : float
        The step, to be used as it is.

    Returns
    -------
    array (n,)
    """
    gradient = np.zeros(len(x))
    for k in range(len(x)):
        step = np.zeros(len(x))
        step[k] = h
        gradient[k] = (f(x + step) - f(x - step)) / (2 * h)
    return gradient


def _with_steps():
    steps = st.sampled_from([0.25, 0.1, 0.01])
    return st.tuples(st.sampled_from(_FUNCTIONS), _points(), steps)


def _entries(formula):
    """A solution that computes entry k by formula(f, x, step, h), where step is h eₖ."""

    def solve(f, x, h):
        return np.array([formula(f, x, step, h) for step in h * np.eye(len(x))])

    return solve


def _moves_all_at_once(f, x, h):
    return np.full(len(x), (f(x + h) - f(x - h)) / (2 * h))


def _stays_behind(f, x, h):
    moved, gradient = x.copy(), np.zeros(len(x))
    for k in range(len(x)):
        moved[k] += h
        ahead = f(moved)
        moved[k] -= 2 * h
        gradient[k] = (ahead - f(moved)) / (2 * h)
    return gradient


def _comes_back(f, x, h):
    gradient = []
    for k in range(len(x)):
        ahead, behind = x.copy(), x.copy()
        ahead[k] += h
        behind[k] -= h
        gradient.append(0.5 * (f(ahead) - f(behind)) / h)
    return np.array(gradient)


CENTRAL = Exercise(
    key="02.a",
    title="A gradient by central differences",
    points=2,
    difficulty=1,
    solve=central_gradient,
    inputs=_with_steps,
    hints=(
        "Do it for one entry first: which two points do you need, and how far apart are they?",
        "Go over the entries. For each one make an array that is zero except for h in that place, "
        "and evaluate the function on either side of x.",
        "The step for entry k is row k of h * np.eye(n). The difference of the two values of f, "
        "in brackets, is divided by the distance of the two points.",
    ),
    wrong=(
        Wrong(
            "steps to one side only",
            _entries(lambda f, x, step, h: (f(x + step) - f(x)) / h),
            "This is the forward difference. Its error falls with h and not with h squared, so it "
            "needs a step on the other side too.",
        ),
        Wrong(
            "divides by one step",
            _entries(lambda f, x, step, h: (f(x + step) - f(x - step)) / h),
            "Your numbers are twice too large. Think again about how far apart the two points are.",
        ),
        Wrong(
            "subtracts the wrong way round",
            _entries(lambda f, x, step, h: (f(x - step) - f(x + step)) / (2 * h)),
            "All signs are wrong: where the function rises, your gradient is negative.",
        ),
        Wrong(
            "divides only the second value",
            _entries(lambda f, x, step, h: f(x + step) - f(x - step) / (2 * h)),
            "Division goes before subtraction, so only one of the two values is divided. Brackets "
            "are missing.",
        ),
        Wrong(
            "moves all entries at once",
            _moves_all_at_once,
            "x + h adds the step to every entry. What you get is the sum of the gradient's "
            "entries; each entry needs a step of its own.",
        ),
        Wrong(
            "does not step back",
            _stays_behind,
            "After the first entry you do not return to x, so the next entries are computed "
            "somewhere else.",
        ),
        Wrong(
            "scales the entry instead of shifting it",
            _entries(
                lambda f, x, step, h: (f(x * (1 + step)) - f(x * (1 - step))) / (2 * h),
            ),
            "Your step is h times the entry, and it is no step at all where the entry is 0. But "
            "you divide as if it were h.",
        ),
        Wrong(
            "chooses its own step",
            lambda f, x, h: central_gradient(f, x, 1e-5),
            "You do not use the h that is given. The differences depend on it, and whoever calls "
            "the function wants to see how.",
        ),
    ),
    right=(
        _comes_back,
        _entries(lambda f, x, step, h: f(x + step) / (2 * h) - f(x - step) / (2 * h)),
    ),
    tolerance=1e-7,
)


def complex_step_gradient(f, x):
    """The gradient of a smooth function by the complex step, right to the last few digits.

    Entry k is Im f(x + ih eₖ) / h, with a step h so small that its square does not count.

    Parameters
    ----------
    f : function
        Takes an array like x, of real or complex numbers, and returns one number.
    x : array (n,)
        Where to differentiate.

    Returns
    -------
    array (n,)
        Of real numbers.
    """
    h = 1e-20
    steps = 1j * h * np.eye(len(x))
    return np.array([np.imag(f(x + step)) / h for step in steps])


def _complex(formula, h):
    """A solution that computes entry k by formula(f, x, eₖ, h)."""

    def solve(f, x):
        return np.array([formula(f, x, direction, h) for direction in np.eye(len(x))])

    return solve


def _complex_all_at_once(f, x):
    return np.full(len(x), np.imag(f(x + 1e-20j)) / 1e-20)


def _complex_entry_by_entry(f, x):
    gradient = np.empty(len(x))
    for k in range(len(x)):
        moved = x.astype(complex)
        moved[k] += 1e-30j
        gradient[k] = f(moved).imag / 1e-30
    return gradient


COMPLEX = Exercise(
    key="02.b",
    title="A gradient by the complex step",
    points=3,
    difficulty=2,
    solve=complex_step_gradient,
    inputs=lambda: st.tuples(st.sampled_from(_FUNCTIONS), _points()),
    hints=(
        "Python writes the imaginary unit as 1j. Nothing is subtracted here, so the step may be "
        "far smaller than any difference could bear.",
        "Move one entry at a time, as in 02.a, but in the imaginary direction, and look only at "
        "the imaginary part of what comes out.",
        "With h = 1e-20, add 1j * h to entry k of a complex copy of x, evaluate f, take the "
        "imaginary part, and divide it by h.",
    ),
    wrong=(
        Wrong(
            "takes the real part",
            _complex(lambda f, x, e, h: np.real(f(x + 1j * h * e)) / h, 1e-20),
            "The real part is the value of the function. The derivative is in the other part.",
        ),
        Wrong(
            "keeps the whole complex number",
            _complex(lambda f, x, e, h: f(x + 1j * h * e) / h, 1e-20),
            "A gradient consists of real numbers. Of the complex number that comes out you need "
            "only one of its two parts.",
        ),
        Wrong(
            "takes the absolute value",
            _complex(lambda f, x, e, h: np.abs(f(x + 1j * h * e)) / h, 1e-20),
            "The absolute value mixes the value of the function with its derivative, and the "
            "value is by far the larger.",
        ),
        Wrong(
            "forgets to divide by the step",
            _complex(lambda f, x, e, h: np.imag(f(x + 1j * h * e)), 1e-20),
            "Your numbers are as tiny as the step: this is the change of the function, not yet "
            "its rate of change.",
        ),
        Wrong(
            "takes a large step",
            _complex(lambda f, x, e, h: np.imag(f(x + 1j * h * e)) / h, 1e-3),
            "The first digits are right, but the square of your step is not negligible. There is "
            "no rounding error here that would forbid a much smaller one.",
        ),
        Wrong(
            "uses central differences",
            _complex(lambda f, x, e, h: (f(x + h * e) - f(x - h * e)) / (2 * h), 6e-6),
            "About ten digits are right, the most that differences can give. This exercise asks "
            "for all of them.",
        ),
        Wrong(
            "moves all entries at once",
            _complex_all_at_once,
            "You add the step to every entry, so you get the sum of the gradient's entries in "
            "each place.",
        ),
    ),
    right=(
        _complex_entry_by_entry,
        _complex(lambda f, x, e, h: np.imag(f(x - 1j * h * e)) / -h, 1e-100),
    ),
    tolerance=1e-12,
    kind="gradient",
)


def right_entries(analytic, numeric, tolerance):
    """Which entries of an analytic gradient are right, by the size of their column.

    The size of a column is sₖ = maxₙ |numericₙₖ|. An entry is right if its error, the distance of
    analyticₙₖ from numericₙₖ, is at most tolerance · sₖ. An entry that is NaN is never right.

    Parameters
    ----------
    analytic : array (N, n)
        The gradient to judge, a row for each point and a column for each variable. It may hold NaN.
    numeric : array (N, n)
        What it should be, without NaN.
    tolerance : float
        Relative to the size of the column.

    Returns
    -------
    array (N, n) of bool
        True where the entry is right.
    """
    size = np.abs(numeric).max(axis=0)
    return np.abs(analytic - numeric) <= tolerance * size


@st.composite
def _gradients(draw):
    rows, columns = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    tolerance = draw(st.sampled_from([1e-3, 1e-6]))
    numeric, analytic = np.zeros((2, rows, columns))
    for k in range(columns):
        unit = 10.0 ** draw(st.sampled_from([0, -4, -8]))
        column = draw(st.lists(st.integers(-8, 8), min_size=rows, max_size=rows))
        numeric[:, k] = np.array(column) / 4 * unit
        size = np.abs(numeric[:, k]).max()
        for n in range(rows):
            # multiples of what is allowed, on either side of 1; or a zero, or a NaN
            error = draw(st.sampled_from([0.0, 0.75, -0.75, 1.5, -1.5, "zero", "NaN"]))
            if error == "zero":
                analytic[n, k] = 0.0
            elif error == "NaN":
                analytic[n, k] = np.nan
            else:
                analytic[n, k] = numeric[n, k] + error * tolerance * size
    return analytic, numeric, tolerance


def _by_size(size):
    """A solution that is right but for the size that it measures errors by."""

    def solve(analytic, numeric, tolerance):
        return np.abs(analytic - numeric) <= tolerance * size(analytic, numeric)

    return solve


def _judged_in_loops(analytic, numeric, tolerance):
    right = np.zeros(numeric.shape, dtype=bool)
    for k in range(numeric.shape[1]):
        largest = max(abs(entry) for entry in numeric[:, k])
        for n in range(numeric.shape[0]):
            right[n, k] = abs(analytic[n, k] - numeric[n, k]) <= tolerance * largest
    return right


def _judged_by_logic(analytic, numeric, tolerance):
    size = np.maximum(numeric.max(axis=0), -numeric.min(axis=0))
    error = np.abs(numeric - analytic)
    return ~np.isnan(analytic) & ~(error > size * tolerance)


JUDGE = Exercise(
    key="02.c",
    title="Which entries are right?",
    points=3,
    difficulty=2,
    solve=right_entries,
    inputs=_gradients,
    hints=(
        "An error of 1e-9 is nothing in a column of numbers near 1, and everything in a column "
        "of numbers near 1e-9. What is the largest number of each column?",
        "Take absolute values first, then the largest of each column: a maximum over the rows, "
        "of shape (n,). NumPy then compares every row with it by itself.",
        "The size is the maximum over axis 0 of the absolute values of numeric. Ask where the "
        "absolute error is <= the allowed one: for NaN the answer to that is False, as it should.",
    ),
    wrong=(
        Wrong(
            "measures errors absolutely",
            _by_size(lambda analytic, numeric: 1.0),
            "In a column of tiny numbers your test accepts anything, even a gradient of zero. An "
            "error must be compared with the size of its column.",
        ),
        Wrong(
            "measures each entry by itself",
            _by_size(lambda analytic, numeric: np.abs(numeric)),
            "An entry that is small by chance in a column of large ones is rejected for mere "
            "rounding. The size belongs to the whole column.",
        ),
        Wrong(
            "measures by the largest entry of all",
            _by_size(lambda analytic, numeric: np.abs(numeric).max()),
            "One column of large numbers makes your test blind in all the others.",
        ),
        Wrong(
            "measures by rows",
            _by_size(lambda analytic, numeric: np.abs(numeric).max(axis=1, keepdims=True)),
            "You took the largest entry of each row, which mixes all the variables. A variable is "
            "a column: mind the axis.",
        ),
        Wrong(
            "measures by the gradient it judges",
            _by_size(lambda analytic, numeric: np.abs(analytic).max(axis=0)),
            "Your yardstick is the gradient that may be wrong. One NaN in it, or one huge entry, "
            "spoils the test for its column.",
        ),
        Wrong(
            "takes the largest entry with its sign",
            _by_size(lambda analytic, numeric: numeric.max(axis=0)),
            "In a column of negative numbers the largest one is the smallest in size.",
        ),
        Wrong(
            "lets NaN pass",
            lambda analytic, numeric, tolerance: (
                ~(np.abs(analytic - numeric) > tolerance * np.abs(numeric).max(axis=0))
            ),
            "You look for errors that are too large. A NaN is not larger than anything, so it "
            "slips through.",
        ),
        Wrong(
            "forgets errors below",
            lambda analytic, numeric, tolerance: (
                analytic - numeric <= tolerance * np.abs(numeric).max(axis=0)
            ),
            "An entry that is far too small passes, as its difference is negative.",
        ),
        Wrong(
            "marks the wrong entries",
            lambda analytic, numeric, tolerance: ~right_entries(analytic, numeric, tolerance),
            "Your answer is True where it should be False: the question was which entries are "
            "right.",
        ),
        Wrong(
            "rejects a column of zeros",
            lambda analytic, numeric, tolerance: (
                np.abs(analytic - numeric) < tolerance * np.abs(numeric).max(axis=0)
            ),
            "Where a whole column is zero nothing is allowed, and an error of nothing is right. "
            "Read again whether the error must be below the limit or at most the limit.",
        ),
    ),
    right=(_judged_in_loops, _judged_by_logic),
)

EXERCISES = [CENTRAL, COMPLEX, JUDGE]
