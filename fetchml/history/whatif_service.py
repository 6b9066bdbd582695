"""Replays of a recorded period. Verbs raise `errors.RequestError`."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from fetchml.core import permissions
from fetchml.core.audit import OK, Action
from fetchml.core.bookings.booking import Booking
from fetchml.core.events import GpuDrained
from fetchml.core.model import Principal
from fetchml.core.permissions import AdminOnly
from fetchml.core.requests.checks import shown_time
from fetchml.core.scheduling.resources import Limits
from fetchml.core.state import State
from fetchml.core.whatif import request
from fetchml.core.whatif.replay import Host
from fetchml.core.whatif.whatif import Changed, Question, WhatIf
from fetchml.errors import Conflict, DiskFull, FieldViolation, Unavailable, ValidationFailed, forbid
from fetchml.history.child_process import child_process, fault, scratch_folder
from fetchml.history.whatif_process import SECONDS, TOO_MUCH_MEMORY
from fetchml.ports.store import AuditQuery, ReadTooLong, Store

LimitsWith = Callable[[Mapping[str, str]], tuple[Limits, tuple[Changed, ...]]]
"""Returns the limits with other settings, and what differs. Raises ValidationFailed."""
PROCESS = "fetchml.history.whatif_process"
TOO_LONG = f"the replay takes longer than {SECONDS} s: choose a shorter period"
MOST_ENTRIES = 1_000
"""Entries of the audit that are read of one action: the newest."""

log = logging.getLogger(__name__)


class WhatIfs:
    """Used from one event loop. One replay runs at a time, in a process of its own."""

    def __init__(
        self, store: Store, state: State, limits_with: LimitsWith, *, clock: Callable[[], int]
    ) -> None:
        self._store = store
        self._state = state
        self._limits_with = limits_with
        self._clock = clock
        self._turn = asyncio.Lock()

    async def replay(self, who: Principal, fields: Mapping[str, object]) -> WhatIf:
        """Replay a period with other settings, `WhatIfRequest`."""
        forbid(permissions.refusal(who, AdminOnly.REPLAYS))
        if self._state.limits.cluster is not None:
            raise Conflict("The cluster decides when tasks start: ask its administrators")
        asked, since, until, wrong = request.read(fields, self._clock())
        if wrong:
            raise ValidationFailed([FieldViolation(*violation) for violation in wrong])
        limits, changes = self._limits_with(asked.settings)
        async with self._turn, scratch_folder(self._store.history.folder) as folder:
            if not self._store.has_room():
                raise DiskFull
            since, notes = await self._write(since, until, folder)
            host = await self._host(since)
            other = host._replace(limits=limits)
            if asked.gpus is not None and asked.gpus != host.gpu_count:
                changes += (Changed("gpus", str(host.gpu_count), str(asked.gpus)),)
                other = request.with_gpus(other, asked.gpus, since)
            question = Question(since, until, host, other, changes, tuple(notes))
            try:
                async with (
                    asyncio.timeout(SECONDS),
                    child_process(PROCESS, folder, "since", TOO_MUCH_MEMORY) as process,
                ):
                    return msgspec.convert(await process.ask(question), WhatIf)
            except TimeoutError:
                raise fault("since", TOO_LONG) from None

    async def _host(self, since: int) -> Host:
        """Return the host as it is, with the drains and bookings since a time."""
        limits, pool = self._state.limits, self._state.gpus
        gpus = () if limits.capacity.gpu else tuple(pool.inventory.values())
        bookings = await self._store.list_documents("booking")
        return Host(
            limits,
            limits.capacity.gpu or len(gpus),
            tuple(msgspec.structs.replace(gpu, blocked=None) for gpu in gpus),
            tuple(await self._drains(since)),
            tuple(msgspec.json.decode(each, type=Booking) for each in bookings),
        )

    async def _drains(self, since: int) -> list[GpuDrained]:
        drains: list[GpuDrained] = []
        for action in (Action.GPU_DRAIN, Action.GPU_UNDRAIN):
            query = AuditQuery(action=action, since=since, limit=MOST_ENTRIES)
            for entry in await self._store.list_audit(query):
                if entry.target is not None and entry.outcome == OK:
                    by = entry.user if action is Action.GPU_DRAIN else None
                    drains.append(GpuDrained(entry.at, entry.target, by))
        drains.sort(key=lambda drain: drain.now)
        first = {drain.uuid: drain.by for drain in reversed(drains)}
        now = self._state.gpus.drained
        at_first = {uuid for uuid, by in first.items() if by is None} | now.keys() - first.keys()
        return [*(GpuDrained(since, uuid, now.get(uuid, "")) for uuid in sorted(at_first)), *drains]

    async def _write(self, since: int, until: int, folder: Path) -> tuple[int, list[str]]:
        """Write the recording. Return its begin, and what users have to know of it."""
        try:
            recorded = await self._store.history.export_period(since, folder)
        except ReadTooLong:
            raise Unavailable("The journal takes too long to read: try again later") from None
        except OSError as error:
            log.warning("the journal cannot be exported: %s", error)
            raise Unavailable("The journal cannot be read: the server's log has why") from error
        begin = shown_time(recorded.since)
        if recorded.since >= until:
            raise fault("until", f"must be after {begin}, the first change that the journal has")
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
        return recorded.since, notes
