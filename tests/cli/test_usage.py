"""`fetchml usage`, and what `fetchml show` adds to a task that ran."""

from typing import Any

from tests.support.cli_server import Server
from tests.support.waiting import wait_until


def test_usage_of_a_task_and_of_its_user(own_server: Server) -> None:
    server = own_server
    server.start()
    assert server.run("usage").succeeded().startswith("Nothing was used from ")
    assert server.json("usage")["days"] == []
    task_id = server.run("submit", "--cpu", "1", "--", "sleep", "1000").succeeded()
    assert "used memory" not in server.run("show", task_id).succeeded()
    wait_until(lambda: "used memory" in server.run("show", task_id).succeeded())
    lines = server.run("show", task_id).succeeded().splitlines()
    [cores] = [line for line in lines if line.startswith("used cores")]
    [memory] = [line for line in lines if line.startswith("used memory")]
    assert " on average, at most " in cores
    assert memory.endswith(" on average")
    server.run("cancel", task_id).succeeded()

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
