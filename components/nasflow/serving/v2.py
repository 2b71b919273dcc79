"""The Open Inference Protocol's inference request and response, in JSON and with its binary tensor extension.

A request with binary tensors has a header ``Inference-Header-Content-Length``: so many bytes of JSON, then the tensors'
bytes one after the other, each as long as its ``parameters.binary_data_size`` says; little endian, BYTES as a uint32
length before each value. A response has binary tensors where the request asks for them, for all (``parameters:
{"binary_data_output": true}``) or for one (``outputs: [{"name": …, "parameters": {"binary_data": true}}]``).
"""

import dataclasses
import math
import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from nasflow.serving.columns import may_hold_truths
from nasflow.serving.errors import MalformedError

HEADER = "inference-header-content-length"

_DTYPES = {
    **{
        f"{sign}INT{bits}": f"<{letter}{bits // 8}"
        for sign, letter in (("", "i"), ("U", "u"))
        for bits in (8, 16, 32, 64)
    },
    **{f"FP{bits}": f"<f{bits // 8}" for bits in (16, 32, 64)},
    "BOOL": "?",
}
_MAX_DIMENSIONS = 8


@dataclasses.dataclass(slots=True)  # not frozen: that makes a tensor twice as slow as reading its number
class WireTensor:
    """One input as it came; `nasflow.serving.tensors` reads it."""

    name: str
    datatype: str
    shape: list[int]
    data: Any = None
    """JSON data, flat or nested; None where it came as binary data."""
    binary: memoryview | None = None

    def as_numpy(self) -> NDArray[Any]:
        """Binary data as an array [*shape]; not writable.

        Raises:
            ValueError: it has another length than shape and datatype say.
        """
        assert self.binary is not None
        if self.datatype == "BYTES":
            texts = _split(self.binary, math.prod(self.shape))
            values = np.empty(len(texts), object)  # by the texts that are there: a shape may say anything
            values[:] = texts
            return values.reshape(self.shape)
        return np.frombuffer(self.binary, _DTYPES[self.datatype]).reshape(self.shape)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class InferRequest:
    """A request's parts."""

    id: str
    """The client's, or empty."""
    inputs: list[WireTensor]
    outputs: Mapping[str, bool | None]
    """Those asked for: name → binary or not, None: as `binary`. Empty: all."""
    binary: bool
    """Whether outputs are binary that do not say otherwise."""
    truths: bool
    """Whether true or false may be among the values."""


def parse(body: bytes, header_length: bytes | None) -> InferRequest:
    """Reads a request.

    Raises:
        MalformedError: not a request of the protocol.
    """
    size = len(body)
    if header_length is not None:
        if not header_length.isdigit() or int(header_length) > size:
            raise MalformedError(f"{HEADER}: must be 0 to {size}, the body's size, got {header_length!r:.40}")
        size = int(header_length)
    try:
        content = orjson.loads(memoryview(body)[:size])
    except ValueError as error:
        hint = "" if header_length else f", and the header {HEADER}, which binary tensors need, is missing"
        raise MalformedError(f"the request is not JSON: {error}{hint}") from error
    if not isinstance(content, dict) or not isinstance(content.get("inputs"), list):
        raise MalformedError('the body must be a JSON object {"inputs": [{"name", "datatype", "shape", "data"}, …]}')
    rest = memoryview(body)[size:]
    inputs = []
    for entry in content["inputs"]:
        tensor, rest = _tensor(entry, rest)
        inputs.append(tensor)
    if len(rest):
        raise MalformedError(f"{len(rest)} bytes follow the tensors that the inputs announce (binary_data_size)")
    return request_of(content, inputs, truths=may_hold_truths(memoryview(body)[:size]))


def request_of(content: Mapping[str, Any], inputs: list[WireTensor], *, truths: bool) -> InferRequest:
    """The request whose JSON has this content.

    Raises:
        MalformedError: its outputs are none.
    """
    return InferRequest(
        id=_text(content.get("id")),
        inputs=inputs,
        outputs=_outputs(content.get("outputs")),
        binary=bool(_parameters(content).get("binary_data_output", False)),
        truths=truths,
    )


def respond(
    values: Mapping[str, NDArray[Any] | list[str]],
    datatypes: Mapping[str, str],
    request: InferRequest,
    *,
    model: str,
    version: str,
    request_id: str,
) -> tuple[bytes, int | None]:
    """Writes a response; returns the body, and the length of its JSON where tensors follow.

    Args:
        values: every output by name; text as a list, or object[str].
        datatypes: the outputs' V2 datatypes.
        request: says which outputs, and how.
        model: its name.
        version: its version; left out where empty.
        request_id: the client's, or one made for it.

    Raises:
        MalformedError: an output was asked for that the model does not have.
    """
    if unknown := [name for name in request.outputs if name not in values]:
        raise MalformedError(f"output {unknown[0]!r} is unknown; the model gives {list(values)}")
    outputs, blobs = [], []
    for name in request.outputs or values:
        array, datatype = values[name], datatypes[name]
        texts = array if isinstance(array, list) else array.tolist() if datatype == "BYTES" else None
        shape = [len(array)] if isinstance(array, list) else list(array.shape)
        entry: dict[str, Any] = {"name": name, "shape": shape, "datatype": datatype}
        asked = request.outputs.get(name)
        if request.binary if asked is None else asked:
            blob = _joined(texts) if texts is not None else np.asarray(array, _DTYPES[datatype]).tobytes()
            entry["parameters"] = {"binary_data_size": len(blob)}
            blobs.append(blob)
        else:
            entry["data"] = np.ascontiguousarray(array).reshape(-1) if texts is None else texts
        outputs.append(entry)
    head = {
        "model_name": model,
        **({"model_version": version} if version else {}),
        "id": request_id,
        "outputs": outputs,
    }
    text = orjson.dumps(head, option=orjson.OPT_SERIALIZE_NUMPY)
    return (text + b"".join(blobs), len(text)) if blobs else (text, None)


