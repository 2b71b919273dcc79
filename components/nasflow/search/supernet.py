"""Runs the job that trains a supernet: a worker's part of `nasflow.search.preparation`."""

import dataclasses
import gc
import logging
import time

import keras

from nasflow.core.errors import OutOfMemoryError
from nasflow.data.tensors import Tensors
from nasflow.models.bilevel import SupernetEpoch, train_supernet
from nasflow.search.job import Decide, Job, Outcome, Report, Setup
from nasflow.spaces.architecture import Architecture

logger = logging.getLogger(__name__)


def run_supernet(setup: Setup, train: Tensors, job: Job, decide: Decide) -> Outcome:
    """Trains it to its end, in float32; the batch is halved as long as the device has no room for it. Errors are the
    caller's."""
    assert job.supernet is not None
    plan, started, notes = job.supernet, time.monotonic(), list[str]()
    network = Architecture.from_json(job.architecture)
    batch = network.recipe.batch_size

    def told(epoch: SupernetEpoch) -> bool:
        why = decide(
            Report(
                trial_id=job.trial_id,
                run=0,
                number=epoch.number,
                loss=epoch.loss,
                score=None,
                seconds=epoch.seconds,
                spent=time.monotonic() - started,
                probabilities=epoch.probabilities if epoch.judged is not None else None,
            )
        )
        notes.extend([why] if why else [])
        return not why

    while True:
        try:
            history = train_supernet(
                network,
                plan.choices,
                plan.bilevel,
                train,
                inputs=setup.inputs,
                output=setup.output,
                seed=setup.seed,
                seconds=plan.seconds,
                batch=batch,
                backup_path=None if setup.backups_path is None else f"{setup.backups_path}/{job.trial_id}",
                on_epoch=told,
            )
            break
        except OutOfMemoryError as error:
            if batch <= 1:
                raise
            batch //= 2
            notes.append(f"batch {2 * batch} → {batch}: {error}")
            logger.warning("supernet: batch %d → %d: %s", 2 * batch, batch, error)
        finally:
            keras.utils.clear_session(free_memory=False)
            gc.collect()  # a supernet is many times a trial's network
    return Outcome(
        trial_id=job.trial_id,
        status="completed",
        epochs=len(history),
        history=[dataclasses.asdict(epoch) for epoch in history],
        notes=notes,
    )
