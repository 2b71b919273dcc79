"""What a request can be refused for.

DataError            422: it can be read, but a column, a value or the number of rows does not fit the signature
└── MalformedError   400: it is not a request of the protocol
"""

from nasflow.core.errors import DataError


class MalformedError(DataError):
    """Not JSON, or not what the protocol says."""
