"""Compare analytic with numeric gradients, entry by entry.

`gradcheck` checks a function, `check_model` all parameters of a model, and `check_operation` an
operation. An error names the worst entry and its likely cause.

Two numeric derivatives are compared with the gradient from `backward`:

- central differences, (f(x + h) − f(x − h)) / 2h: for any function, exact to about ten digits of f;
- the complex step, Im f(x + ih) / h with h = 1e-20 (Squire & Trapp 1998): nothing cancels, so it is
  exact to rounding even if the derivative is tiny. It needs a function that accepts complex numbers
  and is analytic. The central differences tell whether it is.

The tolerance of ∂L/∂xⱼ is scaled to the size of its own column, Σᵢ |vᵢ ∂fᵢ/∂xⱼ|, for L = Σ vᵢ fᵢ
with random v. With one absolute tolerance for all columns, a gradient of zero would pass for the
late angles of u(θ), whose columns are of size sₖ.
"""

import copy
import inspect
from typing import NamedTuple

import numpy as np

from geonet.tensor import Tensor, gradient_of, is_recording, no_grad
from geonet.text import argument_names

COMPLEX_STEP = 1e-20  # nothing cancels, so it can be so small that second-order terms vanish
EPSILON = np.finfo(np.float64).eps
MAX_ENTRIES = 500  # of a larger input, random entries and random directions are checked
DIRECTIONS = 20
MODEL_ENTRIES = 20  # the same for a parameter of a model
MODEL_SCALES = 1.0, 1e-2, 1e-4  # of the central step: a smaller one where it crosses a kink
KINK = "a kink at exactly this point, where central differences mix both sides"


class GradientError(AssertionError):
    """An analytic gradient that differs from the numeric one."""


class Report(NamedTuple):
    """Worst errors of a check that passed, relative to the size of the column."""

    entries: int  # entries and directions compared
    central: float  # worst against central differences, where these resolve the column
    complex: float  # worst against the complex step; NaN if the function is not analytic


class _Columns(NamedTuple):
    """Derivatives of L along K directions, and their accuracy; each (K,)."""

    slope: np.ndarray
    size: np.ndarray  # Σᵢ |vᵢ ∂fᵢ|
    noise: np.ndarray  # error to expect from rounding
    terms: np.ndarray  # vᵢ ∂fᵢ for all outputs i, (K, *output shape)


def gradcheck(f, *inputs, rng=None, tolerance=1e-9):
    """Check the gradients of a function of Tensors.

    Parameters
    ----------
    f : function
        Takes Tensors and returns a Tensor of any shape.
    *inputs : array_like
        Where to check. Floating inputs are differentiated (in float64), others are constants.
    rng : numpy.random.Generator, optional
        Draws the weights v of the outputs, and directions for large inputs; by default the same
        ones at each call.
    tolerance : float
        Largest error against the complex step, relative to the column. Against central
        differences, 1e-6 plus their rounding error is allowed.

    Returns
    -------
    Report

    Raises
    ------
    ValueError
        If no input is floating.
    GradientError
        If a gradient is wrong. The message names the function, the input, the worst entry, both
        numbers and, where a pattern is known, the likely cause.

    Examples
    --------
    >>> gradcheck(geonet.ops.matmul, np.ones((2, 3)), np.ones((3, 4))).entries
    18
    """
    rng = np.random.default_rng(0 if rng is None else rng)
    name = getattr(f, "__name__", repr(f))
    arrays = [_in_float64(Tensor(x).data) for x in inputs]
    tensors = [Tensor(x, requires_grad=x.dtype.kind == "f") for x in arrays]
    if not any(x.requires_grad for x in tensors):
        raise ValueError(f"inputs of {name}: none is floating, so no gradient can be checked")
    output = f(*tensors)
    if not isinstance(output, Tensor):
        raise TypeError(f"{name} must return a Tensor, but returned {type(output).__name__}")
    weights = rng.normal(size=output.shape)
    if output.requires_grad:
        output.backward(weights)

    # where terms cancel, as for a bias before batch norm, a column is only rounding error
    floor = 20 * EPSILON * np.abs(weights * output.data).sum()
    reports = []
    for i, (tensor, argument) in enumerate(zip(tensors, argument_names(f, len(tensors)))):
        if tensor.requires_grad and tensor.size:
            where = f"{name}, input {i} ({argument})"

            def output_at(x, i=i):
                return f(*(Tensor(x if k == i else a) for k, a in enumerate(arrays))).data

            reports.append(_check_input(where, tensor, output_at, weights, rng, tolerance, floor))
    return _together(reports)


