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

from geonet.ops import arrays, convolution, elementwise, losses, normalization, pooling, units
from geonet.ops.arrays import *
from geonet.ops.convolution import *
from geonet.ops.elementwise import *
from geonet.ops.losses import *
from geonet.ops.normalization import *
from geonet.ops.pooling import *
from geonet.ops.units import *
from geonet.tensor import OPERATIONS

__all__ = [
    "OPERATIONS",  # name -> operation, of those with a pullback; the others are made of them
    *arrays.__all__,
    *convolution.__all__,
    *elementwise.__all__,
    *units.__all__,
    *losses.__all__,
    *normalization.__all__,
    *pooling.__all__,
]
