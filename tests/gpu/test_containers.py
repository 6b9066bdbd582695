"""GPUs that containers of a real engine see."""

import asyncio
import json
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path

import pytest

from fetchml.adapters.docker.container_gpus import AddressOf, GpuAddress
from fetchml.adapters.docker.launcher import DockerLauncher
from fetchml.files.attempt_folder import AttemptFolder
from fetchml.ports.launcher import LaunchSpec, PrepareError
from testbed.docker_engine import Engine, PrivateEngine, private_engine
from testbed.gpu.cdi import GPUS, GREEDY, IMAGE, PARTS, add_images
from testbed.gpu.stand_in import uuid
from tests.gpu.conftest import LONGER
from tests.support.launcher_bench import INSTANCE, PROCESS, silent
from tests.support.waiting import soon

pytestmark = pytest.mark.slow

GRANTS = 40 * LONGER
AT_ONCE = 8
LOOK = (
    "for name in /dev/nvidia*; do echo device $name; done;"
    "env | grep -E '^(GIVEN|FETCHML_GPU|NVIDIA_VIS)'"
)


@pytest.fixture(scope="module")
def hook_told(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where NVIDIA's hook of `runtime_engine` writes which GPUs it is to give."""
    return tmp_path_factory.mktemp("hook") / "told"


@pytest.fixture(scope="module")
def runtime_engine(hook_told: Path) -> Iterator[PrivateEngine]:
    """An engine with a runtime called nvidia, and a hook in place of NVIDIA's own."""
    hook = hook_told.parent / "nvidia-container-runtime-hook"
    hook.write_text(HOOK.replace("TOLD", str(hook_told)))
    hook.chmod(0o755)
    settings = {"runtimes": {"nvidia": {"path": "runc"}}}
    with private_engine(own_network=True, settings=settings, path=hook.parent) as engine:
        add_images(engine.client)
        yield engine


HOOK = """#!/usr/bin/env python3
import json, pathlib, sys
state = json.load(sys.stdin)
config = json.loads(pathlib.Path(state["bundle"], "config.json").read_text())
asked = [v for v in config["process"]["env"] if v.startswith("NVIDIA_")]
pathlib.Path("TOLD").write_text(json.dumps(asked))
"""


class Containers:
    """One launcher, and tasks that tell what they see."""

    def __init__(self, data_dir: Path, launcher: DockerLauncher) -> None:
        self.data_dir = data_dir
        self.launcher = launcher
        self._numbers = count()

    def run(
        self, *gpu_ids: str, image: str = IMAGE, env: dict[str, str] | None = None
    ) -> LaunchSpec:
        task_id = f"0198c0de-{PROCESS:04}-7000-8000-{next(self._numbers):012}"
        folder = self.data_dir / "tasks" / task_id / "attempts/1"
        command = ("sh", "-c", LOOK)
        return LaunchSpec(task_id, 1, "job", folder, image, command, env or {}, gpu_ids=gpu_ids)

    async def sees(self, run: LaunchSpec) -> dict[str, str]:
        """The task's variables, and its device files as one of them."""
        await soon(self.launcher.prepare(run, silent))
        folder = AttemptFolder(run.folder)
        folder.open_gate()
        await soon(self.launcher.wait(run))
        await soon(self.launcher.remove(run))
        lines = folder.tail().decode().splitlines()
        devices = [line.partition(" ")[2] for line in lines if line.startswith("device ")]
        variables = dict(line.split("=", 1) for line in lines if "=" in line)
        return variables | {"devices": " ".join(d for d in devices if "*" not in d)}


@asynccontextmanager
async def containers(
    engine: Engine, folder: Path, address_of: AddressOf = lambda _: None
) -> AsyncIterator[Containers]:
    launcher = DockerLauncher(
        folder / "data", host=engine.host, network="none", address_of=address_of
    )
    await launcher.open(INSTANCE, lambda _, __: None)
    try:
        yield Containers(folder / "data", launcher)
    finally:
        await launcher.clean(frozenset())
        await launcher.close()


async def test_containers_see_exactly_their_gpus(cdi_engine: PrivateEngine, tmp_path: Path) -> None:
    """A container sees exactly the GPUs that it was given, whatever its image asks for."""
    dice = random.Random(4)  # noqa: S311 - a plan that is the same each time
    slots = asyncio.Semaphore(AT_ONCE)

    async def one(box: Containers, numbers: list[int], image: str) -> None:
        async with slots:
            seen = await box.sees(box.run(*map(uuid, numbers), image=image))
        expected = {f"GIVEN_{uuid(n).replace('-', '_')}": "1" for n in numbers}
        if numbers:
            expected["FETCHML_GPU_UUIDS"] = ",".join(map(uuid, numbers))
        expected["devices"] = " ".join(f"/dev/nvidia{n}" for n in sorted(numbers))
        assert seen == expected | {"NVIDIA_VISIBLE_DEVICES": "void"}

    async with containers(cdi_engine, tmp_path) as box, asyncio.TaskGroup() as group:
        for _ in range(GRANTS):
            numbers = dice.sample(range(GPUS), dice.randrange(GPUS + 1))
            group.create_task(one(box, numbers, dice.choice([IMAGE, GREEDY])))


async def test_container_sees_its_mig_devices(cdi_engine: PrivateEngine, tmp_path: Path) -> None:
    async with containers(cdi_engine, tmp_path) as box:
        seen = await box.sees(box.run(PARTS[1]))
        assert {name for name in seen if name.startswith("GIVEN")} == {"GIVEN_MIG_00000001"}


async def test_container_cannot_override_gpu_variables(
    cdi_engine: PrivateEngine, tmp_path: Path
) -> None:
    async with containers(cdi_engine, tmp_path) as box:
        env = {"NVIDIA_VISIBLE_DEVICES": "all", "FETCHML_GPU_UUIDS": uuid(5)}
        seen = await box.sees(box.run(uuid(1), env=env))
        assert seen["NVIDIA_VISIBLE_DEVICES"] == "void"
        assert seen["FETCHML_GPU_UUIDS"] == uuid(1)
        assert seen["devices"] == "/dev/nvidia1"


async def test_plain_slots_provide_no_device(cdi_engine: PrivateEngine, tmp_path: Path) -> None:
    async with containers(cdi_engine, tmp_path) as box:
        seen = await box.sees(box.run("slot-0", "slot-3"))
        assert seen == {"FETCHML_GPU_UUIDS": "slot-0,slot-3", "devices": ""}


async def test_gpu_without_uuid_is_found_by_index(
    cdi_engine: PrivateEngine, tmp_path: Path
) -> None:
    stranger = uuid(99)
    address = GpuAddress("6", 6)
    async with containers(cdi_engine, tmp_path, {stranger: address}.get) as box:
        seen = await box.sees(box.run(stranger))
        assert (seen["devices"], seen["GIVEN_6"]) == ("/dev/nvidia6", "1")
    async with containers(cdi_engine, tmp_path, {stranger: GpuAddress("6", 5)}.get) as box:
        with pytest.raises(PrepareError, match="out of date"):
            await box.launcher.prepare(box.run(stranger), silent)


async def test_engine_without_gpu_support_is_reported(
    docker_engine: Engine, python_image: str, tmp_path: Path
) -> None:
    async with containers(docker_engine, tmp_path) as box:
        with pytest.raises(PrepareError, match="cannot pass GPUs to containers") as info:
            await box.launcher.prepare(box.run(uuid(0), image=python_image), silent)
        assert info.value.permanent
        seen = await box.sees(box.run(image=python_image))
        assert seen == {"NVIDIA_VISIBLE_DEVICES": "void", "devices": ""}


async def test_nvidia_hook_gets_its_variables(
    runtime_engine: PrivateEngine, tmp_path: Path, hook_told: Path
) -> None:
    async with containers(runtime_engine, tmp_path) as box:
        await box.sees(box.run(uuid(2), uuid(5), image=GREEDY))
        asked = taken(hook_told)
        assert asked["NVIDIA_VISIBLE_DEVICES"] == f"{uuid(2)},{uuid(5)}"
        assert set(asked["NVIDIA_DRIVER_CAPABILITIES"].split(",")) >= {"compute", "utility"}
        await box.sees(box.run(image=GREEDY))
        assert taken(hook_told) == {}, "without GPUs the hook has no part in it"


def taken(hook_told: Path) -> dict[str, str]:
    """What the hook was asked since it was last looked at."""
    if not hook_told.exists():
        return {}
    asked = json.loads(hook_told.read_text())
    hook_told.unlink()
    return dict(variable.split("=", 1) for variable in asked)
