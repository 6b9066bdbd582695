"""Slurm through slurmrestd."""

import asyncio
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, TypeVar

import aiohttp
import msgspec
from msgspec.structs import replace

from fetchml.adapters.slurm.commands import CliTransport
from fetchml.adapters.slurm.job import (
    NOT_QUEUED,
    ArrayTask,
    Job,
    JobId,
    PendingJob,
    Submission,
    indexes_in,
    job_id,
    number_of,
    task_name,
)
from fetchml.adapters.slurm.nodes import NodeEntry
from fetchml.adapters.slurm.tokens import Tokens
from fetchml.adapters.slurm.transport import (
    AWAY_CODES,
    CALL_SECONDS,
    JobLookup,
    Refused,
    Signal,
    SlurmAway,
    TryAgain,
    away,
    is_permanent,
    plain,
)
from fetchml.ports.cluster import Node
from fetchml.system.locks import SharedAnswers

VERSIONS = ("v0.0.44", "v0.0.43", "v0.0.42", "v0.0.41", "v0.0.40")
"""Of the REST interface, newest first."""
_FIRST_WITH_STATES = "v0.0.41"
_MOST_QUEUED = 500
"""Jobs of the cluster of which slurmrestd is asked for the whole queue."""
_MANY = 1_000
"""Jobs whose names are asked for one by one; of more, all are read at once."""
_AT_ONCE = 8
_MOST_BYTES = 256 << 20
"""Largest reply."""
_TRY_AGAIN = 2020
_NO_JOB = 2017
_OVER_ALREADY = 2021


class Number(msgspec.Struct, frozen=True):
    """A number that may be unset."""

    set: bool = False
    number: int = 0

    @property
    def value(self) -> int | None:
        return self.number if self.set else None


class _Error(msgspec.Struct):
    error_number: int = 0
    error: str | None = None
    description: str | None = None


class Reply(msgspec.Struct):
    """What is used of a reply. The subclasses are those to each request."""

    errors: tuple[_Error, ...] = ()

    @property
    def error_numbers(self) -> set[int]:
        return {each.error_number for each in self.errors}

    @property
    def message(self) -> str:
        """Slurm's words for what went wrong; empty if there are none."""
        words = (each.error or each.description for each in self.errors)
        return "; ".join(dict.fromkeys(filter(None, words)))


R = TypeVar("R", bound=Reply)


class _Pinged(msgspec.Struct):
    pinged: str = ""


class _Release(msgspec.Struct, frozen=True):
    release: str = "of unknown version"
    cluster: str = ""


class _Meta(msgspec.Struct, frozen=True):
    slurm: _Release = _Release()


class _Ping(Reply):
    pings: tuple[_Pinged, ...] = ()
    meta: _Meta = _Meta()


class _Submitted(Reply):
    job_id: int = 0


class _State(msgspec.Struct):
    job_id: int | str = ""
    """A text, with a part for an array's task."""
    state: tuple[str, ...] = ()


class _States(Reply):
    """The list of all jobs of the cluster, which comes twice a second."""

    jobs: tuple[_State, ...] = ()


class _ExitCode(msgspec.Struct, frozen=True):
    return_code: Number = Number()


