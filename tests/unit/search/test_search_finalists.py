"""Second looks in the engine, over a crew whose trainings cost nothing: a score is a table's entry."""

import itertools

import pytest
from pydantic import ValidationError

from nasflow.core.errors import SpecError, TryAgainError
from nasflow.core.spec import BudgetSection, ConstraintsSection, RuntimeSection, SearchSection, ValidationSection
from nasflow.data.tensors import InputSpec, OutputSpec
from nasflow.search.budget import Budget
from nasflow.search.crew import Lost
from nasflow.search.engine import Engine
from nasflow.search.finalists import SecondLooks, automatic
from nasflow.search.job import Outcome, Report, Setup
from nasflow.search.ledger import Ledger
from nasflow.search.limits import Limits
from nasflow.search.looked import looked_at
from nasflow.search.open import second_looks
from nasflow.search.oracle import make_oracle
from nasflow.search.record import Record
from nasflow.search.selection import select
from nasflow.search.spec import SearchSpec
from nasflow.search.study import Study
from nasflow.search.trials import record_of, rows
from nasflow.spaces._base import Space
from nasflow.spaces.architecture import Architecture, Recipe
from nasflow.spaces.graph import Graph
from nasflow.spaces.parameters import Choice

INPUTS, OUTPUT = InputSpec(numeric=4), OutputSpec(classes=3)
EPOCHS = 9


class Widths(Space):
    """Two layers of 1 to 8 units: 64 architectures; the preset is the smallest."""

    name = "widths"

    def parameters(self):
        return tuple(Choice(name=f"width{place}", values=tuple(range(1, 9))) for place in (0, 1))

    def presets(self):
        return ({"width0": 1, "width1": 1},)

    def architecture(self, values):
        graph = Graph()
        x = graph.add("input", tensor="numeric")
        for place in (0, 1):
            x = graph.add("dense", x, units=values[f"width{place}"], bias=True)
        return graph.finish(x, Recipe())


def widths(job):
    nodes = Architecture.from_json(job.architecture).nodes
    return tuple(node.settings["units"] for node in nodes if node.op == "dense")[:2]


def score(job):
    """Luck that is another one for each look, and weighs as much as the architecture."""
    one, two = widths(job)
    luck = (one * 37 + two * 101 + job.look * 53) % 17 / 17
    return round(0.5 + 0.02 * (one + two) + 0.2 * luck, 6)


class Trainers:
    """A crew of `size`; the one that was started last ends first where `backwards`. Seconds go by on `clock`."""

    def __init__(self, *, size=1, score=score, seconds=1.0, backwards=False, stop_after=None, dies=()):
        self.size, self.started, self.now = size, [], 0.0
        self._score, self._seconds, self._backwards = score, seconds, backwards
        self._stop_after, self._dies = stop_after, dies
        self._jobs = []

    def clock(self):
        return self.now

    def start(self, job):
        assert len(self._jobs) < self.size
        self.started.append(job)
        self._jobs.append(job)

    def wait(self, decide):
        if self._stop_after is not None and len(self.started) > self._stop_after:
            raise TryAgainError("told to end")
        job = self._jobs.pop(-1 if self._backwards else 0)
        if job.trial_id in self._dies:
            return Lost(trial_id=job.trial_id, how="signal 9", blameless=False)
        value, why, done = self._score(job), "", 0
        for number in range(1, job.epochs + 1):
            self.now += self._seconds / job.epochs / self.size
            done = number
            spent = self._seconds * number / job.epochs
            if why := decide(Report(trial_id=job.trial_id, run=0, number=number, loss=1.0, score=value,
                                    seconds=self._seconds / job.epochs, spent=spent)):  # fmt: skip
                break
        seconds = self._seconds * done / job.epochs
        if value is None:
            return Outcome(trial_id=job.trial_id, status="failed", message="diverged", seconds=seconds)
        history = [{"number": n, "loss": 1.0, "score": value, "seconds": 0.1} for n in range(1, done + 1)]
        return Outcome(trial_id=job.trial_id, status="completed", score=value, epochs=done, history=history,
                       seconds=seconds, message=why and f"stopped: {why}")  # fmt: skip

    def close(self):
        pass


