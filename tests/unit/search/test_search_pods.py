"""Workers in pods: what Kubernetes is asked for, and whole searches whose pods are real processes of a Job controller
that is faked after Kubernetes' documentation."""

import dataclasses
import json
import logging
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from pydantic import ValidationError
from tests.unit.search.fake_jobs import POD, FakeJobs
from tests.unit.search.test_search_pool import SETUP, Handle, Threads, completes, job, outcome

from nasflow.core.errors import NasflowError, TryAgainError, UserError
from nasflow.core.spec import BudgetSection, ExperimentSpec, LauncherSection, SearchSection
from nasflow.search import cluster_jobs, meeting, step
from nasflow.search.channel import dial
from nasflow.search.cluster_jobs import JOB_VERBS, POD_VERBS, KubernetesJobs
from nasflow.search.cluster_workers import ClusterWorkers
from nasflow.search.crew import Lost
from nasflow.search.job import dump
from nasflow.search.ledger import Ledger
from nasflow.search.meeting import Meeting
from nasflow.search.pool import Pool
from nasflow.search.spec import SearchSpec
from nasflow.search.worker_job import Home, worker_job

PODS = LauncherSection(kind="kubernetes", cpu="2", memory="8G")


def experiment(**search):
    return ExperimentSpec.model_validate(
        {
            "task": "tabular_classification",
            "data": {"train": "x.csv", "label": "y"},
            "search": search,
            "resources": {
                "accelerator": {"count": 2, "pool": "a100", "spot": True},
                "cpu": "8",
                "memory": "32G",
                "image_prefix": "r",
            },
        }
    )


def test_workers_get_what_the_experiments_resources_say_and_one_gpu_each():
    launcher = SearchSpec.of(experiment(launcher={"kind": "kubernetes"})).search.launcher
    assert (launcher.accelerator.count, launcher.accelerator.pool, launcher.accelerator.spot) == (1, "a100", True)
    assert (launcher.cpu, launcher.memory) == ("8", "32G")
    assert launcher.image.startswith("r/trainer-gpu:")
    own = {"kind": "kubernetes", "cpu": "4", "image": "mine", "accelerator": {"pool": "t4"}}
    launcher = SearchSpec.of(experiment(launcher=own)).search.launcher
    assert (launcher.accelerator.pool, launcher.accelerator.spot) == ("t4", False)
    assert (launcher.cpu, launcher.memory, launcher.image) == ("4", "32G", "mine")


def test_where_workers_run_is_no_part_of_what_a_search_is():
    specs = [
        SearchSpec.of(experiment(workers=n, launcher=where)) for n, where in ((1, {}), (8, {"kind": "kubernetes"}))
    ]
    assert specs[0] != specs[1]
    assert step._identity(specs[0]) == step._identity(specs[1])


def test_a_trial_trains_on_one_gpu():
    with pytest.raises(ValidationError, match=r"accelerator\.count must be 1, got 4: .* raise search\.workers"):
        LauncherSection(kind="kubernetes", accelerator={"count": 4})


def made(section=PODS, **pod):
    return worker_job(section, Home.of({**POD, **pod}), study="0123456789abcdef", size=3, meeting_uri="gs://b/m.json")


def test_the_job_belongs_to_the_searchs_pod_and_takes_over_its_image_account_and_claims():
    rendered = made()
    (owner,) = rendered["metadata"]["ownerReferences"]
    assert owner == {"apiVersion": "v1", "kind": "Pod", "name": "digits-search-1", "uid": POD["metadata"]["uid"]}
    assert rendered["metadata"]["name"] == "nasflow-search-0123456789-6f1c0a52"
    pod = rendered["spec"]["template"]["spec"]
    assert (pod["serviceAccountName"], pod["automountServiceAccountToken"]) == ("nasflow-search", False)
    assert pod["imagePullSecrets"] == [{"name": "registry"}]
    (container,) = pod["containers"]
    assert container["image"] == POD["spec"]["containers"][1]["image"]  # of `main`, not of Argo's executor
    assert container["volumeMounts"][-1] == {"name": "work", "mountPath": "/work"}
    assert [each["name"] for each in pod["volumes"]] == ["dshm", "tmp", "work"]  # not the account's token
    assert container["args"] == ["--meeting", "gs://b/m.json", "--index", "$(JOB_COMPLETION_INDEX)"]


