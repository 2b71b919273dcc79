"""Runs a command and writes what it took as JSON: CPU seconds, peak memory, exit status.

    python measured.py RESULT.json COMMAND…

A process of its own, because the kernel counts the memory of the process that starts a program as that program's peak.
"""

import json
import os
import sys
from pathlib import Path


def main(result: str, *command: str) -> None:
    child = os.posix_spawn(command[0], command, os.environ)
    _, status, usage = os.wait4(child, 0)
    found = {"seconds": usage.ru_utime + usage.ru_stime, "mebibytes": usage.ru_maxrss / 1024, "status": status}
    Path(result).write_text(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
