"""The demonstration of wrong gradients: each is caught, each is wrong, and the V-curve is one."""

import numpy as np
import pytest

from geonet import Tensor, gradcheck, ops
from geonet.__main__ import planted_bugs_command
from geonet.check import GradientError, planted_bugs

TITLES = [bug.title for bug in planted_bugs.bugs()]
RIGHT = {  # the same functions with the pullbacks of this package
    "forgotten broadcast sum": ops.add,
    "transposed weight": lambda x, weight: x @ weight.T,
    "missing factor": lambda x: x * x,
    "wrong sign": ops.cos,
    "ReLU mask from the wrong side": ops.relu,
    "batch-norm mean treated as constant": lambda x: ops.batch_norm(
        x, np.ones(3), np.zeros(3), 1e-3
    ),
    "division by sin θ at a pole": ops.hyperspherical,
}


def bug_of(title):
    return planted_bugs.bugs()[TITLES.index(title)]


def test_there_are_eight_bugs_of_different_names():
    assert len(set(TITLES)) == 8


@pytest.mark.parametrize("title", TITLES)
def test_the_check_catches_every_bug_and_names_an_entry(title):
    assert "worst at entry" in planted_bugs.report(bug_of(title))


@pytest.mark.parametrize("title", RIGHT)
def test_the_function_is_right_and_the_gradient_alone_is_wrong(title):
    bug = bug_of(title)
    ours = RIGHT[title](*map(Tensor, bug.inputs))
    np.testing.assert_allclose(bug.operation(*bug.inputs).data, ours.data, atol=1e-14)
    gradcheck(RIGHT[title], *bug.inputs)
    with pytest.raises(GradientError):
        gradcheck(bug.operation, *bug.inputs)


@pytest.mark.parametrize(
    ("title", "cause"),
    [
        ("forgotten broadcast sum", "a missing sum over a broadcast axis"),
        ("missing factor", "a factor of 0.5"),
        ("wrong sign", "the sign is wrong"),
        ("division by sin θ at a pole", "NaN or infinity"),
    ],
)
def test_the_cause_is_named_where_it_shows(title, cause):
    assert f"likely cause: {cause}" in planted_bugs.report(bug_of(title))


def test_differences_have_a_best_step_and_the_complex_step_has_none():
    errors = planted_bugs.step_errors()
    forward, central, exact = (errors[kind] for kind in planted_bugs.KINDS)
    for values, best in ((forward, 1e-8), (central, 1e-5)):
        k = int(values.argmin())
        assert abs(np.log10(planted_bugs.STEPS[k] / best)) < 2
        assert values[0] > 1e3 * values[k] < values[-1]  # a V
    assert central.min() < forward.min() / 10
    assert np.all(exact[planted_bugs.STEPS < 1e-9] < 1e-15)


def test_the_demonstration_prints_all_and_draws_the_curve(tmp_path, capsys):
    planted_bugs_command(tmp_path)
    text = capsys.readouterr().out
    assert all(title in text for title in TITLES)
    assert {path.name for path in tmp_path.iterdir()} == {
        "errors_by_step.png",
        "errors_by_step.svg",
    }
