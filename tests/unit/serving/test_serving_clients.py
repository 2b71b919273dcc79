"""Clients that are not ours, unchanged; and what the server does when it is to stop, or to serve another version."""

import contextlib
import http.client
import json
import signal
import socket
import threading
import time
import urllib.request

import numpy as np
import pytest
from tests.unit.serving.test_serving_http import NO_PROXY, Served

from nasflow.core.artifacts import External
from nasflow.registry._base import Draft
from nasflow.registry.file import FileRegistry

pytestmark = pytest.mark.slow  # each server takes seconds to start


@pytest.fixture(scope="module")
def tabular(handmade_bundle, tmp_path_factory):
    """With ONNX, as most models are served; `test_serving_http.py` has the SavedModels."""
    folder = tmp_path_factory.mktemp("log")
    more = ("--version", "3", "--batch-delay-ms", "5", "--log-requests", str(folder / "requests"))
    served = Served(handmade_bundle("tabular", engine="onnx"), "shop", folder / "server.log", *more)
    served.requests = folder / "requests"
    yield served
    assert served.stop() == 0
    assert "Traceback" not in served.log.read_text()


@pytest.mark.parametrize("binary", [True, False])
def test_tritons_own_client_gets_the_golden_answers(tabular, handmade_bundle, binary):
    """NVIDIA's `tritonclient[http]`, as its documentation uses it; no option of it is set for us."""
    import tritonclient.http as triton

    golden = json.loads((handmade_bundle("tabular", engine="onnx") / "golden.json").read_text())
    client = triton.InferenceServerClient(tabular.url.removeprefix("http://"))
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("shop")
    assert [each["name"] for each in client.get_model_metadata("shop")["inputs"]] == ["age", "home city"]
    age, city = triton.InferInput("age", [2], "FP64"), triton.InferInput("home city", [2], "BYTES")
    age.set_data_from_numpy(np.array([np.nan if r["age"] is None else r["age"] for r in golden["rows"]], float), binary)
    city.set_data_from_numpy(np.array([row["home city"] for row in golden["rows"]], object), binary)
    if not binary:
        age.set_data_from_numpy(np.array([0.0, 0.0]), binary_data=False)  # its JSON has no NaN; 0 is what missing means
    asked = [triton.InferRequestedOutput(name, binary_data=binary) for name in ("probabilities", "label")]
    answer = client.infer("shop", [age, city], outputs=asked, request_id="42")
    assert (answer.get_response()["id"], answer.get_response()["model_version"]) == ("42", "3")
    np.testing.assert_allclose(answer.as_numpy("probabilities"), golden["predictions"], atol=1e-6)
    labels = answer.as_numpy("label").tolist()
    assert [each.decode() if isinstance(each, bytes) else each for each in labels] == golden["labels"]
    with pytest.raises(triton.InferenceServerException, match="input 'home city' is missing"):
        client.infer("shop", [age])
    client.close()


def test_a_compressed_body_is_refused_with_the_reason(tabular):
    import tritonclient.http as triton

    client = triton.InferenceServerClient(tabular.url.removeprefix("http://"))
    age = triton.InferInput("age", [1], "FP64")
    age.set_data_from_numpy(np.array([1.0]))
    with pytest.raises(triton.InferenceServerException, match="content-encoding 'gzip'"):
        client.infer("shop", [age], request_compression_algorithm="gzip")
    client.close()


def test_cloud_events_are_still_kserves(tabular):
    headers = {
        "Content-Type": "application/json",
        "ce-specversion": "1.0",
        "ce-id": "1",
        "ce-source": "/test",
        "ce-type": "org.kubeflow.serving.inference.request",
    }
    body = json.dumps({"instances": [{"age": 0, "home city": "rome"}]}).encode()
    request = urllib.request.Request(tabular.url + "/v1/models/shop:predict", data=body, headers=headers)
    with NO_PROXY.open(request, timeout=20) as response:
        assert response.headers["ce-type"]
        assert json.load(response)["predictions"][0]["label"] == "no"


def test_metrics_in_prometheus_text_and_open_metrics(tabular):
    tabular.v1([{"age": 9, "home city": "paris"}])
    tabular.post("/v1/models/shop:predict", {"instances": [{"age": 9}]})

    def page(accept):
        request = urllib.request.Request(tabular.url + "/metrics", headers={"Accept": accept})
        with NO_PROXY.open(request, timeout=20) as response:
            return response.headers["Content-Type"], response.read().decode()

    kind, text = page("text/plain")
    assert kind.startswith("text/plain")
    assert 'nasflow_predictions_total{outcome="yes"}' in text
    assert 'nasflow_confidence_total{bin="0.9-1.0"}' in text
    assert 'nasflow_requests_total{code="422"}' in text
    assert 'nasflow_model_info{engine="onnx",version="3"} 1.0' in text
    kind, text = page("application/openmetrics-text; version=1.0.0")
    assert kind.startswith("application/openmetrics-text")
    assert text.rstrip().endswith("# EOF")


def test_probes_are_no_predictions_and_are_not_logged(tabular):
    def predicted():
        with NO_PROXY.open(tabular.url + "/metrics", timeout=20) as response:
            lines = response.read().decode().splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith("nasflow_predictions_total{"))

    def logged():
        files = tabular.requests.glob("*.jsonl")
        return sum(len(json.loads(line).get("predictions", [])) for file in files for line in file.open())

    tabular.v1([{"age": 1, "home city": "rome"}] * 3)
    time.sleep(0.3)  # the log has a thread of its own
    before = predicted(), logged()
    assert before[1] >= 3
    body = json.dumps({"instances": [{"age": 1, "home city": "rome"}] * 5}).encode()
    request = urllib.request.Request(tabular.url + "/v1/models/shop:predict", data=body, headers={"nasflow-probe": "1"})
    NO_PROXY.open(request, timeout=20).close()
    time.sleep(0.3)
    assert (predicted(), logged()) == before


