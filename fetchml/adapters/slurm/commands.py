"""Slurm through its commands, for sites without slurmrestd.

They run on this host or, by ssh, on another one, as the server's account or as that of a user.
"""

import asyncio
import os
import re
import shlex
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from secrets import token_hex
from types import MappingProxyType

from msgspec.structs import replace

from fetchml.adapters.slurm import nodes
from fetchml.adapters.slurm.accounts import Account
from fetchml.adapters.slurm.job import (
    NOT_QUEUED,
    PARAMETERS,
    ArrayTask,
    Job,
    JobId,
    PendingJob,
    Submission,
    job_id,
    task_name,
)
from fetchml.adapters.slurm.transport import (
    CALL_SECONDS,
    FULL,
    JobLookup,
    Refused,
    Signal,
    SlurmAway,
    TryAgain,
    away,
    is_away,
    is_permanent,
    plain,
)
from fetchml.ports.cluster import Node

_SHELL = "#!/bin/sh\n"
"""The first line that `sbatch --wrap` adds itself."""
_COLUMNS = "%i|%T|%r|%N|%S|%u|%j"
"""The name is last: another user's may hold any character, line ends too."""
_QUEUE_COLUMNS = "%i|%Q|%P|%r"
_SUBMITTING = "Batch job submission failed: "
_VARIABLES = {"LC_ALL": "C", "SLURM_TIME_FORMAT": "standard"}
_AT_ONCE = 8
_LIMIT = re.compile(r"(?:(?:(\d{1,6})-)?(\d{1,6}):)?(\d{1,6}):\d\d")
"""Days, hours and minutes of a time limit."""
_CLUSTER = re.compile(r"^ClusterName\s*=\s*(\S{1,256})\s*$", re.MULTILINE)
_CODE = re.compile(r"^\s*(?:Job)?ExitCode=(\d{1,9}):\d+|\bExitCode=(\d{1,9}):\d+", re.MULTILINE)


NO_CONNECTION = 255
"""Exit code of ssh itself."""
_KEEP_SECONDS = 60
_CONNECT_SECONDS = 10


class SshHost:
    """Runs each command over one connection, which is kept for a minute."""

    def __init__(self, host: str, limit_seconds: float) -> None:
        """`limit_seconds`: a command ends by itself after it, also if the connection is cut."""
        self.host = host
        self._limit_seconds = limit_seconds
        self._folder = tempfile.mkdtemp(prefix="fetchml-ssh-")
        """Of the socket of the connection, whose path must be short."""

    def wrap(self, command: Sequence[str], variables: Mapping[str, str]) -> list[str]:
        """Return the local command that runs `command` there. The host's shell splits it again."""
        set_there = [f"{name}={value}" for name, value in variables.items()]
        there = ["env", *set_there, "timeout", f"{self._limit_seconds:g}", *command]
        options = {
            "BatchMode": "yes",
            "ConnectTimeout": str(_CONNECT_SECONDS),
            "ServerAliveInterval": "5",
            "ControlMaster": "auto",
            "ControlPath": f"{self._folder}/%C",
            "ControlPersist": str(_KEEP_SECONDS),
        }
        words = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
        return ["ssh", *words, "--", self.host, shlex.join(there)]

    def close(self) -> None:
        """The connection ends by itself."""
        shutil.rmtree(self._folder, ignore_errors=True)


_TOKEN = "SLURM_JWT"  # noqa: S105 - the name of a variable
"""Slurm's commands are those of the user of this token, whoever runs them."""
_KEPT = ("LANG", "LC_", "LD_LIBRARY_PATH", "PATH", "SLURM_", "TZ")
"""Beginnings of the variables of the server's that commands of an account have on this host: its
other processes can read them."""


@dataclass(frozen=True, slots=True)
class RunAs:
    """How commands run as an account."""

    account: Account
    prefix: tuple[str, ...] = ()
    """Words before each command."""
    host: SshHost | None = None
    """Where the commands run, as the account that ssh chooses; `None`: where the server's do."""

    def environment(self, own: Mapping[str, str]) -> dict[str, str]:
        """Return the environment of the process. `own`: that of the server's commands."""
        name = self.account.name
        kept = {
            variable: value
            for variable, value in own.items()
            if variable != _TOKEN and (self.host is not None or variable.startswith(_KEPT))
        }
        return kept | {"USER": name, "LOGNAME": name}


def by_sudo(account: Account) -> RunAs:
    return RunAs(account, ("sudo", "-n", "-u", account.name, "--"))


