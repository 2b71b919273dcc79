"""What these tests need: a Docker daemon and the images. Missing, they are skipped on a laptop and fail in CI."""

import os
from collections.abc import Iterator
from typing import Any, NoReturn

import pytest

from nasflow.core.version import VERSION

IMAGES = ("beam", "trainer", "ops", "server")


def _missing(what: str) -> NoReturn:
    if os.environ.get("CI", "").lower() in {"1", "true"}:
        pytest.fail(f"{what}; CI must run the Docker tests", pytrace=False)
    pytest.skip(what)


@pytest.fixture(scope="session")
def docker_client() -> Iterator[Any]:
    """A client of the running daemon."""
    import docker

    try:
        client = docker.from_env(timeout=300)
        client.ping()
    except docker.errors.DockerException as error:
        _missing(f"no Docker daemon answers ({error}); containers/start-docker.sh starts one")
    yield client
    client.close()


@pytest.fixture(scope="session")
def images(docker_client: Any) -> dict[str, Any]:
    """Short name → image, of this version."""
    import docker

    found = {}
    for name in IMAGES:
        try:
            found[name] = docker_client.images.get(f"nasflow/{name}:{VERSION}")
        except docker.errors.ImageNotFound:
            _missing(f"image nasflow/{name}:{VERSION} is not built; `make images` builds it")
    return found
