"""Exercises of lesson 03: pullbacks of linear layers, and of broadcasting."""

import numpy as np
from hypothesis import strategies as st

from lessons.exercise import Exercise, Wrong


def _array(draw, shape, largest=2):
    """An array of readable numbers: multiples of a quarter from −largest to largest."""
    count = int(np.prod(shape))
    quarters = st.integers(-4 * largest, 4 * largest)
    return np.reshape(draw(st.lists(quarters, min_size=count, max_size=count)), shape) / 4


def linear_pullback(g, x, weight):
    """The pullback of a linear layer, y = x Wᵀ + b.

    Parameters
    ----------
    g : array (N, O)
        ∂L/∂y, the gradient of the outputs.
    x : array (N, n)
        The inputs, one row each.
    weight : array (O, n)
        The weights W, one row for each unit.

    Returns
    -------
    tuple of three arrays
        ∂L/∂x of shape (N, n), ∂L/∂W of shape (O, n) and ∂L/∂b of shape (O,), in this order:
        ∂L/∂xᵢₖ = Σₒ gᵢₒ Wₒₖ, ∂L/∂Wₒₖ = Σᵢ gᵢₒ xᵢₖ and ∂L/∂bₒ = Σᵢ gᵢₒ.
    """
    return g @ weight, g.T @ x, g.sum(axis=0)


@st.composite
def _layers(draw):
    sizes = st.integers(1, 3)
    inputs, features, units = draw(sizes), draw(sizes), draw(sizes)
    shapes = (inputs, units), (inputs, features), (units, features)
    return tuple(_array(draw, shape) for shape in shapes)


def _pullback(to_x=None, to_weight=None, to_bias=None):
    """A solution with one or two of its three answers replaced."""
    to_x = to_x or (lambda g, x, weight: g @ weight)
    to_weight = to_weight or (lambda g, x, weight: g.T @ x)
    to_bias = to_bias or (lambda g, x, weight: g.sum(axis=0))
    return lambda g, x, weight: tuple(f(g, x, weight) for f in (to_x, to_weight, to_bias))


def _pullback_in_loops(g, x, weight):
    to_x, to_weight, to_bias = np.zeros(x.shape), np.zeros(weight.shape), np.zeros(len(weight))
    for i in range(len(x)):
        for o in range(len(weight)):
            to_x[i] += g[i, o] * weight[o]
            to_weight[o] += g[i, o] * x[i]
            to_bias[o] += g[i, o]
    return to_x, to_weight, to_bias


LINEAR = Exercise(
    key="03.a",
    title="The pullback of a linear layer",
    points=3,
    difficulty=2,
    solve=linear_pullback,
    inputs=_layers,
    hints=(
        "Each answer has the shape of the array that it is the gradient of. Write the shapes of "
        "g, x and W side by side.",
        "A sum over an index that two arrays share is a matrix product. For ∂L/∂W the shared "
        "index counts the inputs, so one of the two arrays must be transposed to bring it inside.",
        "∂L/∂x is g times W as it stands, ∂L/∂W is g transposed times x, and ∂L/∂b adds up the "
        "rows of g.",
    ),
    wrong=(
        Wrong(
            "divides by the number of inputs",
            _pullback(
                to_weight=lambda g, x, weight: g.T @ x / len(x),
                to_bias=lambda g, x, weight: g.mean(axis=0),
            ),
            "You take a mean over the inputs. If the loss is a mean, that is in g already; the "
            "pullback adds up.",
        ),
        Wrong(
            "takes the mean for the bias",
            _pullback(to_bias=lambda g, x, weight: g.mean(axis=0)),
            "The bias is used once for every input, and uses are added, not averaged.",
        ),
        Wrong(
            "keeps a bias for each input",
            _pullback(to_bias=lambda g, x, weight: g),
            "There is one bias for each unit and not one for each output. It is shared by all the "
            "inputs.",
        ),
        Wrong(
            "sums the bias over the units",
            _pullback(to_bias=lambda g, x, weight: g.sum(axis=1)),
            "You have one number for each input, where one for each unit is asked: the wrong axis "
            "was summed.",
        ),
        Wrong(
            "transposes the gradient of the weights",
            _pullback(to_weight=lambda g, x, weight: x.T @ g),
            "Your ∂L/∂W has a row for each feature, but W has a row for each unit.",
        ),
        Wrong(
            "transposes the weights on the way back",
            _pullback(to_x=lambda g, x, weight: g @ weight.T),
            "The way forwards used W transposed, the way back does not. Where there are as many "
            "units as features the shapes fit, and the numbers are still wrong.",
        ),
        Wrong(
            "looks at the first input only",
            _pullback(
                to_weight=lambda g, x, weight: np.outer(g[0], x[0]),
                to_bias=lambda g, x, weight: g[0].copy(),
            ),
            "Your gradients of W and b are those of a batch of one. Every input of the batch has "
            "used them.",
        ),
        Wrong(
            "forgets what comes back",
            lambda g, x, weight: linear_pullback(np.ones_like(g), x, weight),
            "These are gradients of the sum of all outputs. The loss depends on each output in "
            "its own way, and g says how.",
        ),
        Wrong(
            "mixes up the order of the answers",
            lambda g, x, weight: (g.T @ x, g @ weight, g.sum(axis=0)),
            "The three arrays are asked in another order. Look at the list of results.",
        ),
    ),
    right=(
        _pullback_in_loops,
        lambda g, x, weight: (
            np.einsum("io,ok->ik", g, weight),
            np.einsum("io,ik->ok", g, x),
            np.ones(len(g)) @ g,
        ),
    ),
    kind="gradient",
)


