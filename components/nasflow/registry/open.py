"""Which registry a spec, or a command, means."""

from nasflow.core.storage import absolute, join
from nasflow.registry._base import Registry
from nasflow.registry.file import FileRegistry

CHAMPION = "champion"
CHALLENGER = "challenger"


def place(uri: str | None, work_dir: str) -> str:
    """`register.uri`, or ``WORK_DIR/registry``."""
    return absolute(uri) if uri is not None else join(absolute(work_dir), "registry")


def truth(uri: str) -> Registry:
    """The folder or bucket that decides, whatever mirrors it."""
    return FileRegistry(uri)
