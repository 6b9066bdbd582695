"""SecretService: the caller's secrets. No reply contains a value."""
# ruff: noqa: N802  # methods have the RPCs' names

from google.protobuf.empty_pb2 import Empty

from fetchml.api.grpc.rpc_context import RpcContext
from fetchml.api.mappings import SECRET
from fetchml.user_secrets.service import UserSecrets
from fetchml.v1 import secret_pb2, secret_pb2_grpc


class SecretService(secret_pb2_grpc.SecretServiceServicer):
    def __init__(self, secrets: UserSecrets) -> None:
        self._secrets = secrets

    async def SetSecret(
        self, request: secret_pb2.SetSecretRequest, context: RpcContext
    ) -> secret_pb2.Secret:
        fields = {"value": request.value}
        return SECRET.message(await self._secrets.set(context.principal, request.name, fields))

    async def ListSecrets(
        self, request: secret_pb2.ListSecretsRequest, context: RpcContext
    ) -> secret_pb2.ListSecretsResponse:
        found = self._secrets.list(context.principal, request.user_id or None)
        return secret_pb2.ListSecretsResponse(secrets=map(SECRET.message, found))

    async def DeleteSecret(
        self, request: secret_pb2.DeleteSecretRequest, context: RpcContext
    ) -> Empty:
        user = request.user_id or None
        await self._secrets.delete(context.principal, request.name, user)
        return Empty()
