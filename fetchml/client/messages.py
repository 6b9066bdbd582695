"""The API's messages, with the contract's names and values."""

import datetime
from typing import Any

from google.protobuf.message import Message

from fetchml.v1.task_pb2 import Task

_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_FIRST_MS = -62_135_596_800_000
"""The start of the year 1."""
_LAST_MS = 253_402_300_799_999
"""The end of the year 9999."""


def status_name(task: Task) -> str:
    """Return the contract's name of a task's status, see `enum_name`."""
    return enum_name(task, "status")


def enum_name(message: Message, field: str) -> str:
    """Return the name of the value that an enumeration has in a message. A newer server may send a
    value that this release does not have: `UNKNOWN_7`."""
    return _name(_enumeration(message, field), getattr(message, field))


def enum_names(message: Message, field: str) -> list[str]:
    """Like `enum_name`, of a field that is a list."""
    described = _enumeration(message, field)
    return [_name(described, number) for number in getattr(message, field)]


def _enumeration(message: Message, field: str) -> Any:
    described = message.DESCRIPTOR.fields_by_name[field].enum_type
    if described is None:
        raise ValueError(f"{field} is not an enumeration")
    return described


def ended(task: Task) -> bool:
    """Return whether a task is completed or failed."""
    return task.status in (Task.completed, Task.failed)


def to_json(message: Message) -> dict[str, Any]:
    """Return a message as the JSON object that REST returns."""
    return {field.name: _field(field, value) for field, value in message.ListFields()}


def _field(field: Any, value: Any) -> Any:
    if field.message_type and field.message_type.GetOptions().map_entry:
        return dict(value)
    if field.is_repeated:
        return [_value(field, item) for item in value]
    return _value(field, value)


def _value(field: Any, value: Any) -> Any:
    if field.enum_type:
        return _name(field.enum_type, value)
    if field.message_type is None:
        return value
    if field.message_type.full_name == "google.protobuf.Timestamp":
        return _rfc3339(value.ToMilliseconds())
    return to_json(value)


def _name(described: Any, number: int) -> str:
    described_value = described.values_by_number.get(number)
    return f"UNKNOWN_{number}" if described_value is None else str(described_value.name)


def _rfc3339(ms: int) -> str:
    """Return a time in RFC 3339. `ms` is in milliseconds since the epoch (UTC), and clamped to the
    years 1 to 9999."""
    within = min(max(ms, _FIRST_MS), _LAST_MS)
    at = _EPOCH + datetime.timedelta(milliseconds=within)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