def unbroadcast(g, shape):
    """The pullback of broadcasting: the gradient of an array that NumPy repeated.

    An array of the given shape was broadcast to the shape of g, by NumPy's rules: axes are put in
    front, and axes of length 1 are stretched. Every entry of g belongs to one copy of one entry.

    Parameters
    ----------
    g : array
        The gradient of the array after it was broadcast.
    shape : tuple of int
        The shape before, which may be ().

    Returns
    -------
    array of the given shape
        For each entry, the sum over its copies.
    """
    in_front = tuple(range(g.ndim - len(shape)))
    g = g.sum(axis=in_front)
    stretched = tuple(k for k, size in enumerate(shape) if size == 1)
    return g.sum(axis=stretched, keepdims=True)


# The shape of g, and the shape before.
_SHAPES = [
    ((2,), (2,)), ((2,), (1,)), ((2,), ()), ((2, 3), (3,)), ((2, 2), (2,)), ((2, 3), (2, 1)),
    ((2, 3), (1, 3)), ((2, 3), (1,)), ((2, 3), (1, 1)), ((2, 3), ()), ((1, 3), (3,)),
    ((3, 2, 2), (2, 2)), ((2, 3, 2), (3, 1)), ((2, 3, 2), (1, 2)), ((2, 3, 2), (2,)),
    ((2, 2, 3), (2, 1, 3)), ((2, 1, 3), (1, 1, 3)), ((2, 2, 2), (2, 1, 1)),
]  # fmt: skip


@st.composite
def _broadcasts(draw):
    full, shape = draw(st.sampled_from(_SHAPES))
    return _array(draw, full), shape


def _repeated(g, shape):
    """The axes of g that were put in front, and those that were stretched."""
    extra = g.ndim - len(shape)
    stretched = (k + extra for k, size in enumerate(shape) if size == 1)
    return tuple(range(extra)), tuple(stretched)


def _reduced_by(reduce):
    """A solution that combines the copies in another way than by a sum."""

    def solve(g, shape):
        in_front, stretched = _repeated(g, shape)
        return reduce(g, axis=in_front + stretched).reshape(shape)

    return solve


def _first_copy(g, shape):
    in_front, stretched = _repeated(g, shape)
    lengths = (1 if k in in_front + stretched else size for k, size in enumerate(g.shape))
    return g[tuple(map(slice, lengths))].reshape(shape)


def _drops_stretched(g, shape):
    in_front, stretched = _repeated(g, shape)
    return g.sum(axis=in_front + stretched)


def _keeps_front(g, shape):
    in_front, stretched = _repeated(g, shape)
    return g.sum(axis=in_front + stretched, keepdims=True)


def _from_the_left(g, shape):
    padded = (*shape, *[1] * (g.ndim - len(shape)))
    ones = tuple(k for k, size in enumerate(padded) if size == 1)
    summed = g.sum(axis=ones, keepdims=True)
    return summed.reshape(summed.shape[: len(shape)])


def _axis_by_axis(g, shape):
    while g.ndim > len(shape):
        g = np.add.reduce(g, axis=0)
    for k in range(g.ndim):
        if shape[k] < g.shape[k]:
            g = np.add.reduce(g, axis=k, keepdims=True)
    return g


