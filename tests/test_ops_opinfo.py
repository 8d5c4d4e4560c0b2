"""Values and gradients beside PyTorch's, on the samples with which PyTorch tests its operations.

Each operation that both have gets all float64 samples of PyTorch's OpInfo that geonet has arguments
for: arrays of every layout, of size 0 and without axes, infinities, NaN, Python numbers. Where the
two differ, `DIFFERENCES` says at what and why.
"""

import importlib.util
import sys
import types
import unittest

import numpy as np
import pytest
from hypothesis import settings

from geonet import Tensor, ops
from geonet.tensor import gradient_of

# What a call of PyTorch is in geonet --------------------------------------------------------------


class NotOffered(Exception):
    """The sample needs an option that geonet does not have."""


def offered(condition):
    if not condition:
        raise NotOffered


def scaled(operation):
    return lambda x, y, alpha=1: operation(x, y if alpha == 1 else alpha * y)


def reduction(operation):
    def reduced(x, dim=None, keepdim=False, **options):
        axis = tuple(dim) if isinstance(dim, list | tuple) else dim
        axis = None if axis == () else axis  # to PyTorch, no axes are all axes
        return operation(x, axis=axis, keepdims=keepdim, **options)

    return reduced


def variance(x, dim=None, unbiased=True, keepdim=False, correction=None):
    if isinstance(dim, bool):
        dim, unbiased = None, dim
    ddof = int(unbiased) if correction is None else correction
    return reduction(ops.var)(x, dim, keepdim, ddof=ddof)


def swap(x, first, second):
    axes = list(range(x.ndim or 1))
    axes[first], axes[second] = axes[second], axes[first]
    return ops.transpose(x, axes[: x.ndim])


def along(x, dim, index):
    """x[:, …, index] with the index at the axis `dim`."""
    return x[(slice(None),) * (dim % x.ndim) + (index,)] if x.ndim else x


def flip(x, dims):
    steps = [-1 if {k, k - x.ndim} & set(dims) else 1 for k in range(x.ndim)]
    return x[tuple(slice(None, None, step) for step in steps)]


def getitem(x, index):
    several = isinstance(index, list) and not all(isinstance(i, int) for i in index)
    return x[tuple(index) if several else index]


def softmax(operation):
    return lambda x, dim, dtype=None: operation(x, dim)


def softplus(x, beta=1, threshold=20):
    return ops.softplus(beta * x) / beta


def pair(value):
    return tuple(value) if isinstance(value, list) else value


def one(value):
    """The number that a window of geonet has for both directions."""
    numbers = value or [None] if isinstance(value, list | tuple) else [value]
    offered(len(set(numbers)) == 1)
    return numbers[0]


def on_images(operation):
    """From and to PyTorch's (N, C, H, W), or (C, H, W) of a single image."""

    def call(x, *arguments, **options):
        images = ops.transpose(x if x.ndim == 4 else x[None], (0, 2, 3, 1))
        y = ops.transpose(operation(images, *arguments, **options), (0, 3, 1, 2))
        return y if x.ndim == 4 else y[0]

    return call


