"""Talks to a Kubeflow Pipelines server through kfp's client."""

import contextlib
import dataclasses
import json
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from nasflow.core.errors import NasflowError, TryAgainError, UserError
from nasflow_pipelines.schedules import six_fields

_FINAL = ("SUCCEEDED", "SKIPPED", "FAILED", "CANCELED")  # kfp's own wait does not know CANCELED and would never return
_POLL_FAILURES = 10


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Uploaded:
    """A version of a pipeline on the server."""

    pipeline_id: str
    version_id: str
    name: str
    version: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """A recurring run on the server."""

    id: str
    name: str
    cron: str
    """Six fields."""
    enabled: bool
    version_id: str


class Client:
    """One server.

    Args:
        host: ``http(s)://…``; empty: from inside the cluster, ``ml-pipeline`` in `namespace`, or the kube-config.
        token: A bearer token; empty: inside a cluster, the pod's projected service account token if there is one.
        namespace: Of multi-user servers; empty for others.

    Raises:
        TryAgainError: the server cannot be reached.
        UserError: the server refuses the token, or the request.
    """

    def __init__(self, *, host: str = "", token: str = "", namespace: str = "") -> None:
        if host and "://" not in host:
            raise UserError(f"--host: expected http://… or https://…, got {host!r}")
        with _errors(host):
            from kfp import client as kfp_client

            credentials = None
            if not token and Path(kfp_client.KF_PIPELINES_SA_TOKEN_PATH).exists():
                credentials = kfp_client.ServiceAccountTokenVolumeCredentials()
            self._namespace = namespace or None
            self._host = host or "the cluster's ml-pipeline service"
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # "only works with v2.0.0-beta.2 and later": so do we
                self._kfp = _client_class()(
                    host=host or None,
                    existing_token=token or None,
                    credentials=credentials,
                    namespace=namespace or "kubeflow",
                )

    def upload(self, path: Path, *, name: str, version: str) -> Uploaded:
        """Uploads a compiled pipeline: as a new pipeline, or as a new version of the one of that name.

        A version of this name that is already there is the same YAML (see `compiling.version_of`): it is returned.
        """
        with _errors(self._host), _no_links():
            pipeline_id = self._pipeline_id(name)
            if pipeline_id is None:
                pipeline_id = self._kfp.upload_pipeline(
                    str(path), pipeline_name=name, namespace=self._namespace
                ).pipeline_id
                first = self._kfp.list_pipeline_versions(pipeline_id).pipeline_versions[0]
                return Uploaded(
                    pipeline_id=pipeline_id,
                    version_id=first.pipeline_version_id,
                    name=name,
                    version=first.display_name,
                )
            made = self._version(pipeline_id, version) or self._kfp.upload_pipeline_version(
                str(path), version, pipeline_id=pipeline_id
            )
            return Uploaded(
                pipeline_id=pipeline_id, version_id=made.pipeline_version_id, name=name, version=made.display_name
            )

    def submit(
        self, uploaded: Uploaded, *, experiment: str, parameters: Mapping[str, Any], service_account: str | None = None
    ) -> str:
        """Starts a run of exactly this version; returns the run's id."""
        with _errors(self._host), _no_links():
            run = self._kfp.run_pipeline(
                experiment_id=self._experiment_id(experiment),
                job_name=f"{uploaded.name} {uploaded.version}",
                pipeline_id=uploaded.pipeline_id,
                version_id=uploaded.version_id,
                params=dict(parameters),
                service_account=service_account,
            )
            return str(run.run_id)

    def wait(self, run_id: str, *, poll_seconds: float, on_state: Callable[[str], None]) -> None:
        """Polls until the run has ended.

        Raises:
            NasflowError: it did not succeed.
        """
        state, failures = "", 0
        while True:
            try:
                with _errors(self._host):
                    run = self._kfp.get_run(run_id)
                failures = 0
            except TryAgainError:  # a server that restarts must not end a wait of hours
                failures += 1
                if failures > _POLL_FAILURES:
                    raise
                time.sleep(poll_seconds)
                continue
            if run.state != state:
                state = run.state
                on_state(state)
            if state in _FINAL:
                break
            time.sleep(poll_seconds)
        if state != "SUCCEEDED":
            detail = f": {run.error.message}" if run.error and run.error.message else ""
            raise NasflowError(f"run {run_id} ended as {state}{detail}; its tasks' logs are in the server's UI")

    def schedule(
        self,
        uploaded: Uploaded,
        *,
        experiment: str,
        cron: str,
        parameters: Mapping[str, Any],
        service_account: str | None = None,
    ) -> Schedule:
        """Runs exactly this version at the times of `cron` (five fields, or KFP's six), one run at a time.

        What was missed while the schedule was paused or the server down is not made up for: a search is expensive.
        """
        expression = six_fields(cron)
        with _errors(self._host), _no_links():
            made = self._kfp.create_recurring_run(
                experiment_id=self._experiment_id(experiment),
                job_name=uploaded.name,
                cron_expression=expression,
                pipeline_id=uploaded.pipeline_id,
                version_id=uploaded.version_id,
                params=dict(parameters),
                no_catchup=True,  # None would mean: make up for all that was missed
                max_concurrency=1,
                service_account=service_account,
            )
        return _schedule(made)

    def schedules(self) -> list[Schedule]:
        """All of them, by name."""
        found: list[Schedule] = []
        page = ""
        while True:
            with _errors(self._host):
                reply = self._kfp.list_recurring_runs(page_token=page, page_size=100, namespace=self._namespace)
            found += [_schedule(each) for each in reply.recurring_runs or []]
            page = reply.next_page_token or ""
            if not page:
                return sorted(found, key=lambda each: (each.name, each.id))

    def change_schedule(self, name_or_id: str, action: Literal["pause", "resume", "delete"]) -> Schedule:
        """Pauses, resumes or deletes one.

        Raises:
            UserError: no schedule, or more than one, has that name.
        """
        known = self.schedules()
        matching = [each for each in known if name_or_id in (each.id, each.name)]
        if len(matching) != 1:
            names = ", ".join(f"{each.name} ({each.id})" for each in matching or known) or "none"
            found = "several schedules have" if matching else "no schedule has"
            raise UserError(f"{found} the name or id {name_or_id!r}; there are: {names}")
        call = {
            "pause": self._kfp.disable_recurring_run,
            "resume": self._kfp.enable_recurring_run,
            "delete": self._kfp.delete_recurring_run,
        }[action]
        with _errors(self._host):
            call(matching[0].id)
        return matching[0]

    def _pipeline_id(self, name: str) -> str | None:
        reply = self._kfp.list_pipelines(namespace=self._namespace, filter=_named(name))
        exact = [each.pipeline_id for each in reply.pipelines or [] if each.display_name == name]
        return str(exact[0]) if exact else None

    def _version(self, pipeline_id: str, name: str) -> Any:
        reply = self._kfp.list_pipeline_versions(pipeline_id, filter=_named(name))
        return next((each for each in reply.pipeline_versions or [] if each.display_name == name), None)

    def _experiment_id(self, name: str) -> str:
        return str(self._kfp.create_experiment(name, namespace=self._namespace).experiment_id)


