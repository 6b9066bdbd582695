"""Groups of attempts: which become arrays, and what becomes of them when a submit fails."""

import asyncio
import errno
import threading
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest
from msgspec.structs import replace

from fetchml.adapters.slurm import hand_overs, start_files, submits
from fetchml.adapters.slurm.accounts import Accounts
from fetchml.adapters.slurm.array_records import ArrayRecords, Attempt
from fetchml.adapters.slurm.hand_overs import (
    WRITES_AT_ONCE,
    AttemptWriter,
    HandOver,
    HandOvers,
    Prepared,
)
from fetchml.adapters.slurm.health import ClusterHealth
from fetchml.adapters.slurm.job import ArrayTask, Submission
from fetchml.adapters.slurm.submits import Submits
from fetchml.adapters.slurm.transport import Refused
from fetchml.files.layout import ARRAYS
from fetchml.files.shared_disk import SharedDisk
from fetchml.ports.launcher import LaunchSpec
from tests.support.slurm_world import World
from tests.support.waiting import soon

TOGETHER_SECONDS = 10.0


class Bench:
    def __init__(self, world: World, folder: Path) -> None:
        self.world = world
        self.folder = folder
        self.sent: list[Submission] = []
        self.needed: list[str] = []
        self.submits = Submits(world.stand, world.follower, SharedDisk())
        disk = SharedDisk()
        self.health = ClusterHealth(folder, disk)
        self.records = ArrayRecords(folder / ARRAYS, disk)
        self.records.prefix = "own-array-"
        self.hand_overs = HandOvers(
            disk,
            AttemptWriter(self.health, None, Accounts(), folder),
            self.records,
            self.submits,
            world.follower,
            self.needed.append,
            has_arrays=lambda: world.stand.has_arrays,
        )
        world.stand.on_submit = self.on_submit
        self.refusal: Refused | None = None

    def on_submit(self, job: Submission) -> None:
        self.sent.append(job)
        if self.refusal is not None:
            raise self.refusal

    def one(self, task_id: str, cpus: int = 1) -> HandOver:
        folder = self.folder / "tasks" / task_id / "attempts/1"
        run = LaunchSpec(task_id, 1, "job", folder, "", ("true",), {})
        submission = Submission(f"own-{task_id}-1", "script", str(folder), cpus)
        return HandOver(run, self.world.follower.follow(submission.name), submission)

    def of_user(self, task_id: str, user: str) -> HandOver:
        one = self.one(task_id)
        one.followed.user = user
        one.submission = replace(one.submission, user=user)
        return one

    async def prepare(self, *ones: HandOver) -> None:
        await soon(asyncio.gather(*map(self.hand_overs.prepare, ones)))


async def on_disk(bench: Bench, ones: list[HandOver]) -> list[str]:
    """Return the task of an array that another server would know of each attempt."""
    records = ArrayRecords(bench.folder / ARRAYS, SharedDisk())
    records.prefix = "own-array-"
    await soon(records.read())
    return [records.task_of(one.attempt) for one in ones]


@pytest.fixture
async def bench(world: World, tmp_path: Path) -> AsyncIterator[Bench]:
    bench = Bench(world, tmp_path)

    async def seen() -> None:
        bench.health.slurm_seen()

    await bench.health.open(seen, lambda *_: None)
    yield bench
    await bench.hand_overs.close()
    await bench.health.close()


async def test_alike_attempts_are_one_array_whose_tasks_are_on_record(bench: Bench) -> None:
    ones = [bench.one(f"t{n}") for n in range(5)]
    on_record: list[str] = []

    def look(job: Submission) -> None:
        bench.on_submit(job)
        on_record.extend(one.followed.array_task for one in ones)

    bench.world.stand.on_submit = look
    await bench.prepare(*ones)
    [array] = bench.sent
    assert (array.indexes, array.output) == ("0,1,2,3,4", "/dev/null")
    assert [one.followed.job and one.followed.job.id for one in ones] == [
        ArrayTask(1, n) for n in range(5)
    ]
    assert on_record == [f"{array.name}.{n}" for n in range(5)] == bench.needed
    assert await on_disk(bench, ones) == on_record
    assert array.name.startswith("own-array-")
    for number, one in enumerate(ones):
        assert f"{number}) cd {one.run.folder};;" in array.script


