"""Every differentiable operation, its forward computation and its pullback side by side.

Each module of this package holds one kind of operation. An operation takes arrays (or Tensors) and
gives a Tensor; `geonet.tensor.primitive` tells the form. In the docstrings g = ∂L/∂y is the
gradient of the result y, and the arrow shows what the pullback makes of it for each input. Sums
over broadcast axes are the engine's business.

Conventions where a derivative does not exist, the same everywhere:

- relu, leaky_relu, absolute, mae: at the kink the derivative is 0 for relu, the slope for
  leaky_relu, 0 for absolute and mae;
- maximum, minimum, max, min: entries that tie share the gradient equally;
- max_pool2d: of entries that tie the first of the window, row by row, gets the gradient;
- clip: 1 on the closed interval, 0 outside;
- sqrt, log and power at 0, arcsin and arccos at ±1: what the formula gives (infinity or NaN),
  without a repair.

Complex arrays are accepted throughout, for derivatives by the complex step: piecewise operations
choose their piece by the real part.
"""

import numpy as np

from geonet.ops.arrays import *
from geonet.ops.convolution import *
from geonet.ops.elementwise import *
from geonet.ops.linear import *
from geonet.ops.losses import *
from geonet.ops.normalization import *
from geonet.ops.pooling import *
from geonet.tensor import Tensor

OPERATIONS = {name: f for name, f in globals().items() if getattr(f, "is_primitive", False)}

# Tensor's operators and methods are these operations.


def _reflected(operation):
    return lambda x, y: operation(y, x)


def _comparison(compare):
    """A comparison gives a plain mask, for `where` and indexing: it has no derivative."""
    return lambda x, y: compare(x.data, y.data if isinstance(y, Tensor) else y)


for _symbol, _operation in (
    ("add", add), ("sub", subtract), ("mul", multiply), ("truediv", divide), ("pow", power),
    ("matmul", matmul),
):  # fmt: skip
    setattr(Tensor, f"__{_symbol}__", _operation)
    setattr(Tensor, f"__r{_symbol}__", _reflected(_operation))
for _symbol, _compare in (
    ("eq", np.equal), ("ne", np.not_equal), ("lt", np.less), ("le", np.less_equal),
    ("gt", np.greater), ("ge", np.greater_equal),
):  # fmt: skip
    setattr(Tensor, f"__{_symbol}__", _comparison(_compare))

Tensor.__format__ = lambda x, style: format(x.item(), style) if style else str(x)
Tensor.__iter__ = lambda x: (x[i] for i in range(len(x)))
Tensor.__float__, Tensor.__bool__ = lambda x: float(x.data), lambda x: bool(x.data)
Tensor.__hash__ = object.__hash__  # a Tensor is itself, whatever its numbers
Tensor.__neg__, Tensor.__abs__, Tensor.__getitem__ = negative, absolute, getitem
Tensor.sum, Tensor.mean, Tensor.var, Tensor.max, Tensor.min = sum, mean, var, max, min
Tensor.reshape = lambda x, *shape: reshape(x, shape[0] if len(shape) == 1 else shape)
Tensor.transpose = lambda x, *axes: transpose(x, axes[0] if len(axes) == 1 else axes or None)
Tensor.T = property(transpose)
