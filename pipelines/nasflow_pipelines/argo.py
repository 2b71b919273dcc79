"""The same pipelines as plain Argo Workflows: ``python -m nasflow.STEP`` in the same images, no Kubeflow needed.

Documents pass through ``work_dir``, which every pod must see: a ``gs://`` prefix. Argo retries a task unless it ended
with exit code 2 (the user's input); it then goes on where it stopped. A task whose condition is not met is skipped, and
those that need it are omitted: what `hold` and `keep` log on Kubeflow is in the documents.
"""

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from nasflow.core import spec_file
from nasflow.core.errors import UserError
from nasflow.core.node_pool import node_pool
from nasflow.core.spec import ExperimentSpec
from nasflow.core.version import VERSION
from nasflow.search.worker_job import ROLE_LABEL
from nasflow_pipelines.compiling import name_of
from nasflow_pipelines.kinds import PipelineName
from nasflow_pipelines.resources import CPU_TASK, SHARED_MEMORY, USER_ID, deploy_image


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One task."""

    image: str
    reads: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """The documents that it reads: option → the task that leaves it."""
    module: str = ""
    """Arguments of ``python -m``; left out: ``nasflow.STEP``."""
    experiment: str = ""
    """The task that leaves the experiment as this one runs it; left out: the workflow's parameter."""
    facts: tuple[str, ...] = ()
    """What it leaves for others' conditions: output parameter, and ``--FACT-file``."""
    when: tuple[str, str] | None = None
    """(task, its fact): runs only where that is true."""


AUTOML: Mapping[str, Step] = {
    "preprocess": Step(image="beam"),
    "search": Step(image="trainer", reads={"dataset": "preprocess"}),
    "train": Step(image="trainer", reads={"dataset": "preprocess", "search": "search"}),
    "evaluate": Step(image="trainer", reads={"dataset": "preprocess", "model": "train"}, facts=("promoted",)),
    "register": Step(
        image="ops", reads={"dataset": "preprocess", "search": "search", "model": "train", "evaluation": "evaluate"}
    ),
    "deploy": Step(
        image="server", reads={"registered": "register", "evaluation": "evaluate"}, when=("evaluate", "promoted")
    ),
}

RETRAIN: Mapping[str, Step] = {
    "recall": Step(image="ops", module="nasflow.retrain recall", facts=("experiment",)),
    "preprocess": dataclasses.replace(AUTOML["preprocess"], experiment="recall"),
    "weigh": Step(
        image="ops",
        module="nasflow.retrain weigh",
        reads={"dataset": "preprocess", "incumbent": "recall"},
        experiment="recall",
        facts=("experiment", "go"),
    ),
    "search": dataclasses.replace(AUTOML["search"], experiment="weigh", when=("weigh", "go")),
    **{
        name: dataclasses.replace(AUTOML[name], experiment="weigh")
        for name in ("train", "evaluate", "register", "deploy")
    },
}

PIPELINES: Mapping[PipelineName, Mapping[str, Step]] = {"automl": AUTOML, "retrain": RETRAIN}

_TMP = "/tmp"  # noqa: S108  # a volume of the pod's; everything else is read-only
_SPEC = f"{_TMP}/nasflow/experiment.json"
"""Where Argo puts the parameter."""
_WORKFLOWS_SPEC = "{{workflow.parameters.spec}}"
_RUN = "{{workflow.parameters.work-dir}}/runs/{{workflow.uid}}"


def workflow(
    experiment: ExperimentSpec, *, work_dir: str | None = None, pipeline: PipelineName = "automl"
) -> dict[str, Any]:
    """The Workflow object.

    Args:
        experiment: What to run; its ``resources`` are fixed here, everything else can be replaced at submission by the
            workflow parameter ``spec``.
        work_dir: Default of the workflow parameter ``work-dir``; without it a submission must name one.
        pipeline: Which one.
    """
    place = {"name": "work-dir", **({"value": work_dir} if work_dir is not None else {})}
    section, steps = experiment.resources, PIPELINES[pipeline]
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Workflow",
        "metadata": {
            "generateName": f"{name_of(experiment, pipeline)}-",
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
                {"name": "nasflow", "dag": {"tasks": [_task(name, step) for name, step in steps.items()]}},
                *(_template(name, step, experiment) for name, step in steps.items()),
            ],
        },
    }


