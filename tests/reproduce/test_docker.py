"""The image that a task ran in, and a reproduction in the same one."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from testbed.docker_engine import Engine
from tests.support.cli_server import Server

NAME = "fetchml-test/reproduced"


@pytest.fixture
def release(docker_engine: Engine, python_image: str) -> Iterator[list[str]]:
    """Ids of images that the name had, the newest last."""
    made: list[str] = []
    yield made
    for each in made:
        docker_engine.client.images.remove(each, force=True)


def publish(engine: Engine, base: str, release: list[str], what: str) -> None:
    """Let the name mean another image."""
    container = engine.client.containers.create(base, ["true"])
    image = container.commit(NAME, "1", changes=f"ENV WHAT={what}")
    container.remove()
    release.append(str(image.id))


def test_image_by_its_digest(
    docker_engine: Engine, python_image: str, release: list[str], tmp_path: Path
) -> None:
    publish(docker_engine, python_image, release, "old")
    server = Server(
        tmp_path / "data",
        launcher="docker",
        DOCKER_HOST=docker_engine.host,
        FETCHML_TASKS_NETWORK="none",
    ).start()
    try:
        script = 'echo "{\\"loss\\": 1}" > /outputs/metrics.json; echo $WHAT'
        run = ("submit", "--wait", "--json", "--image", f"{NAME}:1", "--", "sh", "-c", script)
        task = json.loads(server.run(*run).succeeded())
        assert task["ran_with"]["image_id"] == release[0]
        publish(docker_engine, python_image, release, "new")
        newer = server.run("rerun", task["id"]).succeeded()
        server.run("logs", "-f", newer).succeeded()
        found = {each["name"]: each for each in server.json("diff", task["id"], newer)["sections"]}
        assert found["image"]["outcome"] == "different"
        assert server.run("logs", newer).succeeded() == "new"

        same = server.run("reproduce", task["id"])
        assert same.code == 0, same.out + same.err
        assert "image        identical" in same.out
        assert server.run("logs", "@last").succeeded() == "old"
    finally:
        server.stop()
