"""An engine in memory, with the surface that the transports call. It runs nothing.

`failure` is raised by every method; `open_streams` counts watches and log reads that go on.
"""

import asyncio
import io
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, BinaryIO

import msgspec

from fetchml.attempts.manager import PrestageCounts
from fetchml.core.model import (
    ENDED,
    HOLDING,
    Cancel,
    FailureReason,
    Principal,
    Resources,
    Status,
    Task,
    TaskSpec,
)
from fetchml.core.requests.submission import (
    Defaults,
    InvalidSubmission,
    accept,
    idempotency_key_fault,
)
from fetchml.core.requests.task_limits import TaskLimits
from fetchml.core.scheduling.estimate import Calibration
from fetchml.engine import message_seq
from fetchml.errors import BadRequest, FieldViolation, NotFound, Unavailable, ValidationFailed
from fetchml.ports.store import TaskPage, TaskQuery
from fetchml.views import (
    Explanation,
    GpuUse,
    Health,
    HealthStatus,
    LogChunk,
    OutputFile,
    QueueStats,
    QueueUse,
    Shortage,
    StartEstimate,
    Update,
    UpdateType,
    WatchFilter,
)

DEFAULTS = Defaults("python:3.12-slim", ("python", "train.py"), TaskLimits(), 0)
CAPACITY = Resources(cpu=64, memory_gb=256, gpu=8)
START_MS = 1_760_000_000_000


