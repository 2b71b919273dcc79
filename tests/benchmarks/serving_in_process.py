"""The server's own work on a request, from the ASGI scope to the answer's last byte: see SERVING.md, "Later still".

    python -m tests.benchmarks.serving_in_process [--before CHECKOUT] [--rounds 5] [--only table]

One process a checkout, no sockets, asked in turn: microseconds of CPU, least and tenth percentile of all calls.
`--before` names another checkout of nasflow (``git worktree add``), whose code then answers the same requests beside
this one's. What nobody can be faster than is measured beside: the echoes, ONNX Runtime on ready tensors, JSON read and
thrown away.
"""

import argparse
import contextlib
import json
import os
import pickle
import subprocess
import sys
import tempfile
import time
from pathlib import Path

CALLS = {1: 1500, 32: 400, 256: 120}
"""Of one case in one round."""


# ---- the process that answers --------------------------------------------------------------------------------------
def work(bundle_path):
    """Reads requests to measure from stdin, a pickle each; writes a JSON list of seconds for each."""
    import gc

    cases = _cases(bundle_path)
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 20, 20)
    print("ready", flush=True)
    while True:
        try:
            name, rows, calls = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        call = cases(name, rows)
        found = []
        for _ in range(calls):
            before = time.process_time_ns()
            call()
            found.append(time.process_time_ns() - before)
        print(json.dumps(found), flush=True)


def _cases(bundle_path):
    import concurrent.futures

    import onnxruntime
    import orjson

    sys.argv = sys.argv[:1]
    from tests.benchmarks.stock_servers import _echo

    from nasflow.data.raw import raw_batch
    from nasflow.serving.bundle import Bundle
    from nasflow.serving.encoding import Encoder
    from nasflow.serving.live import Live, Loaded
    from nasflow.serving.predictions import Predictions
    from nasflow.serving.rest import _Rest

    bundle = Bundle.load(str(bundle_path), engine="onnx")
    rest = object.__new__(_Rest)
    rest.max_body_bytes = 64 * 2**20
    rest.predictions = lambda app: Predictions(
        app,
        name="model",
        live=Live(Loaded.of(bundle)),
        max_rows=10_000,
        threads=concurrent.futures.ThreadPoolExecutor(2),
    )
    apps = {"nasflow": rest._wrapped(None), "echo": _echo, "fastapi echo": _fastapi()}
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(bundle_path / "network.onnx"), options)
    encode = Encoder(bundle.transform, [each.name for each in session.get_inputs()])
    stored = pickle.loads((bundle_path.parent / "requests.pickle").read_bytes())

    def cases(name, rows):
        given = stored[rows]
        if name == "ONNX Runtime":
            tensors = encode(raw_batch(given["rows"], bundle.schema))
            return lambda: session.run(None, tensors)
        if name == "raw call":
            raw = raw_batch(given["rows"], bundle.schema)
            return lambda: bundle.predict(raw)
        who, protocol = name
        path, body, headers = given[protocol]
        if who == "orjson":
            return lambda: orjson.loads(body)
        return _asked(apps[who], path, body, headers)

    return cases


def _fastapi():
    from fastapi import FastAPI, Request, Response

    app = FastAPI()

    @app.post("/{path:path}")
    async def give_back(request: Request) -> Response:
        return Response(await request.body(), media_type="application/json")

    return app


def _asked(app, path, body, headers):
    message = {"type": "http.request", "body": body, "more_body": False}
    sent = []

    async def receive():
        return message

    async def send(event):
        sent.append(event)

    def ask():
        scope = {
            "type": "http", "asgi": {"version": "3.0", "spec_version": "2.3"}, "http_version": "1.1", "method": "POST",
            "server": ("127.0.0.1", 80), "client": ("127.0.0.1", 8000), "scheme": "http", "root_path": "", "state": {},
            "path": path, "raw_path": path.encode(), "query_string": b"", "headers": list(headers),
        }  # fmt: skip
        sent.clear()
        with contextlib.suppress(StopIteration):  # nothing here waits for anything
            app(scope, receive, send).send(None)
            raise RuntimeError("it waited")

    ask()
    if sent[0]["status"] != 200:
        raise RuntimeError(sent[1]["body"])
    return ask


# ---- the process that asks -----------------------------------------------------------------------------------------
def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--before", type=Path, help="another checkout")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="table", help="bundle")
    parser.add_argument("--rows", default="1,32,256")
    parser.add_argument("--bundle", type=Path, help="a folder to keep the bundle in, for the next time")
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        work(options.work)
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.bundle or Path(temporary)
        if not (folder / "requests.pickle").exists():
            _make(options.only, folder)
        _compare(folder / "bundle", options)


def _make(kind, folder):
    import orjson
    from tests.benchmarks.serving import BATCHES, image_bundle, requests, table_bundle

    folder.mkdir(exist_ok=True, parents=True)
    rows, schema = {"table": table_bundle, "image": image_bundle}[kind](folder / "bundle")
    stored = {}
    for count in BATCHES:
        stored[count] = {"rows": rows[:count]}
        for protocol, request in requests(rows[:count], schema).items():
            head, _, body = request.partition(b"\r\n\r\n")
            first, *lines = head.split(b"\r\n")
            headers = [(name.lower(), value) for name, value in (line.split(b": ", 1) for line in lines)]
            stored[count][protocol] = (first.split()[1].decode(), body, headers)
            assert protocol == "V2 binary" or orjson.loads(body)
    (folder / "requests.pickle").write_bytes(pickle.dumps(stored))


def _compare(bundle, options):
    here = Path(__file__).parents[2]
    checkouts = {"before": options.before.absolute(), "now": here} if options.before else {"now": here}
    workers = {name: _started(path, here, bundle) for name, path in checkouts.items()}
    protocols = ("V1 JSON", "V2 JSON", "V2 binary")
    ours = ["raw call", *[("nasflow", protocol) for protocol in protocols]]
    floors = ["ONNX Runtime", *[(who, protocols[0]) for who in ("echo", "fastapi echo")]]
    floors += [("orjson", protocol) for protocol in protocols[:2]]
    print("| rows | what | " + " | ".join(f"{name}: least | 10th" for name in checkouts) + " |")
    print("| ---: | --- |" + " ---: | ---: |" * len(checkouts))
    for rows in map(int, options.rows.split(",")):
        found = {}
        for _ in range(options.rounds):
            for case in [*floors, *ours]:
                for name in checkouts:
                    if case in ours or name == "now":
                        found.setdefault((case, name), []).extend(_asked_of(workers[name], case, rows))
        for case in [*floors, *ours]:
            cells = []
            for name in checkouts:
                values = sorted(found.get((case, name), ()))
                cells += [f"{values[0] / 1e3:.1f}", f"{values[len(values) // 10] / 1e3:.1f}"] if values else ["", ""]
            print(
                f"| {rows} | {case if isinstance(case, str) else ', '.join(case)} | {' | '.join(cells)} |", flush=True
            )
    for worker in workers.values():
        worker.stdin.close()
        worker.wait()


def _started(checkout, here, bundle):
    path = os.pathsep.join([str(checkout / "components"), str(here)])
    command = [sys.executable, "-m", "tests.benchmarks.serving_in_process", "--work", str(bundle)]
    worker = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": path}
    )
    while worker.stdout.readline() != b"ready\n":
        if worker.poll() is not None:
            raise RuntimeError("it did not start")
    return worker


def _asked_of(worker, case, rows):
    worker.stdin.write(pickle.dumps((case, rows, CALLS[rows])))
    worker.stdin.flush()
    return json.loads(worker.stdout.readline())


if __name__ == "__main__":
    main()
