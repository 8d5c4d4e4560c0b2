"""Claims as data, the rule that judges them, their measures, and the forms of the report."""

import base64
import codecs
import json
import re
import shutil
from argparse import Namespace
from html import escape
from html.parser import HTMLParser
from itertools import product

import numpy as np
import pytest

from geonet import hypersphere
from geonet.experiments import find
from geonet.experiments import report as tables
from geonet.experiments.claims import command, measures, report
from geonet.experiments.claims.command import cost, seconds_left, words
from geonet.experiments.claims.statements import (
    AUTHORS,
    CLAIMS,
    EVIDENCE,
    RMSE,
    SLIPS,
    TOP1,
    Bound,
    Claim,
    Comparison,
)
from geonet.experiments.claims.verdicts import (
    AGAINST,
    CONTRADICTED,
    FAILED,
    FOR,
    INCONCLUSIVE,
    MIXED,
    OVERLAP,
    REPRODUCED,
    TOO_FEW,
    UNDECIDED,
    judge_bound,
    judge_claim,
    judge_comparison,
    judge_list,
)
from geonet.experiments.harness.results import Results
from geonet.experiments.harness.statistics import holm, ratio_interval
from geonet.models import METHODS
from geonet.text import BadInput, Parser
from geonet.train import Progress

EXPERIMENTS = find()
SEEDS = list(range(10))
LARGER = RMSE._replace(better="larger")


def arguments_of(words):
    """The arguments of the command `claims`."""
    parser = Parser()
    EXPERIMENTS["claims"].add_arguments(parser)
    return parser.parse_args(words)


def results_of(folder, values, arrays=None, lr=0.1, results=None, **config):
    """Constructed runs, from method -> one metric per seed, None for a run that diverged."""
    config = {"methods": list(values), "seeds": SEEDS, "lr": {m: [lr] for m in values}} | config
    results = results or Results(folder, "levy", config)
    for method, numbers in values.items():
        for seed, value in zip(config["seeds"], numbers):
            metrics = {"diverged": True} if value is None else {"test_rmse": float(value)}
            run = {"method": method, "seed": seed, "lr": lr, "metrics": metrics}
            results.add(run, arrays or {})
    return results


@pytest.fixture
def noise():
    return np.exp(0.1 * np.random.default_rng(0).normal(size=(2, len(SEEDS))))


def judge(folder, own, rival, measure=RMSE, **config):
    results = results_of(folder, {"GmP": own, "SP": rival}, **config)
    comparison = Comparison("levy", "GmP", "SP", measure)
    (found,) = judge_list([judge_comparison(comparison, results, EXPERIMENTS["levy"])])["tests"]
    return found


def judge_constructed(results, as_paper, on_equal_terms, monkeypatch):
    """The judgement of a claim with these two lists of tests on constructed runs called levy."""
    claim = Claim("The title", "The statement.", "v0", "figure 0", tuple(as_paper),
                  tuple(on_equal_terms), "The reason.")  # fmt: skip
    monkeypatch.setitem(CLAIMS, "constructed", claim)
    return judge_claim("constructed", {"levy": results}, EXPERIMENTS)


@pytest.mark.parametrize(
    ("factor", "measure", "expected"),
    [
        (0.5, RMSE, FOR),
        (2.0, RMSE, AGAINST),
        (1.0, RMSE, UNDECIDED),
        (2.0, LARGER, FOR),
        (0.5, LARGER, AGAINST),
    ],
)
def test_the_outcome_is_that_of_the_constructed_results(tmp_path, noise, factor, measure, expected):
    found = judge(tmp_path, factor * noise[0], noise[1], measure)
    assert found["outcome"] == expected
    assert found["low"] < found["effect"] < found["high"]
    assert found["seeds"] == 10
    assert found["means"][0] == pytest.approx(np.exp(np.mean(np.log(factor * noise[0]))))
    effect = np.exp(np.mean(np.log(noise[1] / (factor * noise[0]))))
    assert found["effect"] == pytest.approx(effect if measure is RMSE else 1 / effect)


