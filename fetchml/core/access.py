"""Who may do what (the contract's readings 19 to 21)."""

from fetchml.core.model import Principal, Role, Task


def may_submit(who: Principal) -> bool:
    return who.role is not Role.VIEWER


def may_see(who: Principal, task: Task, *, private: bool) -> bool:
    """`private`: others' tasks are invisible."""
    return not private or who.role is Role.ADMIN or task.user == who.user


def may_end(who: Principal, task: Task) -> bool:
    """Cancel or delete."""
    return who.role is Role.ADMIN or (who.role is Role.USER and task.user == who.user)
