"""Figures: complete files, text for screen readers, reproducible bytes, and nothing hidden."""

import ast
import inspect
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from PIL import Image

from geonet import plots
from geonet.experiments.harness import figures
from geonet.plots import boundaries, curves, graphs

METHODS = list(plots.METHOD_STYLES)
SVG = "{http://www.w3.org/2000/svg}"
CAPTION = "What is shown, over 3 seeds."


def perturbation(methods):
    rng = np.random.default_rng(0)
    boundaries = {m: (rng.normal(size=(3, 2)), rng.normal(size=3) / 9) for m in methods}
    return figures.perturbation_boundaries([0.01, 0.1], boundaries, CAPTION)


def angles(methods):
    norms = np.logspace(-3, 1, 5)
    trials = np.random.default_rng(0).uniform(size=(5, 7)) * norms[:, None]
    measured = {n: {m: trials for m in methods} for n in (2, 16)}
    bounds = {n: {m: norms for m in methods} for n in (2, 16)}
    return figures.turning_angles(norms, measured, bounds, CAPTION)


def fits(methods):
    x = np.linspace(-1, 1, 9)[:, None]
    return plots.function_fits(x, x**2, x[:3], x[:3] ** 2, {m: x**3 for m in methods}, CAPTION)


def evolution(methods):
    x = np.random.default_rng(0).normal(0, 3, size=(4, 20))
    return plots.boundary_evolution([0, 1, 10, 100], {m: x for m in methods}, CAPTION)


def changes(methods):
    values = np.sort(np.random.default_rng(0).lognormal(size=(3, 30)), axis=0)
    steps = {m: np.arange(30) for m in methods}
    return plots.step_changes(steps, {m: values for m in methods}, "displacement |Δφ|", CAPTION)


def paths(methods):
    walk = np.cumsum(np.random.default_rng(0).normal(0, 0.1, size=(40, 5, 2)), axis=0)
    return plots.trajectories({m: walk for m in methods}, CAPTION)


def regions(methods):
    rng, grid = np.random.default_rng(0), np.linspace(-2, 2, 12)
    p = 1 / (1 + np.exp(grid[:, None] + grid[None] ** 2))
    points, labels = rng.normal(size=(20, 2)), rng.integers(0, 2, size=(20, 1))
    lines = {m: (rng.normal(size=(4, 2)), rng.normal(size=4)) for m in methods}
    probabilities = {m: p for m in methods}
    return plots.decision_regions(grid, probabilities, points, labels, lines, CAPTION)


EVERY_FIGURE = pytest.mark.parametrize(
    "draw", [perturbation, angles, fits, evolution, changes, paths, regions]
)


def titles(figure):
    return [panel.get_title() for panel in figure.axes if panel.axison]


@EVERY_FIGURE
@pytest.mark.parametrize("methods", [METHODS, ["another"]])
def test_figure_is_saved_as_png_and_accessible_svg(draw, methods, tmp_path):
    folder = tmp_path / "new" / "figures"
    png, svg = plots.save(draw(methods), folder, "name", "A <title> & more", "What it says.")
    assert sorted(path.name for path in folder.iterdir()) == ["name.png", "name.svg"]
    with Image.open(png) as image:
        assert image.info["dpi"] == pytest.approx((150, 150), abs=0.1)
        assert np.asarray(image.convert("L")).std() > 5  # not blank
    root = ElementTree.parse(svg).getroot()
    assert (root[0].tag, root[1].tag) == (f"{SVG}title", f"{SVG}desc")
    assert (root[0].text, root[1].text) == ("A <title> & more", "What it says.")
    assert root.get("role") == "img"
    assert root.get("aria-labelledby").split() == [root[0].get("id"), root[1].get("id")]


@EVERY_FIGURE
def test_same_input_gives_the_same_svg(draw, tmp_path):
    first = plots.save(draw(METHODS[:2]), tmp_path / "a", "name", "t", "d")[1].read_bytes()
    again = plots.save(draw(METHODS[:2]), tmp_path / "b", "name", "t", "d")[1].read_bytes()
    assert first == again


