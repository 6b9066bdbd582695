"""One request after the other over REST, for what is not load."""

import http.client
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

from benchmarks.processes import KEY

BLOCKER: dict[str, object] = {"job_name": "blocker", "command": ["sleep", "600"]}
STARTED_WITHIN_SECONDS = 30


class Client:
    """A kept connection to `HOST:PORT`."""

    def __init__(self, address: str) -> None:
        self._connection = http.client.HTTPConnection(address)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, e: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def ask(self, method: str, path: str, body: dict[str, object] | None = None) -> Any:
        """The reply's JSON. Raises RuntimeError for any that is not a success."""
        headers = {"X-API-Key": KEY}
        content = None
        if body is not None:
            content = json.dumps(body)
            headers["Content-Type"] = "application/json"
        self._connection.request(method, path, content, headers)
        reply = self._connection.getresponse()
        answer = reply.read()
        if reply.status >= 300:
            raise RuntimeError(f"{method} {path}: {reply.status} {answer!r}")
        return json.loads(answer) if answer else None

    def seconds(self, method: str, path: str, body: dict[str, object] | None = None) -> float:
        """How long the reply took."""
        began = time.perf_counter()
        self.ask(method, path, body)
        return time.perf_counter() - began

    def block_queue(self) -> str:
        """Fill the only slot with a task that outlasts every benchmark; gives its id."""
        task = self.ask("POST", "/v1/tasks", BLOCKER)
        self.await_status(task["id"], "running")
        return str(task["id"])

    def unblock_queue(self, blocker: str) -> None:
        self.ask("DELETE", f"/v1/tasks/{blocker}")
        self.await_status(blocker, "failed")

    @contextmanager
    def blocked_queue(self) -> Iterator[None]:
        """The server's only slot is taken meanwhile, and nothing is launched."""
        blocker = self.block_queue()
        try:
            yield
        finally:
            self.unblock_queue(blocker)

    def await_status(self, task_id: str, status: str) -> None:
        deadline = time.monotonic() + STARTED_WITHIN_SECONDS
        while (found := self.ask("GET", f"/v1/tasks/{task_id}"))["status"] != status:
            if time.monotonic() > deadline:
                raise RuntimeError(f"{found} is not {status} yet")
            time.sleep(0.01)
