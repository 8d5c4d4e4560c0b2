"""Curves: fits, what is recorded over training, and shares of many runs."""

import numpy as np

from geonet.plots import base


@base.default_style
def function_fits(test_x, test_y, train_x, train_y, predictions, caption):
    """Each method's fit to a 1-D regression problem, one panel each.

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
    titles = base.finite_titles(predictions, low, high)
    figure, panels = base.panels(titles, caption, "x", "y")
    looks, truth = base.styles(predictions), {"color": "0.75", "linewidth": 4}
    data = {"color": "black", "linestyle": "", "marker": "o", "markersize": 3}
    for panel, (label, y) in zip(panels, predictions.items(), strict=True):
        panel.plot(test_x, test_y, **truth)
        panel.plot(train_x, train_y, **data)
        panel.plot(test_x, np.ravel(y), color=looks[label]["color"], linewidth=1.8)
        panel.set_ylim(low, high)
    shown = {"true function": truth, "training points": data, "prediction": {"color": base.BLUE}}
    base.legend(figure, base.handles(shown))
    return figure


def learning_curves(quantities, ylabel, caption):
    """Curves of all methods over epochs, one panel per quantity: median and range over seeds.

    Parameters
    ----------
    quantities : dict
        title of the panel -> dict of label -> values, shape (seeds, epochs). Rows that ended early
        are padded with NaN.
    ylabel : str
        The axis label of all panels, with the unit.
    caption : str
    """

    def median_and_range(values):
        values = values[:, ~np.isnan(values).all(axis=0)]
        low, middle, high = np.nanquantile(values, (0, 0.5, 1), axis=0)
        return np.arange(1, len(middle) + 1), middle, low, high

    look = {"size": (4.4, 3.4), "markersize": 4}
    return _lines(median_and_range, quantities, "epoch", ylabel, caption, {}, **look)


def errors_by_step(steps, errors, caption):
    """Error of numeric derivatives against the step size, on logarithmic axes.

    Parameters
    ----------
    steps : numpy.ndarray
        (S,).
    errors : dict of str to numpy.ndarray
        label -> relative errors (S,). Zeros are drawn at a floor, and the caption says so.
    caption : str
    """
    errors, caption = base.for_log_axis(errors, caption)
    axes, look = {"xscale": "log", "yscale": "log"}, {"size": (7.0, 4.0), "markersize": 4}
    labels = "step h", "relative error", caption
    return _lines(lambda values: (steps, values), {"": errors}, *labels, axes, **look)


def shares_reached(values, xlabel, ylabel, caption):
    """The share of values that are at most x, one panel per set, one line per method.

    Parameters
    ----------
    values : dict
        title of the panel -> dict of label -> (N,), ∞ for levels that are never reached.
    xlabel, ylabel, caption : str
    """
    everything = np.concatenate([v for found in values.values() for v in found.values()])
    last = np.max(everything, initial=1, where=np.isfinite(everything))

    def share_there(steps):
        reached = np.sort(steps[np.isfinite(steps)])
        share = np.arange(1, len(reached) + 1) / len(steps)
        return np.r_[reached, last], np.r_[share, np.max(share, initial=0.0)]

    axes, look = {"xscale": "log", "ylim": (0, None)}, base.LINE | {"drawstyle": "steps-post"}
    return _lines(share_there, values, xlabel, ylabel, caption, axes, 2, (4.2, 2.9), **look)


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

    def share_above(bins):
        above = np.cumsum(bins[::-1])[::-1] / np.sum(bins) if np.any(bins) else np.array([])
        return edges[: len(above)], np.where(above > 0, above, np.nan)

    axes = {"xscale": "log", "yscale": "log", "ylim": (1e-6, 1.5)}
    labels = xlabel, ylabel, caption
    return _lines(share_above, counts, *labels, axes, 2, (4.2, 2.9), **base.LINE)


@base.default_style
def _lines(curve, values, xlabel, ylabel, caption, axes, widest=4, size=(3.0, 2.7), **look):
    """Lines with a legend, from title of the panel -> dict of label -> what `curve` takes.

    `curve` returns (x, y) or (x, y, low, high). `axes` is what is set for all panels, and `look`
    what all lines have in common.
    """
    figure, panels = base.panels(list(values), caption, xlabel, ylabel, widest, size)
    looks = base.styles(next(iter(values.values())))
    for panel, found in zip(panels, values.values(), strict=True):
        for label, value in found.items():
            x, y, *band = curve(value)
            line = looks[label] | look | {"linewidth": 1.6, "markevery": max(1, len(x) // 20)}
            panel.plot(x, y, **line)
            if band:
                color = looks[label]["color"]
                panel.fill_between(x, *band, color=color, alpha=0.15, linewidth=0)
    panels[0].set(**axes)
    base.legend(figure, base.handles({k: v | look for k, v in looks.items()}))
    return figure
