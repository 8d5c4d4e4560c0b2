"""Decode batches of pictures, in this process or ahead of their use in others.

Those write pixels into memory that they share with this process. Sending pixels through the pool's
pipe instead would take a tenth of the time that decoding takes.
"""

import functools
import itertools
from collections import deque
from concurrent.futures import wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.shared_memory import SharedMemory

import numpy as np

from geonet.data.decoding import DamagedPicture, decode
from geonet.processes import helpers

CHUNK = 16  # most pictures that a worker is given at a time
AHEAD = 2  # batches that are being decoded while one is in use


class Decoders:
    """Decodes batches of pictures, in this process or in processes of its own.

    Parameters
    ----------
    workers : int
        Number of processes; 0 for none.
    size : int
    recipe : str
        Of the decoded squares, see `geonet.data.decoding.decode`.
    """

    def __init__(self, workers, size, recipe):
        self._workers, self._size, self._recipe = workers, size, recipe
        self._pool = helpers(workers) if workers else None

    def close(self):
        """End the processes."""
        if self._pool:
            self._pool.shutdown(cancel_futures=True)

    def batches(self, batches, largest):
        """Decode batches in their order; other processes decode a few of them ahead.

        Parameters
        ----------
        batches : iterable of list
            Each has pairs: a path, and the seed of the generator for `decode`, or None.
        largest : int
            Number of pairs in a batch, at most.

        Yields
        ------
        pixels : ndarray, shape (B, size, size, 3), dtype uint8
        errors : list
            For each picture None, or a DamagedPicture, whose pixels are undefined.

        Raises
        ------
        ChildProcessError
            If a process ended.
        """
        if self._pool is None:
            for orders in batches:
                pixels = np.empty((len(orders), self._size, self._size, 3), np.uint8)
                yield pixels, decode_all(orders, pixels, self._recipe)
            return
        picture = self._size**2 * 3  # bytes
        memory = SharedMemory(create=True, size=(AHEAD + 1) * largest * picture)
        pending = deque()  # batches, each with its place in the memory and a future per chunk
        try:
            for orders, k in zip(batches, itertools.cycle(range(AHEAD + 1))):
                start = k * largest * picture
                # a task costs time, so there are no more of them than keep all workers busy
                length = min(CHUNK, -(-len(orders) * (AHEAD + 1) // self._workers))
                chunks = [
                    (memory.name, start + i * picture, orders[i : i + length])
                    for i in range(0, len(orders), length)
                ]
                futures = [
                    self._pool.submit(decode_into, *chunk, self._size, self._recipe)
                    for chunk in chunks
                ]
                pending.append((orders, start, futures))
                if len(pending) > AHEAD:
                    yield self._decoded(memory, *pending[0])
                    pending.popleft()
            while pending:
                yield self._decoded(memory, *pending[0])
                pending.popleft()
        except BrokenProcessPool as error:
            # the pool marks what is pending as failed, and must not find that it was cancelled
            wait([future for *_, futures in pending for future in futures])
            first = (pending[0][0] if pending else orders)[0][0]
            raise ChildProcessError(
                f"a process that decodes pictures ended, at {first} or soon after it; "
                "was there enough memory, and enough of it that can be shared?"
            ) from error
        finally:
            wait([f for *_, futures in pending for f in futures if not f.cancel()])
            memory.close()
            memory.unlink()

    def _decoded(self, memory, orders, start, futures):
        errors = [error for future in futures for error in future.result()]
        shape = (len(orders), self._size, self._size, 3)
        return np.ndarray(shape, np.uint8, memory.buf, start).copy(), errors


def decode_all(orders, pixels, recipe):
    """Decode pictures, pairs (path, seed), into `pixels`; returns the error or None of each."""
    errors = [None] * len(orders)
    for place, (path, seed) in enumerate(orders):
        rng = None if seed is None else np.random.default_rng(seed)
        try:
            pixels[place] = decode(path, pixels.shape[1], rng, recipe)
        except DamagedPicture as error:
            errors[place] = error
    return errors


def decode_into(name, start, orders, size, recipe):
    """Do `decode_all` into shared memory, from a byte of it on."""
    shape = (len(orders), size, size, 3)
    return decode_all(orders, np.ndarray(shape, np.uint8, _memory(name).buf, start), recipe)


@functools.lru_cache(maxsize=2)  # to map it only once in an epoch
def _memory(name):
    return SharedMemory(name)
