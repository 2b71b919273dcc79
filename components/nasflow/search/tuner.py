"""Runs the trials: a Keras Tuner Tuner whose trials are ours.

What a trial costs is building and training the model. Left out of Keras Tuner's own `run_trial`: its checkpoint every
epoch, its `tensorboard` import, its two full garbage collections a trial (half a second, research/keras_tuner.md).
"""

import contextlib
import dataclasses
import gc
import logging
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import keras
import keras_tuner
import numpy as np
from keras_tuner.src.engine.trial import Trial

from nasflow.core.errors import NasflowError, TrialFailedError, TryAgainError, UserError
from nasflow.core.storage import is_local, local_path
from nasflow.core.workspace import Place, cpu_seconds
from nasflow.data.tensors import InputSpec, Tensors
from nasflow.models.build import build
from nasflow.models.fit import Epoch, fit
from nasflow.search.ledger import Record
from nasflow.search.oracle import TUNER_ID, LedgerOracle
from nasflow.search.study import Study

logger = logging.getLogger(__name__)

_FAILURES_AT_THE_START = 3
_BEAT_SECONDS = 5.0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Data:
    """What every trial is trained and judged on."""

    train: Tensors
    validation: Tensors
    inputs: InputSpec


class StudyTuner(keras_tuner.Tuner):
    """Takes trials from the oracle, trains them, writes how they ended into the ledger."""

    def __init__(self, oracle: LedgerOracle, study: Study, data: Data, place: Place) -> None:
        """`place`: where a trial leaves what it needs to resume, if it is local."""
        self._study, self._data = study, data
        self._scratch = tempfile.mkdtemp(prefix="nasflow-search-")  # Keras Tuner insists on a folder; it stays empty
        self._backups = local_path(place.at("trials")) if is_local(place.uri) else None
        super().__init__(oracle, directory=self._scratch, project_name="study", tuner_id=TUNER_ID)

    def search(self, *args: Any, **kwargs: Any) -> None:
        """Until the budget ends. Keras Tuner's own loop around our trials.

        Raises:
            NasflowError: every one of the first trials failed; the message is the last one's.
            UserError: the constraints are impossible.
            TryAgainError: stopped by a signal.
        """
        logging.getLogger("tensorflow").addFilter(_not_about_retracing)
        gc.collect()
        gc.freeze()  # TensorFlow's millions of objects need not be walked again at each collection
        try:
            super().search(*args, **kwargs)
        finally:
            gc.unfreeze()
            logging.getLogger("tensorflow").removeFilter(_not_about_retracing)
            shutil.rmtree(self._scratch, ignore_errors=True)

    def run_trial(self, trial: Trial, *args: Any, **kwargs: Any) -> None:
        """Trains the trial's architecture; what comes of it goes into the ledger, not to the caller."""
        record = self._study.ledger.get(trial.trial_id)
        if record is None:
            raise RuntimeError(f"trial {trial.trial_id} was never started")  # a defect of ours: fail loudly
        epochs = min(int(record.control.get("tuner/epochs", self._study.epochs)), self._study.epochs)
        cpu_started = cpu_seconds()
        watch = _Watch(self._study, record)
        try:
            curve = self._train(record, epochs, watch)
            score = curve[-1].score if curve else None
            if score is None or not np.isfinite(score):
                raise TrialFailedError(f"{self._study.metric} on validation is {score}, after {len(curve)} epochs")
        except (TryAgainError, UserError):
            raise  # the trial has not failed
        except Exception as error:  # noqa: BLE001  # a trial may fail in any way: it is recorded, the search goes on
            message = str(error) if isinstance(error, NasflowError) else f"{type(error).__name__}: {error}"
            self._study.ledger.end(
                trial.trial_id,
                "failed",
                seconds=watch.seconds,
                cpu_seconds=cpu_seconds() - cpu_started,
                message=message[:2000],
            )
            return
        self._study.ledger.end(
            trial.trial_id,
            "completed",
            score=float(score),
            metrics=_metrics(self._study.metric, curve[-1]),
            epochs=len(curve),
            seconds=watch.seconds,
            cpu_seconds=cpu_seconds() - cpu_started,
            message="" if len(curve) == epochs else f"stopped after {len(curve)} of {epochs} epochs: out of time",
            history=[_entry(epoch) for epoch in curve],
        )

    def on_trial_end(self, trial: Trial) -> None:
        """Tells the oracle, and the log."""
        self.oracle.settle(trial)
        with self._backup(trial.trial_id) as path:
            if path is not None:
                shutil.rmtree(path, ignore_errors=True)
        keras.utils.clear_session(free_memory=False)  # names start again; the collection it would do costs 0.2 s
        self._log(trial.trial_id)
        self._give_up_on_failures()

    def save(self) -> None:
        """Nothing: the ledger is all there is."""

    def reload(self) -> None:
        """Nothing: the oracle was replayed from the ledger."""

    def _try_run_and_update_trial(self, trial: Trial, *args: Any, **kwargs: Any) -> None:
        """Keras Tuner's takes a SIGTERM for a failed trial and asks for the results; ours are in the ledger."""
        self.run_trial(trial)

    def _train(self, record: Record, epochs: int, watch: "_Watch") -> Sequence[Epoch]:
        study, data = self._study, self._data
        architecture = study.space.architecture(record.values)
        # Every trial has the same seed: what differs between two is their design.
        model = build(architecture, data.inputs, study.output, seed=study.seed)
        with self._backup(record.trial_id) as backup:
            return fit(
                model,
                architecture.recipe,
                data.train,
                output=study.output,
                epochs=epochs,
                seed=study.seed,
                validation=data.validation,
                metric=study.metric,
                backup_path=backup,
                on_epoch=watch,
            )

    @contextlib.contextmanager
    def _backup(self, trial_id: str) -> Iterator[str | None]:
        """The trial's own folder; None where the place is a bucket: then a killed trial starts again."""
        yield None if self._backups is None else str(self._backups / trial_id)

    def _log(self, trial_id: str) -> None:
        study = self._study
        record, best = study.ledger.get(trial_id), study.best
        if record is None:
            return
        left = study.budget.trials_left
        seconds_left = study.budget.seconds_left
        remaining = [f"{left} trials"] if left is not None else []
        remaining += [f"{max(0.0, seconds_left) / 60:.1f} min"] if seconds_left is not None else []
        outcome = f"{study.metric} {record.score:.4f}" if record.score is not None else f"failed: {record.message:.200}"
        logger.info(
            "trial %d: %s %s (best %s), %.1f s, left: %s",
            study.ledger.trained,
            record.architecture_id,
            outcome,
            f"{best.score:.4f}" if best is not None and best.score is not None else "–",
            record.seconds,
            ", ".join(remaining),
            extra={
                "trial": study.ledger.trained,
                "trial_id": trial_id,
                "architecture_id": record.architecture_id,
                "status": record.status,
                "score": record.score,
                "best": best.score if best is not None else None,
                "seconds": record.seconds,
                "trials_left": left,
                "seconds_left": seconds_left,
            },
        )

    def _give_up_on_failures(self) -> None:
        trained = [record for record in self._study.ledger.ended if record.status != "infeasible"]
        if len(trained) > _FAILURES_AT_THE_START and all(record.status == "failed" for record in trained):
            raise NasflowError(
                f"search: the first {len(trained)} trials all failed, so the next ones would too; the last one said: "
                f"{trained[-1].message}"
            )