def search(uri, crew, *, looks=None, strategy="random", budget=None, metric="accuracy"):
    """One attempt at a study; the study."""
    ledger = Ledger(str(uri))
    looks = looks or SecondLooks(finalists=3)
    study = Study(
        space=Widths(),
        limits=Limits(Widths(), ConstraintsSection(), inputs=INPUTS, output=OUTPUT),
        ledger=ledger,
        budget=Budget(budget or BudgetSection(trials=20), EPOCHS, ledger, clock=crew.clock),
        metric=metric,
        inputs=INPUTS,
        output=OUTPUT,
        seed=0,
        second_looks=looks,
    )
    setup = Setup(inputs=INPUTS, output=OUTPUT, metrics=(metric,), seed=0, validation=ValidationSection(),
                  runtime=RuntimeSection())  # fmt: skip
    oracle = make_oracle(strategy, study)
    Engine(study, oracle, crew, setup, clock=crew.clock).run()
    return study


def told(study):
    return [
        (r.trial_id, r.values, r.origin, r.look_of, r.look, r.status, r.score, r.control) for r in study.ledger.records
    ]


def looks_of(study):
    return [record for record in study.ledger.records if record.look_of is not None]


def best_of(records, count):
    scored = [r for r in records if r.score is not None and r.look_of is None and r.same_as is None]
    return sorted(scored, key=lambda r: (-r.score, r.parameters))[:count]


def chosen_of(study, *, rows=10**12):
    return select(study.ledger.records, study.metric, validation_rows=rows, epochs=EPOCHS)


def test_the_last_trainings_are_second_looks_in_rounds_and_the_best_mean_wins(tmp_path):
    crew = Trainers()
    study = search(tmp_path / "ledger", crew)
    records = study.ledger.records
    assert study.ledger.trained == len(crew.started) == 20
    first, second = best_of(records, 2)
    preset = next(r for r in records if r.origin == "preset")
    assert preset not in (first, second)  # the third place is the preset's
    order = [record.trial_id for record in (preset, first, second)]
    assert [(r.look_of, r.look) for r in looks_of(study)] == [*((t, 1) for t in order), *((t, 2) for t in order)]
    assert [job.look for job in crew.started] == [0] * 14 + [1] * 3 + [2] * 3
    assert study.ledger.closed.reason == "trials"
    assert [result.trial_id for result in study.history] == [r.trial_id for r in records if r.look_of is None]
    looked = looked_at(records)
    for record in (preset, first, second):
        one, two = (r.score for r in study.ledger.looks(record.trial_id))
        assert looked[record.trial_id].mean == pytest.approx((record.score + one + two) / 3)
    best = max(order, key=lambda trial_id: looked[trial_id].mean)
    selection = chosen_of(study)
    assert selection.order[0].trial_id == best
    assert selection.score(selection.order[0]) == looked[best].mean
    assert [r.trial_id for r in selection.order[:3]] == sorted(order, key=lambda t: -looked[t].mean)
    assert not any(r.look_of for r in selection.order)


def test_the_preset_is_held_against_a_mean_by_its_mean(tmp_path):
    """The best single score leads by .3, its mean is .1 worse than the preset's."""

    def lucky(job):
        return (
            {(1, 1): 0.6}.get(widths(job), 0.2) if job.look or widths(job) == (1, 1) else 0.9 - 0.01 * sum(widths(job))
        )

    study = search(tmp_path / "ledger", Trainers(score=lucky))
    selection = chosen_of(study, rows=10_000)
    assert selection.order[0].origin == "preset"
    assert selection.score(selection.order[0]) == pytest.approx(0.6)
    assert "a preset is the best on validation (mean of 3 trainings)" in selection.reason


