"""Sweeps on any executor: the same numbers everywhere, and nothing is lost."""

import ast
import importlib.util
import json
import os
import platform
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from geonet import files, threads
from geonet.experiments.harness.executors import completed, process_pool
from geonet.experiments.harness.experiment import Experiment
from geonet.experiments.harness.results import Results, locked, read
from geonet.experiments.harness.versions import versions
from geonet.text import BadInput
from geonet.train import Diverged

ROOT = Path(__file__).parents[1]
CONFIG = {"methods": ["SP", "GmP"], "seeds": [0, 1]}


class Draws(Experiment):
    """Runs that take no time. Some methods fail on purpose. Workers import it from here."""

    name = "draws"
    metric = "error"
    methods = "SP,GmP"
    refused = None  # a seed whose data cannot be used

    def run_one(self, config, method, seed, lr):
        if method == "WN":
            raise ZeroDivisionError("no such\nnumber")
        if method == "BN":
            raise Diverged(3, "the model", "loss")
        if method == "LN":
            os._exit(1)
        if seed == self.refused:
            raise BadInput("a file is damaged")
        values = np.random.default_rng(seed).normal(size=100)
        error = abs(lr - 0.03) + abs(values.mean())
        metrics = {"validation_error": error, "test_error": error, "steps": 1}
        return metrics | {"overflow": np.inf}, {"values": values}

    def describe(self, config):
        return "Draws"

    def figures(self, results):
        return ()


DRAWS = Draws()


class Asks(Draws):
    """Runs that say how many threads kernels and BLAS have there."""

    def run_one(self, config, method, seed, lr):
        blas = threads.openblas("get_num_threads")
        numbers = {"kernels": threads.count(), "blas": 1 if blas is None else blas()}
        return {"test_error": 0.0, "steps": 1} | numbers, {}


ASKS = Asks()


def numbers(folder):
    """The bytes of results.json without the lines on time, and the arrays."""
    lines = (folder / "results.json").read_bytes().splitlines()
    arrays = {p.name: dict(np.load(p)) for p in sorted(folder.glob("boundaries/*.npz"))}
    return [line for line in lines if b'"seconds"' not in line], arrays


def runs_of(folder):
    content = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    return {(run["method"], run["seed"]): run["metrics"] for run in content["runs"]}


def test_processes_threads_and_this_process_give_the_same_numbers(tmp_path, capsys):
    words = ("--lr", "sweep", "--seeds", "2", "--out")
    assert DRAWS.run(*words, tmp_path / "one", "--workers", "1") == 0
    assert DRAWS.run(*words, tmp_path / "two", "--workers", "2") == 0
    with ThreadPoolExecutor(3) as executor:
        assert DRAWS.run(*words, tmp_path / "three", executor=executor) == 0
        assert executor.submit(int).result() == 0  # the sweep did not shut it down
    assert "GmP     0.03" in capsys.readouterr().out
    one, two, three = (numbers(tmp_path / name) for name in ("one", "two", "three"))
    assert len(one[1]) == 2 * 2 * 6
    np.testing.assert_equal(two, one)
    np.testing.assert_equal(three, one)


def test_a_run_has_its_share_of_the_cores_and_one_thread_of_blas_wherever_it_is_done(tmp_path):
    words = "--seeds", "2", "--methods", "SP", "--out"
    before = threads.count()
    for workers in ("1", "2"):
        assert ASKS.run(*words, tmp_path / workers, "--workers", workers) == 0
    with ThreadPoolExecutor(2) as executor:
        assert ASKS.run(*words, tmp_path / "3", executor=executor) == 0
    found = [run["metrics"] for folder in tmp_path.iterdir() for run in read(folder).find()]
    assert [(metrics["kernels"], metrics["blas"]) for metrics in found] == [(1, 1)] * 6
    assert threads.count() == before


@pytest.mark.parametrize(
    ("function", "tasks"),
    [(time.sleep, [0, *[60] * 100]), (bytes, [30_000_000] * 50)],
    ids=["while tasks wait", "while large results are on their way"],
)
def test_a_pool_that_is_left_ends_at_once_without_a_word(function, tasks, monkeypatch, capfd):
    said = []
    monkeypatch.setattr(threading, "excepthook", said.append)
    shutdown = ProcessPoolExecutor.shutdown

    def late(pool, **options):  # as on a busy machine: first the pool notices its dead processes
        time.sleep(0.5)
        shutdown(pool, **options)

    monkeypatch.setattr(ProcessPoolExecutor, "shutdown", late)
    start = time.perf_counter()

    def leave():
        with process_pool(2) as pool:
            ended = completed(pool, function, tasks)
            next(ended)
            ended.close()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        leave()
    assert time.perf_counter() - start < 30
    assert said == []
    assert capfd.readouterr() == ("", "")


