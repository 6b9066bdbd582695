"""The MLflow protocol as any program may speak it: keys, roles, privacy, and hostile input."""

import base64
import http.client
import json
from collections.abc import Iterator
from contextlib import closing
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from fetchml.files.layout import TRACKING, TRACKING_DRAFTS, TRACKING_KEY
from fetchml.files.own_file import load_key
from fetchml.tracking.task_tokens import TaskTokens
from tests.mlflow.conftest import get_json
from tests.support.cli_server import SECONDS, Server
from tests.support.waiting import wait_until

API = "/mlflow/api/2.0/mlflow"
FILES = "/mlflow/api/2.0/mlflow-artifacts/artifacts"
NOBODY = "0" * 32


class Reply(NamedTuple):
    status: int
    body: bytes
    headers: http.client.HTTPMessage

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        return str(self.json["error_code"])


class Caller:
    def __init__(self, server: Server, secret: str) -> None:
        self._host = server.http
        self.headers = {"Authorization": f"Bearer {secret}", "Content-Type": "application/json"}

    def send(self, method: str, path: str, body: Any = None, **headers: str) -> Reply:
        """`path` is sent unchanged. Iterators are sent in chunks."""
        connection = http.client.HTTPConnection(self._host, timeout=SECONDS)
        try:
            connection.request(method, path, body, {**self.headers, **headers})
            reply = connection.getresponse()
            return Reply(reply.status, reply.read(), reply.headers)
        finally:
            connection.close()

    def post(self, call: str, **fields: object) -> Reply:
        return self.send("POST", f"{API}/{call}", json.dumps(fields).encode())

    def get(self, call: str) -> Reply:
        return self.send("GET", f"{API}/{call}")

    def new_run(self, **fields: object) -> str:
        return str(self.post("runs/create", **fields).json["run"]["info"]["run_id"])

    def put(self, path: str, content: Any = b"x") -> Reply:
        return self.send("PUT", f"{FILES}/{path}", content, **{"Content-Type": "text/plain"})


def caller(server: Server, name: str, role: str = "user") -> Caller:
    return Caller(server, server.json("keys", "create", name, "--role", role)["secret"])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("server")
    server = Server(folder / "data", FETCHML_RATE_LIMIT_ENABLED="false").start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def ada(server: Server) -> Caller:
    return caller(server, "ada")


def test_ways_to_send_a_key(server: Server, ada: Caller) -> None:
    key = server.admin_key
    basic = base64.b64encode(f"any:{key}".encode()).decode()
    for headers in (
        {"Authorization": f"Bearer {key}"},
        {"Authorization": f"Basic {basic}"},
        {"Authorization": "", "X-API-Key": key},
    ):
        assert ada.send("GET", f"{API}/experiments/get?experiment_id=0", **headers).status == 200
    wrongs = "Bearer", "Bearer x", "Basic ???", "Basic é", f"Basic {key}", "Bearer fmt_", "Digest x"
    for wrong in ("", *wrongs):
        reply = ada.send("GET", f"{API}/experiments/get?experiment_id=0", Authorization=wrong)
        assert (reply.status, reply.code) == (401, "UNAUTHENTICATED"), wrong


def test_the_token_of_a_task(server: Server, ada: Caller) -> None:
    """It is good for this protocol only, acts as the task's user, and ends with the task."""
    task = json.loads(server.run("submit", "--json", "--", "sleep", "1000").succeeded())
    token = TaskTokens(load_key(server.data_dir / TRACKING_KEY)).issue(task["id"])
    command = Caller(server, token)
    run_id = command.new_run()
    point = {"key": "a", "value": 1, "timestamp": 1}
    assert command.post("runs/log-metric", run_id=run_id, **point).status == 200
    assert command.put(f"0/{run_id}/artifacts/a").status == 200
    info = ada.get(f"runs/get?run_id={run_id}").json["run"]["info"]
    assert (info["user_id"], info["run_name"]) == ("admin", task["job_name"])
    [run] = get_json(server, f"/v1/runs?task_id={task['id']}")["runs"]
    assert run["id"] == run_id
    for header in ({"X-API-Key": token}, {"Authorization": f"Bearer {token}"}):
        assert command.send("GET", "/v1/tasks", **header).status == 401
    of_other = TaskTokens(bytes(32)).issue(task["id"])
    assert Caller(server, of_other).get(f"runs/get?run_id={run_id}").status == 401
    server.run("cancel", task["id"]).succeeded()
    wait_until(lambda: server.json("show", task["id"])["status"] == "failed")
    reply = command.post("runs/log-metric", run_id=run_id, **point)
    assert (reply.status, reply.code) == (401, "UNAUTHENTICATED")


