"""Write the API reference from the comments of the protos: `reference.py FROM TO`.

FROM is a descriptor set with source information. `make proto` runs it.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

from google.api import annotations_pb2, field_behavior_pb2
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
    MethodDescriptorProto,
)

OURS = "fetchml.v1"
HEAD = """# API reference

Generated from the comments in [proto/fetchml/v1](../proto/fetchml/v1) by `make proto`. REST has the
same JSON under the paths listed here; [contract.md](contract.md) has its rules.

[proto/fetchml.binpb](../proto/fetchml.binpb) is the descriptor set with all imports, for
`grpcurl -protoset`, `buf`, gateways and code generators. A running server offers it by reflection.
`buf breaking` compares every change with the last release, `proto/baseline.binpb`.

Every call carries the API key in the metadata entry `x-api-key`. A failed call returns a gRPC
status, and its trace id in the trailer `x-trace-id`. The details of the status hold
`google.rpc.ErrorInfo`, whose `reason` is one of [ErrorResponse.Code](#errorresponsecode),
`BadRequest` with each broken rule, and `RetryInfo` if a retry can help.
"""


class Comments:
    """The comments of one file, by the path of the element that they describe."""

    def __init__(self, file: FileDescriptorProto) -> None:
        self._texts = {tuple(at.path): at.leading_comments for at in file.source_code_info.location}

    def of(self, *place: int) -> str:
        """Return the comment as one line. Raises ValueError if there is none."""
        text = " ".join(self._texts.get(place, "").split())
        if not text:
            raise ValueError(f"{place} has no comment")
        return text


def main(source: Path, destination: Path) -> None:
    files = [
        file
        for file in FileDescriptorSet.FromString(source.read_bytes()).file
        if file.package == OURS
    ]
    lines = [HEAD, "## Services", ""]
    for file in files:
        lines += services(file)
    lines += ["## Messages", ""]
    for file in files:
        comments = Comments(file)
        for index, message in enumerate(file.message_type):
            lines += message_section(message, message.name, comments, (4, index))
        for index, enum in enumerate(file.enum_type):
            lines += enum_section(enum, enum.name, comments, (5, index))
    destination.write_text("\n".join(lines).rstrip() + "\n")


def services(file: FileDescriptorProto) -> Iterator[str]:
    comments = Comments(file)
    for index, service in enumerate(file.service):
        yield from (f"### {service.name}", "", comments.of(6, index), "")
        yield from ("| call | request | reply | REST | description |", "|---|---|---|---|---|")
        for number, method in enumerate(service.method):
            request = streamed(method.input_type, streams=method.client_streaming)
            reply = streamed(method.output_type, streams=method.server_streaming)
            text = comments.of(6, index, 2, number)
            yield f"| `{method.name}` | {request} | {reply} | {rest_path(method)} | {text} |"
        yield ""


def streamed(type_name: str, *, streams: bool) -> str:
    return ("stream of " if streams else "") + link(type_name)


def rest_path(method: MethodDescriptorProto) -> str:
    rule = method.options.Extensions[annotations_pb2.http]
    verb = rule.WhichOneof("pattern")
    return f"`{verb.upper()} {getattr(rule, verb)}`" if verb else ""


def message_section(
    message: DescriptorProto, name: str, comments: Comments, place: tuple[int, ...]
) -> Iterator[str]:
    yield from (f"### {name}", "", comments.of(*place), "")
    if message.field:
        yield from ("| field | type | description |", "|---|---|---|")
    for index, field in enumerate(message.field):
        text = comments.of(*place, 2, index)
        required = (
            field_behavior_pb2.REQUIRED
            in field.options.Extensions[field_behavior_pb2.field_behavior]
        )
        text = f"Required. {text}" if required else text
        yield f"| `{field.name}` = {field.number} | {type_of(field, message)} | {text} |"
    yield ""
    for index, enum in enumerate(message.enum_type):
        yield from enum_section(enum, f"{name}.{enum.name}", comments, (*place, 4, index))
    for index, nested in enumerate(message.nested_type):
        if not nested.options.map_entry:
            yield from message_section(
                nested, f"{name}.{nested.name}", comments, (*place, 3, index)
            )


def enum_section(
    enum: EnumDescriptorProto, name: str, comments: Comments, place: tuple[int, ...]
) -> Iterator[str]:
    yield from (f"### {name}", "", comments.of(*place), "", "| value | description |", "|---|---|")
    for index, value in enumerate(enum.value):
        yield f"| `{value.name}` = {value.number} | {comments.of(*place, 2, index)} |"
    yield ""


def type_of(field: FieldDescriptorProto, message: DescriptorProto) -> str:
    entries = {entry.name: entry for entry in message.nested_type if entry.options.map_entry}
    if entry := entries.get(field.type_name.rpartition(".")[2]):
        key, value = (type_of(part, entry) for part in entry.field)
        return f"map of {key} to {value}"
    kind = link(field.type_name) if field.type_name else scalar(field)
    return f"list of {kind}" if field.label == field.LABEL_REPEATED else kind


def scalar(field: FieldDescriptorProto) -> str:
    return FieldDescriptorProto.Type.Name(field.type).removeprefix("TYPE_").lower()


def link(type_name: str) -> str:
    """Link `.fetchml.v1.Task.Status` to the heading `Task.Status`."""
    name = type_name.removeprefix(".")
    if not name.startswith(f"{OURS}."):
        return f"`{name}`"
    name = name.removeprefix(f"{OURS}.")
    return f"[{name}](#{name.replace('.', '').lower()})"


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
