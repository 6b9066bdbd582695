"""Sweeps: many tasks of one request, each with other parameters; and how many the server keeps.

A sweep that still has tasks can't be dropped. Without a reserve, a few users could take all places
and keep everyone else out.
"""

from enum import StrEnum

from fetchml.core.model import Idempotency, Value


class Mode(StrEnum):
    """Ways to combine the values of several parameters."""

    GRID = "grid"
    """Every combination."""
    ZIP = "zip"
    """All first values, all second values, and so on."""
    RANDOM = "random"
    """Drawn at random for each task."""


class Sweep(Value, frozen=True):
    """A sweep's record; its tasks carry the rest. Stored as JSON; a field added later must have a
    default."""

    id: str
    user: str
    name: str
    created_at: int
    total: int
    """Number of tasks, those deleted later included. A task that was submitted again counts
    once."""
    job_name: str
    mode: Mode
    parameters: dict[str, str]
    """The values of each parameter, described for people."""
    samples: int | None = None
    random_seed: int | None = None
    """`None` unless the mode is RANDOM."""
    max_parallel: int = 0
    """Tasks that may be under way at the same time; 0: no limit."""
    idempotency: Idempotency | None = None
    """`None` if the create had no Idempotency-Key."""


MAX_SWEEPS = 5_000
"""They are all in memory."""
MAX_OF_ONE_USER = 1_000
RESERVED = 1_000
"""The last places: only users with fewer than FEW sweeps get one of them."""
FEW = 20


def limit_fault(own: int, in_all: int) -> str | None:
    """Return why a user with `own` sweeps gets no place for another one, of `in_all` that are kept;
    `None` if there is one."""
    if own >= MAX_OF_ONE_USER:
        return f"per-user sweep limit ({own}) reached"
    if in_all >= MAX_SWEEPS:
        return f"server limit of {in_all} sweeps reached"
    if own >= FEW and in_all >= MAX_SWEEPS - RESERVED:
        return (
            f"server limit of {MAX_SWEEPS - RESERVED} sweeps reached for users with {FEW} or more "
            f"(you have {own})"
        )
    return None
