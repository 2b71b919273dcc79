"""The server as a process, spoken to over loopback."""

import contextlib
import http.client
import json
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.slow  # each server takes seconds to start

NO_PROXY = urllib.request.build_opener(urllib.request.ProxyHandler({}))
LIMITS = ("--max-rows", "100", "--max-body-mib", "1")


class Served:
    def __init__(self, bundle, name, log, *flags):
        self.name = name
        self.log = log
        source = ["--bundle", str(bundle)] if bundle is not None else []
        command = [sys.executable, "-m", "nasflow.serving", *source, "--name", name, "--port", "0"]
        self.process = subprocess.Popen([*command, *flags], stdout=log.open("wb"), stderr=subprocess.STDOUT)
        self.url = self._address()

    def _address(self):
        deadline = time.monotonic() + 90
        while time.monotonic() < deadline:
            if found := re.search(r"at (http://127\.0\.0\.1:\d+)", self.log.read_text()):
                with contextlib.suppress(OSError):
                    self.get(found[1] + "/v2/health/ready")
                    return found[1]
            if self.process.poll() is not None:
                break
            time.sleep(0.1)
        raise AssertionError(self.log.read_text())

    def get(self, url):
        with NO_PROXY.open(url if "://" in url else self.url + url, timeout=20) as response:
            return json.load(response)

    def post(self, path, body, content_type="application/json"):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data=data, headers={"Content-Type": content_type})
        try:
            with NO_PROXY.open(request, timeout=20) as response:
                return response.status, json.load(response)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    def v1(self, instances, **keywords):
        return self.post(f"/v1/models/{self.name}:predict", {"instances": instances}, **keywords)

    def v2(self, inputs, **more):
        return self.post(f"/v2/models/{self.name}/infer", {"inputs": inputs, **more})

    def stop(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        return self.process.wait(20)


@pytest.fixture(scope="module")
def tabular(handmade_bundle, tmp_path_factory):
    served = Served(handmade_bundle("tabular"), "shop", tmp_path_factory.mktemp("log") / "server.log", *LIMITS)
    yield served
    code = served.stop()
    assert code == 0
    assert "Traceback" not in served.log.read_text()


@pytest.fixture(scope="module")
def image(handmade_bundle, tmp_path_factory):
    served = Served(handmade_bundle("image"), "light", tmp_path_factory.mktemp("log") / "server.log")
    yield served
    code = served.stop(signal.SIGINT)
    assert code == 0
    assert "Traceback" not in served.log.read_text()


AGE = {"name": "age", "datatype": "FP64", "shape": [2], "data": [0, None]}
CITY = {"name": "home city", "datatype": "BYTES", "shape": [2], "data": ["rome", "paris"]}


def test_headers_without_end_end_the_connection(tabular):
    """`test_serving_connection.py` has the rest; this says that the server has those limits."""
    address = urllib.parse.urlsplit(tabular.url)
    with socket.create_connection((address.hostname, address.port), timeout=20) as client:
        with contextlib.suppress(ConnectionError):
            client.sendall(b"GET / HTTP/1.1\r\nX: " + b"a" * (4 << 20))
        with contextlib.suppress(ConnectionError):
            assert client.recv(100).startswith(b"HTTP/1.1 400 ")
    assert tabular.get("/v2/health/ready") == {"ready": True}


def test_v1_answers_label_and_probabilities(tabular):
    status, answer = tabular.v1([{"age": 0, "home city": "rome"}, {"age": None, "home city": "paris"}])
    assert status == 200
    assert answer["predictions"][0] == {"label": "no", "probability": 0.5, "probabilities": [0.5, 0.5]}  # a tie: lower
    assert answer["predictions"][1]["label"] == "yes"
    assert answer["predictions"][1]["probabilities"] == pytest.approx([0.2689414, 0.7310586], abs=1e-6)


def test_v1_needs_no_content_type(tabular):
    status, answer = tabular.v1([{"age": 0, "home city": "rome"}], content_type="application/x-www-form-urlencoded")
    assert (status, answer["predictions"][0]["label"]) == (200, "no")


def test_v2_answers_tensors_and_makes_an_id(tabular):
    status, answer = tabular.v2([AGE, CITY])
    assert status == 200
    assert answer["model_name"] == "shop"
    assert re.fullmatch("[0-9a-f]{32}", answer["id"])
    probabilities, label = answer["outputs"]
    assert (probabilities["name"], probabilities["datatype"], probabilities["shape"]) == (
        "probabilities",
        "FP32",
        [2, 2],
    )
    assert probabilities["data"] == pytest.approx([0.5, 0.5, 0.2689414, 0.7310586], abs=1e-6)
    assert label == {"name": "label", "shape": [2], "datatype": "BYTES", "data": ["no", "yes"]}


def test_v2_takes_keyword_names_columns_of_one_and_the_clients_id(tabular):
    age = {"name": "age", "datatype": "INT64", "shape": [1, 1], "data": [[2]]}
    city = {"name": "home_city", "datatype": "BYTES", "shape": [1, 1], "data": [[""]]}
    status, answer = tabular.v2([age, city], id="mine", outputs=[{"name": "label"}])
    assert (status, answer["id"]) == (200, "mine")
    assert [output["data"] for output in answer["outputs"]] == [["yes"]]


def test_v2_through_kserves_own_client(tabular):
    import asyncio

    from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig

    age = InferInput("age", [2], "FP64")
    age.set_data_from_numpy(np.array([0.0, np.nan]), binary_data=True)
    city = InferInput("home city", [2], "BYTES")
    city.set_data_from_numpy(np.array(["rome", "paris"], dtype=object), binary_data=True)

    async def ask():
        client = InferenceRESTClient(RESTConfig(protocol="v2"))
        assert await client.is_server_ready(tabular.url)
        assert await client.is_model_ready(tabular.url, "shop")
        return await client.infer(tabular.url, InferRequest("shop", [age, city], "7"), model_name="shop")

    answer = asyncio.run(ask())
    assert answer.outputs[0].as_numpy()[:, 1] == pytest.approx([0.5, 0.7310586], abs=1e-6)


def test_metadata_and_health(tabular):
    assert tabular.get("/v2/health/live") == {"live": True}
    assert tabular.get("/v2/models/shop/ready") == {"name": "shop", "ready": True}
    assert tabular.get("/v1/models/shop") == {"name": "shop", "ready": True}
    metadata = tabular.get("/v2/models/shop")
    assert metadata["inputs"] == [
        {"name": "age", "datatype": "FP64", "shape": [-1]},
        {"name": "home city", "datatype": "BYTES", "shape": [-1]},
    ]
    assert [output["name"] for output in metadata["outputs"]] == ["probabilities", "label"]


ROW = {"age": 1, "home city": "rome"}


@pytest.mark.parametrize(
    ("code", "body", "reason"),
    [
        (422, {"instances": [ROW, {"age": "old", "home city": "rome"}]}, r"row 2: column 'age': .*got 'old'"),
        (422, {"instances": [{"age": 1}]}, "row 1: column 'home city' is missing"),
        (422, {"instances": [{**ROW, "colour": 1}]}, "column 'colour' is unknown"),
        (422, {"instances": [[1, "rome"]]}, "row 1: must be an object"),
        (422, {"instances": []}, "no rows"),
        (422, {"instances": [ROW] * 101}, "101 rows in one request, the server takes 100"),
        (400, {"instances": ROW}, '"instances" must be a list'),
        (400, {"rows": [ROW]}, "the body must be a JSON object"),
        (400, [ROW], "the body must be a JSON object"),
        (400, b"{", "the body is not JSON"),
        (400, b'{"instances": [{"age": NaN, "home city": "rome"}]}', "the body is not JSON"),
        (400, b'{"instances": [{"age": 1, "home city": "\\ud800"}]}', "the body is not JSON"),
    ],
)
def test_bad_v1_requests_are_refused_with_the_reason(tabular, code, body, reason):
    status, answer = tabular.post("/v1/models/shop:predict", body)
    assert (status, list(answer)) == (code, ["error"])
    assert re.search(reason, answer["error"]), answer
    assert "Traceback" not in answer["error"]


@pytest.mark.parametrize(
    ("inputs", "reason"),
    [
        ([AGE], "input 'home city' is missing"),
        ([AGE, CITY, {**AGE, "name": "colour"}], "input 'colour' is unknown"),
        ([AGE, CITY, AGE], "input 'age' is given twice"),
        ([AGE, {**CITY, "shape": [1], "data": ["rome"]}], "1 rows, other inputs have 2"),
        ([{**AGE, "data": [0, "old"]}, CITY], "input 'age': datatype FP64 takes numbers or null, got 'old' at place 1"),
        ([{**AGE, "data": [0, True]}, CITY], "input 'age': datatype FP64 takes numbers or null, got True at place 1"),
        ([{**AGE, "datatype": "INT64", "data": [0, 1.5]}, CITY], "takes whole numbers, got 1.5"),
        ([{**AGE, "datatype": "INT8", "data": [0, 300]}, CITY], "does not fit INT8"),
        ([{**AGE, "datatype": "BYTES", "data": ["0", "1"]}, CITY], "column 'age' is numeric"),
        ([AGE, {**CITY, "datatype": "FP32", "data": [1, 2]}], "column 'home city' is text"),
        ([{**AGE, "shape": [3]}, CITY], r"shape \[3\] needs 3 values, got 2"),
        ([{**AGE, "shape": [-2]}, CITY], "negative size"),
        ([{**AGE, "shape": [1, 2]}, CITY], r"shape must be \[rows\] or \[rows, 1\]"),
        ([{**AGE, "shape": [], "data": [1]}, CITY], r"shape must be \[rows\]"),
        ([{**AGE, "data": [[0], [1, 2]]}, CITY], "age"),
        ([{**AGE, "datatype": "FP63"}, CITY], "unknown datatype 'FP63'"),
        ([{**AGE, "shape": [0], "data": []}, {**CITY, "shape": [0], "data": []}], "no rows"),
        ([], "input 'age' is missing"),
    ],
)
def test_bad_v2_requests_are_refused_with_the_reason(tabular, inputs, reason):
    status, answer = tabular.v2(inputs)
    assert status == 422
    assert re.search(reason, answer["error"]), answer


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"{", "not JSON.*Inference-Header-Content-Length|not JSON.*inference-header-content-length"),
        (b"abc", "inference-header-content-length, which binary tensors need, is missing"),
        ({"instances": [ROW]}, "the body must be a JSON object"),
        ({"inputs": [{**AGE, "shape": "2"}, CITY]}, "input 'age': shape must be a list"),
        ({"inputs": [{"name": "age"}, CITY]}, "input 'age': shape must be a list .* got None"),
        ({"inputs": [{"name": "age", "shape": [1], "datatype": "FP32"}]}, 'neither "data" nor parameters'),
        ({"inputs": [{**AGE, "parameters": {"binary_data_size": 16}}]}, "binary_data_size is 16, 0 bytes are left"),
        ({"inputs": [7]}, "an input must be an object"),
        ({"inputs": [AGE, CITY], "outputs": [{"name": "logits"}]}, "output 'logits' is unknown"),
        ({"inputs": [AGE, CITY], "outputs": "label"}, '"outputs" must be a list'),
    ],
)
def test_v2_bodies_that_are_no_v2(tabular, body, reason):
    status, answer = tabular.post("/v2/models/shop/infer", body)
    assert (status, list(answer)) == (400, ["error"])
    assert re.search(reason, answer["error"]), answer


