"""GCS against fake-gcs-server (tests/gcs_emulator.py), also where every few requests fail."""

import uuid
from pathlib import Path
from types import SimpleNamespace

import pytest
from tests.gcs_emulator import FlakyProxy, emulator

from nasflow.core.errors import TryAgainError, UserError
from nasflow.core.gcs import GcsStorage
from nasflow.core.storage import storage_for
from nasflow.registry.file import FileRegistry
from nasflow.testing import RegistryConformance, StorageConformance

BUCKET = "nasflow-test"


@pytest.fixture(scope="module", autouse=True)
def gcs(tmp_path_factory):
    """The emulator's address; `GcsStorage.shared` talks to it while this module's tests run."""
    with emulator(tmp_path_factory.mktemp("gcs")) as url, pytest.MonkeyPatch.context() as patch:
        patch.setenv("STORAGE_EMULATOR_HOST", url)
        patch.setenv("NO_PROXY", "127.0.0.1")
        GcsStorage.shared.cache_clear()
        GcsStorage.shared()._client.create_bucket(BUCKET)
        yield url
    GcsStorage.shared.cache_clear()


class TestGcsStorage(StorageConformance):
    def make(self):
        return storage_for(f"gs://{BUCKET}")

    def root(self):
        return f"gs://{BUCKET}/{uuid.uuid4().hex}"


class TestFileRegistryOnGcs(RegistryConformance):
    def open(self, folder):
        return FileRegistry(f"gs://{BUCKET}/{Path(folder).name}")


def test_a_bundle_is_served_from_a_bucket(handmade_bundle):
    import numpy as np

    from nasflow.core.artifacts import External, bundle_digest
    from nasflow.core.errors import DocumentError
    from nasflow.serving.bundle import Bundle

    folder = handmade_bundle("regression")
    storage, root = storage_for(f"gs://{BUCKET}"), f"gs://{BUCKET}/{uuid.uuid4().hex}"
    files = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = path.relative_to(folder).as_posix()
        storage.upload(path, f"{root}/{name}")
        files[name] = External.of(f"{root}/{name}")
    bundle = Bundle.load(root, files, digest=bundle_digest(files))
    assert bundle.uri == root
    assert bundle.predict({"x": np.array([3.5])}).tolist() == [8.0]

    storage.write(f"{root}/golden.json", b"{}")
    with pytest.raises(DocumentError, match=rf"{root}/golden\.json: sha256 is"):
        Bundle.load(root, files)


def test_a_retried_upload_whose_answer_was_lost_counts_as_ours():
    storage, uri = GcsStorage.shared(), f"gs://{BUCKET}/{uuid.uuid4().hex}"
    storage.write(uri, b"mine")
    assert storage.create(uri, b"mine")
    assert not storage.create(uri, b"theirs")


@pytest.fixture
def behind(gcs, tmp_path, monkeypatch):
    """`behind(proxy)`: a storage that reaches its own emulator through that proxy only."""
    import contextlib

    with contextlib.ExitStack() as stack:

        def make(proxy):
            stack.enter_context(proxy)
            proxy.upstream = stack.enter_context(emulator(tmp_path, seen_at=proxy.url))
            monkeypatch.setenv("STORAGE_EMULATOR_HOST", proxy.url)
            storage = GcsStorage.shared.__wrapped__(GcsStorage)
            storage._client.create_bucket(BUCKET)
            return storage

        yield make


def test_a_transient_503_is_tried_again(behind, tmp_path):
    proxy = FlakyProxy(lambda number, _: number % 2 == 0)
    storage, root = behind(proxy), f"gs://{BUCKET}/{uuid.uuid4().hex}"
    storage.write(f"{root}/a", b"1")
    assert storage.create(f"{root}/b", b"2")
    assert not storage.create(f"{root}/b", b"other")
    assert storage.swap(f"{root}/b", b"3", expected=b"2")
    storage.append(f"{root}/lines", b"x")
    storage.append(f"{root}/lines", b"y")
    (tmp_path / "file").write_bytes(b"4")
    storage.upload(tmp_path / "file", f"{root}/c")
    assert [storage.read(f"{root}/{name}") for name in ("a", "b", "c", "lines")] == [b"1", b"3", b"4", b"x\ny\n"]
    with storage.open(f"{root}/a") as handle:
        assert handle.read() == b"1"
    assert storage.list(root) == [f"{root}/{name}" for name in ("a", "b", "c", "lines")]
    storage.delete(f"{root}/a")
    assert not storage.exists(f"{root}/a")
    assert proxy.refused >= 10


