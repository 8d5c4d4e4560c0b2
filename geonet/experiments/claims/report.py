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
from geonet.experiments.claims.verdicts import INCONCLUSIVE, NOT_REPRODUCED, REPRODUCED, RULE
from geonet.experiments.harness import figures
from geonet.experiments.harness.tables import markdown_table
from geonet.experiments.harness.versions import made_with, versions
from geonet.files import write_whole
from geonet.text import aligned, duration

FILES = "report.json", "report.md", "report.html"  # in this order: the first says whose they are
TERMS = {"as_paper": "as the paper tests it", "on_equal_terms": "on equal terms"}
WORDS = {REPRODUCED: "is better than", NOT_REPRODUCED: "is worse than",
         INCONCLUSIVE: "cannot be told from"}  # fmt: skip
QUICK = (
    "THIS IS A QUICK RUN: few seeds and few steps, to check that everything works. Its verdicts "
    "say nothing about the paper."
)
PAPER = (
    "W. Chen and H. Ge, Neural Characteristic Activation Analysis and Geometric Parameterization "
    "for ReLU Networks, arXiv 2305.15912. Claims are in our words, and say which version of the "
    "paper makes them: v1 (May 2023) speaks of activation sets, careless initialization and larger "
    "rates, v5 (NeurIPS 2024) of boundaries. Each has two verdicts: as the paper tests it, with "
    "the authors' settings, rates and measures; and on equal terms, with other draws of the data, "
    "the same start, and rates that validation data choose for every method where there are any."
)
HOW = (
    "An effect says how many times better the method is than its rival. It is the geometric mean "
    "of the ratio of their measures over paired seeds, which share data and initial weights, "
    "oriented so that a number above 1 is what the paper predicts: 1.2 times as good, or 0.8 times."
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
    yield "text", PAPER
    yield from (("text", text) for text in _failures(report))
    yield "heading", 2, "Verdicts"
    yield "table", "Each claim, and whether it holds", verdict_rows(report)
    for figure in report["figures"]:
        yield "figure", figure
    shown = set()  # so that each figure appears once
    for claim in report["claims"]:
        yield "heading", 2, claim["title"]
        yield from _claim(claim, report)
        for key in dict.fromkeys(test["evidence"] for test in _tests(claim)):
            figure = report["evidence"][key]["figure"]
            if figure and key not in shown:
                yield "figure", figure
            shown.add(key)
    yield "heading", 2, "Slips of the authors' code, and what each changes"
    yield "table", "Found in the published code", [("where", "the code", "what it changes"), *SLIPS]
    yield "heading", 2, "What it was measured on"
    caption = "Experiments, and how they differ from the paper's"
    yield "table", caption, _evidence(report["evidence"])
    for key, found in report["evidence"].items():
        for rows in found["tables"]:
            yield "table", f"{key}: {found['description']}", rows
        yield from (("text", note) for note in found["notes"])
    yield "heading", 2, "How verdicts are made"
    yield from (("text", text) for text in (HOW, *RULE, made_with(report["versions"])))


def _tests(claim):
    return [test for terms in TERMS for test in claim[terms]["tests"]]


def verdict_rows(report):
    """The rows of the table of verdicts, with a header: one per claim."""
    rows = [("claim", "version", *TERMS.values())]
    for claim in report["claims"]:
        verdicts = (_verdict(claim[terms], report["quick"]) for terms in TERMS)
        rows.append((claim["title"], claim["version"], *verdicts))
    return rows


def _verdict(judged, quick):
    """A verdict in words: what it is, why it is no better, and whether the run was quick."""
    notes = [*([judged["reason"]] if judged["reason"] else []), *(["quick run"] if quick else [])]
    return f"{judged['verdict']} ({', '.join(notes)})" if notes else judged["verdict"]


def _claim(claim, report):
    yield "text", f"{claim['statement']} (Paper: {claim['version']}, {claim['section']}.)"
    same = claim["as_paper"] == claim["on_equal_terms"]
    parts = {"as_paper": "on all terms"} if same else TERMS
    found = " ".join(_sentence(name, claim[terms], report) for terms, name in parts.items())
    yield "text", f"Found: {found}"
    for terms, name in parts.items():
        bounds = [test for test in claim[terms]["tests"] if "largest" in test]
        compared = [test for test in claim[terms]["tests"] if "largest" not in test]
        caption = f"{name.capitalize()}: {_verdict(claim[terms], report['quick'])}"
        if bounds:
            yield "table", f"{caption}. No number may exceed 1", _bounds(bounds)
        if compared:
            yield "table", caption, _comparisons(compared)
    yield "text", claim["why"]
    for key in dict.fromkeys(test["evidence"] for test in _tests(claim)):
        yield "text", f"Measured on {key}: {report['evidence'][key]['description']}."


def _sentence(name, judged, report):
    """What the deciding tests of a list found, as one sentence."""
    parts, bounds = {}, []  # quantity and where, method -> what was found -> about whom
    for test in (t for t in judged["tests"] if not t["explains"]):
        if "largest" in test:
            bounds.append(
                f"the {test['measure']} reaches {_number(test['largest'])} under {test['method']}"
            )
            continue
        where = f"by {test['measure']} on {test['evidence']}{test['at']}", test["method"]
        reason = test["reason"]
        word = f"is not compared ({reason}) with" if reason else WORDS[test["verdict"]]
        effect = "no number" if test["effect"] is None else f"{_number(test['effect'])} times"
        found = parts.setdefault(where, {})
        found.setdefault(word, []).append(f"{test['rival']} ({effect})")
    compared = (
        f"{what}, {method} {', '.join(f'{word} {_listed(of)}' for word, of in found.items())}"
        for (what, method), found in parts.items()
    )
    verdict = _verdict(judged, report["quick"])
    return f"{name.capitalize()}, {verdict}: {'; '.join([*bounds, *compared])}."


def _listed(words):
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


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
    rows = [("method", "quantity", "largest of all", "seeds", "verdict")]
    for b in bounds:
        row = b["method"], b["measure"], _number(b["largest"], ".7g"), _seeds(b), b["verdict"]
        rows.append(row)
    return rows


def _comparisons(comparisons):
    rows = [("method", "rival", "on", "rates", "measure (better)", "means", "effect",
             "95 % interval", "p", "p, corrected", "seeds", "outcome")]  # fmt: skip
    for c in comparisons:
        outcome = "explains only" if c["explains"] else c["verdict"]
        rows.append((
            c["method"], c["rival"], f"{c['evidence']} {c['case']}".strip(),
            ", ".join(dict.fromkeys(c["rates"])), f"{c['measure']} ({c['better']})",
            ", ".join(map(_number, c["means"])), _number(c["effect"]), _interval(c),
            _p(c["p"]), _p(c.get("corrected")), _seeds(c),
            f"{outcome} ({c['reason']})" if c["reason"] else outcome,
        ))  # fmt: skip
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


def _p(value):
    return "" if value is None else "< 0.0001" if value < 1e-4 else f"{value:.2g}"


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
    shown, sentences = {}, []
    for claim in claims:
        if "largest" in claim["as_paper"]["tests"][0]:
            continue
        shown[claim["title"]] = [(claim[terms]["verdict"], _rows(claim[terms])) for terms in TERMS]
        verdicts = (f"{name} {claim[terms]['verdict']}" for terms, name in TERMS.items())
        sentences.append(f"{claim['title']}: {', '.join(verdicts)}.")
    if not shown:
        return None
    caption = (
        f"{'A QUICK RUN, no verdict is final. ' if quick else ''}How many times better the method "
        "is than the rival, by the geometric mean over paired seeds, with the 95 % interval. A "
        "triangle at the edge stands for an effect beyond it, with its number. Colours and markers "
        "are those of the rival, or those of the method where SP is the only rival."
    )
    panels = [name.capitalize() for name in TERMS.values()]
    title = "The paper's claims: effects and their intervals"
    figure = figures.effects(shown, panels, caption)
    return plots.Plot(figure, "claims", title, " ".join(sentences))


def _rows(judged):
    """What the figure shows of each comparison that decides: label, effect, low, high."""
    decide = [test for test in judged["tests"] if not test["explains"]]
    one_rival = len({test["rival"] for test in decide}) == 1
    return [
        (
            test["method" if one_rival else "rival"],
            *(np.nan if test[k] is None else test[k] for k in ("effect", "low", "high")),
        )
        for test in decide
    ]