def test_fewer_than_six_seeds_decide_nothing_however_clear_they_are(tmp_path, noise):
    for count, reason, outcome in ((5, TOO_FEW, UNDECIDED), (6, "", FOR)):
        own, rival = 0.1 * noise[0][:count], noise[1][:count]
        found = judge(tmp_path / str(count), own, rival, seeds=SEEDS[:count])
        assert (found["reason"], found["outcome"]) == (reason, outcome)
        assert found["low"] > 1


def test_a_pair_without_a_number_is_judged_by_signs(tmp_path, noise):
    own, rival = list(0.5 * noise[0]), list(noise[1])
    rival[3] = None  # 10 of 10 pairs for GmP
    won = judge(tmp_path / "a", own, rival)
    assert (won["outcome"], won["seeds"], won["without_a_number"]) == (FOR, 9, [0, 1])
    assert won["p"] == pytest.approx(2**-9)
    own[3] = None  # neither: 9 of 9
    assert judge(tmp_path / "b", own, rival)["p"] == pytest.approx(2**-8)
    rival[3] = 1.0  # 9 of 10
    lost = judge(tmp_path / "c", own, rival)
    assert (lost["p"], lost["without_a_number"]) == (pytest.approx(22 / 1024), [1, 0])
    never = judge(tmp_path / "d", noise[0], [None] * 10)
    assert (never["outcome"], never["effect"], never["p"]) == (FOR, None, 2**-9)
    turned = judge(tmp_path / "e", [None] * 10, noise[1])
    assert (turned["outcome"], turned["effect"]) == (AGAINST, None)
    share = judge(tmp_path / "f", list(2 * noise[0]), [*noise[1][:9], 0.0], LARGER)
    assert (share["outcome"], share["seeds"], share["without_a_number"]) == (FOR, 9, [0, 1])


def test_who_is_ahead_in_numbers_alone_does_not_win_against_one_that_always_finishes(tmp_path):
    better = judge(tmp_path, [1, 1.1, 1.2, *[1.0] * 7], [0.9, 0.95, 1, *[None] * 7])
    assert better["high"] < 1
    assert (better["outcome"], better["without_a_number"]) == (UNDECIDED, [0, 7])


def test_on_overlapping_splits_the_interval_is_corrected_and_signs_do_not_count(
    tmp_path, noise, monkeypatch
):
    plain = judge(tmp_path / "a", 0.9 * noise[0], noise[1])
    monkeypatch.setattr(type(EXPERIMENTS["levy"]), "overlap", lambda *_: 0.25)
    found = judge(tmp_path / "b", 0.9 * noise[0], noise[1])
    assert found["low"] == pytest.approx(ratio_interval(noise[1], 0.9 * noise[0], 0.25).low)
    assert found["low"] < plain["low"]
    assert judge(tmp_path / "c", noise[0], [*noise[1][:9], None])["reason"] == OVERLAP


def fail(results, method, seeds):
    for run in results.find(method=method):
        if run["seed"] in seeds:
            results.add(run | {"metrics": {"failed": "MemoryError: no room"}}, {})


@pytest.mark.parametrize("method", ["GmP", "SP"])
@pytest.mark.parametrize("seeds", [[3], SEEDS])
def test_a_failed_run_is_no_evidence_and_is_counted(tmp_path, noise, method, seeds, monkeypatch):
    curves = {"test_top1": np.linspace(0.1, 0.9, 10)}
    results = results_of(tmp_path, {"GmP": 0.1 * noise[0], "SP": noise[1]}, curves, epochs=10)
    fail(results, method, seeds)
    speed = measures.Measure("epochs", "smaller", measures.epochs_to_level)
    tests = [
        Comparison("levy", *pair, measure)
        for measure in (RMSE, speed)
        for pair in (("GmP", "SP"), ("SP", "GmP"))
    ]
    judged = judge_constructed(results, tests, [Bound("levy", method, RMSE)], monkeypatch)
    for terms in report.TERMS:
        assert {t["outcome"] for t in judged[terms]["tests"]} == {UNDECIDED}
        assert (judged[terms]["verdict"], judged[terms]["reasons"]) == (INCONCLUSIVE, [FAILED])
    first = judged["as_paper"]["tests"][0]
    assert first["failed"][method == "SP"] == len(seeds)
    assert first["without_a_number"] == [0, 0]
    text = report.markdown(report.blocks(content_of(judged)), tmp_path)
    assert f"{len(seeds)} of {method} failed" in text


