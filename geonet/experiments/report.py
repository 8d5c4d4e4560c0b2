"""Results as Markdown: what experiments print at their end, made again from their files.

In a Markdown file, the block of a command is what stands between the lines
``<!-- report: levy --seeds 20 -->`` and ``<!-- end -->``.
"""

import json
import re
import sys
from pathlib import Path

from geonet.experiments import find
from geonet.experiments.claims.report import QUICK, made_under, verdict_rows
from geonet.experiments.harness.results import read
from geonet.experiments.harness.tables import markdown_table
from geonet.experiments.harness.versions import made_with
from geonet.files import write_whole
from geonet.text import BadInput

SUMMARY = "tables of results in Markdown, from the files that experiments have left"


def add_arguments(parser):
    """Declare the options."""
    text = "folder with a results.json, or with the report.json of claims"
    parser.add_argument("folders", nargs="+", metavar="DIR", help=text)
    text = "replace what stands between <!-- report: COMMAND --> and <!-- end --> in this file, "
    text += "for the commands that made these results, such as levy --seeds 20; by default, "
    text += "everything is printed"
    parser.add_argument("--into", type=Path, metavar="FILE", help=text)


def main(arguments):
    """Print the blocks of all folders, or write them into a file.

    Returns
    -------
    int
        1 if the file has no place for one of the blocks.

    Raises
    ------
    BadInput
        If a folder holds no results, or two folders hold results of the same command.
    """
    blocks, experiments = {}, find()
    for folder in arguments.folders:
        name, block = _block(folder, experiments)
        if name in blocks:
            raise BadInput(f"{folder} is the second folder with results of {name}")
        blocks[name] = f"<!-- report: {name} -->\n{block}\n<!-- end -->"
    if arguments.into is None:
        print(*blocks.values(), sep="\n\n")
        return 0
    try:
        with open(arguments.into, encoding="utf-8", newline="") as file:
            text, status = file.read(), 0
    except UnicodeDecodeError as error:
        raise BadInput(f"--into {arguments.into} is not a text file in UTF-8") from error
    line_end = "\r\n" if "\r\n" in text else "\n"
    for name, block in blocks.items():
        block = block.replace("\n", line_end)
        start = re.escape(f"<!-- report: {name} -->")
        pattern = f"{start}((?!<!-- report: ).)*?<!-- end -->"
        text, found = re.subn(pattern, lambda _, block=block: block, text, flags=re.DOTALL)
        if not found:
            print(f"geonet: {arguments.into} has no block for {name}", file=sys.stderr)
            status = 1
    write_whole(arguments.into.resolve(), lambda path: path.write_bytes(text.encode()))
    return status


def _block(folder, experiments):
    """The command that made the results in a folder, and a text on them."""
    claims = Path(folder, "report.json")
    try:
        if claims.exists():
            content = json.loads(claims.read_bytes())
            quick, versions = content["quick"], made_under(content)
            name = "claims --quick" if quick else "claims"
            parts = [*([QUICK] if quick else []), markdown_table(verdict_rows(content))]
        else:
            results = read(folder)
            experiment, versions = experiments[results.experiment], results.versions
            _check_whole(experiment, results)
            name = results.command or results.experiment
            parts = [experiment.describe(results.config)]
            parts += map(markdown_table, experiment.tables(results))
            parts += experiment.notes(results)
            parts.append(f"Command: `python -m geonet {name}`.")
    except (KeyError, TypeError, AttributeError, json.JSONDecodeError) as error:
        raise BadInput(f"{folder} holds no results that this version can read") from error
    except ValueError as error:
        raise BadInput(str(error)) from error
    return name, "\n\n".join([*parts, *made_with(versions)])


def _check_whole(experiment, results):
    """Refuse the results of an interrupted sweep, as missing runs would seem to have diverged."""
    done, whole = len(results.runs), len(experiment.runs(results.config))
    if done < whole:
        raise BadInput(
            f"{results.folder} holds {done} of {whole} runs: {experiment.resume_hint} does the "
            "others"
        )
