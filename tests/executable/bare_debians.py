"""Bare Debians, in which the release's executable runs: no Python, no libraries. They need `make
release`, root, and a minute for each the first time."""

import http.client
import json
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.cli_server import SECONDS, environment

ROOT = Path(__file__).parents[2]
Inside = Callable[[Sequence[str]], list[str]]


@pytest.fixture(scope="session")
def portable() -> Path:
    files = (ROOT / "build/dist/release").glob("fetchml-*-linux-*")
    [file] = [each for each in files if each.suffix != ".json"]
    return file


def bare_debian(suite: str) -> Path:
    """Return the root folder of a Debian, which is kept for the next time."""
    root = ROOT / "build/work/roots" / suite
    if not (root / "etc/made").exists():
        root.mkdir(parents=True, exist_ok=True)
        subprocess.run(
            ["debootstrap", "--variant=minbase", suite, root],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        (root / "etc/made").touch()
    assert not list(root.glob("usr/bin/python3*"))
    return root


@pytest.fixture(scope="session", params=["bullseye", "bookworm"])
def debian(request: pytest.FixtureRequest, portable: Path) -> Path:
    root = bare_debian(str(request.param))
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
def serve_inside(inside: Inside, tmp_path: Path) -> Iterator[Callable[..., Server]]:
    servers: list[Server] = []

    def start(launcher: str = "process", *shared: Path, **variables: str) -> Server:
        flags = ["--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0", "--launcher", launcher]
        command = ["/fetchml", "serve", "--data-dir", str(tmp_path / "data"), *flags]
        servers.append(Server(inside(command, *shared), TMPDIR=str(tmp_path), **variables))
        return servers[-1]

    yield start
    for server in servers:
        if server.process.poll() is None:
            server.end(signal.SIGKILL)
