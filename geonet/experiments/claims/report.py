"""The report on the paper's claims as Markdown, as one HTML page, and as JSON.

Markdown and HTML are two renderings of the same list of blocks: headings, paragraphs, tables and
figures. One figure is drawn for the report; the others come from the experiments.
"""

import base64
import json
import os
import string
from html import escape
from pathlib import Path

import numpy as np

from geonet import plots
from geonet.experiments.claims.statements import SLIPS
from geonet.experiments.claims.verdicts import RULE
from geonet.experiments.harness import figures
from geonet.experiments.harness.tables import markdown_table
from geonet.experiments.harness.versions import made_with, versions
from geonet.files import write_whole
from geonet.text import aligned, duration

FILES = "report.json", "report.md", "report.html"  # in this order: the first says whose they are
TERMS = {"as_paper": "as the paper tests it", "on_equal_terms": "on equal terms"}
QUICK = (
    "THIS IS A QUICK RUN: few seeds and few steps, to check that everything works. Its verdicts "
    "say nothing about the paper."
)
INTRODUCTION = (
    "W. Chen and H. Ge, Neural Characteristic Activation Analysis and Geometric Parameterization "
    "for ReLU Networks, arXiv 2305.15912. The claims are in our words, and say which version of "
    "the paper makes them: v1 (May 2023) or v5 (NeurIPS 2024). Each has two verdicts.",
    "As the paper tests it: with the settings of the authors' code. They train GmP at the learning "
    "rate 0.1 and its rivals at 0.01, and so do these tests unless the claim says otherwise. In "
    "most of their experiments the test data also decide when the rate falls and when training "
    "stops.",
    "On equal terms: data drawn or split anew for each seed, the same initial weights under all "
    "methods, and test data used only once, at the end. Each method has the rate that is best on "
    "validation data, by its mean over all seeds, or all methods have the same rate. Convnets have "
    "the same pictures for every seed, and are tested on them after each epoch.",
)
NAMES = (
    ("name", "what it stands for"),
    ("boundary", "where a ReLU unit switches on: w·x + b = 0, or u·x + λ = 0. It turns by the "
     "angle between its directions before and after; on a line it is the point φ = −b/w"),
    ("SP", "standard parameterization, ReLU(w·x + b)"),
    ("WN", "weight normalization, w = ℓ v/‖v‖"),
    ("BN, WN+MBN", "batch normalization; weight normalization with mean-only batch normalization, "
     "which subtracts the mean of the batch"),
    ("GmP", "geometric parameterization, r·ReLU(u(θ)·x + λ), with a unit vector u of the angles θ"),
    ("GmP+IMN", "GmP with input mean normalization: the outputs of each ReLU are centred"),
)  # fmt: skip
HOW = (
    "An effect says how many times better the method is than its rival: the geometric mean of the "
    "ratios of their measures over paired seeds, which share the data. It is above 1 if the "
    "method is better. Where a larger measure is better, as for accuracies and shares, it is the "
    "ratio of these: an effect of 1.02 on an accuracy of 0.5 is one point. The means of both "
    "methods are geometric, too."
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
            "comparisons that need them are undecided. The same command retries those that it ran."
        )


def blocks(report):
    """The content of the report, as tuples (kind, content …)."""
    yield "heading", 1, "The paper's claims, measured"
    if report["quick"]:
        yield "text", QUICK
    yield from (("text", text) for text in (*INTRODUCTION, *_failures(report)))
    yield "heading", 2, "Verdicts"
    yield "table", "How many of the tests that decide are for each claim", verdict_rows(report)
    yield "text", RULE[0]
    for figure in report["figures"]:
        yield "figure", figure
    yield "heading", 2, "How to read the tables"
    yield "table", "Names", NAMES
    yield from (("text", text) for text in (HOW, *RULE[1:]))
    for claim in report["claims"]:
        yield "heading", 2, claim["title"]
        yield from _claim(claim)
        for key, name in claim["figures"]:
            if figure := report["evidence"][key]["figures"].get(name):
                yield "figure", {**figure, "title": f"{figure['title']} ({key})"}
    yield "heading", 2, "Slips of the authors' code, and what each changes"
    head = "where", "the code", "what it changes", "done here"
    yield "table", "Found in the published code", [head, *SLIPS]
    yield "heading", 2, "What it was measured on"
    caption = "Experiments, and how they differ from the paper's"
    yield "table", caption, _evidence(report["evidence"])
    for key, found in report["evidence"].items():
        for rows in found["tables"]:
            yield "table", f"{key}: {found['description']}", rows
        yield from (("text", note) for note in found["notes"])
    yield from (("text", sentence) for sentence in made_with(made_under(report)))