def test_a_lost_answer_neither_repeats_nor_loses_a_line(behind):
    """The emulator has written, but its answer became a 503: the retry meets its own write."""
    proxy = FlakyProxy(lambda number, request: request.startswith("POST /upload") and number % 2 == 1, after=True)
    storage, uri = behind(proxy), f"gs://{BUCKET}/{uuid.uuid4().hex}"
    for line in (b"a", b"b", b"c", b"d", b"e", b"f"):
        storage.append(uri, line)
    assert storage.read(uri) == b"a\nb\nc\nd\ne\nf\n"
    assert proxy.refused >= 1


def test_waits_between_tries_differ():
    """Jitter: two clients that failed together do not come back together."""
    storage = GcsStorage.shared()
    waits = [next(iter(_sleeps(storage._retry))) for _ in range(20)]
    assert len(set(waits)) == 20
    assert all(0 <= wait <= storage._retry._maximum for wait in waits)


def _sleeps(retry):
    from google.api_core.retry import exponential_sleep_generator

    return exponential_sleep_generator(retry._initial, retry._maximum, retry._multiplier)


def test_a_big_file_goes_up_in_resumable_pieces(behind, tmp_path):
    """20 MiB in pieces of 8 MiB: one request that begins, three pieces; a piece that fails is sent again, alone."""
    proxy = FlakyProxy(lambda number, request: request.startswith("PUT") and number % 3 == 0)
    storage, uri = behind(proxy), f"gs://{BUCKET}/{uuid.uuid4().hex}"
    data = bytes(range(256)) * (20 << 12)
    (tmp_path / "shard").write_bytes(data)
    storage.upload(tmp_path / "shard", uri)
    assert storage.read(uri) == data
    puts = [request for request in proxy.requests if request.startswith("PUT")]
    assert any("uploadType=resumable" in request for request in proxy.requests)
    assert len(puts) == 3 + proxy.refused
    assert proxy.refused >= 1


def _impatient(storage):
    storage._retry = storage._retry.with_timeout(0.5)
    return storage


def test_a_store_that_stays_away_is_a_reason_to_try_again(behind, tmp_path):
    """No retry helps: exit code 75, not a stack."""
    down = []
    storage = _impatient(behind(FlakyProxy(lambda *_: bool(down))))
    uri = f"gs://{BUCKET}/{uuid.uuid4().hex}"
    down.append(True)
    (tmp_path / "file").write_bytes(b"1")
    for ask in (
        lambda: storage.read(uri),
        lambda: storage.write(uri, b"1"),
        lambda: storage.create(uri, b"1"),
        lambda: storage.upload(tmp_path / "file", uri),
        lambda: storage.exists(uri),
        lambda: storage.list(uri),
    ):
        with pytest.raises(TryAgainError, match=rf"{uri}: the store does not answer .*; run the same command again"):
            ask()


def test_a_bucket_that_is_not_there_is_named():
    storage = GcsStorage.shared()
    with pytest.raises(FileNotFoundError, match="no such object or bucket") as error:
        storage.write("gs://no-such-bucket/a", b"1")
    assert error.value.filename == "gs://no-such-bucket/a"


def test_a_refused_permission_is_a_permission_error(behind):
    proxy = FlakyProxy(lambda *_: False)
    storage, uri = behind(proxy), f"gs://{BUCKET}/a"
    proxy._refuse, proxy.status = lambda *_: True, 403
    with pytest.raises(PermissionError) as error:
        storage.write(uri, b"1")
    assert error.value.filename == uri


def test_an_upload_that_breaks_off_leaves_nothing_to_be_seen(behind, tmp_path):
    """The first of three pieces arrives, no other one does."""
    proxy = FlakyProxy(
        lambda _, request: request.startswith("PUT") and sum(r.startswith("PUT") for r in proxy.requests) > 1
    )
    storage, root = _impatient(behind(proxy)), f"gs://{BUCKET}/{uuid.uuid4().hex}"
    (tmp_path / "shard").write_bytes(bytes(20 << 20))
    with pytest.raises(TryAgainError):
        storage.upload(tmp_path / "shard", f"{root}/shard")
    assert not storage.exists(f"{root}/shard")
    assert storage.list(root) == []


