"""Where the Beam pipelines run: in this process, or as jobs of a runner elsewhere that are watched and cancelled.

A job never hangs: its server must answer, its first worker must begin, it must end, each within a time of its own. All
runners get the same pipelines, and the shards are the same bytes; so the runner is not part of what names the work.
"""

import contextlib
import importlib.util
import logging
import secrets
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

    def run(self, stage: str, build: Build, *, parts: int, beside: str) -> None:
        """Builds a pipeline and runs it to its end.

        Args:
            stage: What it does, for the log.
            build: Adds the transforms to an empty pipeline.
            parts: How many parts of the data there are.
            beside: Marks of progress go beside this URI while the job runs.

        Raises:
            TryAgainError: stopped by a signal, or one of the time limits is over; the job is cancelled.
            NasflowError: the job failed.
        """
        options = PipelineOptions(list(self.flags))
        if self._section.runner == "local":
            # FnApiRunner by name: ``DirectRunner`` would try to download another engine (Prism) first, and with it the
            # same data would run differently where there is a network.
            pipeline = beam.Pipeline(runner=FnApiRunner(), options=options)
            build(pipeline, Progress(stage=stage, uri=None))
            pipeline.run().wait_until_finish()
            return
        folder = join(beside.rpartition("/")[0], "progress", f"{stage}-{secrets.token_hex(4)}")
        progress = Progress(stage=stage, uri=folder)
        pipeline = beam.Pipeline(runner=self._runner(), options=options)
        build(pipeline, progress)
        logger.info("preprocess: %s: submitting %d parts to %s", stage, parts, self._section.runner)
        watch = Watch(progress, parts=parts)
        with contextlib.closing(watch), _library_errors_are_ours(self._section.runner):
            self._wait(pipeline.run(), stage, watch)

    def _runner(self) -> Any:
        from apache_beam.runners.runner import create_runner

        if self._section.options.get("job_endpoint") == EMBED:
            from nasflow.preprocess.embedded import EmbeddedRunner

            return EmbeddedRunner()
        if self._section.runner == "dataflow" and importlib.util.find_spec("apitools") is None:
            raise UserError(
                "preprocess.runner: dataflow needs Beam's Google Cloud extra, which is not installed here; "
                "pip install 'apache-beam[gcp]' of the same version"
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
            _cancel(result, stage)
            raise
        watch.look()
        if failure:
            raise failure[0]


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
    """A runner says everything with a RuntimeError, or with gRPC's own."""
    import grpc

    try:
        yield
    except grpc.FutureTimeoutError as error:
        raise TryAgainError(f"preprocess: the {runner} job server does not answer; run again when it does") from error
    except grpc.RpcError as error:
        raise TryAgainError(
            f"preprocess: the connection to the {runner} job server broke ({str(error)[:500]}); run again"
        ) from error
    except RuntimeError as error:
        raise NasflowError(f"preprocess: the {runner} job failed: {str(error)[-2000:]}") from error
