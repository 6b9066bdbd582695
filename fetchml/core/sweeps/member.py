"""The place of a task in a sweep."""

import msgspec


class SweepMember(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """Stored with the task; a field added later must have a default."""

    id: str
    """The sweep's id."""
    index: int
    """From 0, in the order of the sweep's parameters."""
    parameters: dict[str, str]
    max_parallel: int = 0
    """Tasks of the sweep that may be under way at the same time; 0: no limit."""
    retries: int = 0
    """Number of earlier resubmissions of the sweep's failed task with this index."""


def limited(member: SweepMember | None) -> SweepMember | None:
    """The same if its sweep limits how many tasks are under way, else `None`."""
    return member if member is not None and member.max_parallel else None
