"""Replays of a recorded period. Verbs raise `errors.RequestError`."""

import asyncio
import logging
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from fetchml.core import permissions
from fetchml.core.audit import OK, Action
from fetchml.core.bookings.booking import Booking
from fetchml.core.events import GpuDrained
from fetchml.core.model import Principal
from fetchml.core.permissions import AdminOnly
from fetchml.core.requests.checks import shown_time
from fetchml.core.state import State
from fetchml.core.whatif import request
from fetchml.core.whatif.replay import Host
from fetchml.core.whatif.request import Period
from fetchml.core.whatif.whatif import Question, WhatIf
from fetchml.errors import Conflict, DiskFull, FieldViolation, Unavailable, ValidationFailed, forbid
from fetchml.history.whatif_process import SECONDS, TOO_MUCH_MEMORY
from fetchml.ports.store import AuditQuery, ReadTooLong, Store
from fetchml.system import own_program
from fetchml.system.threads import run_in_thread, wait_for_end

TOO_LONG = f"the replay takes longer than {SECONDS} s: choose a shorter period"
MOST_ENTRIES = 1_000
"""Entries of the audit that are read of one action: the newest."""

log = logging.getLogger(__name__)


class _Drained(msgspec.Struct):
    """As `engine.gpus` stores it."""

    uuid: str
    by: str
    at: int


class WhatIfs:
    """Used from one event loop. One replay runs at a time, in a process of its own."""

    def __init__(self, store: Store, state: State, *, clock: Callable[[], int]) -> None:
        self._store = store
        self._state = state
        self._clock = clock
        self._turn = asyncio.Lock()

    async def replay(self, who: Principal, fields: Mapping[str, object]) -> WhatIf:
        """Replay a period with other settings, `WhatIfRequest`."""
        forbid(permissions.refusal(who, AdminOnly.REPLAYS))
        if self._state.limits.cluster is not None:
            raise Conflict("The cluster decides when tasks start: ask its administrators")
        host = await self._host()
        period, other, changes, wrong = request.read(fields, host, self._clock())
        if wrong:
            raise ValidationFailed([FieldViolation(*violation) for violation in wrong])
        async with self._turn:
            if not self._store.has_room():
                raise DiskFull
            folder = Path(await run_in_thread(tempfile.mkdtemp, dir=self._store.history.folder))
            try:
                since, notes = await self._write(period, folder)
                question = Question(since, period.until, host, other, tuple(changes), tuple(notes))
                return await _answer(question, folder)
            finally:
                await run_in_thread(shutil.rmtree, folder, ignore_errors=True)

    async def _host(self) -> Host:
        """Return the host as it is, with the drains and bookings of all times."""
        pool = self._state.gpus
        has_plain_slots = self._state.limits.capacity.gpu > 0
        gpus = [] if has_plain_slots else pool.inventory.values()
        bookings = await self._store.list_documents("booking")
        return Host(
            self._state.limits,
            tuple(msgspec.structs.replace(gpu, blocked=None) for gpu in gpus),
            tuple(await self._drains()),
            tuple(msgspec.json.decode(each, type=Booking) for each in bookings),
        )

    async def _drains(self) -> list[GpuDrained]:
        records = await self._store.list_documents("gpu")
        drained = [msgspec.json.decode(each, type=_Drained) for each in records]
        drains = [GpuDrained(each.at, each.uuid, each.by) for each in drained]
        for action in (Action.GPU_DRAIN, Action.GPU_UNDRAIN):
            for entry in await self._store.list_audit(
                AuditQuery(action=action, limit=MOST_ENTRIES)
            ):
                if entry.target is not None and entry.outcome == OK:
                    by = entry.user if action is Action.GPU_DRAIN else None
                    drains.append(GpuDrained(entry.at, entry.target, by))
        drains.sort(key=lambda drain: drain.now)
        first = {drain.uuid: drain for drain in reversed(drains)}
        # Drained before the oldest entry.
        before = [GpuDrained(0, uuid, "") for uuid, drain in first.items() if drain.by is None]
        return before + drains

    async def _write(self, period: Period, folder: Path) -> tuple[int, list[str]]:
        """Write the recording. Return its begin, and what users have to know of it."""
        try:
            recorded = await self._store.history.export_period(period.since, folder)
        except ReadTooLong:
            raise Unavailable("The journal takes too long to read: try again later") from None
        except OSError as error:
            log.warning("the journal cannot be exported: %s", error)
            raise Unavailable("The journal cannot be read: the server's log has why") from error
        begin = shown_time(recorded.since)
        if recorded.since >= period.until:
            rule = f"must be after {begin}, the first change that the journal has"
            raise ValidationFailed([FieldViolation("until", rule)])
        notes = []
        if recorded.is_cut:
            notes.append(
                f"The period begins at {begin}: the journal has no older changes "
                "([history] journal_rows)"
            )
        if self._state.limits.packing is not None:
            notes.append(
                "GPUs are shared by measured peaks of memory ([gpu] packing), which the journal "
                "does not have: in the replay every job has a GPU of its own"
            )
        query = AuditQuery(action=Action.BOOKING_DELETE, since=recorded.since, limit=1)
        if await self._store.list_audit(query):
            notes.append("Reservations that were removed since then are missing in the replay")
        return recorded.since, notes


async def _answer(question: Question, folder: Path) -> WhatIf:
    process = await asyncio.create_subprocess_exec(
        *own_program.command("fetchml.history.whatif_process"),
        cwd=folder,
        env=own_program.environment(),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(SECONDS):
            answer, _ = await process.communicate(msgspec.json.encode(question) + b"\n")
        found: dict[str, Any] = msgspec.json.decode(answer)
    except TimeoutError:
        raise _fault(TOO_LONG) from None
    except msgspec.DecodeError:  # It has ended.
        log.warning("the process of a replay has ended: %s", process.returncode)
        raise _fault(TOO_MUCH_MEMORY) from None
    finally:
        if process.returncode is None:
            process.kill()
            await wait_for_end(asyncio.ensure_future(process.wait()))
    if "error" in found:
        raise _fault(str(found["error"]))
    return msgspec.convert(found, WhatIf)


def _fault(rule: str) -> ValidationFailed:
    return ValidationFailed([FieldViolation("since", rule)])
