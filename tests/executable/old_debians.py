"""The release's executable on bare Debian 11 and 12: no Python, no libraries. `make test-binary`
names this file: it needs `make release`, root, and a minute for each Debian the first time."""

import http.client
import json
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from testbed.docker_engine import Engine
from tests.executable.conftest import ROOT
from tests.support.cli_server import SECONDS, environment
from tests.support.commands import ran

FIRST_ANSWER_SECONDS = 1.5
STARTS = 20
Inside = Callable[[Sequence[str]], list[str]]


@pytest.fixture(scope="session")
def portable() -> Path:
    files = (ROOT / "build/dist/release").glob("fetchml-*-linux-*")
    [file] = [each for each in files if each.suffix != ".json"]
    return file


@pytest.fixture(scope="session", params=["bullseye", "bookworm"])
def debian(request: pytest.FixtureRequest, portable: Path) -> Path:
    """Kept for the next time."""
    root = ROOT / "build/work/roots" / str(request.param)
    if not (root / "etc/made").exists():
        root.mkdir(parents=True, exist_ok=True)
        subprocess.run(
            ["debootstrap", "--variant=minbase", request.param, root],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        (root / "etc/made").touch()
    assert not list(root.glob("usr/bin/python3*"))
    (root / "fetchml").unlink(missing_ok=True)
    subprocess.run(["cp", "--reflink=auto", portable, root / "fetchml"], check=True)
    return root


@pytest.fixture
def inside(debian: Path, tmp_path: Path) -> Inside:
    """Makes a command run in the Debian, where the test's own folder has the same name."""

    def inside(command: Sequence[str], *shared: Path) -> list[str]:
        mounts = [f"mount -t proc proc {debian}/proc"]
        for folder in (tmp_path, *shared):
            (debian / folder.relative_to("/")).mkdir(parents=True, exist_ok=True)
            mounts.append(f"mount --bind {folder} {debian}{folder}")
        script = f'{" && ".join(mounts)} && exec chroot {debian} "$@"'
        return ["unshare", "--mount", "sh", "-c", script, "inside", *command]

    return inside


class Server:
    """`fetchml serve` in there; its network is this machine's."""

    def __init__(self, command: Sequence[str], **variables: str) -> None:
        path = "/usr/sbin:/usr/bin:/sbin:/bin"
        given = {"PATH": path, "FETCHML_ADMIN_KEY": "k" * 32, **variables}
        self._began = time.monotonic()
        self.process = subprocess.Popen(
            command, env=environment(**given), stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        words = self.process.stdout.readline().split()
        self.http = words[1].partition("=")[2]
        assert self.ask("GET", "/health")[0] == 200
        self.answered_after = time.monotonic() - self._began

    def ask(self, method: str, path: str, body: object = None) -> tuple[int, bytes]:
        headers = {"X-API-Key": "k" * 32, "Content-Type": "application/json"}
        with closing(http.client.HTTPConnection(self.http)) as connection:
            connection.request(method, path, json.dumps(body) if body else None, headers)
            reply = connection.getresponse()
            return reply.status, reply.read()

    def submit(self, *command: str, **fields: object) -> str:
        status, body = self.ask(
            "POST", "/v1/tasks", {"job_name": "job", "command": command, **fields}
        )
        assert status == 201, body
        return str(json.loads(body)["id"])

    def log(self, task_id: str) -> bytes:
        """All of it, once the task has ended."""
        status, body = self.ask("GET", f"/v1/tasks/{task_id}/logs?follow=1")
        assert status == 200, body
        return body

    def end(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        status = self.process.wait(SECONDS)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return status


@pytest.fixture
def serve(inside: Inside, tmp_path: Path) -> Iterator[Callable[..., Server]]:
    servers: list[Server] = []

    def serve(launcher: str = "process", *shared: Path, **variables: str) -> Server:
        flags = ["--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0", "--launcher", launcher]
        command = ["/fetchml", "serve", "--data-dir", str(tmp_path / "data"), *flags]
        servers.append(Server(inside(command, *shared), TMPDIR=str(tmp_path), **variables))
        return servers[-1]

    yield serve
    for server in servers:
        if server.process.poll() is None:
            server.end(signal.SIGKILL)


def test_starts_quickly_and_runs_a_task(serve: Callable[..., Server], tmp_path: Path) -> None:
    server = serve()
    for _ in range(STARTS):
        # The best of some: what else the machine does is no fault of ours.
        if server.answered_after < FIRST_ANSWER_SECONDS:
            break
        assert server.end(signal.SIGTERM) == 0
        server = serve()
    assert server.answered_after < FIRST_ANSWER_SECONDS
    assert server.log(server.submit("sh", "-c", "echo $((6 * 7))")) == b"42\n"
    assert server.end(signal.SIGTERM) == 0
    assert not list(tmp_path.glob("_MEI*"))


def test_task_in_a_container(
    serve: Callable[..., Server], docker_engine: Engine, python_image: str
) -> None:
    socket = Path(docker_engine.host.removeprefix("unix://"))
    server = serve("docker", socket.parent, DOCKER_HOST=docker_engine.host)
    task_id = server.submit("python3", "-c", "print(6 * 7)", image=python_image)
    assert server.log(task_id) == b"42\n"
    assert server.end(signal.SIGTERM) == 0


def test_kill_loses_no_task(serve: Callable[..., Server], tmp_path: Path) -> None:
    server = serve()
    runs = server.submit("sh", "-c", "sleep 2; echo after")
    waits = server.submit("true")
    server.end(signal.SIGKILL)
    left = set(tmp_path.glob("_MEI*"))
    again = serve()
    assert not left & set(tmp_path.glob("_MEI*"))
    assert again.log(runs) == b"after\n"
    assert again.log(waits) == b""
    assert again.end(signal.SIGTERM) == 0


def test_service_is_installed_upgraded_and_removed(
    inside: Inside, debian: Path, tmp_path: Path
) -> None:
    """With a systemctl that writes down what it is asked; then what the unit would run."""
    systemctl = debian / "usr/local/sbin/systemctl"
    systemctl.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\necho ActiveState=active\n')
    systemctl.chmod(0o755)
    unit = debian / "etc/systemd/system/fetchml.service"
    path = {"PATH": "/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin", "TMPDIR": str(tmp_path)}

    def run(*command: str) -> str:
        return ran(inside(command), env=environment(**path), check=True).stdout

    install = ("service", "install", "--yes", "--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0")
    run("/fetchml", *install, "--launcher", "process")
    assert (tmp_path / "asked").read_text().splitlines() == [
        "daemon-reload",
        "enable fetchml.service",
        "restart fetchml.service",
    ]
    [line] = [line for line in unit.read_text().splitlines() if line.startswith("ExecStart=")]
    as_user = 'mkdir -p "$0" && chown fetchml: "$0" && exec setpriv --reuid fetchml --regid fetchml'
    data = str(tmp_path / "var")
    tmp_path.chmod(0o777)
    for parent in tmp_path.parents[:2]:
        parent.chmod(0o755)
    command = line.removeprefix("ExecStart=").replace("/var/lib/fetchml", data).split()
    server = Server(
        inside(["sh", "-c", f'{as_user} --init-groups "$@"', data, *command]),
        TMPDIR=str(tmp_path),
    )
    assert server.log(server.submit("id", "-un")) == b"fetchml\n"
    assert server.end(signal.SIGTERM) == 0

    run("/usr/local/bin/fetchml", *install, "--launcher", "docker")
    assert "--launcher docker" in unit.read_text()
    assert "state active" in run("/fetchml", "service", "status")
    run("/fetchml", "service", "uninstall", "--yes")
    assert not unit.exists()
    assert not (debian / "usr/local/bin/fetchml").exists()
    assert Path(data, "store/fetchml.duckdb").exists()
    assert "fetchml:" in (debian / "etc/passwd").read_text()


def test_older_release_does_not_replace_a_newer_one(inside: Inside, debian: Path) -> None:
    place = debian / "usr/local/bin/fetchml"
    place.write_text('#!/bin/sh\necho \'{"version": "9.0", "schema": 1000}\'\n')
    place.chmod(0o755)
    try:
        refused = ran(inside(["/fetchml", "service", "install", "--yes"]), env=environment())
        assert refused.returncode == 1
        assert "9.0 is installed" in refused.stderr
        assert place.read_text().startswith("#!/bin/sh")
    finally:
        place.unlink()
