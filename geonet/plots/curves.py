"""Results of training: fits, learning curves, and ratios of errors."""

import numpy as np

from geonet.plots.base import (
    METHOD_STYLES,
    _for_log_axis,
    _handle,
    _legend,
    _note,
    _panels,
    _titled,
    styles,
)


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
    labels = list(next(iter(quantities.values())))
    looks = styles(labels)
    figure, axes = _panels(list(quantities), caption, "epoch", ylabel, size=(4.4, 3.4))
    for panel, curves in zip(axes, quantities.values(), strict=True):
        for label, values in curves.items():
            values, look = values[:, ~np.isnan(values).all(axis=0)], looks[label]
            epochs = np.arange(1, values.shape[1] + 1)
            low, middle, high = np.nanquantile(values, (0, 0.5, 1), axis=0)
            line = {"color": look.color, "linestyle": look.linestyle, "linewidth": 1.6}
            every = max(1, len(epochs) // 6)
            panel.plot(epochs, middle, marker=look.marker, markevery=every, markersize=4, **line)
            panel.fill_between(epochs, low, high, color=look.color, alpha=0.15, linewidth=0)
    _legend(figure, [_handle(label, **looks[label]._asdict()) for label in labels])
    return figure


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
    errors, caption = _for_log_axis(errors, caption)
    looks = dict(zip(errors, (METHOD_STYLES[m] for m in ("SP", "GmP", "GmP+IMN")), strict=False))
    figure, (panel,) = _panels([""], caption, "step h", "relative error", size=(7.0, 4.0))
    for label, values in errors.items():
        look = looks[label]
        line = {"color": look.color, "linestyle": look.linestyle, "marker": look.marker}
        panel.loglog(steps, values, markersize=4, linewidth=1.4, **line)
    _legend(figure, [_handle(label, **looks[label]._asdict()) for label in errors])
    return figure


def ratios(intervals, xlabel, caption):
    """Methods compared with another one: ratios and their intervals, one panel per data set.

    Parameters
    ----------
    intervals : dict
        title of the panel -> dict of label -> (ratio, low, high), all positive. NaN is not drawn.
    xlabel, caption : str
    """
    labels = list(dict.fromkeys(label for found in intervals.values() for label in found))
    size = (3.4, 0.7 + 0.28 * len(labels))
    figure, axes = _panels(list(intervals), caption, xlabel, "", 3, size, sharex=False)
    looks = styles(labels)
    for panel, found in zip(axes, intervals.values(), strict=True):
        panel.axvline(1, color="0.4", linewidth=1)
        for label, (ratio, *ends) in found.items():
            place, look = labels.index(label), looks[label]
            panel.plot(ends, [place, place], color=look.color)
            panel.plot(ratio, place, color=look.color, marker=look.marker, linestyle="")
    panel.set_yticks(range(len(labels)), labels)  # for all panels, which share the axis
    panel.invert_yaxis()
    return figure
