"""The times of a log, as the shim records them and as a hostile task may leave them."""

import os
import struct
from pathlib import Path

import pytest

from fetchml.files.attempt_folder import AttemptFolder
from fetchml.files.log_files import MAX_RECORDS, RECORD_BYTES, LogTime

END = 1_000_000


def write(folder: AttemptFolder, *records: tuple[int, int]) -> None:
    data = b"".join(struct.pack("<qq", *record) for record in records)
    (folder.run / "times").write_bytes(data)


@pytest.fixture
def opened(folder: AttemptFolder) -> int:
    """When the gate was opened."""
    folder.open_gate()
    at = folder.opened_at()
    assert at is not None
    return at


def test_log_without_times_has_none(folder: AttemptFolder, opened: int) -> None:
    times = folder.log_times(opened, END)
    assert times.between(0, END, 1000) == []
    assert times.offset_at(opened) == 0


def test_times_of_a_part(folder: AttemptFolder, opened: int) -> None:
    records = [(opened + 1000 * n, 10 * n) for n in range(5)]
    write(folder, *records)
    times = folder.log_times(opened + 4000, END)
    assert times.between(0, END, 1000) == [LogTime(*record) for record in records]
    # A byte falls under the last record before it.
    assert times.between(15, 16, 9) == [LogTime(*records[1])]
    assert times.between(15, 20, 9) == [LogTime(*records[1])]
    assert times.between(15, 21, 9) == [LogTime(*records[1]), LogTime(*records[2])]
    assert times.between(99, END, 9) == [LogTime(*records[4])]


def test_times_are_thinned_evenly(folder: AttemptFolder, opened: int) -> None:
    write(folder, *((opened + n, n) for n in range(10_001)))
    times = folder.log_times(opened + 10_000, END)
    found = times.between(0, END, 101)
    assert [record.offset for record in found] == list(range(0, 10_001, 100))


def test_offset_of_a_time(folder: AttemptFolder, opened: int) -> None:
    write(folder, *((opened + 1000 * n, 10 * n) for n in range(1, 5)))
    times = folder.log_times(opened + 9000, 35)
    assert [times.offset_at(opened + at) for at in (0, 1000, 1999, 2000, 3500, 10**9)] == [
        0, 10, 10, 20, 30, 35,
    ]  # fmt: skip


HOSTILE = {
    "empty": b"",
    "part of a record": b"x" * 15,
    "record and a part": struct.pack("<qq", 5, 5) + b"x" * 7,
    "negative": struct.pack("<qq", -(2**63), -(2**63)) * 3,
    "far future": struct.pack("<qq", 2**63 - 1, 2**63 - 1) * 3,
    "one offset again": struct.pack("<qq", 7, 7) * 5000,
    "descending": b"".join(struct.pack("<qq", n, n) for n in range(5000, 0, -1)),
    "noise": os.urandom(4096),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_forged_times_stay_possible(folder: AttemptFolder, opened: int, name: str) -> None:
    (folder.run / "times").write_bytes(HOSTILE[name])
    now = opened + 5000
    times = folder.log_times(now, END)
    for first, end, most in ((0, END, 1000), (0, END, 1), (500, 501, 1), (END, END, 9), (0, 0, 9)):
        found = times.between(first, end, most)
        assert len(found) <= most
        assert found == sorted(found)
        for at, offset in found:
            assert opened <= at <= now
            assert 0 <= offset < end
    for since in (-(2**80), 0, now, 2**80):
        assert 0 <= times.offset_at(since) <= END


def test_record_that_is_possible_survives_impossible_ones(
    folder: AttemptFolder, opened: int
) -> None:
    write(folder, (opened, 0), (opened - 1, 5), (opened + 99_999, 6), (opened + 1, 10))
    times = folder.log_times(opened + 1, END)
    assert times.between(0, END, 9) == [LogTime(opened, 0), LogTime(opened + 1, 10)]


def test_huge_file_is_read_in_part(folder: AttemptFolder, opened: int) -> None:
    with (folder.run / "times").open("wb") as file:
        file.truncate(1 << 40)
    assert folder.log_times(opened, END).between(0, END, 1000) == []
    assert MAX_RECORDS * RECORD_BYTES == 1 << 20


def test_neither_links_nor_pipes_are_read(
    folder: AttemptFolder, opened: int, tmp_path: Path
) -> None:
    (tmp_path / "elsewhere").write_bytes(struct.pack("<qq", opened, 0))
    (folder.run / "times").symlink_to(tmp_path / "elsewhere")
    assert folder.log_times(opened, END).between(0, END, 9) == []
    (folder.run / "times").unlink()
    os.mkfifo(folder.run / "times")
    assert folder.log_times(opened, END).between(0, END, 9) == []
