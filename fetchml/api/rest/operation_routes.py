"""The REST routes of the operations in `api/operation_table.py`. Their paths are in the protos
(`google.api.http`), which `api/operation.py` reads."""

import re
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from typing import Any

from aiohttp import web
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.timestamp_pb2 import Timestamp

from fetchml.api.http.body import read_object
from fetchml.api.http.query import Query
from fetchml.api.http.request import RestRequest
from fetchml.api.http.router import Route
from fetchml.api.http.streams import ended_with_client
from fetchml.api.operation import Operation, is_required
from fetchml.core.requests.checks import unknown_fields


def routes(operations: Iterable[Operation], *, body_timeout_seconds: float) -> list[Route]:
    return [_route(each, body_timeout_seconds) for each in operations if each.method]


def _route(operation: Operation, body_timeout_seconds: float) -> Route:
    names = frozenset(field.name for field in operation.fields)
    readers = (
        [] if operation.has_body else [(each.name, _reader(each)) for each in operation.fields]
    )
    in_query = [name for name, _ in readers]
    repeated = [each.name for each in operation.fields if each.is_repeated]
    if operation.has_view:
        in_query.append("view")
    reads = operation.method == "GET"

    async def answer(request: RestRequest, *path: str) -> web.StreamResponse:
        query = Query(request.http, *in_query, repeated=repeated)
        full = operation.has_view and query.full_view()
        values = {name: read(query, name) for name, read in readers}
        ignored = query.ignored
        if operation.has_body:
            values = await read_object(request, body_timeout_seconds)
            ignored = ignored + unknown_fields(values, names)
        with ended_with_client(request) if reads else nullcontext():
            result = await operation.run(request.principal, path, values)
        if operation.reply is not None:
            body = await operation.reply.json_paced(result, request.rows, full=full)
            return request.json(body, status=operation.status, ignored=ignored)
        return (
            request.empty() if operation.method == "DELETE" else request.json({}, ignored=ignored)
        )

    # Metrics name the id of every resource alike.
    return Route(operation.method, re.sub(r"\{\w+_id\}", "{id}", operation.path), answer)


def _reader(field: FieldDescriptor) -> Callable[[Query, str], Any]:
    if field.is_repeated:
        return lambda query, name: query.texts(name) or None
    if field.message_type is Timestamp.DESCRIPTOR:
        return Query.time
    if field.cpp_type in (FieldDescriptor.CPPTYPE_INT32, FieldDescriptor.CPPTYPE_INT64):
        return Query.number
    if field.cpp_type == FieldDescriptor.CPPTYPE_DOUBLE:
        return Query.decimal
    if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        return Query.flag
    if is_required(field):
        return Query.text
    return lambda query, name: query.text(name) or None