def test_a_run_that_fails_is_recorded_and_the_others_go_on(tmp_path, capsys):
    words = ("--methods", "SP,WN,BN", "--seeds", "2", "--workers", "1", "--out", tmp_path)
    assert DRAWS.run(*words) == 1
    runs = runs_of(tmp_path)
    assert len(runs) == 6
    line = runs["WN", 0]["failed"]
    assert line.startswith("ZeroDivisionError: no such number (test_harness_executors.py, line")
    assert not runs["SP", 0]["diverged"]
    assert runs["SP", 0]["overflow"] is None
    assert runs["BN", 0]["diverged"]
    said = capsys.readouterr()
    assert "draws: 2 of 6 runs failed, the first of them with ZeroDivisionError" in said.err
    assert "0 of 2, 2 failed" in said.out
    assert f"WN, rate 0.01, seed 1: {line}" in said.out


def test_runs_that_failed_are_tried_again_and_no_others(tmp_path, monkeypatch, capsys):
    words = ("--methods", "SP,WN", "--seeds", "1", "--workers", "1", "--out", tmp_path)
    assert DRAWS.run(*words) == 1
    tried = []

    def mended(config, method, seed, lr):
        tried.append(method)
        return {"test_error": 1.0, "steps": 1}, {}

    monkeypatch.setattr(DRAWS, "run_one", mended)
    assert DRAWS.run(*words) == 0
    assert tried == ["WN"]
    assert runs_of(tmp_path)["WN", 0]["test_error"] == 1


def test_when_all_runs_fail_there_is_no_table_but_the_reason(tmp_path, capsys):
    words = ("--methods", "WN", "--seeds", "2", "--workers", "1", "--out", tmp_path)
    assert DRAWS.run(*words) == 1
    assert "2 of 2 runs failed" in capsys.readouterr().err


def test_a_worker_that_dies_is_named_and_finished_runs_are_kept(tmp_path):
    words = ("--methods", "SP,LN", "--seeds", "2", "--workers", "1", "--out", tmp_path)
    with process_pool(1) as pool, pytest.raises(BadInput, match=r"a worker died .* are kept in"):
        DRAWS.run(*words, executor=pool)
    assert set(runs_of(tmp_path)) == {("SP", 0), ("SP", 1)}


def test_data_that_are_of_no_use_end_the_sweep(tmp_path, monkeypatch):
    monkeypatch.setattr(Draws, "refused", 2)
    with pytest.raises(BadInput, match="a file is damaged"):
        DRAWS.run("--seeds", "4", "--workers", "1", "--out", tmp_path)
    assert set(runs_of(tmp_path)) == {("SP", 0), ("SP", 1)}


def test_in_this_process_each_result_is_there_before_the_next_task():
    done = []
    for task, result in completed(None, done.append, range(3)):
        assert result() is None
        assert done == list(range(task + 1))


# What is on disk ----------------------------------------------------------------------------------


def a_run(seed, method="SP"):
    return {"method": method, "seed": seed, "lr": 0.01, "metrics": {"x": seed}}


def test_runs_are_there_before_results_json_is_written_again(tmp_path):
    first = Results(tmp_path, "draws", CONFIG)
    written = (tmp_path / "results.json").read_bytes()
    first.add(a_run(0), {"values": np.ones(2)})
    assert (tmp_path / "results.json").read_bytes() == written
    header, line = map(json.loads, (tmp_path / "runs.jsonl").read_bytes().splitlines())
    assert (header["experiment"], header["config"]) == ("draws", CONFIG)
    assert line == a_run(0)
    again = Results(tmp_path, "draws", CONFIG)
    assert again.runs == first.runs
    assert (tmp_path / "results.json").read_bytes() == written  # reading writes nothing
    again.write()
    assert runs_of(tmp_path) == {("SP", 0): {"x": 0}}