def _check_input(where, tensor, output_at, weights, rng, tolerance, floor):
    """The `Report` of one input of a function."""
    directions = _directions(tensor.size, rng)
    analytic = _analytic(tensor, directions)
    central = _central_differences(output_at, tensor.data, directions, weights)
    accurate = _complex_steps(output_at, tensor.data, directions, weights)
    numeric, allowed, worst, cause = central, 1e-6 * central.size + central.noise, np.nan, None
    if accurate is not None and np.all(np.abs(accurate.slope - central.slope) <= allowed):
        moves = accurate.size > floor
        tiny = np.flatnonzero(~moves)
        if tiny.size:
            moves[tiny] = _reproducible(output_at, tensor.data, directions[tiny], weights)
        numeric, allowed = accurate, np.where(moves, tolerance * accurate.size, floor)
        worst = _worst(analytic, accurate, moves)
    elif accurate is not None and np.allclose(analytic, accurate.slope, rtol=1e-6):
        cause = KINK
    _refuse_errors(where, tensor.shape, directions, analytic, numeric, allowed, cause)
    resolved = (central.size > 1e6 * central.noise) & (central.size > 0)
    return Report(len(directions), _worst(analytic, central, resolved), worst)


def _together(reports):
    """The sum of all entries, and the worst of all errors."""
    entries, central, accurate = zip(Report(0, 0.0, 0.0), *reports)
    return Report(sum(entries), max(central), float(np.max(accurate)))


def _worst(analytic, columns, chosen):
    """Largest error relative to the column's size, over the columns chosen."""
    error = np.abs(analytic - columns.slope)[chosen] / columns.size[chosen]
    return error.max(initial=0.0)


def _directions(size, rng, entries=MAX_ENTRIES):
    """Every unit vector; for large inputs, random ones of them and random directions."""
    if size <= entries:
        return np.eye(size)
    chosen = np.zeros((entries, size))
    chosen[np.arange(entries), rng.choice(size, entries, replace=False)] = 1
    return np.concatenate([chosen, rng.normal(size=(DIRECTIONS, size))])


def _analytic(tensor, directions):
    """d · gradient over the entries where d is not 0, so that a NaN elsewhere does not matter."""
    gradient = gradient_of(tensor).ravel()
    with np.errstate(invalid="ignore"):
        return np.array([d[d != 0] @ gradient[d != 0] for d in directions])


def _central_differences(output_at, x, directions, weights, scale=1.0):
    terms, noise = [], []
    for d in directions:
        # cbrt(eps) balances truncation, h² f‴/6, against rounding, eps f/h
        h = scale * np.cbrt(EPSILON) * max(1.0, np.abs(x.ravel()[d != 0]).max()) / np.abs(d).max()
        step = (h * d).reshape(x.shape)
        ahead, behind = output_at(x + step), output_at(x - step)
        terms.append(weights * (ahead - behind) / (2 * h))
        noise.append(20 * EPSILON / h * np.abs(weights * ahead).sum())
    return _columns(terms, noise)


def _complex_steps(output_at, x, directions, weights, step=COMPLEX_STEP):
    """None if the function does not accept complex numbers."""
    try:
        steps = 1j * step * directions.reshape(-1, *x.shape)
        terms = [weights * output_at(x + h).imag / step for h in steps]
    except (TypeError, ValueError):
        return None
    return _columns(terms, np.zeros(len(terms)))


def _reproducible(output_at, x, directions, weights):
    """Which tiny columns are derivatives, not rounding: rounding changes with the step."""
    steps = COMPLEX_STEP * np.array([1, 0.9, 0.7, 0.6, 0.3])
    columns = [_complex_steps(output_at, x, directions, weights, step) for step in steps]
    return np.ptp([c.slope for c in columns], axis=0) < 1e-6 * columns[0].size


def _columns(terms, noise):
    terms = np.array(terms)
    axes = tuple(range(1, terms.ndim))
    return _Columns(terms.sum(axis=axes), np.abs(terms).sum(axis=axes), np.array(noise), terms)


