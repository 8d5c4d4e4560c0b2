"""The engine: recording, the chain rule, broadcasting, precision, and what it refuses."""

import operator
import weakref

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import geonet
from geonet import Tensor, no_grad, ops, primitive
from geonet.tensor import Observer


def leaf(data, dtype=np.float64):
    return Tensor(np.array(data, dtype), requires_grad=True)


def sum_over_copies(gradient, shape):
    """What an array of this shape gets if `gradient` is that of its broadcast copies."""
    size = int(np.prod(shape))
    source = np.broadcast_to(np.arange(size).reshape(shape), gradient.shape)
    total = np.bincount(source.ravel(), weights=gradient.ravel(), minlength=size)
    return total.reshape(shape)


# The chain rule -----------------------------------------------------------------------------------


def test_a_tensor_used_several_times_gets_the_sum():
    x = leaf([2.0, 3.0])
    (x * x + 3 * x + x).sum().backward()
    assert np.array_equal(x.grad, 2 * x.data + 4)


def test_one_tensor_in_both_places_of_an_operation_gets_both_gradients():
    x = leaf([2.0, 3.0])
    (x / x - x).backward([1.0, 1.0])
    assert np.array_equal(x.grad, [-1.0, -1.0])


def test_a_shared_subexpression_is_pulled_back_once_with_its_whole_gradient():
    calls = []

    @primitive
    def counted(x):
        return x * x, (lambda g: calls.append(g) or 2 * g * x,)

    x = leaf(3.0)
    shared = counted(x)
    (shared * 2 + shared * shared + ops.exp(shared - 9)).backward()  # diamonds over `shared`
    assert calls == [2 + 18 + 1]
    assert x.grad == 21 * 6


def test_nested_diamonds_take_linear_not_exponential_work():
    x = leaf(1.0)
    y = x
    for _ in range(60):  # 2**60 paths
        y = y * 0.5 + y * 0.5
    y.backward()
    assert x.grad == 1


def test_inputs_of_different_depth_wait_for_all_users():
    x = leaf(2.0)
    near = x * 3
    far = ops.square(ops.square(near))
    (near * far).backward()  # 3x · (3x)⁴
    assert x.grad == 5 * 3**5 * 2**4


def test_a_chain_of_100_000_operations():
    x = leaf(1.0)
    y = x
    for _ in range(100_000):
        y = y + 1
    y.backward()
    assert y.item() == 100_001
    assert x.grad == 1


def test_a_long_chain_can_be_dropped_without_backward():
    y = leaf(1.0)
    for _ in range(100_000):
        y = -y
    last = weakref.ref(y)
    del y  # freeing it must not recurse to the depth of the chain
    assert last() is None


STEPS = {  # each keeps numbers within [-1, 1]
    "mean": lambda a, b: (a + b) / 2,
    "difference": lambda a, b: 0.5 * a - b * 0.5,
    "product": lambda a, b: a * b,
    "sine": lambda a, b: ops.sin(a),
}


