"""Pickles of arrays and plain containers, read without running anything that they name.

A pickle is a program for a machine with a stack, and Python's reader of pickles calls any function
that the program names. This machine has only the instructions that plain data need. It calls only
functions of this file, which check their arguments and put arrays together from bytes. Memory stays
in proportion to the size of the file.
"""

import codecs
import math
import pickletools
import re
from pathlib import Path

import numpy as np

CONTENT = "a pickle of numpy arrays, numbers, text, lists, tuples and dicts"
# Instructions that push their argument, or something new; and those that gather values from the
# top of the stack: this number of values, or all above the last mark.
VALUES = {"INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT",
          "STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE",
          "BINUNICODE8", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"}  # fmt: skip
NEW = {"NONE": lambda: None, "NEWTRUE": lambda: True, "NEWFALSE": lambda: False,
       "EMPTY_TUPLE": tuple, "EMPTY_LIST": list, "EMPTY_DICT": dict}  # fmt: skip
MARKED = None
GATHERED = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3, "APPEND": 1, "SETITEM": 2, "TUPLE": MARKED,
            "LIST": MARKED, "DICT": MARKED, "APPENDS": MARKED, "SETITEMS": MARKED}  # fmt: skip


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
    if not size:
        raise ValueError(f"{path}: the file is empty; expected {CONTENT}")
    with path.open("rb") as file:
        try:
            return _Machine(4 * size + 2**16).run(_instructions(_Stream(file, size)))
        except _Refusal as refusal:
            raise ValueError(f"{path}: {refusal}; expected {CONTENT}") from None
        except (OSError, MemoryError):
            raise
        except Exception:  # a damaged program can cause any error
            place = file.tell()
            what = "damaged or not a pickle" if file.read(1) else "cut short"
            raise ValueError(
                f"{path}: the file is {what} at byte {place}; expected {CONTENT}"
            ) from None


class _Stream:
    """A file that never allocates memory for more bytes than it has."""

    def __init__(self, file, size):
        self.read = lambda count: file.read(min(count, size))
        self.readline = file.readline


def _quoted(stream):
    """The text of STRING: the literal of a Python 2 string."""
    literal = pickletools.read_stringnl(stream, decode=False)
    return codecs.escape_decode(literal)[0].decode("latin-1")


READERS = {"STRING": _quoted, "BYTEARRAY8": pickletools.read_bytes8}  # bytes need no copy


def _instructions(stream):
    """Yield (name, argument or None) of every instruction."""
    while True:
        opcode = pickletools.code2op[stream.read(1).decode("latin-1")]
        reader = READERS.get(opcode.name, opcode.arg and opcode.arg.reader)
        yield opcode.name, reader and reader(stream)


class _Machine:
    """The stack, the marks on it, and the memo of stored values."""

    def __init__(self, limit):
        self.stack, self.marks, self.memo = [], [], {}
        self.left = limit  # bytes that may still be made

    def run(self, instructions):
        """The value that a program, pairs (name, argument), leaves on the stack."""
        stack = self.stack
        for name, argument in instructions:
            match name:
                case _ if name in VALUES:
                    stack.append(argument)
                case _ if name in NEW:
                    stack.append(NEW[name]())
                case _ if name in GATHERED:
                    self._gather(name)
                case "MARK":
                    self.marks.append(len(stack))
                case "PUT" | "BINPUT" | "LONG_BINPUT":
                    self.memo[argument] = stack[-1]
                case "MEMOIZE":
                    self.memo[len(self.memo)] = stack[-1]
                case "GET" | "BINGET" | "LONG_BINGET":
                    stack.append(self.memo[argument])
                case "GLOBAL" | "INST":
                    stack.append(_admitted(*argument.split(" ", 1)))
                case "STACK_GLOBAL":
                    stack.append(_admitted(*self._take(2)))
                case "REDUCE":  # only functions in ADMITTED can be called
                    function, arguments = self._take(2)
                    stack.append(function(*arguments))
                    self._charge(stack[-1])
                case "BUILD":
                    (state,) = self._take(1)
                    _build(stack[-1], state)
                    self._charge(stack[-1])
                case "PROTO" | "FRAME":
                    pass
                case "STOP":
                    return stack.pop()
                case _:
                    raise _Refusal(f"refuses the instruction {name}")

    def _charge(self, made):
        """Refuse a program that makes too many copies of its data."""
        self.left -= len(made) if isinstance(made, bytes) else getattr(made, "nbytes", 0)
        if self.left < 0:
            raise _Refusal("refuses to make more data than the file has")

    def _take(self, count):
        """The `count` values on top of the stack, or all above the last mark."""
        start = self.marks.pop() if count is MARKED else len(self.stack) - count
        values = self.stack[start:]
        del self.stack[start:]
        return values

    def _gather(self, name):
        """Make a container of the topmost values, or put them into the container below them."""
        values = self._take(GATHERED[name])
        if name.startswith("TUPLE"):
            self.stack.append(tuple(values))
        elif name == "LIST":
            self.stack.append(values)
        elif name.startswith("APPEND"):
            self.stack[-1].extend(values)
        else:
            if name == "DICT":
                self.stack.append({})
            for key, value in zip(values[::2], values[1::2], strict=True):
                if isinstance(key, tuple):  # its hash could recurse without bound
                    raise _Refusal("refuses a key that is a tuple")
                self.stack[-1][key] = value


