"""The exit of an attempt, by the records of its shim and the state of its Slurm job."""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

from msgspec.structs import replace

from fetchml.adapters.shim_command import NO_ROOM_TO_START, VOLUME_REPLACED
from fetchml.adapters.slurm import start_files
from fetchml.adapters.slurm.follower import Followed, Follower
from fetchml.adapters.slurm.job import Job
from fetchml.adapters.slurm.start_files import SHOWN_CHARACTERS, Records
from fetchml.adapters.slurm.submits import Submits
from fetchml.adapters.slurm.transport import SlurmAway
from fetchml.core.model import AttemptEnd
from fetchml.core.scheduling.lost_attempts import counts_as_lost, lease_is_over
from fetchml.core.verdict import may_be_from_outside
from fetchml.files.shared_disk import SharedDisk, is_local
from fetchml.ports.launcher import AttemptExit, LaunchSpec
from fetchml.shim import CLAIM_EXISTS, NO_ROOM, WRONG_VOLUME

SETTLE_SECONDS = 5.0
"""Time after a job's end in which the shim's last records may appear through a network disk."""
LOCAL_SETTLE_SECONDS = 0.5
"""The same if the shared folder is on a local disk."""
ASK_SECONDS = 30.0
"""Longest wait for the state of a job. After it the shim's record stands."""
AGAIN_SECONDS = 0.25

_BY_SLURM = frozenset(
    ["BOOT_FAIL", "CANCELLED", "DEADLINE", "LAUNCH_FAILED", "NODE_FAIL", "PREEMPTED", "REVOKED"]
)


SEARCHED_CHARACTERS = 2_000
"""Characters at the end of a job's output that may be about its image: its path, three times."""
_NO_IMAGE = re.compile(
    # Replies of registries, which Podman and Apptainer repeat.
    r"manifest[ _]unknown|name[ _]unknown|unauthorized"
    r"|access to the (?:requested )?resource is (?:denied|not authorized)"
    r"|no (?:matching manifest|image found in (?:image index|manifest list))"
    r"|invalid reference format"
    r"|image not known|did not resolve to an alias"  # Podman
    r"|could not open image .*no such file or directory"  # Apptainer
    r"|error code: 40[134]\b|no such file or directory: \S+\.(?:sqsh|squashfs)\b",  # enroot
    re.IGNORECASE,
)
"""Messages of container programs about an image that no retry will find. A registry that does not
answer, or a full disk, is not among them."""


class LeaseWatch:
    """Observes the renewals of one attempt's lease."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._renewal: int | None = None
        self._seen_at = 0.0
        self._began = 0.0

    def begin(self) -> None:
        """A reading of the attempt's folder begins."""
        self._began = self._clock()

    def is_over(self, renewal: int | None, lease_seconds: int) -> bool:
        """Whether the attempt has no process left. `renewal`: what the reading has found; `None` if
        the attempt has no lease.

        A renewal counts from the moment at which it was seen, which is after it was made. It was
        the last one if a later reading, which began after that time, found no other.
        """
        if renewal is None:
            return False
        if renewal != self._renewal:
            self._renewal, self._seen_at = renewal, self._clock()
            return False
        return lease_is_over(self._began - self._seen_at, lease_seconds)


class Silence:
    """Time since an attempt without a record of its end has no living job."""

    def __init__(self) -> None:
        self._since: float | None = None
        self.lease = LeaseWatch()

    def begin_if(self, silent: bool) -> bool:
        """Note whether the job has ended or is missing; return that."""
        if not silent:
            self._since = None
        elif self._since is None:
            self._since = time.monotonic()
        return silent

    @property
    def seconds(self) -> float:
        return 0.0 if self._since is None else time.monotonic() - self._since


def exit_of_claimed(
    job: Job | None,
    *,
    silent_seconds: float,
    lost_after: int,
    was_stopped: bool,
    lease_is_over: bool = False,
    settle_seconds: float = SETTLE_SECONDS,
) -> AttemptExit | None:
    """The exit of an attempt that a shim has claimed and whose end it has not recorded.

    `None` while its processes may still run: Slurm has no record of the job, or gave it up because
    its node is silent. Then its lease decides, `lost_after`, or the wish to stop it: it is not
    started again. `settle_seconds`: how late its records may be seen."""
    if silent_seconds < settle_seconds:
        return None
    if job is not None and not job.node_failed:
        seen = exit_of_ended(job)
        return seen if seen.lost else replace(seen, lost=f"Slurm ended its job: {job.ended_as}")
    if lease_is_over or counts_as_lost(silent_seconds, lost_after, given_up=was_stopped):
        if job is None:
            return AttemptExit(lost="Slurm has lost its job")
        return AttemptExit(lost=f"its node is silent: {job.ended_as}")
    return None


