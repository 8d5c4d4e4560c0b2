"""Where boundaries are, and how far they move."""

import matplotlib
import numpy as np

from geonet.plots.base import _for_log_axis, _handle, _legend, _note, _panels, _titled, styles


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
    with np.errstate(divide="ignore", invalid="ignore"):
        locations = -biases[..., None] * weights / (weights**2).sum(axis=-1, keepdims=True)
    limit = 1.25 * np.nan_to_num(np.abs(locations[:, 0]), posinf=0).max(initial=1.2)
    window = (-limit, limit, -limit, limit)
    titles = [f"ε = {epsilon:g}" for epsilon in epsilons]
    figure, panels = _panels(titles, caption, "$x_1$", "$x_2$", size=(3.0, 3.0))
    looks, before = styles(boundaries), {"color": "black", "linewidth": 3.5, "zorder": 1}
    for k, panel in enumerate(panels):
        panel.set(xlim=window[:2], ylim=window[2:], aspect="equal")
        panel.plot(0, 0, "+", color="black", markersize=8)
        missed = []
        for m, (method, look) in enumerate(looks.items()):
            _draw_boundary(panel, weights[m, 0], biases[m, 0], window, **before)
            line = {"color": look.color, "linestyle": look.linestyle, "linewidth": 1.8}
            if not _draw_boundary(panel, weights[m, k + 1], biases[m, k + 1], window, **line):
                missed.append(method)
                continue
            x, y = locations[m, k + 1]
            panel.plot([0, x], [0, y], ":", color=look.color, linewidth=1)
            edge = {"markeredgecolor": "black", "markersize": 12 - m}  # all visible if equal
            panel.plot(x, y, look.marker, color=look.color, **edge)
        if missed:
            panel.title.set_text(_titled(titles[k], "out of view: " + ", ".join(missed)))
    after = [_handle(method, **look._asdict()) for method, look in looks.items()]
    _legend(figure, [_handle("before", **before), *after])
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
        fan-in -> method -> bound in radians, shape (E,). Methods without a bound may be missing.
    """
    curves, titles = {}, []
    for fan_in, methods in measured.items():
        for method, angles in methods.items():
            curves[fan_in, method, "median"] = np.median(angles, axis=1)
            curves[fan_in, method, "maximum"] = np.max(angles, axis=1)
        for method, bound in bounds[fan_in].items():
            curves[fan_in, method, "bound"] = np.asarray(bound, dtype=float)
        lost = ~np.isfinite(list(methods.values()))
        titles.append(_titled(f"fan-in n = {fan_in}", _note("not finite", lost)))
    curves, caption = _for_log_axis(curves, caption)
    axis_labels = "perturbation ‖ε‖", "turning angle (rad)"
    figure, panels = _panels(titles, caption, *axis_labels, widest=3, size=(4.0, 4.0))
    panel_of = dict(zip(measured, panels, strict=True))
    looks = styles(list(dict.fromkeys(method for _, method, _ in curves)))
    quantities = {
        "median": {"linestyle": "-", "markersize": 4},
        "maximum": {"linestyle": ":", "markersize": 8, "markerfacecolor": "none"},
        "bound": {"linestyle": "--", "linewidth": 2, "marker": ""},
    }
    for (fan_in, method, quantity), values in curves.items():
        look = looks[method]._asdict() | quantities[quantity]
        panel_of[fan_in].loglog(norms, values, **look)
    handles = [_handle(k, **v._replace(linestyle="")._asdict()) for k, v in looks.items()]
    handles += [_handle(k, **{"color": "black", "marker": "o", **v}) for k, v in quantities.items()]
    _legend(figure, handles)
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
        titles.append(_titled(label, *notes))
    caption = f"{caption} Outside: units beyond ±10 at each stage."
    figure, panels = _panels(titles, caption, "boundary location x", "units, stages stacked")
    colors = matplotlib.colormaps["Blues"](np.linspace(0.05, 0.85, len(stages)))
    hatches = ("", "////", "", "....", "", "\\\\\\\\")
    for panel, x in zip(panels, locations.values(), strict=True):
        base = np.zeros(len(edges) - 1)
        for s, stage in enumerate(stages):
            top = base + np.histogram(x[s][np.isfinite(x[s])], edges)[0]
            look = {"facecolor": colors[s], "hatch": hatches[s % 6], "label": stage}
            rim = {"edgecolor": "black", "linewidth": 0.5}
            panel.stairs(top, edges, baseline=base, fill=True, **look, **rim)
            base = top
        panel.set_xlim(-10, 10)
    _legend(figure, panels[0].get_legend_handles_labels()[0])
    return figure


def step_changes(steps, changes, ylabel, caption):
    """A positive quantity at every training step, one panel per method, with the others in grey.

    Parameters
    ----------
    steps : dict
        label -> training steps, shape (T,). T may differ if training stopped early.
    changes : dict
        label -> shape (T,), or (3, T): the 10 % quantile, the median and the 90 % quantile.
    ylabel : str
        The quantity and its unit.
    """
    titles = [_titled(k, _note("not finite", ~np.isfinite(v))) for k, v in changes.items()]
    changes = {label: np.atleast_2d(values) for label, values in changes.items()}
    changes, caption = _for_log_axis(changes, caption)
    figure, panels = _panels(titles, caption, "training step", ylabel)
    middle = {label: values[len(values) // 2] for label, values in changes.items()}
    looks = styles(changes)
    for panel, (label, values) in zip(panels, changes.items(), strict=True):
        panel.set(xscale="log", yscale="log")  # before plotting, as all data may be NaN
        for other, median in middle.items():  # as pixels, because there are so many points
            panel.plot(steps[other], median, color="0.8", linewidth=0.7, rasterized=True)
        x, color = steps[label], looks[label].color
        if len(values) == 3:
            panel.fill_between(x, values[0], values[2], color=color, alpha=0.3)
        panel.plot(x, middle[label], color=color, linewidth=1.5, zorder=3)
    return figure


def trajectories(locations, caption, window=3.0):
    """The paths of the locations of 2-D units during training, one panel per method.

    Parameters
    ----------
    locations : dict
        label -> φ at each recorded step, shape (T, units, 2). Hollow marker: start; filled: end.
    window : float
        The view is |φ₁|, |φ₂| ≤ window. Units that end outside it are counted in the title.
    """
    titles = []
    for label, paths in locations.items():
        outside, lost = (np.abs(paths[-1]) > window).any(-1), np.isnan(paths[-1]).any(-1)
        notes = _note("end out of view", outside), _note("end without boundary", lost)
        titles.append(_titled(label, *notes))
    caption = f"{caption} View: |φ₁|, |φ₂| ≤ {window:g}. Hollow: start; filled: end."
    figure, panels = _panels(titles, caption, "$φ_1$", "$φ_2$", size=(3.0, 3.0))
    for panel, (label, paths) in zip(panels, locations.items(), strict=True):
        color, _, marker = styles(locations)[label]
        panel.plot(*np.moveaxis(paths, -1, 0), color=color, linewidth=0.9, rasterized=True)
        edge = {"linestyle": "", "marker": marker, "markeredgecolor": "black", "markersize": 5}
        panel.plot(*paths[0].T, markerfacecolor="white", **edge)
        panel.plot(*paths[-1].T, markerfacecolor="black", **edge)
        panel.set(xlim=(-window, window), ylim=(-window, window), aspect="equal")
    return figure


def decision_regions(grid_x, grid_y, probabilities, points, labels, caption, boundaries=None):
    """Where each method decides for class 1 (shaded) in the plane, one panel each.

    Parameters
    ----------
    grid_x, grid_y : array, shape (G,)
    probabilities : dict
        label -> P(class 1) at [i, j] = (grid_x[j], grid_y[i]), shape (G, G).
    points : array, shape (N, 2)
    labels : array of 0 and 1, shape (N,) or (N, 1)
    boundaries : dict, optional
        label -> (weight (units, 2), bias (units,)): the boundaries of the units, drawn as thin
        lines.
    """
    titles = [_titled(k, _note("not finite", ~np.isfinite(p))) for k, p in probabilities.items()]
    figure, panels = _panels(titles, caption, "$x_1$", "$x_2$", size=(3.0, 3.0))
    window = (np.min(grid_x), np.max(grid_x), np.min(grid_y), np.max(grid_y))
    zero = {"color": "#D55E00", "linestyle": "", "marker": "o", "markerfacecolor": "none"}
    one = {"color": "#0072B2", "linestyle": "", "marker": "^"}
    rim, unit = {"color": "black", "linewidth": 1.8}, {"color": "0.45", "linewidth": 0.7}
    positive = np.ravel(labels) == 1
    for panel, (label, p) in zip(panels, probabilities.items(), strict=True):
        shown = np.ma.masked_invalid(p)
        panel.contourf(grid_x, grid_y, shown, levels=[-1, 0.5, 2], colors=["white", "#C6DBEF"])
        if shown.min() < 0.5 < shown.max():
            panel.contour(grid_x, grid_y, shown, levels=[0.5], colors="black", linewidths=1.8)
        for weight, bias in zip(*(boundaries or {}).get(label, ((), ())), strict=True):
            _draw_boundary(panel, weight, bias, window, **unit)
        panel.plot(*points[~positive].T, markersize=3, **zero)
        panel.plot(*points[positive].T, markersize=3, **one)
        panel.set(xlim=window[:2], ylim=window[2:], aspect="equal")
    looks = {"class 0": zero, "class 1 (region shaded)": one, "decision boundary": rim}
    if boundaries:
        looks["boundary of a unit"] = unit
    _legend(figure, [_handle(label, **look) for label, look in looks.items()])
    return figure
