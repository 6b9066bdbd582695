"""Hands attempts over to Slurm in groups.

While one group is written to the shared folder and submitted, the next attempts gather. Those of a
group whose jobs are alike are submitted as one array: one request to Slurm, which keeps one entry
for all of them until they start. A task of an array is a job like any other. It is known by the
array's name, which is unique, and its index; both are in the attempt's record before the array is
submitted. Attempts whose array is refused are submitted one by one.
"""

import asyncio
import logging
import secrets
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from msgspec.structs import replace

from fetchml.adapters.slurm import start_files
from fetchml.adapters.slurm.follower import Followed, Follower
from fetchml.adapters.slurm.job import Submission, task_name
from fetchml.adapters.slurm.submits import AGAIN_SECONDS, Submits
from fetchml.adapters.slurm.transports.transport import Refused
from fetchml.files.shared_disk import SharedDisk
from fetchml.ports.launcher import LaunchSpec
from fetchml.system import failpoints
from fetchml.system.background import BackgroundWork

GROUPS_AT_ONCE = 2
MOST_IN_GROUP = 64
"""Attempts of a group, and tasks of an array. Slurm's own limit of an array's indexes
(MaxArraySize) is 1001 where a site has set none."""
LEAST_IN_ARRAY = 2
WRITE_SECONDS = 2.0
"""Attempts that are not written to the shared folder after this time are left to the next group."""

log = logging.getLogger(__name__)


@dataclass(eq=False)
class HandOver:
    """One attempt on its way."""

    run: LaunchSpec
    followed: Followed
    submission: Submission
    written: asyncio.Future[bool | None] = field(default_factory=asyncio.Future)
    """Whether it was prepared before; `None` if it is claimed. Done when its array was submitted,
    if it has one."""
    search: bool = False
    """Whether a job may have come of its array, whose submit failed."""


class HandOvers:
    """Used from one event loop."""

    def __init__(
        self,
        disk: SharedDisk,
        write: Callable[[LaunchSpec, Submission], bool | None],
        require_same: Callable[[], None],
        submits: Submits,
        follower: Follower,
        need: Callable[[str], None],
        *,
        has_arrays: Callable[[], bool],
    ) -> None:
        """`write` puts an attempt on the shared disk. It runs in a thread, after `require_same`,
        which raises OSError if another disk is mounted there now. `need` is called with the name
        that each job has in its array, before the array is submitted."""
        self.array_prefix = ""
        """Of the names of arrays."""
        self._disk = disk
        self._write = write
        self._require_same = require_same
        self._submits = submits
        self._follower = follower
        self._need = need
        self._has_arrays = has_arrays
        self._most_in_array = MOST_IN_GROUP
        self._waiting: deque[HandOver] = deque()
        self._groups = 0
        """Groups under way."""
        self._background = BackgroundWork()

    async def prepare(self, one: HandOver) -> bool | None:
        """Write an attempt to the shared folder, and submit it if it can be part of an array.
        Return whether it was prepared before; `None` if it is claimed. `one.followed.job` is its
        job then, if it was submitted. Raises OSError, PrepareError."""
        self._waiting.append(one)
        if self._groups < GROUPS_AT_ONCE:
            self._groups += 1
            self._background.start(self._work())
        return await one.written

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
            if not one.written.done():
                group.append(one)
        return group

    async def _hand_over(self, group: list[HandOver]) -> None:
        arrays = self._plan(group)
        results = await self._disk(partial(self._write_all, group))
        # The rest was too slow to write, and is in no array yet.
        self._waiting.extendleft(reversed(group[len(results) :]))
        new = {
            id(one)
            for one, was_prepared in zip(group, results, strict=False)
            if was_prepared is False and not one.written.done()
        }
        for array in arrays:
            fresh = {n: one for n, one in array.items() if id(one) in new}
            if len(fresh) >= LEAST_IN_ARRAY:
                await self._submit(fresh)
        for one, result in zip(group, results, strict=False):
            if one.written.done():
                continue
            if isinstance(result, Exception):
                one.written.set_exception(result)
            else:
                one.written.set_result(result)

    def _plan(self, group: list[HandOver]) -> list[dict[int, HandOver]]:
        """Put those that are alike into arrays, by index."""
        alike: dict[Submission, list[HandOver]] = {}
        for one in group:
            one.followed.array_task = one.followed.array_task or ""
            key = replace(one.submission, name="", script="", folder="", array_task="")
            alike.setdefault(key, []).append(one)
        if not self._has_arrays():
            return []
        arrays = []
        for members in alike.values():
            for first in range(0, len(members), self._most_in_array):
                array = dict(enumerate(members[first : first + self._most_in_array]))
                if len(array) >= LEAST_IN_ARRAY:
                    name = f"{self.array_prefix}{secrets.token_hex(8)}"
                    for index, one in array.items():
                        one.submission = replace(one.submission, array_task=task_name(name, index))
                    arrays.append(array)
        return arrays

    def _write_all(self, group: Sequence[HandOver]) -> list[bool | Exception | None]:
        """In a thread. Raises OSError."""
        self._require_same()
        deadline = time.monotonic() + WRITE_SECONDS
        results: list[bool | Exception | None] = []
        for one in group:
            try:
                results.append(self._write(one.run, one.submission))
            except Exception as error:  # noqa: BLE001 - it is for the caller
                results.append(error)
            if time.monotonic() > deadline:
                break
        return results

    async def _submit(self, array: dict[int, HandOver]) -> None:
        failpoints.reach("array_written")
        first = next(iter(array.values()))
        name, _, _ = first.submission.array_task.rpartition(".")
        for one in array.values():
            one.followed.array_task = one.submission.array_task
            self._need(one.submission.array_task)
        submission = replace(
            first.submission,
            name=name,
            script=start_files.array_script({n: one.run.folder for n, one in array.items()}),
            folder=str(first.run.folder.parents[2]),
            array_task="",
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
        if not one.written.done():
            one.written.set_exception(error)
