"""A store in memory. `tests/adapters/duckdb/test_against_memory.py` holds DuckDB to its answers."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from fetchml.adapters.duckdb.journal_writer import encode_task
from fetchml.core.audit import AuditEntry
from fetchml.core.model import ENDED, Change, Kept, Key, Status, Task
from fetchml.core.sweeps.progress import Failures
from fetchml.ports.store import (
    AuditQuery,
    Document,
    IdempotentCreate,
    OldTasks,
    OldTasksTotal,
    StoredState,
    SweepTask,
    TaskPage,
    TaskQuery,
)
from tests.support.memory_history import MemoryHistory
from tests.support.memory_tracking import MemoryTracking
from tests.support.memory_usage import MemoryUsage


def nothing_stored() -> StoredState:
    """The content of a store that is opened for the first time."""
    return StoredState("", last_seq=0, last_created_at=0, live=[], recent={}, counts={})


class MemoryStore:
    def __init__(self) -> None:
        self.usage = MemoryUsage()
        self.tracking = MemoryTracking()
        self.history = MemoryHistory()
        self.tasks: dict[str, Task] = {}
        self.journal: list[Change] = []
        self.keys: dict[str, Key] = {}
        self.documents: dict[tuple[str, str], bytes] = {}
        self.audit: list[AuditEntry] = []
        self._listeners: list[Callable[[Sequence[Change]], None]] = []

    async def open(
        self,
        *,
        recent_limit: int,
        recent_bytes: int = 1 << 40,
        on_fatal: Callable[[Exception], None],
    ) -> StoredState:
        """What a store on the disk restores. `recent_bytes` is not regarded."""
        visible = self.visible(TaskQuery())
        live = [task for task in self.tasks.values() if task.status not in ENDED]
        return StoredState(
            instance_id="0198c0de-0000-7000-8000-000000000000",
            last_seq=self.journal[-1].seq if self.journal else 0,
            last_created_at=max((task.created_at for task in self.tasks.values()), default=0),
            live=sorted(live, key=_age),
            recent={
                status: [task for task in visible if task.status is status][:recent_limit]
                for status in ENDED
            },
            counts=dict(Counter((task.user, task.status) for task in visible)),
            sweep_counts=dict(
                Counter(
                    (sweep_id, task.status)
                    for task in visible
                    if (sweep_id := _sweep(task)) is not None
                )
            ),
            sweep_failures=self._failures(),
            experiment_counts=dict(
                Counter(
                    (experiment_id, task.user, task.status)
                    for task in visible
                    if (experiment_id := task.spec.experiment_id) is not None
                )
            ),
        )

    def _failures(self) -> dict[str, Failures]:
        failed: dict[str, list[str]] = {}
        for task in self.tasks.values():
            if task.status is Status.FAILED and (sweep_id := _sweep(task)) is not None:
                failed.setdefault(sweep_id, []).append(task.id)
        return {sweep_id: Failures(len(ids), max(ids)) for sweep_id, ids in failed.items()}

    def subscribe(self, listener: Callable[[Sequence[Change]], None]) -> None:
        self._listeners.append(listener)

    encode = staticmethod(encode_task)

    def append(
        self,
        changes: Sequence[Change],
        *,
        followed: bool = False,
        documents: Sequence[Document] = (),
        encoded: Sequence[str] = (),
    ) -> asyncio.Future[None]:
        for each in documents:
            if each.data is None:
                self.documents.pop((each.kind, each.id), None)
            else:
                self.documents[each.kind, each.id] = each.data
        self.journal += changes
        self.tasks |= {change.task.id: change.task for change in changes}
        for change in changes:
            if change.task.hidden:
                self.usage.forget(change.task.id)
        for listener in self._listeners if changes else ():
            listener(changes)
        return _done()

    async def get(self, task_id: str, owner: str | None = None) -> Task | None:
        found = self.tasks.get(task_id)
        return found if found is not None and owner in {None, found.user} else None

    def visible(self, query: TaskQuery) -> list[Task]:
        """All tasks that match, newest first, regardless of the page."""
        found = [
            task
            for task in self.tasks.values()
            if not task.hidden
            and not task.service
            and (not query.states or task.shown_status in query.states)
            and query.user in {None, task.user}
            and task.spec.job_name.startswith(query.job_name_prefix or "")
            and query.experiment_id in {None, task.spec.experiment_id}
            and query.sweep_id in {None, _sweep(task)}
            and (query.created_after is None or task.created_at >= query.created_after)
            and (query.created_before is None or task.created_at < query.created_before)
            and task.id.endswith(query.id_suffix or "")
            and all(_has_label(task, *label) for label in query.labels)
            and (query.text or "").lower() in _texts(task)
        ]
        return sorted(found, key=_age, reverse=True)

    async def list_tasks(self, query: TaskQuery) -> TaskPage:
        found = self.visible(query)
        shown = folded(found, query)
        page = [task for task in shown if query.before is None or _age(task) < query.before]
        return TaskPage(page[query.offset :][: query.limit], len(found))

    async def sweep_tasks(self, sweep_id: str) -> list[SweepTask]:
        found = [
            SweepTask(member.index, task.id, task.status, task.outputs_removed_at is None)
            for task in self.visible(TaskQuery(sweep_id=sweep_id))
            if (member := task.spec.sweep) is not None
        ]
        return sorted(found, key=lambda each: (each.index, each.id))

    async def outcomes(self, task_ids: Sequence[str]) -> dict[str, Status]:
        found = {each: self.tasks[each].status for each in task_ids if each in self.tasks}
        return {each: status for each, status in found.items() if status in ENDED}

    async def changes_since(self, seq: int, limit: int) -> list[Change] | None:
        return [change for change in self.journal if change.seq > seq][:limit]

    async def ended_on(self, day: str) -> tuple[int, int]:
        return (0, 0)

    async def kept_by_user(self) -> dict[str, Kept]:
        return {}

    async def old_tasks(self, query: OldTasks) -> list[Task]:
        return sorted(self._old(query), key=_age)[: query.limit]

    async def count_old_tasks(self, query: OldTasks) -> OldTasksTotal:
        return OldTasksTotal(len(list(self._old(query))), Kept())

    def _old(self, query: OldTasks) -> Iterable[Task]:
        return (
            task
            for task in self.visible(TaskQuery(states=query.states or tuple(ENDED)))
            if (task.ended_at or 0) < query.ended_before
            and query.user in {None, task.user}
            and (query.after is None or _age(task) > query.after)
            and not query.with_outputs
        )

    async def find_idempotent(self, user: str, keys: Sequence[str]) -> dict[str, IdempotentCreate]:
        found = {}
        for task in sorted(self.tasks.values(), key=_age):
            made = task.idempotency
            if made is not None and task.user == user and made.key in keys:
                found[made.key] = IdempotentCreate(task.id, made.digest, task.created_at)
        return found

    async def put_key(self, key: Key) -> None:
        self.keys[key.id] = key

    async def list_keys(self) -> list[Key]:
        return list(self.keys.values())

    async def put_document(self, kind: str, document_id: str, data: bytes) -> None:
        self.documents[kind, document_id] = data

    async def delete_document(self, kind: str, document_id: str) -> None:
        self.documents.pop((kind, document_id), None)

    async def list_documents(self, kind: str) -> list[bytes]:
        return [data for key, data in sorted(self.documents.items()) if key[0] == kind]

    async def get_document(self, kind: str, document_id: str) -> bytes | None:
        return self.documents.get((kind, document_id))

    def append_audit(self, entry: AuditEntry) -> asyncio.Future[None]:
        self.audit.append(entry)
        return _done()

    async def list_audit(self, query: AuditQuery) -> list[AuditEntry]:
        found = [entry for entry in self.audit if query.action in {None, entry.action}]
        return found[::-1][: query.limit]

    def has_room(self) -> bool:
        return True

    async def copy(self, folder: Path) -> None:
        raise NotImplementedError

    async def close(self) -> None: ...


def _sweep(task: Task) -> str | None:
    member = task.spec.sweep
    return None if member is None or task.superseded else member.id


def folded(newest_first: list[Task], query: TaskQuery) -> list[Task]:
    """The tasks without those of a sweep or an experiment that has a newer one here, as asked."""
    experiments, sweeps = set[str](), set[str]()
    shown = list[Task]()
    for task in newest_first:
        experiment = task.spec.experiment_id if query.fold_experiments else None
        sweep = _sweep(task) if query.fold_sweeps else None
        if experiment is not None:
            seen, group = experiments, experiment
        elif sweep is not None:
            seen, group = sweeps, sweep
        else:
            shown.append(task)
            continue
        if group not in seen:
            shown.append(task)
            seen.add(group)
    return shown


def _age(task: Task) -> tuple[int, str]:
    return task.created_at, task.id


def _done() -> asyncio.Future[None]:
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    done.set_result(None)
    return done


def _has_label(task: Task, key: str, value: str | None) -> bool:
    found = (task.spec.metadata or {}).get(key)
    return found is not None and value in {None, found}


def _texts(task: Task) -> str:
    spec = task.spec
    parts = (spec.job_name, task.id, spec.args, task.error, " ".join(spec.command))
    return "\n".join(part for part in parts if part is not None).lower()
