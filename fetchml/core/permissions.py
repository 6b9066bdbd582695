"""Permissions of callers (the contract's readings 19 to 21)."""

from typing import Protocol

from fetchml.core.model import Principal, Role


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


def may_end(who: Principal, what: Owned) -> bool:
    """Whether the caller may cancel, change, submit again, archive or delete it."""
    return who.role is Role.ADMIN or (who.role is Role.USER and what.user == who.user)


def may_enter(who: Principal, what: Owned) -> bool:
    """Whether the caller may run commands in a task and reach its ports."""
    return may_end(who, what)
