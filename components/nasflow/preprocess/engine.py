"""Where the Beam pipelines run: in this process, or as jobs of a runner elsewhere that are watched and cancelled.

A job never hangs: its server must answer, its first worker must begin, it must end, each within a time of its own. All
runners get the same pipelines, and the shards are the same bytes; so the runner is not part of what names the work.
"""

import contextlib
import errno
import importlib.util
import logging
import re
import secrets
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from nasflow.core.errors import NasflowError, SpecError, TryAgainError, UserError
from nasflow.core.spec import PreprocessSection
from nasflow.core.storage import is_local, join
from nasflow.preprocess import options as beam_options
from nasflow.preprocess.options import EMBED
from nasflow.preprocess.progress import Progress, Watch

logger = logging.getLogger(__name__)

Build: TypeAlias = Callable[[Any, Progress], None]

_CLASSES = {
    "portable": "PortableRunner",
    "flink": "FlinkRunner",
    "spark": "SparkRunner",
    "dataflow": "DataflowRunner",
}
_POLL_SECONDS = 1.0
_CANCEL_SECONDS = 30.0


class Engine:
    """Runs pipelines as the spec's `preprocess` section says."""

    def __init__(self, section: PreprocessSection, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Checks the options; the time limit of all jobs together begins.

        Raises:
            SpecError: an option that Beam does not know, or a value that it does not take.
            TryAgainError: the job server does not answer.
        """
        self._section, self._clock = section, clock
        self._deadline = clock() + 60 * section.timeout_minutes
        self.flags: tuple[str, ...] = beam_options.flags(section)

    def check_places(self, uris: Sequence[str]) -> None:
        """Refuses what the workers of a cloud service cannot see.

        Raises:
            SpecError: a local path.
        """
        local = next((uri for uri in uris if is_local(uri)), None)
        if self._section.runner == "dataflow" and local is not None:
            raise SpecError(
                [f"preprocess.runner: dataflow's workers cannot see {local!r}; put data and work_dir under gs://"]
            )

    def run(self, stage: str, build: Build, *, parts: int, beside: str, rows: int | None = None) -> None:
        """Builds a pipeline and runs it to its end.

        Args:
            stage: What it does, for the log.
            build: Adds the transforms to an empty pipeline.
            parts: How many parts of the data there are.
            beside: Marks of progress go beside this URI while the job runs; those of workers in this process go to
                a temporary folder of this machine.
            rows: How many rows there are, where that is known.

        Raises:
            TryAgainError: stopped by a signal, or one of the time limits is over; the job is cancelled.
            NasflowError: the job failed.
        """
        if self._section.runner == "local":
            self._run_here(stage, build, parts=parts, rows=rows)
            return
        folder = join(beside.rpartition("/")[0], "progress", f"{stage}-{secrets.token_hex(4)}")
        progress = Progress(stage=stage, uri=folder)
        pipeline = beam.Pipeline(runner=self._runner(), options=PipelineOptions(list(self.flags)))
        build(pipeline, progress)
        logger.info("preprocess: %s: submitting %d parts to %s", stage, parts, self._section.runner)
        watch = Watch(progress, parts=parts, rows=rows)
        with contextlib.closing(watch), _library_errors_are_ours(self._section.runner):
            self._wait(pipeline.run(), stage, watch)

    def _run_here(self, stage: str, build: Build, *, parts: int, rows: int | None) -> None:
        # FnApiRunner by name: ``DirectRunner`` would try to download another engine (Prism) first, and with it the
        # same data would run differently where there is a network.
        pipeline = beam.Pipeline(runner=FnApiRunner(), options=PipelineOptions(list(self.flags)))
        with tempfile.TemporaryDirectory(prefix="nasflow-progress-") as folder:
            progress = Progress(stage=stage, uri=folder)
            build(pipeline, progress)
            with _library_errors_are_ours("local"), _said_once(), Watch(progress, parts=parts, rows=rows).looking():
                pipeline.run().wait_until_finish()

    def _runner(self) -> Any:
        from apache_beam.runners.runner import create_runner

        if self._section.options.get("job_endpoint") == EMBED:
            from nasflow.preprocess.embedded import EmbeddedRunner

            return EmbeddedRunner()
        if self._section.runner == "dataflow" and importlib.util.find_spec("apitools") is None:
            raise UserError(
                "preprocess.runner: dataflow needs Beam's Google Cloud extra, which is not installed here; "
                "pip install 'apache-beam[gcp]' of the same version (the extra `dataflow`, or the image beam-sdk)"
            )
        return create_runner(_CLASSES[self._section.runner])

    def _wait(self, result: Any, stage: str, watch: Watch) -> None:
        ended = threading.Event()
        failure: list[BaseException] = []

        def follow() -> None:
            try:
                result.wait_until_finish()
            except BaseException as error:  # noqa: BLE001  # handed to the thread that waits
                failure.append(error)
            finally:
                ended.set()

        threading.Thread(target=follow, name="beam-job", daemon=True).start()
        first_worker = min(self._deadline, self._clock() + 60 * self._section.start_minutes)
        try:
            while not ended.wait(_POLL_SECONDS):
                begun = watch.look().begun
                if self._clock() > self._deadline:
                    raise TryAgainError(
                        f"preprocess: {stage} did not end within preprocess.timeout_minutes = "
                        f"{self._section.timeout_minutes:g}, and its job was cancelled; raise it, or add workers"
                    )
                if not begun and self._clock() > first_worker:
                    raise TryAgainError(
                        f"preprocess: {stage}: no worker has begun within preprocess.start_minutes = "
                        f"{self._section.start_minutes:g}, and the job was cancelled; is there a free worker, does the "
                        "worker pool's `python` have Beam and nasflow, and does it see work_dir?"
                    )
        except BaseException:
            watch.cancel()
            _cancel(result, stage)
            raise
        if failure:
            raise failure[0]
        watch.look(last=True)


def _cancel(result: Any, stage: str) -> None:
    """Tells the runner; waits for its answer, but not for ever."""
    answered = threading.Event()

    def cancel() -> None:
        try:
            result.cancel()
            logger.info("preprocess: %s: the job was cancelled", stage)
        except Exception:
            logger.exception("preprocess: %s: the job could not be cancelled; look at the runner's own console", stage)
        finally:
            answered.set()

    threading.Thread(target=cancel, name="beam-cancel", daemon=True).start()
    if not answered.wait(_CANCEL_SECONDS):
        logger.error("preprocess: %s: the runner did not answer to cancel within %d s", stage, _CANCEL_SECONDS)


@contextlib.contextmanager
def _library_errors_are_ours(runner: str) -> Iterator[None]:
    """A runner says everything with a RuntimeError, or with gRPC's own; in this process, of the DoFn's own error."""
    import grpc

    try:
        yield
    except grpc.FutureTimeoutError as error:
        raise TryAgainError(f"preprocess: the {runner} job server does not answer; run again when it does") from error
    except grpc.RpcError as error:
        raise TryAgainError(
            f"preprocess: the connection to the {runner} job server broke ({str(error)[:500]}); run again"
        ) from error
    except OSError as error:
        if (ours := of_the_machine(str(error))) is not None:
            raise ours from error
        raise
    except RuntimeError as error:
        if (ours := of_the_machine(str(error))) is not None:
            raise ours from error
        if runner == "local":  # a defect of ours: fail loudly, with the stack
            raise
        raise NasflowError(f"preprocess: the {runner} job failed: {str(error)[-2000:]}") from error


@contextlib.contextmanager
def _said_once() -> Iterator[None]:
    """Workers in this process log the stack of an error that they then raise: not what a full disk should look like."""
    workers = logging.getLogger("apache_beam.runners")
    before = workers.level
    workers.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        workers.setLevel(before)


_ERRNO = re.compile(r"\[Errno (\d+)\] .*")


def of_the_machine(message: str) -> NasflowError | None:
    """What is no defect, in a worker's words: a full disk, a missing permission.

    >>> of_the_machine("OSError: [Errno 28] No space left on device [while running 'ParDo(_Transform)']").exit_code
    75
    """
    for found in _ERRNO.finditer(message):
        said = found[0].partition(" [while running")[0]
        if int(found[1]) in (errno.ENOSPC, errno.EDQUOT):
            return TryAgainError(f"preprocess: {said}; make room in work_dir, then run again: what is there is used")
        if int(found[1]) in (errno.EACCES, errno.EPERM, errno.EROFS):
            return UserError(
                f"preprocess: {said}; the user who runs the workers needs the right, or name another place"
            )
    return None