def by_ids(account: Account) -> RunAs:
    """Only root can do that."""
    groups = ",".join(map(str, account.groups or (account.gid,)))
    ids = (f"--reuid={account.uid}", f"--regid={account.gid}", f"--groups={groups}")
    return RunAs(account, ("setpriv", *ids, "--"))


def by_ssh(account: Account, host: str, limit_seconds: float) -> RunAs:
    """`host`: as in the settings; a user in it is replaced."""
    login = f"{account.name}@{host.rpartition('@')[2]}"
    return RunAs(account, host=SshHost(login, limit_seconds))


class CliTransport(JobLookup):
    def __init__(
        self,
        user: str,
        host: SshHost | None = None,
        *,
        signals_steps: bool = False,
        others: Mapping[str, RunAs] = MappingProxyType({}),
    ) -> None:
        """`user`: the account whose jobs are followed. `host`: where the commands run, as the
        account that ssh chooses; `None`: here. `signals_steps`: signals go to the steps of a job
        instead of its script. `others`: how the commands run as users' accounts, by name; the jobs
        of these are followed too."""
        self._receiver = () if signals_steps else ("--batch",)
        self._user = user if host is None else ""
        """Empty for the account that ssh chooses, until it is asked for."""
        self._host = host
        self._others = others
        super().__init__()
        self._limit = asyncio.Semaphore(_AT_ONCE)
        self._cluster = ""
        """Its name, once it was asked for."""

    async def open(self) -> str:
        _, out, _ = await self._run("scontrol", "ping")
        if "UP" not in out:
            raise SlurmAway(f"slurmctld does not answer: {' '.join(out.split()) or 'no reply'}")
        _, out, _ = await self._run("sinfo", "--version")
        return out.split()[-1] if out.split() else "of unknown version"

    @property
    def has_arrays(self) -> bool:
        return True

    async def submit(self, job: Submission) -> int:
        options = [
            "--parsable",
            "--export=NONE",
            "--no-requeue",
            "--ntasks=1",
            f"--job-name={job.name}",
            f"--chdir={job.folder}",
            f"--output={job.output}",
            f"--nice={job.nice}",
        ]
        if job.indexes:
            options.append(f"--array={job.indexes}")
        if job.cpus:
            options.append(f"--cpus-per-task={job.cpus}")
        if job.memory_mb:
            options.append(f"--mem={job.memory_mb}M")
        if job.resources:
            options.append(f"--gres={','.join(job.resources)}")
        if job.minutes:
            options.append(f"--time={job.minutes}")
        options += [f"--{name}={value}" for name in PARAMETERS if (value := getattr(job, name))]
        if job.exclusive:
            options.append("--exclusive" if job.exclusive == "true" else "--exclusive=user")
        # Not on stdin: a pipe to a command that has ended already is an error of its own.
        options.append(f"--wrap={job.script.removeprefix(_SHELL)}")
        code, out, errors = await self._run("sbatch", *options, end_at=FULL.encode(), user=job.user)
        number = out.strip().partition(";")[0]
        if code == 0 and number.isdecimal():
            return int(number)
        message = _plain(errors)
        if is_away(message) or not message:
            raise away(job.user, message or "sbatch failed without a message")
        raise Refused(plain(message), permanent=is_permanent(message))

    async def states(self) -> dict[JobId, Job]:
        if self._others and not self._user:
            code, out, errors = await self._run("id", "-un")
            if code or not out.strip():
                raise SlurmAway(_plain(errors) or "id reports no account")
            self._user = out.strip()
        if not self._user:
            return await self._states("", "--me")
        return await self._states("", "--user", ",".join((self._user, *self._others)))

    async def _states(self, user: str, *whose: str) -> dict[JobId, Job]:
        return {job.id: job for job in await self._queue(user, *whose)}

    async def _job(self, job_id: JobId, user: str) -> Job | None:
        listed = await self._queue(user, "--jobs", str(job_id))
        jobs = [job for job in listed if job.id == job_id]
        if not jobs or not jobs[0].is_over:
            return jobs[0] if jobs else None
        # squeue has no exit code.
        _, out, _ = await self._run("scontrol", "show", "job", str(job_id), user=user)
        return replace(jobs[0], code=_exit_code(out)) if out else None

    async def _named(self, prefix: str, user: str) -> list[Job]:
        jobs = await (self._states(user, "--user", user) if user else self.states())
        return [job for job in jobs.values() if job.begins_with(prefix)]

    async def cancel(self, job_id: JobId, user: str = "") -> None:
        code, _, errors = await self._run("scancel", str(job_id), user=user)
        if code and is_away(errors):
            raise away(user, _plain(errors))

    async def signal(self, job_id: JobId, signal: Signal, user: str = "") -> None:
        code, _, errors = await self._run(
            "scancel", *self._receiver, f"--signal={signal}", str(job_id), user=user
        )
        if code and is_away(errors):
            raise away(user, _plain(errors))
        if "try again" in errors or "transition" in errors:
            raise TryAgain

    async def time_limit(self, job_id: JobId, user: str = "") -> int | None:
        for name in ("", user) if user else ("",):
            code, out, errors = await self._run(
                *("squeue", "--noheader", "--array", "--states=all"),
                *("--jobs", str(job_id), "--format=%l"),
                user=name,
            )
            if code and is_away(errors):
                raise away(name, _plain(errors))
            if out.strip():
                break
        return _minutes(out.strip()) if out.strip() != "UNLIMITED" else None

    async def change_time_limit(self, job_id: JobId, minutes: int | None) -> None:
        limit = "UNLIMITED" if minutes is None else minutes
        code, _, errors = await self._run(
            "scontrol", "update", f"JobId={job_id}", f"TimeLimit={limit}"
        )
        if code and is_away(errors):
            raise SlurmAway(_plain(errors))
        if code:
            raise Refused(plain(_plain(errors)), permanent=False)

    async def queue(self) -> list[PendingJob]:
        code, out, errors = await self._run(
            "squeue", "--noheader", "--array", "--states=PENDING", f"--format={_QUEUE_COLUMNS}"
        )
        if code:
            raise SlurmAway(_plain(errors) or f"squeue ended with {code}")
        return await asyncio.to_thread(_pending, out)

    async def cluster(self) -> str:
        """Return the name of the cluster, which is asked for once. Raises SlurmAway."""
        if not self._cluster:
            _, out, errors = await self._run("scontrol", "show", "config")
            match = _CLUSTER.search(out)
            if match is None:
                raise SlurmAway(_plain(errors) or "scontrol does not report the cluster's name")
            self._cluster = match[1]
        return self._cluster

    async def nodes(self) -> list[Node]:
        code, out, errors = await self._run("scontrol", "show", "node", "-d", "--oneliner")
        if code:
            raise SlurmAway(_plain(errors))
        return nodes.of_scontrol(out)

    async def close(self) -> None:
        for host in (self._host, *(each.host for each in self._others.values())):
            if host is not None:
                host.close()

    async def _queue(self, user: str, *which: str) -> list[Job]:
        # A name with a line end can't continue with a row of its own: it would need this mark.
        mark = f"{token_hex(8)}|"
        code, out, errors = await self._run(
            *("squeue", "--noheader", "--array", "--states=all"),
            *(*which, f"--format={mark}{_COLUMNS}"),
            user=user,
        )
        if code and "Invalid job id" in errors:
            return []
        if code:
            raise away(user, _plain(errors) or f"squeue ended with {code}")
        return _jobs(out, mark)

    async def _run(
        self, *command: str, end_at: bytes | None = None, user: str = ""
    ) -> tuple[int, str, str]:
        """Run a command; return its exit code, output and errors. It is ended when it prints the
        error `end_at`. Raises SlurmAway."""
        environment = {**os.environ, **_VARIABLES}
        host = self._host
        if user:
            if (run_as := self._others.get(user)) is None:
                raise away(user, "the settings have no such account")
            command = (*run_as.prefix, *command)
            environment = run_as.environment(environment)
            host = run_as.host or host
        here = list(command) if host is None else host.wrap(command, _VARIABLES)
        async with self._limit:
            try:
                process = await asyncio.create_subprocess_exec(
                    *here,
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=asyncio.subprocess.PIPE,
                    stderr=asyncio.subprocess.PIPE,
                    env=environment,
                )
            except OSError as error:
                raise away(user, f"cannot run {here[0]}: {error.strerror}") from error
            try:
                code, out, errors = await finish(process, command[0], end_at)
            except SlurmAway as error:
                raise away(user, str(error)) from error
        if host is not None and code == NO_CONNECTION:
            why = " ".join(errors.split()) or "no reason given"
            raise away(user, f"ssh {host.host} failed: {why}")
        if user and code and errors.startswith("sudo: "):
            raise away(user, " ".join(errors.split()))
        return code, out, errors


