"""Which nodes a pod with accelerators is for, as Kubernetes has it: trials' workers, Argo's tasks, models served by
KServe. (Kubeflow's tasks are told the same by kfp-kubernetes, see `nasflow_pipelines.resources`.)"""

from typing import Any

from nasflow.core.sections.resources import AcceleratorSection

SPOT_LABEL = "cloud.google.com/gke-spot"
"""Of spot nodes, which carry a taint of that name, too."""


def node_pool(accelerator: AcceleratorSection) -> dict[str, Any]:
    """What a pod's spec says of its nodes.

    >>> node_pool(AcceleratorSection(type="example.com/npu", pool="a", pool_label="pool"))
    {'tolerations': [{'key': 'example.com/npu', 'operator': 'Exists', 'effect': 'NoSchedule'}], \
'nodeSelector': {'pool': 'a'}}
    """
    tolerations = [{"key": accelerator.type, "operator": "Exists", "effect": "NoSchedule"}]
    selector = {accelerator.pool_label: accelerator.pool} if accelerator.pool else {}
    if accelerator.spot:
        selector[SPOT_LABEL] = "true"
        tolerations.append({"key": SPOT_LABEL, "operator": "Equal", "value": "true", "effect": "NoSchedule"})
    return {"tolerations": tolerations, **({"nodeSelector": selector} if selector else {})}