def _refuse_errors(where, shape, directions, analytic, numeric, allowed, cause=None):
    """Raise a GradientError if an analytic slope differs by more than allowed, or is NaN."""
    error = np.abs(analytic - numeric.slope)
    wrong = int(np.sum(~(error <= allowed)))
    if not wrong:
        return
    excess = np.where(np.isnan(error), np.inf, error / np.maximum(allowed, 1e-200))
    k = int(np.argmax(excess))
    if np.count_nonzero(directions[k]) == 1:
        entry = tuple(int(j) for j in np.unravel_index(np.argmax(directions[k]), shape))
        place = f"entry {entry}" if entry else "its only entry"
    else:
        place = "a random direction"
    cause = cause or _likely_cause(analytic, numeric, shape)
    raise GradientError(
        f"{where} of shape {shape}: worst at {place}: analytic {analytic[k]:.10g}, numeric "
        f"{numeric.slope[k]:.10g} (allowed difference {allowed[k]:.2g}); {wrong} of "
        f"{len(analytic)} compared are wrong" + (f"\nlikely cause: {cause}" if cause else "")
    )


def _likely_cause(analytic, numeric, shape):
    """A known pattern of wrong gradients, or None."""

    def looks_like(other):
        return np.allclose(analytic, other, rtol=1e-4, atol=1e-6 * np.abs(other).max())

    slope = numeric.slope
    if not np.isfinite(analytic).all():
        return "NaN or infinity, for example from a division by zero in the pullback"
    if not analytic.any():
        return "the gradient is zero: a pullback that returns 0, or a path cut by detach or .data"
    if looks_like(-slope):
        return "the sign is wrong"
    for factor in (2.0, 0.5):
        if looks_like(factor * slope):
            return f"a factor of {factor:g}"
    square = len(shape) == 2 and shape[0] == shape[1] and analytic.size == np.prod(shape)
    if square and looks_like(slope.reshape(shape).T.ravel()):
        return "transposed"
    for axis, length in enumerate(numeric.terms.shape[1:]):
        others = tuple(a for a in range(1, numeric.terms.ndim) if a != axis + 1)
        slices = numeric.terms.sum(axis=others)  # (K, length)
        if length > 1 and any(map(looks_like, (*slices.T, slices.mean(axis=1)))):
            return f"a missing sum over a broadcast axis (axis {axis} of the output)"
    if analytic.size > 1 and slope.any():
        factor = analytic @ slope / (slope @ slope)
        if looks_like(factor * slope):
            return f"a constant factor of {factor:.6g}"
    return None


def check_model(model, loss, x, y, rng=None, tolerance=1e-9):
    """Check the gradient of every parameter of a model, as training would use it.

    The check works on a copy of the model in float64, in its present mode (training or evaluation),
    and leaves the model as it is. The copy shares the parameters, so that the loss may use them too
    (for weight decay, say); they are float64 during the check and restored afterwards. Of a large
    parameter, some entries and random directions are checked. A step over the kink of a unit does
    not count as an error: a smaller step and the complex step decide there.

    Parameters
    ----------
    model : geonet.nn.Module
    loss : function
        (prediction Tensor, y) -> Tensor of one number.
    x, y : array_like
        A batch, (N, ...).
    rng : numpy.random.Generator, optional
        Chooses entries and directions; by default the same ones at each call.
    tolerance : float
        Largest error against the complex step, relative to the derivative. In addition, the
        rounding error of the loss and of the model's largest derivative is allowed.

    Returns
    -------
    dict of str to Report
        By the name of the parameter.

    Raises
    ------
    GradientError
        If gradients are wrong. The message names their parameters, beginning with the one nearest
        to the loss: the cause lies between it and the loss, and affects the others. For each
        parameter it says the same as `gradcheck`.
    TypeError
        If the loss is not a Tensor of one number.
    ValueError
        If the loss is NaN or infinite, and therefore has no gradient.
    RuntimeError
        Inside `no_grad`.
    """
    if not is_recording():
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
        rng = np.random.default_rng(0 if rng is None else rng)
        return _check(model, loss, *map(_in_float64, (x, y)), rng, tolerance)
    finally:
        for parameter, data, gradient in kept:
            parameter.data, parameter.grad = data, gradient


