"""Figures of the report on claims: effects with intervals, and how boundaries behave."""

import textwrap

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from geonet.plots.base import _handle, _legend, styles

FARTHEST = 4.0  # effects beyond this or its inverse are drawn at the edge, with their number


def effects(claims, caption):
    """A forest plot: ratios with their intervals, one line per comparison, grouped by claim.

    Parameters
    ----------
    claims : dict
        title of a claim -> (verdict, list of (method or rival, value, low, high)). Values above 1
        are on the predicted side, and missing ones are NaN.
    caption : str

    Returns
    -------
    matplotlib.figure.Figure
    """
    lines = sum(len(rows) for _, rows in claims.values())
    height = 0.155 * (lines + len(claims)) + 1.6
    figure = Figure(figsize=(9.0, height), layout="constrained")
    panel = figure.subplots()
    looks = styles([rival for _, rows in claims.values() for rival, *_ in rows])
    panel.axvspan(1, FARTHEST * 1.3, color="#009E73", alpha=0.08, linewidth=0)
    panel.axvline(1, color="0.3", linewidth=0.8)
    ticks, labels, y = [], [], 0.0
    for label, (verdict, rows) in claims.items():
        ticks.append(y + (len(rows) - 1) / 2)
        labels.append(textwrap.fill(f"{label}: {verdict}", 44))
        for rival, *numbers in rows:
            _effect(panel, y, looks[rival], *numbers)
            y += 1
        panel.axhline(y, color="0.9", linewidth=0.6)
        y += 1
    panel.set_yticks(ticks, labels, fontsize=8)
    panel.set_ylim(y - 0.5, -1)
    panel.set_xscale("log")
    panel.set_xlim(1 / FARTHEST / 1.3, FARTHEST * 1.3)
    shown = [0.25, 0.5, 0.8, 1, 1.25, 2, 4]
    panel.set_xticks(shown, [f"{x:g}" for x in shown], minor=False)
    panel.set_xticks([], minor=True)
    panel.set_xlabel("effect: how many times better than the rival; shaded: as the paper predicts")
    figure.supxlabel(textwrap.fill(caption, 117), x=0.01, ha="left", fontsize=9)
    _legend(
        figure,
        [
            _handle(method, color=look.color, marker=look.marker, linestyle="")
            for method, look in looks.items()
        ],
    )
    return figure


def _effect(panel, y, look, value, low, high):
    """One line. An effect out of view is drawn as a triangle at the edge, with its number."""
    if np.isnan(value):
        panel.text(1, y, "no number", ha="center", va="center", fontsize=7, color="0.3")
        return
    if not 1 / FARTHEST <= value <= FARTHEST:
        right = value > 1
        place = FARTHEST * 1.15 if right else 1 / FARTHEST / 1.15
        panel.plot([place], [y], marker=">" if right else "<", color=look.color, markersize=5)
        style = {"fontsize": 7, "va": "center", "ha": "right" if right else "left"}
        panel.text(place / 1.06 if right else place * 1.06, y, f"{value:.3g}", **style)
        return
    if not np.isnan(low):
        ends = np.clip([low, high], 1 / FARTHEST / 1.3, FARTHEST * 1.3)
        panel.plot(ends, [y, y], color=look.color, linewidth=1.6)
    panel.plot([value], [y], marker=look.marker, color=look.color, markersize=5)


def boundary_statistics(quantities, caption):
    """How the boundaries of each method behave, one panel per quantity, one row per method.

    Parameters
    ----------
    quantities : dict
        title of the panel -> dict of method -> numbers, NaN for a method without boundaries.
        Three ascending numbers are drawn on a log axis, with the middle one marked. Two are the
        start and end of a share from 0 to 1.
    caption : str
    """
    methods = list(next(iter(quantities.values())))
    looks = styles(methods)
    rows = -(-len(quantities) // 2)
    figure = Figure(figsize=(9.0, 2.3 * rows + 0.8), layout="constrained")
    axes = figure.subplots(rows, 2, sharey=True, squeeze=False).ravel()
    for panel, (title, values) in zip(axes, quantities.items(), strict=False):
        panel.set_title(title, fontsize=10)
        panel.grid(color="0.9", linewidth=0.6, axis="x")
        if len(values[methods[0]]) == 3:
            panel.set_xscale("log")
            panel.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            panel.xaxis.set_major_formatter("{x:g}")
            panel.xaxis.set_minor_locator(NullLocator())
            panel.tick_params(axis="x", labelsize=8, labelrotation=30)
        else:
            panel.set_xlim(-0.03, 1.03)
        for y, method in enumerate(methods):
            _row(panel, y, looks[method], np.asarray(values[method]))
    axes[0].set_yticks(range(len(methods)), methods)
    axes[0].set_ylim(len(methods) - 0.5, -0.5)
    for unused in axes[len(quantities) :]:
        unused.set_axis_off()
    figure.supxlabel(textwrap.fill(caption, 117), x=0.01, ha="left", fontsize=9)
    return figure


def _row(panel, y, look, numbers):
    """A line from the first number to the last. A start is marked by a hollow marker."""
    if np.isnan(numbers).any():
        place = {"transform": panel.get_yaxis_transform(), "ha": "center", "va": "center"}
        panel.text(0.5, y, "has no hyperplane", fontsize=8, color="0.3", **place)
        return
    drawn = {"color": look.color, "marker": look.marker, "markersize": 6}
    panel.plot(numbers[[0, -1]], [y, y], color=look.color, linewidth=1.6)
    if len(numbers) == 2:
        panel.plot(numbers[:1], [y], markerfacecolor="white", **drawn)
    panel.plot(numbers[[1]], [y], **drawn)
