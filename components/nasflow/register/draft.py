"""From the documents of a run to what the registry keeps of it."""

import json
from typing import Any

from nasflow.core.artifacts import MANIFEST, Dataset, Document, Evaluation, Model, Search
from nasflow.core.errors import DocumentError
from nasflow.core.provenance import provenance
from nasflow.core.storage import sha256, storage_for
from nasflow.data.schema import Schema
from nasflow.register import card
from nasflow.register.spec import RegisterSpec
from nasflow.registry._base import Draft, Feature

CARD_HTML, CARD_MARKDOWN, SPEC = "card.html", "card.md", "spec.json"
_LEFT_OUT = {"dead_letters.jsonl"}
"""Raw rows, of any size: the Dataset itself has them."""


def draft_of(spec: RegisterSpec, *, dataset: Dataset, search: Search, model: Model, evaluation: Evaluation) -> Draft:
    """The draft; its attachments are ``spec.json``, the cards, and each document's manifest and small files below its
    name, so that the registry can tell a version's story when the work dir is gone.

    Raises:
        DocumentError: a file of a document or the bundle is missing or changed.
    """
    documents: dict[str, Document] = {"dataset": dataset, "search": search, "model": model, "evaluation": evaluation}
    found, whole = features(dataset), json.dumps(spec.whole, sort_keys=True, indent=1).encode()
    made = dict(model.environment) if "code" in model.environment else provenance()
    made |= {"spec": sha256(whole)}
    facts = card.Facts(
        name=spec.name,
        experiment=spec.whole,
        dataset=dataset,
        search=search,
        model=model,
        evaluation=evaluation,
        features=found,
        provenance=made,
    )
    attachments = {SPEC: whole, CARD_HTML: card.as_html(facts), CARD_MARKDOWN: card.as_markdown(facts)}
    for name, document in documents.items():
        attachments[f"{name}/{MANIFEST}"] = document.model_dump_json(indent=1).encode()
        attachments |= {f"{name}/{file}": document.file(file) for file in document.files if file not in _LEFT_OUT}
    return Draft(
        bundle_uri=model.bundle_uri,
        files=model.bundle,
        metrics=evaluation.test,
        baseline=evaluation.baseline,
        signature=_signature(model),
        lineage={name: document.digest for name, document in documents.items()},
        experiment=spec.experiment,
        features=found,
        provenance=made,
        attachments=attachments,
    )


def features(dataset: Dataset) -> tuple[Feature, ...]:
    """The columns that a client sends, with the ranges of the training rows; empty for a Dataset without a schema."""
    if "schema.json" not in dataset.files:
        return ()
    schema = Schema.model_validate(dataset.json("schema.json"))
    columns = dataset.json("statistics.json")["columns"] if "statistics.json" in dataset.files else {}
    image = schema.image
    shape = (image.height, image.width, image.channels) if image is not None else ()
    return tuple(
        Feature(
            name=column.name,
            kind=column.kind,
            dtype=column.dtype,
            missing=column.missing,
            shape=shape if column.kind == "image" else (),
            **_range(columns.get(column.name, {})),
        )
        for column in schema.columns
    )


def _range(known: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if known.get("min") is not None and known.get("max") is not None:
        found = {"low": known["min"], "high": known["max"]}
    return found | ({"categories": tuple(known["top"])} if known.get("top") else {})


def _signature(model: Model) -> dict[str, object]:
    entry = model.bundle.get("signature.json")
    if entry is None:
        raise DocumentError(f"{model.bundle_uri}: the bundle has no signature.json; train the model again")
    entry.check()
    signature: dict[str, object] = json.loads(storage_for(entry.uri).read(entry.uri))
    return signature
