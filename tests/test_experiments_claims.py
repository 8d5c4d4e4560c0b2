"""Claims as data, the rule that judges them, their measures, and the forms of the report."""

import base64
import codecs
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from geonet import hypersphere
from geonet.experiments import find
from geonet.experiments.claims import measures, report
from geonet.experiments.claims.command import command, cost, seeds_left
from geonet.experiments.claims.statements import CLAIMS, EVIDENCE, Bound, Claim, Comparison
from geonet.experiments.claims.verdicts import (
    INCONCLUSIVE,
    NOT_REPRODUCED,
    REPRODUCED,
    RULE,
    judge_bound,
    judge_claim,
    judge_comparison,
    verdict,
    verdict_on_all,
    verdict_on_bound,
)
from geonet.experiments.harness.results import Results
from geonet.models import METHODS
from geonet.text import BadInput, Parser

EXPERIMENTS = find()
SEEDS = list(range(10))
RATIO = measures.Measure("test RMSE", "smaller", measures.metric, ("test_rmse",))


def arguments_of(words):
    """The arguments of the command `claims`."""
    parser = Parser()
    EXPERIMENTS["claims"].add_arguments(parser)
    return parser.parse_args(words)


def results_of(folder, values, arrays=None, **config):
    """Constructed runs, from method -> one metric per seed, None for a run that diverged."""
    methods = list(values)
    results = Results(folder, "levy", {"methods": methods, "seeds": SEEDS, **config})
    for method, numbers in values.items():
        for seed, value in zip(SEEDS, numbers):
            metrics = {"diverged": True} if value is None else {"test_rmse": float(value)}
            run = {"method": method, "seed": seed, "lr": 0.1, "metrics": metrics}
            results.add(run, arrays or {})
    return results


@pytest.fixture
def noise():
    return np.exp(0.1 * np.random.default_rng(0).normal(size=(2, len(SEEDS))))


def judge(folder, own, rival, better="smaller"):
    results = results_of(folder, {"GmP": own, "SP": rival})
    comparison = Comparison("levy", "GmP", "SP", RATIO._replace(better=better))
    return judge_comparison(comparison, results, np.random.default_rng(0))


@pytest.mark.parametrize(
    ("factor", "better", "expected"),
    [
        (0.5, "smaller", REPRODUCED),
        (2.0, "smaller", NOT_REPRODUCED),
        (1.0, "smaller", INCONCLUSIVE),
        (2.0, "larger", REPRODUCED),
        (0.5, "larger", NOT_REPRODUCED),
    ],
)
def test_the_verdict_is_that_of_the_constructed_results(tmp_path, noise, factor, better, expected):
    found = judge(tmp_path, factor * noise[0], noise[1], better)
    assert found["verdict"] == expected
    assert found["low"] < found["effect"] < found["high"]
    assert found["seeds"] == 10
    assert found["means"][0] == pytest.approx(factor * noise[0].mean())
    effect = np.exp(np.mean(np.log(noise[1] / (factor * noise[0]))))
    assert found["effect"] == pytest.approx(effect if better == "smaller" else 1 / effect)


def test_who_does_not_finish_is_not_better_and_a_rival_that_does_not_is_left_out(tmp_path, noise):
    own, rival = list(0.5 * noise[0]), list(noise[1])
    own[3] = None
    lost = judge(tmp_path / "a", own, rival)
    assert (lost["verdict"], lost["seeds"], lost["without_a_number"]) == (INCONCLUSIVE, 9, [1, 0])
    own[3], rival[3] = 0.5, None
    left = judge(tmp_path / "b", own, rival)
    assert (left["verdict"], left["seeds"], left["without_a_number"]) == (REPRODUCED, 9, [0, 1])
    both = judge(tmp_path / "c", [0.5] * 3 + [None] * 7, [1.0] * 3 + [None] * 7)
    assert (both["verdict"], both["seeds"], both["without_a_number"]) == (INCONCLUSIVE, 3, [7, 7])


def test_a_rival_that_seldom_finishes_does_not_refute_the_claim(tmp_path):
    better = judge(tmp_path, [1, 1.1, 1.2, *[1.0] * 7], [0.9, 0.95, 1, *[None] * 7])
    assert better["high"] < 1
    assert (better["verdict"], better["without_a_number"]) == (INCONCLUSIVE, [0, 7])


