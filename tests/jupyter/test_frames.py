"""The headers of WebSocket frames, however the bytes come in pieces."""

import itertools
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fetchml.api.ws import frames
from fetchml.api.ws.frames import Frames, close_frame, control_frame

SIZES = st.sampled_from([0, 1, 125, 126, 127, 65535, 65536])


def frame(opcode: int, payload: bytes, *, masked: bool = False, fin: bool = True) -> bytes:
    size = len(payload)
    mask = 0x80 if masked else 0
    if size < 126:
        length = bytes([mask | size])
    elif size < 1 << 16:
        length = bytes([mask | 126]) + size.to_bytes(2, "big")
    else:
        length = bytes([mask | 127]) + size.to_bytes(8, "big")
    return bytes([(0x80 if fin else 0) | opcode]) + length + (b"mask" if masked else b"") + payload


class Seen(NamedTuple):
    passed: int
    between: bool
    closed: bool
    fault: str | None


def follow(data: bytes, cuts: list[int], *, masked: bool) -> Seen:
    frames = Frames(masked=masked)
    places = sorted({min(cut, len(data)) for cut in cuts} | {0, len(data)})
    passed = 0
    for begin, end in itertools.pairwise(places):
        passed += frames.feed(data[begin:end])
    return Seen(passed, frames.between, frames.closed, frames.fault)


@given(
    st.lists(st.tuples(st.sampled_from([0, 1, 2, 9, 10]), SIZES), max_size=5),
    st.lists(st.integers(0, 70_000), max_size=8),
    st.booleans(),
)
def test_whole_frames_pass_in_any_pieces(
    wanted: list[tuple[int, int]], cuts: list[int], masked: bool
) -> None:
    data = b"".join(
        frame(opcode, bytes(min(size, 125) if opcode > 2 else size), masked=masked)
        for opcode, size in wanted
    )
    assert follow(data, cuts, masked=masked) == Seen(len(data), True, False, None)
    if data:
        assert not follow(data[:-1], cuts, masked=masked).between


def test_nothing_passes_behind_a_close_frame() -> None:
    whole = close_frame(1000, b"bye", masked=True)
    found = follow(whole + frame(1, b"more", masked=True), [], masked=True)
    assert found == Seen(len(whole), True, True, None)


@pytest.mark.parametrize(
    ("data", "masked"),
    [
        (b"\x83\x00", False),
        (b"\xc1\x00", False),
        (b"\x81\x80", False),
        (b"\x81\x00", True),
        (b"\x88\x7e\x00\x7e", False),
        (b"\x09\x00", False),
        (b"\x82\x7f\x80" + bytes(7), False),
    ],
    ids=["opcode", "reserved bit", "mask", "no mask", "long close", "ping in parts", "2^63"],
)
def test_malformed_frames_are_rejected(data: bytes, masked: bool) -> None:
    before = frame(1, b"before", masked=masked)
    found = follow(before + data + b"behind", [], masked=masked)
    assert (found.passed, found.between, found.fault is not None) == (len(before), True, True)
    # Of a header in parts the first has passed already: nothing can be put in.
    assert not follow(before + data, [len(before) + 1], masked=masked).between


@given(st.binary(max_size=64), st.lists(st.integers(0, 64), max_size=6), st.booleans())
def test_any_bytes_are_parsed_or_rejected(data: bytes, cuts: list[int], masked: bool) -> None:
    """The fuzz of the parser: it never fails, never takes more than there is, and how the bytes
    were cut changes nothing but how much of a wrong header has passed (at most 9 bytes)."""
    at_once, in_parts = follow(data, [], masked=masked), follow(data, cuts, masked=masked)
    assert at_once[2:] == in_parts[2:]
    assert 0 <= in_parts.passed - at_once.passed <= 9
    assert in_parts.passed <= len(data)


@pytest.mark.parametrize("masked", [False, True])
def test_frames_of_the_server_are_well_formed(masked: bool) -> None:
    for made in (
        close_frame(1001, "ü".encode() * 100, masked=masked),
        control_frame(frames.PING, b"", masked=masked),
    ):
        found = follow(made, [1], masked=masked)
        assert (found.passed, found.between, found.fault) == (len(made), True, None)
