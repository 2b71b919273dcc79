"""What tests of running pods share: a node, a claim that the tester sees as a folder, and a wait."""

import contextlib
import json
import os
import time
from pathlib import Path

import pytest


def needs_node(kubectl):
    """Skips where no node is Ready."""
    nodes = json.loads(kubectl("get", "nodes", "-o", "json").stdout)["items"]
    conditions = [each for node in nodes for each in node["status"].get("conditions", [])]
    if not any(each["type"] == "Ready" and each["status"] == "True" for each in conditions):
        pytest.skip("the cluster has no node that is Ready")


@contextlib.contextmanager
def shelf_of(kubectl, namespace, name):
    """A `Shelf` in a folder of this name; skips where there is no node, or no place for it. Any user's pods may write
    there."""
    needs_node(kubectl)
    made = Shelf(kubectl, namespace, shelf_path() / name)
    made.path.mkdir(parents=True, exist_ok=True)
    made.path.chmod(0o777)
    yield made
    made.remove()


class Shelf:
    """A folder of this machine, which is the node, as a PersistentVolumeClaim of a namespace."""

    claim = "shelf"

    def __init__(self, kubectl, namespace, path):
        self.path, self._kubectl, self._volume = Path(path), kubectl, f"shelf-{namespace}"
        size = {"storage": "10Gi"}
        modes = ["ReadWriteMany"]
        volume = {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": self._volume},
            "spec": {
                "capacity": size,
                "accessModes": modes,
                "hostPath": {"path": str(path)},
                "claimRef": {"name": self.claim, "namespace": namespace},
            },
        }
        claim = {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": self.claim, "namespace": namespace},
            "spec": {
                "accessModes": modes,
                "resources": {"requests": size},
                "storageClassName": "",
                "volumeName": self._volume,
            },
        }
        for each in (volume, claim):
            kubectl("create", "-f", "-", input=json.dumps(each))

    def remove(self):
        self._kubectl("delete", "persistentvolume", self._volume, "--wait=false")


def shelf_path():
    """`NASFLOW_TEST_HOST_PATH`, emptied of nothing; skips without it."""
    path = os.environ.get("NASFLOW_TEST_HOST_PATH")
    if path is None:
        pytest.skip("NASFLOW_TEST_HOST_PATH, a folder that is the node's own, is not set")
    return Path(path)


def wait_for(condition, seconds=600, said=lambda: ""):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"never happened: {said()}"
        time.sleep(2)
