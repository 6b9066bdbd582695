"""Client commands against a real server: output, JSON, exit codes."""

import json
import os
import pty
import select
import signal
import subprocess
import threading
import urllib.request
from collections.abc import Iterator
from typing import Any

import grpc
import pytest

from fetchml.api.grpc.server import MAX_CONTROL_CALLS
from tests.support.cli_server import FETCHML, SECONDS, Server, environment, run
from tests.support.commands import ran


def submit(server: Server, *arguments: str) -> str:
    """Submit a task, and return its id."""
    return server.run("submit", *arguments).succeeded()


def test_a_task_from_submit_to_rm(server: Server) -> None:
    task_id = submit(server, "-n", "hello", "-e", "WHO=world", "--", "sh", "-c", "echo $WHO")
    watched = [
        json.loads(line) for line in server.run("watch", task_id, "--json").succeeded().splitlines()
    ]
    assert watched[-1]["task"]["status"] == "completed"
    sequence = [update["seq"] for update in watched]
    assert sequence == sorted(sequence)
    assert server.run("logs", task_id).succeeded() == "world"
    shown = server.run("show", task_id).succeeded()
    assert "completed" in shown
    assert "sh -c 'echo $WHO'" in shown
    assert "world" not in shown, "values of variables may be secret"
    assert server.json("show", task_id)["exit_code"] == 0
    assert task_id in server.run("ls", "--status", "completed", "--name", "hel").succeeded()
    assert task_id not in server.run("ls", "--status", "queued").succeeded()
    assert server.run("rm", task_id).succeeded() == f"{task_id} is removed"
    assert f"Task {task_id!r} not found" in server.run("show", task_id).failed(5)


def test_json_equals_the_rest_reply(server: Server) -> None:
    task_id = submit(
        server, "--cpu", "1", "--metadata", "a=b", "--timeout", "1h", "--priority", "7",
        "--", "sh", "-c", "echo out; exit 2",
    )  # fmt: skip
    server.run("watch", task_id).succeeded()
    assert server.json("show", task_id) == rest(server, f"/v1/tasks/{task_id}?view=full")
    assert server.json("queue") == rest(server, "/v1/queue")
    listed = server.json("ls", "--limit", "2", "--offset", "1")
    assert listed == rest(server, "/v1/tasks?limit=2&offset=1&view=full")


def rest(server: Server, path: str) -> Any:
    key = (server.data_dir / "admin.key").read_text().strip()
    request = urllib.request.Request(f"http://{server.http}{path}", headers={"X-API-Key": key})
    with urllib.request.urlopen(request, timeout=SECONDS) as answer:  # noqa: S310
        return json.load(answer)


def test_wait_shows_the_log_and_exits_with_the_tasks_exit_code(server: Server) -> None:
    waited = server.run("submit", "--wait", "--", "sh", "-c", "echo one; echo two >&2; exit 7")
    assert waited.code == 7
    assert waited.out == "one\ntwo\n"
    assert waited.err.splitlines()[-1].endswith("failed: exit code 7")
    as_json = server.run("submit", "--wait", "--json", "sh", "-c", "echo one")
    assert json.loads(as_json.succeeded())["status"] == "completed"


def test_wait_continues_through_retries(server: Server) -> None:
    command = 'echo "attempt $FETCHML_ATTEMPT"; [ "$FETCHML_ATTEMPT" = 2 ]'
    waited = server.run("submit", "--wait", "--retries", "1", "--", "sh", "-c", command)
    assert waited.succeeded() == "attempt 1\nattempt 2"


def test_a_missing_program_fails_the_task_with_its_reason(server: Server) -> None:
    waited = server.run("submit", "--wait", "--", "no-such-program").failed(127)
    assert "No such file or directory" in waited


