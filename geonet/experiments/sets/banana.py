"""The 2-D Banana classification set: read from its CSV file, or drawn from an imitation of it."""

import numpy as np

from geonet.data.reading import check_content, existing
from geonet.data.tables import Split, read_numbers, standardize_features
from geonet.text import check_choice

HEADER = "At1,At2,Class"
POINTS = 1000  # of the 5,300, as in the paper

# The two classes as five bent bars, fitted to the real set. A point on a bar is
#   x = x0 + dx·t + noise·e₁,   y = y0 + dy·t − bend·t² + half_height·s + noise·e₂
# with t, s ~ U(−1, 1) and e ~ N(0, 1).
BARS = np.array(
    [  # share, class,    x0,    y0,   dx,    dy, bend, half_height, noise
        [0.207, 0.0, -0.28, -1.17, 0.69, 0.00, 0.00, 0.25, 0.19],  # the island below
        [0.135, 0.0, -0.89, 1.06, 0.89, 0.62, 0.00, 0.07, 0.23],  # the roof, its left side
        [0.210, 0.0, 0.98, 0.63, 0.68, -0.90, 0.00, 0.57, 0.22],  # the roof, its right side
        [0.069, 1.0, 1.14, 1.47, 1.47, -0.38, 0.00, 0.24, 0.12],  # the beam across the roof
        [0.379, 1.0, -0.28, 0.10, 1.67, 0.00, 1.35, 0.73, 0.19],  # the banana under the roof
    ]
)


def read_banana(path):
    """Read the Banana set from a CSV file with the header At1,At2,Class.

    Parameters
    ----------
    path : str or Path
        Text file, one point per line: two finite numbers and the class, −1 or 1.

    Returns
    -------
    x : ndarray, shape (N, 2)
    y : ndarray, shape (N,)
        0.0 for class −1 and 1.0 for class 1.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file has another header, a row is not of that kind, or there are fewer than 1,000
        points. The message names the file and what was expected.
    """
    path = existing(path, "file", "the Banana set as CSV")
    rows = read_numbers(path, HEADER, delimiter=",")
    right = rows.shape[1] == 3 and len(rows) >= POINTS and np.isin(rows[:, 2], (-1, 1)).all()
    check_content(path, right, f"at least {POINTS} rows of two numbers and the class, −1 or 1")
    return rows[:, :2], (rows[:, 2] + 1) / 2


def generate_banana(count, rng):
    """Draw points from an imitation of the Banana set, for use without its file.

    Two interleaved classes, 55 % and 45 %, with mean near 0 and standard deviation near 1. They
    overlap as the real ones do: the nearest neighbours of a point give its class in 89 % of cases.

    Parameters
    ----------
    count : int
        Number of points N.
    rng : numpy.random.Generator

    Returns
    -------
    x : ndarray, shape (N, 2)
    y : ndarray, shape (N,)
        0.0 or 1.0.
    """
    bars = BARS[rng.choice(len(BARS), size=count, p=BARS[:, 0])]  # one row per point
    _, y, x0, y0, dx, dy, bend, half_height, noise = bars.T
    t, s = rng.uniform(-1, 1, size=(2, count))
    e1, e2 = rng.normal(size=(2, count))
    x = np.column_stack(
        [x0 + dx * t + noise * e1, y0 + dy * t - bend * t**2 + half_height * s + noise * e2]
    )
    return x, y.copy()


def split_banana(x, y, rng, protocol="clean"):
    """Choose 1,000 points, split them, and standardize them by the training split.

    Parameters
    ----------
    x : ndarray, shape (N, 2)
    y : ndarray, shape (N,)
        At least 1,000 points, from `read_banana` or `generate_banana`.
    rng : numpy.random.Generator
        Only used by "clean".
    protocol : {"clean", "paper"}
        "clean" uses `rng` to draw 640 points for training, 160 for validation and 200 for testing.
        "paper" is the authors' split, the same for every seed: 800 for training and 200 for
        testing. There the test data also control training, so they are the validation split too.

    Returns
    -------
    Split
        Pairs x (·, 2), y (·, 1).

    Raises
    ------
    ValueError
        If there are fewer than 1,000 points, or the protocol is not one of the two.
    """
    if len(x) < POINTS:
        raise ValueError(f"x must have at least {POINTS} points to choose from, not {len(x)}")
    check_choice("protocol", protocol, ("clean", "paper"))
    if protocol == "clean":
        chosen = rng.choice(len(x), size=POINTS, replace=False)
        train, validation, test = chosen[:640], chosen[640:800], chosen[800:]
    else:
        chosen = np.random.RandomState(0).choice(len(x), size=POINTS, replace=False)
        # what scikit-learn's train_test_split(test_size=0.2, random_state=0) does
        permuted = chosen[np.random.RandomState(0).permutation(POINTS)]
        train, validation, test = permuted[200:], permuted[:200], permuted[:200]
    parts = ((x[rows], y[rows, None]) for rows in (train, validation, test))
    return standardize_features(Split(*parts))
