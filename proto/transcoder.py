"""Writes the descriptor set that Envoy's transcoder reads: `transcoder.py FROM TO`.

It is the API's own, with two changes. Envoy refuses a whole configuration for a `response_body`
(transcoder.yaml unwraps those lists itself), and turns an error into JSON only when it knows the
types of its details.
"""

import sys
from pathlib import Path

from google.api import annotations_pb2
from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.rpc import error_details_pb2, status_pb2


def main(source: Path, destination: Path) -> None:
    files = FileDescriptorSet.FromString(source.read_bytes())
    for file in files.file:
        for service in file.service:
            for method in service.method:
                method.options.Extensions[annotations_pb2.http].ClearField("response_body")
    for details in (status_pb2.DESCRIPTOR, error_details_pb2.DESCRIPTOR):
        add(files, details)
    destination.write_bytes(files.SerializeToString(deterministic=True))


def add(files: FileDescriptorSet, wanted: FileDescriptor) -> None:
    """With what it imports before it, as `protoc --include_imports` has it."""
    for imported in wanted.dependencies:
        add(files, imported)
    if wanted.name not in {file.name for file in files.file}:
        wanted.CopyToProto(files.file.add())


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