def test_interrupted_wait_leaves_the_task_running(server: Server) -> None:
    waiting = server.begin("submit", "--wait", "--", "sh", "-c", "echo ready; exec sleep 60")
    assert waiting.stdout is not None
    assert waiting.stdout.readline() == "ready\n"
    waiting.send_signal(signal.SIGINT)
    _, said = waiting.communicate(timeout=SECONDS)
    assert waiting.returncode == 130
    assert "The task continues." in said
    task_id = said.rpartition("fetchml cancel ")[2].strip()
    assert server.json("show", task_id)["status"] == "running"
    assert server.run("cancel", task_id).succeeded() == f"{task_id} is being cancelled"
    watched = server.run("watch", task_id).succeeded()
    assert watched.endswith("failed  cancelled by admin")
    assert "has already ended: failed" in server.run("cancel", task_id).succeeded()


def test_logs_follow_until_the_task_ends(server: Server) -> None:
    task_id = submit(server, "--", "sh", "-c", "for i in 1 2 3; do echo $i; sleep 0.05; done")
    assert server.run("logs", "-f", task_id).succeeded() == "1\n2\n3"
    assert server.run("logs", "--attempt", "1", task_id).succeeded() == "1\n2\n3"


def test_watch_of_all_tasks_starts_with_the_live_ones(server: Server) -> None:
    task_id = submit(server, "-n", "watched", "--", "sleep", "60")
    with server.begin("watch", "--json", "--name", "watched") as watching:
        assert watching.stdout is not None
        first = json.loads(watching.stdout.readline())
        assert (first["type"], first["task"]["id"]) == ("snapshot", task_id)
        server.run("cancel", task_id).succeeded()
        ended = next(
            update
            for update in map(json.loads, watching.stdout)
            if update.get("task", {}).get("status") == "failed"
        )
        assert ended["type"] == "task_update"
        watching.send_signal(signal.SIGINT)
        assert watching.wait(SECONDS) == 130


def test_queue_and_top_show_running_tasks(server: Server) -> None:
    task_id = submit(server, "-n", "resident", "--", "sleep", "60")
    with server.begin("watch", task_id) as watching:
        assert watching.stdout is not None
        next(line for line in watching.stdout if "running" in line)
        watching.terminate()
    assert server.json("queue")["running"] >= 1
    assert "EXECUTORS" in server.run("queue").succeeded()
    assert "resident" in server.run("top").succeeded()
    server.run("cancel", task_id).succeeded()


def test_errors_have_exit_codes_and_hints(server: Server) -> None:
    assert "fetchml keys create" in server.run("ls", FETCHML_API_KEY="wrong").failed(4)
    nowhere = server.run("ls", FETCHML_SERVER="127.0.0.1:1", FETCHML_API_KEY="any").failed(3)
    assert "Cannot reach a server at 127.0.0.1:1" in nowhere
    broken = server.run("submit", "--priority", "11", "-n", "a b", "true").failed(2)
    assert "job_name: " in broken
    assert "priority: must be between 1 and 10" in broken
    assert server.run("submit", "--memory-gb", "9999999999").code == 2
    assert server.run("show", "nothing").code == 5
    assert server.run("frobnicate").code == 2


def test_a_repeated_idempotency_key_creates_one_task(server: Server) -> None:
    arguments = ("--idempotency-key", "once", "--", "true")
    assert submit(server, *arguments) == submit(server, *arguments)


def test_keys_of_a_running_server(server: Server) -> None:
    secret = server.run("keys", "create", "ada", "--role", "viewer", "--expires", "1d").succeeded()
    assert secret.startswith("fml_")
    assert server.run("ls", FETCHML_API_KEY=secret).code == 0
    refused = server.run("submit", "--", "true", FETCHML_API_KEY=secret)
    assert refused.code == 4
    listed = server.run("keys", "ls").succeeded()
    assert "valid until" in listed
    assert secret not in listed
    [key] = [key for key in server.json("keys", "ls")["keys"] if key["name"] == "ada"]
    assert server.run("keys", "revoke", key["id"][-12:]).succeeded() == f"{key['id']} is revoked"
    assert server.run("ls", FETCHML_API_KEY=secret).code == 4
    assert server.run("keys", "revoke", "nothing").code == 5
    assert server.run("keys", "create", "a b").code == 2


