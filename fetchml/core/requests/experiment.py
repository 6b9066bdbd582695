"""Experiments, and the rules of requests for them (the contract's Experiment)."""

from enum import StrEnum
from typing import Annotated

import msgspec
from msgspec import Meta

from fetchml.core.model import Value
from fetchml.core.requests.checks import Id, also, labels, line

MAX_NAME_CHARACTERS = 128
MAX_DESCRIPTION_CHARACTERS = 4096
MAX_TAG_CHARACTERS = 8192
"""Characters of all tags of an experiment, which are in memory."""


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
    tags: dict[str, str] = msgspec.field(default_factory=dict[str, str])
    """Set over the MLflow protocol."""


class ExperimentRequest(msgspec.Struct, frozen=True):
    """A request for an experiment. `None`: not in the request."""

    name: Annotated[str, Meta(min_length=1, max_length=MAX_NAME_CHARACTERS, extra=also(line))]
    description: Annotated[str, Meta(max_length=MAX_DESCRIPTION_CHARACTERS)] | None = None
    commit_id: Id | None = None


class TagsRequest(msgspec.Struct, frozen=True):
    """All tags that an experiment is to have."""

    tags: Annotated[dict[str, str], Meta(extra=labels(MAX_TAG_CHARACTERS))]


KNOWN_FIELDS = frozenset(ExperimentRequest.__struct_fields__)
"""Known request properties. Others are ignored and named in the reply's header (reading 12)."""
