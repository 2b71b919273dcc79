"""Zero-cost scores in a search: as a filter, as features, instead of training."""

import dataclasses

import numpy as np
import pytest
from pydantic import ValidationError

from nasflow.core.errors import SpecError
from nasflow.core.spec import BudgetSection, ConstraintsSection, FilterSection, SearchSection
from nasflow.data.tensors import InputSpec, OutputSpec
from nasflow.search.budget import Budget
from nasflow.search.features import Features
from nasflow.search.filtering import left_out, threshold
from nasflow.search.ledger import Ledger
from nasflow.search.limits import Limits
from nasflow.search.oracle import make_oracle
from nasflow.search.spec import SearchSpec
from nasflow.search.step import run
from nasflow.search.study import Study
from nasflow.spaces.mlp import MlpSpace
from nasflow.spaces.parameters import Choice
from nasflow.strategies._base import Result
from nasflow.strategies.predictor import Predictor

INPUTS, OUTPUT = InputSpec(numeric=4), OutputSpec(classes=3)
SPACE = MlpSpace(inputs=INPUTS, output=OUTPUT)


def open_study(uri, *, trials=20, by="parameters", keep=0.5, after=5):
    ledger = Ledger(str(uri))
    return Study(
        space=SPACE,
        limits=Limits(SPACE, ConstraintsSection(), inputs=INPUTS, output=OUTPUT),
        ledger=ledger,
        budget=Budget(BudgetSection(trials=trials), 9, ledger),
        metric="accuracy",
        inputs=INPUTS,
        output=OUTPUT,
        seed=0,
        features=Features(SPACE, INPUTS, OUTPUT, ledger),
        filter=FilterSection(by=by, keep=keep, after=after),
    )


def search(study, strategy, *, stop_after=None):
    oracle = make_oracle(strategy, study)
    done = 0
    while done != stop_after and (record := (study.ledger.running or [None])[0] or oracle.next()) is not None:
        score = 1 / (1 + abs(record.parameters - 2_000))
        epochs = record.control.get("tuner/epochs", 9)
        study.ledger.end(record.trial_id, "completed", score=score, epochs=epochs)
        oracle.settle(record.trial_id)
        done += 1
    return oracle


def test_the_worst_share_of_what_is_proposed_is_not_trained(tmp_path):
    study = open_study(tmp_path / "ledger", trials=40)
    assert search(study, "random").stopped_by == "trials"
    proposed = [r for r in study.ledger.records if r.origin == "strategy"]
    filtered = [r for r in proposed if r.status == "filtered"]
    assert study.ledger.trained == 40
    assert 0.35 < len(filtered) / len(proposed) < 0.65  # half, from the sixth trained point on
    assert all(record.seconds == 0 and record.score is None for record in filtered)
    kept = [record.parameters for record in proposed if record.status == "completed"]
    assert np.median(kept) > 2 * np.median([record.parameters for record in filtered])
    assert filtered[0].message.startswith("parameters ")
    statuses = {result.trial_id: result.status for result in study.history}
    assert {statuses[record.trial_id] for record in filtered} == {"infeasible"}  # never proposed again
    assert len(study.tried()) == len(study.ledger.records)


def test_presets_are_always_trained(tmp_path):
    study = open_study(tmp_path / "ledger", keep=0.01, after=1, trials=len(SPACE.presets()) + 2)
    search(study, "random")
    presets = [record for record in study.ledger.records if record.origin == "preset"]
    assert {record.status for record in presets} == {"completed"}
    assert len(presets) == len(SPACE.presets())


@pytest.mark.parametrize("strategy", ["random", "evolution", "hyperband"])
def test_a_killed_study_goes_on_with_the_same_filter(strategy, tmp_path):
    whole = open_study(tmp_path / "whole", trials=16)
    search(whole, strategy)
    for stop_after in (4, 3, 5, None):
        parts = open_study(tmp_path / "parts", trials=16)
        search(parts, strategy, stop_after=stop_after)
    assert parts.ledger.records == whole.ledger.records
    assert any(record.status == "filtered" for record in whole.ledger.records)


def test_a_promotion_is_never_left_out(tmp_path):
    study = open_study(tmp_path / "ledger", trials=30, keep=0.3)
    search(study, "asha")
    promoted = [record for record in study.ledger.records if record.parents]
    assert promoted
    assert {record.status for record in promoted} <= {"completed", "same"}
    assert any(record.status == "filtered" for record in study.ledger.records)


def test_the_threshold_is_the_last_of_the_best_share():
    assert threshold([1, 2, 3, 4, 5, 6, 7], 8, 0.25) == 7  # 2 of 8
    assert threshold([5.0], 1.0, 0.5) == 5.0
    assert threshold([], 1.0, 0.5) == 1.0