def _plain(errors: str) -> str:
    """Return Slurm's message without the name of the command, as slurmrestd has it."""
    lines = [
        line.rpartition("error: ")[2].removeprefix(_SUBMITTING).strip()
        for line in errors.splitlines()
    ]
    return "; ".join(dict.fromkeys(filter(None, lines)))


def _jobs(out: str, mark: str) -> list[Job]:
    """Read the rows that begin with `mark`; those with control or separator characters are left
    out."""
    rows = (line.removeprefix(mark) for line in out.split("\n") if line.startswith(mark))
    return [job for row in rows if row.isprintable() and (job := _job(row)) is not None]


def _job(line: str) -> Job | None:
    parts = line.split("|", 6)
    number = job_id(parts[0])
    if len(parts) < 7 or number is None:
        return None
    _, state, reason, nodes, begins, user, name = parts
    if isinstance(number, ArrayTask):
        name = task_name(name, number.number)
    begins_at = None
    with suppress(ValueError):
        begins_at = int(datetime.fromisoformat(begins).timestamp())
    return Job(number, (state,), name, reason, nodes, begins_at=begins_at, user=user)


def _pending(out: str) -> list[PendingJob]:
    """Read the lines of the queue; those of other users may hold anything."""
    jobs = []
    for line in out.split("\n"):
        words = line.split("|", 3)
        number = job_id(words[0])
        if len(words) == 4 and number is not None and words[3] not in NOT_QUEUED:
            priority = int(words[1][:18]) if words[1].isascii() and words[1].isdecimal() else 0
            jobs.append(PendingJob(number, priority, tuple(words[2].split(","))))
    return jobs


