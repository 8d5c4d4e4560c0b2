"""Losses: logits of any size, labels of any kind, and what is refused."""

import math

import numpy as np
import pytest

from geonet import Tensor, ops


def zeros(*shapes):
    return [np.zeros(shape) for shape in shapes]


both_precisions = pytest.mark.parametrize("dtype", [np.float32, np.float64])


@pytest.mark.parametrize("smoothing", [-0.1, 1.1, np.nan])
def test_a_smoothing_that_is_no_share_is_refused(smoothing):
    with pytest.raises(ValueError, match=r"smoothing must be in \[0, 1\], but is"):
        ops.cross_entropy(np.zeros((2, 3)), np.array([0, 1]), smoothing)


def test_labels_may_be_a_list_or_of_any_integer_type():
    logits = np.random.default_rng(0).normal(size=(3, 4))
    labels = [0, 3, 1]
    expected = ops.cross_entropy(logits, np.array(labels)).item()
    for given_labels in (labels, np.array(labels, np.uint8), Tensor(labels)):
        assert ops.cross_entropy(logits, given_labels).item() == expected


@both_precisions
def test_cross_entropy_is_right_for_large_logits(dtype):
    x = Tensor(np.array([[1000, -1000], [1000, -1000], [1000, 1000]], dtype), requires_grad=True)
    loss = ops.cross_entropy(x, np.array([0, 1, 1]))
    loss.backward()
    assert loss.item() == pytest.approx((0 + 2000 + math.log(2)) / 3, rel=1e-6)
    np.testing.assert_allclose(x.grad, np.array([[0, 0], [1, -1], [0.5, -0.5]]) / 3, rtol=1e-6)


@both_precisions
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
def test_smoothed_cross_entropy_is_that_of_pytorch(torch, dtype, smoothing):
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(6, 4)).astype(dtype) * 20, rng.integers(0, 4, 6)
    theirs = torch.tensor(logits, requires_grad=True)
    expected = torch.nn.functional.cross_entropy(
        theirs, torch.tensor(labels), label_smoothing=smoothing
    )
    expected.backward()
    ours = Tensor(logits, requires_grad=True)
    loss = ops.cross_entropy(ours, labels, smoothing)
    loss.backward()
    assert loss.dtype == ours.grad.dtype == dtype
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)
    np.testing.assert_allclose(ours.grad, theirs.grad.numpy(), rtol=1e-5, atol=1e-7)


def test_an_impossible_class_costs_nothing_unless_labels_are_smoothed():
    logits = np.array([[0, -np.inf]])
    assert ops.cross_entropy(logits, np.array([0])).item() == 0
    assert ops.cross_entropy(logits, np.array([0]), 0.1).item() == np.inf


@both_precisions
def test_binary_cross_entropy_is_right_for_large_logits(dtype):
    x = Tensor(np.array([1000, 1000, -1000, -1000, 0], dtype), requires_grad=True)
    targets = np.array([1, 0, 1, 0, 0.5], dtype)
    loss = ops.binary_cross_entropy(x, targets)
    loss.backward()
    assert loss.item() == pytest.approx((0 + 1000 + 1000 + 0 + math.log(2)) / 5, rel=1e-6)
    np.testing.assert_allclose(x.grad, np.array([0, 1, -1, 0, 0]) / 5, rtol=1e-6)