def test_what_the_proxy_says_nothing_of_is_trained(tmp_path):
    study = open_study(tmp_path / "ledger", by="naswot")  # without training rows no proxy can be computed
    search(study, "random")
    assert {record.status for record in study.ledger.records} == {"completed"}
    draft = study.limits.draft(SPACE.presets()[0])
    assert left_out(dataclasses.replace(draft, architecture=None), study.filter, study.past, study.features) == ""


def test_scores_are_computed_once_and_their_time_is_in_the_ledger(table, tmp_path):
    from nasflow.data.reader import read, read_transform

    transform = read_transform(table)
    ledger = Ledger(str(tmp_path / "ledger"))
    space = MlpSpace(inputs=transform.inputs, output=transform.output)
    features = Features(space, transform.inputs, transform.output, ledger, train=lambda: read(table, "train"))
    point = space.presets()[-1]
    first = features.zero_cost(point, ("grad_norm", "depth"))
    assert first["grad_norm"] > 0
    assert first["depth"] == features.graph(point)["depth"]
    assert ledger.seconds > 0
    assert ledger.scoring_cpu_seconds > 0
    again = Ledger(str(tmp_path / "ledger"))
    assert again.seconds == ledger.seconds
    known = Features(space, transform.inputs, transform.output, again)  # no rows: it can only remember
    assert known.zero_cost(point, ("grad_norm",)) == {"grad_norm": first["grad_norm"]}


def test_a_search_by_a_score_trains_nothing(table, tmp_path):
    spec = SearchSpec(
        task="tabular_classification",
        metric="log_loss",  # which is minimised; the proxy is not
        search=SearchSection(space="mlp", strategy="random", budget=BudgetSection(trials=6), score="grad_norm"),
    )
    found = run(spec, dataset=table, work_dir=str(tmp_path / "work"), output=str(tmp_path / "out"))
    rows = found.json("trials.json")
    scores = {row["trial_id"]: row["score"] for row in rows if row["status"] == "completed"}
    assert len(scores) == 6
    assert found.ranked_by == "grad_norm"
    assert found.candidates[0].trial_id == max(scores, key=scores.get)
    assert found.candidates[0].score is None
    assert found.candidates[0].measures["grad_norm"] == scores[found.candidates[0].trial_id]
    assert {row["epochs"] for row in rows} == {0}
    page = found.file("report.html").decode()
    assert "untrained networks ranked by grad_norm" in page
    assert "on validation</" not in page


def test_scores_and_rungs_exclude_each_other(table, tmp_path):
    with pytest.raises(ValidationError, match="trains nothing, but strategy asha gives out epochs"):
        SearchSection(strategy="asha", score="naswot")
    spec = SearchSpec(
        task="tabular_classification",
        metric="accuracy",
        objectives=("accuracy", "parameters"),
        search=SearchSection(score="naswot"),
    )
    with pytest.raises(SpecError, match=r"search\.score is naswot, but objective is a list"):
        run(spec, dataset=table, work_dir=str(tmp_path / "work"), output=str(tmp_path / "out"))


GENES = (Choice(name="code", values=tuple("abcdefghijklmnopqrstuvwxyz")),)


def known(number, values, score):
    return Result(trial_id=str(number), values=values, status="completed", score=score, epochs=1)


def history(letters="abcdefghijklmnopqrstvwx"):
    return [known(number, {"code": letter}, worth({"code": letter})) for number, letter in enumerate(letters)]


def worth(values):
    """What no gene tells: whether the letter is one of aeiou."""
    return float(values["code"] in "aeiou")


def test_the_predictor_learns_from_graphs_what_genes_do_not_tell():
    """Of u, y and z, which are left, only u is worth something: its gene value says nothing, its graph does."""
    tried, picked = history(), []
    for seed in range(10):
        for graph in (None, lambda values: {"vowels": worth(values)}):
            strategy = Predictor(graph=graph, candidates=300, random_share=1.0)
            (found,) = strategy.suggest(GENES, (), tried, 1, np.random.default_rng(seed))
            picked.append((graph is not None, worth(found)))
    assert [value for informed, value in picked if informed] == [1.0] * 10
    assert sum(value for informed, value in picked if not informed) < 10


def test_the_predictor_asks_for_proxies_of_the_likeliest_candidates_only():
    asked = []

    def zero_cost(values, names):
        asked.append(dict(values))
        return dict.fromkeys(names, None if values["code"] == "b" else worth(values))

    strategy = Predictor(proxies=("naswot",), scored=7, zero_cost=zero_cost, candidates=60, random_share=1.0)
    tried = history("abcdefghijklm")
    (found,) = strategy.suggest(GENES, (), tried, 1, np.random.default_rng(0))
    assert asked[: len(tried)] == [result.values for result in tried]
    assert len(asked) == len(tried) + 7
    assert dict(found) in asked[len(tried) :]
    with pytest.raises(TypeError):
        Predictor(zero_cost=zero_cost, unknown=1)
