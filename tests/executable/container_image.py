"""The release's container image by its Dockerfile and compose.yaml. `make test-release` names this
file. Debian 12 stands for the image that both are based on, which no registry has here."""

import hashlib
import json
import os
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from testbed import debian
from testbed.docker_engine import PrivateEngine
from tests.executable.bare_debians import ROOT, bare_debian
from tests.support.commands import ran

BASE, TAG = "debian", "12-slim"
START_SECONDS = 120
OWNER = 901
"""The image's user, as in both files."""


@pytest.fixture
def release(portable: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "release"
    folder.mkdir()
    shutil.copy(portable, folder)
    with portable.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    (folder / "SHA256SUMS").write_text(f"{digest}  {portable.name}\n")
    for name in ("Dockerfile", "compose.yaml"):
        shutil.copy(ROOT / "build/image" / name, folder)
    return folder


@pytest.fixture
def engine(own_docker_engine: PrivateEngine, tmp_path: Path) -> PrivateEngine:
    """An engine with the base image."""
    packed = tmp_path / "base.tar"
    with tarfile.open(packed, "w") as tar:
        tar.add(bare_debian("bookworm"), ".", filter=_without_program)
    own_docker_engine.client.api.import_image_from_file(str(packed), repository=BASE, tag=TAG)
    packed.unlink()
    # The ports of the service are on its loopback.
    raised = own_docker_engine.inside("ip", "link", "set", "lo", "up")
    assert raised.returncode == 0, raised.stderr
    return own_docker_engine


def _without_program(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    return None if entry.name == "./fetchml" else entry


@pytest.fixture
def data(engine: PrivateEngine) -> Path:
    folder = engine.folder / "lab"
    folder.mkdir(mode=0o700)
    os.chown(folder, OWNER, OWNER)
    engine.folder.chmod(0o711)
    return folder


def test_image_runs_tasks_beside_it(engine: PrivateEngine, release: Path, data: Path) -> None:
    debian.install("docker-compose")
    socket = engine.host.removeprefix("unix://")
    (release / "override.yaml").write_text(
        json.dumps({"services": {"fetchml": {"volumes": [f"{socket}:/var/run/docker.sock"]}}})
    )
    variables = {
        **os.environ,
        "DOCKER_HOST": engine.host,
        "DOCKER_BUILDKIT": "0",
        "DOCKER_GROUP": str(Path(socket).stat().st_gid),
        "FETCHML_DATA_DIR": str(data),
    }

    def compose(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = ["docker-compose", "-f", "compose.yaml", "-f", "override.yaml", *arguments]
        return ran(command, cwd=release, env=variables, timeout=START_SECONDS)

    engine.client.images.build(path=str(release), tag="fetchml")
    started = compose("up", "--detach", "--wait")
    assert started.returncode == 0, started.stderr + compose("logs").stdout
    submit = ("submit", "--wait", "--image", f"{BASE}:{TAG}", "--", "sh", "-c", "echo $((6 * 7))")
    done = compose("exec", "-T", "fetchml", "fetchml", *submit)
    assert done.returncode == 0, done.stderr + compose("logs").stdout
    assert "42" in done.stdout.splitlines()
    assert (data / "store/fetchml.duckdb").stat().st_uid == OWNER

    ended = compose("down")
    assert ended.returncode == 0, ended.stderr
    again = compose("up", "--detach", "--wait")
    assert again.returncode == 0, again.stderr
    listed = compose("exec", "-T", "fetchml", "fetchml", "ls", "-o", "json")
    assert json.loads(listed.stdout)["total"] == 1
    assert compose("down").returncode == 0


def test_altered_executable_makes_no_image(engine: PrivateEngine, release: Path) -> None:
    [program] = release.glob("fetchml-*-linux-*")
    with program.open("ab") as file:
        file.write(b"evil")
    with pytest.raises(Exception, match="sha256sum --check"):
        engine.client.images.build(path=str(release), tag="fetchml")