class Entry(msgspec.Struct):
    """A job. Of an array: all tasks that have not started, or one that has."""

    job_id: int = 0
    """A task of an array has one of its own since it has started."""
    array_job_id: Number = Number()
    array_task_id: Number = Number()
    array_task_string: str = ""
    name: str = ""
    job_state: tuple[str, ...] = ()
    state_reason: str = ""
    nodes: str = ""
    exit_code: _ExitCode = _ExitCode()
    start_time: Number = Number()
    user_name: str = ""
    priority: Number = Number()
    partition: str = ""
    time_limit: Number = Number()

    @property
    def array(self) -> int:
        """The id of the array; 0 if it is a single job."""
        return self.array_job_id.value or 0

    @property
    def id(self) -> JobId:
        index = self.array_task_id.value
        return ArrayTask(self.array, index) if self.array and index is not None else self.job_id

    def job(self) -> Job:
        number = self.id
        return Job(
            number,
            self.job_state,
            task_name(self.name, number.number) if isinstance(number, ArrayTask) else self.name,
            self.state_reason,
            self.nodes,
            code=self.exit_code.return_code.value,
            begins_at=self.start_time.value or None,
            user=self.user_name,
        )

    def pending(self) -> list[PendingJob]:
        """Return the jobs that wait for their turn: of an array, one for each task."""
        if "PENDING" not in self.job_state or self.state_reason in NOT_QUEUED:
            return []
        ids: list[JobId] = [self.id]
        if self.array and not isinstance(self.id, ArrayTask):
            indexes = indexes_in(self.array_task_string)
            ids = [ArrayTask(self.array, index) for index in indexes] or ids
        priority, partitions = self.priority.value or 0, self.partition.split(",")
        return [PendingJob(each, priority, tuple(partitions)) for each in ids]


class Jobs(Reply):
    jobs: tuple[Entry, ...] = ()


class _KillError(msgspec.Struct, frozen=True):
    code: int = 0


class _Killed(msgspec.Struct):
    error: _KillError = _KillError()


class _Signalled(Reply):
    status: tuple[_Killed, ...] = ()


class _Nodes(Reply):
    nodes: tuple[NodeEntry, ...] = ()


def read(status: int, data: bytes, kind: type[R]) -> R:
    """Read a reply; an error's may be anything. Raises SlurmAway for any other that is invalid,
    such as the page of a proxy: taken for an empty reply, it would mean that all jobs are gone."""
    try:
        # Names of jobs are any bytes.
        return msgspec.json.decode(data.decode(errors="replace"), type=kind)
    except (msgspec.DecodeError, RecursionError) as error:
        if status < 400:
            raise SlurmAway(f"invalid reply of slurmrestd: {error}") from error
        return kind()


