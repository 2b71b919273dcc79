"""Conformance suites: a subclass of one, and a new space or strategy is tested as nasflow's own are.

    class TestMySpace(SpaceConformance):
        def make(self) -> Space: ...
        inputs, output = InputSpec(...), OutputSpec(...)

    class TestMyStrategy(StrategyConformance):
        def make(self) -> Strategy: ...

    class TestMyRegistry(RegistryConformance):
        def open(self, folder: str) -> Registry: ...

    class TestMyStorage(StorageConformance):
        def make(self) -> Storage: ...
        def root(self) -> str: ...

Plain pytest classes without fixtures; this module imports no test library, no Keras.
"""

import concurrent.futures
import json
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from nasflow.core.artifacts import Estimate, External
from nasflow.core.errors import DocumentError, UserError
from nasflow.core.storage import Storage, join, storage_for
from nasflow.data.tensors import InputSpec, OutputSpec
from nasflow.register._base import Draft, Registry, RegistryConflictError
from nasflow.spaces._base import Space
from nasflow.spaces.architecture import Architecture, ArchitectureError
from nasflow.spaces.cost import cost
from nasflow.spaces.parameters import (
    Choice,
    Integer,
    Parameter,
    Real,
    When,
    active,
    check_declaration,
    key,
    mutate,
    problems,
    repair,
    sample,
)
from nasflow.strategies._base import Result, Status, Strategy, Suggestion

T = TypeVar("T")


class SpaceConformance:
    """What every space must hold. Set `inputs` and `output`, and say in `make` how the space is made for them."""

    inputs: InputSpec
    output: OutputSpec
    samples: int = 200
    """Random points that each test tries."""

    def make(self) -> Space:
        """A new space for `inputs` and `output`."""
        raise NotImplementedError("a subclass says how its space is made")

    def test_parameters_are_well_formed_and_always_the_same(self) -> None:
        parameters = self.make().parameters()
        check_declaration(parameters)
        assert parameters
        assert parameters == self.make().parameters()

    def test_presets_lie_in_the_space(self) -> None:
        space = self.make()
        presets = space.presets()
        assert presets
        assert len({key(preset) for preset in presets}) == len(presets), "presets are different from each other"
        for preset in presets:
            assert problems(space.parameters(), preset) == []
            cost(space.architecture(preset), self.inputs, self.output)

    def test_samples_are_valid_and_need_no_repair(self) -> None:
        space, rng = self.make(), np.random.default_rng(1)
        for values in self._points():
            assert problems(space.parameters(), values) == []
            assert repair(space.parameters(), values, rng) == values

    def test_values_survive_json(self) -> None:
        space = self.make()
        for values in self._points():
            again = json.loads(json.dumps(values))
            assert problems(space.parameters(), again) == []
            assert space.architecture(again) == space.architecture(values)

    def test_a_mutation_changes_one_active_gene_and_stays_valid(self) -> None:
        space, rng = self.make(), np.random.default_rng(2)
        parameters = space.parameters()
        for values in self._points():
            changed = mutate(parameters, values, rng)
            assert problems(parameters, changed) == []
            shared = [name for name in values if name in changed and values[name] != changed[name]]
            assert len(shared) == 1, f"{values} → {changed}"
            woken = {parameter.name for parameter in active(parameters, changed)} - set(values)
            assert set(changed) - set(values) == woken

    def test_a_mutation_changes_the_architecture(self) -> None:
        """A gene that changes nothing wastes trials: it needs a condition."""
        space, rng = self.make(), np.random.default_rng(3)
        for values in self._points():
            changed = mutate(space.parameters(), values, rng)
            assert space.architecture(changed).identity != space.architecture(values).identity, f"{values} → {changed}"

    def test_an_architecture_is_a_pure_function_of_the_values(self) -> None:
        one, other = self.make(), self.make()
        for values in self._points():
            kept = dict(values)
            architecture = one.architecture(values)
            assert values == kept
            assert other.architecture(dict(reversed(values.items()))) == architecture
            assert other.architecture(values).identity == architecture.identity

    def test_an_architecture_survives_json(self) -> None:
        space = self.make()
        for values in self._points():
            architecture = space.architecture(values)
            again = Architecture.from_json(json.loads(json.dumps(architecture.to_json())))
            assert again == architecture
            assert again.identity == architecture.identity

    def test_every_sample_can_be_counted(self) -> None:
        space = self.make()
        for values in self._points():
            counted = cost(space.architecture(values), self.inputs, self.output)
            assert counted.parameters > 0
            assert counted.flops > 0
            assert 0 < counted.depth <= counted.activations

    def test_incomplete_values_are_refused(self) -> None:
        space = self.make()
        complete: Mapping[str, Any] = space.presets()[0]
        for name in complete:
            broken = {other: value for other, value in complete.items() if other != name}
            try:
                space.architecture(broken)
            except ArchitectureError:
                continue
            raise AssertionError(f"architecture() accepted values without {name!r}")

    def _points(self) -> list[dict[str, Any]]:
        rng = np.random.default_rng(0)
        return [sample(self.make().parameters(), rng) for _ in range(self.samples)]