def _tensor(entry: Any, rest: memoryview) -> tuple[WireTensor, memoryview]:
    try:
        name, shape, datatype = entry["name"], entry["shape"], entry["datatype"]
    except (KeyError, TypeError, IndexError):
        name = shape = datatype = None
    if not (type(name) is type(datatype) is str and type(shape) is list):
        raise _no_tensor(entry)
    if not (len(shape) == 1 and type(shape[0]) is int) and (
        len(shape) > _MAX_DIMENSIONS or not set(map(type, shape)) <= {int}
    ):
        raise _no_tensor(entry)
    parameters = entry.get("parameters")
    size = parameters.get("binary_data_size") if type(parameters) is dict else None
    if size is None:
        data = entry.get("data")
        if type(data) is not list:
            raise _no_tensor(entry)
        return WireTensor(name, datatype, shape, data), rest
    if type(size) is not int or not 0 <= size <= len(rest):
        raise MalformedError(
            f"input {name!r:.80}: binary_data_size is {size!r:.40}, {len(rest)} bytes are left of the body"
        )
    return WireTensor(name, datatype, shape, None, rest[:size]), rest[size:]


def _no_tensor(entry: Any) -> MalformedError:
    """What is wrong with it."""
    if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
        return MalformedError(f'an input must be an object with "name", "datatype" and "shape", got {entry!r:.80}')
    where, shape, datatype = f"input {entry['name']!r:.80}", entry.get("shape"), entry.get("datatype")
    if not isinstance(shape, list) or len(shape) > _MAX_DIMENSIONS or any(type(size) is not int for size in shape):
        return MalformedError(
            f"{where}: shape must be a list of at most {_MAX_DIMENSIONS} whole numbers, got {shape!r:.80}"
        )
    if not isinstance(datatype, str):
        return MalformedError(f'{where}: "datatype" must be text, got {datatype!r:.80}')
    if "data" not in entry:
        return MalformedError(f'{where}: neither "data" nor parameters.binary_data_size')
    return MalformedError(f'{where}: "data" must be a list, got {entry["data"]!r:.80}')


def _outputs(entries: Any) -> dict[str, bool | None]:
    if entries is None:
        return {}
    if not isinstance(entries, list) or any(not isinstance(each, dict) or "name" not in each for each in entries):
        raise MalformedError(f'"outputs" must be a list of objects with a "name", got {entries!r:.80}')
    return {_text(each["name"]): _parameters(each).get("binary_data") for each in entries}


def _parameters(entry: Mapping[str, Any]) -> Mapping[str, Any]:
    parameters = entry.get("parameters")
    return parameters if isinstance(parameters, dict) else {}


def _text(value: Any) -> str:
    return "" if value is None else str(value)


def short_texts(view: memoryview) -> list[str] | None:
    r"""Binary BYTES as text, at a third of the cost of `_split`, where all is ASCII and no value is longer than 127.

    None where it is not, or is cut off; `_split` then says what is wrong.

    >>> short_texts(memoryview(b"\x02\0\0\0ab\0\0\0\0")), short_texts(memoryview(b"\x02\0\0\0a"))
    (['ab', ''], None)
    """
    data = bytes(view)
    if not data.isascii():
        return None
    if not data:
        return []
    # "\2\0\0\0ab\1\0\0\0c" → "\2", "ab\1", "c": a part ends with the next one's length. Where that is not so (an empty
    # text, one with three NULs), the lengths do not fit, and the loop below looks at one after the other.
    first, *parts = data.decode("ascii").split("\0\0\0")
    texts = [part[:-1] for part in parts]
    if parts:
        texts[-1] = parts[-1]
    lengths = first + "".join([part[-1:] for part in parts[:-1]])
    if lengths == "".join(map(chr, map(len, texts))):
        return texts
    return _one_by_one(data)


def _one_by_one(data: bytes) -> list[str] | None:
    text, size, place = data.decode("ascii"), len(data), 0
    values = []
    while place + 4 <= size:
        if text[place + 1 : place + 4] != "\0\0\0":
            return None
        start = place + 4
        place = start + data[place]
        values.append(text[start:place])
    return values if place == size else None


def _split(view: memoryview, count: int) -> list[bytes]:
    values, place, size = [], 0, len(view)
    data = bytes(view)
    while place < size:
        start = place + 4
        if start > size:
            raise ValueError(f"a value's length is cut off at byte {place}")
        place = start + int.from_bytes(data[place:start], "little")
        if place > size:
            raise ValueError(f"a value of {place - start} bytes begins at byte {start} of {size}")
        values.append(data[start:place])
    if len(values) != count:
        raise ValueError(f"{len(values)} values, the shape needs {count}")
    return values


def _joined(texts: Sequence[str]) -> bytes:
    encoded = {text: text.encode() for text in set(texts)}  # labels: a few, many times
    prefixed = {text: struct.pack("<I", len(each)) + each for text, each in encoded.items()}
    return b"".join(map(prefixed.__getitem__, texts))