def test_versions_are_those_of_the_runs_and_later_ones_stand_beside(tmp_path, monkeypatch):
    first = Results(tmp_path, "draws", CONFIG)
    first.add(a_run(0), {})
    first.write()
    written = (tmp_path / "results.json").read_bytes()
    monkeypatch.setattr("geonet.__version__", "99")
    again = Results(tmp_path, "draws", CONFIG)
    again.write()
    assert (tmp_path / "results.json").read_bytes() == written
    again.add(a_run(1), {})
    for results in (again, Results(tmp_path, "draws", CONFIG)):
        results.write()
        content = json.loads((tmp_path / "results.json").read_text())
        assert content["versions"] == json.loads(written)["versions"]
        assert [other["geonet"] for other in content["also_versions"]] == ["99"]


def test_processor_and_blas_kernel_are_among_the_versions():
    assert versions().keys() >= {"geonet", "numpy", "blas", "processor"}
    code = "from geonet.experiments.harness.versions import versions as v; print(v())"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OPENBLAS_CORETYPE": "Haswell"}
    found = subprocess.check_output([sys.executable, "-c", code], env=environment, text=True)
    if "blas_kernel" not in versions() or platform.machine() not in ("x86_64", "AMD64"):
        pytest.skip("NumPy's BLAS is not OpenBLAS, or has no kernel for Haswell")
    assert ast.literal_eval(found) == versions() | {"blas_kernel": "Haswell"}


def test_a_failed_run_leaves_the_rate_of_its_method_open_until_it_is_done(
    tmp_path, monkeypatch, capsys
):
    fails = [0.001]

    def measured(config, method, seed, lr):
        if lr in fails:
            raise MemoryError("once")
        return {"validation_error": lr, "test_error": lr, "steps": 1}, {}

    monkeypatch.setattr(DRAWS, "run_one", measured)
    words = ("--methods", "SP", "--seeds", "2", "--lr", "sweep", "--workers", "1", "--out")
    assert DRAWS.run(*words, tmp_path) == 1
    output = capsys.readouterr()
    assert "no rate can be chosen yet for SP" in output.err
    assert "not chosen" in output.out
    assert np.isnan(read(tmp_path).metrics("SP", "test_error")).all()
    fails.clear()
    assert DRAWS.run(*words, tmp_path) == 0
    assert read(tmp_path).lr("SP") == 0.001
    np.testing.assert_array_equal(read(tmp_path).metrics("SP", "test_error"), [0.001, 0.001])


def test_metrics_of_numpy_are_kept_and_others_fail_their_run(tmp_path, monkeypatch):
    def measured(config, method, seed, lr):
        value = np.float32(0.5) if seed else {1, 2}
        metrics = {"test_error": value, "count": np.int64(3), "lost": np.float32(np.nan)}
        return metrics | {"steps": 1}, {}

    monkeypatch.setattr(DRAWS, "run_one", measured)
    words = ("--methods", "SP", "--seeds", "2", "--workers", "1", "--out", tmp_path)
    assert DRAWS.run(*words) == 1
    runs = runs_of(tmp_path)
    assert "TypeError" in runs["SP", 0]["failed"]
    assert (runs["SP", 1]["test_error"], runs["SP", 1]["count"]) == (0.5, 3)
    assert runs["SP", 1]["lost"] is None


@pytest.mark.parametrize("keep", [0, 30])
def test_a_run_whose_arrays_are_torn_counts_as_not_done(tmp_path, keep):
    Results(tmp_path, "draws", CONFIG).add(a_run(0), {"values": np.ones(9)})
    (path,) = (tmp_path / "boundaries").iterdir()
    path.write_bytes(path.read_bytes()[:keep])
    assert not Results(tmp_path, "draws", CONFIG).runs
    (tmp_path / "boundaries" / ".x.npz.123").write_bytes(b"torn")
    Results(tmp_path, "draws", CONFIG, overwrite=True)
    assert not list((tmp_path / "boundaries").iterdir())


def test_a_file_in_place_of_the_folder_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "within"):
        with pytest.raises(BadInput, match="--out must be a folder"):
            DRAWS.run("--out", path)


@pytest.mark.parametrize("torn", [b'{"method": "GmP", "see', b"{", b"\xce"])
def test_a_line_that_a_kill_cut_short_is_dropped_and_written_over(tmp_path, torn):
    results = Results(tmp_path, "draws", CONFIG)
    results.add(a_run(0), {})
    log = tmp_path / "runs.jsonl"
    whole = log.read_bytes()
    log.write_bytes(whole + torn)
    results = Results(tmp_path, "draws", CONFIG)
    assert len(results.runs) == 1
    results.add(a_run(1), {})
    assert log.read_bytes().startswith(whole)
    assert [json.loads(line) for line in log.read_bytes().splitlines()[2:]] == [a_run(1)]


