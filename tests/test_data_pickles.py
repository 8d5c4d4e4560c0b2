"""The reader of pickles: what it takes from whom, and that it runs nothing that a file names."""

import collections
import datetime
import functools
import os
import pickle
import struct
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geonet.data.pickles import read_pickle

DATA = np.array([[0, 10, 255], [39, 92, 200]], np.uint8)  # with a line's end, quote and backslash
CONTENT = {"data": DATA, "labels": [1, np.int64(300)], "mean": np.array([1.5])}

# CONTENT as written by Python 2.7 with NumPy 1.16, in protocols 0 to 2
PYTHON_2 = [
    rb"""(dp1
S'labels'
p2
(lp3
I1
acnumpy.core.multiarray
scalar
p4
(cnumpy
dtype
p5
(S'i8'
I0
I1
tRp6
(I3
S'<'
NNNI-1
I-1
I0
tbS',\x01\x00\x00\x00\x00\x00\x00'
tRp7
asS'data'
p8
cnumpy.core.multiarray
_reconstruct
p9
(cnumpy
ndarray
p10
(I0
tS'b'
tRp11
(I1
(I2
I3
tg5
(S'u1'
I0
I1
tRp12
(I3
S'|'
NNNI-1
I-1
I0
tbI00
S"\x00\n\xff'\\\xc8"
tbsS'mean'
p13
g9
(g10
(I0
tS'b'
tRp14
(I1
(I1
tg5
(S'f8'
I0
I1
tRp15
(I3
S'<'
NNNI-1
I-1
I0
tbI00
S'\x00\x00\x00\x00\x00\x00\xf8?'
tbs.""",
    b"}q\x01(U\x06labelsq\x02]q\x03(K\x01cnumpy.core.multiarray\nscalar\nq\x04(cnumpy\ndtype\n"
    b"q\x05(U\x02i8K\x00K\x01tRq\x06(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tbU"
    b"\x08,\x01\x00\x00\x00\x00\x00\x00tRq\x07eU\x04dataq\x08cnumpy.core.multiarray\n_reconstruct"
    b"\nq\t(cnumpy\nndarray\nq\n(K\x00tU\x01btRq\x0b(K\x01(K\x02K\x03th\x05(U\x02u1K\x00K\x01tRq"
    b"\x0c(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tbI00\nU\x06\x00\n\xff'\\\xc8tbU"
    b"\x04meanq\rh\t(h\n(K\x00tU\x01btRq\x0e(K\x01(K\x01th\x05(U\x02f8K\x00K\x01tRq\x0f(K\x03U"
    b"\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tbI00\nU\x08\x00\x00\x00\x00\x00\x00\xf8?"
    b"tbu.",
    b"\x80\x02}q\x01(U\x06labelsq\x02]q\x03(K\x01cnumpy.core.multiarray\nscalar\nq\x04cnumpy\n"
    b"dtype\nq\x05U\x02i8K\x00K\x01\x87Rq\x06(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK"
    b"\x00tbU\x08,\x01\x00\x00\x00\x00\x00\x00\x86Rq\x07eU\x04dataq\x08cnumpy.core.multiarray\n"
    b"_reconstruct\nq\tcnumpy\nndarray\nq\nK\x00\x85U\x01b\x87Rq\x0b(K\x01K\x02K\x03\x86h\x05U"
    b"\x02u1K\x00K\x01\x87Rq\x0c(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89U"
    b"\x06\x00\n\xff'\\\xc8tbU\x04meanq\rh\th\nK\x00\x85U\x01b\x87Rq\x0e(K\x01K\x01\x85h\x05U"
    b"\x02f8K\x00K\x01\x87Rq\x0f(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89U"
    b"\x08\x00\x00\x00\x00\x00\x00\xf8?tbu.",
]
PROTOCOLS = pytest.mark.parametrize("protocol", range(6))


def read(folder, content):
    path = folder / "some.pickle"
    path.write_bytes(content)
    return read_pickle(path)


def refusal(folder, content):
    """The message with which a file is refused, after its name."""
    with pytest.raises(ValueError, match="expected") as caught:
        read(folder, content)
    name, _, message = str(caught.value).partition(": ")
    assert name == str(folder / "some.pickle")
    assert "\n" not in message
    return message


