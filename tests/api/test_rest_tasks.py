"""Task operations over REST. The client validates every reply against the OpenAPI document."""

import re
from typing import Any

import pytest

from fetchml.core.model import FailureReason, Status
from tests.support.front import EDGE
from tests.support.rest_world import World
from tests.support.stub_services import START_MS

CONTRACT_FIELDS = {
    "id", "job_name", "status", "priority", "created_at", "user_id", "retry_count", "max_retries",
}  # fmt: skip


async def new_task(rest: World, **fields: object) -> str:
    reply = await rest.client.submit({"job_name": "a", **fields})
    assert reply.status == 201
    return str(reply.json["id"])


async def test_create_with_the_shortest_request(rest: World) -> None:
    reply = await rest.client.submit({"job_name": "digits"})
    assert reply.status == 201
    assert reply.headers["Content-Type"] == "application/json"
    task = reply.json
    assert task.keys() == CONTRACT_FIELDS  # What is not set is left out.
    assert (task["job_name"], task["status"], task["priority"]) == ("digits", "queued", 5)
    assert task["user_id"] == "user"


async def test_create_passes_the_body_unchanged(rest: World) -> None:
    request = {
        "job_name": "a",
        "priority": 10,
        "args": "--lr 0.1",
        "cpu": 0,
        "datasets": ["digits"],
        "dataset_specs": [{"name": "mnist", "source": "https://h/k"}],
        "metadata": {"kind": "ü"},
        "env": {"A": "b"},
    }
    reply = await rest.client.submit(request)
    assert rest.engine.requests == [request]
    assert reply.json.keys() == CONTRACT_FIELDS | {"cpu", "datasets"}
    assert reply.json["cpu"] == 0


async def test_times_are_utc_with_three_digits(rest: World) -> None:
    task_id = await new_task(rest)
    await rest.engine.change(task_id, started_at=START_MS, ended_at=START_MS + 1_050)
    task = (await rest.client.get(f"/v1/tasks/{task_id}")).json
    assert task["started_at"] == "2025-10-09T08:53:20.000Z"
    assert task["ended_at"] == "2025-10-09T08:53:21.050Z"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", task["created_at"])


async def test_ignored_fields_and_parameters_are_listed(rest: World) -> None:
    request = {
        "job_name": "a",
        "gpus": 1,
        "dataset_specs": [{"name": "d", "sha265": "0"}],
        "a\r\nSet-Cookie: b": "\ud7ff",
    }
    reply = await rest.client.submit(request, "/v1/tasks?veiw=full")
    assert reply.status == 201
    assert reply.headers["X-FetchML-Ignored"] == (
        "veiw, gpus, a%0D%0ASet-Cookie%3A%20b, dataset_specs%5B0%5D.sha265"
    )
    assert "X-FetchML-Ignored" not in (await rest.client.submit()).headers
    listed = await rest.client.get("/v1/tasks?state=queued")
    assert listed.headers["X-FetchML-Ignored"] == "state"


async def test_the_header_of_ignored_names_stays_short(rest: World) -> None:
    request = {"job_name": "a"} | {f"{'ü' * 200}{n}": n for n in range(1_000)}
    reply = await rest.client.submit(request)
    assert reply.status == 201
    assert 0 < len(reply.headers["X-FetchML-Ignored"]) <= 1000


async def test_view_full_shows_more(rest: World) -> None:
    request = {"job_name": "a", "env": {"TOKEN": "secret"}, "args": "x"}
    reply = await rest.client.submit(request, "/v1/tasks?view=full")
    task = reply.json
    assert task["env_names"] == ["TOKEN"]
    assert b"secret" not in reply.body
    assert (task["image"], task["args"]) == ("python:3.12-slim", "x")
    await rest.engine.change(
        task["id"], status=Status.FAILED, failure_reason=FailureReason.EXIT_CODE, exit_code=3
    )
    for path in (f"/v1/tasks/{task['id']}?view=full", "/v1/tasks?view=FULL"):
        shown = (await rest.client.get(path)).json
        shown = shown if "id" in shown else shown["tasks"][0]
        assert (shown["failure_reason"], shown["exit_code"]) == ("EXIT_CODE", 3)
    basic = (await rest.client.get(f"/v1/tasks/{task['id']}?view=basic")).json
    assert "exit_code" not in basic


