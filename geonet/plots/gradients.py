"""Quantities of layers over training, as an inspector records them."""

import numpy as np

from geonet.plots.base import _for_log_axis, _handle, _legend, _note, _panels, _titled, styles

LINES = ("-", (0, (4, 1.5)), (0, (1, 1)), (0, (6, 1, 1, 1)), (0, (10, 2)))  # by layer, repeating


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
    figure, panels = _by_layer(steps, shares, layers, ylabel, caption, top=1.0)
    for panel, (label, values) in zip(panels, shares.items(), strict=True):
        middle, color = values.mean(axis=1), styles(shares)[label].color
        panel.fill_between(steps[label] + 1, 0, middle, color=color, alpha=0.25, linewidth=0)
        panel.fill_between(steps[label] + 1, middle, 1, color="0.93", linewidth=0, zorder=0)
    return figure


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
    return _by_layer(steps, values, layers, ylabel, caption, top)[0]


def _by_layer(steps, values, layers, ylabel, caption, top):
    titles = [_titled(k, _note("not finite", ~np.isfinite(v))) for k, v in values.items()]
    if top is None:
        values, caption = _for_log_axis(values, caption)
    figure, panels = _panels(titles, caption, "training step", ylabel)
    looks = styles(values)
    for panel, (label, curves) in zip(panels, values.items(), strict=True):
        panel.set(
            xscale="log",
            **({"yscale": "log"} if top is None else {"ylim": (-0.03 * top, 1.03 * top)}),
        )
        for i, curve in enumerate(curves.T):
            line = {"color": looks[label].color, "linestyle": LINES[i % len(LINES)]}
            panel.plot(steps[label] + 1, curve, linewidth=1.5, **line)
    handles = (LINES[i % len(LINES)] for i in range(len(layers)))
    _legend(figure, [_handle(k, color="black", linestyle=s) for k, s in zip(layers, handles)])
    return figure, panels