def judged(outcome, explains=False, p=0.001):
    """A judged comparison that alone would have this outcome."""
    sign = -1 if outcome == AGAINST else 1
    p = 0.5 if outcome == UNDECIDED else p
    return {"p": p, "sign": sign, "explains": explains, "reason": ""}


@pytest.mark.parametrize(
    ("outcomes", "verdict", "counts"),
    [
        ([FOR, FOR], REPRODUCED, {FOR: 2}),
        ([FOR, UNDECIDED], INCONCLUSIVE, {FOR: 1, UNDECIDED: 1}),
        ([UNDECIDED, UNDECIDED], INCONCLUSIVE, {UNDECIDED: 2}),
        ([UNDECIDED, AGAINST, FOR], MIXED, {FOR: 1, AGAINST: 1, UNDECIDED: 1}),
        ([UNDECIDED, AGAINST], CONTRADICTED, {AGAINST: 1, UNDECIDED: 1}),
        ([], INCONCLUSIVE, {}),
    ],
)
def test_a_verdict_says_how_many_tests_are_for_and_against(outcomes, verdict, counts):
    found = judge_list([judged(outcome) for outcome in outcomes])
    assert (found["verdict"], found["counts"]) == (verdict, counts)


def test_several_deciding_comparisons_are_corrected_by_holm():
    alone = judge_list([judged(FOR, p=0.03)])
    assert (alone["verdict"], alone["tests"][0]["corrected"]) == (REPRODUCED, 0.03)
    three = judge_list([judged(FOR, p=p) for p in (0.03, 0.001, 0.04)])
    found = [test["corrected"] for test in three["tests"]]
    np.testing.assert_allclose(found, holm([0.03, 0.001, 0.04]))
    assert [test["outcome"] for test in three["tests"]] == [UNDECIDED, FOR, UNDECIDED]
    assert three["verdict"] == INCONCLUSIVE


@pytest.mark.parametrize("outcome", [FOR, AGAINST, UNDECIDED])
def test_what_explains_never_decides_nor_counts_in_the_correction(outcome):
    explaining = [judged(o, explains=True) for o in (FOR, AGAINST, UNDECIDED)]
    alone = judge_list([judged(outcome, p=0.04)])
    found = judge_list([judged(outcome, p=0.04), *explaining])
    assert (found["verdict"], found["counts"]) == (alone["verdict"], alone["counts"])
    assert found["tests"] == alone["tests"] + explaining


def test_the_two_verdicts_of_a_claim_are_independent(tmp_path, noise, monkeypatch):
    values = {"GmP": noise[0], "SP": 2 * noise[1], "WN": 0.5 * noise[1]}
    results = results_of(tmp_path, values)
    against = {rival: [Comparison("levy", "GmP", rival, RMSE)] for rival in ("SP", "WN")}
    claim = judge_constructed(results, against["SP"], against["WN"], monkeypatch)
    verdicts = [claim[terms]["verdict"] for terms in ("as_paper", "on_equal_terms")]
    assert verdicts == [REPRODUCED, CONTRADICTED]
    _, row = report.verdict_rows({"claims": [claim]})
    assert row == ("The title", "v0", "reproduced (1 for)", "contradicted (1 against)")


def test_one_violation_beyond_rounding_refutes_a_bound(tmp_path):
    for k, (last, outcome, largest) in enumerate([
        (1 + 1e-9, FOR, 1 + 1e-9), (1.001, AGAINST, 1.001), (None, UNDECIDED, None)
    ]):  # fmt: skip
        results = results_of(tmp_path / str(k), {"GmP": [0.9] * 9 + [last]})
        found = judge_bound(Bound("levy", "GmP", RMSE), results)
        assert (found["largest"], found["outcome"]) == (largest, outcome)