async def test_an_array_has_the_jobs_of_one_account(bench: Bench) -> None:
    ones = [bench.of_user(f"{user}{n}", user) for n in range(2) for user in ("ada", "bob", "")]
    await bench.prepare(*ones)
    assert {array.user for array in bench.sent} == {"ada", "bob", ""}
    for array in bench.sent:
        assert array.indexes == "0,1"
        folders = [str(one.run.folder) for one in ones if one.submission.user == array.user]
        assert [folder in array.script for folder in folders] == [True, True]


async def test_array_is_on_the_disk_before_it_is_submitted(bench: Bench) -> None:
    ones = [bench.one(f"t{n}") for n in range(3)]
    seen: list[Path] = []
    bench.world.stand.on_submit = lambda _: seen.extend((bench.folder / ARRAYS).iterdir())
    await bench.prepare(*ones)
    assert len(seen) == 1
    assert all(await on_disk(bench, ones))


async def test_attempts_that_an_array_names_are_written_again_and_not_submitted_in_another(
    bench: Bench,
) -> None:
    """After a power failure their start files may be missing, empty or complete."""
    await bench.prepare(*(bench.one(f"t{n}") for n in range(3)))
    bench.sent.clear()
    missing, empty, _ = again = [bench.one(f"t{n}") for n in range(3)]
    for one in again:
        one.was_in_array = bool(bench.records.task_of(one.attempt))
    (missing.run.folder / start_files.START).unlink()
    (empty.run.folder / start_files.START).write_bytes(b"")
    assert (
        await soon(asyncio.gather(*map(bench.hand_overs.prepare, again))) == [Prepared.EARLIER] * 3
    )
    assert not bench.sent
    assert all(start_files.was_prepared(one.run.folder) for one in again)


