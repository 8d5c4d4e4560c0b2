"""The report on the paper's claims as Markdown, as one HTML page, and as JSON.

Markdown and HTML are two renderings of the same list of blocks: headings, paragraphs, tables and
figures. Two figures are drawn for the report; the others come from the experiments.
"""

import base64
import json
import math
import os
import string
from html import escape
from pathlib import Path

import numpy as np

from geonet import plots
from geonet.experiments.claims import measures
from geonet.experiments.claims.verdicts import INCONCLUSIVE, NOT_REPRODUCED, REPRODUCED
from geonet.experiments.harness import figures
from geonet.experiments.harness.tables import markdown_table
from geonet.experiments.harness.versions import made_with, versions
from geonet.files import write_whole
from geonet.models import METHODS
from geonet.text import aligned, duration

FILES = "report.json", "report.md", "report.html"  # in this order: the first says whose they are
ORDER = (NOT_REPRODUCED, INCONCLUSIVE, REPRODUCED)  # from the weakest support for a claim
QUICK = (
    "THIS IS A QUICK RUN: few seeds and few steps, to check that everything works. Its verdicts "
    "say nothing about the paper."
)
BOUNDARIES = (
    "How the boundaries behave with the same start and rate, means over seeds: moves per step at "
    "10, 50 and 90 % of the units; shares at the start and at the end of training"
)
HOW = (
    "An effect says how many times better the method is than its rival. It is the geometric mean "
    "of the ratio of their measures over paired seeds, which share data and initial weights, "
    "oriented so that a number above 1 is what the paper predicts. Its 95 % interval is that of a "
    "bootstrap over seeds (BCa, widened by Student's t). For fewer than 8 seeds it is Student's t "
    "on logarithms, and there is none if they all agree. p comes from exchanging the two methods "
    "seed by seed (exact for up to 20 seeds). There is no correction for the number of claims: of "
    "20 true equalities, one may look like a difference."
)


def check(folder):
    """Refuse a folder with a report that `write` has not written, with a ValueError."""
    there = [path for path in (Path(folder, name) for name in FILES) if path.exists()]
    if there and not (there[0].name == FILES[0] and b'"geonet"' in there[0].read_bytes()):
        raise ValueError(f"{there[0]} is not of geonet: choose another --out")


def write(report, folder):
    """Write report.md, report.html and report.json, each whole or not at all.

    Parameters
    ----------
    report : dict
        As `geonet.experiments.claims.command.Claims.report` returns it.
    folder : str or Path
        Made if missing.

    Returns
    -------
    list of Path
    """
    folder = Path(folder)
    content = {"versions": versions(), **report}
    texts = (
        json.dumps(content, indent=1, allow_nan=False, ensure_ascii=False) + "\n",
        markdown(blocks(content), folder),
        page(blocks(content)),
    )
    for name, text in zip(FILES, texts, strict=True):
        write_whole(folder / name, lambda path, text=text: path.write_text(text, encoding="utf-8"))
    return [folder / name for name in FILES]


def summary(report):
    """The table of verdicts, as text for the terminal."""
    lines = [
        "",
        *([QUICK, ""] if report["quick"] else []),
        *_failures(report),
        aligned(verdict_rows(report)),
        "",
    ]
    return "\n".join(lines)


def _failures(report):
    """A sentence on the runs that failed, if any."""
    if found := {key: e["failed"] for key, e in report["evidence"].items() if e["failed"]}:
        yield (
            f"{sum(found.values())} runs failed (because of an error in the program or a lack of "
            f"memory) in {', '.join(found)}: they count neither for nor against a claim, and the "
            "comparisons that need them are inconclusive. The same command retries them."
        )


def blocks(report):
    """The content of the report, as tuples (kind, content …)."""
    yield "heading", 1, "The paper's claims, measured"
    if report["quick"]:
        yield "text", QUICK
    yield (
        "text",
        (
            "W. Chen and H. Ge, Neural Characteristic Activation Analysis and Geometric "
            "Parameterization for ReLU Networks, arXiv 2305.15912. Claims are in our words."
        ),
    )
    yield from (("text", text) for text in _failures(report))
    yield "heading", 2, "Verdicts"
    yield "table", "For each claim, the comparison that supports it least", verdict_rows(report)
    for figure in report["figures"]:
        yield "figure", figure
    if report["boundaries"]:
        yield "table", BOUNDARIES, _boundaries(report["boundaries"])
    yield "heading", 2, "Where the outcome differs from the paper"
    yield from _differences(report["claims"])
    shown = set()  # so that each figure appears once
    for claim in report["claims"]:
        yield "heading", 2, f"{claim['title']}: {_marked(claim, report)}"
        yield from _claim(claim, report["evidence"])
        for key in dict.fromkeys(t["evidence"] for t in claim["bounds"] + claim["comparisons"]):
            figure = report["evidence"][key]["figure"]
            if figure and key not in shown:
                yield "figure", figure
            shown.add(key)
    yield "heading", 2, "What it was measured on"
    caption = "Experiments, and how they differ from the paper's"
    yield "table", caption, _evidence(report["evidence"])
    yield "heading", 2, "How verdicts are made"
    yield "text", HOW
    for word, rule in report["rule"]:
        yield "text", f"{word.capitalize()}: {rule}."
    yield "text", report["rule_of_all"]
    yield "text", made_with(report["versions"])