def made_under(report):
    """The versions under which the runs were made, a list of dict."""
    return [v for evidence in report["evidence"].values() for v in evidence["versions"]]


def verdict_rows(report):
    """The rows of the table of verdicts, with a header: one per claim."""
    rows = [("claim", "version", *TERMS.values())]
    for claim in report["claims"]:
        verdicts = (_verdict(claim[terms]) for terms in TERMS)
        rows.append((claim["title"], claim["version"], *verdicts))
    return rows


def _verdict(judged):
    """A verdict in words, with the outcomes of its tests and why some are undecided."""
    counts = ", ".join(f"{count} {outcome}" for outcome, count in judged["counts"].items())
    return f"{judged['verdict']} ({'; '.join([counts, *judged['reasons']])})"


def _claim(claim):
    yield "text", f"{claim['statement']} (Paper: {claim['version']}, {claim['section']}.)"
    same = claim["as_paper"] == claim["on_equal_terms"]
    for terms, name in ({"as_paper": "on all terms"} if same else TERMS).items():
        caption = f"{name.capitalize()}: {_verdict(claim[terms])}"
        tests = claim[terms]["tests"]
        decide = [test for test in tests if not test["explains"]]
        if bounds := [test for test in decide if "largest" in test]:
            yield "table", f"{caption}. No number may exceed 1", _bounds(bounds)
        if compared := [test for test in decide if "largest" not in test]:
            yield "table", caption, _comparisons(compared)
        if controls := [test for test in tests if test["explains"]]:
            caption = f"{name.capitalize()}: controls, which do not decide"
            yield "table", caption, _comparisons(controls)
    yield "text", claim["why"]


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


def _bounds(bounds):
    rows = [("method", "quantity", "largest of all", "seeds", "outcome")]
    for b in bounds:
        row = b["method"], b["measure"], _number(b["largest"], ".6f"), _seeds(b), b["outcome"]
        rows.append(row)
    return rows


def _comparisons(comparisons):
    rows = [("method", "rival", "experiment", "rates", "measure", "means of both", "effect",
             "95 % interval", "p", "seeds", "outcome")]  # fmt: skip
    for c in comparisons:
        means = ", ".join(_number(mean) for mean in c["means"] if mean is not None)
        outcome = c.get("outcome", "")
        rows.append((
            c["method"], c["rival"], f"{c['evidence']} {c['case']}".strip(), _rates(c),
            f"{c['measure']} ({c['better']} is better)", means, _number(c["effect"]), _interval(c),
            _p(c.get("corrected", c["p"])), _seeds(c),
            f"{outcome} ({c['reason']})".strip() if c["reason"] else outcome,
        ))  # fmt: skip
    return rows


def _rates(comparison):
    """The rates of both methods, in words."""
    own, rival = comparison["rates"]
    if own == rival:
        return own
    return f"{comparison['method']} {own}; {comparison['rival']} {rival}"


def _evidence(evidence):
    rows = [("experiment", "command", "what it is", "how it differs from the paper's", "seeds",
             "computing")]  # fmt: skip
    for key, found in evidence.items():
        row = key, found["command"], found["description"], found["setting"], _runs(found)
        rows.append((*row, duration(found["seconds"])))
    return rows