def _minutes(limit: str) -> int:
    """Read a time limit such as `2-00:30:00`, `1:30:00` or `5:00`. Raises Refused."""
    match = _LIMIT.fullmatch(limit)
    if match is None:
        raise Refused("job not found", permanent=True)
    days, hours, minutes = (int(number or 0) for number in match.groups())
    return (days * 24 + hours) * 60 + minutes


def _exit_code(shown: str) -> int | None:
    """Read the exit code of a job that `scontrol` shows; `None` if there is none."""
    match = _CODE.search(shown)
    return int(next(filter(None, match.groups()))) if match else None


_MOST_BYTES = 256 << 20
"""Output of one command."""
_left: set[asyncio.Task[tuple[bytes, bytes]]] = set()
"""Commands that belong to another account and end by themselves."""


async def finish(
    process: asyncio.subprocess.Process, command: str, end_at: bytes | None
) -> tuple[int, str, str]:
    """Wait for a process, CALL_SECONDS at most; return its exit code, output and errors. It is
    killed when it prints the error `end_at`. Raises SlurmAway."""
    try:
        async with asyncio.timeout(CALL_SECONDS):
            out, errors, _ = await asyncio.gather(
                _read(process, process.stdout),
                _read(process, process.stderr, end_at),
                process.wait(),
            )
    except TimeoutError as error:
        raise SlurmAway(f"{command} timed out after {CALL_SECONDS:g} s") from error
    finally:
        if process.returncode is None:
            # Pipes with unread output would keep `wait` waiting.
            ending = asyncio.ensure_future(process.communicate())
            if _kill(process):
                await ending
            else:
                _left.add(ending)
                ending.add_done_callback(_left.discard)
    return process.returncode or 0, out.decode(errors="replace"), errors.decode(errors="replace")


async def _read(
    process: asyncio.subprocess.Process,
    stream: asyncio.StreamReader | None,
    end_at: bytes | None = None,
) -> bytearray:
    """Read to the end; kill the process when it has printed `end_at`, or too much. Raises SlurmAway
    if it printed too much."""
    text = bytearray()
    is_too_large = False
    while stream is not None and (part := await stream.read(1 << 16)):
        if not is_too_large:
            text += part
        is_too_large = len(text) > _MOST_BYTES
        has_enough = is_too_large or (end_at is not None and end_at in text)
        if has_enough and process.returncode is None:
            _kill(process)
    if is_too_large:
        raise SlurmAway(f"a command of Slurm printed more than {_MOST_BYTES >> 20} MiB")
    return text


def _kill(process: asyncio.subprocess.Process) -> bool:
    """Return whether that is allowed: sudo belongs to root."""
    try:
        with suppress(ProcessLookupError):
            process.kill()
    except PermissionError:
        return False
    return True