class _Watch:
    """Called after every epoch: ends the trial at the deadline, and notes the time in the ledger."""

    def __init__(self, study: Study, record: Record, clock: Callable[[], float] = time.monotonic) -> None:
        self._study, self._record, self._clock = study, record, clock
        self._started = self._beaten = clock()
        self._earlier = record.seconds

    @property
    def seconds(self) -> float:
        """Of the trial, over all attempts at it."""
        return self._earlier + self._clock() - self._started

    def __call__(self, epoch: Epoch) -> bool:
        """Whether another epoch like this one would end in time."""
        if self._clock() - self._beaten >= _BEAT_SECONDS:
            self._beaten = self._clock()
            self._study.ledger.beat(self._record.trial_id, self.seconds)
        return self._study.budget.has_time_for(epoch.seconds)


def _not_about_retracing(record: logging.LogRecord) -> bool:
    """TensorFlow takes a new architecture for a mistake in how a function is called."""
    return "retracing" not in str(record.msg)


def _metrics(metric: str, epoch: Epoch) -> dict[str, float]:
    found: Mapping[str, float | None] = {metric: epoch.score, "log_loss": epoch.log_loss, "loss": epoch.loss}
    return {name: float(value) for name, value in found.items() if value is not None and np.isfinite(value)}


def _entry(epoch: Epoch) -> dict[str, Any]:
    entry = {"number": epoch.number, "loss": epoch.loss, "score": epoch.score, "seconds": round(epoch.seconds, 3)}
    return {
        name: None if isinstance(value, float) and not np.isfinite(value) else value for name, value in entry.items()
    }
