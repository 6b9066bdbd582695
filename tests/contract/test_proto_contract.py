"""The protos equal the user's contract: the same fields, nothing added, and the same JSON."""

from __future__ import annotations

import datetime
import re
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from google.api import annotations_pb2, field_behavior_pb2
from google.protobuf import json_format, message_factory
from google.protobuf.descriptor import (
    Descriptor,
    EnumDescriptor,
    FieldDescriptor,
    MethodDescriptor,
)
from hypothesis import given
from hypothesis import strategies as st
from openapi_schema_validator import OAS30Validator, oas30_format_checker

from fetchml.v1 import queue_pb2, task_pb2

if TYPE_CHECKING:
    from google.protobuf.message import Message

Schema = dict[str, Any]

CONTRACT: Schema = yaml.load(Path(__file__).with_name("openapi.yaml").read_text(), yaml.CSafeLoader)
SCHEMAS: dict[str, Schema] = CONTRACT["components"]["schemas"]
NAMES = (
    *("access", "audit", "error", "experiment", "gpu", "health"),
    *("jupyter", "key", "queue", "snapshot", "task", "usage"),
)
FILES = [import_module(f"fetchml.v1.{name}_pb2").DESCRIPTOR for name in NAMES]

# A service and a message cannot share a name in a package, and the service has it.
RENAMED = {"JupyterService": "JupyterServiceInfo"}

# Operations that no rpc stands for.
NOT_RPC = {
    ("get", "/health"): "the standard grpc.health.v1 service reports it",
    ("get", "/ws"): "a WebSocket cannot be transcoded; WatchTasks streams the same",
}
FIRST_ADDITION = 30
"""Exactly the contract's fields have numbers below this one."""


def message_of(schema_name: str) -> Descriptor:
    name = RENAMED.get(schema_name, schema_name)
    for file in FILES:
        if name in file.message_types_by_name:
            message: Descriptor = file.message_types_by_name[name]
            return message
    raise AssertionError(f"no message {name} for the schema {schema_name}")


def schema_kind(schema: Schema) -> str:
    """Return the kind of a property in the terms of `field_kind`."""
    if "$ref" in schema:
        return message_of(schema["$ref"].rpartition("/")[2]).full_name
    if schema["type"] == "array":
        return f"repeated {schema_kind(schema['items'])}"
    if schema["type"] == "object":
        return f"map of {schema_kind(schema['additionalProperties'])}"
    if "enum" in schema:
        return "enum"
    if schema.get("format") == "date-time":
        return "google.protobuf.Timestamp"
    return {"integer": "int32", "string": "string"}[schema["type"]]


def field_kind(field: FieldDescriptor) -> str:
    message = field.message_type
    if message is not None and message.GetOptions().map_entry:
        return f"map of {field_kind(message.fields_by_name['value'])}"
    one = {
        FieldDescriptor.TYPE_MESSAGE: message.full_name if message is not None else "",
        FieldDescriptor.TYPE_ENUM: "enum",
        FieldDescriptor.TYPE_INT32: "int32",
        FieldDescriptor.TYPE_STRING: "string",
    }.get(field.type, f"type {field.type}")
    return f"repeated {one}" if field.is_repeated else one


def enum_values(enum: EnumDescriptor | None) -> set[str]:
    """Return all names except that of zero, which stands for no value."""
    assert enum is not None
    assert enum.values_by_number[0].name.lower().endswith("_unspecified")
    return {value.name for value in enum.values if value.number != 0}


def is_required(field: FieldDescriptor) -> bool:
    behaviors = field.GetOptions().Extensions[field_behavior_pb2.field_behavior]
    return field_behavior_pb2.REQUIRED in behaviors


def camel_to_snake(path: str) -> str:
    return path.replace("taskId", "task_id").replace("serviceId", "service_id")


def contract_operations() -> dict[tuple[str, str], Schema]:
    return {
        (method, camel_to_snake(path)): operation
        for path, operations in CONTRACT["paths"].items()
        for method, operation in operations.items()
    }


def annotated_rpcs() -> dict[tuple[str, str], MethodDescriptor]:
    rpcs = {}
    for file in FILES:
        for service in file.services_by_name.values():
            for method in service.methods:
                rule = method.GetOptions().Extensions[annotations_pb2.http]
                if verb := rule.WhichOneof("pattern"):
                    rpcs[verb, getattr(rule, verb)] = method
    return rpcs


@pytest.mark.parametrize("name", SCHEMAS)
def test_message_has_the_schemas_fields_and_no_others(name: str) -> None:
    properties: dict[str, Schema] = SCHEMAS[name]["properties"]
    fields = {f.name: f for f in message_of(name).fields if f.number < FIRST_ADDITION}

    assert {n: field_kind(f) for n, f in fields.items()} == {
        n: schema_kind(s) for n, s in properties.items()
    }
    assert {n: enum_values(fields[n].enum_type) for n, s in properties.items() if "enum" in s} == {
        n: set(s["enum"]) for n, s in properties.items() if "enum" in s
    }
    required = set(SCHEMAS[name].get("required", []))
    assert {n for n, f in fields.items() if is_required(f)} == required
    # Without presence, JSON could not tell 0 from unset.
    assert [n for n, f in fields.items() if not (f.is_repeated or f.has_presence)] == []


