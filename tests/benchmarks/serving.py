"""The model server against what it could be at best, and against a stock KServe predictor: see SERVING.md.

    python -m tests.benchmarks.serving [--seconds 4] [--soak 300] [--only table,image] > table.md
    python -m tests.benchmarks.serving --only table --servers "echo,fastapi echo,nasflow,kserve echo"

All servers run at once and are asked in turn, so that whatever else the machine does meets them alike. Latency is seen
by one client that waits for each answer; CPU is what the server's process used for one request, which does not depend
on what else runs. Both bundles are made and exported here, by nasflow's own exporter. `--soak` needs vegeta on the
PATH: `go install github.com/tsenart/vegeta/v12@v12.13.0`.
"""

import argparse
import base64
import contextlib
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import orjson
from tests.benchmarks.http_client import Connection, post

BATCHES = (1, 32, 256)
RAW = {
    "session": "ONNX Runtime alone, tensors ready",
    "onnx": "raw call, ONNX engine",
    "onnx apart": "raw call, ONNX engine, 2 ms apart",
    "saved_model": "raw call, SavedModel",
}
SERVERS = ("echo", "fastapi echo", "nasflow", "saved_model", "kserve echo", "kserve")
TICK = os.sysconf("SC_CLK_TCK")


# ---- bundles -------------------------------------------------------------------------------------------------------
def table_bundle(folder):
    """Eight numbers and six texts, like the UCI Adult table, and a network of 256–128 units."""
    from nasflow.data.schema import Column, Label, Schema
    from nasflow.data.transform import CategoricalTransform, LabelTransform, NumericTransform, TransformSpec

    numbers, texts = [f"number {n}" for n in range(8)], [f"text {n}" for n in range(6)]
    words = tuple(f"value-{n}" for n in range(16))
    rng = np.random.default_rng(0)
    rows = [
        {name: round(float(rng.normal(40, 10)), 1) for name in numbers}
        | {name: str(rng.choice(words)) for name in texts}
        for _ in range(max(BATCHES))
    ]
    column = lambda name, kind: Column(name=name, kind=kind, dtype="double", missing=False, reason="made")  # noqa: E731
    schema = Schema(
        task="tabular_classification",
        columns=tuple([column(name, "numeric") for name in numbers] + [column(name, "categorical") for name in texts]),
        ignored={},
        image=None,
        label=Label(name="y", dtype="string", classes=("no", "yes")),
    )
    transform = TransformSpec(
        numeric=tuple(NumericTransform(name=name, mean=40.0, std=10.0, indicator=False) for name in numbers),
        categorical=tuple(CategoricalTransform(name=name, vocabulary=words) for name in texts),
        label=LabelTransform(name="y", classes=("no", "yes")),
    )
    import keras

    inputs = {
        "numeric": keras.Input((8,), name="numeric"),
        "categorical": keras.Input((6,), name="categorical", dtype="int32"),
    }
    embedded = keras.layers.Flatten()(keras.layers.Embedding(18, 8)(inputs["categorical"]))
    hidden = keras.layers.Concatenate()([inputs["numeric"], embedded])
    for units in (256, 128):
        hidden = keras.layers.Dense(units, activation="relu")(hidden)
    return _export(keras.Model(inputs, keras.layers.Dense(2)(hidden)), folder, schema, transform, rows)