def _check(model, loss, x, y, rng, tolerance):
    """Check a model in float64, and leave gradients in its parameters."""
    output = loss(model(x), y)
    if not isinstance(output, Tensor) or output.size != 1:
        words = f"{type(output).__name__} {getattr(output, 'shape', '')}".strip()
        raise TypeError(f"loss must give a Tensor of one number, but gave {words}")
    if not np.isfinite(output.item()):
        raise ValueError(f"the loss must be finite, but is {output.item()}: look for NaN and "
                         "infinity in x, y and the parameters")  # fmt: skip
    if output.requires_grad:
        output.backward()
    parameters = {id(p): (name, p) for name, p in reversed([*model.named_parameters()]) if p.size}
    gradients = [gradient_of(parameter) for _, parameter in parameters.values()]
    largest = [np.abs(g[np.isfinite(g)]).max(initial=0.0) for g in gradients]
    floor = 1e4 * EPSILON * max(abs(output.item()), *largest, 0.0)
    reports, errors = {}, {}
    for name, parameter in parameters.values():
        directions = _directions(parameter.size, rng, MODEL_ENTRIES)

        def loss_at(data, parameter=parameter):
            kept, parameter.data = parameter.data, data
            try:
                with no_grad():
                    return loss(model(x), y).data
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


def _check_parameter(name, parameter, loss_at, directions, tolerance, floor):
    """The `Report` of one parameter of a model."""
    x, analytic = parameter.data, _analytic(parameter, directions)
    slope, noise = np.full((2, len(directions)), np.inf)
    far = np.full(len(directions), True)
    for scale in MODEL_SCALES:
        if far.any():
            found = _central_differences(loss_at, x, directions[far], 1.0, scale)
            slope[far], noise[far] = found.slope, found.noise
            allowed = 1e-6 * np.abs(slope) + noise + floor
            far = ~(np.abs(analytic - slope) <= allowed)  # NaN is far
    central = numeric = _columns(slope, noise)
    worst, accurate = np.nan, _complex_steps(loss_at, x, directions, 1.0)
    if accurate is not None:
        sure = np.abs(accurate.slope - slope) <= allowed
        numeric = _columns(np.where(sure, accurate.slope, slope), noise)
        allowed = np.where(sure, tolerance * accurate.size + floor, allowed)
        worst = _worst(analytic, accurate, sure & (tolerance * accurate.size > floor))
    _refuse_errors(f"parameter {name}", x.shape, directions, analytic, numeric, allowed)
    resolved = central.size > np.maximum(1e6 * noise, floor)
    return Report(len(directions), float(_worst(analytic, central, resolved)), float(worst))


def examples(operation, rng):
    """Arguments on which to test a registered operation.

    Parameters
    ----------
    operation : function
        One of `geonet.ops.OPERATIONS`.
    rng : numpy.random.Generator

    Returns
    -------
    list of (tuple, dict)
        Positional arguments and options: the operation's own samples or, for an elementwise
        operation, arrays in its domain that broadcast in several ways and avoid the kink at 0.
    """
    if "samples" in operation.examples:
        return operation.examples["samples"](rng)
    parameters = inspect.signature(operation).parameters.values()
    arity = sum(p.default is p.empty for p in parameters)
    low, high = operation.examples.get("domain", (-2.0, 2.0))
    shapes = [((3, 4),), ((),)]
    if arity == 2:
        shapes = [((3, 4), (3, 4)), ((3, 4), (4,)), ((3, 1), (1, 4)), ((), (2, 3))]

    def draw(shape):
        x = rng.uniform(low, high, shape)
        return np.where(np.abs(x) < 0.05, x + 0.1, x)

    return [(tuple(map(draw, group)), {}) for group in shapes]


def check_operation(operation, rng, tolerance=1e-12):
    """Check one operation on all its examples, in every floating argument.

    Parameters
    ----------
    operation : function
        One of `geonet.ops.OPERATIONS`.
    rng : numpy.random.Generator
    tolerance : float
        As for `gradcheck`.

    Returns
    -------
    Report
        Total number of entries, and the worst errors.

    Raises
    ------
    GradientError
        As `gradcheck` does.
    """
    reports = []
    for arguments, options in examples(operation, rng):
        inputs = {
            i: a for i, a in enumerate(arguments) if getattr(a, "dtype", np.dtype(int)).kind == "f"
        }

        def on_tensors(*tensors, arguments=arguments, options=options, places=tuple(inputs)):
            full = dict(enumerate(arguments)) | dict(zip(places, tensors))
            return operation(*full.values(), **options)

        on_tensors.__name__ = operation.__name__
        reports.append(gradcheck(on_tensors, *inputs.values(), rng=rng, tolerance=tolerance))
    return _together(reports)
