"""Threads for kernels: every part is done, and which parts go together is no matter of chance.

BLAS has one thread inside kernels and its own number outside; memory is kept where glibc can."""

import ctypes
import multiprocessing
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import geonet
from geonet import threads

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(params=[1, 2, 5])
def count(request):
    geonet.set_threads(request.param)
    yield request.param
    geonet.set_threads(None)


def in_a_new_process(program, **variables):
    """What a program prints that imports NumPy and geonet's threads, as a notebook does."""
    environment = {k: v for k, v in os.environ.items() if k != "GEONET_THREADS"}
    result = subprocess.run(
        [sys.executable, "-c", f"import os, numpy, geonet\nfrom geonet import threads\n{program}"],
        env=environment | {"PYTHONPATH": str(ROOT)} | variables,
        check=True,
        capture_output=True,
        text=True,
        timeout=120,
    )
    return result.stdout.strip()


# How many -----------------------------------------------------------------------------------------


def test_by_default_kernels_use_every_core_that_the_process_may_use():
    assert in_a_new_process("print(threads.count())") == str(len(threads.affinity()))


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs a way to give up cores")
def test_a_process_that_may_use_one_core_uses_one_thread():
    program = "os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); print(threads.count())"
    assert in_a_new_process(program) == "1"


def test_a_system_that_does_not_tell_is_taken_to_allow_all_cores(monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    assert threads.available() == os.cpu_count()
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert threads.available() == 1


def test_the_number_can_be_set_and_restored():
    before = threads.count()
    geonet.set_threads(before + 3)
    with ThreadPoolExecutor(1) as other:
        assert threads.count() == other.submit(threads.count).result() == before + 3
    geonet.set_threads(None)
    assert threads.count() == before


@pytest.mark.parametrize("number", [0, -1, 1.5, "2"])
def test_a_number_that_is_none_is_refused_and_changes_nothing(number):
    before = threads.count()
    with pytest.raises(ValueError, match="count must be a whole number of at least 1"):
        geonet.set_threads(number)
    assert threads.count() == before


def test_the_variable_replaces_the_default(monkeypatch):
    monkeypatch.setenv("GEONET_THREADS", "7")
    assert threads.count() == 7
    geonet.set_threads(3)
    assert threads.count() == 3
    geonet.set_threads(None)


@pytest.mark.parametrize("text", ["", "0", "-1", "two", "1.5"])
def test_a_variable_that_is_no_count_is_refused(text, monkeypatch):
    monkeypatch.setenv("GEONET_THREADS", text)
    with pytest.raises(ValueError, match="GEONET_THREADS must be a whole number above 0"):
        threads.count()


def test_a_limit_is_that_of_one_thread_and_ends_with_its_block(count):
    with threads.limited(9), ThreadPoolExecutor(1) as other:
        with threads.limited(4):
            assert threads.count() == 4
        assert (threads.count(), other.submit(threads.count).result()) == (9, count)
    assert threads.count() == count


# BLAS ---------------------------------------------------------------------------------------------


@pytest.fixture
def blas(monkeypatch):
    """The number of threads of a BLAS that is not there, in a list; it has three at first."""
    numbers = [3]
    library = SimpleNamespace(
        get_num_threads=lambda: numbers[0], set_num_threads=lambda n: numbers.__setitem__(0, n)
    )
    controller = SimpleNamespace(select=lambda user_api: SimpleNamespace(lib_controllers=[library]))
    module = ModuleType("threadpoolctl")
    module.ThreadpoolController = lambda: controller
    monkeypatch.setitem(sys.modules, "threadpoolctl", module)
    threads._blas.cache_clear()
    yield numbers
    threads._blas.cache_clear()


def test_blas_has_one_thread_inside_kernels_and_its_own_number_outside(blas, count):
    found = []
    threads.parallel_for(lambda: found.append(*blas), [()] * 4)
    assert (found, blas) == ([1] * 4, [3])


def test_a_single_part_may_use_the_threads_of_blas(blas):
    found = []
    threads.parallel_for(lambda: found.append(*blas), [()])
    assert found == [3]


def test_blas_gets_its_own_number_back_after_an_error(blas, count):
    with pytest.raises(ZeroDivisionError):
        threads.parallel_for(lambda: 1 / 0, [()] * 4)
    assert blas == [3]


def test_blas_gets_its_own_number_back_when_the_last_of_two_callers_has_left(blas):
    inside, leave = threading.Event(), threading.Event()

    def stay():
        with threads.limited(1):
            inside.set()
            assert leave.wait(10)

    with ThreadPoolExecutor(1) as other:
        longer = other.submit(stay)
        assert inside.wait(10)
        threads.parallel_for(lambda: None, [()] * 2)
        assert blas == [1]
        leave.set()
        longer.result()
    assert blas == [3]


def test_blas_has_one_thread_all_the_time_within_a_limit(blas):
    with threads.limited(2):
        threads.parallel_for(lambda: None, [()] * 2)
        assert blas == [1]
    assert blas == [3]


def test_a_number_that_the_user_sets_between_kernels_is_kept(blas):
    threads.parallel_for(lambda: None, [()] * 2)
    blas[0] = 2
    threads.parallel_for(lambda: None, [()] * 2)
    assert blas == [2]


REAL_BLAS = """
get, change = (threads.openblas(f"{name}_num_threads") for name in ("get", "set"))
if get is None:
    print([2, 1, 1, 2])
else:
    change(2)
    numbers = [get()]
    threads.parallel_for(lambda: numbers.append(get()), [()] * 2)
    print([*numbers, get()])
"""


def test_the_openblas_of_numpy_is_found_in_the_process():
    assert in_a_new_process(REAL_BLAS) == "[2, 1, 1, 2]"


def test_another_blas_is_left_alone(monkeypatch):
    monkeypatch.setitem(sys.modules, "threadpoolctl", None)  # not installed
    monkeypatch.setattr(threads, "openblas", lambda name: None)
    threads._blas.cache_clear()
    done = []
    threads.parallel_for(done.append, [(1,), (1,)])
    assert done == [1, 1]
    threads._blas.cache_clear()


# Memory -------------------------------------------------------------------------------------------

FAULTS = """
import resource
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        numpy.ones(2**27, numpy.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
kept = geonet.keep_memory()
first, second = faults(), faults()
print(kept, second < 0.1 * first)
"""


def test_freed_memory_is_kept_where_the_c_library_is_glibc():
    try:
        glibc = hasattr(ctypes.CDLL(None), "mallopt")
    except TypeError:  # on Windows
        glibc = False
    if not glibc:
        assert not geonet.keep_memory()
    else:
        assert in_a_new_process(FAULTS) == "True True"


@pytest.mark.parametrize("error", [TypeError, OSError, AttributeError])
def test_without_glibc_nothing_is_kept_and_nothing_fails(error, monkeypatch):
    def refuse(name):
        raise error

    monkeypatch.setattr(ctypes, "CDLL", refuse)
    assert not geonet.keep_memory()


# Parts --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [0, 1, 4, 17])
def test_every_part_is_done_once_in_turns_by_a_few_threads(count, length):
    done, by = np.zeros(length, int), [None] * length

    def work(i):
        done[i] += 1
        by[i] = threading.current_thread().name

    threads.parallel_for(work, [(i,) for i in range(length)])
    assert (done == 1).all()
    assert by == [by[i % count] for i in range(length)]


@pytest.mark.parametrize(("work", "alone"), [(threads.ONE_THREAD, True), (2**40, False)])
def test_what_is_little_work_is_done_by_the_caller(count, work, alone):
    by = set()
    parts = [(i,) for i in range(7)]
    threads.parallel_for(lambda i: by.add(threading.current_thread().name), parts, work)
    assert (len(by) > 1) == (count > 1 and not alone)
    assert threading.current_thread().name in by


@pytest.mark.parametrize("part", [0, 1])
def test_an_error_in_a_part_reaches_the_caller(count, part):
    def work(i):
        if i == part:
            raise ArithmeticError(f"part {i}")

    with pytest.raises(ArithmeticError, match=f"part {part}"):
        threads.parallel_for(work, [(i,) for i in range(2)])
    threads.parallel_for(lambda i: None, [(i,) for i in range(4)])  # and the threads go on


@given(st.integers(0, 50), st.integers(1, 60))
def test_ranges_cover_everything_once(length, size):
    found = threads.ranges(length, size)
    assert [i for first, last in found for i in range(first, last)] == list(range(length))
    assert all(0 < last - first <= size for first, last in found)


def test_there_is_at_most_one_share_a_thread(count):
    for length in (0, 1, 2, 7, 100):
        shares = threads.shares(length)
        assert len(shares) <= count
        assert [i for first, last in shares for i in range(first, last)] == list(range(length))


def test_scratch_is_the_same_memory_each_time_and_another_in_each_thread():
    first = threads.scratch("a test", (3, 4), np.float32)
    again = threads.scratch("a test", (2, 2), np.float64)
    assert (first.shape, first.dtype) == ((3, 4), np.float32)
    assert np.shares_memory(first, again)
    assert not np.shares_memory(first, threads.scratch("another", (3, 4), np.float32))
    elsewhere = []
    other = threading.Thread(
        target=lambda: elsewhere.append(threads.scratch("a test", (3, 4), np.float32))
    )
    other.start()
    other.join()
    assert not np.shares_memory(first, elsewhere[0])


def test_large_scratch_is_not_kept(monkeypatch):
    monkeypatch.setattr(threads, "LARGEST_SCRATCH", 100)
    first = threads.scratch("large", (200,), np.uint8)
    assert not np.shares_memory(first, threads.scratch("large", (200,), np.uint8))


def _spread_in_a_child(queue):
    done = []
    threads.parallel_for(done.append, [(i,) for i in range(4)])
    queue.put(sorted(done))


@pytest.mark.skipif(sys.platform != "linux", reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_process_starts_threads_of_its_own(monkeypatch):
    monkeypatch.setenv("GEONET_THREADS", "2")
    threads.parallel_for(lambda i: None, [(i,) for i in range(4)])
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=_spread_in_a_child, args=(queue,))
    child.start()
    try:
        assert queue.get(timeout=30) == [0, 1, 2, 3]
    finally:
        child.kill()
        child.join()


def _blas_in_a_child(queue, numbers):
    threads.parallel_for(lambda: None, [()] * 2)
    queue.put(numbers[0])


@pytest.mark.skipif(sys.platform != "linux", reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_process_forked_while_another_thread_is_in_a_kernel_has_all_of_blas(monkeypatch):
    blas = [3]
    entering, inside, leave, slowly = (threading.Event() for _ in range(4))

    def change(number):
        entering.set()
        slowly.wait(10)  # the fork comes while the number is being changed
        blas[0] = number

    monkeypatch.setattr(threads, "_blas", lambda: [(lambda: blas[0], change)])

    def stay():
        with threads.limited(1):
            inside.set()
            assert leave.wait(10)

    with ThreadPoolExecutor(1) as other:
        longer = other.submit(stay)
        assert entering.wait(10)
        threading.Timer(0.2, slowly.set).start()
        context = multiprocessing.get_context("fork")
        for _ in range(2):  # the second time, the other thread has entered
            queue = context.SimpleQueue()
            child = context.Process(target=_blas_in_a_child, args=(queue, blas))
            child.start()
            child.join(10)
            ended = child.exitcode
            child.kill()
            assert inside.wait(10)
            if ended is None:
                break
            found = queue.get()
        leave.set()
        longer.result()
    assert ended == 0, "the child waits for a lock that nobody will release"
    assert found == 3
    assert blas == [3]


@pytest.mark.parametrize(
    "started", ["atexit.register", "lambda f: threading.Thread(target=f).start()"]
)
def test_kernels_run_on_while_the_interpreter_ends(started):
    program = f"""
import atexit, threading, time
def late():
    time.sleep(0.2)  # after the end of the main thread
    done = []
    threads.parallel_for(done.append, [(i,) for i in range(5)])
    print(sorted(done), flush=True)
late()
({started})(late)
"""
    assert in_a_new_process(program, GEONET_THREADS="3").count("[0, 1, 2, 3, 4]") == 2


@pytest.mark.parametrize("again", [False, True])
def test_a_process_ends_after_an_interruption_while_threads_start(again):
    program = f"""
import threading
start, parts, done = threading.Thread.start, [(i,) for i in range(5)], []

def interrupted(thread):
    start(thread)
    threading.Thread.start = start
    raise KeyboardInterrupt

threading.Thread.start = interrupted
try:
    threads.parallel_for(id, parts)
except KeyboardInterrupt:
    if {again}:
        threads.parallel_for(done.append, parts)
    print(sorted(done), flush=True)
"""
    expected = "[0, 1, 2, 3, 4]" if again else "[]"
    assert in_a_new_process(program, GEONET_THREADS="3") == expected


def test_an_error_waits_until_every_part_has_ended(monkeypatch):
    monkeypatch.setenv("GEONET_THREADS", "3")
    release, ended = threading.Event(), []

    def work(i):
        if i == 0:
            release.set()
            raise ArithmeticError
        release.wait(10)
        ended.append(i)

    with pytest.raises(ArithmeticError):
        threads.parallel_for(work, [(i,) for i in range(3)])
    assert sorted(ended) == [1, 2]


def test_threads_heed_the_errstate_of_the_caller(count):
    found = []
    with np.errstate(divide="raise", invalid="ignore"):
        threads.parallel_for(lambda i: found.append(np.geterr()), [(i,) for i in range(5)])
    assert {(state["divide"], state["invalid"]) for state in found} == {("raise", "ignore")}