def test_every_operation_has_its_rpc() -> None:
    assert set(contract_operations()) - set(NOT_RPC) <= set(annotated_rpcs())


@pytest.mark.parametrize(
    "key", [k for k in contract_operations() if k not in NOT_RPC], ids=" ".join
)
def test_rpc_has_the_operations_request_and_reply(key: tuple[str, str]) -> None:
    operation, rpc = contract_operations()[key], annotated_rpcs()[key]
    rule = rpc.GetOptions().Extensions[annotations_pb2.http]

    for parameter in operation.get("parameters", []):
        field = rpc.input_type.fields_by_name[camel_to_snake(parameter["name"])]
        assert field_kind(field) == schema_kind(parameter["schema"])
        assert is_required(field) == parameter.get("required", False)
        assert set(parameter["schema"].get("enum", [])) <= (
            enum_values(field.enum_type) if field.enum_type else set()
        )

    if "requestBody" in operation:
        body = operation["requestBody"]["content"]["application/json"]["schema"]
        assert (rule.body, rpc.input_type.full_name) == ("*", schema_kind(body))
    else:
        assert rule.body == ""

    success = next(r for status, r in operation["responses"].items() if status.startswith("2"))
    if "content" not in success:
        assert rpc.output_type.full_name == "google.protobuf.Empty"
    elif rule.response_body:
        answered = rpc.output_type.fields_by_name[rule.response_body]
        assert field_kind(answered) == schema_kind(success["content"]["application/json"]["schema"])
    else:
        answer = success["content"]["application/json"]["schema"]
        assert rpc.output_type.full_name == schema_kind(answer)


def timestamps() -> st.SearchStrategy[str]:
    """REST's times always have three fraction digits. Proto JSON has them except on whole seconds,
    where it has none: the same instant, tested on its own."""
    start = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
    seconds = st.integers(0, 2**32).map(lambda count: start + datetime.timedelta(seconds=count))
    return st.builds("{:%Y-%m-%dT%H:%M:%S}.{:03}Z".format, seconds, st.integers(1, 999))


def strings(schema: Schema) -> st.SearchStrategy[str]:
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if "pattern" in schema:
        alphabet = re.fullmatch(r"\^(\[.*\])\+\$", schema["pattern"])
        assert alphabet is not None, f"no strings for the pattern {schema['pattern']}"
        counted = f"{alphabet[1]}{{1,{schema['maxLength']}}}"
        return st.from_regex(counted, fullmatch=True)
    if schema.get("format") == "date-time":
        return timestamps()
    if schema.get("format") == "uri":
        return st.from_regex(r"https?://[a-z]{1,9}/[a-z0-9/]{0,9}", fullmatch=True)
    return st.text(max_size=schema.get("maxLength", 20))


def values(schema: Schema) -> st.SearchStrategy[Any]:
    """Values that a schema allows. Lists and maps have an entry at least: for a message an empty
    one and none are the same."""
    if "$ref" in schema:
        return values(SCHEMAS[schema["$ref"].rpartition("/")[2]])
    if "properties" in schema:
        properties = {name: values(s) for name, s in schema["properties"].items()}
        required = {name: properties.pop(name) for name in schema.get("required", [])}
        return st.fixed_dictionaries(required, optional=properties)
    if schema["type"] == "object":
        entries = values(schema["additionalProperties"])
        return st.dictionaries(st.text(max_size=9), entries, min_size=1, max_size=3)
    if schema["type"] == "array":
        return st.lists(values(schema["items"]), min_size=1, max_size=3)
    if schema["type"] == "integer":
        return st.integers(schema.get("minimum", -(2**31)), schema.get("maximum", 2**31 - 1))
    return strings(schema)


def to_message(name: str, body: Schema) -> Message:
    return json_format.ParseDict(body, message_factory.GetMessageClass(message_of(name))())


def to_json(message: Message) -> Schema:
    return json_format.MessageToDict(message, preserving_proto_field_name=True)


@pytest.mark.parametrize("name", SCHEMAS)
@given(data=st.data())
def test_json_of_a_message_is_the_rest_body(name: str, data: st.DataObject) -> None:
    body = data.draw(values(SCHEMAS[name]))
    document = {"$ref": f"#/components/schemas/{name}", "components": CONTRACT["components"]}
    OAS30Validator(document, format_checker=oas30_format_checker).validate(body)

    assert to_json(to_message(name, body)) == body


def test_zero_is_printed_and_unset_fields_are_omitted() -> None:
    task = task_pb2.Task(id="", status=task_pb2.Task.Status.queued, cpu=0, retry_count=0)
    assert to_json(task) == {"id": "", "status": "queued", "cpu": 0, "retry_count": 0}
    assert to_json(queue_pb2.QueueStats(queued=0)) == {"queued": 0}
    assert to_json(task_pb2.Task()) == {}


def test_whole_seconds_are_the_same_instant() -> None:
    message = to_message("Task", {"created_at": "2026-01-02T03:04:05.000Z"})
    assert to_json(message) == {"created_at": "2026-01-02T03:04:05Z"}
