"""``python -m nasflow_pipelines.goldens [ROOT]``: writes every committed YAML again; tests compare it."""

import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from nasflow.core.spec import ExperimentSpec
from nasflow_pipelines.argo_cron import Schedule

_GPU_SPOT: dict[str, Any] = {
    "name": "fashion",
    "task": "image_classification",
    "data": {"train": "gs://bucket/fashion/train-*.parquet", "label": "label"},
    "resources": {
        "accelerator": {"count": 2, "pool": "a100", "spot": True},
        "cpu": "8",
        "memory": "32G",
        "retries": 3,
        "timeout_hours": 12,
        "image_prefix": "europe-docker.pkg.dev/project/nasflow",
    },
}
EXPERIMENTS: Mapping[str, dict[str, Any]] = {
    "cpu": {"name": "digits", "task": "image_classification", "data": {"train": "sample:digits", "label": "target"}},
    "gpu_spot": _GPU_SPOT,
    "search_in_pods": {**_GPU_SPOT, "search": {"workers": 8, "launcher": {"kind": "kubernetes"}}},
}
"""Pipelines in ``tests/contract/goldens``, by file name."""
NIGHTLY = Schedule(cron="30 3 * * MON-FRI", timezone="Europe/Berlin")


def write(root: Path) -> list[Path]:
    """Writes ``component.yaml`` of the six steps and the pipelines below a repository's root; returns their paths."""
    from kfp import compiler

    from nasflow import ops
    from nasflow_pipelines import argo, argo_cron
    from nasflow_pipelines.compiling import compile_to

    paths: list[Path] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # kfp's deprecation warnings
        for step in ops.__all__:
            paths.append(root / "components" / "nasflow" / step / "component.yaml")
            paths[-1].parent.mkdir(parents=True, exist_ok=True)
            compiler.Compiler().compile(getattr(ops, step), str(paths[-1]))
    for name, content in EXPERIMENTS.items():
        paths.append(root / "tests" / "contract" / "goldens" / f"{name}.yaml")
        compile_to(ExperimentSpec.model_validate(content), paths[-1])
        paths.append(root / "tests" / "contract" / "goldens" / f"argo_{name}.yaml")
        argo.compile_to(ExperimentSpec.model_validate(content), paths[-1])
    paths.append(root / "tests" / "contract" / "goldens" / "search_workers.yaml")
    paths[-1].write_text(yaml.safe_dump(_search_workers(), sort_keys=False, width=120), encoding="utf-8")
    paths.append(root / "tests" / "contract" / "goldens" / "retrain_gpu_spot.yaml")
    compile_to(ExperimentSpec.model_validate(EXPERIMENTS["gpu_spot"]), paths[-1], pipeline="retrain")
    paths.append(root / "tests" / "contract" / "goldens" / "argo_retrain_gpu_spot.yaml")
    argo.compile_to(ExperimentSpec.model_validate(EXPERIMENTS["gpu_spot"]), paths[-1], pipeline="retrain")
    paths.append(root / "tests" / "contract" / "goldens" / "argo_cron_retrain_gpu_spot.yaml")
    experiment = ExperimentSpec.model_validate(EXPERIMENTS["gpu_spot"])
    argo_cron.compile_to(experiment, paths[-1], NIGHTLY, work_dir="gs://bucket/nasflow", pipeline="retrain")
    return paths


def _search_workers() -> dict[str, Any]:
    """The Job that the search of `search_in_pods` makes for its workers."""
    from nasflow.search.spec import SearchSpec
    from nasflow.search.worker_job import Home, worker_job

    pod = {
        "metadata": {"name": "fashion-search-1", "uid": "6f1c0a52-9a0e-4f4e-8b4f-5b5f0a1c2d3e"},
        "spec": {"serviceAccountName": "nasflow-runner", "containers": [{"name": "main", "image": "trainer"}]},
        "status": {"podIP": "10.0.0.7"},
    }
    section = SearchSpec.of(ExperimentSpec.model_validate(EXPERIMENTS["search_in_pods"])).search
    study = "0123456789abcdef"
    meeting_uri = f"gs://bucket/work/search/{study}/meeting.json"
    return worker_job(section.launcher, Home.of(pod), study=study, size=section.workers, meeting_uri=meeting_uri)


if __name__ == "__main__":
    for path in write(Path(sys.argv[1]) if len(sys.argv) > 1 else Path.cwd()):
        sys.stdout.write(f"{path}\n")