@pytest.mark.parametrize(
    "line",
    [b"not ours", b'{"method": "SP", "seed": 1, "lr": 0.1}'],
)
def test_other_lines_that_are_no_runs_are_refused_by_number(tmp_path, line):
    Results(tmp_path, "draws", CONFIG).add(a_run(0), {})
    with open(tmp_path / "runs.jsonl", "ab") as file:
        file.write(line + b"\n")
    with pytest.raises(ValueError, match=r"runs.jsonl, line 3: not a run of geonet"):
        Results(tmp_path, "draws", CONFIG)
    assert not Results(tmp_path, "draws", CONFIG, overwrite=True).runs
    assert len((tmp_path / "runs.jsonl").read_bytes().splitlines()) == 1


@pytest.mark.parametrize("field", ["split", "purpose"])
def test_results_of_an_earlier_version_are_ours_but_not_taken_over(tmp_path, field):
    header = {"experiment": "draws", "config": CONFIG, "versions": {"geonet": "0.1.0"}}
    runs = [a_run(seed) | {field: split} for seed, split in ((0, "test"), (1, "validation"))]
    lines = "".join(json.dumps(entry) + "\n" for entry in (header, *runs))
    (tmp_path / "runs.jsonl").write_text(lines)
    (tmp_path / "results.json").write_text(json.dumps(header | {"runs": runs}))
    (tmp_path / "boundaries").mkdir()
    stored = [
        tmp_path / "boundaries" / f"SP_seed{run['seed']}_lr0.01_{run[field]}.npz" for run in runs
    ]
    for path in stored:
        np.savez(path, values=np.ones(1))
    assert not read(tmp_path).runs
    assert not Results(tmp_path, "draws", CONFIG).runs
    assert all(path.exists() for path in stored)
    Results(tmp_path, "draws", CONFIG | {"seeds": [5]}, overwrite=True)
    assert not any(path.exists() for path in stored)


def test_results_json_alone_can_be_read_and_continued(tmp_path):
    results = Results(tmp_path, "trial", CONFIG)
    results.add(a_run(0), {"values": np.ones(1)})
    results.write()
    (tmp_path / "runs.jsonl").unlink()
    found = Results(tmp_path, "trial", CONFIG)
    assert found.runs.keys() == read(tmp_path).runs.keys()
    assert found.arrays("SP", 0)["values"] == [1]
    found.add(a_run(1), {})
    assert len(Results(tmp_path, "trial", CONFIG).runs) == 2
    assert "runs" not in json.loads((tmp_path / "runs.jsonl").read_text().splitlines()[0])


def test_runs_without_their_configuration_are_refused(tmp_path):
    (tmp_path / "runs.jsonl").write_text(json.dumps(a_run(0)) + "\n")
    with pytest.raises(ValueError, match="line 1: not a run of geonet"):
        Results(tmp_path, "trial", CONFIG)


def test_two_sweeps_into_one_folder_are_refused_in_one_line(tmp_path):
    with locked(tmp_path), pytest.raises(BadInput) as refusal:
        DRAWS.run("--seeds", "1", "--out", tmp_path)
    assert str(refusal.value) == (
        f"another sweep is running into {tmp_path}: wait for it, or choose another --out"
    )
    assert DRAWS.run("--seeds", "1", "--workers", "1", "--out", tmp_path) == 0


# The command line ---------------------------------------------------------------------------------

LEVY = ("levy", "--quick", "--methods", "SP,GmP", "--seeds", "4", "--out")


