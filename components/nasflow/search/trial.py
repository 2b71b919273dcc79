"""Runs one trial: builds and trains its architecture, once or once a seed and fold, and says how it went.

What a trial costs is building and training the model. Left out of Keras Tuner's own `run_trial`: its checkpoint every
epoch, its `tensorboard` import, its two full garbage collections a trial (half a second, research/keras_tuner.md).
"""

import contextlib
import dataclasses
import gc
import logging
import math
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np

from nasflow.core.bootstrap import weighted
from nasflow.core.errors import (
    NasflowError,
    OutOfMemoryError,
    TrialFailedError,
    TryAgainError,
    UserError,
    full_disk_is_try_again,
)
from nasflow.core.metrics import maximised
from nasflow.core.workspace import cpu_seconds
from nasflow.data.tensors import Tensors
from nasflow.models.backup import forget
from nasflow.models.build import build
from nasflow.models.fit import Epoch, Extras, Fitted, fit_with
from nasflow.models.latency import of_network
from nasflow.models.predict import predict
from nasflow.models.runtime import policy, resolve
from nasflow.search.job import Decide, Job, Outcome, Report, Setup
from nasflow.search.plan import Training, combined, trainings
from nasflow.search.shared import Data
from nasflow.search.supernet import run_supernet
from nasflow.spaces.architecture import Architecture

logger = logging.getLogger(__name__)


class TrialRunner:
    """Runs trials of one study, one after the other, in this process."""

    def __init__(self, setup: Setup, data: Data) -> None:
        self._setup, self._data = setup, data
        self._runtime = resolve(setup.runtime)
        self._joined = data.joined if setup.validation.folds is not None else None
        labels = self._joined.labels if self._joined is not None else None
        self._plan = trainings(setup.validation, labels, seed=setup.seed)

    def run(self, job: Job, decide: Decide) -> Outcome:
        """Runs a trial to its end; whatever goes wrong in it is part of the outcome.

        Raises:
            TryAgainError, UserError: the process shall end; the trial has not failed.
        """
        started, cpu_started = time.monotonic(), cpu_seconds()
        try:
            with full_disk_is_try_again():  # the next trials would fail of it, too
                if job.supernet is None:
                    outcome = _Trial(self, job, decide, started).run()
                else:
                    outcome = run_supernet(self._setup, self._data.train, job, decide)
        except (TryAgainError, UserError):
            raise
        except Exception as error:  # noqa: BLE001  # a trial may fail in any way: it is recorded, the search goes on
            message = str(error) if isinstance(error, NasflowError) else f"{type(error).__name__}: {error}"
            outcome = Outcome(trial_id=job.trial_id, status="failed", message=message[:2000])
        return dataclasses.replace(
            outcome,
            seconds=time.monotonic() - started,
            cpu_seconds=cpu_seconds() - cpu_started,
            memory_mb=resident_mb(),
        )

    def splits(self, training: Training) -> tuple[Tensors, Tensors]:
        """(train, validation) of one training."""
        if self._joined is None or training.train is None or training.validation is None:
            return self._data.train, self._data.validation
        return self._joined.take(training.train), self._joined.take(training.validation)


