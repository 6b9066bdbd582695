"""One operation of both transports: a row of the table in `operation_table`.

The RPC's descriptor and its `google.api.http` option give the route, the parameters and the fields
of the body. A row adds only what no descriptor has: a function and the mapping of its result.

The function is called with the caller, the path's parameters in the path's order, the body if the
RPC has one, and the query's parameters by name. A body has the shape of JSON, also over gRPC: the
function checks it. An absent parameter is `None`, a time is in milliseconds since the epoch, and
`user_id` is named `user`, as everywhere behind the transports.
"""

import re
from collections.abc import Callable, Sequence
from functools import partial
from inspect import isawaitable
from itertools import islice
from typing import Any

from google.api import annotations_pb2, field_behavior_pb2
from google.protobuf.descriptor import FieldDescriptor, MethodDescriptor
from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from fetchml.api.mapping import Reply
from fetchml.api.task_messages import milliseconds, target_fields, time_text, wants_full
from fetchml.core.model import Principal
from fetchml.core.requests.checks import MAX_ENTRIES, MAX_ITEMS
from fetchml.v1 import task_pb2


class Operation:
    def __init__(
        self,
        rpc: MethodDescriptor,
        call: Callable[..., Any],
        reply: Reply | None = None,
        *,
        status: int = 200,
    ) -> None:
        """`reply`: `None` if the RPC returns Empty. `status`: of a successful REST reply."""
        http = rpc.GetOptions().Extensions[annotations_pb2.http]
        self.rpc = rpc
        self.call = call
        self.reply = reply
        self.status = status
        self.method = (http.WhichOneof("pattern") or "").upper()
        """HTTP method; empty if the operation is not offered over REST."""
        path: str = getattr(http, http.WhichOneof("pattern") or "get")
        self.path = path
        self.in_path = re.findall(r"\{(\w+)\}", path)
        self.has_body = http.body == "*"
        self.has_view = "view" in rpc.input_type.fields_by_name
        self.fields = [
            field for field in rpc.input_type.fields if field.name not in (*self.in_path, "view")
        ]
        """Fields of the body if there is one, else parameters of the query."""

    async def run(self, who: Principal, path: Sequence[str], values: dict[str, Any]) -> Any:
        """Return the function's result. `values`: of `fields`. Raises RequestError."""
        if self.has_body:
            result = self.call(who, *path, values)
        else:
            named = {"user" if name == "user_id" else name: values[name] for name in values}
            result = self.call(who, *path, **named)
        return await result if isawaitable(result) else result

    async def answer(self, who: Principal, request: Message) -> Message:
        """Return the reply to a message. Raises RequestError."""
        sent: Any = request
        full = self.has_view and wants_full(sent.view)
        path = [getattr(sent, name) for name in self.in_path]
        read = _body if self.has_body else _parameters
        result = await self.run(who, path, read(request, self.fields))
        if self.reply is None:
            return Empty()
        return await self.reply.message_paced(result, full=full)


def _parameters(request: Message, fields: Sequence[FieldDescriptor]) -> dict[str, Any]:
    return {
        field.name: _parameter(request, field) if _is_set(request, field) else None
        for field in fields
    }


def _parameter(request: Message, field: FieldDescriptor) -> Any:
    value = getattr(request, field.name)
    if field.is_repeated:
        return tuple(value)
    if field.message_type is Timestamp.DESCRIPTOR:
        return milliseconds(value)
    if field.enum_type is not None:
        return _name(field, value) if value else None
    return value


def _body(request: Message, fields: Sequence[FieldDescriptor]) -> dict[str, Any]:
    return {
        field.name: _plain(field, getattr(request, field.name))
        for field in fields
        if _is_set(request, field)
    }


def _is_set(request: Message, field: FieldDescriptor) -> bool:
    """Return whether the field is set. A required one is, even if it is empty: its rule then says
    more than that it is missing."""
    if field.has_presence:
        return request.HasField(field.name)
    return bool(getattr(request, field.name)) or is_required(field)


def is_required(field: FieldDescriptor) -> bool:
    behavior = field.GetOptions().Extensions[field_behavior_pb2.field_behavior]
    return field_behavior_pb2.REQUIRED in behavior


def _plain(field: FieldDescriptor, value: Any) -> object:
    """Convert a value to that of a REST body."""
    convert = _CONVERSIONS.get(field.message_type)
    if field.enum_type is not None:
        convert = partial(_name, field)
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        return dict(islice(value.items(), MAX_ENTRIES + 1))
    if field.is_repeated:
        # One item more than a rule allows is enough to violate the rule.
        return [convert(each) if convert else each for each in value[: MAX_ITEMS + 1]]
    return convert(value) if convert else value


_CONVERSIONS: dict[Any, Callable[[Any], object]] = {
    Timestamp.DESCRIPTOR: time_text,
    task_pb2.NotifyTarget.DESCRIPTOR: target_fields,
}


def _name(field: FieldDescriptor, number: int) -> str:
    """Return the name of an enum's value. A number without a name becomes a malformed one."""
    value = field.enum_type.values_by_number.get(number) if field.enum_type else None
    return str(number) if value is None else str(value.name)
