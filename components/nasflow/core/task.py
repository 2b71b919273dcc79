"""What surrounds a step that runs as a task of a pipeline: its record in ``work_dir``, its signals, its owner.

A record, ``work_dir/runs/<run_id>/<step>.json``, says how the task ended and where its document is. The one who
started the run trusts records, not an orchestrator's word: kfp's local runner can report success for a container that
failed.
"""

import contextlib
import json
import logging
import os
import signal
import threading
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Literal, TypeVar

from pydantic import BaseModel, ConfigDict

from nasflow.core import log
from nasflow.core.artifacts import Document
from nasflow.core.errors import (
    EXIT_FAILURE,
    EXIT_OK,
    EXIT_TRY_AGAIN,
    EXIT_USER,
    NasflowError,
    TryAgainError,
    full_disk_is_try_again,
)
from nasflow.core.storage import absolute, join, storage_for

logger = logging.getLogger(__name__)

D = TypeVar("D", bound=Document)

OWNER_VARIABLE = "NASFLOW_OWNER_PID"
"""Set by a local run: a task ends itself when that process is gone, so that ``kill -9`` leaves no orphan behind."""

_OWNER_POLL_SECONDS = 0.5


class TaskRecord(BaseModel):
    """How one task of a run ended."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    step: str
    status: Literal["succeeded", "failed"]
    exit_code: int
    error: str = ""
    document_uri: str = ""
    document_digest: str = ""
    seconds: float = 0.0
    cpu_seconds: float = 0.0


class Task:
    """A running task; `done` hands over its document."""

    def __init__(self) -> None:
        self.document: Document | None = None

    def done(self, document: D) -> D:
        """Notes the document that the record will name."""
        self.document = document
        return document


def record_uri(work_dir: str, run_id: str, step: str) -> str:
    """Where a task's record is."""
    return join(absolute(work_dir), "runs", run_id, f"{step}.json")


def read_record(work_dir: str, run_id: str, step: str) -> TaskRecord | None:
    """The record, or None where the task has not ended."""
    uri = record_uri(work_dir, run_id, step)
    storage = storage_for(uri)
    return TaskRecord.model_validate(json.loads(storage.read(uri))) if storage.exists(uri) else None


@contextlib.contextmanager
def task(step: str, *, work_dir: str, run_id: str) -> Iterator[Task]:
    """Runs the block as a task: logs, stops at SIGTERM or when its owner dies, and leaves a record.

    Raises:
        SystemExit: with the error's exit code (see `nasflow.core.errors`), after one clear message.
    """
    log.set_up()
    stop_on_signals()
    if owner := os.environ.get(OWNER_VARIABLE):
        _end_with(int(owner))
    current = Task()
    started = time.monotonic()
    logger.info("%s: started", step, extra={"step": step, "event": "started", "pid": os.getpid()})
    with _storage_errors_are_users(step, work_dir, run_id):
        try:
            with full_disk_is_try_again():
                yield current
            if current.document is None:
                raise RuntimeError(f"{step}: the task ended without a document")  # a defect of ours: fail loudly
        except NasflowError as error:
            failed = TaskRecord(step=step, status="failed", exit_code=error.exit_code, error=str(error))
            # The record's own place may be what is full; a permission is said below.
            with contextlib.suppress(TryAgainError), full_disk_is_try_again():
                _record(work_dir, run_id, failed)
            logger.error("%s: %s", step, error, extra={"step": step, "event": "failed", "exit_code": error.exit_code})
            raise SystemExit(error.exit_code) from None
        except PermissionError:
            raise
        except Exception as error:
            message = f"{type(error).__name__}: {error}\n{traceback.format_exc(limit=-4)}"
            _record(work_dir, run_id, TaskRecord(step=step, status="failed", exit_code=EXIT_FAILURE, error=message))
            raise
        document = current.document
        _record(
            work_dir,
            run_id,
            TaskRecord(
                step=step,
                status="succeeded",
                exit_code=EXIT_OK,
                document_uri=document.uri,
                document_digest=document.digest,
                seconds=document.seconds,
                cpu_seconds=document.cpu_seconds,
            ),
        )
        took = time.monotonic() - started
        logger.info("%s: done in %.1f s", step, took, extra={"step": step, "event": "done", "seconds": took})


def stop_on_signals() -> None:
    """SIGTERM and SIGINT become a `TryAgainError` at the next bytecode of the main thread; only the first counts."""

    def stop(number: int, _frame: FrameType | None) -> None:
        for each in (signal.SIGTERM, signal.SIGINT):
            signal.signal(each, signal.SIG_IGN)  # a second one must not cut the clean-up that the first began
        raise TryAgainError(
            f"stopped by {signal.Signals(number).name}; run the same command again to go on (exit {EXIT_TRY_AGAIN})"
        )

    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, stop)
        signal.signal(signal.SIGINT, stop)


@contextlib.contextmanager
def _storage_errors_are_users(step: str, work_dir: str, run_id: str) -> Iterator[None]:
    """A missing permission, even while writing the record, still ends in one clear message."""
    try:
        yield
    except PermissionError as error:
        message = f"{error.filename or work_dir}: permission denied; give this user the right, or name another"
        with contextlib.suppress(OSError):  # the record's own place may be the one that is refused
            _record(work_dir, run_id, TaskRecord(step=step, status="failed", exit_code=EXIT_USER, error=message))
        logger.error("%s: %s", step, message, extra={"step": step, "event": "failed", "exit_code": EXIT_USER})
        raise SystemExit(EXIT_USER) from error


def _record(work_dir: str, run_id: str, record: TaskRecord) -> None:
    uri = record_uri(work_dir, run_id, record.step)
    storage_for(uri).write(uri, record.model_dump_json(indent=1).encode())


def _end_with(owner: int) -> None:
    """Ends this process and all that it started once `owner` is gone."""
    if os.getpid() != os.getpgrp():  # a group of its own: the owner's terminal and the step's helpers stay apart
        os.setpgid(0, 0)

    def watch() -> None:
        while _alive(owner):
            time.sleep(_OWNER_POLL_SECONDS)
        os.killpg(os.getpgrp(), signal.SIGKILL)

    threading.Thread(target=watch, name="owner-watch", daemon=True).start()


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:  # no /proc (macOS), or gone since
        return True
    return state != "Z"  # killed, but nobody has collected its exit status yet