def start(*words, launcher=(sys.executable, "-m")):
    """Start a command in a session of its own."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [*launcher, *map(str, words)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def finish(process):
    """Exit status, output and errors, once the process and all its children have ended."""
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err


def test_an_interruption_right_after_a_line_is_written_keeps_its_run(tmp_path, monkeypatch):
    results = Results(tmp_path, "draws", CONFIG)
    whole = files.write_whole

    def interrupted(path, write):
        whole(path, write)
        if path.name == "runs.jsonl":
            raise KeyboardInterrupt

    monkeypatch.setattr("geonet.experiments.harness.results.write_whole", interrupted)
    with pytest.raises(KeyboardInterrupt):
        results.add(a_run(0), {})
    monkeypatch.undo()
    results.write()
    assert len(read(tmp_path).runs) == len(Results(tmp_path, "draws", CONFIG).runs) == 1


def wait_for_runs(folder, process, count):
    log = folder / "runs.jsonl"
    while not log.exists() or log.read_bytes().count(b"\n") < 1 + count:
        assert process.poll() is None
        time.sleep(0.02)


@pytest.fixture(scope="module")
def in_one_process(tmp_path_factory):
    """The results of a sweep in one process."""
    folder = tmp_path_factory.mktemp("levy")
    assert finish(start("geonet", *LEVY, folder, "--workers", "1"))[0] == 0
    return numbers(folder)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--executor", "slurm"), "must be dask, dask:ADDRESS or mpi, but is 'slurm'"),
        (("--executor", "mpi"), "a command that begins with mpiexec"),
        (("--workers", "0"), "--workers: must be a whole number .* but is '0'"),
    ],
)
def test_a_place_for_runs_that_there_is_not_is_refused(words, said, tmp_path):
    with pytest.raises(BadInput, match=said):
        DRAWS.run(*words, "--out", tmp_path)


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(BadInput, match=r"python -m pip install \"dask\[distributed\]\""):
        DRAWS.run("--executor", "dask")


@pytest.mark.slow
def test_a_sweep_that_is_killed_twice_loses_nothing(tmp_path, in_one_process):
    lines = []
    for count in (2, 4):
        process = start("geonet", *LEVY, tmp_path, "--workers", "2")
        wait_for_runs(tmp_path, process, count)
        process.send_signal(signal.SIGKILL)  # only the sweep: its workers must end by themselves
        finish(process)
        lines.append((tmp_path / "runs.jsonl").read_bytes().splitlines())
        assert len(lines[-1]) < 9
    assert finish(start("geonet", *LEVY, tmp_path, "--workers", "2"))[0] == 0
    lines.append((tmp_path / "runs.jsonl").read_bytes().splitlines())
    del lines[-1][-3:]  # the names of the figures
    assert len(lines[0]) < len(lines[1]) < len(lines[2]) == 9
    assert lines[2][: len(lines[0])] == lines[0]  # which were not done again
    np.testing.assert_equal(numbers(tmp_path), in_one_process)


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="process groups of POSIX")
def test_an_interruption_ends_the_workers_and_says_one_line(tmp_path):
    process = start("geonet", *LEVY, tmp_path, "--workers", "2")
    wait_for_runs(tmp_path, process, 2)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    status, out, err = finish(process)
    assert (status, out) == (130, "")
    assert err.strip().startswith("levy: interrupted; ")
    assert len(err.strip().splitlines()) == 1
    assert len(runs_of(tmp_path)) >= 2


@pytest.mark.slow
def test_a_second_sweep_into_a_folder_is_refused_while_the_first_runs(tmp_path):
    words = (*LEVY, tmp_path, "--seeds", "1000")
    first = start("geonet", *words)
    wait_for_runs(tmp_path, first, 1)
    status, out, err = finish(start("geonet", *words))
    first.kill()
    finish(first)
    assert (status, out, len(err.splitlines())) == (2, "", 1)
    assert f"another sweep is running into {tmp_path}:" in err


@pytest.mark.slow
def test_a_cluster_of_dask_gives_the_same_numbers(tmp_path, in_one_process):
    pytest.importorskip("distributed", reason="dask[distributed] is not installed")
    words = ("--executor", "dask", "--workers", "2")
    status, _, err = finish(start("geonet", *LEVY, tmp_path, *words))
    assert status == 0, err
    np.testing.assert_equal(numbers(tmp_path), in_one_process)


@pytest.mark.slow
def test_processes_of_mpi_give_the_same_numbers(tmp_path, in_one_process):
    pytest.importorskip("mpi4py", reason="mpi4py is not installed")
    beside = Path(sys.executable).with_name("mpiexec")
    mpiexec = str(beside if beside.exists() else "mpiexec")
    launcher = (mpiexec, "-n", "3", sys.executable, "-m", "mpi4py.futures", "-m")
    process = start("geonet", *LEVY, tmp_path, "--executor", "mpi", launcher=launcher)
    status, _, err = finish(process)
    assert status == 0, err
    np.testing.assert_equal(numbers(tmp_path), in_one_process)
