"""What a connection may do: uvicorn with `nasflow.serving.connection` over an application that answers a length."""

import asyncio
import contextlib
import socket
import threading
import time

import pytest
import uvicorn

from nasflow.serving import connection
from nasflow.serving.connection import Connection, sweep


async def lengths(scope, receive, send):
    size, more = 0, True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            return
        size, more = size + len(message.get("body", b"")), message.get("more_body", False)
    await asyncio.sleep(float(scope["path"].strip("/") or 0))
    body = b"%d" % size
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


@pytest.fixture(scope="module")
def address():
    """A second for a request, looked at every 50 ms."""
    with pytest.MonkeyPatch.context() as patch, socket.socket() as listener:
        patch.setattr(connection, "REQUEST_SECONDS", 1.0)
        patch.setattr(connection, "_SWEEP_SECONDS", 0.05)
        listener.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(lengths, http=Connection, ws="none", lifespan="off", log_level="error"))

        async def main():
            sweeping = asyncio.create_task(sweep(server.server_state.connections))
            await server.serve(sockets=[listener])
            sweeping.cancel()

        thread = threading.Thread(target=asyncio.run, args=(main(),))
        thread.start()
        deadline = time.monotonic() + 20
        while not server.started and time.monotonic() < deadline:
            time.sleep(0.01)
        yield listener.getsockname()
        server.should_exit = True
        thread.join(20)


@contextlib.contextmanager
def connected(address):
    with socket.create_connection(address, timeout=20) as client:
        yield client


def said(client):
    """All that comes until the server ends the connection."""
    found = b""
    with contextlib.suppress(ConnectionError):
        while part := client.recv(1 << 16):
            found += part
    return found


HEAD = b"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"


def test_requests_are_answered_one_after_the_other(address):
    with connected(address) as client:
        client.sendall(
            b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc" + HEAD + b"Content-Length: 2\r\n\r\nab"
        )
        assert [part[-1:] for part in said(client).split(b"HTTP/1.1 200 OK")[1:]] == [b"3", b"2"]


@pytest.mark.parametrize(
    "start", [b"", b"POST / HT", HEAD + b"Content-Length: 9\r\n\r\nabc"], ids=["nothing", "half a head", "half a body"]
)
def test_who_does_not_go_on_is_let_go(address, start):
    with connected(address) as client:
        began = time.monotonic()
        client.sendall(start)
        assert said(client).startswith(b"HTTP/1.1 408 Request Timeout\r\n")
        assert 0.9 < time.monotonic() - began < 10


def test_a_trickle_is_let_go_and_a_long_body_is_not(address):
    """A byte each 0.2 s is nothing; 4 MiB in 2 s earn 64 seconds more."""
    with connected(address) as client, contextlib.suppress(ConnectionError):
        client.sendall(HEAD + b"Content-Length: 1000\r\n\r\n")
        began = time.monotonic()
        while time.monotonic() - began < 20:
            client.sendall(b"x")
            time.sleep(0.2)
    assert time.monotonic() - began < 10
    with connected(address) as client:
        client.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % (4 << 20))
        for _ in range(8):
            client.sendall(bytes(512 << 10))
            time.sleep(0.25)
        assert said(client).endswith(b"\r\n\r\n%d" % (4 << 20))


def test_a_slow_answer_is_nobodys_slow_request(address):
    """The second request waits behind an answer that takes longer than a request may."""
    with connected(address) as client:
        client.sendall(b"GET /1.5 HTTP/1.1\r\nHost: x\r\n\r\n" + HEAD + b"Content-Length: 1\r\n\r\na")
        assert said(client).count(b"HTTP/1.1 200 OK") == 2


@pytest.mark.parametrize("part", [b"a" * (1 << 20), b"x: y\r\n" * (1 << 18)], ids=["one header", "many"])
def test_headers_without_end_are_refused(address, part):
    """uvicorn's kept 300 MiB of them in memory, and answered."""
    taken = 0
    with connected(address) as client, contextlib.suppress(ConnectionError):
        client.sendall(HEAD + b"X: ")
        while taken < 300:
            client.sendall(part)
            taken += 1
    assert taken < 100  # what the sockets hold between the two


def test_a_body_in_tiny_chunks_is_mostly_frame(address):
    """A megabyte of single bytes costs six megabytes: refused; the same in pieces of 16 bytes is not."""
    for piece, good in ((16, True), (1, False)):
        chunk = b"%x\r\n" % piece + b"x" * piece + b"\r\n"
        with connected(address) as client:
            with contextlib.suppress(ConnectionError):
                client.sendall(
                    HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + chunk * ((1 << 20) // piece) + b"0\r\n\r\n"
                )
            assert (b"200 OK" in said(client)) is good
