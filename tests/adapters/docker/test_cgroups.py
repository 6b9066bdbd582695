"""The first process of a container, found by what the kernel tells."""

import os
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from docker.models.containers import Container

from fetchml.adapters.docker.cgroups import Cgroups
from testbed.docker_engine import Engine

WITH_A_CHILD = ["sh", "-c", "sleep 600 & wait"]


@pytest.fixture
def containers(docker_engine: Engine, python_image: str) -> Iterator[list[Container]]:
    with ExitStack() as stack:
        made = []
        for _ in range(2):
            container = docker_engine.client.containers.run(
                python_image, WITH_A_CHILD, detach=True, network_mode="none"
            )
            stack.callback(container.remove, force=True)
            container.reload()
            made.append(container)
        yield made


def pid_of(container: Container) -> int:
    return int(container.attrs["State"]["Pid"])


@pytest.mark.slow
def test_first_process_is_unknown_at_first(containers: list[Container]) -> None:
    assert Cgroups().first_process(str(containers[0].id)) is None


def test_naming_learned_from_one_container_finds_the_next(containers: list[Container]) -> None:
    one, other = containers
    other.exec_run(["sleep", "600"], detach=True)
    cgroups = Cgroups()
    cgroups.learn(pid_of(one), str(one.id))
    for container in (one, other):
        assert cgroups.first_process(str(container.id)) == pid_of(container)


def test_ended_container_is_not_found(containers: list[Container]) -> None:
    one, other = containers
    cgroups = Cgroups()
    cgroups.learn(pid_of(one), str(one.id))
    other.kill()
    other.wait()
    assert cgroups.first_process(str(other.id)) is None


def test_process_outside_the_container_is_ignored(containers: list[Container]) -> None:
    one, _ = containers
    cgroups = Cgroups()
    cgroups.learn(os.getpid(), str(one.id))
    assert cgroups.first_process(str(one.id)) is None
    cgroups.learn(1 << 22, str(one.id))  # no process has this number
    assert cgroups.first_process(str(one.id)) is None
