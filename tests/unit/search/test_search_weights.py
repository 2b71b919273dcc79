"""The bounded store of weights, and what becomes of a trial that takes its worker down."""

import itertools

import pytest

from nasflow.core.errors import NasflowError
from nasflow.core.spec import BudgetSection, ConstraintsSection, RuntimeSection, ValidationSection
from nasflow.data.tensors import InputSpec, OutputSpec
from nasflow.search.budget import Budget
from nasflow.search.crew import Lost
from nasflow.search.engine import Engine
from nasflow.search.job import Outcome, Report, Setup
from nasflow.search.ledger import Ledger
from nasflow.search.limits import Limits
from nasflow.search.oracle import make_oracle
from nasflow.search.record import Record
from nasflow.search.study import Study
from nasflow.search.weights import Weights
from nasflow.spaces.mlp import MlpSpace

INPUTS, OUTPUT = InputSpec(numeric=4), OutputSpec(classes=3)
SPACE = MlpSpace(inputs=INPUTS, output=OUTPUT)


def open_study(path, trials=6):
    ledger = Ledger(str(path / "ledger.jsonl"))
    return Study(
        space=SPACE,
        limits=Limits(SPACE, ConstraintsSection(), inputs=INPUTS, output=OUTPUT),
        ledger=ledger,
        budget=Budget(BudgetSection(trials=trials), 3, ledger),
        metric="accuracy",
        inputs=INPUTS,
        output=OUTPUT,
        seed=0,
    )


def test_the_best_weights_stay_longest(tmp_path):
    study = open_study(tmp_path)
    weights = Weights(tmp_path / "weights", most_bytes=250)
    for number, score in enumerate((0.5, 0.9, 0.7, None)):
        study.ledger.start(Record(trial_id=f"{number:04d}", values={"n": number}, origin="strategy"))
        study.ledger.end(f"{number:04d}", "failed" if score is None else "completed", score=score)
    # 0004 runs, and starts from 0000
    study.ledger.start(Record(trial_id="0004", values={"n": 4}, origin="strategy", inherit="0000"))
    for number in range(5):
        folder = weights.folder / f"{number:04d}"
        folder.mkdir(parents=True)
        (folder / "0.npz").write_bytes(bytes(100))
    weights.trim(study)
    # 500 bytes: the failed one goes; then, of those that nobody holds, the worst
    assert sorted(path.name for path in weights.folder.iterdir()) == ["0000", "0004"]
    study.ledger.end("0004", "completed", score=0.8)
    weights.trim(study)
    assert sorted(path.name for path in weights.folder.iterdir()) == ["0000", "0004"]


class Deadly:
    """A crew whose worker dies in the hands of some trials."""

    size = 1

    def __init__(self, deadly, *, blameless=False):
        self.deadly, self.blameless, self.ran = deadly, blameless, []

    def start(self, job):
        self.ran.append(job.trial_id)

    def wait(self, decide):
        trial_id = self.ran[-1]
        if trial_id in self.deadly and self.ran.count(trial_id) <= self.deadly[trial_id]:
            return Lost(trial_id=trial_id, how="signal 9", blameless=self.blameless)
        return Outcome(trial_id=trial_id, status="completed", score=0.5, epochs=3, seconds=1.0)

    def close(self):
        pass


def run(path, crew, **engine):
    study = open_study(path)
    setup = Setup(
        inputs=INPUTS,
        output=OUTPUT,
        metrics=("accuracy",),
        seed=0,
        validation=ValidationSection(),
        runtime=RuntimeSection(),
    )
    Engine(study, make_oracle("random", study), crew, setup, **engine).run()
    return study.ledger


class Slow(Deadly):
    """A crew whose trials take three epochs, and who says so."""

    def wait(self, decide):
        for number in (1, 2, 3):
            report = {"loss": 1.0, "score": number / 10, "seconds": 4.0, "spent": 4.0 * number}
            decide(Report(trial_id=self.ran[-1], run=0, number=number, **report))
        return super().wait(decide)


def test_a_long_trial_says_how_far_it_is(tmp_path, caplog):
    """The clock goes on by 4 s at each look: the start at 0; 4 is too soon; 8 is not, and the beat is noted at 12; 16
    is too soon."""
    ticks = itertools.count(0, 4)
    with caplog.at_level("INFO", logger="nasflow.search.engine"):
        ledger = run(tmp_path, Slow({}), clock=lambda: float(next(ticks)))
    live = [record.getMessage() for record in caplog.records if getattr(record, "live", False)]
    assert live[0] == f"{ledger.records[0].architecture_id}: epoch 2, accuracy 0.2000, 8 s so far"
    assert len(live) == 6  # one in each of the six trials


def test_a_trial_whose_worker_dies_is_retried_once_then_failed(tmp_path):
    crew = Deadly({"0001": 1, "0003": 2})
    ledger = run(tmp_path, crew)
    assert crew.ran == ["0000", "0001", "0001", "0002", "0003", "0003", "0004", "0005"]
    assert [record.status for record in ledger.records] == ["completed"] * 3 + ["failed"] + ["completed"] * 2
    assert [record.deaths for record in ledger.records] == [0, 1, 0, 2, 0, 0]
    assert "its worker process died 2 times" in ledger.get("0003").message


def test_a_preempted_worker_costs_its_trial_nothing(tmp_path):
    crew = Deadly({"0001": 4}, blameless=True)
    ledger = run(tmp_path, crew)
    assert crew.ran.count("0001") == 5
    assert {record.status for record in ledger.records} == {"completed"}


def test_a_trial_that_ends_the_whole_search_again_and_again_is_given_up(tmp_path):
    for _ in range(5):
        study = open_study(tmp_path)
        if not study.ledger.records:
            study.ledger.start(Record(trial_id="0000", values={"width": 1}, origin="strategy"))
        study.ledger.again("0000", 1.0)  # as a search that found it running, and was killed in it
    assert open_study(tmp_path).ledger.get("0000").stalled == 5
    study = open_study(tmp_path)
    study.ledger.beat("0000", 2.0, epochs=1)
    assert study.ledger.get("0000").stalled == 0  # it got through an epoch


def test_four_deadly_trials_at_the_start_end_the_search(tmp_path):
    with pytest.raises(NasflowError, match=r"first 4 trials all failed.*worker process died 2 times"):
        run(tmp_path, Deadly({f"{number:04d}": 2 for number in range(6)}))
