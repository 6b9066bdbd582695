"""What an experiment is, and what a request for one must be (the contract's Experiment)."""

from collections.abc import Mapping
from enum import StrEnum

from fetchml.core.model import Value
from fetchml.core.requests.checks import Check, Violation, check_fields, line, text

MAX_NAME_CHARACTERS = 128
MAX_DESCRIPTION_CHARACTERS = 4096


class ExperimentStatus(StrEnum):
    """The contract's third, `deleted`, is never seen: what is deleted is gone."""

    ACTIVE = "active"
    ARCHIVED = "archived"
    """Kept to be read; it takes no more tasks."""


class Experiment(Value, frozen=True):
    """A named group of tasks. Stored as JSON; a field added later must have a default."""

    id: str
    user: str
    name: str
    created_at: int
    description: str | None = None
    commit_id: str | None = None
    """The snapshot that it is about."""
    status: ExperimentStatus = ExperimentStatus.ACTIVE


_RULES: dict[str, Check] = {
    "name": line(MAX_NAME_CHARACTERS, empty=False),
    "description": text(MAX_DESCRIPTION_CHARACTERS),
    "commit_id": line(256, empty=False),
}

KNOWN_FIELDS = frozenset(_RULES)
"""The request properties that mean something; others are ignored, and told."""


def violations(request: Mapping[str, object]) -> list[Violation]:
    """What is wrong with a request for an experiment."""
    return check_fields(request, _RULES, required=("name",))[1]
