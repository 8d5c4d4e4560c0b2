"""Many runs at once: which initializers and rates train, how fast, and how steadily."""

import numpy as np
from matplotlib.patches import Patch

from geonet.plots.base import _handle, _legend, _panels, styles

OUTCOME_LOOKS = (("#009E73", ""), ("#F0E442", "//"), ("#BBBBBB", ".."), ("#000000", ""))


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
    figure, axes = _panels(list(values), caption, "learning rate", "", size=size)
    columns, rows = np.meshgrid(np.arange(len(lrs)), np.arange(len(names)))
    for panel, cells in zip(axes, values.values(), strict=True):
        panel.grid(visible=False)
        shown = np.ma.masked_invalid(np.clip(cells, 0, 1))
        mesh = panel.pcolormesh(shown, cmap="viridis", vmin=0, vmax=1)
        for chosen, marker, color in (
            (cells >= threshold, ".", "black"),
            (np.isnan(cells), "x", "red"),
        ):
            look = {"linestyle": "", "marker": marker, "color": color, "markersize": 3.5}
            panel.plot(columns[chosen] + 0.5, rows[chosen] + 0.5, **look)
    ticks = [i for i, lr in enumerate(lrs) if np.isclose(np.log10(lr) % 1, [0, 1]).any()]
    labels = [f"{lrs[i]:g}" for i in ticks]
    for panel in axes:
        panel.set_xticks([i + 0.5 for i in ticks], labels, rotation=45, fontsize=8)
        panel.set_yticks(np.arange(len(names)) + 0.5, names, fontsize=8)
    axes[0].invert_yaxis()
    figure.colorbar(mesh, ax=axes, label=quantity, aspect=40)
    return figure


def stacked_shares(shares, xlabel, caption):
    """The shares that make up a whole, one panel per set, one bar per method.

    Parameters
    ----------
    shares : dict
        title of the panel -> dict of label -> dict of name -> share, with the same names in all.
    xlabel, caption : str
    """
    labels = list(next(iter(shares.values())))
    names = list(next(iter(next(iter(shares.values())).values())))
    size = (3.2, 0.8 + 0.24 * len(labels))
    figure, axes = _panels(list(shares), caption, xlabel, "", widest=2, size=size)
    looks = dict(zip(names, OUTCOME_LOOKS, strict=True))
    for panel, bars in zip(axes, shares.values(), strict=True):
        left = np.zeros(len(labels))
        for name, (color, hatch) in looks.items():
            width = np.array([bars[label][name] for label in labels])
            rim = {"edgecolor": "black", "linewidth": 0.4}
            panel.barh(labels, width, left=left, color=color, hatch=hatch, **rim)
            left += width
    axes[0].set_xlim(0, 1)
    axes[0].invert_yaxis()
    _legend(
        figure,
        [
            Patch(facecolor=color, hatch=hatch, edgecolor="black", label=name)
            for name, (color, hatch) in looks.items()
        ],
    )
    return figure


def shares_reached(values, xlabel, ylabel, caption):
    """The share of values that are at most x, one panel per set, one line per method.

    Parameters
    ----------
    values : dict
        title of the panel -> dict of label -> (N,), ∞ for levels that are never reached.
    xlabel, ylabel, caption : str
    """
    figure, axes = _panels(list(values), caption, xlabel, ylabel, widest=2, size=(4.2, 2.9))
    finite = [v[np.isfinite(v)] for found in values.values() for v in found.values()]
    last = np.max(np.concatenate(finite), initial=1)
    looks = {}
    for panel, found in zip(axes, values.values(), strict=True):
        looks |= styles(found)
        for label, every in found.items():
            reached = np.sort(every[np.isfinite(every)])
            share = np.arange(1, len(reached) + 1) / len(every)
            x, y = np.r_[reached, last], np.r_[share, share[-1:] if len(share) else 0.0]
            look = {"color": looks[label].color, "linestyle": looks[label].linestyle}
            panel.step(x, y, where="post", linewidth=1.6, **look)
    axes[0].set(xscale="log", ylim=(0, None))
    _legend(
        figure,
        [_handle(m, color=look.color, linestyle=look.linestyle) for m, look in looks.items()],
    )
    return figure


def exceedance(edges, counts, xlabel, ylabel, caption):
    """The share of counted values above x on log axes, one panel per set, one line per method.

    Parameters
    ----------
    edges : array
        (B + 1,).
    counts : dict
        title of the panel -> dict of label -> counts between the edges, (B,), or 0 if there are
        none.
    xlabel, ylabel, caption : str
    """
    figure, axes = _panels(list(counts), caption, xlabel, ylabel, widest=2, size=(4.2, 2.9))
    looks = {}
    for panel, found in zip(axes, counts.values(), strict=True):
        looks |= styles(found)
        for label, bins in found.items():
            if not np.any(bins):
                continue
            above = np.cumsum(bins[::-1])[::-1] / np.sum(bins)
            above = np.where(above > 0, above, np.nan)
            look = {"color": looks[label].color, "linestyle": looks[label].linestyle}
            panel.plot(edges[:-1], above, linewidth=1.6, **look)
    axes[0].set(xscale="log", yscale="log", ylim=(1e-6, 1.5))
    _legend(
        figure,
        [_handle(m, color=look.color, linestyle=look.linestyle) for m, look in looks.items()],
    )
    return figure
