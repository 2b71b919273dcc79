"""Finds the search of a run: one that has ended by its document, one that runs or was killed by its ledger."""

import contextlib
import dataclasses
import fcntl
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from nasflow.core.artifacts import MANIFEST, Search
from nasflow.core.errors import DocumentError, UserError
from nasflow.core.storage import is_local, join, local_path, storage_for
from nasflow.search.about import ABOUT, About
from nasflow.search.events import Events
from nasflow.search.ledger import LEDGER, Ledger
from nasflow.search.record import Record
from nasflow.search.trials import record_of

State = Literal["finished", "running", "stopped", "unfinished"]
"""``stopped``: no process works at it. ``unfinished``: on ``gs://``, where nobody can see whether one does."""

_TRIALS = "trials.json"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A search, as far as it got."""

    uri: str
    """The ledger, or the document's folder."""
    records: tuple[Record, ...]
    state: State
    about: About | None
    """None where a ledger says nothing of its search: an older nasflow wrote it."""
    others: int = 0
    """Searches beside it, all older."""


def find(place: str) -> Found:
    """The newest search of a run folder, a work dir, a Search document, or the ledger itself; or of the default run
    folder of a spec file.

    Raises:
        UserError: nothing is there, or what is there is no search.
    """
    folder = place.rstrip("/") or place
    if folder.endswith((".yaml", ".yml")):
        from nasflow.core import spec_file

        folder = str(Path("runs") / spec_file.load(folder).name)
    try:
        return _find(folder)
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"{folder}: cannot be read as a search: {type(error).__name__}: {error}") from error


def _find(folder: str) -> Found:
    if folder.endswith(".jsonl"):
        if not storage_for(folder).exists(folder):
            raise UserError(f"{folder}: no such file")
        return _unfinished(folder, others=0)
    ledgers = sorted(_ledgers(folder), key=lambda uri: Events(uri).age_seconds())
    document = next((uri for uri in (folder, join(folder, "documents", "search")) if _is_document(uri)), None)
    newest = ledgers[0] if ledgers else None
    if document is not None and (newest is None or _written(document, MANIFEST) <= Events(newest).age_seconds()):
        return _finished(document, others=0)
    if newest is not None:
        return _unfinished(newest, others=len(ledgers) - 1)
    if is_local(folder) and not local_path(folder).is_dir():
        raise UserError(f"{folder}: no such folder; `nasflow run` prints where it puts a run (default: runs/NAME)")
    raise UserError(
        f"{folder}: no search has started here; name the folder of a run (`nasflow run` prints it), or its --work-dir"
    )


def _ledgers(folder: str) -> Iterator[str]:
    """Of the searches below a search's own place, a work dir or a run folder."""
    if not is_local(folder):
        yield from (uri for uri in storage_for(folder).list(folder) if uri.endswith(f"/{LEDGER}"))
        return
    root = local_path(folder)
    for pattern in (LEDGER, f"search/*/{LEDGER}", f"work/search/*/{LEDGER}"):
        yield from map(str, root.glob(pattern))


def _is_document(uri: str) -> bool:
    """Other documents, and other folders, are none."""
    try:
        return Search.exists(uri) and Search.read(uri).kind == Search.KIND
    except DocumentError:
        return False


def _written(*parts: str) -> float:
    """Seconds ago."""
    uri = join(*parts)
    return storage_for(uri).age_seconds(uri)


def _finished(uri: str, *, others: int) -> Found:
    search = Search.read(uri)
    records = tuple(record_of(row) for row in search.json(_TRIALS))
    return Found(uri=uri, records=records, state="finished", about=About.of(search), others=others)


def _unfinished(uri: str, *, others: int) -> Found:
    """By its ledger; its document, if it has one by now, says that it has ended."""
    place = uri.rpartition("/")[0]
    state: State = "finished" if _is_document(place) else _state(join(place, ".lock"))
    with _held_back():
        records = tuple(Ledger(uri).records)
    return Found(uri=uri, records=records, state=state, about=About.read(join(place, ABOUT)), others=others)


def _state(lock: str) -> State:
    """Whether a process holds the place (see `nasflow.core.workspace.run_once`)."""
    if not is_local(lock) or not local_path(lock).is_file():
        return "unfinished"
    with local_path(lock).open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return "running"
    return "stopped"


@contextlib.contextmanager
def _held_back() -> Iterator[None]:
    """A torn line is nothing to warn of here: the search may be writing it at this moment."""
    logger = logging.getLogger("nasflow.search.events")
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before
