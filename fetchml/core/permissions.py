"""Who may do what (the contract's readings 19 to 21)."""

from typing import Protocol

from fetchml.core.model import Principal, Role


class Owned(Protocol):
    """A task, or what else somebody made."""

    @property
    def user(self) -> str: ...


def may_submit(who: Principal) -> bool:
    return who.role is not Role.VIEWER


def may_see(who: Principal, what: Owned, *, private: bool) -> bool:
    """`private`: what others made is invisible."""
    return not private or who.role is Role.ADMIN or what.user == who.user


def may_end(who: Principal, what: Owned) -> bool:
    """Cancel, archive or delete."""
    return who.role is Role.ADMIN or (who.role is Role.USER and what.user == who.user)