class StrategyConformance:
    """What every strategy must hold. Say in `make` which one."""

    def make(self) -> Strategy:
        """A new strategy."""
        raise NotImplementedError("a subclass says which strategy is tested")

    def parameters(self) -> tuple[Parameter, ...]:
        """A small space of every kind of parameter, with conditions two deep."""
        return (
            Choice(name="body", values=("plain", "deep")),
            Integer(name="depth", low=1, high=4, when=When(parent="body", values=("deep",))),
            Choice(name="join", values=("add", "concat"), when=When(parent="depth", values=(3, 4))),
            Choice(name="width", values=(16, 32, 64)),
            Real(name="rate", low=1e-4, high=1e-1, log=True),
        )

    def presets(self) -> tuple[dict[str, Any], ...]:
        """Points of that space."""
        return ({"body": "plain", "width": 32, "rate": 1e-2}, {"body": "deep", "depth": 2, "width": 16, "rate": 1e-3})

    def score(self, values: Mapping[str, Any]) -> float | None:
        """What a trial with these values scores; more is better."""
        return float(values["width"] / 64 + 0.1 * values.get("depth", 0) + values["rate"])

    def run(self, trials: int, *, seed: int = 3, n: int = 1, history: Sequence[Result] = ()) -> list[Result]:
        """A whole study: presets first, then `n` suggestions at a time, each with a generator of its own."""
        done = list(history)
        while len(done) < trials:
            for values in self.ask(done, seed=seed, n=n) or ():
                done.append(self.result(len(done), values))
        return done[:trials]

    def ask(self, history: Sequence[Result], *, seed: int = 3, n: int = 1) -> list[Mapping[str, Any]]:
        """The next suggestions of a study."""
        if len(history) < len(self.presets()):
            return [self.presets()[len(history)]]
        rng = np.random.default_rng([seed, len(history)])
        return list(self.make().suggest(self.parameters(), self.presets(), history, n, rng))

    def result(self, number: int, values: Mapping[str, Any], status: Status = "completed") -> Result:
        """How a trial ends here."""
        score = self.score(values) if status == "completed" else None
        granted = _granted(values)
        return Result(
            trial_id=f"{number:04d}", values=dict(values), status=status, score=score, epochs=1, granted=granted
        )

    def test_same_seed_and_history_same_suggestion(self) -> None:
        assert self.run(30) == self.run(30)

    def test_another_seed_gives_another_study(self) -> None:
        assert [r.values for r in self.run(30, seed=1)] != [r.values for r in self.run(30, seed=2)]

    def test_never_suggests_a_point_twice(self) -> None:
        """But for more epochs."""
        tried = [(key(result.values), result.granted) for result in self.run(40)]
        assert len(tried) == len(set(tried))

    def test_suggests_exactly_the_active_parameters(self) -> None:
        for result in self.run(40):
            assert problems(self.parameters(), result.values) == []

    def test_parallel_suggestions_are_as_many_as_asked_for_and_different(self) -> None:
        history = self.run(16)
        suggestions = self.ask(history, n=5)
        assert len(suggestions) == 5
        tried = {(key(result.values), result.granted) for result in history}
        assert len({(key(values), _granted(values)) for values in suggestions} - tried) == 5

    def test_resumed_study_equals_the_uninterrupted_one(self) -> None:
        whole = self.run(24)
        assert self.run(24, history=self.run(9)) == whole

    def test_small_space_is_searched_to_its_last_point_and_then_exhausted(self) -> None:
        parameters = self.parameters()[:4]  # plain: 3 widths; deep: 3 × (depth 1, 2, and 3, 4 with two joins) = 18
        history: list[Result] = []
        for number in range(100):
            rng = np.random.default_rng([5, number])
            suggestions = self.make().suggest(parameters, (), history, 1, rng)
            if not suggestions:
                break
            values, granted = dict(suggestions[0]), _granted(suggestions[0])
            history.append(
                Result(
                    trial_id=str(number),
                    values=values,
                    status="completed",
                    score=number / 100,
                    epochs=1,
                    granted=granted,
                )
            )
        assert len({key(result.values) for result in history}) == 21
        assert len({(key(result.values), result.granted) for result in history}) == len(history) < 100

    def test_asks_for_more_than_the_space_has(self) -> None:
        parameters = (Choice(name="width", values=(16, 32, 64)),)
        suggestions = self.make().suggest(parameters, (), [], 10, np.random.default_rng(0))
        assert sorted(values["width"] for values in suggestions) == [16, 32, 64]

    def test_goes_on_when_every_trial_failed(self) -> None:
        self._goes_on("failed")

    def test_goes_on_when_every_trial_was_infeasible(self) -> None:
        self._goes_on("infeasible")

    def test_goes_on_when_completed_trials_have_no_score(self) -> None:
        history = [
            Result(trial_id=r.trial_id, values=r.values, status="completed", score=None, epochs=0) for r in self.run(15)
        ]
        assert problems(self.parameters(), self.ask(history)[0]) == []

    def _goes_on(self, status: Status) -> None:
        history: list[Result] = []
        for number in range(30):
            history.append(self.result(number, self.ask(history)[0], status))
        assert len({key(result.values) for result in history}) == 30


