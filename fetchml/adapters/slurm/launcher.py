"""Runs tasks on a Slurm cluster: Slurm queues, places and limits them.

Slurm alone does not keep what an attempt needs. Its controller loses jobs that it acknowledged when
it crashes, and gives their ids out again. So an attempt's job is identified by its name, never by
its id alone. A submit without a reply is looked up by name. A job that Slurm does not have is
submitted again into the same folder, where the shim's exclusive claim lets one of all jobs start.
An attempt that is claimed is never submitted again: its end is the shim's record, however long its
node is silent.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar

from fetchml.adapters.node_relays.entry import NodeEntries
from fetchml.adapters.slurm import start_files
from fetchml.adapters.slurm.accounts import Accounts
from fetchml.adapters.slurm.array_records import ArrayRecords
from fetchml.adapters.slurm.attempt_exits import ExitResolver, Silence, exit_of_recorded
from fetchml.adapters.slurm.containers import Containers
from fetchml.adapters.slurm.explanations import sentence, trouble
from fetchml.adapters.slurm.follower import Followed, Follower
from fetchml.adapters.slurm.hand_overs import AttemptWriter, HandOver, HandOvers, Prepared
from fetchml.adapters.slurm.health import ClusterHealth
from fetchml.adapters.slurm.job_requests import Parameters, permit, submission_of
from fetchml.adapters.slurm.measurements import NodeGpus, NodeUsage
from fetchml.adapters.slurm.nodes import NodeWatch
from fetchml.adapters.slurm.queue_watch import QueueWatch
from fetchml.adapters.slurm.records_watch import RecordsWatch
from fetchml.adapters.slurm.start_files import Records
from fetchml.adapters.slurm.submits import PATIENCE_SECONDS, Leftovers, Submits
from fetchml.adapters.slurm.transport import Signal, SlurmAway, SlurmTransport, TryAgain
from fetchml.files.layout import ARRAYS
from fetchml.files.shared_disk import SharedDisk, SharedFolders, is_fault
from fetchml.ports.cluster import Node, NodeReading
from fetchml.ports.launcher import (
    AttemptExit,
    Helper,
    LaunchSpec,
    Owner,
    PrepareError,
    RelayCommand,
    ResourceUse,
    SessionCommand,
)
from fetchml.shim.node_relay import ALL_PORTS
from fetchml.system import failpoints

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SlurmOptions:
    shared_dir: Path
    parameters: Parameters = field(default_factory=Parameters)
    lost_after_seconds: int = 0
    """Time after which a claimed attempt without a job in Slurm counts as lost; 0: never."""
    lease_seconds: int = 0
    """Time that a task runs on a node that does not reach the shared folder; 0: no limit."""
    accounts: Accounts = field(default_factory=Accounts)
    """As whom the jobs of users run."""
    containers: Containers | None = None
    """`None` if tasks are plain processes of the nodes."""
    entry_key: Callable[[], bytes] = lambda: bytes(32)
    """Reads the key from which those of relays are derived; raises OSError."""
    relay_ports: str = ALL_PORTS
    """The ports of nodes for relays, as `LOWEST-HIGHEST`."""


AGAIN_SECONDS = 1.0
READ_SECONDS = 0.25
"""Interval at which the folder of an attempt is read whose records matter."""
AWAY_READ_SECONDS = 3.0
"""The same while Slurm does not answer."""
IDLE_READ_SECONDS = 20.0
"""The same while Slurm reports the job as pending or running."""

T = TypeVar("T")


class SlurmLauncher:
    """`Launcher` and `Cluster` for Slurm. Jobs run as the server's own user, or as the accounts of
    users."""

    name = "slurm"

    def __init__(
        self, options: SlurmOptions, transport: SlurmTransport, watch: SharedFolders, owner: Owner
    ) -> None:
        self.owner = owner
        self._options = options
        self._transport = transport
        self._watch = watch
        self._disk = SharedDisk()
        accounts = options.accounts
        prepare_folder = partial(accounts.prepare_folder, options.shared_dir)
        self._health = ClusterHealth(options.shared_dir, self._disk, prepare_folder)
        self._leftovers = Leftovers(transport, accounts.others)
        self._follower = Follower(
            transport,
            seen=self._health.slurm_seen,
            away=self._health.slurm_away,
            returned=self._leftovers.slurm_returned,
        )
        self._usage = NodeUsage(self._disk)
        self._gpus = NodeGpus(self._disk, options.shared_dir)
        self._records_watch = RecordsWatch(self._disk)
        self._nodes = NodeWatch(transport.nodes, answers=self._follower.answers)
        self._queue = QueueWatch(transport.queue, answers=self._follower.answers)
        self._submits = Submits(transport, self._follower, self._disk)
        self._arrays = ArrayRecords(options.shared_dir / ARRAYS, self._disk)
        self._hand_overs = HandOvers(
            self._disk,
            AttemptWriter(self._health, options.containers, accounts, options.shared_dir),
            self._arrays,
            self._submits,
            self._follower,
            self._leftovers.need,
            has_arrays=lambda: transport.has_arrays,
        )
        self._prefix = ""
        """Of the names of this server's jobs."""
        lost_after = options.lost_after_seconds
        self._exits = ExitResolver(
            self._follower, self._submits, self._disk, options.shared_dir, lost_after
        )
        self._entries = NodeEntries(self._disk, self, options.entry_key, options.relay_ports)

    async def open(self, instance_id: str, on_available: Callable[[bool, str], None]) -> None:
        prefix = f"fetchml-{instance_id.replace('-', '')[-12:]}-"
        self._prefix = self._leftovers.prefix = prefix
        self._arrays.prefix = f"{prefix}array-"
        await self._health.open(self._follower.open, on_available)
        await self._nodes.open()
        await self._queue.open()
        await self._records_watch.open()

    async def clean(self, live: frozenset[tuple[str, int]]) -> None:
        names = {self._name(*each) for each in live}
        await self._leftovers.begin(names | await self._arrays.keep(live))

    async def prepare(self, run: LaunchSpec, progress: Callable[[str], None]) -> None:
        name = self._name(run.task_id, run.attempt)
        self._leftovers.need(name)
        await self._health.until_available()
        followed = self._follow(run)
        self._options.accounts.require_owner(run)
        try:
            await self._arrays.read()
            options = self._options
            submission = submission_of(
                run, name, options.parameters, options.lease_seconds, followed.user
            )
            followed.array_task = self._arrays.task_of((run.task_id, run.attempt))
            one = HandOver(run, followed, submission, was_in_array=bool(followed.array_task))
            prepared = await self._hand_overs.prepare(one)
            if prepared is Prepared.NOW:
                followed.lease_seconds = submission.lease_seconds
        except OSError as error:
            if is_fault(error):
                raise
            why = f"cannot prepare the task: {error.strerror or error}"
            raise PrepareError(why, permanent=False) from error
        has_job = followed.job is not None and not followed.job.is_over
        if prepared is not Prepared.CLAIMED and not has_job:
            failpoints.reach("handing_over")
            search = prepared is Prepared.EARLIER or one.search
            await self._submits.hand_over(followed, submission, progress, search=search)
        followed.is_new = prepared is Prepared.NOW

    async def until_usable(self) -> None:
        await self._health.until_available()

    async def wait(self, run: LaunchSpec) -> AttemptExit:
        followed = await self._followed(run)
        with self._records_watch.watching(run.folder, followed):
            return await self._wait(run, followed)

    async def _wait(self, run: LaunchSpec, followed: Followed) -> AttemptExit:
        silence = Silence()
        start_was_reported = False
        if followed.is_new:
            followed.is_new = False
            followed.changed.clear()
            await self._pause(followed, start_files.NOTHING_YET)
        while True:
            followed.changed.clear()
            silence.lease.begin()
            records = await self._records(run)
            if records.has_started and not start_was_reported:
                start_was_reported = True
                self._watch.wake(run.folder / "run")
            if records.has_ended:
                if records.end is None or followed.is_stopping:
                    return AttemptExit()
                if records.end.lost is not None:
                    return AttemptExit(lost=records.end.lost)
                search = self._submits.search
                return await exit_of_recorded(self._follower, search, followed, records.end)
            if not (records.was_prepared or records.is_claimed):
                return AttemptExit()
            if records.is_revoked:
                await self._submits.end_all(followed)
                return AttemptExit()
            try:
                has_job = await self._submits.ensure_job(run, followed, records)
            except OSError:
                await asyncio.sleep(AGAIN_SECONDS)
                continue
            if has_job is None:
                return AttemptExit()
            if self._follower.answers.is_set():  # Else the last report may be stale.
                ended = await self._exits.exit_of(run, followed, records, silence)
                if ended is not None:
                    return ended
            await self._pause(followed, records)

    async def warn(self, run: LaunchSpec) -> None:
        followed = await self._followed(run)
        while (job := await self._submits.current(followed)) and not job.is_over:
            with suppress(TryAgain):
                return await self._transport.signal(job.id, Signal.WARN, followed.user)
            await asyncio.sleep(AGAIN_SECONDS / 4)
        return None

    async def stop(self, run: LaunchSpec) -> None:
        self._follow(run).is_stopping = True
        followed = await self._followed(run)
        await self._submits.after_submit(followed)
        await self._submits.terminate(run, followed)

    async def kill(self, run: LaunchSpec) -> None:
        self._follow(run).is_stopping = True
        followed = await self._followed(run)
        await self._submits.after_submit(followed)
        await self._submits.end_all(followed)
        followed.changed.set()

    async def usage(self, runs: Sequence[LaunchSpec]) -> list[ResourceUse | None]:
        return self._usage.newest(runs)

    async def remove(self, run: LaunchSpec) -> None:
        await self._submits.after_submit(self._follow(run))
        followed = await self._followed(run)
        job = followed.job
        records = await self._records(run)
        is_over = job is not None and (job.is_over or records.has_ended)
        if records.was_prepared and (followed.is_uncertain or not is_over):
            patience = PATIENCE_SECONDS if records.has_ended else 0
            await self._submits.end_all(followed, patience_seconds=patience)
        await self._disk(partial(start_files.remove, run.folder))
        self._follower.forget(followed.name)
        self._leftovers.drop(followed.name)
        self._leftovers.drop(followed.array_task)
        await self._arrays.drop((run.task_id, run.attempt))

    async def enter(self, run: LaunchSpec, command: SessionCommand | RelayCommand) -> Helper:
        return await self._entries.enter(run, command)

    def owner_of(self, pid: int) -> str | None:
        """Tasks run on other machines."""
        return None

    async def close(self) -> None:
        await self._entries.close()
        await self._records_watch.close()
        await self._nodes.close()
        await self._queue.close()
        await self._usage.close()
        await self._gpus.close()
        await self._health.close()
        await self._leftovers.close()
        await self._hand_overs.close()
        await self._follower.close()
        await self._submits.close()
        await self._transport.close()

    def reason(self, task_id: str, attempt: int) -> str | None:
        followed = self._follower.get(self._name(task_id, attempt))
        if followed is not None and followed.held_back:
            return f"Slurm does not take it now: {followed.held_back}. It is submitted again."
        if followed is None or followed.job is None:
            return "It is being submitted to Slurm."
        return sentence(followed.job)

    def trouble(self, task_id: str, attempt: int) -> str | None:
        followed = self._follower.get(self._name(task_id, attempt))
        if followed is None:
            return None
        job = followed.job
        if not (followed.is_missing if job is None else job.node_failed):
            return None
        node = followed.last.nodes if followed.last is not None else ""
        is_silent, after = self._nodes.is_silent(node), self._options.lost_after_seconds
        return trouble(job or followed.last, is_silent, after, followed.lease_seconds)

    async def permit(self, run: LaunchSpec, timeout_ms: int) -> str | None:
        followed = self._follower.get(self._name(run.task_id, run.attempt))
        try:
            job = await self._follower.refresh(followed) if followed is not None else None
        except SlurmAway as error:
            return f"Slurm does not answer ({error}): try again later"
        if followed is None or job is None:
            return "Slurm does not report its job: try again later"
        limits = (timeout_ms, run.grace_ms)
        return await permit(self._transport, job.id, *limits, followed.user)

    @property
    def workers(self) -> int:
        return self._nodes.workers

    def nodes(self) -> Sequence[Node]:
        return self._nodes.nodes()

    def begins_at(self, task_id: str, attempt: int) -> int | None:
        job = self._follower.job(self._name(task_id, attempt))
        if job is None or not job.is_pending or job.begins_at is None:
            return None
        return job.begins_at * 1000

    def position(self, task_id: str, attempt: int) -> int | None:
        job = self._follower.job(self._name(task_id, attempt))
        return None if job is None else self._queue.position(job)

    def gpu_readings(
        self, attempts: Collection[tuple[str, int]]
    ) -> Mapping[tuple[str, int], NodeReading]:
        return self._gpus.newest(attempts)

    def address_of(self, task_id: str, attempt: int) -> str | None:
        job = self._follower.job(self._name(task_id, attempt))
        if job is None or job.is_pending or not job.nodes:
            return None
        return self._nodes.address(job.nodes)

    async def wake(self, run: LaunchSpec) -> None:
        await self._submits.wake(self._name(run.task_id, run.attempt))

    async def _pause(self, followed: Followed, records: Records) -> None:
        job = followed.job
        if job is not None:
            self._queue.position(job)  # Reads it before a user asks.
        is_starting = job is not None and not job.is_pending and not records.has_started
        if job is None or job.is_over or is_starting:
            seconds = READ_SECONDS
        else:
            answers = self._follower.answers.is_set()
            seconds = IDLE_READ_SECONDS if answers else AWAY_READ_SECONDS
        timer = asyncio.get_running_loop().call_later(seconds, followed.changed.set)
        try:
            await followed.changed.wait()
        finally:
            timer.cancel()

    def _name(self, task_id: str, attempt: int) -> str:
        """Return the name of an attempt's job."""
        return f"{self._prefix}{task_id}-{attempt}"

    def _follow(self, run: LaunchSpec) -> Followed:
        """Return the entry of an attempt's job, whose array may not have been read yet."""
        name, accounts = self._name(run.task_id, run.attempt), self._options.accounts
        user = accounts.name_of(run.user)
        return self._follower.follow(name, user, user or accounts.own, accounts.others)

    async def _followed(self, run: LaunchSpec) -> Followed:
        """Return the entry of an attempt's job. Waits while the shared folder fails."""
        await self._until_read(run, self._arrays.read)
        followed = self._follow(run)
        followed.array_task = self._arrays.task_of((run.task_id, run.attempt))
        return followed

    async def _records(self, run: LaunchSpec) -> Records:
        """Read the attempt's folder. Waits while the shared folder fails."""
        read = partial(start_files.read, run.folder)
        return await self._until_read(run, partial(self._disk, read))

    async def _until_read(self, run: LaunchSpec, read: Callable[[], Awaitable[T]]) -> T:
        while True:
            try:
                return await read()
            except OSError as error:
                log.warning("the shared folder fails: %s", error, extra={"task_id": run.task_id})
                await asyncio.sleep(AGAIN_SECONDS)
