"""The demo of `python -m geonet gradcheck --demo`.

It shows eight typical wrong gradients, what the check says about each, and how large a step numeric
derivatives should take.
"""

from typing import NamedTuple

import numpy as np

from geonet import ops
from geonet.check.gradcheck import GradientError, gradcheck
from geonet.tensor import Tensor, primitive
from geonet.text import aligned

STEPS = 10.0 ** np.arange(-20, 0.5, 0.5)
POINT = 1.0
CAPTION = (
    "A large step suffers from the curvature, a small one from rounding: differences have a best "
    "step. The complex step can be arbitrarily small. "
    f"f = eˣ / √(sin³ x + cos³ x) at {POINT:g}, float64."
)
KINDS = {  # derivative of f at x with step h
    "forward difference": lambda f, x, h: (f(x + h) - f(x)) / h,
    "central difference": lambda f, x, h: (f(x + h) - f(x - h)) / (2 * h),
    "complex step": lambda f, x, h: f(x + 1j * h).imag / h,
}


class Bug(NamedTuple):
    """An operation whose pullback is wrong, and the inputs on which it is checked."""

    title: str
    operation: object
    inputs: tuple
    right: str  # what the pullback should be


@primitive
def add_bias(x, bias):
    """x + b. The pullback to b takes the gradient of the first row only."""
    return x + bias, (lambda g: g, lambda g: g[0])


@primitive
def linear(x, weight):
    """x Wᵀ. The pullback to x multiplies by Wᵀ."""
    return x @ weight.T, (lambda g: g @ weight.T, lambda g: g.T @ x)


@primitive
def square(x):
    """x². The pullback is g x."""
    return x * x, (lambda g: g * x,)


@primitive
def cosine(x):
    """cos x. The pullback is g sin x."""
    return np.cos(x), (lambda g: g * np.sin(x),)


@primitive
def rectify(x):
    """max(x, 0). The pullback passes g where x < 0."""
    return np.where(x.real > 0, x, 0), (lambda g: g * (x.real < 0),)


@primitive
def normalize(x):
    """(x − μ)/σ over the batch. The pullback treats μ and σ as constants."""
    deviation = x - x.mean(axis=0)
    std = np.sqrt((deviation * deviation).mean(axis=0) + 1e-3)
    return deviation / std, (lambda g: g / std,)


@primitive
def direction(theta):
    """u(θ). The pullback uses ∂uᵢ/∂θₖ = uᵢ cos θₖ / sin θₖ for i > k."""
    u = ops.hyperspherical(theta).data
    sine, cosine = np.sin(theta), np.cos(theta)

    def pullback(g):
        later = np.cumsum((g * u)[:, ::-1], axis=1)[:, ::-1][:, 1:]  # Σ gᵢ uᵢ over i > k
        with np.errstate(divide="ignore", invalid="ignore"):
            return later * cosine / sine - g[:, :-1] * u[:, :-1] * sine / cosine

    return u, (pullback,)


def running_centre_from(mean):
    """An operation with a state: the running mean, which starts from the given one."""

    @primitive
    def running_centre(x):
        """x − running mean, which every call changes. The pullback is that of the batch's mean."""
        nonlocal mean
        mean = 0.9 * mean + 0.1 * x.mean(axis=0).real
        return x - mean, (lambda g: g - g.mean(axis=0),)

    return running_centre


def bugs():
    """All bugs, in a new list each time, because one has a state."""
    rng = np.random.default_rng(0)
    x, weight = rng.normal(size=(4, 3)), rng.normal(size=(3, 3))
    pole = np.array([[1.2, 0.0, 0.7, 2.0]])
    return [
        Bug("forgotten broadcast sum", add_bias, (x, weight[0]), "g summed over the rows"),
        Bug("transposed weight", linear, (x, weight), "g W to x"),
        Bug("missing factor", square, (x,), "2 g x"),
        Bug("wrong sign", cosine, (x,), "−g sin x"),
        Bug("ReLU mask from the wrong side", rectify, (x,), "g where x > 0"),
        Bug("batch-norm mean treated as constant", normalize, (x,),
            "(g − mean g − x̂ mean(g x̂))/σ, over the batch"),
        Bug("division by sin θ at a pole", direction, (pole,),
            "sₖ (Aₖ₊₁ cos θₖ − gₖ sin θₖ), without division"),
        Bug("stale running mean", running_centre_from(0.0), (x,),
            "that of the numbers used forward, which must not change from call to call"),
    ]  # fmt: skip


def report(bug):
    """What the check says about a bug: the text of its error."""
    try:
        return f"no error, but {gradcheck(bug.operation, *bug.inputs)}"
    except GradientError as error:
        return str(error)


def function(x, library=np):
    """eˣ / √(sin³ x + cos³ x), the example of Squire & Trapp (1998)."""
    return library.exp(x) / library.sqrt(library.sin(x) ** 3 + library.cos(x) ** 3)


def step_errors():
    """Kind of derivative -> relative error with each of `STEPS`, at `POINT`."""
    x = Tensor(POINT, requires_grad=True)  # the exact derivative is that of our own backward()
    function(x, ops).backward()
    return {
        kind: np.array([abs(derivative(function, POINT, h) / x.grad.item() - 1) for h in STEPS])
        for kind, derivative in KINDS.items()
    }


def demonstrate():
    """Print what the check says about each bug, and a table of step errors; return the errors."""
    for number, bug in enumerate(bugs(), start=1):
        words = bug.operation.__doc__
        print(f"{number}. {bug.title}: {words}\n{report(bug)}\nright: {bug.right}\n")
    errors = step_errors()
    rows = [("step", *errors)]
    for step, *row in list(zip(STEPS, *errors.values()))[::4]:
        rows.append((f"{step:.0e}", *(f"{error:.1e}" for error in row)))
    print(f"relative error of the derivative of eˣ / √(sin³ x + cos³ x) at {POINT:g}\n")
    print(aligned(rows))
    return errors


def in_words(errors):
    """The curves of step errors in words, for readers who cannot see the figure."""
    best = ", ".join(f"{kind} {values.min():.0e}" for kind, values in errors.items())
    return (
        "Error against step size on logarithmic axes. Forward and central differences form a V; "
        f"the complex step falls to rounding and stays there. Smallest errors: {best}"
    )
