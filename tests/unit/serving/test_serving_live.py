"""Models exchanged while serving, micro-batches, and what is counted; with the bundles of `handmade_bundle`."""

import asyncio
import concurrent.futures
import logging
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest

from nasflow.core.errors import DataError, DocumentError, TryAgainError
from nasflow.serving import metrics
from nasflow.serving.batching import Batcher
from nasflow.serving.bundle import Bundle
from nasflow.serving.follow import Follower
from nasflow.serving.live import Live, Loaded


class Registry:
    """An alias that a test moves."""

    def __init__(self, number):
        self.number, self.down = number, False

    def aliases(self, _name):
        if self.down:
            raise OSError("bucket unreachable")
        return {"champion": self.number}

    def get(self, _name, *, version):
        return SimpleNamespace(version=version)


def follower(number, load):
    registry = Registry(number)
    live = Live(SimpleNamespace(version="1"))
    return registry, live, Follower(live, registry, "m", "champion", load, seconds=60)


def loaded(version):
    return SimpleNamespace(version=str(version.version), bundle=SimpleNamespace(engine=SimpleNamespace(name="onnx")))


def test_a_promotion_and_a_rollback_are_followed():
    registry, live, following = follower(1, loaded)
    assert (following.look(), live.current.version) == (False, "1")
    registry.number = 2
    assert (following.look(), live.current.version) == (True, "2")
    registry.number = 1
    assert (following.look(), live.current.version) == (True, "1")


def test_a_version_that_cannot_be_served_is_refused_once_and_the_old_one_stays(caplog):
    tries = []

    def load(version):
        tries.append(version.version)
        if version.version == 2:
            raise DocumentError("bundle: sha256 is …, it was changed")
        return loaded(version)

    registry, live, following = follower(2, load)
    assert (following.look(), following.look(), live.current.version, tries) == (False, False, "1", [2])
    assert "version 2 cannot be served, version 1 stays: bundle: sha256" in caplog.text
    registry.number = 3
    assert (following.look(), live.current.version) == (True, "3")


def test_a_registry_that_does_not_answer_changes_nothing(caplog):
    registry, live, following = follower(2, loaded)
    registry.down = True
    assert (following.look(), live.current.version) == (False, "1")
    assert "the registry cannot be read: bucket unreachable" in caplog.text
    registry.down = False
    assert following.look()


def test_a_version_that_could_not_be_had_is_tried_again(caplog):
    """A store that is away for a minute must not keep a promotion from being served for ever."""
    troubles = [TryAgainError("gs://b/x: the store does not answer"), OSError(28, "No space left on device")]

    def load(version):
        if troubles:
            raise troubles.pop(0)
        return loaded(version)

    _, live, following = follower(2, load)
    assert [following.look(), following.look(), live.current.version] == [False, False, "1"]
    assert "version 2 cannot be served yet, version 1 stays: gs://b/x" in caplog.text
    assert (following.look(), live.current.version) == (True, "2")


def test_looking_goes_on_after_an_error_that_nobody_knows(caplog):
    registry, live, following = follower(2, loaded)
    aliases, troubles = registry.aliases, [ZeroDivisionError("a defect of a client library")]

    def once(name):
        if troubles:
            raise troubles.pop()
        return aliases(name)

    registry.aliases = once
    following._seconds = 0.01
    following.start()
    deadline = time.monotonic() + 20
    while live.current.version != "2" and time.monotonic() < deadline:
        time.sleep(0.01)
    following.stop()
    assert live.current.version == "2"
    assert "the registry cannot be read: a defect of a client library" in caplog.text


# ---- micro-batches -------------------------------------------------------------------------------------------------
class Counting:
    """A model: 2 × x; refuses a negative x, and counts its calls."""

    def __init__(self):
        self.calls = []
        self.bundle = self

    def predict(self, raw):
        self.calls.append(len(raw["x"]))
        if (raw["x"] < 0).any():
            raise DataError(f"row {int(np.argmax(raw['x'] < 0)) + 1}: negative")
        return (2 * raw["x"]).astype(np.float32)


def ask_all(groups, *, max_rows=100, delay=0.05):
    async def main():
        with concurrent.futures.ThreadPoolExecutor(2) as threads:
            batcher = Batcher(threads, delay_seconds=delay, max_rows=max_rows)
            asked = [batcher.predict(model, {"x": np.array(values, float)}, len(values)) for model, values in groups]
            return await asyncio.gather(*asked, return_exceptions=True)

    return asyncio.run(main())


