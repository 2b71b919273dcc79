"""The same pipeline as a plain Argo Workflow: ``python -m nasflow.STEP`` in the same images, no Kubeflow needed.

Documents pass through ``work_dir``, which every pod must see: a ``gs://`` prefix. Argo retries a task unless it ended
with exit code 2 (the user's input); it then goes on where it stopped.
"""

import math
from pathlib import Path
from typing import Any

import yaml

from nasflow.core import spec_file
from nasflow.core.errors import UserError
from nasflow.core.spec import AcceleratorSection, ExperimentSpec
from nasflow.core.version import VERSION
from nasflow.search.worker_job import ROLE_LABEL
from nasflow_pipelines.compiling import name_of
from nasflow_pipelines.resources import CPU_TASK, SHARED_MEMORY, SPOT_LABEL, USER_ID

STEPS: dict[str, tuple[str, tuple[str, ...]]] = {
    "preprocess": ("beam", ()),
    "search": ("trainer", ("dataset",)),
    "train": ("trainer", ("dataset", "search")),
    "evaluate": ("trainer", ("dataset", "model")),
    "register": ("ops", ("dataset", "search", "model", "evaluation")),
    "deploy": ("server", ("registered", "evaluation")),
}
"""Step → its image, and the documents that it reads."""

MAKES = {
    "preprocess": "dataset",
    "search": "search",
    "train": "model",
    "evaluate": "evaluation",
    "register": "registered",
    "deploy": "endpoint",
}
"""Step → the document that it leaves."""

_SPEC = "/tmp/nasflow/experiment.json"  # noqa: S108  # where Argo puts the parameter
_PROMOTED = "/tmp/promoted"  # noqa: S108  # read by Argo's executor
_RUN = "{{workflow.parameters.work-dir}}/runs/{{workflow.uid}}"


def workflow(experiment: ExperimentSpec, *, work_dir: str | None = None) -> dict[str, Any]:
    """The Workflow object.

    Args:
        experiment: What to run; its ``resources`` are fixed here, everything else can be replaced at submission by the
            workflow parameter ``spec``.
        work_dir: Default of the workflow parameter ``work-dir``; without it a submission must name one.
    """
    place = {"name": "work-dir", **({"value": work_dir} if work_dir is not None else {})}
    section = experiment.resources
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Workflow",
        "metadata": {
            "generateName": f"{name_of(experiment)}-",
            "labels": {"app.kubernetes.io/managed-by": "nasflow", "app.kubernetes.io/version": VERSION},
        },
        "spec": {
            "entrypoint": "nasflow",
            **({"serviceAccountName": section.service_account} if section.service_account else {}),
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": USER_ID,
                "runAsGroup": USER_ID,
                "fsGroup": USER_ID,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "arguments": {"parameters": [place, {"name": "spec", "value": spec_file.to_json(experiment)}]},
            "templates": [
                {"name": "nasflow", "dag": {"tasks": [_task(step) for step in STEPS]}},
                *(_template(step, experiment) for step in STEPS),
            ],
        },
    }


def compile_to(experiment: ExperimentSpec, path: Path, *, work_dir: str | None = None) -> None:
    """Writes the workflow as YAML, for ``argo submit`` or ``kubectl create``.

    Raises:
        UserError: the file cannot be written, or its name does not end in .yaml.
    """
    if path.suffix not in (".yaml", ".yml"):
        raise UserError(f"{path}: the name must end in .yaml")
    text = yaml.safe_dump(workflow(experiment, work_dir=work_dir), sort_keys=False, width=120)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error}") from error


def _task(step: str) -> dict[str, Any]:
    _, reads = STEPS[step]
    needed = [maker for maker, document in MAKES.items() if document in reads]
    task: dict[str, Any] = {"name": step, "template": step}
    if needed:
        task["dependencies"] = needed
    if step == "deploy":
        task["dependencies"] = ["evaluate", "register"]
        task["when"] = "{{tasks.evaluate.outputs.parameters.promoted}} == true"
    return task


def _template(step: str, experiment: ExperimentSpec) -> dict[str, Any]:
    image, reads = STEPS[step]
    section, accelerated = experiment.resources, image == "trainer"
    in_pods = step == "search" and experiment.search.launcher.kind == "kubernetes"  # its workers have the accelerators
    accelerator = section.accelerator if accelerated and not in_pods else None
    cpu, memory = (section.cpu, section.memory) if accelerated else CPU_TASK
    arguments = ["--spec", _SPEC]
    for document in reads:
        maker = next(maker for maker, made in MAKES.items() if made == document)
        arguments += [f"--{document}", f"{_RUN}/documents/{maker}"]
    arguments += ["--output", f"{_RUN}/documents/{step}"]
    arguments += ["--work-dir", "{{workflow.parameters.work-dir}}", "--run-id", "{{workflow.uid}}"]
    if step == "evaluate":
        arguments += ["--promoted-file", _PROMOTED]
    amounts = {"cpu": cpu, "memory": memory}
    limits = {**amounts, **({accelerator.type: str(accelerator.count)} if accelerator else {})}
    template: dict[str, Any] = {
        "name": step,
        "inputs": {"artifacts": [{"name": "spec", "path": _SPEC, "raw": {"data": "{{workflow.parameters.spec}}"}}]},
        "activeDeadlineSeconds": math.ceil(section.timeout_hours * 3600),
        "container": {
            "image": section.image("trainer-gpu" if accelerator else image),
            "imagePullPolicy": "IfNotPresent",  # tags are versions and never move
            "command": ["python", "-m", f"nasflow.{step}"],
            "args": arguments,
            "resources": {"requests": amounts, "limits": limits},
            "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        },
    }
    if section.retries:
        template["retryStrategy"] = {
            "limit": str(section.retries),
            "retryPolicy": "Always",  # a lost node, too
            "expression": "asInt(lastRetry.exitCode) != 2",  # the user's input will not be better next time
            "backoff": {"duration": "30s", "factor": "2", "maxDuration": "10m"},
        }
    if in_pods:
        template["metadata"] = {"labels": {ROLE_LABEL: "search"}}  # NetworkPolicies go by it
    if step == "evaluate":
        template["outputs"] = {"parameters": [{"name": "promoted", "valueFrom": {"path": _PROMOTED}}]}
    if accelerated:
        template["volumes"] = [{"name": "dshm", "emptyDir": {"medium": "Memory", "sizeLimit": SHARED_MEMORY}}]
        template["container"]["volumeMounts"] = [{"name": "dshm", "mountPath": "/dev/shm"}]  # noqa: S108  # the mount
    if accelerator:
        template |= _pool(accelerator)
    return template


def _pool(accelerator: AcceleratorSection) -> dict[str, Any]:
    tolerations = [{"key": accelerator.type, "operator": "Exists", "effect": "NoSchedule"}]
    selector = {accelerator.pool_label: accelerator.pool} if accelerator.pool else {}
    if accelerator.spot:
        selector[SPOT_LABEL] = "true"
        tolerations.append({"key": SPOT_LABEL, "operator": "Equal", "value": "true", "effect": "NoSchedule"})
    return {"tolerations": tolerations, **({"nodeSelector": selector} if selector else {})}
