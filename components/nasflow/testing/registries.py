"""What every registry must do."""

import tempfile
from functools import partial
from pathlib import Path
from typing import TypeVar

from nasflow.core.artifacts import Estimate, External
from nasflow.core.errors import DocumentError, UserError
from nasflow.core.storage import storage_for
from nasflow.registry._base import Draft, Registry, RegistryConflictError
from nasflow.testing.asserting import error_of, race

T = TypeVar("T")


class RegistryConformance:
    """What every model registry must hold. Say in `open` how the registry in an empty folder is opened.

    `open` is called once a test and once a racer, always with the same folder: racers are threads with a registry each.
    """

    racers: int = 8

    def open(self, folder: str) -> Registry:
        """The registry whose data is below `folder`, a local path that exists."""
        raise NotImplementedError("a subclass says how its registry is opened")

    def test_versions_are_numbered_from_one_and_read_back(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            registry = self.open(folder)
            assert registry.versions("fashion") == []
            made = [registry.register("fashion", _draft(folder, text)) for text in ("a", "b", "c")]
            assert [version.version for version in made] == [1, 2, 3]
            assert self.open(folder).versions("fashion") == made
            assert registry.get("fashion", version=2) == made[1]
            assert registry.get("fashion") == made[2]
            assert registry.models() == ["fashion"]
            assert made[0].metrics["accuracy"].value == 0.5

    def test_the_copy_is_the_registrys_own(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            draft = _draft(folder, "a")
            registry = self.open(folder)
            version = registry.register("fashion", draft)
            for entry in draft.files.values():
                Path(entry.uri).unlink()
            registry.verify(version)
            assert set(version.files) == set(draft.files)
            assert not {entry.uri for entry in version.files.values()} & {entry.uri for entry in draft.files.values()}

    def test_the_same_bundle_keeps_its_version(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            registry = self.open(folder)
            first = registry.register("fashion", _draft(folder, "a"))
            registry.register("fashion", _draft(folder, "b"))
            assert registry.register("fashion", _draft(folder, "a")) == first
            assert len(registry.versions("fashion")) == 2
            assert registry.register("other", _draft(folder, "a")).version == 1

    def test_racing_registrations_leave_no_gap_and_no_double(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            drafts = [_draft(folder, f"racer {number}") for number in range(self.racers)]
            made = race([partial(self.open(folder).register, "fashion", draft) for draft in drafts])
            assert sorted(version.version for version in made) == list(range(1, self.racers + 1))
            assert len({version.bundle_digest for version in made}) == self.racers
            stored = self.open(folder).versions("fashion")
            assert stored == sorted(made, key=lambda version: version.version)

    def test_racers_with_one_bundle_get_one_version(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            draft = _draft(folder, "same")
            made = race([partial(self.open(folder).register, "fashion", draft) for _ in range(self.racers)])
            assert {version.version for version in made} == {1}
            assert len(self.open(folder).versions("fashion")) == 1

    def test_racing_promotions_have_one_winner_a_round(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            registry = self.open(folder)
            for number in range(self.racers):
                registry.register("fashion", _draft(folder, f"racer {number}"))
            holder: int | None = None
            for turn in range(5):

                def promote(version: int, expected: int | None = holder) -> bool:
                    try:
                        self.open(folder).promote("fashion", "champion", version, expected=expected)
                    except RegistryConflictError:
                        return False
                    return True

                # whoever holds the alias is no racer: to promote it again would be no change
                racers = [number for number in range(1, self.racers + 1) if number != holder]
                won = race([partial(promote, number) for number in racers])
                assert sum(won) == 1
                holder = racers[won.index(True)]
                assert registry.aliases("fashion") == {"champion": holder}
                assert len(registry.history("fashion")) == turn + 1

    def test_aliases_move_independently(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            registry = self.open(folder)
            registry.register("fashion", _draft(folder, "a"))
            names = [f"alias{number}" for number in range(self.racers)]

            def promote(alias: str) -> None:
                self.open(folder).promote("fashion", alias, 1, expected=None)

            race([partial(promote, name) for name in names])
            assert registry.aliases("fashion") == dict.fromkeys(names, 1)

    def test_a_lost_promotion_says_who_is_there(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            registry = self.open(folder)
            for text in ("a", "b"):
                registry.register("fashion", _draft(folder, text))
            registry.promote("fashion", "champion", 1, expected=None)
            message = error_of(RegistryConflictError, lambda: registry.promote("fashion", "champion", 2, expected=None))
            assert "version 1" in message
            assert registry.get("fashion", alias="champion").version == 1

    def test_rollback_goes_back_step_by_step(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            registry = self.open(folder)
            for text in ("a", "b", "c"):
                registry.register("fashion", _draft(folder, text))
            registry.promote("fashion", "champion", 1, expected=None)
            registry.promote("fashion", "champion", 2, expected=1)
            registry.promote("fashion", "champion", 3, expected=2, reason="better")
            assert registry.rollback("fashion", "champion").version == 2
            assert registry.rollback("fashion", "champion", reason="worse").version == 1
            error_of(UserError, lambda: registry.rollback("fashion", "champion"))
            assert registry.get("fashion", alias="champion").version == 1
            moves = [(change.kind, change.from_version, change.to_version) for change in registry.history("fashion")]
            assert moves == [
                ("promote", None, 1),
                ("promote", 1, 2),
                ("promote", 2, 3),
                ("rollback", 3, 2),
                ("rollback", 2, 1),
            ]
            assert [change.reason for change in registry.history("fashion")] == ["", "", "better", "", "worse"]

    def test_a_rollback_to_a_version_that_lacks_a_file_is_refused(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            registry = self.open(folder)
            first, _ = (registry.register("fashion", _draft(folder, text)) for text in ("a", "b"))
            registry.promote("fashion", "champion", 1, expected=None)
            registry.promote("fashion", "champion", 2, expected=1)
            lost = next(iter(first.files.values())).uri
            storage_for(lost).delete(lost)
            said = error_of(DocumentError, lambda: registry.rollback("fashion", "champion"))
            assert "stays at version 2" in said
            assert lost in said
            assert dict(registry.aliases("fashion")) == {"champion": 2}
            assert len(registry.history("fashion")) == 2

    def test_what_a_registration_takes_over_is_not_collected(self) -> None:
        """Its bundle was copied by one that was killed; the collection has listed the copy, and deletes it now."""
        with tempfile.TemporaryDirectory() as folder:
            registry = self.open(folder)
            registry.register("fashion", _draft(folder, "a"))
            record = next(uri for uri in storage_for(registry.uri).list(registry.uri) if uri.endswith("/1.json"))
            storage_for(record).delete(record)
            listed = registry.orphans(older_than_seconds=0)
            taken = registry.register("fashion", _draft(folder, "a"))
            registry.remove(listed)
            registry.verify(taken)

    def test_unknown_names_are_answered_with_those_there_are(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            registry = self.open(folder)
            registry.register("fashion", _draft(folder, "a"))
            registry.promote("fashion", "champion", 1, expected=None)
            assert "fashion" in error_of(UserError, lambda: registry.get("dresses"))
            assert "fashion" in error_of(UserError, lambda: registry.get("dresses", alias="champion"))
            assert "1 to 1" in error_of(UserError, lambda: registry.get("fashion", version=7))
            assert "champion" in error_of(UserError, lambda: registry.get("fashion", alias="king"))
            assert "1 to 1" in error_of(UserError, lambda: registry.promote("fashion", "champion", 7, expected=1))
            error_of(UserError, lambda: registry.rollback("fashion", "king"))
            error_of(UserError, lambda: registry.get("fashion", version=1, alias="champion"))

    def test_odd_names_are_refused(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            registry = self.open(folder)
            draft = _draft(folder, "a")
            for name in ("", "..", "a/b", "/a", "A", "a b", "-a", "a-", "ü", "a\n", "a" * 51):
                assert repr(name) in error_of(UserError, partial(registry.register, name, draft))
            registry.register("fashion", draft)
            for alias in ("", "..", "a/b", "1", "A", "a b", "a\n"):
                error_of(UserError, partial(registry.promote, "fashion", alias, 1, expected=None))
            assert registry.models() == ["fashion"]
            assert registry.aliases("fashion") == {}

    def test_a_changed_bundle_is_not_registered(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            registry = self.open(folder)
            draft = _draft(folder, "a")
            Path(draft.files["saved_model/saved_model.pb"].uri).write_text("b")
            error_of(DocumentError, lambda: registry.register("fashion", draft))
            assert registry.versions("fashion") == []

    def test_a_damaged_copy_is_found(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            registry = self.open(folder)
            version = registry.register("fashion", _draft(folder, "a"))
            entry = version.files["saved_model/saved_model.pb"]
            storage = storage_for(entry.uri)
            storage.write(entry.uri, b"x")
            assert entry.uri in error_of(DocumentError, lambda: registry.verify(version))
            storage.delete(entry.uri)
            assert "missing" in error_of(DocumentError, lambda: registry.verify(version))

    def test_versions_never_change(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            registry = self.open(folder)
            made = registry.register("fashion", _draft(folder, "a"))
            better = _draft(folder, "a").model_copy(
                update={"metrics": {"accuracy": Estimate(value=0.9, ci95=(0.8, 1.0))}, "attachments": {"card.md": b"!"}}
            )
            assert registry.register("fashion", better) == made  # the same bundle, whatever is said about it now
            registry.promote("fashion", "champion", 1, expected=None)
            registry.register("fashion", _draft(folder, "b"))
            assert self.open(folder).get("fashion", version=1) == made
            assert {path: registry.attachment(made, path) for path in made.attachments} == {"card.md": b"a"}

    def test_a_registration_that_was_cut_short_is_finished_by_the_next(self) -> None:
        """Killed at any point before the version exists: nothing of it is seen, and the same command completes it."""
        with tempfile.TemporaryDirectory() as folder:
            registry = self.open(folder)
            first = registry.register("fashion", _draft(folder, "a"))
            cut = registry.register("fashion", _draft(folder, "b"))
            record = next(uri for uri in storage_for(registry.uri).list(registry.uri) if uri.endswith("/2.json"))
            storage_for(record).delete(record)  # the last thing that a registration writes
            lost = cut.files["saved_model/saved_model.pb"].uri
            storage_for(lost).write(lost, b"half")  # … and a copy that was cut short
            assert [version.version for version in self.open(folder).versions("fashion")] == [1]
            again = self.open(folder).register("fashion", _draft(folder, "b"))
            assert (again.version, again.bundle_digest) == (2, cut.bundle_digest)
            registry.verify(again)
            registry.verify(first)

    def test_what_killed_registrations_left_is_found_and_removed(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            registry = self.open(folder)
            kept = registry.register("fashion", _draft(folder, "a"))
            registry.register("fashion", _draft(folder, "b"))
            assert registry.orphans(older_than_seconds=0) == []
            record = next(uri for uri in storage_for(registry.uri).list(registry.uri) if uri.endswith("/2.json"))
            storage_for(record).delete(record)
            orphans = registry.orphans(older_than_seconds=0)
            assert len(orphans) == 3  # its two files and its card
            assert registry.orphans(older_than_seconds=3600) == []
            registry.remove(orphans)
            assert registry.orphans(older_than_seconds=0) == []
            registry.verify(kept)

    def test_a_deleted_attachment_is_found(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            registry = self.open(folder)
            version = registry.register("fashion", _draft(folder, "a"))
            entry = version.attachments["card.md"]
            storage_for(entry.uri).delete(entry.uri)
            assert "missing" in error_of(DocumentError, lambda: registry.attachment(version, "card.md"))
            assert entry.uri in error_of(DocumentError, lambda: registry.verify(version))
            assert "card.md" in error_of(UserError, lambda: registry.attachment(version, "card.html"))


def _draft(folder: str, content: str) -> Draft:
    """A bundle of two small files; another content, another digest."""
    place = Path(folder, "made", content)
    files = {}
    for name, text in {"saved_model/saved_model.pb": content, "schema.json": "{}"}.items():
        path = place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        files[name] = External.of(str(path))
    metrics = {"accuracy": Estimate(value=0.5, ci95=(0.4, 0.6))}
    return Draft(
        bundle_uri=str(place),
        files=files,
        metrics=metrics,
        lineage={"dataset": "0" * 64},
        attachments={"card.md": content.encode()},
    )