def image_bundle(folder):
    """28 × 28 grey pixels, and a small convolutional network: 55k parameters."""
    from nasflow.data.schema import Column, ImageFormat, Label, Schema
    from nasflow.data.transform import ImageTransform, LabelTransform, TransformSpec

    classes = tuple(str(n) for n in range(10))
    schema = Schema(
        task="image_classification",
        columns=(Column(name="image", kind="image", dtype="binary", missing=False, reason="made"),),
        ignored={},
        image=ImageFormat(height=28, width=28, channels=1, encoding="array"),
        label=Label(name="y", dtype="string", classes=classes),
    )
    image = ImageTransform(name="image", height=28, width=28, channels=1, mean=(90.0,), std=(60.0,))
    transform = TransformSpec(image=image, label=LabelTransform(name="y", classes=classes))
    rng = np.random.default_rng(0)
    rows = [{"image": rng.integers(0, 256, (28, 28, 1)).tolist()} for _ in range(max(BATCHES))]
    import keras

    source = keras.Input((28, 28, 1), name="image", dtype="uint8")
    hidden = keras.layers.Rescaling(1 / 60, offset=-1.5, dtype="float32")(source)
    for filters in (16, 32):
        hidden = keras.layers.Conv2D(filters, 3, padding="same", activation="relu")(hidden)
        hidden = keras.layers.MaxPooling2D(2)(hidden)
    hidden = keras.layers.Dense(32, activation="relu")(keras.layers.Flatten()(hidden))
    return _export(keras.Model({"image": source}, keras.layers.Dense(10)(hidden)), folder, schema, transform, rows)


def _export(model, folder, schema, transform, rows):
    from nasflow.data.golden import Golden
    from nasflow.models.export import export

    golden = Golden(rows=rows[:8], labels=[schema.label.classes[0]] * 8)
    export(model, folder, schema=schema, transform=transform, golden=golden)
    return rows, schema


# ---- servers -------------------------------------------------------------------------------------------------------
class Process:
    """A server, and what its process has used."""

    def __init__(self, name, command, found):
        self.name = name
        self.log = tempfile.NamedTemporaryFile(prefix=f"bench-{name}-", delete=False)  # noqa: SIM115  # until stop()
        self.process = subprocess.Popen(command, stdout=self.log, stderr=subprocess.STDOUT)
        deadline = time.monotonic() + 120
        while not (match := re.search(found, Path(self.log.name).read_text())):
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(Path(self.log.name).read_text())
            time.sleep(0.1)
        self.port = int(match[1] or match[2])
        while True:
            with contextlib.suppress(OSError):
                self.connection = Connection(self.port)
                break
            time.sleep(0.1)

    def cpu_seconds(self):
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICK

    def memory_mib(self):
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024

    def stop(self):
        self.connection.close()
        self.process.terminate()
        self.process.wait(30)
        Path(self.log.name).unlink()


def start_all(bundle, names):
    run = [sys.executable, "-m"]
    ours = [*run, "nasflow.serving", "--bundle", str(bundle), "--name", "model", "--port", "0"]
    stock = [*run, "tests.benchmarks.stock_servers"]
    commands = {
        "echo": [*stock, "echo"],
        "fastapi echo": [*stock, "fastapi_echo"],
        "nasflow": ours,
        "saved_model": [*ours, "--engine", "saved_model"],
        "kserve echo": [*stock, "kserve_echo"],
        "kserve": [*stock, "kserve", str(bundle)],
    }
    port = r"at http://127\.0\.0\.1:(\d+)|(?m:^(\d+)$)"
    return {name: Process(name.replace(" ", "-"), commands[name], port) for name in commands if name in names}


# ---- requests ------------------------------------------------------------------------------------------------------
def requests(rows, schema):
    """Protocol → the request's bytes for these rows."""
    from nasflow.data.raw import raw_batch

    raw = raw_batch(rows, schema)
    v1 = orjson.dumps({"instances": rows})
    named, blobs, plain = [], [], []
    for name, values in raw.items():
        if values.dtype == object:
            encoded = [text.encode() for text in values]
            datatype, blob = "BYTES", b"".join(len(each).to_bytes(4, "little") + each for each in encoded)
        else:
            datatype, blob = {"float64": "FP64", "uint8": "UINT8"}[values.dtype.name], values.tobytes()
        entry = {"name": name, "datatype": datatype, "shape": list(values.shape)}
        plain.append({**entry, "data": values.reshape(-1).tolist()})
        named.append({**entry, "parameters": {"binary_data_size": len(blob)}})
        blobs.append(blob)
    head = orjson.dumps({"inputs": named, "parameters": {"binary_data_output": True}})
    length = {"Inference_Header_Content_Length": len(head)}
    path = "/v2/models/model/infer"
    return {
        "V1 JSON": post("/v1/models/model:predict", v1),
        "V2 JSON": post(path, orjson.dumps({"id": "1", "inputs": plain})),
        "V2 binary": post(path, head + b"".join(blobs), "application/octet-stream", **length),
    }


