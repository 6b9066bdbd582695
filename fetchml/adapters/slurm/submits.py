"""The jobs of attempts: submitted once, found again, submitted again if Slurm lost them, ended."""

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from functools import partial

from msgspec.structs import replace

from fetchml.adapters.slurm import start_files
from fetchml.adapters.slurm.follower import Followed, Follower
from fetchml.adapters.slurm.job import ArrayTask, Job, Submission, number_of
from fetchml.adapters.slurm.start_files import Records
from fetchml.adapters.slurm.transport import (
    AccountAway,
    Refused,
    Signal,
    SlurmAway,
    SlurmTransport,
    TryAgain,
)
from fetchml.core.scheduling.hand_over import PROGRESS as HAND_OVER_PROGRESS
from fetchml.files.shared_disk import SharedDisk
from fetchml.ports.launcher import LaunchSpec, PrepareError
from fetchml.shim import CLAIM_EXISTS
from fetchml.system import failpoints
from fetchml.system.background import BackgroundWork

log = logging.getLogger(__name__)

SUBMITS_AT_ONCE = 16
AGAIN_SECONDS = 1.0
SEARCH_SECONDS = 5.0
"""Between two searches for the job of an attempt that is claimed."""
MOST_SIGNALS = 10
"""Times that a job which has not claimed its attempt is sent SIGTERM."""
REFUSED_SECONDS = 10.0
"""Between two submits of a job that Slurm refuses for now."""
PATIENCE_SECONDS = 60.0
"""Longest time that the jobs of an attempt that has ended get to end by themselves: the program
that ran its image may be removing the container, which would stay if it was killed."""

ACCOUNT_SECONDS = 5.0
"""Between two tries to submit as an account that cannot reach Slurm."""
SWEEP_SECONDS = 600.0
"""Interval of the sweeps for leftover jobs. There is one after each outage too; a restart of the
controller between two polls is not noticed."""


