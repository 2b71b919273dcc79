"""Micro-batching: requests that arrive while the engine is busy go through it as one batch.

A request that finds it idle does not wait, but for those that were read from the network at the same moment; others
wait until it is idle again, or for the delay, whichever is shorter.

Worth it on accelerators and for networks whose call costs more than their rows; on a CPU with ONNX Runtime a call costs
tens of microseconds and handing over to a thread is pure loss, so it is off unless it is asked for.
"""

import asyncio
import concurrent.futures
import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nasflow.core.errors import DataError
from nasflow.serving.live import Loaded
from nasflow.serving.rows import Raw


@dataclasses.dataclass(slots=True)
class _Waiting:
    loaded: Loaded
    requests: list[tuple[Raw, int, "asyncio.Future[NDArray[np.float32]]"]]
    rows: int
    timer: asyncio.Handle


class Batcher:
    """Collects requests. Each gets its own rows back, or its own error."""

    def __init__(self, threads: concurrent.futures.Executor, *, delay_seconds: float, max_rows: int) -> None:
        self._threads = threads
        self._delay = delay_seconds
        self._max_rows = max_rows
        self._waiting: _Waiting | None = None
        self._running: set[asyncio.Task[None]] = set()

    async def predict(self, loaded: Loaded, raw: Raw, rows: int) -> NDArray[np.float32]:
        """Waits at most the delay for company, and only while the engine is busy.

        Raises:
            DataError: one of these rows cannot be used.
        """
        loop = asyncio.get_running_loop()
        waiting = self._waiting
        if waiting is not None and (waiting.loaded is not loaded or waiting.rows + rows > self._max_rows):
            self._send()  # another model's rows, or too many: these do not go together
            waiting = None
        if waiting is None:
            timer = loop.call_later(self._delay, self._send) if self._running else loop.call_soon(self._send)
            waiting = self._waiting = _Waiting(loaded, [], 0, timer)
        future: asyncio.Future[NDArray[np.float32]] = loop.create_future()
        waiting.requests.append((raw, rows, future))
        waiting.rows += rows
        if waiting.rows >= self._max_rows:
            self._send()
        return await future

    def _send(self) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.timer.cancel()
            task = asyncio.get_running_loop().create_task(self._run(waiting))
            self._running.add(task)
            task.add_done_callback(self._ended)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._running.discard(task)
        if not self._running:
            self._send()  # what came meanwhile

    async def _run(self, waiting: _Waiting) -> None:
        answers = await asyncio.get_running_loop().run_in_executor(self._threads, _together, waiting)
        for (_, _, future), answer in zip(waiting.requests, answers, strict=True):
            if future.done():  # its client has gone
                continue
            if isinstance(answer, Exception):
                future.set_exception(answer)
            else:
                future.set_result(answer)


def _together(waiting: _Waiting) -> list[NDArray[np.float32] | Exception]:
    requests = waiting.requests
    try:
        if len(requests) == 1:
            return [waiting.loaded.bundle.predict(requests[0][0])]
        names = requests[0][0]
        raw: dict[str, NDArray[Any]] = {name: np.concatenate([each[name] for each, _, _ in requests]) for name in names}
        ends = np.cumsum([rows for _, rows, _ in requests])[:-1]
        return list(np.split(waiting.loaded.bundle.predict(raw), ends))
    except DataError as error:
        if len(requests) == 1:
            return [error]
    except Exception as error:  # noqa: BLE001  # each waiting request is told, and logs it
        return [error] * len(requests)
    return [_alone(waiting.loaded, raw) for raw, _, _ in requests]  # so that the error names its own request's row


def _alone(loaded: Loaded, raw: Raw) -> NDArray[np.float32] | Exception:
    try:
        return loaded.bundle.predict(raw)
    except Exception as error:  # noqa: BLE001  # as above
        return error
