"""A container that takes all the memory it gets."""

from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.client import Client, key_of
from benchmarks.hostile.attack import Attack, Outcome
from benchmarks.processes import Server

PORTION_MIB = 16
MEMORY_GB = 1
"""The server's default for this attack, which a machine of any size has."""
SECONDS = 120
_GROW = f"""
kept = []
while True:
    kept.append(b"x" * {PORTION_MIB << 20})
    print(len(kept), flush=True)
"""


@contextmanager
def memory_without_request(server: Server) -> Iterator[Attack]:
    key = key_of(server.http, "mallory")

    def attack() -> Outcome:
        request: dict[str, object] = {"job_name": "a", "command": ["python3", "-c", _GROW]}
        with Client(server.http, key) as mallory:
            task_id = mallory.ask("POST", "/v1/tasks", request)["id"]
            task = mallory.ended_task(task_id, within_seconds=SECONDS)
        taken = int(task["output"].split()[-1]) * PORTION_MIB
        reason = task.get("failure_reason")
        kept = reason == "OUT_OF_MEMORY" and taken <= MEMORY_GB << 10
        return Outcome(f"it ended as {reason} after {taken:,} MiB", kept=kept)

    yield attack