UNREADABLE = {"text.usetex": True, "axes.facecolor": "black", "font.size": 40, "lines.linewidth": 9}


@EVERY_FIGURE
def test_the_users_own_style_changes_no_figure_and_stays_theirs(draw, tmp_path):
    expected = plots.save(draw(METHODS[:2]), tmp_path / "a", "name", "t", "d")[1].read_bytes()
    with matplotlib.rc_context(UNREADABLE):
        found = plots.save(draw(METHODS[:2]), tmp_path / "b", "name", "t", "d")[1].read_bytes()
        assert {key: matplotlib.rcParams[key] for key in UNREADABLE} == UNREADABLE
    assert found == expected


@pytest.mark.parametrize("module", [boundaries, curves, graphs, figures])
def test_whatever_makes_a_figure_draws_it_in_the_default_style(module):
    makers = 0
    for node in ast.parse(inspect.getsource(module)).body:
        if isinstance(node, ast.FunctionDef) and re.search(
            r"\bpanels\(|Figure\(", ast.unparse(node)
        ):
            assert "base.default_style" in map(ast.unparse, node.decorator_list), node.name
            makers += 1
    assert makers


@pytest.mark.parametrize(("backend", "found"), [("svg", "svg"), ("nonsense", "agg")])
def test_importing_leaves_the_users_backend_as_it_is_and_needs_none(backend, found):
    program = """if True:
        import os
        from geonet import plots
        import matplotlib
        print(os.environ["MPLBACKEND"], matplotlib.rcParams["backend"].lower())
    """
    environment = os.environ | {"MPLBACKEND": backend, "DISPLAY": "", "WAYLAND_DISPLAY": ""}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    assert done.stdout.split() == [backend, found]


def test_importing_after_a_choice_of_backend_does_not_undo_it():
    program = """if True:
        import os
        os.environ["MPLBACKEND"] = "svg"
        import matplotlib
        matplotlib.use("pdf")
        from geonet import plots
        print(matplotlib.get_backend())
    """
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert done.stdout.split() == ["pdf"]


def test_saving_twice_gives_the_same_files(tmp_path):
    figure = perturbation(METHODS[:2])
    first, again = (
        [path.read_bytes() for path in plots.save(figure, tmp_path, "name", "t", "d")]
        for _ in range(2)
    )
    assert first == again


@EVERY_FIGURE
def test_labels_and_legend_are_there_and_cover_nothing(draw):
    figure = draw(METHODS)
    figure.draw_without_rendering()
    assert figure.get_supxlabel().startswith(CAPTION)
    assert figure.axes[0].get_ylabel()
    assert any(panel.get_xlabel() for panel in figure.axes)
    for legend in figure.legends:
        for panel in figure.axes:
            assert not legend.get_window_extent().overlaps(panel.get_window_extent())
    texts = [*figure.texts, *figure.legends]
    for panel in figure.axes:
        texts += [panel.title, panel.xaxis.label, panel.yaxis.label] if panel.axison else []
    boxes = [text.get_window_extent() for text in texts if getattr(text, "get_text", str)() != ""]
    for i, box in enumerate(boxes):
        assert box.x0 >= 0
        assert box.y0 >= 0
        assert box.x1 <= figure.bbox.x1
        assert box.y1 <= figure.bbox.y1
        for other in boxes[:i]:
            assert not box.overlaps(other)


def test_failing_save_leaves_nothing_half_written(tmp_path, monkeypatch):
    def half(path, text, **_):
        path.write_bytes(text.encode()[:100])
        raise OSError("disk full")

    figure = fits(["SP"])
    plots.save(figure, tmp_path, "name", "t", "d")
    kept = {path: path.read_bytes() for path in tmp_path.iterdir()}
    monkeypatch.setattr(Path, "write_text", half)
    with pytest.raises(OSError, match="disk full"):
        plots.save(figure, tmp_path, "name", "t", "d")
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == kept