class Submits:
    """Submits the jobs of attempts, finds them again, and ends them. Used from one event loop."""

    def __init__(self, transport: SlurmTransport, follower: Follower, disk: SharedDisk) -> None:
        self._transport = transport
        self._follower = follower
        self._disk = disk
        self._limit = asyncio.Semaphore(SUBMITS_AT_ONCE)
        self._submitting: dict[str, asyncio.Task[int]] = {}
        """Requests under way, by the job's name. They go on if their caller is cancelled."""
        self._background = BackgroundWork()

    async def close(self) -> None:
        """Wait for the requests that are under way."""
        await self._background.wait()

    async def hand_over(
        self,
        followed: Followed,
        submission: Submission,
        progress: Callable[[str], None],
        *,
        search: bool,
    ) -> None:
        """Submit the attempt's job, unless there is one. Raises PrepareError if Slurm rejects it
        for good. `search`: whether there may be one."""
        name = followed.name
        progress(HAND_OVER_PROGRESS)
        if name in self._submitting:  # Its caller was cancelled, and is back.
            await self.after_submit(followed)
            search = True
        while True:
            try:
                if search:
                    followed.is_uncertain = True
                    if (job := await self._living(followed)) is not None:
                        followed.held_back = ""
                        self._follower.submitted(followed, job)
                        return
                number = await self._submit(submission, [name])
                break
            except AccountAway as error:
                self._hold_back(followed, str(error), progress)
                await asyncio.sleep(ACCOUNT_SECONDS)
            except SlurmAway as error:
                log.warning("a submit is uncertain: %s", error, extra={"job_name": name})
                await asyncio.sleep(AGAIN_SECONDS)
                await self._follower.answers.wait()
            except Refused as error:
                if error.permanent:
                    raise PrepareError(f"Slurm refuses it: {error}", permanent=True) from error
                self._hold_back(followed, str(error), progress)
                await asyncio.sleep(REFUSED_SECONDS)
            search = True  # The request may have failed after the job was created.
        followed.held_back = ""
        self._follower.submitted(followed, Job(number, ("PENDING",), name))
        failpoints.reach("handed_over")

    def _hold_back(self, followed: Followed, why: str, progress: Callable[[str], None]) -> None:
        if followed.held_back != why:
            followed.held_back = why
            log.info("a job is held back: %s", why, extra={"job_name": followed.name})
            progress(f"Slurm does not take it now: {why}")

    async def _submit(self, submission: Submission, names: Sequence[str]) -> int:
        """Submit the jobs with these names; return the id of the job, or of the array. The request
        goes on if the caller is cancelled: no job must appear unobserved."""

        async def submit() -> int:
            async with self._limit:
                return await self._transport.submit(submission)

        def forget(request: asyncio.Task[int]) -> None:
            for name in names:
                del self._submitting[name]
            if not request.cancelled():
                request.exception()  # Mark it as retrieved: there may be no caller.

        request = self._background.start(submit())
        self._submitting |= dict.fromkeys(names, request)
        request.add_done_callback(forget)
        return await asyncio.shield(request)

    async def submit_array(
        self, array: Submission, members: Mapping[int, Followed]
    ) -> SlurmAway | Refused | None:
        """Submit attempts, by index, as one array. Return the reason if that failed."""
        try:
            number = await self._submit(array, [each.name for each in members.values()])
        except (SlurmAway, Refused) as error:
            log.warning("an array was not submitted: %s", error, extra={"job_name": array.name})
            return error
        for index, followed in members.items():
            job = Job(ArrayTask(number, index), ("PENDING",), followed.array_task)
            self._follower.submitted(followed, job)
        return None

    async def after_submit(self, followed: Followed) -> None:
        """Return when no submit is under way whose caller was cancelled."""
        request = self._submitting.get(followed.name)
        if request is not None:
            followed.is_uncertain = True
            await asyncio.wait({request})

    async def _living(self, followed: Followed) -> Job | None:
        """Return the attempt's job that is not ending, and end all others. Raises SlurmAway."""
        return await self._only(await self._jobs_of(followed), followed.user)

    async def _jobs_of(self, followed: Followed) -> list[Job]:
        jobs = await self._transport.named(followed.name, followed.user)
        if followed.array_task:
            jobs = [*jobs, *await self._transport.named(followed.array_task, followed.user)]
        return [job for job in jobs if followed.owns(job)]

    async def _only(self, jobs: list[Job], user: str) -> Job | None:
        alive = [job for job in jobs if not job.is_ending]
        alive.sort(key=lambda job: (job.is_pending, number_of(job.id)))
        for spare in alive[1:]:
            log.warning("cancelling a spare job", extra=_fields(spare))
            await self._transport.cancel(spare.id, user)
        return alive[0] if alive else None

    async def wake(self, name: str) -> None:
        """Signal the job's shim to read a request of the server, if Slurm passes that on."""
        followed = self._follower.get(name)
        if followed is not None and followed.job is not None:
            with suppress(SlurmAway, TryAgain):
                await self._transport.signal(followed.job.id, Signal.WAKE, followed.user)

    async def current(self, followed: Followed) -> Job | None:
        """Return the attempt's job as it is now. Waits while Slurm is away."""
        while True:
            await self._follower.answers.wait()
            with suppress(SlurmAway):
                return await self._follower.refresh(followed) or await self._living(followed)
            await asyncio.sleep(AGAIN_SECONDS)

    async def ensure_job(
        self, run: LaunchSpec, followed: Followed, records: Records
    ) -> bool | None:
        """Find the attempt's job; submit it again if it is lost.

        Return `None` if there is none and none is needed: the attempt was stopped at its gate, or
        was never submitted. False if it is claimed and Slurm has no such job.
        """
        while followed.job is None:
            if records.is_claimed:
                # Its end may be recorded at any time, also while Slurm is away.
                rested = time.monotonic() - followed.searched_at >= SEARCH_SECONDS
                if not (rested and self._follower.answers.is_set()):
                    return False
            await self._follower.answers.wait()
            followed.searched_at = time.monotonic()
            try:
                job = await self.search(followed)
            except SlurmAway:
                await asyncio.sleep(AGAIN_SECONDS)
                continue
            if job is not None:
                self._follower.submitted(followed, job)
                break
            if records.is_claimed:
                followed.is_missing = True
                return False
            # A claim that was made meanwhile may not be in the records yet.
            if (await self._disk(partial(start_files.read, run.folder))).is_claimed:
                return False
            if followed.is_stopping or not records.is_open:
                return None
            await self._submit_again(run, followed)
        return True

    async def search(self, followed: Followed) -> Job | None:
        """Return the attempt's job: the one that is not over, else the last that was, if it was not
        a spare. Raises SlurmAway."""
        followed.is_uncertain = True
        jobs = await self._jobs_of(followed)
        if (alive := await self._only(jobs, followed.user)) is not None:
            return alive
        for over in sorted(jobs, key=lambda job: number_of(job.id), reverse=True):
            # A list of squeue has no exit codes.
            job = await self._transport.job(over.id, followed.user)
            if job is not None and followed.owns(job) and job.code != CLAIM_EXISTS:
                return job
        return None

    async def can_be_claimed_by(self, followed: Followed) -> bool:
        """Whether the attempt's job, which is over, can be the one that claimed the attempt.

        Another may have: after an uncertain submit there can be two. Then that one is followed from
        now on, or none, if Slurm has no such job. Raises SlurmAway.
        """
        job = await self._follower.refresh(followed)  # A poll of squeue has no exit code.
        if (alive := await self._living(followed)) is not None:
            self._follower.submitted(followed, alive)
            return False
        if job is not None and job.code == CLAIM_EXISTS:
            followed.lose()
            return False
        return job is not None

    async def _submit_again(self, run: LaunchSpec, followed: Followed) -> None:
        log.warning("submitting a lost job again", extra={"job_name": followed.name})
        recorded = await self._disk(partial(start_files.submission, run.folder))
        submission = replace(recorded, user=followed.user)
        try:
            await self.hand_over(followed, submission, lambda _: None, search=True)
        except PrepareError as error:
            # It accepted the same job before, so the cause is the cluster's.
            followed.held_back = str(error)
            await asyncio.sleep(REFUSED_SECONDS)

    async def terminate(self, run: LaunchSpec, followed: Followed) -> None:
        """Cancel the attempt's job if it is pending, else send it SIGTERM. Raises SlurmAway.

        Slurm accepts a signal to a job whose script its node has not begun, and loses it. So until
        the attempt is claimed the job is sent more than one. The start file needs one, and ends.
        """
        signals = 0
        while True:
            job = await self.current(followed)
            if job is None or job.is_over:
                followed.changed.set()
                return
            try:
                if job.is_pending:
                    await self._transport.cancel(job.id, followed.user)
                else:
                    await self._transport.signal(job.id, Signal.TERMINATE, followed.user)
                    signals += 1
                    records = await self._disk(partial(start_files.read, run.folder))
                    if records.is_claimed or signals == MOST_SIGNALS:
                        return
            except TryAgain:
                pass
            await asyncio.sleep(AGAIN_SECONDS / 4)

    async def end_all(self, followed: Followed, *, patience_seconds: float = 0) -> None:
        """Cancel every job of an attempt, and wait until Slurm has ended them.

        `patience_seconds`: how long running jobs may take to end by themselves.
        """
        patient_until = time.monotonic() + patience_seconds
        while True:
            await self._follower.answers.wait()
            pause = AGAIN_SECONDS / 4
            try:
                alive = [job for job in await self._jobs_of(followed) if not job.is_over]
                if not alive:
                    await self._follower.refresh(followed)
                    return
                is_patient = time.monotonic() < patient_until
                for job in alive:
                    if "COMPLETING" not in job.state and (job.is_pending or not is_patient):
                        await self._transport.cancel(job.id, followed.user)
            except AccountAway:
                pause = ACCOUNT_SECONDS
            except SlurmAway:
                pass
            await asyncio.sleep(pause)


