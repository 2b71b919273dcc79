"""A connection to the server: uvicorn's, with the limits on a request that comes that it does not have.

uvicorn on httptools takes headers of any size (300 MiB of them stayed in memory, measured) and waits for ever for the
rest of a request: who opens connections and says nothing more takes a descriptor each, and with the last one the server
is gone for everybody. Imported by the server only.
"""

import asyncio
import logging
from collections.abc import Iterable
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

logger = logging.getLogger(__name__)

FRAME_BYTES = 512 * 1024
"""What a request may have beside its body: headers, trailers, the sizes of chunks. More than two reads of a socket."""
REQUEST_SECONDS = 60.0
"""In which a request must have come whole, and a new connection's first one begun …"""
BYTES_A_SECOND = 64 * 1024
"""… and a second more for so many bytes that did come: long bodies over thin lines are no attack."""
_SWEEP_SECONDS = 2.0

_LATE = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"


class Connection(HttpToolsProtocol):
    """`too_late` is asked every few seconds, by `sweep`: a timer a request would cost each of them."""

    _since: float | None = None
    """When the request began that is coming; None between two."""
    _came = _body = 0
    """Bytes of it."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client is there; its first request must come."""
        super().connection_made(transport)
        self._since = self.loop.time()

    def data_received(self, data: bytes) -> None:
        """Some of a request, or of several."""
        self._came += len(data)
        super().data_received(data)
        if self._came - self._body > FRAME_BYTES + self._body and not self.transport.is_closing():
            self.logger.warning("a request with more than %d bytes beside its body was refused", FRAME_BYTES)
            self.send_400_response("Too much beside the body.")

    def on_message_begin(self) -> None:
        """A request's first byte."""
        self._since = self.loop.time()
        super().on_message_begin()

    def on_body(self, body: bytes) -> None:
        """A piece of its body."""
        self._body += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Its last byte."""
        self._since, self._came, self._body = None, 0, 0
        super().on_message_complete()

    def too_late(self, now: float) -> bool:
        """Whether a request should have come by now; while the one before it is answered, we do not read."""
        allowed = REQUEST_SECONDS + self._came / BYTES_A_SECOND
        return self._since is not None and now - self._since > allowed and not self.flow.read_paused

    def close_late(self) -> None:
        """Says so, unless an answer is on its way, and ends."""
        if self.transport.is_closing():
            return
        if self.cycle is None or not self.cycle.response_started or self.cycle.response_complete:
            self.transport.write(_LATE)
        self.transport.close()


async def sweep(connections: Iterable[Any]) -> None:
    """Ends, for as long as it runs, connections whose request does not come."""
    loop = asyncio.get_running_loop()
    while True:
        await asyncio.sleep(_SWEEP_SECONDS)
        now = loop.time()
        late = [each for each in connections if isinstance(each, Connection) and each.too_late(now)]
        for each in late:
            each.close_late()
        if late:
            logger.warning("closed %d connections whose request did not come in %g s", len(late), REQUEST_SECONDS)
