"""The three routes of a convolution agree, whatever the shapes, the layout and the threads."""

import numpy as np
import pytest
from convolution_helpers import (
    Shapes,
    arrays,
    convolutions,
    plain_conv2d,
    plain_pullback,
    relative_error,
)
from hypothesis import example, given, settings
from hypothesis import strategies as st

from geonet.kernels import reference
from geonet.kernels.convolution import ROUTES, choose, conv2d, conv2d_pullback

every_route = pytest.mark.parametrize("route", [None, *ROUTES])
ALL = (True, True, True)
SAME = {"stride": (1, 1), "padding": (1, 1)}


def results(shapes, g, x, weight, bias, route):
    """y and the three gradients."""
    how = shapes.stride, shapes.padding
    y = conv2d(x, weight, bias, *how, route=route)
    return y, *conv2d_pullback(g, x, weight, *how, ALL, route=route)


def double(inputs):
    return [array.astype(np.float64) for array in inputs]


def check_against_the_reference(shapes, inputs, route, tolerance):
    """In the precision of the inputs, against float64."""
    g, x, weight, bias = double(inputs)
    how = shapes.stride, shapes.padding
    expected = (
        reference.conv2d(x, weight, bias, *how),
        *reference.conv2d_pullback(g, x, weight, *how, ALL),
        g.sum(axis=(0, 1, 2)),
    )
    for ours, exact in zip(results(shapes, *inputs, route), expected, strict=True):
        assert ours.shape == exact.shape
        assert ours.dtype == inputs[0].dtype
        assert relative_error(ours, exact) < tolerance


# Agreement ----------------------------------------------------------------------------------------


@given(
    shapes=convolutions() | convolutions(kernels=(3,), strides=(1,)),
    dtype=st.sampled_from([np.float32, np.float64]),
    seed=st.integers(0, 99),
)
@settings(max_examples=100)
def test_all_routes_agree(shapes, dtype, seed):
    inputs = arrays(shapes, seed, dtype)
    suits_winograd = shapes.weight[1:3] == (3, 3) and shapes.stride == (1, 1)
    for route in (None, "im2col", "shifted", *["winograd"] * suits_winograd):
        check_against_the_reference(shapes, inputs, route, 1e-5 if dtype is np.float32 else 1e-12)


@pytest.mark.parametrize(
    "shapes",
    [
        Shapes((4, 32, 32, 64), (64, 3, 3, 64), **SAME),
        Shapes((16, 8, 8, 100), (70, 3, 3, 100), **SAME),  # no multiples of anything
        Shapes((2, 17, 13, 256), (128, 3, 3, 256), **SAME),
        Shapes((1, 3, 2, 33), (65, 3, 3, 33), **SAME),  # smaller than a tile
        Shapes((3, 11, 9, 200), (40, 3, 3, 200), (2, 2), (1, 1)),
        Shapes((5, 14, 14, 128), (300, 1, 1, 128), (2, 2), (0, 0)),
        Shapes((2, 30, 30, 3), (64, 7, 7, 3), (2, 2), (3, 3)),
    ],
)
@every_route
def test_float32_stays_within_a_hundred_thousandth_of_float64(shapes, route):
    if route == "winograd" and shapes.stride != (1, 1):
        route = None
    check_against_the_reference(shapes, arrays(shapes, dtype=np.float32), route, 1e-5)


@every_route
@given(seed=st.integers(0, 9))
@settings(max_examples=3)
def test_gradients_are_the_transpose_of_the_convolution(route, seed):
    """g · conv(dx, w) = ∂L/∂x · dx and g · conv(x, dw) = ∂L/∂w · dw: it is linear in either."""
    shapes = Shapes((2, 7, 6, 4), (5, 3, 3, 4), **SAME)
    g, x, weight, bias = arrays(shapes, seed)
    _, dx, dweight, dbias = arrays(shapes, seed + 100)
    _, to_x, to_weight, to_bias = results(shapes, g, x, weight, bias, route)
    how = shapes.stride, shapes.padding, route
    assert np.vdot(to_x, dx) == pytest.approx(np.vdot(g, conv2d(dx, weight, None, *how)))
    assert np.vdot(to_weight, dweight) == pytest.approx(np.vdot(g, conv2d(x, dweight, None, *how)))
    assert np.vdot(to_bias, dbias) == pytest.approx(np.vdot(g, np.zeros_like(g) + dbias))


# Layout, threads, memory --------------------------------------------------------------------------

LAYOUTS = {
    "fortran": np.asfortranarray,
    "every other": lambda a: np.repeat(a, 2, axis=-1)[..., ::2],
    "reversed": lambda a: np.flip(np.flip(a).copy()),
    "channels first": lambda a: np.moveaxis(np.moveaxis(a, -1, 0).copy(), 0, -1),
}


@every_route
@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_layout_in_memory_makes_no_difference(route, layout):
    shapes = Shapes((3, 6, 7, 5), (4, 3, 3, 5), **SAME)
    inputs = arrays(shapes)
    changed = [LAYOUTS[layout](array) for array in inputs]
    for ours, plain in zip(results(shapes, *changed, route), results(shapes, *inputs, route)):
        np.testing.assert_allclose(ours, plain, rtol=1e-12, atol=1e-13)


