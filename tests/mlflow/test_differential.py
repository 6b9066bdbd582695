"""The same requests to FetchML and to MLflow's own server: the replies have the same fields and
values, apart from ids and times."""

import json
import re
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from testbed.envoy import free_ports
from tests.mlflow.conftest import Client, uri
from tests.support.cli_server import SECONDS, Server
from tests.support.waiting import wait_until

pytestmark = pytest.mark.slow


@pytest.fixture
def theirs(full: Client, tmp_path: Path) -> Iterator[str]:
    [port] = free_ports(1)
    command = [str(full.bin / "mlflow"), "server", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{tmp_path}/mlflow.db"]
    command += ["--artifacts-destination", str(tmp_path / "artifacts"), "--serve-artifacts"]
    with (tmp_path / "mlflow.log").open("w") as log:
        process = subprocess.Popen(
            command,
            stdout=log,
            stderr=log,
            cwd=tmp_path,
            env={"PATH": f"{full.bin}:/usr/bin:/bin", "MLFLOW_DISABLE_TELEMETRY": "true"},
        )
    try:
        wait_until(lambda: answers(f"http://127.0.0.1:{port}/health"))
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(SECONDS)


def answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=SECONDS):  # noqa: S310 - likewise
            return True
    except OSError:
        return False


class Side:
    """One of the two servers. What a request has of earlier replies is put in with {name}."""

    def __init__(self, base: str, key: str = "") -> None:
        self.base = base
        self.key = key
        self.names: dict[str, str] = {}

    def ask(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        text = self._filled(json.dumps(body)) if body is not None else None
        request = urllib.request.Request(  # noqa: S310 - of this test
            f"{self.base}/api/2.0{self._filled(path)}",
            None if text is None else text.encode(),
            {"Content-Type": "application/json", "Authorization": f"Bearer {self.key}"},
            method=method,
        )
        try:
            with urllib.request.urlopen(request, timeout=SECONDS) as reply:  # noqa: S310
                return reply.status, json.loads(reply.read())
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read())

    def _filled(self, text: str) -> str:
        for name, value in self.names.items():
            text = text.replace(f"<{name}>", value)
        return text


EXPERIMENTS, RUNS, MODELS = "/mlflow/experiments", "/mlflow/runs", "/mlflow/logged-models"
POINTS = [
    {"key": "loss", "value": 0.5, "timestamp": 1_000, "step": 1},
    {"key": "loss", "value": 0.25, "timestamp": 2_000, "step": 3},
    {"key": "loss", "value": 0.125, "timestamp": 3_000, "step": 2},
    {"key": "nan", "value": "NaN", "timestamp": 1_000, "step": 0},
    {"key": "low", "value": -1, "timestamp": 1_000, "step": -5},
]


def run(**fields: object) -> dict[str, object]:
    return {"run_id": "<run>", **fields}


def search(text: str, *order: str, **fields: object) -> dict[str, object]:
    return {"experiment_ids": ["<experiment>"], "filter": text, "order_by": order, **fields}


