"""What nasflow's server is measured against; each is a process on a free port, which it prints.

python -m tests.benchmarks.stock_servers echo          a bare ASGI application on uvicorn: the request's body back
python -m tests.benchmarks.stock_servers kserve URI    a KServe custom predictor as its documentation writes one, on
                                                       the same bundle and the same engine
    python -m tests.benchmarks.stock_servers kserve_echo   the same server around a predictor that computes nothing
    python -m tests.benchmarks.stock_servers fastapi_echo  FastAPI on uvicorn, which KServe's server is made of: a route
                                                       that gives the request's body back, read by nobody
"""

import asyncio
import socket
import sys


async def _echo(scope, receive, send):
    if scope["type"] != "http":
        return
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message.get("body", b""), message.get("more_body", False)
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _listen():
    listener = socket.socket(proto=socket.IPPROTO_TCP)  # else asyncio leaves Nagle's algorithm on: 40 ms a request
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    return listener


def echo():
    _run(_echo)


def fastapi_echo():
    from fastapi import FastAPI, Request, Response

    app = FastAPI()

    @app.post("/{path:path}")
    async def give_back(request: Request) -> Response:
        return Response(await request.body(), media_type="application/json")

    _run(app)


def _run(app):
    import uvicorn

    server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off", timeout_keep_alive=300))
    with asyncio.Runner(loop_factory=server.config.get_loop_factory()) as runner:
        runner.run(server.serve(sockets=[_listen()]))


def kserve(uri):
    sys.argv = sys.argv[:1]
    import numpy as np
    from kserve import InferOutput, InferRequest, InferResponse, Model

    from nasflow.data.raw import raw_batch
    from nasflow.serving.bundle import Bundle

    bundle = Bundle.load(uri)
    schema = bundle.schema

    class Stock(Model):
        def load(self):
            self.ready = True
            return True

        def predict(self, payload, headers=None, response_headers=None):
            if not isinstance(payload, InferRequest):
                answer = bundle.predict(raw_batch(payload["instances"], schema))
                return {"predictions": answer.tolist()}
            raw = {}
            for each in payload.inputs:
                values = each.as_numpy()
                raw[each.name] = (
                    np.array([v.decode() if isinstance(v, bytes) else v for v in values], object)
                    if each.datatype == "BYTES"
                    else values
                )
            answer = bundle.predict(raw)
            output = InferOutput("probabilities", list(answer.shape), "FP32")
            output.set_data_from_numpy(answer, binary_data=bool(payload.use_binary_outputs))
            return InferResponse(payload.id or "1", self.name, [output], use_binary_outputs=payload.use_binary_outputs)

    _serve(Stock("model"))


def kserve_echo():
    sys.argv = sys.argv[:1]
    from kserve import InferOutput, InferRequest, InferResponse, Model

    class Echo(Model):
        def load(self):
            self.ready = True
            return True

        def predict(self, payload, headers=None, response_headers=None):
            if not isinstance(payload, InferRequest):
                return {"predictions": [0.0]}
            return InferResponse("1", self.name, [InferOutput("x", [1], "FP32", [0.0])])

    _serve(Echo("model"))


def _serve(model):
    """On loopback, and on a port that is free; nothing else of KServe's is changed."""
    from kserve import ModelServer
    from kserve.protocol.rest.server import RESTServer

    listener = _listen()

    async def start(self):
        self.create_application()
        await self._server.serve(sockets=[listener])

    RESTServer.start = start
    model.load()
    ModelServer(enable_grpc=False, workers=1).start([model])


if __name__ == "__main__":
    {"echo": echo, "fastapi_echo": fastapi_echo, "kserve": kserve, "kserve_echo": kserve_echo}[sys.argv[1]](
        *sys.argv[2:]
    )
