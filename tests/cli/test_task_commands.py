"""Commands that change tasks, and the ways in which they name tasks."""

import json
from collections.abc import Iterator

import pytest

from fetchml.core.model import Role
from tests.support.cli_server import Server
from tests.support.waiting import wait_until


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with one slot, which a task holds: all others wait."""
    started = Server(
        tmp_path_factory.mktemp("shared") / "data",
        FETCHML_TASKS_MAX_RUNNING="1",
        FETCHML_SCHEDULING_AHEAD="false",
    ).start()
    blocker = submit(started, "-n", "blocker", "--", "sleep", "1000")
    wait_until(lambda: started.json("show", blocker)["status"] == "running")
    yield started
    started.run("cancel", blocker).succeeded()
    assert started.stop() == 0


def submit(server: Server, *arguments: str) -> str:
    return server.run("submit", *arguments).succeeded()


def ended(server: Server, *arguments: str) -> str:
    """The id of a task that has ended."""
    return str(json.loads(server.run("submit", "--wait", "--json", *arguments).out)["id"])


def key_of(server: Server, name: str, role: Role = Role.USER) -> str:
    made = server.json("keys", "create", name, "--role", role.value)
    return str(made["secret"])


def test_task_is_named_by_the_end_of_its_id(server: Server) -> None:
    task_id = ended(server, "--", "echo", "here")
    for named in (task_id, task_id[-12:], task_id[-8:].upper(), f"{task_id[:4]}…{task_id[-6:]}"):
        assert server.json("show", named)["id"] == task_id, named
    assert server.run("logs", task_id[-12:]).succeeded() == "here"
    assert "completed" in server.run("watch", task_id[-12:]).succeeded()


def test_end_that_fits_no_or_several_tasks_is_refused(server: Server) -> None:
    assert "Task ffff-ffffffffffff not found" in server.run("show", "ffff-ffffffffffff").failed(5)
    short = server.run("show", "abc")
    assert (short.code, "not found" in short.err) == (5, True)
    assert "\x1b" not in server.run("show", "\x1b[31m%").failed(5)
    # Ids of one millisecond differ in their last part only; those of one server share the rest.
    ids = [task["id"] for task in server.json("ls", "--limit", "1000")["tasks"]]
    digits = {task_id[-4:] for task_id in ids}
    if len(digits) < len(ids):  # by chance
        twice = next(end for end in digits if sum(i.endswith(end) for i in ids) > 1)
        assert "Give more of the id" in server.run("show", twice).failed(2)


def test_last_is_the_newest_task_of_the_caller(own_server: Server) -> None:
    own_server.start()
    ada = {"FETCHML_API_KEY": key_of(own_server, "ada")}
    assert "ada has submitted no task" in own_server.run("show", "@last", **ada).failed(5)
    first = own_server.run("submit", "--", "true", **ada).succeeded()
    submit(own_server, "--", "true")
    assert json.loads(own_server.run("show", "@last", "--json", **ada).out)["id"] == first
    second = own_server.run("submit", "--", "true", **ada).succeeded()
    assert json.loads(own_server.run("show", "@last", "--json", **ada).out)["id"] == second


def test_labels_and_priority_change(shared: Server) -> None:
    own_server = shared
    blocker = blocker_of(own_server)
    waits = submit(own_server, "-m", "a=1", "--", "true")
    said = own_server.run("label", waits, "b=2", "a=").succeeded()
    assert said == f"{waits} has b=2"
    assert own_server.json("label", waits, "c=x y")["metadata"] == {"b": "2", "c": "x y"}
    for found, wanted in (
        (("--label", "c=x y", "--text", waits[-8:]), [waits]),
        (("--label", "a"), []),
    ):
        assert [t["id"] for t in own_server.json("ls", *found)["tasks"]] == wanted
    assert own_server.run("label", waits, "b=", "c=").succeeded() == f"{waits} has no labels"
    assert own_server.run("priority", waits, "9").succeeded() == f"{waits} has priority 9"
    assert own_server.json("show", waits)["priority"] == 9
    for wrong in ("0", "11", "x"):
        assert own_server.run("priority", waits, wrong).code == 2
    assert own_server.run("label", waits, "no-value").code == 2
    late = own_server.run("priority", blocker, "9").failed(6)
    assert "can change only while the task waits" in late
    own_server.run("cancel", waits).succeeded()


@pytest.mark.slow
def test_time_limits_change(shared: Server) -> None:
    waits = submit(shared, "--timeout", "1m", "--", "true")
    ends = waits[-12:]
    for time, seconds in (("2h", 7_200), ("+90m", 12_600), ("5", 5)):
        said = shared.run("timeout", ends, time).succeeded()
        assert said == f"{waits} has a time limit of {seconds} s"
        assert shared.json("show", waits)["timeout_seconds"] == seconds
    assert shared.run("timeout", "@last", "none").succeeded() == f"{waits} has no time limit"
    assert "has no time limit to add to" in shared.run("timeout", waits, "+1h").failed(2)
    for wrong in ("soon", "+", "-5", "1y", "99999999d"):
        assert shared.run("timeout", "--", waits, wrong).code == 2, wrong
    assert shared.json("timeout", waits, "3m")["timeout_seconds"] == 180
    blocker = blocker_of(shared)
    assert shared.run("timeout", blocker, "10h").succeeded().endswith("of 36000 s")
    shared.run("timeout", blocker, "none").succeeded()
    shared.run("cancel", waits).succeeded()
    assert "has ended" in shared.run("timeout", waits, "1h").failed(6)


def test_tasks_are_held_released_and_wait_for_others(shared: Server) -> None:
    first = submit(shared, "--hold", "--start-after", "2020-01-01T00:00Z", "--", "true")
    second = submit(
        shared, "--after", first[-12:], "--after", f"{blocker_of(shared)}:ended", "true"
    )
    shown = shared.run("show", second).succeeded()
    assert f"{first} completed" in shown
    assert f"It waits until task {first} completes (it is queued)" in " ".join(shown.split())
    assert shared.json("show", first)["held"] is True
    assert shared.run("release", first[-12:]).succeeded() == f"{first} is released"
    assert shared.run("hold", first, second).succeeded() == f"{first} is held\n{second} is held"
    late = shared.run("hold", blocker_of(shared))
    assert late.code == 6
    shared.run("cancel", first).succeeded()
    assert shared.json("show", second)["failure_reason"] == "DEPENDENCY_FAILED"
    unknown = shared.run("submit", "--after", "00000000-0000-7000-8000-000000000000", "--", "true")
    assert unknown.code == 2
    assert "there is no task" in unknown.err


@pytest.mark.slow
def test_the_earliest_start_changes(shared: Server) -> None:
    waits = submit(shared, "--", "true")
    said = shared.run("start-after", waits[-12:], "2100-01-01T00:00Z").succeeded()
    assert said.startswith(f"{waits} starts after 2100-01-01 ")
    assert shared.json("show", waits)["start_after"] == "2100-01-01T00:00:00.000Z"
    assert "start_after" in shared.json("start-after", "@last", "+2h")
    assert shared.run("start-after", waits, "now").succeeded() == (
        f"{waits} starts as soon as it can"
    )
    assert "start_after" not in shared.json("show", waits)
    for wrong in ("soon", "2h", "+", "2100-13-01T00:00Z"):
        assert shared.run("start-after", waits, wrong).code == 2, wrong
    late = shared.run("start-after", blocker_of(shared), "+2h").failed(6)
    assert "can change only while the task waits" in late
    shared.run("cancel", waits).succeeded()


@pytest.mark.slow
def test_the_webhooks_of_a_task_change(shared: Server) -> None:
    url, other = "https://hooks.example.com/a", "https://other.example.com/b"
    waits = submit(shared, "--notify", "https://hooks.example.com/first", "--", "true")
    said = shared.run("notify", waits[-12:], url, f"started,failed,{other}").succeeded()
    assert said == f"{waits} notifies https://hooks.example.com/… https://other.example.com/…"
    first, second = shared.json("show", waits)["notify"]
    assert sorted(first["on"]) == ["completed", "failed"]
    assert sorted(second["on"]) == ["failed", "started"]
    removed = shared.run("notify", waits, "--none").succeeded()
    assert removed == f"{waits} has no webhooks of its own"
    assert "notify" not in shared.json("show", waits)
    assert shared.json("notify", blocker_of(shared), url)["notify"], "a running task"
    for wrong in ((), (url, "--none"), ("soon,https://a.example",), ("x",)):
        assert shared.run("notify", waits, *wrong).code == 2, wrong
    shared.run("cancel", waits).succeeded()
    assert "the task has ended" in shared.run("notify", waits, url).failed(6)


def blocker_of(server: Server) -> str:
    return str(server.json("ls", "--status", "running")["tasks"][0]["id"])


def test_retry_prints_the_new_id(server: Server) -> None:
    failed = ended(server, "-e", "WORD=hi", "-m", "a=b", "--", "sh", "-c", "echo $WORD; exit 3")
    new = server.run("retry", failed).succeeded()
    assert new != failed
    server.run("watch", new)
    assert server.run("logs", new).succeeded() == "hi"
    assert server.json("show", new)["metadata"] == {"a": "b"}
    live = submit(server, "--", "sleep", "1000")
    assert "cancel it first" in server.run("retry", live).failed(6)
    server.run("cancel", live).succeeded()


def test_rm_refuses_a_live_task(server: Server) -> None:
    live = submit(server, "--", "sleep", "1000")
    assert f"fetchml cancel {live}" in server.run("rm", live).failed(6)
    assert server.json("show", live).get("cancel_requested_at") is None
    server.run("cancel", live).succeeded()


def test_several_ids_go_on_after_a_failure(server: Server) -> None:
    first, last = (ended(server, "--", "true") for _ in range(2))
    mixed = server.run("rm", first, "00000000-0000-7000-8000-000000000000", "@nobody", last)
    assert mixed.code == 5
    assert mixed.out.splitlines() == [f"{first} is removed", f"{last} is removed"]
    assert mixed.err.count("not found") == 2


def test_unreachable_server_is_reported_once(own_server: Server) -> None:
    own_server.start()
    key = key_of(own_server, "ada")
    own_server.stop()
    ran = own_server.run("cancel", "a" * 36, "b" * 36, FETCHML_API_KEY=key).failed(3)
    assert ran.count("Error") == 1


@pytest.mark.slow
def test_cancel_by_filters_asks_with_the_number(shared: Server) -> None:
    ada = {"FETCHML_API_KEY": key_of(shared, "ada")}
    plain = shared.run("submit", "--", "true", **ada).succeeded()
    labelled = shared.run("submit", "-m", "sweep=7", "--", "true", **ada).succeeded()
    other = submit(shared, "-m", "sweep=7", "--", "true")

    asked = shared.run("cancel", "--label", "sweep=7", **ada)
    assert asked.code == 130, "nobody answers"
    assert "Cancel 1 task of ada?" in asked.out
    assert shared.json("show", labelled)["status"] == "queued"
    done = shared.run("cancel", "--label", "sweep=7", "--yes", **ada)
    assert done.succeeded() == f"{labelled} has already ended: failed"
    assert shared.json("show", other)["status"] == "queued", "it is the admin's"

    none = shared.run("cancel", "--label", "sweep=8", "--yes", **ada)
    assert (none.code, none.out, none.err) == (0, "", "No live task matches.\n")
    refused = shared.run("cancel", "--user", "admin", "--yes", **ada).failed(4)
    assert refused.count("Only the task's owner") == 2
    by_admin = shared.run("cancel", "--user", "ada", "--status", "queued", "--yes")
    assert by_admin.succeeded() == f"{plain} has already ended: failed"
    for wrong in ((), (plain, "--yes", "--status", "queued"), ("--yes",)):
        assert shared.run("cancel", *wrong).code == 2
    assert shared.run("cancel", "--status", "queued", "--json").code == 2, "JSON cannot ask"
    everything = shared.run("cancel", "--status", "queued", "--yes").succeeded()
    assert f"{other} has already ended: failed" in everything


@pytest.mark.slow
def test_show_has_each_earlier_attempt(server: Server) -> None:
    task_id = ended(server, "--retries", "2", "--", "sh", "-c", "exit $((3 * FETCHML_ATTEMPT))")
    shown = " ".join(server.run("show", task_id).succeeded().split())
    assert "attempt 3 (retries: 2 of 2)" in shown
    for number, code in ((1, 3), (2, 6)):
        assert f"attempt {number} exit code {code}, retried, on " in shown