@given(st.lists(st.sampled_from(sorted(STEPS)), max_size=12), st.integers(0, 99))
def test_any_graph_has_the_gradient_of_the_complex_step(steps, seed):
    rng = np.random.default_rng(seed)
    choices = rng.integers(0, np.arange(1, len(steps) + 1)[:, None], (len(steps), 2))

    def function(x):
        values = [x]
        for step, (i, j) in zip(steps, choices):
            values.append(STEPS[step](values[i], values[j]))
        return values[-1] + values[len(values) // 2]

    x = leaf(rng.uniform(0.2, 1))
    function(x).backward()
    numeric = function(Tensor(x.data + 1e-20j)).data.imag / 1e-20
    assert x.grad == pytest.approx(numeric, rel=1e-12, abs=1e-14)


# Accumulation, retention, freeing -----------------------------------------------------------------


def test_gradients_accumulate_until_cleared():
    x = leaf([1.0, 2.0])
    for _ in range(3):
        (x * x).sum().backward()
    assert np.array_equal(x.grad, 6 * x.data)
    x.grad = None
    (x * x).sum().backward()
    assert np.array_equal(x.grad, 2 * x.data)


def test_a_leaf_is_its_own_gradient():
    x = leaf([1.0, 2.0])
    x.backward([3.0, 4.0])
    x.backward([3.0, 4.0])
    assert np.array_equal(x.grad, [6.0, 8.0])


def test_accumulation_leaves_an_earlier_gradient_array_alone():
    x = leaf([1.0, 2.0])
    (x * x).sum().backward()
    kept = x.grad
    (x * x).sum().backward()
    assert np.array_equal(kept, 2 * x.data)


def test_a_second_backward_says_that_the_graph_was_freed():
    x = leaf([1.0, 2.0])
    loss = (x * x).sum()
    loss.backward()
    with pytest.raises(RuntimeError, match=r"freed this graph.*retain_graph=True"):
        loss.backward()
    assert np.array_equal(x.grad, 2 * x.data)


def test_retain_graph_allows_a_second_backward_which_doubles():
    x = leaf([1.0, 2.0])
    loss = ops.exp(x * x).sum()
    loss.backward(retain_graph=True)
    once = x.grad
    loss.backward()
    assert np.array_equal(x.grad, 2 * once)


@pytest.mark.parametrize("second", [lambda s, y: s * y, lambda s, y: ops.exp(y * s + 1) + y])
def test_a_loss_over_a_freed_part_is_refused(second):
    x, y = leaf(2.0), leaf(5.0)
    shared = x * x
    later = second(shared, y)
    (shared * 3).backward()
    with pytest.raises(RuntimeError, match=r"freed this graph.*retain_graph=True"):
        later.backward()
    assert x.grad == 12  # the freed part is not gone through again


def test_two_losses_share_a_retained_part():
    x = leaf(2.0)
    shared = x * x
    first, second = shared * 3, shared * 4
    first.backward(retain_graph=True)
    second.backward()
    assert x.grad == 7 * 4


def test_retain_grad_keeps_the_gradient_of_an_intermediate():
    x = leaf([1.0, 2.0])
    y = (x * 3).retain_grad()
    z = x * 5
    (y * y + z).sum().backward()
    assert np.array_equal(y.grad, 6 * x.data)
    assert z.grad is None
    assert np.array_equal(x.grad, 18 * x.data + 5)


def test_retained_gradients_accumulate_too():
    y = (leaf(3.0) * 2).retain_grad()
    loss = y * y
    loss.backward(retain_graph=True)
    loss.backward()
    assert y.grad == 2 * 12


@pytest.mark.parametrize("retain_graph", [False, True])
def test_activations_are_freed_as_backward_goes(retain_graph):
    alive = []

    @primitive
    def first(x):
        return x * 1, (lambda g: alive.append([a() is not None for a in activations]) or g,)

    y = first(leaf(np.ones(5)))
    activations = []
    for _ in range(3):
        y = ops.exp(y * 0.1)
        activations.append(weakref.ref(y.data))
    loss = y.sum()
    del y
    assert all(a() is not None for a in activations)
    loss.backward(retain_graph=retain_graph)
    assert alive == [[retain_graph] * 3]


# Switching recording off --------------------------------------------------------------------------


def test_no_grad_records_nothing_inside_and_everything_outside():
    x = leaf(2.0)
    with no_grad():
        inside = x * x
        with no_grad():
            pass
        still_inside = x * x
    outside = x * x
    assert [t.requires_grad for t in (inside, still_inside, outside)] == [False, False, True]
    with pytest.raises(RuntimeError, match="requires_grad=True"):
        inside.backward()


def test_no_grad_is_restored_after_an_exception():
    x = leaf(2.0)
    with pytest.raises(KeyError), no_grad():
        raise KeyError
    assert (x * x).requires_grad


def test_no_grad_decorates_a_function_for_every_call():
    x = leaf(2.0)

    @no_grad()
    def squared(depth=0):
        return squared(depth - 1) if depth else x * x

    assert not squared().requires_grad
    assert not squared(depth=2).requires_grad
    assert (x * x).requires_grad


def test_backward_works_under_no_grad():
    x = leaf(2.0)
    y = x * x
    with no_grad():
        y.backward()
    assert x.grad == 4


def test_detach_stops_the_gradient_and_shares_the_data():
    x = leaf([2.0, 3.0])
    y = x * 2
    cut = y.detach()
    (cut * x).sum().backward()
    assert np.array_equal(x.grad, [4.0, 6.0])  # not 8 and 12
    assert not cut.requires_grad
    assert np.shares_memory(cut.data, y.data)


# Broadcasting -------------------------------------------------------------------------------------

broadcastable = hnp.mutually_broadcastable_shapes(num_shapes=2, min_side=0, max_side=3, max_dims=4)


@given(broadcastable, st.integers(0, 99))
def test_broadcasting_is_undone_by_summing(shapes, seed):
    rng = np.random.default_rng(seed)
    x, y = (leaf(rng.integers(-5, 6, shape)) for shape in shapes.input_shapes)
    g = rng.integers(-5, 6, shapes.result_shape).astype(float)  # whole numbers: sums are exact
    product = x * y
    assert product.shape == shapes.result_shape
    product.backward(g)
    for t, other in ((x, y), (y, x)):
        assert t.grad.shape == t.shape
        assert np.array_equal(t.grad, sum_over_copies(g * other.data, t.shape))


@given(broadcastable)
def test_constants_may_broadcast_too(shapes):
    x_shape, y_shape = shapes.input_shapes
    x = leaf(np.ones(x_shape))
    total = (x + np.ones(y_shape)).sum()
    total.backward()
    assert np.array_equal(x.grad, sum_over_copies(np.ones(shapes.result_shape), x_shape))


# Precision ----------------------------------------------------------------------------------------

NUMBERS = [2, 2.0, True, np.float64(2), np.float32(2), np.int64(2), np.bool_(True)]
BINARY = [operator.add, operator.sub, operator.mul, operator.truediv, operator.pow]


@pytest.mark.parametrize("number", NUMBERS, ids=lambda n: f"{type(n).__name__}")
@pytest.mark.parametrize("operation", BINARY, ids=lambda f: f.__name__)
@pytest.mark.parametrize("on_the_left", [False, True])
def test_float32_stays_float32_with_numbers(operation, number, on_the_left):
    x = leaf([[1.0, 2.0], [3.0, 0.5]], np.float32)
    y = operation(number, x) if on_the_left else operation(x, number)
    assert isinstance(y, Tensor)
    assert y.dtype == np.float32
    y.sum().backward()
    assert x.grad.dtype == np.float32
    expected = operation(float(number), x.data) if on_the_left else operation(x.data, float(number))
    assert np.allclose(y.data, expected)


@pytest.mark.parametrize(
    "make",
    [
        lambda x: -x,
        abs,
        lambda x: x @ x,
        lambda x: x.T,
        lambda x: x[0],
        lambda x: x.mean(axis=0) + x.var() + x.max(axis=1) + x.min(),
        lambda x: x.reshape(-1).transpose(),
        lambda x: ops.clip(x, low=np.float64(0.7), high=np.float64(2.5)),
        lambda x: ops.where(x > 1, x, 0.0) + ops.where(x > 1, np.float64(1), x),
        lambda x: ops.maximum(x, np.float64(1)) * ops.minimum(2, x),
        lambda x: ops.leaky_relu(x, slope=np.float64(0.1)),
        lambda x: ops.sum(x, axis=np.int64(0)),
        lambda x: (x * np.array([True, False])) / np.arange(1, 3, dtype=np.int8),
    ],
)
def test_float32_stays_float32(make):
    x = leaf([[1.0, 2.0], [3.0, 0.5]], np.float32)
    y = make(x)
    assert y.dtype == np.float32
    y.sum().backward()
    assert x.grad.dtype == np.float32


def test_a_pullback_that_widens_is_brought_back_to_the_precision_of_its_input():
    @primitive
    def widens(x):
        return x * 2, (lambda g: g * np.array(2.0),)

    x = leaf([1.0, 2.0], np.float32)
    widens(x * 1).sum().backward()
    assert x.grad.dtype == np.float32


@pytest.mark.parametrize("operation", [*BINARY, operator.matmul], ids=lambda f: f.__name__)
@pytest.mark.parametrize(
    "other", [Tensor(np.full((2, 2), 2.0)), np.full((2, 2), 2.0)], ids=["tensor", "array"]
)
@pytest.mark.parametrize("on_the_left", [False, True])
def test_mixed_precision_is_refused_naming_both(operation, other, on_the_left):
    x = leaf(np.ones((2, 2)), np.float32)
    with pytest.raises(TypeError, match="would turn float32 to float64"):
        operation(other, x) if on_the_left else operation(x, other)


def test_mixed_precision_is_refused_for_keyword_arguments():
    x, weight = leaf(np.ones((1, 3)), np.float32), leaf(np.ones((2, 3)), np.float32)
    for bias in (np.zeros(2), Tensor(np.zeros(2))):
        with pytest.raises(TypeError, match="linear would turn float32 to float64"):
            ops.linear(x, weight, bias=bias)


def test_the_refusal_names_floating_types_only():
    with pytest.raises(TypeError, match=r"^where would turn float32 to float64: cast first$"):
        ops.where(np.ones(2, bool), leaf([1, 2], np.float32), leaf([1, 2]))


# What operators take and give ---------------------------------------------------------------------


@pytest.mark.parametrize("operation", BINARY, ids=lambda f: f.__name__)
def test_operators_are_those_of_numpy_from_either_side(operation):
    array = np.array([[0.5, 2.0], [3.0, 4.0]])
    x = leaf([[1.0, 2.0], [3.0, 4.0]])
    for y, expected in ((operation(x, array), operation(x.data, array)),
                        (operation(array, x), operation(array, x.data))):  # fmt: skip
        assert isinstance(y, Tensor)
        assert y.requires_grad
        assert np.allclose(y.data, expected)


def test_matrix_product_with_an_array_on_the_left():
    array = np.arange(6.0).reshape(2, 3)
    x = leaf(np.ones((3, 2)))
    y = array @ x
    assert isinstance(y, Tensor)
    y.sum().backward()
    assert np.array_equal(x.grad, np.repeat(array.sum(axis=0)[:, None], 2, axis=1))


@pytest.mark.parametrize("compare", [operator.lt, operator.le, operator.gt, operator.ge])
def test_comparisons_give_masks(compare):
    x = leaf([1.0, 2.0, 3.0])
    for other in (2, np.float64(2), np.array([3.0, 2.0, 1.0]), Tensor([3.0, 2.0, 1.0])):
        plain = other.data if isinstance(other, Tensor) else other
        for mask, expected in ((compare(x, other), compare(x.data, plain)),
                               (compare(other, x), compare(plain, x.data))):  # fmt: skip
            assert type(mask) is np.ndarray
            assert np.array_equal(mask, expected)


@pytest.mark.parametrize("axes", [(), (1, 0, 2), (-1, 0, 1)])
def test_transpose_takes_axes_one_by_one_or_together(axes):
    x = leaf(np.arange(24.0).reshape(2, 3, 4))
    expected = x.data.transpose(axes or None)
    assert np.array_equal(x.transpose(*axes).data, expected)
    assert np.array_equal(x.transpose(axes or None).data, expected)


def test_reshape_takes_a_shape_one_by_one_or_together():
    x = leaf(np.arange(6.0))
    assert x.reshape(3, 2).shape == x.reshape((3, 2)).shape == x.reshape(3, -1).shape == (3, 2)
    assert leaf([1.0]).reshape(()).shape == ()


def test_attributes_are_those_of_the_array():
    x = Tensor(np.zeros((2, 3), np.float32), name="x")
    assert (x.shape, x.dtype, x.ndim, x.size, len(x)) == ((2, 3), np.float32, 2, 6, 2)
    assert Tensor(2.5).item() == float(Tensor(2.5)) == 2.5
    assert not Tensor(0.0)
    assert "name='x'" in repr(x)
    assert "made by multiply" in repr(leaf(1.0) * 2)


def test_data_are_not_copied():
    array = np.ones(3)
    assert Tensor(array).data is array
    assert Tensor(Tensor(array)).data is array


def test_keyword_tensors_get_gradients():
    rng = np.random.default_rng(0)
    x, weight, bias = (leaf(rng.normal(size=shape)) for shape in ((4, 3), (2, 3), (2,)))
    g = rng.normal(size=(4, 2))
    for call in (
        lambda: ops.linear(x, weight, bias=bias),
        lambda: ops.linear(x, bias=bias, weight=weight),
        lambda: ops.linear(bias=bias, weight=weight, x=x),
    ):
        x.grad = weight.grad = bias.grad = None
        call().backward(g)
        assert np.allclose(x.grad, g @ weight.data)
        assert np.allclose(weight.grad, g.T @ x.data)
        assert np.allclose(bias.grad, g.sum(axis=0))


# Numbers of any kind ------------------------------------------------------------------------------


def test_an_array_in_the_other_byte_order_becomes_native_and_so_does_its_gradient():
    x = Tensor(np.array([1.0, 2.0], ">f8"), requires_grad=True)
    (x * x).backward(np.array([3.0, 4.0], ">f4"))
    np.testing.assert_array_equal(x.data, np.array([1.0, 2.0]), strict=True)
    np.testing.assert_array_equal(x.grad, np.array([6.0, 16.0]), strict=True)
    assert x.data.dtype.isnative
    assert x.grad.dtype.isnative


def test_data_that_were_exchanged_may_have_the_other_byte_order():
    model = geonet.models.mlp([3, 4, 2], "GmP", rng=np.random.default_rng(0))
    x, found = np.random.default_rng(1).normal(size=(5, 3)), []
    for order in "<>":
        for parameter in model.parameters():
            parameter.data, parameter.grad = parameter.data.astype(f"{order}f8"), None
        loss = (model(x) * model(x)).sum()
        loss.backward()
        found.append([loss.data, *(p.grad for p in model.parameters())])
    for native, swapped in zip(*found):
        np.testing.assert_allclose(swapped, native, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint32, np.uint64])
