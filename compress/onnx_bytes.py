"""Reads an ONNX file's envelope without the `onnx` package, which a device does not have.

Only the wire format of protocol buffers is walked, so that a device can read the metadata, refuse
weights that lie outside the file, and notice a flipped byte.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path

from compress.errors import InputError

DIGEST_KEY = "compress.content_sha256"

# Field numbers of onnx.proto
MODEL_GRAPH, MODEL_METADATA = 7, 14
TENSOR_NAME, TENSOR_EXTERNAL, TENSOR_LOCATION = 8, 13, 14
HOLDERS: dict[str, dict[int, str]] = {
    "model": {MODEL_GRAPH: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
}
"""The messages that may hold tensors, by kind: which fields lead on, and to what."""

ENTRY_KEY, ENTRY_VALUE = 1, 2

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5


class _MalformedError(Exception):
    """The bytes end, or make no sense, inside a field."""


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    """A variable-length integer and the position after it."""
    value = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise _MalformedError
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at += 1
        if not byte & 0x80:
            return value, at
        shift += 7


def _fields(data: memoryview) -> Iterator[tuple[int, memoryview | int, memoryview]]:
    """Every field of a message: its number, its content, and its raw bytes with the tag."""
    at = 0
    while at < len(data):
        start = at
        tag, at = _varint(data, at)
        number, kind = tag >> 3, tag & 7
        content: memoryview | int
        if kind == VARINT:
            content, at = _varint(data, at)
        elif kind in (FIXED64, FIXED32):
            size = 8 if kind == FIXED64 else 4
            content, at = data[at : at + size], at + size
        elif kind == BYTES:
            size, at = _varint(data, at)
            content, at = data[at : at + size], at + size
        else:
            raise _MalformedError
        if number == 0 or at > len(data):
            raise _MalformedError
        yield number, content, data[start:at]


def _text(message: memoryview | int, wanted: int) -> str:
    """A string field of a message; empty when it is not there."""
    if isinstance(message, int):
        raise _MalformedError
    for number, content, _ in _fields(message):
        if number == wanted and not isinstance(content, int):
            return str(content, "utf-8", "replace")
    return ""


def _corrupt(source: str) -> InputError:
    return InputError(
        f"{source} is no ONNX model, or a truncated one", hint="export or copy it again"
    )


def read_metadata(data: bytes, *, source: str) -> dict[str, str]:
    """The `metadata_props` of a serialized model.

    Args:
        data: The file's content.
        source: The file, for messages.

    Raises:
        InputError: Not a model, truncated, or without a graph.
    """
    found: dict[str, str] = {}
    has_graph = False
    try:
        for number, content, _ in _fields(memoryview(data)):
            has_graph |= number == MODEL_GRAPH
            if number == MODEL_METADATA:
                found[_text(content, ENTRY_KEY)] = _text(content, ENTRY_VALUE)
    except _MalformedError as error:
        raise _corrupt(source) from error
    if not has_graph:
        raise _corrupt(source)
    return found


def content_digest(data: bytes, *, source: str) -> str:
    """Hex sha256 over everything in a serialized model but the metadata entry that holds it.

    Raises:
        InputError: Not a model, or truncated.
    """
    digest = hashlib.sha256()
    try:
        for number, content, raw in _fields(memoryview(data)):
            if number == MODEL_METADATA and _text(content, ENTRY_KEY) == DIGEST_KEY:
                continue
            digest.update(raw)
    except _MalformedError as error:
        raise _corrupt(source) from error
    return digest.hexdigest()


def external_data(data: bytes, *, source: str) -> list[str]:
    """Where a model's weights lie outside its file; empty when the file is whole.

    Every tensor counts: initializers, sparse ones, constants in attributes, and those of subgraphs.

    Raises:
        InputError: Not a model, or truncated.
    """
    places: set[str] = set()
    todo = [("model", memoryview(data))]
    try:
        while todo:
            kind, message = todo.pop()
            if kind == "tensor":
                places.update(_tensor_places(message))
                continue
            for number, content, _ in _fields(message):
                inside = HOLDERS[kind].get(number)
                if inside is not None and not isinstance(content, int):
                    todo.append((inside, content))
    except _MalformedError as error:
        raise _corrupt(source) from error
    return sorted(places)


def _tensor_places(tensor: memoryview) -> list[str]:
    """The files a tensor's values lie in."""
    entries = [content for number, content, _ in _fields(tensor) if number == TENSOR_EXTERNAL]
    pairs = [(_text(entry, ENTRY_KEY), _text(entry, ENTRY_VALUE)) for entry in entries]
    places = [value for key, value in pairs if key == "location"]
    outside = any(
        number == TENSOR_LOCATION and content == 1 for number, content, _ in _fields(tensor)
    )
    return places or (["elsewhere"] if outside else [])


def read_checked(path: Path) -> tuple[bytes, dict[str, str]]:
    """Read a model file that must be whole: no weights elsewhere, its own digest right.

    Returns:
        The content and its metadata. A file without our digest (a foreign one) is not compared.

    Raises:
        InputError: Missing, unreadable, no model, truncated, altered, or with external data.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist") from error
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    metadata = read_metadata(data, source=str(path))
    places = external_data(data, source=str(path))
    if places:
        raise InputError(
            f"{path} keeps its weights outside the file, in {places[0]}",
            hint="use a model that is one file; `compress export` writes such",
        )
    expected = metadata.get(DIGEST_KEY)
    if expected is not None:
        actual = content_digest(data, source=str(path))
        if actual != expected:
            raise InputError(
                f"{path} was altered (content sha256 {actual[:12]}…, expected {expected[:12]}…)",
                hint="copy it again from where it was exported",
            )
    return data, metadata
