"""The UCI regression sets in the split layout of Hernández-Lobato & Adams (2015) and Gal &
Ghahramani (2016): one folder per set, with text files of numbers.

    data.txt             one row per line, numbers separated by blanks
    index_features.txt   the columns that are features, counted from 0
    index_target.txt     the column that is the target
    n_splits.txt         the number of splits into a train and a test part
    index_train_K.txt    the rows of the train part of split K, counted from 0
    index_test_K.txt     the rows of its test part
"""

import math
from pathlib import Path
from typing import NamedTuple

import numpy as np

from geonet.data.tables import read_number, split_rows

LARGEST = 1e100  # allowed number, so that sums of squares are finite


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
    names = "data", "index_features", "index_target", "n_splits"
    found = [_there(Path(folder, f"{name}.txt")) for name in names]
    for k in range(_only(found[-1], "the number of splits, at least 1", 1, math.inf)):
        found += [_there(Path(folder, f"index_{part}_{k}.txt")) for part in ("train", "test")]
    return found


def _there(path):
    """The path of a file, checked."""
    if not path.is_file():
        raise FileNotFoundError(
            f"{path}: no such file; the split layout has data.txt, index_features.txt, "
            "index_target.txt, n_splits.txt, and index_train_K.txt and index_test_K.txt per split"
        )
    return path


def read_uci(folder):
    """Read a set from its folder.

    Parameters
    ----------
    folder : str or Path
        Blank lines in its files are ignored.

    Returns
    -------
    Table

    Raises
    ------
    FileNotFoundError
        If one of the files is missing.
    ValueError
        If a file is malformed: text or NaN among the numbers, a number beyond ±1e100, rows of
        different lengths, an index that is out of range or occurs twice, a target among the
        features, a part without rows, a train part with one row, or a row in both parts of a split.
        The message names the file, the line and the column (from 1), what was found and what was
        expected.
    """
    data, features, target, _, *parts = files(folder)
    lines = _lines(data, f"a number within ±{LARGEST:g}", lambda value: abs(value) <= LARGEST)
    first, columns = lines[0][0], len(lines[0][1])
    for line, numbers in lines:
        if len(numbers) != columns:
            raise ValueError(
                f"{data}, line {line}: expected {columns} numbers as in line {first}, "
                f"found {len(numbers)}"
            )
    rows = np.array([numbers for _, numbers in lines])
    chosen = _indices(features, columns, "a column of data.txt")
    goal = _only(target, f"a column of data.txt, 0…{columns - 1}", 0, columns - 1)
    if goal in chosen:
        raise ValueError(f"{target}: column {goal} is the target, but also a feature in {features}")
    rows_of = [_indices(path, len(rows), "a row of data.txt") for path in parts]
    splits = list(zip(rows_of[::2], rows_of[1::2], strict=True))
    for k, both in enumerate(splits):
        if len(both[0]) < 2:
            raise ValueError(f"{parts[2 * k]}: expected at least 2 rows to train on, found 1")
        shared = np.intersect1d(*both)
        if shared.size:
            raise ValueError(
                f"{parts[2 * k + 1]}: expected rows that are not in {parts[2 * k].name}, "
                f"but found {shared.size} of these, the first of them {shared[0]}"
            )
    return Table(rows[:, chosen], rows[:, [goal]], splits)


def split_uci(table, k, rng, protocol="clean"):
    """One split, with features standardized by the train part.

    Parameters
    ----------
    table : Table
    k : int
        Number of the split, from 0.
    rng : numpy.random.Generator
        Used by "clean" only.
    protocol : {"clean", "paper"}
        "clean" takes a fifth of the train rows, drawn from `rng`, as the validation part.
        "paper" trains on all of them and uses the test part as the validation part too.

    Returns
    -------
    Split
        Pairs x (·, n), y (·, 1), with the target in its own units.

    Raises
    ------
    ValueError
        If there is no such split, or the protocol is not one of the two.
    """
    if not 0 <= k < len(table.splits):
        raise ValueError(f"split must be one of 0…{len(table.splits) - 1}, not {k}")
    return split_rows(table.x, table.y, *table.splits[k], rng, protocol)


def _lines(path, what, admitted):
    """Pairs (line number, numbers) of every line that is not blank, all of them admitted."""
    lines = []
    for i, text in enumerate(path.read_bytes().splitlines(), start=1):
        words = enumerate(text.decode("utf-8", "replace").split(), start=1)
        numbers = [
            read_number(w, f"{path}, line {i}, column {k}", what, admitted) for k, w in words
        ]
        if numbers:
            lines.append((i, numbers))
    if not lines:
        raise ValueError(f"{path}: expected {what}, found nothing")
    return lines


def _whole_numbers(path, what, low, high):
    """Whole numbers, separated by any white space; some sets have 3.0e+00."""
    lines = _lines(path, what, lambda value: low <= value <= high and value % 1 == 0)
    return [int(number) for _, numbers in lines for number in numbers]


def _only(path, what, low, high):
    """The one whole number of a file."""
    values = _whole_numbers(path, what, low, high)
    if len(values) > 1:
        raise ValueError(f"{path}: expected one number, {what}, found {len(values)}")
    return values[0]


def _indices(path, count, of):
    """Indices 0…count − 1, each once, as an array."""
    indices = np.array(_whole_numbers(path, f"{of}, 0…{count - 1}", 0, count - 1))
    values, times = np.unique(indices, return_counts=True)
    if (times > 1).any():
        raise ValueError(f"{path}: expected every index once, found {values[times > 1][0]} twice")
    return indices
