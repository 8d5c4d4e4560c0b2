"""The figures of the experiments: plain arrays in, a Matplotlib Figure out, and `save`.

Every method has a colour (of Okabe and Ito's, safe for colour-blind readers), a line style and a
marker, so that a figure reads in black and white too. Legends stand outside the panels, a caption
below them (the argument `caption`: what is shown, over how many seeds), and what a panel cannot
show (out of view, not finite) is named in its title.
"""

import html
import math
import os
import tempfile
import textwrap
from pathlib import Path
from typing import NamedTuple

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D


class Style(NamedTuple):
    """How a method looks in every figure."""

    color: str
    linestyle: object
    marker: str


METHOD_STYLES = {
    "SP": Style("#D55E00", (0, (5, 1.5)), "s"),
    "WN": Style("#E69F00", (0, (5, 1.5, 1, 1.5)), "^"),
    "BN": Style("#56B4E9", (0, (1, 1)), "v"),
    "LN": Style("#CC79A7", (0, (10, 2)), "D"),
    "WN+MBN": Style("#7F7F7F", (0, (5, 1, 1, 1, 1, 1)), "P"),
    "GmP": Style("#0072B2", "-", "o"),
    "GmP+IMN": Style("#009E73", (0, (3, 3)), "X"),
}
OTHER_STYLES = (
    Style("#000000", (0, (1, 3)), "*"),
    Style("#8B4513", (0, (8, 1, 2, 1)), "p"),
    Style("#4B0082", (0, (2, 1)), "h"),
)


def styles(labels):
    """The style of each label: a method's own; for other labels the spare ones in turn."""
    others = [label for label in labels if label not in METHOD_STYLES]
    spare = {label: OTHER_STYLES[i % len(OTHER_STYLES)] for i, label in enumerate(others)}
    return {label: METHOD_STYLES.get(label) or spare[label] for label in labels}


def save(figure, folder, name, title, description):
    """Write folder/name.png (150 dpi) and folder/name.svg, whole or not at all.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
    folder : str or Path
        Made if missing.
    name : str
        File name without its ending.
    title, description : str
        What a screen reader says in place of the SVG: a few words, and a few sentences.

    Returns
    -------
    png, svg : Path
        The same figure gives the same SVG, byte for byte.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".") as scratch:
        png, svg = Path(scratch, f"{name}.png"), Path(scratch, f"{name}.svg")
        figure.draw_without_rendering()  # lays out the panels, once for both files
        figure.set_layout_engine("none")
        with matplotlib.rc_context({"svg.hashsalt": "geonet"}):
            figure.savefig(png, dpi=150)
            figure.savefig(svg, metadata={"Date": None})
        before, _, rest = svg.read_text(encoding="utf-8").partition("<svg ")
        attributes, _, body = rest.partition(">")
        tag = f'<svg role="img" aria-labelledby="{name}-title {name}-desc" {attributes}>'
        first = f'<title id="{name}-title">{html.escape(title)}</title>'
        second = f'<desc id="{name}-desc">{html.escape(description)}</desc>'
        svg.write_text(f"{before}{tag}\n{first}\n{second}{body}", encoding="utf-8")
        for path in (png, svg):
            os.replace(path, folder / path.name)
    return folder / png.name, folder / svg.name


def _panels(titles, caption, xlabel, ylabel, widest=4, size=(3.0, 2.7)):
    """A figure with one panel a title, axes shared, labelled at its rim, and a caption below."""
    rows = math.ceil(len(titles) / widest)
    columns = math.ceil(len(titles) / rows)
    width = max(columns * size[0], 6.0)
    figure = Figure(figsize=(width, rows * size[1] + 1.0), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.06, h_pad=0.08)  # inches
    axes = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
    for i, (panel, title) in enumerate(zip(axes, titles, strict=False)):
        panel.set_title(title, fontsize=10)
        panel.grid(color="0.9", linewidth=0.6)
        panel.set_axisbelow(True)
        if i % columns == 0:
            panel.set_ylabel(ylabel)
        if i + columns >= len(titles):  # nothing below it
            panel.set_xlabel(xlabel)
            panel.tick_params(labelbottom=True)
    for unused in axes[len(titles) :]:
        unused.set_axis_off()
    figure.supxlabel(textwrap.fill(caption, int(width * 13)), x=0.01, ha="left", fontsize=9)
    return figure, axes[: len(titles)]


def _legend(figure, handles):
    """A legend above the panels, in as few rows as fit the width of the figure."""
    inches = sum(0.65 + 0.075 * len(handle.get_label()) for handle in handles)
    columns = math.ceil(len(handles) / math.ceil(inches / figure.get_figwidth()))
    look = {"frameon": False, "fontsize": 9, "handlelength": 2.7, "columnspacing": 1.5}
    figure.legend(handles=handles, loc="outside upper center", ncols=columns, **look)


def _handle(label, **look):
    return Line2D([], [], label=label, **look)


def _titled(label, *notes):
    """A panel title: the label, and below it whatever the panel cannot show."""
    lines = [line for note in notes if note for line in textwrap.wrap(note, 38)]
    return "\n".join([str(label), *lines])


def _note(words, flagged):
    """How many are flagged, or nothing if none is."""
    count = np.count_nonzero(flagged)
    return f"{words}: {count} of {np.size(flagged)}" if count else ""


def _for_log_axis(values, caption):
    """Zeros raised to a floor, a decade below the smallest positive value; the caption says so."""
    finite = {key: np.where(np.isfinite(v), v, np.nan) for key, v in values.items()}
    everything = np.concatenate([v.ravel() for v in finite.values()])
    floor = 0.1 * np.min(everything[everything > 0], initial=1.0)
    if (everything <= 0).any():
        caption = f"{caption} Values of 0 are drawn at {floor:.0e}."
    return {key: np.maximum(v, floor) for key, v in finite.items()}, caption


def _draw_boundary(panel, weight, bias, window, **line):
    """Draw w·x + b = 0; False if it misses the window (x low, x high, y low, y high)."""
    corners = np.array([(x, y) for x in window[:2] for y in window[2:]])
    heights = corners @ weight + bias
    if not (heights.min() <= 0 <= heights.max() and weight.any()):  # NaN is a miss too
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
        method -> (weight (1+E, 2), bias (1+E,)); row 0 before the perturbation (black), row k + 1
        after that of epsilons[k]. The marker is the location φ = −b w/‖w‖².
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
            edge = {"markeredgecolor": "black", "markersize": 12 - m}  # all seen where they meet
            panel.plot(x, y, look.marker, color=look.color, **edge)
        if missed:
            panel.title.set_text(_titled(titles[k], "out of view: " + ", ".join(missed)))
    after = [_handle(method, **look._asdict()) for method, look in looks.items()]
    _legend(figure, [_handle("before", **before), *after])
    return figure


def turning_angles(norms, measured, bounds, caption):
    """How far perturbations of norm ‖ε‖ turn the direction of a unit, and the bound on it.

    Here the line style tells the quantity (median, maximum, bound), the marker the method.

    Parameters
    ----------
    norms : array of ‖ε‖, shape (E,)
    measured : dict
        fan-in -> method -> angles in radians, shape (E, trials).
    bounds : dict
        fan-in -> method -> bound in radians, shape (E,); methods without a bound may be missing.
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


