"""Permissions of callers (the contract's readings 19 to 21)."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Protocol

from fetchml.core.model import Principal, Role


class AdminOnly(StrEnum):
    """Operations for admins only. The value is the refusal."""

    AUDIT = "Only admins read the audit"
    BOOKINGS = "Only admins reserve GPUs"
    FINDINGS = "Only admins see the findings: they show the host's paths and settings"
    GPUS = "Only admins drain and undrain GPUs"
    KEYS = "Only admins manage keys"
    LOST_TASKS = "Only admins declare tasks lost: a lost task may still run"
    REPLAYS = "Only admins replay the history: it has the tasks of all users"
    SECRETS_OF_OTHERS = "Only admins list and remove secrets of other users"


class Owned(Protocol):
    """A task, or another resource with an owner."""

    @property
    def user(self) -> str: ...


def may_submit(who: Principal) -> bool:
    return who.role is not Role.VIEWER


def sees_all(who: Principal, *, private: bool) -> bool:
    """Whether what belongs to others is visible to the caller. `private`: it is hidden from all but
    admins."""
    return not private or who.role is Role.ADMIN


def may_see(who: Principal, what: Owned, *, private: bool) -> bool:
    return sees_all(who, private=private) or what.user == who.user


def may_change(who: Principal, what: Owned) -> bool:
    """Whether the caller may cancel, change, submit again, archive or delete it."""
    return who.role is Role.ADMIN or (who.role is Role.USER and what.user == who.user)


def may_enter(who: Principal, what: Owned) -> bool:
    """Whether the caller may run commands in a task and reach its ports."""
    return may_change(who, what)


def manages_all(who: Principal) -> bool:
    """Whether lists of storage, of messages, and of what may be pruned have those of all users and
    of the server."""
    return who.role is Role.ADMIN


def refusal(who: Principal, what: AdminOnly) -> str | None:
    """Return why the caller may not do it; `None` if they may."""
    return None if who.role is Role.ADMIN else what


def prune_refusal(who: Principal, user: str | None) -> str | None:
    """Return why the caller may not remove what is old of a user; `None` if they may. `user`:
    `None` for all that the caller manages."""
    if who.role is Role.VIEWER:
        return "Viewers cannot remove anything"
    if who.role is not Role.ADMIN and user not in (None, who.user):
        return "Only an admin may remove data of other users"
    return None


def may_see_snapshot(who: Principal, users: Sequence[str], *, private: bool) -> bool:
    """`users`: those that have uploaded it. `private`: others don't see it."""
    return sees_all(who, private=private) or who.user in users


def may_delete_snapshot(who: Principal, users: Sequence[str], *, private: bool) -> bool:
    """Not if others have uploaded it too. `private`: it is deleted for that user alone, without a
    hint of the others."""
    if who.role is not Role.USER:
        return who.role is Role.ADMIN
    return who.user in users if private else tuple(users) == (who.user,)
