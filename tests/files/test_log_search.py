"""Searching a log and finding its last lines, compared with what Python's own string methods find
in the whole log."""

import random
import time
from collections.abc import Callable

import pytest

from fetchml.files import log_search
from fetchml.files.attempt_folder import AttemptFolder
from fetchml.files.log_search import (
    BEFORE_BYTES,
    BLOCK_BYTES,
    TEXT_BYTES,
    SearchResult,
    last_lines,
    search_backward,
    search_forward,
)
from tests.hostile.turns import LONGEST_SECONDS, TRIES

Read = Callable[[int, int], tuple[int, bytes]]


def log_of(data: bytes, first: int = 0) -> tuple[Read, int, int]:
    """A log whose bytes before `first` were dropped; how to read it, its first byte, its end."""

    def read(offset: int, limit: int) -> tuple[int, bytes]:
        start = max(first, offset)
        return start, data[start - first : start - first + limit]

    return read, first, first + len(data)


def lines_with(data: bytes, wanted: bytes) -> list[int]:
    """The offsets of the lines that contain a text."""
    found, at = [], 0
    for line in data.split(b"\n"):
        if wanted in line:
            found.append(at)
        at += len(line) + 1
    return found


def all_of(search: Callable[..., SearchResult], data: bytes, wanted: bytes, most: int) -> list[int]:
    """The lines that repeated calls find, each from where the one before ended."""
    read, first, end = log_of(data)
    found: list[int] = []
    while True:
        page = search(read, wanted, first, end, most)
        assert len(page.matches) <= most
        for match in page.matches:
            assert data[match.offset :].startswith(wanted)
            assert data[match.line_offset :].startswith(match.text)
            assert b"\n" not in match.text
            assert wanted in match.text
        found += [match.line_offset for match in page.matches]
        if page.next_offset is None:
            return found
        if search is search_forward:
            assert page.next_offset > first
            first = page.next_offset
        else:
            assert page.next_offset < end
            end = page.next_offset


@pytest.mark.parametrize("most", [1, 3, 1000])
@pytest.mark.parametrize("block", [7, 64, BLOCK_BYTES])
def test_every_line_is_found_once(monkeypatch: pytest.MonkeyPatch, block: int, most: int) -> None:
    chance = random.Random(4)  # noqa: S311
    for _ in range(50):
        count = chance.randrange(40)
        lines = [bytes(chance.choices(b"ab ", k=chance.randrange(6))) for _ in range(count)]
        data = b"\n".join(lines)
        monkeypatch.setattr(log_search, "BLOCK_BYTES", block)
        expected = lines_with(data, b"ab")
        assert all_of(search_forward, data, b"ab", most) == expected
        assert all_of(search_backward, data, b"ab", most) == expected[::-1]


def test_search_starts_after_dropped_bytes_and_ends_at_the_end() -> None:
    read, first, end = log_of(b"x1\nx2\nx3", first=1 << 40)
    assert search_forward(read, b"x", 0, end, 9).matches[0].offset == first
    assert [match.text for match in search_forward(read, b"x", first + 3, end, 9).matches] == [
        b"x2",
        b"x3",
    ]
    assert [match.text for match in search_backward(read, b"x", first, end - 2, 9).matches] == [
        b"x2",
        b"x1",
    ]
    assert search_forward(read, b"x", end, end, 9) == SearchResult([], None)


def test_case_is_ignored_on_request() -> None:
    read, first, end = log_of("Loss 1\nÄloss\nLÖSS".encode())
    found = search_forward(read, b"LOSS", first, end, 9, ignore_case=True)
    assert [match.text.decode() for match in found.matches] == ["Loss 1", "Äloss"]
    assert search_forward(read, b"LOSS", first, end, 9).matches == []


@pytest.mark.parametrize("search", [search_forward, search_backward])
def test_endless_line_is_shown_in_parts(search: Callable[..., SearchResult]) -> None:
    """A line without an end, as long as many blocks, with matches far apart."""
    data = bytearray(b"." * (3 * BLOCK_BYTES))
    places = [5, 5 + TEXT_BYTES * 2, BLOCK_BYTES + 100, 3 * BLOCK_BYTES - 3]
    for place in places:
        data[place : place + 3] = b"end"
    read, first, end = log_of(bytes(data))
    found = search(read, b"end", first, end, 100)
    assert sorted(match.offset for match in found.matches) == places
    for match in found.matches:
        assert len(match.text) <= TEXT_BYTES + len(b"end")
        assert match.offset - match.line_offset <= TEXT_BYTES
        assert b"end" in match.text
    deep = [match for match in found.matches if match.offset == places[2]]
    assert deep[0].offset - deep[0].line_offset in (BEFORE_BYTES, 100)


@pytest.mark.parametrize("search", [search_forward, search_backward])
def test_log_of_a_claimed_exabyte_is_searched_for_a_bounded_time(
    folder: AttemptFolder, monkeypatch: pytest.MonkeyPatch, search: Callable[..., SearchResult]
) -> None:
    monkeypatch.setattr(log_search, "SECONDS", 0.05)
    with (folder.run / f"log.{0:020}").open("wb") as file:
        file.truncate(1 << 42)
    first, end = folder.log_bounds()
    found = search(folder.read_log, b"never", first, end, 10)
    assert found.matches == []
    assert found.next_offset is not None
    assert first < found.next_offset < end
    assert last_lines(folder.read_log, 1000, first, end) > first


@pytest.mark.parametrize("block", [3, 16, BLOCK_BYTES])
def test_last_lines_are_those_of_splitlines(monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    monkeypatch.setattr(log_search, "BLOCK_BYTES", block)
    for data in (b"", b"\n", b"a", b"a\n", b"a\nb", b"a\nb\n", b"\n\n\n", b"one\ntwo\n\nfour\n"):
        whole = data.splitlines(keepends=True)
        read, first, end = log_of(data, first=100)
        for lines in range(6):
            offset = last_lines(read, lines, first, end)
            assert data[offset - first :].splitlines() == [
                line.rstrip(b"\n") for line in whole[len(whole) - min(lines, len(whole)) :]
            ]


def test_search_of_a_log_that_vanishes_ends() -> None:
    def gone(offset: int, limit: int) -> tuple[int, bytes]:
        return offset, b""

    assert search_forward(gone, b"x", 0, 1 << 50, 9) == SearchResult([], None)
    assert search_backward(gone, b"x", 0, 1 << 50, 9) == SearchResult([], None)
    assert last_lines(gone, 5, 0, 1 << 50) == 1 << 50


@pytest.mark.parametrize("ignore_case", [False, True])
@pytest.mark.parametrize("search", [search_forward, search_backward])
@pytest.mark.parametrize("wanted", [b"aab" + b"a" * 1021, b"a" * 1021 + b"baa"])
def test_search_holds_the_interpreter_for_a_short_time(
    search: Callable[..., SearchResult], wanted: bytes, *, ignore_case: bool
) -> None:
    """Nearly every byte of the block begins, and ends, a text that is nearly the wanted one."""
    read, first, end = log_of(b"a" * BLOCK_BYTES)
    best = float("inf")
    for _ in range(TRIES):
        began = time.thread_time()
        assert search(read, wanted, first, end, 1, ignore_case=ignore_case).matches == []
        best = min(best, time.thread_time() - began)
        if best < LONGEST_SECONDS:
            break
    assert best < LONGEST_SECONDS
