"""SnapshotService."""
# ruff: noqa: N802  # methods have the RPCs' names

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, closing

from fetchml.api.grpc.call import RpcContext
from fetchml.api.mappings import SNAPSHOT
from fetchml.errors import BadRequest
from fetchml.snapshots.service import Snapshots
from fetchml.system.pacing import map_paced
from fetchml.v1 import snapshot_pb2, snapshot_pb2_grpc

STALL_SECONDS = 60
"""An upload fails if no message of it arrives for this long."""

Requests = AsyncIterator[snapshot_pb2.UploadSnapshotRequest]


class SnapshotService(snapshot_pb2_grpc.SnapshotServiceServicer):
    def __init__(self, snapshots: Snapshots) -> None:
        self._snapshots = snapshots

    async def UploadSnapshot(
        self, requests: Requests, context: RpcContext
    ) -> snapshot_pb2.Snapshot:
        first = await _next(requests)
        if first is None:
            raise BadRequest("The upload is empty: send a gzipped tar file")
        kept, _ = await self._snapshots.upload(
            context.principal,
            _pieces(first, requests),
            git_commit=first.git_commit if first.HasField("git_commit") else None,
            git_dirty=first.git_dirty if first.HasField("git_dirty") else None,
        )
        return SNAPSHOT.message(kept)

    async def ListSnapshots(
        self, _: snapshot_pb2.ListSnapshotsRequest, context: RpcContext
    ) -> snapshot_pb2.ListSnapshotsResponse:
        found = self._snapshots.list(context.principal)
        messages = await map_paced(SNAPSHOT.message, found)
        return snapshot_pb2.ListSnapshotsResponse(snapshots=messages)

    async def ReadSnapshotFile(
        self, request: snapshot_pb2.ReadSnapshotFileRequest, context: RpcContext
    ) -> AsyncIterator[snapshot_pb2.SnapshotFileChunk]:
        opened = await self._snapshots.reads.open(
            context.principal, request.snapshot_id, request.path
        )
        with closing(opened) as file:
            async with aclosing(file.pieces(0, file.size)) as pieces:
                async for piece in pieces:
                    yield snapshot_pb2.SnapshotFileChunk(data=piece)


async def _pieces(
    first: snapshot_pb2.UploadSnapshotRequest, others: Requests
) -> AsyncIterator[bytes]:
    request: snapshot_pb2.UploadSnapshotRequest | None = first
    while request is not None:
        yield request.data
        request = await _next(others)


async def _next(requests: Requests) -> snapshot_pb2.UploadSnapshotRequest | None:
    try:
        async with asyncio.timeout(STALL_SECONDS):
            return await anext(requests, None)
    except TimeoutError:
        raise BadRequest(f"No message of the upload arrived for {STALL_SECONDS} s") from None
