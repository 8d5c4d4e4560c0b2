"""Figures that only the reproduction draws: of noise, and of methods compared over many runs."""

import textwrap

import numpy as np

from geonet.characteristic import location
from geonet.plots import base
from geonet.plots.boundaries import draw_boundary

OUTCOME_LOOKS = (("#009E73", ""), ("#F0E442", "//"), ("#BBBBBB", ".."), ("#000000", ""))
LAYER_LINES = ("-", (0, (4, 1.5)), (0, (1, 1)), (0, (6, 1, 1, 1)), (0, (10, 2)))  # repeating
FARTHEST = 4.0  # effects beyond this or its inverse are drawn at the edge, with their number


@base.default_style
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
            draw_boundary(panel, weights[m, 0], biases[m, 0], window, **before)
            line = look | base.LINE | {"linewidth": 1.8}
            if not draw_boundary(panel, weights[m, k + 1], biases[m, k + 1], window, **line):
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


@base.default_style
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


@base.default_style
def lr_maps(lrs, names, values, threshold, quantity, caption):
    """A quantity from 0 to 1 over learning rates and names, one panel per method.

    Parameters
    ----------
    lrs : sequence of float
        Learning rates (R,).
    names : sequence of str
        (I,), such as initializers.
    values : dict
        label -> (I, R). Negative values are drawn as 0, and NaN as a cross.
    threshold : float
        Cells of at least this value are marked by a dot.
    quantity, caption : str
    """
    size = (1.2 + 0.15 * len(lrs), max(0.9 + 0.19 * len(names), 2.0))
    figure, axes = base.panels(list(values), caption, "learning rate", "", size=size)
    ticks = [i for i, lr in enumerate(lrs) if np.isclose(np.log10(lr) % 1, [0, 1]).any()]
    labels = [f"{lrs[i]:g}" for i in ticks]
    for panel, cells in zip(axes, values.values(), strict=True):
        panel.grid(visible=False)
        shown = np.ma.masked_invalid(np.clip(cells, 0, 1))
        mesh = panel.pcolormesh(shown, cmap="viridis", vmin=0, vmax=1)
        for chosen, look in ((cells >= threshold, ".k"), (np.isnan(cells), "xr")):
            rows, columns = np.nonzero(chosen)
            panel.plot(columns + 0.5, rows + 0.5, look, markersize=3.5)
        panel.set_xticks(np.add(ticks, 0.5), labels, rotation=45, fontsize=8)
        panel.set_yticks(np.arange(len(names)) + 0.5, names, fontsize=8)
    axes[0].invert_yaxis()
    figure.colorbar(mesh, ax=axes, label=quantity, aspect=40)
    return figure


@base.default_style
def stacked_shares(shares, xlabel, caption):
    """The shares that make up a whole, one panel per set, one bar per method.

    Parameters
    ----------
    shares : dict
        title of the panel -> dict of label -> dict of name -> share, with the same names in all.
    xlabel, caption : str
    """
    labels = list(next(iter(shares.values())))
    size = (3.2, 0.8 + 0.24 * len(labels))
    figure, axes = base.panels(list(shares), caption, xlabel, "", widest=2, size=size)
    for panel, bars in zip(axes, shares.values(), strict=True):
        left = np.zeros(len(labels))
        for name, (color, hatch) in zip(bars[labels[0]], OUTCOME_LOOKS, strict=True):
            width = np.array([bars[label][name] for label in labels])
            rim = {"edgecolor": "black", "linewidth": 0.4}
            panel.barh(labels, width, left=left, color=color, hatch=hatch, label=name, **rim)
            left += width
    axes[0].set_xlim(0, 1)
    axes[0].invert_yaxis()
    base.legend(figure, axes[0].get_legend_handles_labels()[0])
    return figure


@base.default_style
def ratios(intervals, xlabel, caption):
    """Methods compared with another one: ratios and their intervals, one panel per data set.

    Parameters
    ----------
    intervals : dict
        title of the panel -> dict of label -> (ratio, low, high), all positive. NaN is not drawn.
    xlabel, caption : str
    """
    looks = base.styles(dict.fromkeys(label for found in intervals.values() for label in found))
    labels, size = list(looks), (3.4, 0.7 + 0.28 * len(looks))
    figure, axes = base.panels(list(intervals), caption, xlabel, "", 3, size, sharex=False)
    for panel, found in zip(axes, intervals.values(), strict=True):
        panel.axvline(1, color="0.4", linewidth=1)
        for label, (ratio, *ends) in found.items():
            place, look = labels.index(label), looks[label]
            panel.plot(ends, [place, place], color=look["color"])
            panel.plot(ratio, place, **look | base.MARKER)
        low, high = panel.get_xlim()
        if high > 4 * low:  # 1/2 is as far from 1 as 2 is; a narrower axis would lack ticks
            panel.set_xscale("log")
            low, high = panel.get_xlim()
            subs = (1, 2, 5) if high < 200 * low else (1,)
            panel.xaxis.get_major_locator().set_params(subs=subs)
            panel.xaxis.set_major_formatter("{x:g}")
            panel.minorticks_off()
    panel.set_yticks(range(len(labels)), labels)  # for all panels, which share the axis
    panel.set_ylim(len(labels) - 0.5, -0.5)
    return figure