def test_unsigned_numbers_go_below_zero(dtype):
    x = Tensor(np.array([5, 200], dtype))
    for found in (x - 7, x - np.array([7], dtype), x + (-7), -(7 - x)):
        np.testing.assert_array_equal(found.data, [-2, 193])
    np.testing.assert_array_equal((-x.sum()).data, -205)
    assert (x * 300).data.tolist() == [1500, 60000]


def test_whole_numbers_become_64_bits_wide_or_floating_beside_floating_ones():
    small = Tensor(np.array([200, 100], np.uint8))
    assert (small + small).dtype == np.int64
    assert (small + np.ones(2, np.float16)).dtype == np.float16
    assert ops.exp(small).dtype == np.float64  # not the float16 of NumPy, which overflows
    assert small.reshape(2, 1).dtype == small[0].dtype == small.max().dtype == np.uint8


def test_masks_count():
    hits = Tensor(np.array([True, False, True, True]))
    assert hits.sum().item() == 3
    assert hits.mean().item() == 0.75
    assert ops.mse(hits, np.array([True, True, True, False])).item() == 0.5
    assert ops.mae(hits, np.ones(4, np.float32)).item() == 0.25
    assert (hits + hits).data.tolist() == [2, 0, 2, 2]


def test_an_operation_of_ones_own_gets_its_arrays_as_they_are():
    """An index of few bits beside float32 stays an index, and a mask a mask."""

    @primitive
    def chosen(table, rows, mask):
        def scatter(g):
            gradient = np.zeros_like(table)
            np.add.at(gradient, rows[mask], g)
            return gradient

        return table[rows[mask]], (scatter, None, None)

    table = leaf([1, 2, 3], np.float32)
    y = chosen(table, np.array([2, 0, 2], np.uint8), np.array([True, False, True]))
    y.backward([1.0, 2.0])
    np.testing.assert_array_equal(table.grad, [0, 0, 3])