@every_route
def test_arrays_that_repeat_one_number_are_taken(route):
    shapes = Shapes((2, 5, 5, 3), (4, 3, 3, 3), **SAME)
    inputs = arrays(shapes)
    repeated = [np.broadcast_to(array.flat[0], array.shape) for array in inputs]
    written = [array.copy() for array in repeated]
    for ours, plain in zip(results(shapes, *repeated, route), results(shapes, *written, route)):
        np.testing.assert_allclose(ours, plain, rtol=1e-12, atol=1e-13)


@every_route
def test_inputs_are_left_alone_and_results_are_new(route):
    shapes = Shapes((2, 4, 4, 3), (4, 3, 3, 3), **SAME)
    inputs = arrays(shapes)
    for array in inputs:
        array.flags.writeable = False
    first = results(shapes, *inputs, route)
    kept = [array.copy() for array in first]
    again = results(shapes, *arrays(shapes, seed=1), route)
    for array, copy, other in zip(first, kept, again):
        assert array.flags.writeable
        assert not any(np.shares_memory(array, x) for x in (*inputs, other))
        np.testing.assert_array_equal(array, copy)


@pytest.mark.parametrize("route", ["im2col", "shifted"])
@pytest.mark.parametrize("kernel", [(3, 3), (1, 1)])
def test_the_number_of_threads_changes_no_bit(route, kernel, monkeypatch):
    """Winograd's route has sums for each thread and does not promise it."""
    shapes = Shapes((13, 9, 8, 33), (40, *kernel, 33), **SAME)
    inputs, found = arrays(shapes, dtype=np.float32), []
    for count in ("1", "2", "3"):
        monkeypatch.setenv("GEONET_THREADS", count)
        found.append(results(shapes, *inputs, route))
    for other in found[1:]:
        for ours, one_thread in zip(other, found[0]):
            np.testing.assert_array_equal(ours, one_thread)


@pytest.mark.parametrize("count", ["2", "3", "20"])
def test_winograds_route_is_right_on_any_number_of_threads(count, monkeypatch):
    monkeypatch.setenv("GEONET_THREADS", count)
    shapes = Shapes((13, 9, 8, 33), (40, 3, 3, 33), **SAME)
    check_against_the_reference(shapes, arrays(shapes, dtype=np.float32), "winograd", 1e-5)


@every_route
def test_a_batch_of_none_gives_nothing_and_gradients_of_zero(route):
    shapes = Shapes((0, 5, 5, 3), (4, 3, 3, 3), **SAME)
    y, to_x, to_weight, to_bias = results(shapes, *arrays(shapes), route)
    assert (y.shape, to_x.shape) == (shapes.y, shapes.x)
    np.testing.assert_array_equal(to_weight, np.zeros(shapes.weight))
    np.testing.assert_array_equal(to_bias, np.zeros(4))


@pytest.mark.parametrize(
    "needs", [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 0, 1), (1, 1, 1)]
)
@every_route
def test_only_what_is_needed_is_given(route, needs):
    shapes = Shapes((2, 4, 4, 3), (4, 3, 3, 3), **SAME)
    g, x, weight, _ = arrays(shapes)
    how = shapes.stride, shapes.padding
    gradients = conv2d_pullback(g, x, weight, *how, needs, route)
    for gradient, need, one_of_all in zip(
        gradients, needs, conv2d_pullback(g, x, weight, *how, ALL, route)
    ):
        assert (gradient is not None) == bool(need)
        if need:
            np.testing.assert_array_equal(gradient, one_of_all)


def test_sums_for_the_bias_do_not_lose_small_terms():
    g = np.full((2000, 1, 1, 2), 0.1, np.float32)
    g[0] = 1e6
    to_bias = conv2d_pullback(g, None, None, (1, 1), (0, 0), (False, False, True))[2]
    assert to_bias.dtype == np.float32
    np.testing.assert_allclose(to_bias, [1e6 + 199.9] * 2, rtol=1e-6)


# Complex arrays and whole numbers -----------------------------------------------------------------


@every_route
@pytest.mark.parametrize("complex_ones", [(0,), (1,), (2,), (3,), (0, 1, 2, 3)])
def test_any_of_the_arrays_may_be_complex(route, complex_ones):
    shapes = Shapes((2, 4, 5, 2), (3, 3, 3, 2), **SAME)
    pairs = zip(arrays(shapes, 0), arrays(shapes, 1))
    inputs = [a + 1j * b if i in complex_ones else a for i, (a, b) in enumerate(pairs)]
    g, x, weight, bias = inputs
    how = shapes.stride, shapes.padding
    expected = plain_conv2d(x, weight, bias, *how), *plain_pullback(g, x, weight, *how)
    for ours, plain in zip(results(shapes, *inputs, route), expected):
        assert ours.dtype == plain.dtype
        np.testing.assert_allclose(ours, plain, rtol=1e-12, atol=1e-13)


