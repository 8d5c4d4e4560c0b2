"""A recorded computation as boxes and arrows."""

import textwrap
from itertools import pairwise

from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from matplotlib.path import Path

from geonet.plots import base

SIZE = 7.5  # font size in points
LETTER, LINE = 0.61 * SIZE / 72, 1.35 * SIZE / 72  # width and height in inches
MARGIN = 0.15  # inches
COLORS = {"parameter": "#e2f4ec", "input": "#f3ecdd"}


@base.default_style
def computation(drawing, caption):
    """Modules or operations as boxes, from top to bottom.

    Parameters
    ----------
    drawing : geonet.graph.layout.Drawing
        As `geonet.graph.Graph.drawing` returns it.
    caption : str

    Returns
    -------
    matplotlib.figure.Figure
        Parameters are green, inputs yellow, operations and modules blue.
    """
    width = max(drawing.width * LETTER, 5.0) + 2 * MARGIN
    text = textwrap.fill(caption, int(width * 13))
    below = 0.17 * (text.count("\n") + 1) + MARGIN
    height = drawing.height * LINE + 2 * MARGIN + below
    figure = Figure(figsize=(width, height))
    panel = figure.add_axes((0, below / height, 1, 1 - below / height))
    panel.set_axis_off()
    left = (width - drawing.width * LETTER) / 2
    panel.set(xlim=(-left, width - left), ylim=(height - below - MARGIN, -MARGIN))  # inches
    for route in drawing.routes:
        panel.add_patch(_arrow([(x * LETTER, y * LINE) for x, y in route]))
    for box in drawing.boxes:
        x, y = box.x * LETTER, box.y * LINE
        w, h = box.width * LETTER, box.height * LINE
        look = {"facecolor": COLORS.get(box.kind, "#e3eefa"), "edgecolor": "0.5", "linewidth": 0.8}
        shape = "round,pad=0,rounding_size=0.05"
        panel.add_patch(FancyBboxPatch((x - w / 2, y - h / 2), w, h, boxstyle=shape, **look))
        for k, line in enumerate(box.lines):
            place = x, y + (k - (len(box.lines) - 1) / 2) * LINE
            weight = "normal" if k else "bold"
            look = {"ha": "center", "va": "center", "fontsize": SIZE, "family": "monospace"}
            panel.text(*place, line, fontweight=weight, parse_math=False, **look)
    look = {"fontsize": 9, "va": "bottom", "parse_math": False}
    figure.text(MARGIN / width, MARGIN / height, text, **look)
    return figure


def _arrow(points):
    """A smooth arrow down from point to point."""
    vertices, codes = [points[0]], [Path.MOVETO]
    for (a, b), (c, d) in pairwise(points):
        vertices += [(a, (b + d) / 2), (c, (b + d) / 2), (c, d)]
        codes += [Path.CURVE4] * 3
    style = {"arrowstyle": "-|>", "mutation_scale": 8, "color": "0.45", "linewidth": 0.9}
    return FancyArrowPatch(path=Path(vertices, codes), **style)