def _entry_by_entry(g, shape):
    total = np.zeros(shape)
    places = np.broadcast_to(np.arange(total.size).reshape(shape), g.shape)
    np.add.at(total.reshape(-1), places.ravel(), g.ravel())
    return total


UNBROADCAST = Exercise(
    key="03.b",
    title="The sum that undoes broadcasting",
    points=3,
    difficulty=3,
    solve=unbroadcast,
    inputs=_broadcasts,
    hints=(
        "NumPy lines up two shapes at their right ends. Write one above the other: which axes of "
        "g are missing in the shape, and which have length 1 there?",
        "There are two kinds of axes to sum over. Those in front disappear; those that were "
        "stretched stay, with length 1.",
        "First sum g over its first g.ndim - len(shape) axes. Then sum over all axes k with "
        "shape[k] == 1, with keepdims=True.",
    ),
    wrong=(
        Wrong(
            "takes one of the copies",
            _first_copy,
            "You return what comes back to the first copy. Every copy has been used, and each "
            "brings a term.",
        ),
        Wrong(
            "averages the copies",
            _reduced_by(np.mean),
            "A value that is used ten times has ten times the effect, not the same effect as if "
            "it were used once.",
        ),
        Wrong(
            "takes the largest of the copies",
            _reduced_by(np.max),
            "You pick one copy's gradient out of many. Uses add up.",
        ),
        Wrong(
            "drops the stretched axes",
            _drops_stretched,
            "You sum over the right axes, but those of length 1 must still be there afterwards: "
            "(3, 1) and (3,) are different shapes.",
        ),
        Wrong(
            "keeps the axes in front",
            _keeps_front,
            "The numbers are right, but axes that the array never had are still there, with "
            "length 1.",
        ),
        Wrong(
            "forgets the stretched axes",
            lambda g, shape: g.sum(axis=_repeated(g, shape)[0]),
            "You sum over the axes in front. But an axis of length 1 that has become longer "
            "consists of copies as well.",
        ),
        Wrong(
            "forgets the axes in front",
            lambda g, shape: g.sum(axis=_repeated(g, shape)[1], keepdims=True),
            "You sum over the stretched axes. But NumPy may also have put whole axes in front.",
        ),
        Wrong(
            "sums over everything",
            lambda g, shape: np.full(shape, g.sum()),
            "Every entry gets the sum of all of g. An entry should get what comes back to its own "
            "copies.",
        ),
        Wrong(
            "lines up the shapes at the left",
            _from_the_left,
            "NumPy puts new axes in front, so it compares shapes from the right end. You compare "
            "them from the left.",
        ),
    ),
    right=(_axis_by_axis, _entry_by_entry),
)


def two_layer_pullback(g, x, weight, bias, top):
    """The gradients of two linear layers with the hyperbolic tangent between them.

    With z = x Wᵀ + b and a = tanh z, entry by entry, the outputs are y = a Vᵀ.

    Parameters
    ----------
    g : array (N, M)
        ∂L/∂y, the gradient of the outputs.
    x : array (N, n)
        The inputs, one row each.
    weight : array (H, n)
        The weights W of the first layer.
    bias : array (H,)
        The biases b of the first layer.
    top : array (M, H)
        The weights V of the second layer.

    Returns
    -------
    tuple of three arrays
        ∂L/∂W of shape (H, n), ∂L/∂b of shape (H,) and ∂L/∂V of shape (M, H), in this order.
    """
    a = np.tanh(x @ weight.T + bias)
    d_z = (g @ top) * (1 - a**2)
    return d_z.T @ x, d_z.sum(axis=0), g.T @ a


@st.composite
def _networks(draw):
    sizes = st.integers(1, 3)
    inputs, features, hidden, outputs = (draw(sizes) for _ in range(4))
    shapes = (
        (inputs, outputs), (inputs, features), (hidden, features), (hidden,), (outputs, hidden),
    )  # fmt: skip
    return tuple(_array(draw, shape, largest=1) for shape in shapes)


def _network(d_z=None, d_weight=None, d_bias=None, d_top=None):
    """A solution with one or two of its lines replaced."""
    d_z = d_z or (lambda g, z, top: (g @ top) * (1 - np.tanh(z) ** 2))
    d_weight = d_weight or (lambda slope, x, z: slope.T @ x)
    d_bias = d_bias or (lambda slope: slope.sum(axis=0))
    d_top = d_top or (lambda g, z: g.T @ np.tanh(z))

    def solve(g, x, weight, bias, top):
        z = x @ weight.T + bias
        slope = d_z(g, z, top)
        return d_weight(slope, x, z), d_bias(slope), d_top(g, z)

    return solve