@pytest.mark.parametrize("number", [2.0, np.float64(2), np.float32(2), np.int8(2), np.bool_(True)])
def test_numbers_alone_are_arrays_without_axes(number):
    assert ops.exp(number).item() == pytest.approx(np.exp(float(number)), rel=1e-15)
    assert ops.sum(number).item() == ops.max(number).item() == number
    assert ops.reshape(number, (1, 1)).shape == (1, 1)
    assert ops.mse(number, np.zeros(())).item() == number**2


def test_anything_array_like_is_an_array():
    matrix = np.array([[1.0, 2.0], [3.0, 4.0]]).view(np.matrix)
    np.testing.assert_array_equal((Tensor(matrix) * matrix).data, np.square(matrix.A))
    assert type(ops.multiply(matrix, matrix).data) is np.ndarray
    assert ops.mse(leaf([1.0, 2.0]), [3, 5]).item() == 6.5
    x = leaf([1.0, 2.0, 3.0])
    np.testing.assert_array_equal(x[[]].data, [])
    np.testing.assert_array_equal(x[[True, False, True]].data, [1, 3])


def test_what_a_mask_hides_is_not_computed_with():
    masked = np.ma.array([1.0, 2.0], mask=[False, True])
    for use in (Tensor, lambda a: ops.add(a, 1.0), lambda a: ops.add(leaf([1.0, 2.0]), a)):
        with pytest.raises(TypeError, match=r"masked array would lose its mask.*filled"):
            use(masked)