def test_who_alone_finishes_is_the_better_one_without_a_number(tmp_path, noise):
    never = judge(tmp_path / "a", noise[0], [None] * 10)
    assert (never["verdict"], never["effect"], never["p"]) == (REPRODUCED, None, 2**-9)
    turned = judge(tmp_path / "b", [None] * 10, noise[1])
    assert (turned["verdict"], turned["effect"]) == (NOT_REPRODUCED, None)
    one = judge(tmp_path / "c", list(2 * noise[0]), [*noise[1][:9], 0.0], "larger")  # a share of 0
    assert (one["verdict"], one["seeds"], one["without_a_number"]) == (REPRODUCED, 9, [0, 1])
    few = judge(tmp_path / "d", noise[0][:5], [None] * 5)
    assert few["verdict"] == INCONCLUSIVE


def fail(results, method, seeds):
    for run in results.find(method=method):
        if run["seed"] in seeds:
            results.add(run | {"metrics": {"failed": "MemoryError: no room"}}, {})


@pytest.mark.parametrize("method", ["GmP", "SP"])
@pytest.mark.parametrize("seeds", [[3], SEEDS])
def test_a_failed_run_is_no_evidence_and_is_counted(tmp_path, noise, method, seeds, monkeypatch):
    curves = {"train_loss": np.linspace(2, 1, 10)}
    results = results_of(
        tmp_path, {"GmP": 0.1 * noise[0], "SP": noise[1]}, curves, epochs=10, classes=10
    )
    fail(results, method, seeds)
    speed = measures.Measure("epochs", "smaller", measures.epochs_to_level)
    lost = np.isin(SEEDS, seeds)
    np.testing.assert_array_equal(np.isnan(speed.values(results, method)), lost)
    tests = tuple(Comparison("levy", *pair, m) for m in (RATIO, speed) for pair in
                  (("GmP", "SP"), ("SP", "GmP")))  # fmt: skip
    tests += (Bound("levy", method, RATIO),)
    monkeypatch.setitem(CLAIMS, "constructed", Claim("title", "words", "section", tests, "why"))
    found = judge_claim("constructed", {"levy": results}, np.random.default_rng(0))
    assert {t["verdict"] for t in found["comparisons"] + found["bounds"]} == {INCONCLUSIVE}
    assert found["comparisons"][0]["failed"][method == "SP"] == len(seeds)
    assert found["comparisons"][0]["without_a_number"] == [0, 0]
    text = differences_told(found, tmp_path)
    assert text.count(f"{len(seeds)} of {method} failed") >= 1
    assert "reaches none" in text


def content_of(claim, **evidence):
    """What a report on one judged claim says, as JSON values."""
    levy = {"failed": 0, "description": "", "command": "", "setting": "", "seeds": SEEDS}
    return {
        "quick": False,
        "claims": [claim],
        "evidence": {"levy": levy | {"figure": None, "seconds": 0.0} | evidence},
        "figures": [],
        "boundaries": {},
        "rule": [],
        "rule_of_all": "",
        "versions": {},
    }


def differences_told(claim, folder):
    """The paragraph of the report on how the outcome of a claim differs from the paper."""
    text = report.markdown(report.blocks(content_of(claim)), folder)
    (found,) = [p for p in text.split("\n\n") if p.startswith(f"{claim['title']}: ")]
    return found


def test_the_comparison_that_supports_a_claim_least_stands_for_it(noise, tmp_path, monkeypatch):
    results = results_of(
        tmp_path,
        {"GmP": [None, *0.1 * noise[0][1:]], "BN": 0.5 * noise[0], "SP": noise[1]},
    )
    tests = tuple(Comparison("levy", method, "SP", RATIO) for method in ("BN", "GmP"))
    monkeypatch.setitem(CLAIMS, "constructed", Claim("title", "words", "section", tests, "why"))
    claim = judge_claim("constructed", {"levy": results}, np.random.default_rng(0))
    clear, unfinished = claim["comparisons"]
    assert unfinished["low"] > clear["low"] > 1
    (row,) = [s for s in report.summary(content_of(claim)).splitlines() if s.startswith("title")]
    assert "GmP with SP" in row
    assert row.endswith(INCONCLUSIVE)


