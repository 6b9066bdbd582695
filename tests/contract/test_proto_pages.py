"""The pages generated from the protos are complete, and breaking changes are detected."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorSet

from tests.support.validate import ROOT

PROTOS = FileDescriptorSet.FromString((ROOT / "proto/fetchml.binpb").read_bytes())
OURS = [file for file in PROTOS.file if file.package == "fetchml.v1"]


def test_every_rpc_and_field_is_documented() -> None:
    page = (ROOT / "docs/api.md").read_text()
    _, *parts = re.split(r"^### ", page, flags=re.MULTILINE)
    sections = {part.partition("\n")[0]: part for part in parts}
    assert len(OURS) == len(list((ROOT / "proto/fetchml/v1").glob("*.proto")))
    for file in OURS:
        for service in file.service:
            for method in service.method:
                assert f"| `{method.name}` |" in sections[service.name]
        for message in file.message_type:
            for field in message.field:
                assert f"| `{field.name}` = {field.number} |" in sections[message.name]
            for enum in message.enum_type:
                for value in enum.value:
                    assert f"| `{value.name}` =" in sections[f"{message.name}.{enum.name}"]


BROKEN = 100
"""Exit code of `buf breaking` for a change that breaks clients."""


def breaking(checkout: Path) -> int:
    """Compare the protos of `checkout` with the last release as `proto/check.sh` does."""
    image = checkout / "image.binpb"
    outputs = ["--include_imports", f"--descriptor_set_out={image}"]
    names = [f"fetchml/v1/{path.name}" for path in (checkout / "proto/fetchml/v1").glob("*.proto")]
    subprocess.run([checkout / "proto/protoc.sh", *outputs, *names], check=True)
    buf = str(Path(sys.executable).with_name("buf"))
    command = [buf, "breaking", str(image), "--against", str(ROOT / "proto/baseline.binpb")]
    command += ["--path", "fetchml", "--exclude-imports", "--config", str(ROOT / "buf.yaml")]
    return subprocess.run(command, check=False, capture_output=True).returncode


@pytest.mark.slow
def test_breaking_changes_are_detected(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "proto", tmp_path / "proto")
    (tmp_path / ".venv").symlink_to(ROOT / ".venv")
    assert breaking(tmp_path) == 0
    proto = tmp_path / "proto/fetchml/v1/task.proto"
    text = proto.read_text()
    for was, becomes in (
        ("  optional string job_name = 2;\n", ""),
        ("optional int32 priority = 4;", "optional int64 priority = 4;"),
        ("rpc GetTask(", "rpc FetchTask("),
    ):
        assert was in text
        proto.write_text(text.replace(was, becomes, 1))
        assert breaking(tmp_path) == BROKEN, was