@base.default_style
def effects(claims, titles, caption):
    """A forest plot: ratios with their intervals, one line per comparison, grouped by claim.

    Parameters
    ----------
    claims : dict
        title of a claim -> one entry per panel: (verdict, what is compared -> list of (label,
        value, low, high)). Values above 1 are on the predicted side, and missing ones are NaN.
    titles : list of str
        Of the panels.
    caption : str

    Returns
    -------
    matplotlib.figure.Figure
    """
    groups = [rows for panels in claims.values() for _, found in panels for rows in found.values()]
    looks = base.styles(dict.fromkeys(label for rows in groups for label, *_ in rows))
    heights = {
        title: max(sum(1 + len(rows) for rows in found.values()) for _, found in panels)
        for title, panels in claims.items()
    }
    size = 5.2, 0.155 * sum(height + 1.6 for height in heights.values()) + 0.6
    xlabel = "times better; shaded: as the paper predicts"
    figure, axes = base.panels(titles, caption, xlabel, "", size=size)
    for k, panel in enumerate(axes):
        y = _effects_panel(panel, {label: panels[k] for label, panels in claims.items()}, heights,
                           looks)  # fmt: skip
    axes[0].set_ylim(y - 0.5, -1)  # of all panels, which share the axis
    base.legend(figure, base.handles({label: k | base.MARKER for label, k in looks.items()}))
    return figure


def _effects_panel(panel, claims, heights, looks):
    """Draw one panel, title -> (verdict, groups), and return where its lines end."""
    panel.grid(visible=False)
    panel.axvspan(1, FARTHEST * 1.3, color="#009E73", alpha=0.08, linewidth=0)
    panel.axvline(1, color="0.3", linewidth=0.8)
    y, ticks = 0.0, []
    place = {"transform": panel.get_yaxis_transform(), "va": "center"}
    for title, (verdict, groups) in claims.items():
        panel.text(0.01, y - 0.2, verdict, fontsize=7.5, weight="bold", color="0.3", **place)
        ticks.append(y + heights[title] / 2)
        line = y
        for group, rows in groups.items():
            line += 1
            panel.text(0.01, line, group, fontsize=6.5, color="0.4", **place)
            for name, *numbers in rows:
                line += 1
                _effect(panel, line, looks[name], *numbers)
        y += heights[title] + 1.6
        panel.axhline(y - 0.9, color="0.9", linewidth=0.6)
    panel.set_yticks(ticks, [textwrap.fill(label, 24) for label in claims], fontsize=8)
    panel.set(xscale="log", xlim=(1 / FARTHEST / 1.3, FARTHEST * 1.3))
    shown = [0.25, 0.5, 0.8, 1, 1.25, 2, 4]
    panel.set_xticks(shown, [f"{x:g}" for x in shown])
    panel.set_xticks([], minor=True)
    return y


def _effect(panel, y, look, value, low, high):
    """One line. An effect out of view is drawn as a triangle at the edge, with its number."""
    if np.isnan(value):
        panel.text(1, y, "no number", ha="center", va="center", fontsize=7, color="0.3")
        return
    look = look | base.MARKER | {"markersize": 5}
    if not 1 / FARTHEST <= value <= FARTHEST:
        side, marker, aligned = (1, ">", "right") if value > 1 else (-1, "<", "left")
        panel.plot((FARTHEST * 1.15) ** side, y, **look | {"marker": marker})
        place = (FARTHEST * 1.15 / 1.06) ** side
        panel.text(place, y, f"{value:.3g}", fontsize=7, va="center", ha=aligned)
        return
    if not np.isnan(low):
        ends = np.clip([low, high], 1 / FARTHEST / 1.3, FARTHEST * 1.3)
        panel.plot(ends, [y, y], color=look["color"], linewidth=1.6)
    panel.plot(value, y, **look)


@base.default_style
def gradient_shares(steps, shares, layers, caption):
    """The radial share of gradients over training, one panel per method.

    Below the mean over layers, a panel is shaded in the method's colour; above it, which stands for
    the angular share, in grey.

    Parameters
    ----------
    steps : dict
        label -> training steps, shape (T,), from 0.
    shares : dict
        label -> radial share of each layer's squared gradient, shape (T, layers), in [0, 1].
    layers : list of str
    caption : str
    """
    ylabel = "share of the squared gradient"
    figure = layer_curves(steps, shares, layers, ylabel, caption, top=1.0)
    looks = base.styles(shares)
    for panel, (label, values) in zip(figure.axes, shares.items(), strict=False):
        x, middle, color = steps[label] + 1, values.mean(axis=1), looks[label]["color"]
        panel.fill_between(x, 0, middle, color=color, alpha=0.25, linewidth=0)
        panel.fill_between(x, middle, 1, color="0.93", linewidth=0, zorder=0)
    return figure


