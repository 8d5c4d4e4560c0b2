"""What a recorded graph tells of its operations, as a list of nodes, a table and a drawing."""

import inspect
import re

import numpy as np
import pytest
from graph_helpers import data, network, step

from geonet import Tensor, graph, nn, ops
from geonet.models import resnet18
from geonet.tensor import primitive


@pytest.mark.parametrize("name", ops.OPERATIONS)
def test_every_operation_states_both_equations(name):
    operation = ops.OPERATIONS[name]
    forward, pullback = graph.equations(operation)
    assert len(forward) > 5
    assert re.search(r"g → \S", pullback)
    assert "Parameters" not in forward + pullback
    assert re.search(r"\b([xyzptvr]|logits)\b|[θˣʸ²₁]", forward)  # what it computes of its inputs


def test_equations_are_those_of_the_docstring():
    assert graph.equations(ops.multiply) == ("Elementwise product, x y.", "g → g y, g x.")
    forward, pullback = graph.equations(ops.weight_norm)
    assert forward.startswith("Rows ℓ v/‖v‖")
    assert pullback.startswith("With u = v/‖v‖: g → (ℓ/‖v‖)")
    forward, pullback = graph.equations(ops.conv2d)
    assert "weight[o,i,j,c], sum over i, j, c." in forward
    assert pullback.endswith("over n, a, b.")

    @primitive
    def silent(x):
        return x + 1, (lambda g: g,)

    assert graph.equations(silent) == ("", "")


def test_every_node_tells_where_it_is_from():
    model, loss, found = step()
    titles = ["theta", "hyperspherical", "linear", "lambda_", "radius", "scaled_relu"]
    assert [n.title for n in found.nodes] == [*titles, *titles, "weight", "bias", "linear", "mse"]
    assert [n.number for n in found.nodes] == list(range(1, 17))
    groups = {group: len(nodes) for group, nodes in found.groups().items()}
    assert groups == {
        "steps.0 (Unit)": 6, "steps.1 (Unit)": 6, "steps.2 (Linear)": 3, "outside of modules": 1,
    }  # fmt: skip
    theta, direction, first, *_, last = found.nodes
    assert (theta.operation, theta.name) == ("parameter", "steps.0.layer.parameterization.theta")
    assert theta.data is model.steps[0].layer.parameterization.theta.data
    assert direction.module == "steps.0.layer.parameterization"
    assert (direction.shape, direction.dtype) == ((4, 2), np.float64)
    assert first.inputs == [
        ("x", None, "constant (7, 2) float64"), ("weight", 2, ""), ("bias", None, "None"),
    ]  # fmt: skip
    assert str(first.source).startswith("geonet/ops/")
    assert first.source.number == inspect.getsourcelines(ops.linear)[1]
    assert "loss = ops.mse(model(x), y)" in first.line.text
    assert str(first.line).startswith("tests/graph_helpers.py:")
    assert str(first.caller).startswith("geonet/nn/layers.py:")
    assert last.caller is None
    assert last.data == loss.data
    assert last.grad == 1


def test_a_tensor_without_a_past_is_refused_or_a_single_node():
    with pytest.raises(ValueError, match="requires_grad=True"):
        graph.trace(Tensor([1.0]))
    (node,) = graph.trace(Tensor([1.0], requires_grad=True, name="w")).nodes
    assert (node.operation, node.title) == ("input", "w")


def test_two_models_and_a_shared_layer_are_told_apart():
    x, _ = data()
    one, two = network(), network()
    shared = nn.Linear(2, 2, rng=np.random.default_rng(0))
    with graph.watch():
        loss = (one(x) - two(nn.Sequential(shared, shared)(x))).sum()
    found = graph.trace(loss)
    assert {"steps.0 (Unit)", "model 2: steps.0 (Linear)", "model 3: steps.0 (Unit)"} <= {
        *found.groups()
    }
    assert len(found.groups()["model 2: steps.0 (Linear)"]) == 4  # weight, bias, used twice


def test_a_module_within_containers_is_a_group_of_its_own():
    inner = nn.Sequential(nn.Linear(2, 2, rng=np.random.default_rng(0)), ops.relu)
    with graph.watch():
        loss = nn.Sequential(inner, lambda x: x * 2.0)(data()[0]).sum()
    groups = graph.trace(loss).groups()
    assert {group: [n.title for n in nodes if n.inputs] for group, nodes in groups.items()} == {
        "steps.0.steps.0 (Linear)": ["linear"], "steps.0 (Sequential)": ["relu"],
        "Sequential": ["multiply"], "outside of modules": ["sum"],
    }  # fmt: skip


def test_blocks_of_a_residual_network_are_groups():
    model = resnet18("SP", width=0.05, stem="small", num_classes=3, rng=np.random.default_rng(0))
    with graph.watch():
        loss = model(np.zeros((1, 8, 8, 3), np.float32)).sum()
    groups = graph.trace(loss).groups()
    assert [g for g in groups if "ResidualBlock" in g] == [
        f"steps.{i} (ResidualBlock)" for i in range(1, 9)
    ]


def test_a_chain_of_3000_operations_is_traced():
    with graph.watch(gradients=True):
        y = Tensor(1.0, requires_grad=True)
        for _ in range(3000):
            y = -y
    y.backward()
    assert len(graph.trace(y).nodes) == 3001


def test_the_table_has_a_line_for_every_node():
    _, _, found = step()
    head, rule, *lines = found.table().splitlines()
    assert len(lines) == len(found.nodes)
    assert head.split()[:4] == ["module", "#", "operation", "shape"]
    assert set(rule) == {"-", " "}
    assert lines[0].startswith("steps.0 (Unit)")
    assert lines[1].startswith(" ")
    assert f"{found.nodes[-1].value.norm:.3g}" in lines[-1]


def test_only_names_of_modules_are_cut_at_dots():
    for name, title in ((0.1, "0.1"), ("lr=0.1", "lr=0.1"), (7, "7"), ("two\nlines", "two lines")):
        x = Tensor([1.0], requires_grad=True, name=name)
        found = graph.trace(x * 2.0)
        assert found.nodes[0].title == title
        assert len(found.table().splitlines()) == 5


def test_an_empty_value_has_no_statistics(tmp_path):
    x = Tensor(np.zeros((0, 2)), requires_grad=True)
    with graph.watch(gradients=True):
        loss = (x * 2.0).sum()
    loss.backward()
    found = graph.trace(loss)
    assert [n.value is None for n in found.nodes] == [True, True, False]
    found.html(tmp_path / "page.html")
    for text in (found.table(), (tmp_path / "page.html").read_text(encoding="utf-8")):
        assert not re.search(r"\bnan\b", text)


def test_other_things_than_tensors_and_an_empty_list_of_nodes_are_refused():
    model, _, found = step()
    for thing, kind in ((1.0, "float"), (model, "Sequential")):
        with pytest.raises(
            TypeError, match=rf"result must be a Tensor \(a loss\), but is a {kind}"
        ):
            graph.trace(thing)
    with pytest.raises(ValueError, match="nodes must hold at least one Node"):
        found.drawing([])


def test_folded_groups_are_a_chain_and_nodes_unfold():
    _, _, found = step()
    folded = found.drawing()
    assert [box.key for box in folded.boxes] == list(found.groups())
    assert len(folded.routes) == 3
    opened = found.drawing(found.groups()["steps.0 (Unit)"])
    assert [box.kind for box in opened.boxes].count("parameter") == 3
    assert len(opened.routes) == 5