def _named(name: str) -> str:
    return json.dumps({"predicates": [{"operation": "EQUALS", "key": "display_name", "stringValue": name}]})


def _client_class() -> Any:
    from kfp import Client as Base

    class OneAttempt(Base):
        """kfp repeats a refused health check for 25 seconds, with a traceback each time; once is enough."""

        def get_kfp_healthz(self, sleep_duration: int = 0) -> Any:  # kfp's signature
            return self._healthz_api.healthz_service_get_healthz()

    return OneAttempt


def _schedule(made: Any) -> Schedule:
    reference = made.pipeline_version_reference
    cron = made.trigger.cron_schedule if made.trigger else None
    return Schedule(
        id=made.recurring_run_id,
        name=made.display_name,
        cron=cron.cron if cron else "",
        enabled=made.status == "ENABLED" if made.status else made.mode == "ENABLE",
        version_id=(reference.pipeline_version_id or "") if reference else "",
    )


@contextlib.contextmanager
def _no_links() -> Iterator[None]:
    """Kfp prints links into its own UI; the CLI says what it did itself."""
    import io

    with contextlib.redirect_stdout(io.StringIO()):
        yield


@contextlib.contextmanager
def _errors(host: str) -> Iterator[None]:
    """Server and network errors as nasflow's own."""
    import kfp_server_api
    import urllib3

    try:
        yield
    except kfp_server_api.ApiException as error:
        message = _message(error)
        if error.status in (401, 403):
            raise UserError(
                f"{host}: {error.status} {error.reason}: {message}; pass --token or set KF_PIPELINES_TOKEN"
            ) from error
        if error.status == 429 or error.status >= 500:
            raise TryAgainError(f"{host}: {error.status} {error.reason}: {message}; try again") from error
        raise UserError(f"{host}: {error.status} {error.reason}: {message}") from error
    except (urllib3.exceptions.HTTPError, ConnectionError) as error:
        reason = getattr(error, "reason", None) or error
        raise TryAgainError(
            f"{host or 'KFP'}: cannot be reached ({reason}); check --host (or KF_PIPELINES_ENDPOINT) and try again"
        ) from error


def _message(error: Any) -> str:
    try:
        content = json.loads(error.body)
    except (TypeError, ValueError):
        return str(error.body)[:300]
    return str(content.get("message") or content.get("error") or content)