async def test_output_is_in_the_task_and_not_in_lists(rest: World) -> None:
    task_id = await new_task(rest)
    await rest.engine.log(task_id, b"epoch 1\xff\n")
    assert (await rest.client.get(f"/v1/tasks/{task_id}")).json["output"] == "epoch 1\ufffd\n"
    (listed,) = (await rest.client.get("/v1/tasks")).json["tasks"]
    assert listed.keys() == CONTRACT_FIELDS


async def test_list_pages(rest: World) -> None:
    ids = [await new_task(rest) for _ in range(5)]
    page = (await rest.client.get("/v1/tasks?limit=2&offset=1")).json
    assert [task["id"] for task in page["tasks"]] == [ids[3], ids[2]]
    assert (page["total"], page["limit"], page["offset"]) == (5, 2, 1)
    default = (await rest.client.get("/v1/tasks")).json
    assert (default["limit"], default["offset"], len(default["tasks"])) == (50, 0, 5)
    only_total = (await rest.client.get("/v1/tasks?limit=0")).json
    assert (only_total["tasks"], only_total["total"]) == ([], 5)


async def test_an_offset_past_the_end_is_an_empty_page(rest: World) -> None:
    await new_task(rest)
    for offset in ["6", "4294967296", "9" * 18, "9" * 5000]:
        page = (await rest.client.get(f"/v1/tasks?offset={offset}")).json
        assert (page["tasks"], page["total"]) == ([], 1)


async def test_invalid_list_queries_return_400(rest: World) -> None:
    for query in [
        *(f"limit={bad}" for bad in ("1001", "-1", "+1", "%2B1", "%201", "1_0", "1.0", "", "ten",
                                     "1e2", "01", "%D9%A1", "9" * 5000, "true", "0x1")),
        *(f"offset={bad}" for bad in ("-1", "+1", "", "1_0", "1.0", "%C2%B2")),
        "limit=1&limit=1", "offset=1&offset=2", "status=queued&status=queued",
        *(f"status={bad}" for bad in ("preparing", "collecting", "cancelled", "QUEUED", "")),
        "states=", "states=queued,", "states=queued,gone", "states=QUEUED",
        "text=" + "x" * 257, "text=a%00b", "text=a&text=b",
        "labels=", "labels=%3Da", "labels=" + "x" * 1025, "&".join(["labels=a"] * 17),
        "created_after=yesterday", "created_after=1969-12-31T00:00:00Z", "created_before=",
        "id_suffix=abc", "id_suffix=%25%25%25%25", "id_suffix=" + "a" * 37, "user_id=a&user_id=b",
        "fold_sweeps=yes", "fold_sweeps=2", "fold_experiments=yes", "fold_experiments=2",
        "page_size=-1", "page_size=1001", "page_token=%21", "page_token=AAAA",
        "view=all", "view=",
    ]:  # fmt: skip
        reply = await rest.client.get(f"/v1/tasks?{query}")
        assert (reply.status, reply.code) == (400, "BAD_REQUEST")
        assert reply.error.startswith(query.partition("=")[0])


async def test_status_filters_exactly(rest: World) -> None:
    ids = [await new_task(rest) for _ in range(4)]
    states = (Status.PREPARING, Status.RUNNING, Status.COMPLETED)
    for task_id, status in zip(ids, states, strict=False):
        await rest.engine.change(task_id, status=status)
    for wanted, expected in (("running", ids[1]), ("completed", ids[2]), ("queued", ids[3])):
        page = (await rest.client.get(f"/v1/tasks?status={wanted}")).json
        assert [task["id"] for task in page["tasks"]] == [expected]
        assert page["total"] == 1


