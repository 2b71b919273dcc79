"""A cluster with Kubernetes' Job controller, as far as its documentation says: an Indexed Job's pods, their replacement
by podFailurePolicy and backoffLimitPerIndex, owner references, the service account's rights. Containers are real
processes here, started by the pod's own command line."""

import copy
import itertools
import os
import signal
import subprocess
import sys
import threading
import time

import kubernetes_validate

POD = {
    "metadata": {"name": "digits-search-1", "uid": "6f1c0a52-9a0e-4f4e-8b4f-5b5f0a1c2d3e", "namespace": "ml"},
    "spec": {
        "serviceAccountName": "nasflow-search",
        "imagePullSecrets": [{"name": "registry"}],
        "containers": [
            {"name": "wait", "image": "argo/exec:1"},
            {
                "name": "main",
                "image": "registry/trainer@sha256:" + "0" * 64,
                "volumeMounts": [{"name": "work", "mountPath": "/work"}, {"name": "token", "mountPath": "/var/run"}],
            },
        ],
        "volumes": [
            {"name": "work", "persistentVolumeClaim": {"claimName": "nasflow"}},
            {"name": "token", "projected": {"sources": []}},
        ],
    },
    "status": {"podIP": "127.0.0.1", "phase": "Running"},
}


class FakeJobs:
    """`processes=False`: pods stay Pending. `mount`: where the search's pod has its claim. `logs`: what pods say."""

    def __init__(self, *, mount="/work", processes=True, env=None, logs=None):
        self.pod = copy.deepcopy(POD)
        self.pod["spec"]["containers"][1]["volumeMounts"][0]["mountPath"] = str(mount)
        self.jobs, self.made, self.deleted = {}, [], []
        self._pods, self._names = [], itertools.count()
        self._processes, self._env, self._logs = processes, env or {}, logs
        self._lock = threading.RLock()
        self._running = True
        threading.Thread(target=self._control, daemon=True).start()

    # ---- what nasflow calls ----
    def own_pod(self):
        return copy.deepcopy(self.pod)

    def create(self, job):
        kubernetes_validate.validate(job, "1.32", strict=True)
        with self._lock:
            assert job["metadata"]["name"] not in self.jobs, "409 AlreadyExists"
            made = copy.deepcopy(job)
            made["status"] = {"conditions": [], "failures": {}, "succeeded": set()}
            self.jobs[job["metadata"]["name"]] = made
            self.made.append(copy.deepcopy(job))
            self._reconcile()

    def get(self, name):
        with self._lock:
            return copy.deepcopy(self.jobs.get(name))

    def names(self, labels):
        with self._lock:
            return [name for name, job in self.jobs.items() if _fits(job["metadata"]["labels"], labels)]

    def pods(self, labels):
        with self._lock:
            self._reconcile()
            return [each.seen() for each in self._pods if _fits(each.labels, labels)]

    def delete(self, name):
        with self._lock:
            self.deleted.append(name)
            self.jobs.pop(name, None)
            mine = [each for each in self._pods if each.job == name]
            self._pods = [each for each in self._pods if each.job != name]
        for each in mine:
            each.end(grace=10)

    # ---- what happens to nodes ----
    def preempt(self, index):
        """As a spot node goes: the condition, SIGTERM, and another pod."""
        with self._lock:
            (pod,) = [each for each in self._pods if each.index == index and each.alive]
            pod.conditions.append({"type": "DisruptionTarget", "status": "True", "reason": "TerminationByKubelet"})
        pod.end(grace=20)
        return pod

    def vanish(self, index, *, reason="Error"):
        """The whole pod is killed at once: its node's power, or (OOMKilled) its memory."""
        with self._lock:
            (pod,) = [each for each in self._pods if each.index == index and each.alive]
            pod.reason = reason
            os.killpg(pod.process.pid, signal.SIGKILL)
            pod.process.wait()
        return pod

    def alive(self):
        return [each for each in self._pods if each.alive]

    def close(self):
        self._running = False
        for name in list(self.jobs):
            self.delete(name)

    # ---- the controller ----
    def _control(self):
        while self._running:
            with self._lock:
                self._reconcile()
            time.sleep(0.05)

    def _reconcile(self):
        for name, job in self.jobs.items():
            spec, status = job["spec"], job["status"]
            if status["conditions"]:
                continue
            for pod in [each for each in self._pods if each.job == name and not each.counted and not each.alive]:
                pod.counted = True
                self._count(job, pod)
            if status["conditions"]:
                continue
            for index in range(spec["completions"]):
                gone = status["failures"].get(index, 0) > spec["backoffLimitPerIndex"]
                here = any(each.job == name and each.index == index and each.alive for each in self._pods)
                if not gone and not here and index not in status["succeeded"]:
                    template = spec["template"]
                    self._pods.append(
                        _Pod(
                            name,
                            index,
                            template,
                            next(self._names),
                            env=self._env,
                            start=self._processes,
                            logs=self._logs,
                        )
                    )

    def _count(self, job, pod):
        status, code = job["status"], pod.code
        if code == 0:
            status["succeeded"].add(pod.index)
            return
        for rule in job["spec"]["podFailurePolicy"]["rules"]:
            if "onExitCodes" in rule and code in rule["onExitCodes"]["values"]:
                break
            kinds = {each["type"] for each in rule.get("onPodConditions", ())}
            if kinds & {each["type"] for each in pod.conditions}:
                break
        else:
            status["failures"][pod.index] = status["failures"].get(pod.index, 0) + 1
            if status["failures"][pod.index] > job["spec"]["backoffLimitPerIndex"]:
                status["conditions"].append(
                    {"type": "Failed", "status": "True", "message": f"Job has failed indexes: {pod.index}"}
                )
            return
        if rule["action"] == "FailJob":
            status["conditions"].append(
                {"type": "Failed", "status": "True", "message": f"Container worker failed with exit code {code}"}
            )


class _Pod:
    def __init__(self, job, index, template, number, *, env, start, logs):
        self.job, self.index, self.name = job, index, f"{job}-{index}-{number:05d}"
        self.labels = {
            **template["metadata"]["labels"],
            "job-name": job,
            "batch.kubernetes.io/job-completion-index": str(index),
        }
        self.conditions, self.reason, self.counted = [], "Error", False
        (container,) = template["spec"]["containers"]
        words = [*container["command"], *container["args"]]
        words = [sys.executable if w == "python" else w.replace("$(JOB_COMPLETION_INDEX)", str(index)) for w in words]
        given = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p), **env}
        given |= {"JOB_COMPLETION_INDEX": str(index)}
        said = logs.open("ab") if logs else None
        self.process = subprocess.Popen(words, env=given, stderr=said, start_new_session=True) if start else None

    @property
    def alive(self):
        return self.process is None or self.process.poll() is None

    @property
    def code(self):
        code = self.process.returncode
        return 128 - code if code < 0 else code

    def end(self, grace):
        if self.process is None or self.process.poll() is not None:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(grace)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def seen(self):
        status = {"phase": "Running" if self.process is not None else "Pending", "conditions": self.conditions}
        if not self.alive:
            reason = "Completed" if self.code == 0 else self.reason
            ended = {"exitCode": self.code, "reason": reason}
            status["phase"] = "Succeeded" if self.code == 0 else "Failed"
            status["containerStatuses"] = [{"name": "worker", "state": {"terminated": ended}}]
        return {"metadata": {"name": self.name, "labels": self.labels}, "status": status}


def _fits(labels, selector):
    wanted = dict(each.split("=", 1) for each in selector.split(","))
    return all(str(labels.get(key)) == value for key, value in wanted.items())
