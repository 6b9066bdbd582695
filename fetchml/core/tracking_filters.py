"""What a search for runs may ask for: a condition and an order, as a syntax tree.

`fetchml.tracking.filters` parses text to it, the store compiles it to SQL.
"""

from enum import StrEnum

from fetchml.core.model import Value


class Source(StrEnum):
    """Where a field is."""

    METRIC = "metric"
    """The latest value, a number."""
    PARAM = "param"
    TAG = "tag"
    ATTRIBUTE = "attribute"
    """Of the run; the name is one of `Attribute`."""


class Attribute(StrEnum):
    RUN_ID = "run_id"
    RUN_NAME = "run_name"
    STATUS = "status"
    USER = "user"
    EXPERIMENT_ID = "experiment_id"
    TASK_ID = "task_id"
    STARTED_AT = "started_at"
    """Milliseconds since the epoch (UTC), a number."""
    ENDED_AT = "ended_at"
    """Like `started_at`; missing until the run ends."""


NUMBERS = frozenset({Attribute.STARTED_AT, Attribute.ENDED_AT})
"""Attributes that are numbers; the others are text."""


class Field(Value, frozen=True):
    source: Source
    name: str

    @property
    def is_number(self) -> bool:
        return self.source is Source.METRIC or (
            self.source is Source.ATTRIBUTE and self.name in NUMBERS
        )


class Op(StrEnum):
    EQ = "="
    NE = "!="
    LT = "<"
    LE = "<="
    GT = ">"
    GE = ">="
    LIKE = "LIKE"
    """Text only: `%` stands for any characters, `_` for one."""
    ILIKE = "ILIKE"
    """Like LIKE, in upper or lower case."""


class Compare(Value, frozen=True):
    """A run without the field does not match, whatever the operator."""

    field: Field
    op: Op
    value: str | float | int


class IsNull(Value, frozen=True):
    """The run lacks the field, or, `negated`, has it."""

    field: Field
    negated: bool = False


class OneOf(Value, frozen=True):
    """The field is one of these texts, or, `negated`, is another one."""

    field: Field
    values: tuple[str, ...]
    negated: bool = False


Condition = Compare | IsNull | OneOf
Conditions = tuple[Condition, ...]
"""All of them must hold."""


class Order(Value, frozen=True):
    """Not a number sorts after all numbers, a missing field last, in both directions."""

    field: Field
    descending: bool = False
