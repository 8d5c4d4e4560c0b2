"""Modules: names and states of what they hold, their mode, and steps applied in turn."""

import numpy as np
import pytest

from geonet import nn, ops


def rng(seed=0):
    return np.random.default_rng(seed)


class Counter(nn.Module):
    """A module with a parameter, a buffer, and what is neither."""

    buffers = ("count",)

    def __init__(self, value):
        self.scale = nn.Parameter(np.full(2, value))
        self.count = np.zeros(1)
        self.comment = np.ones(3)


class Tree(nn.Module):
    def __init__(self):
        self.first = Counter(1.0)
        self.own = nn.Parameter(np.zeros(1))
        self.rest = [Counter(2.0), "not a module", Counter(3.0)]


def test_parameters_have_dotted_names_in_order_of_construction():
    tree = Tree()
    named = dict(tree.named_parameters())
    assert list(named) == ["own", "first.scale", "rest.0.scale", "rest.2.scale"]
    assert [id(p) for p in tree.parameters()] == [id(p) for p in named.values()]
    assert named["rest.2.scale"] is tree.rest[2].scale
    assert [name for name, _ in tree.named_modules()] == ["", "first", "rest.0", "rest.2"]


def test_a_shared_parameter_is_listed_once_under_all_of_its_names():
    tree = Tree()
    tree.rest[2].scale = tree.first.scale
    assert [name for name, p in tree.named_parameters() if p is tree.first.scale] == [
        "first.scale",
        "rest.2.scale",
    ]
    assert [id(p) for p in tree.parameters()].count(id(tree.first.scale)) == 1
    assert len(tree.parameters()) == 3


def test_a_parameter_is_a_contiguous_copy_that_wants_a_gradient():
    data = np.arange(6.0).reshape(2, 3)
    parameter = nn.Parameter(data.T)
    data[...] = -1
    assert np.array_equal(parameter.data, np.arange(6.0).reshape(2, 3).T)
    assert parameter.data.flags.c_contiguous  # which optimizers rely on
    assert parameter.requires_grad


def test_state_dict_holds_copies_of_parameters_and_buffers():
    tree = Tree()
    state = tree.state_dict()
    assert set(state) == {
        "own", "first.scale", "first.count", "rest.0.scale", "rest.0.count",
        "rest.2.scale", "rest.2.count",
    }  # fmt: skip
    tree.first.scale.data[...] = 9
    tree.first.count[...] = 9
    assert np.all(state["first.scale"] == 1)
    assert np.all(state["first.count"] == 0)


def test_load_state_dict_restores_in_place():
    tree = Tree()
    state = tree.state_dict()
    array, count = tree.rest[0].scale.data, tree.rest[0].count
    array[...], count[...] = 7, 7
    tree.load_state_dict(state)
    assert tree.rest[0].scale.data is array
    assert np.all(array == 2)
    assert tree.rest[0].count is count
    assert np.all(count == 0)
    state["own"][...] = 5
    assert tree.own.data[0] == 0  # nor does it keep what it was given


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("own"), r"differs in \['own'\]"),
        (lambda state: state.update(extra=0), r"differs in \['extra'\]"),
        (lambda state: state.update({"rest.2.count": np.ones(4)}), r"rest.2.count.*\(4,\).*\(1,\)"),
        (lambda state: state.update({"rest.2.count": np.array(["1"])}), r"rest.2.count.* numbers"),
        (lambda state: state.update({"rest.2.count": np.array([1j])}), r"rest.2.count.* numbers"),
        (lambda state: state.update({"rest.2.count": [None]}), r"rest.2.count.* numbers"),
    ],
)
def test_a_state_that_does_not_fit_changes_nothing(change, message):
    tree = Tree()
    state = {name: value + 1 for name, value in tree.state_dict().items()}
    change(state)
    with pytest.raises(ValueError, match=message):
        tree.load_state_dict(state)
    assert all(np.array_equal(v, Tree().state_dict()[k]) for k, v in tree.state_dict().items())


def test_a_state_for_a_read_only_array_changes_nothing():
    tree = Tree()
    tree.rest[2].scale.data.flags.writeable = False
    before = tree.state_dict()
    with pytest.raises(ValueError, match=r"^state\['rest.2.scale'\] cannot be loaded"):
        tree.load_state_dict({name: value + 1 for name, value in before.items()})
    np.testing.assert_equal(tree.state_dict(), before)


def test_any_real_numbers_and_any_mapping_are_loaded(tmp_path):
    tree, other = Tree(), Tree()
    other.rest[0].scale.data[...] = 7
    np.savez(tmp_path / "state.npz", **other.state_dict())
    with np.load(tmp_path / "state.npz") as state:
        tree.load_state_dict(state)
    assert np.all(tree.rest[0].scale.data == 7)
    for kind in (">f8", np.float32, np.float16, np.uint8, bool):
        tree.load_state_dict({n: np.ones_like(a, kind) for n, a in tree.state_dict().items()})
        assert all(np.all(a == 1) and a.dtype == np.float64 for a in tree.state_dict().values())


def test_train_and_eval_reach_every_module():
    tree = Tree()
    assert all(module.training for _, module in tree.named_modules())
    assert tree.eval() is tree
    assert not any(module.training for _, module in tree.named_modules())
    tree.train()
    assert all(module.training for _, module in tree.named_modules())
    assert nn.Module.training  # other models are not touched


def test_sequential_applies_modules_and_functions_in_turn():
    double, layer = (lambda x: x * 2.0), nn.Linear(2, 3, rng=rng())
    model = nn.Sequential(double, layer, ops.tanh)
    x = rng().normal(size=(4, 2))
    weight = layer.parameterization.weight.data
    np.testing.assert_allclose(model(x).data, np.tanh(2 * x @ weight.T), rtol=1e-13)
    assert len(model) == 3
    assert model[1] is layer
    assert [name for name, _ in model.named_parameters()] == [
        "steps.1.parameterization.weight",
        "steps.1.parameterization.bias",
    ]
