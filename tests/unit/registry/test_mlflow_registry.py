"""MLflow as a mirror: a tracking server with SQLite, really started, and the client alone on a database."""

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest
from tests.unit.registry.test_kubeflow_registry import draft

from nasflow.core.errors import TryAgainError, UserError
from nasflow.registry.file import FileRegistry
from nasflow.registry.mirror import MirroredRegistry
from nasflow.registry.mlflow import MlflowMirror
from nasflow.testing import RegistryConformance
from nasflow.testing.asserting import race

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """The address of a server of this module's own."""
    folder = tmp_path_factory.mktemp("mlflow")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += [
        "--backend-store-uri",
        f"sqlite:///{folder}/mlflow.db",
        "--default-artifact-root",
        f"{folder}/artifacts",
    ]
    environment = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true", "GIT_PYTHON_REFRESH": "quiet"}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder, env=environment, start_new_session=True)
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 180
        while not _healthy(url):
            assert process.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < deadline, (folder / "log").read_text()
            time.sleep(0.3)
        yield url
    finally:
        os.killpg(process.pid, 15)
        process.wait(30)


def _healthy(url):
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=2) as answer:
            return answer.status == 200
    except (urllib.error.URLError, OSError):
        return False


_SEEN = set()


class TestMirroredInMlflow(RegistryConformance):
    racers = 3
    url = ""

    @pytest.fixture(autouse=True)
    def _server(self, server):
        type(self).url = server

    def open(self, folder):
        if folder not in _SEEN:  # a new test: the server forgets the one before
            _SEEN.add(folder)
            from mlflow import MlflowClient

            client = MlflowClient(tracking_uri=self.url, registry_uri=self.url)
            for model in client.search_registered_models():
                client.delete_registered_model(model.name)
        return MirroredRegistry(FileRegistry(f"{folder}/registry"), MlflowMirror(self.url))


@pytest.fixture(params=["server", "sqlite"])
def mirror(request, tmp_path):
    """A mirror with nothing in it."""
    address = request.getfixturevalue("server") if request.param == "server" else f"sqlite:///{tmp_path}/mlflow.db"
    made = MlflowMirror(address)
    for model in made._client.search_registered_models():
        made._client.delete_registered_model(model.name)
    return made


def test_versions_metrics_and_aliases_are_shown(tmp_path, mirror):
    files = FileRegistry(str(tmp_path / "registry"))
    files.register("fashion", draft(tmp_path, "a"))  # killed before it told the server
    registry = MirroredRegistry(files, mirror)
    second = registry.register("fashion", draft(tmp_path, "b"))
    registry.promote("fashion", "champion", 2, expected=None)
    assert registry.differences("fashion") == []
    shown = mirror._client.get_model_version_by_alias("fashion", "champion")
    assert int(shown.version) == 2
    assert shown.tags["accuracy"] == "0.5 [0.4, 0.6]"
    assert shown.tags["nasflow.bundle_digest"] == second.bundle_digest
    assert shown.source.endswith(second.bundle_uri)
    registry.promote("fashion", "champion", 1, expected=2)
    assert int(mirror._client.get_model_version_by_alias("fashion", "champion").version) == 1
    mirror._client.set_registered_model_alias("fashion", "champion", "2")  # by hand, past the truth
    assert "they are {'champion': 1}" in registry.differences("fashion")[0]
    registry.bring_up("fashion")
    assert registry.differences("fashion") == []


def test_one_version_shown_by_two_at_once_is_one(tmp_path, server):
    files = FileRegistry(str(tmp_path / "registry"))
    version = files.register("twice", draft(tmp_path, "a"))
    race([lambda: MlflowMirror(server).put(version)] * 4)
    mirror = MlflowMirror(server)
    mirror.put(version)
    assert len(mirror._ours("twice")) == 1
    assert dict(mirror.shown("twice").versions) == {1: version.bundle_digest}


def test_a_server_that_is_not_there_is_said_within_a_minute(tmp_path):
    registry = MirroredRegistry(FileRegistry(str(tmp_path / "registry")), MlflowMirror("http://127.0.0.1:9"))
    started = time.monotonic()
    with pytest.raises(TryAgainError, match=r"version 1 is registered at .*http://127.0.0.1:9 refused"):
        registry.register("fashion", draft(tmp_path, "a"))
    assert time.monotonic() - started < 60


def test_an_address_that_no_client_can_use_is_the_users_mistake():
    with pytest.raises(UserError, match=r"register.server: this MLflow client cannot use 'ftp://x'"):
        MlflowMirror("ftp://x")
