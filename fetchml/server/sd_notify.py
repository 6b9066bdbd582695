"""Notifications for systemd (`Type=notify`). Without systemd nothing happens."""

import asyncio
import contextlib
import os
import socket


def notify(state: str) -> None:
    """Send a state such as `READY=1`. Errors are ignored."""
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
    """Report from the event loop that it is alive: systemd ends the server if it is stuck for
    `WatchdogSec`."""
    interval = int(os.environ.get("WATCHDOG_USEC") or 0) / 1_000_000
    while interval > 0:
        notify("WATCHDOG=1")
        await asyncio.sleep(interval / 3)