@on_images
def conv2d(x, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    offered(groups == 1 and one(dilation) == 1)
    padding = 0 if padding == "valid" else pair(padding)
    return ops.conv2d(x, ops.transpose(weight, (0, 2, 3, 1)), bias, pair(stride), padding)


def window(x, size, stride, padding, ceil, dilation=1):
    """The options of a window, if rounding up makes no difference to the shape."""
    size, stride, padding = one(size), one(stride), one(padding)
    spare = [(n + 2 * padding - size) % (stride or size) for n in x.shape[1:3]]
    offered(one(dilation) == 1 and not (ceil and any(spare)))
    return size, stride, padding


@on_images
def max_pool(x, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, **indices):
    return ops.max_pool2d(x, *window(x, kernel_size, stride, padding, ceil_mode, dilation))


def normalized(operation, x, gamma, beta, eps, last):
    """With gamma 1 and beta 0 unless given, and the axis of features moved to the end."""
    x = ops.transpose(x, last)
    gamma = np.ones(x.shape[-1]) if gamma is None else gamma
    beta = np.zeros(x.shape[-1]) if beta is None else beta
    return ops.transpose(operation(x, gamma, beta, eps), np.argsort(last))


def batch_norm(x, mean, var, gamma=None, beta=None, training=False, momentum=0, eps=1e-5):
    offered(training and x.ndim > 1)
    return normalized(ops.batch_norm, x, gamma, beta, eps, (0, *range(2, x.ndim), 1))


def layer_norm(x, shape, gamma=None, beta=None, eps=1e-5):
    offered(len(shape) == 1)
    return normalized(ops.layer_norm, x, gamma, beta, eps, range(x.ndim))


def loss(operation):
    def call(x, y, reduction="mean", **options):
        offered(reduction != "none" and not options)
        if operation is ops.cross_entropy:  # classes are on the second axis, and axes may follow
            offered(y.dtype.kind == "i")
            rows = ops.transpose(x, (0, *range(2, x.ndim), 1))
            x, y = rows.reshape(-1, x.shape[1]), y.reshape(-1)
        return operation(x, y) * (y.size if reduction == "sum" else 1)

    return call


COMPARED = {  # name of the OpInfo: what it is in geonet, and how many samples at least are compared
    "abs": (ops.absolute, 32),
    "acos": (ops.arccos, 36),
    "asin": (ops.arcsin, 32),
    "atan": (ops.arctan, 32),
    "cos": (ops.cos, 34),
    "exp": (ops.exp, 36),
    "log": (ops.log, 36),
    "neg": (ops.negative, 32),
    "reciprocal": (lambda x: 1 / x, 36),
    "rsqrt": (lambda x: 1 / ops.sqrt(x), 36),
    "sin": (ops.sin, 30),
    "sqrt": (ops.sqrt, 32),
    "square": (ops.square, 36),
    "tan": (ops.tan, 32),
    "tanh": (ops.tanh, 32),
    "sigmoid": (ops.sigmoid, 36),
    "nn.functional.relu": (ops.relu, 38),
    "nn.functional.leaky_relu": (ops.leaky_relu, 9),
    "nn.functional.softplus": (softplus, 36),
    "nn.functional.logsigmoid": (lambda x: -ops.softplus(-x), 36),
    "log_softmax": (softmax(ops.log_softmax), 7),
    "log_softmax.with_dtype": (softmax(ops.log_softmax), 7),
    "softmax": (softmax(lambda x, dim: ops.exp(ops.log_softmax(x, dim))), 7),
    "add": (scaled(ops.add), 115),
    "sub": (scaled(ops.subtract), 115),
    "rsub": (lambda x, y, alpha=1: y - alpha * x, 111),
    "mul": (ops.multiply, 111),
    "div.no_rounding_mode": (ops.divide, 111),
    "true_divide": (ops.divide, 111),
    "pow": (ops.power, 109),
    "float_power": (ops.power, 109),
    "__radd__": (lambda x, y: y + x, 107),
    "__rsub__": (lambda x, y: y - x, 107),
    "__rmul__": (lambda x, y: y * x, 107),
    "__rdiv__": (lambda x, y: y / x, 107),
    "__rpow__": (lambda x, y: y**x, 109),
    "__rmatmul__": (lambda x, y: y @ x, 15),
    "maximum": (ops.maximum, 97),
    "minimum": (ops.minimum, 97),
    "max.binary": (ops.maximum, 97),
    "min.binary": (ops.minimum, 97),
    "clamp": (lambda x, low, high=None: ops.clip(x, low, high), 7),
    "clamp_min": (lambda x, low: ops.clip(x, low, None), 97),
    "clamp_max": (lambda x, high: ops.clip(x, None, high), 97),
    "where": (lambda x, condition, y: ops.where(condition, x, y), 6),
    "sum": (reduction(ops.sum), 20),
    "mean": (reduction(ops.mean), 20),
    "var": (variance, 14),
    "var.unbiased": (variance, 2),
    "std": (lambda *arguments, **options: ops.sqrt(variance(*arguments, **options)), 14),
    "amax": (reduction(ops.max), 20),
    "amin": (reduction(ops.min), 20),
    "max.reduction_no_dim": (reduction(ops.max), 2),
    "min.reduction_no_dim": (reduction(ops.min), 2),
    "max.reduction_with_dim": (reduction(ops.max), 4),
    "min.reduction_with_dim": (reduction(ops.min), 4),
    "reshape": (ops.reshape, 39),
    "view": (ops.reshape, 39),
    "permute": (ops.transpose, 64),
    "transpose": (swap, 8),
    "T": (ops.transpose, 2),
    "t": (ops.transpose, 3),
    "mT": (lambda x: swap(x, -1, -2), 5),
    "__getitem__": (getitem, 16),
    "select": (along, 6),
    "index_select": (along, 3),
    "flip": (flip, 10),
    "take": (lambda x, index: x.reshape(-1)[index], 10),
    "cat": (lambda arrays, dim=0: ops.concatenate(arrays, dim), 12),
    "stack": (ops.stack, 9),
    "matmul": (ops.matmul, 15),
    "mm": (ops.matmul, 3),
    "bmm": (ops.matmul, 1),
    "mv": (ops.matmul, 1),
    "dot": (ops.matmul, 1),
    "nn.functional.linear": (ops.linear, 18),
    "nn.functional.conv2d": (conv2d, 8),
    "nn.functional.max_pool2d": (max_pool, 140),
    "nn.functional.batch_norm": (batch_norm, 5),
    "nn.functional.layer_norm": (layer_norm, 4),
    "nn.functional.mse_loss": (loss(ops.mse), 5),
    "nn.functional.l1_loss": (loss(ops.mae), 5),
    "nn.functional.cross_entropy": (loss(ops.cross_entropy), 6),
    "nn.functional.binary_cross_entropy_with_logits": (loss(ops.binary_cross_entropy), 7),
}  # fmt: skip

# Where they may differ ----------------------------------------------------------------------------

# Each of these functions takes the cause of a difference out of the arguments of a sample, and
# returns them as they are if they are without it. As they are, with the cause, geonet and PyTorch
# must differ, so that no entry outlives its difference; without the cause they must agree.


def without_nan(torch, arguments, options):
    caused = any(a.isnan().any() for a in arguments if isinstance(a, torch.Tensor))
    return [torch.where(a.isnan(), 1.0, a) for a in arguments] if caused else arguments


def with_constant_bounds(torch, arguments, options):
    x, *bounds = arguments
    caused = any(isinstance(b, torch.Tensor) and b.requires_grad for b in bounds)
    return [x, *(b.detach() if b is not None else b for b in bounds)] if caused else arguments


def with_arrays_for_numbers(torch, arguments, options):
    caused = all(isinstance(a, float) for a in arguments)
    return [torch.tensor(a, dtype=torch.float64) for a in arguments] if caused else arguments


def below_the_threshold(torch, arguments, options):
    (x,), highest = arguments, options["threshold"] / options["beta"]
    caused = ((highest < x) & (x < 10)).any()  # from there on, both are x
    return [x.clamp(max=highest)] if caused else arguments


def with_an_axis(torch, arguments, options):
    caused = not arguments[0].ndim and isinstance(options.get("dim"), int)
    return [arguments[0][None]] if caused else arguments


def with_arrays_alike(torch, arguments, options):
    arrays, *rest = arguments
    caused = len({(a.ndim, a.dtype) for a in arrays}) > 1
    return [[a.double() for a in arrays if a.shape != (0,)], *rest] if caused else arguments


DIFFERENCES = {  # name of the OpInfo: the function that takes out the cause, and the reason
    "abs": (without_nan, "at NaN, PyTorch's derivative is 0, and not NaN as the sign"),
    "nn.functional.relu": (without_nan, "at NaN, which is not above 0, PyTorch's derivative is 1"),
    **dict.fromkeys(
        ("maximum", "minimum", "max.binary", "min.binary"),
        (without_nan, "if one of two is NaN, PyTorch gives the whole gradient to both"),
    ),
    **dict.fromkeys(
        ("clamp", "clamp_min", "clamp_max"),
        (with_constant_bounds, "to geonet, the bounds are constants, without a gradient"),
    ),
    **dict.fromkeys(
        ("add", "sub", "mul", "div.no_rounding_mode", "true_divide"),
        (with_arrays_for_numbers, "of two Python numbers PyTorch makes a float32, NumPy a float64"),
    ),
    "nn.functional.softplus": (
        below_the_threshold,
        "above a threshold, PyTorch takes x for ln(1 + eˣ)",
    ),
    "mean": (with_an_axis, "NumPy's mean, unlike its sum, refuses axis 0 of an array without axes"),
    "cat": (
        with_arrays_alike,
        "NumPy refuses arrays (0,) beside matrices, geonet mixed precisions",
    ),
}

# The comparison -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def infos(torch):
    """The OpInfo of each operation by its name."""
    profile = settings.get_current_profile_name()
    with pytest.MonkeyPatch.context() as patch:
        if importlib.util.find_spec("expecttest") is None:
            # PyTorch's module takes its test cases from this package, which no sample needs
            stand_in = types.ModuleType("expecttest")
            stand_in.TestCase = unittest.TestCase
            patch.setitem(sys.modules, "expecttest", stand_in)
        from torch.testing._internal.common_methods_invocations import op_db
    settings.load_profile(profile)  # which that module replaces by its own
    return {".".join(filter(None, (op.name, op.variant_test_name))): op for op in op_db}


def samples_of(torch, info):
    """Those for comparison with a reference, of which there are most, or else those of all tests.

    Those with large arrays, which show nothing that others do not, are left out.
    """
    torch.manual_seed(0)
    try:
        samples = list(info.reference_inputs("cpu", torch.float64, requires_grad=True))
    except ValueError:  # some of these are integers, which cannot require gradients
        samples = list(info.sample_inputs("cpu", torch.float64, requires_grad=True))
    return [s for s in samples if not isinstance(s.input, torch.Tensor) or s.input.numel() < 10**5]


def mapped(function, value):
    """The value with everything in its lists, tuples and dictionaries changed."""
    if isinstance(value, dict):
        return {name: mapped(function, item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(mapped(function, item) for item in value)
    return function(value)


def difference(torch, theirs, ours, arguments, options):
    """How value or gradients differ, as text, or None if they do not."""
    inputs = []

    def leaf(value):
        tensor = isinstance(value, torch.Tensor)
        return value.detach().requires_grad_(value.requires_grad) if tensor else value

    def converted(value):
        if not isinstance(value, torch.Tensor):
            return value
        if not value.requires_grad:
            return value.numpy()
        inputs.append((value, Tensor(value.detach().numpy(), requires_grad=True)))
        return inputs[-1][1]

    arguments, options = mapped(leaf, (list(arguments), options))
    expected = theirs(*arguments, **options)
    offered(expected is not NotImplemented)
    expected = expected[0] if isinstance(expected, tuple) else expected  # the rest are indices
    try:
        y = ours(*mapped(converted, arguments), **mapped(converted, options))
        check(y.data, expected.detach().numpy())
        if inputs:
            gradient = torch.randn(expected.shape, dtype=expected.dtype)
            expected.backward(gradient)
            y.backward(gradient.numpy())
        for x, our_x in inputs:
            check(gradient_of(our_x), (torch.zeros_like(x) if x.grad is None else x.grad).numpy())
    except (AssertionError, TypeError, ValueError) as error:
        return f"{type(error).__name__}: {error}"


def check(actual, expected):
    np.testing.assert_allclose(actual, expected, rtol=1e-10, atol=1e-12, strict=True)


@pytest.mark.filterwarnings("ignore")  # at NaN and infinity, from both
@pytest.mark.parametrize("name", COMPARED)
def test_values_and_gradients_are_those_of_pytorch(torch, infos, name):
    operation, least = COMPARED[name]
    without_cause, reason = DIFFERENCES.get(name, (lambda torch, arguments, options: arguments, ""))
    compared = allowed = 0
    for sample in samples_of(torch, infos[name]):
        arguments, options = (sample.input, *sample.args), sample.kwargs
        changed = without_cause(torch, arguments, options)
        try:
            if changed is not arguments:
                differs = difference(torch, infos[name].op, operation, arguments, options)
                assert differs, f"no longer true: {reason}"
                allowed += 1
            differs = difference(torch, infos[name].op, operation, changed, options)
        except NotOffered:
            continue
        assert not differs, f"{changed}, {options}: {differs}"
        compared += 1
    print(f"{name}: {compared} samples compared, {allowed} of them differ because {reason}")
    assert compared >= least
    assert allowed or name not in DIFFERENCES, f"no longer true: {reason}"
