"""Several processes step as one that sees all their rows; here they are threads."""

import sys
import threading
import types
from unittest import mock

import numpy as np
import pytest

from geonet import ops, threads
from geonet.models import mlp
from geonet.text import BadInput
from geonet.train import SGD, Adam, Diverged, ReduceLROnPlateau, fit
from geonet.train.parallel import SIZES, cores, sum_over_ranks, world

EPOCHS, ROWS = 3, (3, 5)  # rows of each rank's batch: a damaged picture makes one smaller


class Comm:
    """One rank of a group of threads, with the only function of mpi4py's that is used."""

    def __init__(self, rank, group):
        self.rank, self.group, self.calls = rank, group, 0

    def Allreduce(self, mine, total):
        assert mine.flags.c_contiguous
        self.calls += 1
        self.group["sent"][self.rank] = mine
        self.group["barrier"].wait(timeout=20)
        total[...] = sum(self.group["sent"])
        self.group["barrier"].wait(timeout=20)


def together(work):
    """Results of work(comm) on two threads, a rank each; an exception is a result too."""
    ranks = len(ROWS)
    group = {"sent": [None] * ranks, "barrier": threading.Barrier(ranks)}
    comms, results = [Comm(rank, group) for rank in range(ranks)], [None] * ranks

    def run(comm):
        try:
            results[comm.rank] = work(comm)
        except Exception as error:
            results[comm.rank] = error

    threads = [threading.Thread(target=run, args=(comm,)) for comm in comms]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results, comms


class Part:
    """A rank's rows of every batch, or all of them."""

    train_count = 2 * sum(ROWS)

    def __init__(self, rows, x=None):
        self.rows = rows
        x = np.random.default_rng(1).normal(size=(2, sum(ROWS), 3)) if x is None else x
        self.batches = [(b[rows], np.sin(b[rows].sum(1, keepdims=True))) for b in x]

    def train_batches(self, batch_size, rng):
        return iter(self.batches)


SHARES = [slice(0, ROWS[0]), slice(ROWS[0], sum(ROWS))]
OPTIMIZERS = [
    lambda p: SGD(p, 0.1, momentum=0.9, weight_decay=0.01),
    lambda p: Adam(p, 0.05),
]


def shared(model, comm):
    rule = SGD(model.parameters(), 0.1)
    rule.comm = comm
    return rule


def train(data, optimizer, comm=None, dtype=np.float64, loss=ops.mse):
    model = mlp([3, 4, 1], "GmP", rng=np.random.default_rng(0), dtype=dtype)
    rule = optimizer(model.parameters())
    rule.comm = comm
    schedule = ReduceLROnPlateau(rule, patience=1, factor=0.5, min_delta=0.05)
    history = fit(model, loss, data, rule, epochs=EPOCHS, schedule=schedule, label=None,
                  batch_size=sum(ROWS), rng=np.random.default_rng(0))  # fmt: skip
    return history, model.state_dict()


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_two_ranks_step_as_one_process_with_the_rows_of_both(optimizer):
    history, state = train(Part(slice(None)), optimizer)
    results, comms = together(lambda comm: train(Part(SHARES[comm.rank]), optimizer, comm))
    for found, parameters in results:
        assert found.steps == history.steps
        np.testing.assert_allclose(found.loss, history.loss, rtol=1e-12)
        np.testing.assert_allclose(found.lr, history.lr, rtol=1e-12)
        for name, value in state.items():
            np.testing.assert_allclose(parameters[name], value, rtol=1e-9, atol=1e-12)
    np.testing.assert_equal(results[0], results[1])  # the ranks stay together to the last bit
    assert [comm.calls for comm in comms] == [history.steps] * 2  # one all-reduce a step


def test_single_precision_stays_so():
    def step(comm):
        model = mlp([3, 4, 1], "GmP", rng=np.random.default_rng(0), dtype=np.float32)
        x = np.ones((2, 3), np.float32)
        ops.mse(model(x), np.zeros((2, 1), np.float32)).backward()
        before = [p.grad.copy() for p in model.parameters()]
        assert shared(model, comm).all_reduce(2.5, 2) == 2.5
        return before, [p.grad for p in model.parameters()]

    for before, after in together(step)[0]:
        assert all(gradient.dtype == np.float32 for gradient in after)
        assert all(np.array_equal(a, b) for a, b in zip(before, after))  # the mean of equals


def test_when_one_rank_diverges_all_do_at_the_same_step():
    def work(comm):
        calls = []

        def loss(prediction, target):
            calls.append(1)
            lost = comm.rank == 1 and len(calls) == 4
            return ops.mse(prediction, target) * (np.nan if lost else 1.0)

        return train(Part(SHARES[comm.rank]), OPTIMIZERS[0], comm, loss=loss)

    found = together(work)[0]
    assert all(isinstance(error, Diverged) for error in found)
    assert [error.step for error in found] == [3, 3]


