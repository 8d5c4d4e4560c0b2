"""Pickles of arrays and plain containers, read without running anything that they name.

A pickle is a program, and Python's reader of pickles calls any function that the program names. The
reader here finds functions of this file only, which check their arguments and put arrays together
from bytes.
"""

import pickle
import re
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np

CONTENT = "a pickle of numpy arrays, numbers, text, lists, tuples and dicts"
# Instructions that no data need; and where those that fill a dict have their keys on the stack.
# Python's hash of a tuple recurses without bound, so that sets and tuples as keys could crash it.
NEEDLESS = ("PERSID", "BINPERSID", "EXT1", "EXT2", "EXT4", "NEWOBJ", "NEWOBJ_EX", "EMPTY_SET",
            "ADDITEMS", "FROZENSET", "NEXT_BUFFER", "READONLY_BUFFER")  # fmt: skip
KEYS = {"DICT": slice(None, None, 2), "SETITEMS": slice(None, None, 2), "SETITEM": slice(-2, -1)}


class _Refusal(ValueError):
    """The pickle asks for something that no data need; the message names it."""


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
    ValueError
        If the file is empty, cut short, damaged or not a pickle, or if it names anything that
        arrays do not need. The message names the file and what it refuses to load.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; expected a pickle")
    size = path.stat().st_size
    with path.open("rb") as file:
        # whatever a file says, no more memory is allocated than it has
        stream = SimpleNamespace(
            read=lambda n: file.read(min(n, size)), readline=partial(_line, file)
        )
        try:
            return _Unpickler(stream, encoding="latin-1").load()
        except _Refusal as refusal:
            reason = refusal
        except (OSError, MemoryError):
            raise
        except Exception:  # a damaged program can cause any error
            left = file.read(1)
            reason = f"the file is {'damaged or not a pickle' if left else 'empty or cut short'}"
    raise ValueError(f"{path}: {reason}; expected {CONTENT}")


def _line(file):
    line = file.readline()
    if not line.endswith(b"\n"):
        raise EOFError
    return line


def _dtype(code, *_):
    if not re.fullmatch("[biuf][1248]", code):
        raise _Refusal(f"refuses to load the dtype {_shown(code)}")
    return np.dtype(code, copy=True)  # BUILD sets its byte order


def _encode(text, codec):
    """How Python 3 writes bytes in the protocols of Python 2."""
    if codec != "latin1":
        raise _Refusal(f"refuses the codec {_shown(codec)}")
    return text.encode(codec)


def _array(data, dtype, shape, order="C"):
    data = data.encode("latin-1") if isinstance(data, str) else data  # a string of Python 2
    if type(data) is not bytes or not isinstance(dtype, np.dtype):
        raise TypeError("an array is made of bytes and a dtype")
    array = np.ndarray(shape, dtype, data, order=order)
    if array.nbytes != len(data):
        raise ValueError("the shape does not fit the data")
    return array


ADMITTED = {
    "numpy.ndarray": None,  # the type of every array: only an argument
    "numpy.dtype": _dtype,
    "_codecs.encode": _encode,
    "__builtin__.bytes": lambda: b"",
}
for _core in ("numpy.core", "numpy._core"):  # of NumPy 1 and 2
    # an empty array, to which BUILD gives its shape, dtype and data
    ADMITTED[f"{_core}.multiarray._reconstruct"] = lambda *_: np.empty(0, np.uint8)
    ADMITTED[f"{_core}.multiarray.scalar"] = lambda dtype, data: _array(data, dtype, ()).item()
    ADMITTED[f"{_core}.numeric._frombuffer"] = _array


def _refuse(name, unpickler):
    raise _Refusal(f"refuses the instruction {name}")


def _set_items(load, keys, unpickler):
    if any(isinstance(key, tuple) for key in unpickler.stack[keys]):
        raise _Refusal("refuses a key that is a tuple")
    load(unpickler)


def _build(unpickler):
    """Give an array its shape, dtype and data, or a dtype its byte order, as their pickles do."""
    state, thing = unpickler.stack.pop(), unpickler.stack[-1]
    if isinstance(thing, np.ndarray):
        *_, shape, dtype, fortran_order, data = state
        whole = _array(data, dtype, shape)
        thing.__setstate__((1, whole.shape, dtype, bool(fortran_order), whole.base))
    elif isinstance(thing, np.dtype) and state[1] in ("<", ">", "|"):
        thing.__setstate__((3, state[1], None, None, None, -1, -1, 0))
    else:
        raise _Refusal(f"refuses to build a {type(thing).__name__}")


class _Unpickler(pickle._Unpickler):
    """Python's reader that is written in Python, with some instructions replaced.

    `pickle.Unpickler`, written in C, can be restricted in what it finds but not in what it does. It
    crashes at the hash of a deeply nested key, and BUILD changes any object, even our functions.
    """

    dispatch = pickle._Unpickler.dispatch | {
        pickle.BUILD[0]: _build,
        pickle.BYTEARRAY8[0]: pickle._Unpickler.load_binbytes8,  # arrays need no copy
    }
    for name in NEEDLESS:
        dispatch[getattr(pickle, name)[0]] = partial(_refuse, name)
    for name, keys in KEYS.items():
        code = getattr(pickle, name)[0]
        dispatch[code] = partial(_set_items, dispatch[code], keys)

    def find_class(self, module, name):
        """The function for a name in a pickle; only those of ADMITTED are found."""
        dotted = f"{module}.{name}"
        if dotted not in ADMITTED:
            raise _Refusal(f"refuses to load {_shown(dotted)}")
        return ADMITTED[dotted]


def _shown(name):
    """A name as text that is safe for a terminal, cut short if it is long."""
    if not isinstance(name, str):
        return f"a {type(name).__name__}"
    return ascii(name[:60])[1:-1] + ("…" if len(name) > 60 else "")