def function_fits(test_x, test_y, train_x, train_y, predictions, caption):
    """What each method made of a 1-D regression problem, one panel each.

    Parameters
    ----------
    test_x, test_y : array, shape (T,) or (T, 1)
        The true function.
    train_x, train_y : array, shape (N,) or (N, 1)
    predictions : dict
        label -> prediction at test_x, shape (T,) or (T, 1).
    """
    test_x, test_y, train_x, train_y = map(np.ravel, (test_x, test_y, train_x, train_y))
    low, high = np.min([*test_y, *train_y]), np.max([*test_y, *train_y])
    low, high = low - 0.1 * (high - low), high + 0.1 * (high - low)
    titles = []
    for label, y in predictions.items():
        notes = _note("out of view", (y < low) | (y > high)), _note("not finite", ~np.isfinite(y))
        titles.append(_titled(label, *notes))
    figure, panels = _panels(titles, caption, "x", "y")
    looks, truth = styles(predictions), {"color": "0.75", "linewidth": 4}
    data = {"color": "black", "linestyle": "", "marker": "o", "markersize": 3}
    for panel, (label, y) in zip(panels, predictions.items(), strict=True):
        panel.plot(test_x, test_y, **truth)
        panel.plot(train_x, train_y, **data)
        panel.plot(test_x, np.ravel(y), color=looks[label].color, linewidth=1.8)
        panel.set_ylim(low, high)
    handles = [_handle("true function", **truth), _handle("training points", **data)]
    _legend(figure, [*handles, _handle("prediction", color=METHOD_STYLES["GmP"].color)])
    return figure


def boundary_evolution(stages, locations, caption):
    """Where the boundaries of a 1-D layer lie at several stages of training, as stacked bars.

    Parameters
    ----------
    stages : sequence of str, length S
        Training steps.
    locations : dict
        label -> boundary locations, shape (S, units); NaN for a unit without a boundary. Those
        outside [−10, 10] are counted in the title, a number a stage.
    """
    edges = np.linspace(-10, 10, 41)
    titles = []
    for label, x in locations.items():
        notes = []
        for words, flagged in (("outside", np.abs(x) > 10), ("no boundary", np.isnan(x))):
            if flagged.any():
                notes.append(f"{words}: " + ", ".join(map(str, flagged.sum(axis=1))))
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
    """A positive quantity at every training step, one panel a method, the others grey behind it.

    Parameters
    ----------
    steps : dict
        label -> training steps, shape (T,); T may differ where training stopped early.
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
        panel.set(xscale="log", yscale="log")  # before there are data, which may all be NaN
        for other, median in middle.items():  # as pixels: nobody looks closely at so many points
            panel.plot(steps[other], median, color="0.8", linewidth=0.7, rasterized=True)
        x, color = steps[label], looks[label].color
        if len(values) == 3:
            panel.fill_between(x, values[0], values[2], color=color, alpha=0.3)
        panel.plot(x, middle[label], color=color, linewidth=1.5, zorder=3)
    return figure


def trajectories(locations, caption, window=3.0):
    """The paths that the locations of 2-D units take while training, one panel a method.

    Parameters
    ----------
    locations : dict
        label -> φ at each recorded step, shape (T, units, 2). Hollow marker: start; filled: end.
    window : float
        The view is |φ₁|, |φ₂| ≤ window; units that end outside it are counted in the title.
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
        label -> (weight (units, 2), bias (units,)): the boundaries of the units, as thin lines.
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
