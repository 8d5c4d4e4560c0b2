"""What all figures share: the style of each method, panels, legends, and `save`."""

import html
import io
import math
import textwrap
from itertools import cycle
from pathlib import Path
from typing import NamedTuple

import matplotlib.style
import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from geonet.files import write_whole

# The palette of Okabe and Ito, safe for colour-blind readers; yellow is last, being faint on white.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442")
MARKS = b"Software\0geonet", b'<svg role="img" aria-labelledby="'  # in the files of `save`
BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY, BLACK, _ = PALETTE


def _look(color, linestyle, marker):
    return {"color": color, "linestyle": linestyle, "marker": marker}


METHOD_STYLES = {  # keywords of `Axes.plot`
    "SP": _look(VERMILION, (0, (5, 1.5)), "s"),
    "WN": _look(ORANGE, (0, (5, 1.5, 1, 1.5)), "^"),
    "BN": _look(SKY, (0, (1, 1)), "v"),
    "LN": _look(PURPLE, (0, (10, 2)), "D"),
    "WN+MBN": _look("#7F7F7F", (0, (5, 1, 1, 1, 1, 1)), "P"),
    "GmP-C": _look("#004D40", (0, (8, 1, 2, 1)), "*"),
    "GmP": _look(BLUE, "-", "o"),
    "GmP+IMN": _look(GREEN, (0, (3, 3)), "X"),
}
OTHER_STYLES = (
    _look(BLACK, (0, (1, 3)), "<"),
    _look("#8B4513", (0, (4, 1, 1, 3)), "p"),
    _look("#4B0082", (0, (2, 1)), "h"),
)
# Decorates what draws: colours and sizes fit together in this style alone, whatever the user's is.
default_style = matplotlib.style.context("default")
LINE, MARKER = {"marker": ""}, {"linestyle": ""}  # what leaves only the line or only the marker


def styles(labels, **common):
    """Keywords of `Axes.plot` by label: a method's own style, or one of the spare ones in turn.

    Parameters
    ----------
    labels : iterable of str
    **common
        Keywords that all have, in place of their own.
    """
    spare, looks = cycle(OTHER_STYLES), {}
    for label in labels:
        looks[label] = (METHOD_STYLES.get(label) or next(spare)) | common
    return looks


@default_style
def save(figure, folder, name, title, description):
    """Write folder/name.png (150 dpi) and folder/name.svg, each whole or not at all.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
    folder : str or Path
        Made if missing.
    name : str
        File name without its extension.
    title, description : str
        What a screen reader reads in place of the SVG: a few words, and a few sentences.

    Returns
    -------
    png, svg : Path
        The same figure always gives the same SVG, byte for byte.

    Raises
    ------
    FileExistsError
        If there are files of these names that `save` has not written.
    OSError
        If a file cannot be written.
    """
    png, svg = own_files(folder, name)
    figure.draw_without_rendering()  # lays out the panels once, for both files
    figure.set_layout_engine("none")
    pixels, drawing = io.BytesIO(), io.StringIO()
    figure.savefig(pixels, dpi=150, metadata={"Software": "geonet"})
    with matplotlib.rc_context({"svg.hashsalt": "geonet"}):
        figure.savefig(drawing, format="svg", metadata={"Date": None})
    before, _, rest = drawing.getvalue().partition("<svg ")
    attributes, _, body = rest.partition(">")
    tag = f'<svg role="img" aria-labelledby="{name}-title {name}-desc" {attributes}>'
    first = f'<title id="{name}-title">{html.escape(title)}</title>'
    second = f'<desc id="{name}-desc">{html.escape(description)}</desc>'
    text = f"{before}{tag}\n{first}\n{second}{body}"
    write_whole(png, lambda path: path.write_bytes(pixels.getvalue()))
    write_whole(svg, lambda path: path.write_text(text, encoding="utf-8"))
    return png, svg


