"""Threads for kernels: every part is done, and which parts go together is no matter of chance."""

import multiprocessing
import sys
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geonet import threads


@pytest.fixture(params=["1", "2", "5"])
def count(request, monkeypatch):
    monkeypatch.setenv("GEONET_THREADS", request.param)
    return int(request.param)


def test_without_the_variable_there_is_one_thread(monkeypatch):
    monkeypatch.delenv("GEONET_THREADS", raising=False)
    assert threads.count() == 1


@pytest.mark.parametrize("text", ["", "0", "-1", "two", "1.5"])
def test_a_count_that_is_none_is_refused(text, monkeypatch):
    monkeypatch.setenv("GEONET_THREADS", text)
    with pytest.raises(ValueError, match="GEONET_THREADS must be a whole number above 0"):
        threads.count()


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
