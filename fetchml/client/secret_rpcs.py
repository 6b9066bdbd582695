"""The RPCs of secrets, as `fetchml.client.rpcs` has those of tasks."""

from google.protobuf.empty_pb2 import Empty

from fetchml.client.rpcs import Rpc
from fetchml.v1 import secret_pb2
from fetchml.v1.secret_pb2 import Secret


def set_secret(name: str, value: str) -> Rpc[Secret]:
    """Raises ValueError for a value that is no valid Unicode."""
    request = secret_pb2.SetSecretRequest(name=name, value=value)
    return Rpc("SecretService/SetSecret", request, Secret)


def list_secrets(user_id: str) -> Rpc[secret_pb2.ListSecretsResponse]:
    request = secret_pb2.ListSecretsRequest(user_id=user_id)
    return Rpc("SecretService/ListSecrets", request, secret_pb2.ListSecretsResponse)


def delete_secret(name: str, user_id: str) -> Rpc[Empty]:
    request = secret_pb2.DeleteSecretRequest(name=name, user_id=user_id)
    return Rpc("SecretService/DeleteSecret", request, Empty, deletes=True)
