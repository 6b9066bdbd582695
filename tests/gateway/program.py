"""A gateway made by grpc-gateway from our protos: what its plugin generates, and main.go beside it.

All of Go comes from Debian's packages. They put the library where its path has no version, and the
generated code names one: a link leads from the one to the other.
"""

import os
import shutil
import subprocess
from pathlib import Path

from testbed import debian

ROOT = Path(__file__).parents[2]
LIBRARIES = Path("/usr/share/gocode")
GATEWAY = "src/github.com/grpc-ecosystem/grpc-gateway"
PLUGINS = ("go", "go-grpc", "grpc-gateway")
PACKAGES = (
    "golang-go",
    "golang-grpc-gateway",
    "golang-github-grpc-ecosystem-grpc-gateway-dev",
    "golang-google-genproto-dev",
    "golang-google-grpc-dev",
    "golang-google-protobuf-dev",
    "protoc-gen-go",
    "protoc-gen-go-grpc",
)


def install() -> None:
    """Raises RuntimeError where they are missing and can't be had."""
    commands = ("go", *(f"protoc-gen-{plugin}" for plugin in PLUGINS))
    if all(map(shutil.which, commands)) and (LIBRARIES / GATEWAY).is_dir():
        return
    debian.install(*PACKAGES)


def build(folder: Path) -> Path:
    """The program. `folder` becomes a workspace of Go."""
    source = folder / "src"
    (source / "gateway").mkdir(parents=True)
    shutil.copy(ROOT / "tests/gateway/main.go", source / "gateway")
    (folder / GATEWAY).mkdir(parents=True)
    (folder / GATEWAY / "v2").symlink_to(LIBRARIES / GATEWAY)
    protos = [f"fetchml/v1/{path.name}" for path in (ROOT / "proto/fetchml/v1").glob("*.proto")]
    outputs = [f"--{plugin}_out={source}" for plugin in PLUGINS]
    subprocess.run([ROOT / "proto/protoc.sh", *outputs, *protos], check=True)
    program = folder / "gateway"
    # The cache is the user's own: gRPC takes long to compile, and is compiled once.
    workspace = {**os.environ, "GO111MODULE": "off", "GOPATH": f"{folder}:{LIBRARIES}"}
    subprocess.run(["go", "build", "-o", program, "gateway"], check=True, env=workspace)
    return program