def test_requests_go_together_and_each_gets_its_own_rows():
    model = Counting()
    answers = ask_all([(model, [1.0]), (model, [2.0, 3.0]), (model, [4.0])])
    assert [answer.tolist() for answer in answers] == [[2.0], [4.0, 6.0], [8.0]]
    assert model.calls == [4]


def test_a_full_batch_does_not_wait_and_none_is_larger():
    model = Counting()
    started = time.monotonic()
    ask_all([(model, [1.0] * 3), (model, [2.0] * 2), (model, [3.0] * 5)], max_rows=5, delay=30)
    assert time.monotonic() - started < 10
    assert sorted(model.calls) == [5, 5]


def test_a_lonely_request_does_not_wait():
    model, started = Counting(), time.monotonic()
    assert ask_all([(model, [1.0])], delay=30)[0].tolist() == [2.0]
    assert time.monotonic() - started < 10


def test_what_comes_while_the_engine_works_goes_together_when_it_is_done():
    """Nobody waits for the 30 s of delay; three requests that came during the first one's call are one batch."""
    model, started, first_is_in, go_on = Counting(), time.monotonic(), threading.Event(), threading.Event()
    predict = model.predict

    def slow(raw):
        first_is_in.set()
        assert go_on.wait(20)
        return predict(raw)

    model.predict = slow

    async def main():
        with concurrent.futures.ThreadPoolExecutor(2) as threads:
            batcher = Batcher(threads, delay_seconds=30, max_rows=100)
            ask = lambda value: asyncio.create_task(batcher.predict(model, {"x": np.array([value])}, 1))  # noqa: E731
            asked = [ask(1.0)]
            while not first_is_in.is_set():
                await asyncio.sleep(0.001)
            asked += [ask(value) for value in (2.0, 3.0, 4.0)]
            await asyncio.sleep(0.01)
            go_on.set()
            return await asyncio.gather(*asked)

    assert [answer.tolist() for answer in asyncio.run(main())] == [[2.0], [4.0], [6.0], [8.0]]
    assert model.calls == [1, 3]
    assert time.monotonic() - started < 20


def test_a_bad_request_fails_alone_with_its_own_row():
    model = Counting()
    good, bad = ask_all([(model, [1.0, 1.0]), (model, [1.0, -1.0])])
    assert good.tolist() == [2.0, 2.0]
    assert str(bad) == "row 2: negative"  # of its own request, not row 4 of the batch


def test_rows_of_two_models_are_never_mixed():
    old, new = Counting(), Counting()
    ask_all([(old, [1.0]), (new, [2.0]), (old, [3.0])])
    assert (sorted(old.calls), new.calls) == ([1, 1], [1])


# ---- engines, metrics ----------------------------------------------------------------------------------------------
def test_without_a_network_the_saved_model_serves_and_onnx_alone_is_refused(handmade_bundle):
    folder = str(handmade_bundle("regression"))
    assert Bundle.load(folder).engine.name == "saved_model"
    with pytest.raises(DocumentError, match=r"network\.onnx: missing; use engine saved_model"):
        Bundle.load(folder, engine="onnx")


def test_predictions_are_counted_by_class_confidence_and_place_in_the_targets(handmade_bundle):
    counts = metrics.Predicted()
    tabular, regression = (Bundle.load(str(handmade_bundle(kind))) for kind in ("tabular", "regression"))
    counts.add(np.array([[0.5, 0.5], [0.25, 0.75], [0.0, 1.0]], np.float32), tabular)
    counts.add(np.array([-100.0, 0.5, 1.0], np.float32), regression)  # of std 2 around 0: −50, 0.25 and 0.5
    found = {
        (sample.labels.get("outcome") or sample.labels.get("bin")): sample.value
        for family in counts.collect()
        for sample in family.samples
    }
    assert found == {
        "no": 1, "yes": 2, "0.5-0.6": 1, "0.7-0.8": 1, "0.9-1.0": 1,
        "<-3std": 1, "<0.5std": 1, "<1std": 1,
    }  # fmt: skip


def test_a_loaded_bundle_knows_about_how_long_it_takes(handmade_bundle):
    made = Loaded.of(Bundle.load(str(handmade_bundle("regression"))), "4")
    assert made.version == "4"
    assert 0 < made.seconds(1) <= made.seconds(1000)
    logging.getLogger(__name__).debug("%s", made)
