"""What the API's messages say, in the contract's own words."""

import datetime
from typing import Any

from google.protobuf.message import Message

from fetchml.v1.task_pb2 import Task


def status_name(task: Task) -> str:
    return Task.Status.Name(task.status)


def ended(task: Task) -> bool:
    return task.status in (Task.completed, Task.failed)


def to_json(message: Message) -> dict[str, Any]:
    """The message with the contract's names and values: what REST would answer."""
    return {field.name: _field(field, value) for field, value in message.ListFields()}


def _field(field: Any, value: Any) -> Any:
    if field.message_type and field.message_type.GetOptions().map_entry:
        return dict(value)
    if field.is_repeated:
        return [_value(field, item) for item in value]
    return _value(field, value)


def _value(field: Any, value: Any) -> Any:
    if field.enum_type:
        return field.enum_type.values_by_number[value].name
    if field.message_type is None:
        return value
    if field.message_type.full_name == "google.protobuf.Timestamp":
        at = datetime.datetime.fromtimestamp(value.ToMilliseconds() / 1000, datetime.UTC)
        return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return to_json(value)