def _granted(values: Mapping[str, Any]) -> int | None:
    return values.epochs if isinstance(values, Suggestion) else None


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
            made = _race([partial(self.open(folder).register, "fashion", draft) for draft in drafts])
            assert sorted(version.version for version in made) == list(range(1, self.racers + 1))
            assert len({version.bundle_digest for version in made}) == self.racers
            stored = self.open(folder).versions("fashion")
            assert stored == sorted(made, key=lambda version: version.version)

    def test_racers_with_one_bundle_get_one_version(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            draft = _draft(folder, "same")
            made = _race([partial(self.open(folder).register, "fashion", draft) for _ in range(self.racers)])
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
                won = _race([partial(promote, number) for number in racers])
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

            _race([partial(promote, name) for name in names])
            assert registry.aliases("fashion") == dict.fromkeys(names, 1)

    def test_a_lost_promotion_says_who_is_there(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            registry = self.open(folder)
            for text in ("a", "b"):
                registry.register("fashion", _draft(folder, text))
            registry.promote("fashion", "champion", 1, expected=None)
            message = _message(RegistryConflictError, lambda: registry.promote("fashion", "champion", 2, expected=None))
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
            _message(UserError, lambda: registry.rollback("fashion", "champion"))
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

    def test_unknown_names_are_answered_with_those_there_are(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            registry = self.open(folder)
            registry.register("fashion", _draft(folder, "a"))
            registry.promote("fashion", "champion", 1, expected=None)
            assert "fashion" in _message(UserError, lambda: registry.get("dresses"))
            assert "fashion" in _message(UserError, lambda: registry.get("dresses", alias="champion"))
            assert "1 to 1" in _message(UserError, lambda: registry.get("fashion", version=7))
            assert "champion" in _message(UserError, lambda: registry.get("fashion", alias="king"))
            assert "1 to 1" in _message(UserError, lambda: registry.promote("fashion", "champion", 7, expected=1))
            _message(UserError, lambda: registry.rollback("fashion", "king"))
            _message(UserError, lambda: registry.get("fashion", version=1, alias="champion"))

    def test_odd_names_are_refused(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            registry = self.open(folder)
            draft = _draft(folder, "a")
            for name in ("", "..", "a/b", "/a", "A", "a b", "-a", "a-", "ü", "a\n", "a" * 51):
                assert repr(name) in _message(UserError, partial(registry.register, name, draft))
            registry.register("fashion", draft)
            for alias in ("", "..", "a/b", "1", "A", "a b", "a\n"):
                _message(UserError, partial(registry.promote, "fashion", alias, 1, expected=None))
            assert registry.models() == ["fashion"]
            assert registry.aliases("fashion") == {}

    def test_a_changed_bundle_is_not_registered(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            registry = self.open(folder)
            draft = _draft(folder, "a")
            Path(draft.files["saved_model/saved_model.pb"].uri).write_text("b")
            _message(DocumentError, lambda: registry.register("fashion", draft))
            assert registry.versions("fashion") == []

    def test_a_damaged_copy_is_found(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            registry = self.open(folder)
            version = registry.register("fashion", _draft(folder, "a"))
            entry = version.files["saved_model/saved_model.pb"]
            storage = storage_for(entry.uri)
            storage.write(entry.uri, b"x")
            assert entry.uri in _message(DocumentError, lambda: registry.verify(version))
            storage.delete(entry.uri)
            assert "missing" in _message(DocumentError, lambda: registry.verify(version))


class StorageConformance:
    """What every storage must hold. Say in `make` which storage, and in `root` an empty place in it."""

    racers: int = 8

    def make(self) -> Storage:
        """The storage."""
        raise NotImplementedError("a subclass says which storage")

    def root(self) -> str:
        """A URI prefix that nothing is below, a new one at every call."""
        raise NotImplementedError("a subclass names an empty place")

    def test_what_is_written_is_read(self) -> None:
        storage, root = self.make(), self.root()
        uri = join(root, "folder/ü a#b.bin")
        for data in (b"one", b"", bytes(range(256)) * 5000):
            storage.write(uri, data)
            assert storage.read(uri) == data
        assert storage.exists(uri)

    def test_readers_can_seek(self) -> None:
        storage, root = self.make(), self.root()
        uri, data = join(root, "big"), bytes(range(256)) * 10_000
        storage.write(uri, data)
        with storage.open(uri) as file:
            file.seek(-4, 2)
            assert file.read() == data[-4:]
            file.seek(1000)
            assert file.read(5) == data[1000:1005]

    def test_what_is_not_there(self) -> None:
        storage, root = self.make(), self.root()
        uri = join(root, "nothing")
        assert not storage.exists(uri)
        for read in (storage.read, storage.open, storage.fingerprint):
            _message(FileNotFoundError, partial(read, uri))
        storage.delete(uri)
        assert storage.list(root) == []

    def test_create_happens_once(self) -> None:
        storage, root = self.make(), self.root()
        uri = join(root, "once")
        assert storage.create(uri, b"first")
        assert not storage.create(uri, b"second")
        assert storage.read(uri) == b"first"

    def test_racing_creators_have_one_winner(self) -> None:
        storage, root = self.make(), self.root()
        for turn in range(5):
            uri = join(root, f"lock{turn}")
            won = _race([partial(storage.create, uri, f"racer {number}".encode()) for number in range(self.racers)])
            assert sum(won) == 1
            assert storage.read(uri) == f"racer {won.index(True)}".encode()

    def test_swap_needs_what_it_expects(self) -> None:
        storage, root = self.make(), self.root()
        uri = join(root, "cell")
        assert not storage.swap(uri, b"b", expected=b"a")
        assert not storage.exists(uri)
        assert storage.swap(uri, b"a", expected=None)
        assert not storage.swap(uri, b"b", expected=None)
        assert not storage.swap(uri, b"b", expected=b"z")
        assert storage.swap(uri, b"b", expected=b"a")
        assert storage.read(uri) == b"b"

    def test_racing_swaps_lose_no_update(self) -> None:
        storage, root = self.make(), self.root()
        uri = join(root, "counter")
        storage.write(uri, b"0")

        def count(racer: int) -> None:
            done = 0
            while done < 5:
                old = storage.read(uri)
                number = int(old.split()[0]) + 1
                done += storage.swap(uri, f"{number} by {racer}".encode(), expected=old)

        _race([partial(count, racer) for racer in range(self.racers)])
        assert int(storage.read(uri).split()[0]) == 5 * self.racers

    def test_lines_are_appended(self) -> None:
        storage, root = self.make(), self.root()
        uri = join(root, "ledger.jsonl")
        for line in (b"one", b"two\n", b""):
            storage.append(uri, line)
        assert storage.read(uri) == b"one\ntwo\n\n"

    def test_files_are_uploaded(self) -> None:
        storage, root = self.make(), self.root()
        data = bytes(range(256)) * 9000
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "file")
            path.write_bytes(data)
            storage.upload(path, join(root, "a/b"))
            storage.upload(path, join(root, "a/b"))
        assert storage.read(join(root, "a/b")) == data

    def test_lists_name_everything_below_in_order(self) -> None:
        storage, root = self.make(), self.root()
        for name in ("a/2", "a/b/1", "ab/3", "a/10"):
            storage.write(join(root, name), b"")
        assert storage.list(join(root, "a")) == [join(root, name) for name in ("a/10", "a/2", "a/b/1")]
        assert storage.list(root) == [join(root, name) for name in ("a/10", "a/2", "a/b/1", "ab/3")]

    def test_fingerprints_follow_the_content(self) -> None:
        storage, root = self.make(), self.root()
        uri = join(root, "data")
        storage.write(uri, b"one")
        first = storage.fingerprint(uri)
        assert storage.fingerprint(uri) == first
        storage.write(uri, b"other")
        assert storage.fingerprint(uri) != first

    def test_delete(self) -> None:
        storage, root = self.make(), self.root()
        uri = join(root, "gone")
        storage.write(uri, b"x")
        storage.delete(uri)
        assert not storage.exists(uri)

    def test_a_lock_can_be_taken_again(self) -> None:
        storage, root = self.make(), self.root()
        for _ in range(2):
            with storage.lock(join(root, "place/.lock")):
                storage.write(join(root, "place/x"), b"")
        assert storage.exists(join(root, "place/x"))


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
    return Draft(bundle_uri=str(place), files=files, metrics=metrics, lineage={"dataset": "0" * 64})


def _race(calls: Sequence[Callable[[], T]]) -> list[T]:
    """Runs all at once, from one barrier; their results in the calls' order. The first error is raised."""
    barrier = threading.Barrier(len(calls))

    def start(call: Callable[[], T]) -> T:
        barrier.wait()
        return call()

    with concurrent.futures.ThreadPoolExecutor(len(calls)) as threads:
        return list(threads.map(start, calls))


def _message(kind: type[Exception], call: Callable[[], object]) -> str:
    """The message of the error that `call` must raise."""
    try:
        call()
    except kind as error:
        return str(error)
    raise AssertionError(f"{kind.__name__} was not raised")
