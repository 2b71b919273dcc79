"""A plain Argo CronWorkflow: the Workflow of `nasflow_pipelines.argo`, started by the clock.

It does what `nasflow schedule` asks of Kubeflow Pipelines: one run at a time, and what was missed is not made up for,
but for one run that is still started a little late. Of Argo 3.6 and later (``schedules``).
"""

import dataclasses
from pathlib import Path
from typing import Any, Literal

from nasflow.core.errors import UserError
from nasflow.core.spec import ExperimentSpec
from nasflow_pipelines import argo, schedules
from nasflow_pipelines.compiling import name_of
from nasflow_pipelines.kinds import PipelineName

Concurrency = Literal["forbid", "replace", "allow"]

_LONGEST_NAME = 52
"""Of a CronWorkflow: Argo appends the time of each run, and a Workflow's name is a label's value."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """When, and what of it is kept.

    Raises:
        UserError: a schedule or time zone that Argo would refuse, or a negative number.
    """

    cron: str
    """Five fields."""
    timezone: str = "Etc/UTC"
    """IANA name. Argo's own default is the time zone of its controller's machine."""
    concurrency: Concurrency = "forbid"
    """What happens while the run before is at work: no other is started; it is ended for the new one; both run."""
    late_minutes: int = 10
    """A run that was missed because the controller was away is still started so late; the last one only."""
    keep_succeeded: int = 3
    """Workflows that ended well, the last ones; older ones are deleted. Documents and models are in the work dir."""
    keep_failed: int = 3
    """The same of those that failed."""

    def __post_init__(self) -> None:
        schedules.five_fields(self.cron)
        schedules.time_zone(self.timezone)
        for name in ("late_minutes", "keep_succeeded", "keep_failed"):
            if getattr(self, name) < 0:
                raise UserError(f"--{name.replace('_', '-')}: must be >= 0, got {getattr(self, name)}")


def cron_workflow(
    experiment: ExperimentSpec, schedule: Schedule, *, work_dir: str | None, pipeline: PipelineName = "automl"
) -> dict[str, Any]:
    """The CronWorkflow object.

    Args:
        experiment: As `nasflow_pipelines.argo.workflow` takes it.
        schedule: When.
        work_dir: Where all of its runs work.
        pipeline: Which one.

    Raises:
        UserError: no work dir, which nobody can name when the clock submits; or a name that is too long.
    """
    if work_dir is None:
        raise UserError("--cron: needs --work-dir, a gs:// prefix: nobody is there to name one when a run is due")
    name = name_of(experiment, pipeline)
    if len(name) > _LONGEST_NAME:
        raise UserError(
            f"name: a schedule on Argo would be called {name!r}, {len(name)} characters, at most {_LONGEST_NAME} can "
            "be; choose a shorter one"
        )
    made = argo.workflow(experiment, work_dir=work_dir, pipeline=pipeline)
    labels = made["metadata"]["labels"]
    return {
        "apiVersion": made["apiVersion"],
        "kind": "CronWorkflow",
        "metadata": {"name": name, "labels": dict(labels)},
        "spec": {
            "schedules": [schedules.five_fields(schedule.cron)],
            "timezone": schedule.timezone,
            "concurrencyPolicy": schedule.concurrency.capitalize(),
            "startingDeadlineSeconds": schedule.late_minutes * 60,
            "successfulJobsHistoryLimit": schedule.keep_succeeded,
            "failedJobsHistoryLimit": schedule.keep_failed,
            "workflowMetadata": {"labels": dict(labels)},
            "workflowSpec": made["spec"],
        },
    }


def compile_to(
    experiment: ExperimentSpec,
    path: Path,
    schedule: Schedule,
    *,
    work_dir: str | None,
    pipeline: PipelineName = "automl",
) -> None:
    """Writes it as YAML, for ``kubectl apply``.

    Raises:
        UserError: as `cron_workflow`; or the file cannot be written, or its name does not end in .yaml.
    """
    argo.write(cron_workflow(experiment, schedule, work_dir=work_dir, pipeline=pipeline), path)
