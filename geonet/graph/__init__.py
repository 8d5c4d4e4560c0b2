"""Inspect a recorded computation: every operation with its numbers, its equation and its line.

    with geonet.graph.watch(gradients=True):
        loss = geonet.ops.mse(model(x), y)
        loss.backward()
    graph = geonet.graph.trace(loss)
    print(graph.table())
    graph.html("graph.html")

`watch` keeps, for every operation recorded inside, its value, the line of the program and the
module. `trace` reads a graph out. `anomalies` stops a program at its first NaN. Without observers
this costs almost nothing: the engine only checks that there are none.
"""

from geonet.graph.nodes import Graph, Node, equations, trace
from geonet.graph.recording import Anomaly, anomalies, watch
from geonet.graph.summary import Statistics, statistics
from geonet.lazy import public_names

__all__ = public_names(globals())
