"""What a document shows outside nasflow: flat metadata for an orchestrator's artifacts and metric pages."""

from typing import Any

from nasflow.core.artifacts import Dataset, Document, Endpoint, Evaluation, Model, RegisteredModel, Search


def metadata(document: Document) -> dict[str, Any]:
    """Scalars by name: the digest first, then the few numbers that a person looks for in a list of artifacts."""
    shown: dict[str, Any] = {"digest": document.digest, "producer": document.producer, "seconds": document.seconds}
    match document:
        case Dataset():
            shown |= {"task": document.task, **{f"rows_{split}": count for split, count in document.rows.items()}}
        case Search():
            shown |= {"strategy": document.strategy, "space": document.space, "trials": document.trials.completed}
            shown |= {"trials_failed": document.trials.failed, "trials_infeasible": document.trials.infeasible}
            if document.candidates:
                best = document.candidates[0]
                shown |= {"architecture_id": best.architecture_id, "parameters": best.parameters, "flops": best.flops}
                shown |= {} if best.score is None else {document.objective: best.score}
        case Model():
            shown |= {"architecture_id": document.architecture_id, "parameters": document.parameters}
            shown |= {"bundle_uri": document.bundle_uri, "bundle_digest": document.bundle_digest}
        case Evaluation():
            shown |= {"promoted": document.decision.promoted, "test_rows": document.test_rows}
        case RegisteredModel():
            shown |= {"registry": document.registry, "name": document.name, "version": document.version}
            shown |= {"model_uri": document.model_uri, "aliases": ",".join(document.aliases)}
        case Endpoint():
            shown |= {"url": document.url, "target": document.target, "version": document.version}
    return shown
