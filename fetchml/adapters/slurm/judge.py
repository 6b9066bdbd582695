"""Decides whether an attempt without a record of its end is over, by what Slurm reports."""

from contextlib import suppress
from functools import partial

from fetchml.adapters.shim_command import NO_ROOM_TO_START
from fetchml.adapters.slurm import start_files
from fetchml.adapters.slurm.follower import Followed, Follower
from fetchml.adapters.slurm.start_files import Records
from fetchml.adapters.slurm.submits import Submits
from fetchml.adapters.slurm.transports.transport import SlurmAway
from fetchml.adapters.slurm.verdicts import (
    SEARCHED_CHARACTERS,
    SETTLE_SECONDS,
    Silence,
    exit_of_claimed,
    exit_of_unclaimed,
)
from fetchml.files.shared_disk import SharedDisk
from fetchml.ports.launcher import AttemptExit, LaunchSpec
from fetchml.shim import NO_ROOM


class Judge:
    """Used from one event loop."""

    def __init__(
        self, follower: Follower, submits: Submits, disk: SharedDisk, lost_after_seconds: int
    ) -> None:
        self._follower = follower
        self._submits = submits
        self._disk = disk
        self._lost_after = lost_after_seconds

    async def exit_of(
        self, run: LaunchSpec, followed: Followed, records: Records, silence: Silence
    ) -> AttemptExit | None:
        """Return the attempt's exit; `None` while it is not over, or not known to be."""
        job = followed.job
        stopping = followed.name in self._submits.stopping
        if records.is_claimed:
            if not silence.begin_if(followed.is_missing if job is None else job.is_over):
                return None
            if silence.seconds >= SETTLE_SECONDS and job is not None and not job.node_failed:
                try:
                    if not await self._submits.can_be_claimed_by(followed):
                        return None
                except SlurmAway:
                    return None
            if records.renewal is not None and not followed.lease_seconds:
                with suppress(OSError, ValueError):  # The task may have spoilt it.
                    known = await self._disk(partial(start_files.submission, run.folder))
                    followed.lease_seconds = known.lease_seconds
            return exit_of_claimed(
                job,
                silent_seconds=silence.seconds,
                lost_after=self._lost_after,
                was_stopped=stopping,
                lease_is_over=silence.lease.is_over(records.renewal, followed.lease_seconds),
            )
        if not silence.begin_if(job is not None and job.is_over) or job is None:
            return None
        if silence.seconds < SETTLE_SECONDS:
            return None if not stopping else AttemptExit()
        with suppress(SlurmAway):  # A poll of squeue has no exit code.
            job = await self._follower.look(followed) or job
        if job.code == NO_ROOM:
            return NO_ROOM_TO_START
        said = await self._disk(partial(start_files.output_end, run.folder, SEARCHED_CHARACTERS))
        return AttemptExit() if stopping else exit_of_unclaimed(job, said)
