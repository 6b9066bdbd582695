"""EnvironmentService."""
# ruff: noqa: N802  # methods have the RPCs' names

from google.protobuf.empty_pb2 import Empty

from fetchml.api.environment_mappings import KEPT_ENVIRONMENT
from fetchml.api.grpc.rpc_context import RpcContext
from fetchml.environments.kept import KeptEnvironments
from fetchml.system.pacing import map_paced
from fetchml.v1 import environment_pb2, environment_pb2_grpc


class EnvironmentService(environment_pb2_grpc.EnvironmentServiceServicer):
    def __init__(self, environments: KeptEnvironments) -> None:
        self._environments = environments

    async def ListEnvironments(
        self, request: environment_pb2.ListEnvironmentsRequest, context: RpcContext
    ) -> environment_pb2.ListEnvironmentsResponse:
        page = self._environments.page(
            context.principal,
            user=request.user_id or None,
            limit=request.limit if request.HasField("limit") else None,
            offset=request.offset if request.HasField("offset") else None,
        )
        shown = await map_paced(KEPT_ENVIRONMENT.message, page.environments)
        return environment_pb2.ListEnvironmentsResponse(environments=shown, total=page.total)

    async def DeleteEnvironment(
        self, request: environment_pb2.DeleteEnvironmentRequest, context: RpcContext
    ) -> Empty:
        await self._environments.delete(context.principal, request.environment_id)
        return Empty()
