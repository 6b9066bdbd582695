"""ServerService."""
# ruff: noqa: N802  # methods have the RPCs' names

from fetchml.api.grpc.rpc_context import RpcContext
from fetchml.api.mappings import DOCTOR, SERVER
from fetchml.engine.engine import Engine
from fetchml.v1 import server_pb2, server_pb2_grpc


class ServerService(server_pb2_grpc.ServerServiceServicer):
    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def GetServerInfo(
        self, _: server_pb2.GetServerInfoRequest, context: RpcContext
    ) -> server_pb2.ServerInfo:
        return SERVER.message(await self._engine.server_info(context.principal))

    async def RunDoctor(
        self, _: server_pb2.RunDoctorRequest, context: RpcContext
    ) -> server_pb2.DoctorReport:
        return DOCTOR.message(await self._engine.run_doctor(context.principal))
