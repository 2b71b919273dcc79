"""Which registry a command means."""

from collections.abc import Mapping
from pathlib import Path

from nasflow.core.errors import UserError

VARIABLE = "NASFLOW_REGISTRY"


def find(given: str | None, *, environment: Mapping[str, str], folder: Path) -> str:
    """``--registry``, else ``NASFLOW_REGISTRY``, else the only ``runs/*/work/registry`` below `folder`.

    Raises:
        UserError: none of these names exactly one.
    """
    if chosen := given or environment.get(VARIABLE):
        return chosen
    known = sorted(str(path) for path in folder.glob("runs/*/work/registry") if path.is_dir())
    if len(known) == 1:
        return known[0]
    found = ", ".join(known) or "none below runs/"
    raise UserError(f"--registry: name one, or set {VARIABLE}; there are: {found}")