def compile_to(
    experiment: ExperimentSpec, path: Path, *, work_dir: str | None = None, pipeline: PipelineName = "automl"
) -> None:
    """Writes the workflow as YAML, for ``argo submit`` or ``kubectl create``.

    Raises:
        UserError: the file cannot be written, or its name does not end in .yaml.
    """
    write(workflow(experiment, work_dir=work_dir, pipeline=pipeline), path)


def write(made: Mapping[str, Any], path: Path) -> None:
    """An object as YAML.

    Raises:
        UserError: the file cannot be written, or its name does not end in .yaml.
    """
    if path.suffix not in (".yaml", ".yml"):
        raise UserError(f"{path}: the name must end in .yaml")
    text = yaml.safe_dump(dict(made), sort_keys=False, width=120)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error}") from error


def _task(name: str, step: Step) -> dict[str, Any]:
    given = f"{{{{tasks.{step.experiment}.outputs.parameters.experiment}}}}" if step.experiment else _WORKFLOWS_SPEC
    task: dict[str, Any] = {
        "name": name,
        "template": name,
        "arguments": {"parameters": [{"name": "spec", "value": given}]},
    }
    # "Succeeded": where a condition was not met, what comes after it is not run either.
    if needed := dict.fromkeys([*step.reads.values(), *filter(None, [step.experiment]), *(step.when or ())[:1]]):
        task["depends"] = " && ".join(f"{each}.Succeeded" for each in needed)
    if step.when is not None:
        task["when"] = f"{{{{tasks.{step.when[0]}.outputs.parameters.{step.when[1]}}}}} == true"
    return task


def _template(name: str, step: Step, experiment: ExperimentSpec) -> dict[str, Any]:
    section, accelerated = experiment.resources, step.image == "trainer"
    in_pods = name == "search" and experiment.search.launcher.kind == "kubernetes"  # its workers have the accelerators
    accelerator = section.accelerator if accelerated and not in_pods else None
    cpu, memory = (section.cpu, section.memory) if accelerated else CPU_TASK
    image = "trainer-gpu" if accelerator else deploy_image(experiment.deploy) if name == "deploy" else step.image
    arguments = ["--spec", _SPEC]
    for document, maker in step.reads.items():
        arguments += [f"--{document}", f"{_RUN}/documents/{maker}"]
    arguments += ["--output", f"{_RUN}/documents/{name}"]
    arguments += ["--work-dir", "{{workflow.parameters.work-dir}}", "--run-id", "{{workflow.uid}}"]
    for fact in step.facts:
        arguments += [f"--{fact}-file", _fact_path(fact)]
    amounts = {"cpu": cpu, "memory": memory}
    limits = {**amounts, **({accelerator.type: str(accelerator.count)} if accelerator else {})}
    template: dict[str, Any] = {
        "name": name,
        "inputs": {
            "parameters": [{"name": "spec"}],
            "artifacts": [{"name": "spec", "path": _SPEC, "raw": {"data": "{{inputs.parameters.spec}}"}}],
        },
        "activeDeadlineSeconds": math.ceil(section.timeout_hours * 3600),
        "container": {
            "image": section.image(image),
            "imagePullPolicy": "IfNotPresent",  # tags are versions and never move
            "command": ["python", "-m", *(step.module or f"nasflow.{name}").split()],
            "args": arguments,
            "resources": {"requests": amounts, "limits": limits},
            "securityContext": {
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"]},
                "readOnlyRootFilesystem": True,
            },
            "volumeMounts": [{"name": "tmp", "mountPath": _TMP}],
        },
        "volumes": [{"name": "tmp", "emptyDir": {}}],  # Argo puts the spec there, and reads the facts
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
    if step.facts:
        outputs = [{"name": fact, "valueFrom": {"path": _fact_path(fact)}} for fact in step.facts]
        template["outputs"] = {"parameters": outputs}
    if section.account_per_step:
        template["serviceAccountName"] = section.account_of(name)
    if accelerated:
        template["volumes"].append({"name": "dshm", "emptyDir": {"medium": "Memory", "sizeLimit": SHARED_MEMORY}})
        template["container"]["volumeMounts"].append({"name": "dshm", "mountPath": "/dev/shm"})  # noqa: S108  # the mount
    if accelerator:
        template |= node_pool(accelerator)
    return template


def _fact_path(fact: str) -> str:
    return f"{_TMP}/{fact}"