@pytest.mark.parametrize(
    "strategy", ["random", "auto", "asha", "hyperband", pytest.param("bayesian", marks=pytest.mark.slow)]
)
def test_a_study_that_was_killed_among_its_second_looks_equals_the_uninterrupted_one(strategy, tmp_path):
    more = {"strategy": strategy, "budget": BudgetSection(trials=36), "looks": SecondLooks(finalists=4)}
    whole = search(tmp_path / "whole", Trainers(), **more)
    begun = whole.ledger.trained - len(looks_of(whole))
    assert len(looks_of(whole)) >= 4
    for stop_after in (3, 2, begun - 4, 2):  # trainings that end in each attempt; the last two attempts end among looks
        with pytest.raises(TryAgainError):
            search(tmp_path / "parts", Trainers(stop_after=stop_after), **more)
    parts = search(tmp_path / "parts", Trainers(), **more)
    assert told(parts) == told(whole)
    assert parts.ledger.closed == whole.ledger.closed
    assert chosen_of(parts).order[0].trial_id == chosen_of(whole).order[0].trial_id
    assert told(search(tmp_path / "parts", Trainers(), **more)) == told(whole)  # nothing is left to do


@pytest.mark.parametrize(("size", "backwards"), [(2, False), (3, True), (7, True)])
def test_workers_share_second_looks_and_none_is_wasted(size, backwards, tmp_path):
    """`random` ignores results: with any number of workers the same points, so the same finalists and looks."""
    alone = search(tmp_path / "alone", Trainers())
    crew = Trainers(size=size, backwards=backwards)
    study = search(tmp_path / "ledger", crew)
    assert len(crew.started) == study.ledger.trained == 20
    assert {(r.look_of, r.look) for r in looks_of(study)} == {(r.look_of, r.look) for r in looks_of(alone)}
    assert dict(looked_at(study.ledger.records)) == dict(looked_at(alone.ledger.records))


def test_a_worker_that_dies_in_a_second_look_costs_it_one_retry(tmp_path):
    study = search(tmp_path / "ledger", Trainers())
    dead = looks_of(study)[1].trial_id
    again = search(tmp_path / "again", Trainers(dies=(dead,)))
    assert again.ledger.get(dead).status == "failed"
    assert "its worker process died 2 times" in again.ledger.get(dead).message
    assert again.ledger.trained == 20
    mine = again.ledger.get(dead).look_of
    looked = looked_at(again.ledger.records)
    assert (looked[mine].failed, looked[mine].mean) == (1, None)
    selection = chosen_of(again)
    assert [r.trial_id for r in selection.order].index(mine) == 2  # behind the two that have a mean


def test_where_all_second_looks_fail_the_first_scores_stand(tmp_path):
    study = search(tmp_path / "ledger", Trainers(score=lambda job: None if job.look else score(job)))
    assert [r.status for r in looks_of(study)] == ["failed"] * 6
    plain = [r for r in study.ledger.records if r.look_of is None]
    expected = select(plain, "accuracy", validation_rows=10**12, epochs=EPOCHS)
    found = chosen_of(study)
    assert found.order == expected.order
    assert found.reason == expected.reason


def test_fewer_trials_than_finalists_leave_the_rest_to_the_search(tmp_path):
    """Of twelve trials all but the first two fail: two can be compared, by four trainings."""
    seen = itertools.count()
    crew = Trainers(score=lambda job: score(job) if job.look or next(seen) < 2 else None)
    study = search(tmp_path / "ledger", crew, looks=SecondLooks(finalists=5), budget=BudgetSection(trials=16))
    assert [r.look_of for r in looks_of(study)] == ["0000", "0001"] * 2
    assert study.ledger.trained == 16
    statuses = [r.status for r in study.ledger.records if r.look_of is None and r.same_as is None]
    assert statuses == ["completed"] * 2 + ["failed"] * 10


def test_a_single_candidate_is_not_looked_at_again(tmp_path):
    seen = itertools.count()
    study = search(tmp_path / "ledger", Trainers(score=lambda job: None if next(seen) else 0.5))
    assert not looks_of(study)
    assert study.ledger.closed is None
    assert study.ledger.trained == 20


