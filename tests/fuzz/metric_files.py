"""Fuzz targets: the files with metrics that tasks write."""

import struct

from fetchml.core.tracking import MAX_POINTS_OF_CALL, points_fault
from fetchml.tracking.metric_lines import read_lines
from fetchml.tracking.read_points import Reading
from fetchml.tracking.tensorboard import masked_crc, read_events
from tests.fuzz.target import NUMBERS, STEERING, SURROGATES, WIRE, Target

AT = 1_700_000_000_000


def check(found: Reading) -> None:
    for first in range(0, len(found.points), MAX_POINTS_OF_CALL):
        assert points_fault(found.points[first : first + MAX_POINTS_OF_CALL]) is None
    assert found.used >= 0


def record(payload: bytes) -> bytes:
    length = struct.pack("<Q", len(payload))
    checksums = [struct.pack("<I", masked_crc(each)) for each in (length, payload)]
    return length + checksums[0] + payload + checksums[1]


def event_file(data: bytes) -> None:
    check(read_events(data, default_at=AT))


def event(data: bytes) -> None:
    """The same behind valid checksums."""
    check(read_events(record(data), default_at=AT))


def metric_lines(data: bytes) -> None:
    for is_all in (False, True):
        found = read_lines(data, line=0, default_at=AT, is_all=is_all)
        check(found)
        assert found.used <= len(data)


SCALAR = bytes.fromhex("0900000040fc54d941100b2a0b0a090a0161150000003f")
TENSOR = bytes.fromhex("0900000040fc54d941100b2a100a0e0a01614209080122040000003f")
TARGETS = {
    "event_file": Target(
        event_file, [record(SCALAR) * 2, record(TENSOR)], [*WIRE, b"\xff" * 8, bytes(12)]
    ),
    "event": Target(event, [SCALAR, TENSOR], [*WIRE, b"\x08\x09", b"\xff" * 10]),
    "metric_lines": Target(
        metric_lines,
        [b'{"step": 1, "loss": 0.5}\n{"epoch": 2.0, "time": 1.7e9, "a": NaN}\n'],
        [*SURROGATES, *STEERING, *NUMBERS, b'"timestamp"', b'"2026-01-01"', b"1e999", b"9" * 400],
    ),
}