def verdict_rows(report):
    """The rows of the table of verdicts, with a header: the weakest comparison for each claim."""
    rows = [("claim", "compared", "effect", "95 % interval", "seeds", "verdict")]
    for claim in report["claims"]:
        counted = [c for c in claim["comparisons"] if not c["control"]]
        if counted:
            weakest = min(counted, key=_support)
            what = f"{weakest['method']} with {weakest['rival']}, {weakest['measure']}"
            numbers = _number(weakest["effect"]), _interval(weakest), _seeds(weakest)
        else:
            what = "largest value over its bound"
            weakest = min(claim["bounds"], key=lambda b: ORDER.index(b["verdict"]))
            numbers = _number(_largest(claim["bounds"])), "", _seeds(weakest)
        rows.append((claim["title"], what, *numbers, _marked(claim, report)))
    return rows


def _marked(claim, report):
    """The verdict, marked if it comes from a quick run."""
    return claim["verdict"] + (" (quick run)" if report["quick"] else "")


def _support(comparison):
    """How much a comparison supports its claim: by its verdict, then by its interval."""
    verdict, low = comparison["verdict"], comparison["low"]
    without = math.inf if verdict == REPRODUCED else 0.0
    return ORDER.index(verdict), without if low is None else low


def _seeds(test):
    """The number of seeds that a test uses, and why it is not larger."""
    names = [test[k] for k in ("method", "rival") if k in test]
    lost = [
        f"{count} of {name} {word}"
        for key, word in (("without_a_number", "without"), ("failed", "failed"))
        for count, name in zip(test.get(key, ()), names, strict=False)
        if count
    ]
    return f"{test['seeds']} ({', '.join(lost)})" if lost else str(test["seeds"])


def _boundaries(outcomes):
    rows = [("method", *outcomes)]
    for method in next(iter(outcomes.values())):
        found = [values[method] for values in outcomes.values()]
        rows.append((method, *(", ".join(_number(v, ".2g") for v in numbers) for numbers in found)))
    return rows


def _largest(bounds):
    found = [b["largest"] for b in bounds]
    return None if None in found else max(found)


def _differences(claims):
    if all(claim["verdict"] == REPRODUCED for claim in claims):
        yield "text", "Every claim that was tested is reproduced."
    for verdict, why in ((NOT_REPRODUCED, "differ"), (INCONCLUSIVE, "not show")):
        for claim in (c for c in claims if c["verdict"] == verdict):
            found = "; ".join(
                _sentence(test)
                for test in claim["comparisons"] + claim["bounds"]
                if test["verdict"] == verdict and not test.get("control")
            )
            yield (
                "text",
                (
                    f"{claim['title']}: {verdict}. The paper says: {claim['statement']} Measured: "
                    f"{found}. Why it may {why}: {claim['why']}"
                ),
            )


def _sentence(test):
    """The outcome of one test as a sentence."""
    if "largest" in test:
        value = _number(test["largest"])
        return f"under {test['method']} {test['measure']} reaches {value} (seeds: {_seeds(test)})"
    if test["effect"] is None:
        return (
            f"{test['method']} and {test['rival']} have no ratio of {test['measure']}: numbers of "
            f"both on seeds: {_seeds(test)}"
        )
    effect = f"{test['method']} is {_number(test['effect'])} times as good as {test['rival']}"
    return f"{effect} by {test['measure']} {_interval(test)}".rstrip()


def _claim(claim, evidence):
    yield "text", f"{claim['statement']} ({claim['section']})"
    for key in dict.fromkeys(t["evidence"] for t in claim["bounds"] + claim["comparisons"]):
        yield "text", f"Measured on {key}: {evidence[key]['description']}."
    if claim["bounds"]:
        rows = [("method", "quantity", "largest of all", "seeds", "verdict")]
        for b in claim["bounds"]:
            row = b["method"], b["measure"], _number(b["largest"], ".7g"), _seeds(b)
            rows.append((*row, b["verdict"]))
        yield "table", "Bounds: no number may exceed 1", rows
    if claim["comparisons"]:
        yield "table", "Comparisons", _comparisons(claim["comparisons"])
    if claim["verdict"] == REPRODUCED:
        yield "text", f"To keep in mind: {claim['why']}"


def _comparisons(comparisons):
    rows = [("method", "rival", "on", "measure (better)", "means", "effect", "95 % interval", "p",
             "seeds", "verdict")]  # fmt: skip
    for c in comparisons:
        verdict = f"control: {c['verdict']}" if c["control"] else c["verdict"]
        means = ", ".join(_number(mean) for mean in c["means"])
        numbers = _number(c["effect"]), _interval(c), _number(c["p"], ".2g")
        measure = f"{c['measure']} ({c['better']})"
        rows.append(
            (c["method"], c["rival"], c["evidence"], measure, means, *numbers, _seeds(c), verdict)
        )
    return rows


