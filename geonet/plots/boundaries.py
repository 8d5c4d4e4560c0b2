"""Where boundaries are, and how far they move."""

from itertools import cycle

import matplotlib
import numpy as np

from geonet.characteristic import location
from geonet.plots import base


def _draw_boundary(panel, weight, bias, window, **line):
    """Draw w·x + b = 0, or return False if it misses the window (x low, x high, y low, y high)."""
    corners = np.array([(x, y) for x in window[:2] for y in window[2:]])
    heights = corners @ weight + bias
    if not (heights.min() <= 0 <= heights.max() and weight.any()):  # NaN misses too
        return False
    norm = np.hypot(*weight)
    x, y = weight / norm
    panel.axline((-bias / norm * x, -bias / norm * y), slope=-x / y if y else np.inf, **line)
    return True


def perturbation_boundaries(epsilons, boundaries, caption):
    """Where a perturbation of size ε moves the boundary of one unit in the plane.

    Parameters
    ----------
    epsilons : sequence of float, length E
        One panel each.
    boundaries : dict
        method -> (weight (1+E, 2), bias (1+E,)). Row 0 is before the perturbation (black), row
        k + 1 is after that by epsilons[k]. The marker is the location φ = −b w/‖w‖².
    """
    weights, biases = (np.array(part) for part in zip(*boundaries.values(), strict=True))
    locations = location(weights, biases)
    limit = 1.25 * np.nan_to_num(np.abs(locations[:, 0]), posinf=0).max(initial=1.2)
    window = (-limit, limit, -limit, limit)
    titles = [f"ε = {epsilon:g}" for epsilon in epsilons]
    figure, panels = base.panels(titles, caption, "$x_1$", "$x_2$", size=(3.0, 3.0))
    looks, before = base.styles(boundaries), {"color": "black", "linewidth": 3.5, "zorder": 1}
    for k, panel in enumerate(panels):
        panel.set(xlim=window[:2], ylim=window[2:], aspect="equal")
        panel.plot(0, 0, "+", color="black", markersize=8)
        missed = []
        for m, (method, look) in enumerate(looks.items()):
            _draw_boundary(panel, weights[m, 0], biases[m, 0], window, **before)
            line = look | base.LINE | {"linewidth": 1.8}
            if not _draw_boundary(panel, weights[m, k + 1], biases[m, k + 1], window, **line):
                missed.append(method)
                continue
            x, y = locations[m, k + 1]
            panel.plot([0, x], [0, y], ":", color=look["color"], linewidth=1)
            edge = {"markeredgecolor": "black", "markersize": 12 - m}  # all visible if equal
            panel.plot(x, y, **look | base.MARKER | edge)
        if missed:
            panel.title.set_text(base.titled(titles[k], "out of view: " + ", ".join(missed)))
    base.legend(figure, base.handles({"before": before} | looks))
    return figure


def turning_angles(norms, measured, bounds, caption):
    """How far perturbations of norm ‖ε‖ turn the direction of a unit, and the bound on it.

    Here, line styles distinguish the quantities (median, maximum, bound), and markers the methods.

    Parameters
    ----------
    norms : array of ‖ε‖, shape (E,)
    measured : dict
        fan-in -> method -> angles in radians, shape (E, trials).
    bounds : dict
        fan-in -> method -> bound in radians, shape (E,).
    """
    curves, titles = {}, []
    for fan_in, methods in measured.items():
        for method, angles in methods.items():
            found = np.median(angles, axis=1), np.max(angles, axis=1), bounds[fan_in][method]
            curves[fan_in, method] = np.stack(found)
        lost = ~np.isfinite(list(methods.values()))
        titles.append(base.titled(f"fan-in n = {fan_in}", base.note("not finite", lost)))
    curves, caption = base.for_log_axis(curves, caption)
    axis_labels = "perturbation ‖ε‖", "turning angle (rad)"
    figure, panels = base.panels(titles, caption, *axis_labels, widest=3, size=(4.0, 4.0))
    panel_of = dict(zip(measured, panels, strict=True))
    looks = base.styles(method for _, method in curves)
    quantities = {
        "median": {"linestyle": "-", "markersize": 4},
        "maximum": {"linestyle": ":", "markersize": 8, "markerfacecolor": "none"},
        "bound": {"linestyle": "--", "linewidth": 2, "marker": ""},
    }
    for (fan_in, method), found in curves.items():
        for values, quantity in zip(found, quantities.values(), strict=True):
            panel_of[fan_in].loglog(norms, values, **looks[method] | quantity)
    methods = {method: look | base.MARKER for method, look in looks.items()}
    kinds = {name: {"color": "black", "marker": "o"} | look for name, look in quantities.items()}
    base.legend(figure, base.handles(methods | kinds))
    return figure


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


def step_changes(steps, changes, ylabel, caption):
    """A positive quantity at every training step, one panel per method, with the others in grey.

    Parameters
    ----------
    steps : dict
        label -> training steps, shape (T,). T may differ if training stopped early.
    changes : dict
        label -> the 10 % quantile, the median and the 90 % quantile, shape (3, T).
    ylabel : str
        The quantity and its unit.
    """
    titles = base.finite_titles(changes)
    changes, caption = base.for_log_axis(changes, caption)
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
            _draw_boundary(panel, weight, bias, window, **unit)
        panel.plot(*points[~positive].T, markersize=3, **zero)
        panel.plot(*points[positive].T, markersize=3, **one)
        panel.set(xlim=window[:2], ylim=window[2:], aspect="equal")
    regions = {"class 0": zero, "class 1 (region shaded)": one, "decision boundary": rim}
    base.legend(figure, base.handles(regions | {"boundary of a unit": unit}))
    return figure
