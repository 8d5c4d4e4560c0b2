"""Pickles of arrays and plain containers, read without running anything that they name.

A pickle is a program, and Python's reader of pickles calls any function that the program names. The
reader here finds functions of this file only, which put arrays of numbers together from bytes.
"""

import pickle
import re
from functools import partial
from types import SimpleNamespace

import numpy as np

from geonet.data.reading import existing, reading

CONTENT = "a pickle of numpy arrays, numbers, text, lists, tuples and dicts"
# Where the instructions that fill dicts and sets have their keys on the stack. Python's hash of a
# tuple recurses without bound, so that a deep one as a key could crash it.
KEYS = {"DICT": slice(None, None, 2), "SETITEMS": slice(None, None, 2), "SETITEM": slice(-2, -1),
        "ADDITEMS": slice(None), "FROZENSET": slice(None)}  # fmt: skip


def read_pickle(path):
    """Read a pickle of numpy arrays, numbers, text, lists, tuples and dicts, and refuse any other.

    It reads protocols 0 to 5, written by Python 2 or 3 and NumPy 1 or 2. Byte strings of Python 2
    become text (Latin-1), and NumPy scalars become Python numbers. Arrays may be read-only.

    Parameters
    ----------
    path : str or Path

    Returns
    -------
    object

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    OSError, MemoryError
        If the file cannot be read, as `geonet.data.reading.reading` raises them.
    ValueError
        If the file is empty, cut short, damaged or not a pickle, or if it names anything that
        arrays do not need. The message names the file and what it refuses to load.
    """
    path = existing(path, "file", "a pickle")
    size = path.stat().st_size
    with reading(path, _wrong), path.open("rb") as file:
        # whatever a file says, no more memory is allocated than it has
        read, readline = lambda count: file.read(min(count, size)), file.readline
        stream = SimpleNamespace(read=read, readline=readline)
        return _Unpickler(stream, encoding="latin-1").load()


def _wrong(path, error):
    damaged = "the file is empty, cut short, damaged or not a pickle"
    reason = error if isinstance(error, _Refused) else damaged
    return ValueError(f"{path}: {reason}; expected {CONTENT}")


class _Refused(Exception):
    """A program names what no data need."""

    def __init__(self, name):
        super().__init__(f"refuses to load {ascii(name)[1:-1]:.80}")


class _Dtype:
    """A dtype of numbers, whose byte order comes with its state."""

    def __init__(self, code, *_):
        if not re.fullmatch("[biuf][1248]", code):
            raise _Refused(f"the dtype {code}")
        self.dtype = np.dtype(code)

    def __setstate__(self, state):
        self.dtype = self.dtype.newbyteorder(state[1])


class _Array(np.ndarray):
    """An empty array, whose shape, dtype and data come with its state."""

    def __setstate__(self, state):
        *_, shape, dtype, fortran_order, data = state
        _frombuffer(data, dtype, shape)  # before memory is taken for a shape that does not fit
        super().__setstate__((1, shape, dtype.dtype, bool(fortran_order), data))


def _scalar(dtype, data):
    return _frombuffer(data, dtype, ()).item()


def _frombuffer(data, dtype, shape, order="C"):
    data = data.encode("latin-1") if isinstance(data, str) else data
    array = np.ndarray(shape, dtype.dtype, data, order=order)
    if array.nbytes != len(data):
        raise ValueError("the shape does not fit the data")
    return array


def _encode(text, codec):
    """How Python 3 writes bytes in the protocols of Python 2."""
    if codec != "latin1":
        raise _Refused(f"the codec {codec}")
    return text.encode(codec)


ADMITTED = {
    "numpy.ndarray": lambda: None,  # the type of every array: only an argument
    "numpy.dtype": _Dtype,
    "_codecs.encode": _encode,
    "__builtin__.bytes": lambda: b"",
}
for _core in ("numpy.core", "numpy._core"):  # of NumPy 1 and 2
    ADMITTED[f"{_core}.multiarray._reconstruct"] = lambda *_: _Array(0, np.uint8)
    ADMITTED[f"{_core}.multiarray.scalar"] = _scalar
    ADMITTED[f"{_core}.numeric._frombuffer"] = _frombuffer


def _set_items(load, keys, unpickler):
    if any(isinstance(key, tuple) for key in unpickler.stack[keys]):
        raise _Refused("a dict or set with a tuple as a key")
    load(unpickler)


class _Unpickler(pickle._Unpickler):
    """The standard library's reader in Python: the one in C may crash at a key or a damaged number.

    What it finds are partial functions, because a program could change the functions themselves.
    """

    dispatch = pickle._Unpickler.dispatch.copy()
    dispatch[pickle.BYTEARRAY8[0]] = pickle._Unpickler.load_binbytes8
    for name, keys in KEYS.items():
        code = getattr(pickle, name)[0]
        dispatch[code] = partial(_set_items, dispatch[code], keys)

    def find_class(self, module, name):
        """The function for a name in a pickle; only those of ADMITTED are found."""
        if f"{module}.{name}" not in ADMITTED:
            raise _Refused(f"{module}.{name}")
        return partial(ADMITTED[f"{module}.{name}"])
