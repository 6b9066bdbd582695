"""Services whose Jupyter is a small stand-in, and functions that wait for their states."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

from fetchml.core import jupyter
from fetchml.core.jupyter import Service, ServiceStatus
from fetchml.core.model import Principal, TaskSpec
from fetchml.views import JupyterView
from tests.support.engine_box import ADMIN, Box
from tests.support.waiting import until_true

FAKE = str(Path(__file__).parents[1] / "support" / "fake_jupyter.py")
LIVING = {ServiceStatus.STARTING, ServiceStatus.RUNNING, ServiceStatus.STOPPING}

real_spec = jupyter.task_spec


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    def task_spec(record: Service, image: str) -> TaskSpec:
        return replace(real_spec(record, image), command=(sys.executable, FAKE, "--plain-process"))

    monkeypatch.setattr(jupyter, "task_spec", task_spec)


async def until_shown(
    box: Box, service_id: str, is_so: Callable[[JupyterView], object], who: Principal = ADMIN
) -> JupyterView:
    await until_true(lambda: is_so(box.jupyter.get(who, service_id)))
    return box.jupyter.get(who, service_id)


async def running(box: Box, service_id: str) -> JupyterView:
    return await until_shown(box, service_id, lambda found: found.status is ServiceStatus.RUNNING)


async def over(box: Box, service_id: str) -> JupyterView:
    """Wait until the service has ended and is no longer supervised."""
    await until_shown(box, service_id, lambda found: found.status not in LIVING)
    await until_true(lambda: service_id not in box.jupyter.supervision._supervisors)
    return box.jupyter.get(ADMIN, service_id)


def pid_of(box: Box, workspace: str) -> int:
    return int((box.workspaces / workspace / "pid").read_text())