def test_unknown_models_and_control_requests(tabular):
    assert tabular.post("/v1/models/other:predict", {"instances": [ROW]})[0] == 404
    status, answer = tabular.post("/v2/repository/models/shop/unload", {})
    assert (status, "does not unload" in answer["error"]) == (501, True)
    assert tabular.get("/v2/models/shop/ready")["ready"]


def test_a_body_over_the_limit_is_refused(tabular):
    status, answer = tabular.post("/v1/models/shop:predict", b" " * (2**20 + 1))
    assert (status, "the server takes 1048576" in answer["error"]) == (413, True)

    host = tabular.url.removeprefix("http://")
    connection = http.client.HTTPConnection(host, timeout=20)
    connection.request(
        "POST",
        "/v1/models/shop:predict",
        body=iter([b" " * 2**19] * 3),
        encode_chunked=True,
        headers={"Transfer-Encoding": "chunked"},
    )
    assert connection.getresponse().status == 413  # nothing announced it
    connection.close()


def test_only_the_asked_address_listens(tabular):
    port = int(tabular.url.rpartition(":")[2])
    process = Path(f"/proc/{tabular.process.pid}")
    lines = [line.split() for line in (process / "net/tcp").read_text().splitlines()[1:]]
    listening = {fields[1] for fields in lines if fields[3] == "0A" and fields[1].endswith(f":{port:04X}")}
    assert listening == {f"0100007F:{port:04X}"}
    own = set()
    for link in (process / "fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed since it was listed
            own.add(str(link.readlink()))
    mine = [fields for fields in lines if f"socket:[{fields[9]}]" in own and fields[3] == "0A"]
    assert len(mine) == 1  # no gRPC port


PIXELS = [[[0], [255]], [[255], [255]]]


def test_images_as_rows_or_bare(image):
    for instance in ({"image": PIXELS}, PIXELS, [[0, 255], [255, 255]]):
        status, answer = image.v1([instance])
        assert status == 200
        assert answer["predictions"] == [{"label": "bright", "probability": 0.75, "probabilities": [0.25, 0.75]}]


def test_images_as_tensors(image):
    flat = [0, 255, 255, 255]
    for shape in ([1, 2, 2, 1], [1, 2, 2]):
        status, answer = image.v2([{"name": "image", "datatype": "UINT8", "shape": shape, "data": flat}])
        assert (status, answer["outputs"][0]["data"]) == (200, [0.25, 0.75])


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"shape": [1, 1, 4, 1]}, r"shape must be \[rows, 2, 2, 1\], got \[1, 1, 4, 1\]"),
        ({"datatype": "INT32", "data": [0, 255, 256, 255]}, "pixels must be from 0 to 255"),
        ({"datatype": "FP32"}, "send UINT8, not FP32"),
    ],
)
def test_bad_images_are_refused(image, change, reason):
    tensor = {"name": "image", "datatype": "UINT8", "shape": [1, 2, 2, 1], "data": [0, 255, 255, 255], **change}
    status, answer = image.v2([tensor])
    assert status == 422
    assert re.search(reason, answer["error"]), answer
    status, answer = image.v1([[[0, 255], [255, 256]]])
    assert (status, "row 1: column 'image'" in answer["error"]) == (422, True)


