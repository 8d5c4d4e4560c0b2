"""The command line as a user meets it: every command in a process of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from absent_helpers import environment_without
from kernel_helpers import without_notice

ROOT = Path(__file__).parents[1]
QUICK = ("--quick", "--methods", "SP,GmP", "--seeds", "1")


def geonet(*words, cwd, **environment):
    settings = {k: v for k, v in os.environ.items() if k != "GEONET_DATA"}
    settings |= {"PYTHONPATH": str(ROOT), **environment}
    command = [sys.executable, "-m", "geonet", *map(str, words)]
    result = subprocess.run(
        command, cwd=cwd, env=settings, capture_output=True, text=True, timeout=300
    )
    if "GEONET_KERNELS" not in environment:
        result.stderr = without_notice(result.stderr)
    return result


def refusal(*words, cwd, **environment):
    """The one line that a refused command says."""
    result = geonet(*words, cwd=cwd, **environment)
    assert result.returncode == 2, result
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    return line


def test_plain_kernels_are_announced_once(tmp_path):
    words = "levy", *QUICK, "--workers", "2", "--out", "out"
    result = geonet(*words, cwd=tmp_path, GEONET_KERNELS="numpy")
    assert result.returncode == 0
    assert result.stderr.count("plain NumPy") == 1


def test_help_lists_the_commands(tmp_path):
    text = geonet("--help", cwd=tmp_path).stdout
    experiments = "perturbation", "levy", "banana", "uci", "ladder", "imagenet32", "imagenet"
    for command in (*experiments, "graph", "gradcheck", "report", "bench"):
        assert f"\n    {command} " in text


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ("levy", "--methods", "SP,Gmp"),
            "'Gmp' is not one of SP, WN, BN, LN, WN+MBN, GmP-C, GmP, GmP+IMN",
        ),
        (("levy", "--lr", "-0.1"), "--lr: must be a positive number, but is '-0.1'"),
        (("levy", "--lr", "GmP=1, GmP=2"), "--lr: 'GmP, GmP' names one twice"),
        (("levy", "--lr", "GmP=1,2"), "--lr: must be one rate for each method that it names"),
        (("levy", "--seeds", "none"), "--seeds: must be a count"),
        (("levy", "--init", "magic"), "init must be one of glorot_uniform"),
        (("levy", "--init", "normal:-1"), "needs a positive scale"),
        (("banana", "--data", "nowhere.csv"), "nowhere.csv"),
        (("levy", "--protocol", "own"), "invalid choice: 'own'"),
        (("graph", "--method", "Gmp"), "argument --method: invalid choice: 'Gmp'"),
        (("bench", "--turns", "0"), "--turns must be at least 1"),
        (("bench", "convolutions"), "invalid choice: 'convolutions'"),
        (("imagenet32", "--data", "nowhere"), "nowhere"),
        (("imagenet32", "--quick", "--batch-sizes", "0"), "--batch-sizes must be numbers from 1"),
        (("--threads", "0", "bench"), "--threads"),
        (("--threads", "9" * 5000, "bench"), "--threads"),
        (("imagenet32", "--epochs", "many"), "--epochs"),
        (("imagenet32", "--quick", "--width", "0"), "--width: must be a number in [0.001, inf)"),
        (("imagenet", "--data", "nowhere"), "nowhere: no such folder; expected one with train"),
        (("imagenet", "--arch", "resnet19"), "invalid choice: 'resnet19'"),
        (("imagenet", "--label-smoothing", "1"), "--label-smoothing: must be a number in [0, 1)"),
        (("imagenet", "--resume", "--overwrite"), "choose one of them"),
        (("report", "nowhere"), "nowhere/results.json is missing"),
        (("nonsense",), "invalid choice: 'nonsense'"),
    ],
)
def test_bad_input_gets_one_line_and_status_2(words, said, tmp_path):
    assert said in refusal(*words, cwd=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_malformed_data_is_named_with_file_row_and_column(tmp_path):
    (tmp_path / "banana.csv").write_text("At1,At2,Class\n1.0,2.0,1\n1.0,abc,-1\n")
    line = refusal("banana", "--data", "banana.csv", cwd=tmp_path)
    for part in ("banana.csv", "row 1", "column 2", "abc"):
        assert part in line
    assert "banana.csv" in refusal("banana", cwd=tmp_path, GEONET_DATA=str(tmp_path))


def test_a_batch_file_that_would_run_code_is_refused_by_name_and_runs_nothing(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    hostile = b"cos\nsystem\n(S'touch executed'\ntR."  # a pickle that calls os.system
    for name in ("train_data_batch_1", "val_data"):
        (folder / name).write_bytes(hostile)
    line = refusal("imagenet32", "--quick", "--data", "images", cwd=tmp_path)
    for part in ("images", "data", "os", "system"):
        assert part in line
    assert sorted(p.name for p in tmp_path.rglob("*")) == [
        "images",
        "train_data_batch_1",
        "val_data",
    ]


def test_a_data_folder_that_does_not_exist_is_refused(tmp_path):
    assert "GEONET_DATA must name a folder" in refusal("banana", cwd=tmp_path, GEONET_DATA="none")


@pytest.mark.parametrize("program", ["geonet", "lessons"])
def test_another_word_for_kernels_is_refused_in_one_line(program, tmp_path):
    environment = os.environ | {"PYTHONPATH": str(ROOT), "GEONET_KERNELS": "cupy"}
    command = [sys.executable, "-m", program]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    line = f"{program}: GEONET_KERNELS must be numba or numpy, but is 'cupy'\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", line)


def test_a_terminal_without_greek_gets_the_table_all_the_same(tmp_path):
    result = geonet("perturbation", *QUICK, cwd=tmp_path, PYTHONIOENCODING="ascii")
    assert result.returncode == 0
    assert "GmP" in result.stdout


def test_names_and_output_survive_a_locale_without_greek(tmp_path):
    locale = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    result = geonet("perturbation", *QUICK, "--out", "Ergebnisse für λ", cwd=tmp_path, **locale)
    assert (result.returncode, result.stderr) == (0, "")
    folder = tmp_path / "Ergebnisse für λ"
    assert len(list(folder.glob("figures/*.svg"))) == 2
    assert "perturbation" in json.loads((folder / "results.json").read_text("utf-8"))["experiment"]


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="elsewhere, names of files are text")
def test_data_and_results_may_have_names_that_are_no_text(tmp_path):
    data = os.fsdecode(os.fsencode(tmp_path) + b"/b\xe9")
    os.mkdir(data)
    rows = [f"{i % 7},{i % 5},{1 if i % 3 else -1}" for i in range(1000)]
    Path(data, "banana.csv").write_text("\n".join(["At1,At2,Class", *rows]), encoding="utf-8")
    words = "banana", *QUICK, "--data", data, "--out", Path(data, "out")
    for _ in range(2):  # the second time, it reads what it wrote
        assert geonet(*words, cwd=tmp_path).returncode == 0
    assert len(list(Path(data, "out", "figures").glob("*.png"))) == 3


@pytest.mark.parametrize("folder", ["nowhere", "file"])
def test_a_folder_of_data_that_is_none_is_refused(folder, tmp_path):
    (tmp_path / "file").write_text("")
    line = refusal("banana", *QUICK, cwd=tmp_path, GEONET_DATA=folder)
    assert line == f"geonet: GEONET_DATA must name a folder, but is {folder!r}"


def test_threads_may_stand_before_or_after_the_command(tmp_path):
    for words in (("--threads", "2", "gradcheck"), ("gradcheck", "--threads", "2")):
        assert geonet(*words, cwd=tmp_path).returncode == 0


@pytest.mark.parametrize("words", [("perturbation", *QUICK), ("graph",)])
def test_an_output_folder_that_is_a_file_is_refused_before_anything_is_printed(words, tmp_path):
    (tmp_path / "taken").write_text("")
    assert "taken" in refusal(*words, "--out", "taken", cwd=tmp_path)


def test_another_configurations_results_are_kept_unless_overwritten(tmp_path):
    words = ("levy", "--quick", "--methods", "GmP", "--out", "here")
    assert geonet(*words, "--seeds", "1", cwd=tmp_path).returncode == 0
    before = (tmp_path / "here" / "results.json").read_bytes()
    line = refusal(*words, "--seeds", "2", cwd=tmp_path)
    assert "holds results of another configuration" in line
    assert (tmp_path / "here" / "results.json").read_bytes() == before
    assert geonet(*words, "--seeds", "2", "--overwrite", cwd=tmp_path).returncode == 0
    assert len(json.loads((tmp_path / "here" / "results.json").read_text())["config"]["seeds"]) == 2


def test_output_that_is_not_a_terminal_has_no_progress_line(tmp_path):
    result = geonet("perturbation", *QUICK, cwd=tmp_path)
    assert result.returncode == 0
    assert result.stderr == ""
    assert (tmp_path / "results" / "perturbation" / "results.json").exists()


def test_gradcheck_passes_for_every_operation(tmp_path):
    result = geonet("gradcheck", cwd=tmp_path)
    assert result.returncode == 0
    assert "hyperspherical" in result.stdout
    assert "FAILED" not in result.stdout
    assert "nan" not in result.stdout


@pytest.mark.parametrize("model", ["mlp", "vgg6"])
def test_graph_prints_a_table_and_leaves_a_page_and_a_figure(model, tmp_path):
    result = geonet("graph", "--model", model, "--method", "BN", "--out", "here", cwd=tmp_path)
    assert result.returncode == 0, result
    assert "batch_norm" in result.stdout
    assert sorted(p.name for p in (tmp_path / "here").iterdir()) == [
        "graph.html", "graph.png", "graph.svg",
    ]  # fmt: skip
    page = (tmp_path / "here" / "graph.html").read_text(encoding="utf-8")
    assert f"<h1>One training step of {model} under BN</h1>" in page
    assert str(tmp_path) not in page
    assert str(ROOT) not in page


@pytest.mark.parametrize("backend", ["nonsense", "module://nowhere.backend_inline", "TkAgg"])
def test_figures_are_drawn_whatever_backend_is_inherited(backend, tmp_path):
    result = geonet("graph", "--out", "here", cwd=tmp_path, MPLBACKEND=backend, DISPLAY="")
    assert (result.returncode, result.stderr) == (0, "")
    assert (tmp_path / "here" / "graph.png").exists()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
def test_results_are_whole_although_standard_output_is_on_a_full_disk(tmp_path):
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "geonet", "graph", "--out", "here"]
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert done.returncode == 1
    message = "geonet: standard output cannot be written: No space left on device\n"
    assert without_notice(done.stderr) == message
    assert sorted(p.suffix for p in (tmp_path / "here").iterdir()) == [".html", ".png", ".svg"]


@pytest.mark.parametrize("words", [("levy", *QUICK, "--workers", "2"), ("gradcheck",)])
def test_commands_work_where_a_system_lacks_what_others_have(words, tmp_path):
    result = geonet(*words, cwd=tmp_path, **environment_without(tmp_path))
    assert result.returncode == 0
    assert set(result.stderr.splitlines()) >= {"absent"}
    assert "Traceback" not in result.stderr


@pytest.mark.slow
@pytest.mark.parametrize("lacking", [False, True])
def test_the_tour_ends_with_pictures(lacking, tmp_path):
    result = geonet(cwd=tmp_path, **(environment_without(tmp_path) if lacking else {}))
    assert result.returncode == 0
    assert ("absent" in result.stderr) == lacking
    assert len(list(tmp_path.glob("results/tour/*/figures/*.png"))) >= 8
    assert "results/tour" in result.stdout


@pytest.mark.slow
def test_a_convnet_learns_from_the_pictures_that_are_drawn(tmp_path):
    words = ("imagenet32", "--quick", "--methods", "BN,GmP+IMN", "--batch-sizes", "32")
    assert geonet(*words, cwd=tmp_path).returncode == 0
    content = json.loads((tmp_path / "results" / "imagenet32" / "results.json").read_text())
    assert len(content["runs"]) == 2
    assert all(run["metrics"]["test_top1"] > 0.15 for run in content["runs"])  # by chance: 0.1


@pytest.mark.slow
def test_the_real_banana_set_runs(tmp_path):
    if "GEONET_DATA" not in os.environ:
        pytest.skip("GEONET_DATA is not set")
    data = Path(os.environ["GEONET_DATA"]).resolve()
    result = geonet("banana", *QUICK, "--data", data / "banana.csv", cwd=tmp_path)
    assert result.returncode == 0
    assert "banana.csv" in result.stdout