async def test_filters_and_pages_by_token(rest: World) -> None:
    ids = [await new_task(rest, job_name=f"n-{n}", metadata={"n": str(n % 2)}) for n in range(4)]
    await rest.engine.change(ids[0], status=Status.PREPARING)

    async def found(query: str) -> list[int]:
        page = (await rest.client.get(f"/v1/tasks?{query}")).json
        return [ids.index(task["id"]) for task in page["tasks"]]

    assert await found("states=preparing,collecting") == [0]
    assert await found("states=preparing&states=queued") == [3, 2, 1, 0]
    assert await found("states=preparing&status=queued") == []
    assert await found("labels=n%3D1") == [3, 1]
    assert await found("labels=n&labels=n%3D0&text=N-2") == [2]
    assert await found("job_name_prefix=n-3") == [3]
    assert await found(f"id_suffix={ids[1][-12:]}") == [1]
    assert await found("user_id=nobody") == await found("experiment_id=none") == []
    assert await found("created_before=2000-01-01T00:00:00Z") == []
    assert await found("created_after=2000-01-01T00:00:00Z&text=n-0") == [0]
    first = (await rest.client.get("/v1/tasks?page_size=3&labels=n")).json
    assert (len(first["tasks"]), first["total"], first["limit"]) == (3, 4, 3)
    token = first["next_page_token"]
    last = (await rest.client.get(f"/v1/tasks?page_size=3&labels=n&page_token={token}")).json
    assert [task["id"] for task in last["tasks"]] == [ids[0]]
    assert "next_page_token" not in last
    reply = await rest.client.get(f"/v1/tasks?page_size=3&page_token={token}")
    assert (reply.status, reply.code) == (400, "BAD_REQUEST")
    reply = await rest.client.get("/v1/tasks?page_size=3&limit=3")
    assert (reply.status, reply.code) == (400, "BAD_REQUEST")


@pytest.mark.parametrize("within", ["", "&text=in"], ids=["memory", "store"])
async def test_experiment_is_listed_by_its_newest_task(rest: World, within: str) -> None:
    made = (await rest.client.submit({"name": "a"}, "/v1/experiments")).json["id"]
    ids = [
        await new_task(rest, job_name=f"in-{number}", **({"experiment_id": made} if number else {}))
        for number in range(4)
    ]

    async def page(query: str) -> dict[str, Any]:
        found: dict[str, Any] = (await rest.client.get(f"/v1/tasks?{query}{within}")).json
        return {**found, "tasks": [ids.index(task["id"]) for task in found["tasks"]]}

    folded = await page("fold_experiments=true")
    assert (folded["tasks"], folded["total"]) == ([3, 0], 4)
    assert (await page("fold_experiments=false"))["tasks"] == [3, 2, 1, 0]
    assert (await page(f"fold_experiments=true&experiment_id={made}"))["tasks"] == [3, 2, 1]
    first = await page("fold_experiments=true&page_size=1")
    token = f"page_size=1&page_token={first['next_page_token']}"
    assert (await page(f"fold_experiments=true&{token}"))["tasks"] == [0]
    reply = await rest.client.get(f"/v1/tasks?{token}{within}")
    assert (reply.status, reply.code) == (400, "BAD_REQUEST")


async def test_validate_only_keeps_nothing(rest: World) -> None:
    path = "/v1/tasks?validate_only=true"
    reply = await rest.client.submit({"job_name": "a", "priority": 7}, path)
    assert reply.status == 200
    assert (reply.json["priority"], reply.json["status"]) == (7, "queued")
    assert reply.json.keys() == CONTRACT_FIELDS - {"id"}
    full = (await rest.client.submit({"job_name": "a"}, f"{path}&view=full")).json
    assert (full["image"], full["command"]) == ("python:3.12-slim", ["python", "train.py"])
    wrong = await rest.client.submit({"job_name": "a b"}, path)
    assert (wrong.status, wrong.code) == (422, "VALIDATION_ERROR")
    assert rest.engine.tasks == {}
    assert rest.store.journal == []


async def test_validate_only_is_a_boolean(rest: World) -> None:
    reply = await rest.client.submit(path="/v1/tasks?validate_only=yes")
    assert (reply.status, reply.code) == (400, "BAD_REQUEST")
    assert (await rest.client.submit(path="/v1/tasks?validate_only=0")).status == 201


