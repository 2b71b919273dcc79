"""Runs the pipeline here, with kfp's local runner: in subprocesses, or in containers."""

import contextlib
import datetime as dt
import fcntl
import importlib.util
import logging
import os
import secrets
import shutil
import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Literal

from nasflow.core import spec_file, storage
from nasflow.core.artifacts import Document
from nasflow.core.errors import (
    EXIT_FAILURE,
    EXIT_OK,
    EXIT_TRY_AGAIN,
    SpecError,
    TryAgainError,
    full_disk_is_try_again,
)
from nasflow.core.spec import ExperimentSpec
from nasflow.core.task import OWNER_VARIABLE, TaskRecord, read_record
from nasflow_pipelines.console import Console
from nasflow_pipelines.kinds import AUTOML, Kind
from nasflow_pipelines.report import write_results
from nasflow_pipelines.summary import Failure, Summary, summarise

RunnerName = Literal["subprocess", "docker"]

EXIT_INTERRUPTED = 130


def check(experiment: ExperimentSpec, *, file: Path, output: str, work_dir: str) -> None:
    """Finds what can be found before anything runs: names, the data's header, and whether results can be written.

    Raises:
        UserError: with every mistake that was found.
    """
    check_inputs(experiment, file=file)
    storage.assert_writable(work_dir)
    storage.assert_writable(output)


def check_inputs(experiment: ExperimentSpec, *, file: Path) -> None:
    """Looks up the names of space and strategy, and reads the head of the data.

    Raises:
        SpecError: a name is unknown; the data is missing, empty, of an unknown form, or lacks the label. Each mistake
            with its line in `file`.
    """
    from nasflow.preprocess import header
    from nasflow.spaces.registry import check_space
    from nasflow.strategies.registry import check_strategy

    problems = list(header.check(experiment.data, experiment.task))
    try:
        check_space(experiment.search.space, experiment.task, experiment.search.space_settings)
    except SpecError as error:
        problems += error.problems
    try:
        check_strategy(experiment.search.strategy, experiment.search.settings, space=experiment.search.space)
    except SpecError as error:
        problems += error.problems
    problems += _unfound_modules(experiment)
    if problems:
        raise SpecError([spec_file.located(problem, file) for problem in problems])


def _unfound_modules(experiment: ExperimentSpec) -> list[str]:
    """Of ``package.module:name``: a module that is not there would end the run only after the data were read. The tasks
    are started in this folder, so modules beside the user are found, too."""
    found = []
    for key, name in (("search.space", experiment.search.space), ("search.strategy", experiment.search.strategy)):
        module = name.partition(":")[0] if isinstance(name, str) and ":" in name else ""
        if not module:
            continue
        top = module.partition(".")[0]
        there = importlib.util.find_spec(top) is not None or (Path(top).is_dir() or Path(f"{top}.py").is_file())
        if not there:
            found.append(
                f"{key}: no module {top!r} for {name!r}; run from the folder that holds {top}.py, or put that folder "
                "on PYTHONPATH"
            )
    return found


def run(
    experiment: ExperimentSpec, *, output: str, work_dir: str, runner: RunnerName = "subprocess", kind: Kind = AUTOML
) -> tuple[int, Summary]:
    """Runs all steps; finished ones are reused. Leaves summary, report and documents in `output`.

    Args:
        experiment: What to run; already checked (see `check`).
        output: A local folder.
        work_dir: A local folder or ``gs://`` prefix; the same one again goes on where the last run stopped.
        runner: Where tasks run.
        kind: Which pipeline.

    Returns:
        The exit code (see `nasflow.core.errors`; 130 after Ctrl-C), and the summary that was written.

    Raises:
        UserError: the Docker daemon or an image is missing.
    """
    folder = Path(output).resolve()
    work_dir = storage.absolute(work_dir)
    run_id = f"{dt.datetime.now(dt.UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"
    experiment = _with_absolute_paths(experiment)
    with (
        full_disk_is_try_again(),
        _alone(folder),
        _pipeline_root(folder) as root,
        contextlib.closing(Console(folder / "run.log", sys.stderr)) as console,
    ):
        (folder / "summary.json").unlink(missing_ok=True)  # of an earlier run: it would look like this one's
        started = time.monotonic()
        console.say(f"{experiment.name}: {experiment.task}, {experiment.data.train} → {folder}")
        interrupted, problem = _execute(
            experiment, kind, work_dir=work_dir, run_id=run_id, runner=runner, root=root, console=console
        )
        records = _records(kind, work_dir, run_id)
        documents = _collect(kind, records, folder / "documents")
        failure = _failure(kind, records, interrupted, problem, console=console)
        summary = summarise(experiment, documents, failure=failure)
        write_results(folder, summary, documents)
        ended = "stopped" if interrupted is not None and failure else summary.status
        console.say(f"{experiment.name}: {ended} after {time.monotonic() - started:.0f} s")
    return (failure.exit_code if failure else EXIT_OK), summary


