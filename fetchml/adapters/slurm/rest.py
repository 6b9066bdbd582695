"""Slurm through slurmrestd."""

import asyncio
import json
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, TypedDict

import aiohttp
import msgspec
from msgspec.structs import replace

from fetchml.adapters.slurm import nodes
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
from fetchml.adapters.slurm.tokens import Identities, Tokens
from fetchml.adapters.slurm.transport import (
    AWAY_CODES,
    CALL_SECONDS,
    JobRequests,
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


class RestTransport(JobRequests):
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
        self._identities = Identities(user, tokens, others)
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
            status, reply = await self._call("GET", f"/slurm/{version}/ping/")
            if status == 404:
                continue
            self._version = version
            pings = rows(reply, "pings")
            if status >= 400 or not any(each.get("pinged") == "UP" for each in pings):
                self._identities.forget("")
                raise SlurmAway(
                    errors_of(reply) or "slurmctld does not answer slurmrestd, or rejects the token"
                )
            slurm = object_in(object_in(reply, "meta"), "slurm")
            self._cluster = str(slurm.get("cluster") or "")
            return str(slurm.get("release", "of unknown version"))
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
        status, reply = await self._slurm("POST", "/job/submit", body, user=job.user)
        number = number_in(reply.get("job_id"))
        if status < 400 and number:
            self._names[number] = job.name
            if job.indexes:
                self._arrays.add(number)
            return number
        message = errors_of(reply) or f"status {status}"
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
        status, reply = await self._slurm("GET", f"/job/{job_id}", user=user)
        jobs = rows(reply, "jobs")
        if status == 404 or not jobs:
            return None
        return self._note(jobs[-1])

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

    def _note(self, each: dict[str, Any]) -> Job:
        """Note the ids and the name of a job."""
        job = job_of(each)
        array = number_in(each.get("array_job_id"))
        if array:
            self._arrays.add(array)
        own = number_in(each.get("job_id")) or 0
        if isinstance(job.id, ArrayTask) and own != array:
            self._tasks[own] = job.id
        self._names[number_of(job.id)] = str(each.get("name", ""))
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
        await self._slurm("DELETE", f"/job/{job_id}", user=user)

    async def signal(self, job_id: JobId, signal: Signal, user: str = "") -> None:
        _, reply = await self._slurm(
            "DELETE", f"/job/{job_id}?signal={signal}&flags={self._receiver}", user=user
        )
        for each in rows(reply, "status"):
            if object_in(each, "error").get("code") == _TRY_AGAIN:
                raise TryAgain

    async def time_limit(self, job_id: JobId, user: str = "") -> int | None:
        return number_in((await self._begun(job_id, user)).get("time_limit"))

    async def change_time_limit(self, job_id: JobId, minutes: int | None) -> None:
        limit = {"infinite": True} if minutes is None else {"set": True, "number": minutes}
        number = job_id
        if isinstance(job_id, ArrayTask):
            number = number_in((await self._begun(job_id, "")).get("job_id")) or job_id
        status, reply = await self._slurm("POST", f"/job/{number}", {"time_limit": limit})
        if status >= 400:
            message = errors_of(reply) or f"status {status}"
            raise Refused(plain(message), permanent=False)

    async def _begun(self, job_id: JobId, user: str) -> dict[str, Any]:
        """Return the entry of a job that has started. Once it runs, a task of an array has a job id
        too, and slurmrestd changes it only by that. Raises Refused if there is no such job."""
        for name in ("", user) if user else ("",):
            _, reply = await self._slurm("GET", f"/job/{job_id}", user=name)
            for each in rows(reply, "jobs"):
                if job_of(each).id == job_id:
                    return each
        raise Refused("job not found", permanent=True)

    async def queue(self) -> list[PendingJob]:
        # There is no request for the priorities alone, and this one is not cheap.
        if self._number_of_jobs > _MOST_QUEUED:
            return await self._long_queue()
        _, reply = await self._slurm("GET", "/jobs/", decode=QUEUE.decode)
        return [job for each in reply.get("jobs") or () for job in pending_in(each)]

    async def _long_queue(self) -> list[PendingJob]:
        """Read the queue by squeue, if this host's commands reach the same cluster."""
        if self._commands is None or not self._cluster:
            return []
        if await self._commands.cluster() != self._cluster:
            return []
        return await self._commands.queue()

    async def nodes(self) -> list[Node]:
        _, reply = await self._slurm("GET", "/nodes/")
        return [nodes.of_rest(each) for each in rows(reply, "nodes")]

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    @property
    def _has_states(self) -> bool:
        return self._version is None or self._version >= _FIRST_WITH_STATES

    async def _all(self, user: str) -> list[Job]:
        """Return all jobs, and of arrays the tasks that have started."""
        _, reply = await self._slurm("GET", "/jobs/", user=user)
        jobs = []
        if not user:
            self._forget_all()
        for each in rows(reply, "jobs"):
            job = self._note(each)
            if isinstance(job.id, ArrayTask) or not number_in(each.get("array_job_id")):
                jobs.append(job)
        return jobs

    async def _read_array(self, number: int, user: str = "") -> dict[JobId, Job]:
        """Return all tasks of an array."""
        _, reply = await self._slurm("GET", f"/job/{number}", user=user)
        jobs: dict[JobId, Job] = {}
        pending: Job | None = None
        for each in rows(reply, "jobs"):
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
        _, reply = await self._slurm("GET", path, decode=STATES.decode, user=user)
        jobs: dict[JobId, Job] = {}
        for job in map(listed_job, reply.get("jobs") or ()):
            if job is not None:
                number = self._resolved(job.id)
                jobs[number] = job if number == job.id else replace(job, id=number)
        return jobs

    async def _slurm(
        self,
        method: str,
        path: str,
        body: object = None,
        decode: Callable[[bytes], Any] = json.loads,
        user: str = "",
    ) -> tuple[int, Any]:
        if self._version is None:
            await self.open()
        path = f"/slurm/{self._version}{path}"
        status, reply = await self._call(method, path, body, decode, user)
        codes = {number_in(each.get("error_number")) or 0 for each in rows(reply, "errors")}
        if codes & {_NO_JOB, _OVER_ALREADY}:
            return 404, reply
        unclear = any(code in AWAY_CODES for code in codes)
        if unclear or status in (401, 403, 502, 503, 504, 511) or (status >= 500 and not codes):
            if not user:
                self._forget_all()
            self._identities.forget(user)
            raise away(user, errors_of(reply) or f"slurmrestd answered with status {status}")
        if status >= 400 and method == "GET" and status != 404:
            raise away(user, errors_of(reply) or f"slurmrestd answered with status {status}")
        return status, reply

    async def _call(
        self,
        method: str,
        path: str,
        body: object = None,
        decode: Callable[[bytes], Any] = json.loads,
        user: str = "",
    ) -> tuple[int, Any]:
        """Return the status and the reply. Raises SlurmAway."""
        headers = self._identities.headers(user)
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
        return status, reply_of(status, bytes(data), decode)


class _State(msgspec.Struct):
    """One entry of /jobs/state/."""

    job_id: int | str = ""
    """A text, with a part for an array's task."""
    state: tuple[str, ...] | str | None = None


class _States(TypedDict, total=False):
    jobs: list[_State] | None
    errors: list[dict[str, Any]] | None


class _Queued(msgspec.Struct):
    """One entry of /jobs/."""

    job_id: Any = None
    job_state: Any = None
    priority: Any = None
    partition: Any = ""
    state_reason: Any = ""
    array_job_id: Any = None
    array_task_id: Any = None
    array_task_string: Any = ""


class _Queue(TypedDict, total=False):
    jobs: list[_Queued] | None
    errors: list[dict[str, Any]] | None


QUEUE = msgspec.json.Decoder(_Queue)
STATES = msgspec.json.Decoder(_States)
"""The list of all jobs of the cluster comes twice a second: only what is used is read from it."""


def reply_of(status: int, data: bytes, decode: Callable[[bytes], Any]) -> dict[str, Any]:
    """Return a reply; empty if an error's can't be read. Raises SlurmAway for any other that can't,
    such as the page of a proxy: taken for an empty reply, it would mean that all jobs are gone."""
    try:
        reply = decode(data)
    except (ValueError, RecursionError):
        reply = None
    if isinstance(reply, dict):
        return reply
    if status < 400:
        raise SlurmAway("invalid reply of slurmrestd: not the expected JSON")
    return {}


def rows(reply: dict[str, Any], name: str) -> list[dict[str, Any]]:
    """Return a list of objects in a reply; empty if it is not there. Raises SlurmAway if it is
    something else."""
    value = reply.get(name) or []
    if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
        raise SlurmAway(f"invalid reply of slurmrestd: {name} is not a list of objects")
    return value


def object_in(reply: dict[str, Any], name: str) -> dict[str, Any]:
    """Return an object in a reply; empty if it is not there."""
    value = reply.get(name)
    return value if isinstance(value, dict) else {}


def errors_of(reply: dict[str, Any]) -> str:
    """Return Slurm's words for what went wrong; empty if there are none."""
    words = [
        str(each.get("error") or each.get("description") or "") for each in rows(reply, "errors")
    ]
    return "; ".join(dict.fromkeys(filter(None, words)))


def _words(value: object) -> tuple[str, ...]:
    """States are a list, and were one word in older versions."""
    if isinstance(value, str):
        return (value,)
    return tuple(map(str, value)) if isinstance(value, tuple | list) else ()


def listed_job(each: _State) -> Job | None:
    number = job_id(str(each.job_id))
    return Job(number, _words(each.state)) if number is not None else None


def pending_in(each: _Queued) -> list[PendingJob]:
    """Return the jobs of an entry that wait for their turn: of an array, one for each task."""
    number, priority = number_in(each.job_id) or 0, number_in(each.priority) or 0
    if "PENDING" not in _words(each.job_state) or str(each.state_reason or "") in NOT_QUEUED:
        return []
    array, index = number_in(each.array_job_id), number_in(each.array_task_id)
    ids: list[JobId] = [number]
    if array and index is not None:
        ids = [ArrayTask(array, index)]
    elif array:
        ids = [ArrayTask(array, index) for index in indexes_in(str(each.array_task_string or ""))]
    partitions = tuple(str(each.partition or "").split(","))
    return [PendingJob(each_id, priority, partitions) for each_id in ids or [number]]


def number_in(value: object) -> int | None:
    """A number that may be set, infinite, or plain in older versions."""
    if isinstance(value, dict):
        value = value.get("number") if value.get("set") else None
    return value if isinstance(value, int) else None


def job_of(each: dict[str, Any]) -> Job:
    exit_code = each.get("exit_code")
    code = exit_code.get("return_code") if isinstance(exit_code, dict) else None
    number: JobId = number_in(each.get("job_id")) or 0
    name = str(each.get("name", ""))
    array, index = number_in(each.get("array_job_id")), number_in(each.get("array_task_id"))
    if array and index is not None:
        number, name = ArrayTask(array, index), task_name(name, index)
    return Job(
        id=number,
        state=_words(each.get("job_state")),
        name=name,
        reason=str(each.get("state_reason") or ""),
        nodes=str(each.get("nodes") or ""),
        code=number_in(code),
        begins_at=number_in(each.get("start_time")) or None,
        user=str(each.get("user_name") or ""),
    )
