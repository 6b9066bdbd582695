"""KeyService: API keys, managed by admins."""
# ruff: noqa: N802  # methods have the RPCs' names

from fetchml.api.grpc.rpc_context import RpcContext
from fetchml.api.mappings import KEY
from fetchml.api.task_messages import milliseconds, role_of
from fetchml.auth.key_manager import KeyManager
from fetchml.v1 import key_pb2, key_pb2_grpc


class KeyService(key_pb2_grpc.KeyServiceServicer):
    def __init__(self, keys: KeyManager) -> None:
        self._keys = keys

    async def CreateKey(
        self, request: key_pb2.CreateKeyRequest, context: RpcContext
    ) -> key_pb2.CreateKeyResponse:
        expires_at = milliseconds(request.expires_at) if request.HasField("expires_at") else None
        key, secret = await self._keys.create(
            context.principal, request.name, role_of(request.role), expires_at
        )
        return key_pb2.CreateKeyResponse(key=KEY.message(key), secret=secret)

    async def ListKeys(
        self, _: key_pb2.ListKeysRequest, context: RpcContext
    ) -> key_pb2.ListKeysResponse:
        keys = self._keys.list(context.principal)
        return key_pb2.ListKeysResponse(keys=[KEY.message(key) for key in keys])

    async def RevokeKey(
        self, request: key_pb2.RevokeKeyRequest, context: RpcContext
    ) -> key_pb2.Key:
        return KEY.message(await self._keys.revoke(context.principal, request.key_id))
