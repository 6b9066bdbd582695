"""Comparisons of two tasks: reads what made them, and lets the core compare it."""

import asyncio
import hashlib
import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, suppress
from typing import Protocol

from fetchml.core import comparison, permissions
from fetchml.core.comparison import MAX_CHANGES, Difference, Outcome, Section, TaskDiff
from fetchml.core.model import ENDED, Principal, Task
from fetchml.core.tracking import RunPage
from fetchml.engine.tasks.results import ResultLists
from fetchml.engine.tasks.tasks import Tasks
from fetchml.environments.package_lists import PackageLists
from fetchml.errors import NotFound, Unavailable
from fetchml.files.task_files import TaskFiles
from fetchml.snapshots.snapshot_service import Snapshots
from fetchml.system.locks import KeyedLocks
from fetchml.system.threads import UserThreads
from fetchml.views import OutputFile

MAX_TEXT_BYTES = 256 * 1024
"""A larger file of the code is compared by its hash only."""
DIFF_SECONDS = 3.0
"""Time for the texts of one comparison. The files that are left are compared by their hashes."""
MAX_DIFFS_CHARACTERS = 512 * 1024
"""Characters of all texts in one reply."""
MAX_SUMMED_BYTES = 2 << 30
"""Bytes of output files that are read for one comparison, of each task."""


MAX_RUNS = 20
"""Runs of one task whose metrics are compared: the newest."""


class Runs(Protocol):
    """The tracking of runs (`fetchml.tracking`), which lies above."""

    async def list_runs(self, who: Principal, *, task_id: str, limit: int) -> RunPage: ...


