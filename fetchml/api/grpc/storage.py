"""StorageService."""
# ruff: noqa: N802  # methods have the RPCs' names

from fetchml.api.grpc.rpc_context import RpcContext
from fetchml.api.mappings import PRUNED, STORAGE
from fetchml.engine.retention import Retention
from fetchml.v1 import storage_pb2, storage_pb2_grpc


class StorageService(storage_pb2_grpc.StorageServiceServicer):
    def __init__(self, retention: Retention) -> None:
        self._retention = retention

    async def GetStorage(
        self, _: storage_pb2.GetStorageRequest, context: RpcContext
    ) -> storage_pb2.StorageReport:
        return STORAGE.message(self._retention.report(context.principal))

    async def PruneStorage(
        self, request: storage_pb2.PruneStorageRequest, context: RpcContext
    ) -> storage_pb2.PruneStorageResponse:
        fields: dict[str, object] = {
            name: getattr(request, name)
            for name in ("older_than_seconds", "user_id", "apply")
            if request.HasField(name)
        }
        for name in ("kinds", "states"):
            if values := getattr(request, name):
                fields[name] = list(values)
        pruned = await self._retention.prune(context.principal, fields)
        return PRUNED.message(pruned)
