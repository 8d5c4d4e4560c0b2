"""A drawing of a graph in layers, from top to bottom, after Sugiyama, Tagawa & Toda (1981)."""

from itertools import pairwise
from typing import NamedTuple

GAP = 3.0  # between the boxes of a layer, in letter widths
DROP = 1.6  # between layers, in line heights
SWEEPS = 12


class Box(NamedTuple):
    """A box with words, placed by its centre."""

    lines: tuple
    kind: str  # "parameter", "input", "operation" or "group"
    key: object  # the number of the node, or the name of the group
    x: float
    y: float
    width: float
    height: float


class Drawing(NamedTuple):
    """Boxes, and for every edge the points on its way.

    Horizontal lengths are in letter widths, vertical lengths in line heights.
    """

    boxes: list
    routes: list
    width: float
    height: float


def drawing(boxes, edges):
    """Place boxes below those that they depend on.

    Parameters
    ----------
    boxes : list of (lines, kind, key)
        In an order in which most edges go forward.
    edges : list of (int, int)
        From and to, as indices into the list. Edges that go back do not affect the layers.

    Returns
    -------
    Drawing
    """
    sizes = [(max(map(len, lines)) + 3.0, len(lines) + 0.8) for lines, _, _ in boxes]
    forward = [(i, j) for i, j in edges if i < j]
    rows, chains = _rows(_levels(len(boxes), forward), forward)
    sizes += [(1.0, 0.0)] * (sum(map(len, rows)) - len(boxes))  # places where edges pass a layer
    links = list(dict.fromkeys(pair for chain in chains for pair in pairwise(chain)))
    _order(rows, links)
    x = _across(rows, links, sizes)
    y, top = {}, 0.0
    for row in rows:
        tallest = max(sizes[i][1] for i in row)
        y.update((i, top + tallest / 2) for i in row)
        top += tallest + DROP
    left = min(x[i] - sizes[i][0] / 2 for i in x)
    x = {i: value - left for i, value in x.items()}
    placed = [Box(*box, x[i], y[i], *sizes[i]) for i, box in enumerate(boxes)]
    chains += [(i, j) for i, j in edges if i >= j]
    routes = [_route(chain, x, y, sizes) for chain in chains]
    return Drawing(placed, routes, max(x[i] + sizes[i][0] / 2 for i in x), top - DROP)


def _levels(count, edges):
    """The layer of each box: one below the lowest box that it depends on.

    A box that depends on nothing is placed directly above its first user.
    """
    level, (above, below) = [0] * count, _neighbours(edges)
    for j in range(count):
        level[j] = max((level[i] + 1 for i in above.get(j, ())), default=0)
    for i in range(count):
        if i not in above:
            level[i] = min((level[j] for j in below.get(i, ())), default=1) - 1
    return level


def _rows(level, edges):
    """The boxes and passing places of each layer, and the chain of places of each edge.

    Edges from the same box share their places in the layers that they pass.
    """
    rows = [[] for _ in range(max(level) + 1)]
    for i, row in enumerate(level):
        rows[row].append(i)
    passing, new = [[] for _ in level], len(level)
    for i, j in edges:
        for row in range(level[i] + 1 + len(passing[i]), level[j]):
            rows[row].append(new)
            passing[i].append(new)
            new += 1
    return rows, [(i, *passing[i][: level[j] - level[i] - 1], j) for i, j in edges]


def _neighbours(links):
    """The neighbours above and below each place."""
    above, below = {}, {}
    for i, j in links:
        below.setdefault(i, []).append(j)
        above.setdefault(j, []).append(i)
    return above, below


def _order(rows, links):
    """Sort each layer by the mean of each place's neighbours, so that few edges cross."""
    above, below = _neighbours(links)
    place = {i: k / len(row) for row in rows for k, i in enumerate(row)}
    for sweep in range(SWEEPS):
        down = sweep % 2 == 0
        neighbours = above if down else below
        for row in rows if down else reversed(rows):
            means = {i: _mean([place[j] for j in neighbours.get(i, [i])]) for i in row}
            row.sort(key=means.get)
            place.update((i, k / len(row)) for k, i in enumerate(row))


def _mean(values):
    return sum(values) / len(values)


def _across(rows, links, sizes):
    """x of every place: below the places that lead to it, without overlap.

    Parameters are placed to the right of the operation whose result has the same user, so that a
    chain of operations is straight.
    """
    above, below = _neighbours(links)
    leading = {i: [j for j in places if j in above] or places for i, places in above.items()}
    cells = [_cells(row, above, below) for row in rows]
    x = dict.fromkeys((i for row in rows for i in row), 0.0)
    for sweep in range(SWEEPS + 1):  # the last one goes down
        first, second = (leading, below) if sweep % 2 == 0 else (below, leading)
        for row in cells if sweep % 2 == 0 else reversed(cells):
            heads = [cell[0] for cell in row]
            wanted = [_mean([x[j] for j in first.get(i) or second.get(i) or [i]]) for i in heads]
            x.update(_apart(row, wanted, sizes))
    return x


def _cells(row, above, below):
    """A layer in cells: each box with the parameters to the right of it that have the same user."""
    cells = []
    for i in row:
        if cells and i not in above and below.get(i) == below.get(cells[-1][0]):
            cells[-1].append(i)
        else:
            cells.append([i])
    return cells


def _apart(cells, wanted, sizes):
    """x near the wanted x of the first place of each cell.

    Overlaps are removed by pushing to the right and by pushing to the left; x is the mean of both.
    """
    before = [sizes[cell[0]][0] / 2 + GAP for cell in cells]
    after = [sum(sizes[i][0] + GAP for i in cell) - b for cell, b in zip(cells, before)]
    right, left = list(wanted), list(wanted)
    for k in range(1, len(cells)):
        right[k] = max(right[k], right[k - 1] + after[k - 1] + before[k])
    for k in reversed(range(len(cells) - 1)):
        left[k] = min(left[k], left[k + 1] - before[k + 1] - after[k])
    x = {}
    for k, cell in enumerate(cells):
        edge = (right[k] + left[k]) / 2 - sizes[cell[0]][0] / 2
        for i in cell:
            x[i] = edge + sizes[i][0] / 2
            edge += sizes[i][0] + GAP
    return x


def _route(chain, x, y, sizes):
    """The points from the lower edge of the first box to the upper edge of the last."""
    first, *between, last = chain
    start = x[first], y[first] + sizes[first][1] / 2
    return [start, *((x[i], y[i]) for i in between), (x[last], y[last] - sizes[last][1] / 2)]
