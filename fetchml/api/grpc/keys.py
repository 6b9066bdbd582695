"""KeyService: for admins, who are all that reach the control socket."""
# ruff: noqa: N802  # methods have the RPCs' names

from fetchml.api.grpc.calls import Call
from fetchml.api.messages import key_message, role_of
from fetchml.auth.key_manager import KeyManager
from fetchml.errors import FieldViolation, ValidationFailed
from fetchml.v1 import key_pb2, key_pb2_grpc

_LATEST_SECONDS = 253_402_300_799
"""The end of the year 9999: the last time that a protobuf Timestamp may hold."""


class KeyService(key_pb2_grpc.KeyServiceServicer):
    def __init__(self, keys: KeyManager) -> None:
        self._keys = keys

    async def CreateKey(
        self, request: key_pb2.CreateKeyRequest, call: Call
    ) -> key_pb2.CreateKeyResponse:
        role = role_of(request.role)
        if role is None:
            raise ValidationFailed([FieldViolation("role", "must be viewer, user or admin")])
        expires_at = None
        if request.HasField("expires_at"):
            at = request.expires_at
            if not (0 <= at.seconds <= _LATEST_SECONDS and 0 <= at.nanos < 10**9):
                rule = "must be a time from 1970 to 9999"
                raise ValidationFailed([FieldViolation("expires_at", rule)])
            expires_at = at.seconds * 1000 + at.nanos // 1_000_000
        key, secret = await self._keys.create(call.who, request.name, role, expires_at)
        return key_pb2.CreateKeyResponse(key=key_message(key), secret=secret)

    async def ListKeys(self, _: key_pb2.ListKeysRequest, call: Call) -> key_pb2.ListKeysResponse:
        keys = self._keys.list(call.who)
        return key_pb2.ListKeysResponse(keys=[key_message(key) for key in keys])

    async def RevokeKey(self, request: key_pb2.RevokeKeyRequest, call: Call) -> key_pb2.Key:
        return key_message(await self._keys.revoke(call.who, request.key_id))
