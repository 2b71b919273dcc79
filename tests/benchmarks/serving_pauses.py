"""Pauses of the server's event loop, seen from inside: what of a long tail is ours, and what is the machine's.

    python -m tests.benchmarks.serving_pauses [--seconds 60] [--rate 1000] [--log-requests]

The server runs in this process, one client in another. A timer on the loop is due every 2 ms; where it comes later,
the time is split into what this thread computed meanwhile (requests, the collector, metrics), what it waited for a core
(the kernel's schedstat), and the rest (asleep, or taken by the hypervisor). Only the first is the server's own doing.
"""

import argparse
import asyncio
import gc
import operator
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

EVERY = 0.002
SHARES = (0.5, 0.99, 0.999, 1.0)


class Probe:
    """Looks at the clocks of the thread that it runs in."""

    def __init__(self, loop):
        self.pauses, self.collected = [], []
        self._loop = loop
        self._file = Path(f"/proc/self/task/{threading.get_native_id()}/schedstat")
        self._last = self._clocks()
        gc.callbacks.append(self._collector)
        loop.call_later(EVERY, self._tick)

    def _clocks(self):
        return time.perf_counter(), time.thread_time(), int(self._file.read_text().split()[1]) / 1e9

    def _tick(self):
        wall, computed, waited = (now - before for now, before in zip(self._clocks(), self._last, strict=True))
        self.pauses.append((wall - EVERY, computed, waited))
        self._last = self._clocks()
        self._loop.call_later(EVERY, self._tick)

    def _collector(self, phase, _info):
        if phase == "start":
            self._begun = time.thread_time()
        else:
            self.collected.append(time.thread_time() - self._begun)


def ask(port, rate, seconds, request):
    """Asks at a steady rate; prints how long the answers took."""
    from tests.benchmarks.http_client import Connection

    connection = Connection(port)
    times, due = [], time.perf_counter()
    end = due + seconds
    while due < end:
        time.sleep(max(0.0, due - time.perf_counter()))
        times.append(connection.ask(request)[2])
        due = max(due + 1 / rate, time.perf_counter() - 1)
    print(f"{len(times) / seconds:,.0f} requests/s, seen by the client", _shares(times))


def _shares(seconds):
    values = sorted(seconds)
    found = [values[min(len(values) - 1, int(len(values) * share))] * 1e3 for share in SHARES]
    return "ms: " + ", ".join(
        f"{name} {each:.2f}" for name, each in zip(("p50", "p99", "p99.9", "most"), found, strict=True)
    )


def serve(bundle, request, options):
    from nasflow.serving import rest
    from nasflow.serving.request_log import LogSettings
    from nasflow.serving.server import Settings, Source, bound, serve

    (bundle / "request").write_bytes(request)
    start, probes = rest._Rest.start, []

    def client(server, port):
        command = [sys.executable, "-m", "tests.benchmarks.serving_pauses", "--ask", f"{port}", bundle / "request"]
        subprocess.run([*command, "--rate", f"{options.rate}", "--seconds", f"{options.seconds}"], check=False)
        server.should_exit = True

    async def started(self):
        probes.append(Probe(asyncio.get_running_loop()))
        threading.Thread(target=client, args=(self._server, self.listener.getsockname()[1]), daemon=True).start()
        await start(self)

    rest._Rest.start = started
    log = LogSettings(folder=bundle / "log") if options.log_requests else None
    serve(
        Source(bundle_uri=str(bundle / "bundle")), "model", listener=bound("127.0.0.1", 0), settings=Settings(log=log)
    )
    pauses = probes[0].pauses
    print("pauses of the loop", _shares(pause for pause, _, _ in pauses))
    print("computed in one", _shares(computed for _, computed, _ in pauses))
    print("the collector ran", len(probes[0].collected), "times", _shares(probes[0].collected or [0.0]))
    for title, key in (("longest pauses", 0), ("most computed", 1)):
        print(f"{title}: ms in all, computed, waited for a core")
        for pause in sorted(pauses, key=operator.itemgetter(key), reverse=True)[:8]:
            print("   " + "  ".join(f"{part * 1e3:6.1f}" for part in pause))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--rate", type=float, default=1000.0, help="requests of one row a second")
    parser.add_argument("--log-requests", action="store_true")
    parser.add_argument("--ask", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.ask:
        ask(int(options.ask[0]), options.rate, options.seconds, Path(options.ask[1]).read_bytes())
        return
    sys.argv = sys.argv[:1]  # KServe's SDK looks at it
    with tempfile.TemporaryDirectory() as temporary:
        # Made in a process of its own: this one must not have TensorFlow in it.
        subprocess.run([sys.executable, "-c", _MAKE, temporary], check=True)
        folder = Path(temporary)
        serve(folder, (folder / "v1").read_bytes(), options)


_MAKE = """
import sys
from pathlib import Path
from tests.benchmarks.serving import requests, table_bundle
folder = Path(sys.argv[1])
rows, schema = table_bundle(folder / "bundle")
(folder / "v1").write_bytes(requests(rows[:1], schema)["V1 JSON"])
"""


if __name__ == "__main__":
    main()
