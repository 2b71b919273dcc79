"""What a request can be refused for.

DataError            422: it can be read, but a column, a value or the number of rows does not fit the signature
└── MalformedError   400: it is not a request of the protocol
TooMuchError         413, 503: it would take more memory than there is for it
"""

from nasflow.core.errors import DataError, NasflowError


class MalformedError(DataError):
    """Not JSON, or not what the protocol says."""


class TooMuchError(NasflowError):
    """More memory than the server gives to requests.

    Attributes:
        status: the HTTP status that says so: 413, or 503 where it is only too much for now.
    """

    def __init__(self, status: int, reason: str) -> None:
        self.status = status
        super().__init__(reason)
