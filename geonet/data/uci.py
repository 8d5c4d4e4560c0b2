"""The UCI regression sets in the split layout of Hernández-Lobato & Adams (2015) and Gal &
Ghahramani (2016): one folder per set, with text files of numbers.

    data.txt             one row per line, numbers separated by blanks
    index_features.txt   the columns that are features, counted from 0
    index_target.txt     the column that is the target
    n_splits.txt         the number of splits into a train and a test part
    index_train_K.txt    the rows of the train part of split K, counted from 0
    index_test_K.txt     the rows of its test part
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from geonet.data.reading import check_content, existing
from geonet.data.tables import read_numbers, split_rows
from geonet.text import check_choice

LAYOUT = (
    "the split layout: data.txt, index_features.txt, index_target.txt, n_splits.txt, and "
    "index_train_K.txt and index_test_K.txt per split"
)


class Table(NamedTuple):
    """A set: features x (N, n), target y (N, 1), and the rows (train, test) of each split."""

    x: np.ndarray
    y: np.ndarray
    splits: list


def files(folder):
    """The files of a set in the order of the list above. All must exist; only n_splits.txt is read.

    Parameters
    ----------
    folder : str or Path

    Returns
    -------
    list of Path

    Raises
    ------
    FileNotFoundError, ValueError
        As `read_uci` does, for n_splits.txt and files that are missing.
    """

    def there(name):
        return existing(Path(folder, f"{name}.txt"), "file", LAYOUT)

    found = [there(name) for name in ("data", "index_features", "index_target", "n_splits")]
    count = read_numbers(found[-1]).ravel()
    right = count.size == 1 and count[0] >= 1 and count[0] % 1 == 0
    check_content(found[-1], right, "the number of splits, a whole number of at least 1")
    for k in range(int(count[0])):
        found += [there(f"index_{part}_{k}") for part in ("train", "test")]
    return found


def read_uci(folder):
    """Read a set from its folder.

    Parameters
    ----------
    folder : str or Path

    Returns
    -------
    Table

    Raises
    ------
    FileNotFoundError
        If one of the files is missing.
    ValueError
        If a file does not hold rows of finite numbers, an index is out of range or occurs twice,
        the target is among the features, a train part has fewer than two rows, or a row is in both
        parts of a split. The message names the file and what was expected.
    """
    data, features, target, _, *parts = files(folder)
    rows = read_numbers(data)
    chosen, goal = (_indices(path, rows.shape[1], "columns") for path in (features, target))
    right = len(goal) == 1 and goal[0] not in chosen
    check_content(target, right, f"one column, and none of those in {features.name}")
    rows_of = [_indices(path, len(rows), "rows") for path in parts]
    splits = list(zip(rows_of[::2], rows_of[1::2], strict=True))
    for k, (train, test) in enumerate(splits):
        right = len(train) >= 2 and not np.intersect1d(train, test).size
        expected = f"at least 2 rows, and none of those in {parts[2 * k + 1].name}"
        check_content(parts[2 * k], right, expected)
    return Table(rows[:, chosen], rows[:, goal], splits)


def _indices(path, count, of):
    """Indices 0…count − 1, each at most once, as an array; some sets write them as 3.0e+00."""
    found = read_numbers(path).ravel()
    right = np.isin(found, np.arange(count)).all() and len(np.unique(found)) == len(found)
    expected = f"{of} of data.txt, whole numbers from 0 to {count - 1}, each once"
    check_content(path, right, expected)
    return found.astype(np.int64)


def rows_of_split(table, k, protocol="clean"):
    """The rows that a split keeps for the test, and all others.

    Parameters
    ----------
    table : Table
    k : int
        Number of the split, from 0.
    protocol : {"clean", "paper"}
        "clean" takes split k of the set's own. "paper" draws any number of them, as the authors do:
        the first ⌈N/5⌉ rows of ``RandomState(k).permutation(N)`` are for the test.

    Returns
    -------
    rows, test : ndarray of int

    Raises
    ------
    ValueError
        If there is no such split, or the protocol is not one of the two.
    """
    check_choice("protocol", protocol, ("clean", "paper"))
    if protocol == "paper":
        count = len(table.x)
        test, rows = np.split(np.random.RandomState(k).permutation(count), [-(-count // 5)])
        return rows, test
    if not 0 <= k < len(table.splits):
        raise ValueError(f"split must be one of 0…{len(table.splits) - 1}, not {k}")
    return table.splits[k]


def split_uci(table, k, rng, protocol="clean"):
    """One split, with features standardized by the part that is trained on.

    Parameters
    ----------
    table, k, protocol
        As for `rows_of_split`.
    rng : numpy.random.Generator
        Used by "clean" only, which draws a fifth of the rows that are not for the test, to steer.
        Under "paper", the test part steers, as for `geonet.data.tables.split_rows`.

    Returns
    -------
    Split
        Pairs x (·, n), y (·, 1), with the target in its own units.

    Raises
    ------
    ValueError
        As `rows_of_split` does.
    """
    return split_rows(table.x, table.y, *rows_of_split(table, k, protocol), rng, protocol)
