"""Large batches of new tasks: they enter the state in parts, in short turns of the event loop, and
become durable in one commit (`core.scheduling.arrival`).
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from fetchml.core.events import BatchAnnounced, Submitted
from fetchml.core.model import Idempotency, Principal, Status, Task, TaskSpec
from fetchml.engine.dispatcher import Dispatcher
from fetchml.engine.tasks.dependencies import NOTHING_ENDED, Dependencies, Ends
from fetchml.ports.store import Document
from fetchml.system import failpoints
from fetchml.system.background import BackgroundWork
from fetchml.system.ids import IdSequence
from fetchml.system.pacing import Pace
from fetchml.system.threads import until_end

PART = 100
"""Tasks of one decision. Batches that are not larger need no parts."""


class Batch(NamedTuple):
    """New tasks of one user, all of them valid."""

    specs: Sequence[TaskSpec]
    keys: Sequence[Idempotency | None]
    """Of each task, `None` if its create had no key."""
    footprints: Sequence[int]
    """Bytes of memory that each task takes."""


class _Needs(NamedTuple):
    """Snapshots and tasks that a batch names."""

    snapshots: frozenset[str]
    inputs: frozenset[str]
    after: Sequence[TaskSpec]
    """Those that start after others."""


class Arrivals:
    """Used from one event loop."""

    def __init__(
        self,
        dispatcher: Dispatcher,
        dependencies: Dependencies,
        *,
        clock: Callable[[], int],
        ids: IdSequence,
    ) -> None:
        self._dispatcher = dispatcher
        self._dependencies = dependencies
        self._clock = clock
        self._ids = ids
        self._turn = asyncio.Lock()
        """One batch arrives at a time."""
        self._background = BackgroundWork()

    async def enter(
        self,
        who: Principal,
        batch: Batch,
        require_place: Callable[[frozenset[str]], None],
        *,
        documents: Sequence[Document] = (),
        known: Mapping[str, Status] | None = None,
        dry_run: bool = False,
    ) -> list[Task]:
        """Create all tasks or none, durable on return, in one commit with `documents`; a cancelled
        call returns when that is done. With `dry_run` keep nothing.

        `require_place(snapshots)` raises an error if tasks that name these snapshots can't enter
        now. `known`: see `Dependencies.ended`.
        """
        needs = await _needs(batch)
        work = self._enter(who, batch, needs, require_place, documents, known, dry_run=dry_run)
        return await until_end(self._background.start(work))

    async def _enter(
        self,
        who: Principal,
        batch: Batch,
        needs: _Needs,
        require_place: Callable[[frozenset[str]], None],
        documents: Sequence[Document],
        known: Mapping[str, Status] | None,
        *,
        dry_run: bool,
    ) -> list[Task]:
        async with self._turn:
            ends = NOTHING_ENDED
            if needs.after:
                ends = await self._dependencies.ended(who, needs.after, known)
            # Others had their turn while the tasks were checked. From here to the announcement
            # nobody has one.
            require_place(needs.snapshots)
            if dry_run:
                return await self._make(who, batch)
            with self._dispatcher.one_commit():
                tasks, durable = await self._in_parts(who, batch, needs, ends, documents)
        await durable
        return tasks

    async def _in_parts(
        self,
        who: Principal,
        batch: Batch,
        needs: _Needs,
        ends: Ends,
        documents: Sequence[Document],
    ) -> tuple[list[Task], asyncio.Future[None]]:
        """Return the tasks, and a future that is done when they are durable."""
        durable = self._dispatcher.apply(
            BatchAnnounced(
                self._clock(), who.user, batch.footprints, *ends, needs.snapshots, needs.inputs
            )
        )
        tasks: list[Task] = []
        ids, sender = self._ids, who.sender
        pace, unsent = Pace(ahead=True), documents  # All changes of others wait for its end.
        try:
            for first in range(0, len(batch.specs), PART):
                await pace.rest()  # Never after the last part: then its tasks start.
                now, part = self._clock(), slice(first, first + PART)
                made = [
                    Task(ids.next(now), who.user, spec, now, idempotency=key, sender=sender)
                    for spec, key in zip(batch.specs[part], batch.keys[part], strict=True)
                ]
                tasks += made
                event = Submitted(now, made, batch.footprints[part], part=True)
                durable = self._dispatcher.apply(event, unsent)
                unsent = ()
                failpoints.reach("part_entered")
        except BaseException:
            # A part of a batch must never become durable.
            self._dispatcher.withdraw(frozenset(task.id for task in tasks), documents)
            raise
        return tasks, durable

    async def _make(self, who: Principal, batch: Batch) -> list[Task]:
        """Return the tasks as they would be; their ids name none."""
        tasks: list[Task] = []
        pace, sender = Pace(), who.sender
        for spec, key in zip(batch.specs, batch.keys, strict=True):
            now = self._clock()
            new_id = self._ids.next(now)
            tasks.append(Task(new_id, who.user, spec, now, idempotency=key, sender=sender))
            if pace.due:
                await pace.rest()
        return tasks


async def _needs(batch: Batch) -> _Needs:
    snapshots: set[str] = set()
    inputs: set[str] = set()
    after: list[TaskSpec] = []
    pace = Pace()
    for first in range(0, len(batch.specs), PART):
        for spec in batch.specs[first : first + PART]:
            if spec.snapshot_id is not None:
                snapshots.add(spec.snapshot_id)
            if spec.inputs_from is not None:
                inputs.update(spec.inputs_from)
            if spec.after is not None:
                after.append(spec)
        if pace.due:
            await pace.rest()
    return _Needs(frozenset(snapshots), frozenset(inputs), after)
