"""Where workers come from; the kind for this machine. Light: a pod that only starts workers has no TensorFlow itself.

Processes are started afresh (not forked: TensorFlow's threads do not survive a fork), with the same Python and module
path.
"""

import contextlib
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from nasflow.search.channel import Address


class Handle(Protocol):
    """A worker, from outside."""

    def poll(self) -> int | None:
        """Its exit code (negative: the signal), or None while it lives. A launcher that cannot know returns None: then
        only the lease tells."""

    def kill(self) -> None:
        """Ends it at once; nothing happens if it has ended."""


class Launcher(Protocol):
    """Where workers come from."""

    def start(self, index: int, address: Address, key: bytes) -> Handle:
        """Makes a worker number `index` dial in there."""


class LocalProcesses:
    """On this machine: CPU threads divided, a GPU each, in turn."""

    def __init__(self, *, threads: int, gpus: Sequence[str]) -> None:
        self._threads, self._gpus = threads, tuple(gpus)

    def start(self, index: int, address: Address, key: bytes) -> subprocess.Popen[bytes]:
        """See `Launcher`."""
        where = address if isinstance(address, str) else ":".join(map(str, address))
        command = [sys.executable, "-m", "nasflow.search.worker", "--connect", where, "--index", str(index), "--owned"]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, env=self.environment(index))
        assert process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it died at once: `poll` tells
            process.stdin.write(key.hex().encode() + b"\n")
            process.stdin.flush()
        return process

    def environment(self, index: int) -> dict[str, str]:
        """Of worker number `index`. What the user has set stays."""
        threads = str(self._threads)
        defaults = {"TF_NUM_INTRAOP_THREADS": threads, "TF_NUM_INTEROP_THREADS": threads, "OMP_NUM_THREADS": threads}
        changes = {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        if self._gpus:
            changes["CUDA_VISIBLE_DEVICES"] = self._gpus[index % len(self._gpus)]
        return {**defaults, **os.environ, **changes}


def visible_gpus() -> tuple[str, ...]:
    """What ``CUDA_VISIBLE_DEVICES`` may name here: what it names already, else all that the driver lists."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return tuple(each for each in named.split(",") if each not in ("", "-1"))
    try:
        return tuple(str(number) for number, _ in enumerate(sorted(Path("/proc/driver/nvidia/gpus").iterdir())))
    except OSError:
        return ()
