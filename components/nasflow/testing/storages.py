"""What every storage must do."""

import tempfile
from functools import partial
from pathlib import Path

from nasflow.core.storage import Storage, join
from nasflow.testing.asserting import error_of, race


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
        for read in (storage.read, storage.open, storage.fingerprint, storage.age_seconds):
            error_of(FileNotFoundError, partial(read, uri))
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
            won = race([partial(storage.create, uri, f"racer {number}".encode()) for number in range(self.racers)])
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

        race([partial(count, racer) for racer in range(self.racers)])
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

    def test_age_is_that_of_the_last_write(self) -> None:
        storage, uri = self.make(), join(self.root(), "data")
        storage.write(uri, b"one")
        assert 0 <= storage.age_seconds(uri) < 60

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
