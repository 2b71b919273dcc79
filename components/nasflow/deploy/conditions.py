"""What an InferenceService's status says: which version serves, where, and why not."""

import urllib.parse
from collections.abc import Mapping
from typing import Any

from nasflow.deploy.isvc import Release

_HOPELESS = ("BlockedByFailedLoad", "InvalidSpec")


def failing(live: Mapping[str, Any]) -> str:
    """Every condition that is not True, with its reason and message."""
    status = live.get("status") or {}
    found = [
        f"{condition['type']} is {condition.get('status')}"
        + (f" ({condition['reason']})" if condition.get("reason") else "")
        + (f": {condition['message']}" if condition.get("message") else "")
        for condition in status.get("conditions") or []
        if condition.get("status") != "True"
    ]
    failure = (status.get("modelStatus") or {}).get("lastFailureInfo")
    if failure:
        found.append(f"model: {failure.get('reason', '')}: {failure.get('message', '')}")
    return "; ".join(found) or "the controller has not reported a condition yet"


def hopeless(live: Mapping[str, Any]) -> bool:
    """Whether the controller has given up, so that waiting longer is no use."""
    status = (live.get("status") or {}).get("modelStatus") or {}
    return status.get("transitionStatus") in _HOPELESS


def serves(live: Mapping[str, Any], release: Release, *, mode: str) -> bool:
    """Whether the service is Ready, and with this version: an old status must not pass for a new one."""
    status = live.get("status") or {}
    if not any(c["type"] == "Ready" and c.get("status") == "True" for c in status.get("conditions") or []):
        return False
    if mode == "standard":
        host = urllib.parse.urlsplit((status.get("address") or {}).get("url", "")).hostname or ""
        return host.startswith(f"{release.name}-{release.predictor}-predictor.")
    revision = _component(live)
    return bool(revision.get("latestReadyRevision")) and (
        revision.get("latestReadyRevision")
        == revision.get("latestCreatedRevision")
        == revision.get("latestRolledoutRevision")
    )


def canary_ready(live: Mapping[str, Any], release: Release, *, mode: str, before: str) -> bool:
    """Whether the canary's own pods are up.

    Args:
        live: the object.
        release: the canary.
        mode: standard or knative.
        before: Knative: the last revision made before the canary's.
    """
    if mode == "standard":
        statuses = (live.get("status") or {}).get("canaryStatuses") or []
        return any(each["name"] == release.predictor and each.get("ready") for each in statuses)
    component = _component(live)
    created = component.get("latestCreatedRevision")
    return bool(created) and created != before and component.get("latestReadyRevision") == created


def revision(live: Mapping[str, Any]) -> str:
    """Knative: the last revision made; empty in Standard mode."""
    return str(_component(live).get("latestCreatedRevision") or "")


def rolled_out(live: Mapping[str, Any]) -> bool:
    """Knative: whether a revision has all requests; before that KServe ignores a canary's share and gives it all."""
    return bool(_component(live).get("latestRolledoutRevision"))


def service_url(live: Mapping[str, Any], *, mode: str, inside: bool) -> str:
    """Where the service answers; from outside, Knative's public URL."""
    status = live.get("status") or {}
    if mode == "standard":
        return str(status["address"]["url"])
    return str((_component(live).get("address") or status["address"])["url"] if inside else status["url"])


def canary_url(live: Mapping[str, Any], release: Release, *, mode: str, inside: bool) -> str:
    """Where the canary alone answers: Standard, its own Service; Knative, its route's tag ``latest``."""
    metadata, status = live["metadata"], live.get("status") or {}
    if mode == "standard":
        parts = urllib.parse.urlsplit(status["address"]["url"])
        _, _, domain = parts.netloc.partition(".")
        return f"{parts.scheme}://{release.name}-{release.predictor}-predictor.{domain}"
    if inside:
        return f"http://latest-{release.name}-predictor.{metadata['namespace']}.svc.cluster.local"
    tags = {target.get("tag"): target.get("url") for target in _component(live).get("traffic") or []}
    return str(tags["latest"])


def stable_url(live: Mapping[str, Any], predictor: Mapping[str, Any], *, mode: str, inside: bool) -> str:
    """Where the version that serves beside a canary answers alone; empty where it has no address of its own."""
    metadata, status = live["metadata"], live.get("status") or {}
    if mode == "standard":
        parts = urllib.parse.urlsplit((status.get("address") or {}).get("url", ""))
        _, _, domain = parts.netloc.partition(".")
        return f"{parts.scheme}://{metadata['name']}-{predictor.get('name')}-predictor.{domain}" if domain else ""
    if inside:
        return f"http://prev-{metadata['name']}-predictor.{metadata['namespace']}.svc.cluster.local"
    tags = {target.get("tag"): target.get("url") for target in _component(live).get("traffic") or []}
    return str(tags.get("prev") or "")


def _component(live: Mapping[str, Any]) -> Mapping[str, Any]:
    found: Mapping[str, Any] = ((live.get("status") or {}).get("components") or {}).get("predictor") or {}
    return found