class Load:
    """Asks for one answer after the other in threads, until told to stop; remembers (time, status, answer)."""

    def __init__(self, served, instance, clients=3):
        self.answers, self._stop = [], threading.Event()
        self._served, self._instance = served, instance
        self._threads = [threading.Thread(target=self._work) for _ in range(clients)]
        for thread in self._threads:
            thread.start()

    def _work(self):
        while not self._stop.is_set():
            try:
                status, answer = self._served.v1([self._instance])
            except OSError as error:
                status, answer = 0, {"error": repr(error)}
            self.answers.append((time.monotonic(), status, answer))

    def stop(self):
        self._stop.set()
        for thread in self._threads:
            thread.join()
        return self.answers


def draft(bundle):
    paths = [path for path in bundle.rglob("*") if path.is_file()]
    return Draft(
        bundle_uri=str(bundle), files={str(path.relative_to(bundle)): External.of(str(path)) for path in paths}
    )


def test_a_promotion_under_load_fails_no_request_and_the_answers_switch(handmade_bundle, tmp_path):
    """Version 1 says 2x + 1, version 2 says 4x + 1; then back, by a rollback."""
    registry = FileRegistry(str(tmp_path / "registry"))
    for scale in (1.0, 2.0):
        registry.register("shop", draft(handmade_bundle("regression", scale, engine="onnx")))
    registry.promote("shop", "champion", 1, expected=None)
    served = Served(None, "shop", tmp_path / "log", "--registry", registry.uri, "--poll-seconds", "0.2")
    load = Load(served, {"x": 3.0})

    def until(answer):
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            latest = [each[2].get("predictions") for each in load.answers[-20:]]
            if latest == [[answer]] * 20:  # the load goes on before, while and after the model is exchanged
                return
            time.sleep(0.05)
        raise AssertionError(load.answers[-3:])

    try:
        until(7.0)
        registry.promote("shop", "champion", 2, expected=1)
        until(13.0)
        _, answer = served.v2([{"name": "x", "datatype": "FP64", "shape": [1], "data": [3.0]}])
        assert answer["model_version"] == "2"
        registry.rollback("shop", "champion")
        until(7.0)
    finally:
        answers = load.stop()
        code = served.stop()
    assert code == 0
    assert len(answers) >= 60
    assert {status for _, status, _ in answers} == {200}, [each for each in answers if each[1] != 200][:3]
    assert {each["predictions"][0] for _, _, each in answers} == {7.0, 13.0}
    assert "version 2 answers from now on, 1 before" in served.log.read_text()


def test_told_to_stop_it_is_not_ready_and_still_answers_for_a_while(handmade_bundle, tmp_path):
    served = Served(handmade_bundle("regression", engine="onnx"), "shop", tmp_path / "log", "--drain-seconds", "2")
    load = Load(served, {"x": 3.0})
    time.sleep(0.5)
    told = time.monotonic()
    served.process.send_signal(signal.SIGTERM)
    time.sleep(0.5)
    with pytest.raises(urllib.error.HTTPError) as caught:
        served.get("/v2/health/ready")
    assert caught.value.code == 503
    assert served.v1([{"x": 3.0}])[0] == 200
    time.sleep(0.7)
    answers = load.stop()
    assert {status for when, status, _ in answers if when < told + 1.2} == {200}
    assert served.process.wait(20) == 0
    assert time.monotonic() - told >= 2


def test_told_to_stop_it_sends_away_who_keeps_a_connection(handmade_bundle, tmp_path):
    """A balancer's endpoints change; a connection that is there stays. Of eight clients that kept one,
    all lost a request at the end of a drain before."""
    served = Served(handmade_bundle("regression", engine="onnx"), "shop", tmp_path / "log", "--drain-seconds", "2")
    body = b'{"instances": [{"x": 3.0}]}'
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", int(served.url.rpartition(":")[2]))) as kept:

        def ask():
            kept.request("POST", "/v1/models/shop:predict", body)
            answer = kept.getresponse()
            answer.read()
            return answer.status, answer.getheader("connection")

        assert [ask(), ask()] == [(200, None)] * 2
        served.process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + 1.5
        while (answered := ask()) == (200, None) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert answered == (200, "close")
        time.sleep(1.1)  # uvicorn makes its headers anew every second
        assert ask() == (200, "close")
    assert served.process.wait(20) == 0


def test_a_request_in_hand_is_finished_before_the_end(handmade_bundle, tmp_path):
    """Half of a body is there when the signal comes, the other half a second later."""
    served = Served(handmade_bundle("regression", engine="onnx"), "shop", tmp_path / "log")
    body = b'{"instances": [{"x": 3.0}]}'
    with contextlib.closing(socket.create_connection(("127.0.0.1", int(served.url.rpartition(":")[2])))) as connection:
        head = f"POST /v1/models/shop:predict HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        connection.sendall(head + body[:5])
        time.sleep(0.3)
        served.process.send_signal(signal.SIGTERM)
        time.sleep(1)
        connection.sendall(body[5:])
        connection.settimeout(10)
        answer = connection.recv(4096)
        while b"7.0" not in answer:
            more = connection.recv(4096)
            assert more, answer
            answer += more
    assert answer.startswith(b"HTTP/1.1 200")
    assert served.process.wait(20) == 0
