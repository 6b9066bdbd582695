"""Writes attempts to the shared folder, a few in one call of a thread."""

import asyncio
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

from fetchml.adapters.slurm import start_files
from fetchml.adapters.slurm.accounts.admission import Admission
from fetchml.adapters.slurm.array_records import ArrayRecords, Attempt
from fetchml.adapters.slurm.containers import Containers
from fetchml.adapters.slurm.follower import Followed
from fetchml.adapters.slurm.health import ClusterHealth
from fetchml.adapters.slurm.job import Submission
from fetchml.files.own_file import sync_file
from fetchml.ports.launcher import LaunchSpec

WRITE_SECONDS = 2.0
"""Attempts that are not written after this time are left to the next group."""


@dataclass(eq=False)
class HandOver:
    """An attempt that is being handed over."""

    run: LaunchSpec
    followed: Followed
    submission: Submission
    was_in_array: bool = False
    """Whether an array's file names it, which an earlier server wrote: it may have a job."""
    written: asyncio.Future[bool | None] = field(default_factory=asyncio.Future)
    """Whether it was prepared before; `None` if it is claimed. Done when its array was submitted,
    if it has one."""
    search: bool = False
    """Whether the failed array submit may have created a job."""

    @property
    def attempt(self) -> Attempt:
        return self.run.task_id, self.run.attempt


Written = bool | Exception | None
"""Whether an attempt was prepared before; `None` if it is claimed; or what failed."""


class AttemptWriter:
    """Writes the files of attempts. Used in threads."""

    def __init__(
        self, health: ClusterHealth, containers: Containers | None, admission: Admission
    ) -> None:
        self._admission = admission
        self._health = health
        self._containers = containers

    def write(
        self,
        part: Sequence[HandOver],
        in_arrays: Collection[Attempt],
        is_given_up: Callable[[], bool] = lambda: False,
    ) -> list[Written]:
        """Write a part of a group, of which some will be in arrays. Return what became of each; not
        of those at the end that there was no time for. Raises OSError if another disk is mounted
        there now.

        `is_given_up`: nothing more is written once it is true.
        """
        self._health.require_same()
        deadline = time.monotonic() + WRITE_SECONDS
        results: list[Written] = []
        for one in part:
            if is_given_up():
                return results
            try:
                results.append(self._write(one, synced=one.attempt not in in_arrays))
            except Exception as error:  # noqa: BLE001 - it is for the caller
                results.append(error)
            if time.monotonic() > deadline:
                break
        return results

    def _write(self, one: HandOver, *, synced: bool) -> bool | None:
        folder = one.run.folder
        # Without a start file nothing but the server can have claimed it.
        has_begun = start_files.has_begun(folder)
        if has_begun:
            if start_files.read(folder).is_claimed:
                return None
            if start_files.was_prepared(folder):
                self._admission.admit(one.run)  # An earlier server may have come no further.
                sync_file(folder / start_files.START)  # One of an array was not.
                return True
        start_files.write(
            one.run,
            self._health.shims,
            one.submission,
            self._containers,
            synced=synced,
            replaces=has_begun,
        )
        self._admission.admit(one.run)
        return one.was_in_array


class ArrayWrite:
    """Writes an array's file once, in a thread. Its caller may give it up: where the disk hangs,
    the thread goes on whenever the disk does, and the attempts are in another array by then. So the
    file is taken back, by whichever of the two comes last."""

    def __init__(self, records: ArrayRecords, name: str, attempts: Mapping[int, Attempt]) -> None:
        self._records = records
        self._name = name
        self._attempts = attempts
        self._lock = threading.Lock()
        self._is_given_up = False
        self._is_over = False

    def __call__(self) -> None:
        """Write the file. Raises OSError."""
        try:
            if not self._is_given_up:
                self._records.write(self._name, self._attempts)
        finally:
            with self._lock:
                self._is_over = True
            if self._is_given_up:
                self.take_back()

    def give_up(self) -> bool:
        """Return whether the thread has ended, so that the caller has to take the file back."""
        with self._lock:
            self._is_given_up = True
            return self._is_over

    def take_back(self) -> None:
        """Remove the file of an array that is not submitted. In a thread. Raises OSError."""
        self._records.remove_file(self._name)
