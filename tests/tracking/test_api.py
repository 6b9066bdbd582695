"""Runs over REST and gRPC: both show the same, and refuse what is no request."""

import math
import re
from pathlib import Path
from typing import Any
from urllib.parse import quote

import grpc
import msgspec
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message

from fetchml.core.model import Principal, Role
from fetchml.core.tracking import Point, RunStatus
from fetchml.server.assembled import Assembly
from fetchml.v1 import tracking_pb2
from fetchml.v1.tracking_pb2_grpc import TrackingServiceStub
from tests.support.grpc_world import failed_call, grpc_world
from tests.support.rest_world import rest_world

USER = Principal("user", Role.USER, "key")
HOSTILE = "<script>alert(1)</script>\x1b[31m\u202e\"'\\ é"


RUN_ID = "0123456789abcdef" * 2


async def logged(parts: Assembly) -> None:
    """Make a run with everything that a run may have."""
    tracking = parts.tracked.runs
    run = await tracking.create_run(
        USER,
        "0",
        name=HOSTILE,
        tags={HOSTILE: HOSTILE},
        started_at=1_000,
        task_id="task-1",
        run_id=RUN_ID,
    )
    points = [
        *(Point("loss", 1 / (step + 1), 1_000 + 500 * step, step) for step in range(4)),
        Point("loss", math.nan, 9_000, 4),
        Point(HOSTILE, math.inf, 1_000, -(1 << 40)),
        Point("min", -math.inf, 1_000),
        Point("nan", math.nan, 1_000),
    ]
    await tracking.log(USER, run.id, points, {"lr": "0.1", HOSTILE: HOSTILE})
    await tracking.update_run(USER, run.id, status=RunStatus.FINISHED, ended_at=9_999)


async def test_both_transports_show_the_same(tmp_path: Path) -> None:
    async with rest_world() as rest, grpc_world(tmp_path) as rpc:
        for world in (rest, rpc):
            await logged(world.engine.parts)
        stub = TrackingServiceStub(rpc.client.channel)
        run = (await rest.client.get(f"/v1/runs/{RUN_ID}")).json
        assert run == same(await stub.GetRun(tracking_pb2.GetRunRequest(run_id=RUN_ID)))
        assert run["status"] == "finished"
        assert (run["name"], run["params"][HOSTILE], run["tags"][HOSTILE]) == (HOSTILE,) * 3
        shown = {each["name"]: each for each in run["metrics"]}
        assert shown["loss"] == {
            "name": "loss",
            "not_a_number": "NaN",
            "step": 4,
            "at": "1970-01-01T00:00:09.000Z",
        }
        kinds = [shown[name]["not_a_number"] for name in ("nan", "min", HOSTILE)]
        assert kinds == ["NaN", "-Infinity", "Infinity"]
        lists: list[tuple[str, dict[str, Any]]] = [
            ("", {}),
            (f"?ids={RUN_ID}&ids=none&limit=1", {"ids": [RUN_ID, "none"], "limit": 1}),
            ("?experiment_id=0&task_id=task-1", {"experiment_id": "0", "task_id": "task-1"}),
            ("?experiment_id=none", {"experiment_id": "none"}),
            ("?page_token=1", {"page_token": "1"}),
        ]
        for query, request in lists:
            page = (await rest.client.get(f"/v1/runs{query}")).json
            assert page == same(await stub.ListRuns(tracking_pb2.ListRunsRequest(**request)))
            assert page.get("runs", []) in ([], [run])
        parts: list[tuple[str, dict[str, Any]]] = [
            ("", {}),
            (f"&metrics=loss&metrics={quote(HOSTILE)}", {"metrics": ["loss", HOSTILE]}),
            ("&axis=time&from=1.5&to=2e0", {"axis": "time", "from": 1.5, "to": 2}),
            ("&axis=relative&buckets=320&to=-1", {"axis": "relative", "buckets": 320, "to": -1}),
        ]
        for query, request in parts:
            curves = (await rest.client.get(f"/v1/curves?run_ids={RUN_ID}{query}")).json
            wanted = tracking_pb2.GetCurvesRequest(run_ids=[RUN_ID], **request)
            assert curves == same(await stub.GetCurves(wanted))
        everything = (await rest.client.get(f"/v1/curves?run_ids={RUN_ID}")).json["curves"]
        [loss] = [each for each in everything if each["metric"] == "loss"]
        assert loss["whole"]
        assert loss["x"] == [0, 1, 2, 3, 4]
        assert loss["count"] == [1, 1, 1, 1, 0]
        assert loss["not_numbers"] == [0, 0, 0, 0, 1]
        assert (await rest.client.ask("DELETE", f"/v1/runs/{RUN_ID}")).status == 204
        assert (await rest.client.get("/v1/runs")).json["runs"] == []


