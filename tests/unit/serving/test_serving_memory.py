"""What requests may take of memory."""

import asyncio
import concurrent.futures
import json

import pytest

from nasflow.serving import memory
from nasflow.serving.bundle import Bundle
from nasflow.serving.errors import TooMuchError
from nasflow.serving.live import Live, Loaded
from nasflow.serving.memory import Held, check_read
from nasflow.serving.predictions import Predictions


def test_json_that_becomes_much_is_refused_before_it_is_read():
    """8,000,001 dicts of 64 bytes and a place of 32 each: 732 MiB. As many numbers: 244 MiB."""
    with pytest.raises(TooMuchError, match="would take about 732 MiB of memory, the server has 512") as caught:
        check_read(b"[" + b"{}," * 8_000_000 + b"{}]")
    assert caught.value.status == 413
    check_read(b"[" + b"1," * 8_000_000 + b"1]")
    check_read(b"{" * 1000)  # short: whatever it is


@pytest.fixture(scope="module")
def served(handmade_bundle):
    """`served(*parts)` → (status, body) of a request whose body comes so, by the same server each time."""
    loaded = Loaded.of(Bundle.load(str(handmade_bundle("regression"))))
    with concurrent.futures.ThreadPoolExecutor(1) as threads:
        predictions = Predictions(None, name="shop", live=Live(loaded), max_rows=100, threads=threads)
        route = predictions.route({"type": "http", "method": "POST", "path": "/v1/models/shop:predict"})

        def ask(*parts, gone=False):
            messages = [{"type": "http.request", "body": part, "more_body": True} for part in parts]
            messages[-1] = {"type": "http.disconnect"} if gone else {**messages[-1], "more_body": False}
            waiting, sent = iter(messages), []

            async def receive():
                return next(waiting)

            async def send(message):
                sent.append(message)

            status, _ = asyncio.run(predictions.answer(route, {}, receive, send))
            return status, b"".join(message.get("body", b"") for message in sent)

        ask.predictions = predictions
        yield ask


BODY = json.dumps({"instances": [{"x": 3.0}]}).encode()


def test_bodies_together_have_a_limit_and_are_forgotten_when_they_are_answered(served, monkeypatch):
    monkeypatch.setattr(served.predictions, "_held", Held(most=len(BODY)))
    halves = (BODY[:10], BODY[10:])
    for _ in range(3):  # each is given back
        assert served(*halves) == (200, b'{"predictions":[7.0]}')
        assert served(*halves, b"", gone=True) == (499, b"")
    status, said = served(BODY, BODY, BODY)
    assert status == 503
    assert b"the server holds as many bodies as it can" in said
    assert served(*halves)[0] == 200


def test_too_much_json_is_refused_with_what_to_do(served, monkeypatch):
    monkeypatch.setattr(memory, "_LOOKED_AT_BYTES", 10)
    monkeypatch.setattr(memory, "READ_BYTES", 300)
    assert served(BODY)[0] == 200  # two dicts, a list, no comma: 200 bytes
    status, said = served(json.dumps({"instances": [{"x": 3.0}] * 5}).encode())
    assert status == 413
    assert b"send the rows in parts, or as binary tensors" in said