def _execute(
    experiment: ExperimentSpec,
    kind: Kind,
    *,
    work_dir: str,
    run_id: str,
    runner: RunnerName,
    root: Path,
    console: Console,
) -> tuple[signal.Signals | None, str]:
    """The kfp run itself; returns the signal that ended it, if one did, and kfp's complaint, if it has one."""
    from nasflow_pipelines.runners import make_runner, signal_containers

    chosen = make_runner(runner, experiment, work_dir=work_dir, run_id=run_id)
    from kfp import local

    # kfp removes workspace_root after the run, whatever is in it: give it a folder of its own
    local.init(runner=chosen, pipeline_root=str(root), workspace_root=str(root / "workspace"))
    (root / "workspace").mkdir()
    pipeline = kind.build(experiment, run_id=run_id, cluster=False)

    def stop_task() -> None:
        if console.pid is None:
            raise KeyboardInterrupt  # between two tasks, or one that still imports: nothing to save
        if runner == "docker":
            signal_containers(run_id, console.pid)
        else:
            with contextlib.suppress(ProcessLookupError):
                os.kill(console.pid, signal.SIGTERM)

    os.environ[OWNER_VARIABLE] = str(os.getpid())
    with _forward_signals(stop_task, console) as caught, contextlib.redirect_stdout(console), _quiet():
        try:
            pipeline(work_dir=work_dir)
        except KeyboardInterrupt:
            return (caught[0] if caught else signal.SIGINT), ""
        except Exception as error:  # noqa: BLE001  # kfp raises RuntimeError for a failed task: the records say more
            return (caught[0] if caught else None), f"{type(error).__name__}: {error}"
        finally:
            os.environ.pop(OWNER_VARIABLE, None)
            if runner == "docker":
                signal_containers(run_id, None)
    return (caught[0] if caught else None), ""


@contextlib.contextmanager
def _forward_signals(stop_task: Callable[[], None], console: Console) -> Iterator[list[signal.Signals]]:
    """The first Ctrl-C or SIGTERM asks the running task to save and stop; the second ends at once."""
    caught: list[signal.Signals] = []

    def handle(number: int, _frame: FrameType | None) -> None:
        caught.append(signal.Signals(number))
        if len(caught) > 1:
            raise KeyboardInterrupt
        console.say(f"stopping {console.step or 'the run'}: it saves its work first; once more to end it at once")
        stop_task()

    before = {each: signal.signal(each, handle) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield caught
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Images named ``nasflow/…`` make kfp warn that a subprocess is not a container; it is the choice made here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        root = logging.getLogger()
        handlers, level = root.handlers[:], root.level
        root.handlers[:] = [logging.StreamHandler(sys.stdout)]
        try:
            yield
        finally:
            root.handlers[:], root.level = handlers, level


def _records(kind: Kind, work_dir: str, run_id: str) -> dict[str, TaskRecord]:
    found = {step: read_record(work_dir, run_id, step) for step in (*kind.steps, *kind.instead)}
    return {step: record for step, record in found.items() if record is not None}


def _collect(kind: Kind, records: dict[str, TaskRecord], folder: Path) -> dict[str, Document]:
    """Copies the documents' small files, so that the folder tells the whole story without ``work_dir``."""
    shutil.rmtree(folder, ignore_errors=True)
    documents: dict[str, Document] = {}
    for step, document in kind.steps.items():
        record = records.get(step)
        if record is not None and record.status == "succeeded":
            documents[step] = document.read(record.document_uri).copy_to(str(folder / step))
    return documents


def _failure(
    kind: Kind,
    records: dict[str, TaskRecord],
    interrupted: signal.Signals | None,
    problem: str,
    *,
    console: Console,
) -> Failure | None:
    """Judges by the records alone; what kfp says only explains."""
    failed = next((record for record in records.values() if record.status == "failed"), None)
    step = failed.step if failed else _missing(kind, records)
    if interrupted is not None and step is not None:
        code = EXIT_INTERRUPTED if interrupted is signal.SIGINT else EXIT_TRY_AGAIN
        message = f"stopped by {interrupted.name}; run the same command again to go on from {step}"
        return Failure(step=step, message=message, exit_code=code)
    if failed:
        message = failed.error.removeprefix(f"{failed.step}: ")
        return Failure(step=failed.step, message=message, exit_code=failed.exit_code)
    if step is None:
        return None
    console.flush()
    last = "\n".join(f"    {line}" for line in console.tail) or f"    {problem or 'nothing was printed'}"
    message = f"it ended without leaving a record (killed, or out of memory?). Its last lines:\n{last}"
    return Failure(step=step, message=f"{message}\n  All of them: {console.log_path}", exit_code=EXIT_FAILURE)


def _missing(kind: Kind, records: dict[str, TaskRecord]) -> str | None:
    """The first step that should have left a record and did not."""
    left_out = {step for task, steps in kind.instead.items() if task in records for step in steps}
    return next((step for step in kind.steps if step not in records and step not in left_out), None)


def _with_absolute_paths(experiment: ExperimentSpec) -> ExperimentSpec:
    """Local data and earlier searches by absolute path: a container starts in another folder."""

    def absolute(uri: str | None) -> str | None:
        return uri if uri is None or ":" in uri.split("/")[0] else str(Path(uri).expanduser().absolute())

    data = experiment.data.model_copy(
        update={"train": absolute(experiment.data.train), "test": absolute(experiment.data.test)}
    )
    warm = tuple(str(absolute(uri)) for uri in experiment.search.warm_start)
    search = experiment.search.model_copy(update={"warm_start": warm})
    return experiment.model_copy(update={"data": data, "search": search})


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Two runs at once would overwrite each other's log and results; below `work_dir` they wait for each other.

    Raises:
        TryAgainError: another run writes there. Its end, however it comes, opens the folder again.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise TryAgainError(
                f"--output {folder}: another run is writing its results there; wait until it has ended, or name "
                "another folder (with the same --work-dir it shares the finished work)"
            ) from error
        yield


@contextlib.contextmanager
def _pipeline_root(folder: Path) -> Iterator[Path]:
    """A private folder for kfp's own files, removed in the end; one left by a killed run goes too."""
    for left in folder.glob(".kfp-*"):
        if not Path(f"/proc/{left.name.removeprefix('.kfp-')}").exists():
            shutil.rmtree(left, ignore_errors=True)
    root = folder / f".kfp-{os.getpid()}"
    root.mkdir(parents=True)
    try:
        yield root
    finally:
        shutil.rmtree(root, ignore_errors=True)
