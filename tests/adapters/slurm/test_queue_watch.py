"""Positions in Slurm's queue, and how often it is read."""

import asyncio

import msgspec
import pytest

from fetchml.adapters.slurm import commands
from fetchml.adapters.slurm.job import ArrayTask, Job, PendingJob, indexes_in
from fetchml.adapters.slurm.queue_watch import QueueWatch, positions
from fetchml.adapters.slurm.rest import Jobs
from fetchml.adapters.slurm.transport import SlurmAway
from tests.support.waiting import until_true


def job(number: int, priority: int, *partitions: str, index: int | None = None) -> PendingJob:
    job_id = number if index is None else ArrayTask(number, index)
    return PendingJob(job_id, priority, partitions or ("main",))


def test_order_is_that_of_priority_then_age_in_each_partition() -> None:
    found = positions(
        [
            job(7, 5),
            job(3, 5),
            job(9, 8),
            job(4, 5, index=10),
            job(4, 5, index=9),
            job(2, 9, "other"),
            job(8, 1, "main", "other"),
            job(1, 0),
        ]
    )
    assert found == {
        9: 1,
        3: 2,
        ArrayTask(4, 9): 3,
        ArrayTask(4, 10): 4,
        7: 5,
        2: 1,
        8: 2,
    }


def test_lines_of_squeue() -> None:
    out = (
        "12|4294901757|main|Priority\n13_4|7|main,long|Resources\n14|9|main|Dependency\n"
        "15_[3-9]|9|main|None\nx|1|main|None\n16|-3|main|None\n17|\n18|9|main|BeginTime\n"
    )
    assert commands._pending(out) == [
        PendingJob(12, 4294901757, ("main",)),
        PendingJob(ArrayTask(13, 4), 7, ("main", "long")),
        PendingJob(16, 0, ("main",)),
    ]


def test_entries_of_slurmrestd() -> None:
    entry = {"job_id": 12, "job_state": ["PENDING"], "priority": {"set": True, "number": 7}}
    array = {"array_job_id": {"set": True, "number": 12}, "partition": "main"}
    reply = {
        "jobs": [
            {**entry, "partition": "main,long", "state_reason": "Priority"},
            {**entry, **array, "array_task_string": "3-4,9%2"},
            {**entry, **array, "array_task_string": "3,..."},
            {**entry, **array, "array_task_id": {"set": True, "number": 5}},
            {**entry, "job_state": ["RUNNING"]},
            {**entry, "state_reason": "JobHeldUser"},
        ]
    }
    jobs = msgspec.convert(reply, Jobs).jobs
    assert [pending for each in jobs for pending in each.pending()] == [
        PendingJob(12, 7, ("main", "long")),
        *(PendingJob(ArrayTask(12, index), 7, ("main",)) for index in (3, 4, 9)),
        PendingJob(12, 7, ("main",)),
        PendingJob(ArrayTask(12, 5), 7, ("main",)),
    ]


@pytest.mark.parametrize(
    ("text", "indexes"),
    [("", []), ("7", [7]), ("0-2,5%3", [0, 1, 2, 5]), ("3,...", []), ("9-1", []), ("-1", [])],
)
def test_indexes(text: str, indexes: list[int]) -> None:
    assert indexes_in(text) == indexes


def test_indexes_are_bounded() -> None:
    assert len(indexes_in("0-999999999,1-999999999")) == 1000


def pending(number: int, reason: str = "Priority") -> Job:
    return Job(number, ("PENDING",), reason=reason)


class Queue:
    def __init__(self) -> None:
        self.jobs = [job(1, 5)]
        self.reads = 0
        self.away = False

    async def read(self) -> list[PendingJob]:
        self.reads += 1
        if self.away:
            raise SlurmAway("no answer")
        return self.jobs


async def test_it_is_read_only_when_asked_for_and_again_for_a_new_job() -> None:
    queue, answers = Queue(), asyncio.Event()
    answers.set()
    watch = QueueWatch(queue.read, answers=answers, first_seconds=0.01)
    await watch.open()
    await asyncio.sleep(0.1)
    assert queue.reads == 0
    assert watch.position(pending(1)) is None
    await until_true(lambda: watch.position(pending(1)) == 1)
    reads = queue.reads
    await asyncio.sleep(0.1)
    assert watch.position(pending(1)) == 1
    assert queue.reads == reads, "it is known, and not read again so soon"
    queue.jobs = [job(1, 5), job(2, 7)]
    await until_true(lambda: watch.position(pending(2)) == 1)
    assert watch.position(pending(1)) == 2
    queue.away = True
    watch.position(pending(3))
    await until_true(lambda: queue.reads > reads + 1)
    assert watch.position(pending(1)) == 2, "the last that is known"
    await watch.close()


async def test_nothing_is_asked_while_slurm_is_away() -> None:
    queue, answers = Queue(), asyncio.Event()
    watch = QueueWatch(queue.read, answers=answers, first_seconds=0.01)
    await watch.open()
    watch.position(pending(1))
    await asyncio.sleep(0.1)
    assert queue.reads == 0
    answers.set()
    await until_true(lambda: watch.position(pending(1)) == 1)
    await watch.close()


@pytest.mark.parametrize(
    "other", [pending(2, "JobHeldUser"), pending(2, "BeginTime"), Job(2, ("RUNNING",))]
)
async def test_job_that_waits_for_something_else_causes_no_reading(other: Job) -> None:
    """No reading has such a job: each look at it would make another one."""
    queue, answers = Queue(), asyncio.Event()
    answers.set()
    watch = QueueWatch(queue.read, answers=answers, first_seconds=0.01)
    await watch.open()
    watch.position(pending(1))
    await until_true(lambda: watch._positions)
    for _ in range(10):
        assert watch.position(other) is None
        await asyncio.sleep(0.01)
    assert queue.reads == 1
    await watch.close()