def same(message: Message) -> object:
    """The JSON of REST for a message: empty lists are shown, and milliseconds of times."""
    fields = MessageToDict(message, preserving_proto_field_name=True)
    text = msgspec.json.encode(fields).decode()
    shown = msgspec.json.decode(re.sub(r'(T\d\d:\d\d:\d\d)Z"', r'\1.000Z"', text))
    for name in ("runs", "curves"):
        if name in message.DESCRIPTOR.fields_by_name:
            shown.setdefault(name, [])
    for run in shown.get("runs", [shown]):
        for each in run.get("metrics", []):
            each.setdefault("step", 0)
    return shown


async def test_what_is_no_request_is_a_400(tmp_path: Path) -> None:
    async with rest_world() as world:
        await logged(world.engine.parts)
        for path in (
            "/v1/runs?limit=0",
            "/v1/runs?limit=1001",
            "/v1/runs?limit=x",
            "/v1/runs?page_token=x",
            f"/v1/runs?filter={'x' * 4_000}",
            "/v1/runs?" + "&".join(["order_by=a"] * 11),
            "/v1/runs?" + "&".join(["ids=a"] * 1_001),
            "/v1/curves",
            "/v1/curves?" + "&".join([f"run_ids={RUN_ID}"] * 21),
            f"/v1/curves?run_ids={RUN_ID}&" + "&".join(["metrics=a"] * 201),
            f"/v1/curves?run_ids={RUN_ID}&buckets=319",
            f"/v1/curves?run_ids={RUN_ID}&buckets=1001",
            f"/v1/curves?run_ids={RUN_ID}&axis=x",
            f"/v1/curves?run_ids={RUN_ID}&from=nan",
            f"/v1/curves?run_ids={RUN_ID}&from=1e999",
            f"/v1/curves?run_ids={RUN_ID}&to=1_0",
            f"/v1/curves?run_ids={RUN_ID}&from=1&from=2",
        ):
            reply = await world.client.get(path)
            assert (reply.status, reply.code) == (400, "BAD_REQUEST"), path
        for run_id in ("0" * 32, "x", "%00", "%ff", quote(HOSTILE), "..%2f"):
            for reply in (
                await world.client.get(f"/v1/runs/{run_id}"),
                await world.client.ask("DELETE", f"/v1/runs/{run_id}"),
                await world.client.get(f"/v1/curves?run_ids={run_id}"),
            ):
                assert reply.status in (400, 404), run_id
    async with grpc_world(tmp_path) as rpc:
        stub = TrackingServiceStub(rpc.client.channel)
        await logged(rpc.engine.parts)
        bad: tuple[dict[str, Any], ...] = (
            {"run_ids": [RUN_ID], "from": math.nan},
            {"run_ids": [RUN_ID], "to": math.inf},
            {"run_ids": [RUN_ID], "axis": 77},
            {"run_ids": [RUN_ID], "buckets": -1},
        )
        for request in bad:
            refused = await failed_call(stub.GetCurves(tracking_pb2.GetCurvesRequest(**request)))
            assert refused.code is grpc.StatusCode.INVALID_ARGUMENT


async def test_viewers_and_others_delete_nothing() -> None:
    async with rest_world() as world:
        await logged(world.engine.parts)
        for role, status in ((Role.VIEWER, 403), (Role.ADMIN, 204)):
            client = world.as_(world.secrets[role])
            assert (await client.get(f"/v1/runs/{RUN_ID}")).status == 200
            assert (await client.ask("DELETE", f"/v1/runs/{RUN_ID}")).status == status
        assert (await world.as_("wrong").get("/v1/runs")).status == 401
