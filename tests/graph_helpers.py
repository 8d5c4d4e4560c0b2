"""A watched step of a small network."""

import numpy as np

from geonet import graph, ops
from geonet.models import mlp


def data(rows=7):
    rng = np.random.default_rng(0)
    return rng.normal(size=(rows, 2)), rng.normal(size=(rows, 1))


def network(method="GmP"):
    return mlp([2, 4, 3, 1], method, rng=np.random.default_rng(1))


def step(method="GmP", gradients=True):
    """The network after a watched step, its loss, and the graph of the step."""
    model, (x, y) = network(method), data()
    with graph.watch(gradients=gradients):
        loss = ops.mse(model(x), y)
    loss.backward()
    return model, loss, graph.trace(loss)