def exit_of_ended(job: Job) -> AttemptExit:
    """Return the exit of an attempt by the final state of its job; empty if the task ended
    itself."""
    if "OUT_OF_MEMORY" in job.state:
        why = "it used more memory than it requested, and Slurm ended it"
        return AttemptExit(out_of_memory=True, lost=why)
    if "TIMEOUT" in job.state:
        # A retry would only meet the same limit, after the same time.
        why = "it reached a time limit of Slurm: request a shorter timeout_seconds, or ask the site"
        return AttemptExit(timed_out=True, lost=why)
    if _BY_SLURM & set(job.state):
        return AttemptExit(lost=f"Slurm ended its job: {job.ended_as}")
    return AttemptExit()


def exit_of_unclaimed(job: Job, output: str) -> AttemptExit:
    """The exit of an attempt whose job ended before any shim claimed it. `output`: the end of
    what the job printed."""
    shown = output[-SHOWN_CHARACTERS:]
    if "FAILED" in job.state and _NO_IMAGE.search(output):
        return AttemptExit(lost=f"its node cannot get the task's image: {shown}", no_image=True)
    more = f": {shown}" if output else ""
    return AttemptExit(lost=f"Slurm ended its job before the command started: {job.ended_as}{more}")


class ExitResolver:
    """Decides whether an attempt without a record of its end is over. Used from one event loop."""

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
        """Return the attempt's exit; `None` while it may not be over."""
        job = followed.job
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
                    recorded = await self._disk(partial(start_files.submission, run.folder))
                    followed.lease_seconds = recorded.lease_seconds
            return exit_of_claimed(
                job,
                silent_seconds=silence.seconds,
                lost_after=self._lost_after,
                was_stopped=followed.is_stopping,
                lease_is_over=silence.lease.is_over(records.renewal, followed.lease_seconds),
                settle_seconds=settle_seconds,
            )
        if not silence.begin_if(job is not None and job.is_over) or job is None:
            return None
        if silence.seconds < await self._settles_in(job):
            return None if not followed.is_stopping else AttemptExit()
        with suppress(SlurmAway):  # A poll of squeue has no exit code.
            job = await self._follower.refresh(followed) or job
        if job.code == NO_ROOM:
            return NO_ROOM_TO_START
        if job.code == WRONG_VOLUME:
            return VOLUME_REPLACED
        if followed.is_stopping:
            return AttemptExit()
        reading = partial(start_files.output_end, run.folder, SEARCHED_CHARACTERS)
        return exit_of_unclaimed(job, await self._disk(reading))

    async def _settles_in(self, job: Job | None) -> float:
        """Return in how many seconds the shim's last records may still appear. If its node is
        silent or its job is missing, the shim may still be at work."""
        if job is None or job.node_failed:
            return SETTLE_SECONDS
        if self._settle_seconds is None:
            try:
                local = await self._disk(partial(is_local, self._shared_dir))
            except OSError:
                return SETTLE_SECONDS
            self._settle_seconds = LOCAL_SETTLE_SECONDS if local else SETTLE_SECONDS
        return self._settle_seconds


async def exit_of_recorded(
    follower: Follower,
    search: Callable[[Followed], Awaitable[Job | None]],
    followed: Followed,
    end: AttemptEnd,
    ask_seconds: float = ASK_SECONDS,
) -> AttemptExit:
    """Return what Slurm adds to the shim's record of an end; nothing if it does not answer in time.

    Slurm sends its signals to all processes of a job at once. A shim whose command has died by one
    of them cannot always recognize that the signal was meant for itself too. So the state of the
    job, which Slurm sets before it sends a signal, tells whether an end by a signal is the task's
    own. `search` finds the job of an attempt by its name, and raises SlurmAway.
    """
    if not may_be_from_outside(end):
        return AttemptExit()
    with suppress(TimeoutError):
        async with asyncio.timeout(ask_seconds):
            while True:
                await follower.answers.wait()
                with suppress(SlurmAway):
                    job = await follower.refresh(followed)
                    if job is not None and job.code == CLAIM_EXISTS:
                        followed.lose()  # Another one has run the command.
                        job = None
                    if job is None:
                        job = await search(followed)
                    if job is None:
                        break  # Slurm has lost it, and had no part in its end.
                    if job.has_outcome:
                        return exit_of_ended(job)
                await asyncio.sleep(AGAIN_SECONDS)
    return AttemptExit()
