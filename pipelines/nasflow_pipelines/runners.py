"""kfp's two local runners, set up."""

import contextlib
import os
from pathlib import Path
from typing import Any

from nasflow.core.errors import UserError
from nasflow.core.spec import ExperimentSpec, ResourcesSection
from nasflow.core.storage import is_local, local_path
from nasflow_pipelines.resources import deploy_image

_LABEL = "nasflow.run"
_IMAGES = ("beam", "trainer", "ops")  # and deploy's


def make_runner(name: str, experiment: ExperimentSpec, *, work_dir: str, run_id: str) -> Any:
    """A `kfp.local` runner.

    Raises:
        UserError: the Docker daemon does not answer, or an image is not built.
    """
    from kfp import local

    if name == "subprocess":
        return local.SubprocessRunner(use_venv=False)
    _check_docker(experiment.resources, (*_IMAGES, deploy_image(experiment.deploy)))
    from docker.types import Mount

    sources = _sources(experiment)
    mounts = [Mount(path, path, type="bind", read_only=True) for path in sources]
    if is_local(work_dir):
        local_path(work_dir).mkdir(parents=True, exist_ok=True)
        mounts.append(Mount(work_dir, work_dir, type="bind"))
    registry = experiment.register_.uri
    if registry and is_local(registry):
        path = str(local_path(registry).expanduser().absolute())
        Path(path).mkdir(parents=True, exist_ok=True)
        mounts.append(Mount(path, path, type="bind"))
    mirrored = experiment.register_.server is not None  # a server to speak to
    local_only = is_local(work_dir) and is_local(registry or "") and not _remote(experiment) and not mirrored
    return local.DockerRunner(
        user=f"{os.getuid()}:{os.getgid()}",  # files on the host stay the caller's own
        mounts=mounts,
        network_mode="none" if local_only else "host",  # `host` reaches an emulator on loopback, too
        shm_size="1g",
        labels={_LABEL: run_id},
        environment={"HOME": "/tmp", "MPLCONFIGDIR": "/tmp/matplotlib", **_passed_on()},  # noqa: S108  # the container's
    )


def signal_containers(run_id: str, pid: int | None) -> None:
    """Ends the run's containers: with the task's `pid`, by a SIGTERM that lets it save its work; without, at once.

    The signal goes to the process itself: a container's first process is a shell, which would not pass it on.
    """
    import docker

    client = docker.from_env()
    try:
        for container in client.containers.list(filters={"label": f"{_LABEL}={run_id}"}):
            with contextlib.suppress(docker.errors.APIError):  # it ended in this moment
                container.kill() if pid is None else container.exec_run(["sh", "-c", f"kill -TERM {pid}"])
    finally:
        client.close()


def _check_docker(resources: ResourcesSection, needed: tuple[str, ...]) -> None:
    import docker

    try:
        client = docker.from_env()
        client.ping()
    except docker.errors.DockerException as error:
        raise UserError(
            f"--runner docker: the Docker daemon does not answer ({error}); start it, or use --runner subprocess"
        ) from error
    try:
        names = (image.tags + (image.attrs.get("RepoDigests") or []) for image in client.images.list())
        there = set().union(*names)
    finally:
        client.close()
    if missing := [tag for name in needed if (tag := resources.image(name)) not in there]:
        raise UserError(f"--runner docker: image {', '.join(missing)} is not on this machine; `make images` builds it")


def _sources(experiment: ExperimentSpec) -> list[str]:
    """Local folders that hold the data and earlier searches: of a file or a glob, the folder above it; of a folder,
    itself."""
    folders: list[Path] = []
    for uri in _uris(experiment):
        if uri is None or uri.startswith("sample:") or not is_local(uri):
            continue
        path = local_path(uri)
        while any(sign in path.name for sign in "*?[") or any(sign in str(path.parent) for sign in "*?["):
            path = path.parent
        folders.append(path if path.is_dir() else path.parent)
    return sorted({str(folder) for folder in folders})


def _remote(experiment: ExperimentSpec) -> bool:
    return any(uri is not None and not is_local(uri) and not uri.startswith("sample:") for uri in _uris(experiment))


def _uris(experiment: ExperimentSpec) -> tuple[str | None, ...]:
    return experiment.data.train, experiment.data.test, *experiment.search.warm_start


def _passed_on() -> dict[str, str]:
    """Settings of the caller that decide how fast and how repeatably a task computes, or where storage is."""
    names = ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "STORAGE_EMULATOR_HOST")
    return {name: os.environ[name] for name in names if name in os.environ}