def of_other_numpy(content):
    """A pickle of NumPy 2 as NumPy 1 writes it, and the other way round."""
    new, old = b"numpy._core.", b"numpy.core."
    if new not in content:
        new, old = old, new
    for module in (b"multiarray", b"numeric"):  # text of protocol 4 is preceded by its length
        names = (new + module, old + module)
        short = [bytes([len(name)]) + name for name in names]
        content = content.replace(*short).replace(*names)
    return content


def assert_is_content(found):
    assert set(found) == {"data", "labels", "mean"}
    np.testing.assert_array_equal(found["data"], DATA, strict=True)
    assert found["labels"] == [1, 300]
    assert all(type(label) is int for label in found["labels"])
    np.testing.assert_array_equal(found["mean"], [1.5], strict=True)


# --- What it takes ------------------------------------------------------------------------------


@pytest.mark.parametrize("content", PYTHON_2)
def test_pickles_of_python_2_are_read(tmp_path, content):
    assert_is_content(read(tmp_path, content))


@PROTOCOLS
@pytest.mark.parametrize("other_numpy", [False, True])
def test_pickles_of_python_3_and_both_numpys_are_read(tmp_path, protocol, other_numpy):
    content = pickle.dumps(CONTENT, protocol)
    if other_numpy:
        assert content != of_other_numpy(content)
        content = of_other_numpy(content)
    assert_is_content(read(tmp_path, content))


@PROTOCOLS
@pytest.mark.parametrize("dtype", ["?", "u1", "<i2", ">i4", "i8", ">u8", "f2", "<f4", ">f8"])
def test_arrays_come_back_as_they_were(tmp_path, protocol, dtype):
    array = np.arange(24).reshape(2, 3, 4).astype(dtype)
    arrays = [array, np.asfortranarray(array), array[:, ::2], array[:0], array[0, 0, 1:2].sum()]
    found = read(tmp_path, pickle.dumps([*arrays, arrays[0]], protocol))
    for wanted, one in zip(arrays, found, strict=False):
        np.testing.assert_array_equal(one, wanted)
        if wanted.ndim:  # the byte order may have become the machine's
            assert one.dtype.newbyteorder("=") == wanted.dtype.newbyteorder("=")
    assert found[-1] is found[0]


plain_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary(),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner) | st.tuples(inner)
    ),
)


@given(plain_values, st.integers(0, 5))
def test_plain_containers_come_back_as_they_were(tmp_path_factory, value, protocol):
    assert read(tmp_path_factory.getbasetemp(), pickle.dumps(value, protocol)) == value


def test_arrays_are_not_copied_from_the_bytes_that_were_read(tmp_path):
    content = pickle.dumps(np.zeros(1_000_000, np.uint8), 4)
    (tmp_path / "some.pickle").write_bytes(content)
    tracemalloc.start()
    try:
        read_pickle(tmp_path / "some.pickle")
        assert tracemalloc.get_traced_memory()[1] < 1_200_000
    finally:
        tracemalloc.stop()


# --- What it refuses ----------------------------------------------------------------------------


class Runs:
    """What the usual reader would call as it reads."""

    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


@PROTOCOLS
def test_code_is_refused_by_name_and_not_run(tmp_path, protocol):
    mark = tmp_path / "mark"
    content = pickle.dumps({"data": Runs(os.mkdir, str(mark))}, protocol)
    assert f"refuses to load {os.mkdir.__module__}.mkdir;" in refusal(tmp_path, content)
    assert not mark.exists()
    pickle.loads(content)
    assert mark.exists()  # as it would have done


