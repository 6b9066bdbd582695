"""docs/contract.md is complete: its tests exist, and it lists every addition and metric."""

import re
from types import SimpleNamespace
from typing import Any

import pytest

from fetchml.api.http.reply import Budgets
from fetchml.api.rest.metrics import Metrics, ServerState
from fetchml.attempts.manager import PrestageCounts
from fetchml.auth.limits import ConnectionLimits
from fetchml.core.scheduling.estimate import Calibration
from fetchml.engine.gpus.bookings import BookingCounts
from fetchml.engine.gpus.report import GpuReport
from fetchml.engine.status import RunCounts
from fetchml.engine.sweeps import SweepTotals
from fetchml.environments.environment_service import EnvironmentCounts
from fetchml.notifications.notification_service import NotificationCounts
from fetchml.views import Health, HealthStatus, QueueStats, QueueUse
from tests.support.validate import CONTRACT, ROOT, SUPERSET

PAGE = (ROOT / "docs/contract.md").read_text()


def test_named_tests_exist() -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", PAGE)
    assert len(named) > 30
    for file, test in named:
        assert f"def {test}(" in (ROOT / file).read_text(), f"{file}::{test}"


def test_every_additional_path_is_on_the_page() -> None:
    for path in SUPERSET["paths"].keys() - CONTRACT["paths"].keys():
        assert f"`{path}`" in PAGE


@pytest.mark.parametrize(
    "name", ["CreateTaskRequest", "CreateExperimentRequest", "StartJupyterRequest"]
)
def test_every_additional_request_field_is_on_the_page(name: str) -> None:
    known, ours = (
        document["components"]["schemas"][name]["properties"].keys()
        for document in (CONTRACT, SUPERSET)
    )
    for field in ours - known:
        assert f"`{field}`" in PAGE


def test_every_metric_is_on_the_page() -> None:
    state = ServerState(
        QueueStats(0, 0, 0, 0, 0),
        Health(HealthStatus.HEALTHY),
        GpuReport(()),
        [],
        PrestageCounts(),
        Calibration(),
        QueueUse(0, 0, 0),
        [],
        NotificationCounts(0, 0, 0, 0, 0),
        SweepTotals(0, 0, {}),
        EnvironmentCounts(0, 0, 0, 0, 0, 0, 0),
        0,
        BookingCounts(0, 0),
        RunCounts(),
    )
    nothing: Any = SimpleNamespace(limits={})
    limits = ConnectionLimits(1, lambda _: False)
    text = Metrics(list, lambda: 0, limits, Budgets(), nothing).text(state)
    names = set(re.findall(r"^# TYPE (fetchml_\w+)", text.decode(), re.MULTILINE))
    assert len(names) >= 50
    for name in names:
        assert f"`{name}`" in PAGE


def test_every_operation_and_every_reading_is_on_the_page() -> None:
    rows = PAGE.splitlines()
    for path, methods in CONTRACT["paths"].items():
        for method in methods.keys() - {"parameters"}:
            assert any(row.startswith(f"| `{method.upper()} {path}` |") for row in rows), path
    numbers = re.findall(r"^\| (\d{1,2}) \|", PAGE, re.MULTILINE)
    assert numbers == [str(number) for number in range(1, 37)], "each once, in order"
