"""Views of a Jupyter service for callers, pages and the proxy."""

import secrets

from fetchml.core import jupyter, permissions
from fetchml.core.jupyter import Service, ServiceStatus
from fetchml.core.model import Principal, Status
from fetchml.engine.service_tasks import ServiceTasks
from fetchml.jupyter.origin import JupyterOrigins
from fetchml.jupyter.records import ServiceRecords
from fetchml.jupyter.supervision import Supervision
from fetchml.views import JupyterState, JupyterView, VisitorPolicy


class ServiceViews:
    def __init__(
        self,
        records: ServiceRecords,
        tasks: ServiceTasks,
        supervision: Supervision,
        origins: JupyterOrigins,
        *,
        private: bool,
        isolated: bool,
    ) -> None:
        """`isolated`: whether services run in containers."""
        self._records = records
        self._tasks = tasks
        self._supervision = supervision
        self._origins = origins
        self._private = private
        self._isolated = isolated
        self._nobodys_token = secrets.token_urlsafe(32)

    def view(self, who: Principal, record: Service) -> JupyterView:
        """Return the view of a service for a caller that may see it. Only its owner and admins get
        the token."""
        task = self._records.task_of(record)
        supervisor = self._supervision.of(record.id)
        status, reason = self._status(record)
        if status is ServiceStatus.ERROR and reason is not None:
            reason = jupyter.with_last_words(reason, task, record)
        opens = self._records.is_live(record) and permissions.may_end(who, record)
        return JupyterView(
            id=record.id,
            user=record.user,
            name=record.name,
            status=status,
            url=self._origins.url(record.id),
            created_at=record.created_at,
            image=record.image,
            workspace=record.workspace,
            token=record.token if opens else None,
            cpu=record.cpu,
            memory_gb=record.memory_gb,
            gpu=record.gpu,
            reason=reason,
            started_at=task.started_at,
            ended_at=task.ended_at,
            last_activity=supervisor.last_activity if supervisor is not None else None,
            stops_at=supervisor.stops_at if supervisor is not None else None,
        )

    def state(self, service_id: str) -> JupyterState | None:
        """Return what a visitor without a key may learn; `None` if there is no such service."""
        record = self._records.get(service_id)
        if record is None:
            return None
        status, why = self._status(record)
        supervisor = self._supervision.of(service_id)
        stops_at = supervisor.stops_at if supervisor is not None else None
        return JupyterState(status, why or "", stops_at)

    def visitor_policy(self, service_id: str) -> VisitorPolicy:
        """Return what the proxy checks visitors against: for an id that no service has, a token
        that nobody has."""
        record = self._records.get(service_id)
        if record is None:
            return VisitorPolicy("", self._nobodys_token, self._private)
        return VisitorPolicy(record.user, record.token, self._private)

    def _status(self, record: Service) -> tuple[ServiceStatus, str | None]:
        task = self._records.task_of(record)
        answers = self._supervision.link(record.id) is not None
        status = jupyter.status_of(task, answers=answers)
        waits = ""
        if status is ServiceStatus.STARTING and task.status is not Status.RUNNING:
            waits = self._tasks.waits_for(task)
        is_silent = task.status is Status.RUNNING and self._tasks.is_silent(task)
        return status, jupyter.reason_of(
            task, status, waits, isolated=self._isolated, is_silent=is_silent
        )
