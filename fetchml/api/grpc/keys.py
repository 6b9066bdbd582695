"""KeyService: API keys, managed by admins."""
# ruff: noqa: N802  # methods have the RPCs' names

from google.protobuf.message import Message

from fetchml.api.grpc.rpc_context import RpcContext
from fetchml.api.mappings import KEY
from fetchml.api.task_messages import milliseconds, role_of
from fetchml.auth.key_manager import KeyManager
from fetchml.auth.sign_in import SignIn
from fetchml.core.model import Principal
from fetchml.jupyter.origin import JupyterOrigins
from fetchml.v1 import key_pb2, key_pb2_grpc


class KeyService(key_pb2_grpc.KeyServiceServicer):
    def __init__(self, keys: KeyManager, sign_in: SignIn, origins: JupyterOrigins) -> None:
        self._keys = keys
        self._sign_in = sign_in
        self._origins = origins

    async def CreateKey(
        self, request: key_pb2.CreateKeyRequest, context: RpcContext
    ) -> key_pb2.CreateKeyResponse:
        return await _create(self._keys, context.principal, request)

    async def ListKeys(
        self, _: key_pb2.ListKeysRequest, context: RpcContext
    ) -> key_pb2.ListKeysResponse:
        return _list(self._keys, context.principal)

    async def RevokeKey(
        self, request: key_pb2.RevokeKeyRequest, context: RpcContext
    ) -> key_pb2.Key:
        return await _revoke(self._keys, context.principal, request)

    async def CreateSignInCode(
        self, _: key_pb2.CreateSignInCodeRequest, context: RpcContext
    ) -> key_pb2.CreateSignInCodeResponse:
        who = context.principal
        code, expires_at = await self._sign_in.create_code(who)
        url = f"{self._origins.page_url(who.address)}#code={code}"
        reply = key_pb2.CreateSignInCodeResponse(code=code, url=url)
        reply.expires_at.FromMilliseconds(expires_at)
        return reply


async def answer(keys: KeyManager, principal: Principal, request: Message) -> Message:
    """Answer a request of KeyService outside of a call. Raises RequestError."""
    match request:
        case key_pb2.CreateKeyRequest():
            return await _create(keys, principal, request)
        case key_pb2.ListKeysRequest():
            return _list(keys, principal)
        case key_pb2.RevokeKeyRequest():
            return await _revoke(keys, principal, request)
    raise TypeError(f"{type(request).__name__} is not a request of KeyService")


async def _create(
    keys: KeyManager, principal: Principal, request: key_pb2.CreateKeyRequest
) -> key_pb2.CreateKeyResponse:
    expires_at = milliseconds(request.expires_at) if request.HasField("expires_at") else None
    key, secret = await keys.create(principal, request.name, role_of(request.role), expires_at)
    return key_pb2.CreateKeyResponse(key=KEY.message(key), secret=secret)


def _list(keys: KeyManager, principal: Principal) -> key_pb2.ListKeysResponse:
    return key_pb2.ListKeysResponse(keys=[KEY.message(key) for key in keys.list(principal)])


async def _revoke(
    keys: KeyManager, principal: Principal, request: key_pb2.RevokeKeyRequest
) -> key_pb2.Key:
    return KEY.message(await keys.revoke(principal, request.key_id))
