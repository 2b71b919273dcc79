"""What the image `server` promises: no TensorFlow, and a bundle that has its network as ONNX is served all the same.

Each server is a process in which TensorFlow, Keras and the exporters cannot be imported.
"""

import base64
import contextlib
import json
import os
import socket
import struct
import subprocess
import sys
import time
import urllib.request
import zlib

import pytest
from tests.unit.conftest import handmade_bundle  # noqa: F401  # the fixture

from nasflow.core.artifacts import RegisteredModel
from nasflow.core.errors import UserError
from nasflow.deploy.smoke import bundle_rows
from nasflow.deploy.spec import DeploySpec
from nasflow.deploy.step import Order, deploy
from nasflow.serving import engines

ABSENT = ("tensorflow", "keras", "onnx", "tf2onnx", "keras_tuner", "sklearn", "scipy")
"""Of the trainer; nothing that answers requests may want them."""
SERVE = (
    f"import sys; sys.modules.update(dict.fromkeys({ABSENT!r}));"  # None: an import of it fails
    "from nasflow.serving.__main__ import main; sys.exit(main(sys.argv[1:]))"
)
NO_PROXY = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def grey_png(pixel: int) -> str:
    """A grey PNG of 2 × 2 equal pixels, as a V1 request has it."""
    chunks = {
        b"IHDR": struct.pack(">IIBBBBB", 2, 2, 8, 0, 0, 0, 0),
        b"IDAT": zlib.compress(bytes([0, pixel, pixel]) * 2),
        b"IEND": b"",
    }
    made = [struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks.items()]
    return base64.b64encode(b"\x89PNG\r\n\x1a\n" + b"".join(made)).decode()


@contextlib.contextmanager
def served(bundle, log, *flags):
    with socket.socket() as listener, log.open("wb") as written:
        listener.bind(("127.0.0.1", 0))
        command = [sys.executable, "-c", SERVE, "--bundle", str(bundle), "--name", "m", *flags]
        handed = ["--listener-fd", str(listener.fileno()), "--owner", str(os.getpid())]
        process = subprocess.Popen([*command, *handed], stdout=written, stderr=written, pass_fds=[listener.fileno()])
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    try:
        yield url, process
    finally:
        process.terminate()
        process.wait(20)


def ask(url, process, log, rows):
    request = urllib.request.Request(f"{url}/v1/models/m:predict", json.dumps({"instances": rows}).encode())
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError):
            return json.load(NO_PROXY.open(request, timeout=20))["predictions"]
        time.sleep(0.1)
    raise AssertionError(log.read_text())


@pytest.mark.parametrize(
    ("kind", "rows", "likely", "probability"),
    [
        ("tabular", [{"age": 2, "home city": "rome"}], "yes", 0.8807971),  # 1 / (1 + e^-2)
        ("image", [{"image": [[[255], [255]], [[255], [0]]]}], "bright", 0.75),
        ("files", [{"image": {"b64": grey_png(51)}}], "dark", 0.8),  # 1 - 51 / 255
        ("text", [{"review": "good acting, good score"}], "good", 0.8807971),
    ],
)
def test_a_bundle_with_a_network_as_onnx_is_served(
    handmade_bundle,  # noqa: F811  # the fixture
    tmp_path,
    kind,
    rows,
    likely,
    probability,
):
    bundle, log = handmade_bundle(kind, engine="onnx"), tmp_path / "log"
    assert engines.needed(str(bundle)) == "onnx"
    with served(bundle, log) as (url, process):
        (answer,) = ask(url, process, log, rows)
        metrics = NO_PROXY.open(f"{url}/metrics", timeout=20).read().decode()
    assert answer["label"] == likely
    assert answer["probability"] == pytest.approx(probability, abs=1e-6)
    assert 'engine="onnx"' in metrics
    assert "Traceback" not in log.read_text()


def test_one_without_is_refused_with_what_to_do(handmade_bundle, tmp_path):  # noqa: F811  # the fixture
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    for file in handmade_bundle("regression", engine="onnx").iterdir():
        if file.name != "network.onnx":
            (bundle / file.name).write_bytes(file.read_bytes())
    assert engines.needed(str(bundle)) == "saved_model"
    with served(bundle, tmp_path / "log") as (_, process):
        assert process.wait(60) == 2
    said = (tmp_path / "log").read_text()
    assert "it has no network.onnx, so its SavedModel must serve it" in said
    assert "Use the image `server-tf`" in said
    assert "Traceback" not in said


def test_a_network_that_answers_otherwise_here_is_not_served_either(handmade_bundle, tmp_path):  # noqa: F811
    """With TensorFlow its SavedModel would; without, the reason is the golden rows."""
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    for file in handmade_bundle("regression", engine="onnx").iterdir():
        (bundle / file.name).write_bytes(file.read_bytes())
    other = handmade_bundle("regression", 2.0, engine="onnx") / "network.onnx"
    (bundle / "network.onnx").write_bytes(other.read_bytes())  # 4x + 1 for 2x + 1: 15 for 8, in deviations of 2
    with served(bundle, tmp_path / "log") as (_, process):
        assert process.wait(60) == 2
    said = (tmp_path / "log").read_text()
    assert "answers the golden rows with a difference of 3.5 > 0.0001 here" in said
    assert "Use the image `server-tf`" in said


def test_deploy_to_local_asks_before_it_starts_a_server(handmade_bundle, tmp_path, monkeypatch):  # noqa: F811
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    (bundle / "golden.json").write_bytes((handmade_bundle("regression", engine="onnx") / "golden.json").read_bytes())
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    registered = RegisteredModel(registry="r", name="m", version=1, model_uri=str(bundle), model_digest="d", aliases=())
    with pytest.raises(UserError, match=r"has no network\.onnx.*server-tf"):
        deploy(Order(spec=DeploySpec(), registered=registered, answered=bundle_rows(str(bundle))))
