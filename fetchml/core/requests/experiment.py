"""Experiments, and the rules of requests for them (the contract's Experiment)."""

from collections.abc import Mapping
from enum import StrEnum

from fetchml.core.model import Value
from fetchml.core.requests.checks import Check, Violation, check_fields, line, text

MAX_NAME_CHARACTERS = 128
MAX_DESCRIPTION_CHARACTERS = 4096


class ExperimentStatus(StrEnum):
    """States of an experiment. The contract's third, `deleted`, is never returned."""

    ACTIVE = "active"
    ARCHIVED = "archived"
    """Readable, and closed for new tasks."""


class Experiment(Value, frozen=True):
    """A named group of tasks. Stored as JSON; a field added later must have a default."""

    id: str
    user: str
    name: str
    created_at: int
    description: str | None = None
    commit_id: str | None = None
    """Id of the snapshot that it refers to; `None` if it refers to none."""
    status: ExperimentStatus = ExperimentStatus.ACTIVE


_RULES: dict[str, Check] = {
    "name": line(MAX_NAME_CHARACTERS, empty=False),
    "description": text(MAX_DESCRIPTION_CHARACTERS),
    "commit_id": line(256, empty=False),
}

KNOWN_FIELDS = frozenset(_RULES)
"""Known request properties. Others are ignored and named in the reply's header (reading 12)."""


def violations(request: Mapping[str, object]) -> list[Violation]:
    """Return the violations of a request for an experiment."""
    return check_fields(request, _RULES, required=("name",))[1]
