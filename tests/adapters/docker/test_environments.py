"""Builds of environments while the Docker engine is away."""

import asyncio
from collections.abc import Callable
from pathlib import Path

from fetchml.adapters.docker.engine import DockerEngine
from fetchml.adapters.docker.environment_builder import BuildLimits, DockerEnvironmentBuilder
from fetchml.adapters.docker.network import TaskNetwork
from fetchml.adapters.uv_command import UvOptions
from fetchml.ports.environment_builder import Build
from tests.support.waiting import soon, until_true


async def no_image(image: str, progress: Callable[[str], None]) -> None:
    raise AssertionError(image)


async def test_build_waits_for_the_engine_and_can_be_cancelled(tmp_path: Path) -> None:
    uv = tmp_path / "uv"
    uv.write_text("")
    builder = DockerEnvironmentBuilder(
        DockerEngine(f"unix://{tmp_path}/nothing"),
        TaskNetwork("none"),
        no_image,
        data_dir=tmp_path,
        uv=uv,
        options=UvOptions(),
        limits=BuildLimits(timeout_seconds=0),
    )
    sentences: list[str] = []
    build = Build("one", tmp_path, tmp_path, "image", None, "requirements", "requirements.txt")
    building = asyncio.create_task(builder.build(build, sentences.append))
    await until_true(lambda: "waiting for the Docker engine" in sentences)
    await asyncio.wait({building}, timeout=0.2)
    assert not building.done()  # Its time limit does not run meanwhile.
    building.cancel()
    # The server may be stopping: it does not wait for the engine.
    await soon(asyncio.gather(building, return_exceptions=True))
    assert building.cancelled()
