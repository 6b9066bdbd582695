"""What hostile clients cost: the growth of the server's memory, and how long others wait."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import NamedTuple

from benchmarks import hostile_calls, hostile_requests
from benchmarks.figures import Benchmark, Figure
from benchmarks.other_work import HEALTH_EVERY_SECONDS
from benchmarks.processes import NO_QUOTAS, Server, elsewhere, fetchml, scratch_folder
from fetchml.api.http.reply import REPLIES_BY_CALLER

MIB = 1 << 20
IDLE_SECONDS = 1.0
ASK_SECONDS = 0.5
"""Longest wait for the process that asks for /health to notice the end of an attack."""
SAMPLE_SECONDS = 0.02
ATTACK_SECONDS = 1.5
"""An attack on the loop is repeated for so long: many requests for `/health` meet it."""
UNREAD_MIB = 2 * REPLIES_BY_CALLER // MIB
"""A key's budget of unread replies, and as much for pages while they are made."""
OTHERS_ADDRESS = "127.0.0.2"
TURN_MS = 20
TRIES = 3
"""Of an attack on the loop, of which the quietest counts: a busy machine makes single ones slow,
a long turn all of them."""

Attack = Callable[[], str]
"""Returns a remark when it is over; what it holds is measured until then."""
Prepared = Callable[[Server], AbstractContextManager[Attack]]


class Row(NamedTuple):
    claim: str
    prepared: Prepared
    before: str
    """What it cost without limits."""
    most_mib: int | None = None
    """Target for the growth of the memory."""
    most_ms: int | None = None
    """Target for the slowest reply to others: one turn, or one for each request at once."""
    settings: Mapping[str, str] = {}


ROWS = (
    Row(
        "500 HTTP connections, each with 1 MB of an unfinished head, no key",
        hostile_requests.unfinished_heads,
        "+1,000 MiB",
        most_mib=100,
    ),
    Row(
        "100 gRPC calls, each with an unfinished message of 16 MiB, no key",
        hostile_calls.unfinished_messages,
        "+1,600 MiB",
        most_mib=50,
    ),
    Row(
        "12 lists of 60 tasks of 250 KB that nobody reads",
        hostile_requests.unread_lists,
        "+2,350 MiB with lists of 1,000",
        most_mib=UNREAD_MIB,
        settings={"tasks_max_running": "1"},
    ),
    Row(
        "210 addresses, each with 50 Health/Watch streams, no key",
        hostile_calls.health_watches,
        "all calls of others fail",
        most_mib=100,
        settings={"trusted_proxies": "127.0.0.0/8"},
    ),
    Row(
        "200 logins at a Jupyter service that never send their body, no token",
        hostile_requests.slow_logins,
        "the owner is locked out",
        most_mib=32,
        settings=hostile_requests.JUPYTER,
    ),
    Row(
        "15 sockets to a Jupyter service that sends messages of 32 MiB, which nobody reads",
        hostile_requests.unread_messages,
        "+1,900 MiB",
        most_mib=32,
        settings=hostile_requests.JUPYTER,
    ),
    Row(
        "args of a quote and 32,764 emoji",
        hostile_requests.quoted_emoji,
        "0.5 s",
        most_ms=TURN_MS,
    ),
    Row(
        "60 datasets with long mount paths",
        hostile_requests.long_mount_paths,
        "not measured",
        most_ms=TURN_MS,
    ),
    Row(
        "15 MB of refused batches over gRPC, in messages of 1 MB, one after the other",
        hostile_calls.refused_batch,
        "5.8 s for one message",
        most_ms=TURN_MS,
    ),
    Row(
        "the same, all 15 at once",
        hostile_calls.refused_batches,
        "not measured",
        most_ms=hostile_calls.BATCHES * TURN_MS,
    ),
    Row(
        "a list of 60 tasks of 250 KB, which is read",
        hostile_requests.large_list,
        "38 ms",
        most_ms=TURN_MS,
        settings={"tasks_max_running": "1"},
    ),
    Row(
        "watches that match none of 100,000 waiting tasks",
        hostile_calls.empty_watches,
        "not measured",
        most_ms=TURN_MS,
        settings={"tasks_max_running": "1", **NO_QUOTAS},
    ),
)


