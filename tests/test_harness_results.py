"""Results on disk: whose files are replaced or removed, and what a full disk leaves."""

import codecs
import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from geonet.experiments import find
from geonet.experiments.harness.results import Results, check_folder, read
from geonet.plots import Plot
from geonet.text import BadInput
from geonet.train import Checkpoints

ROOT = Path(__file__).parents[1]
LEVY = find()["levy"]
CONFIG = {"methods": ["SP", "GmP"], "seeds": [0, 1], "lr": {"SP": [0.01], "GmP": [0.1]}}
HEADER = {"experiment": "levy", "config": CONFIG, "versions": {"geonet": "0.1.0"}}


def a_run(seed=0, method="SP", **metrics):
    return {"method": method, "seed": seed, "lr": 0.01, "metrics": metrics}


def tree(folder):
    """Relative path -> content, for all files and links of a folder; None for folders."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }


def figure(name):
    return Plot(empty_figure(), name, "title", "description")


def empty_figure():
    return Figure(figsize=(1, 1))


def filled(folder):
    """Results of one run with a figure and a checkpoint."""
    results = Results(folder, "levy", CONFIG)
    results.add(a_run(), {"values": np.ones(3)})
    results.save_figure(figure("curves"))
    results.write()
    Checkpoints(folder / "checkpoints" / "GmP-0").save({}, 3)
    return results


FOREIGN = {
    "notes.txt": b"mine",
    ".results.json.bak": b"mine",
    "results.json.txt": b"mine",
    ".lock": b"mine",
    "figures/mine.png": b"mine",
    "figures/mine.svg": b"mine",
    "figures/.mine.png.bak": b"mine",
    "figures/curves.pdf": b"mine",
    "boundaries/mine.npz": b"mine",
    "checkpoints/GmP-0/step-00000001.npz": b"mine",
    "checkpoints/GmP-0/step-best.npz": b"mine",
    "checkpoints/GmP-0/movie.part": b"mine",
    "checkpoints/mine/step-00000001.npz": b"mine",
    "checkpoints/GmP-0/deep/step-00000001.npz": b"mine",
    "pictures/train/cat.jpeg": b"mine",
}


def put(folder, files):
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


@pytest.mark.parametrize("before", [True, False])
def test_overwriting_removes_what_was_written_and_nothing_else(tmp_path, before):
    out, outside = tmp_path / "out", tmp_path / "outside"
    put(outside, {"curves.png": b"mine", "step-00000001.npz": b"mine"})
    if before:
        put(out, FOREIGN)
    filled(out)
    put(out, FOREIGN | {"boundaries/SP_seed7_lr0.01.npz": b"mine"})
    shutil.copy(out / "figures" / "curves.svg", out / "figures" / "copy.svg")
    shutil.copytree(out / "checkpoints" / "GmP-0", out / "checkpoints" / "backup")
    (out / "boundaries" / "link.npz").symlink_to(outside / "curves.png")
    (out / "checkpoints" / "SP-1").symlink_to(outside)
    killed = (".runs.jsonl.7", ".results.json.7", "boundaries/.a.npz.7", "figures/.a.svg.7")
    put(out, dict.fromkeys((*killed, "checkpoints/GmP-0/.step-00000009.npz.7"), b"half"))
    kept = tree(out).keys() - {
        *("results.json", "runs.jsonl", "boundaries/SP_seed0_lr0.01.npz"),
        *("figures/curves.png", "figures/curves.svg", "checkpoints/GmP-0/step-00000003.npz"),
        *(*killed, "checkpoints/GmP-0/.step-00000009.npz.7"),
    }
    expected = {name: content for name, content in tree(out).items() if name in kept}
    results = Results(out, "levy", CONFIG | {"seeds": [5]}, overwrite=True)
    found = tree(out)
    assert results.runs == {}
    assert set(found) - kept == {"results.json", "runs.jsonl"}
    assert {name: found[name] for name in kept} == expected
    assert tree(outside) == {"curves.png": b"mine", "step-00000001.npz": b"mine"}


@pytest.mark.parametrize(
    "line", [{"figure": "../../curves"}, {"figure": "/{}/curves"}, a_run(0) | {"method": "/{}/SP"}]
)
def test_a_record_from_elsewhere_names_no_file_outside_the_folder(tmp_path, line):
    mine = {"curves.png": b"mine", "curves.svg": b"mine", "SP_seed0_lr0.01.npz": b"mine"}
    put(tmp_path, mine)
    filled(tmp_path / "out")
    with open(tmp_path / "out" / "runs.jsonl", "a", encoding="utf-8") as log:
        log.write(json.dumps(line).replace("/{}", str(tmp_path)) + "\n")
    Results(tmp_path / "out", "levy", CONFIG, overwrite=True)
    assert tree(tmp_path).items() >= mine.items()


def test_a_sweep_into_a_folder_of_others_touches_nothing_of_theirs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(LEVY, "configure", lambda a, c=LEVY.configure: c(a) | {"steps": 12})
    put(tmp_path, FOREIGN)
    for words in ((), ("--overwrite",), ("--seeds", "2", "--overwrite")):
        quick = ("--quick", "--methods", "SP,GmP", "--workers", "1", "--out", ".")
        assert LEVY.run(*quick, *words) == 0
        found = tree(tmp_path)
        assert {name: found[name] for name in FOREIGN} == FOREIGN
        assert (tmp_path / "figures" / "fits.png").exists()


FOREIGN_RESULTS = [
    *(b"", b"{", b"[]", b"null", b'"runs"', b"\xff\xfe", b"[" * 10**5, b'{"runs": []}'),
    b'{"experiment": "levy"}',
    b'{"experiment": "other", "config": {"seeds": [0]}, "runs": []}',
    b'{"experiment": "levy", "config": {"seeds": [0]}, "versions": {"torch": "2"}, "runs": []}',
    b'{"experiment": "levy", "config": {"seeds": [0]}, "versions": 1, "runs": []}',
    json.dumps(HEADER | {"runs": [{"metrics": {}}]}).encode(),
    json.dumps(HEADER | {"runs": [a_run() | {"lr": [1]}]}).encode(),
    json.dumps(HEADER | {"runs": 5}).encode(),
]


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("content", FOREIGN_RESULTS)
def test_results_of_another_program_are_refused_and_nothing_changes(tmp_path, content, overwrite):
    put(tmp_path, {"results.json": content, "figures/curves.png": b"mine"})
    before = tree(tmp_path)
    words = ("--quick", "--out", tmp_path, *(["--overwrite"] if overwrite else []))
    with pytest.raises(BadInput, match=r"results.json is not a results file of geonet: choose"):
        LEVY.run(*words)
    assert tree(tmp_path) == before


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize(
    "content",
    [
        *(b"mine", b"mine\n", b'{"a": 1}\n', b'{"a": 1}', b"{}\n{}\n", b"\n", b"\xff\n"),
        b'{"experiment": "other", "config": {"seeds": [0]}}\n',
        json.dumps(a_run()).encode(),
    ],
)
@pytest.mark.parametrize("results", [False, True])
def test_runs_of_another_program_are_refused_too(tmp_path, content, overwrite, results):
    if results and b"metrics" not in content:  # version 0.1.0 left runs beside results.json
        put(tmp_path, {"results.json": json.dumps(HEADER | {"runs": []}).encode()})
    put(tmp_path, {"runs.jsonl": content})
    before = tree(tmp_path)
    with pytest.raises(BadInput, match=r"runs.jsonl, line 1: not a run|results.json is missing"):
        LEVY.run("--quick", "--out", tmp_path, *(["--overwrite"] if overwrite else []))
    assert tree(tmp_path) == before


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_results_file_that_was_replaced_by_another_is_refused(tmp_path, overwrite):
    filled(tmp_path)
    put(tmp_path, {"results.json": b'{"experiment": "mine", "runs": []}'})
    before = tree(tmp_path)
    with pytest.raises(ValueError, match=r"results.json is not a results file of geonet"):
        Results(tmp_path, "levy", CONFIG, overwrite=overwrite)
    assert tree(tmp_path) == before


@pytest.mark.parametrize("name", ["boundaries", "figures", "checkpoints"])
def test_a_file_where_a_folder_is_needed_is_named_before_anything_is_run(tmp_path, name):
    put(tmp_path, {name: b"mine"})
    with pytest.raises(BadInput, match=f"--out must be a folder, but .*{name} is a file: choose"):
        LEVY.run("--quick", "--out", tmp_path)
    assert tree(tmp_path) == {name: b"mine"}


@pytest.mark.parametrize("name", ["", " ", "\t"])
@pytest.mark.parametrize("command", ["levy", "claims", "graph"])
def test_a_blank_name_is_no_folder(tmp_path, monkeypatch, name, command):
    monkeypatch.chdir(tmp_path)
    run = [sys.executable, "-m", "geonet", command, "--out", name]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    found = subprocess.run(run, env=environment, capture_output=True, text=True)
    assert found.returncode == 2
    assert found.stderr.splitlines()[-1] == (
        "geonet: --out must name a folder, but is blank: a dot names the present one"
    )
    assert tree(tmp_path) == {}


@pytest.mark.parametrize("overwrite", [False, True])
def test_arrays_of_others_are_named_before_anything_is_run(tmp_path, overwrite):
    name = "boundaries/SP_seed1_lr0.01.npz"
    put(tmp_path, {name: b"mine"})
    for config in (CONFIG, CONFIG | {"methods": ["GmP"]}):  # SP may be next, and replace them
        with pytest.raises(BadInput, match=r"SP_seed1_lr0.01.npz is there without a record"):
            Results(tmp_path, "levy", config, overwrite=overwrite)
    assert tree(tmp_path) == {"boundaries": None, name: b"mine"}
    (tmp_path / name).rename(tmp_path / "mine.npz")
    Results(tmp_path, "levy", CONFIG).add(a_run(1), {})


def test_arrays_whose_line_a_kill_cut_short_are_replaced(tmp_path):
    Results(tmp_path, "levy", CONFIG).add(a_run(), {"values": np.ones(3)})
    log = tmp_path / "runs.jsonl"
    log.write_bytes(log.read_bytes()[:-20])
    for overwrite in (False, True):
        again = Results(tmp_path, "levy", CONFIG, overwrite=overwrite)
        assert not again.has(a_run())
        again.add(a_run(), {})
        assert Results(tmp_path, "levy", CONFIG).has(a_run())


def test_a_figure_of_others_is_not_replaced_and_not_taken_for_ours_later(tmp_path):
    put(tmp_path, {"figures/curves.png": b"mine"})
    results = filled_but_figures(tmp_path)
    with pytest.raises(FileExistsError, match=r"curves.png or .svg is there, not from geonet"):
        results.save_figure(figure("curves"))
    Results(tmp_path, "levy", CONFIG, overwrite=True)
    assert (tmp_path / "figures" / "curves.png").read_bytes() == b"mine"


def filled_but_figures(folder):
    results = Results(folder, "levy", CONFIG)
    results.add(a_run(), {})
    return results


def test_a_folder_without_a_record_of_figures_keeps_them_until_they_are_drawn_again(tmp_path):
    results = filled_but_figures(tmp_path)
    for name in ("curves", "earlier"):
        figure(name).save(tmp_path / "figures")
    before = (tmp_path / "figures" / "curves.svg").stat().st_mtime_ns
    results.save_figure(figure("curves"))
    assert (tmp_path / "figures" / "curves.svg").stat().st_mtime_ns > before
    Results(tmp_path, "levy", CONFIG, overwrite=True)
    assert {path.stem for path in (tmp_path / "figures").iterdir()} == {"earlier"}


def test_a_copy_that_shares_its_content_keeps_it(tmp_path):
    filled(tmp_path / "out")
    for path in (tmp_path / "out").rglob("*.*"):
        copy = tmp_path / "copy" / path.relative_to(tmp_path / "out")
        copy.parent.mkdir(parents=True, exist_ok=True)
        if path.is_file():
            os.link(path, copy)
    before = tree(tmp_path / "copy")
    results = Results(tmp_path / "out", "levy", CONFIG)
    results.add(a_run(1), {})
    results.save_figure(figure("curves"))
    results.write()
    Results(tmp_path / "out", "levy", CONFIG, overwrite=True)
    assert tree(tmp_path / "copy") == before


def test_a_retried_run_never_has_the_arrays_of_its_failure(tmp_path, monkeypatch):
    results = Results(tmp_path, "levy", CONFIG)
    results.add(a_run(failed="for lack of memory"), {})
    with monkeypatch.context() as patch:
        patch.setattr(np, "savez_compressed", full)
        with pytest.raises(OSError, match="No space left"):
            results.add(a_run(test_rmse=1.0), {"values": np.ones(3)})
    again = Results(tmp_path, "levy", CONFIG)
    assert not again.has(a_run())
    again.add(a_run(test_rmse=1.0), {"values": np.ones(3)})
    assert Results(tmp_path, "levy", CONFIG).has(a_run())


def full(*arguments, **options):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("target", ["runs.jsonl", "results.json", "SP_seed1", "curves.svg"])
def test_a_full_disk_is_named_with_the_file_and_leaves_what_was_there(
    tmp_path, monkeypatch, target
):
    filled(tmp_path)
    before = tree(tmp_path)
    write_bytes, write_text, savez = Path.write_bytes, Path.write_text, np.savez_compressed

    def limited(write):
        def write_half(place, content, *rest, **options):
            name = str(getattr(place, "name", place))
            if target in name:
                write_bytes(Path(name) if os.path.isabs(name) else place, b"half")
                full()
            return write(place, content, *rest, **options)

        return write_half

    def save(file, **arrays):
        return full() if target in file.name else savez(file, **arrays)

    monkeypatch.setattr(Path, "write_bytes", limited(write_bytes))
    monkeypatch.setattr(Path, "write_text", limited(write_text))
    monkeypatch.setattr(np, "savez_compressed", save)
    results = Results(tmp_path, "levy", CONFIG)
    with pytest.raises(OSError, match="No space left") as failure:  # noqa: PT012
        results.add(a_run(1), {})
        results.save_figure(figure("curves"))
        results.write()
    assert Path(failure.value.filename).name.startswith(target)
    monkeypatch.undo()
    found = tree(tmp_path)
    assert found.keys() <= before.keys() | {"boundaries/SP_seed1_lr0.01.npz"}
    assert all(found[name] == before[name] for name in found if name.startswith(target))
    again = Results(tmp_path, "levy", CONFIG)
    again.add(a_run(1), {})
    again.write()
    assert len(read(tmp_path).runs) == 2


def test_a_read_only_system_is_named_with_the_file_too(tmp_path, monkeypatch):
    def refuse(path, *arguments, **options):  # even to remove what is not there
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    monkeypatch.setattr(Path, "unlink", refuse)
    monkeypatch.setattr(Path, "write_bytes", refuse)
    with pytest.raises(OSError, match="Read-only") as failure:
        Results(tmp_path, "levy", CONFIG)
    assert failure.value.filename == str(tmp_path / "runs.jsonl")


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_a_byte_order_mark_and_line_ends_of_windows_are_read(tmp_path, end):
    filled(tmp_path)
    for name in ("runs.jsonl", "results.json"):
        path = tmp_path / name
        path.write_bytes(codecs.BOM_UTF8 + path.read_bytes().replace(b"\n", end).rstrip())
    results = Results(tmp_path, "levy", CONFIG)
    assert results.has(a_run())
    assert read(tmp_path).runs == results.runs
    results.add(a_run(1), {})
    assert len(Results(tmp_path, "levy", CONFIG).runs) == 2


def test_data_are_known_by_their_digest_wherever_they_are(tmp_path):
    config = CONFIG | {"data": "/home/one/set.csv", "sha256": "0123"}
    Results(tmp_path, "levy", config).add(a_run(), {})
    assert b"/home" not in (tmp_path / "results.json").read_bytes()
    moved = Results(tmp_path, "levy", config | {"data": "/elsewhere/moved.csv"})
    assert moved.has(a_run())
    assert moved.config["data"] == "/elsewhere/moved.csv"
    before = (tmp_path / "results.json").read_bytes(), (tmp_path / "runs.jsonl").read_bytes()
    moved.write()
    assert json.loads((tmp_path / "results.json").read_text())["config"]["data"] == "set.csv"
    moved.add(a_run(1), {})
    assert (tmp_path / "runs.jsonl").read_bytes().startswith(before[1])
    assert (tmp_path / "runs.jsonl").read_bytes().count(b'"experiment"') == 1
    for other in ({"sha256": "4567"}, {"data": None, "sha256": None}):
        with pytest.raises(ValueError, match="results of another configuration"):
            Results(tmp_path, "levy", config | other)


@pytest.mark.parametrize("digest", [{}, {"sha256": "0123"}])
def test_results_with_the_path_of_their_data_are_continued(tmp_path, digest):
    config = CONFIG | {"data": "/home/one/set.csv", "images": 7}
    old = HEADER | {"config": config | digest}
    put(tmp_path, {"results.json": json.dumps(old | {"runs": []}).encode()})
    put(tmp_path, {"runs.jsonl": json.dumps(old).encode() + b"\n"})
    now = config | {"data": "/elsewhere/set.csv", "sha256": "0123"}
    Results(tmp_path, "levy", now).add(a_run(), {})
    assert Results(tmp_path, "levy", now).has(a_run())
    for other in ({"sha256": "4567"}, {"images": 8}):
        with pytest.raises(ValueError, match="results of another configuration"):
            Results(tmp_path, "levy", now | other)


def test_names_that_no_encoding_can_show_are_stored_all_the_same(tmp_path):
    config = CONFIG | {"data": os.fsdecode(b"/home/caf\xe9.csv"), "sha256": "0"}
    out = tmp_path / os.fsdecode(b"new\nline \xe9")
    check_folder(out)
    Results(out, "levy", config).add(a_run(failed=config["data"]), {})
    assert Results(out, "levy", config).find()[0]["metrics"]["failed"] == config["data"]
