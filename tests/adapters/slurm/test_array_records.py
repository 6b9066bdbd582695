"""Which attempts are in which array, on the disk and after a restart."""

import os
import socket
from collections.abc import Collection
from pathlib import Path
from uuid import UUID

import pytest

from fetchml.adapters.slurm import array_records
from fetchml.adapters.slurm.array_records import ArrayRecords, Attempt
from fetchml.adapters.slurm.hand_overs import MOST_IN_GROUP
from fetchml.files.shared_disk import SharedDisk
from tests.support.waiting import soon

PREFIX = "own-array-"
MANY = {n: (f"task{n}", 1) for n in range(3)}


def records_in(folder: Path) -> ArrayRecords:
    records = ArrayRecords(folder, SharedDisk())
    records.prefix = PREFIX
    return records


def names_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


async def restarted(folder: Path, live: Collection[Attempt]) -> tuple[ArrayRecords, set[str]]:
    """Return a new server's records, and the tasks of arrays that its attempts need."""
    records = records_in(folder)
    return records, await soon(records.keep(live))


async def test_arrays_of_an_earlier_server_are_known_by_attempt(tmp_path: Path) -> None:
    records_in(tmp_path).write(f"{PREFIX}a", MANY)
    records_in(tmp_path).write("other-array-a", {0: ("task0", 1)})
    records, needed = await restarted(tmp_path, {("task1", 1), ("task2", 1), ("new", 1)})
    assert needed == {f"{PREFIX}a.1", f"{PREFIX}a.2"}
    assert records.task_of(("task1", 1)) == f"{PREFIX}a.1"
    assert records.task_of(("task1", 2)) == records.task_of(("task0", 1)) == ""


async def test_file_stays_until_the_last_attempt_is_over(tmp_path: Path) -> None:
    records_in(tmp_path).write(f"{PREFIX}a", MANY)
    records_in(tmp_path).write(f"{PREFIX}b", {0: ("over", 1)})
    records, _ = await restarted(tmp_path, {("task1", 1), ("task2", 1)})
    assert names_in(tmp_path) == [f"{PREFIX}a"]
    await records.drop(("task1", 1))
    await records.drop(("task1", 1))
    await records.drop(("unknown", 1))
    assert (tmp_path / f"{PREFIX}a").exists()
    await records.drop(("task2", 1))
    assert names_in(tmp_path) == []


async def test_attempts_of_this_server_are_not_dropped_by_its_clean_up(tmp_path: Path) -> None:
    records = records_in(tmp_path)
    await soon(records.read())
    records.write(f"{PREFIX}a", MANY)
    records.add({attempt: f"{PREFIX}a.{n}" for n, attempt in MANY.items()})
    assert await soon(records.keep(set())) == set()
    assert records.task_of(("task1", 1)) == f"{PREFIX}a.1"
    assert (tmp_path / f"{PREFIX}a").exists()


async def test_file_that_was_not_written_to_its_end_means_no_array(tmp_path: Path) -> None:
    records_in(tmp_path).write(f"{PREFIX}a", MANY)
    content = (tmp_path / f"{PREFIX}a").read_bytes()
    for length in (0, 1, len(content) - 1):
        (tmp_path / f"{PREFIX}a").write_bytes(content[:length])
        _, needed = await restarted(tmp_path, MANY.values())
        assert not needed, length
        assert names_in(tmp_path) == []


async def test_any_number_of_files_takes_bounded_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(array_records, "FILES_AT_ONCE", 1)
    monkeypatch.setattr(array_records, "MOST_ATTEMPTS", 6)
    for number in range(5):
        attempts = {n: (f"task{number}-{n}", 1) for n in range(3)}
        records_in(tmp_path).write(f"{PREFIX}{number}", attempts)
    live = {(f"task{number}-{n}", 1) for number in range(5) for n in range(3)}
    _, needed = await restarted(tmp_path, live)
    assert len(needed) == 6


async def test_file_of_a_whole_group_is_read(tmp_path: Path) -> None:
    attempts = {n: (str(UUID(int=n)), 2**31 - 1) for n in range(MOST_IN_GROUP)}
    records_in(tmp_path).write(f"{PREFIX}a", attempts)
    _, needed = await restarted(tmp_path, attempts.values())
    assert len(needed) == MOST_IN_GROUP


@pytest.mark.parametrize("kind", ["link", "fifo", "folder", "socket", "huge"])
async def test_replaced_files_are_not_followed(tmp_path: Path, kind: str) -> None:
    """Tasks of the same account can write there."""
    secret = tmp_path / "secret"
    secret.write_bytes(b'{"tasks":{"0":["task0",1]}}')
    folder = tmp_path / "arrays"
    folder.mkdir()
    path = folder / f"{PREFIX}a"
    match kind:
        case "link":
            path.symlink_to(secret)
        case "fifo":
            os.mkfifo(path)
        case "folder":
            path.mkdir()
        case "socket":
            with socket.socket(socket.AF_UNIX) as listener:
                listener.bind(str(path))
        case _:
            path.touch()
            os.truncate(path, 1 << 40)
    _, needed = await restarted(folder, MANY.values())
    assert not needed
    assert secret.exists()
    assert names_in(folder) == []
