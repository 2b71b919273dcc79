"""The command line as a fixture."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.e2e.command import Nasflow


@pytest.fixture
def nasflow(tmp_path: Path) -> Iterator[Nasflow]:
    command = Nasflow(tmp_path)
    yield command
    command.stop_all()
