"""Beam's job server inside this process, with one change: a job that hangs does not keep the process from ending.

Beam runs the job in a thread that Python waits for at exit, and `cancel` only sets its state: a worker that never
answers would hold the process for ever.
"""

import threading
from typing import Any

from apache_beam.portability.api import beam_job_api_pb2
from apache_beam.runners.portability.local_job_service import BeamJob, LocalJobServicer
from apache_beam.runners.portability.portable_runner import PortableRunner


class _Job(BeamJob):
    def run(self) -> None:
        self.set_state(beam_job_api_pb2.JobState.STARTING)
        self._run_thread = threading.Thread(target=self._run_job, name="beam-embedded-job", daemon=True)
        self._run_thread.start()


class EmbeddedRunner(PortableRunner):
    """`PortableRunner` with ``--job_endpoint=embed``."""

    def create_job_service(self, options: Any) -> Any:
        """A job server of our own; the endpoint in `options` is not looked at."""
        return self.create_job_service_handle(LocalJobServicer(beam_job_type=_Job), options)
