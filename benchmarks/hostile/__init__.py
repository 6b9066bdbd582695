"""What hostile clients cost: the growth of the server's memory, the longest turn of its event
loop, and how long others wait."""

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import NamedTuple

from benchmarks.containers import IMAGE, some_engine
from benchmarks.figures import Benchmark, Figure, not_run
from benchmarks.hostile.attack import Outcome
from benchmarks.hostile.rows import ROWS, Row
from benchmarks.hostile.turn_meter import turn_meter
from benchmarks.other_work import HEALTH_EVERY_SECONDS
from benchmarks.processes import Server, elsewhere, fetchml, scratch_folder
from examples.local_image import build_base
from fetchml.adapters.duckdb.maintenance import IDLE_CHECKPOINT_BYTES
from testbed.docker_engine import existing_engine, why_no_private_engine

MIB = 1 << 20
IDLE_SECONDS = 1.0
ASK_SECONDS = 0.5
"""Longest wait for the process that asks for /health to notice the end of an attack."""
SAMPLE_SECONDS = 0.02
ATTACK_SECONDS = 1.5
"""An attack on the loop is repeated for so long: many requests for `/health` meet it."""
OTHERS_ADDRESS = "127.0.0.2"
TURN_MS = 150
"""Target for the longest turn. Long requests at one time share the turns."""
STILL_SECONDS = 1.0
STILL_WITHIN_SECONDS = 30.0
TRIES = 3
"""Tries of an attack on the loop, of which the quietest counts: a busy machine slows single ones,
a long turn all of them."""


class Seen(NamedTuple):
    grown_mib: float
    turn_ms: float
    """The longest turn of the event loop."""
    slowest_ms: float
    """Of all replies to `GET /health` that another process asks for from another address."""
    idle_ms: float
    """The same before the attack."""
    outcome: Outcome


def run() -> Benchmark:
    for row in ROWS:
        if row.in_container and existing_engine() is None and (why := why_no_private_engine()):
            yield not_run(row.claim, f"without limits: {row.before}", why)
        else:
            yield _figure(row, min(_tries(row), key=lambda seen: seen.turn_ms))


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
        turn_meter(folder / "turns") as meter,
        _backend(row, folder) as backend,
        elsewhere() as moved,
    ):

        def started() -> AbstractContextManager[Server]:
            program = (sys.executable, "-m", turn_meter.__module__, str(folder / "turns"))
            return fetchml(folder / "data", program=program, **row.settings, **backend)

        def health(server: Server, seconds: float) -> float:
            return moved(slowest_health)(server.http, server.process.pid, seconds) * 1000

        with started() as server, row.prepared(server) as attack:
            for _ in range(TRIES if row.on_loop else 1):
                idle_ms = health(server, IDLE_SECONDS)
                before = _still(server, folder / "data")
                meter.reset()
                with (
                    _repeated(lambda: health(server, ASK_SECONDS)) as slowest_ms,
                    _repeated(server.memory_bytes, SAMPLE_SECONDS) as memory,
                ):
                    until = time.monotonic() + (ATTACK_SECONDS if row.on_loop else 0)
                    outcome = attack()
                    while time.monotonic() < until:
                        outcome = attack()
                turn_ms = meter.longest * 1000
                grown = (max(memory) - before) / MIB
                seen = Seen(grown, turn_ms, max(slowest_ms), idle_ms, outcome)
                if row.after is None:
                    yield seen
        if row.after is not None:
            with started() as server:
                yield seen._replace(outcome=row.after(server))


def _still(server: Server, data_dir: Path) -> int:
    """Memory once it does not change any more: the database goes on with what it was given, and
    seconds later moves it from its log into its file, which takes memory too."""
    deadline = time.monotonic() + STILL_WITHIN_SECONDS
    while time.monotonic() < deadline and _log_bytes(data_dir) > IDLE_CHECKPOINT_BYTES:
        time.sleep(SAMPLE_SECONDS)
    last = server.memory_bytes()
    while time.monotonic() < deadline:
        time.sleep(STILL_SECONDS)
        before, last = last, server.memory_bytes()
        if abs(last - before) < MIB:
            break
    return last


def _log_bytes(data_dir: Path) -> int:
    """Bytes of the database's write-ahead log."""
    return sum(file.stat().st_size for file in data_dir.rglob("*.wal"))


@contextmanager
def _backend(row: Row, folder: Path) -> Iterator[dict[str, str]]:
    """Settings with which the server starts containers, if the row needs some."""
    with ExitStack() as stack:
        if not row.in_container:
            yield {}
            return
        engine = stack.enter_context(some_engine(folder))
        build_base(engine.client, IMAGE)
        stack.callback(engine.client.images.remove, IMAGE, force=True)
        yield {"launcher": "docker", "docker_host": engine.host, "tasks_image": IMAGE}


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
        f"{seen.grown_mib:+.0f} MiB; longest turn {seen.turn_ms:.0f} ms; slowest health "
        f"{seen.slowest_ms:.0f} ms, idle {seen.idle_ms:.0f} ms"
    )
    if seen.outcome.remark:
        measured += f"; {seen.outcome.remark}"
    targets, kept = [], seen.outcome.kept
    if row.most_mib is not None:
        targets.append(f"growth < {row.most_mib} MiB")
        kept = kept and seen.grown_mib < row.most_mib
    if row.on_loop:
        targets.append(f"turn < {TURN_MS} ms")
        kept = kept and seen.turn_ms < TURN_MS
    return Figure(row.claim, f"without limits: {row.before}", measured, ", ".join(targets), kept)
