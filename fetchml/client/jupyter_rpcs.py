"""RPCs of Jupyter services."""

from typing import TypedDict

from google.protobuf.empty_pb2 import Empty

from fetchml.client.rpcs import Rpc
from fetchml.v1 import jupyter_pb2
from fetchml.v1.jupyter_pb2 import JupyterServiceInfo
from fetchml.v1.task_pb2 import FULL


class JupyterFields(TypedDict, total=False):
    """Optional fields of a new Jupyter service. proto/fetchml/v1/jupyter.proto describes them."""

    workspace: str
    image: str
    cpu: int
    memory_gb: int
    gpu: int


def list_jupyter() -> Rpc[jupyter_pb2.ListJupyterServicesResponse]:
    request = jupyter_pb2.ListJupyterServicesRequest(view=FULL)
    return Rpc(
        "JupyterService/ListJupyterServices", request, jupyter_pb2.ListJupyterServicesResponse
    )


def get_jupyter(service_id: str) -> Rpc[JupyterServiceInfo]:
    request = jupyter_pb2.GetJupyterServiceRequest(service_id=service_id, view=FULL)
    return Rpc("JupyterService/GetJupyterService", request, JupyterServiceInfo)


def start_jupyter(name: str, fields: JupyterFields) -> Rpc[JupyterServiceInfo]:
    """Raises ValueError for a value that does not fit its field."""
    request = jupyter_pb2.StartJupyterRequest(name=name, view=FULL, **fields)
    return Rpc("JupyterService/StartJupyter", request, JupyterServiceInfo, repeatable=False)


def stop_jupyter(service_id: str) -> Rpc[Empty]:
    request = jupyter_pb2.StopJupyterRequest(service_id=service_id)
    return Rpc("JupyterService/StopJupyter", request, Empty)
