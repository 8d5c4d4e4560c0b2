"""Every differentiable operation, with its forward computation next to its pullback.

Each module of this package holds one kind of operation. An operation takes arrays (or Tensors) and
returns a Tensor; see `geonet.tensor.primitive`. In the docstrings g = ∂L/∂y is the gradient of the
result y, and the arrow points to the gradients of the inputs. The engine sums these over broadcast
axes.

Where a derivative does not exist, these conventions hold everywhere:

- relu, leaky_relu, absolute, mae: at the kink the derivative is 0 for relu, the slope for
  leaky_relu, and 0 for absolute and mae;
- maximum, minimum, max, min: tied entries share the gradient equally;
- max_pool2d: the first of several tied entries of a window, row by row, gets the gradient;
- clip: 1 on the closed interval, 0 outside;
- sqrt, log and power at 0, arcsin and arccos at ±1: the result of the formula (infinity or NaN).

Integers and booleans are the numbers that they are: NumPy's wrap-around of small ones, such as
200 + 100 = 44 in uint8, does not occur. Operations compute with them in int64 or, beside floating
arrays, in the type that NumPy promotes both to. What only moves numbers leaves their type alone.

Complex arrays are accepted throughout, for derivatives by the complex step. Piecewise operations
choose their piece by the real part.
"""

from geonet.ops.activations import *
from geonet.ops.arrays import *
from geonet.ops.convolution import *
from geonet.ops.directions import *
from geonet.ops.elementwise import *
from geonet.ops.losses import *
from geonet.ops.matrices import *
from geonet.ops.normalization import *
from geonet.ops.pooling import *
from geonet.tensor import OPERATIONS

# OPERATIONS has every function under `primitive` by its name; the other three have no pullback.
__all__ = ["OPERATIONS", "batch_moments", "concatenate", "stack", *OPERATIONS]