def test_whole_numbers_are_taken_as_images():
    shapes = Shapes((2, 4, 5, 2), (3, 3, 3, 2), **SAME)
    _, _, weight, bias = arrays(shapes, dtype=np.float32)
    pixels = np.random.default_rng(0).integers(0, 256, shapes.x, dtype=np.uint8)
    y = conv2d(pixels, weight, bias, shapes.stride, shapes.padding)
    assert y.dtype == np.float32
    expected = conv2d(pixels.astype(np.float32), weight, bias, shapes.stride, shapes.padding)
    np.testing.assert_array_equal(y, expected)


# The choice ---------------------------------------------------------------------------------------


@given(
    shapes=convolutions() | convolutions(kernels=(3,), strides=(1,)),
    images=st.sampled_from([1, 64, 1000]),
    channels=st.sampled_from([1, 3, 16, 64, 512]),
    dtype=st.sampled_from([np.float32, np.float64, np.complex128]),
)
@example(Shapes((0, 8, 8, 0), (128, 3, 3, 0), **SAME), 64, 512, np.float32)  # Winograd's
def test_the_route_chosen_is_one_that_can_be_taken(shapes, images, channels, dtype):
    x, weight = (images, *shapes.x[1:3], channels), (*shapes.weight[:3], channels)
    name = choose(x, weight, shapes.stride, shapes.padding, np.dtype(dtype))
    assert name in ROUTES
    if name == "winograd":
        assert (weight[1:3], shapes.stride) == ((3, 3), (1, 1))
        assert dtype is not np.complex128


@pytest.mark.parametrize(
    ("name", "x", "weight", "stride"),
    [
        ("im2col", (64, 32, 32, 3), (128, 3, 3, 3), (1, 1)),
        ("winograd", (64, 32, 32, 128), (128, 3, 3, 128), (1, 1)),
        ("winograd", (64, 8, 8, 512), (512, 3, 3, 512), (1, 1)),
        ("shifted", (1, 4, 4, 512), (512, 3, 3, 512), (1, 1)),
        ("shifted", (64, 32, 32, 128), (128, 3, 3, 128), (2, 2)),
        ("shifted", (64, 32, 32, 128), (256, 1, 1, 128), (1, 1)),
    ],
)
def test_each_route_has_the_shapes_it_is_made_for(name, x, weight, stride, monkeypatch):
    padding = weight[1] // 2, weight[2] // 2
    assert choose(x, weight, stride, padding, np.dtype(np.float32)) == name
    taken = []
    for known, module in ROUTES.items():
        monkeypatch.setattr(module, "forward", lambda *_, known=known: taken.append(known))
    conv2d(np.empty(x, np.float32), np.empty(weight, np.float32), None, stride, padding)
    conv2d(np.empty(x, np.float32), np.empty(weight, np.float32), None, stride, padding, "im2col")
    assert taken == [name, "im2col"]


# Errors -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("x", "weight", "options", "message"),
    [
        ((4, 5, 5), (2, 3, 3, 5), {}, r"x must be \(N, H, W, C\).*\(4, 5, 5\)"),
        ((4, 5, 5, 3), (2, 27), {}, r"weight \(O, kh, kw, C\).*\(2, 27\)"),
        ((4, 5, 5, 3), (2, 0, 3, 3), {}, r"without a 0.*\(2, 0, 3, 3\)"),
        ((4, 5, 5, 3), (2, 3, 3, 4), {}, r"x has shape.*3 channels.*takes 4"),
        ((4, 5, 5, 3), (2, 3, 3, 3), {"bias": np.ones(3)}, r"bias has shape \(3,\).*needs \(2,\)"),
        ((4, 5, 5, 3), (2, 3, 3, 3), {"bias": np.ones((2, 1))}, r"bias has shape \(2, 1\)"),
        ((4, 5, 5, 3), (2, 3, 3, 3), {"stride": (1, 0)}, r"stride must be at least 1.*\(1, 0\)"),
        ((4, 5, 5, 3), (2, 3, 3, 3), {"padding": (-1, 0)}, r"padding at least 0.*\(-1, 0\)"),
        ((4, 5, 2, 3), (2, 3, 3, 3), {}, r"\(4, 5, 2, 3\).*needs larger images"),
        ((4, 5, 5, 3), (2, 3, 3, 3), {"route": "fft"}, "one of im2col, shifted, winograd.*'fft'"),
        ((4, 5, 5, 3), (2, 3, 2, 3), {"route": "winograd"}, r"3×3 kernels.*\(2, 3, 2, 3\)"),
        ((4, 5, 5, 3), (2, 3, 3, 3), {"route": "winograd", "stride": (2, 1)}, r"is \(2, 1\)"),
    ],
)
def test_what_cannot_be_is_named(x, weight, options, message):
    options = {"bias": None, "stride": (1, 1), "padding": (0, 0)} | options
    with pytest.raises(ValueError, match=f"conv2d: .*{message}"):
        conv2d(np.ones(x), np.ones(weight), **options)
