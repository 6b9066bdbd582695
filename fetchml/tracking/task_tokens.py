"""Tokens by which the command of a task logs to the server: `fmt_<task id>_<signature>`.

The signature follows from a key of the data directory, so no token is stored. A token is good for
the MLflow protocol only, while its task has not ended; `api/mlflow` checks both.
"""

import hashlib
import hmac
import re

_PREFIX = "fmt_"
_TOKEN = re.compile(rf"{_PREFIX}([0-9a-f-]{{36}})_[0-9a-f]{{64}}", re.ASCII)


class TaskTokens:
    def __init__(self, key: bytes) -> None:
        self._key = key

    @staticmethod
    def is_token(secret: str) -> bool:
        """Return whether it looks like a token, rather than an API key."""
        return secret.startswith(_PREFIX)

    def issue(self, task_id: str) -> str:
        """Return the token of a task; always the same one."""
        signature = hmac.digest(self._key, task_id.encode(), hashlib.sha256).hex()
        return f"{_PREFIX}{task_id}_{signature}"

    def task_of(self, token: str) -> str | None:
        """Return the id of the task with this token; `None` if the server has not issued it."""
        match = _TOKEN.fullmatch(token)
        if match is None or not hmac.compare_digest(token, self.issue(match[1])):
            return None
        return match[1]
