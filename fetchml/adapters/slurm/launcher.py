"""Runs tasks on a Slurm cluster: Slurm queues, places and limits them.

Slurm alone does not keep what an attempt needs. Its controller loses jobs that it acknowledged when
it crashes, and gives their ids out again. So an attempt's job is known by its name, never by its id
alone. A submit whose answer is missing is looked up by name. A job that is nowhere is submitted
again into the same folder, where the shim's exclusive claim lets one of all jobs start. An attempt
that is claimed is never submitted again: its end is the shim's record, however long its node is
silent.
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from msgspec.structs import replace

from fetchml.adapters.node_relays.entry import NodeEntries
from fetchml.adapters.slurm import job_limits, job_parameters, start_files
from fetchml.adapters.slurm.accounts.account import Accounts
from fetchml.adapters.slurm.accounts.admission import Admission
from fetchml.adapters.slurm.accounts.recorded_jobs import RecordedJobs
from fetchml.adapters.slurm.array_records import ArrayRecords
from fetchml.adapters.slurm.attempt_writer import AttemptWriter, HandOver
from fetchml.adapters.slurm.containers import Containers
from fetchml.adapters.slurm.follower import Followed, Follower
from fetchml.adapters.slurm.hand_overs import HandOvers
from fetchml.adapters.slurm.health import ClusterHealth
from fetchml.adapters.slurm.job_parameters import Parameters
from fetchml.adapters.slurm.judge import Judge
from fetchml.adapters.slurm.leftovers import Leftovers
from fetchml.adapters.slurm.node_gpus import NodeGpus
from fetchml.adapters.slurm.node_usage import NodeUsage
from fetchml.adapters.slurm.node_watch import NodeWatch
from fetchml.adapters.slurm.queue_watch import QueueWatch
from fetchml.adapters.slurm.recorded_ends import RecordedEnds
from fetchml.adapters.slurm.records_watch import RecordsWatch
from fetchml.adapters.slurm.start_files import Records
from fetchml.adapters.slurm.submits import PATIENCE_SECONDS, Submits
from fetchml.adapters.slurm.transports.transport import Signal, SlurmAway, SlurmTransport, TryAgain
from fetchml.adapters.slurm.verdicts import (
    Silence,
    sentence,
    trouble,
)
from fetchml.files.layout import ARRAYS, ATTEMPTS, TASKS
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
    """Reads the key from which those of the ways into tasks are derived; raises OSError."""
    relay_ports: str = ALL_PORTS
    """The ports of nodes for relays, as `LOWEST-HIGHEST`."""


AGAIN_SECONDS = 1.0
LOOK_SECONDS = 0.25
"""Between two looks at the folder of an attempt whose records matter."""
AWAY_LOOK_SECONDS = 3.0
"""The same while Slurm is away."""
IDLE_LOOK_SECONDS = 20.0
"""The same while Slurm reports the job as pending or running."""

CLEAN_AT_ONCE = 500
"""Attempts whose records are read in one go."""
log = logging.getLogger(__name__)


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
        self._admission = Admission(accounts, options.shared_dir)
        self._health = ClusterHealth(options.shared_dir, self._disk, self._admission.open)
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
            AttemptWriter(self._health, options.containers, self._admission),
            self._arrays,
            self._submits,
            self._follower,
            self._leftovers.need,
            has_arrays=lambda: transport.has_arrays,
        )
        self._jobs = RecordedJobs(self._follower, self._arrays, self._disk, accounts)
        self._ends = RecordedEnds(self._follower, self._submits.search)
        lost_after = options.lost_after_seconds
        self._judge = Judge(
            self._follower, self._submits, self._disk, options.shared_dir, lost_after
        )
        self._entries = NodeEntries(self._disk, self, options.entry_key, options.relay_ports)

    async def open(self, instance_id: str, on_available: Callable[[bool, str], None]) -> None:
        prefix = f"fetchml-{instance_id.replace('-', '')[-12:]}-"
        self._jobs.prefix = self._leftovers.prefix = prefix
        self._arrays.prefix = f"{prefix}array-"
        await self._health.open(self._follower.open, on_available)
        await self._nodes.open()
        await self._queue.open()
        await self._records_watch.open()

    async def clean(self, live: frozenset[tuple[str, int]]) -> None:
        tasks = self._options.shared_dir / TASKS
        folders = [tasks / task_id / ATTEMPTS / str(attempt) for task_id, attempt in live]
        names = {self._jobs.name(*each) for each in live}
        names |= await self._arrays.keep(live)
        for first in range(0, len(folders), CLEAN_AT_ONCE):
            part = folders[first : first + CLEAN_AT_ONCE]
            names |= await self._disk(partial(start_files.array_tasks, part))
        await self._leftovers.begin(names)

    async def prepare(self, run: LaunchSpec, progress: Callable[[str], None]) -> None:
        name = self._jobs.name(run.task_id, run.attempt)
        self._leftovers.need(name)
        await self._health.until_available()
        followed = self._jobs.begin(run)
        self._admission.require_owner(run)
        try:
            await self._arrays.read()
            options = self._options
            submission = job_parameters.submission(
                run, name, options.parameters, options.lease_seconds, followed.user
            )
            if task := self._arrays.task_of((run.task_id, run.attempt)):
                submission = replace(submission, array_task=task)
            one = HandOver(run, followed, submission, was_in_array=bool(task))
            known = await self._hand_overs.prepare(one)
            if known:
                await self._jobs.read_array_task(run, followed)
            elif known is False:
                followed.lease_seconds = submission.lease_seconds
        except OSError as error:
            if is_fault(error):
                raise
            raise PrepareError(
                f"cannot prepare the task: {error.strerror or error}", permanent=False
            ) from error
        if known is None or (followed.job is not None and not followed.job.is_over):
            followed.is_new = known is False
            return
        if known:
            self._submits.uncertain.add(name)
        failpoints.reach("handing_over")
        await self._submits.hand_over(
            run, followed, submission, progress, search=known or one.search
        )
        followed.is_new = not known

    async def until_usable(self) -> None:
        await self._health.until_available()

    async def wait(self, run: LaunchSpec) -> AttemptExit:
        followed = await self._jobs.of(run)
        with self._records_watch.watching(run.folder, followed):
            return await self._wait(run, followed)

    async def _wait(self, run: LaunchSpec, followed: Followed) -> AttemptExit:
        name = followed.name
        silence = Silence()
        told_start = False
        if followed.is_new:
            followed.is_new = False
            followed.changed.clear()
            await self._pause(followed, start_files.NOTHING_YET)
        while True:
            followed.changed.clear()
            silence.lease.begin()
            records = await self._jobs.records(run)
            if records.has_started and not told_start:
                told_start = True
                self._watch.wake(run.folder / "run")
            if records.has_ended:
                if records.end is None or name in self._submits.stopping:
                    return AttemptExit()
                if records.end.lost is not None:
                    return AttemptExit(lost=records.end.lost)
                return await self._ends.exit_of(followed, records.end)
            if not (records.was_prepared or records.is_claimed):
                return AttemptExit()
            if records.is_revoked:
                await self._submits.end_all(followed)
                return AttemptExit()
            try:
                is_known = await self._submits.located(run, followed, records)
            except OSError:
                await asyncio.sleep(AGAIN_SECONDS)
                continue
            if is_known is None:
                return AttemptExit()
            if self._follower.answers.is_set():  # Else nothing is known of the job.
                ended = await self._judge.exit_of(run, followed, records, silence)
                if ended is not None:
                    return ended
            await self._pause(followed, records)

    async def warn(self, run: LaunchSpec) -> None:
        followed = await self._jobs.of(run)
        while (job := await self._submits.current(followed)) and not job.is_over:
            with suppress(TryAgain):
                return await self._transport.signal(job.id, Signal.WARN, followed.user)
            await asyncio.sleep(AGAIN_SECONDS / 4)
        return None

    async def stop(self, run: LaunchSpec) -> None:
        name = self._jobs.name(run.task_id, run.attempt)
        self._submits.stopping.add(name)
        followed = await self._jobs.of(run)
        await self._submits.after_submit(name)
        await self._submits.terminate(run, followed)

    async def kill(self, run: LaunchSpec) -> None:
        name = self._jobs.name(run.task_id, run.attempt)
        self._submits.stopping.add(name)
        followed = await self._jobs.of(run)
        await self._submits.after_submit(name)
        await self._submits.end_all(followed)
        followed.changed.set()

    async def usage(self, runs: Sequence[LaunchSpec]) -> list[ResourceUse | None]:
        return self._usage.newest(runs)

    async def remove(self, run: LaunchSpec) -> None:
        name = self._jobs.name(run.task_id, run.attempt)
        await self._submits.after_submit(name)
        followed = await self._jobs.of(run)
        job = followed.job
        records = await self._jobs.records(run)
        is_over = job is not None and (job.is_over or records.has_ended)
        if records.was_prepared and (name in self._submits.uncertain or not is_over):
            patience = PATIENCE_SECONDS if records.has_ended else 0
            await self._submits.end_all(followed, patience_seconds=patience)
        await self._disk(partial(start_files.remove, run.folder))
        self._submits.forget(name)
        self._leftovers.drop(name)
        self._leftovers.drop(followed.array_task or "")
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
        name = self._jobs.name(task_id, attempt)
        if (refused := self._submits.held_back.get(name)) is not None:
            return f"Slurm does not take it now: {refused}. It is submitted again."
        followed = self._follower.get(name)
        if followed is None or followed.job is None:
            return "It is being submitted to Slurm."
        return sentence(followed.job)

    def trouble(self, task_id: str, attempt: int) -> str | None:
        followed = self._follower.get(self._jobs.name(task_id, attempt))
        if followed is None:
            return None
        job = followed.job
        if not (followed.is_missing if job is None else job.node_failed):
            return None
        node = followed.last.nodes if followed.last is not None else ""
        is_silent, after = self._nodes.is_silent(node), self._options.lost_after_seconds
        return trouble(job or followed.last, is_silent, after, followed.lease_seconds)

    async def permit(self, run: LaunchSpec, timeout_ms: int) -> str | None:
        followed = self._follower.get(self._jobs.name(run.task_id, run.attempt))
        try:
            job = await self._follower.look(followed) if followed is not None else None
        except SlurmAway as error:
            return f"Slurm does not answer ({error}): try again later"
        if followed is None or job is None:
            return "Slurm does not report its job: try again later"
        limits = (timeout_ms, run.grace_ms)
        return await job_limits.permit(self._transport, job.id, *limits, followed.user)

    @property
    def workers(self) -> int:
        return self._nodes.workers

    def nodes(self) -> Sequence[Node]:
        return self._nodes.nodes()

    def begins_at(self, task_id: str, attempt: int) -> int | None:
        job = self._follower.job(self._jobs.name(task_id, attempt))
        if job is None or not job.is_pending or job.begins_at is None:
            return None
        return job.begins_at * 1000

    def position(self, task_id: str, attempt: int) -> int | None:
        job = self._follower.job(self._jobs.name(task_id, attempt))
        return None if job is None else self._queue.position(job)

    def gpu_readings(
        self, attempts: Collection[tuple[str, int]]
    ) -> Mapping[tuple[str, int], NodeReading]:
        return self._gpus.newest(attempts)

    def address_of(self, task_id: str, attempt: int) -> str | None:
        job = self._follower.job(self._jobs.name(task_id, attempt))
        if job is None or job.is_pending or not job.nodes:
            return None
        return self._nodes.address(job.nodes)

    async def wake(self, run: LaunchSpec) -> None:
        await self._submits.wake(self._jobs.name(run.task_id, run.attempt))

    async def _pause(self, followed: Followed, records: Records) -> None:
        job = followed.job
        if job is not None:
            self._queue.position(job)  # So that it is known once somebody asks.
        quiet = job is not None and not job.is_over
        if quiet and job is not None and not job.is_pending and not records.has_started:
            quiet = False  # It starts now.
        seconds = LOOK_SECONDS
        if quiet:
            away = not self._follower.answers.is_set()
            seconds = AWAY_LOOK_SECONDS if away else IDLE_LOOK_SECONDS
        timer = asyncio.get_running_loop().call_later(seconds, followed.changed.set)
        try:
            await followed.changed.wait()
        finally:
            timer.cancel()
