"""A real server that a test attacks over REST, and how much memory it takes."""

import json
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, NamedTuple

from tests.cli.server import SECONDS, Server

MIB = 1 << 20


class Reply(NamedTuple):
    status: int
    body: Any


class Attacked:
    """A running server with a key for each of two users."""

    def __init__(self, data_dir: Path, launcher: str = "process", **variables: str) -> None:
        variables.setdefault("FETCHML_RATE_LIMIT_ENABLED", "false")
        self.server = Server(data_dir, launcher=launcher, **variables).start()
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

    def memory(self) -> int:
        """Resident, in bytes."""
        pages = int(Path(f"/proc/{self.server.pid}/statm").read_text().split()[1])
        return pages * 4096

    def close(self) -> None:
        assert self.server.stop() == 0