def test_wrong_keys_and_requests_are_limited(tmp_path: Path) -> None:
    limited = Server(tmp_path / "data").start()
    try:
        stranger = Caller(limited, "x" * 20)
        replies = [stranger.get("experiments/get?experiment_id=0") for _ in range(80)]
        assert {each.status for each in replies} == {401, 429}
        assert replies[-1].code == "REQUEST_LIMIT_EXCEEDED"
        assert int(replies[-1].headers["Retry-After"]) >= 1
    finally:
        limited.stop()


def test_viewers_only_read(server: Server, ada: Caller) -> None:
    viewer, run_id = caller(server, "vera", "viewer"), ada.new_run()
    assert viewer.get(f"runs/get?run_id={run_id}").status == 200
    for call, fields in (
        ("runs/create", {}),
        ("experiments/create", {"name": "x"}),
        ("runs/log-metric", {"run_id": run_id, "key": "a", "value": 1, "timestamp": 1}),
        ("runs/update", {"run_id": run_id, "status": "FINISHED"}),
        ("runs/delete", {"run_id": run_id}),
        ("logged-models", {"experiment_id": "0"}),
    ):
        reply = viewer.post(call, **fields)
        assert (reply.status, reply.code) == (403, "PERMISSION_DENIED"), call
    assert viewer.put(f"0/{run_id}/artifacts/a").code == "PERMISSION_DENIED"


def test_others_are_not_found_on_a_private_server(tmp_path: Path) -> None:
    server = Server(tmp_path / "data", FETCHML_AUTH_PRIVATE="true").start()
    try:
        ada, bob = caller(server, "ada"), caller(server, "bob")
        experiment = ada.post("experiments/create", name="secret").json["experiment_id"]
        run_id = ada.new_run(experiment_id=experiment)
        model = ada.post("logged-models", experiment_id=experiment).json["model"]["info"]
        assert ada.put(f"{experiment}/{run_id}/artifacts/a").status == 200
        point = {"key": "a", "value": 1, "timestamp": 1}
        for reply in (
            bob.get(f"experiments/get?experiment_id={experiment}"),
            bob.get("experiments/get-by-name?experiment_name=secret"),
            bob.post("runs/create", experiment_id=experiment),
            bob.get(f"runs/get?run_id={run_id}"),
            bob.post("runs/log-batch", run_id=run_id, metrics=[point]),
            bob.get(f"metrics/get-history?run_id={run_id}&metric_key=a"),
            bob.get(f"artifacts/list?run_id={run_id}"),
            bob.get(f"logged-models/{model['model_id']}"),
            bob.post("logged-models", experiment_id=experiment),
            bob.send("GET", f"{FILES}/{experiment}/{run_id}/artifacts/a"),
            bob.send("GET", f"{FILES}?path={experiment}/{run_id}/artifacts"),
            bob.put(f"{experiment}/{run_id}/artifacts/b"),
            bob.send("DELETE", f"{FILES}/{experiment}/{run_id}/artifacts/a"),
        ):
            assert (reply.status, reply.code) == (404, "RESOURCE_DOES_NOT_EXIST")
        assert bob.post("runs/search", experiment_ids=[experiment, "0"]).json["runs"] == []
        names = [each["name"] for each in bob.post("experiments/search").json["experiments"]]
        assert names == ["Default"]
        searched = bob.post("logged-models/search", experiment_ids=[experiment])
        assert searched.json["models"] == []
        # The name is free for others: it is not revealed.
        assert bob.post("experiments/create", name="secret").status == 200
    finally:
        server.stop()


POSTS = [
    "experiments/create", "experiments/search", "experiments/update", "experiments/delete",
    "experiments/set-experiment-tag", "runs/create", "runs/update", "runs/delete", "runs/search",
    "runs/log-metric", "runs/log-parameter", "runs/log-batch", "runs/set-tag", "runs/delete-tag",
    "runs/log-inputs", "runs/outputs", "runs/log-model", "logged-models", "logged-models/search",
]  # fmt: skip
ODD: list[object] = [
    5,
    -1,
    10**30,
    1e308,
    True,
    None,
    "",
    "x" * 9_000,
    "\0",
    "\u202e",
    [],
    [None],
    {},
    {"a": {}},
]
FIELDS = [
    "run_id", "run_uuid", "experiment_id", "experiment_ids", "name", "new_name", "key", "value",
    "timestamp", "step", "status", "end_time", "start_time", "run_name", "metrics", "params",
    "tags", "datasets", "models", "model_json", "filter", "order_by", "max_results", "page_token",
    "run_view_type", "view_type", "model_type", "source_run_id", "model_id",
]  # fmt: skip


