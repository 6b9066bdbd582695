"""The server's copy of its store for a backup: cancellation, failures and leftovers."""

import asyncio
import errno
import os
import signal
import subprocess
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import grpc
import pytest

from fetchml.backup.store_copy import PREFIX, StoreCopies
from fetchml.core.model import Principal, Role
from fetchml.errors import Unavailable
from fetchml.v1 import backup_pb2
from fetchml.v1.backup_pb2_grpc import BackupServiceServicer, add_BackupServiceServicer_to_server
from tests.support.cli_server import FETCHML, SECONDS, environment
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from fetchml.ports.store import Store

OWNER = Principal("owner", Role.ADMIN, "key")


class SlowStore:
    """Its copies fill their folders in a thread, until they are let go."""

    def __init__(self) -> None:
        self.begun = threading.Semaphore(0)
        self.go_on = threading.Semaphore(0)
        self.at_work = 0
        self.fails: OSError | None = None

    async def copy(self, folder: Path) -> None:
        await asyncio.to_thread(self._copy, folder)

    def _copy(self, folder: Path) -> None:
        self.at_work += 1
        (folder / "first").write_bytes(b"rows")
        self.begun.release()
        assert self.go_on.acquire(timeout=SECONDS)
        if self.fails:
            raise self.fails
        (folder / "second").write_bytes(b"rows")
        self.at_work -= 1

    async def has_begun(self) -> None:
        assert await asyncio.to_thread(self.begun.acquire, timeout=SECONDS)


@pytest.fixture
def store() -> SlowStore:
    return SlowStore()


@pytest.fixture
def copies(store: SlowStore, tmp_path: Path) -> StoreCopies:
    return StoreCopies(cast("Store", store), tmp_path, OWNER)


def left(data_dir: Path) -> list[str]:
    return [path.name for path in data_dir.glob(f"{PREFIX}*")]


async def test_cancelled_copy_leaves_nothing(
    store: SlowStore, copies: StoreCopies, tmp_path: Path
) -> None:
    first = asyncio.create_task(copies.make(OWNER))
    await store.has_begun()
    second = asyncio.create_task(copies.make(OWNER))
    for _ in range(3):  # The client leaves, then the server stops.
        first.cancel()
        await asyncio.sleep(0.05)
    assert not first.done()
    assert store.at_work == 1
    assert len(left(tmp_path)) == 1, "the second waits for the first one's thread"
    store.go_on.release()
    with pytest.raises(asyncio.CancelledError):
        await first
    await store.has_begun()
    assert store.at_work == 1
    store.go_on.release()
    assert left(tmp_path) == [await second]


async def test_copy_cancelled_while_waiting_leaves_nothing(
    store: SlowStore, copies: StoreCopies, tmp_path: Path
) -> None:
    first = asyncio.create_task(copies.make(OWNER))
    await store.has_begun()
    second = asyncio.create_task(copies.make(OWNER))
    await asyncio.sleep(0)
    second.cancel()
    with pytest.raises(asyncio.CancelledError):
        await second
    store.go_on.release()
    assert left(tmp_path) == [await first]


@pytest.mark.parametrize("cancelled", [False, True])
async def test_failed_copy_leaves_nothing(
    store: SlowStore, copies: StoreCopies, tmp_path: Path, *, cancelled: bool
) -> None:
    store.fails = OSError(errno.EIO, os.strerror(errno.EIO))
    making = asyncio.create_task(copies.make(OWNER))
    await store.has_begun()
    if cancelled:
        making.cancel()
        await asyncio.sleep(0)
    store.go_on.release()
    with pytest.raises(asyncio.CancelledError if cancelled else Unavailable):
        await making
    assert not left(tmp_path)


async def test_copy_without_a_writable_folder_reports_the_reason(
    store: SlowStore, tmp_path: Path
) -> None:
    copies = StoreCopies(cast("Store", store), tmp_path / "gone", OWNER)
    with pytest.raises(Unavailable, match="No such file"):
        await copies.make(OWNER)


class Copying(BackupServiceServicer):
    """The control socket's service, without the rest of a server."""

    def __init__(self, copies: StoreCopies) -> None:
        self._copies = copies
        self.seconds_given: float | None = None
        self.call: asyncio.Task[Any] | None = None

    async def CopyStore(self, _: object, context: Any) -> backup_pb2.CopyStoreResponse:  # noqa: N802
        self.seconds_given = context.time_remaining()
        self.call = asyncio.current_task()
        return backup_pb2.CopyStoreResponse(folder=await self._copies.make(OWNER))


@pytest.fixture
async def copying(copies: StoreCopies, tmp_path: Path) -> AsyncIterator[Copying]:
    service = Copying(copies)
    server = grpc.aio.server()
    add_BackupServiceServicer_to_server(service, server)
    server.add_insecure_port(f"unix:{tmp_path}/control.sock")
    await server.start()
    yield service
    await server.stop(None)


def begin_backup(data_dir: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*FETCHML, "backup", str(data_dir / "backup.tar"), "--data-dir", str(data_dir)],
        stderr=subprocess.PIPE,
        env=environment(),
        text=True,
    )


async def test_interrupt_cancels_the_copy_in_the_server(
    store: SlowStore, copying: Copying, tmp_path: Path
) -> None:
    command = begin_backup(tmp_path)
    await store.has_begun()
    command.send_signal(signal.SIGINT)
    await asyncio.to_thread(command.communicate, timeout=SECONDS)
    assert command.returncode == 130
    call = copying.call
    assert call is not None
    await eventually(lambda: call.cancelling() > 0)
    assert left(tmp_path)
    store.go_on.release()
    await eventually(call.done)
    assert not left(tmp_path)
    assert copying.seconds_given is not None
    assert copying.seconds_given > 3600, "a large store takes its time"
    assert not (tmp_path / "backup.tar").exists()
