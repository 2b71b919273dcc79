"""The server's image as a container on loopback, behind a health check; the one before serves until it has passed."""

import contextlib
import os
import time
from collections.abc import Iterator
from typing import Any

from nasflow.core.errors import NasflowError, UserError
from nasflow.core.storage import is_local, local_path
from nasflow.deploy.isvc import Release
from nasflow.deploy.local_server import LocalServer
from nasflow.deploy.spec import DeploySpec
from nasflow.serving.server import LOOPBACK

LABEL = "nasflow.model"

_PORT = 8080
_MOUNT = "/mnt/models"
_POLL_SECONDS = 0.5
_SECOND = 1_000_000_000  # Docker counts nanoseconds
_TAIL_LINES = 20


@contextlib.contextmanager
def container_server(spec: DeploySpec, release: Release) -> Iterator[LocalServer]:
    """Starts the version on a free port and yields it for a check. If the block ends well, the version takes the place
    of the model's earlier container at ``spec.port``, where the yielded server then points; else that one stays.

    Raises:
        UserError: no Docker daemon answers, or the image is not there.
        NasflowError: the container ended, or was not healthy in time; with the end of its log.
    """
    import docker

    image = spec.server_image(release.engine)
    try:
        client = docker.from_env()
        client.ping()
        client.images.get(image)
    except docker.errors.ImageNotFound as error:
        raise UserError(
            f"deploy.target: docker: image {image} is not on this machine; `make images` builds it"
        ) from error
    except docker.errors.DockerException as error:
        raise UserError(
            f"deploy.target: docker: the Docker daemon does not answer ({error}); start it, or use target local"
        ) from error
    try:
        name = f"nasflow-{release.name}"
        _remove(client, f"{name}-candidate")  # of an attempt that was killed
        candidate = _start(client, spec, release, f"{name}-candidate", port=0)
        try:
            server = LocalServer(_healthy(candidate, spec), release.name)
            yield server
        finally:
            candidate.remove(force=True)
        server.url = _replace(client, spec, release, name)
    finally:
        client.close()


def _replace(client: Any, spec: DeploySpec, release: Release, name: str) -> str:
    import docker

    _remove(client, f"{name}-before")
    before = None
    with contextlib.suppress(docker.errors.NotFound):
        before = client.containers.get(name)
        before.rename(f"{name}-before")
        before.stop()
    try:
        url = _healthy(_start(client, spec, release, name, port=spec.port), spec)
    except (NasflowError, docker.errors.APIError) as error:
        _remove(client, name)
        if before is not None:
            before.rename(name)
            before.start()
        if isinstance(error, NasflowError):
            raise
        raise UserError(f"deploy.port: cannot serve at {LOOPBACK}:{spec.port}: {error.explanation}") from error
    _remove(client, f"{name}-before")
    return url


def _start(client: Any, spec: DeploySpec, release: Release, name: str, *, port: int) -> Any:
    bundle, volumes = release.bundle_uri, {}
    if is_local(bundle):
        volumes = {str(local_path(bundle).absolute()): {"bind": _MOUNT, "mode": "ro"}}
        bundle = _MOUNT
    ready = f"http://{LOOPBACK}:{_PORT}/v2/models/{release.name}/ready"
    return client.containers.run(
        spec.server_image(release.engine),
        [
            *("python", "-m", "nasflow.serving", "--bundle", bundle, "--digest", release.bundle_digest),
            *("--version", str(release.version)),
            *("--name", release.name, "--host", "0.0.0.0", "--port", str(_PORT)),  # noqa: S104  # the container's own
        ],
        name=name,
        detach=True,
        labels={LABEL: release.name, "nasflow.version": str(release.version)},
        ports={f"{_PORT}/tcp": (LOOPBACK, port or None)},
        volumes=volumes,
        user=f"{os.getuid()}:{os.getgid()}",  # reads what the caller may read
        read_only=True,
        tmpfs={"/tmp": ""},  # noqa: S108  # the container's
        cap_drop=["ALL"],
        security_opt=["no-new-privileges"],
        healthcheck={
            "test": ["CMD", "python", "-c", f"import urllib.request as u; u.urlopen({ready!r}, timeout=3).read()"],
            "interval": 2 * _SECOND,
            "timeout": 5 * _SECOND,
            "start_period": spec.timeout_seconds * _SECOND,
        },
        restart_policy={"Name": "unless-stopped"} if port else None,
    )


def _healthy(container: Any, spec: DeploySpec) -> str:
    deadline = time.monotonic() + spec.timeout_seconds
    while True:
        container.reload()
        state = container.attrs["State"]
        if state.get("Health", {}).get("Status") == "healthy":
            (binding,) = container.attrs["NetworkSettings"]["Ports"][f"{_PORT}/tcp"]
            return f"http://{LOOPBACK}:{binding['HostPort']}"
        log = "\n".join(container.logs(tail=_TAIL_LINES).decode(errors="replace").splitlines())
        if state["Status"] in ("exited", "dead") or container.attrs["RestartCount"]:
            raise NasflowError(f"deploy: the container ended with code {state['ExitCode']}; its log:\n{log}")
        if time.monotonic() > deadline:
            raise NasflowError(
                f"deploy: the container was not healthy after {spec.timeout_seconds} s; raise deploy.timeout_seconds. "
                f"Its log:\n{log}"
            )
        time.sleep(_POLL_SECONDS)


def _remove(client: Any, name: str) -> None:
    import docker

    with contextlib.suppress(docker.errors.NotFound):
        client.containers.get(name).remove(force=True)
