"""What `nasflow models` prints, and writes."""

import difflib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nasflow.core.errors import UserError
from nasflow.core.storage import storage_for
from nasflow.registry._base import Registry, Version

_SPEC, _CARD = "spec.json", "card.md"


def history_lines(store: Registry, name: str) -> list[str]:
    """Every move of every alias, oldest first."""
    return [
        f"{move.time}  {move.alias}: {'none' if move.from_version is None else move.from_version} → {move.to_version}"
        f"  {move.kind}{f'  ({move.reason:.120})' if move.reason else ''}"
        for move in store.history(name)
    ]


def differences(store: Registry, old: Version, new: Version) -> Iterator[str]:
    """What has changed from one version to another, a line each: metrics, inputs, classes, data, code, the spec.

    Metrics of two versions may be of other test rows: that is said.
    """
    yield f"{old.name} {old.version} → {new.version}"
    if old.bundle_digest == new.bundle_digest:
        yield "the same bundle"
    same = old.lineage.get("dataset") == new.lineage.get("dataset")
    yield f"metrics (on {'the same' if same else 'other'} data):"
    for metric in sorted(set(old.metrics) | set(new.metrics)):
        before, after = old.metrics.get(metric), new.metrics.get(metric)
        shown = [
            f"{each.value:.4g} [{each.ci95[0]:.4g}, {each.ci95[1]:.4g}]" if each else "–" for each in (before, after)
        ]
        change = f"  {after.value - before.value:+.4g}" if before and after else ""
        yield f"  {metric:<10} {shown[0]} → {shown[1]}{change}"
    yield from _inputs(old, new)
    classes = [set(each.signature.get("classes") or ()) for each in (old, new)]
    for sign, names in (("-", classes[0] - classes[1]), ("+", classes[1] - classes[0])):
        yield from (f"class {sign} {name}" for name in sorted(names))
    for what, was, now in (("made from", old.lineage, new.lineage), ("made by", old.provenance, new.provenance)):
        changed = [name for name in sorted(set(was) | set(now)) if was.get(name) != now.get(name)]
        yield from (f"{what} another {name}: {_short(was.get(name))} → {_short(now.get(name))}" for name in changed)
    yield from _specs(store, old, new)


def _inputs(old: Version, new: Version) -> Iterator[str]:
    before, after = ({feature.name: feature for feature in each.features} for each in (old, new))
    for name in sorted(set(before) | set(after)):
        if name not in after:
            yield f"input - {name}"
        elif name not in before:
            yield f"input + {name}: {after[name].kind}"
        elif (before[name].kind, before[name].dtype) != (after[name].kind, after[name].dtype):
            yield f"input ~ {name}: {before[name].kind} {before[name].dtype} → {after[name].kind} {after[name].dtype}"
        elif (before[name].low, before[name].high) != (after[name].low, after[name].high):
            yield f"input ~ {name}: {before[name].low} to {before[name].high} → {after[name].low} to {after[name].high}"


def _specs(store: Registry, old: Version, new: Version) -> Iterator[str]:
    if any(_SPEC not in each.attachments for each in (old, new)):
        return
    before, after = (
        json.dumps(json.loads(store.attachment(each, _SPEC)), indent=1, sort_keys=True).splitlines()
        for each in (old, new)
    )
    lines = difflib.unified_diff(before, after, lineterm="", n=0)
    changed = [line for line in lines if not line.startswith(("---", "+++", "@@"))]
    if changed:
        yield "spec:"
        yield from (f"  {line}" for line in changed)


def _short(digest: str | None) -> str:
    return "none" if digest is None else digest[:12]


def export(store: Registry, version: Version, folder: Path) -> int:
    """Writes the bundle, the attachments and ``version.json`` into an empty or new folder; returns how many files.

    Raises:
        UserError: the folder has files in it, or cannot be written.
        DocumentError: a file of the registry is missing or changed; nothing is left in the folder.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder}: is there already and not empty; name a new folder")
    store.verify(version)
    try:
        for path, entry in version.files.items():
            _write(folder / "bundle" / path, storage_for(entry.uri).read(entry.uri))
        for path in version.attachments:
            _write(folder / path, store.attachment(version, path))
        _write(folder / "version.json", version.model_dump_json(indent=1).encode())
    except OSError as error:
        raise UserError(f"{folder}: cannot be written: {error.strerror}") from error
    return len(version.files) + len(version.attachments) + 1


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def mirrored(store: Registry) -> Any:
    """The registry as one with a mirror; None where nothing mirrors it."""
    from nasflow.registry.mirror import MirroredRegistry

    return store if isinstance(store, MirroredRegistry) else None
