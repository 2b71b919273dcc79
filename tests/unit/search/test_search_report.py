"""The report of searches that cost nothing: what it shows, in numbers that can be counted by hand."""

import itertools
import math
import re

import numpy as np
import pytest

from nasflow.core.artifacts import Search, Trials
from nasflow.core.spec import BudgetSection, ConstraintsSection
from nasflow.data.tensors import InputSpec, OutputSpec
from nasflow.search import (
    diversity,
    report_ancestry,
    report_coordinates,
    report_curves,
    report_failures,
    report_strategy,
)
from nasflow.search.budget import Budget
from nasflow.search.ledger import Ledger
from nasflow.search.limits import Limits
from nasflow.search.oracle import make_oracle
from nasflow.search.record import Record
from nasflow.search.report import report
from nasflow.search.report_importance import explained
from nasflow.search.selection import select
from nasflow.search.study import Study
from nasflow.spaces.mlp import MlpSpace
from nasflow.spaces.parameters import Choice, Real, When
from nasflow.strategies._base import Result
from nasflow.strategies.hybrid import Hybrid
from nasflow.strategies.reinforce import Policy, Reinforce

INPUTS, OUTPUT = InputSpec(numeric=4), OutputSpec(classes=3)


def completed(trial_id, score, values, **more):
    given = {"origin": "strategy", "status": "completed", "architecture_id": f"{trial_id:>016}", **more}
    return Record(trial_id=trial_id, values=values, score=score, **given)


def search(folder, strategy, trials):
    """A study of `trials`, of which every ninth fails; the score falls with the distance of the rate from 0.003."""
    ledger = Ledger(str(folder / "ledger.jsonl"))
    space = MlpSpace(inputs=INPUTS, output=OUTPUT)
    study = Study(
        space=space,
        limits=Limits(space, ConstraintsSection(), inputs=INPUTS, output=OUTPUT),
        ledger=ledger,
        budget=Budget(BudgetSection(trials=trials), 9, ledger),
        metric="accuracy",
        inputs=INPUTS,
        output=OUTPUT,
        seed=0,
    )
    oracle = make_oracle(strategy, study)
    for number in itertools.count():
        if (record := oracle.next()) is None:
            break
        elapsed = 2.0 * (number + 1)
        if number % 9 == 8:
            ledger.end(record.trial_id, "failed", message=f"out of memory: {number} MB <needed>", elapsed=elapsed)
        else:
            epochs = record.control.get("tuner/epochs", 9)
            score = 0.9 - abs(math.log10(record.values["learning_rate"] / 3e-3)) / 10
            history = [{"number": n + 1, "loss": 1.0, "score": score * (n + 1) / epochs} for n in range(epochs)]
            ledger.end(
                record.trial_id, "completed", score=score, epochs=epochs, seconds=2.0, history=history, elapsed=elapsed
            )
        oracle.settle(record.trial_id)
    return study, oracle


def page_of(study, oracle, strategy):
    selection = select(study.ledger.records, "accuracy", validation_rows=10_000, epochs=9)
    statuses = [record.status for record in study.ledger.records]
    found = Search(
        strategy=strategy,
        space=study.space.name,
        objective="accuracy",
        epochs=9,
        trials=Trials(**{status: statuses.count(status) for status in ("completed", "failed", "infeasible")}),
        candidates=(),
        stopped_by=oracle.stopped_by,
    )
    rows = {"train": 8_000, "validation": 2_000}
    return report(found, study, selection, study.inputs, rows, traces=oracle.view()).decode()


def headings(page):
    return re.findall(r"<section><h2>(.*?)</h2>", page)


def test_a_search_of_many_trials(tmp_path):
    study, oracle = search(tmp_path, "reinforce", 60)
    page = page_of(study, oracle, "reinforce")
    assert {
        *("Accuracy over trials", "The architecture", "Learning curves", "Which choices matter", "All trials"),
        *("What each choice does", "All choices at once", "What the strategy does", "Trials without a score"),
    } <= set(headings(page))
    assert "Controller entropy" in page
    assert "out of memory: 8 MB &lt;needed&gt;" in page
    assert page.count("<polyline") == 54  # of 60 trials every ninth failed: 6
    assert "<script" not in page
    assert not re.findall(r"(?:src|href)=\"(?!#)", page)
    assert "minutes of searching" not in page  # 120 s in all
    assert "seconds of searching" in page
    assert len(page) < 400_000
    found, chosen = explained(study.ledger.records, study)
    assert len(chosen) == 54
    assert found.genes[0].name == "learning_rate"
    assert [record.ended_seconds for record in study.ledger.records[:2]] == [2.0, 4.0]


def test_a_search_of_few_trials_says_what_it_cannot_say(tmp_path):
    study, oracle = search(tmp_path, "random", 4)
    page = page_of(study, oracle, "random")
    assert "Needs 12 completed trials" in page
    assert not {"All choices at once", "What the strategy does", "Trials without a score"} & set(headings(page))


