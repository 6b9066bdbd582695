"""schemathesis against a real server, with all its checks: over the user's contract and over the
description that the server gives of itself. What it may find is listed in docs/contract.md."""

import json
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from tests.support.cli_server import Server
from tests.support.commands import ran
from tests.support.validate import CONTRACT, ROOT, SUPERSET

pytestmark = pytest.mark.slow

PAGE = (ROOT / "docs/contract.md").read_text()
ARCHIVES = ROOT / "tests/contract/schemathesis_archives.py"
EXAMPLES = "3"
"""Requests for each operation and kind of test, in addition to those for boundary values."""
SECONDS = 900
"""Far more than a run takes, also on a slow machine beside other tests."""


class Finding(NamedTuple):
    check: str
    operation: str
    status: str

    def allowed(self, by: set["Finding"]) -> bool:
        return bool({self, self._replace(operation="any operation")} & by)


def listed(title: str) -> set[Finding]:
    """Read the table below this title."""
    section = PAGE.partition(f"### {title}\n")[2].partition("\n#")[0]
    rows = re.findall(
        r"^\| `?([^|`]+)`? \| `?([^|`]+)`? \| (\d+) \| [^|]+ \|$", section, re.MULTILINE
    )
    assert rows, title
    return {Finding(*cells) for cells in rows}


def callable_part(document: Any, *, jupyter: bool) -> Any:
    """Return the part of the document that schemathesis can call: of Jupyter, or of the rest."""
    paths = {
        path: operations
        for path, operations in document["paths"].items()
        # It speaks no WebSocket.
        if path != "/ws" and path.startswith("/v1/jupyter/") == jupyter
    }
    if (path := "/v1/tasks/{taskId}/logs") in paths:
        get = paths[path]["get"]
        # It would wait for the end of a task that is queued for good.
        parameters = [each for each in get["parameters"] if each.get("name") != "follow"]
        paths[path] = {**paths[path], "get": {**get, "parameters": parameters}}
    return {**document, "paths": paths}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One slot, held for good, and no prestaging: nothing that schemathesis makes up is executed,
    and no shim waits at its gate when the server is gone."""
    started = Server(
        tmp_path_factory.mktemp("schemathesis") / "data",
        FETCHML_RATE_LIMIT_ENABLED="false",
        FETCHML_TASKS_MAX_RUNNING="1",
        FETCHML_GPU_SLOTS="2",
        FETCHML_SCHEDULING_AHEAD="false",
    ).start()
    started.run("submit", "--wait", "--", "true").succeeded()
    started.run("submit", "--", "sleep", "1000").succeeded()
    yield started
    for task in started.json("ls", "--status", "running")["tasks"]:
        started.run("cancel", task["id"]).succeeded()
    assert started.stop() == 0


@pytest.fixture(scope="module")
def queue_only(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server without its Docker engine: Jupyter services wait, and none starts."""
    folder = tmp_path_factory.mktemp("schemathesis")
    started = Server(
        folder / "data",
        launcher="docker",
        DOCKER_HOST=f"unix://{folder}/none",
        FETCHML_RATE_LIMIT_ENABLED="false",
    ).start()
    yield started
    assert started.stop() == 0


@pytest.mark.parametrize("jupyter", [False, True], ids=["tasks", "jupyter"])
@pytest.mark.parametrize(
    ("document", "title"),
    [(SUPERSET, "Over the server's own description"), (CONTRACT, "Over the user's contract")],
    ids=["superset", "contract"],
)
def test_only_listed_findings_occur(
    request: pytest.FixtureRequest, tmp_path: Path, document: Any, title: str, jupyter: bool
) -> None:
    server: Server = request.getfixturevalue("queue_only" if jupyter else "server")
    key = server.json("keys", "create", "schemathesis")["secret"]
    described = callable_part(document, jupyter=jupyter)
    (tmp_path / "openapi.yaml").write_text(yaml.safe_dump(described, sort_keys=False))
    done = ran(
        [
            *(Path(sys.executable).with_name("schemathesis"), "run", "openapi.yaml"),
            *("--url", f"http://{server.http}", "--header", f"X-API-Key: {key}"),
            *("--checks", "all", "--continue-on-failure", "--seed", "1", "-n", EXAMPLES),
            *("--report", "ndjson", "--report-ndjson-path", "report.ndjson"),
        ],
        cwd=tmp_path,
        env={**os.environ, "SCHEMATHESIS_HOOKS": str(ARCHIVES), "PYTHONPATH": str(ROOT)},
        timeout=SECONDS,
    )
    assert done.returncode in {0, 1}, done.stdout + done.stderr
    report = (tmp_path / "report.ndjson").read_text()
    found, called, replies = set[Finding](), set[tuple[str, str]](), 0
    for line in report.splitlines():
        event = json.loads(line)
        assert not {"NonFatalError", "FatalError"} & event.keys(), line
        recorder = event.get("ScenarioFinished", {}).get("recorder", {})
        for case_id, made in recorder.get("interactions", {}).items():
            case = recorder["cases"][case_id]["value"]
            method, path = case["method"], case["path"]
            called.add((path, method.lower()))
            replies += 1
            found |= {
                Finding(check["name"], f"{method} {path}", str(made["response"]["status_code"]))
                for check in recorder["checks"].get(case_id, ())
                if check["status"] != "success"
            }
    assert called >= {
        (path, method) for path, operations in described["paths"].items() for method in operations
    }
    assert replies > (50 if jupyter else 200)
    allowed = listed(title)
    assert {finding for finding in found if not finding.allowed(allowed)} == set(), done.stdout
    assert "Traceback" not in server.log