@pytest.mark.slow
def test_no_body_causes_an_error_of_the_server(server: Server, ada: Caller) -> None:
    run_id = ada.new_run()
    valid = {
        "run_id": run_id, "experiment_id": "0", "experiment_ids": ["0"], "key": "k", "value": "1",
        "timestamp": 1, "name": "n",
    }  # fmt: skip
    bodies = [
        b"", b"[]", b"{", b"null", b'"x"', b"[" * 100_000, b'{"run_id": NaN}', b'{"value": 1e999}',
        b'{"run_id": "\\ud800"}', b'{"run_id": "\xff"}', b" " * 2_000_000,
        json.dumps({"metrics": [{}] * 40_000}).encode(),
        *(json.dumps(valid | {field: odd}).encode() for field in FIELDS for odd in ODD),
    ]  # fmt: skip
    with closing(http.client.HTTPConnection(server.http, timeout=SECONDS)) as connection:
        for call, body in product(POSTS, bodies):
            connection.request("POST", f"{API}/{call}", body, ada.headers)
            reply = connection.getresponse()
            shown = json.loads(reply.read())
            assert reply.status in (200, 400, 403, 404, 413), (call, body[:200], shown)
            if reply.status != 200:
                assert set(shown) == {"error_code", "message", "trace_id"}
    assert ada.get("experiments/get?experiment_id=0").status == 200


@pytest.mark.parametrize(
    "query",
    [
        "runs/get", "runs/get?run_id=", "runs/get?run_id=%00", "runs/get?run_id=..%2f..",
        "runs/get?run_id=%ff", "metrics/get-history?run_id=x", "experiments/get?experiment_id=%00",
        "metrics/get-history-bulk-interval?metric_key=a",
        "metrics/get-history-bulk-interval?metric_key=a&run_ids=x&max_results=-1",
        "metrics/get-history-bulk-interval?metric_key=a&run_ids=x&max_results=99999999999999999999",
        "logged-models/%2e%2e", "artifacts/list", "nothing/at/all",
    ],
)  # fmt: skip
def test_bad_queries(ada: Caller, query: str) -> None:
    reply = ada.get(query)
    assert reply.status in (400, 404)
    assert reply.code in (
        "INVALID_PARAMETER_VALUE",
        "RESOURCE_DOES_NOT_EXIST",
        "ENDPOINT_NOT_FOUND",
    )


def test_a_repeated_request_adds_nothing(ada: Caller) -> None:
    run_id = ada.new_run()
    metrics = [
        {"key": "a", "value": step / 2, "timestamp": step, "step": step} for step in range(9)
    ]
    for _ in range(3):
        batch = {"params": [{"key": "p", "value": "1"}], "tags": [{"key": "t", "value": "1"}]}
        assert ada.post("runs/log-batch", run_id=run_id, metrics=metrics, **batch).json == {}
    history = ada.get(f"metrics/get-history?run_id={run_id}&metric_key=a").json["metrics"]
    assert [each["step"] for each in history] == list(range(9))


def test_a_long_history_is_thinned(ada: Caller) -> None:
    run_id = ada.new_run()
    for first in range(0, 5_000, 1_000):
        steps = range(first, first + 1_000)
        metrics = [{"key": "a", "value": step, "timestamp": step, "step": step} for step in steps]
        ada.post("runs/log-batch", run_id=run_id, metrics=metrics)
    path = f"metrics/get-history-bulk-interval?metric_key=a&run_ids={run_id}&max_results=320"
    shown = [each["step"] for each in ada.get(path).json["metrics"]]
    assert shown[0] == 0
    assert shown[-1] == 4_999
    assert 160 <= len(shown) <= 321
    inside = [each["step"] for each in ada.get(f"{path}&start_step=10&end_step=19").json["metrics"]]
    assert inside == list(range(10, 20))


