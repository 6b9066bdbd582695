"""Waits for one of Slurm's commands, within bounds of time and output."""

import asyncio
from contextlib import suppress

from fetchml.adapters.slurm.transports.transport import CALL_SECONDS, SlurmAway

_MOST_BYTES = 256 << 20
"""Output of one command."""
_left: set[asyncio.Task[tuple[bytes, bytes]]] = set()
"""Commands that belong to another account and end by themselves."""


async def finish(
    process: asyncio.subprocess.Process, command: str, end_at: bytes | None
) -> tuple[int, str, str]:
    """Wait for a process, CALL_SECONDS at most; return its exit code, output and errors. It is
    killed when it prints the error `end_at`. Raises SlurmAway."""
    try:
        async with asyncio.timeout(CALL_SECONDS):
            out, errors, _ = await asyncio.gather(
                _read(process, process.stdout),
                _read(process, process.stderr, end_at),
                process.wait(),
            )
    except TimeoutError as error:
        raise SlurmAway(f"{command} did not end in {CALL_SECONDS:g} s") from error
    finally:
        if process.returncode is None:
            # Pipes with unread output would keep `wait` waiting.
            ending = asyncio.ensure_future(process.communicate())
            if _kill(process):
                await ending
            else:
                _left.add(ending)
                ending.add_done_callback(_left.discard)
    return process.returncode or 0, out.decode(errors="replace"), errors.decode(errors="replace")


async def _read(
    process: asyncio.subprocess.Process,
    stream: asyncio.StreamReader | None,
    end_at: bytes | None = None,
) -> bytearray:
    """Read to the end; kill the process when it has printed `end_at`, or too much. Raises SlurmAway
    if it printed too much."""
    text = bytearray()
    is_too_large = False
    while stream is not None and (part := await stream.read(1 << 16)):
        if not is_too_large:
            text += part
        is_too_large = len(text) > _MOST_BYTES
        has_enough = is_too_large or (end_at is not None and end_at in text)
        if has_enough and process.returncode is None:
            _kill(process)
    if is_too_large:
        raise SlurmAway(f"a command of Slurm printed more than {_MOST_BYTES >> 20} MiB")
    return text


def _kill(process: asyncio.subprocess.Process) -> bool:
    """Return whether it dies: sudo belongs to root, and nobody else may end it."""
    try:
        with suppress(ProcessLookupError):
            process.kill()
    except PermissionError:
        return False
    return True
