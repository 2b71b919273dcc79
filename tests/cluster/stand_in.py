"""Where an API server is real and KServe's controller is not there: what it would write, by the tests' fake of it.

Statuses go through the status subresource; each predictor gets a Service whose endpoint is a server of this process, so
that requests take the API server's own proxy.
"""

import http.server
import threading

from tests.cluster.local.__main__ import own_address
from tests.unit.deploy.fake_kserve import FakeCluster

_GROUP = "/apis/serving.kserve.io/v1beta1"
_POD = "stand-in"


class StandIn:
    """A controller for one namespace, and the pods of all versions; use as a context manager."""

    def __init__(self, api, servers):
        """`api`: an administrator's KubernetesApi; `servers[version](path, body) -> (status, bytes)`."""
        self._api, self.servers = api, servers
        self._logic = FakeCluster(servers, namespace=api.namespace)
        self.broken = self._logic.broken
        self._ports, self._made = {}, set()
        self._listening = []
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.problems = []

    def __enter__(self):
        self._pod()
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._end.set()
        self._thread.join(10)
        for server in self._listening:
            server.shutdown()
            server.server_close()
        assert [str(each) for each in self.problems] == []

    def _run(self):
        path = f"{_GROUP}/namespaces/{self._api.namespace}/inferenceservices"
        while not self._end.wait(0.05):
            try:
                for live in self._api.call("GET", path, what="list")["items"]:
                    self._reconcile(path, live)
            except Exception as error:  # noqa: BLE001  # the test's thread says so at the end
                self.problems.append(error)
                return

    def _reconcile(self, path, live):
        stopped = live["metadata"]["annotations"].get("serving.kserve.io/stop") == "true"
        status = (
            {"conditions": [{"type": "Ready", "status": "False", "reason": "Stopped"}]}
            if stopped
            else self._logic._standard(live)
        )
        for predictor in [live["spec"]["predictor"], *(each["predictor"] for each in live["spec"].get("canary", []))]:
            self._service(f"{live['metadata']['name']}-{predictor['name']}-predictor", int(predictor["name"][1:]))
        if all(_same((live.get("status") or {}).get(key), value) for key, value in status.items()):
            return
        self._api.call(
            "PATCH",
            f"{path}/{live['metadata']['name']}/status",
            {"status": status},
            kind="merge-patch+json",
            what="status",
            missing_ok=True,
        )

    def _service(self, name, version):
        if name in self._made:
            return
        space = f"/api/v1/namespaces/{self._api.namespace}"
        port = {"name": "http", "port": 80, "protocol": "TCP"}
        service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": {"ports": [port]}}
        self._api.call("POST", f"{space}/services", service, what="service")
        address = {"ip": own_address(), "targetRef": {"kind": "Pod", "name": _POD, "namespace": self._api.namespace}}
        subset = {"addresses": [address], "ports": [{"name": "http", "port": self._port(version)}]}
        endpoints = {"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": name}, "subsets": [subset]}
        self._api.call("POST", f"{space}/endpoints", endpoints, what="endpoints")
        self._made.add(name)

    def _pod(self):
        """The API server's proxy asks addresses of pods only: one that is said to run here."""
        space, name = f"/api/v1/namespaces/{self._api.namespace}", {"name": _POD}
        account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": name}
        spec = {"containers": [{"name": "main", "image": "none"}], "serviceAccountName": _POD}
        self._api.call("POST", f"{space}/serviceaccounts", account, what="account")
        self._api.call(
            "POST", f"{space}/pods", {"apiVersion": "v1", "kind": "Pod", "metadata": name, "spec": spec}, what="pod"
        )
        status = {"podIP": own_address(), "podIPs": [{"ip": own_address()}]}
        path = f"{space}/pods/{_POD}/status"
        self._api.call("PATCH", path, {"status": status}, kind="merge-patch+json", what="status")

    def _port(self, version):
        if version not in self._ports:
            server = http.server.ThreadingHTTPServer((own_address(), 0), _handler(self.servers, version))
            threading.Thread(target=server.serve_forever, daemon=True).start()
            self._listening.append(server)
            self._ports[version] = server.server_address[1]
        return self._ports[version]


def _same(there, wanted):
    """Whether the status says so already."""
    if isinstance(wanted, list):
        return (
            isinstance(there, list)
            and len(there) == len(wanted)
            and all(_same(*pair) for pair in zip(there, wanted, strict=True))
        )
    if isinstance(wanted, dict):
        return isinstance(there, dict) and all(_same(there.get(key), value) for key, value in wanted.items())
    return there == wanted


def _handler(servers, version):
    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def _do(self):
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            status, data = servers[version](self.path, body)
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = _do

    return Handler
