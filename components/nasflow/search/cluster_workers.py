"""Workers as the pods of a Kubernetes Indexed Job, on (spot) nodes with GPUs; the search is in a pod of its own.

The Job has a pod for each worker and keeps it so: one that is preempted is replaced by Kubernetes, on another node, and
dials in again. Its trial meanwhile goes to the next free worker and on from its last epoch. Three things see to it
that no pod outlives the search: it deletes the Job when it ends, the Job belongs to the search's pod, and pods whose
search cannot be reached end by themselves (`nasflow.search.pod`).
"""

import logging
import math
import signal
import time
from collections.abc import Callable
from typing import Any

from nasflow.core.errors import NasflowError, TryAgainError, UserError
from nasflow.core.spec import LauncherSection
from nasflow.search import meeting
from nasflow.search.channel import Address
from nasflow.search.cluster_jobs import Jobs
from nasflow.search.launcher import Handle
from nasflow.search.meeting import Meeting
from nasflow.search.worker_job import CONTAINER, INDEX_LABEL, STUDY_LABEL, Home, worker_job

logger = logging.getLogger(__name__)

LOOK_SECONDS = 5.0
"""Between two looks at the cluster, however many workers ask."""
_LOOKS_AFTER_A_LOSS = 3


class ClusterWorkers:
    """A `nasflow.search.launcher.Launcher`; to be closed after its pool."""

    def __init__(
        self,
        section: LauncherSection,
        jobs: Jobs,
        *,
        place_uri: str,
        size: int,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """`place_uri`: the study's place, which workers must see.

        Raises:
            UserError: they cannot.
        """
        self._section, self._jobs, self._size, self._clock, self._sleep = section, jobs, size, clock, sleep
        self._home = Home.of(jobs.own_pod())
        self._home.assert_shares(place_uri)
        if ":" in self._home.address:
            raise UserError(
                f"search.launcher.kind: kubernetes: this pod's address is {self._home.address}, and workers dial in by "
                "IPv4 only; set search.launcher.kind: process"
            )
        self._study = place_uri.rstrip("/").rpartition("/")[2]
        self._meeting_uri = f"{place_uri.rstrip('/')}/meeting.json"
        self._job: str | None = None
        self._looked, self._said = -math.inf, set[tuple[str, str]]()
        self._counted = set[str]()

    @property
    def address(self) -> Address:
        """Where the search's pool is to listen: on all of its pod's addresses."""
        return ("0.0.0.0", self._section.port)  # noqa: S104  # the key and a NetworkPolicy say who may come

    def start(self, index: int, address: Address, key: bytes) -> Handle:
        """See `Launcher`. The first call makes the Job with all of its pods; they dial in by themselves."""
        if self._job is None:
            self._make_job(Meeting(connect=f"{self._home.address}:{address[1]}", key=key))
        return _Pod(self, index)

    def close(self) -> None:
        """Ends all workers."""
        meeting.withdraw(self._meeting_uri)
        if self._job is not None:
            self._jobs.delete(self._job)
            self._job = None

    def look(self) -> None:
        """Says why pods do not start, as long as they do not.

        Raises:
            NasflowError: the Job has failed.
        """
        if self._job is None or self._clock() - self._looked < LOOK_SECONDS:
            return
        self._looked = self._clock()
        try:
            job, pods = self._jobs.get(self._job), self._jobs.pods(f"job-name={self._job}")
        except TryAgainError as error:  # the API server is busy: nothing depends on this look
            logger.warning("%s", error)
            return
        for pod in pods:
            if (why := _why_waiting(pod)) and (pod["metadata"]["name"], why) not in self._said:
                self._said.add((pod["metadata"]["name"], why))
                logger.warning("worker pod %s waits: %s", pod["metadata"]["name"], why)
        if job is None:
            raise NasflowError(f"search: job {self._job} is gone: somebody has deleted it; run the same command again")
        for condition in job.get("status", {}).get("conditions", ()):
            if condition["type"] == "Failed" and condition["status"] == "True":
                raise NasflowError(
                    f"search: job {self._job} of its workers has failed: {condition.get('message', 'no reason')}; "
                    f"`kubectl logs -l job-name={self._job}` has what they said"
                )

    def fate(self, index: int) -> int:
        """How the pod of a worker that is gone without a word ended, as `Handle.poll` says it: minus the signal.

        A pod that was killed for its memory is its trial's fault; anything else that happens to pods on spot nodes is
        nobody's, and a trial that never gets on is given up by the engine.
        """
        for _ in range(_LOOKS_AFTER_A_LOSS):
            try:
                ended = self._newly_ended(index)
            except TryAgainError as error:
                logger.warning("%s", error)
                break
            if ended is not None:
                return -signal.SIGKILL if ended.get("reason") == "OOMKilled" else -signal.SIGTERM
            self._sleep(1.0)  # the kubelet tells the API server a little later
        return -signal.SIGTERM

    def _newly_ended(self, index: int) -> dict[str, Any] | None:
        for pod in self._jobs.pods(f"job-name={self._job},{INDEX_LABEL}={index}"):
            name, ended = pod["metadata"]["name"], _terminated(pod)
            if ended is not None and name not in self._counted:
                self._counted.add(name)
                said = (ended.get("reason", "?"), ended.get("exitCode", "?"))
                logger.warning("worker %d: pod %s ended: %s, exit code %s", index, name, *said)
                return ended
        return None

    def _make_job(self, where: Meeting) -> None:
        for old in self._jobs.names(f"{STUDY_LABEL}={self._study}"):
            logger.info("workers of an earlier attempt: deleting job %s", old)
            self._jobs.delete(old)
        meeting.publish(self._meeting_uri, where)
        made = worker_job(self._section, self._home, study=self._study, size=self._size, meeting_uri=self._meeting_uri)
        self._jobs.create(made)
        self._job = made["metadata"]["name"]
        logger.info("search: job %s, %d workers", self._job, self._size, extra={"job": self._job})


class _Pod:
    """One worker, until it is given up; the pods that follow it in the Job are other workers."""

    def __init__(self, workers: ClusterWorkers, index: int) -> None:
        self._workers, self._index = workers, index
        self._code: int | None = None
        self._given_up = False

    def poll(self) -> int | None:
        """See `Handle`: None until it is given up. A pod says itself that it goes; else the lease tells."""
        if self._code is None and self._given_up:
            self._code = self._workers.fate(self._index)
        elif self._code is None:
            self._workers.look()
        return self._code

    def kill(self) -> None:
        """See `Handle`. Its connection is closed: whatever is left of it ends, and dials in anew."""
        self._given_up = True


def _terminated(pod: dict[str, Any]) -> dict[str, Any] | None:
    for status in pod.get("status", {}).get("containerStatuses", ()):
        if status["name"] == CONTAINER and "terminated" in status.get("state", {}):
            ended: dict[str, Any] = status["state"]["terminated"]
            return ended
    return None


def _why_waiting(pod: dict[str, Any]) -> str:
    """Empty where it does not wait, or only for its turn."""
    status = pod.get("status", {})
    if status.get("phase") != "Pending":
        return ""
    for condition in status.get("conditions", ()):
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            return f"{condition.get('reason', '')}: {condition.get('message', '')}"
    for each in status.get("containerStatuses", ()):
        waiting = each.get("state", {}).get("waiting", {})
        if waiting.get("reason", "ContainerCreating") != "ContainerCreating":
            return f"{waiting['reason']}: {waiting.get('message', '')}"
    return ""