def measure(servers, wanted, seconds):
    """(server, protocol) → (median seconds, server's CPU seconds a request), asked in turn in short bursts."""
    times = {key: [] for key in wanted}
    cpu = dict.fromkeys(wanted, 0.0)
    for _ in range(5):
        for key, request in wanted.items():
            server = servers[key[0]]
            status, body, _ = server.connection.ask(request)
            assert status == 200, (key, body[:300])
            until, before = time.perf_counter() + seconds / 5, server.cpu_seconds()
            while time.perf_counter() < until:
                times[key].append(server.connection.ask(request)[2])
            cpu[key] += server.cpu_seconds() - before
    return {key: (statistics.median(times[key]), cpu[key] / len(times[key])) for key in wanted}


def raw_calls(bundle_path, rows, schema, seconds):
    """In this process, without HTTP: raw columns to predictions by either engine, and ONNX Runtime on ready tensors."""
    import onnxruntime

    from nasflow.data.raw import raw_batch
    from nasflow.serving.bundle import Bundle
    from nasflow.serving.encoding import Encoder

    raw = raw_batch(rows, schema)
    found = {}
    for engine in ("onnx", "saved_model"):
        bundle = Bundle.load(str(bundle_path), engine=engine)
        found[engine] = _timed(lambda bundle=bundle: bundle.predict(raw), seconds)
        if engine == "onnx":  # as a server calls it: others have had the caches meanwhile
            found["onnx apart"] = _timed(lambda bundle=bundle: bundle.predict(raw), seconds, pause=0.002)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(bundle_path / "network.onnx"), options)
    tensors = Encoder(bundle.transform, [each.name for each in session.get_inputs()])(raw)
    found["session"] = _timed(lambda: session.run(None, tensors), seconds)
    return found


def _timed(call, seconds, pause=0.0):
    call()
    times, cpu, until = [], 0.0, time.perf_counter() + seconds
    while time.perf_counter() < until:
        if pause:
            time.sleep(pause)
        started, before = time.perf_counter(), time.process_time()
        call()
        times.append(time.perf_counter() - started)
        cpu += time.process_time() - before
    return statistics.median(times), cpu / len(times)


# ---- a long time under load ----------------------------------------------------------------------------------------
def soak(server, echo, body, seconds, clients=4):
    """Finds what the server can take with `clients` connections, then asks for 70 % of it, and the echo for as many in
    turn, which tells what of a tail is the machine's; by tenth of the time: (requests a second, p50, p99, most in ms,
    the echo's p50 and p99, the server's CPU ms a request, MiB of memory)."""
    peak = _load(server, body, 10, clients, rate=0)[0]
    rate = int(0.7 * peak)
    slices = []
    for _ in range(10):
        before = server.cpu_seconds()
        ours = _load(server, body, seconds / 10, clients, rate=rate)
        cpu = (server.cpu_seconds() - before) * 1e3 / (rate * seconds / 10)
        theirs = _load(echo, body, seconds / 40, clients, rate=rate)[1:3]
        slices.append((*ours, *theirs, cpu, server.memory_mib()))
    return peak, rate, slices


