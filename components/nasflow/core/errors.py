"""Every error that nasflow raises on purpose, with the exit code that it ends a process with.

    NasflowError            1   anything else
    ├── UserError           2   the user's input: file, key or value, and what to do
    │   ├── SpecError           the YAML, a flag or a step's spec
    │   ├── DataError           the raw data
    │   └── DocumentError       a document that is missing, foreign or damaged
    ├── TryAgainError      75   nothing is wrong with the input; run the same command again
    │   └── ChangedError            somebody else changed it between our reading and our writing
    └── TrialFailedError        one trial failed: it is recorded and the search goes on
        ├── DivergedError       its loss is not finite, or grew out of all proportion
        └── OutOfMemoryError    the device has too little memory for the batch; a smaller one may fit

A message says what is wrong, the value received and what to do:
``search.budget.trials: must be >= 1, got 0; raise it, or leave it out to search by time``.
"""

import contextlib
import errno
from collections.abc import Iterator, Sequence

EXIT_OK = 0
EXIT_FAILURE = 1
EXIT_USER = 2
EXIT_TRY_AGAIN = 75


class NasflowError(Exception):
    """Base of all; its message is all that a user sees."""

    exit_code = EXIT_FAILURE


class UserError(NasflowError):
    """Something that the user wrote or named is wrong."""

    exit_code = EXIT_USER


class SpecError(UserError):
    """One or more mistakes in a spec, all found in one pass.

    Attributes:
        problems: one line a mistake, each with its place (``file:line: key: what, value, fix``).
    """

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


class DataError(UserError):
    """The raw data cannot be used; the message names file, row and column where it knows them."""


class DocumentError(UserError):
    """A document (Dataset, Search, Model, …) is missing, damaged or of another kind."""


class TryAgainError(NasflowError):
    """Stopped from outside (SIGTERM, preemption, a busy store); the same command goes on where it stopped."""

    exit_code = EXIT_TRY_AGAIN


class ChangedError(TryAgainError):
    """An object that we read is not what it was when we write it."""


class TrialFailedError(NasflowError):
    """A trial could not be built or trained; the study records it and goes on."""


class DivergedError(TrialFailedError):
    """A training whose loss is not finite, or grew out of all proportion."""


class OutOfMemoryError(TrialFailedError):
    """The device has too little memory for a batch."""


@contextlib.contextmanager
def full_disk_is_try_again() -> Iterator[None]:
    """A disk, or a quota, that is full in the middle of work is no defect: what is finished is found again.

    Raises:
        TryAgainError: in place of such an `OSError`.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        where = f"{error.filename}: " if error.filename else ""
        raise TryAgainError(f"{where}{error.strerror}; make room, then run the same command again") from error