STEPS: list[tuple[str, str, object]] = [
    ("GET", f"{EXPERIMENTS}/get-by-name?experiment_name=demo", None),
    ("POST", f"{EXPERIMENTS}/create", {"name": "demo", "tags": [{"key": "a", "value": "b"}]}),
    ("POST", f"{EXPERIMENTS}/create", {"name": "demo"}),
    ("GET", f"{EXPERIMENTS}/get-by-name?experiment_name=demo", None),
    ("GET", f"{EXPERIMENTS}/get?experiment_id=<experiment>", None),
    ("GET", f"{EXPERIMENTS}/get?experiment_id=404404", None),
    ("POST", f"{EXPERIMENTS}/set-experiment-tag",
     {"experiment_id": "<experiment>", "key": "c", "value": "d"}),
    ("POST", f"{EXPERIMENTS}/search", {"filter": "name LIKE 'de%'", "max_results": 10}),
    ("POST", f"{EXPERIMENTS}/search", {"filter": "name = 'other'", "max_results": 10}),
    ("POST", f"{EXPERIMENTS}/search", {"filter": "tags.a = 'b'", "max_results": 10}),
    ("POST", f"{EXPERIMENTS}/search", {"filter": "nonsense ~ 1", "max_results": 10}),
    ("POST", f"{RUNS}/create",
     {"experiment_id": "<experiment>", "start_time": 1_700_000_000_000, "run_name": "first",
      "tags": [{"key": "mlflow.user", "value": "x"}]}),
    ("POST", f"{RUNS}/create", {"experiment_id": "404404", "start_time": 1}),
    ("GET", f"{RUNS}/get?run_id=<run>", None),
    ("GET", f"{RUNS}/get?run_id=0123456789abcdef0123456789abcdef", None),
    ("GET", f"{RUNS}/get", None),
    ("POST", f"{RUNS}/log-batch", run(metrics=POINTS, params=[{"key": "lr", "value": "0.1"}])),
    ("POST", f"{RUNS}/log-batch", run(metrics=POINTS)),
    ("POST", f"{RUNS}/log-metric", run(key="acc", value=0.5, timestamp=5_000)),
    ("POST", f"{RUNS}/log-metric", run(key="acc", value="x", timestamp=5_000)),
    ("POST", f"{RUNS}/log-metric", run(key="acc", timestamp=5_000)),
    ("POST", f"{RUNS}/log-metric", run(value=1, timestamp=5_000)),
    ("POST", f"{RUNS}/log-parameter", run(key="depth", value="3")),
    ("POST", f"{RUNS}/log-parameter", run(key="depth", value="3")),
    ("POST", f"{RUNS}/log-parameter", run(key="depth", value="4")),
    ("POST", f"{RUNS}/log-parameter", run(key="p" * 300, value="4")),
    ("POST", f"{RUNS}/log-parameter", run(key="long", value="4" * 7_000)),
    ("POST", f"{RUNS}/set-tag", run(key="team", value="vision")),
    ("POST", f"{RUNS}/set-tag", run(key="gone", value="1")),
    ("POST", f"{RUNS}/delete-tag", run(key="gone")),
    ("POST", f"{RUNS}/delete-tag", run(key="gone")),
    ("POST", f"{RUNS}/log-batch", run(metrics=POINTS * 300)),
    ("POST", f"{RUNS}/log-batch",
     run(params=[{"key": str(number), "value": ""} for number in range(101)])),
    ("POST", f"{RUNS}/log-inputs", run(datasets=[
        {"dataset": {"name": "iris", "digest": "1", "source_type": "local", "source": "{}"},
         "tags": [{"key": "mlflow.data.context", "value": "training"}]}])),
    ("GET", f"{RUNS}/get?run_id=<run>", None),
    ("GET", "/mlflow/metrics/get-history?run_id=<run>&metric_key=loss", None),
    ("GET", "/mlflow/metrics/get-history?run_id=<run>&metric_key=none", None),
    ("POST", f"{RUNS}/update",
     run(status="FINISHED", end_time=1_700_000_001_000, run_name="renamed")),
    ("POST", f"{RUNS}/search", search("metrics.loss < 0.3 and params.lr = '0.1'")),
    ("POST", f"{RUNS}/search", search("metrics.loss > 0.3")),
    ("POST", f"{RUNS}/search", search("tags.team ILIKE 'VIS%'", "metrics.loss DESC")),
    ("POST", f"{RUNS}/search", search("tags.`none` IS NULL")),
    ("POST", f"{RUNS}/search", search("attributes.run_name = 'renamed' and status != 'FAILED'")),
    ("POST", f"{RUNS}/search", search("run_id IN ('<run>', 'x')")),
    ("POST", f"{RUNS}/search", search("params.lr = 0.1")),
    ("POST", f"{RUNS}/search", search("params.lr = '0.1' OR params.lr = '1'")),
    ("POST", f"{RUNS}/search", search("", "nonsense DESC")),
    ("POST", f"{RUNS}/search", search("", max_results=100_000)),
    ("POST", f"{RUNS}/search", {"experiment_ids": []}),
    ("POST", f"{RUNS}/delete", run()),
    ("POST", f"{RUNS}/log-metric", run(key="acc", value=0.5, timestamp=5_000)),
    ("POST", f"{RUNS}/search", search("")),
    ("POST", f"{RUNS}/search", search("", run_view_type="DELETED_ONLY")),
    ("POST", f"{RUNS}/restore", run()),
    ("POST", f"{RUNS}/search", search("")),
    ("POST", MODELS,
     {"experiment_id": "<experiment>", "name": "net", "model_type": "agent",
      "source_run_id": "<run>", "params": [{"key": "a", "value": "1"}],
      "tags": [{"key": "b", "value": "2"}]}),
    ("GET", f"{MODELS}/<model>", None),
    ("GET", f"{MODELS}/m-404", None),
    ("PATCH", f"{MODELS}/<model>", {"model_id": "<model>", "status": "LOGGED_MODEL_READY"}),
    ("PATCH", f"{MODELS}/<model>/tags", {"tags": [{"key": "c", "value": "3"}]}),
    ("POST", f"{RUNS}/log-metric",
     run(key="acc", value=0.75, timestamp=6_000, step=1, model_id="<model>")),
    ("POST", f"{RUNS}/outputs", run(models=[{"model_id": "<model>", "step": 1}])),
    ("GET", f"{MODELS}/<model>", None),
    ("GET", f"{RUNS}/get?run_id=<run>", None),
    ("POST", f"{MODELS}/search",
     {"experiment_ids": ["<experiment>"], "filter": "metrics.acc > 0.5 and params.a = '1'"}),
    ("DELETE", f"{MODELS}/<model>/tags/b", None),
    ("DELETE", f"{MODELS}/<model>", None),
    ("GET", f"{MODELS}/<model>", None),
    ("GET", "/mlflow-artifacts/artifacts?path=<experiment>/<run>/artifacts", None),
    ("POST", f"{EXPERIMENTS}/update", {"experiment_id": "<experiment>", "new_name": "changed"}),
    ("POST", f"{EXPERIMENTS}/delete", {"experiment_id": "<experiment>"}),
    ("POST", f"{RUNS}/create", {"experiment_id": "<experiment>", "start_time": 1}),
    ("GET", f"{EXPERIMENTS}/get?experiment_id=<experiment>", None),
    ("POST", f"{EXPERIMENTS}/restore", {"experiment_id": "<experiment>"}),
    ("GET", f"{EXPERIMENTS}/get?experiment_id=<experiment>", None),
]  # fmt: skip


