"""Where workers on other machines find their search: one small object in the study's place, which they can read as they
read the data. It moves with the search: one that was started again on another machine writes it anew.

The key is in it: whoever may read the study's place may work for the study, and nobody else.
"""

import dataclasses
import json

from nasflow.core.storage import storage_for


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Meeting:
    """Address and key of a search that listens."""

    connect: str
    """``host:port``."""
    key: bytes = dataclasses.field(repr=False)


def publish(uri: str, meeting: Meeting) -> None:
    """Creates or replaces it."""
    content = {"connect": meeting.connect, "key": meeting.key.hex()}
    storage_for(uri).write(uri, json.dumps(content).encode())


def find(uri: str) -> Meeting | None:
    """The meeting, or None where the search is over."""
    try:
        content = json.loads(storage_for(uri).read(uri))
    except FileNotFoundError:
        return None
    return Meeting(connect=content["connect"], key=bytes.fromhex(content["key"]))


def withdraw(uri: str) -> None:
    """The search is over; workers that look end by themselves."""
    storage_for(uri).delete(uri)