def test_ties_go_to_the_smaller_and_then_to_the_earlier(tmp_path):
    study = search(tmp_path / "ledger", Trainers(score=lambda job: 0.5))
    chosen = best_of(study.ledger.records, 3)
    assert {r.look_of for r in looks_of(study)} == {r.trial_id for r in chosen}
    assert chosen[0].origin == "preset"
    assert [r.trial_id for r in chosen_of(study).order[:3]] == [r.trial_id for r in chosen]


def test_the_search_keeps_half_of_a_small_budget_and_means_are_of_as_many_scores(tmp_path):
    """Five finalists, four of eight trainings: the preset and the three best have two scores, the fourth has one."""
    study = search(tmp_path / "ledger", Trainers(), looks=SecondLooks(finalists=5), budget=BudgetSection(trials=8))
    assert study.ledger.trained == 8
    preset = next(r for r in study.ledger.records if r.origin == "preset")
    assert (looks_of(study)[0].look_of, looks_of(study)[0].look) == (preset.trial_id, 1)
    assert [r.look for r in looks_of(study)] == [1] * 4
    looked = looked_at(study.ledger.records)
    assert len(looked) == 4
    assert {each.compared for each in looked.values()} == {2}
    assert {r.trial_id for r in chosen_of(study).order[:4]} == set(looked)


def test_an_exhausted_space_still_has_its_second_looks(tmp_path):
    study = search(tmp_path / "ledger", Trainers(), budget=BudgetSection(trials=1000))
    assert study.ledger.closed.reason == "exhausted"
    assert study.ledger.trained == 64 + 6
    again = search(tmp_path / "ledger", Trainers(), budget=BudgetSection(trials=1000))
    assert again.ledger.trained == 64 + 6


@pytest.mark.parametrize(
    ("budget", "size", "reason"),
    [
        (BudgetSection(trials=None, hours=40.25 / 3600), 1, "hours"),
        (BudgetSection(trials=None, hours=20.25 / 3600), 2, "hours"),
        (BudgetSection(trials=None, device_hours=40.25 / 3600), 2, "device_hours"),
        (BudgetSection(trials=None, money=40.25 / 3600, price_per_device_hour=1.0), 1, "money"),
    ],
)
def test_time_is_kept_for_them_and_never_exceeded(budget, size, reason, tmp_path):
    """Trainings of one second, forty seconds of workers: three finalists twice are six of them. Two workers leave two
    trainings' worth unused at the end at most."""
    crew = Trainers(size=size)
    study = search(tmp_path / "ledger", crew, budget=budget, looks=SecondLooks(finalists=3, workers=size))
    assert study.ledger.closed.reason == reason
    assert [r.status for r in looks_of(study)] == ["completed"] * 6
    assert all(r.epochs == EPOCHS for r in looks_of(study))
    assert 37.9 < study.ledger.seconds < 40.25
    assert crew.now < 40.25 / size + 0.25


def test_auto_takes_no_more_than_a_seventh_of_the_time(tmp_path):
    """The finalists take ten times as long as the others: two looks at two of them would be 40 of 100 seconds."""
    crew = Trainers()
    slow = lambda job: sum(widths(job)) > 12  # noqa: E731
    crew._score = lambda job: setattr(crew, "_seconds", 10.0 if slow(job) else 1.0) or score(job) + 0.5 * slow(job)
    looks = SecondLooks(finalists="auto")
    study = search(tmp_path / "ledger", crew, budget=BudgetSection(trials=None, hours=100 / 3600), looks=looks)
    assert not looks_of(study)
    assert study.ledger.seconds <= 100 + 1e-6


@pytest.mark.parametrize("strategy", ["asha", "hyperband", "pasha"])
def test_only_trials_of_all_epochs_are_looked_at_again(strategy, tmp_path):
    """Short rungs score highest here."""
    crew = Trainers(score=lambda job: score(job) + 1 / job.epochs)
    study = search(tmp_path / "ledger", crew, strategy=strategy, budget=BudgetSection(trials=40))
    looks = looks_of(study)
    assert looks or strategy == "pasha"
    for look in looks:
        seen = study.ledger.get(look.look_of)
        assert int(seen.control.get("tuner/epochs", EPOCHS)) == seen.epochs == look.epochs == EPOCHS
        assert look.inherit is None
    assert {job.epochs for job in crew.started if job.look} <= {EPOCHS}
    assert study.ledger.trained == 40