async def test_validate_only_regards_the_idempotency_key(rest: World) -> None:
    await rest.client.submit(Idempotency_Key="k")
    path = "/v1/tasks?validate_only=1"
    same = await rest.client.submit(path=path, Idempotency_Key="k")
    assert (same.status, "id" in same.json) == (200, False)
    other = await rest.client.submit({"job_name": "b"}, path, Idempotency_Key="k")
    assert (other.status, other.code) == (422, "VALIDATION_ERROR")
    malformed = await rest.client.submit(path=path, Idempotency_Key="a b")
    assert (malformed.status, malformed.code) == (400, "BAD_REQUEST")
    assert len(rest.engine.tasks) == 1
    fresh = await rest.client.submit(path=path, Idempotency_Key="new")
    assert fresh.status == 200
    assert (await rest.client.submit({"job_name": "b"}, Idempotency_Key="new")).status == 201


async def test_delete_cancels_and_deletes(rest: World) -> None:
    task_id = await new_task(rest)
    cancelled = await rest.client.ask("DELETE", f"/v1/tasks/{task_id}")
    assert (cancelled.status, cancelled.body) == (204, b"")
    assert (await rest.client.get(f"/v1/tasks/{task_id}")).json["error"] == "cancelled by user"
    await rest.engine.cancelled_long_ago(task_id)
    assert (await rest.client.ask("DELETE", f"/v1/tasks/{task_id}")).status == 204
    assert (await rest.client.get(f"/v1/tasks/{task_id}")).status == 404


async def test_cancel_never_deletes(rest: World) -> None:
    task_id = await new_task(rest)
    for _ in range(2):
        cancelled = await rest.client.ask("POST", f"/v1/tasks/{task_id}/cancel")
        assert (cancelled.status, cancelled.json["error"]) == (200, "cancelled by user")
        await rest.engine.cancelled_long_ago(task_id)
    assert (await rest.client.get(f"/v1/tasks/{task_id}")).status == 200


@pytest.mark.fronts(EDGE)
async def test_malformed_ids_return_404(rest: World) -> None:
    await new_task(rest)
    for task_id in ("x", "019A0000-0000-7000-8000-000000000001", "%00", "..", "%C3%BC", "%FF"):
        for method in ("GET", "DELETE"):
            reply = await rest.client.ask(method, f"/v1/tasks/{task_id}")
            assert (reply.status, reply.code) == (404, "NOT_FOUND"), (method, task_id)


async def test_explain(rest: World) -> None:
    task_id = await new_task(rest, gpu=2)
    rest.engine.explain()
    explanation = (await rest.client.get(f"/v1/tasks/{task_id}/explain")).json
    assert explanation == {
        "task_id": task_id,
        "status": "queued",
        "reason": "waits for a GPU",
        "position": 1,
        "missing": [
            {
                "resource": "gpu",
                "requested": 2,
                "free": 0,
                "total": 8,
                "blocked": ["GPU 3: busy: python3 (pid 4711, 2.1 GiB)"],
            }
        ],
        "estimate": {
            "p50": "2025-10-09T08:54:20.000Z",
            "p90": "2025-10-09T09:03:20.000Z",
            "checked": 10,
            "held_p50_percent": 50,
            "held_p90_percent": 90,
        },
    }
    assert (await rest.client.get("/v1/tasks/x/explain")).status == 404


@pytest.mark.fronts(EDGE)
async def test_idempotency_key_gives_the_same_task(rest: World) -> None:
    headers = {"Idempotency_Key": "!~" + "k" * 253}
    first = await rest.client.submit(**headers)
    again = await rest.client.submit(**headers)
    assert (first.status, first.body) == (again.status, again.body)
    assert len(rest.engine.tasks) == 1


async def test_invalid_idempotency_keys_return_400(rest: World) -> None:
    for key in ["", "a b", "k" * 256, "ü", "a\tb"]:
        reply = await rest.client.submit(Idempotency_Key=key)
        assert (reply.status, reply.code) == (400, "BAD_REQUEST")
        assert reply.error.startswith("Idempotency-Key")
        assert rest.engine.tasks == {}
