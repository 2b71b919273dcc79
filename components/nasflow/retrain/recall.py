"""Reads the champion from the registry, and holds the experiment's data against its: `recall`."""

import json
import logging
from collections.abc import Mapping
from typing import Any

from nasflow.core.artifacts import MANIFEST, Dataset, Model, Search
from nasflow.core.errors import DocumentError
from nasflow.core.spec import ExperimentSpec
from nasflow.core.storage import join, storage_for
from nasflow.core.workspace import Place, run_once
from nasflow.data.schema import Schema
from nasflow.registry._base import Registry, Version
from nasflow.registry.open import CHAMPION, place, truth
from nasflow.retrain.documents import EXPERIMENT, Incumbent

logger = logging.getLogger(__name__)


def run(experiment: ExperimentSpec, *, work_dir: str, output: str) -> Incumbent:
    """Returns the Incumbent; without a champion one that changes nothing.

    The experiment's columns get the kinds that they have in the champion's schema (unless the YAML names others), and
    `data.compare_with` its Dataset: new data of another form end with a message, not with another model.

    Raises:
        DocumentError: the champion was registered by a nasflow that did not keep its documents.
    """
    registry = truth(place(experiment.register_.uri, work_dir))
    name = experiment.model_name
    number = registry.aliases(name).get(CHAMPION)
    version = None if number is None else registry.get(name, version=number)

    def produce(at: Place) -> tuple[Incumbent, Mapping[str, bytes]]:
        if version is None:
            logger.info("recall: %s has no champion yet", name)
            return Incumbent(name=name, version=None), {EXPERIMENT: _json(experiment)}
        return _incumbent(experiment, registry, version, at)

    return run_once(
        "recall",
        Incumbent,
        produce,
        spec=experiment,
        inputs={},
        sources={} if version is None else {f"champion {version.version}": version.bundle_digest},
        work_dir=work_dir,
        output=output,
    )


def _incumbent(
    experiment: ExperimentSpec, registry: Registry, version: Version, at: Place
) -> tuple[Incumbent, Mapping[str, bytes]]:
    dataset = Dataset.model_validate(_attached(registry, version, f"dataset/{MANIFEST}"))
    uri = at.at("dataset")
    for path in version.attachments:
        if path.startswith("dataset/") and path != f"dataset/{MANIFEST}":
            target = join(uri, path.removeprefix("dataset/"))
            storage_for(target).write(target, registry.attachment(version, path))
    manifest = join(uri, MANIFEST)
    storage_for(manifest).write(manifest, registry.attachment(version, f"dataset/{MANIFEST}"))
    model = Model.model_validate(_attached(registry, version, f"model/{MANIFEST}"))
    search = Search.model_validate(_attached(registry, version, f"search/{MANIFEST}"))
    values = next((c.values for c in search.candidates if c.architecture_id == model.architecture_id), None)
    schema = Schema.model_validate(_attached(registry, version, "dataset/schema.json"))
    logger.info("recall: the champion of %s is version %d, %s", version.name, version.version, model.architecture_id)
    document = Incumbent(
        name=version.name,
        version=version.version,
        dataset_uri=uri,
        dataset_digest=dataset.digest,
        architecture_id=model.architecture_id,
        values=values,
    )
    return document, {EXPERIMENT: _json(against(experiment, schema, uri))}


def against(experiment: ExperimentSpec, schema: Schema, dataset_uri: str) -> ExperimentSpec:
    """The experiment with the champion's kinds of columns, and its Dataset to compare with."""
    content = experiment.model_dump(mode="json")
    data: dict[str, Any] = content["data"]
    data["compare_with"] = dataset_uri
    if schema.image is None:
        skipped = {data["label"], *data["ignore"]}
        columns: dict[str, Any] = dict(data.get("columns") or {})
        for column in schema.columns:
            if column.name not in skipped:
                known = columns.get(column.name) or {}
                columns[column.name] = {**known, "kind": known.get("kind") or column.kind}
        data["columns"] = columns
    return ExperimentSpec.model_validate(content)


def _attached(registry: Registry, version: Version, path: str) -> dict[str, Any]:
    if path not in version.attachments:
        raise DocumentError(
            f"{version.name} version {version.version} ({version.nasflow}) has no {path} in the registry: an earlier "
            "nasflow registered it; run the whole pipeline once (nasflow run)"
        )
    content: dict[str, Any] = json.loads(registry.attachment(version, path))
    return content


def _json(experiment: ExperimentSpec) -> bytes:
    return experiment.model_dump_json(by_alias=True, indent=1).encode()