@PROTOCOLS
@pytest.mark.parametrize(
    ("value", "name"),
    [
        (Runs(eval, "1 + 1"), "eval"),
        (Runs(getattr, "text", "upper"), "getattr"),
        (Runs(np.frombuffer, b"12"), "numpy.frombuffer"),
        (Runs(np.load, "mark"), "numpy.load"),
        (np.array([None]), "the dtype O8"),
        (np.array(["text"]), "the dtype U4"),
        (np.zeros(1, "i4,f8"), "the dtype V12"),
        (np.zeros(1, "M8[s]"), "the dtype M8"),
        (datetime.date(2000, 1, 1), "datetime.date"),
        (collections.OrderedDict(), "collections.OrderedDict"),
        (functools.partial(print), "functools.partial"),
        (complex(1, 2), "complex"),
        (np.random.default_rng(0), "numpy.random"),
    ],
)
def test_all_else_is_refused_by_name(tmp_path, value, name, protocol):
    message = refusal(tmp_path, pickle.dumps([1, value], protocol))
    assert message.startswith("refuses to load ")
    assert name in message
    assert message.endswith(
        "; expected a pickle of numpy arrays, numbers, text, lists, tuples and dicts"
    )


DAMAGED = "the file is empty, cut short, damaged or not a pickle;"
UINT1 = b"cnumpy\ndtype\n(S'u1'\nI00\nI01\ntR"  # instructions that leave dtype u1
ARRAY = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR"


def state(shape, data):
    """Instructions that give the array on the stack a shape and data."""
    return b"(I1\n" + shape + UINT1 + b"I00\n" + data + b"tb"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"(S'true'\nios\nsystem\n.", "refuses to load os.system;"),
        (b"(cos\nsystem\nS'true'\no.", "refuses to load os.system;"),
        (b"\x8c\x02os\x8c\x06system\x93.", "refuses to load os.system;"),
        (b"cos\nsystem\x1b[2J\n.", r"refuses to load os.system\x1b[2J;"),
        (b"c" + b"x" * 10_000 + b"\ny\n.", f"refuses to load {'x' * 80};"),
        (b"cnumpy\nndarray\n(I9\nt\x81.", DAMAGED),
        (b"cnumpy\ndtype\n(S'O'\ntR.", "refuses to load the dtype O;"),
        (b"cnumpy\ndtype\n(S'O8'\nI00\nI01\ntR.", "refuses to load the dtype O8;"),
        (b"cnumpy\ndtype\n(S'u1,O'\ntR.", "refuses to load the dtype u1,O;"),
        (b"c_codecs\nencode\n(Va\nVzip\ntR.", "refuses to load the codec zip;"),
        (b"c_codecs\nencode\n(Va\n]tR.", "refuses to load the codec [];"),
        (b"c_codecs\nencode\n}S'__doc__'\nS''\nsb.", DAMAGED),
        (b"]}S'append'\nNsb.", DAMAGED),
        (b"Pname\n.", DAMAGED),
        (b"\x82\x01.", DAMAGED),
        (b"\x97.", DAMAGED),
        (b"\x8f()\x85\x90.", "refuses to load a dict or set with a tuple as a key;"),
        (b"()\x85\x91.", "refuses to load a dict or set with a tuple as a key;"),
        (b"}" + b")\x85Ns.", "refuses to load a dict or set with a tuple as a key;"),
    ],
)
def test_instructions_that_data_do_not_need_are_refused_by_name(tmp_path, content, expected):
    assert refusal(tmp_path, content).startswith(expected)


def lengths(*numbers):
    return b"(" + b"".join(b"I%d\n" % number for number in numbers) + b"t"


