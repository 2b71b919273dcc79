"""Target `docker`: the server's image on loopback; the container before serves until the next has passed."""

import dataclasses
import json
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.unit.conftest import handmade_bundle  # noqa: F401  # the fixture

from nasflow.core.artifacts import External, RegisteredModel, bundle_digest
from nasflow.core.errors import NasflowError
from nasflow.core.version import VERSION
from nasflow.deploy import step
from nasflow.deploy.container import LABEL, container_server
from nasflow.deploy.isvc import Release
from nasflow.deploy.smoke import bundle_rows, compare
from nasflow.deploy.spec import DeploySpec
from nasflow.registry._base import Draft
from nasflow.registry.file import FileRegistry
from nasflow.serving import engines

pytestmark = [pytest.mark.docker, pytest.mark.slow]

NAME = "nasflow-deploy-test"
SPEC = DeploySpec(target="docker", port=0, timeout_seconds=120)


@pytest.fixture
def containers(docker_client: Any, images: dict[str, Any]) -> Iterator[Callable[[], dict[str, Any]]]:
    def found() -> dict[str, Any]:
        all_of_them = docker_client.containers.list(all=True, filters={"label": f"{LABEL}={NAME}"})
        return {each.name: each for each in all_of_them}

    yield found
    for each in found().values():
        each.remove(force=True)


def release(version: int, bundle: Path) -> Release:
    paths = [path for path in bundle.rglob("*") if path.is_file()]
    files = {path.relative_to(bundle).as_posix(): External.of(str(path)) for path in paths}
    return Release(
        name=NAME,
        version=version,
        bundle_uri=str(bundle),
        bundle_digest=bundle_digest(files),
        engine=engines.needed(str(bundle)),
    )


def ready(url: str) -> bool:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"{url}/v2/models/{NAME}/ready", timeout=20) as response:
        return bool(json.load(response)["ready"])


def test_a_version_replaces_the_one_before_only_if_it_passes(
    handmade_bundle: Callable[..., Path],  # noqa: F811  # the fixture
    containers: Callable[[], dict[str, Any]],
) -> None:
    bundle = handmade_bundle("regression", engine="onnx")
    with container_server(SPEC, release(1, bundle)) as server:
        assert compare(server, str(bundle), bundle_rows(str(bundle))) < 1e-6
    assert ready(server.url)
    assert set(containers()) == {f"nasflow-{NAME}"}
    first = containers()[f"nasflow-{NAME}"]
    assert first.attrs["State"]["Health"]["Status"] == "healthy"
    assert first.attrs["HostConfig"]["ReadonlyRootfs"] is True
    (binding,) = first.attrs["NetworkSettings"]["Ports"]["8080/tcp"]
    assert binding["HostIp"] == "127.0.0.1"

    with pytest.raises(NasflowError, match="wrong answer"), container_server(SPEC, release(2, bundle)):
        raise NasflowError("wrong answer")
    assert containers()[f"nasflow-{NAME}"].id == first.id
    assert ready(server.url)

    with container_server(SPEC, release(3, bundle)) as third:
        pass
    assert set(containers()) == {f"nasflow-{NAME}"}
    assert containers()[f"nasflow-{NAME}"].labels["nasflow.version"] == "3"
    assert ready(third.url)


@pytest.mark.parametrize(("engine", "image"), [("onnx", "server"), ("saved_model", "server-tf")])
def test_target_docker_whole(
    engine: str,
    image: str,
    handmade_bundle: Callable[..., Path],  # noqa: F811  # the fixture
    containers: Callable[[], dict[str, Any]],
    tmp_path: Path,
) -> None:
    """Registered, deployed as `nasflow deploy --target docker` and the step do, and left answering."""
    bundle = handmade_bundle("tabular", engine=engine)
    paths = [path for path in bundle.rglob("*") if path.is_file()]
    files = {path.relative_to(bundle).as_posix(): External.of(str(path)) for path in paths}
    version = FileRegistry(str(tmp_path)).register(NAME, Draft(bundle_uri=str(bundle), files=files))
    registered = RegisteredModel(
        registry=str(tmp_path),
        name=NAME,
        version=version.version,
        model_uri=version.bundle_uri,
        model_digest=version.bundle_digest,
        aliases=("champion",),
    )
    order = step.Order(spec=SPEC, registered=registered, answered=bundle_rows(version.bundle_uri))
    endpoint, made = step.deploy(order)
    assert (endpoint.target, endpoint.running, endpoint.golden_rows) == ("docker", True, 2)
    assert endpoint.max_difference < 1e-6
    example = json.loads(made["prediction.json"])
    assert example["response"]["predictions"][0]["label"] == "no"
    assert endpoint.url == example["url"]
    (container,) = containers().values()
    assert container.status == "running"
    assert container.attrs["HostConfig"]["CapDrop"] == ["ALL"]
    assert container.attrs["Config"]["Image"] == f"nasflow/{image}:{VERSION}"
    assert ready(endpoint.url.removesuffix(f"/v1/models/{NAME}:predict"))


def test_a_container_that_ends_is_shown_with_its_log(
    handmade_bundle: Callable[..., Path],  # noqa: F811  # the fixture
    containers: Callable[[], dict[str, Any]],
) -> None:
    bundle = handmade_bundle("regression")
    for broken, why in (
        (dataclasses.replace(release(1, bundle), bundle_digest="0" * 64), "digest"),
        (dataclasses.replace(release(1, bundle), engine="onnx"), "Use the image `server-tf`"),  # of a SavedModel alone
    ):
        with (
            pytest.raises(NasflowError, match=rf"(?s)the container ended with code 2; its log:.*{why}"),
            container_server(SPEC, broken),
        ):
            pass
        assert containers() == {}
