"""Gives the trained model a number, and the alias ``champion`` if its evaluation says so."""

import logging
from collections.abc import Mapping

from nasflow.core.artifacts import Dataset, Evaluation, Model, RegisteredModel, Search
from nasflow.core.errors import UserError
from nasflow.core.workspace import Place, run_once
from nasflow.register.draft import CARD_HTML, draft_of
from nasflow.register.spec import RegisterSpec
from nasflow.registry._base import Registry, RegistryConflictError, Version
from nasflow.registry.open import CHALLENGER, CHAMPION, open_registry, place
from nasflow.serving import parity

logger = logging.getLogger(__name__)


def run(
    spec: RegisterSpec,
    *,
    dataset: Dataset,
    search: Search,
    model: Model,
    evaluation: Evaluation,
    work_dir: str,
    output: str,
) -> RegisteredModel:
    """Registers the model's bundle. Run again, after a kill or as it is, it gives the same version.

    The newest version is always the ``challenger``. It becomes the ``champion`` only if the evaluation's decision says
    so, and only if the champion is still the one that the evaluation compared it with (none, if it found none).

    The document's ``version.json`` is the registry's entry: the files of its copy, metrics, lineage, provenance; its
    ``report.html`` is the model card.

    Raises:
        RegistryConflictError: somebody else promoted a version since the evaluation.
        UserError: this version was the champion and has been rolled back; only a person may promote it again.
        DocumentError: a file of the bundle is missing or changed, or golden rows are answered otherwise than at export.
    """
    documents: Mapping[str, Dataset | Search | Model | Evaluation] = {
        "dataset": dataset,
        "search": search,
        "model": model,
        "evaluation": evaluation,
    }
    uri = place(spec.uri, work_dir)

    def produce(_place: Place) -> tuple[RegisteredModel, Mapping[str, bytes]]:
        registry = open_registry(uri, kind=spec.registry, server=spec.server)
        draft = draft_of(spec, dataset=dataset, search=search, model=model, evaluation=evaluation)
        parity.check(draft.bundle_uri)  # the registry's copy is compared byte by byte
        version = registry.register(spec.name, draft)
        _point_challenger(registry, version)
        if evaluation.decision.promoted:
            _promote(registry, version, evaluation)
        logger.info(
            "register: %s version %d is %s",
            spec.name,
            version.version,
            "the champion" if evaluation.decision.promoted else "a challenger",
            extra={"model": spec.name, "version": version.version, "promoted": evaluation.decision.promoted},
        )
        aliases = registry.aliases(spec.name)
        document = RegisteredModel(
            registry=uri,
            name=spec.name,
            version=version.version,
            model_uri=version.bundle_uri,
            model_digest=version.bundle_digest,
            aliases=tuple(sorted(alias for alias, number in aliases.items() if number == version.version)),
        )
        files = {"version.json": version.model_dump_json(indent=1).encode()}
        files["report.html"] = registry.attachment(version, CARD_HTML)
        return document, files

    return run_once(
        "register",
        RegisteredModel,
        produce,
        spec=spec,
        inputs=documents,
        work_dir=work_dir,
        output=output,
    )


def _promote(registry: Registry, version: Version, evaluation: Evaluation) -> None:
    name, number = version.name, version.version
    if registry.aliases(name).get(CHAMPION) == number:
        return  # an attempt that was killed after it had promoted it
    for move in registry.history(name):
        if move.alias == CHAMPION and move.kind == "rollback" and move.from_version == number:
            why = f" ({move.reason})" if move.reason else ""
            raise UserError(
                f"{name} version {number} was rolled back at {move.time}{why}: it is not promoted by itself again. "
                f"To have it all the same: nasflow models promote {name} {number}"
            )
    expected = None if evaluation.champion is None else evaluation.champion.version
    reason = "; ".join(evaluation.decision.reasons)
    registry.promote(name, CHAMPION, number, expected=expected, reason=reason)


def _point_challenger(registry: Registry, version: Version) -> None:
    """Moves it forward only: of two runs that register at once, the later version stays the challenger."""
    while (there := registry.aliases(version.name).get(CHALLENGER)) is None or there < version.version:
        try:
            registry.promote(version.name, CHALLENGER, version.version, expected=there, reason="newest version")
        except RegistryConflictError:
            continue
        return