def test_preempted_pods_are_replaced_without_being_counted_and_bad_input_ends_the_job():
    spec = made()["spec"]
    assert (spec["completionMode"], spec["completions"], spec["parallelism"]) == ("Indexed", 3, 3)
    assert (spec["backoffLimitPerIndex"], spec["ttlSecondsAfterFinished"]) == (6, 600)
    rules = spec["podFailurePolicy"]["rules"]
    assert [each["action"] for each in rules] == ["FailJob", "Ignore", "Ignore"]
    assert rules[0]["onExitCodes"]["values"] == [2]
    assert rules[1]["onPodConditions"] == [{"type": "DisruptionTarget", "status": "True"}]
    assert rules[2]["onExitCodes"]["values"] == [143]  # 128 + SIGTERM
    assert spec["template"]["spec"]["restartPolicy"] == "Never"  # podFailurePolicy allows no other


def test_workers_sit_on_the_pools_spot_nodes():
    launcher = SearchSpec.of(experiment(launcher={"kind": "kubernetes"})).search.launcher
    pod = made(launcher)["spec"]["template"]["spec"]
    assert pod["nodeSelector"] == {"cloud.google.com/gke-nodepool": "a100", "cloud.google.com/gke-spot": "true"}
    assert [each["key"] for each in pod["tolerations"]] == ["nvidia.com/gpu", "cloud.google.com/gke-spot"]
    resources = pod["containers"][0]["resources"]
    assert resources["limits"] == resources["requests"] == {"cpu": "8", "memory": "32G", "nvidia.com/gpu": "1"}


def test_a_place_that_workers_cannot_see_is_refused():
    home = Home.of(POD)
    home.assert_shares("gs://bucket/w")
    home.assert_shares("/work/nasflow/search/1")
    with pytest.raises(UserError, match=r"cannot see /workspace/1; set --work-dir to a gs:// prefix"):
        home.assert_shares("/workspace/1")


def launched(tmp_path, jobs, **more):
    return ClusterWorkers(PODS, jobs, place_uri=str(tmp_path / "search/0123456789abcdef"), size=2, **more)


def test_the_first_worker_makes_the_job_and_an_earlier_attempts_job_goes(tmp_path):
    jobs = FakeJobs(mount=tmp_path, processes=False)
    old = made()
    old["metadata"]["name"] = "old"
    jobs.create(old)
    workers = launched(tmp_path, jobs)
    for index in range(2):
        workers.start(index, ("0.0.0.0", 4711), b"key")
    assert jobs.deleted == ["old"]
    (name,) = jobs.jobs
    assert jobs.jobs[name]["spec"]["completions"] == 2
    at = str(tmp_path / "search/0123456789abcdef/meeting.json")
    assert meeting.find(at) == Meeting(connect="127.0.0.1:4711", key=b"key")
    workers.close()
    assert jobs.jobs == {}
    assert meeting.find(at) is None
    jobs.close()


def test_a_job_that_failed_ends_the_search_and_pods_that_wait_are_told_of(tmp_path, caplog):
    jobs = FakeJobs(mount=tmp_path, processes=False)
    workers = launched(tmp_path, jobs, clock=iter(range(0, 1000, 6)).__next__)
    handle = workers.start(0, ("0.0.0.0", 4711), b"key")
    unscheduled = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "no nvidia.com/gpu"}
    jobs.alive()[0].conditions.append(unscheduled)
    with caplog.at_level(logging.WARNING):
        assert handle.poll() is None
        assert handle.poll() is None
    assert caplog.text.count("waits: Unschedulable: no nvidia.com/gpu") == 1
    (name,) = jobs.jobs
    failed = {"type": "Failed", "status": "True", "message": "Job has failed indexes: 0"}
    jobs.jobs[name]["status"]["conditions"].append(failed)
    with pytest.raises(NasflowError, match=rf"job {name} of its workers has failed: Job has failed indexes: 0"):
        handle.poll()
    jobs.delete(name)
    with pytest.raises(NasflowError, match="somebody has deleted it"):
        handle.poll()
    jobs.close()