def test_wrong_starts_end_in_one_line(handmade_bundle, tmp_path, tabular):
    def start(*flags):
        command = [sys.executable, "-m", "nasflow.serving", "--name", "x", *flags]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)

    taken = tabular.url.rpartition(":")[2]
    busy = start("--bundle", str(handmade_bundle("tabular")), "--port", taken)
    assert (busy.returncode, "choose another --port" in busy.stderr, "Traceback" in busy.stderr) == (2, True, False)
    nothing = start("--bundle", str(tmp_path), "--port", "0")
    assert (nothing.returncode, "no bundle here" in nothing.stderr, "Traceback" in nothing.stderr) == (2, True, False)
    changed = start("--bundle", str(handmade_bundle("tabular")), "--port", "0", "--digest", "0" * 64)
    assert (changed.returncode, f"expected {'0' * 64}" in changed.stderr) == (2, True)


def test_the_server_stops_when_its_owner_is_killed(handmade_bundle, tmp_path):
    code = (
        "import os, subprocess, sys, time\n"
        "server = subprocess.Popen([sys.executable, '-m', 'nasflow.serving', '--name', 'x', '--port', '0',"
        f" '--bundle', {str(handmade_bundle('tabular'))!r}, '--owner', str(os.getpid())])\n"
        "print(server.pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    log = tmp_path / "log"
    owner = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=log.open("wb"), text=True)
    server = int(owner.stdout.readline())
    deadline = time.monotonic() + 60
    while "serving x" not in log.read_text() and time.monotonic() < deadline:
        time.sleep(0.2)
    owner.kill()
    owner.wait()
    while Path(f"/proc/{server}").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not Path(f"/proc/{server}").exists()