def test_rates_are_chosen_the_authors_or_one_for_all(tmp_path):
    lrs = {"GmP": [0.01, 0.1], "SP": [0.01, 0.1]}
    config = {"methods": ["GmP", "SP"], "seeds": SEEDS, "lr": lrs}
    results = Results(tmp_path, "levy", config | {"choice": ["smallest", "test_rmse"]})
    for lr, own, rival in ((0.01, 1.0, 4.0), (0.1, 2.0, 3.0)):
        values = {"GmP": np.full(10, own), "SP": np.full(10, rival)}
        results_of(None, values, lr=lr, results=results)
    for lr, rates, effect in (("chosen", ["0.01", "0.1"], 3), (AUTHORS, ["0.1", "0.01"], 2),
                              (0.1, ["0.1", "0.1"], 1.5)):  # fmt: skip
        comparison = Comparison("levy", "GmP", "SP", RMSE, lr)
        found = judge_comparison(comparison, results, EXPERIMENTS["levy"])
        assert (found["rates"], found["effect"]) == (rates, pytest.approx(effect))


def test_several_cases_are_compared_by_their_geometric_mean_or_one_by_one(tmp_path):
    config = {"methods": ["GmP", "SP"], "seeds": SEEDS, "set": ["a", "b"]}
    config["overlap"] = {"a": 0.0, "b": 0.25}
    results = Results(tmp_path, "uci", config | {"lr": {"GmP": [0.1], "SP": [0.1]}})
    for case, own, rival in (("a", 1.0, 8.0), ("b", 1.0, 2.0)):
        for method, value in (("GmP", own), ("SP", rival)):
            for seed in SEEDS:
                run = {"method": method, "seed": seed, "lr": 0.1, "set": case}
                results.add(run | {"metrics": {"test_rmse": value}}, {})
    for case, effect in (((), 4), (("set", "a"), 8), (("set", "b"), 2)):
        comparison = Comparison("uci", "GmP", "SP", RMSE, case=case)
        found = judge_comparison(comparison, results, EXPERIMENTS["uci"])
        assert found["effect"] == pytest.approx(effect)
        means = pytest.approx([1, effect]) if case else [None, None]  # units differ between sets
        assert found["means"] == means


def test_each_case_of_several_is_shown_beside_their_mean_and_only_explains(tmp_path, monkeypatch):
    config = {"methods": ["GmP", "SP"], "seeds": SEEDS, "set": ["a", "b"]}
    config["overlap"] = {"a": 0.0, "b": 0.25}
    results = Results(tmp_path, "uci", config | {"lr": {"GmP": [0.1], "SP": [0.1]}})
    rng = np.random.default_rng(0)
    for case, method, seed in product("ab", ("GmP", "SP"), SEEDS):
        run = {"method": method, "seed": seed, "lr": 0.1, "set": case}
        results.add(run | {"metrics": {"test_rmse": rng.lognormal()}}, {})
    tests = (Comparison("uci", "GmP", "SP", RMSE),)
    claim = Claim("The title", "The statement.", "v0", "figure 0", tests, tests, "The reason.")
    monkeypatch.setitem(CLAIMS, "constructed", claim)
    found = judge_claim("constructed", {"uci": results}, EXPERIMENTS)["as_paper"]["tests"]
    assert [(test["case"], test["explains"]) for test in found] == [
        ("", False), ("set a", True), ("set b", True)
    ]  # fmt: skip
    rival = results.metrics("SP", "test_rmse", set="b")
    own = results.metrics("GmP", "test_rmse", set="b")
    assert found[2]["low"] == pytest.approx(ratio_interval(rival, own, 0.25).low)