def test_every_word_of_the_rule_is_given_where_it_says():
    assert [word for word, _ in RULE] == [REPRODUCED, NOT_REPRODUCED, INCONCLUSIVE]
    assert verdict(1.01, 2) == REPRODUCED
    assert verdict(0.5, 0.99) == NOT_REPRODUCED
    assert verdict(0.5, 0.99, finished=False) == NOT_REPRODUCED
    assert verdict(1.01, 2, finished=False) == INCONCLUSIVE
    assert verdict(1.01, 2, rival_finished=False) == REPRODUCED
    assert verdict(0.5, 0.99, rival_finished=False) == INCONCLUSIVE
    assert {verdict(*ends) for ends in ((0.9, 1.1), (1, 2), (0.5, 1), (np.nan,) * 2)} == {
        INCONCLUSIVE
    }


def test_a_claim_needs_all_its_parts_and_falls_with_one():
    assert verdict_on_all([REPRODUCED, REPRODUCED]) == REPRODUCED
    assert verdict_on_all([REPRODUCED, INCONCLUSIVE]) == INCONCLUSIVE
    assert verdict_on_all([INCONCLUSIVE, NOT_REPRODUCED, REPRODUCED]) == NOT_REPRODUCED


def test_one_violation_beyond_rounding_refutes_a_bound(tmp_path):
    assert verdict_on_bound([0.2, 1.0, 1 + 1e-9]) == REPRODUCED
    assert verdict_on_bound([0.2, 1.0, 1.001]) == NOT_REPRODUCED
    assert verdict_on_bound([0.2, np.nan]) == INCONCLUSIVE
    results = results_of(tmp_path, {"GmP": [0.9] * 9 + [1.5]})
    found = judge_bound(Bound("levy", "GmP", RATIO), results)
    assert (found["largest"], found["verdict"]) == (1.5, NOT_REPRODUCED)


def test_controls_decide_nothing(tmp_path, noise, monkeypatch):
    results = results_of(tmp_path, {"GmP": 0.5 * noise[0], "SP": noise[1], "WN": 0.1 * noise[1]})
    tests = [Comparison("levy", "GmP", "SP", RATIO), Comparison("levy", "GmP", "WN", RATIO, True)]
    claim = Claim("title", "statement", "section", tuple(tests), "why")
    monkeypatch.setitem(CLAIMS, "constructed", claim)
    found = judge_claim("constructed", {"levy": results}, np.random.default_rng(0))
    assert [c["verdict"] for c in found["comparisons"]] == [REPRODUCED, NOT_REPRODUCED]
    assert found["verdict"] == REPRODUCED


def test_a_metric_of_several_cases_is_their_geometric_mean(tmp_path):
    results = Results(tmp_path, "uci", {"methods": ["SP"], "seeds": [0, 1], "set": ["a", "b"]})
    for case, rmse in (("a", 2.0), ("b", 8.0)):
        run = {"method": "SP", "seed": 0, "lr": 0.1, "set": case}
        results.add(run | {"metrics": {"test_rmse": rmse}}, {})
    np.testing.assert_allclose(measures.metric(results, "SP", "test_rmse"), [4, np.nan])


def test_boundaries_inside_the_data_and_living_units_are_counted(tmp_path):
    # the boundaries x = 3, 11, −12 and 20: active above 3, nowhere, everywhere, and below 20
    weight = np.array([[1.0], [1], [1], [-1]])
    bias = np.array([-3.0, -11, 12, 20])
    arrays = {"weight": np.stack([0 * weight + 1, weight]), "bias": np.stack([0 * bias, bias])}
    results = results_of(tmp_path, {"SP": [1.0] * 10}, arrays, protocol="paper")
    np.testing.assert_array_equal(measures.inside(results, "SP"), 1 / 4)
    np.testing.assert_array_equal(measures.inside(results, "SP", 0), 1)
    np.testing.assert_array_equal(measures.alive(results, "SP"), 3 / 4)
    lost = {"weight": np.full((2, 4, 1), np.nan), "bias": np.full((2, 4), np.nan)}
    results = results_of(tmp_path / "LN", {"LN": [1.0] * 10}, lost, protocol="paper")
    assert np.isnan(measures.inside(results, "LN")).all()
    assert np.isnan(measures.alive(results, "LN")).all()