class _Trial:
    """One job in the hands of a runner."""

    def __init__(self, runner: TrialRunner, job: Job, decide: Decide, started: float) -> None:
        self._runner, self._job, self._decide, self._started = runner, job, decide, started
        self._setup = runner._setup
        self._architecture = Architecture.from_json(job.architecture)
        self._batch: int | None = None
        self._why = ""
        self._notes: list[str] = []

    def run(self) -> Outcome:
        setup, scores, measured = self._setup, list[float](), list[dict[str, float]]()
        first: Fitted | None = None
        for number, training in enumerate(self._runner._plan):
            fitted, metrics = self._one_that_fits(number, training)
            first = first or fitted
            scores.append(metrics[setup.metrics[0]])
            measured.append(metrics)
            keras.utils.clear_session(free_memory=False)  # names start again; the collection it would do costs 0.2 s
            if self._why:
                break
        if first is None:
            raise RuntimeError("a trial without trainings")  # a defect of ours: fail loudly
        sign = 1 if maximised(setup.metrics[0]) else -1
        whole = len(scores) == len(self._runner._plan)
        score = combined(setup.validation, scores, sign=sign) if whole else float(np.mean(scores))
        done = first.epochs[-1].number if first.epochs else first.start.epochs
        if self._why:
            self._notes.append(f"stopped after {done} of {self._job.epochs} epochs: {self._why}")
        if first.best is not None and first.best != done:
            self._notes.append(f"weights of epoch {first.best} restored")
        means = {name: float(np.mean([each[name] for each in measured])) for name in measured[0]}
        return Outcome(
            trial_id=self._job.trial_id,
            status="completed",
            score=score,
            metrics={name: value for name, value in means.items() if math.isfinite(value)},
            runs=scores if len(scores) > 1 else [],
            epochs=done,
            history=[_entry(epoch) for epoch in first.epochs],
            notes=self._notes,
            message=self._notes[0] if self._why and self._notes else "",
        )

    def _one_that_fits(self, number: int, training: Training) -> tuple[Fitted, dict[str, float]]:
        """Halves the batch as long as the device has no room for it."""
        while True:
            try:
                return self._one(number, training)
            except OutOfMemoryError as error:
                batch = min(self._batch or self._architecture.recipe.batch_size, self._architecture.recipe.batch_size)
                if batch <= 1:
                    raise
                self._batch = batch // 2
                self._notes.append(f"batch {batch} → {self._batch}: {error}")
                logger.warning("trial %s: batch %d → %d: %s", self._job.trial_id, batch, self._batch, error)
            keras.utils.clear_session()
            gc.collect()

    def _one(self, number: int, training: Training) -> tuple[Fitted, dict[str, float]]:
        setup, job = self._setup, self._job
        seed = setup.seed + training.seed + job.look * setup.validation.seeds
        train, validation = self._runner.splits(training)
        with policy(self._runner._runtime):
            model = build(self._architecture, setup.inputs, setup.output, seed=seed)
        fitted = fit_with(
            Extras(
                batch=self._batch,
                horizon=job.horizon,
                patience=setup.patience,
                start_path=_weights(setup, job.inherit, number) if job.inherit else None,
                keep_path=None if job.look else _weights(setup, job.trial_id, number),
                runtime=self._runner._runtime,
            ),
            model,
            self._architecture.recipe,
            train,
            output=setup.output,
            epochs=job.epochs,
            seed=seed,
            validation=validation,
            metric=setup.metrics[0],
            backup_path=None if setup.backups_path is None else f"{setup.backups_path}/{job.trial_id}/{number}",
            on_epoch=lambda epoch: self._goes_on(number, epoch),
        )
        if number == 0 and job.inherit is not None:
            self._notes.append(_of_start(job.inherit, fitted))
        return fitted, self._measure(model, fitted, validation)

    def _goes_on(self, number: int, epoch: Epoch) -> bool:
        self._why = self._decide(
            Report(
                trial_id=self._job.trial_id,
                run=number,
                number=epoch.number,
                loss=_finite(epoch.loss),
                score=_finite(epoch.score),
                seconds=epoch.seconds,
                spent=time.monotonic() - self._started,
            )
        )
        return not self._why

    def _measure(self, model: Any, fitted: Fitted, validation: Tensors) -> dict[str, float]:
        """The score and whatever else is to be known of the trained model."""
        score, *others = self._setup.metrics
        if not fitted.epochs:  # it went on from a training that had all the epochs
            others = [score, *others]
            found: dict[str, float] = {}
        else:
            spoken = next((e for e in fitted.epochs if e.number == fitted.best), fitted.epochs[-1])
            found = {score: math.nan if spoken.score is None else spoken.score, "loss": spoken.loss}
            if spoken.log_loss is not None:
                found["log_loss"] = spoken.log_loss
        if missing := [name for name in others if name not in found]:
            predictions = predict(model, validation, self._setup.output)
            found |= {name: weighted(name, validation.labels, predictions, validation.weights) for name in missing}
        if self._setup.latency:
            found["latency_ms"] = of_network(model, validation, self._setup.output)
        if not math.isfinite(found[score]):
            raise TrialFailedError(f"{score} on validation is {found[score]}, after {len(fitted.epochs)} epochs")
        return found


@contextlib.contextmanager
def quiet_and_frozen() -> Iterator[None]:
    """For a process that runs trials: TensorFlow's millions of objects need not be walked again at each collection, and
    it takes a new architecture for a mistake in how a function is called."""
    logging.getLogger("tensorflow").addFilter(_not_about_retracing)
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
        logging.getLogger("tensorflow").removeFilter(_not_about_retracing)


def forget_backups(setup: Setup, trial_id: str) -> None:
    """Removes the epochs of a trial that has ended."""
    if setup.backups_path is not None:
        forget(f"{setup.backups_path}/{trial_id}")


def resident_mb() -> float:
    """Resident memory of this process, in 10⁶ bytes; 0 where there is no ``/proc``."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def _weights(setup: Setup, trial_id: str, number: int) -> str | None:
    return None if setup.weights_path is None else f"{setup.weights_path}/{trial_id}/{number}.npz"


def _of_start(trial_id: str, fitted: Fitted) -> str:
    match fitted.start.found:
        case "continued":
            return f"went on with trial {trial_id} after its epoch {fitted.start.epochs}"
        case "inherited":
            return f"took {fitted.start.taken} of {fitted.start.weights} weights from trial {trial_id}"
    return f"started from scratch: the weights of trial {trial_id} are not kept any more, or none of them fits"


def _not_about_retracing(record: logging.LogRecord) -> bool:
    return "retracing" not in str(record.msg)


def _entry(epoch: Epoch) -> dict[str, Any]:
    entry = {"number": epoch.number, "loss": epoch.loss, "score": epoch.score, "seconds": round(epoch.seconds, 3)}
    return {
        name: None if isinstance(value, float) and not np.isfinite(value) else value for name, value in entry.items()
    }


def _finite(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else value