# In place -----------------------------------------------------------------------------------------

IN_PLACE = {
    operator.iadd: operator.add, operator.isub: operator.sub, operator.imul: operator.mul,
    operator.itruediv: operator.truediv, operator.ipow: operator.pow,
    operator.imatmul: operator.matmul,
}  # fmt: skip
in_place = pytest.mark.parametrize("operate", IN_PLACE)


@in_place
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_parameter_changes_in_place_where_nothing_is_recorded(operate, dtype):
    x = start = leaf([[1.0, 2.0], [3.0, 4.0]], dtype)
    data, other = x.data, leaf([[2.0, 1.0], [0.5, 3.0]], dtype)
    expected = IN_PLACE[operate](data.copy(), other.data)
    with no_grad():
        x = operate(x, other)
    assert x is start
    assert x.data is data
    assert x.requires_grad
    np.testing.assert_array_equal(data, expected, strict=True)


def test_a_step_of_gradient_descent_by_hand():
    x = leaf([1.0, 2.0])
    for _ in range(2):
        x.grad = None
        (x * x).sum().backward()
        with no_grad():
            x -= 0.25 * x.grad
    np.testing.assert_array_equal(x.data, [0.25, 0.5])


@in_place
def test_a_parameter_is_not_changed_in_place_while_operations_are_recorded(operate):
    x = leaf(np.eye(2))
    with pytest.raises(TypeError, match=r"optimizer.*with geonet\.no_grad\(\).*x = x \+ y"):
        operate(x, np.eye(2))
    np.testing.assert_array_equal(x.data, np.eye(2))


@in_place
def test_of_anything_else_the_operators_make_a_new_tensor(operate):
    """``loss += term`` is ``loss = loss + term``."""
    array = np.array([[1.0, 2.0], [3.0, 4.0]])
    for make in (lambda: Tensor(array), lambda: leaf(array) * 1, lambda: leaf(array)[:]):
        x = make()
        y = operate(x, leaf([[2.0, 1.0], [0.5, 3.0]]))
        assert y is not x
        assert y.requires_grad
        np.testing.assert_array_equal(x.data, array)
    loss = 0
    for x in (weights := [leaf(2.0), leaf(3.0)]):
        loss += x * x
    loss /= 2
    loss.backward()
    assert [x.grad for x in weights] == [2, 3]


@pytest.mark.parametrize(
    ("operate", "other", "error", "message"),
    [
        (operator.iadd, np.ones((2, 3)), ValueError, r"size 6 into shape \(3,\)"),
        (operator.imul, 1j, TypeError, "complex128.* to .*float64"),
        (operator.isub, np.ones(3, np.float32), TypeError, "would turn float32 to float64"),
    ],
)
def test_in_place_neither_shape_nor_precision_changes(operate, other, error, message):
    x = leaf(np.ones(3))
    with no_grad(), pytest.raises(error, match=message):
        operate(x, other)
    np.testing.assert_array_equal(x.data, np.ones(3), strict=True)


