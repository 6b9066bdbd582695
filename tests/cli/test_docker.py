"""The command line and the Docker launcher, wired together."""

from pathlib import Path

from tests.cli.server import Server
from tests.docker.engine import Engine


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
        assert missing.code == 1
        assert "localhost:1/none" in missing.err
    finally:
        server.stop()
