"""`fetchml jupyter` with a stand-in for Jupyter in the containers."""

import getpass
import signal
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from docker.errors import APIError

from testbed.docker_engine import Engine
from tests.cli.test_commands import rest
from tests.support.cli_server import Server
from tests.support.jupyter_image import jupyter_image
from tests.support.waiting import SECONDS

STAND_IN = Path(__file__).parents[1] / "support" / "fake_jupyter.py"
NAME = "fetchml-test/stand-in:1"


@pytest.fixture(scope="module")
def image(docker_engine: Engine, python_image: str) -> Iterator[str]:
    """An image whose `jupyter` is the stand-in."""
    with jupyter_image(docker_engine, python_image, STAND_IN, NAME) as made:
        yield made


@pytest.fixture
def box(docker_engine: Engine, image: str, tmp_path: Path) -> Iterator[Server]:
    started = Server(
        tmp_path / "data",
        launcher="docker",
        DOCKER_HOST=docker_engine.host,
        FETCHML_TASKS_NETWORK="none",
        FETCHML_TASKS_MAX_RUNNING="1",
        FETCHML_TASKS_GRACE_SECONDS="1",
        FETCHML_JUPYTER_IMAGES=f"jupyter/pytorch:latest={image}",
    ).start()
    yield started
    for service in started.json("jupyter", "ls")["services"]:
        started.run("jupyter", "stop", service["id"]).succeeded()
    started.stop()
    for container in docker_engine.client.containers.list(all=True, ignore_removed=True):
        if container.attrs["Config"]["Image"] == image:
            with suppress(APIError):  # The server is removing it.
                container.remove(force=True)


def test_jupyter_from_start_to_stop(box: Server) -> None:
    ran = box.run("jupyter", "start", "--workspace", "team/notes", "--cpu", "1", BROWSER="echo")
    link = ran.succeeded()
    me = getpass.getuser()
    assert f"{me} starting: " in ran.err
    [listed] = box.json("jupyter", "ls")["services"]
    service = box.json("jupyter", "show", listed["id"][-12:])
    assert service == rest(box, f"/v1/jupyter/services/{listed['id']}?view=full")
    assert (service["name"], service["workspace"], service["cpu"]) == (me, "team/notes", 1)
    assert service["status"] == "running"
    assert link == f"http://{box.http}/jupyter/{service['id']}/lab?token={service['token']}"
    assert link in box.run("jupyter", "show", service["id"]).succeeded()
    table = box.run("jupyter", "ls").succeeded()
    assert "team/notes" in table
    assert service["token"] not in table
    assert service["token"] not in box.log
    waits = box.run("jupyter", "start", "--name", "second", "--no-wait", "--json")
    assert '"status": "starting"' in waits.succeeded()
    assert "It waits for 1 slot for tasks" in box.run("jupyter", "ls").succeeded()
    stopped = box.run("jupyter", "stop", service["id"])
    assert stopped.succeeded() == f"{service['id']} is stopping"
    assert (box.data_dir / "jupyter/team/notes/pid").exists()


def test_open_hides_the_token_from_other_users(box: Server, tmp_path: Path) -> None:
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\nprintf %s "$*" > {tmp_path}/opened\n')
    browser.chmod(0o755)
    runtime = {"XDG_RUNTIME_DIR": str(tmp_path / "runtime")}
    link = box.run("jupyter", "start", "--open", BROWSER=str(browser), **runtime).succeeded()
    file = tmp_path / "runtime/fetchml-link.html"
    assert (tmp_path / "opened").read_text() == file.as_uri()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert f"url={link}" in file.read_text()
    nothing = {"BROWSER": "/nothing", "PATH": "/nothing", **runtime}
    none = box.run("jupyter", "start", "--open", "--no-wait", **nothing)
    assert none.code == 1
    assert "No browser" in none.err
    assert "/lab?token=" in none.out


def test_a_failed_start_shows_its_reason(box: Server) -> None:
    failed = box.run("jupyter", "start", "--image", "localhost:1/none")
    assert failed.code == 1
    assert "localhost:1/none" in failed.err
    assert failed.out == ""
    (box.data_dir / "jupyter/bad").mkdir()
    (box.data_dir / "jupyter/bad/dies").touch()
    died = box.run("jupyter", "start", "--name", "bad").failed(1)
    assert "error: Jupyter ended by itself with exit code 3: no such token: …" in died


def test_ctrl_c_leaves_the_service_running(box: Server) -> None:
    box.run("jupyter", "start").succeeded()
    command = box.begin("jupyter", "start", "--name", "waits")
    assert command.stderr is not None
    assert "waits starting: " in command.stderr.readline()
    command.send_signal(signal.SIGINT)
    _, said = command.communicate(timeout=SECONDS)
    assert command.returncode == 130
    assert "fetchml jupyter stop" in said
    assert [each["status"] for each in box.json("jupyter", "ls")["services"]] == [
        "starting",
        "running",
    ]


def test_without_containers(server: Server) -> None:
    assert "start the server with '--launcher docker'" in server.run("jupyter", "start").failed(3)
    assert server.json("jupyter", "ls") == {"services": []}
    for command in ("show", "stop"):
        unknown = server.run("jupyter", command, "nothing").failed(5)
        assert "Jupyter service 'nothing' not found" in unknown
    wrong = server.run("jupyter", "start", "--workspace", "../etc").failed(2)
    assert "workspace: must be a path below the server's own folder" in wrong