@pytest.mark.parametrize(("reason", "code"), [("OOMKilled", -signal.SIGKILL), ("Error", -signal.SIGTERM)])
def test_only_a_pod_that_was_killed_for_its_memory_is_its_trials_fault(tmp_path, reason, code):
    jobs = FakeJobs(mount=tmp_path, processes=False)
    workers = launched(tmp_path, jobs, sleep=lambda _: None)
    handle = workers.start(0, ("0.0.0.0", 4711), b"key")
    ended = {"name": "worker", "state": {"terminated": {"reason": reason, "exitCode": 137}}}
    jobs.pods = lambda _: [{"metadata": {"name": "p"}, "status": {"containerStatuses": [ended]}}]
    assert handle.poll() is None
    handle.kill()
    assert handle.poll() == code
    again = workers.start(0, ("0.0.0.0", 4711), b"key")
    again.kill()
    assert again.poll() == -signal.SIGTERM  # that pod's end was counted once
    jobs.close()


def test_a_search_outside_a_cluster_says_so(monkeypatch):
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(UserError, match="the search itself must run in the cluster"):
        KubernetesJobs.connect()


def test_it_is_the_account_whose_token_is_mounted_for_it(monkeypatch, tmp_path):
    """On Kubeflow, where the pod itself runs as the run's account, which may not make Jobs."""
    from kubernetes import client

    for name, content in (("token", "searchs-token"), ("ca.crt", "certificate"), ("namespace", "ml\n")):
        (tmp_path / name).write_text(content)
    monkeypatch.setattr(cluster_jobs, "ACCOUNT", tmp_path)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    monkeypatch.setattr(client.Configuration, "_default", None)  # what it sets; put back afterwards
    monkeypatch.setattr(client, "ApiClient", client.Configuration.get_default_copy)
    api = KubernetesJobs.connect()._api
    assert (api.namespace, api.inside) == ("ml", True)
    assert api.client.get_api_key_with_prefix("authorization") == "bearer searchs-token"


class Recorded:
    """The official client's `call_api`, as far as an API server would answer."""

    def __init__(self):
        self.calls = []

    def call_api(self, path, method, *, query_params, body=None, **_):
        self.calls.append((method, path, dict(query_params)))
        return {"items": [POD] if "/pods" in path else [made()]}


def test_these_are_all_the_calls_that_are_made(monkeypatch):
    from nasflow.core.kubernetes_api import KubernetesApi

    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    client = Recorded()
    jobs = KubernetesJobs(KubernetesApi(client, "ml", inside=True, step="search"))
    assert jobs.own_pod() == POD
    jobs.create(made())
    jobs.get("x")
    assert jobs.names("a=b") == ["nasflow-search-0123456789-6f1c0a52"]
    jobs.pods("job-name=x")
    jobs.delete("x")
    batch = "/apis/batch/v1/namespaces/ml/jobs"
    running = {"fieldSelector": "status.podIP=127.0.0.1,status.phase=Running"}
    assert client.calls == [
        ("GET", "/api/v1/namespaces/ml/pods", running),
        ("POST", batch, {"fieldValidation": "Warn"}),
        ("GET", f"{batch}/x", {}),
        ("GET", batch, {"labelSelector": "a=b"}),
        ("GET", "/api/v1/namespaces/ml/pods", {"labelSelector": "job-name=x"}),
        ("DELETE", f"{batch}/x", {"propagationPolicy": "Background"}),
    ]
    assert {"create", "get", "list", "delete"} == set(JOB_VERBS)
    assert {"list"} == set(POD_VERBS)