def test_intervals_of_accuracies_on_pictures_include_the_pictures(tmp_path):
    rng = np.random.default_rng(0)
    config = {"methods": ["GmP", "SP"], "seeds": SEEDS, "lr": {"GmP": [0.1], "SP": [0.1]}}
    results = Results(tmp_path, "levy", config)
    for method, share in (("GmP", 0.6), ("SP", 0.5)):
        easy = rng.random(50) < share  # the same pictures are right on nearly every seed
        for seed in SEEDS:
            hits = easy ^ (rng.random(50) < 0.02)
            run = {"method": method, "seed": seed, "lr": 0.1}
            results.add(run | {"metrics": {"test_top1": hits.mean()}}, {"hits": hits})
    with_pictures, without = (
        judge_comparison(Comparison("levy", "GmP", "SP", m), results, EXPERIMENTS["levy"])
        for m in (TOP1, TOP1._replace(pictures=False))
    )
    assert with_pictures["effect"] == pytest.approx(without["effect"])
    assert with_pictures["low"] < without["low"] < without["high"] < with_pictures["high"]


def test_boundaries_inside_the_data_and_living_units_are_counted(tmp_path):
    # the boundaries x = 3, 11, −12 and 20: active above 3, nowhere, everywhere, and below 20
    weight = np.array([[1.0], [1], [1], [-1]])
    bias = np.array([-3.0, -11, 12, 20])
    arrays = {"weight": np.stack([0 * weight + 1, weight]), "bias": np.stack([0 * bias, bias])}
    results = results_of(tmp_path, {"SP": [1.0] * 10}, arrays, protocol="paper")
    np.testing.assert_array_equal(measures.inside(results, "SP"), 1 / 4)
    np.testing.assert_array_equal(measures.alive(results, "SP"), 3 / 4)
    lost = {"weight": np.full((2, 4, 1), np.nan), "bias": np.full((2, 4), np.nan)}
    results = results_of(tmp_path / "LN", {"LN": [1.0] * 10}, lost, protocol="paper")
    assert np.isnan(measures.inside(results, "LN")).all()
    assert np.isnan(measures.alive(results, "LN")).all()


def test_epochs_to_a_level_are_interpolated_and_count_all_where_it_is_not_reached(tmp_path):
    level = measures.TOP1_LEVEL
    curve = {"test_top1": level * np.array([0.2, 0.9, 1.1, 0.5])}
    results = results_of(tmp_path / "a", {"SP": [1.0] * 10}, curve, epochs=4)
    np.testing.assert_allclose(measures.epochs_to_level(results, "SP"), 2.5)
    curve = {"test_top1": np.full(4, 0.9 * level)}
    results = results_of(tmp_path / "b", {"SP": [1.0] * 10}, curve, epochs=4)
    np.testing.assert_array_equal(measures.epochs_to_level(results, "SP"), 5)
    results = results_of(tmp_path / "c", {"SP": [None] * 10}, epochs=4)
    np.testing.assert_array_equal(measures.epochs_to_level(results, "SP"), 5)


def test_the_first_order_of_a_turn_is_the_metric_and_nothing_else(tmp_path, monkeypatch):
    results = results_of(tmp_path, {"GmP": [1.0]}, units=20)
    assert measures.first_order_excess(results, "GmP").max() < 0.1
    metric = hypersphere.metric
    monkeypatch.setattr(hypersphere, "metric", lambda theta: 1.1 * metric(theta))
    assert measures.first_order_excess(results, "GmP").min() > 1


@pytest.mark.parametrize("name", CLAIMS)
def test_every_claim_names_its_version_and_has_two_lists_of_tests(name):
    claim = CLAIMS[name]
    said = claim.title, claim.statement, claim.section, claim.why
    assert all(text and text == text.strip() for text in said)
    assert re.match(r"v1|v5", claim.version)
    for tests in (claim.as_paper, claim.on_equal_terms):
        assert any(not test.explains for test in tests)
        for test in tests:
            assert test.measure.better in ("smaller", "larger")
            arguments = arguments_for(test.evidence)
            assert {test.method, getattr(test, "rival", test.method)} <= set(arguments.methods)
            if isinstance(getattr(test, "lr", None), float):
                assert test.lr in arguments.lr


def test_what_was_seen_to_favour_somebody_only_explains():
    tests = [t for claim in CLAIMS.values() for t in claim.as_paper + claim.on_equal_terms]
    for measure in ("within 0.25", "without a jump"):
        seen = [test for test in tests if measure in test.measure.title]
        assert seen
        assert all(test.explains for test in seen)


def test_the_table_of_verdicts_fits_into_fifteen_lines():
    assert len(CLAIMS) <= 13  # and two lines of header