class Seen(NamedTuple):
    grown_mib: float
    slowest_ms: float
    """Of all replies to `GET /health` that another process asks for from another address."""
    idle_ms: float
    """The same before the attack."""
    remark: str


def run() -> Benchmark:
    for row in ROWS:
        yield _figure(row, min(_tries(row), key=lambda seen: seen.slowest_ms))


def slowest_health(address: str, server_pid: int, seconds: float) -> float:
    """Seconds of the slowest reply, in a process of its own. Not counted is how long the server's
    first thread, which has its event loop, and this one waited for a processor: on a busy machine
    that is longer than any turn."""
    queues = (Path(f"/proc/{server_pid}/task/{server_pid}/schedstat"), Path("/proc/self/schedstat"))

    def waited() -> float:
        return sum(int(queue.read_text().split()[1]) for queue in queues) / 1e9

    slowest = 0.0
    until = time.monotonic() + seconds
    with closing(HTTPConnection(address, source_address=(OTHERS_ADDRESS, 0))) as connection:
        while time.monotonic() < until:
            waited_before, began = waited(), time.perf_counter()
            connection.request("GET", "/health")
            reply = connection.getresponse()
            reply.read()
            took = time.perf_counter() - began
            slowest = max(slowest, took - (waited() - waited_before))
            if reply.status != 200:
                raise RuntimeError(f"health: {reply.status}")
            time.sleep(HEALTH_EVERY_SECONDS)
    return slowest


def _tries(row: Row) -> Iterator[Seen]:
    """With a server of the row's own: memory that one row leaves free would serve the next."""
    with (
        scratch_folder() as folder,
        fetchml(folder / "data", **row.settings) as server,
        row.prepared(server) as attack,
        elsewhere() as moved,
    ):

        def health(seconds: float) -> float:
            return moved(slowest_health)(server.http, server.process.pid, seconds) * 1000

        for _ in range(TRIES if row.most_ms else 1):
            idle_ms = health(IDLE_SECONDS)
            before = server.memory_bytes()
            with (
                _repeated(lambda: health(ASK_SECONDS)) as slowest_ms,
                _repeated(server.memory_bytes, SAMPLE_SECONDS) as memory,
            ):
                until = time.monotonic() + (ATTACK_SECONDS if row.most_ms else 0)
                remark = attack()
                while time.monotonic() < until:
                    remark = attack()
            yield Seen((max(memory) - before) / MIB, max(slowest_ms), idle_ms, remark)


@contextmanager
def _repeated(measure: Callable[[], float], every: float = 0) -> Iterator[list[float]]:
    """Measure at least once while inside, and until then; the list fills meanwhile."""
    measured: list[float] = []
    stop = threading.Event()

    def repeat() -> None:
        while True:
            measured.append(measure())
            if stop.wait(every):
                return

    thread = threading.Thread(target=repeat)
    thread.start()
    try:
        yield measured
    finally:
        stop.set()
        thread.join()


def _figure(row: Row, seen: Seen) -> Figure:
    measured = (
        f"{seen.grown_mib:+.0f} MiB; slowest health {seen.slowest_ms:.0f} ms, "
        f"idle {seen.idle_ms:.0f} ms"
    )
    if seen.remark:
        measured += f"; {seen.remark}"
    if row.most_ms:
        target, kept = f"health < {row.most_ms} ms", seen.slowest_ms < row.most_ms
    else:
        assert row.most_mib
        target, kept = f"< {row.most_mib} MiB", seen.grown_mib < row.most_mib
    return Figure(row.claim, f"without limits: {row.before}", measured, target, kept)
