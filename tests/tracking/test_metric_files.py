"""The readers of files with metrics, by bytes. The event files are those of tensorboardX."""

import json
import math
import struct

import numpy as np
import pytest
from tensorboardX import SummaryWriter  # type: ignore[import-untyped]

from fetchml.core.tracking import Point
from fetchml.tracking.metric_lines import MAX_LINE, read_lines
from fetchml.tracking.read_points import milliseconds
from fetchml.tracking.tensorboard import MAX_EVENT, masked_crc, read_events

AT = 1_700_000_000_000


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Scalars among histograms and texts, one larger than any event that is read."""
    folder = tmp_path_factory.mktemp("events")
    with SummaryWriter(str(folder)) as writer:
        noise = np.random.default_rng(0)
        for step in range(20):
            writer.add_scalar("train/loss", 1 / (step + 1), step, walltime=1.7e9 + step)
            if step % 5 == 0:
                writer.add_histogram("weights", noise.normal(size=100), step, bins="auto")
                writer.add_text("note", "# hello", step)
        writer.add_text("long", "x" * MAX_EVENT, 1)
        writer.add_scalar("nan", math.nan, 7, walltime=1.7e9)
        writer.add_scalar("large", 2.5, (1 << 40) + 1, walltime=1.7e9)
    [file] = folder.iterdir()
    return file.read_bytes()


def record(payload: bytes) -> bytes:
    length = struct.pack("<Q", len(payload))
    checksums = [struct.pack("<I", masked_crc(each)) for each in (length, payload)]
    return length + checksums[0] + payload + checksums[1]


def test_the_known_checksum() -> None:
    """RFC 3720, B.4: 32 bytes of zeros have the CRC-32C 0x8A9136AA."""
    crc = 0x8A9136AA
    masked = ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
    assert masked_crc(bytes(32)) == masked


def test_scalars_and_nothing_else(events: bytes) -> None:
    assert len(events) > MAX_EVENT
    found = read_events(events, default_at=AT)
    assert found.fault is None
    assert found.used == len(events)
    losses = [each for each in found.points if each.key == "train/loss"]
    assert losses == [
        Point("train/loss", float(np.float32(1 / (step + 1))), AT + 1000 * step, step)
        for step in range(20)
    ]
    others = [each for each in found.points if each.key != "train/loss"]
    assert [(each.key, each.step) for each in others] == [("nan", 7), ("large", (1 << 40) + 1)]
    assert math.isnan(others[0].value)


def test_a_file_that_is_cut_anywhere_is_read_on_from_there(events: bytes) -> None:
    whole = read_events(events, default_at=AT).points
    for cut in [*range(300), *range(300, len(events), 2003)]:
        first = read_events(events[:cut], default_at=AT)
        rest = read_events(events[first.used :], default_at=AT)
        assert first.fault is None
        assert rest.fault is None
        assert repr([*first.points, *rest.points]) == repr(whole)


def test_a_damaged_record_ends_the_reading(events: bytes) -> None:
    whole = read_events(events[:1500], default_at=AT)
    events, points = events[: whole.used], whole.points
    ends = set()
    for at in range(0, len(events), 7):
        spoilt = bytearray(events)
        spoilt[at] ^= 0x40
        found = read_events(bytes(spoilt), default_at=AT)
        assert found.fault in ("a record has a wrong length", "a record has a wrong checksum")
        assert found.points == points[: len(found.points)]
        assert found.used <= at
        ends.add(found.used)
    assert len(ends) > 5


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b"not an event file at all", "a record has a wrong length"),
        (record(b"\x0f"), "a record is not an event of TensorBoard"),
        (record(b"\x2a\x05"), "a record is not an event of TensorBoard"),
        (record(b"\x10" + b"\xff" * 20), "a record is not an event of TensorBoard"),
        (struct.pack("<QI", 1 << 63, masked_crc(struct.pack("<Q", 1 << 63))), "wrong length"),
        (record(b"\x2a\x0b\x0a\x09\x0a\x02\xff\xfe\x15\0\0\0\0"), "not an event"),  # no UTF-8
    ],
)
def test_hostile_bytes_have_a_reason(data: bytes, fault: str) -> None:
    found = read_events(data, default_at=AT)
    assert fault in (found.fault or "")
    assert not found.points


@pytest.mark.parametrize(
    ("tensor", "number"),
    [
        (b"\x08\x01\x2a\x04" + struct.pack("<f", 0.5), 0.5),  # float_val
        (b"\x08\x01\x22\x04" + struct.pack("<f", 0.5), 0.5),  # tensor_content
        (b"\x08\x02\x32\x08" + struct.pack("<d", 0.1), 0.1),
        (b"\x08\x09\x52\x01\x07", 7.0),
        (b"\x08\x03\x38\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", -1.0),
        (b"\x08\x01\x22\x08" + bytes(8), None),  # two numbers
        (b"\x08\x07\x42\x02hi", None),  # a text
        (b"\x08\x01", None),
    ],
)
def test_a_tensor_with_one_number_is_a_scalar(tensor: bytes, number: float | None) -> None:
    value = b"\x0a\x01a\x42" + bytes([len(tensor)]) + tensor
    summary = b"\x0a" + bytes([len(value)]) + value
    found = read_events(record(b"\x10\x03\x2a" + bytes([len(summary)]) + summary), default_at=AT)
    assert found.fault is None
    assert found.points == ([] if number is None else [Point("a", number, AT, 3)])


def lines(*found: object) -> bytes:
    return b"".join(json.dumps(each).encode() + b"\n" for each in found)


def test_steps_and_times_of_lines() -> None:
    data = lines(
        {"step": 5, "time": 1.7e9, "loss": 0.5, "name": "a", "done": True, "inner": {"x": 1}},
        {"_step": 6.0, "_timestamp": 1.7e9, "loss": 1},
        {"epoch": 2, "timestamp": "2023-11-14T22:13:20Z", "loss": math.nan},
        {"loss": 2, "time": 0.25, "epoch": 0.5},
    )
    found = read_lines(data, line=0, default_at=AT - 1, is_all=False)
    assert found.used == len(data)
    assert repr(found.points) == repr(
        [
            Point("loss", 0.5, AT, 5),
            Point("loss", 1.0, AT, 6),
            Point("loss", math.nan, AT, 2),
            Point("loss", 2.0, AT - 1, 3),
            Point("time", 0.25, AT - 1, 3),
            Point("epoch", 0.5, AT - 1, 3),
        ]
    )


def test_lines_are_read_as_they_grow() -> None:
    data = lines(*({"loss": number} for number in range(4)))[:-1]
    for cut in range(len(data)):
        first = read_lines(data[:cut], line=0, default_at=AT, is_all=False)
        done = data.count(b"\n", 0, first.used)
        rest = read_lines(data[first.used :], line=done, default_at=AT, is_all=True)
        points = [*first.points, *rest.points]
        assert [(each.step, each.value) for each in points] == [(n, float(n)) for n in range(4)]


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b"[1]\n", "line 2 is not a JSON object"),
        (b"{\n", "line 2 is not a JSON object"),
        (b"[" * 20_000 + b"\n", "line 2 is not a JSON object"),
        (b'{"a": "' + b"x" * MAX_LINE + b'"}\n', f"line 2 has more than {MAX_LINE} bytes"),
        (b"\xff\xfe\n", "line 2 is not a JSON object"),
    ],
)
def test_a_line_that_cannot_be_read(data: bytes, fault: str) -> None:
    found = read_lines(lines({"a": 1}) + data, line=1, default_at=AT, is_all=False)
    assert found.fault == fault
    assert [each.key for each in found.points] == ["a"]


@pytest.mark.parametrize("value", [None, True, "yesterday", 12, -1, 1e300, math.nan, math.inf, []])
def test_what_is_no_time(value: object) -> None:
    assert milliseconds(value) is None