def test_a_worker_that_says_it_goes_is_not_the_trials_fault():
    def behave(channel, given, handle):
        channel.send("leaving", "told to end by SIGTERM")
        raise EOFError

    pool = Pool(SETUP, Threads(behave), size=1, recycle=10)
    try:
        pool.start(job(0))
        assert pool.wait(lambda _: "") == Lost(trial_id="0000", how="told to end by SIGTERM", blameless=True)
    finally:
        pool.close()


def test_somebody_who_connects_and_says_nothing_keeps_no_worker_out():
    pool = Pool(SETUP, Threads(completes), size=1, recycle=10, address=("127.0.0.1", 0))
    silent = [socket.create_connection(pool._listener.address) for _ in range(3)]
    try:
        pool.start(job(0))
        assert pool.wait(lambda _: "").status == "completed"
    finally:
        pool.close()
        for each in silent:
            each.close()


def test_pods_dial_in_by_themselves_before_and_after_they_are_wanted():
    """One that comes too early is turned away, and comes again; one that was recycled follows in the same place."""

    class Standing:
        """As a Job: workers of all indices exist from the first start on, and go on dialling."""

        def __init__(self):
            self.over = threading.Event()

        def start(self, index, address, key):
            if index == 0 and not hasattr(self, "address"):
                self.address, self.key = address, key
                for each in range(2):
                    threading.Thread(target=self.run, args=(each,), daemon=True).start()
            return Handle()

        def run(self, index):
            while not self.over.wait(0.02):
                try:
                    channel = dial(self.address, self.key)
                    channel.send("hello", {"index": index, "pid": 0})
                    channel.receive()
                    while True:
                        kind, content = channel.receive()
                        if kind == "bye":
                            break
                        channel.send("ended", dump(dataclasses.replace(outcome(job(0)), trial_id=content["trial_id"])))
                except (EOFError, OSError):
                    continue

    launcher = Standing()
    pool = Pool(SETUP, launcher, size=2, recycle=2, bury_seconds=0.0)
    try:
        for number in range(7):
            pool.start(job(number))
            if number:  # two at a time
                assert isinstance(pool.wait(lambda _: ""), type(outcome(job(0))))
        pool.wait(lambda _: "")
    finally:
        launcher.over.set()
        pool.close()


def pod(tmp_path, *arguments):
    command = [sys.executable, "-m", "nasflow.search.pod", "--meeting", str(tmp_path / "m.json"), "--index", "3"]
    return subprocess.Popen([*command, *arguments], stderr=subprocess.PIPE, text=True)


def test_a_pod_whose_search_is_over_ends(tmp_path):
    process = pod(tmp_path)
    assert process.wait(60) == 0
    assert "worker 3: the search is over" in process.stderr.read()


def test_a_pod_gives_up_a_search_that_it_cannot_reach(tmp_path):
    from nasflow.search.pod import Pod
    from nasflow.search.worker import EXIT_ALONE

    started = []

    class Alone:
        def start(self, index, address, key):
            started.append((index, address, key))
            time.sleep(0.02)
            return subprocess.Popen([sys.executable, "-S", "-c", f"raise SystemExit({EXIT_ALONE})"])

    meeting.publish(str(tmp_path / "m.json"), Meeting(connect="127.0.0.1:9", key=b"k"))
    before = signal.getsignal(signal.SIGTERM)
    try:
        code = Pod(str(tmp_path / "m.json"), 1, Alone(), alone_seconds=0.2, sleep=lambda _: None).run()
    finally:
        signal.signal(signal.SIGTERM, before)
    assert code == 0  # 0: the Job does not replace it
    assert started
    assert set(started) == {(1, ("127.0.0.1", 9), b"k")}


# ---- whole searches ----


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def spec(launcher, *, epochs=60, trials=4, workers=2):
    search = SearchSection(
        strategy="random",
        workers=workers,
        launcher=launcher,
        recycle=2,
        budget=BudgetSection(trials=trials, epochs=epochs),
    )
    return SearchSpec(task="tabular_classification", metric="accuracy", search=search)


def scores(search):
    return {each["trial_id"]: (each["values"], each["score"], each["epochs"]) for each in search.json("trials.json")}


