"""BackupService, for the host's owner over the control socket."""
# ruff: noqa: N802  # methods have the RPCs' names

from fetchml.api.grpc.rpc_context import RpcContext
from fetchml.backup.store_copy import StoreCopies
from fetchml.v1 import backup_pb2, backup_pb2_grpc


class BackupService(backup_pb2_grpc.BackupServiceServicer):
    def __init__(self, copies: StoreCopies) -> None:
        self._copies = copies

    async def CopyStore(
        self, _: backup_pb2.CopyStoreRequest, context: RpcContext
    ) -> backup_pb2.CopyStoreResponse:
        return backup_pb2.CopyStoreResponse(folder=await self._copies.make(context.principal))
