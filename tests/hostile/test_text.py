"""Text that nobody should send: it fails its own request at most. The data directory stays whole,
and no command runs that has no record."""

import json
import re
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fetchml.v1 import task_pb2
from tests.hostile.raw import (
    ADMIN_KEY,
    SERVER_SETTINGS,
    Marks,
    all_tasks,
    ask,
    assert_log_is_safe,
    assert_no_ghosts,
    create_task_with,
    submit,
)
from tests.support.cli_server import Server
from tests.support.front import DIRECT, EDGE
from tests.support.waiting import wait_until

GAPS = Path(__file__).parents[1] / "adapters" / "duckdb" / "data" / "gaps.tar.gz"
SCOPE_IDS = [b"fe80::1%\xff", b"fe80::1%\xed\xa0\x80", "fe80::1%\u202e".encode(), b"fe80::1%a\tb"]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[[], Server]]:
    """Starts one server; after the test it ends in the ordinary way."""
    server = Server(tmp_path / "data", **SERVER_SETTINGS)

    def start() -> Server:
        return server.start()

    yield start
    if server.process.poll() is None:
        assert server.stop() == 0, server.log


def restarted(server: Server) -> Server:
    assert server.stop() == 0, server.log
    return server.start()


def until_idle(server: Server) -> None:
    ended = ("completed", "failed")
    wait_until(lambda: all(task["status"] in ended for task in all_tasks(server)), "tasks end")


@pytest.mark.slow
@pytest.mark.fronts(EDGE)
@pytest.mark.parametrize("forwarded_for", SCOPE_IDS)
def test_forwarded_address_with_undecodable_scope_id(
    serve: Callable[[], Server], tmp_path: Path, forwarded_for: bytes, front: str
) -> None:
    """With a wrong key it becomes a row of the audit, with a right one a part of the task. Envoy
    adds the address that it sees, which counts then."""
    server, marks = serve(), Marks(tmp_path / "ran")
    headers = {b"X-Forwarded-For": forwarded_for}
    wrong = ask(server.http, b"GET", b"/v1/queue", headers, key="fml_wrong")
    assert wrong.status == 401
    made = submit(server.http, {"job_name": "a", "command": marks.command()}, headers)
    assert made.status == 201, made
    [refused] = ask(server.http, b"GET", b"/v1/audit?action=access.refused").json["entries"]
    assert (refused["address"] == "fe80::1") is (front == DIRECT)
    until_idle(server)
    server = restarted(server)
    assert marks.ran() == ["m1"]
    assert [task["id"] for task in all_tasks(server)] == [made.json["id"]]
    assert_no_ghosts(server, marks)


@pytest.mark.slow
def test_directory_damaged_by_an_old_release_opens(tmp_path: Path) -> None:
    with tarfile.open(GAPS) as archive:
        archive.extractall(tmp_path / "data", filter="data")
    server = Server(tmp_path / "data", **SERVER_SETTINGS).start()
    try:
        [task] = all_tasks(server)
        assert (task["job_name"], task["status"]) == ("before", "completed")
        assert re.search(r"the journal lacks changes.* \(numbers=3-4, 7\)", server.log)
        made = submit(server.http, {"job_name": "new", "command": ["true"]})
        assert made.status == 201
        until_idle(server)
        server = restarted(server)
        assert {task["job_name"] for task in all_tasks(server)} == {"before", "new"}
    finally:
        assert server.stop() == 0