# Arrays stay apart --------------------------------------------------------------------------------


def test_gradients_share_no_memory():
    x, y, z = leaf(np.ones((2, 2))), leaf(np.ones((2, 2))), leaf(np.ones((2, 2)))
    g = np.full((2, 2), 3.0)
    inner = (x + y).retain_grad()
    (inner + z.T.reshape(2, 2)).backward(g)
    arrays = [x.grad, y.grad, z.grad, inner.grad, g, x.data, y.data, z.data]
    for i, a in enumerate(arrays):
        for b in arrays[:i]:
            assert not np.shares_memory(a, b)


def test_gradients_are_writeable_where_the_pullback_gave_a_view():
    x = leaf(np.ones((2, 3)))
    x.sum().backward()
    x.grad *= 2
    assert np.array_equal(x.grad, np.full((2, 3), 2.0))


def test_changing_a_gradient_does_not_reach_the_next_backward():
    x = leaf([1.0, 2.0])
    y = x * x
    loss = (y + y).sum()
    loss.backward(retain_graph=True)
    x.grad[:] = 0
    loss.backward()
    assert np.array_equal(x.grad, 4 * x.data)


def test_neither_data_nor_the_given_gradient_is_changed():
    x, y = np.array([1.0, 2.0]), np.array([3.0, 4.0])
    g = np.array([5.0, 6.0])
    for array in (x, y, g):
        array.flags.writeable = False
    a, b = Tensor(x, requires_grad=True), Tensor(y, requires_grad=True)
    c = a + b
    (c * a - c + b).backward(g)
    (c.detach() + a).backward(g)
    assert np.array_equal(g, [5.0, 6.0])


# What is refused ----------------------------------------------------------------------------------


def test_assignment_in_place_explains_what_to_do():
    x = leaf([1.0, 2.0])
    with pytest.raises(TypeError, match=r"in place.*geonet\.ops\.where"):
        x[0] = 3.0
    with pytest.raises(TypeError, match="in place"):
        x[x > 1] += 3.0


@pytest.mark.parametrize("data", [[1, 2], np.arange(3), True])
def test_integers_cannot_require_a_gradient(data):
    with pytest.raises(TypeError, match=r"floating data, but data is (int64|bool)"):
        Tensor(data, requires_grad=True)


@pytest.mark.parametrize("dtype", [np.int64, np.uint8, bool])
def test_a_gradient_is_never_rounded_to_whole_numbers(dtype):
    exchanged, switched = Tensor([1.0, 2.0], requires_grad=True), Tensor(np.ones(2, dtype))
    exchanged.data, switched.requires_grad = np.ones(2, dtype), True
    for x in (exchanged, switched):
        with pytest.raises(ValueError, match=f"requires a gradient, .* but are {np.dtype(dtype)}"):
            (x * 0.5).sum().backward()
        assert x.grad is None


@pytest.mark.parametrize("data", ["abc", ["a", "b"], None, [None], {"a": 1}, object()])
def test_data_must_be_numeric(data):
    with pytest.raises(TypeError, match="data must be numeric"):
        Tensor(data)


def test_a_numpy_function_is_refused_rather_than_losing_the_gradient():
    x = leaf([1.0, 2.0])
    with pytest.raises(TypeError, match="__array_ufunc__"):
        np.sin(x)
    with pytest.raises(TypeError, match="lose the gradient"):
        np.asarray(x)
    assert np.array_equal(np.asarray(x.detach()), x.data)
    assert np.asarray(x.detach(), dtype=np.float32).dtype == np.float32


def test_backward_wants_a_gradient_for_more_than_one_number():
    x = leaf(np.ones((2, 3)))
    with pytest.raises(ValueError, match=r"must be given.*\(2, 3\)"):
        (x * 2).backward()


def test_backward_needs_none_for_one_number_of_any_shape():
    x = leaf([[3.0]])
    (x * x).backward()
    assert np.array_equal(x.grad, [[6.0]])


@pytest.mark.parametrize("shape", [(), (3,), (3, 2), (1, 2, 3)])
def test_backward_wants_a_gradient_of_its_own_shape(shape):
    x = leaf(np.ones((2, 3)))
    with pytest.raises(ValueError, match=r"gradient must have shape \(2, 3\), but has"):
        (x * 2).backward(np.ones(shape))
    assert x.grad is None


def test_backward_of_what_needs_no_gradient():
    with pytest.raises(RuntimeError, match="requires_grad=True"):
        (Tensor([1.0, 2.0]) * 2).sum().backward()


# Operations of one's own --------------------------------------------------------------------------


def test_only_the_pullbacks_that_are_needed_run():
    @primitive
    def product(x, y):
        return x * y, (lambda g: g * y, lambda g: pytest.fail("y needs no gradient"))

    x = leaf(2.0)
    product(x, 3.0).backward()
    assert x.grad == 3
    product(x, Tensor(3.0)).backward()