def _runs(found):
    count = str(len(found["seeds"]))
    return f"{count} ({found['failed']} runs failed)" if found["failed"] else count


def _number(value, style="#.3g"):
    """Three digits: 0.951, 1.00, 748, 771,000."""
    if value is None:
        return "none"
    large = abs(value) >= 99.95
    return f"{float(f'{value:.3g}'):,.0f}" if large else f"{value:{style}}"


def _p(value):
    return "" if value is None else "< 0.0001" if value < 1e-4 else f"{value:.2g}"


def _interval(test):
    return "" if test["low"] is None else f"[{_number(test['low'])}, {_number(test['high'])}]"


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
    body, links = [], []
    for kind, *content in blocks:
        if kind == "heading":
            level, text = content[0], escape(content[1])
            body.append(f'<h{level} id="{len(links)}">{text}</h{level}>')
            links.append(f'<li><a href="#{len(links)}">{text}</a></li>')
        elif kind == "text":
            body.append(f"<p>{escape(content[0])}</p>")
        elif kind == "figure":
            picture = base64.b64encode(Path(content[0]["path"]).read_bytes()).decode("ascii")
            title, description = (escape(content[0][k]) for k in ("title", "description"))
            image = f'<img alt="{title}" src="data:image/png;base64,{picture}">'
            caption = f"<figcaption>{title}. {description}</figcaption>"
            body.append(f"<figure>{image}{caption}</figure>")
        else:
            body.append(_table(*content))
    frame = Path(__file__).with_name("report.html").read_text(encoding="utf-8")
    parts = {"title": body[0], "links": "\n".join(links[1:]), "body": "\n".join(body[1:])}
    return string.Template(frame).substitute(parts)


def _table(caption, rows):
    head = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in rows[0])
    lines = [f"<table>\n<caption>{escape(caption)}</caption>\n<thead><tr>{head}</tr></thead>"]
    lines.append("<tbody>")
    for first, *cells in rows[1:]:
        row = "".join(f"<td>{escape(cell)}</td>" for cell in cells)
        lines.append(f'<tr><th scope="row">{escape(first)}</th>{row}</tr>')
    return "\n".join([*lines, "</tbody></table>"])


def effects_plot(claims, quick):
    """The figure of all deciding comparisons, one panel for each of the two terms.

    Parameters
    ----------
    claims : list of dict
        As `geonet.experiments.claims.verdicts.judge_claim` returns them.
    quick : bool

    Returns
    -------
    geonet.plots.Plot or None
        None if no claim has comparisons.
    """
    shown = {
        claim["title"]: [(_verdict(claim[terms]), _groups(claim[terms])) for terms in TERMS]
        for claim in claims
        if "largest" not in claim["as_paper"]["tests"][0]
    }
    if not shown:
        return None
    caption = (
        f"{'A QUICK RUN, no verdict is final. ' if quick else ''}How many times better the method "
        "is than the rival, by the geometric mean over paired seeds, with the 95 % interval, which "
        "is not corrected for the number of tests. A triangle at the edge stands for an effect "
        "beyond it, with its number. Colours and markers are those of the rival, or those of the "
        "method where SP is the only rival. The bounds are not shown."
    )
    panels = [name.capitalize() for name in TERMS.values()]
    title = "The paper's claims: effects and their intervals"
    figure = figures.effects(shown, panels, caption)
    description = "One panel for each of the two terms, one line per comparison that decides."
    return plots.Plot(figure, "claims", title, description)


def _groups(judged):
    """What the figure shows: what is compared where -> (label, effect, low, high) of each test."""
    decide = [test for test in judged["tests"] if not test["explains"]]
    one_rival = len({test["rival"] for test in decide}) == 1
    groups = {}
    for test in decide:
        numbers = (np.nan if test[k] is None else test[k] for k in ("effect", "low", "high"))
        group = groups.setdefault(f"{test['evidence']}{test['at']}: {test['measure']}", [])
        group.append((test["method" if one_rival else "rival"], *numbers))
    return groups