def _network_by_complex_step(g, x, weight, bias, top):
    arrays = [weight, bias, top]
    gradients = [np.zeros(array.shape) for array in arrays]
    for array, gradient in zip(range(3), gradients):
        for index in np.ndindex(gradient.shape):
            moved = [a.astype(complex) for a in arrays]
            moved[array][index] += 1e-20j
            outputs = np.tanh(x @ moved[0].T + moved[1]) @ moved[2].T
            gradient[index] = np.sum(g * outputs).imag / 1e-20
    return tuple(gradients)


def _network_row_by_row(g, x, weight, bias, top):
    d_weight, d_bias, d_top = np.zeros(weight.shape), np.zeros(bias.shape), np.zeros(top.shape)
    for back, row in zip(g, x):
        z = weight @ row + bias
        slope = top.T @ back / np.cosh(z) ** 2
        d_weight += np.outer(slope, row)
        d_bias += slope
        d_top += np.outer(back, np.tanh(z))
    return d_weight, d_bias, d_top


TWO_LAYERS = Exercise(
    key="03.c",
    title="The pullback of two layers",
    points=4,
    difficulty=3,
    solve=two_layer_pullback,
    inputs=_networks,
    hints=(
        "Go forwards first and keep a. Then go back from the top: which array does the second "
        "layer hand to the tanh as its gradient?",
        "The second layer is linear with input a: its pullback gives ∂L/∂V and ∂L/∂a. The tanh "
        "multiplies entry by entry. The first layer is linear with input x.",
        "∂L/∂z is ∂L/∂a times 1 − a·a, entry by entry, where ∂L/∂a is g times V. Now use the "
        "pullback of 03.a with ∂L/∂z in the place of g.",
    ),
    wrong=(
        Wrong(
            "forgets the derivative of tanh",
            _network(d_z=lambda g, z, top: g @ top),
            "You hand ∂L/∂a to the first layer as if there were nothing between the two layers.",
        ),
        Wrong(
            "puts z for a in the derivative of tanh",
            _network(d_z=lambda g, z, top: (g @ top) * (1 - z**2)),
            "The derivative of tanh is written with the square of what came out of tanh. You took "
            "what went in.",
        ),
        Wrong(
            "applies tanh twice",
            _network(d_z=lambda g, z, top: (g @ top) * (1 - np.tanh(np.tanh(z)) ** 2)),
            "You differentiate tanh at a, but tanh was applied to z: a is its value already.",
        ),
        Wrong(
            "multiplies by tanh itself",
            _network(d_z=lambda g, z, top: (g @ top) * np.tanh(z)),
            "On the way back an operation multiplies by its derivative, not by its value.",
        ),
        Wrong(
            "puts what comes back into the derivative",
            _network(d_z=lambda g, z, top: 1 - (g @ top) ** 2),
            "You computed the derivative of tanh at the gradient that came back. It belongs to "
            "the values of the way forwards, and the two are multiplied.",
        ),
        Wrong(
            "gives the top layer the wrong input",
            _network(d_top=lambda g, z: g.T @ z),
            "Your ∂L/∂V is that of a network without tanh. Look again at what the second layer "
            "multiplied its weights by.",
        ),
        Wrong(
            "gives the first layer the wrong input",
            _network(d_weight=lambda slope, x, z: slope.T @ np.tanh(z)),
            "Your ∂L/∂W has the outputs of the first layer where its inputs should be.",
        ),
        Wrong(
            "transposes the top layer's gradient",
            _network(d_top=lambda g, z: np.tanh(z).T @ g),
            "Your ∂L/∂V has a row for each hidden unit, but V has a row for each output.",
        ),
        Wrong(
            "skips the top layer's weights",
            _network(
                d_z=lambda g, z, top: g.sum(axis=1, keepdims=True) * (1 - np.tanh(z) ** 2),
            ),
            "You hand g on to the hidden units without the weights by which the second layer "
            "multiplied them.",
        ),
        Wrong(
            "takes the mean for the bias",
            _network(d_bias=lambda slope: slope.mean(axis=0)),
            "The bias is used once for every input, and uses are added, not averaged.",
        ),
    ),
    right=(_network_by_complex_step, _network_row_by_row),
    kind="gradient",
)

EXERCISES = [LINEAR, UNBROADCAST, TWO_LAYERS]
