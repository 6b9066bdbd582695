"""MLflow's own clients, each in a virtual environment of its own, and a server for them."""

import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.cli_server import SECONDS, Server

CLIENTS = Path(__file__).with_name("clients")
SCRIPTS = Path(__file__).with_name("scripts")


class Client:
    """An installed client."""

    def __init__(self, environment: Path) -> None:
        self.bin = environment / "bin"

    def run(self, script: str, uri: str, **variables: str) -> Any:
        """Run one of the scripts against a server. Returns what it printed last, which is JSON."""
        done = self._run(script, uri, **variables)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    def fails(self, script: str, uri: str, **variables: str) -> str:
        """Run a script that fails. Returns what it reported."""
        done = self._run(script, uri, **variables)
        assert done.returncode != 0
        return done.stderr

    def _run(self, script: str, uri: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.bin / "python", SCRIPTS / f"{script}.py"],
            env={
                "PATH": "/usr/bin:/bin",
                "MLFLOW_TRACKING_URI": uri,
                "MLFLOW_DISABLE_TELEMETRY": "true",
                # A fault of the server fails at once, rather than after minutes.
                "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
                "GIT_PYTHON_REFRESH": "quiet",
                **variables,
            },
            capture_output=True,
            text=True,
            check=False,
        )


def _installed(name: str, folder: Path) -> Client:
    uv = [str(Path(sys.executable).with_name("uv")), "--quiet"]
    environment = folder / name
    subprocess.run([*uv, "venv", "--python", sys.executable, str(environment)], check=True)
    options = ["--python", str(environment / "bin/python"), "--no-deps", "--require-hashes"]
    lock = str(CLIENTS / f"{name}.lock")
    subprocess.run([*uv, "pip", "install", *options, "-r", lock], check=True)
    return Client(environment)


@pytest.fixture(scope="session")
def newest(tmp_path_factory: pytest.TempPathFactory) -> Client:
    return _installed("newest", tmp_path_factory.mktemp("mlflow"))


@pytest.fixture(scope="session")
def older(tmp_path_factory: pytest.TempPathFactory) -> Client:
    return _installed("older", tmp_path_factory.mktemp("mlflow"))


@pytest.fixture(scope="session")
def full(tmp_path_factory: pytest.TempPathFactory) -> Client:
    """With scikit-learn, and MLflow's own server."""
    return _installed("full", tmp_path_factory.mktemp("mlflow"))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path / "data").start()
    yield server
    server.stop()


def uri(server: Server) -> str:
    return f"http://{server.http}/mlflow"


def get_json(server: Server, path: str) -> Any:
    """Return what an admin reads over REST."""
    request = urllib.request.Request(
        f"http://{server.http}{path}", headers={"X-API-Key": server.admin_key}
    )
    with urllib.request.urlopen(request, timeout=SECONDS) as reply:  # noqa: S310 - likewise
        return json.load(reply)
