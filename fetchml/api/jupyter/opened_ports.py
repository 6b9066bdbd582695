"""Links to ports of tasks, which REST and gRPC return."""

from fetchml.access.service import TaskAccess
from fetchml.api.http.sessions import TICKET
from fetchml.api.jupyter.task_ports import label_of
from fetchml.auth.admission import Admission
from fetchml.auth.key_tokens import TaskPort
from fetchml.auth.sessions import Session
from fetchml.core.model import Principal
from fetchml.errors import Conflict, Forbidden
from fetchml.jupyter.origin import JupyterOrigins, Place
from fetchml.views import TaskPortLink


class OpenedPorts:
    def __init__(self, access: TaskAccess, admission: Admission, origins: JupyterOrigins) -> None:
        self._access = access
        self._admission = admission
        self._origins = origins

    @property
    def public_url(self) -> str:
        return self._origins.public_url

    async def open(
        self,
        who: Principal,
        task_id: str,
        port: int,
        place: Place | None = None,
        session: Session | None = None,
    ) -> TaskPortLink:
        """Return a link that opens a port in a browser, once. `place`: where the browser reaches
        the server; `None` if the request does not show it. `session`: of the page that asks; the
        visit ends with it. Raises NotFound, Forbidden, Conflict."""
        await self._access.admit_to_port(who, task_id, port)
        origin = self._origins.of_port(label_of(task_id, port), place)
        if origin is None:
            raise Conflict(
                "Ports of tasks have no origin of their own at this address, where a script of the "
                "task could not use the session of the page: set [jupyter] domain, reach the "
                "server as localhost, or use 'fetchml port-forward'"
            )
        if self._admission.key(who.key_id) is None:
            raise Forbidden("A link to a port belongs to an API key: call with one")
        ticket, expires_at = self._admission.port_visits.ticket(
            who.key_id, session, TaskPort(task_id, port)
        )
        return TaskPortLink(f"{origin}/?{TICKET}={ticket}", expires_at)