async def test_array_that_cannot_be_written_is_not_submitted(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(name: str, attempts: object) -> None:
        raise OSError(errno.ENOSPC, "no space")

    monkeypatch.setattr(bench.records, "write", fail)
    preparing = map(bench.hand_overs.prepare, [bench.one("a"), bench.one("b")])
    found = await soon(asyncio.gather(*preparing, return_exceptions=True))
    assert [isinstance(each, OSError) for each in found] == [True, True]
    assert not bench.sent


async def test_array_that_is_written_too_late_is_removed(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its attempts are handed over again: they would be in two arrays."""
    write = bench.records.write

    def late(name: str, attempts: Mapping[int, Attempt]) -> None:
        write(name, attempts)
        raise TimeoutError

    monkeypatch.setattr(bench.records, "write", late)
    preparing = map(bench.hand_overs.prepare, [bench.one("a"), bench.one("b")])
    results = await soon(asyncio.gather(*preparing, return_exceptions=True))
    assert [type(each) for each in results] == [TimeoutError, TimeoutError]
    assert not list((bench.folder / ARRAYS).iterdir())
    assert not bench.sent


async def test_others_are_jobs_of_their_own(bench: Bench) -> None:
    ones = [bench.one("a"), bench.one("b", cpus=2), bench.one("c", cpus=3)]
    await bench.prepare(*ones)
    assert not bench.sent
    bench.world.stand.has_arrays = False
    more = [bench.one("d"), bench.one("e")]
    await bench.prepare(*more)
    assert not bench.sent
    assert all(one.followed.job is None for one in [*ones, *more])


async def test_refused_array_is_left_to_single_submits_and_the_next_is_smaller(
    bench: Bench,
) -> None:
    bench.refusal = Refused("Invalid job array specification", permanent=True)
    ones = [bench.one(f"t{n}") for n in range(6)]
    await bench.prepare(*ones)
    assert not any(one.followed.job or one.search for one in ones)
    bench.refusal = None
    await bench.prepare(*(bench.one(f"u{n}") for n in range(6)))
    assert [each.indexes for each in bench.sent] == ["0,1,2,3,4,5", "0,1,2", "0,1,2"]


async def test_array_without_an_answer_is_found_by_its_name(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hand_overs, "AGAIN_SECONDS", 0.01)
    monkeypatch.setattr(submits, "AGAIN_SECONDS", 0.01)
    bench.world.stand.loses_answers = True
    ones = [bench.one(f"t{n}") for n in range(12)]
    await bench.prepare(*ones)
    assert all(one.search for one in ones)
    for number, one in enumerate(ones):
        await soon(
            bench.submits.hand_over(one.followed, one.submission, lambda _: None, search=one.search)
        )
        assert one.followed.job is not None
        assert one.followed.job.id == ArrayTask(1, number)
    assert len(bench.sent) == 1


async def test_attempt_that_is_given_up_while_it_is_written_is_in_no_array(bench: Bench) -> None:
    ones = [bench.one(f"t{n}") for n in range(3)]
    preparing = [asyncio.create_task(bench.hand_overs.prepare(one)) for one in ones]
    await asyncio.sleep(0)  # All of them are waiting now.
    preparing[1].cancel()
    await soon(asyncio.gather(*preparing, return_exceptions=True))
    assert len(bench.sent) == 1
    assert ones[0].followed.job is not None
    assert ones[2].followed.job is not None
    assert ones[1].followed.job is None


async def test_array_whose_attempts_are_all_given_up_leaves_no_file(bench: Bench) -> None:
    preparing = [asyncio.create_task(bench.hand_overs.prepare(bench.one(n))) for n in "ab"]
    await asyncio.sleep(0)
    for each in preparing:
        each.cancel()
    await soon(asyncio.gather(*preparing, return_exceptions=True))
    await soon(bench.hand_overs.close())
    assert not bench.sent
    assert not list((bench.folder / ARRAYS).iterdir())


async def test_attempts_of_a_group_are_written_at_the_same_time(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    all_of_them = threading.Barrier(WRITES_AT_ONCE)
    write = AttemptWriter.write

    def wait(writer: AttemptWriter, one: HandOver, *, synced: bool) -> Prepared:
        all_of_them.wait(TOGETHER_SECONDS)
        return write(writer, one, synced=synced)

    monkeypatch.setattr(AttemptWriter, "write", wait)
    await bench.prepare(*(bench.one(f"t{n}") for n in range(2 * WRITES_AT_ONCE)))
    [array] = bench.sent
    assert len(array.indexes.split(",")) == 2 * WRITES_AT_ONCE


async def test_attempt_that_cannot_be_written_is_left_out_of_its_array(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    ones = [bench.one(f"t{n}") for n in range(4)]
    write = AttemptWriter.write

    def fail_first(writer: AttemptWriter, one: HandOver, *, synced: bool) -> Prepared:
        if one is ones[0]:
            raise OSError(errno.EIO, "Input/output error")
        return write(writer, one, synced=synced)

    monkeypatch.setattr(AttemptWriter, "write", fail_first)
    failed, *written = await soon(
        asyncio.gather(*map(bench.hand_overs.prepare, ones), return_exceptions=True)
    )
    assert isinstance(failed, OSError)
    assert written == [Prepared.NOW] * 3
    [array] = bench.sent
    assert array.indexes == "1,2,3"
    assert [bool(task) for task in await on_disk(bench, ones)] == [False, True, True, True]


async def test_stop_waits_for_an_array_under_way(bench: Bench) -> None:
    ones = [bench.one(f"t{n}") for n in range(2)]
    begun, bench.world.stand.hold_submits = asyncio.Event(), asyncio.Event()
    bench.world.stand.on_submit = lambda _: begun.set()
    preparing = asyncio.create_task(bench.prepare(*ones))
    await soon(begun.wait())
    waiting = asyncio.create_task(bench.submits.after_submit(ones[0].followed))
    await asyncio.sleep(0)
    assert not waiting.done()
    assert ones[0].followed.is_uncertain
    bench.world.stand.hold_submits.set()
    await soon(asyncio.gather(waiting, preparing))