@pytest.mark.fronts(EDGE)
def test_undecodable_targets_and_headers(serve: Callable[[], Server]) -> None:
    server = serve()
    for text in (b"\xff", b"%ff", b"%00", b"%0d%0a", "\u202e".encode(), b"x" * 7000):
        for target in (
            b"/v1/tasks/" + text,
            b"/v1/tasks/x/outputs/" + text,
            b"/v1/tasks?status=" + text,
            b"/v1/audit?user_id=" + text,
            b"/v1/audit?target=" + text,
            b"/v1/experiments/" + text,
            b"/v1/snapshots/" + text,
            b"/v1/jupyter/services/" + text,
            b"/jupyter/" + text + b"/",
            b"/ws?task_id=" + text,
            b"/" + text,
        ):
            assert ask(server.http, b"GET", target).status in range(200, 500), target
    for name in (
        b"X-API-Key", b"traceparent", b"x-request-id", b"User-Agent", b"X-Forwarded-For",
        b"Idempotency-Key", b"Content-Type", b"Cookie", b"Sec-WebSocket-Protocol", b"Range",
    ):  # fmt: skip
        for text in (b"\xff\xfe", "\u202e\u2028".encode(), b"\x80" * 7000):
            answer = ask(server.http, b"POST", b"/v1/tasks", {name: text}, b"{}")
            assert answer.status in range(400, 500), (name, text, answer)
    assert b"\\udcff" not in ask(server.http, b"GET", b"/v1/audit").body
    assert_log_is_safe(restarted(server))


def test_names_are_single_lines_and_content_is_any_text(serve: Callable[[], Server]) -> None:
    server = serve()
    json_headers = {b"Content-Type": b"application/json"}
    for steering in ("\n", "\r\n", "\x1b[31m", "\u202e", "\u2028", "\x00"):
        name = f"a{steering}b"
        for path, body in (
            (b"/v1/experiments", {"name": name}),
            (b"/v1/jupyter/services", {"name": name, "gpu": 2**31 - 1}),
            (b"/v1/tasks", {"job_name": name}),
            (b"/v1/tasks", {"job_name": "a", "experiment_id": name}),
            (b"/v1/tasks", {"job_name": "a", "metadata": {name: "x"}}),
            (b"/v1/tasks", {"job_name": "a", "image": name}),
            (b"/v1/tasks", {"job_name": "a", "dataset_specs": [{"source": f"/d/{name}"}]}),
            (b"/v1/tasks", {"job_name": "a", "dataset_specs": [{"mount_path": f"/m/{name}"}]}),
        ):  # fmt: skip
            answer = ask(server.http, b"POST", path, json_headers, json.dumps(body).encode())
            assert answer.status == 422, (path, body, answer)
    script = "true\n# \u202e\x1b[31m"
    made = submit(
        server.http,
        {"job_name": "a", "command": ["sh", "-c", script], "metadata": {"note": "one\ntwo"}},
    )
    assert made.status == 201
    until_idle(server)
    [task] = all_tasks(server)
    assert (task["command"], task["metadata"]) == (["sh", "-c", script], {"note": "one\ntwo"})
    shown = server.run("show", task["id"], FETCHML_API_KEY=ADMIN_KEY).succeeded()
    assert "\x1b" not in shown
    assert "\u202e" not in shown


@pytest.mark.slow
@pytest.mark.fronts(EDGE)
def test_undecodable_metadata_is_not_logged(serve: Callable[[], Server], tmp_path: Path) -> None:
    """Without a key nothing of it is logged: anybody could fill the disk with it."""
    server, marks = serve(), Marks(tmp_path / "ran")
    for name, value in (
        (b"x-forwarded-for", b"fe80::1%\xff"),
        (b"x-forwarded-for", b"10.0.0.1\r\n2026-01-01 forged"),
        (b"idempotency-key", b"\xff\xed\xa0\x80"),
        (b"traceparent", b"\0"),
        (b"any-bin", b"\xff!!"),
    ):
        for key in (ADMIN_KEY, "wrong"):
            request = task_pb2.CreateTaskRequest(job_name="a", command=marks.command())
            metadata = [(name, value), (b"x-api-key", key.encode())]
            data = request.SerializeToString()
            create_task_with(server, metadata, data)
    until_idle(server)
    assert "Invalid encoding" not in server.log
    server = restarted(server)
    assert_no_ghosts(server, marks)
    assert_log_is_safe(server)
