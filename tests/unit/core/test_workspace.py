import pytest

from nasflow.core.artifacts import Dataset
from nasflow.core.spec import Section
from nasflow.core.workspace import run_once, step_key


class Spec(Section):
    a: int = 1


def document(rows=1):
    counts = {"train": rows, "validation": 0, "test": 0, "dead": 0}
    return Dataset(task="t", rows=counts, shards={})


class Step:
    def __init__(self, tmp_path):
        self.work_dir, self.tmp_path, self.calls = str(tmp_path / "work"), tmp_path, 0

    def __call__(self, output="out", *, fail=False, **more):
        def produce(place):
            self.calls += 1
            self.place = place
            if fail:
                raise OSError("the disk")
            return document(), {"f": b"1"}

        settings = {"spec": Spec(), "inputs": {}, "work_dir": self.work_dir, **more}
        return run_once("step", Dataset, produce, output=str(self.tmp_path / output), **settings)


@pytest.fixture
def step(tmp_path):
    return Step(tmp_path)


def test_finished_work_is_never_done_twice(step, tmp_path):
    first = step("one")
    second = step("two")
    assert step.calls == 1
    assert first.digest == second.digest == Dataset.read(str(tmp_path / "two")).digest
    assert second.file("f") == b"1"
    assert second.seconds == first.seconds


@pytest.mark.parametrize(
    "change",
    [{"spec": Spec(a=2)}, {"inputs": {"d": document()}}, {"sources": {"a.csv": "9-9"}}],
    ids=lambda c: next(iter(c)),
)
def test_whatever_it_depends_on_changes_its_place(step, change):
    step()
    before = step.place.uri
    step("other", **change)
    assert step.calls == 2
    assert step.place.uri != before


def test_a_failed_step_finds_its_place_again(step):
    with pytest.raises(OSError, match="the disk"):
        step(fail=True)
    before = step.place.at("ledger")
    step()
    assert step.calls == 2
    assert step.place.at("ledger") == before


def test_the_key_depends_on_digests_and_not_on_places_or_order():
    one, other = document(1), document(2)
    key = step_key("s", spec=Spec(), inputs={"a": one, "b": other}, sources={"x": "1", "y": "2"})
    assert key == step_key("s", spec=Spec(), inputs={"b": other, "a": one}, sources={"y": "2", "x": "1"})
    assert key != step_key("s", spec=Spec(), inputs={"a": other, "b": one}, sources={"x": "1", "y": "2"})
    assert key != step_key("t", spec=Spec(), inputs={"a": one, "b": other}, sources={"x": "1", "y": "2"})
    assert len(key) == 16


def test_inputs_are_named_by_digest_and_cost_is_noted(step):
    made = step(inputs={"d": document()})
    assert made.inputs == {"d": document().digest}
    assert made.seconds >= 0
    assert made.cpu_seconds >= 0
