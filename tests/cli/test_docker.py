"""The command line and the Docker launcher, wired together."""

from pathlib import Path

import pytest

from testbed.docker_engine import Engine
from tests.support.cli_server import Server


def test_a_task_runs_in_a_container(
    docker_engine: Engine, python_image: str, tmp_path: Path
) -> None:
    server = Server(
        tmp_path / "data",
        launcher="docker",
        DOCKER_HOST=docker_engine.host,
        FETCHML_TASKS_IMAGE=python_image,
        FETCHML_TASKS_NETWORK="none",
    ).start()
    try:
        command = "import os, sys; print(os.getcwd(), os.listdir('/sys/class/net')); sys.exit(4)"
        ran = server.run("submit", "--wait", "--", "python3", "-c", command)
        assert ran.out == "/workspace ['lo']\n"
        assert ran.code == 4, ran.err
        missing = server.run("submit", "--wait", "--image", "localhost:1/none", "--", "true")
        assert missing.code == 125, "the task has no exit code of its own"
        assert "localhost:1/none" in missing.err
    finally:
        server.stop()


@pytest.mark.parametrize("user", ["1000:1000", "image"])
@pytest.mark.slow
def test_the_code_belongs_to_the_tasks_user(
    docker_engine: Engine, python_image: str, tmp_path: Path, user: str
) -> None:
    code = tmp_path / "code"
    (code / "src").mkdir(parents=True)
    (code / "src/a.py").write_text("1")
    (code / "link").symlink_to("src")
    (code / "run.sh").write_text(
        "cat src/a.py; echo 2 > src/a.py; touch new src/new; rm link; stat -c %u:%g . src src/a.py"
    )
    server = Server(
        tmp_path / "data",
        launcher="docker",
        DOCKER_HOST=docker_engine.host,
        FETCHML_TASKS_IMAGE=python_image,
        FETCHML_TASKS_USER=user,
    ).start()
    try:
        ran = server.run("submit", "--wait", "--dir", str(code), "--", "sh", "run.sh")
        owner = "0:0" if user == "image" else user
        assert ran.succeeded().split() == ["1" + owner, owner, owner], ran.err
    finally:
        server.stop()
