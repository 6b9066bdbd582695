"""The RPCs of kept environments, as `fetchml.client.rpcs` has those of tasks."""

from google.protobuf.empty_pb2 import Empty

from fetchml.client.rpcs import Rpc
from fetchml.v1 import environment_pb2


def list_environments(
    user_id: str, limit: int, offset: int
) -> Rpc[environment_pb2.ListEnvironmentsResponse]:
    request = environment_pb2.ListEnvironmentsRequest(user_id=user_id, limit=limit, offset=offset)
    return Rpc(
        "EnvironmentService/ListEnvironments", request, environment_pb2.ListEnvironmentsResponse
    )


def delete_environment(environment_id: str) -> Rpc[Empty]:
    request = environment_pb2.DeleteEnvironmentRequest(environment_id=environment_id)
    return Rpc("EnvironmentService/DeleteEnvironment", request, Empty, deletes=True)