class TaskComparison:
    """Used from one event loop. Verbs raise `errors.RequestError`."""

    def __init__(
        self,
        tasks: Tasks,
        snapshots: Snapshots,
        package_lists: PackageLists,
        results: ResultLists,
        files: TaskFiles,
        runs: Runs,
    ) -> None:
        self._tasks = tasks
        self._snapshots = snapshots
        self._package_lists = package_lists
        self._results = results
        self._files = files
        self._runs = runs
        self._diffing = UserThreads("text-diffs", 1)
        self._turns = KeyedLocks()

    async def packages(self, who: Principal, task_id: str) -> Sequence[str]:
        """Return the packages of a task's environment, as `name==version`."""
        task = await self._tasks.get(who, task_id)
        return await self._packages(task) or ()

    async def diff(
        self, who: Principal, task_id: str, other_id: str, *, outputs: bool | None = None
    ) -> TaskDiff:
        """Compare two tasks that `who` may see; with `outputs` also the files that they wrote.
        Comparisons of one user wait for each other."""
        before = await self._tasks.get(who, task_id)
        after = await self._tasks.get(who, other_id)
        values = permissions.may_change(who, before) and permissions.may_change(who, after)
        async with self._turns.hold(who.user):
            numbers = [await self._metrics(who, each) for each in (before, after)]
            sections = [
                await self._code(who, before, after),
                await self._environment(before, after),
                comparison.data(before, after),
                comparison.image(before, after),
                comparison.parameters(before, after, values=values),
                comparison.hardware(before, after),
                comparison.results(before, after, (numbers[0], numbers[1])),
            ]
            if outputs:
                sections.append(await self._outputs(who, before, after))
        return TaskDiff(before.id, after.id, sections)

    async def _metrics(self, who: Principal, task: Task) -> Mapping[str, float]:
        """Return the latest values that a task's runs logged, and the numbers of metrics.json."""
        found: dict[str, float] = {}
        page = await self._runs.list_runs(who, task_id=task.id, limit=MAX_RUNS)
        views = sorted(page.runs, key=lambda view: (view.run.started_at, view.run.id))
        for number, view in enumerate(views, 1):
            for point in view.metrics:
                # Two runs may have a metric of one name; their own names are random.
                name = f"run {number}: {point.key}" if point.key in found else point.key
                found[name] = point.value
        return {**found, **(await self._results.of_task(task)).metrics}

    async def _code(self, who: Principal, before: Task, after: Task) -> Section:
        ids = before.spec.snapshot_id, after.spec.snapshot_id
        if ids[0] == ids[1]:
            note = f"snapshot {ids[0]}" if ids[0] else "neither has a snapshot"
            return Section("code", Outcome.IDENTICAL, note=note)
        files: list[comparison.Values] = []
        for each in ids:
            try:
                entries = await self._snapshots.reads.entries(who, each) if each else ()
            except (NotFound, Unavailable):
                note = f"the snapshots differ, and the files of {each} are no longer kept"
                ends = Difference("snapshot", ids[0], ids[1])
                return Section("code", Outcome.DIFFERENT, [ends], note=note)
            files.append(comparison.files_of(entries))
        section = comparison.compare("code", files[0], files[1])
        changes = await self._diffing.run(
            who.user, lambda check: self._with_texts(ids, section.changes, check)
        )
        return section._replace(changes=changes)

    def _with_texts(
        self,
        ids: tuple[str | None, str | None],
        changes: Sequence[Difference],
        check: Callable[[], None],
    ) -> list[Difference]:
        """Add the lines that differ. `check` raises once the caller has left."""
        until = time.monotonic() + DIFF_SECONDS
        left = MAX_DIFFS_CHARACTERS
        found: list[Difference] = []
        for each in changes:
            check()
            if time.monotonic() > until or left < 0:
                found.append(each._replace(note="not compared by line: too many files differ"))
                continue
            old = b"" if each.before is None else self._read(ids[0], each.name)
            new = b"" if each.after is None else self._read(ids[1], each.name)
            if old is None or new is None:
                found.append(each._replace(note="a link, or too large to be compared by line"))
                continue
            diff, note = comparison.text_diff(old, new)
            left -= len(diff or "")
            found.append(each._replace(diff=diff, note=note))
        return found

    def _read(self, snapshot_id: str | None, path: str) -> bytes | None:
        with suppress(OSError), self._snapshots.reads.open_file(snapshot_id or "", path) as file:
            content = file.read(MAX_TEXT_BYTES + 1)
            return content if len(content) <= MAX_TEXT_BYTES else None
        return None

    async def _environment(self, before: Task, after: Task) -> Section:
        if before.spec.environment is None and after.spec.environment is None:
            note = "neither has an environment: their packages are those of the image or the host"
            return Section("environment", Outcome.IDENTICAL, note=note)
        known = [await self._packages(each) for each in (before, after)]
        values = [None if each is None else comparison.packages_of(each) for each in known]
        return comparison.compare("environment", values[0], values[1])

    async def _packages(self, task: Task) -> Sequence[str] | None:
        """`None` if they are not known."""
        if task.spec.environment is None:
            return ()
        list_id = task.ran_with and task.ran_with.environment
        return await self._package_lists.get(list_id) if list_id else None

    async def _outputs(self, who: Principal, before: Task, after: Task) -> Section:
        for each in (before, after):
            if each.status not in ENDED or each.outputs_removed_at is not None:
                note = f"task {each.id} has not ended, or its outputs were removed"
                return Section("outputs", Outcome.UNKNOWN, note=note)
        found = [
            {each.path: each for each in await self._files.list_outputs(task.id, who.user)}
            for task in (before, after)
        ]
        changes: list[Difference] = []
        left, unread = MAX_SUMMED_BYTES, 0
        paths = sorted(found[0].keys() | found[1].keys())
        for path in paths:
            one, other = (each.get(path) for each in found)
            sums = await self._sums(before, after, one, other, left)
            if one is not None and other is not None and one.size_bytes == other.size_bytes:
                left -= one.size_bytes
            if sums is None:
                unread += 1
            elif sums[0] != sums[1]:
                # A task may give a file any bytes as its name.
                shown = os.fsencode(path).decode("utf-8", "replace")
                changes.append(Difference(shown, *sums))
        outcome = Outcome.DIFFERENT if changes else Outcome.UNKNOWN if unread else Outcome.IDENTICAL
        why = f"{unread} files of equal size were not read: the limit is 2 GiB" if unread else None
        omitted = max(0, len(changes) - MAX_CHANGES)
        return Section("outputs", outcome, changes[:MAX_CHANGES], len(paths), omitted, why)

    async def _sums(
        self,
        before: Task,
        after: Task,
        one: OutputFile | None,
        other: OutputFile | None,
        most_bytes: int,
    ) -> tuple[str | None, str | None] | None:
        """Return what a file is compared by: its size, or its digest if both have one size. `None`
        if they are larger than `most_bytes`."""
        if one is None or other is None or one.size_bytes != other.size_bytes:
            return _size(one), _size(other)
        if one.size_bytes > most_bytes:
            return None
        return await self._sum(before, one.path), await self._sum(after, one.path)

    async def _sum(self, task: Task, path: str) -> str:
        digest = hashlib.sha256()
        with closing(await self._files.open_output(task.id, path)) as file:
            try:
                async for piece in file.pieces(0, file.size):
                    await asyncio.to_thread(digest.update, piece)
            except EOFError:
                raise Unavailable(f"Output {path!r} was replaced: try again") from None
        return f"sha256 {digest.hexdigest()}"


def _size(file: OutputFile | None) -> str | None:
    return None if file is None else f"{file.size_bytes} bytes"
