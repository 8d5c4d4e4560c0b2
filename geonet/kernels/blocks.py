"""Blocks: how the work on a large array is divided among threads.

The blocks depend only on the shape. A kernel sums block by block, and the sums of the blocks are
added in order, so that no result depends on the number of threads. A small array, as in MLPs, is
one block, and then the kernel is simply called.
"""

import math

import numpy as np

from geonet.threads import parallel_for, ranges

BLOCK_SIZE = 2**17  # entries


def blocks(x):
    """Pairs (first, last) along the first axis, with about `BLOCK_SIZE` entries in each block."""
    return ranges(len(x), max(1, BLOCK_SIZE // max(1, math.prod(x.shape[1:]))))


def for_blocks(kernel, x, *arguments):
    """Call `kernel(x, *arguments, first, last)` for every block of x."""
    if x.size <= BLOCK_SIZE:
        kernel(x, *arguments, 0, len(x))
    else:
        parallel_for(kernel, [(x, *arguments, *block) for block in blocks(x)])


def column_sums(count, kernel, x, *arguments):
    """Call `kernel(x, *arguments, sums, first, last)` for every block of x; add up their sums.

    Parameters
    ----------
    count : int
    kernel : function
        Adds `count` sums over the rows first to last into `sums`, float64 (count, C).
    x : numpy.ndarray
        (N, C).
    *arguments
        Further arguments of the kernel.

    Returns
    -------
    numpy.ndarray
        (count, C), float64.
    """
    if x.size <= BLOCK_SIZE:
        sums = np.zeros((count, x.shape[1]))
        kernel(x, *arguments, sums, 0, len(x))
        return sums
    ends = blocks(x)
    sums = np.zeros((len(ends), count, x.shape[1]))
    parallel_for(kernel, [(x, *arguments, own, *block) for own, block in zip(sums, ends)])
    return sums.sum(axis=0)
