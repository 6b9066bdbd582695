"""Write the served OpenAPI description: `-m proto.openapi SOURCE DESCRIPTORS DESTINATION`.

SOURCE is `openapi.yaml` beside this file: what is written by hand. DESCRIPTORS is a descriptor set
with source information. Each row of `fetchml/api/operation_table.py` that SOURCE does not describe
gets its operation and schemas from the RPC, its messages and their comments. `make proto` runs
this.

SOURCE abbreviates. `x-errors` of an operation lists the statuses that not every operation can
return. `x-json` of a body names the schema of its JSON. `x-example` of an error is an example of
its body, without the trace id. A parameter in a path that its operation does not list is any text.

`x-rules` has what no descriptor expresses: of an RPC the statuses of errors that do not follow from
its parameters, of a field of a message its bounds, default and format.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import yaml
from google.api import field_behavior_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorSet

from fetchml.api.operation import Operation
from fetchml.api.operation_table import operations
from proto.reference import OURS, Comments

HEAD = "# Generated from proto/openapi.yaml and the protos by `make proto`: do not edit.\n"
ERRORS = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    408: "BodyTimeout",
    409: "Conflict",
    413: "BodyTooLarge",
    416: "RangeNotSatisfiable",
    422: "ValidationError",
    429: "RateLimited",
    500: "InternalError",
    503: "Unavailable",
}
"""HTTP status → name in `components/responses`."""
OF_EVERY_OPERATION = {401, 403, 429, 500, 503}
"""Statuses that every operation with a key can return."""
OF_A_BODY = {400, 408, 413, 422}
TRACE_ID = "a1b2c3d4-e5f6-7890-abcd-ef1234567890"
EMPTY = "google.protobuf.Empty"
TIME = "google.protobuf.Timestamp"
LIST = "google.protobuf.ListValue"
TYPES: dict[int, dict[str, Any]] = {
    FieldDescriptor.TYPE_STRING: {"type": "string"},
    FieldDescriptor.TYPE_BOOL: {"type": "boolean"},
    FieldDescriptor.TYPE_INT32: {"type": "integer"},
    FieldDescriptor.TYPE_INT64: {"type": "integer", "format": "int64"},
    FieldDescriptor.TYPE_DOUBLE: {"type": "number"},
}

Json = dict[str, Any]


def main(source: Path, descriptors: Path, destination: Path) -> None:
    document: Json = yaml.load(source.read_text(), yaml.CSafeLoader)
    generator = Generator(document, FileDescriptorSet.FromString(descriptors.read_bytes()))
    for operation in operations(Mock()):
        if operation.method:
            generator.add(operation)
    if generator.rules:
        raise ValueError(f"x-rules of unknown messages or fields: {generator.rules}")
    document["components"]["schemas"] = dict(sorted(document["components"]["schemas"].items()))
    written_out(document)
    text = yaml.dump(document, Dumper=Dumper, sort_keys=False, allow_unicode=True, width=100)
    destination.write_text(HEAD + text)


class Dumper(yaml.CSafeDumper):
    """Writes a value that occurs twice as often, rather than as a reference to the first."""

    def ignore_aliases(self, data: object) -> bool:
        return True


class Generator:
    """Adds operations, and the schemas that they refer to, to the document."""

    def __init__(self, document: Json, files: FileDescriptorSet) -> None:
        self._paths: Json = document["paths"]
        self._schemas: Json = document["components"]["schemas"]
        self.rules: Json = document.pop("x-rules")
        """Those that are not used yet."""
        self._comments = dict(comments(files))

    def add(self, operation: Operation) -> None:
        path = camel(operation.path)
        described = self._paths.setdefault(path, {})
        method = operation.method.lower()
        if method in described:
            return
        fields = operation.rpc.input_type.fields_by_name
        query = [] if operation.has_body else operation.fields
        parameters = [
            {"name": camel(name), "in": "path", "required": True, **self._parameter(fields[name])}
            for name in operation.in_path
        ]
        for field in query:
            required = {"required": True} if is_marked(field, "REQUIRED") else {}
            parameters.append(
                {"name": field.name, "in": "query", **required, **self._parameter(field)}
            )
        if operation.has_view:
            parameters.append({"$ref": "#/components/parameters/View"})
        errors = set(self.rules.pop(operation.rpc.name, ()))
        errors |= {400} if parameters else set()
        errors |= {404} if operation.in_path and operation.method != "PUT" else set()
        errors |= OF_A_BODY if operation.has_body else set()
        made: Json = {
            "summary": words(operation.rpc.name),
            "description": self._comments[operation.rpc.full_name],
        }
        if parameters:
            made["parameters"] = parameters
        if operation.has_body:
            self._add_schema(operation.rpc.input_type, leave_out=operation.in_path)
            made["requestBody"] = {
                "required": True,
                "x-json": schema_name(operation.rpc.input_type),
            }
        made["responses"] = self._reply(operation) | {"x-errors": sorted(errors)}
        described[method] = made

    def _reply(self, operation: Operation) -> Json:
        reply = operation.rpc.output_type
        if reply.full_name != EMPTY:
            self._add_schema(reply)
            described = {"description": self._comments[reply.full_name]}
            return {str(operation.status): described | {"x-json": schema_name(reply)}}
        if operation.method == "DELETE":
            return {"204": {"description": "Done"}}
        content = {"application/json": {"schema": {"type": "object"}}}
        return {str(operation.status): {"description": "Done", "content": content}}

    def _parameter(self, field: FieldDescriptor) -> Json:
        schema = self._schema(field)
        if schema.get("type") == "integer":
            # `Query.number` takes these, of any size.
            schema.setdefault("minimum", 0)
            schema.pop("format", None)
        return {"description": schema.pop("description", ""), "schema": schema}

    def _add_schema(self, message: Descriptor, leave_out: list[str] | None = None) -> None:
        """`leave_out`: fields that are not in the body."""
        name = schema_name(message)
        if name in self._schemas:
            return
        fields = [each for each in message.fields if each.name not in (*(leave_out or ()), "view")]
        is_request = name.endswith("Request")
        required = [
            each.name
            for each in fields
            if (is_marked(each, "REQUIRED") if is_request else not is_marked(each, "OPTIONAL"))
        ]
        schema: Json = {"type": "object", "description": self._comments[message.full_name]}
        if required:
            schema["required"] = required
        self._schemas[name] = schema  # Before those of its fields, which may refer to it.
        schema["properties"] = {each.name: self._schema(each) for each in fields}

    def _schema(self, field: FieldDescriptor) -> Json:
        """Return the schema of a field, with its description."""
        value = field
        if is_map := field.message_type is not None and field.message_type.GetOptions().map_entry:
            value = field.message_type.fields_by_name["value"]
        schema = self._value(value)
        if is_map:
            schema = {"type": "object", "additionalProperties": schema}
        elif field.is_repeated:
            schema = {"type": "array", "items": schema}
        rules = self.rules.get(schema_name(field.containing_type), {})
        merge(schema, rules.pop(field.name, {}))
        if not rules:
            self.rules.pop(schema_name(field.containing_type), None)
        if "$ref" in schema:
            return {"$ref": schema["$ref"]}  # OpenAPI 3.0 ignores what is beside it.
        return {**schema, "description": self._comments[field.full_name]}

    def _value(self, field: FieldDescriptor) -> Json:
        if field.enum_type is not None:
            return {
                "type": "string",
                "enum": [each.name for each in field.enum_type.values if each.number],
            }
        if field.message_type is None:
            return dict(TYPES[field.type])
        if field.message_type.full_name == TIME:
            return {"type": "string", "format": "date-time"}
        if field.message_type.full_name == LIST:
            return {"type": "array", "items": {"nullable": True}}
        self._add_schema(field.message_type)
        return {"$ref": f"#/components/schemas/{schema_name(field.message_type)}"}


def comments(files: FileDescriptorSet) -> Iterator[tuple[str, str]]:
    """Yield the full names of RPCs, messages and fields with their comments."""
    for file in files.file:
        if file.package == OURS:
            texts = Comments(file)
            for number, service in enumerate(file.service):
                for index, method in enumerate(service.method):
                    yield f"{OURS}.{service.name}.{method.name}", texts.of(6, number, 2, index)
            for number, message in enumerate(file.message_type):
                yield from message_comments(message, OURS, texts, (4, number))


def message_comments(
    message: Any, parent: str, texts: Comments, at: tuple[int, ...]
) -> Iterator[tuple[str, str]]:
    name = f"{parent}.{message.name}"
    if message.options.map_entry:
        return
    yield name, texts.of(*at)
    for index, field in enumerate(message.field):
        yield f"{name}.{field.name}", texts.of(*at, 2, index)
    for index, nested in enumerate(message.nested_type):
        yield from message_comments(nested, name, texts, (*at, 3, index))


def is_marked(field: FieldDescriptor, behavior: str) -> bool:
    marks = field.GetOptions().Extensions[field_behavior_pb2.field_behavior]
    return field_behavior_pb2.FieldBehavior.Value(behavior) in marks


def schema_name(message: Descriptor | None) -> str:
    """Return `SweepCounts` for the message `Counts` in `Sweep`."""
    assert message is not None  # noqa: S101  # fields are part of a message
    return str(message.full_name).removeprefix(f"{OURS}.").replace(".", "")


def camel(text: str) -> str:
    """Name the parameters of a path as the contract does: `{taskId}` for `{task_id}`."""
    return re.sub(r"_([a-z])", lambda found: found[1].upper(), text)


def words(name: str) -> str:
    """Return `List GPU hours` for `ListGpuHours`."""
    text = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    first, *others = text.replace("Gpu", "GPU").split()
    return " ".join([first, *(each if "GPU" in each else each.lower() for each in others)])


def merge(schema: Json, rules: Json) -> None:
    for name, value in rules.items():
        if isinstance(value, dict) and name in schema:
            merge(schema[name], value)
        else:
            schema[name] = value


def written_out(document: Json) -> None:
    """Replace the abbreviations."""
    for path, described in document["paths"].items():
        for operation in described.values():
            listed = operation.get("parameters", [])
            names = [each.get("name") for each in listed if each.get("in") == "path"]
            implied = [
                {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
                for name in re.findall(r"\{(\w+)\}", path)
                if name not in names
            ]
            if implied:
                operation["parameters"] = implied + listed
            responses = operation["responses"]
            own = responses.pop("x-errors", None)
            for status in sorted(OF_EVERY_OPERATION | set(own)) if own is not None else ():
                responses[str(status)] = {"$ref": f"#/components/responses/{ERRORS[status]}"}
            for body in (operation.get("requestBody", {}), *responses.values()):
                with_content(body)
    for error in document["components"]["responses"].values():
        example = error.pop("x-example", None)
        if example is not None:
            error["x-json"] = "ErrorResponse"
        with_content(error)
        if example is not None:
            error["content"]["application/json"]["example"] = example | {"trace_id": TRACE_ID}


def with_content(body: Json) -> None:
    if schema := body.pop("x-json", None):
        reference = {"$ref": f"#/components/schemas/{schema}"}
        body["content"] = {"application/json": {"schema": reference}}


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