def _load(server, body, seconds, clients, *, rate):
    """vegeta, because a client in Python takes as much of a core as the server, and its threads wait for each other.
    With a rate, requests are sent when they are due: on more connections, up to 64, where `clients` wait for answers.
    """
    target = {
        "method": "POST",
        "url": f"http://127.0.0.1:{server.port}/v1/models/model:predict",
        "header": {"Content-Type": ["application/json"]},
        "body": base64.b64encode(body).decode(),
    }
    attack = ["vegeta", "attack", "-format=json", f"-rate={rate}", f"-duration={seconds}s", f"-workers={clients}"]
    attack.append(f"-max-workers={64 if rate else clients}")
    results = subprocess.run(
        attack, input=json.dumps(target).encode() + b"\n", stdout=subprocess.PIPE, check=True
    ).stdout
    found = subprocess.run(["vegeta", "report", "-type=json"], input=results, stdout=subprocess.PIPE, check=True)
    told = json.loads(found.stdout)
    assert told["success"] == 1.0, (told["status_codes"], told["errors"][:3])
    latencies = told["latencies"]
    return told["throughput"], *(latencies[name] / 1e6 for name in ("50th", "99th", "max"))


# ---- the page ------------------------------------------------------------------------------------------------------
def report(kind, make, names, seconds, soak_seconds):
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary, "bundle")
        rows, schema = make(folder)
        servers = start_all(folder, names)
        try:
            _report(kind, folder, rows, schema, servers, seconds, soak_seconds)
        finally:
            for server in servers.values():
                server.stop()


def _report(kind, folder, rows, schema, servers, seconds, soak_seconds):
    print(f"\n## {kind}\n")
    print("| rows | who | protocol | p50 ms | CPU ms | CPU × echo | × FastAPI's | rows/s | rows / CPU s | % of raw |")
    print("| ---: | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for batch in BATCHES:
        asked = requests(rows[:batch], schema)
        wanted = {(server, protocol): request for server in servers for protocol, request in asked.items()}
        raw = raw_calls(folder, rows[:batch], schema, seconds / 4)
        for name, what in RAW.items():
            wall, cpu = raw[name]
            print(f"| {batch} | {what} | – | {_numbers(batch, wall, cpu)} | |")
        for (server, protocol), (wall, cpu) in (found := measure(servers, wanted, seconds)).items():
            engine = "saved_model" if server == "saved_model" else "onnx"
            apart = f" ({raw['onnx apart'][1] / cpu:.0%})" if engine == "onnx" else ""
            share = "" if "echo" in server else f"{raw[engine][1] / cpu:.0%}{apart}"
            echoes = [found.get((echo, protocol)) for echo in ("echo", "fastapi echo")]
            ratios = [f"{cpu / echo[1]:.1f}" if echo else "" for echo in echoes]
            print(f"| {batch} | {server} | {protocol} | {_numbers(batch, wall, cpu, *ratios)} | {share} |", flush=True)
    if soak_seconds:
        server = servers["nasflow"]
        peak, rate, slices = soak(server, servers["echo"], orjson.dumps({"instances": rows[:1]}), soak_seconds)
        print(
            f"\n{soak_seconds:g} s of V1 requests of 1 row at {rate:,.0f}/s, 70 % of the {peak:,.0f}/s of 4 clients:\n"
        )
        print("| tenth | requests/s | p50 ms | p99 ms | most ms | echo p50 | echo p99 | CPU ms | MiB |")
        print("| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
        for place, (done, *times, memory) in enumerate(slices, start=1):
            print(f"| {place} | {done:,.0f} | {' | '.join(f'{each:.2f}' for each in times)} | {memory:.1f} |")
    print(
        f"\nMemory after it all: {json.dumps({name: round(each.memory_mib()) for name, each in servers.items()})} MiB"
    )


def _numbers(batch, wall, cpu, asgi="", fastapi=""):
    return f"{wall * 1e3:.3f} | {cpu * 1e3:.3f} | {asgi} | {fastapi} | {batch / wall:,.0f} | {batch / cpu:,.0f}"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--soak", type=float, default=0.0)
    parser.add_argument("--only", default="table,image", help="bundles")
    parser.add_argument("--servers", default=",".join(SERVERS), help="of: %(default)s; the soak needs echo and nasflow")
    options = parser.parse_args()
    for kind in options.only.split(","):
        make = {"table": table_bundle, "image": image_bundle}[kind]
        report(kind, make, options.servers.split(","), options.seconds, options.soak)


if __name__ == "__main__":
    main()
