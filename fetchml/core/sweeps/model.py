"""Sweeps: many tasks of one request, each with other parameters."""

from enum import StrEnum

from fetchml.core.model import Idempotency, Value


class Mode(StrEnum):
    """Ways to combine the values of several parameters."""

    GRID = "grid"
    """Every combination."""
    ZIP = "zip"
    """The first values of all, the second values of all, and so on."""
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