def ledger(work):
    paths = list(Path(work).glob("search/*/ledger.jsonl"))
    return Ledger(str(paths[0])) if paths else None


def wait_for(condition, seconds=240):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.02)
    raise AssertionError("never happened")


@pytest.mark.slow
def test_a_search_in_pods_outlives_a_preemption_and_finds_what_processes_find(table, tmp_path, monkeypatch):
    work = tmp_path / "work"
    logs = tmp_path / "pods.log"
    jobs = FakeJobs(mount=tmp_path, env={"TF_NUM_INTRAOP_THREADS": "1", "OMP_NUM_THREADS": "1"}, logs=logs)
    monkeypatch.setattr(KubernetesJobs, "connect", lambda: jobs)
    launcher = PODS.model_copy(update={"port": free_port()})
    hit = []

    def weather():
        """Preempts the worker of a trial that is through some epochs, then takes another one's power."""
        wait_for(lambda: list(work.glob("search/*/trials/0000/0/epoch.npz")))  # the first one's trial
        hit.append(jobs.preempt(0).code)
        wait_for(lambda: any(r.status == "completed" for r in ledger(work).records))
        wait_for(lambda: list(work.glob("search/*/trials/*/0/epoch.npz")))
        wait_for(lambda: len(jobs.alive()) == 2)
        jobs.vanish(1)

    storm = threading.Thread(target=weather)
    storm.start()
    try:
        in_pods = step.run(spec(launcher), dataset=table, work_dir=str(work), output=str(tmp_path / "output"))
    finally:
        storm.join(60)
        jobs.close()
    assert hit == [143]
    assert re.search(r"training goes on after epoch [1-9]\d* of 60", logs.read_text())
    assert len(jobs.made) == 1
    assert jobs.jobs == {}  # the search took its Job with it
    assert jobs.alive() == []
    assert not list(work.glob("search/*/meeting.json"))
    events = [json.loads(line) for line in next(work.glob("search/*/ledger.jsonl")).read_text().splitlines()]
    again = [each for each in events if each["event"] == "again"]
    assert again[0]["trial_id"] == "0000"
    assert again[0]["seconds"] > 0
    assert {each["died"] for each in again} == {""}  # nobody's fault
    assert [r.deaths for r in ledger(work).records] == [0] * 4

    here = step.run(
        spec(LauncherSection(), workers=1), dataset=table, work_dir=str(tmp_path / "here"), output=str(tmp_path / "o")
    )
    assert scores(in_pods) == scores(here)


@pytest.mark.slow
def test_a_search_that_was_started_again_finds_its_pods_or_new_ones(table, tmp_path, monkeypatch):
    """SIGKILL's worth: the first attempt leaves Job and meeting as they are; the second one has another port."""
    work = tmp_path / "work"
    jobs = FakeJobs(mount=tmp_path)
    monkeypatch.setattr(KubernetesJobs, "connect", lambda: jobs)
    given = {"dataset": table, "work_dir": str(work), "output": str(tmp_path / "output")}

    def killed(*_):
        raise TryAgainError("stopped by SIGTERM")

    with monkeypatch.context() as broken:
        broken.setattr(ClusterWorkers, "close", lambda self: None)
        broken.setattr("nasflow.search.engine.Engine._ended", killed)
        with pytest.raises(TryAgainError):
            step.run(spec(PODS.model_copy(update={"port": free_port()}), epochs=3, trials=3), **given)
    assert len(jobs.alive()) == 2
    jobs.pod["metadata"]["uid"] = "11111111-9a0e-4f4e-8b4f-5b5f0a1c2d3e"  # another pod of the same task
    try:
        search = step.run(spec(PODS.model_copy(update={"port": free_port()}), epochs=3, trials=3), **given)
    finally:
        jobs.close()
    assert search.trials.completed == 3
    assert [each["metadata"]["name"].rpartition("-")[2] for each in jobs.made] == ["6f1c0a52", "11111111"]
    assert jobs.deleted[0] == jobs.made[0]["metadata"]["name"]
