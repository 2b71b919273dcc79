import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nasflow.core.artifacts import Candidate, Dataset, External, Model, Search, Shard, Trials, bundle_digest
from nasflow.core.errors import DocumentError

ROWS = {"train": 8, "validation": 1, "test": 1, "dead": 0}


def dataset(**more):
    return Dataset(**{"task": "tabular_regression", "rows": ROWS, "shards": {}, **more})


def test_a_document_comes_back_as_it_was_published(tmp_path):
    published = dataset().publish(str(tmp_path / "d"), {"schema.json": b'{"a": 1}', "report.html": b"<p>"})
    read = Dataset.read(str(tmp_path / "d"))
    assert read == published
    assert read.digest == published.digest
    assert read.uri == str(tmp_path / "d")
    assert read.json("schema.json") == {"a": 1}
    assert read.files["report.html"].size == 3


def test_a_directory_without_a_manifest_does_not_exist(tmp_path):
    (tmp_path / "schema.json").write_text("{}")
    assert not Dataset.exists(str(tmp_path))
    with pytest.raises(DocumentError, match="no Dataset here"):
        Dataset.read(str(tmp_path))


def test_the_digest_is_of_the_content_and_not_of_times_or_hosts(tmp_path):
    first = dataset(seconds=1.0, created="2020-01-01", environment={"python": "3.11"})
    assert first.digest == dataset(seconds=9.0, cpu_seconds=3.0).digest
    assert first.digest != dataset(rows={**ROWS, "dead": 1}).digest
    assert first.digest != dataset(inputs={"a": "b"}).digest
    one = first.publish(str(tmp_path / "1"), {"a": b"1"})
    other = first.publish(str(tmp_path / "2"), {"a": b"2"})
    assert len({first.digest, one.digest, other.digest}) == 3


def test_a_copy_has_the_same_digest_and_its_own_files(tmp_path):
    first = dataset().publish(str(tmp_path / "1"), {"a": b"1"})
    copy = first.copy_to(str(tmp_path / "2"))
    assert copy.digest == first.digest
    assert Dataset.read(str(tmp_path / "2")).file("a") == b"1"


def test_a_changed_a_missing_and_an_unlisted_file_are_refused(tmp_path):
    document = dataset().publish(str(tmp_path), {"a": b"1", "b": b"2"})
    (tmp_path / "a").write_bytes(b"x")
    (tmp_path / "b").unlink()
    (tmp_path / "c").write_bytes(b"3")
    for name, says in (("a", "changed"), ("b", "missing"), ("c", "has no file")):
        with pytest.raises(DocumentError, match=says):
            document.file(name)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda m: {**m, "kind": "Search"}, "expected a Dataset, found a 'Search'"),
        (lambda m: {**m, "schema_version": 99}, "schema_version 99"),
        (lambda m: {**m, "colour": "red"}, "damaged"),
        (lambda m: {k: v for k, v in m.items() if k != "rows"}, "damaged"),
    ],
)
def test_a_foreign_or_damaged_manifest_is_refused(tmp_path, change, says):
    dataset().publish(str(tmp_path), {})
    manifest = tmp_path / "manifest.json"
    manifest.write_text(json.dumps(change(json.loads(manifest.read_text()))))
    with pytest.raises(DocumentError, match=says):
        Dataset.read(str(tmp_path))
    manifest.write_text("{half")
    with pytest.raises(DocumentError, match="damaged"):
        Dataset.read(str(tmp_path))


def test_a_big_file_is_checked_by_its_digest(tmp_path):
    (tmp_path / "s").write_bytes(b"abc")
    shard = Shard(**External.of(str(tmp_path / "s")).model_dump(), rows=3)
    assert shard.size == 3
    assert shard.sha256 == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-2, B.1
    shard.check()
    (tmp_path / "s").write_bytes(b"abd")
    with pytest.raises(DocumentError, match="it was changed"):
        shard.check()
    (tmp_path / "s").unlink()
    with pytest.raises(DocumentError, match="missing"):
        shard.check()


def test_a_bundles_digest_is_independent_of_where_it_is(tmp_path):
    def files(folder, content):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / "m").write_bytes(content)
        return {"m": External.of(str(tmp_path / folder / "m"))}

    assert bundle_digest(files("a", b"1")) == bundle_digest(files("b", b"1"))
    assert bundle_digest(files("a", b"1")) != bundle_digest(files("b", b"2"))
    model = Model(
        task="t", architecture_id="a", parameters=1, flops=1, seed=0, epochs=1, seed_scores=(), bundle_uri="x",
        bundle=files("a", b"1"),
    )  # fmt: skip
    assert model.bundle_digest == bundle_digest(model.bundle)


@given(
    values=st.dictionaries(
        st.text(max_size=5), st.integers() | st.floats(allow_nan=False, allow_infinity=False), max_size=4
    ),
    score=st.none() | st.floats(allow_nan=False, allow_infinity=False),
)
def test_any_candidate_survives_the_manifest(tmp_path_factory, values, score):
    candidate = Candidate(
        trial_id="1", architecture_id="a", values=values, parameters=1, flops=2, score=score, epochs=3
    )
    trials = Trials(completed=1, failed=0, infeasible=0)
    search = Search(
        strategy="s",
        space="c",
        objective="rmse",
        epochs=10,
        trials=trials,
        candidates=(candidate,),
        stopped_by="trials",
    ).publish(str(folder := tmp_path_factory.mktemp("s")), {})
    assert Search.read(str(folder)) == search
