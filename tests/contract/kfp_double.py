"""A Kubeflow Pipelines API server (v2beta1) that keeps its state in memory: what the client sends is what it holds.

It answers as the real one does where that matters here: ids, statuses, filters, pages, 401 without the token, 404, 409.
Bodies are checked for the mistakes that the real server accepts in silence or refuses late.
"""

import email
import http.server
import itertools
import json
import re
import threading
import urllib.parse

import yaml

PREFIX = "/apis/v2beta1"


class KfpDouble:
    """`state` is what the server holds; `run_states` are the states that a run goes through, one a poll."""

    def __init__(self, *, token=None, page_size=None):
        self.token = token
        self.page_size = page_size
        self.pipelines, self.versions, self.experiments, self.runs, self.recurring = {}, {}, {}, {}, {}
        self.run_states = ["PENDING", "RUNNING", "SUCCEEDED"]
        self.failures = []  # statuses to answer the next requests with
        self.requests = []
        self._ids = itertools.count(1)
        double = self

        class Handler(_Handler):
            server_state = double

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def new_id(self, kind):
        return f"{kind}-{next(self._ids)}"


class _Refused(Exception):
    def __init__(self, status, message):
        super().__init__(message)
        self.status = status


class _Handler(http.server.BaseHTTPRequestHandler):
    server_state: KfpDouble

    def log_message(self, *_):
        pass

    def _handle(self):
        state = self.server_state
        url = urllib.parse.urlsplit(self.path)
        query = {key: values[0] for key, values in urllib.parse.parse_qs(url.query).items()}
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        state.requests.append((self.command, url.path))
        try:
            if state.failures:
                raise _Refused(state.failures.pop(0), "the server is not well")
            if state.token and self.headers.get("authorization") != f"Bearer {state.token}":
                raise _Refused(401, "Unauthenticated: Request header error")
            reply = self._route(url.path.removeprefix(PREFIX), query, body)
            status = 200
        except _Refused as refused:
            reply, status = {"error": str(refused), "message": str(refused), "code": refused.status}, refused.status
        content = json.dumps(reply).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_DELETE = _handle

    def _route(self, path, query, body):
        for method, pattern, answer in ROUTES:
            if method == self.command and (match := re.fullmatch(pattern, path)):
                return answer(self, *match.groups(), query=query, body=body)
        raise _Refused(404, f"no such endpoint: {self.command} {path}")

    def healthz(self, *, query, body):
        return {"multi_user": False}

    def upload_pipeline(self, *, query, body):
        state = self.server_state
        if any(each["display_name"] == query["name"] for each in state.pipelines.values()):
            raise _Refused(409, f"The name {query['name']} already exists")
        pipeline = {"pipeline_id": state.new_id("pipeline"), "display_name": query["name"]}
        state.pipelines[pipeline["pipeline_id"]] = pipeline
        self._add_version(pipeline["pipeline_id"], query["name"], body)
        return pipeline

    def upload_version(self, *, query, body):
        state = self.server_state
        if query["pipelineid"] not in state.pipelines:
            raise _Refused(404, f"Pipeline {query['pipelineid']} not found")
        existing = [v for v in state.versions.values() if v["pipeline_id"] == query["pipelineid"]]
        if any(each["display_name"] == query["name"] for each in existing):
            raise _Refused(409, f"Pipeline version {query['name']} already exists")
        return self._add_version(query["pipelineid"], query["name"], body)

    def _add_version(self, pipeline_id, name, body):
        message = email.message_from_bytes(
            b"Content-Type: " + self.headers["Content-Type"].encode() + b"\r\n\r\n" + body
        )
        part = next(
            p for p in message.get_payload() if p.get_param("name", header="content-disposition") == "uploadfile"
        )
        spec = list(yaml.safe_load_all(part.get_payload(decode=True)))
        if "pipelineInfo" not in spec[0]:
            raise _Refused(400, "Invalid input: not a pipeline spec")
        version_id = self.server_state.new_id("version")
        version = {"pipeline_id": pipeline_id, "pipeline_version_id": version_id, "display_name": name}
        self.server_state.versions[version_id] = {**version, "spec": spec}
        return version

    def list_pipelines(self, *, query, body):
        return self._page("pipelines", self._filtered(self.server_state.pipelines.values(), query), query)

    def list_versions(self, pipeline_id, *, query, body):
        found = [v for v in self.server_state.versions.values() if v["pipeline_id"] == pipeline_id]
        shown = [{key: value for key, value in v.items() if key != "spec"} for v in found]
        return self._page("pipeline_versions", self._filtered(shown, query), query)

    def list_experiments(self, *, query, body):
        return self._page("experiments", self._filtered(self.server_state.experiments.values(), query), query)

    def create_experiment(self, *, query, body):
        return self._create(self.server_state.experiments, "experiment", json.loads(body))

    def create_run(self, *, query, body):
        run = self._checked(json.loads(body))
        return self._create(self.server_state.runs, "run", {**run, "state": "PENDING", "polls": 0})

    def get_run(self, run_id, *, query, body):
        run = self._found(self.server_state.runs, run_id)
        states = self.server_state.run_states
        run["state"] = states[min(run["polls"], len(states) - 1)]
        run["polls"] += 1
        return {key: value for key, value in run.items() if key != "polls"}

    def create_recurring(self, *, query, body):
        recurring = self._checked(json.loads(body))
        cron = recurring["trigger"]["cron_schedule"]["cron"]
        if len(cron.split()) != 6:
            raise _Refused(400, f"Schedule cron is not supported: {cron}")
        recurring["status"] = "ENABLED" if recurring["mode"] == "ENABLE" else "DISABLED"
        return self._create(self.server_state.recurring, "recurring_run", recurring)

    def list_recurring(self, *, query, body):
        return self._page("recurringRuns", list(self.server_state.recurring.values()), query)

    def change_recurring(self, recurring_id, action, *, query, body):
        recurring = self._found(self.server_state.recurring, recurring_id)
        recurring["status"] = {"enable": "ENABLED", "disable": "DISABLED"}[action]
        recurring["mode"] = action.upper()
        return {}

    def delete_recurring(self, recurring_id, *, query, body):
        self._found(self.server_state.recurring, recurring_id)
        del self.server_state.recurring[recurring_id]
        return {}

    def _checked(self, content):
        """The experiment and the exact version exist, and every parameter is one that the version has."""
        self._found(self.server_state.experiments, content["experiment_id"])
        reference = content["pipeline_version_reference"]
        version = self._found(self.server_state.versions, reference.get("pipeline_version_id"))
        known = version["spec"][0]["root"]["inputDefinitions"]["parameters"]
        given = content["runtime_config"].get("parameters", {})
        if unknown := set(given) - set(known):
            raise _Refused(400, f"unknown parameters: {unknown}")
        required = {name for name, each in known.items() if "defaultValue" not in each and not each.get("isOptional")}
        if missing := required - set(given):
            raise _Refused(400, f"missing parameters: {missing}")
        return content

    def _create(self, store, kind, content):
        made = {**content, f"{kind}_id": self.server_state.new_id(kind)}
        store[made[f"{kind}_id"]] = made
        return made

    def _found(self, store, key):
        if key not in store:
            raise _Refused(404, f"{key} not found")
        return store[key]

    def _filtered(self, items, query):
        predicates = json.loads(query.get("filter", "{}")).get("predicates", [])
        for predicate in predicates:
            assert predicate["operation"] in ("EQUALS", 1), predicate
            wanted = predicate.get("stringValue", predicate.get("string_value"))
            items = [each for each in items if each[predicate["key"]] == wanted]
        return list(items)

    def _page(self, name, items, query):
        size = self.server_state.page_size or int(query.get("page_size") or 10)
        start = int(query.get("page_token") or 0)
        following = str(start + size) if start + size < len(items) else ""
        return {name: items[start : start + size], "total_size": len(items), "next_page_token": following}


ROUTES = (
    ("GET", "/healthz", _Handler.healthz),
    ("POST", "/pipelines/upload", _Handler.upload_pipeline),
    ("POST", "/pipelines/upload_version", _Handler.upload_version),
    ("GET", "/pipelines", _Handler.list_pipelines),
    ("GET", "/pipelines/([^/]+)/versions", _Handler.list_versions),
    ("GET", "/experiments", _Handler.list_experiments),
    ("POST", "/experiments", _Handler.create_experiment),
    ("POST", "/runs", _Handler.create_run),
    ("GET", "/runs/([^/:]+)", _Handler.get_run),
    ("POST", "/recurringruns", _Handler.create_recurring),
    ("GET", "/recurringruns", _Handler.list_recurring),
    ("POST", "/recurringruns/([^/:]+):(enable|disable)", _Handler.change_recurring),
    ("DELETE", "/recurringruns/([^/:]+)", _Handler.delete_recurring),
)
