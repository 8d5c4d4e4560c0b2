"""Analytic against numeric gradients of all parameters of a model, with the wrong ones named."""

import copy

import numpy as np

from geonet.check.gradcheck import (
    GradientError,
    Report,
    _along,
    _central_differences,
    _columns,
    _complex_steps,
    _directions,
    _likely_cause,
    _report,
    _worst,
)
from geonet.tensor import Tensor, _recording, no_grad

ENTRIES = 20  # of a parameter that are checked one by one, beside random directions
SCALES = 1.0, 1e-2, 1e-4  # of the central step, ever smaller where it goes over a unit's kink


def check_model(model, loss, x, y, rng=None, tolerance=1e-9):
    """Check the gradient of every parameter of a model, as training would use it.

    The model is taken as it stands, in training or in evaluation mode, and left as it is: a copy of
    it is worked on, in float64. The parameters alone are shared with it, so that the loss may use
    them too (for weight decay, say); they are float64 meanwhile, and what they were afterwards. Of
    a large parameter some entries and random directions are checked. A step over the kink of a unit
    does not count as an error: there a smaller step and the complex step decide.

    Parameters
    ----------
    model : geonet.nn.Module
    loss : function
        (prediction Tensor, y) -> Tensor of one number.
    x, y : array_like
        A batch, (N, ...).
    rng : numpy.random.Generator, optional
        Chooses entries and directions; the same ones at each call if left out.
    tolerance : float
        Largest error against the complex step, relative to the derivative; as much as rounding
        makes of the loss and of the largest derivative of the model is allowed beside it.

    Returns
    -------
    dict of str to Report
        By the name of the parameter.

    Raises
    ------
    GradientError
        If gradients are wrong. The message names their parameters, the one nearest to the loss
        first: what is wrong lies between it and the loss, and spoils the others. Of each it tells
        what `gradcheck` would.
    TypeError
        If the loss is no Tensor of one number.
    ValueError
        If the loss is NaN or infinite, so that it has no gradient.
    RuntimeError
        Inside `no_grad`.
    """
    if not _recording.get():
        raise RuntimeError("check_model: nothing is recorded inside no_grad(): call it outside")
    shared = model.parameters()
    kept = [(parameter, parameter.data, parameter.grad) for parameter in shared]
    model = copy.deepcopy(model, {id(parameter): parameter for parameter in shared})
    try:
        for _, module in model.named_modules():
            for name, value in vars(module).items():
                if isinstance(value, Tensor):
                    value.data, value.grad = _in_float64(value.data), None
                elif isinstance(value, np.ndarray):
                    setattr(module, name, _in_float64(value))
        rng = np.random.default_rng(0) if rng is None else rng
        return _check(model, loss, *map(_in_float64, (x, y)), rng, tolerance)
    finally:
        for parameter, data, gradient in kept:
            parameter.data, parameter.grad = data, gradient


def _check(model, loss, x, y, rng, tolerance):
    """The same of a model in float64, in which it leaves gradients."""
    output = loss(model(x), y)
    if not isinstance(output, Tensor) or output.size != 1:
        words = f"{type(output).__name__} {getattr(output, 'shape', '')}".strip()
        raise TypeError(f"loss must give a Tensor of one number, but gave {words}")
    if not np.isfinite(output.item()):
        raise ValueError(f"the loss must be finite to be checked, but is {output.item()}: look for "
                         "NaN and infinity in x, y and the parameters")  # fmt: skip
    if output.requires_grad:
        output.backward()
    parameters = {id(p): (name, p) for name, p in reversed([*model.named_parameters()]) if p.size}
    found = [abs(output.item()), *(_largest(p.grad) for _, p in parameters.values())]
    floor = 1e4 * np.finfo(np.float64).eps * max(found)
    reports, errors = {}, {}
    for name, parameter in parameters.values():
        directions = _directions(parameter.size, rng, ENTRIES)

        def loss_at(tensor, parameter=parameter):
            kept, parameter.data = parameter.data, tensor.data
            try:
                with no_grad():
                    return loss(model(x), y)
            finally:
                parameter.data = kept

        try:
            reports[name] = _check_parameter(name, parameter, loss_at, directions, tolerance, floor)
        except GradientError as error:
            errors[name] = str(error)
    if errors:
        raise GradientError("\n".join([f"wrong gradient of {', '.join(errors)}", *errors.values()]))
    return reports


def _in_float64(x):
    x = np.asarray(x)
    return x.astype(np.float64) if x.dtype.kind == "f" else x


def _largest(gradient):
    """The largest finite entry in absolute value."""
    gradient = np.zeros(1) if gradient is None else gradient
    return np.abs(gradient[np.isfinite(gradient)]).max(initial=0.0)


def _check_parameter(name, parameter, loss_at, directions, tolerance, floor):
    x = parameter.data
    gradient = np.zeros(x.shape) if parameter.grad is None else parameter.grad
    analytic = np.array([_along(gradient, d) for d in directions])
    slope, noise = np.full((2, len(directions)), np.inf)
    far = np.full(len(directions), True)
    for scale in SCALES:
        if far.any():
            found = _central_differences(loss_at, [x], 0, directions[far], 1.0, scale)
            slope[far], noise[far] = found.slope, found.noise
            allowed = 1e-6 * np.abs(slope) + noise + floor
            far = ~(np.abs(analytic - slope) <= allowed)  # NaN is far
    central = numeric = _columns(slope, noise)
    worst, accurate = np.nan, _complex_steps(loss_at, [x], 0, directions, 1.0)
    if accurate is not None:
        sure = np.abs(accurate.slope - slope) <= allowed
        numeric = _columns(np.where(sure, accurate.slope, slope), noise)
        allowed = np.where(sure, tolerance * accurate.size + floor, allowed)
        worst = _worst(analytic, accurate, sure & (tolerance * accurate.size > floor))
    if not np.all(np.abs(analytic - numeric.slope) <= allowed):
        where = f"parameter {name} of shape {x.shape}"
        message = _report(where, directions, analytic, numeric, allowed, x.shape)
        cause = _likely_cause(analytic, numeric, x.shape)
        raise GradientError(f"{message}\nlikely cause: {cause}" if cause else message)
    resolved = central.size > np.maximum(1e6 * noise, floor)
    return Report(len(directions), float(_worst(analytic, central, resolved)), float(worst))