class RestTransport(JobLookup):
    def __init__(
        self,
        url: str,
        user: str,
        tokens: Tokens,
        commands: CliTransport | None = None,
        *,
        signals_steps: bool = False,
        others: Mapping[str, Tokens] = MappingProxyType({}),
    ) -> None:
        """`commands`: Slurm's commands on this host, where it has them. They read a long queue.
        `signals_steps`: signals go to the steps of a job instead of its script. `others`: the
        tokens of users' accounts, by the account's name."""
        self._commands = commands
        self._receiver = "FULL_STEPS_ONLY" if signals_steps else "BATCH_JOB"
        self._url = url.rstrip("/")
        self._user = user
        self._tokens = {"": tokens, **others}
        """By the account's name, empty for the server's own."""
        self._session: aiohttp.ClientSession | None = None
        super().__init__()
        self._version: str | None = None
        self._names: dict[int, str] = {}
        """Names of the jobs and arrays seen since Slurm was last away, by id. `named` drops those
        that Slurm no longer has."""
        self._tasks: dict[int, ArrayTask] = {}
        """Tasks of arrays that have started, by the id that each has of its own since then."""
        self._cluster = ""
        """The name of the cluster; empty if slurmrestd does not report it."""
        self._number_of_jobs = 0
        """In the last list of states."""
        self._arrays: set[int] = set()
        """Ids of arrays."""
        self._answers = SharedAnswers(self._read_array)

    async def open(self) -> str:
        for version in VERSIONS if self._version is None else (self._version,):
            status, reply = await self._call("GET", f"/slurm/{version}/ping/", _Ping)
            if status == 404:
                continue
            self._version = version
            if status >= 400 or not any(each.pinged == "UP" for each in reply.pings):
                self._forget_token("")
                raise SlurmAway(
                    reply.message or "slurmctld does not answer slurmrestd, or rejects the token"
                )
            self._cluster = reply.meta.slurm.cluster
            return reply.meta.slurm.release
        raise SlurmAway(f"slurmrestd at {self._url} serves none of {', '.join(VERSIONS)}")

    @property
    def has_arrays(self) -> bool:
        return self._has_states

    async def submit(self, job: Submission) -> int:
        properties: dict[str, Any] = {
            "name": job.name,
            "current_working_directory": job.folder,
            "standard_output": job.output,
            "environment": ["PATH=/usr/local/bin:/usr/bin:/bin"],
            "requeue": False,
            "tasks": 1,
            "nice": job.nice,
        }
        if job.indexes:
            properties["array"] = job.indexes
        if job.cpus:
            properties["cpus_per_task"] = job.cpus
        if job.memory_mb:
            properties["memory_per_node"] = {"set": True, "number": job.memory_mb}
        if job.resources:
            properties["tres_per_node"] = ",".join(f"gres/{each}" for each in job.resources)
        if job.minutes:
            properties["time_limit"] = {"set": True, "number": job.minutes}
        if job.constraint:
            properties["constraints"] = job.constraint
        for name in ("partition", "account", "qos", "reservation", "licenses"):
            if value := getattr(job, name):
                properties[name] = value
        for name, value in (("required_nodes", job.nodelist), ("excluded_nodes", job.exclude)):
            if value:
                properties[name] = [value]
        if job.exclusive:
            properties["shared"] = ["none" if job.exclusive == "true" else "user"]
        body = {"script": job.script, "job": properties}
        status, reply = await self._slurm("POST", "/job/submit", _Submitted, body, user=job.user)
        number = reply.job_id
        if status < 400 and number:
            self._names[number] = job.name
            if job.indexes:
                self._arrays.add(number)
            return number
        message = reply.message or f"status {status}"
        raise Refused(plain(message), permanent=is_permanent(message))

    async def states(self) -> dict[JobId, Job]:
        jobs = await self._states("")
        self._number_of_jobs = len(jobs)
        return jobs

    async def _states(self, user: str) -> dict[JobId, Job]:
        if self._has_states:
            return await self._read_states("/jobs/state/", user)
        return {job.id: job for job in await self._all(user)}

    async def _job(self, job_id: JobId, user: str) -> Job | None:
        if isinstance(job_id, ArrayTask):
            # Many ask at the same time, but for one that is hidden.
            array = self._read_array(job_id.array, user) if user else self._answers.of(job_id.array)
            return (await array).get(job_id)
        status, reply = await self._slurm("GET", f"/job/{job_id}", Jobs, user=user)
        return self._note(reply.jobs[-1]) if status != 404 and reply.jobs else None

    async def _named(self, prefix: str, user: str) -> list[Job]:
        listed = await self._states(user)
        if not user:
            self._number_of_jobs = len(listed)
            self._forget_all_but({number_of(each) for each in listed})
        unknown = [each for each in listed if number_of(each) not in self._names]
        if not self._has_states or len({number_of(each) for each in unknown}) > _MANY:
            # Which tasks of an array are pending is not in this reply.
            jobs = [job for job in await self._all(user) if isinstance(job.id, int)]
            listed = {each: job for each, job in listed.items() if isinstance(each, ArrayTask)}
        else:
            await self._jobs_with(unknown, user)
            jobs = []
        resolved = {self._resolved(each) for each in listed}
        own = [each for each in resolved if self._name(each).startswith(prefix)]
        jobs += await self._jobs_with(own, user)
        return [job for job in jobs if (job.name or "").startswith(prefix)]

    def _forget_all_but(self, numbers: set[int]) -> None:
        self._names = {n: name for n, name in self._names.items() if n in numbers}
        self._tasks = {own: task for own, task in self._tasks.items() if task.array in numbers}
        self._arrays &= numbers

    def _forget_all(self) -> None:
        """A controller that crashed gives ids out again."""
        self._forget_all_but(set())

    def _note(self, entry: Entry) -> Job:
        """Note the ids and the name of a job."""
        job = entry.job()
        if entry.array:
            self._arrays.add(entry.array)
        if isinstance(job.id, ArrayTask) and entry.job_id != entry.array:
            self._tasks[entry.job_id] = job.id
        self._names[number_of(job.id)] = entry.name
        return job

    def _resolved(self, job_id: JobId) -> JobId:
        """Return the id by which a job was submitted. A task of an array that has started is listed
        by its own id and its index."""
        if isinstance(job_id, int) or job_id.array in self._arrays:
            return job_id
        return self._tasks.get(job_id.array, job_id)

    def _name(self, job_id: JobId) -> str:
        name = self._names.get(number_of(job_id), "")
        return task_name(name, job_id.number) if isinstance(job_id, ArrayTask) else name

    async def _jobs_with(self, job_ids: Iterable[JobId], user: str) -> list[Job]:
        limit = asyncio.Semaphore(_AT_ONCE)

        async def request(job_id: JobId) -> Job | None:
            if isinstance(job_id, ArrayTask):  # One request answers for all of an array.
                return await self._job(job_id, user)
            async with limit:
                return await self._job(job_id, user)

        return [job for job in await asyncio.gather(*map(request, job_ids)) if job is not None]

    async def cancel(self, job_id: JobId, user: str = "") -> None:
        await self._slurm("DELETE", f"/job/{job_id}", Reply, user=user)

    async def signal(self, job_id: JobId, signal: Signal, user: str = "") -> None:
        path = f"/job/{job_id}?signal={signal}&flags={self._receiver}"
        _, reply = await self._slurm("DELETE", path, _Signalled, user=user)
        if any(each.error.code == _TRY_AGAIN for each in reply.status):
            raise TryAgain

    async def time_limit(self, job_id: JobId, user: str = "") -> int | None:
        return (await self._begun(job_id, user)).time_limit.value

    async def change_time_limit(self, job_id: JobId, minutes: int | None) -> None:
        limit = {"infinite": True} if minutes is None else {"set": True, "number": minutes}
        number = job_id
        if isinstance(job_id, ArrayTask):
            number = (await self._begun(job_id, "")).job_id
        path, body = f"/job/{number}", {"time_limit": limit}
        status, reply = await self._slurm("POST", path, Reply, body)
        if status >= 400:
            message = reply.message or f"status {status}"
            raise Refused(plain(message), permanent=False)

    async def _begun(self, job_id: JobId, user: str) -> Entry:
        """Return the entry of a job that has started. Once it runs, a task of an array has a job id
        too, and slurmrestd changes it only by that. Raises Refused if there is no such job."""
        for name in ("", user) if user else ("",):
            _, reply = await self._slurm("GET", f"/job/{job_id}", Jobs, user=name)
            for each in reply.jobs:
                if each.id == job_id:
                    return each
        raise Refused("job not found", permanent=True)

    async def queue(self) -> list[PendingJob]:
        # There is no request for the priorities alone, and this one is not cheap.
        if self._number_of_jobs > _MOST_QUEUED:
            return await self._long_queue()
        _, reply = await self._slurm("GET", "/jobs/", Jobs)
        return [job for each in reply.jobs for job in each.pending()]

    async def _long_queue(self) -> list[PendingJob]:
        """Read the queue by squeue, if this host's commands reach the same cluster."""
        if self._commands is None or not self._cluster:
            return []
        if await self._commands.cluster() != self._cluster:
            return []
        return await self._commands.queue()

    async def nodes(self) -> list[Node]:
        _, reply = await self._slurm("GET", "/nodes/", _Nodes)
        return [each.node() for each in reply.nodes]

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    @property
    def _has_states(self) -> bool:
        return self._version is None or self._version >= _FIRST_WITH_STATES

    async def _all(self, user: str) -> list[Job]:
        """Return all jobs, and of arrays the tasks that have started."""
        _, reply = await self._slurm("GET", "/jobs/", Jobs, user=user)
        if not user:
            self._forget_all()
        entries = [(each, self._note(each)) for each in reply.jobs]
        return [job for each, job in entries if isinstance(job.id, ArrayTask) or not each.array]

    async def _read_array(self, number: int, user: str = "") -> dict[JobId, Job]:
        """Return all tasks of an array."""
        _, reply = await self._slurm("GET", f"/job/{number}", Jobs, user=user)
        jobs: dict[JobId, Job] = {}
        pending: Job | None = None
        for each in reply.jobs:
            job = self._note(each)
            if isinstance(job.id, ArrayTask):
                jobs[job.id] = job
            else:
                pending = job
        if pending is not None:
            # One entry has all tasks that have not started, and of many not all indexes.
            states = await self._read_states(f"/jobs/state/?job_id={number}", user)
            for task, seen in states.items():
                if isinstance(task, ArrayTask) and task.array == number and task not in jobs:
                    name = task_name(pending.name or "", task.number)
                    jobs[task] = replace(pending, id=task, state=seen.state, name=name)
        return jobs

    async def _read_states(self, path: str, user: str) -> dict[JobId, Job]:
        _, reply = await self._slurm("GET", path, _States, user=user)
        jobs: dict[JobId, Job] = {}
        for each in reply.jobs:
            if (listed := job_id(str(each.job_id))) is not None:
                number = self._resolved(listed)
                jobs[number] = Job(number, each.state)
        return jobs

    async def _slurm(
        self, method: str, path: str, kind: type[R], body: object = None, user: str = ""
    ) -> tuple[int, R]:
        if self._version is None:
            await self.open()
        path = f"/slurm/{self._version}{path}"
        status, reply = await self._call(method, path, kind, body, user)
        codes = reply.error_numbers
        if codes & {_NO_JOB, _OVER_ALREADY}:
            return 404, reply
        unclear = any(code in AWAY_CODES for code in codes)
        if unclear or status in (401, 403, 502, 503, 504, 511) or (status >= 500 and not codes):
            if not user:
                self._forget_all()
            self._forget_token(user)
            raise away(user, reply.message or f"slurmrestd answered with status {status}")
        if status >= 400 and method == "GET" and status != 404:
            raise away(user, reply.message or f"slurmrestd answered with status {status}")
        return status, reply

    def _headers(self, user: str) -> dict[str, str]:
        try:
            token = self._tokens[user].current()
        except (OSError, ValueError, KeyError) as error:
            # Users see the reason: it has no paths of the server's files.
            reason = error.strerror if isinstance(error, OSError) else "it has none"
            raise away(user, f"no token for slurmrestd: {reason or error}") from error
        return {"X-SLURM-USER-NAME": user or self._user, "X-SLURM-USER-TOKEN": token}

    def _forget_token(self, user: str) -> None:
        """Make a new token next time, where the server makes them: Slurm rejected this one."""
        if user in self._tokens:
            self._tokens[user].forget()

    async def _call(
        self, method: str, path: str, kind: type[R], body: object = None, user: str = ""
    ) -> tuple[int, R]:
        """Return the status and the reply. Raises SlurmAway."""
        headers = self._headers(user)
        if self._session is None:
            self._session = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=CALL_SECONDS),
                connector=aiohttp.TCPConnector(limit=32),
            )
        try:
            async with self._session.request(
                method, self._url + path, json=body, headers=headers
            ) as response:
                data = bytearray()
                async for part in response.content.iter_any():
                    data += part
                    if len(data) > _MOST_BYTES:
                        raise SlurmAway("slurmrestd's reply exceeds the limit of 256 MiB")
                status = response.status
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            self._forget_all()
            reason = str(error) or type(error).__name__
            raise SlurmAway(f"slurmrestd at {self._url} does not answer: {reason}") from error
        return status, read(status, bytes(data), kind)