def remember(side: Side, reply: Any) -> None:
    """Take the ids that later requests need."""
    if "experiment_id" in reply:
        side.names.setdefault("experiment", reply["experiment_id"])
    if "run" in reply:
        side.names.setdefault("run", reply["run"]["info"]["run_id"])
    if "model" in reply:
        side.names.setdefault("model", reply["model"]["info"]["model_id"])


DIFFERENT = {
    "message",  # of errors
    "trace_id", "sqlstate", "error_class",  # of errors
    "creation_time", "last_update_time", "creation_timestamp_ms", "last_updated_timestamp_ms",
    "user_id",  # MLflow's server believes the client
    "creator_id", "registrations", "workspace", "effective_trace_archival_retention",
    "next_page_token",
}  # fmt: skip


def comparable(side: Side, value: Any) -> Any:
    """Without ids, times, and what is empty, in one order."""
    if isinstance(value, dict):
        cleaned = {
            name: comparable(side, each)
            for name, each in value.items()
            if name not in DIFFERENT and each is not None
        }
        if value.get("experiment_id") == side.names.get("experiment"):
            cleaned.pop("experiment_id", None)
        return {name: each for name, each in cleaned.items() if each not in ([], {}, "")}
    if isinstance(value, list):
        return sorted((comparable(side, each) for each in value), key=repr)
    if isinstance(value, str) and (len(value) > 9 or "/" in value):
        for name, known in side.names.items():
            value = re.sub(rf"(?<![^/]){re.escape(known)}(?![^/])", f"<{name}>", value)
        return value
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


def test_replies_are_the_same(server: Server, theirs: str) -> None:
    sides = Side(uri(server), server.admin_key), Side(theirs)
    differences = []
    for method, path, body in STEPS:
        seen = []
        for side in sides:
            status, reply = side.ask(method, path, body)
            remember(side, reply)
            seen.append((status, comparable(side, reply)))
        if seen[0] != seen[1]:
            differences.append(
                f"{method} {path} {json.dumps(body)[:200]}:\n  {seen[0]}\n  {seen[1]}"
            )
    assert not differences, "\n".join(differences)
