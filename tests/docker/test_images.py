"""The built images keep the Dockerfile's promises."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from nasflow.core.version import VERSION

pytestmark = pytest.mark.docker

NAMES = ("beam", "trainer", "ops", "server", "server-tf")
ANY_UID = "12345:12345"  # no such user in any image: OpenShift and `docker run --user` do this

# What each image is for (see the component.py files), and the heavy package that must not have crept in.
MODULES = {
    "beam": ["nasflow.preprocess.step", "apache_beam"],
    "trainer": [
        "nasflow.search.step",
        "nasflow.train.step",
        "nasflow.evaluate.step",
        "keras_tuner",
        "tensorboard",
        "tensorflow",
    ],
    "ops": [
        "nasflow.register.step",
        "nasflow.registry.kubeflow",
        "nasflow.registry.mlflow",
        "nasflow.retrain.weigh",
        "nasflow_pipelines.hold",
        "nasflow_pipelines.retrain_tasks",
        "mlflow",
    ],
    "server": ["nasflow.deploy.step", "nasflow.serving.server", "kserve", "onnxruntime"],
    "server-tf": ["nasflow.deploy.step", "nasflow.serving.server", "kserve", "onnxruntime", "tensorflow"],
}
ABSENT = {
    "beam": ["tensorflow", "kserve"],
    "trainer": ["apache_beam", "kserve"],
    "ops": ["tensorflow", "apache_beam", "kserve"],
    "server": ["apache_beam", "tensorflow", "keras", "keras_tuner", "onnx", "sklearn", "scipy"],
    "server-tf": ["apache_beam", "keras_tuner", "sklearn"],
}


def _sh(client: Any, image: Any, script: str, **options: Any) -> str:
    output = client.containers.run(
        image.id, ["sh", "-ec", script], remove=True, network_mode="none", stderr=True, **options
    )
    return str(output.decode())


def _python(client: Any, image: Any, source: str, **options: Any) -> str:
    """Starts Python as kfp's components do: `sh -c`, then `python3` from PATH."""
    return _sh(client, image, 'python3 -c "$SOURCE"', environment={"SOURCE": source}, **options)


@pytest.mark.parametrize("name", NAMES)
def test_configuration(images: dict[str, Any], name: str) -> None:
    config = images[name].attrs["Config"]
    assert config["User"] == "65532:65532"
    assert not config["Entrypoint"]
    environment = dict(entry.split("=", 1) for entry in config["Env"])
    assert environment["HOME"] == "/tmp"
    assert environment["PATH"].startswith("/opt/venv/bin:")
    lock = hashlib.sha256((Path(__file__).resolve().parents[2] / "uv.lock").read_bytes()).hexdigest()
    assert environment["NASFLOW_LOCK_SHA256"] == lock  # what a version that it registers will say
    labels = config["Labels"]
    assert labels["org.opencontainers.image.version"] == VERSION
    assert labels["org.opencontainers.image.title"] == f"nasflow {name}"


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("user", [None, ANY_UID], ids=["own-user", "any-user"])
def test_steps_can_be_imported(docker_client: Any, images: dict[str, Any], name: str, user: str | None) -> None:
    modules = [*MODULES[name], "kfp.dsl.executor_main"]
    source = f"import importlib, nasflow\nfor m in {modules!r}: importlib.import_module(m)\nprint('imported all')"
    options = {"user": user} if user else {}
    assert _python(docker_client, images[name], source, **options).rstrip().endswith("imported all")


@pytest.mark.parametrize("name", NAMES)
def test_nothing_heavy_that_its_steps_do_not_use(docker_client: Any, images: dict[str, Any], name: str) -> None:
    source = f"import importlib.util as u\nprint([m for m in {ABSENT[name]!r} if u.find_spec(m)])"
    assert _python(docker_client, images[name], source).strip() == "[]"


@pytest.mark.parametrize("name", NAMES)
def test_the_code_is_of_the_tagged_version(docker_client: Any, images: dict[str, Any], name: str) -> None:
    source = "from nasflow.core.version import VERSION; print(VERSION)"
    assert _python(docker_client, images[name], source).strip() == VERSION


@pytest.mark.parametrize("name", NAMES)
def test_a_user_that_the_image_does_not_know_has_a_name_and_a_home(
    docker_client: Any, images: dict[str, Any], name: str
) -> None:
    source = (
        "import getpass, json, os, pathlib, tempfile; f = tempfile.NamedTemporaryFile(dir=pathlib.Path.home());"
        "print(json.dumps([os.getuid(), getpass.getuser(), os.path.isfile(f.name)]))"
    )
    assert json.loads(_python(docker_client, images[name], source, user=ANY_UID)) == [12345, "nasflow", True]


@pytest.mark.parametrize("name", NAMES)
def test_no_installer_and_no_secret_is_left(docker_client: Any, images: dict[str, Any], name: str) -> None:
    script = """
        for tool in pip pip3 uv; do ! command -v $tool || exit 1; done
        ! python3 -m pip --version 2>/dev/null || exit 1
        ! python3 -m uv --version 2>/dev/null || exit 1
        for place in /run/secrets /mnt /opt/uv /root/.cache /tmp; do find $place -type f; done
        ! ls /etc/pip.conf 2>/dev/null || exit 1
        echo clean
    """
    assert _sh(docker_client, images[name], script, user="0").split() == ["clean"]
    history = json.dumps(images[name].history())
    assert "BEGIN CERTIFICATE" not in history
    assert "PIP_INDEX_URL" not in history


@pytest.mark.parametrize("name", NAMES)
def test_its_own_user_cannot_change_the_code(docker_client: Any, images: dict[str, Any], name: str) -> None:
    script = "find /opt/venv -writable -not -type l | head -5; echo done"
    assert _sh(docker_client, images[name], script).split() == ["done"]


def test_the_server_is_small(docker_client: Any, images: dict[str, Any]) -> None:
    """Measured: 674 MB. Every node that may serve pulls it; with TensorFlow it is three times that."""
    assert images["server"].attrs["Size"] < 700e6
    source = "import pathlib, tensorflow as tf; print(pathlib.Path(tf.__file__).with_name('include').exists())"
    assert _python(docker_client, images["server-tf"], source).split()[-1] == "False"  # 264 MB of C++ headers


def test_images_share_their_lower_layers(images: dict[str, Any]) -> None:
    """The base, the strip and the packages that all steps import are stored and pulled once."""
    layers = [image.attrs["RootFS"]["Layers"] for image in images.values()]
    shared = [entries[0] for entries in zip(*layers, strict=False) if len(set(entries)) == 1]
    assert len(shared) == 3
