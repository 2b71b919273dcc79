"""Paths that a cluster's pods would take for their own: what is written there is gone with the pod."""

from nasflow.core.errors import UserError
from nasflow.core.spec import ExperimentSpec
from nasflow.core.storage import is_local


def need_bucket(experiment: ExperimentSpec) -> None:
    """On Kubeflow Pipelines, where nothing is mounted into tasks.

    Raises:
        UserError: `register.uri` is a local path: each task would have a registry of its own, gone with its pod.
    """
    uri = experiment.register_.uri
    if uri is not None and is_local(uri):
        raise UserError(
            f"register.uri: a cluster's tasks share no local folder, got {uri!r}: the model would be gone with its "
            "pod; name a gs:// prefix, or leave it out for WORK_DIR/registry"
        )


def local_places(experiment: ExperimentSpec, work_dir: str | None) -> list[str]:
    """A warning for each path that is no object store's. No errors: a claim may be mounted by a patch of the user's.

    >>> data = {"train": "gs://b/t.csv", "label": "y"}
    >>> made = {"task": "tabular_regression", "data": data, "register": {"uri": "/r"}}
    >>> [line.partition(" is ")[0] for line in local_places(ExperimentSpec.model_validate(made), "w")]
    ["--work-dir 'w'", "register.uri '/r'"]
    """
    data = experiment.data
    named = {"--work-dir": work_dir, "register.uri": experiment.register_.uri}
    named |= {"data.train": data.train, "data.test": data.test}
    return [
        f"{key} {uri!r} is a path inside each pod, which is gone with it: name a gs:// prefix, unless a claim is "
        "mounted there in all of them"
        for key, uri in named.items()
        if uri is not None and is_local(uri) and not uri.startswith("sample:")
    ]
