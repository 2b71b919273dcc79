"""What a version holds beside its bundle, and what is cleared away."""

import os
import time
from pathlib import Path

import pytest

from nasflow.core.artifacts import External
from nasflow.core.errors import DocumentError, UserError
from nasflow.core.provenance import provenance
from nasflow.registry._base import Draft, Feature, Version
from nasflow.registry.file import FileRegistry


def draft(folder, text="a", **fields):
    path = Path(folder, "made", text, "saved_model.pb")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return Draft(bundle_uri=str(path.parent), files={path.name: External.of(str(path))}, **fields)


def test_attachments_features_and_provenance_are_read_back(tmp_path):
    registry = FileRegistry(str(tmp_path / "registry"))
    features = (Feature(name="age", kind="numeric", dtype="double", missing=True, low=1.0, high=99.0),)
    attachments = {"card.md": b"# Card", "dataset/manifest.json": b"{}"}
    made = registry.register("m", draft(tmp_path, features=features, provenance={"code": "c"}, attachments=attachments))
    again = FileRegistry(str(tmp_path / "registry")).get("m", version=1)
    assert again == made
    assert (again.features, again.provenance) == (features, {"code": "c"})
    assert registry.attachment(again, "card.md") == b"# Card"
    with pytest.raises(UserError, match=r"m version 1 has no 'card.html'; it has card.md, dataset/manifest.json"):
        registry.attachment(again, "card.html")


def test_equal_attachments_of_two_versions_are_one_file(tmp_path):
    registry = FileRegistry(str(tmp_path / "registry"))
    for text in "ab":
        registry.register("m", draft(tmp_path, text, attachments={"spec.json": b"{}"}))
    assert len(list((tmp_path / "registry/m/attachments").iterdir())) == 1


def test_a_changed_or_deleted_attachment_is_found(tmp_path):
    registry = FileRegistry(str(tmp_path / "registry"))
    version = registry.register("m", draft(tmp_path, attachments={"card.md": b"# Card"}))
    registry.verify(version)
    place = Path(version.attachments["card.md"].uri)
    place.write_text("# Better card")
    with pytest.raises(DocumentError, match="changed"):
        registry.verify(version)
    with pytest.raises(DocumentError, match="changed since it was registered"):
        registry.attachment(version, "card.md")
    place.unlink()
    for act in (lambda: registry.verify(version), lambda: registry.attachment(version, "card.md")):
        with pytest.raises(DocumentError, match="missing"):
            act()


def test_versions_of_before_there_were_attachments_are_read(tmp_path):
    registry = FileRegistry(str(tmp_path / "registry"))
    made = registry.register("m", draft(tmp_path))
    old = made.model_dump(exclude={"features", "provenance", "attachments"})
    assert Version.model_validate(old) == made


def test_only_what_no_version_refers_to_and_is_old_enough_is_an_orphan(tmp_path):
    registry = FileRegistry(str(tmp_path / "registry"))
    kept = registry.register("m", draft(tmp_path, "a", attachments={"card.md": b"a"}))
    registry.register("m", draft(tmp_path, "b", attachments={"card.md": b"b"}))
    (tmp_path / "registry/m/versions/2.json").unlink()  # as if killed before it was written
    cut = tmp_path / "registry/m/versions/.tmp-xyz"
    cut.write_text("{")
    orphans = registry.orphans(older_than_seconds=0)
    names = sorted(Path(uri).relative_to(tmp_path / "registry/m").parts[0] for uri in orphans)
    assert names == ["attachments", "bundles", "versions"]
    assert registry.orphans(older_than_seconds=3600) == []
    os.utime(cut, (time.time() - 7200, time.time() - 7200))
    assert registry.orphans(older_than_seconds=3600) == [str(cut)]
    registry.remove(orphans)
    registry.verify(kept)
    assert registry.orphans(older_than_seconds=0) == []
    assert [version.version for version in registry.versions("m")] == [1]


def test_a_copy_that_a_registration_has_renewed_is_too_young_to_be_collected(tmp_path, monkeypatch):
    """Killed two days ago, registered again now: between its copy and its version, a collection of what is older than a
    day deletes nothing, whether it has listed the old files before or lists them then."""
    registry = FileRegistry(str(tmp_path / "registry"))
    registry.register("m", draft(tmp_path, "a", attachments={"card.md": b"a"}))
    (tmp_path / "registry/m/versions/1.json").unlink()
    for path in (tmp_path / "registry/m").rglob("*"):
        os.utime(path, (time.time() - 172_800, time.time() - 172_800))
    listed = registry.orphans(older_than_seconds=86_400)
    assert len(listed) == 2
    storage, collected = registry._storage, FileRegistry(registry.uri)
    create = storage.create

    def collecting(uri, data):
        assert collected.orphans(older_than_seconds=86_400) == []
        collected.remove(listed, older_than_seconds=86_400)
        return create(uri, data)

    monkeypatch.setattr(storage, "create", collecting)
    registry.verify(registry.register("m", draft(tmp_path, "a", attachments={"card.md": b"a"})))


def test_a_temporary_file_that_gets_its_name_meanwhile_is_no_orphan(tmp_path, monkeypatch):
    registry = FileRegistry(str(tmp_path / "registry"))
    gone = tmp_path / "registry/m/versions/.tmp-xyz"
    monkeypatch.setattr(registry._storage, "list", lambda _: [str(gone)])
    assert registry.orphans(older_than_seconds=0) == []


def test_provenance_names_code_packages_and_lock():
    found = provenance({})
    assert provenance({}) == found
    assert {"nasflow", "code", "packages", "python", "platform"} <= set(found)
    assert len(found["code"]) == len(found["packages"]) == 64
    assert provenance({"NASFLOW_LOCK_SHA256": "l"})["lock"] == "l"
