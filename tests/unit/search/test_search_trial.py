"""One trial, in this process: folds, seeds, batches that do not fit, ways to fail."""

import errno

import numpy as np
import pytest
import tensorflow as tf

from nasflow.core.errors import TryAgainError, UserError
from nasflow.core.spec import RuntimeSection, ValidationSection
from nasflow.data.tensors import InputSpec, OutputSpec, Tensors
from nasflow.models.trainer import Trainer
from nasflow.search import trial as trial_module
from nasflow.search.job import Job, Setup
from nasflow.search.plan import combined, trainings
from nasflow.search.shared import Data
from nasflow.search.trial import TrialRunner
from nasflow.spaces.architecture import Recipe
from nasflow.spaces.graph import Graph

INPUTS, OUTPUT = InputSpec(numeric=4), OutputSpec(classes=3)


def blobs(rows, seed):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, rows).astype(np.int32)
    numeric = rng.normal(size=(rows, 4)).astype(np.float32)
    numeric[np.arange(rows), labels] += 2
    return Tensors(inputs={"numeric": numeric}, labels=labels)


DATA = Data(train=blobs(120, 0), validation=blobs(60, 1))


def runner(**more):
    defaults = {"metrics": ("accuracy",), "seed": 0, "validation": ValidationSection(), "runtime": RuntimeSection()}
    return TrialRunner(Setup(inputs=INPUTS, output=OUTPUT, **(defaults | more)), DATA)


def job(batch=64, learning_rate=5e-3, **more):
    graph = Graph()
    x = graph.add("dense", graph.add("input", tensor="numeric"), units=8, bias=True)
    recipe = Recipe(batch_size=batch, learning_rate=learning_rate)
    architecture = graph.finish(graph.add("activation", x, function="relu"), recipe).to_json()
    return Job(**{"trial_id": "0000", "architecture": architecture, "epochs": 2} | more)


def never(report):
    return ""


def test_a_trial_says_what_it_measured():
    outcome = runner(metrics=("accuracy", "f1_macro")).run(job(), never)
    assert outcome.status == "completed"
    assert outcome.score == outcome.metrics["accuracy"] == outcome.history[-1]["score"]
    assert {"accuracy", "f1_macro", "log_loss", "loss"} == set(outcome.metrics)
    assert outcome.epochs == 2
    assert outcome.seconds > 0
    assert outcome.cpu_seconds > 0


def test_the_same_seed_gives_the_same_scores():
    one, other = (runner().run(job(), never) for _ in range(2))
    assert [e["loss"] for e in one.history] == [e["loss"] for e in other.history]
    assert one.score == other.score


def test_a_second_look_trains_with_seeds_that_nobody_else_has():
    """Two seeds a trial: those of trial 5 are 5 and 6, those of its first look 7 and 8."""
    look = runner(seed=5, validation=ValidationSection(seeds=2)).run(job(look=1), never)
    first, second = (runner(seed=seed).run(job(), never) for seed in (7, 8))
    assert look.runs == [first.score, second.score]
    assert [entry["loss"] for entry in look.history] == [entry["loss"] for entry in first.history]


def test_folds_hold_every_row_out_once_and_keep_the_classes_shares():
    labels = np.array([0] * 6 + [1] * 9)
    plan = trainings(ValidationSection(folds=3, repeats=2, seeds=2), labels, seed=0)
    assert [(each.seed, len(each.validation)) for each in plan] == [(0, 5)] * 6 + [(1, 5)] * 6
    for repeat in range(2):
        of_repeat = plan[repeat * 3 : repeat * 3 + 3]
        held_out = np.concatenate([each.validation for each in of_repeat])
        assert sorted(held_out) == list(range(15))
        for each in of_repeat:
            assert np.bincount(labels[each.validation]).tolist() == [2, 3]
            assert sorted([*each.train, *each.validation]) == list(range(15))
    assert not np.array_equal(plan[0].validation, plan[3].validation)  # repeats shuffle anew
    assert np.array_equal(plan[0].validation, plan[6].validation)  # seeds do not


