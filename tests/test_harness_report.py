"""Tables in Markdown: the numbers that experiments print, each in its block of a file."""

import json
import os

import pytest

from geonet.experiments import find, report
from geonet.experiments.harness.results import Results, read
from geonet.text import BadInput, Parser

LEVY = {
    "methods": ["SP", "GmP"],
    "seeds": [0, 1, 2],
    "lr": {"SP": [0.01], "GmP": [0.1]},
    "init": "glorot_uniform",
    "init_hidden": None,
    "quick": False,
    "protocol": "clean",
    "steps": 10,
}


def levy_results(folder, runs_left_out=0, command="levy", **changes):
    config = LEVY | changes
    results = Results(folder, "levy", config, command=command)
    runs = [(method, seed) for method in config["methods"] for seed in config["seeds"]]
    for method, seed in runs[runs_left_out:]:
        metrics = {"test_rmse": 1.5 + len(method) * 0.1 + seed, "steps": 7, "diverged": False}
        run = {"method": method, "lr": config["lr"][method][0], "seed": seed}
        results.add(run | {"metrics": metrics}, {})
    results.write()
    return folder


def main(*words):
    parser = Parser()
    report.add_arguments(parser)
    return report.main(parser.parse_args([*map(str, words)]))


def test_the_rows_are_those_of_the_command_and_need_no_more_than_results_json(tmp_path, capsys):
    folder = levy_results(tmp_path)
    for path in (folder / "runs.jsonl", *(folder / "boundaries").iterdir()):
        path.unlink()
    assert main(folder) == 0
    lines = capsys.readouterr().out.splitlines()
    tables = find()["levy"].tables(read(folder))
    expected = [list(row) for rows in tables for row in rows]
    table = [line for line in lines if line.startswith("| ")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in table]
    assert [row for row in cells if set(row) != {"---"}] == expected
    assert (lines[0], lines[-1]) == ("<!-- report: levy -->", "<!-- end -->")
    assert lines[-2].startswith("Made with geonet ")


def test_results_are_called_by_their_command(tmp_path, capsys):
    command = "levy --protocol paper --seeds 3"
    assert main(levy_results(tmp_path, command=command)) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"<!-- report: {command} -->"
    assert f"Command: `python -m geonet {command}`." in lines


def test_only_the_blocks_of_the_given_results_are_replaced(tmp_path, capsys):
    file = tmp_path / "RESULTS.md"
    before = "# ±\n<!-- report: banana -->\nold\n<!-- end -->\ntext\n"
    file.write_text(
        f"{before}<!-- report: levy -->\nold | \\1\n<!-- end -->\nafter\n", encoding="utf-8"
    )
    folders = [levy_results(tmp_path / "a"), levy_results(tmp_path / "b", command="levy --lr 1")]
    assert main(*folders, "--into", file) == 1
    output = capsys.readouterr()
    assert output.err == f"geonet: {file} has no block for levy --lr 1\n"
    assert output.out == ""
    assert main(folders[0]) == 0
    block = capsys.readouterr().out
    assert file.read_text(encoding="utf-8") == f"{before}{block}after\n"
    file.write_bytes(file.read_bytes().replace(b"\n", b"\r\n"))
    assert main(folders[0], "--into", file) == 0
    assert file.read_bytes() == f"{before}{block}after\n".replace("\n", "\r\n").encode()


def test_a_file_keeps_its_byte_order_mark_and_its_permissions(tmp_path):
    file = tmp_path / "RESULTS.md"
    before, after = "\ufeff# x\n<!-- report: levy -->\n", "<!-- end -->\n"
    file.write_text(before + after, encoding="utf-8")
    file.chmod(0o640)
    assert main(levy_results(tmp_path / "a"), "--into", file) == 0
    text = file.read_text(encoding="utf-8")
    assert text.startswith(before)
    assert text.endswith(after)
    assert os.name == "nt" or file.stat().st_mode & 0o777 == 0o640


def test_a_block_without_an_end_does_not_swallow_the_next_one(tmp_path, capsys):
    text = "<!-- report: levy -->\n<!-- report: banana -->\nold\n<!-- end -->\n"
    (tmp_path / "RESULTS.md").write_text(text)
    assert main(levy_results(tmp_path / "a"), "--into", tmp_path / "RESULTS.md") == 1
    assert (tmp_path / "RESULTS.md").read_text() == text


def test_claims_have_their_table_of_verdicts(tmp_path, capsys):
    made = [{"geonet": "7", "commit": c, "numpy": "2"} for c in ("a", "b", "a")]
    evidence = {"levy": {"versions": made}}
    content = {"versions": {"geonet": "8"}, "quick": False, "claims": [], "evidence": evidence}
    (tmp_path / "report.json").write_text(json.dumps(content))
    assert main(tmp_path) == 0
    lines = capsys.readouterr().out.splitlines()
    assert (lines[0], lines[-2]) == (
        "<!-- report: claims -->",
        "Made with geonet 7, commit a, commit b, numpy 2.",
    )
    assert lines[1].startswith("| claim | version | as the paper tests it |")


def test_an_unfinished_sweep_is_refused_with_what_is_missing(tmp_path):
    with pytest.raises(BadInput, match=r"holds 4 of 6 runs: the same command .* the others"):
        main(levy_results(tmp_path, runs_left_out=2))


def test_two_folders_with_results_of_one_name_are_refused(tmp_path):
    with pytest.raises(BadInput, match="b is the second folder with results of levy"):
        main(levy_results(tmp_path / "a"), levy_results(tmp_path / "b"))


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("results.json", "{", "is not a results file of geonet"),
        ("results.json", '{"experiment": "x", "config": {}, "runs": []}', "not a results file"),
        (
            "results.json",
            '{"experiment": "x", "config": {"seeds": []}, "versions": {"geonet": "1"}, "runs": []}',
            "holds no results that this version can read",
        ),
        ("report.json", "[]", "holds no results that this version can read"),
        ("notes.txt", "", "results.json is missing"),
    ],
)
def test_folders_without_results_are_refused(name, text, said, tmp_path):
    (tmp_path / name).write_text(text)
    with pytest.raises(BadInput, match=said):
        main(tmp_path)
