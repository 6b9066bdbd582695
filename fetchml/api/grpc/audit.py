"""AuditService."""
# ruff: noqa: N802  # methods have the RPCs' names

from fetchml.api.grpc.rpc_context import RpcContext
from fetchml.api.mappings import AUDIT_ENTRY
from fetchml.api.task_messages import milliseconds
from fetchml.auth.audit import Audit
from fetchml.v1 import audit_pb2, audit_pb2_grpc


class AuditService(audit_pb2_grpc.AuditServiceServicer):
    def __init__(self, audit: Audit) -> None:
        self._audit = audit

    async def ListAudit(
        self, request: audit_pb2.ListAuditRequest, context: RpcContext
    ) -> audit_pb2.AuditList:
        since = None
        if request.HasField("since"):
            since = milliseconds(request.since)
        entries = await self._audit.entries(
            context.principal,
            user=request.user_id or None,
            action=request.action or None,
            target=request.target or None,
            since=since,
            before=request.before or None,
            limit=request.limit if request.HasField("limit") else None,
        )
        return audit_pb2.AuditList(entries=[AUDIT_ENTRY.message(entry) for entry in entries])
