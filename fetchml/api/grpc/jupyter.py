"""JupyterService."""
# ruff: noqa: N802  # methods have the RPCs' names

from google.protobuf.empty_pb2 import Empty

from fetchml.api.grpc.rpc_context import RpcContext
from fetchml.api.mappings import JUPYTER_SERVICE
from fetchml.api.task_messages import wants_full
from fetchml.core.jupyter import KNOWN_FIELDS
from fetchml.jupyter.jupyter_service import JupyterServices
from fetchml.v1 import jupyter_pb2, jupyter_pb2_grpc


class JupyterService(jupyter_pb2_grpc.JupyterServiceServicer):
    def __init__(self, jupyter: JupyterServices) -> None:
        self._jupyter = jupyter

    async def ListJupyterServices(
        self, request: jupyter_pb2.ListJupyterServicesRequest, context: RpcContext
    ) -> jupyter_pb2.ListJupyterServicesResponse:
        full = wants_full(request.view)
        found = self._jupyter.list(context.principal)
        return jupyter_pb2.ListJupyterServicesResponse(
            services=[JUPYTER_SERVICE.message(service, full=full) for service in found]
        )

    async def GetJupyterService(
        self, request: jupyter_pb2.GetJupyterServiceRequest, context: RpcContext
    ) -> jupyter_pb2.JupyterServiceInfo:
        full = wants_full(request.view)
        return JUPYTER_SERVICE.message(
            self._jupyter.get(context.principal, request.service_id), full=full
        )

    async def StartJupyter(
        self, request: jupyter_pb2.StartJupyterRequest, context: RpcContext
    ) -> jupyter_pb2.JupyterServiceInfo:
        full = wants_full(request.view)
        fields = {name: getattr(request, name) for name in KNOWN_FIELDS if request.HasField(name)}
        return JUPYTER_SERVICE.message(
            await self._jupyter.start(context.principal, fields), full=full
        )

    async def StopJupyter(
        self, request: jupyter_pb2.StopJupyterRequest, context: RpcContext
    ) -> Empty:
        await self._jupyter.stop(context.principal, request.service_id)
        return Empty()
