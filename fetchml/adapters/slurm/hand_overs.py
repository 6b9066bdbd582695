"""Hands attempts over to Slurm in groups.

While one group is written to the shared folder and submitted, the next attempts gather. Those of a
group whose jobs are alike are submitted as one array: one request to Slurm, which keeps one entry
for all of them until they start. A task of an array is a job like any other, identified by the
array's name, which is unique, and its index. Both are on the shared disk before the array is
submitted (see array_records.py). Attempts whose array is refused are submitted one by one.
"""

import asyncio
import logging
import secrets
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum, auto
from functools import partial
from pathlib import Path

from msgspec.structs import replace

from fetchml.adapters.slurm import start_files
from fetchml.adapters.slurm.accounts import Accounts
from fetchml.adapters.slurm.array_records import ArrayRecords, Attempt
from fetchml.adapters.slurm.containers import Containers
from fetchml.adapters.slurm.follower import Followed, Follower
from fetchml.adapters.slurm.health import ClusterHealth
from fetchml.adapters.slurm.job import Submission, task_name
from fetchml.adapters.slurm.job_requests import array_script
from fetchml.adapters.slurm.submits import AGAIN_SECONDS, Submits
from fetchml.adapters.slurm.transport import Refused
from fetchml.files.own_file import sync_file
from fetchml.files.shared_disk import SharedDisk
from fetchml.ports.launcher import LaunchSpec
from fetchml.system import failpoints
from fetchml.system.background import BackgroundWork

log = logging.getLogger(__name__)

GROUPS_AT_ONCE = 2
MOST_IN_GROUP = 64
"""Attempts of a group, and tasks of an array. Slurm's own limit of an array's indexes
(MaxArraySize) is 1001 where a site has set none."""
LEAST_IN_ARRAY = 2
WRITES_AT_ONCE = 8
"""Attempts that are written at the same time: some threads of the shared disk are left for the
records of ends. While jobs run, each new file may wait for the disk's journal, many together."""


class Prepared(Enum):
    NOW = auto()
    """Its files were written just now. It has no job yet, unless it was part of an array."""
    EARLIER = auto()
    """It may have a job."""
    CLAIMED = auto()
    """Its shim has claimed it: it needs no job."""


@dataclass(eq=False)
class HandOver:
    """An attempt that is being handed over."""

    run: LaunchSpec
    followed: Followed
    submission: Submission
    was_in_array: bool = False
    """Whether an array's file names it, which an earlier server wrote: it may have a job."""
    prepared: asyncio.Future[Prepared] = field(default_factory=asyncio.Future)
    """Done when its array was submitted, if it has one."""
    search: bool = False
    """Whether the failed array submit may have created a job."""

    @property
    def attempt(self) -> Attempt:
        return self.run.task_id, self.run.attempt


@dataclass(frozen=True, slots=True)
class AttemptWriter:
    """Writes the files of attempts. Used in threads."""

    health: ClusterHealth
    containers: Containers | None
    accounts: Accounts
    shared_dir: Path

    def write(self, one: HandOver, *, synced: bool) -> Prepared:
        """`synced`: whether the attempt's file is on the disk on return. Raises OSError, also if
        another disk is mounted there now; PrepareError."""
        self.health.require_same()
        folder = one.run.folder
        # Without a start file nothing but the server can have claimed it.
        has_begun = start_files.has_begun(folder)
        if has_begun:
            if start_files.read(folder).is_claimed:
                return Prepared.CLAIMED
            if start_files.was_prepared(folder):
                # An earlier server may have come no further.
                self.accounts.admit(one.run, self.shared_dir)
                sync_file(folder / start_files.START)  # One of an array was not.
                return Prepared.EARLIER
        start_files.write(
            one.run,
            self.health.shims,
            one.submission,
            self.containers,
            synced=synced,
            replaces=has_begun,
        )
        self.accounts.admit(one.run, self.shared_dir)
        return Prepared.EARLIER if one.was_in_array else Prepared.NOW