def test_epochs_to_a_level_of_the_loss_are_interpolated_and_count_all_where_it_is_not_reached(
    tmp_path,
):
    chance = np.log(10)
    curve = {"train_loss": chance * np.array([0.9, 0.8, 0.7, 0.1])}
    results = results_of(tmp_path / "a", {"SP": [1.0] * 10}, curve, epochs=4)
    np.testing.assert_allclose(measures.epochs_to_level(results, "SP"), 2.5)
    results = results_of(tmp_path / "b", {"SP": [1.0] * 10}, {"train_loss": [2.0] * 4}, epochs=4)
    np.testing.assert_array_equal(measures.epochs_to_level(results, "SP"), 5)
    results = results_of(tmp_path / "c", {"SP": [None] * 10}, epochs=4)
    np.testing.assert_array_equal(measures.epochs_to_level(results, "SP"), 5)


@pytest.fixture
def swept(tmp_path):
    """Three rates: SP trains at one of them, GmP at all, but one of its runs diverges."""
    lrs = [0.01, 0.1, 1.0]
    config = {"methods": ["SP", "GmP"], "seeds": SEEDS, "set": ["levy"], "init": ["sphere"]}
    results = Results(tmp_path, "robustness", config | {"lrs": lrs})
    skills = {"SP": (0.5, 0.8, -3.0), "GmP": (0.9, 1.0, 0.75)}
    for method, seed, (lr, skill) in (
        (m, s, pair) for m in skills for s in SEEDS for pair in zip(lrs, skills[m])
    ):
        metrics = {"test_skill": skill, "steps_to_level": None, "peak_over_first_loss": 1.0}
        if (method, seed, lr) == ("GmP", 4, 1.0):
            metrics = {"diverged": True}
        run = {"method": method, "seed": seed, "lr": lr, "metrics": metrics}
        results.add(run | {"set": "levy", "init": "sphere"}, {})
    return results


def test_rates_that_train_are_counted_in_a_sweep(swept):
    fifth = np.array(SEEDS) == 4
    np.testing.assert_allclose(measures.largest_lr(swept, "SP"), 0.1)
    np.testing.assert_allclose(measures.largest_lr(swept, "GmP"), np.where(fifth, 0.1, 1))
    np.testing.assert_allclose(measures.share_that_trains(swept, "SP"), 1 / 3)
    np.testing.assert_allclose(measures.share_that_trains(swept, "GmP"), np.where(fifth, 2, 3) / 3)
    at = {"SP": 1.0, "GmP": 1.0}
    np.testing.assert_allclose(measures.error_left(swept, "SP", at), 1)
    np.testing.assert_allclose(measures.error_left(swept, "GmP", at), np.where(fifth, 1, 0.25))
    fail(swept, "SP", [7])  # a failure is neither a rate that does not train nor an error of 1
    counted = (measures.largest_lr,), (measures.share_that_trains,), (measures.error_left, (at,))
    for function in counted:
        values = measures.Measure("", "larger", *function).values(swept, "SP")
        np.testing.assert_array_equal(np.isnan(values), np.array(SEEDS) == 7)


def test_the_first_order_of_a_turn_is_the_metric_and_nothing_else(tmp_path, monkeypatch):
    results = results_of(tmp_path, {"GmP": [1.0]}, units=20)
    assert measures.first_order_excess(results, "GmP").max() < 0.1
    metric = hypersphere.metric
    monkeypatch.setattr(hypersphere, "metric", lambda theta: 1.1 * metric(theta))
    assert measures.first_order_excess(results, "GmP").min() > 1


@pytest.mark.parametrize("name", CLAIMS)
def test_every_claim_says_all_that_the_report_needs(name):
    claim = CLAIMS[name]
    words = claim.title, claim.statement, claim.section, claim.why
    assert all(text and text == text.strip() for text in words)
    assert claim.tests
    for test in claim.tests:
        assert test.evidence in EVIDENCE
        assert test.measure.better in ("smaller", "larger")
        asked = arguments_for(test.evidence).methods
        assert {test.method, getattr(test, "rival", test.method)} <= set(asked)


def arguments_for(key, quick=False):
    """The arguments of the experiment that a claim depends on."""
    evidence = EVIDENCE[key]
    chosen = evidence.options | (evidence.quick if quick else {})
    return EXPERIMENTS[evidence.experiment].arguments(**chosen, out=f"{key}-out")