def own_files(folder, name):
    """The paths that `save` writes, where no other files are: one of an earlier pair says so.

    Raises
    ------
    FileExistsError
        If there are files of these names that `save` has not written.
    """
    paths = [Path(folder, f"{name}{ending}") for ending in (".png", ".svg")]
    starts = [path.read_bytes()[:1000] for path in paths if path.exists()]
    if starts and not any(mark in start for mark in MARKS for start in starts):
        raise FileExistsError(f"{paths[0]} or .svg is there, not from geonet: move it away")
    return paths


class Plot(NamedTuple):
    """A figure, the name of its files, and the words for readers who cannot see it."""

    figure: Figure
    name: str
    title: str
    description: str

    def save(self, folder):
        """Save it as `save` does.

        Returns
        -------
        dict
            The path of the PNG, the title and the description: what a report needs to show it.
        """
        png, _ = save(self.figure, folder, *self[1:])
        return {"path": str(png), "title": self.title, "description": self.description}


def panels(titles, caption, xlabel, ylabel, widest=4, size=(3.0, 2.7), sharex=True):
    """A figure with one panel per title, shared axes with outer labels, and a caption below."""
    rows = math.ceil(len(titles) / widest)
    columns = math.ceil(len(titles) / rows)
    width = max(columns * size[0], 6.0)
    figure = Figure(figsize=(width, rows * size[1] + 1.0), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.06, h_pad=0.08)  # inches
    axes = figure.subplots(rows, columns, sharex=sharex, sharey=True, squeeze=False).ravel()
    for i, (panel, title) in enumerate(zip(axes, titles, strict=False)):
        panel.set_title(title, fontsize=10)
        panel.grid(color="0.9", linewidth=0.6)
        panel.set_axisbelow(True)
        if i % columns == 0:
            panel.set_ylabel(ylabel)
        if i + columns >= len(titles):  # no panel below it
            panel.set_xlabel(xlabel)
            panel.tick_params(labelbottom=True)
    for unused in axes[len(titles) :]:
        unused.set_axis_off()
    figure.supxlabel(textwrap.fill(caption, int(width * 13)), x=0.01, ha="left", fontsize=9)
    return figure, axes[: len(titles)]


def legend(figure, handles):
    """A legend above the panels, in as few rows as the width of the figure allows."""
    inches = sum(0.65 + 0.075 * len(handle.get_label()) for handle in handles)
    columns = math.ceil(len(handles) / math.ceil(inches / figure.get_figwidth()))
    look = {"frameon": False, "fontsize": 9, "handlelength": 2.7, "columnspacing": 1.5}
    figure.legend(handles=handles, loc="outside upper center", ncols=columns, **look)


def handles(looks):
    """Handles of a legend, from {label: keywords of a line}."""
    return [Line2D([], [], label=label, **look) for label, look in looks.items()]


def titled(label, *notes):
    """A panel title: the label, and below it notes on what the panel cannot show."""
    lines = [line for note in notes if note for line in textwrap.wrap(note, 38)]
    return "\n".join([str(label), *lines])


def finite_titles(values, low=-np.inf, high=np.inf):
    """The titles of panels of {label: array}, with notes on numbers that cannot be seen."""
    return [
        titled(k, note("out of view", (v < low) | (v > high)), note("not finite", ~np.isfinite(v)))
        for k, v in values.items()
    ]


def note(what, flagged):
    """How many are flagged, or an empty string if none are."""
    count = np.count_nonzero(flagged)
    return f"{what}: {count} of {np.size(flagged)}" if count else ""


def for_log_axis(values, caption):
    """Raise zeros to a decade below the smallest positive value, and say so in the caption."""
    finite = {key: np.where(np.isfinite(v), v, np.nan) for key, v in values.items()}
    everything = np.concatenate([v.ravel() for v in finite.values()])
    floor = 0.1 * np.min(everything[everything > 0], initial=1.0)
    if (everything <= 0).any():
        caption = f"{caption} Values of 0 are drawn at {floor:.0e}."
    return {key: np.maximum(v, floor) for key, v in finite.items()}, caption