class HandOvers:
    """Prepares attempts in groups. Used from one event loop."""

    def __init__(
        self,
        disk: SharedDisk,
        writer: AttemptWriter,
        records: ArrayRecords,
        submits: Submits,
        follower: Follower,
        need: Callable[[str], None],
        *,
        has_arrays: Callable[[], bool],
    ) -> None:
        """`need` is called with the name that each job has in its array, before the array is
        submitted."""
        self._disk = disk
        self._writer = writer
        self._records = records
        self._submits = submits
        self._follower = follower
        self._need = need
        self._has_arrays = has_arrays
        self._most_in_array = MOST_IN_GROUP
        self._waiting: deque[HandOver] = deque()
        self._writes = asyncio.Semaphore(WRITES_AT_ONCE)
        self._groups = 0
        """Groups under way."""
        self._background = BackgroundWork()

    async def prepare(self, one: HandOver) -> Prepared:
        """Write an attempt to the shared folder, and submit it if it can be part of an array.
        `one.followed.job` is its job then, if it was submitted. Raises OSError, PrepareError."""
        self._waiting.append(one)
        if self._groups < GROUPS_AT_ONCE:
            self._groups += 1
            self._background.start(self._work())
        return await one.prepared

    async def close(self) -> None:
        """Wait for what is under way."""
        await self._background.wait()

    async def _work(self) -> None:
        try:
            while group := self._next():
                try:
                    await self._hand_over(group)
                except Exception as error:  # noqa: BLE001 - it is for the callers
                    _fail(group, error)
        finally:
            self._groups -= 1

    def _next(self) -> list[HandOver]:
        """Return the next attempts whose callers have not given up."""
        group: list[HandOver] = []
        while self._waiting and len(group) < MOST_IN_GROUP:
            one = self._waiting.popleft()
            if not one.prepared.done():
                group.append(one)
        return group

    async def _hand_over(self, group: list[HandOver]) -> None:
        arrays = self._plan(group)
        results = await self._write(group, arrays)
        for name, array in arrays.items():
            fresh = {
                n: one
                for n, one in array.items()
                if results[one] is Prepared.NOW and not one.prepared.done()
            }
            self._records.add({one.attempt: task_name(name, n) for n, one in fresh.items()})
            if len(fresh) >= LEAST_IN_ARRAY:
                await self._submit(name, fresh)
            elif not fresh:  # All were given up, or were prepared before.
                await self._records.remove(name)
        for one, result in results.items():
            if one.prepared.done():
                continue
            if isinstance(result, Exception):
                one.prepared.set_exception(result)
            else:
                one.prepared.set_result(result)

    async def _write(
        self, group: list[HandOver], arrays: Mapping[str, Mapping[int, HandOver]]
    ) -> dict[HandOver, Prepared | Exception]:
        """Write a group to the shared folder, then the files of its arrays. Return what became of
        each attempt."""
        in_arrays = {one for array in arrays.values() for one in array.values()}
        results: dict[HandOver, Prepared | Exception] = {}

        async def write(one: HandOver) -> None:
            try:
                async with self._writes:
                    writing = partial(self._writer.write, one, synced=one not in in_arrays)
                    results[one] = await self._disk(writing)
            except Exception as error:  # noqa: BLE001 - it is for the callers
                results[one] = error

        await asyncio.gather(*map(write, group))
        for name, array in arrays.items():
            new = {n: one for n, one in array.items() if results[one] is Prepared.NOW}
            if not new:
                continue
            attempts = {n: one.attempt for n, one in new.items()}
            try:
                await self._disk(partial(self._records.write, name, attempts))
            except OSError as error:
                results.update(dict.fromkeys(new.values(), error))
                with suppress(OSError):  # Else the next server removes it.
                    await self._records.remove(name)
        return results

    def _plan(self, group: list[HandOver]) -> dict[str, dict[int, HandOver]]:
        """Put those that are alike into arrays, by name and index."""
        alike: dict[Submission, list[HandOver]] = {}
        for one in group:
            if not one.was_in_array:
                key = replace(one.submission, name="", script="", folder="")
                alike.setdefault(key, []).append(one)
        if not self._has_arrays():
            return {}
        arrays = {}
        for members in alike.values():
            for first in range(0, len(members), self._most_in_array):
                array = dict(enumerate(members[first : first + self._most_in_array]))
                if len(array) >= LEAST_IN_ARRAY:
                    arrays[f"{self._records.prefix}{secrets.token_hex(8)}"] = array
        return arrays

    async def _submit(self, name: str, array: dict[int, HandOver]) -> None:
        failpoints.reach("array_written")
        first = next(iter(array.values()))
        for index, one in array.items():
            one.followed.array_task = task_name(name, index)
            self._need(one.followed.array_task)
        submission = replace(
            first.submission,
            name=name,
            script=array_script({n: one.run.folder for n, one in array.items()}),
            folder=str(first.run.folder.parents[2]),
            indexes=",".join(map(str, array)),
        )
        failure = await self._submits.submit_array(
            submission, {n: one.followed for n, one in array.items()}
        )
        if failure is None:
            failpoints.reach("array_submitted")
        elif isinstance(failure, Refused):
            if "array" in str(failure).lower():  # More than the site allows (MaxArraySize).
                self._most_in_array = max(1, len(array) // 2)
        else:
            for one in array.values():
                one.search = True
            await asyncio.sleep(AGAIN_SECONDS)
            await self._follower.answers.wait()


def _fail(group: Sequence[HandOver], error: Exception) -> None:
    for one in group:
        if not one.prepared.done():
            one.prepared.set_exception(error)
