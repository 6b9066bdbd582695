"""A gRPC server that answers every call with text that tries to steer a terminal."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc
from google.protobuf.descriptor import EnumDescriptor, FieldDescriptor, MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from fetchml.v1.task_pb2 import Task
from tests.server.ways_in_table import METHODS

HOSTILE = (
    "a\x1b]52;c;aGk=\x07\x1b[2J\x1b]8;;http://a.invalid\x1b\\b\x1b]8;;\x1b\\\x9b31m\x9d0;t\x9c"
    "\u202ec\u2066d\u200be\r\x08f\x7fg\n[/bold][link=x]h"
)
"""Escape sequences with ESC and with C1, marks of direction, no width, an overwritten line."""
NOT_SHOWN = frozenset("\x07\x08\r\x7f\x9b\x9c\x9d\u202e\u2066\u200b")
"""Characters of it that no output may have; beside ESC, which a terminal's own colours have."""
NEWER_VALUE = 77
"""A value that no enumeration of this release has."""
DEPTH = 6
_SIMPLE: dict[int, Any] = {
    FieldDescriptor.CPPTYPE_STRING: HOSTILE,
    FieldDescriptor.CPPTYPE_BOOL: False,
    FieldDescriptor.CPPTYPE_INT32: 1,
    FieldDescriptor.CPPTYPE_INT64: 1,
    FieldDescriptor.CPPTYPE_UINT32: 1,
    FieldDescriptor.CPPTYPE_UINT64: 1,
    FieldDescriptor.CPPTYPE_FLOAT: 1.0,
    FieldDescriptor.CPPTYPE_DOUBLE: 1.0,
}


def filled(message: Message, *, newer: bool, depth: int = DEPTH) -> Message:
    """Fill all fields. `newer`: enumerations have a value that this release does not have."""
    for field in message.DESCRIPTOR.fields:
        if field.name == "next_page_token" or not depth:
            continue  # There is no other page.
        if field.name == "status" and isinstance(message, Task):
            message.status = NEWER_VALUE if newer else Task.completed  # type: ignore[assignment]
        elif field.message_type is not None and field.message_type.GetOptions().map_entry:
            _fill_map(message, field, newer=newer, depth=depth)
        elif field.message_type is not None:
            inner = getattr(message, field.name)
            filled(inner.add() if field.is_repeated else inner, newer=newer, depth=depth - 1)
        else:
            value = _value(field, newer=newer)
            if field.is_repeated:
                getattr(message, field.name).append(value)
            else:
                setattr(message, field.name, value)
    return message


def _fill_map(message: Message, field: Any, *, newer: bool, depth: int) -> None:
    value = field.message_type.fields_by_name["value"]
    key = _value(field.message_type.fields_by_name["key"], newer=newer)
    entries = getattr(message, field.name)
    if value.message_type is None:
        entries[key] = _value(value, newer=newer)
    else:
        filled(entries[key], newer=newer, depth=depth - 1)


def _value(field: Any, *, newer: bool) -> Any:
    if field.enum_type is not None:
        return NEWER_VALUE if newer else _last(field.enum_type)
    if field.type == FieldDescriptor.TYPE_BYTES:
        return HOSTILE.encode()
    return _SIMPLE[field.cpp_type]


def _last(enumeration: EnumDescriptor) -> int:
    return int(enumeration.values[-1].number)


class Replies(grpc.GenericRpcHandler):
    """Answers each call with one filled message, or with an error."""

    def __init__(self, *, newer: bool, fails: bool) -> None:
        self._newer = newer
        self._fails = fails

    def service(self, details: Any) -> Any:
        method = METHODS[details.method.removeprefix("/fetchml.v1.").replace("/", ".")]

        def one(_: object, context: grpc.ServicerContext) -> Message:
            if self._fails:
                context.abort(grpc.StatusCode.FAILED_PRECONDITION, HOSTILE)
            return filled(GetMessageClass(method.output_type)(), newer=self._newer)

        def stream(request: object, context: grpc.ServicerContext) -> Iterator[Message]:
            yield one(request, context)

        return _handler(method, stream if method.server_streaming else one)


def _handler(method: MethodDescriptor, answer: Any) -> Any:
    shape = (
        f"{'stream' if method.client_streaming else 'unary'}_"
        f"{'stream' if method.server_streaming else 'unary'}_rpc_method_handler"
    )
    return getattr(grpc, shape)(
        answer,
        request_deserializer=GetMessageClass(method.input_type).FromString,
        response_serializer=GetMessageClass(method.output_type).SerializeToString,
    )


@contextmanager
def hostile_server(*, newer: bool = False, fails: bool = False) -> Iterator[str]:
    """Yield the address of a server. `newer`: see `filled`. `fails`: every call is an error."""
    server = grpc.server(ThreadPoolExecutor(8))
    server.add_generic_rpc_handlers([Replies(newer=newer, fails=fails)])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(None).wait()
