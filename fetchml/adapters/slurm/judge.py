"""Decides whether an attempt without a record of its end is over, by what Slurm reports."""

from contextlib import suppress
from functools import partial
from pathlib import Path

from fetchml.adapters.shim_command import NO_ROOM_TO_START, VOLUME_REPLACED
from fetchml.adapters.slurm import start_files
from fetchml.adapters.slurm.follower import Followed, Follower
from fetchml.adapters.slurm.job import Job
from fetchml.adapters.slurm.start_files import Records
from fetchml.adapters.slurm.submits import Submits
from fetchml.adapters.slurm.transports.transport import SlurmAway
from fetchml.adapters.slurm.verdicts import (
    LOCAL_SETTLE_SECONDS,
    SEARCHED_CHARACTERS,
    SETTLE_SECONDS,
    Silence,
    exit_of_claimed,
    exit_of_unclaimed,
)
from fetchml.files.shared_disk import SharedDisk, is_local
from fetchml.ports.launcher import AttemptExit, LaunchSpec
from fetchml.shim import NO_ROOM, WRONG_VOLUME


class Judge:
    """Used from one event loop."""

    def __init__(
        self,
        follower: Follower,
        submits: Submits,
        disk: SharedDisk,
        shared_dir: Path,
        lost_after_seconds: int,
    ) -> None:
        self._follower = follower
        self._submits = submits
        self._disk = disk
        self._shared_dir = shared_dir
        self._lost_after = lost_after_seconds
        self._settle_seconds: float | None = None
        """Of a job that has ended; `None` until it is needed."""

    async def exit_of(
        self, run: LaunchSpec, followed: Followed, records: Records, silence: Silence
    ) -> AttemptExit | None:
        """Return the attempt's exit; `None` while it is not over, or not known to be."""
        job = followed.job
        stopping = followed.name in self._submits.stopping
        if records.is_claimed:
            if not silence.begin_if(followed.is_missing if job is None else job.is_over):
                return None
            settle_seconds = await self._settles_in(job)
            if silence.seconds >= settle_seconds and job is not None and not job.node_failed:
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
                settle_seconds=settle_seconds,
            )
        if not silence.begin_if(job is not None and job.is_over) or job is None:
            return None
        if silence.seconds < await self._settles_in(job):
            return None if not stopping else AttemptExit()
        with suppress(SlurmAway):  # A poll of squeue has no exit code.
            job = await self._follower.look(followed) or job
        if job.code == NO_ROOM:
            return NO_ROOM_TO_START
        if job.code == WRONG_VOLUME:
            return VOLUME_REPLACED
        said = await self._disk(partial(start_files.output_end, run.folder, SEARCHED_CHARACTERS))
        return AttemptExit() if stopping else exit_of_unclaimed(job, said)

    async def _settles_in(self, job: Job | None) -> float:
        """Return how late the shim's last records may be seen, in seconds. Where its node is silent
        or its job is not to be found, the shim may still be at work."""
        if job is None or job.node_failed:
            return SETTLE_SECONDS
        if self._settle_seconds is None:
            try:
                local = await self._disk(partial(is_local, self._shared_dir))
            except OSError:
                return SETTLE_SECONDS
            self._settle_seconds = LOCAL_SETTLE_SECONDS if local else SETTLE_SECONDS
        return self._settle_seconds