def test_scores_of_folds_are_averaged_and_seeds_cost_their_spread():
    section = ValidationSection(folds=2, seeds=2, caution=2.0)
    # seed means .6 and .8: mean .7, sample standard deviation √.02
    assert combined(section, [0.5, 0.7, 0.7, 0.9], sign=1) == pytest.approx(0.7 - 2 * 0.02**0.5)
    assert combined(section, [0.5, 0.7, 0.7, 0.9], sign=-1) == pytest.approx(0.7 + 2 * 0.02**0.5)


def test_a_trial_of_folds_and_seeds():
    section = ValidationSection(folds=2, seeds=2)
    seen = []
    outcome = runner(validation=section).run(job(), lambda report: seen.append((report.run, report.number)) or "")
    assert seen == [(run, number) for run in range(4) for number in (1, 2)]
    assert len(outcome.runs) == 4
    assert outcome.score == pytest.approx(combined(section, outcome.runs, sign=1))
    with pytest.raises(UserError, match=r"folds: 20 folds of 12 rows"):
        TrialRunner(
            Setup(
                inputs=INPUTS,
                output=OUTPUT,
                metrics=("accuracy",),
                seed=0,
                validation=ValidationSection(folds=20),
                runtime=RuntimeSection(),
            ),
            Data(train=blobs(8, 0), validation=blobs(4, 1)),
        )


def test_a_batch_is_halved_until_it_fits(monkeypatch):
    real = Trainer.run

    def run(self, *rows):
        if self.batch > 4:
            raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor")
        return real(self, *rows)

    monkeypatch.setattr(Trainer, "run", run)
    outcome = runner().run(job(batch=16), never)
    assert outcome.status == "completed"
    assert [note.split(":")[0] for note in outcome.notes] == ["batch 16 → 8", "batch 8 → 4"]

    monkeypatch.setattr(Trainer, "run", lambda *_: (_ for _ in ()).throw(MemoryError))
    outcome = runner().run(job(batch=2), never)
    assert (outcome.status, outcome.score) == ("failed", None)
    assert "out of memory on the device with batches of 1 rows" in outcome.message


def test_a_trial_that_is_stopped_keeps_its_last_score():
    outcome = runner(validation=ValidationSection(seeds=3)).run(job(epochs=9), lambda r: "enough" * (r.number == 2))
    assert outcome.status == "completed"
    assert outcome.epochs == 2
    assert outcome.score == outcome.history[-1]["score"]  # the other seeds are left out
    assert outcome.message == "stopped after 2 of 9 epochs: enough"


def test_a_diverging_trial_fails_early():
    outcome = runner().run(job(learning_rate=1e30, epochs=50), never)
    assert outcome.status == "failed"
    assert "loss" in outcome.message


def test_an_architecture_that_cannot_be_built_fails():
    outcome = runner().run(Job(trial_id="0000", architecture={"nodes": [], "recipe": {}}, epochs=1), never)
    assert outcome.status == "failed"
    assert outcome.message == "the last node must be an output"


def test_weights_are_kept_and_taken(tmp_path):
    setup = {"weights_path": str(tmp_path)}
    first = runner(**setup).run(job(horizon=4), never)
    assert (tmp_path / "0000" / "0.npz").exists()
    second = runner(**setup).run(job(trial_id="0001", epochs=4, horizon=4, inherit="0000"), never)
    assert second.notes == ["went on with trial 0000 after its epoch 2"]
    assert second.epochs == 4
    assert [entry["number"] for entry in second.history] == [3, 4]
    whole = runner().run(job(epochs=4), never)
    assert [e["loss"] for e in [*first.history, *second.history]] == [e["loss"] for e in whole.history]
    gone = runner(**setup).run(job(trial_id="0002", inherit="0009"), never)
    assert "started from scratch" in gone.notes[0]


def test_a_full_disk_is_no_fault_of_the_trial(tmp_path, monkeypatch):
    """Recorded as failed, good points would be lost for the study."""

    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(trial_module, "fit_with", full)
    with pytest.raises(TryAgainError, match="No space left on device; make room"):
        runner().run(job(), never)