def test_second_looks_have_a_section_and_no_points_among_the_trials(tmp_path):
    study, oracle = search(tmp_path, "random", 12)
    first, second = sorted((r for r in study.ledger.records if r.score is not None), key=lambda r: -r.score)[:2]
    for record, scores in ((first, (0.5, 0.6)), (second, (0.7, None))):
        for number, score in enumerate(scores, 1):
            look = Record(trial_id=f"{record.trial_id}.{number}", values=record.values, origin="look",
                          look_of=record.trial_id, look=number, architecture_id=record.architecture_id)  # fmt: skip
            study.ledger.start(look)
            message = "" if score is not None else "diverged"
            study.ledger.end(look.trial_id, "failed" if message else "completed", score=score, message=message)
    page = page_of(study, oracle, "random")
    assert "Second looks" in headings(page)
    section = page[page.index("<h2>Second looks") :]
    assert "0.5000, 0.6000" in section
    assert "1 failed: ordered by its first score" in section
    assert f"trial {first.trial_id} once more" in page
    trained = sum(r.look_of is None and r.score is not None for r in study.ledger.records)
    assert page.count("<polyline") in (0, trained)


def test_rungs(tmp_path):
    study, oracle = search(tmp_path, "asha", 40)
    page = page_of(study, oracle, "asha")
    assert "Learning curves by rung" in headings(page)
    rungs = report_curves.by_rung(study.ledger.records, study)
    assert list(rungs) == [1, 3, 9]
    rows = report_curves._rows(rungs, study)
    assert [row[:2] for row in rows] == [[given, len(members)] for given, members in rungs.items()]
    promoted = {parent for record in rungs[3] for parent in record.parents}
    assert rows[0][-1] == len(promoted & {record.trial_id for record in rungs[1]})
    # The genes are compared at one number of epochs only, that of most trials.
    _, chosen = explained(study.ledger.records, study)
    assert {record.control["tuner/epochs"] for record in chosen} == {1}


def test_many_trials_stay_one_light_page(tmp_path):
    """Of 500 trials the lines are what weighs: about 150 bytes each."""
    rng = np.random.default_rng(0)
    parameters = {
        "op": Choice(name="op", values=("conv", "pool", "none")),
        "rate": Real(name="rate", low=1e-4, high=1e-1, log=True),
        "width": Choice(name="width", values=(8, 16, 32), when=When(parent="op", values=("conv",))),
    }
    records = []
    for number in range(500):
        values = {"op": ("conv", "pool", "none")[number % 3], "rate": parameters["rate"].sample(rng)}
        records.append(completed(f"{number:04d}", number / 500, values | ({"width": 16} if number % 3 == 0 else {})))
    svg = report_coordinates.drawing(records, parameters, metric="accuracy")
    assert svg.count("<polyline") == 500
    assert len(svg) < 80_000
    # From the worst to the best: a quarter each in the first three colours, then up to 90 %, then the best tenth.
    assert [svg.count(f'class="c{group}"') for group in range(5)] == [125, 125, 125, 75, 50]
    assert svg.index('class="c0"') < svg.index('class="c4"')  # the best on top


def test_a_line_passes_where_its_choices_are():
    parameters = {"rate": Real(name="rate", low=0.0, high=1.0), "more": Real(name="more", low=0.0, high=1.0,
                  when=When(parent="rate", values=(0.5,)))}  # fmt: skip
    records = [completed("0000", 1.0, {"rate": 1.0}), completed("0001", 2.0, {"rate": 0.5, "more": 0.0})]
    svg = report_coordinates.drawing(records, parameters, metric="rmse")
    top, bottom, middle = report_coordinates._TOP, report_coordinates._BOTTOM, 196
    worst, best = re.findall(r'points="(.*?)"', svg)
    ys = [[int(point.split(",")[1]) for point in line.split()] for line in (worst, best)]
    assert ys[0] == [middle, bottom, top]  # rmse 2: drawn first, and highest on its axis
    assert ys[1][0] == top
    assert ys[1][1] > bottom  # below the axis: it has no `more`
    assert ys[1][2] == bottom


def test_diversity_by_hand():
    genes = (Choice(name="op", values=("a", "b")), Real(name="rate", low=0.0, high=1.0))
    points = [{"op": "a", "rate": 0.0}, {"op": "b", "rate": 0.5}, {"op": "b", "rate": 0.5}]
    # Pairs: (1 + 0.5) / 2 = 0.75 twice and 0 once. A window of two sees the first pair, then the equal ones.
    assert diversity.distances(genes, points)[0].tolist() == [0, 0.75, 0.75]
    spread, distinct = diversity.over_time(genes, points, ["x", "y", "y"], window=3)
    assert spread == pytest.approx([0.75, 0.5])
    assert distinct == pytest.approx([1, 2 / 3])
    spread, distinct = diversity.over_time(genes, points, ["x", "y", "y"], window=2)
    assert (spread, distinct) == ([0.75, 0.0], [1.0, 0.5])


