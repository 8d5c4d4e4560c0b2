"""Training on several processes at once, each with its share of every batch (mpi4py).

    mpiexec -n 2 python -m geonet imagenet …

An optimizer with a communicator, ``optimizer.comm = comm``, steps with the gradients of all.

Every process holds the whole model, from the same seed. It draws the same order of pictures as the
others and takes its share. After the backward pass the gradients are averaged over all rows of all
batches. So K processes with batches of B rows make the same step as one process with a batch of
K·B, up to rounding. The exception is a layer that uses statistics of its batch: every process
centres and scales by the statistics of its own rows, and keeps its own running ones.
"""

import os

import numpy as np

from geonet import threads
from geonet.tensor import gradient_of
from geonet.text import BadInput

# Variables that launchers set: Open MPI; MPICH, Intel MPI and Slurm; MVAPICH
SIZES = "OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MV2_COMM_WORLD_SIZE"


def world():
    """(rank, number of ranks, communicator): 0, 1 and None in a single process.

    mpi4py is imported only if a launcher such as mpiexec has started several processes.

    Raises
    ------
    geonet.text.BadInput
        If mpi4py is then missing, or belongs to another MPI than the launcher.
    """
    ranks = max(int(os.environ.get(name, 1)) for name in SIZES)
    if ranks == 1:
        return 0, 1, None
    try:
        from mpi4py import MPI
    except (ImportError, RuntimeError) as error:  # RuntimeError if it finds no MPI library
        raise BadInput(
            f"{ranks} processes were started by an MPI launcher, but mpi4py cannot be used "
            f"({error}): install it and a launcher by python -m pip install mpi4py mpich"
        ) from error
    comm = MPI.COMM_WORLD
    if comm.Get_size() != ranks:
        raise BadInput(
            f"the launcher started {ranks} processes, but mpi4py sees {comm.Get_size()}: "
            "mpiexec and mpi4py must belong to the same MPI"
        )
    return comm.Get_rank(), ranks, comm


def cores(comm):
    """Number of cores for this process, which shares those of the machine with other processes.

    Some launchers bind each process to cores of its own, and others let all use the same ones. All
    processes of the communicator must call this.
    """
    from mpi4py import MPI

    neighbours = comm.Split_type(MPI.COMM_TYPE_SHARED)
    together = set().union(*neighbours.allgather(threads.affinity()))
    return min(threads.available(), max(1, len(together) // neighbours.Get_size()))


def sum_over_ranks(comm, array):
    """The sum of each entry over all processes of a communicator; None is a single process."""
    array = np.asarray(array, order="C")
    if comm is None:
        return array
    total = np.empty_like(array)
    comm.Allreduce(array, total)
    return total


def average(comm, parameters, loss, rows):
    """Replace gradients by their means over the rows of all processes; return the mean loss.

    This is one all-reduce of one flat array: number of rows n, n · loss, whether there are
    gradients, and n · gradients. Its length is that of all parameters, since one process may lack
    a gradient that another one has. A number that is not finite in one process is not finite in
    any, so all processes detect divergence at the same step.
    """
    head = np.array([1, loss, *(p.grad is not None for p in parameters)], parameters[0].dtype)
    arrays = [head, *(gradient_of(parameter).ravel() for parameter in parameters)]
    total = sum_over_ranks(comm, rows * np.concatenate(arrays))
    total /= total[0]
    (_, loss, *found), *gradients = np.split(total, np.cumsum([a.size for a in arrays[:-1]]))
    for p, some, gradient in zip(parameters, found, gradients):
        p.grad = gradient.reshape(p.shape).astype(p.dtype, copy=False) if some else None
    return float(loss)
