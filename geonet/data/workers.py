"""Other processes that decode pictures ahead of their use.

Run as a program, this module is such a process. It receives on a socket which pictures to decode,
writes them into memory that it shares with its parent, and answers which are damaged. When the
parent ends, the socket is closed, and the process ends too.
"""

import contextlib
import math
import mmap
import os
import pickle
import subprocess
import sys
import tempfile
import weakref
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection, Pipe
from queue import SimpleQueue

import numpy as np

from geonet.data.decoding import DamagedPicture, decode

CHUNK = 16  # most pictures that a worker is given at a time
AHEAD = 2  # batches that are being decoded while one is in use


class Decoders:
    """Decodes batches of pictures, in this process or in processes of its own.

    Parameters
    ----------
    workers : int
        Number of processes; 0 for none.
    size : int
        Side of the decoded squares, see `geonet.data.decoding.decode`.
    """

    def __init__(self, workers, size):
        self._size = size
        self.workers = [_Worker(size) for _ in range(workers)]
        self._idle = SimpleQueue()
        for worker in self.workers:
            self._idle.put(worker)
        # a thread for each process, which waits for it most of the time
        self._threads = ThreadPoolExecutor(max(1, workers), "decoding")
        self._end = weakref.finalize(self, _end, self._threads, self.workers)

    def close(self):
        """End the processes."""
        self._end()

    def batches(self, batches):
        """Decode batches in their order, a few of them ahead.

        Parameters
        ----------
        batches : iterable of list
            Each has pairs: a path, and the seed of the generator for `decode`, or None.

        Yields
        ------
        pixels : ndarray, shape (B, size, size, 3), dtype uint8
        damaged : dict
            Index in the batch -> DamagedPicture; the pixels there are undefined.

        Raises
        ------
        ChildProcessError
            If a process ended.
        """
        if not self.workers:
            for orders in batches:
                pixels = self._empty(orders)
                yield pixels, _damaged(orders, decode_all(orders, pixels))
            return
        pending = deque()
        try:
            for orders in batches:
                pending.append((orders, *self._begin(orders)))
                if len(pending) > AHEAD:
                    yield _result(*pending.popleft())
            while pending:
                yield _result(*pending.popleft())
        finally:
            for _, _, futures in pending:
                for future in futures:
                    future.cancel()

    def _empty(self, orders):
        return np.empty((len(orders), self._size, self._size, 3), np.uint8)

    def _begin(self, orders):
        """The array that will hold a batch, and one future per chunk: which are damaged."""
        pixels = self._empty(orders)
        length = min(CHUNK, -(-len(orders) // len(self.workers)))
        stretches = (slice(i, i + length) for i in range(0, len(orders), length))
        return pixels, [
            self._threads.submit(_by_a_worker, self._idle, orders[rows], pixels[rows])
            for rows in stretches
        ]


def _by_a_worker(idle, orders, pixels):
    worker = idle.get()
    try:
        return worker.decode(orders, pixels)
    finally:
        idle.put(worker)


def _result(orders, pixels, futures):
    return pixels, _damaged(orders, [reason for future in futures for reason in future.result()])


def _damaged(orders, reasons):
    pairs = zip(orders, reasons)
    return {i: DamagedPicture(path, why) for i, ((path, _), why) in enumerate(pairs) if why}


def decode_all(orders, pixels):
    """Decode pictures, pairs (path, seed), into `pixels`; returns reasons of damage, or Nones."""
    reasons = []
    for place, (path, seed) in enumerate(orders):
        try:
            rng = None if seed is None else np.random.default_rng(seed)
            pixels[place] = decode(path, pixels.shape[1], rng)
            reasons.append(None)
        except DamagedPicture as error:
            reasons.append(error.reason)
    return reasons


class _Worker:
    """A process that decodes, as seen from its parent."""

    def __init__(self, size):
        self._connection, theirs = Pipe()
        with theirs, _shared_file() as file:
            shape = (CHUNK, size, size, 3)
            os.truncate(file.fileno(), math.prod(shape))
            self._pixels = _mapped(file.fileno(), shape)
            descriptors = theirs.fileno(), file.fileno()
            self.process = subprocess.Popen(
                [sys.executable, "-m", __name__, *map(str, (*descriptors, size))],
                stdin=subprocess.DEVNULL,
                pass_fds=descriptors,
                env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
                start_new_session=True,  # away from the terminal's Ctrl-C
            )

    def decode(self, orders, pixels):
        """Do `decode_all` in the process."""
        try:
            self._connection.send_bytes(pickle.dumps(orders))
            reasons = self._connection.recv()
        except (EOFError, OSError):
            raise ChildProcessError(
                f"a process that decodes pictures ended with status {self.process.wait()}, "
                f"at one of the {len(orders)} pictures from {orders[0][0]} on"
            ) from None
        pixels[:] = self._pixels[: len(orders)]
        return reasons

    def close(self):
        self.process.kill()
        self.process.wait()
        self._connection.close()


def _shared_file():
    """A file without a name, which exists while a process has it open or mapped."""
    if hasattr(os, "memfd_create"):
        return open(os.memfd_create("pictures"), "r+b")
    return tempfile.TemporaryFile()


def _mapped(descriptor, shape):
    return np.frombuffer(mmap.mmap(descriptor, math.prod(shape)), np.uint8).reshape(shape)


def _end(threads, workers):
    threads.shutdown(wait=False, cancel_futures=True)
    for worker in workers:
        worker.process.kill()  # this wakes the thread that waits for it
    threads.shutdown()
    for worker in workers:
        worker.close()


def main(connection, memory, size):
    """Decode for the process at the other end of a socket until it is closed.

    Parameters
    ----------
    connection, memory : int
        Descriptors of the socket, and of the file to which the pixels are written.
    size : int
        Side of the pictures.
    """
    pixels = _mapped(memory, (CHUNK, size, size, 3))
    with Connection(connection) as parent, contextlib.suppress(EOFError, OSError):
        while True:
            parent.send_bytes(pickle.dumps(decode_all(parent.recv(), pixels)))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
