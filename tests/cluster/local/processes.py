"""Programs that are waited for, and those in the background that outlive the one that started them."""

import contextlib
import os
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path


def run(
    *command: str | Path,
    check: bool = True,
    given: bytes | None = None,
    folder: Path | None = None,
    environment: dict[str, str] | None = None,
) -> subprocess.CompletedProcess[bytes]:
    """Runs one to its end.

    Raises:
        SystemExit: it failed, and `check`; with what it said.
    """
    done = subprocess.run(
        [str(each) for each in command],
        capture_output=True,
        check=False,
        input=given,
        cwd=folder,
        env={**os.environ, **(environment or {})},
    )
    if check and done.returncode:
        raise SystemExit(f"{' '.join(map(str, command))}: {done.stderr.decode(errors='replace').strip()}")
    return done


class Processes:
    """Those in the background of one folder: ``run/NAME.pid`` and ``logs/NAME.log``."""

    def __init__(self, folder: Path) -> None:
        self._run, self._logs = folder / "run", folder / "logs"

    def start(self, name: str, *command: str | Path, environment: dict[str, str] | None = None) -> None:
        """Starts one, unless it runs."""
        if self.alive(name):
            return
        for folder in (self._run, self._logs):
            folder.mkdir(parents=True, exist_ok=True)
        with self.log(name).open("ab") as out:
            process = subprocess.Popen(
                [str(each) for each in command],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                env={**os.environ, **(environment or {})},
                start_new_session=True,
            )
        (self._run / f"{name}.pid").write_text(f"{process.pid} {command[0]}")

    def log(self, name: str) -> Path:
        return self._logs / f"{name}.log"

    def names(self) -> list[str]:
        """All that were started, the oldest first."""
        return [path.stem for path in sorted(self._run.glob("*.pid"), key=lambda path: path.stat().st_mtime)]

    def alive(self, name: str) -> bool:
        """Whether it still runs; a process that has its number by chance is another one."""
        return self._pid(name) is not None

    def stop(self, name: str, seconds: float = 20) -> None:
        """SIGTERM, and SIGKILL when it has not ended by then."""
        pid, deadline = self._pid(name), time.monotonic() + seconds
        number = signal.SIGTERM
        while pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
            time.sleep(0.2)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
            if self._pid(name) is None:
                break
            number = signal.SIGKILL if time.monotonic() > deadline else signal.SIGTERM
        (self._run / f"{name}.pid").unlink(missing_ok=True)

    def wait(self, name: str, done: Callable[[], bool], seconds: float = 120) -> None:
        """Until it does its work.

        Raises:
            SystemExit: it has ended, or takes too long; with the end of its log.
        """
        deadline = time.monotonic() + seconds
        while not done():
            if not self.alive(name) or time.monotonic() > deadline:
                end = self.log(name).read_text(errors="replace")[-3000:]
                raise SystemExit(f"{name} {'does not answer' if self.alive(name) else 'has ended'}:\n{end}")
            time.sleep(0.3)

    def _pid(self, name: str) -> int | None:
        try:
            pid, program = (self._run / f"{name}.pid").read_text().split(maxsplit=1)
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
        except (FileNotFoundError, ProcessLookupError, ValueError):  # none, or it ended, or its file is half written
            return None
        return int(pid) if os.fsencode(program) in command else None


def answers(url: str) -> bool:
    """Whether GET gives 200."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=5) as answer:
            return answer.status == 200
    except (urllib.error.URLError, OSError):
        return False
