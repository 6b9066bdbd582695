"""Limits of tasks: those of the request, and those enforced on the container."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from fetchml.adapters.docker.container_config import ContainerLimits, container_config
from fetchml.adapters.docker.container_gpus import GpuGrant
from fetchml.config.settings import ResourceSettings, Settings, TaskSettings
from fetchml.core import jupyter
from fetchml.core.model import Resources, TaskSpec
from fetchml.core.requests.submission import Defaults, InvalidSubmission, TaskLimits
from fetchml.errors import ValidationFailed
from fetchml.ops.checks.host import task_limits
from fetchml.ports.launcher import LaunchSpec
from fetchml.system import host
from testbed.docker_engine import Engine
from tests.hostile.attacked import MIB, Attacked
from tests.support.accepting import accept
from tests.support.engine_box import ALICE, Box
from tests.support.engine_box import box as box  # noqa: PLC0414 - a fixture
from tests.support.project_files import project_of

BOX = Resources(8, 64, 2)
LIMITS = TaskLimits(
    cpu=1, memory_gb=4, timeout_seconds=600, max_cpu=4, max_memory_gb=16, max_timeout_seconds=3600
)


def accepted(limits: TaskLimits, project: str = "", **fields: object) -> TaskSpec:
    defaults = Defaults("image", ("run",), limits, 0)
    return accept({"job_name": "a", **fields}, defaults, BOX, project_of(project))


def faults(limits: TaskLimits, project: str = "", **fields: object) -> list[str]:
    with pytest.raises(InvalidSubmission) as caught:
        accepted(limits, project, **fields)
    return [f"{each.field}: {each.rule}" for each in caught.value.violations]


def test_request_above_a_maximum_names_the_limit() -> None:
    assert faults(LIMITS, cpu=5, memory_gb=17, timeout_seconds=3601) == [
        "cpu: asks for 5, a task may have 4 ([tasks] max_cpu)",
        "memory_gb: asks for 17, a task may have 16 ([tasks] max_memory_gb)",
        "timeout_seconds: asks for 3601, a task may run for 3600 s ([tasks] max_timeout_seconds)",
    ]
    assert faults(LIMITS, cpu=9) == ["cpu: requests 9, but this host has 8"]
    [fault] = faults(LIMITS, timeout_seconds=0)
    assert "asks for no limit, a task may run for 3600 s" in fault
    accepted(LIMITS, cpu=4, memory_gb=16, timeout_seconds=3600)


def test_project_file_is_held_to_the_limits() -> None:
    assert faults(LIMITS, "cpu = 1\nmemory_gb = 17\n") == [
        "fetchml.toml: line 2: memory_gb asks for 17, a task may have 16 ([tasks] max_memory_gb)"
    ]
    assert accepted(LIMITS, "memory_gb = 8\n").memory_gb == 8


def test_missing_limits_get_the_defaults() -> None:
    for spec in (accepted(LIMITS), accepted(LIMITS, cpu=0, memory_gb=0)):
        assert (spec.cpu, spec.memory_gb, spec.timeout_seconds) == (1, 4, 600)
    spec = accepted(LIMITS, cpu=2, memory_gb=1, timeout_seconds=5)
    assert (spec.cpu, spec.memory_gb, spec.timeout_seconds) == (2, 1, 5)
    spec = accepted(TaskLimits())
    assert (spec.cpu, spec.memory_gb, spec.timeout_seconds) == (None, None, 0)
    assert accepted(TaskLimits(max_timeout_seconds=60)).timeout_seconds == 60
    assert accepted(TaskLimits(cpu=8, max_cpu=2)).cpu == 2


def test_jupyter_request_is_held_to_the_limits() -> None:
    request = {"name": "lab", "cpu": 5, "memory_gb": 17, "gpu": 3}
    assert [v.rule for v in jupyter.read(request, BOX, LIMITS)[1]] == [
        "asks for 5, a task may have 4 ([tasks] max_cpu)",
        "asks for 17, a task may have 16 ([tasks] max_memory_gb)",
        "requests 3, but this host has 2",
    ]


async def test_jupyter_service_gets_the_default_limits(box: Box) -> None:
    async with box.engine(task_limits=TaskLimits(cpu=1, memory_gb=2, max_memory_gb=4)):
        service = await box.jupyter.start(ALICE, {"name": "lab"})
        assert (service.cpu, service.memory_gb) == (1, 2)
        with pytest.raises(ValidationFailed, match="a task may have 4"):
            await box.jupyter.start(ALICE, {"name": "other", "memory_gb": 5})


def test_every_container_has_limits(tmp_path: Path) -> None:
    def host_config(cpu: int = 0, memory_gb: int = 0) -> dict[str, object]:
        run = LaunchSpec(
            "task", 1, "a", tmp_path, "image", ("run",), {}, cpu=cpu, memory_gb=memory_gb
        )
        limits = ContainerLimits(1, 6, 100, 20, 30)
        made = container_config(
            run,
            instance_id="i",
            shim=tmp_path,
            network="none",
            user=None,
            gpus=GpuGrant(),
            limits=limits,
        )
        return dict(made["HostConfig"])

    free, asked = host_config(), host_config(2, 3)
    assert (free["Memory"], free["MemorySwap"]) == (6 << 30, 6 << 30)
    assert (asked["Memory"], asked["MemorySwap"]) == (3 << 30, 3 << 30)
    assert asked["NanoCpus"] == 2 * 10**9
    assert (free["PidsLimit"], free["ShmSize"]) == (100, 30 * MIB)
    assert "size=20m" in dict(free["Tmpfs"])["/tmp"]  # type: ignore[call-overload]  # noqa: S108
    assert int(str(free["OomScoreAdj"])) > int(str(asked["OomScoreAdj"])) > 0


def test_default_memory_limit_leaves_memory_for_the_host() -> None:
    settings = Settings()
    assert settings.resources.memory_gb >= 1
    assert settings.resources.memory_gb < host.memory_gb() or host.memory_gb() <= 1


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"tasks": TaskSettings(memory_gb=100_000)}, "memory_gb 100000 is more than"),
        ({"tasks": TaskSettings(cpu=100_000)}, "cpu 100000 is more than"),
        ({"tasks": TaskSettings(max_memory_gb=2, memory_gb=3)}, "memory_gb 3 is more than"),
        ({"tasks": TaskSettings(max_timeout_seconds=5, timeout_seconds=6)}, "timeout_seconds 6 is"),
        ({"tasks": TaskSettings(shm_mb=3000, max_memory_gb=2)}, "shm_mb 3000 is more than"),
        ({"resources": ResourceSettings(memory_gb=host.memory_gb() + 1)}, "GiB"),
    ],
)
def test_doctor_reports_contradictory_limits(settings: dict[str, object], says: str) -> None:
    checks = task_limits(Settings(**settings))  # type: ignore[arg-type]
    assert says in checks.finding
    assert checks.fix


def test_doctor_accepts_the_default_limits() -> None:
    assert task_limits(Settings()).ok


@pytest.fixture
def attacked(docker_engine: Engine, python_image: str, tmp_path: Path) -> Iterator[Attacked]:
    made = Attacked(
        tmp_path / "data",
        "docker",
        DOCKER_HOST=docker_engine.host,
        FETCHML_TASKS_IMAGE=python_image,
        FETCHML_TASKS_NETWORK="none",
        FETCHML_TASKS_MAX_MEMORY_GB="1",
        FETCHML_TASKS_PIDS="40",
        FETCHML_TASKS_SHM_MB="64",
        FETCHML_TASKS_TMP_MB="32",
    )
    yield made
    made.close()


def python(script: str) -> dict[str, object]:
    return {"command": ["python3", "-c", script]}


GROW = "kept = []\nwhile True:\n    kept.append(b'x' * (16 << 20)); print(len(kept), flush=True)"


@pytest.mark.slow
def test_task_without_memory_request_is_limited(attacked: Attacked) -> None:
    task = attacked.ended(attacked.mallory, **python(GROW))
    assert task["failure_reason"] == "OUT_OF_MEMORY"
    portions = int(task["output"].split()[-1])
    assert 20 < portions <= 64, "of 16 MiB, in 1 GiB"


FORKS = """
import os, signal
children = []
try:
    while len(children) < 1000:
        pid = os.fork()
        if not pid:
            signal.pause()
        children.append(pid)
except OSError as error:
    print(len(children), error.strerror)
for pid in children:
    os.kill(pid, signal.SIGKILL)
"""


def test_fork_bomb_stops_at_the_process_limit(attacked: Attacked) -> None:
    task = attacked.ended(attacked.mallory, **python(FORKS))
    assert task["status"] == "completed", task
    number, _, reason = task["output"].strip().partition(" ")
    assert 20 < int(number) < 40
    assert reason == "Resource temporarily unavailable"