def arguments_for(key, quick=False):
    """The arguments of the experiment that a claim depends on."""
    return EXPERIMENTS[EVIDENCE[key].experiment].arguments(*words(key, quick), out=f"{key}-out")


@pytest.mark.parametrize("key", EVIDENCE)
@pytest.mark.parametrize("quick", [False, True])
def test_the_options_of_every_experiment_make_sense(key, quick, monkeypatch, tmp_path):
    monkeypatch.delenv("GEONET_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    arguments = arguments_for(key, quick)
    if not EVIDENCE[key].experiment.startswith("imagenet"):  # whose pictures would be drawn
        config = EXPERIMENTS[EVIDENCE[key].experiment].configure(arguments)
        assert config["quick"] == quick
    assert set(arguments.methods) <= set(METHODS)


def test_the_figures_of_a_claim_are_of_the_experiments_that_test_it():
    for claim in CLAIMS.values():
        tests = {test.evidence for test in claim.as_paper + claim.on_equal_terms}
        assert {key for key, _ in claim.figures} <= tests


def test_every_experiment_tests_some_claim():
    tests = [t for claim in CLAIMS.values() for t in claim.as_paper + claim.on_equal_terms]
    assert {test.evidence for test in tests} == EVIDENCE.keys()


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
    words = ["--quick", "--claims", "bounds,instability", "--seeds", "6", "--workers", "1"]
    EXPERIMENTS["claims"].main(arguments_of([*words, "--out", str(out)]))
    return out


def test_the_reports_numbers_are_json_and_say_that_the_run_was_quick(reported):
    content = json.loads((reported / "report.json").read_text(encoding="utf-8"))
    assert content["quick"]
    assert [claim["name"] for claim in content["claims"]] == ["bounds", "instability"]
    assert [claim["as_paper"]["verdict"] for claim in content["claims"]] == [REPRODUCED] * 2
    assert {t["seeds"] for t in content["claims"][1]["as_paper"]["tests"]} == {6}
    assert "QUICK RUN" in report.summary(content)


def content_of(claim, **evidence):
    """What a report on one judged claim says, as JSON values."""
    levy = {"failed": 0, "description": "", "command": "", "setting": "", "seeds": SEEDS}
    levy |= {"versions": [], "figures": {}, "seconds": 0.0, "tables": [], "notes": []}
    content = {"quick": False, "claims": [claim], "evidence": {"levy": levy | evidence}}
    return content | {"figures": [], "versions": {}}


def test_the_report_begins_with_the_verdicts_and_hides_no_comparison(noise, tmp_path, monkeypatch):
    results = results_of(
        tmp_path, {"GmP": 2 * noise[0], "SP": noise[1], "WN": 9 * noise[1], "BN": 8 * noise[1]}
    )
    tests = [Comparison("levy", "GmP", rival, RMSE) for rival in ("SP", "WN")]
    tests.append(Comparison("levy", "GmP", "BN", RMSE, explains=True))
    claim = judge_constructed(results, tests, tests[1:], monkeypatch)
    text = report.markdown(report.blocks(content_of(claim)), tmp_path)
    row = "| The title | v0 | mixed (1 for, 1 against) | reproduced (1 for) |"
    assert text.index("## Verdicts") < text.index(row) < text.index("## The title")
    rows = re.findall(r"^\| GmP \| (\S+) \|.*\| (.*) \|$", text, re.MULTILINE)
    assert rows == [("SP", AGAINST), ("WN", FOR), ("BN", ""), ("WN", FOR), ("BN", "")]
    assert text.count("controls, which do not decide:") == 2
    assert "The statement." in text
    assert "The reason." in text


def test_the_report_lists_the_slips_of_the_code_and_what_each_changes(reported):
    text = (reported / "report.md").read_text(encoding="utf-8")
    assert all("".join(f"| {cell} " for cell in slip) in text for slip in SLIPS)
    for known in ("arccos", "output layer's bias", "√(xₙ²)", "cancels", "fan-out", "inside the"):
        assert any(known in " ".join(slip) for slip in SLIPS)


def test_the_fine_print_stands_beside_the_rows_of_naval_and_yacht():
    assert "naval measures the schedule" in CLAIMS["regression"].why
    assert re.search(r"yacht.*running statistics", CLAIMS["regression"].why)


def test_the_report_has_the_tables_and_the_commands_of_its_experiments(reported):
    text = (reported / "report.md").read_text(encoding="utf-8")
    assert "| perturbation --seeds 6 --init sphere --quick |" in text
    assert "| method | ε | turn (rad), mean ± sd |" in text


def test_the_page_is_well_formed_stands_alone_and_its_pictures_have_words(reported):
    text = (reported / "report.html").read_text(encoding="utf-8")
    page = Page()
    page.feed(text)
    assert page.open == []
    assert '<html lang="en">' in text
    inner = [link[1:] for link in page.links if link.startswith("#")]
    assert all(text.count(f'id="{link}"') == 1 for link in inner)
    assert len(inner) == text.count("<h2")
    assert all(link.startswith(("#", "data:image/png;base64,")) for link in page.links)
    assert len(page.images) >= 3
    for image in page.images:
        assert image["alt"]
        assert re.search(rf"<figcaption>{re.escape(escape(image['alt']))}\. \w.{{40}}", text)
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


def refuse(*_):
    raise AssertionError("ran")


def content(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_results_that_are_there_are_read_and_neither_run_again_nor_changed(
    reported, tmp_path, monkeypatch, capsys
):
    """They have three seeds more than the others, and a method more than is needed."""
    experiment = EXPERIMENTS["perturbation"]
    words = ["--quick", "--methods", "SP,WN,BN,GmP-C,GmP", "--seeds", "9", "--workers", "1"]
    experiment.main(experiment.arguments(*words, "--out", str(tmp_path / "more")))
    before = content(tmp_path / "more") | content(reported)
    monkeypatch.setattr(experiment, "run_one", refuse)
    folders = {
        "perturbation": tmp_path / "more",
        "perturbation-unit": reported / "perturbation-unit",
    }
    reuse = [f"--reuse={key}={folder}" for key, folder in folders.items()]
    words = ["--quick", "--claims", "instability", "--workers", "1", *reuse]
    EXPERIMENTS["claims"].main(arguments_of([*words, "--out", str(tmp_path / "out")]))
    assert "All runs exist already." in capsys.readouterr().out
    assert content(tmp_path / "more") | content(reported) == before
    first, again = (
        json.loads((folder / "report.json").read_text(encoding="utf-8"))["claims"][-1]
        for folder in (reported, tmp_path / "out")
    )
    assert again["on_equal_terms"] == first["on_equal_terms"]
    assert {test["seeds"] for test in again["as_paper"]["tests"]} == {9}
    drawn = tmp_path / "out" / "figures"
    assert all((drawn / key / "boundaries.png").exists() for key in folders)


def test_reports_say_under_which_versions_reused_runs_were_made(reported, tmp_path, capsys):
    old = tmp_path / "old"
    shutil.copytree(reported / "perturbation", old)
    text = (old / "results.json").read_text(encoding="utf-8")
    numpy = json.loads(text)["versions"]["numpy"]
    (old / "results.json").write_text(text.replace(f'"numpy": "{numpy}"', '"numpy": "0.0.1"'))
    words = ["--quick", "--claims", "bounds", "--seeds", "6", "--workers", "1"]
    words += [f"--reuse=perturbation={old}", "--out", str(tmp_path / "out")]
    EXPERIMENTS["claims"].main(arguments_of(words))
    capsys.readouterr()
    said = [(tmp_path / "out" / "report.md").read_text(encoding="utf-8")]
    tables.main(Namespace(folders=[tmp_path / "out"], into=None))
    said.append(capsys.readouterr().out)
    for text in said:
        assert "numpy 0.0.1" in text
        assert f"numpy {numpy}" not in text


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--claims", "truth"], "--claims: 'truth' is not one of bounds, instability"),
        (["--seeds", "none"], "--seeds: must be a count"),
        (["--reuse", "levy"], "--reuse must be NAME=DIR, where NAME is one of perturbation"),
        (["--reuse", "levy=a", "--reuse", "levy=b"], "--reuse names levy twice: a and b"),
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


@pytest.mark.parametrize(
    ("key", "words", "said"),
    [
        ("perturbation-unit", [], r"has init normal:0.001, not sphere; python -m geonet "
         r"perturbation --init sphere --quick --seeds 0,1,2,3,4,5, makes what is needed"),
        ("levy", ["--claims", "levy"], r"has results of perturbation; python -m geonet levy --lr"),
        ("levy", [], r"levy is not among .* is perturbation, perturbation-unit$"),
    ],
)  # fmt: skip
def test_results_of_no_use_are_refused_before_anything_runs(
    reported, tmp_path, monkeypatch, key, words, said
):
    before = content(reported)
    monkeypatch.setattr(EXPERIMENTS["perturbation"], "run_one", refuse)
    words = ["--quick", "--claims", "instability", "--out", str(tmp_path), *words]
    with pytest.raises(BadInput, match=said):
        EXPERIMENTS["claims"].main(
            arguments_of([*words, f"--reuse={key}={reported / 'perturbation'}"])
        )
    assert not list(tmp_path.iterdir())
    assert content(reported) == before


def test_results_that_lack_runs_or_their_arrays_are_refused(reported, tmp_path):
    shutil.copytree(reported / "perturbation", tmp_path / "part")
    path = tmp_path / "part" / "results.json"
    stored = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(stored | {"runs": stored["runs"][1:]}))
    words = ["--quick", "--claims", "bounds", f"--reuse=perturbation={path.parent}"]
    for count in (23, 0):
        with pytest.raises(ValueError, match=f"has {count} of 24 runs that are needed"):
            EXPERIMENTS["claims"].configure(arguments_of(words))
        shutil.rmtree(path.parent / "boundaries", ignore_errors=True)


def test_an_experiment_that_cannot_be_run_is_refused_before_another_one_runs(tmp_path, monkeypatch):
    monkeypatch.setattr(EXPERIMENTS["perturbation"], "run_one", refuse)
    monkeypatch.setenv("GEONET_DATA", str(tmp_path / "nowhere"))
    words = ["--quick", "--claims", "instability,regression", "--out", str(tmp_path / "out")]
    with pytest.raises(BadInput, match="GEONET_DATA must name a folder"):
        EXPERIMENTS["claims"].main(arguments_of(words))


def test_a_run_states_its_cost_beforehand():
    text = cost({"levy": 60.0, "vgg": 2880.0, "resnet": 0.0})
    assert "levy: 1 min 0 s" in text
    assert "vgg: 48 min" in text
    assert "In all 49 min" in text
    assert "resnet" not in text


def test_the_quick_runs_fit_into_ten_minutes_on_two_cores_by_their_own_estimate():
    minutes = sum(evidence.minutes[1] * evidence.quick_seeds for evidence in EVIDENCE.values())
    assert minutes / 2 <= 10


def test_seeds_that_are_there_cost_nothing(reported):
    experiment = EXPERIMENTS["perturbation"]
    arguments = experiment.arguments("--quick", seeds=list(range(6)), out=reported)
    whole = 60 * 6 * EVIDENCE["perturbation"].minutes[1]
    assert seconds_left("perturbation", arguments) == pytest.approx(whole)
    arguments.out = reported / "perturbation"
    assert seconds_left("perturbation", arguments) == 0
    arguments.overwrite = True
    assert seconds_left("perturbation", arguments) == pytest.approx(whole)


def test_the_command_shows_the_progress_of_all_its_experiments_in_a_log(tmp_path, monkeypatch):
    made = []

    class Recorder(Progress):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options)
            made.append((self, options))

    monkeypatch.setattr(command, "Progress", Recorder)
    words = ["--quick", "--claims", "instability", "--seeds", "1", "--workers", "1"]
    EXPERIMENTS["claims"].main(arguments_of([*words, "--out", str(tmp_path / "out")]))
    ((progress, options),) = made
    assert options["log"]
    assert len(options["weights"]) == progress.total == progress.done == 2
