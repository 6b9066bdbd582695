"""What a cluster answers about its tasks. Faults of its shared disk hold up the preparation of an
attempt, and do not fail it."""

import errno
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import pytest

from fetchml.attempts import hosts
from fetchml.attempts.hosts import ClusterHost, ThisHost
from fetchml.core.model import Status
from fetchml.files.shared_disk import is_fault, not_mounted
from fetchml.ports.launcher import PrepareError
from tests.support.tasks import task
from tests.support.waiting import soon


def on_cluster(usable: Callable[[], Awaitable[None]]) -> ClusterHost:
    cluster: Any = SimpleNamespace(until_usable=usable)
    return ClusterHost(cluster)


def caused_by(error: OSError) -> PrepareError:
    found = PrepareError("the snapshot can't be copied", permanent=False)
    found.__cause__ = error
    return found


@pytest.mark.parametrize(
    ("error", "fault"),
    [
        (OSError(errno.EIO, "x"), True),
        (OSError(errno.ESTALE, "x"), True),
        (OSError(errno.ENOTCONN, "x"), True),
        (OSError(errno.ETIMEDOUT, "x"), True),
        (PermissionError(errno.EACCES, "x"), True),
        (TimeoutError("the shared disk did not answer"), True),
        (not_mounted("/shared"), True),
        (caused_by(OSError(errno.EIO, "x")), True),
        (OSError(errno.ENOSPC, "x"), False),
        (FileNotFoundError(errno.ENOENT, "x"), False),
        (caused_by(OSError(errno.ENOSPC, "x")), False),
        (PrepareError("there is no such image", permanent=True), False),
    ],
)
def test_faults_of_the_disk_are_distinguished_from_others(error: Exception, fault: bool) -> None:
    assert is_fault(error) is fault


async def test_attempt_is_prepared_again_after_each_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hosts, "AGAIN_SECONDS", 0)
    steps: list[str] = []
    faults: list[Exception] = [OSError(errno.EIO, "x"), caused_by(OSError(errno.ESTALE, "x"))]

    async def usable() -> None:
        steps.append("usable")

    async def prepare() -> None:
        steps.append("prepare")
        if faults:
            raise faults.pop()

    said: list[str] = []
    await soon(on_cluster(usable).prepare(prepare, said.append))
    assert steps == ["usable", "prepare"] * 3
    assert len(said) == 2


async def test_other_failures_are_the_attempts() -> None:
    async def usable() -> None:
        pass

    async def prepare() -> None:
        raise PrepareError("there is no such image", permanent=True)

    with pytest.raises(PrepareError):
        await soon(on_cluster(usable).prepare(prepare, print))


def test_cluster_has_the_reason_of_a_waiting_task_and_the_trouble_of_a_running_one() -> None:
    cluster: Any = SimpleNamespace(
        reason=lambda task_id, attempt: f"{task_id} {attempt} waits",
        trouble=lambda task_id, attempt: f"{task_id} {attempt} is silent",
    )
    host = ClusterHost(cluster)
    waits = task("a", status=Status.PREPARING, attempt=2, prestaged=True)
    assert host.reason(waits) == "a 2 waits"
    assert host.reason(task("a", status=Status.RUNNING, attempt=2)) == "a 2 is silent"
    assert ThisHost().reason(waits) is None
