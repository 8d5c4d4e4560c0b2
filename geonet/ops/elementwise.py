"""Elementwise operations: arithmetic, elementary and piecewise functions.

g = ∂L/∂y is the gradient of the result; the arrow points to the gradients of the inputs.
"""

import numpy as np

from geonet.tensor import as_given, exact, primitive

# Arithmetic ---------------------------------------------------------------------------------------


@primitive
def add(x, y):
    """Sum, x + y. g → g, g."""
    return x + y, (lambda g: g, lambda g: g)


@primitive
def subtract(x, y):
    """Difference, x − y. g → g, −g."""
    return x - y, (lambda g: g, lambda g: -g)


@primitive
def multiply(x, y):
    """Elementwise product, x y. g → g y, g x."""
    return x * y, (lambda g: g * y, lambda g: g * x)


@primitive(domain=(0.5, 2))
def divide(x, y):
    """Quotient, x / y. g → g / y, −g x / y²."""
    value = x / y
    return value, (lambda g: g / y, lambda g: -g * value / y)  # y² could overflow


@primitive
def negative(x):
    """Negation, −x. g → −g."""
    return -x, (lambda g: -g,)


@primitive(domain=(0.5, 2))
def power(x, y):
    """Power, xʸ. g → g y xʸ⁻¹, g xʸ ln x. The second needs x > 0 (at 0: 0 if y ≥ 0, else −∞)."""
    value = x**y

    def to_exponent(g):
        return g * value * np.log(np.where((np.real(x) == 0) & (np.real(y) >= 0), 1, x))

    # at y = 0 the derivative is 0 for every x, where 0 · 0⁻¹ would be NaN
    return value, (lambda g: g * y * x ** np.where(np.real(y) == 0, 1, y - 1), to_exponent)


@primitive
def square(x):
    """Square, x². g → 2 g x."""
    return x * x, (lambda g: 2 * g * x,)


@primitive(domain=(0.5, 2))
def sqrt(x):
    """Square root, √x. g → g / (2 √x)."""
    value = np.sqrt(x)
    return value, (lambda g: g / (2 * value),)


# Elementary functions -----------------------------------------------------------------------------


@primitive
def exp(x):
    """Exponential, eˣ. g → g eˣ."""
    value = np.exp(x)
    return value, (lambda g: g * value,)


@primitive(domain=(0.5, 2))
def log(x):
    """Natural logarithm, ln x. g → g / x."""
    return np.log(x), (lambda g: g / x,)


@primitive
def sin(x):
    """Sine, sin x. g → g cos x."""
    return np.sin(x), (lambda g: g * np.cos(x),)


@primitive
def cos(x):
    """Cosine, cos x. g → −g sin x."""
    return np.cos(x), (lambda g: -g * np.sin(x),)


@primitive(domain=(-1, 1))
def tan(x):
    """Tangent, tan x. g → g (1 + tan² x)."""
    value = np.tan(x)
    return value, (lambda g: g * (1 + value * value),)


@primitive(domain=(-0.9, 0.9))
def arcsin(x):
    """Inverse sine, arcsin x. g → g / √(1 − x²)."""
    return np.arcsin(x), (lambda g: g / np.sqrt(1 - x * x),)


@primitive(domain=(-0.9, 0.9))
def arccos(x):
    """Inverse cosine, arccos x. g → −g / √(1 − x²)."""
    return np.arccos(x), (lambda g: -g / np.sqrt(1 - x * x),)


@primitive
def arctan(x):
    """Inverse tangent, arctan x. g → g / (1 + x²)."""
    return np.arctan(x), (lambda g: g / (1 + x * x),)


@primitive
def tanh(x):
    """Hyperbolic tangent, tanh x. g → g (1 − tanh² x)."""
    value = np.tanh(x)
    return value, (lambda g: g * (1 - value * value),)


# Piecewise functions ------------------------------------------------------------------------------


@primitive
def absolute(x):
    """Absolute value, |x|. g → g sign x, 0 at 0."""
    sign = np.sign(np.real(x))
    return x * sign, (lambda g: g * sign,)


def _larger(x, y):
    """1 where x > y, 0 where x < y, ½ where they are equal."""
    x, y = np.real(x), np.real(y)
    return np.where(x == y, 0.5, x > y).astype(np.result_type(x, y, np.float32))


def _mix(x, y, share, choose):
    """choose(x, y), or x · share + y · (1 − share) for complex arrays.

    `choose` would compare the imaginary parts of complex numbers, too.
    """
    if np.iscomplexobj(x) or np.iscomplexobj(y):
        return x * share + y * (1 - share)
    return choose(x, y)


@primitive
def maximum(x, y):
    """The larger of x and y. g → g where it is x (half at a tie), g where it is y."""
    share = _larger(x, y)
    return _mix(x, y, share, np.maximum), (lambda g: g * share, lambda g: g * (1 - share))


@primitive
def minimum(x, y):
    """The smaller of x and y. g → g where it is x (half at a tie), g where it is y."""
    share = _larger(y, x)
    return _mix(x, y, share, np.minimum), (lambda g: g * share, lambda g: g * (1 - share))


@as_given(samples=lambda rng: [((rng.random((3, 4)) < 0.5, *rng.normal(size=(2, 3, 4))), {})])
def where(condition, x, y):
    """x where the condition holds, y elsewhere. g → none, g where it holds, g elsewhere."""
    condition, (x, y) = np.real(condition), exact(x, y)
    value = np.where(condition, x, y)
    return value, (None, lambda g: np.where(condition, g, 0), lambda g: np.where(condition, 0, g))


@primitive(samples=lambda rng: [((rng.normal(size=(3, 4)), -0.5, 0.8), {})])
def clip(x, low, high):
    """x limited to [low, high]; None means no limit. g → g inside (ends included), 0 outside."""
    low, high = -np.inf if low is None else low, np.inf if high is None else high
    inside = (np.real(x) >= low) & (np.real(x) <= high)
    return np.where(inside, x, np.clip(np.real(x), low, high)), (lambda g: g * inside,)
