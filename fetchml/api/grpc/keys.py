"""KeyService: API keys, for admins."""
# ruff: noqa: N802  # methods have the RPCs' names

from fetchml.api.grpc.calls import Call
from fetchml.api.messages import key_message, milliseconds, role_of
from fetchml.auth.key_manager import KeyManager
from fetchml.v1 import key_pb2, key_pb2_grpc


class KeyService(key_pb2_grpc.KeyServiceServicer):
    def __init__(self, keys: KeyManager) -> None:
        self._keys = keys

    async def CreateKey(
        self, request: key_pb2.CreateKeyRequest, call: Call
    ) -> key_pb2.CreateKeyResponse:
        expires_at = milliseconds(request.expires_at) if request.HasField("expires_at") else None
        key, secret = await self._keys.create(
            call.who, request.name, role_of(request.role), expires_at
        )
        return key_pb2.CreateKeyResponse(key=key_message(key), secret=secret)

    async def ListKeys(self, _: key_pb2.ListKeysRequest, call: Call) -> key_pb2.ListKeysResponse:
        keys = self._keys.list(call.who)
        return key_pb2.ListKeysResponse(keys=[key_message(key) for key in keys])

    async def RevokeKey(self, request: key_pb2.RevokeKeyRequest, call: Call) -> key_pb2.Key:
        return key_message(await self._keys.revoke(call.who, request.key_id))
