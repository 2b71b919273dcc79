"""What each extra brings on Linux x86-64, by uv.lock: the images install these lists."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[3]
UV = shutil.which("uv", path=str(Path(sys.executable).parent))

pytestmark = pytest.mark.skipif(UV is None, reason="uv is not in this environment: `make setup` puts it there")

STEPS = {"keras", "keras-tuner", "scikit-learn", "scipy", "tensorboard"}
WANTED = {
    "all": STEPS | {"tensorflow-cpu", "apache-beam", "kserve", "kfp", "kfp-kubernetes", "docker", "pillow"},
    "all-gpu": STEPS | {"tensorflow", "nvidia-cudnn-cu12", "apache-beam", "kserve", "kfp", "kfp-kubernetes", "docker"},
    "trainer": STEPS | {"tensorflow-cpu"},
    "gpu": STEPS | {"tensorflow", "nvidia-cudnn-cu12"},
    "server": {"kserve", "onnxruntime", "pillow", "orjson", "kubernetes"},
    "server-tf": {"kserve", "onnxruntime", "tensorflow-cpu", "pillow"},
    "beam": {"apache-beam", "pillow", "scikit-learn"},
    "dataflow": {"apache-beam", "google-apitools", "pillow", "pip"},
    "kfp": {"kfp"},
    "registries": {"mlflow-skinny", "model-registry"},
}
ONLY_IN = {
    "apache-beam": {"all", "all-gpu", "beam", "dataflow"},
    "google-apitools": {"dataflow"},
    "kserve": {"all", "all-gpu", "server", "server-tf"},
    "docker": {"all", "all-gpu"},
    "mlflow-skinny": {"all", "all-gpu", "registries"},
    "kfp-kubernetes": {"all", "all-gpu"},
    "nvidia-cudnn-cu12": {"all-gpu", "gpu"},
    "tensorflow": {"all-gpu", "gpu"},
    "tensorflow-cpu": {"all", "trainer", "server-tf"},
}


def _packages(extra: str) -> set[str]:
    command = [
        str(UV),
        "export",
        "--quiet",
        "--frozen",
        "--no-dev",
        "--no-emit-project",
        "--no-hashes",
        "--no-annotate",
    ]
    lines = subprocess.run(
        [*command, "--extra", extra], cwd=REPOSITORY, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    here = [
        line for line in lines if "platform_machine != 'x86_64'" not in line and "sys_platform == 'win32'" not in line
    ]
    return {re.split(r"[=\[ ;]", line)[0] for line in here if line and not line.startswith(("#", " "))}


@pytest.mark.parametrize("extra", WANTED)
def test_an_extra_brings_what_its_image_imports(extra: str) -> None:
    assert WANTED[extra] - _packages(extra) == set()


@pytest.mark.parametrize("extra", WANTED)
def test_an_extra_brings_nothing_heavy_besides(extra: str) -> None:
    packages = _packages(extra)
    assert {name for name, extras in ONLY_IN.items() if name in packages and extra not in extras} == set()