def test_a_plot_keeps_the_words_with_its_figure_to_where_it_is_shown(tmp_path):
    plot = plots.Plot(fits(["SP"]), "name", "A title", "What it says.")
    saved = plot.save(tmp_path / "figures")
    assert saved == {
        "path": str(tmp_path / "figures" / "name.png"),
        "title": "A title",
        "description": "What it says.",
    }
    assert '<desc id="name-desc">What it says.</desc>' in (
        tmp_path / "figures" / "name.svg"
    ).read_text(encoding="utf-8")


def test_no_two_methods_look_the_same():
    looks = plots.styles([*METHODS, "a", "b", "c"]).values()
    for key in ("color", "linestyle", "marker"):
        assert len({look[key] for look in looks}) == len(METHODS) + 3


# How colours look to dichromats, as matrices on linear RGB (Machado, Oliveira & Fernandes 2009).
DICHROMACIES = {
    "none": np.eye(3),
    "protanopia": [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]],
    "deuteranopia": [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]],
    "tritanopia": [[1.256, -0.077, -0.179], [-0.078, 0.931, 0.148], [0.005, 0.691, 0.304]],
}


@pytest.mark.parametrize("matrix", DICHROMACIES.values(), ids=DICHROMACIES)
def test_no_two_methods_have_colours_that_a_colour_blind_reader_takes_for_one(matrix):
    """Distances in CIELAB; 2.3 is just noticeable."""
    colors = np.array([to_rgb(look["color"]) for look in plots.METHOD_STYLES.values()])
    linear = np.where(colors <= 0.04045, colors / 12.92, ((colors + 0.055) / 1.055) ** 2.4)
    to_xyz = [[0.4339, 0.3762, 0.1899], [0.2126, 0.7152, 0.0722], [0.0177, 0.1095, 0.8727]]
    x, y, z = np.cbrt(np.clip(linear @ np.transpose(matrix), 1e-3, 1) @ np.transpose(to_xyz)).T
    lab = np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=1)
    distances = np.linalg.norm(lab[:, None] - lab, axis=2)
    assert np.all(distances[~np.eye(len(lab), dtype=bool)] > 9)


def test_boundaries_out_of_view_are_named():
    weight = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 0.0]])
    boundaries = {
        "SP": (weight, np.array([0.5, 30.0, 1.0])),
        "WN": (weight, np.array([0.5, np.nan, 1.0])),
        "GmP": (weight[[0, 0, 0]], np.array([0.5, 0.5, 0.5])),
    }
    found = titles(figures.perturbation_boundaries([0.1, 1], boundaries, CAPTION))
    assert found == ["ε = 0.1\nout of view: SP, WN", "ε = 1\nout of view: SP, WN"]


def test_boundary_is_drawn_where_it_is():
    weight, bias = np.array([[3.0, 4.0]] * 2), np.array([-2.5, -2.5])
    panel = figures.perturbation_boundaries([0.1], {"GmP": (weight, bias)}, CAPTION).axes[0]
    lines = [line for line in panel.lines if hasattr(line, "get_slope")]
    assert len(lines) == 2  # before and after
    for line in lines:
        np.testing.assert_allclose(line.get_xy1(), [0.3, 0.4])
        assert line.get_slope() == pytest.approx(-0.75)
    np.testing.assert_allclose(np.ravel(panel.lines[-1].get_data()), [0.3, 0.4])


def test_predictions_out_of_view_or_not_finite_are_counted():
    x = np.linspace(0, 1, 5)
    predictions = {"SP": np.array([0, 0.5, 9, -9, np.nan]), "WN": x}
    found = titles(plots.function_fits(x, x, x, x, predictions, CAPTION))
    assert found == ["SP\nout of view: 2 of 5\nnot finite: 1 of 5", "WN"]