def test_one_function_may_pull_back_to_all_inputs():
    asked = []

    @primitive
    def product(x, y):
        def pullback(g, needs):
            asked.append(needs)
            return (g * y if needs[0] else None, g * x if needs[1] else None)

        return x * y, pullback

    x, y = leaf([2.0, 5.0]), leaf(3.0)
    product(x, y).sum().backward()
    assert np.array_equal(x.grad, [3.0, 3.0])
    assert y.grad == 7  # summed over the broadcast axis, in this form too
    product(x, 3.0).sum().backward()
    product(4.0, y).backward()
    assert asked == [(True, True), (True, False), (False, True)]


@pytest.mark.parametrize("together", [False, True])
def test_a_missing_pullback_is_named(together):
    @primitive
    def product(x, y):
        return x * y, (lambda g, needs: (g * y,)) if together else (lambda g: g * y,)

    with pytest.raises(TypeError, match="product has no pullback for its input 1"):
        product(leaf(2.0), leaf(3.0)).backward()


@pytest.mark.parametrize("together", [False, True])
def test_asking_for_a_derivative_that_does_not_exist_is_an_error(together):
    @primitive
    def product(x, y):
        return x * y, (lambda g, needs: (None, g * x)) if together else (None, lambda g: g * x)

    y = leaf(3.0)
    product(2.0, y).backward()
    assert y.grad == 2
    with pytest.raises(TypeError, match="product has no pullback for its input 0"):
        product(leaf(2.0), y).backward()


NOT_A_PAIR = {
    "nothing": lambda x: None,
    "the value": lambda x: 2 * x,
    "two values": lambda x: (x, x),
    "two values and a pullback": lambda x: ((x, x), (lambda g: g,)),
    "no pullback": lambda x: (2 * x, None),
    "an array as pullback": lambda x: (2 * x, x),
    "three things": lambda x: (2 * x, (lambda g: 2 * g,), x),
}


@pytest.mark.parametrize("returned", NOT_A_PAIR)
def test_a_function_that_returns_no_value_with_its_pullback_is_named(returned):
    def twice(x):
        return NOT_A_PAIR[returned](x)

    for x in (leaf([1.0, 2.0]), np.ones(2)):
        with pytest.raises(TypeError, match=r"^twice must return \(value, pullback\)"):
            primitive(twice)(x)


NO_GRADIENT = {
    "a tuple without its comma": lambda g: 2 * g,
    "no gradients": lambda g, needs: (),
    "nothing for all": lambda g, needs: None,
    "nothing": (lambda g: None,),
    "a list": (lambda g: [2.0, 2.0],),
    "an array instead of a function": (np.full(2, 2.0),),
}


@pytest.mark.parametrize("pullback", NO_GRADIENT)
def test_a_pullback_that_gives_no_array_is_named(pullback):
    @primitive
    def twice(x):
        return 2 * x, NO_GRADIENT[pullback]

    x = leaf([1.0, 2.0])
    with pytest.raises(TypeError, match=r"^twice has no pullback for its input 0"):
        twice(x).sum().backward()
    assert x.grad is None


@pytest.mark.parametrize("gradient", [np.array([True, False]), np.array([1, 0], np.int8)])
def test_a_gradient_of_whole_numbers_is_a_gradient(gradient):
    @primitive
    def steps(x):
        return x * 1, (lambda g: gradient,)

    x = leaf([1.0, 2.0])
    (steps(x) + steps(x)).sum().backward()
    np.testing.assert_array_equal(x.grad, np.array([2.0, 0.0]), strict=True)


@pytest.mark.parametrize("shape", [(), (3,), (4, 3), (3, 2), (1, 3), (2, 1)])
def test_a_pullback_of_the_wrong_shape_is_named(shape):
    @primitive
    def double(x):
        return 2 * x, (lambda g: np.ones(shape),)

    with pytest.raises(ValueError, match=r"double: the pullback to input 0 gives .*\(2, 3\)"):
        double(leaf(np.ones((2, 3)))).sum().backward()


FIXED = """
    METHODS Tensor no_grad primitive hvp gradcheck check_model __version__ check models interop
    ops.relu ops.conv2d ops.max_pool2d ops.hyperspherical ops.mse ops.mae ops.cross_entropy
    ops.binary_cross_entropy hypersphere.to_cartesian hypersphere.to_hyperspherical
    hypersphere.metric hypersphere.angle_between nn.Linear nn.Conv2d nn.Unit nn.BatchNorm
    nn.MeanNorm nn.LayerNorm nn.MaxPool2d nn.ResidualBlock nn.Sequential nn.Module nn.Parameter
    nn.Standard nn.WeightNorm nn.Geometric nn.convert nn.export_torch nn.import_torch models.mlp
    models.vgg6 models.resnet18 models.resnet34 models.resnet50 characteristic.boundary
    characteristic.location characteristic.Tracker characteristic.perturb train.SGD train.Adam
    train.ReduceLROnPlateau train.EarlyStopping train.fit graph.watch graph.trace graph.anomalies
    gradients.Inspector gradients.anticipate
"""


