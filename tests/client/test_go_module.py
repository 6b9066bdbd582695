"""The commands that docs/clients.md gives for a Go module of one's own.

`go mod tidy` would ask the internet: here Debian's packages stand in a vendor folder instead.
"""

import os
import shutil
from pathlib import Path

import pytest

from testbed import debian
from tests.client.programs import EXAMPLES, GO, PROTOS, run

pytestmark = pytest.mark.slow

SOURCES = Path("/usr/share/gocode/src")
DOCS = PROTOS.parent / "docs/clients.md"
PATHS_OF_MODULES = (
    "google.golang.org/genproto/googleapis/api",
    "google.golang.org/genproto/googleapis/rpc",
    "google.golang.org/grpc",
    "google.golang.org/protobuf",
    "github.com/golang/protobuf",
    "golang.org/x/net",
    "golang.org/x/sys",
    "golang.org/x/text",
)


def documented() -> list[str]:
    go = DOCS.read_text().partition("\n## Go\n")[2].partition("\n## ")[0]
    return [line.removeprefix("$ ") for line in go.splitlines() if line.startswith("$ ")]


def vendor(module: Path) -> None:
    """Copy whole modules: `go build` selects the packages that it needs."""
    listing = []
    for path in PATHS_OF_MODULES:
        shutil.copytree(SOURCES / path, module / "vendor" / path)
        packages = sorted({file.parent for file in (SOURCES / path).rglob("*.go")})
        listing += [f"# {path} v1.0.0", "## explicit; go 1.24"]
        listing += [str(package.relative_to(SOURCES)) for package in packages]
    (module / "vendor/modules.txt").write_text("\n".join([*listing, ""]))
    with (module / "go.mod").open("a") as file:
        file.writelines(f"\nrequire {path} v1.0.0" for path in PATHS_OF_MODULES)


def test_the_documented_commands_build_a_module(tmp_path: Path) -> None:
    debian.install(*GO)
    *prepare, tidy, build = documented()
    assert (tidy, build) == ("go mod tidy", "go build")
    for command in prepare:
        run("bash", "-ec", command, cwd=tmp_path, FETCHML=str(EXAMPLES.parents[1]))
    assert {file.name for file in (tmp_path / "fetchml/v1").iterdir()} == {
        "task.pb.go",
        "task_grpc.pb.go",
    }
    vendor(tmp_path)
    run(
        *build.split(),
        cwd=tmp_path,
        CGO_ENABLED="0",
        GOFLAGS="-mod=vendor -ldflags=-w '-gcflags=all=-N -l'",
        GOPROXY="off",
    )
    assert os.access(tmp_path / "trainer", os.X_OK)