def test_artifacts_stay_in_their_run(server: Server, ada: Caller) -> None:
    run_id, other = ada.new_run(), ada.new_run()
    root = f"0/{run_id}/artifacts"
    for path in (
        f"{root}/../../{other}/artifacts/x", f"{root}/..%2f..%2fx", f"{root}/%2e%2e/x",
        f"{root}/a//b", f"{root}/./a", f"{root}/a%00b", f"{root}/{'a/' * 40}b",
        f"{root}/{'n' * 256}", f"{root}/{'%C3%A4' * 200}", f"{root}/", root,
    ):  # fmt: skip
        assert ada.put(path).code == "INVALID_PARAMETER_VALUE", path
    for path in (f"1/{run_id}/artifacts/x", f"0/{NOBODY}/artifacts/x", "x", f"0/{run_id}/x"):
        assert ada.put(path).code == "RESOURCE_DOES_NOT_EXIST", path
    assert ada.put(f"{root}/%C3%A4%20b/c%25.txt", b"1").status == 200
    assert ada.send("GET", f"{FILES}?path={root}").json["files"] == [
        {"path": "ä b", "is_dir": True}
    ]
    assert ada.put(f"{root}/folder/file", iter([b"12", b"345"])).status == 200
    assert ada.put(f"{root}/folder/empty", iter([])).status == 200
    assert ada.put(f"{root}/folder").code == "INVALID_PARAMETER_VALUE"
    assert ada.put(f"{root}/folder/file/x").code == "INVALID_PARAMETER_VALUE"
    listed = ada.send("GET", f"{FILES}?path={root}/folder").json["files"]
    assert listed == [
        {"path": "empty", "is_dir": False, "file_size": 0},
        {"path": "file", "is_dir": False, "file_size": 5},
    ]
    read = ada.send("GET", f"{FILES}/{root}/folder/file", Range="bytes=1-2")
    assert (read.status, read.body) == (206, b"23")
    assert read.headers["Content-Type"] == "application/octet-stream"
    assert ada.send("GET", f"{FILES}/{root}/folder").status == 404
    assert ada.send("DELETE", f"{FILES}/{root}/folder").status == 200
    assert ada.send("GET", f"{FILES}?path={root}/folder").json["files"] == []
    # Others read what they may see, and change nothing.
    bob = caller(server, "bob")
    assert ada.put(f"{root}/a", b"mine").status == 200
    assert bob.send("GET", f"{FILES}/{root}/a").body == b"mine"
    assert bob.put(f"{root}/a").code == "PERMISSION_DENIED"
    assert bob.send("DELETE", f"{FILES}/{root}/a").code == "PERMISSION_DENIED"
    assert not list((server.data_dir / TRACKING / "new").iterdir())
    multipart = ada.send("POST", "/mlflow/api/2.0/mlflow-artifacts/mpu/create/x", b"{}")
    assert (multipart.status, multipart.code) == (501, "NOT_IMPLEMENTED")


def artifacts_of(server: Server, user: str) -> int:
    found = get_json(server, "/v1/storage")["users"]
    kinds: list[Any] = next((each["kinds"] for each in found if each["user_id"] == user), [])
    return sum(int(each["bytes"]) for each in kinds if each["kind"] == "artifacts")


@pytest.mark.slow
def test_artifacts_count_in_the_storage_of_the_user(tmp_path: Path) -> None:
    server = Server(tmp_path / "data", FETCHML_QUOTAS_USER_STORAGE_GB="1").keep_ports().start()
    ada = caller(server, "ada")
    run_id = ada.new_run()
    root = f"0/{run_id}/artifacts"
    assert ada.put(f"{root}/a", b"x" * 4_000_000).status == 200
    assert 4_000_000 <= artifacts_of(server, "ada") < 4_100_000
    refused = ada.put(f"{root}/b", (b"x" * 1_000_000 for _ in range(1_100)))
    assert (refused.status, refused.code) == (403, "QUOTA_EXCEEDED")
    assert artifacts_of(server, "ada") < 4_100_000
    assert ada.put(f"{root}/a", b"x" * 1_000_000).status == 200
    assert artifacts_of(server, "ada") < 1_100_000
    server.stop()
    server.start()
    wait_until(lambda: artifacts_of(server, "ada") >= 1_000_000)
    assert ada.send("DELETE", f"{FILES}/{root}/a").status == 200
    assert artifacts_of(server, "ada") < 100_000
    server.stop()


def test_a_backup_has_the_artifacts(server: Server, ada: Caller, tmp_path: Path) -> None:
    run_id = ada.new_run()
    assert ada.put(f"0/{run_id}/artifacts/a/b", b"kept").status == 200
    file, restored = tmp_path / "backup.tar", tmp_path / "restored"
    server.run("backup", str(file), "--data-dir", str(server.data_dir)).succeeded()
    server.run("restore", str(file), "--data-dir", str(restored)).succeeded()
    [found] = restored.glob(f"{TRACKING}/of-ada/{run_id}/a/b")
    assert found.read_bytes() == b"kept"
    assert not (restored / TRACKING / TRACKING_DRAFTS).exists()


def test_the_link_that_clients_print_leads_to_the_page(ada: Caller) -> None:
    for path in ("/mlflow", "/mlflow/"):
        reply = ada.send("GET", path, Authorization="")
        assert (reply.status, reply.headers["Location"]) == (302, "/ui/")
