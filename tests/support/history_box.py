"""A store with something in every view, of two users, and queries of it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from fetchml.core.audit import Action, AuditEntry
from fetchml.core.model import (
    Attempt,
    AttemptEnd,
    FailureReason,
    Idempotency,
    Principal,
    Requeue,
    Role,
    Sender,
    Status,
    SweepMember,
)
from fetchml.core.requests.experiment import Experiment
from fetchml.core.tracking import Run, RunStatus
from fetchml.core.usage import DayUse, GpuHold, GpuSample, TaskSample, UserDay
from fetchml.history.history_service import History
from fetchml.ports.tracking_store import Series, TrackingWrite
from fetchml.ports.usage_store import UsageBatch
from fetchml.system import processes
from tests.support.stores import Opened, open_store
from tests.support.tasks import task
from tests.support.waiting import until

HOUR = 3_600_000
NOON = 1_767_268_800_000
"""2026-01-01 12:00 UTC."""
SECRET = "hunter2-is-a-secret"
"""In what no view shows."""
ANN = Principal("ann", Role.USER, "key-ann")
BOB = Principal("bob", Role.USER, "key-bob")
EVE = Principal("eve", Role.VIEWER, "key-eve")
ADMIN = Principal("root", Role.ADMIN, "key-root")


class HistoryBox:
    def __init__(self, opened: Opened, history: History) -> None:
        self.opened = opened
        self.history = history
        self.folder = opened.store.history.folder

    async def rows(self, sql: str, who: Principal = ADMIN) -> list[list[Any]]:
        return (await self.history.rows(who, {"sql": sql})).rows

    async def value(self, sql: str, who: Principal = ADMIN) -> Any:
        [[value]] = await self.rows(sql, who)
        return value


def query_processes(parent: int) -> list[int]:
    """Ids of the processes of queries that a server has started."""
    found = []
    for pid in processes.pids():
        process = processes.find(pid)
        if process is not None and process.parent == parent:
            try:
                command = Path(f"/proc/{pid}/cmdline").read_bytes()
            except OSError:
                continue
            if b"query_process" in command:
                found.append(pid)
    return found


@asynccontextmanager
async def history_box(data_dir: Path, *, private: bool = False) -> AsyncIterator[HistoryBox]:
    opened = await open_store(data_dir, now_ms=lambda: NOON + HOUR)
    try:
        history = History(opened.store.history, private=private, has_room=lambda: True)
        history.remove_left_over()
        await _fill(opened)
        yield HistoryBox(opened, history)
    finally:
        await opened.store.close()


async def _fill(opened: Opened) -> None:
    store = opened.store
    for number, user in enumerate(("ann", "bob")):
        base = task(
            f"0000000{number}-0000-7000-8000-000000000000",
            user=user,
            job_name=f"job of {user}",
            created_at=NOON - HOUR,
            gpu=1,
            memory_gb=4,
            env={"TOKEN": SECRET},
            metadata={"team": user},
            experiment_id=f"exp-{user}",
        )
        spec = replace(base.spec, sweep=SweepMember("sweep", number, {"lr": f"0.{number}"}))
        first = Attempt(
            1,
            Requeue.RETRY,
            NOON - HOUR // 2,
            started_at=NOON - HOUR // 2 - 60_000,
            failure_reason=FailureReason.EXIT_CODE,
            exit_code=1,
            worker_id="host",
            error="exit code 1",
        )
        base = replace(
            base,
            spec=spec,
            sender=Sender(f"key-{user}", "192.0.2.1"),
            idempotency=Idempotency(SECRET, SECRET),
        )
        running = replace(
            base,
            status=Status.RUNNING,
            attempt=2,
            retry_count=1,
            earlier_attempts=(first,),
            gpu_uuids=("GPU-1",),
            worker_id="host",
            allocated_at=NOON - HOUR // 4,
            started_at=NOON - HOUR // 4,
        )
        ended = replace(
            running,
            status=Status.COMPLETED,
            ended_at=NOON,
            end=AttemptEnd(NOON - 1_000, started_at=NOON - HOUR // 4, code=0),
            exit_code=0,
        )
        deleted = replace(
            base, id=f"1{base.id[1:]}", status=Status.FAILED, ended_at=NOON, hidden=True
        )
        # Ann's has ended; Bob's still holds a GPU.
        await opened.append(base, running, *([ended] if user == "ann" else []), deleted)
        experiment = Experiment(f"exp-{user}", user, f"experiment of {user}", NOON)
        await store.put_document("experiment", experiment.id, msgspec.json.encode(experiment))
        await store.append_audit(
            AuditEntry(
                f"entry-{user}",
                NOON,
                Action.TASK_CANCEL,
                "192.0.2.1",
                target="00000001-0000-7000-8000-000000000000",
                user=user,
            )
        )
        await _log(opened, number, user, base.id)
    ann, bob = (f"0000000{number}-0000-7000-8000-000000000000" for number in (0, 1))
    quarters = range(NOON - HOUR, NOON + HOUR, HOUR // 4)
    batch = UsageBatch(
        tasks=[
            TaskSample(at, each, 2, cpu=150, memory=1600, read=1024, write=2048)
            for at in quarters[:2]
            for each in (ann, bob)
        ],
        gpus=[GpuSample(at, "GPU-1", 10, 1000, 60, 200, held=True) for at in quarters],
        holds=[GpuHold("GPU-1", ann, "ann", NOON - HOUR // 2, NOON)],
        days={
            UserDay("2026-01-01", "ann"): DayUse(gpu_ms=HOUR, completed=1),
            UserDay("2026-01-01", "bob"): DayUse(gpu_ms=2 * HOUR),
        },
        until=NOON,
    )
    store.usage.record(batch)
    await until(store.usage.accounted_until, lambda at: at == NOON)


async def _log(opened: Opened, number: int, user: str, task_id: str) -> None:
    run = Run(
        id=f"{number}" * 32,
        experiment_id=f"exp-{user}",
        user=user,
        name=f"run of {user}",
        started_at=NOON - HOUR,
        status=RunStatus.FINISHED,
        task_id=task_id,
    )
    deleted = replace(run, id=f"{number + 2}" * 32, name=SECRET, deleted_at=NOON)
    for index, each in enumerate((run, deleted)):
        series = Series(2 * number + index + 1, each.id, "loss")
        points = [(series.id, step, NOON + step, 1 / (step + 1)) for step in range(3)]
        params, tags = [(each.id, "lr", f"0.{number}")], [(each.id, "team", user)]
        write = TrackingWrite([each], params, tags, series=[series], points=points)
        await opened.store.tracking.write(write)
