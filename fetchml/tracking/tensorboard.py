"""Reads scalars from TensorBoard's event files, without TensorFlow.

A file is a sequence of records, each with

    length       8 bytes, little-endian
    checksum     4 bytes, of the length
    payload      an `Event` (protobuf)
    checksum     4 bytes, of the payload

A checksum is a CRC-32C, rotated and shifted. Records without scalars (images, histograms, texts)
contribute nothing.
"""

import struct
from collections.abc import Iterator

from fetchml.core.tracking import Point, key_fault
from fetchml.tracking.read_points import Reading, milliseconds

MAX_EVENT = 128 << 10
"""Bytes of an event that is read. A larger one is passed over: scalars are small."""
_MAX_RECORD = 1 << 31
"""TensorFlow writes no larger event."""
_HEAD = struct.Struct("<QI")
_CHECKSUM = struct.Struct("<I")
_POLYNOMIAL = 0x82F63B78
_MASK = 0xA282EAD8
_WORD = 0xFFFFFFFF

_TENSORS = {
    1: (5, struct.Struct("<f")),  # DT_FLOAT, float_val
    2: (6, struct.Struct("<d")),  # DT_DOUBLE, double_val
    3: (7, struct.Struct("<i")),  # DT_INT32, int_val
    9: (10, struct.Struct("<q")),  # DT_INT64, int64_val
}
"""By type: the field with its values, and how one is encoded in `tensor_content`."""
_FLOATS = (1, 2)


def _remainder(byte: int) -> int:
    for _ in range(8):
        byte = (byte >> 1) ^ (_POLYNOMIAL if byte & 1 else 0)
    return byte


_REMAINDERS = tuple(_remainder(byte) for byte in range(256))


def read_events(data: bytes, *, default_at: int) -> Reading:
    """Read the whole records at the beginning of `data`. `default_at`: time of an event without a
    valid one."""
    points: list[Point] = []
    at = 0
    while len(data) - at >= _HEAD.size:
        length, checksum = _HEAD.unpack_from(data, at)
        if masked_crc(data[at : at + 8]) != checksum or length > _MAX_RECORD:
            return Reading(points, at, "a record has a wrong length")
        begin = at + _HEAD.size
        end = begin + length
        if length > MAX_EVENT:
            at = end + _CHECKSUM.size
            continue
        if end + _CHECKSUM.size > len(data):
            break
        payload = data[begin:end]
        if _CHECKSUM.unpack_from(data, end)[0] != masked_crc(payload):
            return Reading(points, at, "a record has a wrong checksum")
        try:
            points += _scalars(payload, default_at)
        except ValueError:
            return Reading(points, at, "a record is not an event of TensorBoard")
        at = end + _CHECKSUM.size
    return Reading(points, at)


def masked_crc(data: bytes) -> int:
    """Return the checksum that a record has of `data`."""
    crc = _WORD
    for byte in data:
        crc = _REMAINDERS[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    crc ^= _WORD
    return ((crc >> 15 | crc << 17) + _MASK) & _WORD


def _scalars(event: bytes, default_at: int) -> list[Point]:
    """Raises ValueError for malformed bytes."""
    wall_time, step = 0.0, 0
    values: list[tuple[str, float]] = []
    for number, value in _fields(event):
        match number, value:
            case (1, bytes()) if len(value) == 8:  # wall_time
                [wall_time] = struct.unpack("<d", value)
            case (2, int()):  # step
                step = _signed(value)
            case (5, bytes()):  # summary
                for inner, content in _fields(value):
                    if inner == 1 and isinstance(content, bytes):  # value
                        values += _value(content)
    if not values:
        return []
    at = milliseconds(wall_time)
    at = default_at if at is None else at
    return [Point(tag, value, at, step) for tag, value in values]


def _value(content: bytes) -> Iterator[tuple[str, float]]:
    """Yield the tag and the number of a value that is a scalar."""
    tag: str | None = None
    number: float | None = None
    for field, value in _fields(content):
        match field, value:
            case (1, bytes()):  # tag
                tag = value.decode()
            case (2, bytes()) if len(value) == 4:  # simple_value
                [number] = struct.unpack("<f", value)
            case (8, bytes()):  # tensor
                number = _tensor(value)
    if tag is not None and number is not None and key_fault("metric", tag) is None:
        yield tag, number


def _tensor(content: bytes) -> float | None:
    """Return the number of a tensor with one element; `None` for others."""
    fields = list(_fields(content))
    kind = dict(fields).get(1)  # dtype
    if not isinstance(kind, int) or kind not in _TENSORS:
        return None
    values, encoding = _TENSORS[kind]
    for field, value in fields:
        if field == 4 or (field == values and kind in _FLOATS):
            if isinstance(value, bytes) and len(value) == encoding.size:
                return float(encoding.unpack(value)[0])
        elif field == values:
            whole, end = (value, 0) if isinstance(value, int) else _varint(value, 0)
            if isinstance(value, int) or end == len(value):
                return float(_signed(whole))
    return None


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield the number and the value of each field of a protobuf message. Raises ValueError."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        match key & 7:
            case 0:
                whole, at = _varint(data, at)
                yield key >> 3, whole
                continue
            case 1:
                end = at + 8
            case 2:
                size, at = _varint(data, at)
                end = at + size
            case 5:
                end = at + 4
            case _:
                raise ValueError("unknown type of a field")
        if end > len(data):
            raise ValueError("a field is cut off")
        yield key >> 3, data[at:end]
        at = end


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Return a number of up to 64 bits and where it ends. Raises ValueError."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            break
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFFFFFFFFFFFFFF, at
    raise ValueError("a number is cut off")


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value