class Leftovers:
    """Ends jobs of this server that no attempt needs. Used from one event loop.

    An earlier server may have left some. A controller that was restarted may also have revived
    some: it may have forgotten that a job was cancelled, or over.
    """

    def __init__(self, transport: SlurmTransport, users: Collection[str] = ()) -> None:
        """`users`: the accounts of users as whom jobs can be cancelled."""
        self._users = users
        self.prefix = ""
        """Of the names of this server's jobs."""
        self._transport = transport
        self._live: set[str] | None = None
        """Names of the jobs that attempts need; `None` until all of them are known."""
        self._due = asyncio.Event()
        self._background = BackgroundWork()

    def need(self, name: str) -> None:
        """An attempt has a job of this name, or will."""
        if self._live is not None:
            self._live.add(name)

    def drop(self, name: str) -> None:
        """The attempt is over, and its jobs were ended."""
        if self._live is not None:
            self._live.discard(name)

    async def begin(self, live: set[str]) -> None:
        """Sweep now, and again at intervals until `close`. Raises SlurmAway."""
        if self._live is None:
            self._background.start(self._repeat())
        self._live = live
        await self._sweep()

    def slurm_returned(self) -> None:
        """Sweep soon."""
        self._due.set()

    async def close(self) -> None:
        await self._background.cancel()

    async def _repeat(self) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(SWEEP_SECONDS):
                    await self._due.wait()
            self._due.clear()
            try:
                await self._sweep()
            except SlurmAway:
                pass  # When it returns, this is called again.
            except Exception:
                log.exception("the sweep for leftover jobs failed")

    async def _sweep(self) -> None:
        await self._sweep_jobs_of("")
        for user in tuple(self._transport.hidden):
            with suppress(AccountAway):
                await self._sweep_jobs_of(user)

    async def _sweep_jobs_of(self, user: str) -> None:
        """`user`: an account whose jobs are hidden from the server's own; empty for all others."""
        for job in await self._transport.named(self.prefix, user):
            # Looked at after the reply: an attempt may have begun meanwhile.
            if self._live is not None and job.name not in self._live and not job.is_over:
                log.warning("cancelling a leftover job", extra=_fields(job))
                await self._transport.cancel(job.id, job.user if job.user in self._users else "")


def _fields(job: Job) -> dict[str, str | None]:
    """Fields of a line of the log about a job."""
    return {"job": str(job.id), "job_name": job.name}
