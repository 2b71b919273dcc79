"""The examples in docstrings are run, wherever they stand."""

import doctest
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = {"nasflow": ROOT / "components", "nasflow_pipelines": ROOT / "pipelines"}
MODULES = sorted(
    ".".join(path.relative_to(folder).with_suffix("").parts)
    for package, folder in PACKAGES.items()
    for path in (folder / package).rglob("*.py")
    if ">>> " in path.read_text()
)


def test_there_are_examples() -> None:
    assert "nasflow.core.sections.data" in MODULES


@pytest.mark.parametrize("name", MODULES)
def test_examples(name: str) -> None:
    module = importlib.import_module(name)

    result = doctest.testmod(module)

    assert result.attempted > 0
    assert result.failed == 0