@pytest.mark.parametrize("name", FIXED.split())
def test_public_names_stay_where_they_are(name):
    assert operator.attrgetter(name)(geonet) is not None
    package, _, last = name.rpartition(".")
    if package in ("", "nn", "train", "graph") and last != "__version__":
        assert last in (getattr(geonet, package) if package else geonet).__all__


OPERATORS = {
    "add": operator.add, "subtract": operator.sub, "multiply": operator.mul,
    "divide": operator.truediv, "power": operator.pow, "matmul": operator.matmul,
}  # fmt: skip
METHODS = {
    "sum": {"axis": 0, "keepdims": True}, "mean": {"axis": 1}, "var": {"axis": 0, "ddof": 1},
    "max": {"axis": 0}, "min": {"axis": 1, "keepdims": True},
}  # fmt: skip


def test_operators_and_methods_are_the_operations_of_geonet_ops():
    rng = np.random.default_rng(0)
    x, y = (rng.uniform(0.5, 2, (3, 3)) for _ in "xy")
    for name, operate in OPERATORS.items():
        for a, b in ((Tensor(x), y), (x, Tensor(y)), (Tensor(x), Tensor(y))):
            np.testing.assert_array_equal(operate(a, b).data, getattr(ops, name)(x, y).data)
    for name, options in METHODS.items():
        found = getattr(Tensor(x), name)(**options)
        np.testing.assert_array_equal(found.data, getattr(ops, name)(x, **options).data)
        np.testing.assert_array_equal(getattr(Tensor(x), name)().data, getattr(ops, name)(x).data)
    np.testing.assert_array_equal((-Tensor(x)).data, -x)
    np.testing.assert_array_equal(abs(Tensor(-x)).data, x)


def test_an_operation_of_a_user_by_the_same_name_takes_no_operators_place():
    @primitive
    def add(x, y):
        return x - y, (lambda g: g, lambda g: -g)

    assert add(Tensor(3.0), 1.0).item() == 2
    assert (Tensor(3.0) + 1.0).item() == 4
    assert ops.add(Tensor(3.0), 1.0).item() == 4


class Listening(Observer):
    """Keeps the names of the operations that were recorded."""

    def __init__(self):
        self.seen = []

    def on_operation(self, record, inputs, value):
        self.seen.append((record.operation.__name__, len(inputs), value.shape))


def test_observers_are_told_of_what_is_recorded_inside_and_of_nothing_else():
    x, outer, inner = Tensor(np.ones(3), requires_grad=True), Listening(), Listening()
    (x * 2).sum()
    with outer:
        y = x * 2
        with inner:
            y.sum()
            with no_grad():
                y.sum()
            ops.exp(np.ones(3))  # of what needs no gradient, nothing is recorded
        y.sum()
    y.sum()
    assert outer.seen == [("multiply", 2, (3,)), ("sum", 1, ()), ("sum", 1, ())]
    assert inner.seen == [("sum", 1, ())]


def test_an_observer_is_gone_after_an_error():
    seen = Listening()
    with pytest.raises(ZeroDivisionError), seen:
        1 / 0  # noqa: B018
    Tensor(1.0, requires_grad=True) * 2
    assert not seen.seen


def test_equality_is_that_of_the_numbers_and_a_tensor_is_still_itself():
    x = Tensor([1.0, 2.0])
    np.testing.assert_array_equal(x == 1, [True, False])
    np.testing.assert_array_equal(x != Tensor([1.0, 3.0]), [False, True])
    assert x in {x}


def test_iteration_is_over_the_first_axis():
    assert [row.shape for row in Tensor(np.ones((3, 2)))] == [(2,)] * 3
    with pytest.raises(TypeError):
        list(Tensor(3.0))


def test_lists_count_as_arrays():
    np.testing.assert_array_equal(ops.add([1, 2], [3, 4]).data, [4, 6])


def test_a_single_number_prints_in_any_format():
    assert f"{Tensor(1.23456):.3f}" == "1.235"
    assert f"{Tensor([1.0])}".startswith("Tensor([1.]")


def test_a_result_that_keeps_its_gradient_is_freed_when_nobody_holds_it():
    x = Tensor(np.ones(3), requires_grad=True)
    kept = (x * 2).retain_grad()
    watch = weakref.ref(kept)
    del kept
    assert watch() is None


def test_numbers_that_no_pullback_needs_are_not_kept():
    x = Tensor(np.ones(3), requires_grad=True)
    middle = x * 2
    watch = weakref.ref(middle.data)
    total = (middle + 1).sum()
    del middle
    assert watch() is None
    total.backward()
    np.testing.assert_array_equal(x.grad, [2, 2, 2])
