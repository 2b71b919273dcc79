"""The custom resource definitions that nasflow's objects need, as their makers release them."""

import os
import subprocess
import time
from pathlib import Path
from typing import Any

import yaml
from tests.cluster.local.control_plane import ControlPlane

HERE = Path(__file__).parent
KSERVE = ("kserve", "github.com/kserve/kserve")


def module(part: str, path: str) -> Path:
    """Where Go keeps a module's files; it fetches them the first time."""
    environment = {**os.environ, "GOWORK": "off", "GOFLAGS": "-mod=readonly"}
    command = ["go", "mod", "download", path]
    subprocess.run(command, cwd=HERE / part, capture_output=True, text=True, check=True, env=environment)
    command = ["go", "list", "-m", "-f", "{{.Dir}}", path]
    done = subprocess.run(command, cwd=HERE / part, capture_output=True, text=True, check=True, env=environment)
    return Path(done.stdout.strip())


def types(plane: ControlPlane) -> None:
    """KServe's, without those for LLMs and local models."""
    kserve = module(*KSERVE) / "config/crd/full"
    files = [*kserve.glob("*.yaml"), *(kserve / "clusterstoragecontainer").glob("*.yaml")]
    made = [each for path in files for each in _objects(path.read_text()) if each["kind"] == "CustomResourceDefinition"]
    plane.apply(*made)
    deadline = time.monotonic() + 60
    while not plane.kubectl(
        "wait", "--for=condition=Established", "crd", "--all", check=False
    ):  # new ones have no status
        if time.monotonic() > deadline:
            raise SystemExit("the API server does not establish the custom resource definitions")


def _objects(text: str) -> list[dict[str, Any]]:
    return [each for each in yaml.safe_load_all(text) if each]
