"""trainer-gpu, where somebody has built it (`containers/build.sh trainer-gpu`: 6.4 GB, four minutes). Not on a GPU."""

import json
from typing import Any

import pytest

from nasflow.core.version import VERSION

pytestmark = pytest.mark.docker

LOAD = """
import ctypes, glob, json, site
libraries = glob.glob(site.getsitepackages()[0] + "/nvidia/*/lib/*.so.*")
refused = {}
for library in libraries:
    try:
        ctypes.CDLL(library)
    except OSError as error:
        refused[library.rsplit("/", 1)[-1]] = str(error).split(":")[0]
import tensorflow as tf
print(json.dumps({"libraries": len(libraries), "refused": refused, "devices": len(tf.config.list_physical_devices())}))
"""


@pytest.fixture
def image(docker_client: Any) -> Any:
    """It is in no default list, so that its absence is no failure, in CI neither."""
    import docker

    try:
        return docker_client.images.get(f"nasflow/trainer-gpu:{VERSION}")
    except docker.errors.ImageNotFound:
        pytest.skip("trainer-gpu is not built")


def test_nothing_that_cuda_needs_was_left_out(docker_client: Any, image: Any) -> None:
    """Whatever a library links is there, but the driver, which is the node's; TensorFlow starts, here on the CPU."""
    output = docker_client.containers.run(
        image.id, ["python", "-c", LOAD], remove=True, network_mode="none", read_only=True, tmpfs={"/tmp": ""}
    )
    found = json.loads(output.decode().splitlines()[-1])
    assert set(found["refused"].values()) <= {"libcuda.so.1"}
    assert found["libraries"] >= 20
    assert found["devices"] == 1
    assert image.attrs["Config"]["User"] == "65532:65532"
    assert image.attrs["Size"] < 6.6e9
