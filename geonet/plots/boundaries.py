"""Where boundaries are, and how far they move."""

from itertools import cycle

import matplotlib
import numpy as np

from geonet.plots import base


def draw_boundary(panel, weight, bias, window, **line):
    """Draw w·x + b = 0, or return False if it misses the window (x low, x high, y low, y high)."""
    corners = np.array([(x, y) for x in window[:2] for y in window[2:]])
    heights = corners @ weight + bias
    if not (heights.min() <= 0 <= heights.max() and weight.any()):  # NaN misses too
        return False
    norm = np.hypot(*weight)
    x, y = weight / norm
    panel.axline((-bias / norm * x, -bias / norm * y), slope=-x / y if y else np.inf, **line)
    return True


@base.default_style
def boundary_evolution(stages, locations, caption):
    """Where the boundaries of a 1-D layer lie at several stages of training, as stacked bars.

    Parameters
    ----------
    stages : sequence of str, length S
        Training steps.
    locations : dict
        label -> boundary locations, shape (S, units); NaN for a unit without a boundary. Those
        outside [−10, 10] are counted in the title, one number per stage.
    """
    edges = np.linspace(-10, 10, 41)
    titles = []
    for label, x in locations.items():
        notes = []
        for what, flagged in (("outside", np.abs(x) > 10), ("no boundary", np.isnan(x))):
            if flagged.any():
                notes.append(f"{what}: " + ", ".join(map(str, flagged.sum(axis=1))))
        titles.append(base.titled(label, *notes))
    caption = f"{caption} Outside: units beyond ±10 at each stage."
    figure, panels = base.panels(titles, caption, "boundary location x", "units, stages stacked")
    colors = matplotlib.colormaps["Blues"](np.linspace(0.05, 0.85, len(stages)))
    look = {"histtype": "stepfilled", "edgecolor": "black", "linewidth": 0.5}
    for panel, x in zip(panels, locations.values(), strict=True):
        counted = [places[np.isfinite(places)] for places in x]
        _, _, bars = panel.hist(counted, edges, stacked=True, color=colors, label=stages, **look)
        for (patch,), hatch in zip(bars, cycle(("", "////", "", "....", "", "\\\\\\\\"))):
            patch.set_hatch(hatch)
        panel.set_xlim(-10, 10)
    base.legend(figure, panels[0].get_legend_handles_labels()[0][::-1])
    return figure


@base.default_style
def step_changes(steps, changes, ylabel, caption):
    """A positive quantity at every training step, one panel per method, with the others in grey.

    Parameters
    ----------
    steps : dict
        label -> training steps, shape (T,). T may differ if training stopped early.
    changes : dict
        label -> the 10 % quantile, the median and the 90 % quantile, shape (3, T); or a single
        line, shape (T,).
    ylabel : str
        The quantity and its unit.
    """
    titles = base.finite_titles(changes)
    changes, caption = base.for_log_axis(changes, caption)
    changes = {label: np.broadcast_to(v, (3, v.shape[-1])) for label, v in changes.items()}
    figure, panels = base.panels(titles, caption, "training step", ylabel)
    looks = base.styles(changes)
    for panel, (label, (low, median, high)) in zip(panels, changes.items(), strict=True):
        panel.set(xscale="log", yscale="log")  # before plotting, as all data may be NaN
        for other, (_, values, _) in changes.items():  # as pixels, as there are so many points
            panel.plot(steps[other], values, color="0.8", linewidth=0.7, rasterized=True)
        x, color = steps[label], looks[label]["color"]
        panel.fill_between(x, low, high, color=color, alpha=0.3)
        panel.plot(x, median, color=color, linewidth=1.5, zorder=3)
    return figure


@base.default_style
def trajectories(locations, caption):
    """The paths of the locations of 2-D units during training, one panel per method.

    Parameters
    ----------
    locations : dict
        label -> φ at each recorded step, shape (T, units, 2). Hollow marker: start; filled: end.
        The view is |φ₁|, |φ₂| ≤ 3. Units that end outside it are counted in the title.
    """
    window = 3.0
    titles = []
    for label, paths in locations.items():
        outside, lost = (np.abs(paths[-1]) > window).any(-1), np.isnan(paths[-1]).any(-1)
        notes = base.note("end out of view", outside), base.note("end without boundary", lost)
        titles.append(base.titled(label, *notes))
    caption = f"{caption} View: |φ₁|, |φ₂| ≤ {window:g}. Hollow: start; filled: end."
    figure, panels = base.panels(titles, caption, "$φ_1$", "$φ_2$", size=(3.0, 3.0))
    looks = base.styles(locations, markeredgecolor="black", markersize=5)
    for panel, (label, paths) in zip(panels, locations.items(), strict=True):
        color = looks[label]["color"]
        panel.plot(*np.moveaxis(paths, -1, 0), color=color, linewidth=0.9, rasterized=True)
        panel.plot(*paths[0].T, markerfacecolor="white", **looks[label] | base.MARKER)
        panel.plot(*paths[-1].T, markerfacecolor="black", **looks[label] | base.MARKER)
        panel.set(xlim=(-window, window), ylim=(-window, window), aspect="equal")
    return figure


@base.default_style
def decision_regions(grid, probabilities, points, labels, boundaries, caption):
    """Where each method decides for class 1 (shaded) in the plane, one panel each.

    Parameters
    ----------
    grid : array, shape (G,)
        Coordinates in both directions.
    probabilities : dict
        label -> P(class 1) at [i, j] = (grid[j], grid[i]), shape (G, G).
    points : array, shape (N, 2)
    labels : array of 0 and 1, shape (N,) or (N, 1)
    boundaries : dict
        label -> (weight (units, 2), bias (units,)): the boundaries of the units, drawn as thin
        lines.
    """
    titles = base.finite_titles(probabilities)
    figure, panels = base.panels(titles, caption, "$x_1$", "$x_2$", size=(3.0, 3.0))
    window = (np.min(grid), np.max(grid)) * 2
    zero = {"color": "#D55E00", "linestyle": "", "marker": "o", "markerfacecolor": "none"}
    one = {"color": "#0072B2", "linestyle": "", "marker": "^"}
    rim, unit = {"color": "black", "linewidth": 1.8}, {"color": "0.45", "linewidth": 0.7}
    positive = np.ravel(labels) == 1
    for panel, (label, p) in zip(panels, probabilities.items(), strict=True):
        shown = np.ma.masked_invalid(p)
        panel.contourf(grid, grid, shown, levels=[-1, 0.5, 2], colors=["white", "#C6DBEF"])
        if shown.min() < 0.5 < shown.max():
            panel.contour(grid, grid, shown, levels=[0.5], colors="black", linewidths=1.8)
        for weight, bias in zip(*boundaries[label], strict=True):
            draw_boundary(panel, weight, bias, window, **unit)
        panel.plot(*points[~positive].T, markersize=3, **zero)
        panel.plot(*points[positive].T, markersize=3, **one)
        panel.set(xlim=window[:2], ylim=window[2:], aspect="equal")
    regions = {"class 0": zero, "class 1 (region shaded)": one, "decision boundary": rim}
    base.legend(figure, base.handles(regions | {"boundary of a unit": unit}))
    return figure
