"""A real server attacked over REST, and its memory use."""

import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from testbed.server_processes import resident_bytes
from tests.support.cli_server import SECONDS, Server

MIB = 1 << 20
SAMPLE_SECONDS = 0.01


class Reply(NamedTuple):
    status: int
    body: Any


class Attacked:
    """A running server with a key for each of two users."""

    def __init__(self, data_dir: Path, launcher: str = "process", **variables: str) -> None:
        variables.setdefault("FETCHML_RATE_LIMIT_ENABLED", "false")
        self.server = Server(data_dir, launcher=launcher, **variables).keep_ports().start()
        self.admin = (data_dir / "admin.key").read_text().strip()
        self.mallory, self.bob = self._key("mallory"), self._key("bob")

    def _key(self, name: str) -> str:
        return self.server.run("keys", "create", name).succeeded().split()[-1]

    def ask(self, key: str, method: str, path: str, body: object = None) -> Reply:
        request = urllib.request.Request(
            f"http://{self.server.http}{path}",
            data=None if body is None else json.dumps(body).encode(),
            method=method,
            headers={"X-API-Key": key, "Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=SECONDS) as reply:  # noqa: S310
                text = reply.read()
                return Reply(reply.status, json.loads(text) if text else None)
        except urllib.error.HTTPError as error:
            return Reply(error.code, json.loads(error.read()))

    def submit(self, key: str, **fields: object) -> Reply:
        return self.ask(key, "POST", "/v1/tasks", {"job_name": "job", **fields})

    def ended(self, key: str, **fields: object) -> dict[str, Any]:
        """A new task, once it has ended, in the full view."""
        task_id = self.submit(key, **fields).body["id"]
        self.server.run("logs", "--follow", task_id, FETCHML_API_KEY=self.admin)
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline:
            task: dict[str, Any] = self.ask(key, "GET", f"/v1/tasks/{task_id}?view=full").body
            if task["status"] in ("completed", "failed"):
                return task
        raise TimeoutError(task_id)

    def memory(self) -> int:
        """Resident, in bytes."""
        return resident_bytes(self.server.pid)

    @contextmanager
    def grown(self) -> Iterator[list[int]]:
        """While inside, measure how much more memory the server takes, in bytes."""
        before, grown, stop = self.memory(), [0], threading.Event()

        def measure() -> None:
            while not stop.wait(SAMPLE_SECONDS):
                grown.append(self.memory() - before)

        thread = threading.Thread(target=measure)
        thread.start()
        try:
            yield grown
        finally:
            stop.set()
            thread.join()

    def close(self) -> None:
        assert self.server.stop() == 0