def _evidence(evidence):
    rows = [("name", "command", "seeds", "computing", "how it differs from the paper's")]
    for key, found in evidence.items():
        row = key, found["command"], _runs(found), duration(found["seconds"])
        rows.append((*row, found["setting"]))
    return rows


def _runs(found):
    count = str(len(found["seeds"]))
    return f"{count} ({found['failed']} runs failed)" if found["failed"] else count


def _number(value, style=".3g"):
    return "none" if value is None else f"{value:{style}}"


def _interval(test):
    return "" if test["low"] is None else f"[{test['low']:.3g}, {test['high']:.3g}]"


def markdown(blocks, folder):
    """Blocks as Markdown. Links to figures are relative to the folder of the text."""
    lines = []
    for kind, *content in blocks:
        if kind == "heading":
            lines.append(f"{'#' * content[0]} {content[1]}")
        elif kind == "text":
            lines.append(content[0])
        elif kind == "figure":
            path = Path(os.path.relpath(content[0]["path"], folder)).as_posix()
            lines.append(f"![{content[0]['title']}. {content[0]['description']}]({path})")
        else:
            lines += [f"{content[0]}:", markdown_table(content[1])]
    return "\n\n".join(lines) + "\n"


def page(blocks):
    """Blocks as one HTML page that needs no other file, because it contains its pictures."""
    body = []
    for kind, *content in blocks:
        if kind == "heading":
            level, text = content
            body.append(f"<h{level}>{escape(text)}</h{level}>")
        elif kind == "text":
            body.append(f"<p>{escape(content[0])}</p>")
        elif kind == "figure":
            picture = base64.b64encode(Path(content[0]["path"]).read_bytes()).decode("ascii")
            title, description = (escape(content[0][k]) for k in ("title", "description"))
            image = f'<img alt="{title}. {description}" src="data:image/png;base64,{picture}">'
            body.append(f"<figure>{image}<figcaption>{title}</figcaption></figure>")
        else:
            body.append(_table(*content))
    frame = Path(__file__).with_name("report.html").read_text(encoding="utf-8")
    return string.Template(frame).substitute(body="\n".join(body))


def _table(caption, rows):
    head = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in rows[0])
    lines = [f"<table>\n<caption>{escape(caption)}</caption>\n<thead><tr>{head}</tr></thead>"]
    lines.append("<tbody>")
    for first, *cells in rows[1:]:
        row = "".join(f"<td>{escape(cell)}</td>" for cell in cells)
        lines.append(f'<tr><th scope="row">{escape(first)}</th>{row}</tr>')
    return "\n".join([*lines, "</tbody></table>"])


def plots_of(claims, outcomes, quick):
    """The figures on the chosen claims as a whole.

    Parameters
    ----------
    claims : list of dict
        As `geonet.experiments.claims.verdicts.judge_claim` returns them.
    outcomes : dict
        As `boundary_outcomes` returns them, or empty.
    quick : bool

    Returns
    -------
    list of geonet.plots.Plot
    """
    drawn = []
    if any(claim["comparisons"] for claim in claims):
        drawn.append(_effects_plot(claims, quick))
    if outcomes:
        drawn.append(_boundaries_plot(outcomes))
    return drawn


def _effects_plot(claims, quick):
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
        "at the edge stands for an effect beyond it, with its number. Colours and markers are "
        "those of the rival, or those of the method where SP is the only rival."
    )
    title = "The paper's claims: effects and their intervals"
    return plots.Plot(figures.effects(shown, caption), "claims", title, " ".join(sentences))


def boundary_outcomes(results):
    """Moves of the boundaries, their share inside the data, and dead units: means over seeds.

    Parameters
    ----------
    results : dict
        Name of the evidence -> Results.

    Returns
    -------
    dict
        Title of a quantity -> dict of method -> list of numbers: 10, 50 and 90 % of the units, or
        start and end of training; None for a method without hyperplanes. It is empty if the runs
        are not available.
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


def _boundaries_plot(outcomes):
    caption = (
        "All methods from the same start and at the rate 0.01, means over seeds. "
        "Above: 10, 50 and 90 % of the units, over steps evenly spaced on a log scale. "
        "Below: hollow at the start, filled at the end of training."
    )
    sentences = [
        f"{title}: " + ", ".join(f"{m} {v[1]:.2g}" for m, v in rows.items() if None not in v) + "."
        for title, rows in outcomes.items()
    ]
    shown = {k: {m: np.array(v, float) for m, v in rows.items()} for k, rows in outcomes.items()}
    figure = figures.boundary_statistics(shown, caption)
    title = "How the boundaries of each method behave"
    return plots.Plot(figure, "boundaries", title, " ".join(sentences))