@base.default_style
def layer_curves(steps, values, layers, ylabel, caption, top=None):
    """A quantity of each layer over training, one panel per method.

    Parameters
    ----------
    steps, layers, caption
        As for `gradient_shares`.
    values : dict
        label -> shape (T, layers).
    ylabel : str
        The quantity and its unit.
    top : float, optional
        Upper end of a linear axis that starts at 0. Without it, the axis is logarithmic.
    """
    titles, scale = base.finite_titles(values), {"yscale": "log"}
    if top is None:
        values, caption = base.for_log_axis(values, caption)
    else:
        scale = {"ylim": (-0.03 * top, 1.03 * top)}
    figure, panels = base.panels(titles, caption, "training step", ylabel)
    looks = base.styles(values)
    lines = [LAYER_LINES[i % len(LAYER_LINES)] for i in range(len(layers))]
    for panel, (label, curves) in zip(panels, values.items(), strict=True):
        panel.set(xscale="log", **scale)
        for line, curve in zip(lines, curves.T, strict=True):
            look = {"color": looks[label]["color"], "linestyle": line, "linewidth": 1.5}
            panel.plot(steps[label] + 1, curve, **look)
    black = {k: {"color": "black", "linestyle": line} for k, line in zip(layers, lines)}
    base.legend(figure, base.handles(black))
    return figure


STEP_COLORS = base.ORANGE, base.PURPLE, base.BLUE, base.GREEN, "0.35"


@base.default_style
def waterfalls(rows, columns, steps, caption):
    """Steps that lead from one value to another: one row of panels per set, one bar per step.

    A bar is hollow if the interval of its step contains 0.

    Parameters
    ----------
    rows : list of (str, list of (str, str, list))
        Title of the row, and for each column a label of the start, one of the end, and the bars
        from top to bottom: a key of `steps`, the value before the step and after it, and the ends
        of the latter's interval. Without bars, a panel shows the label of the start alone.
    columns : list of str
        Their titles.
    steps : dict
        key -> what it is called in the legend, for at most five. The last one is the whole.
    caption : str
    """
    colors = dict(zip(steps, STEP_COLORS, strict=True))
    most = max(len(bars) for _, panels in rows for *_, bars in panels)
    titles = [*columns, *[""] * len(columns) * (len(rows) - 1)]
    size = (10 / len(columns), 0.145 * (most + 2) + 0.25)
    figure, axes = base.panels(titles, caption, "← better", "", len(columns), size, sharex=False)
    figure.get_layout_engine().set(h_pad=0.01)
    axes[0].set(ylim=(most + 0.7, -1.7), yticks=[])  # of all, which share the axis
    for (title, panels), row in zip(rows, axes.reshape(len(rows), -1), strict=True):
        row[0].set_ylabel(title, rotation=0, ha="right", va="center")
        limits = _range_of_bars(panels)
        for panel, (start, end, bars) in zip(row, panels, strict=True):
            panel.set_xlim(limits)
            panel.tick_params(labelsize=8)
            panel.spines[["left", "right", "top"]].set_visible(False)
            _fall(panel, start, end, bars, (most - len(bars)) / 2, colors)
    looks = {steps[key]: {"color": color, "linewidth": 7} for key, color in colors.items()}
    base.legend(figure, base.handles(looks))
    return figure


def _range_of_bars(panels):
    """Limits of an axis: all bars, and of intervals at most as much again on either side."""
    numbers = np.array([bar[1:] for *_, bars in panels for bar in bars]).reshape(-1, 4)
    if not len(numbers):
        return 0, 1
    low, high = numbers[:, :2].min(), numbers[:, :2].max()
    span = max(high - low, 0.05 * abs(high), 1e-12)
    low, high = max(np.nanmin(numbers), low - span), min(np.nanmax(numbers), high + span)
    return low - 0.1 * span, high + 0.1 * span


def _fall(panel, start, end, bars, first, colors):
    """The bars of a panel from a place on, between the labels of the start and of the end."""
    text = {"fontsize": 7.5, "ha": "center", "va": "center"}
    if not bars:
        panel.text(0.5, 0.5, start, transform=panel.transAxes, **text)
        return
    (_, before, after, _, _), last = bars[-1], first + len(bars) - 1
    panel.plot([before, before], [first - 0.5, last + 0.5], ":", color="0.4", zorder=0)
    panel.text(before, first - 1, start, **text)
    panel.text(after, last + 1, end, **text)
    for place, (key, before, after, low, high) in enumerate(bars, start=1):
        y = first + place - 1
        hollow = low <= before <= high or np.isnan(low)
        look = {"facecolor": "white" if hollow else colors[key], "edgecolor": colors[key]}
        panel.barh(y, after - before, left=before, height=0.66, linewidth=1.3, **look)
        rim = 0 if hollow else 2.6  # tells the interval from the bar's colour
        panel.plot([low, high], [y, y], color="white", linewidth=rim)
        panel.plot([low, high], [y, y], color="black", linewidth=1)
        if place < len(bars) - 1:  # to the next step
            panel.plot([after, after], [y, y + 1], color="0.5", linewidth=0.8, zorder=0)
