"""A cluster with KServe's controller, as far as its v0.20 source says: conditions, addresses, canaries, revisions,
traffic, server-side apply by one manager. Pods are functions that answer requests. Time moves when somebody sleeps."""

import copy
import json
import urllib.parse

from nasflow.core.errors import ChangedError, NasflowError
from nasflow.deploy import crd

OPTIONAL_CONDITIONS = ("CanaryPredictorReady",)


class FakeClock:
    def __init__(self):
        self.now = 1_000_000.0
        self.on_sleep = None

    def time(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds
        if self.on_sleep:
            self.on_sleep()


class FakeCluster:
    """`servers[version](path, body) -> (status, bytes)`; a version in `broken` never becomes ready."""

    inside = True

    def __init__(self, servers, *, namespace="models", broken=(), knative=False):
        self.namespace = namespace
        self.servers = servers
        self.broken = (
            dict.fromkeys(broken, "ImagePullBackOff: no such image") if not isinstance(broken, dict) else broken
        )
        self.knative = knative
        self.objects = {}
        self.applied = []
        self.asked = []  # (version, path)
        self._owned = {}
        self._revisions = {}  # name → [(revision, version)]
        self._writes = 0
        self.templates = {}  # version → the pod templates that its Deployment has had

    # ---- what nasflow calls ----
    def get(self, name):
        if name not in self.objects:
            return None
        self._reconcile(name)
        return copy.deepcopy(self.objects[name])

    def apply(self, service, *, dry_run=False):
        service = copy.deepcopy(dict(service))
        sent = service["metadata"].pop("resourceVersion", None)
        crd.validate(service)
        name = service["metadata"]["name"]
        self._webhook(self.objects.get(name), service)
        if sent is not None and sent != self.objects[name]["metadata"]["resourceVersion"]:
            raise ChangedError("the object has been modified; please apply your changes to the latest version")
        if dry_run:
            return service
        self.applied.append(service)
        live = self.objects.setdefault(name, {"metadata": {"generation": 0, "annotations": {}}, "status": {}})
        before = copy.deepcopy(live)
        annotations = live["metadata"]["annotations"]
        for key in self._owned.get(name, set()) - set(service["metadata"]["annotations"]):
            annotations.pop(key, None)  # ours before, left out now
        annotations.update(service["metadata"]["annotations"])
        self._owned[name] = set(service["metadata"]["annotations"])
        changed = live.get("spec") != service["spec"]
        live.update(apiVersion=service["apiVersion"], kind=service["kind"], spec=service["spec"])
        live["metadata"].update(name=name, namespace=self.namespace)
        live["metadata"]["generation"] += changed
        if live != before:
            self._written(live)
        return copy.deepcopy(live)

    def request(self, method, url, body=None):
        parts = urllib.parse.urlsplit(url)
        version = self._route(parts.hostname)
        self.asked.append((version, parts.path))
        if version is None or version in self.broken:
            raise OSError("connection refused")
        return self.servers[version](parts.path, body)

    # ---- what the controller and the webhook do ----
    def _written(self, live):
        self._writes += 1
        live["metadata"]["resourceVersion"] = str(self._writes)

    def _webhook(self, old, new):
        spec = new["spec"]
        stable = spec["predictor"]
        for canary in spec.get("canary", []):
            inner = canary["predictor"]
            if new["metadata"]["annotations"]["serving.kserve.io/deploymentMode"] != "Standard":
                raise NasflowError("canary is only supported in Standard deployment mode")
            if inner["name"] == stable.get("name"):
                raise NasflowError("canary predictor.name conflicts with stable predictor name")
            if {"maxReplicas", "scaleTarget", "scaleMetric"} & set(inner):
                raise NasflowError("canary must not set autoscaling")
            if inner["minReplicas"] > stable["minReplicas"]:
                raise NasflowError("canary minReplicas must not exceed stable predictor minReplicas")
        before = (old or {}).get("spec", {}).get("predictor")
        if before and before.get("name") != stable.get("name") and _uri(before) == _uri(stable):
            raise NasflowError("predictor.name change requires a model change (e.g. storageUri)")

    def _reconcile(self, name):
        live = self.objects[name]
        stopped = live["metadata"]["annotations"].get("serving.kserve.io/stop") == "true"
        status = self._knative(live) if self.knative else self._standard(live)
        if stopped:
            status = {"conditions": [{"type": "Ready", "status": "False", "reason": "Stopped"}]}
        if live["status"] != status:
            self._written(live)
        live["status"] = status

    def _standard(self, live):
        name, spec = live["metadata"]["name"], live["spec"]
        version = _version(spec["predictor"])
        canaries = [
            {"name": each["predictor"]["name"], "ready": _version(each["predictor"]) not in self.broken,
             "trafficPercent": each["trafficPercent"]}
            for each in spec.get("canary", [])
        ]  # fmt: skip
        conditions = [self._condition("PredictorReady", version), self._condition("Ready", version)]
        if canaries:
            (canary,) = spec["canary"]
            conditions.append(self._condition("CanaryPredictorReady", _version(canary["predictor"])))
        for each in [spec["predictor"], *(canary["predictor"] for canary in spec.get("canary", []))]:
            made = self.templates.setdefault(_version(each), [])
            if (template := _template(live, each)) not in made:
                made.append(template)
        status = {"conditions": conditions, "canaryStatuses": canaries, "deploymentMode": "Standard"}
        host = f"{name}-{spec['predictor']['name']}-predictor.{self.namespace}.svc.cluster.local"
        return {**status, "address": {"url": f"http://{host}"}, "url": f"http://{name}-{self.namespace}.example.com"}

    def _knative(self, live):
        name, spec = live["metadata"]["name"], live["spec"]
        template = _template(live, spec["predictor"])
        revisions = self._revisions.setdefault(name, [])
        if not revisions or revisions[-1][2] != template:
            revisions.append((f"{name}-predictor-{len(revisions) + 1:05d}", _version(spec["predictor"]), template))
        component = (live["status"].get("components") or {}).get("predictor", {})
        created, version, _ = revisions[-1]
        percent = spec["predictor"].get("canaryTrafficPercent")
        rolled_out = component.get("latestRolledoutRevision")
        if version not in self.broken:
            component["latestReadyRevision"] = created
            if percent is None or not rolled_out:  # KServe ignores the share where nothing was rolled out before
                component["latestRolledoutRevision"] = rolled_out = created
        traffic = [{"tag": "latest", "revisionName": created, "percent": percent if percent is not None else 100,
                    "url": f"http://latest-{name}-predictor.{self.namespace}.example.com"}]  # fmt: skip
        if percent is not None and rolled_out != created:
            traffic.append({"tag": "prev", "revisionName": rolled_out, "percent": 100 - percent,
                            "url": f"http://prev-{name}-predictor.{self.namespace}.example.com"})  # fmt: skip
        component.update(
            latestCreatedRevision=created,
            traffic=traffic,
            address={"url": f"http://{name}-predictor.{self.namespace}.svc.cluster.local"},
        )
        ready = self._condition("Ready", version)
        return {
            "conditions": [ready],
            "components": {"predictor": component},
            "deploymentMode": "Knative",
            "address": component["address"],
            "url": f"http://{name}.{self.namespace}.example.com",
        }

    def _condition(self, kind, version):
        if version not in self.broken:
            return {"type": kind, "status": "True"}
        return {
            "type": kind,
            "status": "False",
            "reason": "MinimumReplicasUnavailable",
            "message": self.broken[version],
        }

    def _route(self, host):
        service = host.split(".")[0]
        for name, live in self.objects.items():
            if self.knative:
                revisions = {revision: version for revision, version, _ in self._revisions.get(name, [])}
                component = live["status"]["components"]["predictor"]
                if service == f"latest-{name}-predictor":
                    return revisions[component["latestCreatedRevision"]]
                if service in (f"{name}-predictor", f"prev-{name}-predictor"):
                    return revisions[component["latestRolledoutRevision"]]
                continue
            for predictor in [live["spec"]["predictor"], *(c["predictor"] for c in live["spec"].get("canary", []))]:
                if service == f"{name}-{predictor['name']}-predictor":
                    return _version(predictor)
        return None


class FakeServer:
    """A model that answers one number, with nasflow's metrics."""

    def __init__(self, number=1.0, *, fails_after=None, seconds=0.004):
        self.number, self.fails_after, self.seconds = number, fails_after, seconds
        self.codes = {"200": 0, "500": 0}  # and others' requests, where a test counts them here
        self.predicted = {}  # outcome → users' rows

    def __call__(self, path, body):
        if path == "/metrics":
            total = sum(self.codes.values())
            lines = ["process_start_time_seconds 5.0"]
            lines += [f'nasflow_requests_total{{code="{code}"}} {n}' for code, n in self.codes.items()]
            lines += [f'nasflow_predictions_total{{outcome="{name}"}} {n}' for name, n in self.predicted.items()]
            for bound in (0.005, 0.05, 0.5):
                lines.append(f'nasflow_request_seconds_bucket{{le="{bound}"}} {total if self.seconds <= bound else 0}')
            return 200, "\n".join([*lines, f'nasflow_request_seconds_bucket{{le="+Inf"}} {total}', ""]).encode()
        if self.fails_after is not None and self.codes["200"] >= self.fails_after:
            self.codes["500"] += 1
            return 500, b'{"error": "internal error"}'
        self.codes["200"] += 1
        return 200, json.dumps({"predictions": [self.number]}).encode()


def _template(live, predictor):
    """Of the pods: the service's annotations are theirs, too, unless the predictor has others."""
    scale = {"canaryTrafficPercent", "minReplicas", "maxReplicas", "scaleMetric", "scaleTarget"}
    annotations = {**live["metadata"]["annotations"], **predictor.get("annotations", {})}
    return {**{key: value for key, value in predictor.items() if key not in scale}, "annotations": annotations}


def _uri(predictor):
    (container,) = predictor["containers"]
    return {each["name"]: each["value"] for each in container["env"]}["STORAGE_URI"]


def _version(predictor):
    return int(_uri(predictor).rsplit("/", 1)[1])