def test_a_promotion_is_no_new_point():
    records = [
        completed("0000", 0.5, {"a": 1}),
        completed("0001", 0.6, {"a": 1}, parents=("0000",), epochs=3),
        completed("0002", 0.6, {"a": 2}, parents=("0000",)),
        completed("x0000", None, {"a": 3}, status="infeasible"),
    ]
    assert [record.trial_id for record in report_strategy.points_of(records)] == ["0000", "0002"]


def test_entropy_of_a_policy_by_hand():
    """Two genes: an even one of two arms, entropy 1; a child that is certain under one arm and even under the other,
    which are equally likely: 1/2. The mean is 3/4."""
    parent = Choice(name="parent", values=("x", "y"))
    child = Choice(name="child", values=(1, 2, 3), when=When(parent="parent", values=("x", "y")))
    policy = Policy((parent, child), 6)
    assert policy.entropy() == pytest.approx(1)
    policy.logits[1] = [50.0, 0.0, 0.0]
    assert policy.entropy() == pytest.approx(0.75)


def test_a_controller_that_is_rewarded_becomes_certain():
    gene = Choice(name="op", values=("a", "b"))
    history = [
        Result(trial_id=str(n), values={"op": "ab"[n % 2]}, status="completed", score=float(n % 2), epochs=1)
        for n in range(60)
    ]
    (trace,) = Reinforce(entropy=0.0).view((gene,), history)
    mixed = Hybrid(parts=("reinforce", "random"), weights=None, settings={"reinforce": {"entropy": 0.0}})
    assert mixed.view((gene,), history) == [trace]
    assert len(trace.values) == 60
    assert trace.values[0] == pytest.approx(1)
    assert trace.values[-1] < 0.3
    assert Reinforce().view((gene,), []) == []


def test_ancestry_follows_the_nearer_parent():
    records = [
        completed("0000", 0.5, {"a": 1, "b": 1, "c": 1}, origin="preset", parameters=10),
        completed("0001", 0.6, {"a": 2, "b": 1, "c": 1}, parents=("0000",), parameters=20),
        completed("0002", 0.4, {"a": 9, "b": 9, "c": 1}),
        completed("0003", 0.7, {"a": 2, "b": 9}, parents=("0002", "0001", "x0000"), parameters=30),
        completed("0004", 0.8, {"a": 2, "b": 9}, parents=("0003",), epochs=27),
    ]
    assert [record.trial_id for record in report_ancestry.line(records, records[4])] == ["0002", "0003", "0004"]
    records[3].values = {"a": 2, "b": 1, "c": 0.25}
    line = report_ancestry.line(records, records[3])
    assert report_ancestry.edits(line, records) == [
        ["0000", 0.5, 10, "a preset"],
        ["0001", 0.6, 20, "a 1 → 2"],
        ["0003", 0.7, 30, "c 1 → 0.25; also from 0002"],
    ]
    records[4].values = dict(records[3].values)
    assert report_ancestry.edits([records[3], records[4]], records)[1][-1] == "the same, for 27 epochs"
    (section,) = report_ancestry.sections(records, [records[0], records[4]], "accuracy")
    assert section[0] == "How the best descendant came about"
    assert report_ancestry.sections(records, [records[0]], "accuracy") == []


def test_failures_are_grouped_whatever_their_numbers():
    def failed(trial_id, message, status="failed"):
        return Record(trial_id=trial_id, values={}, origin="strategy", status=status, message=message)

    records = [
        failed("0", "the training loss is nan"),
        failed("1", "out of memory: 1,200 MB at epoch 3\nmore"),
        completed("2", 0.5, {}),
        failed("3", "out of memory: 64 MB at epoch 12"),
        failed("4", "out of memory: 7.5e3 MB at epoch 1", status="infeasible"),
        failed("5", "Traceback (most recent call last):\n  File 'x', line 3\nValueError: no"),
    ]
    assert report_failures.reasons(records) == [
        ["failed", 2, "1, 3", "out of memory: 1,200 MB at epoch 3"],
        ["failed", 1, "0", "the training loss is nan"],
        ["infeasible", 1, "4", "out of memory: 7.5e3 MB at epoch 1"],
        ["failed", 1, "5", "ValueError: no"],
    ]
    many = [failed(f"{n:02d}", "the same") for n in range(7)]
    assert report_failures.reasons(many)[0][2] == "00, 01, 02, 03, 04 and 2 more"
    assert report_failures.sections([completed("2", 0.5, {})]) == []
