"""Job arrays of Slurm as sweeps: a parameter with the index, and the variables of the array."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

PARAMETER = "array_task_id"
"""The sweep's parameter."""
MOST_INDEXES = 10_000
"""As many tasks as a sweep may have."""
_MOST_INDEX = 1 << 31
_PART = re.compile(r"(\d{1,10})(?:-(\d{1,10})(?::(\d{1,10}))?)?", re.ASCII)
_IN_BRACES = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")


class BadArray(Exception):
    """The message is for users."""


@dataclass(frozen=True)
class Array:
    indexes: tuple[int, ...]
    """In ascending order, each once."""
    max_parallel: int | None = None
    """`None` if all may run at the same time."""

    @property
    def variables(self) -> Mapping[str, str]:
        """Return the variables that Slurm sets for each job of an array. The index of each is the
        parameter's value."""
        return {
            "SLURM_ARRAY_TASK_ID": f"{{{PARAMETER}}}",
            "SLURM_ARRAY_TASK_COUNT": str(len(self.indexes)),
            "SLURM_ARRAY_TASK_MIN": str(self.indexes[0]),
            "SLURM_ARRAY_TASK_MAX": str(self.indexes[-1]),
        }


def array(text: str) -> Array:
    """Convert `0-15`, `1,3,5-7`, `0-20:5`, each with `%4` for the most that run at the same time.
    Raises BadArray."""
    listed, percent, most = text.partition("%")
    if percent and not re.fullmatch(r"[1-9]\d{0,4}", most, re.ASCII):
        raise BadArray(f"{most!r} is not a number of tasks that run at the same time")
    indexes: set[int] = set()
    for part in listed.split(","):
        match = _PART.fullmatch(part)
        first, last, step = (int(each or 0) for each in match.groups()) if match else (1, 0, 0)
        if match and match[2] is None:
            last = first
        if last < first or last >= _MOST_INDEX or (match and match[3] and not step):
            raise BadArray(f"{part!r} is not an index or a range such as 7, 0-15 or 0-20:5")
        found = range(first, last + 1, step or 1)
        if len(found) + len(indexes) > MOST_INDEXES:
            raise BadArray(f"it has more than {MOST_INDEXES} indexes")
        indexes.update(found)
    return Array(tuple(sorted(indexes)), int(most) if percent else None)


def literal(words: Sequence[str]) -> tuple[str, ...]:
    """Return words in which a sweep finds no placeholders: `${HOME}` stays what it is."""
    return tuple(_IN_BRACES.sub(r"{{\1}}", word) for word in words)
