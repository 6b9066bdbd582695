"""The gRPC handlers of the operations in the table."""

from collections.abc import Iterable
from typing import Any

import grpc
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from fetchml.api.grpc.call import RpcContext
from fetchml.api.operation import Operation


def handlers(operations: Iterable[Operation]) -> list[grpc.GenericRpcHandler]:
    """Return a handler for each service. It has only the methods that are in the table."""
    services: dict[str, dict[str, Any]] = {}
    for operation in operations:
        service = services.setdefault(operation.rpc.containing_service.full_name, {})
        service[operation.rpc.name] = _handler(operation)
    return [grpc.method_handlers_generic_handler(*service) for service in services.items()]


def _handler(operation: Operation) -> Any:
    async def answer(request: Message, context: RpcContext) -> Message:
        return await operation.answer(context.principal, request)

    return grpc.unary_unary_rpc_method_handler(
        answer,
        request_deserializer=GetMessageClass(operation.rpc.input_type).FromString,
        response_serializer=GetMessageClass(operation.rpc.output_type).SerializeToString,
    )
