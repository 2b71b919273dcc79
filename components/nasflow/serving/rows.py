"""V1 requests: a list of rows as dicts → raw columns."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nasflow.core.errors import DataError
from nasflow.data.schema import Schema
from nasflow.serving.columns import ColumnReader
from nasflow.serving.errors import MalformedError

Raw = Mapping[str, NDArray[np.generic]]


def raw_from_instances(
    payload: Any, schema: Schema, *, max_rows: int, reader: ColumnReader | None = None, truths: bool = True
) -> Raw:
    """Reads ``{"instances": [row, …]}``, each row ``{column: value}``.

    For images a row may also be the image itself: nested lists of 0–255, or ``{"b64": "…"}`` where the model takes
    encoded files. `truths`: whether true or false may be among the values.

    Raises:
        MalformedError: not that form.
        DataError: no rows, too many, or a row that `raw_batch` refuses.
    """
    if (type(payload) is not dict and not isinstance(payload, Mapping)) or "instances" not in payload:
        raise MalformedError('the body must be a JSON object {"instances": [{column: value, …}, …]}')
    if len(payload) > 1 and (extra := sorted(set(payload) - {"instances", "signature_name"})):
        raise MalformedError(f'unknown keys {extra}; a V1 request has "instances"')
    if len(payload) > 1 and payload.get("signature_name", "serving_default") != "serving_default":
        raise MalformedError(f"unknown signature_name {payload['signature_name']!r}; leave it out")
    instances = payload["instances"]
    if not isinstance(instances, list):
        raise MalformedError(f'"instances" must be a list of rows, got {type(instances).__name__}')
    check_rows(len(instances), max_rows)
    rows = _rows(instances, schema)
    return (reader or ColumnReader(schema)).read(rows, truths=truths)


def check_rows(rows: int, max_rows: int) -> None:
    """Refuses a batch that is empty or too big.

    Raises:
        DataError: no rows, or more than the server takes at once.
    """
    if rows < 1:
        raise DataError("no rows: send at least one")
    if rows > max_rows:
        raise DataError(f"{rows} rows in one request, the server takes {max_rows}; send them in parts")


def _rows(instances: Sequence[Any], schema: Schema) -> list[Mapping[str, Any]]:
    alone = schema.image is not None and len(schema.columns) == 1
    image = schema.columns[0].name if alone else None
    if image is None and set(map(type, instances)) == {dict}:
        return instances  # type: ignore[return-value]  # the usual case, at once
    rows: list[Mapping[str, Any]] = []
    for number, instance in enumerate(instances, start=1):
        bare = isinstance(instance, list) or (isinstance(instance, Mapping) and set(instance) == {"b64"})
        if image is not None and bare and image != "b64":
            rows.append({image: instance})
        elif isinstance(instance, Mapping):
            rows.append(instance)
        else:
            raise DataError(
                f"row {number}: must be an object {{column: value}} with the columns "
                f"{[column.name for column in schema.columns]}, got {type(instance).__name__}"
            )
    return rows