def _empty_array(*_):
    return np.empty(0, np.uint8)  # BUILD gives it its shape, dtype and data


def _dtype(code, *_):
    if not re.fullmatch("[biuf][1248]", code):
        raise _Refusal(f"refuses to load the dtype {_shown(code)}")
    return np.dtype(code, copy=True)  # BUILD sets its byte order


def _encode(text, codec):
    """How Python 3 writes bytes in the protocols of Python 2."""
    if codec != "latin1":
        raise _Refusal(f"refuses the codec {_shown(codec)}")
    return text.encode(codec)


def _no_bytes():
    return b""


def _array(data, dtype, shape, order):
    return np.ndarray(shape, dtype, _data(data, dtype, shape), order=order)


def _scalar(dtype, data):
    return np.frombuffer(_data(data, dtype, ()), dtype)[0].item()


def _build(thing, state):
    """Give an array its shape, dtype and data, or a dtype its byte order, as their pickles do."""
    if isinstance(thing, np.ndarray):
        *_, shape, dtype, fortran_order, data = state
        thing.__setstate__((1, shape, dtype, bool(fortran_order), _data(data, dtype, shape)))
    elif isinstance(thing, np.dtype):
        order = state[1]
        if order not in ("<", ">", "|"):
            raise ValueError("a byte order is one of three")
        thing.__setstate__((3, order, None, None, None, -1, -1, 0))
    else:
        raise _Refusal(f"refuses to build a {type(thing).__name__}")


def _data(data, dtype, shape):
    """The bytes of an array, checked; a string of Python 2, which was decoded, is encoded again."""
    data = data.encode("latin-1") if isinstance(data, str) else data
    if type(data) is not bytes or not isinstance(dtype, np.dtype):
        raise TypeError("an array is made of bytes and a dtype")
    if len(shape) > 8 or not all(type(length) is int and 0 <= length < 2**40 for length in shape):
        raise TypeError("a shape is a few lengths")
    if len(data) != math.prod(shape) * dtype.itemsize:
        raise ValueError("the shape does not fit the data")
    return data


ADMITTED = {
    "numpy.ndarray": None,  # the type of every array: only an argument
    "numpy.dtype": _dtype,
    "_codecs.encode": _encode,
    "__builtin__.bytes": _no_bytes,
}
for _core in ("numpy.core", "numpy._core"):  # of NumPy 1 and 2
    ADMITTED[f"{_core}.multiarray._reconstruct"] = _empty_array
    ADMITTED[f"{_core}.multiarray.scalar"] = _scalar
    ADMITTED[f"{_core}.numeric._frombuffer"] = _array


def _admitted(module, name):
    dotted = ".".join([module, name])
    if dotted not in ADMITTED:
        raise _Refusal(f"refuses to load {_shown(dotted)}")
    return ADMITTED[dotted]


def _shown(name):
    """A name as text that is safe for a terminal, cut short if it is long."""
    if not isinstance(name, str):
        return f"a {type(name).__name__}"
    return ascii(name[:60])[1:-1] + ("…" if len(name) > 60 else "")