def test_parameters_without_a_gradient_are_left_alone():
    def work(comm):
        model = mlp([3, 4, 1], rng=np.random.default_rng(0))
        rule = shared(model, comm)
        rule.parameters[1].grad = np.full(rule.parameters[1].shape, 1.0 + comm.rank)
        rule.all_reduce(0.0, 1)
        return [None if p.grad is None else p.grad.tolist() for p in rule.parameters]

    for gradients in together(work)[0]:
        assert gradients == [None, [1.5] * 4, None, None]


def test_a_gradient_that_only_some_ranks_have_is_averaged_over_all():
    def work(comm):
        model = mlp([3, 4, 1], rng=np.random.default_rng(0))
        rule = shared(model, comm)
        if comm.rank:
            rule.parameters[1].grad = np.full(rule.parameters[1].shape, 1.0)
        assert rule.all_reduce(2.0, 3 if comm.rank else 1) == 2.0
        return [None if p.grad is None else p.grad.tolist() for p in rule.parameters]

    for gradients in together(work)[0]:
        assert gradients == [None, [0.75] * 4, None, None]


def test_a_gradient_of_another_size_is_refused_before_it_is_sent():
    def work(comm):
        rule = shared(mlp([3, 4, 1], rng=np.random.default_rng(0)), comm)
        for parameter in rule.parameters:
            parameter.grad = np.ones(7)
        rule.all_reduce(2.0, 1)

    results, comms = together(work)
    assert all("parameters[0].grad must be a float64" in str(error) for error in results)
    assert [comm.calls for comm in comms] == [0, 0]


def test_sums_are_over_all_ranks_entry_by_entry():
    results, _ = together(lambda comm: sum_over_ranks(comm, np.arange(6).reshape(2, 3).T + 1.0))
    for total in results:
        assert np.array_equal(total, 2 * (np.arange(6).reshape(2, 3).T + 1.0))
    assert all(r.shape == () for r in together(lambda comm: sum_over_ranks(comm, 1.0))[0])


# Cores --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("affinities", "shares"),
    [
        ([{0, 1, 2, 3}] * 2, [2, 2]),  # all may use all
        ([{0, 1}, {2, 3}], [2, 2]),  # bound to cores of their own
        ([{0}, {1}, {0}], [1, 1, 1]),
        ([{0, 1, 2}, {3}], [2, 1]),
    ],
)
def test_processes_on_one_machine_share_its_cores(affinities, shares, monkeypatch):
    monkeypatch.setitem(sys.modules, "mpi4py", mock.MagicMock())
    neighbours = mock.Mock()
    neighbours.allgather.return_value = affinities
    neighbours.Get_size.return_value = len(affinities)
    for own, share in zip(affinities, shares):
        monkeypatch.setattr(threads, "affinity", lambda own=own: own)
        assert cores(mock.Mock(Split_type=lambda kind: neighbours)) == share


# The launcher -------------------------------------------------------------------------------------


@pytest.fixture
def launch(monkeypatch):
    """Set what a launcher tells its processes, and what mpi4py sees: (rank, size) or an error."""
    for name in SIZES:
        monkeypatch.delenv(name, raising=False)

    def start(variable, size, seen):
        monkeypatch.setenv(variable, str(size))
        mpi = None  # which makes the import fail
        if seen is not None:
            comm = types.SimpleNamespace(Get_rank=lambda: seen[0], Get_size=lambda: seen[1])
            mpi = types.SimpleNamespace(MPI=types.SimpleNamespace(COMM_WORLD=comm))
        monkeypatch.setitem(sys.modules, "mpi4py", mpi)

    return start


def test_a_process_by_itself_needs_no_mpi4py(launch):
    assert world() == (0, 1, None)
    launch("PMI_SIZE", 1, None)
    assert world() == (0, 1, None)


@pytest.mark.parametrize("variable", SIZES)
def test_under_a_launcher_mpi4py_says_which_rank_it_is(launch, variable):
    launch(variable, 3, (2, 3))
    rank, ranks, comm = world()
    assert (rank, ranks) == (2, 3)
    assert comm is sys.modules["mpi4py"].MPI.COMM_WORLD


@pytest.mark.parametrize(
    ("seen", "message"),
    [
        (None, "2 processes were started .* pip install mpi4py mpich"),
        ((0, 1), "started 2 processes, but mpi4py sees 1: .* must belong to the same MPI"),
    ],
)
def test_under_a_launcher_what_is_missing_is_named(launch, seen, message):
    launch("PMI_SIZE", 2, seen)
    with pytest.raises(BadInput, match=message):
        world()
