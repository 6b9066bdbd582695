"""The uids of users' tasks in containers.

A server that may change owners of files (root, or the systemd service) gives each user a separate
uid, from an unused range. So the kernel's limits by uid (inotify instances, keys, pending signals)
are separate from those of the server and of other users, and no task can read another user's files.
"""

import os
from itertools import count
from typing import Protocol

import msgspec

from fetchml.ports.launcher import Owner, PrepareError
from fetchml.ports.store import Store
from fetchml.records import RecordSet

KIND = "task_user"
MOST_USERS = 100_000
"""All users are in memory, and their uids are contiguous."""
EARLIER_UID = 1000
"""The uid of all tasks in older releases; Jupyter workspaces keep it."""


class FileOwners(Protocol):
    async def of(self, user: str) -> Owner:
        """Return the owner of this user's task files. Raises PrepareError, OSError."""

    def owns_files(self, uid: int) -> bool:
        """Return whether tasks may run as this uid, because it owns files of theirs already."""


class SharedOwner:
    """One owner for every user."""

    def __init__(self, owner: Owner) -> None:
        self._owner = owner

    async def of(self, user: str) -> Owner:
        return self._owner

    def owns_files(self, uid: int) -> bool:
        return False


class TaskUser(msgspec.Struct, frozen=True):
    """A record: this user's tasks always run as this uid."""

    user: str
    uid: int


class OwnerPerUser:
    """A uid for each user, constant for the life of the data directory."""

    def __init__(self, store: Store, first_uid: int) -> None:
        """`first_uid`: new users get this one or the next free one."""
        self._records = RecordSet(store, KIND, TaskUser, lambda each: each.user)
        self._first_uid = first_uid
        self._taken: set[int] = {EARLIER_UID}
        self._is_loaded = False

    async def of(self, user: str) -> Owner:
        uid = await self._records.change(self._uid_of, user)
        return uid, uid

    def owns_files(self, uid: int) -> bool:
        return uid in self._taken

    async def _uid_of(self, user: str) -> int:
        if not self._is_loaded:
            await self._records.load()
            self._taken.update(each.uid for each in self._records)
            self._is_loaded = True
        record = self._records.get(user)
        return record.uid if record is not None else await self._give(user)

    async def _give(self, user: str) -> int:
        if len(self._records) >= MOST_USERS:
            raise PrepareError(
                f"{MOST_USERS} users have had tasks here, and each has a uid: no more are given "
                "([tasks] user)",
                permanent=True,
            )
        taken = self._taken | {os.geteuid()}
        uid = next(uid for uid in count(self._first_uid) if uid not in taken)
        # Durable before it owns any file, so that no other user ever gets it.
        await self._records.put(TaskUser(user, uid))
        self._taken.add(uid)
        return uid
