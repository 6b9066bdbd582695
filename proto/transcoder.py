"""Write the descriptor set that Envoy's transcoder reads: `transcoder.py FROM TO`.

It is the API's own without `response_body`: Envoy rejects a whole configuration that has one, so
transcoder.yaml unwraps those lists itself.
"""

import sys
from pathlib import Path

from google.api import annotations_pb2
from google.protobuf.descriptor_pb2 import FileDescriptorSet


def main(source: Path, destination: Path) -> None:
    files = FileDescriptorSet.FromString(source.read_bytes())
    for file in files.file:
        for service in file.service:
            for method in service.method:
                method.options.Extensions[annotations_pb2.http].ClearField("response_body")
    destination.write_bytes(files.SerializeToString(deterministic=True))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