def test_a_minimised_metric(tmp_path):
    study = search(tmp_path / "ledger", Trainers(score=lambda job: 2 - score(job)), metric="log_loss")
    alone = search(tmp_path / "other", Trainers())
    assert [(r.look_of, r.look) for r in looks_of(study)] == [(r.look_of, r.look) for r in looks_of(alone)]
    assert chosen_of(study).order[0].trial_id == chosen_of(alone).order[0].trial_id


def look(of, number, score, *, status="completed", message=""):
    return Record(trial_id=f"{of}.{number}", values={}, origin="look", look_of=of, look=number, status=status,
                  score=score, epochs=10, architecture_id=of, message=message)  # fmt: skip


def own(trial_id, score, origin="strategy"):
    return Record(trial_id=trial_id, values={}, origin=origin, status="completed", score=score, epochs=10,
                  architecture_id=trial_id, parameters=1)  # fmt: skip


def test_what_is_compared():
    records = [
        own("a", 0.9), own("b", 0.8), own("c", 0.7), own("d", 0.6),
        look("a", 1, 0.5), look("b", 1, 0.7), look("c", 1, None, status="failed"),
        look("a", 2, 0.1), look("b", 2, 0.9, message="stopped after 3 of 10 epochs: out of time"),
    ]  # fmt: skip
    found = looked_at(records)
    assert found["a"].mean == pytest.approx(0.7)  # .9 and .5: b has no third
    assert found["b"].mean == pytest.approx(0.75)
    assert (found["c"].mean, found["c"].failed) == (None, 1)
    assert found["a"].scores == (0.9, 0.5, 0.1)
    assert found["a"].spread == pytest.approx(0.4)
    selection = select(records, "accuracy", validation_rows=100, epochs=10)
    assert [r.trial_id for r in selection.order] == ["b", "a", "c", "d"]
    assert selection.reason == "best on validation (mean of 2 trainings); no preset completed"


def test_rows_say_it_and_read_it_back():
    records = [own("a", 0.9), look("a", 1, 0.5)]
    first, second = rows(records, "accuracy")
    assert (first["scores"], first["mean"], first["spread"]) == ([0.9, 0.5], 0.7, pytest.approx(0.2828427))
    assert (second["scores"], second["look_of"], second["look"]) == (None, "a", 1)
    assert [record_of(row) for row in (first, second)] == records


def test_the_automatic_number():
    assert [automatic(trials) for trials in (1, 20, 29, 30, 50, 100, 150, 600, 10**6)] == [0, 0, 0, 2, 3, 4, 5, 10, 10]


def of(**section):
    objectives = section.pop("objectives", ())
    return second_looks(SearchSpec(task="tabular_classification", metric="accuracy", objectives=objectives,
                                   search=SearchSection(**section)))  # fmt: skip


def test_auto_is_off_where_looks_would_be_double():
    assert of().finalists == "auto"
    assert of(validation={"seeds": 2}).finalists == 0
    assert of(validation={"folds": 3}).finalists == 0
    assert of(validation={"seeds": 2}, finalists=3).finalists == 3
    assert of(objectives=("accuracy", "flops")).finalists == 0
    assert of(score="synflow").finalists == 0


def test_what_cannot_be_is_the_users_error():
    with pytest.raises(SpecError, match=r"search.finalists is 3, but objective is a list"):
        of(objectives=("accuracy", "flops"), finalists=3)
    with pytest.raises(ValidationError, match="one alone is compared with nothing"):
        SearchSection(finalists=1)
    with pytest.raises(ValidationError, match="nothing is trained"):
        SearchSection(finalists=2, score="synflow")
