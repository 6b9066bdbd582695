"""The server as its systemd unit starts it: another user, with the unit's capabilities and no more.

Systemd is not needed: `setpriv` does what it would. Needs root.
"""

import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from fetchml.ops.systemd_unit import unit
from testbed.docker_engine import Engine
from tests.support.cli_server import FETCHML
from tests.support.other_user import as_service

UID = 4321
ENVIRONMENT = {"HOME": "/nonexistent", "TMPDIR": "/tmp"}  # noqa: S108


def granted(*, docker: bool) -> list[str]:
    """What the unit grants as ambient capabilities; it bounds all to the same."""
    text = unit(["/bin/true"], data_dir=Path("/var/lib/x"), docker=docker, docker_group=docker)
    (ambient,) = re.findall("^AmbientCapabilities=(.*)$", text, re.MULTILINE)
    assert re.findall("^CapabilityBoundingSet=(.*)$", text, re.MULTILINE) == [ambient]
    return [str(name) for name in ambient.split()]


def as_the_unit(group: int, names: list[str]) -> list[str]:
    return as_service(UID, names, *FETCHML, group=group)


@pytest.fixture
def service_data_dir() -> Iterator[Path]:
    """Of the server's user, where others may come by."""
    folder = Path(tempfile.mkdtemp(prefix="fetchml-uid-"))
    folder.chmod(0o755)
    (folder / "data").mkdir(mode=0o700)
    shutil.chown(folder / "data", UID, UID)
    yield folder / "data"
    shutil.rmtree(folder)


@pytest.fixture
def docker_group(docker_engine: Engine) -> Iterator[int]:
    """Those who are in it may use the engine."""
    socket = Path(docker_engine.host.removeprefix("unix://"))
    mode = socket.parent.stat().st_mode
    socket.parent.chmod(mode | 0o011)
    yield socket.stat().st_gid
    socket.parent.chmod(mode)
