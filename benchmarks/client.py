"""One request after the other over REST, for what is not load."""

import http.client
import io
import json
import tarfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from types import TracebackType
from typing import Any, Self

from benchmarks import waiting
from benchmarks.processes import KEY
from benchmarks.waiting import until

BLOCKER: dict[str, object] = {"job_name": "blocker", "command": ["sleep", "600"]}


class Client:
    """A kept connection to `HOST:PORT`."""

    def __init__(self, address: str, key: str = KEY) -> None:
        self._connection = http.client.HTTPConnection(address)
        self._key = key

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, e: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def ask(self, method: str, path: str, body: dict[str, object] | None = None) -> Any:
        """The reply's JSON. Raises RuntimeError for any that is not a success."""
        if body is None:
            return self._ask(method, path, None, {})
        content = json.dumps(body).encode()
        return self._ask(method, path, content, {"Content-Type": "application/json"})

    def upload(self, files: dict[str, bytes]) -> str:
        """The id of a snapshot with these files."""
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w:gz") as tar:
            for name, content in files.items():
                entry = tarfile.TarInfo(name)
                entry.size = len(content)
                tar.addfile(entry, io.BytesIO(content))
        return self.upload_archive(packed.getvalue())

    def upload_archive(self, archive: bytes) -> str:
        """The id of the snapshot of a packed archive."""
        kind = {"Content-Type": "application/gzip"}
        return str(self._ask("PUT", "/v1/snapshots", archive, kind)["id"])

    def _ask(self, method: str, path: str, content: bytes | None, more: dict[str, str]) -> Any:
        self._connection.request(method, path, content, {"X-API-Key": self._key, **more})
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
        path = f"/v1/tasks/{task_id}"
        until(lambda: self.ask("GET", path), lambda task: task["status"] == status)

    def completed(self) -> int:
        """The number of completed tasks."""
        return int(self.ask("GET", "/v1/tasks?status=completed&limit=0")["total"])

    def finish(self, request: dict[str, object], *, within_seconds: float = waiting.SECONDS) -> Any:
        """Submit, and wait until the task has completed; the task, in the full view."""
        task_id = self.ask("POST", "/v1/tasks", request)["id"]
        return self.completed_task(task_id, within_seconds=within_seconds)

    def completed_task(self, task_id: str, *, within_seconds: float = waiting.SECONDS) -> Any:
        """Wait until the task has completed. Raises RuntimeError if it fails."""
        task = self.ended_task(task_id, within_seconds=within_seconds)
        if task["status"] != "completed":
            raise RuntimeError(f"{task} has not completed")
        return task

    def ended_task(self, task_id: str, *, within_seconds: float = waiting.SECONDS) -> Any:
        """Wait until the task has ended; the task, in the full view."""
        return until(
            lambda: self.ask("GET", f"/v1/tasks/{task_id}?view=full"),
            lambda task: "ended_at" in task,
            within_seconds=within_seconds,
        )


def key_of(address: str, name: str, role: str = "user") -> str:
    """Make a key for a user; returns its secret."""
    with Client(address) as admin:
        return str(admin.ask("POST", "/v1/keys", {"name": name, "role": role})["secret"])


def milliseconds(begin: str, end: str) -> float:
    """Between two times of a reply."""
    between = datetime.fromisoformat(end) - datetime.fromisoformat(begin)
    return between.total_seconds() * 1000
