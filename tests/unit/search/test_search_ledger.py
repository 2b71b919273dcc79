import json
from pathlib import Path

import pytest

from nasflow.core.spec import BudgetSection
from nasflow.core.storage import LocalStorage
from nasflow.search.budget import Budget
from nasflow.search.ledger import Ledger
from nasflow.search.record import Record


def record(trial_id, **more):
    return Record(**{"trial_id": trial_id, "values": {"width": 16}, "origin": "strategy", **more})


@pytest.fixture
def uri(tmp_path):
    return str(tmp_path / "deep" / "ledger.jsonl")


def test_what_is_written_is_read_back(uri):
    ledger = Ledger(uri)
    ledger.start(
        record("0000", parents=("x",), control={"tuner/epochs": 3}, architecture_id="ab", parameters=7, flops=9)
    )
    ledger.beat("0000", 4.0)
    ledger.end("0000", "completed", score=0.5, metrics={"loss": 1.0}, epochs=2, seconds=6.5, history=[{"number": 1}])
    ledger.start(record("0001", origin="preset"))
    again = Ledger(uri)
    assert again.records == ledger.records
    assert [r.trial_id for r in again.ended] == ["0000"]
    first = again.records[0]
    assert (first.parents, first.control, first.score, first.seconds) == (("x",), {"tuner/epochs": 3}, 0.5, 6.5)
    assert again.records[1].status == "running"


def test_an_empty_place_is_an_empty_ledger(uri):
    assert not Ledger(uri).records


def test_a_torn_line_is_skipped_and_the_next_one_is_whole(uri):
    ledger = Ledger(uri)
    ledger.start(record("0000"))
    with Path(uri).open("ab") as file:
        file.write(b'{"event": "ended", "trial_id": "0000", "sta')
    torn = Ledger(uri)
    assert torn.records[0].status == "running"
    torn.end("0000", "failed", message="again")
    assert Ledger(uri).records[0].status == "failed"


def test_minimised_scores_change_sign_for_strategies(uri):
    ledger = Ledger(uri)
    ledger.start(record("0000"))
    with pytest.raises(ValueError, match="has not ended"):
        ledger.records[0].result(-1)
    ledger.end("0000", "completed", score=2.5, epochs=3)
    assert ledger.records[0].result(-1).score == -2.5
    assert ledger.records[0].result(1).epochs == 3


def test_a_score_that_is_not_finite_never_enters(uri):
    ledger = Ledger(uri)
    ledger.start(record("0000"))
    with pytest.raises(ValueError, match="not JSON compliant"):
        ledger.end("0000", "completed", score=float("nan"))
    assert all(json.loads(line) for line in LocalStorage().read(uri).splitlines())


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def test_time_counts_over_all_attempts_even_killed_ones(uri):
    ledger = Ledger(uri)
    ledger.start(record("0000"))
    ledger.end("0000", "completed", score=0.5, epochs=2, seconds=600.0)
    ledger.start(record("0001"))
    ledger.beat("0001", 900.0)  # then killed
    clock = Clock()
    budget = Budget(BudgetSection(trials=None, hours=1.0), 2, Ledger(uri), clock)
    clock.now = 100.0
    assert budget.seconds_left == 3600 - 600 - 900 - 100
    assert budget.has_time_for(2000.0)
    assert not budget.has_time_for(2000.1)
    assert budget.ended() is None


def test_infeasible_trials_cost_nothing(uri):
    ledger = Ledger(uri)
    budget = Budget(BudgetSection(trials=2), 10, ledger)
    for trial_id, status in (("x0", "infeasible"), ("0000", "completed"), ("0001", "failed")):
        assert budget.ended() is None
        ledger.start(record(trial_id))
        ledger.end(trial_id, status)
    assert budget.ended() == "trials"


def test_no_trial_starts_that_could_not_get_through_half_of_its_epochs(uri):
    ledger, clock = Ledger(uri), Clock()
    budget = Budget(BudgetSection(trials=None, hours=0.1), 10, ledger, clock)
    assert budget.ended() is None
    ledger.start(record("0000"))
    ledger.end("0000", "completed", score=0.5, epochs=10, seconds=200.0)  # 20 s an epoch: half a trial takes 100 s
    clock.now = 260.0
    assert budget.ended() is None
    clock.now = 260.1
    assert budget.ended() == "hours"


def test_the_first_trial_may_always_start(uri):
    clock = Clock()
    budget = Budget(BudgetSection(trials=None, hours=1e-6), 10, Ledger(uri), clock)
    clock.now = 10.0
    assert budget.ended() is None
