"""One table per type; both its JSON and its protobuf message are built from it.

`Task` has no table: replies hold many tasks, so `task_json` and `fill_task` are written for speed.
"""

from collections import abc
from collections.abc import Awaitable, Callable, Collection
from operator import attrgetter
from typing import Any, Generic, Protocol, TypeVar

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from fetchml.api.task_json import rfc3339
from fetchml.api.task_messages import timestamp
from fetchml.core.model import Status
from fetchml.system.pacing import map_paced

T = TypeVar("T")
M = TypeVar("M", bound=Message)

EncodeRows = Callable[[Callable[[Any], object], Any], Awaitable[object]]
"""Encodes a list as JSON in steps: `RestRequest.rows`."""


class Field:
    """A field with the same name in the contract's JSON and in the message.

    A field whose value is `None` is left out of both.
    """

    def __init__(
        self,
        name: str,
        value: str | Callable[[Any], Any] | None = None,
        *,
        full: bool = False,
        keep_empty: bool = True,
    ) -> None:
        """`value`: the path of an attribute, or a function of the owner; the default is the
        attribute `name`. `full`: shown only in the full view. Without `keep_empty`, an empty value
        counts as `None`."""
        self.name = name
        self.full = full
        self._value = value if callable(value) else attrgetter(value or name)
        self._keep_empty = keep_empty

    def of(self, owner: object) -> Any:
        value = self._value(owner)
        return value if value or self._keep_empty else None

    def json(self, value: Any) -> object:
        return value

    def message(self, value: Any) -> object:
        return value

    async def json_paced(self, value: Any, rows: "EncodeRows") -> object:
        return self.json(value)

    async def message_paced(self, value: Any) -> object:
        return self.message(value)


class Time(Field):
    """A time in milliseconds since the epoch (UTC), shown as RFC 3339 in JSON."""

    def json(self, value: int) -> str:
        return rfc3339(value)

    def message(self, value: int) -> Timestamp | None:
        return timestamp(value)


class Nested(Field):
    """One value of another type."""

    def __init__(
        self,
        name: str,
        mapping: "Mapping[Any, Any]",
        value: str | Callable[[Any], Any] | None = None,
        *,
        full: bool = False,
    ) -> None:
        super().__init__(name, value, full=full)
        self._mapping = mapping

    def json(self, value: Any) -> object:
        return self._mapping.json(value)

    def message(self, value: Any) -> object:
        return self._mapping.message(value)


class Rows(Field):
    """A list of values of another type."""

    def __init__(
        self,
        name: str,
        mapping: "Mapping[Any, Any]",
        value: str | Callable[[Any], Any] | None = None,
        *,
        keep_empty: bool = False,
    ) -> None:
        super().__init__(name, value, keep_empty=keep_empty)
        self._mapping = mapping

    def json(self, value: Any) -> object:
        return [self._mapping.json(each) for each in value]

    def message(self, value: Any) -> object:
        return [self._mapping.message(each) for each in value]


class LongRows(Rows):
    """A list that may be long, so that replies convert it in steps."""

    def __init__(
        self,
        name: str,
        mapping: "Mapping[Any, Any]",
        value: str | Callable[[Any], Any] | None = None,
    ) -> None:
        super().__init__(name, mapping, value, keep_empty=True)

    async def json_paced(self, value: Any, rows: "EncodeRows") -> object:
        if self._mapping.is_long:
            return [await self._mapping.json_paced(each, rows) for each in value]
        return await rows(self._mapping.json, value)

    async def message_paced(self, value: Any) -> object:
        if self._mapping.is_long:
            return [await self._mapping.message_paced(each) for each in value]
        return await map_paced(self._mapping.message, value)


def _same_name(descriptor: Any, of: str, *, full: bool) -> Field:
    """`descriptor`: of a field of the message."""
    is_time = descriptor.message_type is Timestamp.DESCRIPTOR
    path = f"{of}.{descriptor.name}" if of else descriptor.name
    return (Time if is_time else Field)(descriptor.name, path, full=full)


class Reply(Protocol):
    """Converts a result to the body of a reply. `full`: include the fields that the contract does
    not define. Other tasks may run while long lists are converted."""

    async def json_paced(self, value: Any, rows: EncodeRows, *, full: bool = False) -> object:
        """`rows` encodes the long lists."""

    async def message_paced(self, value: Any, *, full: bool = False) -> Message: ...


class Mapping(Generic[T, M]):
    """The fields of a type, from which its JSON and its message are built."""

    def __init__(
        self,
        message: type[M],
        *fields: Field,
        of: str = "",
        full: Collection[str] = (),
        without: Collection[str] = (),
    ) -> None:
        """A field of the message that is not in `fields` shows the attribute with its name.

        `of`: path of the value that has these attributes; the value itself by default. `full`:
        those shown only in the full view. `without`: fields that the caller adds."""
        named = {field.name: field for field in fields}
        descriptors = [each for each in message.DESCRIPTOR.fields if each.name not in without]
        if unknown := named.keys() - {each.name for each in descriptors}:
            raise TypeError(f"{message.DESCRIPTOR.full_name} has no {', '.join(unknown)}")
        self._message = message
        self._full = [
            named.get(each.name) or _same_name(each, of, full=each.name in full)
            for each in descriptors
        ]
        self._basic = [field for field in self._full if not field.full]
        self.is_long = any(isinstance(field, LongRows) for field in self._full)

    def json(self, value: T, *, full: bool = False) -> dict[str, object]:
        """`full`: include the fields that the contract does not define."""
        return {field.name: field.json(each) for field, each in self._values(value, full=full)}

    def message(self, value: T, *, full: bool = False) -> M:
        """`full`: include the fields that the contract does not define."""
        values = self._values(value, full=full)
        return self._message(**{field.name: field.message(value) for field, value in values})

    async def json_paced(self, value: T, rows: EncodeRows, *, full: bool = False) -> object:
        """Like `json`. `rows` encodes the long lists."""
        values = self._values(value, full=full)
        return {field.name: await field.json_paced(value, rows) for field, value in values}

    async def message_paced(self, value: T, *, full: bool = False) -> M:
        """Like `message`. Other tasks may run while the long lists are converted."""
        values = self._values(value, full=full)
        return self._message(
            **{field.name: await field.message_paced(value) for field, value in values}
        )

    def _values(self, value: T, *, full: bool) -> list[tuple[Field, Any]]:
        fields = self._full if full else self._basic
        values = [(field, field.of(value)) for field in fields]
        return [each for each in values if each[1] is not None]


class Counted(Protocol):
    """Has tasks."""

    @property
    def counts(self) -> abc.Mapping[Status, int]:
        """Tasks by the status that clients see."""


def status_fields() -> list[Field]:
    """Return a field for each status, whose value is the number of tasks of a `Counted`."""
    return [Field(status.value, _count(status)) for status in Status]


def _count(status: Status) -> Callable[[Counted], int]:
    return lambda view: view.counts.get(status, 0)