def test_keys_of_a_busy_server_do_not_open_its_data_directory(server: Server) -> None:
    """A busy server must not be mistaken for a stopped one, whose data directory may be opened."""
    begun = threading.Semaphore(0)
    over = threading.Event()

    def no_message() -> Iterator[bytes]:
        begun.release()
        over.wait()
        yield from ()

    with grpc.insecure_channel(f"unix:{server.data_dir}/control.sock") as channel:
        method: Any = channel.stream_stream("/fetchml.v1.KeyService/ListKeys")
        held: list[Any] = [method(no_message()) for _ in range(MAX_CONTROL_CALLS)]
        for _ in held:
            assert begun.acquire(timeout=SECONDS)
        busy = server.run("keys", "ls")
        over.set()
        for call in held:
            call.cancel()
    assert busy.code == 3
    assert "limit of open calls reached: try again later" in busy.err


def test_keys_over_the_network_are_for_admins(server: Server) -> None:
    over = ("keys", "--server", server.grpc)
    assert "admin" in server.run(*over, "ls").succeeded()
    secret = server.run(*over, "create", "bob").succeeded()
    assert server.run(*over, "ls", FETCHML_API_KEY=secret).code == 4


def test_keys_of_a_missing_data_directory(server: Server) -> None:
    nothing = run("keys", "--data-dir", str(server.data_dir / "nothing"), "ls").failed(1)
    assert "is not a data directory of FetchML: No such file or directory" in nothing


def test_a_closed_pipe_is_not_an_error(server: Server) -> None:
    shell = f"{' '.join(FETCHML)} ls --json | true"
    done = ran(["sh", "-c", shell], check=True, env=environment(**server.variables))
    assert done.stderr == ""


@pytest.mark.parametrize("colour", [True, False])
def test_wait_on_a_terminal(server: Server, *, colour: bool) -> None:
    variables = environment(**server.variables, TERM="xterm", COLUMNS="120")
    if colour:
        del variables["NO_COLOR"]
    main, side = pty.openpty()
    with subprocess.Popen(
        [*FETCHML, "submit", "--wait", "--", "sh", "-c", "echo one; exit 3"],
        stdin=side,
        stdout=side,
        stderr=side,
        env=variables,
    ) as waiting:
        os.close(side)
        shown = read_terminal(main)
    assert waiting.returncode == 3
    assert "one\r\n" in shown
    assert "failed: exit code 3" in shown
    assert ("\x1b[31m" in shown) is colour


def read_terminal(descriptor: int) -> str:
    """Read until the last writer has closed its side."""
    shown = b""
    while select.select([descriptor], [], [], SECONDS)[0]:
        try:
            shown += os.read(descriptor, 65_536)
        except OSError:  # EIO: the other side is closed
            os.close(descriptor)
            return shown.decode()
    raise AssertionError(f"it did not end; shown so far: {shown!r}")


def test_the_audit_lists_user_action_and_outcome(server: Server) -> None:
    task_id = submit(server, "--", "true")
    server.run("watch", task_id).succeeded()
    created = server.json("audit", "--target", task_id[-12:])["entries"]
    assert [(entry["action"], entry["target"]) for entry in created] == [("task.create", task_id)]
    server.run("rm", task_id).succeeded()
    key = server.json("keys", "create", "eve")
    assert server.run("audit", FETCHML_API_KEY=key["secret"]).code == 4
    entries = server.json("audit", "--target", task_id)["entries"]
    assert [entry["action"] for entry in entries] == ["task.delete", "task.create"]
    assert {(e["user_id"], e["address"], e["outcome"]) for e in entries} == {
        ("admin", "control socket", "OK")
    }
    assert entries == rest(server, f"/v1/audit?target={task_id}")["entries"]
    made = server.run("audit", "--action", "key.create", "--since", "1h").succeeded()
    assert "control socket" in made
    assert key["key"]["id"] in made
    refused = server.run("audit", "--user", "eve").succeeded()
    assert "FORBIDDEN" in refused
    assert server.run("audit", "--action", "nothing").code == 2
