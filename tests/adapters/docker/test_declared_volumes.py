"""Images whose VOLUME instructions would give tasks a disk without a limit."""

import io
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from fetchml.adapters.docker.container_config import ContainerLimits, container_name
from fetchml.adapters.docker.container_requests import MAX_DECLARED
from fetchml.adapters.docker.launcher import DockerLauncher
from fetchml.ports.launcher import AttemptExit, PrepareError
from testbed.docker_engine import Engine
from tests.support.launcher_bench import Bench, silent
from tests.support.launcher_bench import bench as open_bench
from tests.support.waiting import soon

pytestmark = pytest.mark.slow

DECLARED = ("/declared", "/var/lib/of the image", "/workspace", "/tmp")  # noqa: S108
FILL = """
import json, os
kinds = {line.split()[1]: line.split()[2] for line in open("/proc/mounts")}
written = 0
try:
    with open("/declared/file", "wb", 0) as file:
        while written < 64 << 20:
            written += file.write(bytes(1 << 20))
except OSError as error:
    print(json.dumps([error.strerror, written >> 20, kinds["/declared"]]))
open("/var/lib/of the image/file", "w").write("x")
"""


@contextmanager
def image(engine: Engine, base: str, *volumes: str) -> Iterator[str]:
    name = f"fetchml-test/declares{len(volumes)}:1"
    file = f"FROM {base}\nVOLUME {json.dumps(volumes)}\n"
    engine.client.images.build(fileobj=io.BytesIO(file.encode()), tag=name, rm=True)
    try:
        yield name
    finally:
        engine.client.images.remove(name, force=True)


@pytest.fixture
async def bench(tmp_path: Path, docker_engine: Engine, python_image: str) -> AsyncIterator[Bench]:
    def make(_: object) -> DockerLauncher:
        limits = ContainerLimits(tmp_mb=8)
        return DockerLauncher(
            tmp_path / "data", host=docker_engine.host, network="none", limits=limits
        )

    with ExitStack() as stack:
        name = stack.enter_context(image(docker_engine, python_image, *DECLARED))
        async with open_bench(tmp_path / "data", name, make) as bench:
            yield bench


@pytest.mark.parametrize("was_cut_off", [False, True])
async def test_declared_volumes_are_in_memory_and_have_a_limit(
    bench: Bench, docker_engine: Engine, *, was_cut_off: bool
) -> None:
    """`was_cut_off`: an earlier server created the container, and was killed before it looked."""
    launcher = await bench.open()
    run = bench.run("python3", "-c", FILL)
    name = container_name(run.task_id, run.attempt)
    before = {each.name for each in docker_engine.client.volumes.list()}
    if was_cut_off:
        docker_engine.client.containers.create(run.image, name=name)
        made = {each.name for each in docker_engine.client.volumes.list()} - before
        assert made, "the engine gives each declared volume a folder on its disk"
    folder = await bench.start(launcher, run)
    assert await soon(launcher.wait(run)) == AttemptExit()
    # Two of the four are FetchML's own places; the others share the size of /tmp.
    assert json.loads(folder.tail()) == ["No space left on device", 4, "tmpfs"]
    container = docker_engine.client.containers.get(name)
    assert not [each for each in container.attrs["Mounts"] if each["Type"] == "volume"]
    assert {each.name for each in docker_engine.client.volumes.list()} == before
    await soon(launcher.remove(run))


async def test_image_that_declares_too_many_is_refused(
    bench: Bench, docker_engine: Engine, python_image: str
) -> None:
    launcher = await bench.open()
    many = [f"/v{number}" for number in range(MAX_DECLARED + 1)]
    with image(docker_engine, python_image, *many) as name:
        run = bench.run("true", image=name)
        with pytest.raises(PrepareError, match="its image declares 65 volumes") as refused:
            await launcher.prepare(run, silent)
        assert refused.value.permanent
        assert not docker_engine.client.containers.list(
            all=True, filters={"name": container_name(run.task_id, run.attempt)}
        )
        await soon(launcher.remove(run))
