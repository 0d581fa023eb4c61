"""ONNX Runtime's own format, for builds of it that are too small to read ONNX; reproducible.

ONNX Runtime writes one table of this format (which types an operator's kernels are chosen by) in an
order that differs from run to run. It is written again here in a fixed order.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import flatbuffers
from flatbuffers import encode
from flatbuffers.packer import uoffset
from flatbuffers.table import Table

from compress import runtime

RESOLVER_FIELD = 10
FIRST_FIELD, SECOND_FIELD = 4, 6
"""Places of fields in their table, as flatbuffers counts: 4 + 2 * number."""
GAP = 16
"""More bytes than a table's layout or padding takes between two neighbours."""

Argument = tuple[int, int]
Resolver = dict[str, dict[str, list[Argument]]]


def to_ort_format(model: bytes) -> bytes:
    """Convert a sealed ONNX file; equal files give equal bytes.

    The graph is optimized for any CPU: nothing in it depends on the one it was made on.

    Raises:
        InputError: ONNX Runtime cannot open the model.
    """
    with tempfile.TemporaryDirectory(prefix="compress-") as folder:
        path = Path(folder) / "model.ort"
        runtime.open_session(model, optimized_path=path)
        return _reordered(path.read_bytes())


def _reordered(data: bytes) -> bytes:
    """The same file with the resolver written anew at its end, sorted, and zeros in its old place.

    Offsets point forward in this format, so that nothing else has to move.
    """
    root = Table(data, encode.Get(uoffset, data, 0))
    field = root.Offset(RESOLVER_FIELD)
    if field == 0:
        return data
    place = root.Pos + field
    old = Table(data, root.Indirect(place))
    blob = _write(_read(old))
    start = -(-len(data) // 8) * 8
    result = bytearray(data) + bytes(start - len(data)) + blob
    low, high = _extent(old)
    result[low:high] = bytes(high - low)
    new = start + encode.Get(uoffset, blob, 0)
    encode.Write(uoffset, result, place, new - place)
    return bytes(result)


def _children(table: Table, field: int) -> Iterator[Table]:
    """The tables of a vector field."""
    offset = table.Offset(field)
    if offset == 0:
        return
    first = table.Vector(offset)
    for k in range(table.VectorLen(offset)):
        yield Table(table.Bytes, table.Indirect(first + 4 * k))


def _text(table: Table) -> str:
    """The string that is a table's first field."""
    text: bytes = table.String(table.Pos + table.Offset(FIRST_FIELD))
    return text.decode()


def _number(table: Table, field: int, flags: Any) -> int:
    offset = table.Offset(field)
    return int(table.Get(flags, table.Pos + offset)) if offset else 0


def _read(resolver: Table) -> Resolver:
    """What the resolver says: operator, type variable, then (kind, index) of its arguments."""
    flags = flatbuffers.number_types
    return {
        _text(operator): {
            _text(variable): [
                (
                    _number(argument, FIRST_FIELD, flags.Int8Flags),
                    _number(argument, SECOND_FIELD, flags.Uint32Flags),
                )
                for argument in _children(variable, SECOND_FIELD)
            ]
            for variable in _children(operator, SECOND_FIELD)
        }
        for operator in _children(resolver, FIRST_FIELD)
    }


def _write(resolver: Resolver) -> bytes:
    """A flatbuffer of its own with the resolver as its root, everything in sorted order."""
    builder = flatbuffers.Builder(1024)

    def vector(items: list[int]) -> int:
        builder.StartVector(4, len(items), 4)
        for item in reversed(items):
            builder.PrependUOffsetTRelative(item)
        place: int = builder.EndVector()
        return place

    def named(name: str, children: list[int]) -> int:
        text, inner = builder.CreateString(name), vector(children)
        builder.StartObject(2)
        builder.PrependUOffsetTRelativeSlot(0, text, 0)
        builder.PrependUOffsetTRelativeSlot(1, inner, 0)
        place: int = builder.EndObject()
        return place

    def argument(kind: int, index: int) -> int:
        builder.StartObject(2)
        builder.PrependInt8Slot(0, kind, 0)
        builder.PrependUint32Slot(1, index, 0)
        place: int = builder.EndObject()
        return place

    operators = [
        named(
            operator,
            [named(name, [argument(*a) for a in variables[name]]) for name in sorted(variables)],
        )
        for operator, variables in sorted(resolver.items())
    ]
    table = vector(operators)
    builder.StartObject(1)
    builder.PrependUOffsetTRelativeSlot(0, table, 0)
    builder.Finish(builder.EndObject())
    return bytes(builder.Output())


def _extent(resolver: Table) -> tuple[int, int]:
    """First and last byte position of what belongs to the resolver alone.

    Its tables and strings lie together. A string that the graph has too, an input called `axes`
    for instance, is written once, and lies with the graph.
    """
    positions = list(_reach(resolver))
    low, high = min(positions), max(positions)
    for start, end in sorted(_strings(resolver)):
        if start <= high + GAP:
            high = max(high, end)
    return low, high


def _strings(resolver: Table) -> Iterator[tuple[int, int]]:
    """First and last byte positions of the names of operators and type variables."""
    for operator in _children(resolver, FIRST_FIELD):
        for table in (operator, *_children(operator, SECOND_FIELD)):
            start = table.Indirect(table.Pos + table.Offset(FIRST_FIELD))
            yield start, start + 4 + encode.Get(uoffset, table.Bytes, start) + 1


def _reach(resolver: Table) -> Iterator[int]:
    """First and last byte positions of the resolver's tables and vectors."""
    yield from _table_reach(resolver)
    yield from _vector_reach(resolver, FIRST_FIELD)
    for operator in _children(resolver, FIRST_FIELD):
        yield from _named_reach(operator)
        for variable in _children(operator, SECOND_FIELD):
            yield from _named_reach(variable)
            for argument in _children(variable, SECOND_FIELD):
                yield from _table_reach(argument)


def _named_reach(table: Table) -> Iterator[int]:
    yield from _table_reach(table)
    yield from _vector_reach(table, SECOND_FIELD)


def _vector_reach(table: Table, field: int) -> Iterator[int]:
    offset = table.Offset(field)
    if offset:
        first = table.Vector(offset)
        yield from (first - 4, first + 4 * table.VectorLen(offset))


def _table_reach(table: Table) -> Iterator[int]:
    """A table; its layout stands elsewhere and may be shared, but its size is written there."""
    layout = table.Pos - table.Get(flatbuffers.number_types.SOffsetTFlags, table.Pos)
    size = table.Get(flatbuffers.number_types.VOffsetTFlags, layout + 2)
    yield from (table.Pos, table.Pos + size)