def test_a_document_without_its_manifest_was_never_published(behind):
    """The store goes away after the files and before the manifest; the same publication later is whole."""
    from nasflow.core.artifacts import Dataset

    def refuse(_, request):
        return bool(down) and sum(asked.startswith("POST /upload") for asked in proxy.requests) > 1

    proxy = FlakyProxy(refuse)
    down, uri = [True], f"gs://{BUCKET}/{uuid.uuid4().hex}"
    storage = _impatient(behind(proxy))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(GcsStorage, "shared", lambda: storage)
        document = Dataset(task="tabular_classification", rows={}, shards={})
        with pytest.raises(TryAgainError):
            document.publish(uri, {"schema.json": b"{}"})
        down.clear()
        assert storage.list(uri) == [f"{uri}/schema.json"]
        assert not Dataset.exists(uri)
        document.publish(uri, {"schema.json": b"{}"})
        assert Dataset.read(uri).file("schema.json") == b"{}"


def test_a_ledger_is_several_objects_so_that_a_line_costs_no_more_than_one_of_them():
    from nasflow.search.ledger import Ledger
    from nasflow.search.record import Record

    uri = f"gs://{BUCKET}/{uuid.uuid4().hex}/ledger.jsonl"
    ledger = Ledger(uri)
    for number in range(12):
        ledger.start(Record(trial_id=str(number), values={"text": "x" * 30_000}, origin="strategy"))
    sizes = [len(storage_for(uri).read(each)) for each in storage_for(uri).list(uri.rpartition("/")[0])]
    assert len(sizes) == 3  # of at most 128 KiB: four lines
    assert max(sizes) <= 128 << 10
    again = Ledger(uri)
    again.end("0", "completed", score=0.5)
    assert [record.trial_id for record in Ledger(uri).records] == [str(number) for number in range(12)]
    assert Ledger(uri).get("0").score == 0.5


def test_an_object_that_breaks_off_is_a_reason_to_try_again(behind):
    """Its first MiB came; the store stays away at the next. Raw, Google's error passes for a damaged bundle."""
    down = []
    storage, uri = behind(FlakyProxy(lambda *_: bool(down))), f"gs://{BUCKET}/{uuid.uuid4().hex}"
    storage.write(uri, bytes(60 << 20))
    _impatient(storage)
    with storage.open(uri) as handle:
        assert handle.read(1 << 20) == bytes(1 << 20)
        assert handle.seek(-2, 2) == (60 << 20) - 2
        assert handle.read() == b"\0\0"
        down.append(True)
        handle.seek(0)
        with pytest.raises(TryAgainError, match=rf"{uri}: the store does not answer"):
            handle.read(1 << 20)


def test_credentials_that_are_none_are_the_users_to_mend(monkeypatch, tmp_path):
    """The first thing that somebody meets who names a gs:// prefix on a new machine."""
    (tmp_path / "key.json").write_text('{"type": "service_account", "private_key": "SECRET"}')
    monkeypatch.delenv("STORAGE_EMULATOR_HOST")
    for key in (tmp_path / "key.json", tmp_path / "none.json"):
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(key))
        with pytest.raises(UserError, match="GOOGLE_APPLICATION_CREDENTIALS to a key file") as caught:
            GcsStorage.shared.__wrapped__(GcsStorage)
        assert "SECRET" not in str(caught.value)


def test_a_token_that_cannot_be_had_now_is_a_reason_to_try_again_and_a_refused_one_is_not():
    from google.auth.exceptions import RefreshError, TransportError

    def asking(error):
        client = SimpleNamespace(bucket=lambda _: (_ for _ in ()).throw(error))
        return GcsStorage(client).exists("gs://b/x")

    # the metadata server's hiccup, as google.auth.compute_engine hands it on; then a key that was deleted
    with pytest.raises(TryAgainError, match=r"gs://b/x: no token to be had .*metadata"):
        asking(RefreshError(TransportError("metadata server: 503")))
    with pytest.raises(PermissionError, match="invalid_grant"):
        asking(RefreshError("invalid_grant: Invalid JWT Signature.", {}))
