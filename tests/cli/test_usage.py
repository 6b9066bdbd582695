"""`fetchml usage`, and what `fetchml show` adds to a task that ran."""

import urllib.request
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.support.cli_server import SECONDS, Server
from tests.support.waiting import wait_until

pytestmark = pytest.mark.slow

MEBIBYTES = 100
USES = f"""
import time
held = b"x" * ({MEBIBYTES} << 20)
while time.process_time() < 1.2:
    pass
time.sleep(1000)
"""
"""The command of a task that uses a bit more than a second of the processor, and memory."""


def metric(server: Server, name: str, task_id: str) -> float:
    """Return a metric of a task; -1 if it has no sample."""
    key = (server.data_dir / "admin.key").read_text().strip()
    request = urllib.request.Request(f"http://{server.http}/metrics", headers={"X-API-Key": key})
    with urllib.request.urlopen(request, timeout=SECONDS) as answer:  # noqa: S310
        for family in text_string_to_metric_families(answer.read().decode()):
            for sample in family.samples:
                if sample.name == f"fetchml_task_{name}" and sample.labels["task_id"] == task_id:
                    assert sample.labels["user"] == "admin"
                    return float(sample.value)
    return -1


def test_usage_of_a_task_and_of_its_user(own_server: Server) -> None:
    server = own_server
    server.start()
    assert server.run("usage").succeeded().startswith("Nothing was used from ")
    assert server.json("usage")["days"] == []
    submit = ("submit", "--cpu", "1", "--", "python3", "-c", USES)
    task_id = server.run(*submit).succeeded()
    assert "used memory" not in server.run("show", task_id).succeeded()
    wait_until(lambda: "used memory" in server.run("show", task_id).succeeded())
    lines = server.run("show", task_id).succeeded().splitlines()
    [cores] = [line for line in lines if line.startswith("used cores")]
    [memory] = [line for line in lines if line.startswith("used memory")]
    assert " on average, at most " in cores
    assert memory.endswith(" on average")
    # The gauges of Prometheus have the true values, not just any.
    wait_until(lambda: metric(server, "cpu_seconds_total", task_id) >= 1)
    assert metric(server, "cpu_seconds_total", task_id) < 3
    assert MEBIBYTES << 20 <= metric(server, "memory_bytes", task_id) < (MEBIBYTES + 64) << 20
    server.run("cancel", task_id).succeeded()
    wait_until(lambda: metric(server, "memory_bytes", task_id) < 0)

    def failed() -> Any:
        return [day for day in server.json("usage")["days"] if day.get("failed")]

    wait_until(failed)
    [row] = failed()
    assert (row["user_id"], row["failed"]) == ("admin", 1)
    assert row["cpu_hours"] > 0
    table = server.run("usage").succeeded().splitlines()
    assert table[0].split() == [
        "USER",
        "GPU",
        "HOURS",
        "CPU",
        "HOURS",
        "COMPLETED",
        "FAILED",
        "SHARE",
    ]
    assert table[1].split()[0] == "admin"
    daily = server.run("usage", "--daily", "--days", "2").succeeded().splitlines()
    assert daily[1].split()[:2] == [row["day"], "admin"]
    assert server.run("usage", "--days", "0").code == 2
    assert server.run("usage", "--days", "401").code == 2