@pytest.mark.parametrize("key", EVIDENCE)
@pytest.mark.parametrize("quick", [False, True])
def test_the_options_of_every_experiment_make_sense(key, quick, monkeypatch, tmp_path):
    monkeypatch.delenv("GEONET_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    evidence = EVIDENCE[key]
    arguments = arguments_for(key, quick)
    assert evidence.seeds >= (3 if evidence.experiment.startswith("imagenet") else 10)
    if not evidence.experiment.startswith("imagenet"):  # whose pictures would be drawn
        EXPERIMENTS[evidence.experiment].configure(arguments)
    assert set(arguments.methods) <= set(METHODS)


@pytest.mark.parametrize("key", EVIDENCE)
def test_the_command_line_that_the_report_states_has_the_options_of_the_evidence(key):
    chosen = EVIDENCE[key].options | EVIDENCE[key].quick
    for seeds in ([0, 1, 2], [0], [3, 5]):
        name, *words = command(key, chosen | {"seeds": seeds, "quick": True}).split()
        stated = EXPERIMENTS[name].arguments(*words)
        assert stated == EXPERIMENTS[name].arguments(**chosen, seeds=seeds, quick=True)


class Page(HTMLParser):
    """Checks that elements are closed in order, and collects pictures and headings."""

    EMPTY = ("meta", "img")

    def __init__(self):
        super().__init__()
        self.open, self.images, self.links = [], [], []

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.links += [attributes[k] for k in ("href", "src") if k in attributes]
        if tag == "img":
            self.images.append(attributes)
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def reported(tmp_path_factory):
    """A quick report of the cheapest claims, by the command itself."""
    out = tmp_path_factory.mktemp("claims") / "out"
    words = ["--quick", "--claims", "bounds,instability", "--seeds", "3", "--workers", "1"]
    EXPERIMENTS["claims"].main(arguments_of([*words, "--out", str(out)]))
    return out


def test_the_reports_numbers_are_json_and_say_that_the_run_was_quick(reported, capsys):
    content = json.loads((reported / "report.json").read_text(encoding="utf-8"))
    assert content["quick"]
    assert [claim["name"] for claim in content["claims"]] == ["bounds", "instability"]
    assert [claim["verdict"] for claim in content["claims"]] == [REPRODUCED, REPRODUCED]
    assert {c["seeds"] for c in content["claims"][1]["comparisons"]} == {3}
    assert "QUICK RUN" in report.summary(content)
    assert all(
        "quick run" in line for line in report.summary(content).splitlines() if REPRODUCED in line
    )


def test_the_page_is_well_formed_stands_alone_and_its_pictures_have_words(reported):
    text = (reported / "report.html").read_text(encoding="utf-8")
    page = Page()
    page.feed(text)
    assert page.open == []
    assert '<html lang="en">' in text
    assert all(link.startswith("data:image/png;base64,") for link in page.links)
    assert len(page.images) >= 3
    for image in page.images:
        assert len(image["alt"]) > 50
        assert base64.b64decode(image["src"].partition(",")[2])[:4] == b"\x89PNG"
    assert re.findall(r"<h(\d)", text)[:2] == ["1", "2"]


def test_markdown_has_whole_tables_and_its_figures_are_there(reported):
    text = (reported / "report.md").read_text(encoding="utf-8")
    for table in re.findall(r"(?:^\|.*\|\n)+", text, re.MULTILINE):
        columns = {len(re.split(r"(?<!\\)\|", line)) for line in table.splitlines()}
        assert len(columns) == 1
    pictures = re.findall(r"!\[[^]]+\]\(([^)]+)\)", text)
    assert "figures/claims.png" in pictures
    assert all((reported / picture).exists() for picture in pictures)
    assert not list(reported.glob(".report*"))


def test_an_outcome_that_differs_is_told_with_the_reason(noise, tmp_path, monkeypatch):
    results = results_of(tmp_path, {"GmP": 2 * noise[0], "SP": noise[1]})
    claim = Claim("The title", "The statement.", "section",
                  (Comparison("levy", "GmP", "SP", RATIO),), "The reason.")  # fmt: skip
    monkeypatch.setitem(CLAIMS, "constructed", claim)
    found = judge_claim("constructed", {"levy": results}, np.random.default_rng(0))
    text = differences_told(found, tmp_path)
    assert "not reproduced" in text
    assert "The statement." in text
    assert "The reason." in text
    assert "times as good as SP" in text


def test_results_that_are_there_are_taken_over_and_not_run_again(
    reported, tmp_path, monkeypatch, capsys
):
    def refuse(*_):
        raise AssertionError("ran again")

    monkeypatch.setattr(EXPERIMENTS["perturbation"], "run_one", refuse)
    reuse = [f"--reuse={key}={reported / key}" for key in ("perturbation", "perturbation-unit")]
    words = ["--quick", "--claims", "instability", "--workers", "1", *reuse]
    EXPERIMENTS["claims"].main(arguments_of([*words, "--out", str(tmp_path)]))
    first, again = (
        json.loads((folder / "report.json").read_text(encoding="utf-8"))["claims"][-1]
        for folder in (reported, tmp_path)
    )
    assert first == again


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--claims", "truth"], "--claims: 'truth' is not one of bounds, instability"),
        (["--seeds", "none"], "--seeds: must be a count"),
        (["--reuse", "levy"], "--reuse must be NAME=DIR with one of perturbation"),
        (["--reuse", "truth=."], "--reuse must be NAME=DIR"),
        (["--reuse", "levy=nowhere"], "nowhere"),
        (["--out", __file__], "--out must be a folder"),
        (["--out", f"{__file__}/within"], "--out must be a folder"),
    ],
)
def test_what_makes_no_sense_is_refused(words, said):
    with pytest.raises((ValueError, OSError), match=re.escape(said)):
        EXPERIMENTS["claims"].configure(arguments_of(words))


