"""A Kubeflow Model Registry (REST v1) that keeps its state in memory, for its official client.

It answers as the real one does where that matters here: ids, unique names (409), look-up by name below a parent, pages,
404, 401 without the token; bodies are checked for fields that the API does not have.
"""

import http.server
import itertools
import json
import re
import threading
import urllib.parse

PREFIX = "/api/model_registry/v1"
FIELDS = {
    "registered_models": {"name", "owner", "state", "description", "externalId", "customProperties"},
    "model_versions": {"name", "author", "state", "description", "externalId", "customProperties", "registeredModelId"},
    "artifacts": {
        "name", "uri", "state", "description", "externalId", "customProperties", "artifactType", "modelFormatName",
        "modelFormatVersion",
    },
}  # fmt: skip
PARENT = {"model_versions": "registeredModelId", "artifacts": "modelVersionId"}


class ModelRegistryDouble:
    """`failures` are statuses to answer the next requests with; `page` is the size of a page at most."""

    def __init__(self, *, token=None, page=100):
        self.token, self.page, self.failures = token, page, []
        self.state = {kind: {} for kind in FIELDS}
        self._ids, self._lock = itertools.count(1), threading.Lock()
        double = self

        class Handler(_Handler):
            server_state = double

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()

    def close(self):
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def create(self, kind, body):
        if unknown := set(body) - FIELDS[kind] - set(PARENT.values()):
            raise Refused(400, f"unknown fields {sorted(unknown)}")
        with self._lock:
            parent = PARENT.get(kind)
            for other in self.state[kind].values():
                if other["name"] == body["name"] and (parent is None or other[parent] == body[parent]):
                    raise Refused(409, f"{kind} {body['name']!r} already exists")
            made = {**body, "id": str(next(self._ids)), "createTimeSinceEpoch": "0", "lastUpdateTimeSinceEpoch": "0"}
            self.state[kind][made["id"]] = made
            return made

    def update(self, kind, key, body):
        with self._lock:
            if key not in self.state[kind]:
                raise Refused(404, f"{kind} {key} not found")
            if unknown := set(body) - FIELDS[kind]:
                raise Refused(400, f"unknown fields {sorted(unknown)}")
            self.state[kind][key] |= body
            return self.state[kind][key]

    def find(self, kind, query, parent):
        with self._lock:
            for each in self.state[kind].values():
                if each["name"] == query.get("name") and (
                    parent is None or each[parent] == query.get("parentResourceId")
                ):
                    return each
        raise Refused(404, f"no {kind} {query.get('name')!r}")

    def list(self, kind, query, **wanted):
        with self._lock:
            found = [each for each in self.state[kind].values() if all(each[k] == v for k, v in wanted.items())]
        start = int(query.get("nextPageToken") or 0)
        size = min(int(query.get("pageSize") or self.page), self.page)
        more = str(start + size) if start + size < len(found) else ""
        return {"items": found[start : start + size], "size": len(found), "pageSize": size, "nextPageToken": more}


class Refused(Exception):
    def __init__(self, status, message):
        super().__init__(message)
        self.status = status


class _Handler(http.server.BaseHTTPRequestHandler):
    server_state: ModelRegistryDouble
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def _answer(self, method):
        url = urllib.parse.urlsplit(self.path)
        query = {key: values[0] for key, values in urllib.parse.parse_qs(url.query).items()}
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length)) if length else {}
        try:
            state = self.server_state
            if state.failures:
                raise Refused(state.failures.pop(0), "out of order")
            if state.token and self.headers.get("Authorization") != f"Bearer {state.token}":
                raise Refused(401, "no token")
            status, answer = self._route(method, url.path.removeprefix(PREFIX), query, body)
        except Refused as error:
            status, answer = error.status, {"code": str(error.status), "message": str(error)}
        data = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _route(self, method, path, query, body):
        state = self.server_state
        match method, path:
            case "GET", "/registered_model":
                return 200, state.find("registered_models", query, None)
            case "GET", "/model_version":
                return 200, state.find("model_versions", query, "registeredModelId")
            case "GET", "/registered_models":
                return 200, state.list("registered_models", query)
            case "POST", "/registered_models":
                return 201, state.create("registered_models", body)
            case "POST", "/model_versions":
                if body.get("registeredModelId") not in state.state["registered_models"]:
                    raise Refused(404, "no such registered model")
                return 201, state.create("model_versions", body)
        if found := re.fullmatch(r"/registered_models/(\d+)", path):
            return 200, state.update("registered_models", found[1], body)
        if found := re.fullmatch(r"/registered_models/(\d+)/versions", path):
            return 200, state.list("model_versions", query, registeredModelId=found[1])
        if found := re.fullmatch(r"/model_versions/(\d+)/artifacts", path):
            if method == "GET":
                return 200, state.list("artifacts", query, modelVersionId=found[1])
            return 201, state.create("artifacts", {**body, "modelVersionId": found[1]})
        raise Refused(404, f"{method} {path}: the double does not know it")

    def do_GET(self):
        self._answer("GET")

    def do_POST(self):
        self._answer("POST")

    def do_PATCH(self):
        self._answer("PATCH")