class StubEngine:
    def __init__(self) -> None:
        self.tasks: dict[str, Task] = {}
        """Oldest first."""
        self.updates: list[Update] = []
        self._changes = 0
        self.outputs: dict[str, dict[str, bytes]] = {}
        self.logs: dict[str, list[LogChunk]] = {}
        self.idempotent: dict[tuple[str, str], str] = {}
        self.batch_keys: list[list[str | None]] = []
        self.requests: list[Mapping[str, object]] = []
        """Every create request, as the transport gave it."""
        self.failure: Exception | None = None
        self.answer = Health(HealthStatus.HEALTHY)
        self.draining = False
        self.status = self
        self.open_streams = 0
        self._changed = asyncio.Condition()

    # What a test does to the engine from outside.

    async def change(self, task_id: str, **fields: Any) -> Task:
        task = msgspec.structs.replace(self.tasks[task_id], **fields)
        self.tasks[task_id] = task
        await self._tell(UpdateType.TASK_UPDATE, task)
        return task

    async def log(self, task_id: str, data: bytes, attempt: int = 1) -> None:
        chunks = self.logs.setdefault(task_id, [])
        end = chunks[-1].offset + len(chunks[-1].data) if chunks else 0
        async with self._changed:
            chunks.append(LogChunk(attempt, end, data))
            self._changed.notify_all()

    async def drain(self) -> None:
        async with self._changed:
            self.draining = True
            self._changed.notify_all()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for something that changes tasks, logs or `open_streams`."""
        async with asyncio.timeout(5), self._changed:
            await self._changed.wait_for(condition)

    # The engine's surface.

    async def create_task(
        self, who: Principal, request: Mapping[str, object], idempotency_key: str | None = None
    ) -> Task:
        self._may_fail()
        if idempotency_key is not None and (fault := idempotency_key_fault(idempotency_key)):
            raise BadRequest(f"Idempotency-Key: {fault}")
        known = self.idempotent.get((who.user, idempotency_key or ""))
        if known is not None:
            return self.tasks[known]
        task = self._new(who, request)
        if idempotency_key is not None:
            self.idempotent[who.user, idempotency_key] = task.id
        await self._tell(UpdateType.TASK_UPDATE, task)
        return task

    async def create_tasks(
        self,
        who: Principal,
        requests: Sequence[Mapping[str, object]],
        idempotency_keys: Sequence[str | None] = (),
    ) -> list[Task]:
        self._may_fail()
        self.batch_keys.append(list(idempotency_keys))
        before = dict(self.tasks)
        tasks = []
        violations = []
        for index, request in enumerate(requests):
            try:
                tasks.append(self._new(who, request))
            except ValidationFailed as error:
                violations += [
                    FieldViolation(f"tasks[{index}].{v.field}", v.rule) for v in error.violations
                ]
        if violations:
            self.tasks = before
            raise ValidationFailed(violations)
        for task in tasks:
            await self._tell(UpdateType.TASK_UPDATE, task)
        return tasks

    async def get_task(self, who: Principal, task_id: str) -> Task:
        self._may_fail()
        if task_id not in self.tasks:
            raise NotFound(f"No task {task_id}")
        return self.tasks[task_id]

    async def list_tasks(self, who: Principal, query: TaskQuery, *, whole: bool = True) -> TaskPage:
        self._may_fail()
        found = [
            task
            for task in self.tasks.values()
            if (not query.states or task.shown_status in query.states)
            and query.user in {None, task.user}
            and task.spec.job_name.startswith(query.job_name_prefix or "")
            and query.experiment_id in {None, task.spec.experiment_id}
        ]
        found.sort(key=lambda task: (task.created_at, task.id), reverse=True)
        page = [t for t in found if query.before is None or (t.created_at, t.id) < query.before]
        return TaskPage(page[query.offset : query.offset + query.limit], len(found))

    async def delete_task(self, who: Principal, task_id: str) -> None:
        task = await self.get_task(who, task_id)
        if task.status in ENDED:
            del self.tasks[task_id]
            await self._tell(UpdateType.TASK_DELETED, task)
        else:
            await self.cancel_task(who, task_id)

    async def cancel_task(self, who: Principal, task_id: str) -> Task:
        task = await self.get_task(who, task_id)
        if task.status in ENDED:
            return task
        return await self.change(
            task_id,
            status=Status.FAILED,
            ended_at=START_MS + 5_000,
            error=f"cancelled by {who.user}",
            failure_reason=FailureReason.CANCELLED,
            cancel=Cancel(who.user, START_MS + 5_000),
        )

    async def queue_stats(self, who: Principal) -> QueueStats:
        self._may_fail()
        states = [task.shown_status for task in self.tasks.values()]
        return QueueStats(
            queued=states.count(Status.QUEUED),
            running=sum(status in HOLDING for status in states),
            completed=states.count(Status.COMPLETED),
            failed=states.count(Status.FAILED),
            workers=1,
        )

    async def explain_task(self, who: Principal, task_id: str) -> Explanation:
        task = await self.get_task(who, task_id)
        blocked = ("GPU-3000: busy: python3 (pid 4711, 2.1 GiB)",)
        missing = (Shortage("gpu", task.spec.gpu or 0, 0, 8, blocked),)
        estimate = StartEstimate(START_MS + 60_000, START_MS + 600_000, 10, 50, 90)
        return Explanation(
            task.id, task.shown_status, "waits for a GPU", 1, missing, estimate=estimate
        )

    @property
    def ahead_counts(self) -> PrestageCounts:
        return PrestageCounts(prestaged=5, opened=3, discarded=2, ordinary=7)

    @property
    def calibration(self) -> Calibration:
        return Calibration(tasks=10, by_p50=5, by_p90=9)

    @property
    def queue_use(self) -> QueueUse:
        return QueueUse(bytes=2048, most_bytes=4096, refused=3)

    def gpu_use(self, who: Principal) -> list[GpuUse]:
        running = [t for t in self.tasks.values() if t.status is Status.RUNNING and t.gpu_uuids]
        return [GpuUse(task.id, task.user, 12.5) for task in running]

    async def task_output(self, task: Task) -> str | None:
        data = b"".join(chunk.data for chunk in self.logs.get(task.id, []))
        return data[-65536:].decode("utf-8", "replace") if data else None

    async def watch(
        self,
        who: Principal,
        where: WatchFilter,
        since: int | None = None,
        *,
        snapshot: bool = False,
        completes: bool = False,
    ) -> AsyncGenerator[Update]:
        self._may_fail()
        newest = message_seq.up_to(self._changes)
        after = newest if since is None else since
        next_index = sum(update.seq <= after for update in self.updates)
        with self._stream():
            if snapshot:
                for task in list(self.tasks.values()):
                    if task.status not in ENDED and _matches(task, where):
                        yield Update(UpdateType.SNAPSHOT, newest, START_MS, task)
                yield Update(UpdateType.SYNCED, newest, START_MS)
            while True:
                async with self._changed:
                    while not self.draining and len(self.updates) == next_index:
                        await self._changed.wait()
                if self.draining:
                    raise Unavailable("the server is shutting down")
                update = self.updates[next_index]
                next_index += 1
                if update.type is UpdateType.TASK_COMPLETE and not completes:
                    continue
                if update.task is not None and _matches(update.task, where):
                    yield update

    async def read_logs(
        self,
        who: Principal,
        task_id: str,
        *,
        offset: int = 0,
        attempt: int | None = None,
        follow: bool = False,
    ) -> AsyncGenerator[LogChunk]:
        await self.get_task(who, task_id)
        chunks = self.logs.setdefault(task_id, [])
        index = 0
        with self._stream():
            while True:
                while index < len(chunks):
                    chunk = chunks[index]
                    index += 1
                    data = chunk.data[max(0, offset - chunk.offset) :]
                    if data and attempt in {None, chunk.attempt}:
                        yield LogChunk(chunk.attempt, max(offset, chunk.offset), data)
                if not follow or self.tasks[task_id].status in ENDED:
                    return
                async with self._changed:
                    while len(chunks) == index and self.tasks[task_id].status not in ENDED:
                        await self._changed.wait()

    async def list_outputs(self, who: Principal, task_id: str) -> list[OutputFile]:
        await self.get_task(who, task_id)
        files = self.outputs.get(task_id, {})
        return [OutputFile(path, len(data), START_MS) for path, data in sorted(files.items())]

    async def open_output(self, who: Principal, task_id: str, path: str) -> BinaryIO:
        await self.get_task(who, task_id)
        if path not in self.outputs.get(task_id, {}):
            raise NotFound(f"No output {path}")
        return io.BytesIO(self.outputs[task_id][path])

    def health(self) -> Health:
        return self.answer

    def _may_fail(self) -> None:
        if self.failure is not None:
            raise self.failure
        if self.draining:
            raise Unavailable("the server is shutting down")

    def _new(self, who: Principal, request: Mapping[str, object]) -> Task:
        self.requests.append(request)
        try:
            spec: TaskSpec = accept(request, DEFAULTS, CAPACITY)
        except InvalidSubmission as error:
            raise ValidationFailed([FieldViolation(*v) for v in error.violations]) from None
        number = len(self.requests)
        task_id = f"019a0000-0000-7000-8000-{number:012x}"
        task = Task(task_id, who.user, spec, START_MS + number, sender=who.sender)
        self.tasks[task.id] = task
        return task

    async def _tell(self, kind: UpdateType, task: Task) -> None:
        async with self._changed:
            self._changes += 1
            number = message_seq.of_update(self._changes)
            self.updates.append(Update(kind, number, START_MS, task))
            if kind is UpdateType.TASK_UPDATE and task.status in ENDED:
                number = message_seq.of_complete(self._changes)
                self.updates.append(Update(UpdateType.TASK_COMPLETE, number, START_MS, task))
            self._changed.notify_all()

    @contextmanager
    def _stream(self) -> Any:
        self.open_streams += 1
        try:
            yield
        finally:
            self.open_streams -= 1
            self._wake_soon()

    def _wake_soon(self) -> None:
        async def wake() -> None:
            async with self._changed:
                self._changed.notify_all()

        self._waker = asyncio.get_running_loop().create_task(wake())


def _matches(task: Task, where: WatchFilter) -> bool:
    return (
        where.task_id in {None, task.id}
        and (not where.states or task.shown_status in where.states)
        and where.user in {None, task.user}
        and task.spec.job_name.startswith(where.job_name_prefix or "")
        and where.experiment_id in {None, task.spec.experiment_id}
    )
