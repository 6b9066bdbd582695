"""Admission of MLflow's clients: an API key or a task's token, as they send it.

`MLFLOW_TRACKING_TOKEN` is sent as Bearer, `MLFLOW_TRACKING_PASSWORD` as the password of Basic.
"""

import base64

from aiohttp import hdrs

from fetchml.api.http.request import RestRequest
from fetchml.api.http.sessions import SessionCredentials
from fetchml.auth.admission import Admission
from fetchml.tracking.live_tasks import LiveTasks
from fetchml.tracking.task_tokens import TaskTokens


class MlflowCredentials:
    def __init__(
        self, admission: Admission, sessions: SessionCredentials, tasks: LiveTasks
    ) -> None:
        self._admission = admission
        self._sessions = sessions
        self._tasks = tasks

    def admit(self, request: RestRequest) -> None:
        """Admit a request. Raises Unauthorized, Forbidden, RateLimited."""
        headers = request.http.headers
        secret = headers.get("X-API-Key") or _secret(headers.get(hdrs.AUTHORIZATION, ""))
        if secret is None:
            self._sessions.admit(request)
        elif TaskTokens.is_token(secret):
            request.admit_task(self._admission, self._tasks.of_token(secret))
        else:
            request.admit(self._admission, secret)


def _secret(authorization: str) -> str | None:
    """Return the secret of a header; empty if it has none, `None` if there is no header."""
    if not authorization:
        return None
    scheme, _, value = authorization.partition(" ")
    if scheme.lower() == "bearer":
        return value.strip()
    if scheme.lower() != "basic":
        return ""
    try:
        pair = base64.b64decode(value.strip(), validate=True).decode()
    except ValueError:
        return ""
    return pair.partition(":")[2]
