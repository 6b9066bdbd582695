"""Snapshots over REST and gRPC, with the same results."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator

import pytest
from google.protobuf import json_format

from fetchml.api.grpc import resources
from fetchml.api.rest.server import HttpTimeouts
from fetchml.core.model import Role
from fetchml.v1.snapshot_pb2 import (
    DeleteSnapshotRequest,
    GetSnapshotRequest,
    ListSnapshotsRequest,
    Snapshot,
    UploadSnapshotRequest,
)
from tests.support import grpc_world as g
from tests.support.archives import file, link, packed
from tests.support.front import EDGE
from tests.support.grpc_world import failed_call
from tests.support.rest_world import World, rest_world
from tests.support.waiting import SECONDS, until_true

COMMIT = "ab" * 20
TREE = packed(file("train.py", b"print(1)\n"), file("src/a.py", b"1"), link("b", "src"))


@pytest.fixture
async def rest() -> AsyncIterator[World]:
    async with rest_world() as world:
        yield world


def pieces(data: bytes, **first: object) -> Iterator[UploadSnapshotRequest]:
    yield UploadSnapshotRequest(data=data[:10], **first)  # type: ignore[arg-type]
    yield UploadSnapshotRequest(data=data[10:])


@pytest.mark.fronts(EDGE)
async def test_upload_get_list_delete_over_rest(rest: World) -> None:
    first = await rest.client.ask("PUT", f"/v1/snapshots?git_commit={COMMIT}&git_dirty=1", TREE)
    assert first.status == 201
    kept = first.json
    assert {name: kept[name] for name in kept if not name.endswith("_at")} == {
        "id": kept["id"],
        "size_bytes": 10,
        "file_count": 3,
        "user_ids": ["user"],
        "git_commit": COMMIT,
        "git_dirty": True,
    }
    again = await rest.client.ask("PUT", "/v1/snapshots", TREE, Content_Type="application/x-gzip")
    assert (again.status, again.json["id"]) == (200, kept["id"])
    assert again.json["git_commit"] == COMMIT
    other = await rest.client.ask("PUT", "/v1/snapshots?git_comit=x", packed(file("a", b"1")))
    assert other.headers["X-FetchML-Ignored"] == "git_comit"
    listed = (await rest.client.get("/v1/snapshots")).json["snapshots"]
    assert {snapshot["id"] for snapshot in listed} == {kept["id"], other.json["id"]}
    assert (await rest.client.get(f"/v1/snapshots/{kept['id']}")).json["created_at"] == kept[
        "created_at"
    ]
    assert (await rest.client.ask("DELETE", f"/v1/snapshots/{kept['id']}")).status == 204
    assert (await rest.client.get(f"/v1/snapshots/{kept['id']}")).status == 404
    assert (await rest.client.ask("DELETE", "/v1/snapshots/x")).status == 404
    assert [entry.action for entry in rest.store.audit if entry.target == kept["id"]] == [
        "snapshot.upload",
        "snapshot.upload",
        "snapshot.delete",
    ]


async def test_invalid_rest_requests_are_rejected(rest: World) -> None:
    async def refused(path: str, data: bytes, **headers: str) -> tuple[int, str]:
        reply = await rest.client.ask("PUT", path, data, **headers)
        return reply.status, reply.error

    status, error = await refused("/v1/snapshots", b"no archive")
    assert status == 400
    assert error.startswith("Cannot read the archive: invalid or truncated gzipped tar file (")
    assert (await refused("/v1/snapshots", b""))[0] == 400
    status, error = await refused("/v1/snapshots", packed(file("../x")))
    assert status == 422
    assert error.startswith("archive: '../x' has")
    assert (await refused("/v1/snapshots", os.urandom(100_001)))[0] == 413
    assert await refused("/v1/snapshots?git_commit=main", TREE) == (
        422,
        "git_commit: must be 40 or 64 hexadecimal digits, in lower case",
    )
    assert (await refused("/v1/snapshots?git_dirty=maybe", TREE))[0] == 400
    assert (await refused("/v1/snapshots", packed(file("fetchml.toml", b"\xff")))) == (
        422,
        "archive: fetchml.toml is not UTF-8",
    )
    viewer = rest.as_(rest.secrets[Role.VIEWER])
    assert (await viewer.ask("PUT", "/v1/snapshots", TREE)).status == 403
    assert (await viewer.get("/v1/snapshots")).json == {"snapshots": []}


async def test_snapshot_in_use_cannot_be_deleted(rest: World) -> None:
    kept = (await rest.client.ask("PUT", "/v1/snapshots", TREE)).json
    task = await rest.client.submit({"job_name": "a", "snapshot_id": kept["id"]})
    refused = await rest.client.ask("DELETE", f"/v1/snapshots/{kept['id']}")
    assert (refused.status, refused.code) == (409, "CONFLICT")
    admin = rest.as_(rest.secrets[Role.ADMIN])
    assert (await admin.ask("PUT", "/v1/snapshots", TREE)).json["user_ids"] == ["user", "admin"]
    await rest.client.ask("DELETE", f"/v1/tasks/{task.json['id']}")
    assert (await rest.client.ask("DELETE", f"/v1/snapshots/{kept['id']}")).status == 403
    assert (await admin.ask("DELETE", f"/v1/snapshots/{kept['id']}")).status == 204


async def test_stalled_upload_times_out() -> None:
    async with rest_world(timeouts=HttpTimeouts(body=0.2)) as rest:
        reply = await rest.raw(
            b"PUT /v1/snapshots HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n"
            b"X-API-Key: " + rest.secrets[Role.USER].encode() + b"\r\n\r\n12345"
        )
        assert reply.status == 408
        assert reply.headers["Connection"] == "close"


@pytest.mark.fronts(EDGE)
async def test_expect_100_is_answered_for_an_upload(rest: World) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", rest.port)
    key = rest.secrets[Role.USER]
    writer.write(
        f"PUT /v1/snapshots HTTP/1.1\r\nHost: a\r\nContent-Length: {len(TREE)}\r\n"
        f"Expect: 100-continue\r\nX-API-Key: {key}\r\n\r\n".encode()
    )
    async with asyncio.timeout(SECONDS):
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(TREE)
        assert (await reader.readline()).startswith(b"HTTP/1.1 201")
    writer.close()
    await writer.wait_closed()


@pytest.mark.fronts(EDGE)
async def test_aborted_upload_leaves_no_files(rest: World) -> None:
    operations = rest.server._router.find("PUT", "/v1/snapshots")[0].handler
    uploads = operations.__self__._snapshots  # type: ignore[attr-defined]
    new = uploads._files._new
    _, writer = await asyncio.open_connection("127.0.0.1", rest.port)
    key = rest.secrets[Role.USER]
    writer.write(
        f"PUT /v1/snapshots HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n"
        f"X-API-Key: {key}\r\n\r\n12345".encode()
    )
    await until_true(lambda: len(list(new.iterdir())) == 1)
    writer.transport.abort()
    await until_true(lambda: not list(new.iterdir()) and not uploads.uploads._uploading.total)


@pytest.mark.fronts(EDGE)
async def test_upload_get_list_delete_over_grpc(world: g.World) -> None:
    client = world.client
    kept: Snapshot = await client.snapshots.UploadSnapshot(
        pieces(TREE, git_commit=COMMIT, git_dirty=False)
    )
    assert (kept.size_bytes, kept.file_count, list(kept.user_ids)) == (10, 3, ["user"])
    assert (kept.git_commit, kept.HasField("git_dirty"), kept.git_dirty) == (COMMIT, True, False)
    asked = GetSnapshotRequest(snapshot_id=kept.id)
    assert await client.snapshots.GetSnapshot(asked) == kept
    listed = await client.snapshots.ListSnapshots(ListSnapshotsRequest())
    assert list(listed.snapshots) == [kept]
    async with rest_world() as rest:
        theirs = (await rest.client.ask("PUT", f"/v1/snapshots?git_commit={COMMIT}", TREE)).json
    ours = json_format.MessageToDict(kept, preserving_proto_field_name=True)
    assert ours["id"] == theirs["id"]
    assert ours.keys() - theirs.keys() == {"git_dirty"}
    delete = DeleteSnapshotRequest(snapshot_id=kept.id)
    await client.snapshots.DeleteSnapshot(delete)
    refused = await failed_call(client.snapshots.GetSnapshot(asked))
    assert refused.reason == "NOT_FOUND"


@pytest.mark.parametrize(
    ("data", "reason", "message"),
    [
        (b"no archive", "BAD_REQUEST", "Cannot read the archive"),
        (packed(file("/x")), "VALIDATION_ERROR", "absolute path"),
        (os.urandom(100_001), "VALIDATION_ERROR", "larger than 100000 bytes"),
    ],
    ids=["unreadable", "hostile", "large"],
)
async def test_invalid_uploads_are_rejected_over_grpc(
    world: g.World, data: bytes, reason: str, message: str
) -> None:
    refused = await failed_call(world.client.snapshots.UploadSnapshot(pieces(data)))
    assert refused.reason == reason
    assert message in refused.message


async def test_empty_and_stalled_uploads_fail_over_grpc(
    world: g.World, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload = world.client.snapshots.UploadSnapshot
    refused = await failed_call(upload(iter(())))
    assert "The upload is empty" in refused.message
    monkeypatch.setattr(resources, "STALL_SECONDS", 0.1)

    async def stalling() -> AsyncIterator[UploadSnapshotRequest]:
        yield UploadSnapshotRequest(data=b"1")
        await asyncio.Event().wait()

    refused = await failed_call(upload(stalling()))
    assert "The upload timed out: no message received for 0.1 s" in refused.message
