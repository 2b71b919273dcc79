"""Which registry a spec, or a command, means."""

from nasflow.core.errors import UserError
from nasflow.core.storage import absolute, join
from nasflow.registry._base import Registry
from nasflow.registry.file import FileRegistry
from nasflow.registry.mirror import MirroredRegistry, MirrorPlace, connect, mirror_of, set_mirror

CHAMPION = "champion"
CHALLENGER = "challenger"


def place(uri: str | None, work_dir: str) -> str:
    """`register.uri`, or ``WORK_DIR/registry``."""
    return absolute(uri) if uri is not None else join(absolute(work_dir), "registry")


def truth(uri: str) -> Registry:
    """The folder or bucket that decides, whatever mirrors it: to read from."""
    return FileRegistry(uri)


def open_registry(uri: str, *, kind: str = "file", server: str | None = None) -> Registry:
    """To read and to change: with the mirror that it was given here, or has been given before.

    Raises:
        UserError: the mirror's client is not installed.
    """
    if kind != "file":
        set_mirror(uri, MirrorPlace.model_validate({"kind": kind, "server": server}))
    files = FileRegistry(uri)
    mirror = mirror_of(files.uri)
    if mirror is None:
        return files
    try:
        return MirroredRegistry(files, connect(mirror))
    except ImportError as error:
        raise UserError(
            f"registry {files.uri} is shown by {mirror.kind} at {mirror.server}, whose client is not installed "
            f"({error}): pip install 'nasflow[registries]', or remove mirror.json there"
        ) from error
