"""An InferenceService against the CRD's schema, without a cluster."""

import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nasflow.core.errors import UserError

SCHEMA = Path(__file__).with_name("kserve_v0_20.json")
"""KServe v0.20.0's own, shortened to what nasflow renders; its ``$comment`` says how."""


def validate(service: Mapping[str, Any]) -> None:
    """Checks types, required and unknown fields, as the API server does with ``fieldValidation=Strict``.

    The CRD has no CEL rules; what KServe's webhooks check beyond it is not checked here.

    Raises:
        UserError: every field that is wrong, by its path.
    """
    from jsonschema import Draft202012Validator

    errors = sorted(Draft202012Validator(_schema()).iter_errors(service), key=lambda error: list(error.absolute_path))
    if errors:
        problems = "; ".join(f"{'.'.join(map(str, error.absolute_path))}: {error.message:.160}" for error in errors)
        raise UserError(f"deploy: not a valid InferenceService (KServe v0.20): {problems}")


@functools.cache
def _schema() -> dict[str, Any]:
    schema: dict[str, Any] = strict(json.loads(SCHEMA.read_text(encoding="utf-8")))
    return schema


def strict(node: Any) -> Any:
    """Kubernetes' extensions as JSON schema, in place: unknown fields refused, an int-or-string is either."""
    if isinstance(node, dict):
        if node.get("x-kubernetes-int-or-string"):
            node.pop("type", None)
            node["anyOf"] = [{"type": "integer"}, {"type": "string"}]
        free = node.get("x-kubernetes-preserve-unknown-fields") or "additionalProperties" in node
        if node.get("type") == "object" and "properties" in node and not free:
            node["additionalProperties"] = False
        for value in node.values():
            strict(value)
    elif isinstance(node, list):
        for value in node:
            strict(value)
    return node