@pytest.mark.parametrize("name", ["report.md", "report.html", "report.json"])
@pytest.mark.parametrize("overwrite", [False, True])
def test_a_report_of_others_is_refused_and_stays(tmp_path, name, overwrite):
    (tmp_path / name).write_text('{"claims": []}')
    words = ["--quick", "--claims", "bounds", "--out", str(tmp_path)]
    with pytest.raises(BadInput, match=f"{name} is not of geonet: choose another --out"):
        EXPERIMENTS["claims"].main(arguments_of([*words, *(["--overwrite"] if overwrite else [])]))
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == '{"claims": []}'


def test_a_report_of_geonet_is_replaced_even_with_a_byte_order_mark(reported, tmp_path):
    for path in reported.glob("report.*"):
        (tmp_path / path.name).write_bytes(codecs.BOM_UTF8 + path.read_bytes())
    EXPERIMENTS["claims"].configure(arguments_of(["--quick", "--out", str(tmp_path)]))


def test_results_of_no_use_are_refused_before_anything_runs(reported, tmp_path, monkeypatch):
    def refuse(*_):
        raise AssertionError("ran")

    monkeypatch.setattr(EXPERIMENTS["perturbation"], "run_one", refuse)
    words = ["--quick", "--claims", "instability", "--out", str(tmp_path), "--workers", "1"]
    swapped = f"--reuse=perturbation-unit={reported / 'perturbation'}"
    with pytest.raises(BadInput, match=r"perturbation-unit: .* holds results of another config"):
        EXPERIMENTS["claims"].main(arguments_of([*words, swapped]))
    assert not list(tmp_path.iterdir())
    spare = f"--reuse=levy={reported / 'perturbation'}"
    with pytest.raises(BadInput, match=r"levy is not among .* is perturbation, perturbation-unit$"):
        EXPERIMENTS["claims"].main(arguments_of([*words, spare]))


def test_a_full_run_states_its_cost_beforehand(monkeypatch):
    costly = EVIDENCE["vgg"]._replace(minutes=16)
    monkeypatch.setitem(EVIDENCE, "vgg", costly)
    monkeypatch.setitem(EVIDENCE, "levy", EVIDENCE["levy"]._replace(minutes=0.1))
    text = cost({"levy": 10, "vgg": 3, "resnet": 0}, quick=False)
    assert "levy: 1 min 0 s" in text
    assert "vgg: 48 min" in text
    assert "In all 49 min" in text
    assert "resnet" not in text


def test_seeds_that_are_there_cost_nothing(reported):
    experiment = EXPERIMENTS["perturbation"]
    arguments = experiment.arguments(quick=True, seeds=[0, 1, 2], out=reported)
    assert seeds_left("perturbation", experiment, arguments) == 3
    arguments.out = reported / "perturbation"
    assert seeds_left("perturbation", experiment, arguments) == 0
    arguments.overwrite = True
    assert seeds_left("perturbation", experiment, arguments) == 3
