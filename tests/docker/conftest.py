"""What these tests need: a Docker daemon and the images. Missing, they are skipped on a laptop and fail in CI."""

import os
from collections.abc import Iterator
from typing import Any, NoReturn

import pytest

from nasflow.core.version import VERSION


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


class _Images(dict[str, Any]):
    """Short name → image, of this version; looked up when a test asks for it."""

    def __init__(self, client: Any) -> None:
        super().__init__()
        self._client = client

    def __missing__(self, name: str) -> Any:
        import docker

        tag = f"nasflow/{name}:{VERSION}"
        try:
            self[name] = self._client.images.get(tag)
        except docker.errors.ImageNotFound:
            _missing(f"image {tag} is not built; `make images` builds it")
        return self[name]


@pytest.fixture(scope="session")
def images(docker_client: Any) -> dict[str, Any]:
    """The images that a test asks for."""
    return _Images(docker_client)
