"""The two figures of the report on claims, and those of the experiments that it shows."""

import html
import re

import numpy as np

from geonet import plots
from geonet.experiments.claims import measures
from geonet.models import METHODS
from geonet.plots.claims import boundary_statistics, effects


def draw(claims, outcomes, folder, quick):
    """Write the figures that the chosen claims call for into folder/figures.

    Parameters
    ----------
    claims : list of dict
        As `geonet.experiments.claims.verdicts.judged` gives them.
    outcomes : dict
        As `boundary_outcomes` gives them, or empty.
    folder : Path
    quick : bool

    Returns
    -------
    list of dict
        As `found` describes a figure.
    """
    drawn = []
    if any(claim["comparisons"] for claim in claims):
        drawn.append(_effects(claims, quick))
    if outcomes:
        drawn.append(_boundaries(outcomes))
    for figure, name, *words in drawn:
        plots.save(figure, folder / "figures", name, *words)
    return [found(folder, name) for _, name, *_ in drawn]


def found(folder, name):
    """A figure of an experiment: its path, and what its SVG tells a screen reader.

    Returns
    -------
    dict or None
        None where there is no such figure, as all runs that it would show diverged.
    """
    png, svg = (folder / "figures" / f"{name}{ending}" for ending in (".png", ".svg"))
    if not (png.exists() and svg.exists()):
        return None
    with open(svg, encoding="utf-8") as file:
        start = file.read(20_000)
    title, description = (
        html.unescape(re.search(f"<{tag} id=[^>]*>(.*?)</{tag}>", start, re.DOTALL)[1])
        for tag in ("title", "desc")
    )
    return {"path": str(png), "title": title, "description": description}


def _effects(claims, quick):
    shown, sentences = {}, []
    for claim in claims:
        counted = [c for c in claim["comparisons"] if not c["control"]]
        one_rival = len({c["rival"] for c in counted}) == 1
        rows = [
            (
                c["method" if one_rival else "rival"],
                *(np.nan if c[k] is None else c[k] for k in ("effect", "low", "high")),
            )
            for c in counted
        ]
        if rows:
            shown[claim["title"]] = claim["verdict"], rows
            sentences.append(f"{claim['title']}: {claim['verdict']}.")
    caption = (
        f"{'A QUICK RUN, no verdict is final. ' if quick else ''}Geometric mean over paired seeds "
        "of how many times better the method is than the rival, with its 95 % interval. A triangle "
        "at the rim stands for an effect beyond it, with its number. Colours and markers are "
        "those of the rival; where SP alone is the rival, those of the method."
    )
    words = "The paper's claims: effects and their intervals", " ".join(sentences)
    return effects(shown, caption), "claims", *words


def boundary_outcomes(results):
    """Steps of the boundaries, their share in the data, and dead units; means over seeds.

    Parameters
    ----------
    results : dict
        Name of the evidence -> Results.

    Returns
    -------
    dict
        Title of a quantity -> dict of method -> list of numbers: 10, 50 and 90 % of the units, or
        start and end of training; None for a method without hyperplanes. Empty where the runs are
        not at hand.
    """
    if not {"levy-equal", "banana-equal"} <= results.keys():
        return {}
    levy, banana = results["levy-equal"], results["banana-equal"]

    def means(found, quantity, choices):
        rows = {m: [np.mean(quantity(found, m, choice)) for choice in choices] for m in METHODS}
        return {m: [None if np.isnan(v) else float(v) for v in row] for m, row in rows.items()}

    def dead(found, method, step):
        return 1 - measures.alive(found, method, step)

    def moves(kind):
        return lambda found, method, quantile: measures.moves(found, method, kind, quantile)

    return {
        "Levy: move of φ per step (units of x)": means(levy, moves("displacement"), (0, 1, 2)),
        "Banana: turn per step (rad)": means(banana, moves("turn"), (0, 1, 2)),
        "Levy: share of boundaries in the data": means(levy, measures.inside, (0, -1)),
        "Levy: share of dead units": means(levy, dead, (0, -1)),
    }


def _boundaries(outcomes):
    caption = (
        "All methods from the same start and at the rate 0.01, means over seeds. "
        "Above: 10, 50 and 90 % of the units, over steps evenly spaced on a log scale. "
        "Below: hollow at the start, full at the end of training."
    )
    words = [
        f"{title}: " + ", ".join(f"{m} {v[1]:.2g}" for m, v in rows.items() if None not in v) + "."
        for title, rows in outcomes.items()
    ]
    shown = {k: {m: np.array(v, float) for m, v in rows.items()} for k, rows in outcomes.items()}
    figure = boundary_statistics(shown, caption)
    return figure, "boundaries", "What the boundaries of each method do", " ".join(words)