@pytest.mark.parametrize(
    "content",
    [
        b".",
        b"t.",
        b"]K\x01K\x02s.",
        b"(d",
        b"h\x07.",
        b"N)R.",
        b"K\x01)R.",
        b"c_codecs\nencode\n(Va\ntR.",
        b"c_codecs\nencode\n(V\\u0394\nVlatin1\ntR.",
        b"cnumpy\ndtype\n(S'b2'\ntR.",
        b"cnumpy\ndtype\n(K\x01tR.",
        UINT1 + b"(I3\nS'O'\nNNNI-1\nI-1\nI0\ntb.",
        UINT1 + b"(I3\ntb.",
        ARRAY + b"Nb.",
        ARRAY + state(lengths(2), b"S'abc'\n") + b".",
        ARRAY + state(lengths(-1, -3), b"S'abc'\n") + b".",
        ARRAY + state(lengths(10**12), b"S'abc'\n") + b".",
        ARRAY + state(lengths(2**32, 2**32), b"S''\n") + b".",
        ARRAY + state(lengths(0, 2**63), b"S''\n") + b".",
        ARRAY + state(lengths(*[1] * 99), b"S'a'\n") + b".",
        ARRAY + state(b"(I1000000000\nS'ab'\nt", b"S'abc'\n") + b".",
        ARRAY + state(lengths(3), b"]") + b".",
        ARRAY + b"(I1\n" + lengths(3) + b"S'u1'\nI00\nS'abc'\ntb.",
        b"cnumpy.core.multiarray\nscalar\n(" + UINT1 + b"S'ab'\ntR.",
        b"cnumpy.core.multiarray\nscalar\n(S'u1'\nS'a'\ntR.",
        b"cnumpy.core.numeric\n_frombuffer\n(S'abc'\n" + UINT1 + lengths(9) + b"S'C'\ntR.",
        b"cnumpy.core.numeric\n_frombuffer\n(S'abc'\n" + UINT1 + lengths(3) + b"S'Q'\ntR.",
        b"\x8e" + struct.pack("<Q", 10**10) + b"abc.",
        b"\x96" + struct.pack("<Q", 10**10) + b"abc.",
        b"\x8e" + struct.pack("<Q", 2**63) + b"abc.",
        b"X" + struct.pack("<I", 2**31) + b"abc.",
        b"\x8b" + struct.pack("<i", 2**31 - 1) + b"abc.",
        b"L" + b"9" * 10_000 + b"L\n(ub.",
    ],
)
def test_malformed_and_boastful_files_are_refused_within_little_memory(tmp_path, content):
    refusal(tmp_path, content)  # loads what is loaded once
    tracemalloc.start()
    try:
        assert "expected a pickle of numpy arrays" in refusal(tmp_path, content)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("put", [b"r\xff\xff\xff\x7f", b"p4000000000\n"])
def test_far_places_of_the_memo_cost_no_memory(tmp_path, put):
    tracemalloc.start()
    try:
        assert read(tmp_path, b"K\x07" + put + b".") == 7
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_deep_nesting_neither_recurses_nor_crashes(tmp_path):
    depth = 200_000
    refused = refusal(tmp_path, b"}" + b")" + b"\x85" * depth + b"Ns.")
    assert refused.startswith("refuses to load a dict or set with a tuple as a key")
    for content in (b"]" * depth + b"a" * (depth - 1) + b".", b")" + b"\x85" * depth + b"."):
        value = read(tmp_path, content)
        for _ in range(depth - 1):
            (value,) = value
        assert len(value) == (0 if content.startswith(b"]") else 1)


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_a_file_cut_short_anywhere_is_refused(tmp_path, protocol):
    content = pickle.dumps(CONTENT, protocol)
    for length in range(1, len(content)):
        message = refusal(tmp_path, content[:length])
    assert message.startswith(DAMAGED)


@settings(max_examples=1000)
@given(st.data())
def test_damaged_files_are_read_or_refused_with_one_clear_error(tmp_path_factory, data):
    whole = data.draw(st.sampled_from([*PYTHON_2, *(pickle.dumps(CONTENT, p) for p in range(6))]))
    start = data.draw(st.integers(0, len(whole)))
    stop = start + data.draw(st.integers(0, 4))
    content = whole[:start] + data.draw(st.binary(max_size=6)) + whole[stop:]
    path = tmp_path_factory.getbasetemp() / "damaged"
    path.write_bytes(content)
    try:
        read_pickle(path)
    except ValueError as error:
        assert str(error).startswith(f"{path}: ")  # noqa: PT017
        assert "expected" in str(error)  # noqa: PT017


@pytest.mark.parametrize(
    "content",
    [b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0\x00\x10JFIF", b"At1,At2\n0,0\n", bytes(100)],
)
def test_a_file_that_is_not_a_pickle_is_said_not_to_be_one(tmp_path, content):
    assert refusal(tmp_path, content).startswith(DAMAGED)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere: no such file; expected a pickle"):
        read_pickle(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="no such file; expected a pickle"):
        read_pickle(tmp_path)
