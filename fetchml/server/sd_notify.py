"""Notifications for systemd (`Type=notify`). Without systemd nothing happens."""

import asyncio
import contextlib
import os
import socket


def notify(state: str) -> None:
    """`READY=1` and the like. A lost word is no reason to fail."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as to:
        to.setblocking(False)
        to.sendto(state.encode(), address)


def ready() -> asyncio.Task[None]:
    """Report that the server is ready, and then that it is alive, until the task is cancelled."""
    notify("READY=1")
    return asyncio.create_task(_notify_watchdog())


async def _notify_watchdog() -> None:
    """From the event loop, for good: one that is stuck for the unit's `WatchdogSec` is ended."""
    interval = int(os.environ.get("WATCHDOG_USEC") or 0) / 1_000_000
    while interval > 0:
        notify("WATCHDOG=1")
        await asyncio.sleep(interval / 3)