def test_every_boundary_is_in_a_bar_or_counted():
    x = np.array([[0.1, 0.2, -10, 10], [0.1, 11, -np.inf, np.nan], [np.nan, 0, 0, 0]])
    figure = plots.boundary_evolution([0, 5, 9], {"SP": x}, CAPTION)
    assert titles(figure) == ["SP\noutside: 0, 2, 0\nno boundary: 0, 1, 1"]
    tops = [patch.get_xy()[:, 1].max() for patch in figure.axes[0].patches]
    assert sorted(tops) == [2, 3, 6]  # both 0.1 and 0.2, then 0.1 again, then 0 three times


def test_zeros_on_a_log_axis_are_drawn_at_a_floor_that_is_stated():
    values = {"SP": np.array([[0.0, 1e-3, 1.0, np.nan]] * 3), "WN": np.ones((3, 2))}
    steps = {"SP": np.arange(4), "WN": np.arange(2)}
    figure = plots.step_changes(steps, values, "y", CAPTION)
    assert "Values of 0 are drawn at 1e-04." in figure.get_supxlabel()
    np.testing.assert_allclose(figure.axes[0].lines[-1].get_ydata(), [1e-4, 1e-3, 1, np.nan])
    assert titles(figure) == ["SP\nnot finite: 3 of 12", "WN"]
    assert values["SP"][0, 0] == 0  # the input is left alone


def test_changes_may_be_a_single_line():
    steps = {"SP": np.arange(1, 5)}
    figure = plots.step_changes(steps, {"SP": np.array([1.0, 2.0, 4.0, np.inf])}, "y", CAPTION)
    np.testing.assert_array_equal(figure.axes[0].lines[-1].get_ydata(), [1, 2, 4, np.nan])
    assert titles(figure) == ["SP\nnot finite: 1 of 4"]


def test_all_zero_changes_can_be_drawn(tmp_path):
    figure = plots.step_changes({"SP": np.arange(4)}, {"SP": np.zeros((3, 4))}, "y", CAPTION)
    plots.save(figure, tmp_path, "name", "t", "d")
    assert "Values of 0" in figure.get_supxlabel()


def test_paths_that_end_out_of_view_are_counted():
    walk = np.zeros((3, 4, 2))
    walk[-1, 0, 1], walk[-1, 1, 0] = 5.0, np.nan
    figure = plots.trajectories({"SP": walk, "WN": walk[:1]}, CAPTION)
    expected = "SP\nend out of view: 1 of 4\nend without boundary: 1 of 4"
    assert titles(figure) == [expected, "WN"]
    assert "View: |φ₁|, |φ₂| ≤ 3." in figure.get_supxlabel()


def test_median_and_maximum_of_the_angles_are_drawn():
    measured = {3: {"GmP": np.array([[0.1, 0.2, 0.6], [1, 2, 3]])}}
    figure = figures.turning_angles([0.1, 1], measured, {3: {"GmP": [0.7, 3.1]}}, CAPTION)
    drawn = [line.get_ydata() for line in figure.axes[0].lines]
    np.testing.assert_allclose(drawn, [[0.2, 2], [0.6, 3], [0.7, 3.1]])


def test_diverged_or_constant_classifiers_are_drawn_and_named(tmp_path):
    grid = np.linspace(-1, 1, 4)
    half = np.linspace(0, 1, 16).reshape(4, 4)
    half[0, 0] = np.nan
    probabilities = {"SP": np.full((4, 4), np.nan), "WN": half, "GmP": np.full((4, 4), 1.0)}
    points, labels = np.zeros((2, 2)), np.array([0, 1])
    none = {m: (np.zeros((0, 2)), np.zeros(0)) for m in probabilities}
    figure = plots.decision_regions(grid, probabilities, points, labels, none, CAPTION)
    plots.save(figure, tmp_path, "name", "t", "d")
    assert titles(figure) == ["SP\nnot finite: 16 of 16", "WN\nnot finite: 1 of 16", "GmP"]
    # shaded or not, and with a line of decision only where there is one
    assert [len(panel.collections) for panel in figure.axes] == [1, 2, 1]
