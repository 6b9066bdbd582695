"""Users and tasks that fill the disk and the audit. Each function prepares a server, and gives the
attack."""

import io
import os
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.client import Client, key_of
from benchmarks.hostile.attack import Attack, Outcome
from benchmarks.processes import Server
from benchmarks.waiting import until

MIB = 1 << 20
SNAPSHOT_MIB = 300
SNAPSHOTS = 6
STORAGE_GB = 1
OUTPUT_TASKS = 8
OUTPUTS = 40_000
OUTPUTS_SECONDS = 120
LIST_SECONDS = 1.0
"""Target for the slowest list of another user's outputs; without limits it took 17 s."""
LIST_EVERY_SECONDS = 0.02
EXPERIMENTS = 700
AUDIT_ROWS = 1_000
_FILL = f"""
import os
os.chdir(os.environ["FETCHML_OUTPUTS"])
for number in range({OUTPUTS}):
    os.close(os.open(str(number), os.O_CREAT | os.O_WRONLY))
"""


@contextmanager
def snapshots(server: Server) -> Iterator[Attack]:
    """Small archives of large files, each another one, until none is taken."""
    key = key_of(server.http, "mallory")
    data_dir = Path(server.process.args[server.process.args.index("--data-dir") + 1])  # type: ignore[index, union-attr, arg-type]

    def attack() -> Outcome:
        before, accepted, packed = used_bytes(data_dir), 0, 0
        for number in range(SNAPSHOTS):
            archive = _archive(number)
            packed = len(archive)
            with Client(server.http, key) as mallory:
                try:
                    mallory.upload_archive(archive)
                except RuntimeError:
                    break
            accepted += 1
        grown = used_bytes(data_dir) - before
        remark = (
            f"{accepted} archives of {packed / 1000:.0f} KB were taken, the next one was refused; "
            f"disk {grown / MIB:+,.0f} MiB"
        )
        return Outcome(remark, kept=accepted < SNAPSHOTS and grown <= STORAGE_GB << 30)

    yield attack


def _archive(number: int) -> bytes:
    """Zeros, and a line that no other archive has."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for name, content in {"number": b"%d" % number, "zeros": bytes(SNAPSHOT_MIB * MIB)}.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return packed.getvalue()


def used_bytes(folder: Path) -> int:
    """Bytes of the disk that the files below a folder take."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(parent, name)).st_blocks * 512  # noqa: PTH118
            except FileNotFoundError:  # It was temporary.
                continue
    return total


@contextmanager
def empty_outputs(server: Server) -> Iterator[Attack]:
    """Tasks with many empty outputs, and another user's list of outputs meanwhile."""
    mallory, bob = key_of(server.http, "mallory"), key_of(server.http, "bob")
    command = ["sh", "-c", 'echo x > "$FETCHML_OUTPUTS/f"']
    with Client(server.http, bob) as client:
        kept = client.finish({"job_name": "bob", "command": command})["id"]

    def attack() -> Outcome:
        slowest = 0.0
        done = threading.Event()

        def ask() -> None:
            nonlocal slowest
            with Client(server.http, bob) as client:
                while not done.wait(LIST_EVERY_SECONDS):
                    path = f"/v1/tasks/{kept}/outputs"
                    slowest = max(slowest, client.seconds("GET", path))

        asking = threading.Thread(target=ask)
        asking.start()
        try:
            with Client(server.http, mallory) as client:
                request: dict[str, object] = {"job_name": "a", "command": ["python3", "-c", _FILL]}
                ids = [client.ask("POST", "/v1/tasks", request)["id"] for _ in range(OUTPUT_TASKS)]
                ended = [
                    client.completed_task(each, within_seconds=OUTPUTS_SECONDS) for each in ids
                ]
                notes = {str(each.get("note", "")) for each in ended}
        finally:
            done.set()
            asking.join()
        remark = f"another user's list of outputs: {slowest * 1000:.0f} ms at most; note: {notes}"
        return Outcome(remark, kept=slowest < LIST_SECONDS)

    yield attack


@contextmanager
def experiments(server: Server) -> Iterator[Attack]:
    """Created and deleted, so that only the audit grows."""
    key = key_of(server.http, "mallory")

    def attack() -> Outcome:
        with Client(server.http, key) as mallory:
            for _ in range(EXPERIMENTS):
                made = mallory.ask("POST", "/v1/experiments", {"name": "e"})
                mallory.ask("DELETE", f"/v1/experiments/{made['id']}")
        return Outcome()

    yield attack


def audit_after(server: Server) -> Outcome:
    """What the audit has after the next start, which prunes it."""
    with Client(server.http) as admin:

        def entries(query: str) -> int:
            return len(admin.ask("GET", f"/v1/audit?limit=1000{query}")["entries"])

        try:
            until(lambda: entries("&user_id=mallory"), lambda number: number < AUDIT_ROWS)
        except TimeoutError:
            return Outcome("the audit was not pruned", kept=False)
        created, own = entries("&action=key.create"), entries("&user_id=mallory")
    remark = f"{own} of {2 * EXPERIMENTS} entries of the user are kept, and {created} key.create"
    return Outcome(remark, kept=created == 1)
