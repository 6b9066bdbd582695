"""Webhooks over a real server: none is lost when it is killed, and a repetition has the same id."""

import json
from typing import Any
from urllib.parse import quote

from tests.support.program import Backend, Server
from tests.support.server_fixtures import Serve
from tests.support.waiting import until
from tests.support.webhook_receiver import Receiver

PRIVATE = {"FETCHML_NOTIFICATIONS_ALLOW_PRIVATE": "true"}


def request(url: str, *on: str, script: str = "true", **fields: Any) -> dict[str, Any]:
    target: dict[str, Any] = {"url": url, **({"on": list(on)} if on else {})}
    return {"job_name": "j", "command": ["sh", "-c", script], "notify": [target], **fields}


async def rows(server: Server) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await server.rest.get("/v1/notifications")).json["notifications"]
    return found


async def secret(server: Server, url: str) -> str:
    reply = await server.rest.get(f"/v1/notifications/secret?url={quote(url, safe='')}")
    found: str = reply.json["secret"]
    return found


async def test_receiver_that_fails_gets_it_from_the_next_server(
    serve: Serve, processes_backend: Backend, receiver: Receiver
) -> None:
    receiver.status = 500
    server = await serve(processes_backend, **PRIVATE).start()
    task_id = (await server.rest.submit(request(receiver.url), "/v1/tasks")).json["id"]
    [first] = (await receiver.until(1))[:1]
    key = await secret(server, receiver.url)
    assert first.is_signed_with(key)
    assert first.headers["content-type"] == "application/json"
    assert first.json["type"] == "task.completed"
    data = first.json["data"]
    assert (data["task"]["id"], data["task"]["status"]) == (task_id, "completed")
    assert data["links"]["task"].endswith(f"/v1/tasks/{task_id}")
    [row] = await until(lambda: rows(server), lambda found: found[0].get("attempts", 0) >= 1)
    assert row["last_error"].startswith("127.0.0.1 returned 500")
    assert (row["id"], row["task_id"], row["state"]) == (first.id, task_id, "pending")
    await server.kill()
    number = len(receiver.got)
    receiver.status = 204
    await server.start()
    assert await secret(server, receiver.url) == key
    # It may have sent it by itself meanwhile; then this is answered 404.
    await server.rest.ask("POST", f"/v1/notifications/{first.id}/retry")
    again = (await receiver.until(number + 1))[-1]
    assert (again.id, again.body) == (first.id, first.body)
    assert again.is_signed_with(key)
    assert await until(lambda: rows(server), lambda found: not found) == []
    shown = (await server.rest.get(f"/v1/tasks/{task_id}?view=full")).json["notify"]
    assert shown == [
        {"url": receiver.url.partition("/hook")[0] + "/…", "on": ["completed", "failed"]}
    ]
    assert "token=secret" not in server.log
    metrics = (await server.rest.get("/metrics")).body.decode()
    assert "fetchml_notifications_delivered_total 1.0" in metrics


async def test_killed_between_delivery_and_its_record_it_is_sent_again(
    serve: Serve, processes_backend: Backend, receiver: Receiver
) -> None:
    server = serve(processes_backend, **PRIVATE)
    await server.start(FETCHML_CRASH_AT="notified")
    await server.rest.submit(request(receiver.url, "started", script="sleep 600"), "/v1/tasks")
    await receiver.until(1)
    await server.died()
    await server.start()
    first, second = (await receiver.until(2))[:2]
    assert (first.id, first.body) == (second.id, second.body)
    assert first.json["type"] == "task.started"
    assert await until(lambda: rows(server), lambda found: not found) == []


async def test_sweep_and_defaults_and_test_message(
    serve: Serve, processes_backend: Backend, receiver: Receiver
) -> None:
    server = await serve(processes_backend, **PRIVATE).start()
    tested = await server.rest.submit({"url": receiver.url}, "/v1/notifications/test")
    assert tested.json["delivered"] is True
    settings = {"notify": [{"url": receiver.url, "on": ["failed"]}]}
    body = json.dumps(settings).encode()
    json_body = {"Content_Type": "application/json"}
    done = await server.rest.ask("PUT", "/v1/notifications/settings", body, **json_body)
    assert done.json == settings
    sweep = {
        "task": {"job_name": "s", "command": ["true"], "args": "{x}"},
        "parameters": {"x": {"range": [1, 3]}},
    }
    sweep_id = (await server.rest.submit(sweep, "/v1/sweeps")).json["id"]
    test, ended = await receiver.until(2)
    assert (test.json["type"], ended.json["type"]) == ("test", "sweep.ended")
    told = ended.json["data"]["sweep"]
    assert (told["id"], told["total"], told["counts"]) == (sweep_id, 3, {"completed": 3})
    # What completes is not asked for, what fails is.
    await server.rest.submit({"job_name": "a", "command": ["true"]}, "/v1/tasks")
    await server.rest.submit({"job_name": "b", "command": ["false"]}, "/v1/tasks")
    *_, last = await receiver.until(3)
    assert last.json["data"]["task"]["job_name"] == "b"


async def test_server_sends_texts_by_apprise(
    serve: Serve, processes_backend: Backend, receiver: Receiver
) -> None:
    address = receiver.url.replace("http://", "json://user:secret@")
    server = await serve(processes_backend, FETCHML_NOTIFICATIONS_APPRISE=address).start()
    await server.rest.submit({"job_name": "breaks", "command": ["false"]}, "/v1/tasks")
    [got] = await receiver.until(1)
    assert got.json["title"] == "breaks failed"
    assert "exit code 1" in got.json["message"]
    assert "secret" not in server.log


async def test_addresses_of_the_server_get_what_nobody_else_is_told(
    serve: Serve, processes_backend: Backend, receiver: Receiver
) -> None:
    async with Receiver().listening() as own:
        defaults = {
            "FETCHML_NOTIFICATIONS_URLS": receiver.url,
            "FETCHML_NOTIFICATIONS_ON": "failed started",
        }
        server = await serve(processes_backend, **PRIVATE, **defaults).start()
        for name, script in (("works", "true"), ("fails", "exit 3")):
            body = {"job_name": name, "command": ["sh", "-c", script]}
            await server.ended((await server.rest.submit(body, "/v1/tasks")).json["id"])
        got = await receiver.until(3)
        told = sorted((each.json["type"], each.json["data"]["task"]["job_name"]) for each in got)
        assert told == [
            ("task.failed", "fails"),
            ("task.started", "fails"),
            ("task.started", "works"),
        ]
        # A task with an address of its own is not reported to the server's.
        await server.rest.submit(request(own.url, "failed", script="exit 4"), "/v1/tasks")
        assert [each.json["data"]["task"]["exit_code"] for each in await own.until(1)] == [4]
        assert await until(lambda: rows(server), lambda found: not found) == []
        assert len(receiver.got) == 3
